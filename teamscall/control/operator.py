"""The operator's verbs on a running bridge.

Owns which call an abbreviated id means, what a verb does to it, what the operator is shown,
and that every change is audited. Refuses to know JSON-RPC and sockets.

Rules:

1. Whatever changes something leaves an ``Audited`` record, also where it was refused. It
   never holds what was to be said.
2. Nothing here waits for a disk on the event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Protocol

import msgspec

from teamscall import __version__
from teamscall.calls.call import LiveCall
from teamscall.calls.events import Phase
from teamscall.calls.records import Audited, CallMode
from teamscall.calls.switchboard import Switchboard
from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.control import protocol
from teamscall.control.history import History
from teamscall.control.naming import Known, check_id, pick
from teamscall.control.protocol import CallStatus, ErrorCode, Initiate, Initiated
from teamscall.control.refusing import refusal
from teamscall.errors import ConfigError, ControlError, PlacingError
from teamscall.outbound.orders import Attempt, Order, Weighed
from teamscall.text import printable
from teamscall.wire.events import Caller

REASON = "operator"  # of a call that was ended here
_MAX_PROBLEMS = 50
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], " ")  # nothing that can be said

_STATES: dict[Phase, protocol.CallState] = {
    "ringing": "ringing",
    "live": "talking",
    "goodbye": "goodbye",
    "over": "ended",
}

Reload = Callable[[], Awaitable[protocol.Reloaded]]


class Places(Protocol):
    """Whoever places calls: ``teamscall.outbound.placing.Outbound``."""

    async def weigh(self, order: Order) -> Weighed: ...
    async def place(self, order: Order) -> Attempt: ...
    async def cancel(self, call_id_or_attempt: str) -> bool: ...
    async def switch(self, on: bool) -> bool: ...
    def attempts(self) -> tuple[Attempt, ...]: ...
    @property
    def switched_on(self) -> bool: ...
    @property
    def ringing(self) -> int: ...
    @property
    def last_hour(self) -> int: ...


class Site(msgspec.Struct, frozen=True):
    """What the operator is told of the process around the calls."""

    pid: int
    started_ms: int
    engine: Callable[[], str]
    listening: tuple[protocol.Listens, ...]
    config_path: str
    gateways: Callable[[], int]
    refusals: Callable[[], Mapping[str, int]]
    journal: Callable[[], protocol.JournalStatus]
    failures: Callable[[], tuple[protocol.Failure, ...]] = tuple
    taken_ms: Callable[[], dict[str, int]] = dict


class _Entry:
    """An audit record in the making."""

    def __init__(self) -> None:
        self.call_id = ""
        self.detail = ""


class Operator:
    """One per bridge. ``reload`` is None where there is no file to read again."""

    def __init__(
        self,
        config: Config,
        switchboard: Switchboard,
        outbound: Places,
        history: History,
        site: Site,
        clock: Clock,
        reload: Reload | None = None,
    ) -> None:
        self._config = config
        self._switchboard = switchboard
        self._outbound = outbound
        self._history = history
        self._site = site
        self._clock = clock
        self._reload = reload
        self._began = clock.now()

    def reconfigure(self, config: Config) -> None:
        """The configuration was read again."""
        self._config = config

    # --- calls -----------------------------------------------------------

    async def initiate(self, asked: Initiate, by: str) -> Initiated:
        """Place a call, or only say whether it would be."""
        for what, text in (("to", asked.to), ("tenant", asked.tenant)):
            check_id(what, text)
        if not asked.to.strip():
            raise refusal(ErrorCode.INVALID_PARAMS, "to is blank: whom shall the bridge call?")
        check_text(asked.message)
        order = Order(
            to=asked.to,
            message=asked.message.translate(_CONTROLS).strip(),
            mode=asked.mode,
            tenant=asked.tenant,
            via=asked.via,
            by=by,
        )
        if asked.dry_run:
            return _weighed(await self._outbound.weigh(order))
        with self._audit("initiate", by) as entry:
            entry.detail = printable(asked.to)
            try:
                placed = await self._outbound.place(order)
            except PlacingError as error:
                raise _not_placed(error, self._switchboard.readiness().draining) from error
            entry.call_id = placed.call_id
            return Initiated(
                attempt=placed.attempt,
                call_id=placed.call_id,
                state=placed.state,
                target=placed.target,
                mode=placed.mode,
                via=placed.via,
            )

    async def speak(self, asked: protocol.Speak, by: str) -> protocol.Done:
        """Say exactly this in a call."""
        text = asked.message.translate(_CONTROLS).strip()
        if not printable(text):
            raise refusal(ErrorCode.INVALID_PARAMS, "message is blank: there is nothing to say.")
        check_text(text)
        with self._audit("speak", by) as entry:
            found = pick(asked.call_id, self._known())
            entry.call_id = found.call_id
            if found.call is not None and found.call.unsaid >= protocol.MAX_UNSAID:
                raise refusal(
                    ErrorCode.TOO_MUCH,
                    f"{found.call.unsaid} messages wait to be said in this call already.",
                    hint="Wait until some of them have been said.",
                )
            if found.call is None or not self._switchboard.speak(found.call_id, text):
                raise _not_listening(found)
            return protocol.Done(call_id=found.call_id)

    async def end(self, asked: protocol.End, by: str) -> protocol.Done:
        """End a call, or stop one that rings."""
        with self._audit("end", by) as entry:
            found = pick(asked.call_id, self._known())
            entry.call_id = found.call_id
            over = False
            if found.attempt is not None and (found.call is None or found.call.phase == "ringing"):
                over = await self._outbound.cancel(found.attempt.attempt)
            elif found.call is not None:
                over = self._switchboard.end(found.call_id, REASON, after_speech=asked.after_speech)
            if not over:  # it ended while it was looked for
                raise refusal(ErrorCode.CALL_NOT_FOUND, "The call is over already.")
            return protocol.Done(call_id=found.call_id or found.name)

    async def status(self, asked: protocol.StatusOf, by: str) -> protocol.Status | CallStatus:
        """The bridge, or one call, which may be over."""
        if not asked.call_id:
            return self._whole()
        known = self._known()
        try:
            return self._shown(pick(asked.call_id, known))
        except ControlError as error:
            if error.code != ErrorCode.CALL_NOT_FOUND:
                raise
            return await self._history.one(asked.call_id)

    async def calls(self, asked: protocol.CallsOf, by: str) -> protocol.Calls:
        """The history, newest first."""
        if not 1 <= asked.limit <= protocol.MAX_CALLS:
            raise refusal(
                ErrorCode.INVALID_PARAMS, f"limit has to be from 1 to {protocol.MAX_CALLS}."
            )
        if abs(asked.since_ms) > protocol.MAX_WALL_MS:
            raise refusal(ErrorCode.INVALID_PARAMS, "sinceMs is no time.")
        return protocol.Calls(calls=await self._history.newest(asked.since_ms, asked.limit))

    # --- the bridge -----------------------------------------------------------

    async def reload(self, asked: protocol.Nothing, by: str) -> protocol.Reloaded:
        """Read the configuration again; a bad one changes nothing."""
        with self._audit("reload", by) as entry:
            if self._reload is None:
                raise refusal(
                    ErrorCode.RELOAD_FAILED, "This bridge has no configuration to read again."
                )
            try:
                reloaded = await self._reload()
            except ConfigError as error:
                problems = [printable(one, 500) for one in error.problems[:_MAX_PROBLEMS]]
                raise refusal(
                    ErrorCode.RELOAD_FAILED,
                    f"Nothing was changed. {printable(error.message, 300)}",
                    hint=printable(error.hint, 300),
                    data={"problems": problems},
                ) from error
            entry.detail = printable(", ".join(reloaded.changed), 500)
            return reloaded

    async def drain(self, asked: protocol.Drain, by: str) -> protocol.Draining:
        """Take no more calls and wait for those that run. They are not cut."""
        seconds = self._config.shutdown.drain_seconds if asked.seconds is None else asked.seconds
        if not 0 <= seconds <= protocol.MAX_DRAIN_S:
            raise refusal(
                ErrorCode.INVALID_PARAMS,
                f"seconds has to be from 0 to {protocol.MAX_DRAIN_S:g}.",
            )
        with self._audit("drain", by):
            self._switchboard.take_no_more()
            for found in self._known():
                if found.call is None and found.attempt is not None:
                    await self._outbound.cancel(found.attempt.attempt)
        return protocol.Draining(calls=await self._switchboard.wait_quiet(float(seconds)))

    async def outbound(self, asked: protocol.OutboundSwitch, by: str) -> protocol.OutboundStatus:
        """Allow or stop placing calls; None only asks."""
        if asked.on is None:
            return self._outbound_status()
        with self._audit("outbound", by) as entry:
            entry.detail = "on" if asked.on else "off"
            if asked.hang_up and not asked.on:  # now: the disk may take its time
                for call in self._switchboard.calls:
                    if call.setup.direction == "outbound":
                        self._switchboard.end(call.setup.call_id, REASON)
            kept = await self._outbound.switch(asked.on)
        return msgspec.structs.replace(self._outbound_status(), kept=kept)

    # --- inside -----------------------------------------------------------

    def _known(self) -> list[Known]:
        """The calls that run and those that are being placed, each once."""
        attempts = {one.attempt: one for one in self._outbound.attempts() if one.state != "ended"}
        by_call = {one.call_id: one for one in attempts.values() if one.call_id}
        known: list[Known] = []
        for call in self._switchboard.calls:
            setup = call.setup
            attempt = attempts.get(setup.attempt) or by_call.get(setup.call_id)
            if attempt is not None:
                attempts.pop(attempt.attempt, None)
            known.append(Known(setup.call_id, call, attempt))
        known += [Known(one.call_id, None, one) for one in attempts.values()]
        return known

    def _whole(self) -> protocol.Status:
        ready = self._switchboard.readiness()
        site = self._site
        return protocol.Status(
            version=__version__,
            protocol=protocol.VERSION,
            pid=site.pid,
            started_ms=site.started_ms,
            uptime_s=round(self._clock.now() - self._began, 3),
            ready=ready.ready,
            draining=ready.draining,
            engine=site.engine(),
            slots_free=ready.slots_free,
            slots=self._config.max_concurrent_calls,
            gateways=site.gateways(),
            listening=site.listening,
            outbound=self._outbound_status(),
            journal=site.journal(),
            drops=dict(self._switchboard.drops),
            refusals=dict(site.refusals()),
            config_path=site.config_path,
            calls=tuple(self._shown(known) for known in self._known()),
            failures=site.failures(),
            taken_ms=site.taken_ms(),
        )

    def _outbound_status(self) -> protocol.OutboundStatus:
        outbound = self._outbound
        return protocol.OutboundStatus(
            enabled=self._config.outbound.enabled,
            switched_on=outbound.switched_on,
            ringing=outbound.ringing,
            last_hour=outbound.last_hour,
            max_per_hour=self._config.outbound.max_per_hour,
        )

    def _shown(self, known: Known) -> CallStatus:
        attempt = known.attempt
        if known.call is not None:
            return _live(known.call, attempt)
        assert attempt is not None
        return CallStatus(
            call_id=attempt.call_id,
            # Answered there, while its leg is still on its way here.
            state="ringing" if attempt.state == "answered" else attempt.state,
            direction="outbound",
            dialect=attempt.via,
            who=protocol.Who(),
            started_ms=attempt.asked_ms,
            duration_ms=max(0, self._clock.wall_ms() - attempt.asked_ms),
            attempt=attempt.attempt,
            target=attempt.target,
            mode=attempt.mode,
            outcome=attempt.outcome,
            detail=attempt.detail,
        )

    @contextlib.contextmanager
    def _audit(self, action: str, by: str) -> Iterator[_Entry]:
        entry, result = _Entry(), "cancelled"
        try:
            yield entry
            result = "ok"
        except ControlError as error:
            result = error.name
            raise
        except Exception:
            result = ErrorCode.INTERNAL_ERROR.word
            raise
        finally:
            self._switchboard.tell(
                Audited(entry.call_id, self._clock.wall_ms(), action, by, result, entry.detail)
            )


def check_text(text: str) -> None:
    """Raises: ControlError, it is too long to be said in one go."""
    if len(text) > protocol.MAX_TEXT_CHARS:
        raise refusal(
            ErrorCode.INVALID_PARAMS,
            f"message has {len(text)} characters; at most {protocol.MAX_TEXT_CHARS} are said in "
            "one go.",
            hint="Say it in parts.",
        )


def who(caller: Caller) -> protocol.Who:
    """A caller as the operator is shown them."""
    return protocol.Who(
        user_id=printable(caller.user_id),
        tenant_id=printable(caller.tenant_id),
        display_name=printable(caller.display_name),
        user_principal_name=printable(caller.user_principal_name),
        phone_number=printable(caller.phone_number),
    )


def _live(call: LiveCall, attempt: Attempt | None) -> CallStatus:
    setup, counters = call.setup, call.counters
    mode: CallMode | None = None
    if setup.direction == "outbound":
        mode = attempt.mode if attempt else "notify" if setup.notify else "conversation"
    return CallStatus(
        call_id=setup.call_id,
        state=_state(call),
        direction=setup.direction,
        dialect=setup.dialect,
        who=who(setup.caller),
        started_ms=setup.wall_ms,
        duration_ms=call.duration_ms,
        attempt=setup.attempt,
        target=attempt.target if attempt else "",
        mode=mode,
        outcome=attempt.outcome if attempt else None,
        engine=call.engine,
        engine_ready=call.ready,
        recording=call.recording,
        hears=call.gate_open,
        address=setup.address,
        turns=counters.turns,
        interruptions=counters.interruptions,
        frames_in=counters.frames_in,
        frames_out=counters.frames_out,
    )


def _state(call: LiveCall) -> protocol.CallState:
    return _STATES[call.phase] if call.connected else "lost"


def _not_listening(found: Known) -> ControlError:
    if found.call is None or found.call.phase == "ringing":
        why, state = "It still rings: nobody listens yet.", "ringing"
    else:
        why, state = "It is saying goodbye, or is over.", "goodbye"
    return refusal(ErrorCode.CALL_NOT_LISTENING, why, data={"state": state})


def _weighed(weighed: Weighed) -> Initiated:
    return Initiated(
        attempt="",
        call_id="",
        state="requested",
        target=weighed.target,
        mode=weighed.mode,
        via=weighed.via,
        would_place=weighed.passed,
        gates=tuple(
            protocol.Gate(gate=one.gate, passed=one.passed, detail=one.detail)
            for one in weighed.gates
        ),
    )


def _not_placed(error: PlacingError, draining: bool) -> ControlError:
    gates = [
        {"gate": gate, "passed": passed, "detail": printable(detail)}
        for gate, passed, detail in error.gates
    ]
    message, hint = printable(error.message, 500), printable(error.hint, 500)
    if error.why == "no-far-side":
        return refusal(ErrorCode.NO_FAR_SIDE, message, hint=hint)
    if error.why == "far-side-failed":
        data = {"status": error.status} if error.status else {}
        return refusal(ErrorCode.FAR_SIDE_FAILED, message, hint=hint, data=data)
    refused = [gate for gate, passed, _ in error.gates if not passed]
    code = ErrorCode.DRAINING if draining and refused in ([], ["draining"]) else ErrorCode.REFUSED
    return refusal(
        code, message, hint=hint, data={"gate": refused[0] if refused else "", "gates": gates}
    )
