"""The group "call": one call, placed through the running bridge, measured and hung up.

Owns the order, the sentence and the measuring. The bridge's own gates decide whether it is
placed; without a clear yes they are only asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

import msgspec

from teamscall.control.client import Client, EventStream, connect
from teamscall.control.following import EVENTS, Following, Picture
from teamscall.control.protocol import CallStatus, Initiate, Initiated, Subscribe
from teamscall.control.where import find
from teamscall.doctor.checks import (
    CALL_TIMEOUT_S,
    Check,
    Fact,
    Finding,
    Site,
    failed,
    ok,
    skipped,
    warning,
)
from teamscall.errors import ControlError, DeadlinePassed, DialError, InputError, TeamscallError
from teamscall.text import printable

MESSAGE = "Hello. This is a test call by teamscall doctor. Nothing is wrong. Goodbye."
# The bridge may wait for a gateway, and ask a resolver and the far side, before it answers.
ACCEPT_S = 30.0
# Nobody lets it ring for longer, whatever outbound.ring_timeout_ms allows.
RING_S = 60.0
# What the sentence and its hang-up may take.
TALK_S = 30.0
POLL_S = 0.5
HANG_UP_S = 5.0


_OUTCOMES = {
    "no-answer": ("Nobody answered.", "Have somebody pick up, and run it again."),
    "busy": ("The line was busy.", "Run it again when it is not."),
    "declined": ("The call was declined.", "Have it picked up, and run it again."),
    "refused": (
        "The far side refused to place the call.",
        "See TC-STANDIN-CONTROL, TC-GATEWAY-CONTROL and TC-GRAPH-PERMISSIONS: a bot needs "
        "Calls.Initiate.All.",
    ),
}


class _Measured(msgspec.Struct):
    """What was seen of it so far."""

    asked: float
    rang_s: float | None = None
    frames_in: int = 0
    frames_out: int = 0

    def take(self, status: CallStatus) -> None:
        self.frames_in = max(self.frames_in, status.frames_in)
        self.frames_out = max(self.frames_out, status.frames_out)


async def call(site: Site) -> Finding:
    """Place one call, or say what would become of it."""
    if not site.call:
        return skipped("Nobody was named: --call user:OBJECT-ID places a call.")
    try:
        there = find(site.config, site.env)
        async with connect(there, timeout_s=ACCEPT_S, name="doctor") as client:
            if not site.call_yes:
                return await _weighed(client, site.call)
            return await _placed(client, site.call)
    except DialError as error:
        return failed(
            printable(error.message, 200), error.hint or "Start it with `teamscall serve`."
        )
    except ControlError as error:
        return failed(
            f"The bridge does not place it: {printable(error.message, 200)}",
            printable(error.hint, 200) or f"teamscall call {printable(site.call, 80)} --dry-run",
            name=error.name,
        )
    except InputError as error:
        return failed(printable(error.message, 200), error.hint or "Correct --call.")
    except DeadlinePassed as error:
        return failed(printable(error.message, 200), error.hint or "See `teamscall status`.")


async def _weighed(client: Client, to: str) -> Finding:
    """What the gates say; nothing is placed."""
    found = await client.initiate(_order(to, dry_run=True))
    shown = printable(found.target or to, 80)
    shut = [gate for gate in found.gates if not gate.passed]
    facts: dict[str, Fact] = {
        "target": shown,
        "via": found.via,
        **{f"gate{n}": printable(f"{g.gate}: {g.detail}", 160) for n, g in enumerate(shut, 1)},
    }
    if not found.would_place:
        # The first is the reason; what comes after may only follow from it.
        why = printable(shut[0].detail, 300) if shut else "a rule refuses it"
        return failed(
            f"{shown} would not be called: {why.rstrip('.')}.",
            f"Do what it says; `teamscall call {shown} --dry-run` lists every rule.",
            **facts,
        )
    return skipped(
        f"It would call {shown} through {found.via or 'a gateway'}, say a sentence and hang up.",
        "Add --yes to place the call.",
        **facts,
    )


def _order(to: str, *, dry_run: bool = False) -> Initiate:
    return Initiate(to=to, message=MESSAGE, mode="notify", dry_run=dry_run)


async def _placed(client: Client, to: str) -> Finding:
    measured = _Measured(time.monotonic())
    async with client.subscribed(Subscribe(events=EVENTS)) as stream:
        accepted = await client.initiate(_order(to))
        following = Following.of(accepted, message=True)
        try:
            await _follow(client, stream, following, measured)
        finally:
            await _hung_up(client, following, accepted)
    return _judged(following.picture, measured)


async def _follow(
    client: Client, stream: EventStream, following: Following, measured: _Measured
) -> None:
    """Until it is over, or has had its time."""
    limit = time.monotonic() + RING_S
    while not following.picture.over and time.monotonic() < limit:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                following.on((await anext(stream)).event)
        picture = following.picture
        if picture.answered and measured.rang_s is None:
            measured.rang_s = time.monotonic() - measured.asked
            limit = time.monotonic() + TALK_S
        if following.settling:
            limit = min(limit, time.monotonic() + 2 * POLL_S)
        if picture.answered and picture.call_id:
            # A call that is over may be forgotten already.
            with contextlib.suppress(ControlError):
                measured.take(await client.call_status(picture.call_id))
    following.settle()


async def _hung_up(client: Client, following: Following, accepted: Initiated) -> None:
    """Leave nothing ringing."""
    if following.picture.over:
        return
    name = following.picture.call_id or accepted.attempt
    with contextlib.suppress(TeamscallError, TimeoutError):
        async with asyncio.timeout(HANG_UP_S):
            await client.end(name)


def _judged(picture: Picture, measured: _Measured) -> Finding:
    facts: dict[str, Fact] = {
        "target": picture.target,
        "via": picture.via,
        "outcome": picture.outcome,
        "ringS": None if measured.rang_s is None else round(measured.rang_s, 1),
        "durationMs": picture.duration_ms,
        "framesIn": measured.frames_in,
        "framesOut": measured.frames_out,
        "heard": picture.heard,
    }
    if not picture.answered:
        what, remedy = _OUTCOMES.get(
            picture.outcome or "",
            (
                f"The call failed: {picture.detail.rstrip('.') or 'nobody said why'}.",
                "See `teamscall tail` and the far side's own log.",
            ),
        )
        if not picture.over:
            what = f"It rang for {RING_S:g} s, and was hung up."
            remedy = _OUTCOMES["no-answer"][1]
        if picture.no_gateway:
            what = "No C# gateway is connected to place it."
            remedy = "Start the gateway, or set bridge.control_url."
        return failed(what, remedy, **facts)
    rang = f"answered after {measured.rang_s or 0:.1f} s"
    if not measured.frames_out:
        return failed(
            f"The call was {rang}, and no sound was sent.",
            "See the engine checks: the voice gave nothing in time.",
            **facts,
        )
    if not measured.frames_in:
        return warning(
            f"The call was {rang}, and no sound came from there.",
            "Look at the gateway's media: its ports, its public address, its certificate.",
            **facts,
        )
    if picture.heard is not True:
        return warning(
            f"The call was {rang}, and the sentence was not played to its end.",
            "Was it hung up? Run it again and listen to the end.",
            **facts,
        )
    return ok(
        f"The call was {rang}; {measured.frames_out} frames went out and {measured.frames_in} "
        "came in.",
        **facts,
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-CALL",
        "call",
        "A call",
        call,
        "With --call TARGET --yes: has the running bridge place one call, says a sentence, "
        "measures the time until it is answered and the frames of sound each way, and hangs up. "
        "The bridge's own rules apply (outbound.*). Without --yes nothing is placed: it says "
        "what would be done, and which rule would refuse it.",
        "What the rule or the far side says; `teamscall call TARGET --dry-run` lists every rule.",
        after=(
            "TC-CONFIG",
            "TC-OPENAI-QUOTA",
            "TC-OFFLINE",
            "TC-GATEWAY",
            "TC-GATEWAY-CONTROL",
            "TC-STANDIN-CONTROL",
        ),
        timeout_s=CALL_TIMEOUT_S,
    ),
)
