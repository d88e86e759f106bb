"""The asking end of the control plane, for commands, tools and scripts.

    async with connect(find(config, os.environ)) as client:
        status = await client.status()

One connection, any number of questions at once. Starts no bridge, opens no port, waits for
nothing without a limit. Reconnecting is the caller's business.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import msgspec
from websockets.asyncio.client import ClientConnection, unix_connect
from websockets.asyncio.client import connect as tcp_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from teamscall import __version__
from teamscall.calls.tasks import Tasks
from teamscall.control import protocol
from teamscall.control.protocol import EXIT_CODES, METHODS, ErrorCode, Event
from teamscall.control.where import Where
from teamscall.errors import ControlError, DeadlinePassed, DialError, ExitCode, InputError
from teamscall.text import printable

# What an answer may take, the way there included.
TIMEOUT_S = 10.0
CLOSE_S = 1.0
# An answer may list a thousand calls; more than this is no answer of ours.
MAX_ANSWER_BYTES = 16_777_216
# Events that wait for whoever iterates. Beyond it the oldest go, and a ``gap`` says so.
QUEUE_EVENTS = 4096

NAME_HEADER = "X-Teamscall-Client"
_GONE = "The bridge went away."
_METHOD_OF = {method.params: name for name, method in METHODS.items()}


class _Error(msgspec.Struct):
    code: int
    message: str
    data: dict[str, Any] = {}


class _Message(msgspec.Struct):
    """Whatever comes: an answer or an event."""

    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"")
    error: _Error | None = None
    method: str = ""
    params: msgspec.Raw = msgspec.Raw(b"")


@contextlib.asynccontextmanager
async def connect(
    where: Where, *, timeout_s: float = TIMEOUT_S, name: str = ""
) -> AsyncIterator[Client]:
    """A client of the bridge that is there.

    Args:
        timeout_s: for the way there, and what each question may take unless it says more.
        name: what the audit calls the one who asks, such as ``mcp``.

    Raises:
        DialError: no bridge is running there.
        DeadlinePassed: something is, and does not answer.
        ControlError: it refuses us.
    """
    link = await _open(where, timeout_s, name)
    client = Client(link, timeout_s)
    tasks = Tasks()
    tasks.spawn(client._read(), "control client")
    try:
        yield client
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await link.close()
        await tasks.wait(CLOSE_S)


class EventStream:
    """One subscription. Iterate over it; it ends only by an error: ``DialError`` when the
    bridge goes away."""

    def __init__(self) -> None:
        self.subscribed = protocol.Subscribed("", "")
        self._events: collections.deque[Event] = collections.deque()
        self._missed = 0
        self._lost: Exception | None = None
        self._news = asyncio.Event()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        """Raises: DialError."""
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                gap = {"event": "gap", "missed": missed, "why": "slow"}
                cursor = self._events[0].cursor if self._events else self.subscribed.cursor
                return Event(self.subscribed.subscription, cursor, gap)
            if self._events:
                return self._events.popleft()
            if self._lost is not None:
                raise self._lost
            self._news.clear()
            await self._news.wait()

    def _put(self, event: Event) -> None:
        if len(self._events) >= QUEUE_EVENTS:
            self._events.popleft()
            self._missed += 1
        self._events.append(event)
        self._news.set()

    def _end(self, error: Exception) -> None:
        self._lost = error
        self._news.set()


class _Asked:
    """A question on its way. ``then`` sees the answer before any message after it is read."""

    def __init__(self, kind: Any, then: Callable[[Any], None] | None) -> None:
        self.kind = kind
        self.then = then
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Client:
    """A connection to a bridge, see ``connect``.

    Every method raises ControlError (the bridge did not do it), DialError (it went away) and
    DeadlinePassed (it did not answer in time; what was asked for may have been done).
    """

    def __init__(self, link: ClientConnection, timeout_s: float) -> None:
        self._link = link
        self._timeout_s = timeout_s
        self._next = 0
        self._asked: dict[int, _Asked] = {}
        self._streams: dict[str, EventStream] = {}
        self._over = False

    async def ask(self, params: msgspec.Struct, *, timeout_s: float | None = None) -> Any:
        """Ask what these parameters belong to; the result struct of that method."""
        return await self._ask(params, timeout_s or self._timeout_s, None)

    async def initiate(
        self, params: protocol.Initiate, *, timeout_s: float | None = None
    ) -> protocol.Initiated:
        """Place a call. It may take until a gateway came, see ``outbound.ring_timeout_ms``."""
        return cast(protocol.Initiated, await self.ask(params, timeout_s=timeout_s))

    async def speak(self, call_id: str, message: str) -> protocol.Done:
        """Say exactly this in a call."""
        return cast(protocol.Done, await self.ask(protocol.Speak(call_id=call_id, message=message)))

    async def end(self, call_id: str, *, after_speech: bool = False) -> protocol.Done:
        """End a call, or stop one that rings."""
        params = protocol.End(call_id=call_id, after_speech=after_speech)
        return cast(protocol.Done, await self.ask(params))

    async def status(self) -> protocol.Status:
        """The bridge as a whole."""
        return cast(protocol.Status, await self.ask(protocol.StatusOf()))

    async def call_status(self, call_id: str) -> protocol.CallStatus:
        """One call, also one that is over."""
        if not call_id:
            raise InputError("A call id is missing.")
        return cast(protocol.CallStatus, await self.ask(protocol.StatusOf(call_id=call_id)))

    async def calls(self, *, since_ms: int = 0, limit: int = 100) -> protocol.Calls:
        """The history, newest first."""
        params = protocol.CallsOf(since_ms=since_ms, limit=limit)
        return cast(protocol.Calls, await self.ask(params))

    async def reload(self) -> protocol.Reloaded:
        """Read the configuration again."""
        return cast(protocol.Reloaded, await self.ask(protocol.Nothing()))

    async def drain(self, seconds: float | None = None) -> protocol.Draining:
        """Take no more calls, and wait at most ``seconds`` for those that run. A bridge that
        does not even say its status meanwhile is not waited for."""
        limit = self._timeout_s + (protocol.MAX_DRAIN_S if seconds is None else seconds)
        params = protocol.Drain(seconds=seconds)
        return cast(protocol.Draining, await self._ask(params, limit, None, waits=True))

    async def outbound(
        self, on: bool | None = None, *, hang_up: bool = False
    ) -> protocol.OutboundStatus:
        """Allow or stop placing calls; None only asks."""
        params = protocol.OutboundSwitch(on=on, hang_up=hang_up)
        return cast(protocol.OutboundStatus, await self.ask(params))

    # --- events -----------------------------------------------------------

    @contextlib.asynccontextmanager
    async def subscribed(self, wanted: protocol.Subscribe) -> AsyncIterator[EventStream]:
        """A subscription that stands when this is entered: no event after it is missed."""
        stream = EventStream()

        def begin(answer: Any) -> None:
            stream.subscribed = answer
            self._streams[answer.subscription] = stream

        await self._ask(wanted, self._timeout_s, begin)
        try:
            yield stream
        finally:
            name = stream.subscribed.subscription
            self._streams.pop(name, None)
            if not self._over:
                with contextlib.suppress(DialError, DeadlinePassed, ControlError):
                    await self.ask(protocol.Unsubscribe(subscription=name), timeout_s=CLOSE_S)

    async def events(self, wanted: protocol.Subscribe) -> AsyncIterator[Event]:
        """Events of one subscription, until the bridge goes away: then DialError."""
        async with self.subscribed(wanted) as stream:
            async for event in stream:
                yield event

    # --- inside -----------------------------------------------------------

    async def _ask(
        self,
        params: msgspec.Struct,
        timeout_s: float,
        then: Callable[[Any], None] | None,
        *,
        waits: bool = False,
    ) -> Any:
        """``waits``: the answer may well take long; meanwhile the bridge has to give others."""
        method = _METHOD_OF[type(params)]
        kind = METHODS[method].result
        if isinstance(params, protocol.StatusOf):
            kind = protocol.CallStatus if params.call_id else protocol.Status
        self._next += 1
        number, asked = self._next, _Asked(kind, then)
        question = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
        try:
            text = msgspec.json.encode(question).decode()
        except UnicodeEncodeError:  # bytes of a command line that are no text
            raise InputError("What is to be sent to the bridge is not UTF-8 text.") from None
        if self._over:
            raise _gone()
        self._asked[number] = asked
        try:
            async with asyncio.timeout(timeout_s):
                await self._link.send(text)
                while (
                    waits and not (await asyncio.wait({asked.answer}, timeout=self._timeout_s))[0]
                ):
                    await self.status()
                return await asked.answer
        except TimeoutError:
            raise _no_answer(timeout_s) from None
        except ConnectionClosed:
            raise _gone() from None
        finally:
            self._asked.pop(number, None)
            if asked.answer.done() and not asked.answer.cancelled():
                asked.answer.exception()  # seen, also where we were cancelled meanwhile

    async def _read(self) -> None:
        try:
            async for text in self._link:
                self._take(text)
        except ConnectionClosed:
            pass  # said below, to all who wait
        finally:
            self._over = True
            for asked in self._asked.values():
                if not asked.answer.done():
                    asked.answer.set_exception(_gone())
            for stream in self._streams.values():
                stream._end(_gone())

    def _take(self, text: str | bytes) -> None:
        try:
            message = msgspec.json.decode(text, type=_Message)
            if message.method == protocol.EVENT_METHOD:
                event = msgspec.json.decode(message.params, type=Event)
                if (stream := self._streams.get(event.subscription)) is not None:
                    stream._put(event)
                return
        except msgspec.DecodeError:
            return  # an event of a kind that a newer bridge has
        asked = self._asked.get(message.id or 0)
        if asked is None or asked.answer.done():
            return
        if message.error is not None:
            asked.answer.set_exception(_control_error(message.error))
            return
        try:
            result = msgspec.json.decode(message.result, type=asked.kind)
        except msgspec.DecodeError as error:
            asked.answer.set_exception(
                DialError(
                    f"The bridge's answer is not understood: {printable(str(error))}.",
                    hint="Is it of another version? See `teamscall status`.",
                )
            )
            return
        if asked.then is not None:
            asked.then(result)
        asked.answer.set_result(result)


def _control_error(error: _Error) -> ControlError:
    try:
        code = ErrorCode(error.code)
        exit_code, name = EXIT_CODES.get(code, ExitCode.FAILED), code.word
    except ValueError:
        exit_code, name = ExitCode.FAILED, printable(str(error.data.get("name", "")), 60)
    return ControlError(
        error.code,
        name,
        printable(error.message, 500),
        hint=printable(str(error.data.get("hint", "")), 500),
        exit_code=exit_code,
        data=error.data,
    )


def _gone() -> DialError:
    return DialError(_GONE)


def _no_answer(timeout_s: float) -> DeadlinePassed:
    return DeadlinePassed(
        "--timeout",
        f"The bridge did not answer within {timeout_s:g} s.",
        hint="What was asked for may have been done: see `teamscall status`.",
    )


# --- the way there -----------------------------------------------------------------------


async def _open(where: Where, timeout_s: float, name: str) -> ClientConnection:
    common: dict[str, Any] = {
        "compression": None,
        "open_timeout": timeout_s,
        "close_timeout": CLOSE_S,
        "max_size": MAX_ANSWER_BYTES,
        "user_agent_header": f"teamscall/{__version__}",
        "proxy": None,  # the token is for the bridge alone
    }
    headers = {NAME_HEADER: printable(name, 40)} if name else {}
    try:
        if not where.url:
            return await unix_connect(where.socket, additional_headers=headers, **common)
        if where.token:
            headers["Authorization"] = f"Bearer {where.token.reveal()}"
        if where.url.startswith("wss:"):
            common["ssl"] = ssl.create_default_context(cafile=where.ca or None)
        return await tcp_connect(where.url, additional_headers=headers, **common)
    except TimeoutError:
        raise DeadlinePassed(
            "--timeout",
            f"The bridge at {printable(where.name)} did not answer within {timeout_s:g} s.",
        ) from None
    except InvalidStatus as error:
        raise _refused(error.response.status_code) from None
    except ssl.SSLCertVerificationError as error:
        raise DialError(
            f"The certificate of {printable(where.name)} is not trusted: "
            f"{printable(error.verify_message)}.",
            hint="Name what signed it with SSL_CERT_FILE.",
        ) from None
    except OSError as error:
        raise _no_bridge(where, error) from None
    except (WebSocketException, ValueError) as error:
        raise DialError(
            f"What answers at {printable(where.name)} is no bridge: {type(error).__name__}."
        ) from None


def _refused(status: int) -> ControlError:
    code = ErrorCode.UNAUTHORIZED if status in (401, 403) else ErrorCode.TOO_MUCH
    if status == 401:
        message, hint = "The bridge refuses the token.", "It has to be its control.token."
    elif status == 503:
        message, hint = "The bridge has too many open control connections.", "Try again."
    else:
        message, hint = f"The bridge refuses the connection with status {status}.", ""
    return ControlError(
        code, code.word, message, hint=hint, exit_code=EXIT_CODES.get(code, ExitCode.UNAVAILABLE)
    )


def _no_bridge(where: Where, error: OSError) -> DialError:
    if isinstance(error, PermissionError):
        return DialError(
            f"The bridge's socket {printable(where.socket)} belongs to another user.",
            hint="Run the command as that user, as with sudo -u teamscall.",
        )
    if where.url:
        reason = error.strerror or type(error).__name__
        return DialError(f"No bridge answers at {printable(where.url)}: {printable(reason)}.")
    if where.others:
        names = ", ".join(printable(other) for other in where.others)
        return DialError(
            f"{len(where.others)} bridges are running here, and none of them is the usual one.",
            hint=f"Choose with --socket: {names}",
        )
    looked = ", ".join(printable(path) for path in where.looked or (where.socket,))
    return DialError(
        "No bridge is running here.",
        hint=f"Start one with `teamscall serve`, or name its --socket or --url. Looked at {looked}",
    )
