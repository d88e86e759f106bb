"""From ``call``'s options to a placed call and an exit code: message, signals, time limits.

Owns when the command stops going along. What the events mean is in ``control.following``,
how it looks in ``call_view``.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Awaitable
from typing import Literal, TypeVar

import msgspec

from teamscall.calls.records import CallMode
from teamscall.calls.tasks import Tasks
from teamscall.cli.asking import Door, ask
from teamscall.cli.call_view import View, choose_view, print_gates, sentence_of
from teamscall.cli.stopping import stop_on_signals
from teamscall.control import tool
from teamscall.control.client import Client, EventStream
from teamscall.control.following import EVENTS, Following, Picture
from teamscall.control.protocol import (
    MAX_ID_CHARS,
    MAX_TEXT_CHARS,
    Initiate,
    Initiated,
    Subscribe,
)
from teamscall.errors import (
    FAR_REFUSALS,
    ControlError,
    DeadlinePassed,
    DialError,
    ExitCode,
    InputError,
    TeamscallError,
)
from teamscall.text import printable

T = TypeVar("T")

# The bridge gives a resolver of addresses its time, a far side 10 s for its answer, and its
# own disk 2 s before that and after.
ACCEPT_S = 30.0
# outbound.ring_timeout_ms goes up to ten minutes, once for a gateway to come and once for the
# ringing. After that a bridge that has said nothing has lost the call.
UNANSWERED_S = 1230.0
# Between the call's record and the attempt's a disk may have its time, which is 2 s.
SETTLE_S = 4.0
# What a hang-up while it rings may take.
HANG_UP_S = 5.0

_MAX_STDIN_BYTES = MAX_TEXT_CHARS * 4


class Order(msgspec.Struct, frozen=True):
    """The command line, as typed."""

    to: str
    message: str
    mode: CallMode | None
    tenant: str
    via: Literal["auto", "csharp", "standin"]
    wait: Literal["answered", "ended", "none"] | None
    dry_run: bool
    timeout_s: float | None
    json_lines: bool


def place(door: Door, order: Order) -> ExitCode:
    """Place it, and tell how it goes.

    Raises:
        TeamscallError: there is no call, or nothing more is known of it.
    """
    params = Initiate(
        to=order.to,
        message=_message(order.message),
        mode=order.mode,
        tenant=order.tenant,
        via=order.via,
        dry_run=order.dry_run,
    )
    accept_s = ACCEPT_S if order.timeout_s is None else min(ACCEPT_S, order.timeout_s)
    door = door._replace(timeout_s=accept_s)
    if order.dry_run:
        weighed = ask(door, lambda client: client.initiate(params), name="call")
        print_gates(weighed, json_lines=order.json_lines)
        return ExitCode.OK if weighed.would_place else ExitCode.REFUSED
    with choose_view(order.json_lines) as view:
        view.begin(order.to)
        placing = _Placing(order, params, view)
        try:
            return ask(door, placing.run, name="call")
        except TeamscallError as error:
            gates: list[tuple[str, str]] = []
            if isinstance(error, ControlError):
                gates = tool.refusing(error)
                if error.data.get("status") in FAR_REFUSALS:
                    error.exit_code = ExitCode.REFUSED  # type: ignore[misc]  # of this one
            view.failed(placing.picture, error.exit_code, tool.error_name(error), error, gates)
            raise


class _Placing:
    """One call, as the command sees it."""

    def __init__(self, order: Order, params: Initiate, view: View) -> None:
        self._order = order
        self._params = params
        self._view = view
        self._tasks = Tasks()
        self._following: Following | None = None
        self._deadline = math.inf
        self._stopped = False  # by a signal, once
        self._hung_up_by = math.inf
        self._answer: Initiated | TeamscallError | None = None
        self._answered = asyncio.Event()

    @property
    def picture(self) -> Picture | None:
        """How far it is; None: the bridge has not agreed to place it."""
        return self._following.picture if self._following is not None else None

    async def run(self, client: Client) -> ExitCode:
        """Until the call is where the command was to go along to.

        Raises:
            TeamscallError: there is no call, or nothing more is known of it.
        """
        task = asyncio.current_task()
        assert task is not None
        if self._order.timeout_s is not None:
            self._deadline = _now() + self._order.timeout_s
        try:
            # A signal is a cancellation, and `_waited` is what meets the first one.
            with stop_on_signals(task.cancel, lambda: True):
                async with client.subscribed(Subscribe(events=EVENTS)) as stream:
                    await self._ask(client)
                    return await self._follow(client, stream)
        except asyncio.CancelledError:
            return self._left()
        finally:
            await self._tasks.wait(0)

    async def _ask(self, client: Client) -> None:
        """Until the bridge agreed to place it. A signal waits for that too: what was asked
        for may be ringing, and only the answer says what it is called."""
        self._tasks.spawn(self._initiate(client), "initiate")
        while not self._answered.is_set():
            stopped = self._stopped
            await self._waited(self._answered.wait(), math.inf)
            if self._stopped and not stopped:
                self._view.note("Stopping, as soon as the bridge has said what to stop.")
            self._check_deadline()
        if isinstance(self._answer, DialError):
            raise self._lost(self._answer)
        if isinstance(self._answer, TeamscallError):
            raise self._answer
        assert self._answer is not None
        self._following = Following.of(self._answer, message=bool(self._params.message))
        self._view.step(self._following.picture)

    async def _initiate(self, client: Client) -> None:
        """A task of its own: a signal must not lose the answer."""
        try:
            self._answer = await client.initiate(self._params)
        except TeamscallError as error:
            self._answer = error
        finally:
            self._answered.set()

    async def _follow(self, client: Client, stream: EventStream) -> ExitCode:
        following = self._following
        assert following is not None
        unanswered_at, settle_at = _now() + UNANSWERED_S, math.inf
        while not self._arrived(following.picture):
            if self._stopped and (code := self._stop(client, following.picture)) is not None:
                return code
            limits = [settle_at, self._hung_up_by]
            if not following.picture.answered:
                limits.append(unanswered_at)
            event = await self._waited(anext(stream), min(limits))
            before = following.picture.state
            if event is None:
                self._check_deadline()
                if _now() >= settle_at:
                    following.settle()
                elif _now() >= min(limits, default=math.inf):
                    await self._catch_up(client, following)
                    self._check_silence(following.picture)
            elif event.event.get("event") == "gap":
                await self._catch_up(client, following)
            else:
                following.on(event.event)
            if following.picture.state != before:
                self._view.step(following.picture)
            if following.settling:
                settle_at = min(settle_at, _now() + SETTLE_S)
        return self._result(following.picture)

    def _arrived(self, picture: Picture) -> bool:
        """Whether the command has gone along far enough."""
        if picture.over or self._order.wait == "none":
            return True
        wait = self._order.wait or ("ended" if picture.mode == "notify" else "answered")
        return wait == "answered" and picture.answered and not self._stopped

    def _result(self, picture: Picture) -> ExitCode:
        code = picture.exit_code
        if self._stopped:
            code = ExitCode.INTERRUPTED
        self._view.result(picture, code, sentence_of(picture, code))
        return code

    # --- ends before its time -----------------------------------------------------------

    def _stop(self, client: Client, picture: Picture) -> ExitCode | None:
        """Ctrl-C: hang up what rings, and leave alone what was answered."""
        if picture.answered and self._hung_up_by == math.inf:
            return self._result(picture)
        if self._hung_up_by == math.inf:
            self._hung_up_by = _now() + HANG_UP_S
            self._view.note("Hanging up.")
            self._tasks.spawn(self._hang_up(client, _id(picture)), "hang up")
        return None

    async def _hang_up(self, client: Client, call_id: str) -> None:
        try:
            await client.end(call_id)
        except TeamscallError as error:  # it may have ended by itself meanwhile
            self._view.note(f"It was not hung up: {error.message}")

    def _left(self) -> ExitCode:
        """A second Ctrl-C."""
        if self.picture is not None:
            text = f"Left. The call may still ring; end it with: teamscall end {_id(self.picture)}"
            self._view.result(self.picture, ExitCode.INTERRUPTED, text)
        else:
            self._view.note("Left. The call may be rung all the same: see `teamscall status`.")
        return ExitCode.INTERRUPTED

    def _check_deadline(self) -> None:
        if _now() < self._deadline:
            return
        picture = self.picture
        raise DeadlinePassed(
            "--timeout",
            f"The call is {picture.state if picture else 'being asked for'} after "
            f"{self._order.timeout_s:g} s: --timeout passed.",
            hint=f"It goes on. End it with: teamscall end {_id(picture)}" if picture else "",
        )

    def _check_silence(self, picture: Picture) -> None:
        """The time for it is over, and ``picture`` was brought up to date."""
        end = f"`teamscall end {_id(picture)}`"
        if picture.over:
            return
        if self._stopped:
            raise DeadlinePassed(
                "hang-up", f"It is not over {HANG_UP_S:g} s after the hang-up.", hint=f"Try {end}."
            )
        if not picture.answered:
            raise DeadlinePassed(
                "ringing", "The bridge has not said what became of it.", hint=f"Try {end}."
            )

    # --- inside -----------------------------------------------------------

    async def _waited(self, waiting: Awaitable[T], until: float) -> T | None:
        """What it gives; None where the time came first, or the first signal.

        Raises:
            DialError: the bridge went away.
        """
        at = min(until, self._deadline)
        try:
            async with asyncio.timeout_at(None if at == math.inf else at):
                return await waiting
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if self._stopped:
                raise
            self._stopped = True
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
            return None
        except DialError as error:
            raise self._lost(error) from error

    async def _catch_up(self, client: Client, following: Following) -> None:
        """Events are missing: ask how far it is."""
        try:
            following.catch_up(await client.call_status(_id(following.picture)))
        except ControlError as error:
            self._view.note(f"How far the call is cannot be found out: {error.message}")

    def _lost(self, error: DialError) -> DialError:
        answered = self.picture is not None and self.picture.answered
        may = "The call may go on" if answered else "The call may still be rung"
        return DialError(
            f"{error.message} {may}.",
            hint="`teamscall calls` will tell what became of it, once the bridge runs again.",
        )


def _id(picture: Picture) -> str:
    """What the bridge knows it by."""
    return printable(picture.call_id or picture.attempt, MAX_ID_CHARS)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _message(given: str) -> str:
    """What is to be said: as typed, or from stdin.

    Raises:
        InputError: it is too long, no text, or there is none on stdin.
    """
    text = given
    if given == "-":
        read = sys.stdin.buffer.read(_MAX_STDIN_BYTES + 1)
        try:
            text = read[:_MAX_STDIN_BYTES].decode().strip()
        except UnicodeDecodeError:
            raise InputError("stdin is no UTF-8 text.") from None
        if not text:
            raise InputError("There is no message on stdin.")
        if len(read) > _MAX_STDIN_BYTES:
            raise InputError(f"The message is longer than {MAX_TEXT_CHARS} characters.")
    if len(text) > MAX_TEXT_CHARS:
        raise InputError(f"The message is longer than {MAX_TEXT_CHARS} characters.")
    return text
