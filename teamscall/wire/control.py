"""The HTTP around the sockets: call paths, and the bodies of both control planes.

Owns the ``{callId}`` segment of StandIn's paths, what StandIn and the C# gateway are asked
when a call is placed or ended, what they answer, and the outcome that StandIn reports.
Refuses to know HTTP itself, signatures, and base URLs.

Decoders never raise; what they refuse is a ``Dropped``, ``PathRefusal`` or ``Refused``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote_to_bytes

import msgspec

from teamscall.text import printable
from teamscall.wire.csharp import is_call_id as is_csharp_call_id
from teamscall.wire.events import Dropped, Outcome
from teamscall.wire.strict import read_body, text_or_blank

# StandIn's control endpoint, under `standin.worker_base_url`.
PLACE_PATH = "/api/calls"

# The C# gateway's, under `bridge.control_url`.
INITIATE_PATH = "/control/initiateCall"
HANG_UP_PATH = "/control/hangup"
HEALTH_PATH = "/health"

# Between a call path's prefix and the call id, for outcome reports.
OUTCOME_SEGMENT = "/outcome"

# standin.md: over this an outcome is answered with 413.
MAX_OUTCOME_BYTES = 8 * 1024

# Requests and answers carry two ids; some services put an error page where they would be.
MAX_BODY_BYTES = 64 * 1024

MAX_CALL_ID_CHARS = 256

# What we show of a refusal's own words.
MAX_REFUSAL_CHARS = 200

_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


# --- paths ------------------------------------------------------------------------------


class PathRefusal(msgspec.Struct, frozen=True):
    """Why a request target names no call: 404 (no such path) or 400 (a bad call id)."""

    status: Literal[400, 404]
    reason: str  # static text


_NO_SUCH_PATH = PathRefusal(404, "no such path")


def call_id_from_path(target: str, prefixes: Sequence[str]) -> str | PathRefusal:
    """The percent-decoded call id of ``{prefix}/{callId}``. Never raises.

    ``target`` is the request target as latin-1 made it text. 404: none of ``prefixes``,
    no call id, more than one segment, a trailing slash, a query. 400: not an id that
    :func:`is_call_id` accepts, a broken escape, not UTF-8.
    """
    for prefix in prefixes:
        stem = prefix.rstrip("/") + "/"
        segment = target.removeprefix(stem)
        if segment != target and segment and not set(segment) & set("/?"):
            return _decoded_call_id(segment)
    return _NO_SUCH_PATH


def is_call_id(call_id: str) -> bool:
    """May StandIn name a call so? 1 to 256 printable characters and no ``/``.

    Also refused: blank ones, which ``session.start`` cannot repeat, and the two dot
    segments, which every proxy on the way resolves.
    """
    return (
        0 < len(call_id) <= MAX_CALL_ID_CHARS
        and call_id.isprintable()
        and "/" not in call_id
        and call_id.strip() not in {"", ".", ".."}
    )


def call_path(prefix: str, call_id: str) -> str:
    """``{prefix}/{callId}``, percent-encoded so that :func:`call_id_from_path` reads it back.

    Raises:
        ValueError: not a call id.
    """
    if not is_call_id(call_id):
        raise ValueError("a call id has 1 to 256 printable characters and no slash")
    return f"{prefix.rstrip('/')}/{quote(call_id, safe='')}"


def _decoded_call_id(segment: str) -> str | PathRefusal:
    if _BAD_ESCAPE.search(segment):
        return PathRefusal(400, "the call id has a broken escape")
    try:
        call_id = unquote_to_bytes(segment.encode("latin-1")).decode()
    except UnicodeError:
        return PathRefusal(400, "the call id is not UTF-8")
    if not is_call_id(call_id):
        return PathRefusal(400, "the call id is not 1 to 256 printable characters without a slash")
    return call_id


# --- outcomes ---------------------------------------------------------------------------


class _OutcomeBody(msgspec.Struct):
    outcome: str


_outcome = msgspec.json.Decoder(_OutcomeBody)
_OUTCOMES: dict[str, Outcome] = {word: word for word in get_args(Outcome)}


def decode_outcome(body: bytes) -> Outcome | Dropped | None:
    """How StandIn says that a placed call ended; None for a word we do not know.

    A ``Dropped`` is answered with 413 when its cause is ``too-large``, else with 400.
    """
    read = read_body(_outcome, body, MAX_OUTCOME_BYTES)
    return read if isinstance(read, Dropped) else _OUTCOMES.get(read.outcome)


def encode_outcome(outcome: Outcome) -> bytes:
    """The body of an outcome report, for the emulator."""
    return msgspec.json.encode(_OutcomeBody(outcome))


# --- placing a call ---------------------------------------------------------------------


class Placing(msgspec.Struct, frozen=True, rename="camel"):
    """StandIn: whom to ring."""

    user_object_id: str
    tenant_id: str


class UserTarget(msgspec.Struct, frozen=True, tag_field="type", tag="user", rename="camel"):
    """C#: a Teams user by object id."""

    user_id: str


