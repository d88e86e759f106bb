"""Says a recorded gateway's messages to a bridge, in real time, over real sockets.

Owns the keeping of time and the life of the sockets: each message at its recorded moment,
each broken socket broken then. Refuses to know what is in a message, but for what must be
new in it, and whether what came of it is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from teamscall.capture.live_line import Leg, Line, Message, with_call_id, with_last_seq
from teamscall.clock import Clock
from teamscall.emulator import dial as dialling
from teamscall.emulator.plan import Dial
from teamscall.errors import TeamscallError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire

# A recorded gateway waited for its auth_response; so does this one, but not for good.
AUTH_WAIT_S = 15.0
# A bridge that takes nothing for this long has stopped reading.
SEND_TIMEOUT_S = 10.0
# A call that the bot ended is kept up this long after its last recorded message.
BOT_ENDS_WITHIN_S = 10.0
FRAME_S = wire.FRAME_MS / 1000

Outcome = Literal[
    "played",  # to the end of what was recorded
    "ended-by-bot",  # hung up, or closed, before it
    "refused",  # no authorization
    "lost",  # the socket broke, or the bridge stopped reading
    "interrupted",
]
Tap = Callable[
    [Literal["in", "out"], bytes, wire.FromGateway | wire.ToGateway | wire.Dropped], None
]


class Played(msgspec.Struct, frozen=True):
    """How it went. ``length_s``: from the first message to the end, in real time. ``late_ms``:
    by how much the latest message was; more than a few frames is a busy machine's doing.
    """

    outcome: Outcome
    reason: str
    call_id: str
    length_s: float
    sent: int
    left: int  # messages that were not said
    late_ms: float
    resumes: int = 0


class Player:
    """One call. ``stop`` ends it from outside.

    Args:
        speed: recorded offsets are divided by it.
        hold_s: the line is kept up with silence so much longer before the caller's hang-up.
        tap: is told every raw message.
    """

    def __init__(
        self,
        line: Line,
        dial: Dial,
        clock: Clock,
        *,
        speed: float = 1.0,
        hold_s: float = 0.0,
        tap: Tap | None = None,
    ) -> None:
        self._line = line
        self._dial = dial
        self._clock = clock
        self._speed = speed
        self._hold_s = hold_s
        self._tap = tap
        self._codec = standin if line.dialect == "standin" else csharp
        self._target = dialling.aim(dial)
        self._origin = 0.0
        self._shift = 0.0
        self._answers = 0
        self._answered = asyncio.Event()
        self._last_seq = -1
        self._sent = 0
        self._late_s = 0.0
        self._resumes = 0
        self._over = asyncio.Event()
        self._outcome: Outcome = "played"
        self._reason = "all that was recorded has been said"

    @property
    def up(self) -> bool:
        """Whether there is a call to hang up."""
        return self._origin > 0 and not self._over.is_set()

    def stop(self) -> None:
        """Hang up now."""
        self._end("interrupted", "interrupted")

    async def run(self) -> Played:
        """Play it to its end.

        Raises:
            HandshakeRefused, DialError, InputError: the first socket could not be opened.
        """
        socket = await dialling.open_socket(self._dial, self._target, self._clock.wall_ms())
        self._origin = self._clock.now()
        legs = self._line.legs
        for index, leg in enumerate(legs):
            if index:
                await self._pause_until(leg.messages[0].at_s)
                if self._over.is_set():
                    break
                try:
                    socket = await dialling.open_socket(
                        self._dial, self._target, self._clock.wall_ms()
                    )
                except TeamscallError as error:
                    self._end("lost", f"no resume: {error.message}")
                    break
                self._resumes += 1
            await self._on(socket, leg, last=index == len(legs) - 1)
        length = self._clock.now() - self._origin
        return Played(
            outcome=self._outcome,
            reason=self._reason,
            call_id=self._target.call_id,
            length_s=round(length, 3),
            sent=self._sent,
            left=max(0, self._line.messages - self._sent),
            late_ms=round(self._late_s * 1000, 1),
            resumes=self._resumes,
        )

    # --- one socket -------------------------------------------------------------------

    async def _on(self, socket: ClientConnection, leg: Leg, *, last: bool) -> None:
        async with asyncio.TaskGroup() as group:
            listener = group.create_task(self._listen(socket))
            try:
                await self._leg(socket, leg, last=last)
                if leg.cut_s is not None and await self._pause_until(leg.cut_s):
                    listener.cancel()  # it must not take our cut for the network's
                    socket.transport.abort()
            finally:
                listener.cancel()
                await socket.close()  # bounded by dial.CLOSE_TIMEOUT_S

    async def _leg(self, socket: ClientConnection, leg: Leg, *, last: bool) -> None:
        messages = list(leg.messages)
        hang_up = messages.pop() if last and self._line.hangs_up else None
        for message in messages:
            await self._answers_to(message)
            if not await self._pause_until(message.at_s):
                return await self._farewell(socket)
            await self._say(socket, message)
        if not last or leg.cut_s is not None:
            return None
        hold_s = self._hold_s
        if self._line.bot_ends and hang_up is None:
            hold_s = max(hold_s, BOT_ENDS_WITHIN_S)
        if hang_up is not None and not await self._pause_until(hang_up.at_s):
            return await self._farewell(socket)
        if hold_s and not await self._hold(socket, hold_s):
            return await self._farewell(socket)
        if hang_up is not None:
            await self._say(socket, hang_up, shift=hold_s)
        else:
            await self._farewell(socket)
        return None

    async def _hold(self, socket: ClientConnection, hold_s: float) -> bool:
        """Silence for so long; False: the call is over."""
        began = self._clock.now()
        for index in range(round(hold_s / FRAME_S)):
            if not await self._wait(began + index * FRAME_S - self._clock.now()):
                return False
            await self._send(
                socket,
                wire.AudioIn(
                    self._target.call_id,
                    self._line.next_seq + index,
                    bytes(wire.FRAME_BYTES),
                    self._line.next_ms + index * wire.FRAME_MS,
                ),
            )
        return not self._over.is_set()

    async def _farewell(self, socket: ClientConnection) -> None:
        """The recording has no hang-up for this end, and a bridge must hear of one."""
        if self._outcome == "lost" or (self._outcome == "ended-by-bot" and self._codec is standin):
            return  # nobody is there, or nobody waits for it
        words = "hangup-bot" if self._outcome == "ended-by-bot" else "hangup"
        await self._send(socket, wire.CallEnded(self._target.call_id, words))

    async def _answers_to(self, message: Message) -> None:
        """Wait for the authorization that the recorded gateway waited for; all that follows is
        so much later."""
        if self._answers >= message.answers:
            return
        until = self._clock.now() + AUTH_WAIT_S
        while self._answers < message.answers and not self._over.is_set():
            self._answered.clear()
            try:
                async with asyncio.timeout(max(0.0, until - self._clock.now())):
                    await self._answered.wait()
            except TimeoutError:
                self._end("refused", f"no auth_response within {AUTH_WAIT_S:g} s")
        due = self._origin + message.at_s / self._speed
        self._shift = max(self._shift, self._clock.now() - due)

    # --- what is said -----------------------------------------------------------------

    async def _say(self, socket: ClientConnection, message: Message, shift: float = 0.0) -> None:
        due = self._origin + self._shift + message.at_s / self._speed + shift
        self._late_s = max(self._late_s, self._clock.now() - due)
        text = with_call_id(message.text, self._line.call_id, self._target.call_id)
        if message.behind is not None:
            text = with_last_seq(text, max(-1, self._last_seq - message.behind))
        event = self._codec.decode_from_gateway(text, call_id=self._target.call_id)
        self._sent += await self._put(socket, text, event)

    async def _send(self, socket: ClientConnection, event: wire.FromGateway) -> None:
        if (text := self._codec.encode_from_gateway(event)) is not None:
            await self._put(socket, text, event)

    async def _put(
        self, socket: ClientConnection, text: bytes, event: wire.FromGateway | wire.Dropped
    ) -> bool:
        if self._tap is not None:
            self._tap("in", text, event)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await socket.send(text, text=True)
        except TimeoutError:
            self._end("lost", f"the bridge read nothing for {SEND_TIMEOUT_S:g} s")
            socket.transport.abort()
        except ConnectionClosed:
            return False  # the listener says why
        return True

    # --- what is heard ----------------------------------------------------------------

    async def _listen(self, socket: ClientConnection) -> None:
        try:
            while True:
                data = await socket.recv()
                self._take(data)
        except ConnectionClosed as closed:
            frame = closed.rcvd
            if frame is None:
                self._end("lost", "the connection broke")
            else:
                words = f" ({printable(frame.reason, 160)})" if frame.reason else ""
                self._end("ended-by-bot", f"closed with {frame.code}{words}")

    def _take(self, data: str | bytes) -> None:
        message: wire.ToGateway | wire.Dropped = wire.Dropped("binary", "a binary frame")
        if isinstance(data, str):
            message = self._codec.decode_to_gateway(data, call_id=self._target.call_id)
            if self._tap is not None:
                self._tap("out", data.encode(), message)
        match message:
            case wire.AuthAnswer(authorized=authorized, reason=reason):
                self._answers += 1
                self._answered.set()
                if not authorized:
                    self._end("refused", f"not authorized: {printable(reason or '', 160)}")
            case wire.AudioOut(seq=seq):
                self._last_seq = max(self._last_seq, seq)
            case wire.HangUp(reason=reason):
                words = printable(reason, 160)
                self._end("ended-by-bot", f"the bot hung up{f' ({words})' if words else ''}")
            case _:
                pass

    def _end(self, outcome: Outcome, reason: str) -> None:
        """The first reason wins."""
        if not self._over.is_set():
            self._outcome, self._reason = outcome, reason
            self._over.set()
            self._answered.set()

    # --- time -------------------------------------------------------------------------

    async def _pause_until(self, at_s: float) -> bool:
        due = self._origin + self._shift + at_s / self._speed
        return await self._wait(due - self._clock.now())

    async def _wait(self, seconds: float) -> bool:
        """False: the call is over."""
        if seconds > 0 and not self._over.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._over.wait()
            except TimeoutError:
                return True
        return not self._over.is_set()
