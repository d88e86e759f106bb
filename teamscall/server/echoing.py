"""A call of ``teamscall doctor``: whatever is said comes back, and nothing else happens.

Owns the socket of such a call. It reaches no exchange, takes no slot, is in no journal and no
capture, and rings nobody. Refuses to know who may have one (``admission``: only who proved to
know the secret).

Rules:

1. It ends by itself after ``LIFE_S``, and there are at most ``MAX_ECHOES``.
2. Nothing piles up here: what cannot be sent back is not read.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from teamscall.server.listener import end_writing

# Both dialects at once, by the registered address and past it, and a second doctor.
MAX_ECHOES = 12
# The longest test is a minute of silence.
LIFE_S = 90.0

# How the doctor says what it is: a C# gateway's upgrade has no call id that could.
AGENT = "teamscall-doctor/"
CALL_ID_PREFIX = "doctor-"
# And how it is told which bridge it has reached: there may be another with the same secret.
IDENTITY_HEADER = "Teamscall-Bridge"

_BUFFER_BYTES = 256 * 1024


class EchoHome(Protocol):
    """What an echo needs of the bridge."""

    def end_echo(self, echo: Echo) -> None:
        """The socket is closed for good."""
        ...


class Echo(asyncio.Protocol):
    """See the module; made once the upgrade is done. Times are monotonic seconds."""

    def __init__(
        self,
        home: EchoHome,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        now: float,
        ping_interval_s: float,
    ) -> None:
        self._home = home
        self._transport = transport
        self._protocol = protocol
        self._ends = now + LIFE_S
        self._ping_interval_s = ping_interval_s
        self._pinged_at = now
        transport.set_write_buffer_limits(high=_BUFFER_BYTES)

    def tick(self, now: float) -> None:
        """Look at the deadline, and ping as a call's socket does."""
        if now >= self._ends:
            self._transport.abort()
        elif now - self._pinged_at >= self._ping_interval_s and self._protocol.state is OPEN:
            self._pinged_at = now
            self._protocol.send_ping(b"teamscall")
            self._write()

    def close(self, code: int, reason: str) -> None:
        """End it with a close frame."""
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason)
            self._write()

    def abort(self) -> None:
        """Cut it."""
        self._transport.abort()

    # --- asyncio.Protocol -------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and self._protocol.state is OPEN:
                self._say(event)
        self._write()

    def eof_received(self) -> bool:
        self._protocol.receive_eof()
        self._write()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._home.end_echo(self)

    def pause_writing(self) -> None:
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    # --- inside -----------------------------------------------------------------------

    def _say(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT:
            self._protocol.send_text(frame.data, frame.fin)
        elif frame.opcode is Opcode.BINARY:
            self._protocol.send_binary(frame.data, frame.fin)
        elif frame.opcode is Opcode.CONT:
            self._protocol.send_continuation(frame.data, frame.fin)

    def _write(self) -> None:
        for data in self._protocol.data_to_send():
            if self._transport.is_closing():
                return
            if data:
                self._transport.write(data)
            else:
                end_writing(self._transport)
