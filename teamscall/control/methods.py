"""Questions in, answers out: JSON-RPC 2.0 as text, to the operator's verbs and back.

Owns parsing, the checks of parameters and the shape of errors. Refuses to know sockets.

Rules:

1. Whatever text comes, an answer comes of it, or nothing where it was a notification. No
   text raises.
2. An error shows what is wrong with the question, never what went wrong inside.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from teamscall.control import protocol
from teamscall.control.operator import Operator
from teamscall.control.protocol import METHODS, ErrorCode, Subscribe, Unsubscribe
from teamscall.control.refusing import refusal
from teamscall.control.stream import Stream, Subscription
from teamscall.errors import ControlError, TeamscallError
from teamscall.text import printable

log = logging.getLogger("teamscall.control")

MAX_SUBSCRIPTIONS = 16  # of one visitor
_MAX_ID_BYTES = 256
_MAX_DETAIL_CHARS = 300

_Verb = Callable[[Any, str], Awaitable[Any]]


class _Request(msgspec.Struct):
    """As it came; what a field holds is looked at later, so that the error can say which."""

    jsonrpc: msgspec.Raw = msgspec.Raw(b"")
    method: msgspec.Raw = msgspec.Raw(b"")
    params: msgspec.Raw = msgspec.Raw(b"")
    id: msgspec.Raw = msgspec.Raw(b"")


class Visitor:
    """One connection: who it is, for the audit, and what it has subscribed to."""

    def __init__(self, by: str) -> None:
        self.by = by
        self.subscriptions: dict[str, Subscription] = {}


class Methods:
    """See the module. One per bridge."""

    def __init__(self, operator: Operator, stream: Stream) -> None:
        self._stream = stream
        self._verbs: dict[str, _Verb] = {
            "teamscall.initiate": operator.initiate,
            "teamscall.speak": operator.speak,
            "teamscall.end": operator.end,
            "teamscall.status": operator.status,
            "teamscall.calls": operator.calls,
            "teamscall.reload": operator.reload,
            "teamscall.drain": operator.drain,
            "teamscall.outbound": operator.outbound,
        }

    async def answer(self, text: str | bytes, visitor: Visitor) -> bytes | None:
        """What to send back; None for a notification. Raises only cancellation."""
        number = b"null"
        wanted = True
        try:
            request = _parsed(text)
            wanted = bool(request.id) or not _is_text(request.method)
            number = _number(request)
            result = await self._answer(request, visitor)
            body = b'"result":' + msgspec.json.encode(result)
        except ControlError as error:
            body = b'"error":' + _error(error)
        except Exception as error:
            failed = type(error).__name__
            log.error("A question failed", exc_info=error, extra={"by": visitor.by})
            inside = refusal(
                ErrorCode.INTERNAL_ERROR,
                f"The bridge failed to answer: {failed}.",
                hint="Its log says more.",
            )
            body = b'"error":' + _error(inside)
        return b'{"jsonrpc":"2.0","id":' + number + b"," + body + b"}" if wanted else None

    def busy(self, text: str | bytes) -> bytes | None:
        """The answer to a question that is one too many."""
        try:
            request = _parsed(text)
            if not request.id:
                return None
            number = _number(request)
        except ControlError:
            number = b"null"
        too_much = refusal(
            ErrorCode.TOO_MUCH,
            "Too many questions at once on this connection.",
            hint="Wait for answers before asking more.",
        )
        return b'{"jsonrpc":"2.0","id":' + number + b',"error":' + _error(too_much) + b"}"

    def leave(self, visitor: Visitor) -> None:
        """The connection is gone."""
        for subscription in visitor.subscriptions.values():
            self._stream.end(subscription)
        visitor.subscriptions.clear()

    async def _answer(self, request: _Request, visitor: Visitor) -> object:
        name = _method(request)
        params = _params(name, request.params)
        if isinstance(params, Subscribe):
            return self._subscribe(params, visitor)
        if isinstance(params, Unsubscribe):
            return self._unsubscribe(params, visitor)
        try:
            return await self._verbs[name](params, visitor.by)
        except ControlError:
            raise
        except TeamscallError as error:  # said on purpose: it may be shown
            raise refusal(
                ErrorCode.INTERNAL_ERROR,
                printable(error.message, 500),
                hint=printable(error.hint, 500),
            ) from error

    def _subscribe(self, wanted: Subscribe, visitor: Visitor) -> protocol.Subscribed:
        if len(visitor.subscriptions) >= MAX_SUBSCRIPTIONS:
            raise refusal(
                ErrorCode.TOO_MUCH,
                f"This connection has {MAX_SUBSCRIPTIONS} subscriptions already.",
                hint="End one with teamscall.unsubscribe, or name more events in one.",
            )
        subscription, answer = self._stream.subscribe(wanted)
        visitor.subscriptions[subscription.name] = subscription
        return answer

    def _unsubscribe(self, params: Unsubscribe, visitor: Visitor) -> protocol.Ended:
        subscription = visitor.subscriptions.pop(params.subscription, None)
        if subscription is None:
            raise refusal(
                ErrorCode.INVALID_PARAMS, "There is no such subscription on this connection."
            )
        self._stream.end(subscription)
        return protocol.Ended(subscription=subscription.name)


# --- questions -----------------------------------------------------------------------


def _parsed(text: str | bytes) -> _Request:
    try:
        if isinstance(text, bytes):
            text = text.decode()
        if text.lstrip(" \t\r\n").startswith("["):
            msgspec.json.decode(text, type=msgspec.Raw)
            raise refusal(
                ErrorCode.INVALID_REQUEST,
                "Batches are not taken.",
                hint="Send one object per message; their answers may overtake each other.",
            )
        return msgspec.json.decode(text, type=_Request)
    except msgspec.ValidationError:
        raise _invalid("A question is a JSON object.") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        raise refusal(
            ErrorCode.PARSE_ERROR, f"This is not JSON: {printable(reason, _MAX_DETAIL_CHARS)}."
        ) from None


def _number(request: _Request) -> bytes:
    """The id as it came. Blank where there is none, or none that can be given back."""
    raw = bytes(request.id).strip()
    if not raw:
        return b"null"
    try:
        msgspec.json.decode(raw, type=str | int | float | None)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _invalid("id has to be text or a number.") from None
    if len(raw) > _MAX_ID_BYTES:
        raise _invalid(f"id is longer than {_MAX_ID_BYTES} bytes.")
    return raw


def _method(request: _Request) -> str:
    if bytes(request.jsonrpc).strip() != b'"2.0"':
        raise _invalid('jsonrpc has to be "2.0".')
    if not _is_text(request.method):
        raise _invalid("method has to be text.")
    name = msgspec.json.decode(request.method, type=str)
    if name not in METHODS:
        raise refusal(
            ErrorCode.METHOD_NOT_FOUND,
            f"There is no method {printable(name, 80)}.",
            hint="`teamscall control schema` lists them.",
        )
    return name


def _params(name: str, raw: msgspec.Raw) -> msgspec.Struct:
    given = bytes(raw).strip()
    if given.startswith(b"["):
        raise _wrong(name, "params are given by name, as an object")
    try:
        return msgspec.json.decode(given or b"{}", type=METHODS[name].params)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        said = "too deep" if isinstance(error, RecursionError) else str(error)
        raise _wrong(name, said.replace("Object", "params", 1)) from None


def _is_text(raw: msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    return True


def _invalid(message: str) -> ControlError:
    return refusal(ErrorCode.INVALID_REQUEST, message)


def _wrong(name: str, detail: str) -> ControlError:
    return refusal(
        ErrorCode.INVALID_PARAMS,
        f"{name}: {printable(detail, _MAX_DETAIL_CHARS)}.",
        hint="`teamscall control schema` shows what it takes.",
    )


def _error(error: ControlError) -> bytes:
    data = {"name": error.name, "hint": error.hint, **error.data}
    return msgspec.json.encode({"code": error.code, "message": error.message, "data": data})
