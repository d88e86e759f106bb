"""Between the structs of a call and the records of a capture.

Owns which classes may be in one, what of each is content (media, words) and how it is
left out. Refuses to decide when it is.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_args

import msgspec

from teamscall.calls import events as calls
from teamscall.calls.records import CallRecord
from teamscall.calls.settings import CallSettings, Filler, Goodbyes
from teamscall.capture.records import NO_FRAME, OPEN, Did, Event, Header, Source, Step
from teamscall.engines import base as engine
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import events as wire

SHELL_EVENTS: tuple[type, ...] = (
    calls.TimePassed,
    calls.LinkLost,
    calls.LinkResumed,
    calls.EndRequested,
    calls.SpeakRequested,
    calls.MessageSeen,
)
GATEWAY_EVENTS: tuple[type, ...] = get_args(wire.FromGateway)
ENGINE_EVENTS: tuple[type, ...] = get_args(engine.EngineEvent)
WIRE_MESSAGES: tuple[type, ...] = get_args(wire.ToGateway)
ENGINE_COMMANDS: tuple[type, ...] = get_args(engine.EngineCommand)
COMMANDS: tuple[type, ...] = (
    *ENGINE_COMMANDS,
    *get_args(CallRecord),
    calls.Fill,
    calls.Finish,
)
_BY_NAME: dict[str, type] = {
    kind.__name__: kind
    for kind in (*SHELL_EVENTS, *GATEWAY_EVENTS, *ENGINE_EVENTS, *WIRE_MESSAGES, *COMMANDS)
}

# What is said, heard, seen or pressed. Everything else is structure: ids, times, counters.
CONTENT: dict[str, tuple[str, ...]] = {
    "AudioIn": ("pcm",),
    "VideoIn": ("data",),
    "DigitPressed": ("digit",),
    "SayRequested": ("text",),
    "SpeakRequested": ("text",),
    "EndRequested": ("goodbye",),
    "Transcript": ("text",),
    "AnswerText": ("delta",),
    "AnswerAudio": ("pcm", "text"),
    "Respond": ("text",),
    "PressDigit": ("digit",),
    "Say": ("text",),
    "TruncateAnswer": ("heard_text",),
    "Fill": ("text",),
    "Heard": ("text",),
    "Said": ("delta",),
    "TurnEnded": ("said_text", "heard_text"),
    "Pressed": ("digit",),
    # A checksum of audio is derived from it.
    "Hear": ("crc32",),
}

_T = TypeVar("_T")

_SETTINGS_DIGEST = msgspec.msgpack.Encoder(order="sorted")


# --- to records -----------------------------------------------------------------------


def step(now: float, event: object, *, frame: int = NO_FRAME, elide: bool = False) -> Step:
    """The record of an event. ``frame``: of the message it was decoded from, if known.

    Raises:
        TypeError: it is of no class that a conversation is given.
    """
    source = _source(event)
    if source == "gateway" and frame != NO_FRAME:
        return Step(now, source, frame, None)
    name, fields, elided = _taken_apart(event, elide)
    return Step(now, source, NO_FRAME, Event(name, fields, elided))


def opening(now: float) -> Step:
    """The record of ``Conversation.open``."""
    return Step(now, "shell", NO_FRAME, Event(OPEN, {}))


def did(command: object, *, elide: bool = False) -> Did:
    """The record of a command; two that are equal did the same.

    Raises:
        TypeError: it is of no class that a conversation returns.
    """
    if isinstance(command, WIRE_MESSAGES):
        return Did(type(command).__name__, {})
    if isinstance(command, engine.Hear):
        fields = {"length": len(command.pcm), "crc32": zlib.crc32(command.pcm)}
        return Did("Hear", *_without("Hear", fields) if elide else (fields, {}))
    return Did(*_taken_apart(command, elide))


def setup_bytes(setup: calls.Setup) -> bytes:
    return msgspec.msgpack.encode(setup)


def settings_bytes(settings: CallSettings) -> bytes:
    return msgspec.msgpack.encode(settings)


def without_words(settings: CallSettings) -> CallSettings:
    """The settings without what the operator has the bot say; they decide as before but for
    that."""
    replace: Callable[..., Any] = msgspec.structs.replace
    return replace(  # type: ignore[no-any-return]
        settings,
        greeting="",
        silence=replace(settings.silence, reprompt="", goodbye=""),
        filler=Filler(after_s=settings.filler.after_s),
        goodbyes=Goodbyes(deadline_s=settings.goodbyes.deadline_s),
    )


def digest(settings: CallSettings) -> str:
    """Of the settings that shape the conversation: SHA-256 as hex. They hold no secret."""
    return hashlib.sha256(_SETTINGS_DIGEST.encode(settings)).hexdigest()


def _source(event: object) -> Source:
    if isinstance(event, GATEWAY_EVENTS):
        return "gateway"
    return "engine" if isinstance(event, ENGINE_EVENTS) else "shell"


def _taken_apart(thing: object, elide: bool) -> tuple[str, Mapping[str, Any], Mapping[str, int]]:
    name = type(thing).__name__
    if _BY_NAME.get(name) is not type(thing):
        raise TypeError(f"{name} is never in a capture")
    fields = msgspec.to_builtins(thing, builtin_types=(bytes,))
    fields.pop("type", None)  # the tag of a call's records is their name
    if not elide:
        return name, fields, {}
    return name, *_without(name, fields)


def without_content(event: Event) -> Event:
    """The event without what is said, heard, seen or pressed in it."""
    fields, elided = _without(event.name, dict(event.fields))
    return Event(event.name, fields, {**event.elided, **elided})


def _without(name: str, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Text and bytes become empty; both results are new, or the caller's own."""
    elided: dict[str, int] = {}
    for field in CONTENT.get(name, ()):
        value = fields.get(field)
        if isinstance(value, str) and value:
            elided[field] = len(value.encode("utf-8", "surrogatepass"))
            fields[field] = ""
        elif isinstance(value, bytes) and value:
            elided[field] = len(value)
            fields[field] = b""
        elif isinstance(value, int):
            fields[field] = 0
    return fields, elided


