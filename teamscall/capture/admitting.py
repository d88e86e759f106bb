"""The decisions before a call began: kept in its capture's header, taken again in a replay.

Owns their form in the header, what two of them are compared by and how they are put into
words. Refuses to know how a decision is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from teamscall.calls.admission import Admission, AskedOn, Verdict
from teamscall.calls.readmission import Again, taken_again
from teamscall.capture import diff
from teamscall.capture.diff import Difference, Moment
from teamscall.capture.records import Header
from teamscall.errors import CaptureError
from teamscall.text import printable

# ``Difference.step`` of what is before all events.
BEFORE = -1
# No bridge keeps so many of a call; each costs a millisecond.
_Admissions = Annotated[tuple[Admission, ...], msgspec.Meta(max_length=256)]
_NAMES: dict[AskedOn, str] = {"auth_request": "AuthRequest", "session_start": "SessionStart"}


class Admitted(msgspec.Struct, frozen=True):
    """What a replay came to: each of them with the decision of this version.

    ``difference``: the first; ``differing``: how many. ``failed``: of one of them nothing can be
    expected from now on.
    """

    admissions: tuple[Admission, ...] = ()
    difference: Difference | None = None
    differing: int = 0
    failed: bool = False


def packed(admissions: Sequence[Admission]) -> bytes:
    """For the header; nothing for none."""
    return msgspec.msgpack.encode(tuple(admissions)) if admissions else b""


def admissions_of(header: Header) -> tuple[Admission, ...]:
    """The decisions, oldest first; captures older than these have none.

    Raises:
        CaptureError: they cannot be read.
    """
    if not header.admissions:
        return ()
    try:
        return msgspec.msgpack.decode(header.admissions, type=_Admissions)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise CaptureError("The capture's decisions before the call cannot be read.") from error


def admit(admissions: Sequence[Admission], began: float) -> Admitted:
    """Take each decision again and compare. Another decision comes before one from which other
    things follow, and that before one that is come to otherwise."""
    came: list[Admission] = []
    found: list[tuple[int, Difference]] = []
    failed = False
    for index, admission in enumerate(admissions):
        try:
            again = taken_again(admission)
        except Exception as error:  # noqa: BLE001 - a bug in the core is a finding, not a crash
            why = printable(f"{type(error).__name__}: {error}", 200)
            expected = _moment(admission, _body(admission.decision), began)
            found.append((0, _difference(admissions, index, began, expected, None, why)))
            came.append(admission)
            failed = True
            continue
        whole = again.remembered and not admission.reloaded
        redone = msgspec.structs.replace(admission, decision=again.decision)
        came.append(again.remembered[0] if whole else redone)
        failed = failed or not _holds(again) or again.asks_hook
        expected, other = _compared(admission, again, began)
        if expected.body != other.body:
            difference = _difference(admissions, index, began, expected, other)
            rank = 0 if again.decision != admission.decision else 1 if not _holds(again) else 2
            found.append((rank, difference))
    _, first = min(found, key=lambda one: one[0], default=(0, None))
    return Admitted(tuple(came), first, len(found), failed)


def _difference(
    admissions: Sequence[Admission],
    index: int,
    began: float,
    expected: Moment,
    came: Moment | None,
    why: str = "",
) -> Difference:
    around, here = diff.around([asked(one, began) for one in admissions], index)
    return Difference(
        kind="failed" if came is None else "changed",
        at_s=expected.at_s,
        step=BEFORE,
        turn=None,
        expected=expected,
        came=came,
        fields=() if came is None else diff.fields_that_differ(expected, came),
        shifted_s=None,
        around=around,
        here=here,
        why=why,
    )


# --- in words -------------------------------------------------------------------------


def asked(admission: Admission, began: float) -> Moment:
    """Who wanted to call, and what of the rules met this caller."""
    caller, rules = admission.caller, admission.rules
    body: dict[str, object] = {}
    if admission.road == "placed":
        body["placed"] = admission.placed
    else:
        body |= {"mode": rules.mode, "phone": caller.phone_number, "pstn": rules.allow_pstn}
    if admission.road == "redeemed":
        body["granted"] = _granted(admission)
    body["bridge"] = next((words(gate) for gate in admission.gates if gate is not None), "")
    body["hook"] = words(admission.hook) if admission.hook else ""
    body["flooded"] = admission.flooded
    body |= {
        "user": caller.user_id,
        "address": caller.user_principal_name,
        "listed": _listed(rules.allow_from, rules.others_allowed),
        "tenant": caller.tenant_id,
        "tenants": _listed(rules.allowed_tenants, rules.other_tenants),
    }
    left = {name: value for name, value in body.items() if value not in ("", False)}
    return Moment(admission.at - began, "given", _NAMES[admission.on], msgspec.json.encode(left))


def words(verdict: Verdict) -> str:
    """``refused: tenant-only, Tenant not allowed``."""
    told = ", ".join(filter(None, (verdict.strategy, verdict.reason)))
    word = "granted" if verdict.authorized else "refused"
    return f"{word}: {told}" if told else word


def _granted(admission: Admission) -> str:
    """Whose grant the call redeemed, as far as that is not who asks."""
    if admission.granted is None:
        return "nobody"
    caller = admission.caller
    both = zip(
        ("user", "tenant"), admission.granted, (caller.user_id, caller.tenant_id), strict=True
    )
    other = [f"{what} {granted}" for what, granted, own in both if granted != own]
    return ", ".join(other) or "this caller"


def _listed(own: Sequence[str], others: bool) -> str:
    return " and ".join([*own, *["others"] * others])


def _compared(admission: Admission, again: Again, began: float) -> tuple[Moment, Moment]:
    """What was decided then and now; and, where that is so now, that other things follow from it
    than must, or that it was come to otherwise."""
    expected, came = _body(admission.decision), _body(again.decision)
    if again.asks_hook:
        came = {
            "decision": f"granted by the rules: {admission.rules.mode}",
            "reason": "the hook would be asked",
        }
        return _moment(admission, expected, began), _moment(admission, came, began)
    if not _holds(again):
        expected |= {"records": [words(again.decision)], "followed": again.due}
        came |= {"records": [words(one) for one in again.records], "followed": again.followed}
    unlike = [_unlike(admission, one) for one in again.remembered]
    if unlike != [""] and again.decision == admission.decision and not admission.reloaded:
        came["taken_from"] = unlike
    return _moment(admission, expected, began), _moment(admission, came, began)


def _holds(again: Again) -> bool:
    """Whether what was decided is what was done and recorded."""
    return again.records == (_bare(again.decision),) and again.followed == again.due


def _bare(verdict: Verdict) -> Verdict:
    """As the records have it."""
    return msgspec.structs.replace(verdict, settings=())


def _moment(admission: Admission, body: dict[str, object], began: float) -> Moment:
    return Moment(admission.at - began, "did", "CallerDecided", msgspec.json.encode(body))


def _unlike(wanted: Admission, other: Admission) -> str:
    """The fields that differ; whether there is a hook tells where it is needed."""
    names = (name for name in Admission.__struct_fields__ if name != "has_hook")
    return " ".join(name for name in names if getattr(wanted, name) != getattr(other, name))


def _body(verdict: Verdict) -> dict[str, object]:
    word = "granted" if verdict.authorized else "refused"
    told = {"decision": f"{word}: {verdict.strategy}", "reason": verdict.reason}
    return {name: value for name, value in {**told, "settings": verdict.settings}.items() if value}
