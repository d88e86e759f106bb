"""The decisions before a call began: kept in its capture's header, taken again in a replay.

Owns their form in the header, what two of them are compared by and how they are put into
words. Refuses to know how a decision is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from teamscall.calls.admission import Admission, Verdict
from teamscall.calls.readmission import taken_again
from teamscall.capture import diff
from teamscall.capture.diff import Difference, Moment
from teamscall.capture.records import Header
from teamscall.errors import CaptureError
from teamscall.text import printable

# ``Difference.step`` of what is before all events.
BEFORE = -1


class Admitted(msgspec.Struct, frozen=True):
    """What a replay came to: each of them with the decision of this version.

    ``difference``: the first; ``differing``: how many.
    """

    admissions: tuple[Admission, ...] = ()
    difference: Difference | None = None
    differing: int = 0


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
        return msgspec.msgpack.decode(header.admissions, type=tuple[Admission, ...])
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise CaptureError("The capture's decisions before the call cannot be read.") from error


def admit(admissions: Sequence[Admission], began: float) -> Admitted:
    """Take each decision again and compare."""
    came: list[Admission] = []
    first: Difference | None = None
    differing = 0
    for index, admission in enumerate(admissions):
        expected = decided(admission, began)
        try:
            verdict, told = taken_again(admission)
        except Exception as error:  # noqa: BLE001 - a bug in the core is a finding, not a crash
            why = printable(f"{type(error).__name__}: {error}", 200)
            came.append(admission)
            differing += 1
            first = first or _difference(admissions, index, began, expected, None, why)
            continue
        other = _decided(verdict, told, admission.at - began)
        came.append(msgspec.structs.replace(admission, decision=verdict))
        if expected.body != other.body:
            differing += 1
            first = first or _difference(admissions, index, began, expected, other)
    return Admitted(tuple(came), first, differing)


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
    body: dict[str, object] = {"on": admission.on}
    if admission.road == "placed":
        body["placed"] = admission.placed
    else:
        body |= {
            "mode": rules.mode,
            "user": caller.user_id,
            "tenant": caller.tenant_id,
            "address": caller.user_principal_name,
            "phone": caller.phone_number,
            "listed": _listed(rules.allow_from, rules.others_allowed),
            "tenants": _listed(rules.allowed_tenants, rules.other_tenants),
            "pstn": rules.allow_pstn,
        }
    if admission.road == "redeemed":
        user, tenant = admission.granted or ("", "")
        body["granted"] = f"{user} of {tenant}" if admission.granted else "nobody"
    refusals = [words(gate) for gate in admission.gates if gate is not None]
    if refusals:
        body["bridge"] = refusals[0]
    if admission.hook:
        body["hook"] = words(admission.hook)
    left = {name: value for name, value in body.items() if value not in ("", False)}
    return Moment(admission.at - began, "given", "CallerAsks", msgspec.json.encode(left))


def words(verdict: Verdict) -> str:
    """``refused: tenant-only, Tenant not allowed``."""
    told = ", ".join(filter(None, (verdict.strategy, verdict.reason)))
    word = "granted" if verdict.authorized else "refused"
    return f"{word}: {told}" if told else word


def _listed(own: Sequence[str], others: bool) -> str:
    return " and ".join([*own, *["others"] * others])


def decided(admission: Admission, began: float) -> Moment:
    """What was decided."""
    return _decided(admission.decision, (admission.decision,), admission.at - began)


def _decided(verdict: Verdict, told: Sequence[Verdict], at_s: float) -> Moment:
    """``told``: by the records, where exactly one must say the same."""
    body: dict[str, object] = {"decision": words(verdict)}
    if verdict.settings:
        body["settings"] = verdict.settings
    records = [words(record) for record in told]
    if records != [words(verdict)]:
        body["records"] = records
    return Moment(at_s, "did", "CallerDecided", msgspec.json.encode(body))
