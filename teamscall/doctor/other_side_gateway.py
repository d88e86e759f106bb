"""The C# gateway's REST control plane: is it there, is it well, does it take our secret.

Owns two harmless questions: ``GET /health``, and to end a call that there is not.
"""

from __future__ import annotations

import secrets

from teamscall.doctor import findings
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_asking import Answer, Silent, ask, local, place
from teamscall.wire import control
from teamscall.wire.signature import BRIDGE_SECRET_HEADER

NO_URL = "bridge.control_url is not set: calls are placed on a gateway's open socket."
_KEY = "bridge.control_url"
_SECRETS = (
    "Give both sides the same secret: bridge.secret here and in the gateway's settings "
    "(TC-SECRET-COPY shows a fingerprint to compare)."
)


async def _ask(site: Site, method: str, path: str, body: bytes = b"", secret: str = "") -> Answer:
    bridge = site.config.bridge
    headers = {BRIDGE_SECRET_HEADER: secret or bridge.secret.reveal()}
    if body:
        headers["Content-Type"] = "application/json"
    url = bridge.control_url.rstrip("/") + path
    return await ask(method, url, _KEY, headers=headers, body=body, by_proxy=not local(url))


async def health(site: Site) -> Finding:
    """``GET /health``."""
    if told := findings.of("TC-GATEWAY", site.problems):
        return failed(findings.sentence(told[0]), findings.CHECK)
    base = site.config.bridge.control_url
    if not base:
        return skipped(NO_URL)
    try:
        answer = await _ask(site, "GET", control.HEALTH_PATH)
    except Silent as silent:
        return failed(f"The gateway at {place(base)}: {silent.what}.", silent.remedy)
    facts: dict[str, Fact] = {"url": place(base), "status": answer.status}
    if answer.status in (401, 403):
        return _wrong_secret(answer.status, facts, await _previous(site, "GET", "/health", b""))
    if 300 <= answer.status < 400:
        return failed(
            f"The gateway's /health answers with a redirect ({answer.status}).",
            f"Redirects are not followed: set {_KEY} to where it leads"
            + (f" ({answer.location.removesuffix('/health')})." if answer.location else "."),
            **facts,
        )
    if answer.status == 503:
        return failed(
            "The gateway answers 503: it runs and takes no calls.",
            "Look at the gateway's own log: its media platform has not started, or it is full.",
            **facts,
        )
    if answer.status >= 500:
        return failed(
            f"The gateway, or the proxy before it, answers {answer.status}.",
            "Look at the gateway's own log, and whether it runs at all.",
            **facts,
        )
    report = control.decode_health(answer.status, answer.body)
    if answer.is_html or isinstance(report, control.Refused):
        page = "a web page" if answer.is_html else f"{answer.status} and no health report"
        return failed(
            f"{place(base)} answers /health with {page}: that is not the gateway's control plane.",
            f"Set {_KEY} to its base URL, without /control or /health at its end.",
            **facts,
        )
    facts |= {
        "gateway": report.status,
        "activeCalls": report.active_calls,
        "sdkVersion": report.sdk_version,
    }
    if report.status.lower() not in ("healthy", "ok"):
        return warning(
            f"The gateway says of itself that it is {report.status or 'nothing'}.",
            "Look at the gateway's own log.",
            **facts,
        )
    if told := findings.of("TC-GATEWAY", site.warnings):
        return warning(findings.sentence(told[0]), "Write https:// there.", **facts)
    sdk = f", media SDK {report.sdk_version}" if report.sdk_version else ""
    return ok(f"The gateway is {report.status}: {report.active_calls} running{sdk}.", **facts)


async def hang_up(site: Site) -> Finding:
    """Have a call ended that there is not: whether our secret and the path are right."""
    base = site.config.bridge.control_url
    if not base:
        return skipped(NO_URL)
    body = control.encode_hang_up(f"doctor-{secrets.token_hex(8)}")
    try:
        answer = await _ask(site, "POST", control.HANG_UP_PATH, body)
    except Silent as silent:
        return failed(f"The gateway at {place(base)}: {silent.what}.", silent.remedy)
    facts: dict[str, Fact] = {"status": answer.status}
    if answer.status in (401, 403):
        before = await _previous(site, "POST", control.HANG_UP_PATH, body)
        return _wrong_secret(answer.status, facts, before)
    if answer.status in (405, 501) or answer.is_html:
        return failed(
            f"{place(base)} has no control plane at {control.HANG_UP_PATH} ({answer.status}).",
            f"Set {_KEY} to the gateway's base URL, without /control at its end.",
            **facts,
        )
    if answer.status >= 500:
        return warning(
            f"The gateway failed to say that it has no such call ({answer.status}).",
            "Look at the gateway's own log.",
            **facts,
        )
    return ok("The gateway takes the secret.", **facts)


def _wrong_secret(status: int, facts: dict[str, Fact], previous: bool) -> Finding:
    if previous:
        return failed(
            f"The gateway refuses bridge.secret ({status}) and takes bridge.previous_secret.",
            "Give the gateway the new secret: its rotation is not done.",
            **facts,
        )
    return failed(f"The gateway refuses bridge.secret ({status}).", _SECRETS, **facts)


async def _previous(site: Site, method: str, path: str, body: bytes) -> bool:
    """Whether it takes the secret before this one."""
    before = site.config.bridge.previous_secret.reveal()
    if not before:
        return False
    try:
        answer = await _ask(site, method, path, body, before)
    except Silent:
        return False
    return answer.status not in (401, 403)


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-GATEWAY",
        "other-side",
        "The C# gateway's health",
        health,
        "Asks /health below bridge.control_url, with the secret: is it there, does it call itself "
        "healthy, how many calls it has, and the version of its media SDK, which Microsoft wants "
        "no older than three months.",
        "Correct bridge.control_url, or start the gateway and look at its log.",
        after=("TC-CONFIG", "TC-TRUST", "TC-SECRET", "TC-SECRET-FILE", "TC-SECRET-COPY"),
        timeout_s=13.0,
    ),
    Check(
        "TC-GATEWAY-CONTROL",
        "other-side",
        "The C# gateway takes our secret",
        hang_up,
        "Asks the gateway's control plane to end a call that there is not: nothing happens, and "
        "its answer tells whether the secret and the path are right. No call is placed.",
        "Give both sides the same bridge.secret; set bridge.control_url to the gateway's base URL.",
        after=("TC-GATEWAY", "TC-SECRET", "TC-SECRET-FILE", "TC-SECRET-COPY"),
        timeout_s=13.0,
    ),
)
