"""Tells the bridge how a placed call ended, as StandIn does.

Owns the address and the signature of one POST. Refuses to know when it is told.
"""

from __future__ import annotations

import ssl
from urllib.parse import quote, urlsplit, urlunsplit

from teamscall.emulator import dial as dialling
from teamscall.emulator.plan import Dial
from teamscall.wire import control, signature
from teamscall.wire.events import Outcome

TIMEOUT_S = 5.0


def outcome_url(target: dialling.Target) -> str:
    """``{call path prefix}/outcome/{callId}`` beside the call's own path."""
    parts = urlsplit(target.url)
    prefix = parts.path.rpartition("/")[0]
    path = f"{prefix}{control.OUTCOME_SEGMENT}/{quote(target.call_id, safe='')}"
    scheme = "https" if parts.scheme == "wss" else "http"
    return urlunsplit((scheme, parts.netloc, path, "", ""))


async def post_outcome(dial: Dial, target: dialling.Target, outcome: Outcome, wall_ms: int) -> int:
    """Report it; the bridge's status, or 0 when nothing answers in time."""
    import httpx2

    url = outcome_url(target)
    body = control.encode_outcome(outcome)
    path = urlsplit(url).path
    if dial.generation == "1":
        names = (signature.GENERATION_1,)
        headers = signature.upgrade_headers(dial.secret, target.call_id, wall_ms, names)
    else:
        headers = signature.control_headers(
            dial.secret, wall_ms, "POST", path, body, target.call_id, "both"
        )
    tls: ssl.SSLContext | bool = dialling.tls_context(dial) if url.startswith("https:") else False
    try:
        async with httpx2.AsyncClient(
            verify=tls,
            timeout=TIMEOUT_S,
            trust_env=not dialling.is_loopback(urlsplit(url).hostname or ""),
        ) as client:
            headers.append(("Content-Type", "application/json"))
            answer = await client.post(url, content=body, headers=headers)
            return answer.status_code
    except httpx2.HTTPError:
        return 0
