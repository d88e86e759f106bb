"""Plays a script against a bridge: one call, its ears, and the verdict.

Owns the order of it all: render, dial, play, recognise, measure, judge. Refuses to know rules
(they are in the modules that it calls) and terminals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from teamscall.audio.measures import Measures, Span
from teamscall.clock import Clock
from teamscall.emulator.call import run_call
from teamscall.emulator.controls import Controls
from teamscall.emulator.happenings import EmulatorEvent, OnEvent
from teamscall.emulator.impaired_link import Weather
from teamscall.emulator.links import Tap
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.scenario import steps as script
from teamscall.emulator.scenario.judging import (
    Facts,
    Judgement,
    Recognised,
    Window,
    ended_by,
    judge,
)
from teamscall.emulator.scenario.performance import (
    LISTEN_BACK_S,
    OnStep,
    Performance,
    Took,
)
from teamscall.emulator.scenario.result import Played, StepResult, Verdict, pacing_trouble
from teamscall.emulator.scenario.senses import Ears, Voice, Witness
from teamscall.emulator.tracks import Tracks
from teamscall.errors import InputError, TeamscallError
from teamscall.text import printable
from teamscall.wire.events import FRAME_BYTES, FRAME_MS, SAMPLE_RATE, Caller

Speech = Mapping[script.Say, bytes]

# Recognising 28 s of speech takes a few seconds, many times more on a busy machine.
EARS_TIMEOUT_S = 60.0
# The bridge may still be writing down the last words when the call is over.
WITNESS_TIMEOUT_S = 15.0
# Around what is recognised: ears are better with a little silence.
AROUND_MS = 200.0
_BYTES_PER_MS = SAMPLE_RATE * 2 // 1000


def _unwatched(_: object) -> None:
    pass


async def rendered(scenario: script.Scenario, voice: Voice | None) -> dict[script.Say, bytes]:
    """Everything that the script says, as 16 kHz PCM; before anything is dialled.

    Raises:
        InputError: there is something to say and no voice.
        TeamscallError: it cannot be spoken.
    """
    speech: dict[script.Say, bytes] = {}
    for say in scenario.texts():
        if voice is None:
            raise InputError(f"{scenario.name} says something, and there is no voice.")
        speech[say] = await voice.speak(say.text, say.voice)
    return speech


def plan_for(scenario: script.Scenario, dial: Dial) -> Plan:
    """The call that the script's ``[call]`` table asks for, to this address."""
    call = scenario.call
    caller = Caller(
        user_id=call.get("user_id", "00000000-0000-4000-8000-000000000001"),
        tenant_id=call.get("tenant_id", "00000000-0000-4000-8000-00000000000a"),
        display_name=call.get("name", "Scripted Caller"),
        user_principal_name=call.get("upn", ""),
        phone_number=call.get("phone", ""),
    )
    status = call.get("recording", "active")
    status = None if status == "none" else status
    given: dict[str, Any] = {
        key: call[key] for key in ("direction", "thread_id", "participants") if key in call
    }
    return Plan(
        dial=dial,
        caller=caller,
        ask_auth=call.get("auth", True),
        recording_at_start=status,
        recording=status,
        **given,
    )


def dial_for(scenario: script.Scenario, url: str, secret: bytes) -> Dial:
    """How the script's ``[call]`` table dials, to this address with this secret."""
    return Dial(
        url,
        secret,
        scenario.dialect,
        scenario.call.get("generation", "both"),
        scenario.call.get("call_id", ""),
    )