# --- and back -------------------------------------------------------------------------


def event_of(event: Event) -> Any:
    """The struct that was recorded; its content is empty where it was elided.

    Raises:
        CaptureError: there is no such class (any more), or it has other fields.
    """
    return _put_together(event.name, event.fields)


def command_of(record: Did) -> Any:
    """The struct that was recorded.

    Raises:
        CaptureError: it is of ``Hear`` or a message to the gateway, which are not kept
            whole, or as ``event_of``.
    """
    if record.name == "Hear" or _BY_NAME.get(record.name) in WIRE_MESSAGES:
        raise CaptureError(f"A capture does not hold {record.name} whole.")
    return _put_together(record.name, record.fields)


def setup_of(header: Header) -> calls.Setup:
    """What the conversation was made of.

    Raises:
        CaptureError: it is not there (the emulator's side), or not readable.
    """
    return _unpacked(header.setup, calls.Setup, "setup")


def settings_of(header: Header) -> CallSettings:
    """The settings of the conversation.

    Raises:
        CaptureError: as ``setup_of``.
    """
    return _unpacked(header.settings, CallSettings, "settings")


def is_wire_message(name: str) -> bool:
    """Whether ``Did.name`` is of a message to the gateway."""
    return _BY_NAME.get(name) in WIRE_MESSAGES


def is_engine_command(name: str) -> bool:
    """Whether ``Did.name`` is of what an engine is told."""
    return _BY_NAME.get(name) in ENGINE_COMMANDS


def _put_together(name: str, fields: Mapping[str, Any]) -> Any:
    kind = _BY_NAME.get(name)
    if kind is None:
        raise CaptureError(f"The capture has an unknown event: {printable(name, 60)}.")
    try:
        return msgspec.convert(fields, kind)
    except (msgspec.ValidationError, ValueError, TypeError, RecursionError) as error:
        detail = printable(str(error))
        raise CaptureError(f"The capture has an unreadable {name}: {detail}.") from error


def _unpacked(data: bytes, kind: type[_T], what: str) -> _T:
    if not data:
        raise CaptureError(
            f"The capture has no {what} of a conversation.",
            hint="Only a bridge's captures have them (serve --capture, demo --capture).",
        )
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise CaptureError(f"The capture's {what} cannot be read.") from error
