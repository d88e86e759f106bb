"""One open WebSocket: frames in, messages out, and every way in which it can end.

Owns the socket after the upgrade: websockets' sans-I/O protocol, message reassembly and
caps, backpressure, keepalive, the close handshake and its deadline. Refuses to know what
a message means: events go to the exchange as they come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol, cast

import msgspec
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from teamscall.calls.link import Exchange
from teamscall.calls.tape import Tapes
from teamscall.clock import Clock
from teamscall.server.limits import TokenBucket
from teamscall.server.listener import end_writing
from teamscall.server.outbox import Outbox
from teamscall.wire import csharp, standin
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    Dialect,
    DropCause,
    Dropped,
    Flush,
    FromGateway,
    ToGateway,
)

# Audio goes to the transport only while less than this is unsent there: about four
# frames. What is handed over cannot be flushed any more.
AUDIO_BUFFER_BYTES = 4 * 1024
# Control messages are always kept, up to two of the largest picture (1.4 MB, in base64).
MAX_UNSENT_BYTES = 4 * 1024 * 1024

# A peer that takes less than this much of what waits for it, for this long, is not in a
# call: real-time audio is about 45 KiB a second.
SEND_STALL_S = 10.0
SEND_STALL_BYTES = 16 * 1024

# Messages other than audio: a gateway says a few per second, a burst when it reconnects.
CONTROL_PER_S = 200.0
CONTROL_BURST = 400.0
# WebSocket frames of any kind, audio of several calls after a stall included. Above it
# the socket is not read until the debt is paid, so TCP slows the peer down.
FRAMES_PER_S = 20_000.0
FRAMES_BURST = 20_000.0
# One read may hold 40,000 empty frames, 5 us each: they are taken in portions, and other
# sockets have their turn in between.
SLICE_BYTES = 8 * 1024
FRAMES_PER_TURN = 1000

TICK_S = 0.1  # how often every deadline is looked at

_MAX_CLOSE_REASON = 123  # bytes, RFC 6455 section 5.5

# The library's debug log would hold what callers say.
_quiet = logging.getLogger("teamscall.server.websocket")
_quiet.setLevel(logging.WARNING)


class LinkLimits(msgspec.Struct, frozen=True):
    """The deadlines of one socket, in seconds."""

    ping_interval_s: float
    ping_timeout_s: float
    close_timeout_s: float


class Home(Protocol):
    """What a link needs of the bridge that it lives in."""

    exchange: Exchange
    clock: Clock
    log: logging.Logger

    def forget(self, link: SocketLink) -> None:
        """The socket is closed for good."""
        ...


class _Decode(Protocol):
    def __call__(self, data: bytes, *, call_id: str) -> FromGateway | Dropped: ...


class _Codec(msgspec.Struct, frozen=True):
    lead_ms: int
    encode: Callable[[ToGateway], bytes | None]
    decode: _Decode


_CODECS: dict[Dialect, _Codec] = {
    "csharp": _Codec(csharp.LEAD_MS, csharp.encode_to_gateway, csharp.decode_from_gateway),
    "standin": _Codec(standin.LEAD_MS, standin.encode_to_gateway, standin.decode_from_gateway),
}


class _Contained:
    """An exception out of a call ends the socket, not the server."""

    __slots__ = ("_link",)

    def __init__(self, link: SocketLink) -> None:
        self._link = link

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._link.fault(error)
        return True


def server_protocol(max_message_bytes: int) -> ServerProtocol:
    """A WebSocket without compression and subprotocols, whatever the peer offers."""
    return ServerProtocol(max_size=max_message_bytes, logger=_quiet)


class SocketLink(asyncio.Protocol):
    """The :class:`teamscall.calls.link.Link` of one socket; made once the upgrade is done."""

    def __init__(
        self,
        home: Home,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        dialect: Dialect,
        call_id: str | None,
        address: str,
        limits: LinkLimits,
        tapes: Tapes | None = None,
    ) -> None:
        now = home.clock.now()
        self._home = home
        self._transport = transport
        self._protocol = protocol
        self._dialect: Dialect = dialect
        self._call_id = call_id or ""
        self._address = address
        self._limits = limits
        self._tapes = tapes
        codec = _CODECS[dialect]
        self._lead_ms = codec.lead_ms
        self._encode = codec.encode
        self._decode = codec.decode
        self._contained = _Contained(self)
        # in
        self._unread = bytearray()
        self._message = bytearray()  # of a fragmented message, so far
        self._fragmented: Opcode | None = None
        self._control = TokenBucket(CONTROL_PER_S, CONTROL_BURST, now)
        self._frames = TokenBucket(FRAMES_PER_S, FRAMES_BURST, now)
        self._next_turn: asyncio.Handle | None = None
        self._pinged_at = now
        self._unanswered = False  # nothing was heard since the last ping
        # out
        self._outbox = Outbox()
        self._written = 0
        self._stall_from = now
        self._stall_mark = 0  # bytes that had left when the stall began
        # the end
        self._closing = False  # nothing is sent or delivered any more
        self._reason: str | None = None
        self._reported = False
        self._abort_at: float | None = None
        # resume_writing comes as soon as less than a frame is unsent.
        transport.set_write_buffer_limits(high=AUDIO_BUFFER_BYTES, low=AUDIO_BUFFER_BYTES // 4)

    # --- Link -------------------------------------------------------------------------

    @property
    def dialect(self) -> Dialect:
        return self._dialect

    @property
    def address(self) -> str:
        return self._address

    @property
    def lead_ms(self) -> int:
        return self._lead_ms

    @property
    def dropped_out(self) -> int:
        return self._outbox.dropped

    def send(self, message: ToGateway) -> None:
        """See :meth:`teamscall.calls.link.Link.send`.

        Raises:
            ValueError: the dialect must not say this (the wire's encoder says why).
        """
        if self._closing or self._protocol.state is not OPEN:
            return
        data = self._encode(message)
        if data is None:
            return
        if self._tapes is not None:
            self._tapes.said(self, data, message, self._home.clock.now())
        if type(message) is AudioOut:
            if self._outbox or self._transport.get_write_buffer_size() > AUDIO_BUFFER_BYTES:
                self._outbox.push(message.call_id, data)
                return
        else:
            if type(message) is Flush:
                self._outbox.flush(message.call_id)
            if self._transport.get_write_buffer_size() + len(data) > MAX_UNSENT_BYTES:
                self.abort("send-overflow")
                return
        self._protocol.send_text(data)
        self._write()

    def close(self, code: int, reason: str) -> None:
        """See :meth:`teamscall.calls.link.Link.close`."""
        if self._closing:
            return
        self._shut(reason)
        if self._protocol.state is OPEN:
            text = reason.encode()[:_MAX_CLOSE_REASON].decode(errors="ignore")
            self._protocol.send_close(code, text)
            self._write()

    # --- for the bridge ---------------------------------------------------------------

    def begin(self) -> None:
        """Tell the exchange that this socket is open."""
        with self._contained:
            self._home.exchange.connected(self, self._call_id or None)

    @property
    def host(self) -> str:
        """The peer's host without its port."""
        return self._address.rpartition(":")[0].strip("[]")

    def fault(self, error: Exception) -> None:
        """The exchange raised on something that this socket brought: log it and close."""
        self._home.log.error(
            "A call failed on a message",
            exc_info=error,
            extra={"address": self._address, "callId": self._call_id},
        )
        self.close(1011, "internal-error")

    def abort(self, reason: str) -> None:
        """Cut the socket without a handshake; what is unsent is lost."""
        self._shut(reason)
        self._transport.abort()

    def tick(self, now: float) -> None:
        """Look at every deadline; called a few times per second."""
        if self._abort_at is not None and now >= self._abort_at:
            self._transport.abort()
            return
        if self._unread and self._next_turn is None:
            self._pump()
        if self._closing:
            return
        if self._outbox:
            self._drain()
        self._check_stall(now)
        if not self._closing:
            self._check_alive(now)

    # --- asyncio.Protocol -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._unanswered = False
        now = self._home.clock.now()
        if not self._unread and len(data) <= SLICE_BYTES and not self._frames.empty(now):
            self._feed(data, now)
            return
        self._unread += data
        if self._next_turn is None:
            self._pump()

    def eof_received(self) -> bool:
        # A peer that only half-closed still reads: it is told goodbye, then we close too.
        if self._protocol.state is OPEN:
            self._protocol.send_close(1000, "")
        self._protocol.receive_eof()
        self._shut("peer-gone")
        self._write()
        return False  # the transport closes once its buffer is empty

    def connection_lost(self, exc: Exception | None) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self._shut("peer-gone" if exc is None else "reset")
        self._unread.clear()
        self._report()
        self._home.forget(self)

    def resume_writing(self) -> None:
        self._drain()

    # --- in ---------------------------------------------------------------------------

    def _pump(self) -> None:
        """Feed what was read to the protocol, in portions."""
        self._next_turn = None
        now = self._home.clock.now()
        frames = 0
        while self._unread:
            if self._frames.empty(now):
                self._transport.pause_reading()  # tick goes on
                return
            if frames >= FRAMES_PER_TURN:
                self._transport.pause_reading()
                self._next_turn = asyncio.get_running_loop().call_soon(self._pump)
                return
            piece = bytes(self._unread[:SLICE_BYTES])
            del self._unread[:SLICE_BYTES]
            frames += self._feed(piece, now)
        self._transport.resume_reading()

    def _feed(self, piece: bytes, now: float) -> int:
        """Take what one portion completes; how many frames that was."""
        self._protocol.receive_data(piece)
        events = self._protocol.events_received()
        self._frames.spend(now, len(events))
        self._write(coalesce_pongs=True)
        for event in events:
            self._take(cast(Frame, event), now)
        if self._protocol.parser_exc is not None:
            self._failed(self._protocol.parser_exc)
        return len(events)

    def _take(self, frame: Frame, now: float) -> None:
        """One frame: reassemble, decode, deliver."""
        opcode = frame.opcode
        if opcode is Opcode.CLOSE:
            self._shut("peer-closed")
            self._report()
            return
        if self._closing or opcode is Opcode.PING or opcode is Opcode.PONG:
            return
        if opcode is Opcode.CONT:
            self._message += frame.data
            if not frame.fin:
                return
            opcode, data = self._fragmented or Opcode.TEXT, bytes(self._message)
            self._message.clear()
        elif not frame.fin:
            # One growing buffer: a list would cost fifty times the cap for 1-byte pieces.
            self._fragmented = opcode
            self._message += frame.data
            return
        else:
            data = bytes(frame.data)
        if opcode is Opcode.BINARY:
            self._drop("binary")
            return
        try:
            data.decode()
        except UnicodeDecodeError:
            self._shut("bad-utf8")
            self._protocol.fail(1007, "not UTF-8")
            self._write()
            return
        event = self._decode(data, call_id=self._call_id)
        if self._tapes is not None:
            self._tapes.heard(self, self._call_id, data, event, now)
        if isinstance(event, Dropped):
            self._drop(event.cause, event.detail)
        elif type(event) is AudioIn or self._control.take(now):
            with self._contained:
                self._home.exchange.received(self, event)
        else:
            self._drop("flood")

    def _drop(self, cause: DropCause, detail: str = "") -> None:
        with self._contained:
            self._home.exchange.dropped(self, Dropped(cause, detail))

    def _failed(self, error: Exception) -> None:
        """The protocol gave up on the peer's bytes and has sent its close frame."""
        if isinstance(error, PayloadTooBig):
            if not self._closing:
                self._drop("too-large")
            self._shut("too-large")
        elif isinstance(error, ProtocolError):
            self._shut("protocol-error")
        else:
            self._shut("internal-error")

    # --- out --------------------------------------------------------------------------

    def _drain(self) -> None:
        """Audio that waited goes on, as far as the peer reads."""
        while (
            self._outbox
            and self._protocol.state is OPEN
            and self._transport.get_write_buffer_size() <= AUDIO_BUFFER_BYTES
        ):
            self._protocol.send_text(self._outbox.pop())
            self._write()

    def _write(self, *, coalesce_pongs: bool = False) -> None:
        """Hand what the protocol has to say to the transport."""
        writes = self._protocol.data_to_send()
        if coalesce_pongs and len(writes) > 1:
            # Of many pings in one read only the last is answered (RFC 6455, 5.5.3).
            last = max((i for i, data in enumerate(writes) if _is_pong(data)), default=-1)
            writes = [data for i, data in enumerate(writes) if i == last or not _is_pong(data)]
        for data in writes:
            if self._transport.is_closing():
                return
            if data:
                self._written += len(data)
                self._transport.write(data)
            else:
                end_writing(self._transport)  # and the peer closes, or the deadline passes

    def _check_stall(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        left = self._written - unsent
        if not unsent or left - self._stall_mark >= SEND_STALL_BYTES:
            self._stall_from, self._stall_mark = now, left
        elif now - self._stall_from >= SEND_STALL_S:
            self.abort("too-slow")

    def _check_alive(self, now: float) -> None:
        """Ping; anything heard after it proves that the peer lives."""
        # One tick early rather than late: the sum of both is a promise.
        passed = now - self._pinged_at + TICK_S
        if self._unanswered and passed >= self._limits.ping_timeout_s:
            self._protocol.fail(1011, "keepalive timeout")
            self._write()
            self.abort("keepalive-timeout")
        elif not self._unanswered and passed >= self._limits.ping_interval_s:
            self._pinged_at = now
            self._unanswered = True
            self._protocol.send_ping(b"teamscall")
            self._write()

    # --- the end ----------------------------------------------------------------------

    def _shut(self, reason: str) -> None:
        """From here on nothing is sent or delivered. The first reason wins."""
        if self._closing:
            return
        self._closing = True
        self._reason = reason
        self._outbox.clear()
        self._abort_at = self._home.clock.now() + self._limits.close_timeout_s

    def _report(self) -> None:
        if self._reported:
            return
        self._reported = True
        with self._contained:
            self._home.exchange.disconnected(self, self._reason or "peer-gone")


def _is_pong(data: bytes) -> bool:
    return data[:1] == b"\x8a"
