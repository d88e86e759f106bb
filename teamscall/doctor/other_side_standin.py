"""StandIn's control endpoint: does it take our signature.

Owns a question that can do no harm: to cancel a call that there is not. No call is placed.
"""

from __future__ import annotations

import secrets
import time
from typing import Literal

from teamscall.config import Config
from teamscall.doctor import findings
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_asking import Answer, Silent, ask, local, place
from teamscall.wire import control
from teamscall.wire.signature import control_headers

_KEY = "standin.worker_base_url"
_Form = Literal["v1", "v2", "both"]
# How far StandIn's clock may be off ours before its own window is over.
_WINDOW_S = 60.0


def applies(site: Site) -> bool:
    """Whether calls would be placed through StandIn."""
    config = site.config
    named = site.origins.get(_KEY, "default") != "default"
    return config.standin.enabled and config.outbound.enabled and (_places(config) or named)


def _places(config: Config) -> bool:
    return bool(config.outbound.allow_to) and config.outbound.via != "csharp"


async def endpoint(site: Site) -> Finding:
    """Cancel a call that there is not."""
    if told := findings.of("TC-STANDIN-CONTROL", site.problems):
        return failed(findings.sentence(told[0]), findings.CHECK)
    if not applies(site):
        return skipped("No calls are placed through StandIn.")
    standin = site.config.standin
    base = standin.worker_base_url
    form: _Form = standin.outbound_signature
    try:
        answer = await _cancel(site, standin.secret.reveal(), form)
        if answer.status in (401, 403):
            return await _refused(site, answer, form)
        if answer.status in (404, 405) and await _nowhere(site):
            return failed(
                f"{place(base)} has no control endpoint at {control.PLACE_PATH} ({answer.status}).",
                f"Set {_KEY} to StandIn's control endpoint, without {control.PLACE_PATH} at its "
                "end.",
                status=answer.status,
            )
    except Silent as silent:
        return failed(f"StandIn's control endpoint: {silent.what}.", silent.remedy)
    facts: dict[str, Fact] = {"status": answer.status, "signature": form}
    if 300 <= answer.status < 400:
        return failed(
            f"StandIn's control endpoint answers with a redirect ({answer.status}).",
            f"Redirects are not followed: set {_KEY} to where it leads.",
            **facts,
        )
    if answer.is_html:
        return failed(
            f"{place(base)} answers with a web page: that is not StandIn's control endpoint.",
            f"Set {_KEY} to the address in StandIn's settings.",
            **facts,
        )
    if answer.status >= 500:
        return failed(
            f"StandIn's control endpoint answers {answer.status}.",
            "It is down or restarting: try again in a minute.",
            **facts,
        )
    if answer.skew_s is not None and abs(answer.skew_s) > _WINDOW_S / 2:
        return warning(
            f"StandIn's clock is {abs(answer.skew_s):.0f} s off ours.",
            "Signatures are refused beyond 60 s: see TC-CLOCK for whose clock is wrong.",
            **facts,
        )
    if told := findings.of("TC-STANDIN-CONTROL", site.warnings):
        return warning(findings.sentence(told[0]), findings.CHECK, **facts)
    return ok("StandIn takes the signature.", **facts)


async def _refused(site: Site, answer: Answer, form: _Form) -> Finding:
    """Why it does not take our signature."""
    standin, skew = site.config.standin, answer.skew_s
    facts: dict[str, Fact] = {"status": answer.status, "signature": form}
    if skew is not None and abs(skew) > _WINDOW_S:
        way = "ahead of" if skew > 0 else "behind"
        return failed(
            f"StandIn refuses the signature ({answer.status}): its clock is {abs(skew):.0f} s "
            f"{way} ours.",
            "Set the clock that is wrong by a time server; TC-CLOCK tells whether it is ours.",
            skewS=round(skew),
            **facts,
        )
    for other in ("v1", "v2"):
        if other != form and (await _cancel(site, standin.secret.reveal(), other)).status not in (
            401,
            403,
        ):
            return failed(
                f"StandIn refuses signature {form} and takes {other} ({answer.status}).",
                f'Set standin.outbound_signature = "{other}".',
                **facts,
            )
    before = standin.previous_secret.reveal()
    if before and (await _cancel(site, before, form)).status not in (401, 403):
        return failed(
            f"StandIn refuses standin.secret ({answer.status}) and takes standin.previous_secret.",
            "Register the new secret in StandIn: its rotation is not done.",
            **facts,
        )
    return failed(
        f"StandIn refuses the signature ({answer.status}): the two sides' secrets differ.",
        "Copy the bot's secret from StandIn into standin.secret, or register ours there "
        "(TC-SECRET-COPY shows a fingerprint to compare).",
        **facts,
    )


async def _cancel(site: Site, secret: str, form: _Form) -> Answer:
    """DELETE of a call that there is not, signed so."""
    import httpx2

    subject = f"doctor-{secrets.token_hex(8)}"
    url = httpx2.URL(
        site.config.standin.worker_base_url.rstrip("/")
        + control.call_path(control.PLACE_PATH, subject)
    )
    headers = control_headers(
        secret.encode("utf-8", "surrogateescape"),
        int(time.time() * 1000),
        "DELETE",
        url.raw_path.decode("ascii"),
        b"",
        subject,
        form,
    )
    return await ask("DELETE", str(url), _KEY, headers=dict(headers), by_proxy=not local(str(url)))


async def _nowhere(site: Site) -> bool:
    """Whether even a request without a signature finds nothing: it names nobody to ring, so
    nobody would be rung by a service that took it."""
    url = site.config.standin.worker_base_url.rstrip("/") + control.PLACE_PATH
    told = {"Content-Type": "application/json"}
    answer = await ask("POST", url, _KEY, headers=told, body=b"{}", by_proxy=not local(url))
    return answer.status in (404, 405)


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-STANDIN-CONTROL",
        "other-side",
        "StandIn's control endpoint",
        endpoint,
        "Asks standin.worker_base_url to cancel a call that there is not, with the signature "
        "that placing one would carry: nothing happens, and the answer tells whether the "
        "secret, the form of the signature, the clocks and the address are right. Applies "
        "where calls may be placed through StandIn (outbound.allow_to).",
        "Give both sides the same standin.secret; set standin.outbound_signature as StandIn's "
        "version wants it; correct standin.worker_base_url.",
        after=(
            "TC-CONFIG",
            "TC-TRUST",
            "TC-CLOCK",
            "TC-SECRET",
            "TC-SECRET-FILE",
            "TC-SECRET-COPY",
        ),
        timeout_s=13.0,
    ),
)
