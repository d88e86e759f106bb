"""The upgrade through the registered address, against the same one past it.

Owns dialling, once for all checks here; each tells of its own kind of trouble. What an answer
means is ``line_answers``' business.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time

import msgspec

from teamscall.doctor.bridge import running
from teamscall.doctor.checks import Check, Finding, Site, ok
from teamscall.doctor.knocking import Answer, knock, speaks_http2
from teamscall.doctor.line_answers import Kind, Seen, diagnose
from teamscall.doctor.line_reach import each
from teamscall.doctor.lines import Line, dialled

# A proxy that checks its upstream's health needs its time to see that it is back.
BACK_S, BACK_STEP_S = 6.0, 1.0


async def see(site: Site, line: Line) -> Seen:
    """Dial once for all checks."""

    async def make() -> Seen:
        return await _dial(site, line)

    return await site.shared.once(f"door-{line.dialect}", make)


async def _past(site: Site, line: Line) -> Answer:
    """The upgrade past every proxy, once for all checks: whatever is wrong with the registered
    address, the bridge's own is dialled."""

    async def make() -> Answer:
        return await _upgrade(line, direct=True)

    return await site.shared.once(f"past-{line.dialect}", make)


async def _dial(site: Site, line: Line) -> Seen:
    direct = await _past(site, line)
    if not line.registered or direct.status != 101:
        return Seen(direct, direct, Answer())
    public, plain = await asyncio.gather(
        _upgrade(line, direct=False),
        knock(line.address, "/healthz", (("Connection", "close"),)),
    )
    up = await running(site)
    until = time.monotonic() + BACK_S
    while up is None and public.status in (502, 503, 504) and time.monotonic() < until:
        await asyncio.sleep(BACK_STEP_S)
        public = await _upgrade(line, direct=False)
    # Some take both without TLS; who keeps a request waiting has read it.
    silent = public.trouble in ("closed", "tls") and not plain.status
    if silent and await speaks_http2(line.address) and not await _knows_http1(line):
        public = msgspec.structs.replace(public, trouble="http2")
    return Seen(public, direct, plain)


async def _knows_http1(line: Line) -> bool:
    """Whether what is no request is answered in HTTP/1: one that refuses every request of ours
    by its own rules has read them."""
    return bool((await knock(line.address, "/ is / no / target")).status)


async def _upgrade(line: Line, *, direct: bool) -> Answer:
    address, target, headers = dialled(line, direct=direct)
    key = base64.b64encode(os.urandom(16)).decode()
    return await knock(
        address,
        target,
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", "13"),
            *headers,
        ],
    )


# --- the checks ---------------------------------------------------------------------------


async def _told(site: Site, line: Line, kind: Kind, fine: str) -> Finding:
    if kind == "TC-DIRECT":  # it does not wait for the proxy
        past = await _past(site, line)
        seen = Seen(past, past, Answer())
    else:
        seen = await see(site, line)
    which, found = diagnose(line, seen)
    if which == kind:
        return found
    return ok(fine, status=seen.public.status, tookMs=seen.public.took_ms)


async def direct(site: Site) -> Finding:
    return await each(
        site,
        lambda site, line: _told(
            site, line, "TC-DIRECT", "Dialled directly, the bridge accepts the secret."
        ),
    )


async def http(site: Site) -> Finding:
    return await each(
        site,
        lambda site, line: _told(
            site, line, "TC-HTTP", "HTTP/1.1 is spoken, and no page, login or redirect is between."
        ),
    )


async def path(site: Site) -> Finding:
    return await each(
        site,
        lambda site, line: _told(site, line, "TC-PATH", "The path arrives as it was registered."),
    )


async def upgrade(site: Site) -> Finding:
    return await each(
        site,
        lambda site, line: _told(site, line, "TC-UPGRADE", "The upgrade to a WebSocket arrives."),
    )


async def credentials(site: Site) -> Finding:
    return await each(
        site,
        lambda site, line: _told(
            site, line, "TC-CREDENTIALS", "The secret's headers arrive and are accepted."
        ),
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-DIRECT",
        "line",
        "The bridge's own door",
        direct,
        "Dials the bridge past every proxy, with the configured secret. A bridge that runs may "
        "have been started with another secret or path than the configuration has now.",
        "`teamscall reload` after a change of the secret, a restart after one of ports or paths.",
        after=("TC-BRIDGE", "TC-CLOCK"),
    ),
    Check(
        "TC-HTTP",
        "line",
        "What answers at the registered address",
        http,
        "Asks for the call's WebSocket through the registered address and looks at who answers: "
        "HTTP/2 alone, a redirect, a login, a web page, a proxy whose upstream is away "
        "(502, 503, 504).",
        "Let the registered path lead to the bridge's port, over HTTP/1.1, with nothing in "
        "between that answers by itself.",
        after=("TC-TLS-CHAIN", "TC-DIRECT"),
        timeout_s=12.0,
    ),
    Check(
        "TC-PATH",
        "line",
        "The path",
        path,
        "The registered path, with the call's id as the last segment for StandIn, has to arrive "
        "as it was sent: StandIn's signature covers the id.",
        "Pass the path as it is, and register the one that the bridge has.",
        after=("TC-HTTP",),
    ),
    Check(
        "TC-UPGRADE",
        "line",
        "The upgrade",
        upgrade,
        "A WebSocket begins as an HTTP/1.1 request with Upgrade and Connection headers, which a "
        "proxy has to pass on purpose.",
        "Add the two headers (and HTTP/1.1) to the proxy's location.",
        after=("TC-PATH",),
    ),
    Check(
        "TC-CREDENTIALS",
        "line",
        "The headers with the secret",
        credentials,
        "What the bridge accepts directly it has to accept through the registered address: "
        "else the proxy drops or changes X-Bridge-Secret or X-StandIn-Signature, or leads "
        "elsewhere.",
        "Let X- headers pass, and correct the upstream.",
        after=("TC-UPGRADE",),
    ),
)