class PhoneTarget(msgspec.Struct, frozen=True, tag_field="type", tag="phone"):
    """C#: a phone number, ``+`` and digits."""

    number: str


class Initiating(msgspec.Struct, frozen=True, omit_defaults=True):
    """C#: whom to ring, and what to tell them."""

    target: UserTarget | PhoneTarget
    message: str | None = None


class Placed(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The far side rings; ``call_id`` is its choice and comes back with the answered leg."""

    call_id: str
    scenario_id: str | None = None


class _PlacedBody(msgspec.Struct, rename="camel"):
    call_id: str
    scenario_id: Any = None  # decorates; must not cost a ringing call


class Refused(msgspec.Struct, frozen=True):
    """The far side answered something else. ``words`` are its own, printable and capped."""

    status: int
    words: str


_placing = msgspec.json.Decoder(Placing)
_initiating = msgspec.json.Decoder(Initiating)
_placed = msgspec.json.Decoder(_PlacedBody)


def encode_placing(placing: Placing) -> bytes:
    """The body of ``POST {base}/api/calls``."""
    return msgspec.json.encode(placing)


def decode_placing(body: bytes) -> Placing | Dropped:
    """Read it, as StandIn would; both ids are needed."""
    read = read_body(_placing, body, MAX_BODY_BYTES)
    if isinstance(read, Placing) and not (read.user_object_id.strip() and read.tenant_id.strip()):
        return Dropped("bad-field", "blank userObjectId or tenantId")
    return read


def encode_initiating(initiating: Initiating) -> bytes:
    """The body of ``POST /control/initiateCall``."""
    return msgspec.json.encode(initiating)


def decode_initiating(body: bytes) -> Initiating | Dropped:
    """Read it, as a C# gateway would; a blank target is refused."""
    read = read_body(_initiating, body, MAX_BODY_BYTES)
    if isinstance(read, Initiating):
        target = read.target
        whom = target.user_id if isinstance(target, UserTarget) else target.number
        if not whom.strip():
            return Dropped("bad-field", "blank target")
    return read


def encode_placed(placed: Placed) -> bytes:
    """The answer to either request, for the emulator."""
    return msgspec.json.encode(placed)


def decode_placed(status: int, body: bytes, *, csharp: bool = False) -> Placed | Refused:
    """Read the answer to either request: any 2xx with a usable ``callId`` is a ringing call.

    ``csharp``: hold the call id to that dialect's narrower alphabet.
    """
    if not 200 <= status < 300:
        return _refused(status, body)
    read = read_body(_placed, body, MAX_BODY_BYTES)
    if isinstance(read, Dropped):
        return Refused(status, "an answer without a callId")
    usable = is_csharp_call_id if csharp else is_call_id
    call_id = text_or_blank(read.call_id)
    if not usable(call_id):
        return Refused(status, "an answer with an unusable callId")
    return Placed(call_id, text_or_blank(read.scenario_id) or None)


def _refused(status: int, body: bytes) -> Refused:
    return Refused(status, printable(body[:4096].decode("utf-8", "replace"), MAX_REFUSAL_CHARS))


# --- ending a call, health: C# only -----------------------------------------------------


class _HangUp(msgspec.Struct, rename="camel"):
    call_id: str


class _HungUp(msgspec.Struct):
    success: bool = False


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """What ``GET /health`` of a C# gateway says of itself."""

    status: str
    active_calls: int = 0
    sdk_version: str = ""


_hang_up = msgspec.json.Decoder(_HangUp)
_hung_up = msgspec.json.Decoder(_HungUp)
_health = msgspec.json.Decoder(Health)


def encode_hang_up(call_id: str) -> bytes:
    """The body of ``POST /control/hangup``."""
    return msgspec.json.encode(_HangUp(call_id))


def decode_hang_up(body: bytes) -> str | Dropped:
    """Read it, as a C# gateway would: the call id."""
    read = read_body(_hang_up, body, MAX_BODY_BYTES)
    if isinstance(read, Dropped):
        return read
    return read.call_id if is_csharp_call_id(read.call_id) else Dropped("bad-call-id")


def encode_hung_up(success: bool) -> bytes:
    """The answer to it, for the emulator."""
    return msgspec.json.encode(_HungUp(success))


def decode_hung_up(status: int, body: bytes) -> bool | Refused:
    """Read the answer to it: did the gateway end the call?"""
    if not 200 <= status < 300:
        return _refused(status, body)
    read = read_body(_hung_up, body, MAX_BODY_BYTES)
    return (
        Refused(status, "an answer that is not JSON") if isinstance(read, Dropped) else read.success
    )


def encode_health(health: Health) -> bytes:
    """The answer to ``GET /health``, for the emulator."""
    return msgspec.json.encode(health)


def decode_health(status: int, body: bytes) -> Health | Refused:
    """Read the answer to ``GET /health``; its texts are made printable."""
    if not 200 <= status < 300:
        return _refused(status, body)
    read = read_body(_health, body, MAX_BODY_BYTES)
    if isinstance(read, Dropped):
        return Refused(status, "an answer that is not a health report")
    return Health(printable(read.status), read.active_calls, printable(read.sdk_version))
