"""The far side that is called: takes the bridge's wishes, rings, and brings the calls.

Owns which calls are up, the sockets and the control endpoint they come through, and the
order in which all of it ends. Refuses to know what is said in a call (``leg`` and
``far_side`` do), what a request must look like (``control_endpoint``) and how it is shown.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Literal, Protocol, cast

import msgspec

from teamscall.clock import Clock
from teamscall.emulator import control_endpoint, door
from teamscall.emulator import dial as dialling
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answering, Asked
from teamscall.emulator.call import Shell
from teamscall.emulator.controls import Controls
from teamscall.emulator.leg import Leg
from teamscall.emulator.links import Extension, Link, NoLink, SocketLink, Tap, Trunk
from teamscall.emulator.outcome import post_outcome
from teamscall.emulator.plan import Plan
from teamscall.emulator.report import Report, failed
from teamscall.emulator.sources import Source
from teamscall.emulator.tracks import Tracks, with_measures
from teamscall.errors import DialError, HandshakeRefused, TeamscallError
from teamscall.text import printable
from teamscall.wire import control
from teamscall.wire.events import CallProgressed, Outcome, PlaceCall

# With ``leg_first``, a request waits this long for its leg before it is answered.
LEG_FIRST_S = 10.0

# A gateway whose socket broke comes back: a bridge restarts within this.
REOPEN_FOR_S = 30.0
REOPEN_EVERY_S = 1.0

# Ended calls whose ids are remembered: a late DELETE is right to name one of them.
MAX_REMEMBERED = 1024


class Ends(msgspec.Struct, frozen=True):
    """One call's ends on this machine."""

    source: Source
    controls: Controls
    on_event: seen.OnEvent
    tracks: Tracks | None = None
    play: Callable[[bytes], None] | None = None


class House(Protocol):
    """Where the phone stands: sound, hands and eyes for each call."""

    def told(self, event: seen.EmulatorEvent) -> None:
        """Something that belongs to no call."""
        ...

    def rung(self, asked: Asked) -> Ends:
        """A call comes. Its source is closed at its end."""
        ...

    def over(self, asked: Asked, ends: Ends, report: Report) -> None:
        """It is over."""
        ...


class _Call:
    """One call under way."""

    def __init__(
        self, asked: Asked, ends: Ends, leg: Leg, target: dialling.Target, up: asyncio.Event
    ) -> None:
        self.asked = asked
        self.ends = ends
        self.leg = leg
        self.target = target
        self.shell: _LegShell | None = None
        self.up = up  # its leg is there, or never will be


