"""A capture without anybody in it: identities, words and audio go, timing and lengths stay.

Owns what may stay, by name and by form: a text that is not known to be harmless is
emptied. Ids become ``id-1``, ``id-2``...: the same one the same everywhere, and one that
differs in case or blanks alone differs in these (``ID-1``), as policy compares. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from teamscall.calls.admission import Admission, Verdict
from teamscall.capture import codec
from teamscall.capture.admitting import admissions_of, packed
from teamscall.capture.eliding import elide
from teamscall.capture.reader import Capture
from teamscall.capture.records import Closed, Did, Event, Frame, Header, Record, Step

# Whose they are: each value becomes a pseudonym.
_IDENTITIES = frozenset(
    {
        *("callId", "correlationId", "threadId", "tenantId", "userId", "aadId", "teamsCallId"),
        *("displayName", "userPrincipalName", "phoneNumber", "number", "speakerName"),
        *("participantId", "participantName"),
        *("call_id", "correlation_id", "thread_id", "tenant_id", "user_id", "teams_call_id"),
        *("display_name", "user_principal_name", "phone_number", "speaker"),
        *("participant_id", "participant_name", "address", "attempt", "target"),
    }
)
# Words of ours and of the protocols', if they have the form of one.
_WORDS = frozenset(
    {
        *("type", "status", "recordingStatus", "direction", "strategy", "reason", "source"),
        *("mime", "mode", "emotion", "kind", "why", "by", "ended_by", "stage", "dialect"),
        *("state", "outcome", "on", "turn_taking", "recording", "currency", "model", "engine"),
        *("name", "action", "result"),
    }
)
# The bridge's own reasons why a call may not be; a hook's are its own words.
_REASON = re.compile(r"[A-Z][A-Za-z ]{0,63}", re.ASCII)
_WORD = re.compile(r"[a-z0-9][a-z0-9._:/-]{0,63}", re.ASCII)


def scrub(capture: Capture) -> tuple[Header, list[Record]]:
    """The capture as ``timing`` and without identities, readable as any other."""
    names = _Names()
    records = [_scrubbed(record, names) for record in capture.records]
    return _header(capture.header, names), records


class _Names:
    """Pseudonyms of one capture."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, value: str) -> str:
        folded = value.strip().casefold()
        if not folded:
            return ""
        name = self._known.setdefault(folded, f"id-{len(self._known) + 1}")
        bare = value.strip()
        return (name if bare == folded else name.upper()) + " " * (bare != value)


def _scrubbed(record: Record, names: _Names) -> Record:
    match record:
        case Frame():
            text, elided = _frame(record.text, names)
            return msgspec.structs.replace(record, text=text, elided=record.elided + elided)
        case Step(event=Event() as event):
            event = codec.without_content(event)
            return msgspec.structs.replace(
                record, event=Event(event.name, _fields(event.fields, names), event.elided)
            )
        case Did():
            event = codec.without_content(Event(record.name, record.fields, record.elided))
            return Did(event.name, _fields(event.fields, names), event.elided)
        case Closed(at=at, reason=reason):
            return Closed(at, _word(reason))
        case _:
            return record


def _frame(text: bytes, names: _Names) -> tuple[bytes, int]:
    if not text:
        return text, 0
    left, elided = elide(text)
    if not left:
        return left, elided
    return msgspec.json.encode(_fields(msgspec.json.decode(left), names)), elided


def _fields(fields: Mapping[str, Any], names: _Names) -> dict[str, Any]:
    return {key: _value(key, value, names) for key, value in fields.items()}


def _value(key: str, value: Any, names: _Names) -> Any:
    match value:
        case str() | int() | float() if key in _IDENTITIES:
            return names.of(str(value))
        case str():
            return _word(value) if key in _WORDS else ""
        case bytes():
            return b""
        case dict():
            return _fields(value, names)
        case list() | tuple():
            return [_value(key, one, names) for one in value]
        case _:
            return value


def _word(value: str) -> str:
    return value if _WORD.fullmatch(value) else ""


def _header(header: Header, names: _Names) -> Header:
    setup, settings = header.setup, header.settings
    if setup:
        known = codec.setup_of(header)
        caller = msgspec.structs.asdict(known.caller)
        setup = codec.setup_bytes(
            msgspec.structs.replace(
                known,
                call_id=names.of(known.call_id),
                caller=type(known.caller)(**{k: names.of(v) for k, v in caller.items()}),
                address=names.of(known.address),
                attempt=names.of(known.attempt),
                opening="",
            )
        )
    if settings:
        ours = msgspec.structs.replace(codec.settings_of(header), prices={})
        settings = codec.settings_bytes(codec.without_words(ours))
    return msgspec.structs.replace(
        header,
        call_id=names.of(header.call_id),
        content="timing",
        why="",
        config_digest="",
        engine=_word(header.engine),
        setup=setup,
        settings=settings,
        admissions=packed([_admission(one, names) for one in admissions_of(header)]),
    )


def _admission(admission: Admission, names: _Names) -> Admission:
    """Decided as before, about and by nobody: what is a hook's own words goes, what the lists
    and the caller had in common they still have."""
    rules, hook, caller = admission.rules, admission.hook, admission.caller
    own = msgspec.structs.asdict(caller)
    return msgspec.structs.replace(
        admission,
        call_id=names.of(admission.call_id),
        caller=type(caller)(**{k: names.of(v) for k, v in own.items()}),
        decision=_verdict(admission.decision),
        rules=msgspec.structs.replace(
            rules,
            allow_from=tuple(map(names.of, rules.allow_from)),
            allowed_tenants=tuple(map(names.of, rules.allowed_tenants)),
        ),
        gates=tuple(gate and _verdict(gate) for gate in admission.gates),
        hook=hook and msgspec.structs.replace(hook, reason="", settings=_keys(hook.settings)),
        granted=admission.granted
        and (names.of(admission.granted[0]), names.of(admission.granted[1])),
    )


def _verdict(verdict: Verdict) -> Verdict:
    reason = verdict.without_words().reason
    return Verdict(
        verdict.authorized,
        _word(verdict.strategy),
        reason if _REASON.fullmatch(reason) else "",
        _keys(verdict.settings),
    )


def _keys(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in settings if _WORD.fullmatch(key))