async def play(
    scenario: script.Scenario,
    dial: Dial,
    *,
    clock: Clock,
    ears: Ears | None = None,
    voice: Voice | None = None,
    witness: Witness | None = None,
    plan: Plan | None = None,
    speech: Speech | None = None,
    on_event: OnEvent | None = None,
    on_step: OnStep | None = None,
    controls: Controls | None = None,
    tracks: Tracks | None = None,
    hear: Callable[[bytes], None] | None = None,
    tap: Tap | None = None,
    others: Callable[[], Awaitable[object]] | None = None,
) -> Played:
    """Play the script in one call, and judge it.

    Args:
        dial: where and as whom; ``dial_for`` makes one.
        ears: needed for words that the bot says; without them those are not measured.
        voice: renders what is said, unless ``speech`` has it.
        witness: asked what the bridge heard.
        plan: the call, in place of what ``[call]`` says; its end is the script's.
        on_event, on_step: told what happens, as it happens.
        controls: for whoever wants to hang up meanwhile.
        tracks: keeps both sides' sound.
        hear: gets 640 bytes per 20 ms of what the caller hears.
        others: waited for between the call and its judgement: measuring takes time that the
            pacing of other calls in this process needs.

    Raises:
        InputError: there is no voice for what is said, or the dialects differ.
        HandshakeRefused, DialError: there is no call.
    """
    if dial.dialect != scenario.dialect:
        raise InputError(
            f"{scenario.name} is written for {scenario.dialect}, not for {dial.dialect}.",
            hint="Set dialect in its [call] table.",
        )
    if speech is None:
        speech = await rendered(scenario, voice)
    plan = plan or plan_for(scenario, dial)
    plan = msgspec.structs.replace(
        plan,
        dial=dial,
        duration_s=scenario.limit_s,
        silence_s=None,
        skew_ppm=scenario.impairments.skew_ppm,
    )
    controls = controls or Controls()
    tracks = tracks or Tracks()
    performance = Performance(scenario.steps, speech, controls, on_step or _unwatched)
    told = on_event or _unwatched

    def watch(event: EmulatorEvent) -> None:
        performance.event(event)
        told(event)

    def heard(frame: bytes) -> None:
        performance.heard(frame)
        if hear is not None:
            hear(frame)

    no_call: TeamscallError | None = None
    async with asyncio.TaskGroup() as group:
        listener = group.create_task(_listen(performance, ears, tracks))
        try:
            report = await run_call(
                plan,
                performance,
                clock=clock,
                on_event=watch,
                controls=controls,
                tracks=tracks,
                play=heard,
                tap=tap,
                weather=Weather(scenario.impairments, clock),
            )
        except TeamscallError as error:  # raised in the group it would be one of a group
            no_call = error
        finally:
            listener.cancel()
    if no_call is not None:
        raise no_call
    performance.call_over()
    if others is not None:
        await others()
    return await _judged(scenario, performance, report, tracks, ears, witness)


async def _listen(performance: Performance, ears: Ears | None, tracks: Tracks) -> None:
    """Recognise what a step asks for, while the call goes on."""
    news = asyncio.Event()
    performance.on_request = news.set
    while True:
        await news.wait()
        news.clear()
        if (request := performance.take_request()) is None:
            continue
        pcm = tracks.bot[request.start * FRAME_BYTES : request.end * FRAME_BYTES]
        found = await _recognise(ears, pcm)
        if found.why_not:
            performance.deaf(found.why_not)
        else:
            performance.understood(found.text)


async def _recognise(ears: Ears | None, pcm: bytes) -> Recognised:
    if ears is None:
        return Recognised(why_not="there are no ears")
    try:
        async with asyncio.timeout(EARS_TIMEOUT_S):
            return Recognised(await ears.words(pcm))
    except TeamscallError as error:
        return Recognised(why_not=error.message)
    except TimeoutError:
        return Recognised(why_not=f"the ears took longer than {EARS_TIMEOUT_S:g} s")


async def _judged(
    scenario: script.Scenario,
    performance: Performance,
    report: Report,
    tracks: Tracks,
    ears: Ears | None,
    witness: Witness | None,
) -> Played:
    measures = await measured(tracks)
    heard, unasked = await _asked(scenario, report, witness)
    facts = Facts(report, measures, tuple(performance.noted), heard, unasked)
    hearing = _Hearing(ears, tracks.bot, measures)
    steps: list[StepResult] = []
    for took in performance.took:
        wanted = took.step.action
        judgement, state = Judgement(), took.state
        problems = [took.why] if took.why else []
        if isinstance(wanted, script.Expectation) and took.state == "done":
            judgement = await _one(wanted, facts, _window(took), hearing)
            problems += [f"silent_for: {took.trouble}"] if took.trouble else []
            problems += judgement.problems
            state = "failed" if problems else "held"
        steps.append(
            StepResult(
                took.step.number,
                took.step.line,
                took.step.what,
                state,
                took.began * FRAME_MS,
                (took.ended - took.began) * FRAME_MS if state != "skipped" else 0,
                tuple(problems),
                judgement.measured,
                took.step.note,
            )
        )
    length = round(len(tracks.caller) / _BYTES_PER_MS)
    if scenario.expect is not None:
        judgement = await _one(scenario.expect, facts, Window(), hearing)
        state = "failed" if judgement.problems else "held"
        steps.append(
            StepResult(
                0, scenario.expect_line, "[expect]", state, length, 0,
                judgement.problems, judgement.measured,
            )
        )  # fmt: skip
    call_failed = bool(report.exit_code) and ended_by(report) not in _expected_ends(scenario)
    verdict, reason = _verdict(report, steps, call_failed)
    return Played(scenario.name, verdict, reason, tuple(steps), measures, report, call_failed)