class _LegShell(Shell):
    """A shell whose leg may want a socket only when somebody picks up."""

    def __init__(
        self,
        plan: Plan,
        target: dialling.Target,
        leg: Leg,
        link: Link,
        clock: Clock,
        open_link: Callable[[], Awaitable[Link]],
        tap: Tap | None,
    ) -> None:
        super().__init__(plan, target, leg, link, clock, tap)
        self._leg = leg
        self._first = link
        self._open_link = open_link

    async def _carry_out(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        tasks = await super()._carry_out(group)
        leg, clock = self._leg, self._clock
        if not leg.wants_link:
            return tasks
        leg.wants_link = False
        began = clock.now()
        try:
            link = await self._open_link()
        except HandshakeRefused as error:
            leg.refused(error.message, clock.now())
            return tasks
        except TeamscallError as error:
            leg.broken(error.message, clock.now())
            return tasks
        leg.handshake_ms = round((clock.now() - began) * 1000, 1)
        self._link = link
        await self._send(leg.linked(clock.now()))
        return [*tasks, group.create_task(self._listen(link))]

    async def close(self) -> None:
        if self._first is not self._link:
            await self._first.close()
        await super().close()


class Phone:
    """Takes calls from ``run`` to its end: ``answering.calls`` of them, or until ``stop``."""

    def __init__(
        self,
        plan: Plan,
        answering: Answering,
        house: House,
        clock: Clock,
        tap: Tap | None = None,
    ) -> None:
        self._tap = tap
        self._plan = plan
        self._answering = answering
        self._house = house
        self._clock = clock
        self._began = clock.now()
        self._standin = plan.dial.dialect == "standin"
        self._calls: dict[str, _Call] = {}
        self._ended: dict[str, None] = {}  # oldest first
        self._taken = 0
        self._stopping = False
        self._failed: TeamscallError | None = None
        self._done = asyncio.Event()
        self._trunk: Trunk | None = None  # the socket that is held
        self._group: asyncio.TaskGroup | None = None
        self._door = door.Door(self._asked_by_http)

    @property
    def url(self) -> str:
        """The control endpoint's base URL, once it listens."""
        return self._door.url

    async def run(self) -> None:
        """Wait for calls and take them.

        Raises:
            ListenError: the control endpoint cannot listen.
            HandshakeRefused, DialError: the held socket cannot be opened, or was lost.
            InputError: the address or the secret cannot be used.
        """
        answering = self._answering
        dialling.aim(self._plan.dial)  # said now, and not when somebody calls
        dialling.headers(self._plan.dial, "call", self._clock.wall_ms())
        hold = not self._standin and answering.hold_socket
        trunk = await self._open_trunk() if hold else None
        try:
            if answering.listen is not None:
                await self._door.open(*answering.listen)
        except BaseException:
            if trunk is not None:
                await trunk.link.close()
            raise
        async with asyncio.TaskGroup() as group:
            self._group = group
            tasks = [group.create_task(self._hold(trunk))] if trunk is not None else []
            self._trunk = trunk
            try:
                listening = self.url if answering.listen is not None else ""
                held = dialling.shown(dialling.aim(self._plan.dial).url) if hold else ""
                self._house.told(seen.Waiting(0, self._plan.dial.dialect, listening, held))
                await self._done.wait()
            finally:
                await self._door.close()
                if self._trunk is not None:
                    await self._trunk.link.close()
                for task in tasks:
                    task.cancel()
        if self._failed is not None:
            raise self._failed

    def stop(self, reason: str = "interrupted") -> None:
        """No more calls; those that are up are hung up, then ``run`` returns."""
        self._stopping = True
        for call in self._calls.values():
            call.ends.controls.hang_up(reason, interrupted=True)
        self._look_whether_done()

    # --- being asked ----------------------------------------------------------------------

    async def _asked_by_http(self, request: door.Request) -> door.Answer:
        secret = self._plan.dial.secret
        if self._standin:
            wish = control_endpoint.read_standin(request, secret, self._clock.wall_ms())
        else:
            wish = control_endpoint.read_csharp(request, secret)
        match wish:
            case control_endpoint.Refusal():
                self._warn(wish.why)
                return wish.answer
            case control_endpoint.AskHealth():
                return control_endpoint.health(len(self._calls))
            case control_endpoint.Cancel():
                return await self._cancel(wish.call_id)
        call_id = str(uuid.uuid4()) if self._standin else f"teams-{uuid.uuid4()}"
        kind = cast(Literal["user", "phone"], wish.target_type)
        asked = Asked(call_id, kind, wish.target, wish.tenant_id, wish.message)
        if not self._free:
            self._warn("a call was turned away: no line is free")
            return door.Answer(503, b"no line is free", (("Retry-After", "1"),))
        scenario = str(uuid.uuid4()) if self._standin else None
        body = control.encode_placed(control.Placed(call_id, scenario))
        status = 200 if self._standin else 202
        trunk = self._trunk
        link = trunk.extension(call_id) if trunk is not None else None
        call = self._take(asked, link)
        if not (self._standin and self._answering.leg_first):
            return door.Answer(status, body, then=lambda: self._ring(call, link))
        self._ring(call, link)
        try:
            async with asyncio.timeout(LEG_FIRST_S):
                await call.up.wait()
        except TimeoutError:
            self._warn("the leg took too long: the request is answered before it")
        return door.Answer(status, body)

    def _asked_on_socket(self, order: PlaceCall, trunk: Trunk) -> None:
        asked = Asked(order.call_id, order.target_type, order.target, "", order.message)
        if order.call_id in self._calls or order.call_id in self._ended:
            self._warn("asked to place a call whose id was used before")
        elif not self._free:
            self._warn("a call was turned away: no line is free")
            busy = CallProgressed(order.call_id, "busy")
            self._spawn(trunk.link.send(busy))
        else:
            link = trunk.extension(order.call_id)
            self._ring(self._take(asked, link), link)

    async def _cancel(self, call_id: str) -> door.Answer:
        call = self._calls.get(call_id)
        if call is None and call_id not in self._ended:
            self._warn(f"asked to end {printable(call_id, 60)}, which is no call of ours")
            return door.Answer(404, b"no such call")
        if call is not None:
            words = "cancelled by DELETE" if self._standin else "hung up by request"
            events = call.leg.cancelled(words, self._clock.now())
            if call.shell is not None:
                await call.shell.say(events)
        return door.Answer(204) if self._standin else door.Answer(200, control.encode_hung_up(True))

    @property
    def _free(self) -> bool:
        answering = self._answering
        left = answering.calls == 0 or self._taken < answering.calls
        return left and len(self._calls) < answering.lines and not self._stopping

    # --- one call -------------------------------------------------------------------------

    def _take(self, asked: Asked, link: Extension | None) -> _Call:
        self._taken += 1
        plan = msgspec.structs.replace(
            self._plan, dial=msgspec.structs.replace(self._plan.dial, call_id=asked.call_id)
        )
        if asked.target_type == "user":
            who = {"user_id": asked.target, "tenant_id": asked.tenant_id or plan.caller.tenant_id}
        else:
            who = {"phone_number": asked.target}
        plan = msgspec.structs.replace(plan, caller=msgspec.structs.replace(plan.caller, **who))
        target = dialling.aim(plan.dial)
        ends = self._house.rung(asked)
        up = asyncio.Event()

        def tell(event: seen.EmulatorEvent) -> None:
            if isinstance(event, seen.Connected):
                up.set()
            ends.on_event(event)

        leg = Leg(
            plan,
            self._answering,
            asked,
            dialling.shown(target.url),
            ends.source,
            ends.controls,
            began=self._clock.now(),
            linked=link is not None or (self._standin and self._answering.rings),
            on_event=tell,
            tracks=ends.tracks,
            play=ends.play,
        )
        self._calls[asked.call_id] = call = _Call(asked, ends, leg, target, up)
        return call

    def _ring(self, call: _Call, link: Extension | None) -> None:
        self._spawn(self._run(call, link))

    async def _run(self, call: _Call, link: Link | None) -> None:
        dial, asked = self._plan.dial, call.asked
        try:
            report = await self._play(call, link)
        except TeamscallError as error:
            report = failed(
                error,
                url=dialling.shown(call.target.url),
                call_id=asked.call_id,
                dialect=dial.dialect,
                direction="outbound",
            )
            report = msgspec.structs.replace(report, rung=call.leg.rung(report))
            call.leg.outcome = "failed"
        finally:
            call.ends.source.close()
            call.up.set()
        if self._standin and call.leg.outcome is not None:
            report = await self._tell_outcome(call, call.leg.outcome, report)
        report = await with_measures(report, call.ends.tracks)
        self._house.over(asked, call.ends, report)
        del self._calls[asked.call_id]
        self._ended[asked.call_id] = None
        if len(self._ended) > MAX_REMEMBERED:
            del self._ended[next(iter(self._ended))]
        self._look_whether_done()

    async def _play(self, call: _Call, link: Link | None) -> Report:
        clock, leg = self._clock, call.leg
        plan = self._plan
        if link is None and self._standin and self._answering.rings:
            began = clock.now()
            link = await self._open_leg(call)
            leg.handshake_ms = round((clock.now() - began) * 1000, 1)
        opening = self._open_leg if self._standin else self._open_own
        shell = _LegShell(
            plan, call.target, leg, link or NoLink(), clock, lambda: opening(call), self._tap
        )
        call.shell = shell
        try:
            await shell.run()
        finally:
            await shell.close()
        return leg.report()

    async def _tell_outcome(self, call: _Call, outcome: Outcome, report: Report) -> Report:
        status = await post_outcome(self._plan.dial, call.target, outcome, self._clock.wall_ms())
        call.ends.on_event(seen.OutcomeTold(call.leg.ms(self._clock.now()), outcome, status))
        assert report.rung is not None
        rung = msgspec.structs.replace(report.rung, outcome=outcome, outcome_status=status)
        return msgspec.structs.replace(report, rung=rung)

    # --- sockets --------------------------------------------------------------------------

    async def _open_leg(self, call: _Call) -> Link:
        """StandIn: the call's own upgrade."""
        dial = msgspec.structs.replace(self._plan.dial, call_id=call.asked.call_id)
        socket = await dialling.open_socket(dial, call.target, self._clock.wall_ms())
        return SocketLink(socket, "standin", call.asked.call_id, self._tap)

    async def _open_own(self, call: _Call) -> Link:
        """C#: a socket for this call; it may be asked for others on it all the same."""
        trunk = await self._open_trunk(lasting=False)
        self._spawn(trunk.run())
        return trunk.extension(call.asked.call_id)

    async def _open_trunk(self, *, lasting: bool = True) -> Trunk:
        dial = self._plan.dial
        socket = await dialling.open_socket(dial, dialling.aim(dial), self._clock.wall_ms())
        return Trunk(socket, self._asked_on_socket, lasting=lasting, tap=self._tap)

    async def _hold(self, trunk: Trunk) -> None:
        """Keep a socket open to be asked on."""
        while True:
            await trunk.run()
            if self._done.is_set():
                return
            code = trunk.link.close_code
            words = f"closed with {code}" if code is not None else "broke"
            self._warn(f"the gateway's socket {words}: opening it again")
            again = await self._reopened()
            if again is None:
                return
            self._trunk = trunk = again

    async def _reopened(self) -> Trunk | None:
        until = self._clock.now() + REOPEN_FOR_S
        while True:
            try:
                return await self._open_trunk()
            except DialError as error:
                if self._clock.now() >= until:
                    self._give_up(error)
                    return None
            except TeamscallError as error:
                self._give_up(error)
                return None
            await asyncio.sleep(REOPEN_EVERY_S)

    def _give_up(self, error: TeamscallError) -> None:
        self._trunk = None
        self._failed = error
        self.stop("the bridge cannot be reached any more")

    # --- pieces ---------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        assert self._group is not None
        self._group.create_task(work)

    def _warn(self, text: str) -> None:
        at_ms = round((self._clock.now() - self._began) * 1000)
        self._house.told(seen.Warned(at_ms, text))

    def _look_whether_done(self) -> None:
        all_taken = bool(self._answering.calls) and self._taken >= self._answering.calls
        if not self._calls and (self._stopping or all_taken):
            self._done.set()
