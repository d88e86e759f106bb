"""An emulated caller for a test's bridge, and what came of its call.

Owns how a test says what the caller does. Refuses to know how a call is played
(``emulator``).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.emulator import sources
from teamscall.emulator.call import run_call
from teamscall.emulator.plan import Dial, Plan, Press
from teamscall.emulator.report import Report
from teamscall.emulator.tracks import Tracks
from teamscall.pytest_plugin.bridge import WAIT_S, Bridge
from teamscall.wire import events as wire

if TYPE_CHECKING:
    from teamscall.emulator.scenario.result import Played

# The caller hangs up when the bot has been silent for so long.
HANG_UP_AFTER_S = 1.5
PATIENCE_S = 30.0

_Result = TypeVar("_Result")

CALLER = wire.Caller(
    user_id="3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11",
    tenant_id="8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a",
    display_name="Test Caller",
)


class Call(msgspec.Struct, frozen=True):
    """One call that is over.

    ``heard`` and ``said``: what the bridge understood, utterance by utterance, and said, turn
    by turn. ``latencies_ms``: of each answer, as the caller heard it. ``caller`` and ``bot``:
    both sides as PCM on one clock, 16 kHz s16le mono. ``report``: all that the far side
    measured. ``played``: of a script.
    """

    report: Report
    heard: tuple[str, ...]
    said: tuple[str, ...]
    latencies_ms: tuple[float, ...]
    caller: bytes
    bot: bytes
    closed: records.CallClosed | None
    played: Played | None = None


class Caller:
    """Calls one bridge; several calls, one after the other."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def call(self, **what: Any) -> Call:
        """As ``place``, for tests that are no coroutines."""
        return _in_a_loop(self.place(**what))

    async def place(
        self,
        *,
        say: str | None = None,
        wav: str | Path | None = None,
        pcm: bytes | None = None,
        script: str | Path | None = None,
        dialect: wire.Dialect | None = None,
        digits: str = "",
        caller: wire.Caller = CALLER,
        call_id: str = "",
        duration_s: float | None = None,
        hang_up_after_s: float = HANG_UP_AFTER_S,
        patience_s: float = PATIENCE_S,
        plan: Plan | None = None,
    ) -> Call:
        """Call, speak, listen, hang up.

        Args:
            say: a text, spoken with the offline voice (the extra ``teamscall[offline]``).
            wav: a WAV file. pcm: 16 kHz s16le mono. None of these: silence.
            script: a scenario file; all else but ``dialect`` is in it.
            digits: pressed one after the other from the second second on (StandIn).
            dialect: StandIn's, or the script's own.
            duration_s: hang up after so long; else when the bot has answered and been silent
                for ``hang_up_after_s``, or has not answered for ``patience_s``.
            plan: everything else (``teamscall.emulator.plan``); its ``dial`` is replaced.

        Raises:
            HandshakeRefused, DialError: the bridge takes no call.
            InputError: the file cannot be used.
        """
        if script is not None:
            from teamscall.pytest_plugin.scenarios import play_script

            kept = Tracks()
            played = await play_script(self._bridge, Path(script), dialect, kept)
            return await self._call(played.report, kept, played)
        dialect = dialect or "standin"
        dial = Dial(
            self._bridge.urls[dialect], self._bridge.secret.encode(), dialect, call_id=call_id
        )
        presses = tuple(Press(2.0 + 0.5 * index, key) for index, key in enumerate(digits))
        plan = plan or Plan(
            dial=dial,
            caller=caller,
            duration_s=duration_s,
            silence_s=None if duration_s else hang_up_after_s,
            patience_s=patience_s,
            presses=presses,
        )
        source: sources.Source = sources.Silence(0)
        if say is not None:
            from teamscall.engines.offline.synthesise import synthesise

            source = sources.after_lead_in(sources.Pcm(await synthesise(say)))
        elif wav is not None:
            source = sources.after_lead_in(sources.wav(Path(wav)))
        elif pcm is not None:
            source = sources.after_lead_in(sources.Pcm(pcm))
        tracks = Tracks()
        plan = msgspec.structs.replace(plan, dial=dial)
        report = await run_call(plan, source, clock=SystemClock(), tracks=tracks)
        return await self._call(report, tracks, None)

    async def _call(self, report: Report, tracks: Tracks, played: Played | None) -> Call:
        """Once the bridge has closed it, which it does in its own time."""
        call_id = report.call_id
        closed: records.CallClosed | None = None
        if report.outcome not in ("refused", "auth-timeout"):
            closed = await asyncio.to_thread(
                self._bridge.wait_for,
                records.CallClosed,
                where=lambda one: one.call_id == call_id,
                timeout=WAIT_S,
            )
        own = [one for one in self._bridge.records if getattr(one, "call_id", "") == call_id]
        return Call(
            report=report,
            heard=tuple(one.text for one in own if isinstance(one, records.Heard) and one.final),
            said=tuple(
                one.said_text for one in own if isinstance(one, records.TurnEnded) and one.said_text
            ),
            latencies_ms=tuple(
                reply.latency_ms for reply in report.replies if reply.latency_ms is not None
            ),
            caller=tracks.caller,
            bot=tracks.bot,
            closed=closed,
            played=played,
        )


def _in_a_loop(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Of its own; beside a running one (an async test) in a thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