async def measured(tracks: Tracks) -> Measures | None:
    """Of both sides' sound, off the loop; None: there is none."""
    from teamscall.audio.waveform import measure

    caller, bot = tracks.caller, tracks.bot
    return await asyncio.to_thread(measure, caller, bot) if caller else None


async def _asked(
    scenario: script.Scenario, report: Report, witness: Witness | None
) -> tuple[tuple[str, ...] | None, str]:
    """What the bridge heard, or None and why it is not known."""
    if not scenario.needs_witness:
        return None, ""
    if witness is None:
        return None, "only the bridge knows, and its control plane is not in reach"
    try:
        async with asyncio.timeout(WITNESS_TIMEOUT_S):
            return await witness.heard(report.call_id), ""
    except TeamscallError as error:
        return None, f"the bridge cannot be asked: {error.message}"
    except TimeoutError:
        return None, f"the bridge did not answer within {WITNESS_TIMEOUT_S:g} s"


async def _one(
    wanted: script.Expectation, facts: Facts, window: Window, hearing: _Hearing
) -> Judgement:
    said = None
    if wanted.said or wanted.not_said:
        said = await hearing.said(window)
    return judge(wanted, facts, window, said)


def _window(took: Took) -> Window:
    until = None if took.until is None else float(took.until * FRAME_MS)
    return Window(float(max(0, took.mark) * FRAME_MS), until)


def _expected_ends(scenario: script.Scenario) -> set[str]:
    asked = (*(step.action for step in scenario.steps), scenario.expect)
    return {a.ended_by for a in asked if isinstance(a, script.Expectation) and a.ended_by}


def _verdict(report: Report, steps: Sequence[StepResult], call_failed: bool) -> tuple[Verdict, str]:
    if report.outcome == "interrupted":
        return "interrupted", "stopped before the end"
    broken = [step for step in steps if step.problems]
    reasons: list[str] = []
    if call_failed:
        reasons.append(f"the call: {report.outcome}, {printable(report.reason)}")
    for step in broken[:1]:
        where = f"step {step.number}" if step.number else "[expect]"
        reasons.append(f"{where}: {step.problems[0]}")
    if len(broken) > 1:
        reasons.append(f"and {len(broken) - 1} more")
    if trouble := pacing_trouble(report):
        return "not-trustworthy", "; ".join([trouble, *reasons])
    return ("failed", "; ".join(reasons)) if reasons else ("passed", "")


class _Hearing:
    """The bot's words by stretch of the call; each piece is recognised once."""

    def __init__(self, ears: Ears | None, bot: bytes, measures: Measures | None) -> None:
        self._ears = ears
        self._bot = bot
        self._spans = () if measures is None else measures.bot.utterances
        self._known: dict[tuple[int, int], Recognised] = {}

    async def said(self, window: Window) -> Recognised:
        texts: list[str] = []
        for start, end in pieces([span for span in self._spans if window.meets(span)]):
            found = self._known.get((start, end))
            if found is None:
                found = await _recognise(
                    self._ears, self._bot[start * _BYTES_PER_MS : end * _BYTES_PER_MS]
                )
                self._known[start, end] = found
            if found.why_not:
                return found
            texts.append(found.text)
        if self._ears is None:
            return Recognised(why_not="there are no ears")
        return Recognised(" ".join(filter(None, texts)))


def pieces(spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Utterances as pieces that ears can take, in milliseconds: neighbours together."""
    longest = LISTEN_BACK_S * 1000 - 2 * AROUND_MS
    out: list[list[float]] = []
    for span in spans:
        if out and span.end_ms - out[-1][0] <= longest:
            out[-1][1] = span.end_ms
            continue
        start = span.start_ms
        while span.end_ms - start > longest:
            out.append([start, start + longest])
            start += longest
        out.append([start, span.end_ms])
    return [(max(0, round(a - AROUND_MS)), round(b + AROUND_MS)) for a, b in out]
