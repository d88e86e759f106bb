"""Verdicts: of one expectation, of a call, of many calls, and against an earlier run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from scenario_rig import script_of

from teamscall.audio.measures import BargeIn, Loudness, Measures, Response, Span, Track
from teamscall.emulator.report import Report, Sent, Spread
from teamscall.emulator.scenario import baseline
from teamscall.emulator.scenario.judging import Facts, Recognised, Window, judge
from teamscall.emulator.scenario.load import CallOf, figures_of, summed_up
from teamscall.emulator.scenario.performance import Noted
from teamscall.emulator.scenario.result import TRUSTED_PACING_MS, Played, StepResult
from teamscall.emulator.scenario.run import pieces
from teamscall.emulator.scenario.steps import Expectation, Scenario
from teamscall.errors import ExitCode, InputError

NOISE = Loudness(-20.0, -3.0, None, 0, 0)


def measures(
    *latencies: float, stops: tuple[float | None, ...] = (), gaps: int = 0, spoke: bool = True
) -> Measures:
    """Questions at 1 s, 11 s, ..., interruptions at 5 s, 15 s, ..."""
    answers = tuple(
        Response(1000.0 + n * 10_000, 1000.0 + n * 10_000 + late)
        for n, late in enumerate(latencies)
    )
    cuts = tuple(
        BargeIn(5000.0 + n * 10_000, None if stop is None else 5000.0 + n * 10_000 + stop)
        for n, stop in enumerate(stops)
    )
    bot = (Span(2000.0, 4000.0),) if spoke else ()
    holes = tuple(Span(3000.0 + n, 3020.0 + n) for n in range(gaps))
    track = Track((), (), 0.0, NOISE)
    return Measures(
        30_000.0, track, msgspec.structs.replace(track, utterances=bot, gaps=holes),
        answers, cuts, 0.0, (), latencies[0] if latencies else None,
    )  # fmt: skip


def report(**changes: Any) -> Report:
    base = Report(
        outcome="completed", exit_code=0, reason="hung up by the script", call_id="c", url="u",
        dialect="standin", direction="inbound", sent=Sent(lateness=Spread(10, 1.0, 2.0, 3.0)),
    )  # fmt: skip
    return msgspec.structs.replace(base, **changes)


def problems(
    wanted: Expectation,
    found: Measures | None = None,
    window: Window | None = None,
    said: Recognised | None = None,
    **facts: Any,
) -> str:
    known = Facts(facts.pop("report", report()), found, **facts)
    return "; ".join(judge(wanted, known, window or Window(), said).problems)


def test_latencies_are_judged_where_they_were_asked() -> None:
    under = Expectation(latency_under_ms=900.0)
    found = measures(800.0, 1200.0)
    assert problems(under, found, Window(0.0, 10_000.0)) == ""
    assert "took 1200 ms, not under 900" in problems(under, found, Window(10_000.0))
    assert "1 of 2 answers took 1200 ms" in problems(under, found)
    assert "never measured" in problems(under, found, Window(20_000.0))
    assert "never measured, there was no sound" in problems(under, None)


def test_an_interruption_has_to_silence_the_bot_in_time() -> None:
    within = Expectation(flush_within_ms=300.0)
    assert problems(within, measures(stops=(200.0,))) == ""
    assert "took 400 ms, not within 300" in problems(within, measures(stops=(200.0, 400.0)))
    assert "the bot spoke on" in problems(within, measures(stops=(None,)))
    assert "never measured" in problems(within, measures())


def test_words_need_ears_and_are_compared_without_case_and_marks() -> None:
    wanted = Expectation(said=("three o'clock",), not_said=("sorry",))
    assert problems(wanted, said=Recognised("It is Three O’Clock, sir.")) == ""
    assert "was not said; the ears heard “four”" in problems(wanted, said=Recognised("four"))
    assert "“sorry” was said" in problems(wanted, said=Recognised("Sorry, three o'clock"))
    assert problems(wanted) == "said: not measured, there are no ears"


def test_what_the_bridge_heard_only_the_bridge_knows() -> None:
    wanted = Expectation(heard=("time is it",), not_heard=("stop",))
    assert problems(wanted, heard=("What time is it?",)) == ""
    assert "the bridge heard nothing" in problems(wanted, heard=())
    assert "not_heard: “stop” was heard" in problems(wanted, heard=("time is it", "Stop!"))
    assert problems(wanted, unasked="no door") == "heard: not measured, no door"


def test_ends_pictures_faces_gaps_and_silence() -> None:
    ended = report(outcome="ended-by-bot", reason="time-limit")
    assert problems(Expectation(ended_by="bot", end_reason="time-limit"), report=ended) == ""
    wrong = problems(Expectation(ended_by="caller", end_reason="x"), report=ended)
    assert "expected caller, it was the bot (time-limit)" in wrong
    assert "expected “x”, was “time-limit”" in wrong
    noted = (Noted(100, "image", "a chart"), Noted(400, "express", "happy"))
    both = Expectation(image=True, expression="happy")
    assert problems(both, noted=noted) == ""
    early = problems(both, None, Window(0.0, 5000.0), noted=noted)
    assert early == "expression happy: none came"
    assert problems(Expectation(image=False), noted=noted) == "image: one came"
    assert "2 holes in the bot's speech, more than 1" in problems(
        Expectation(max_gaps=1), measures(gaps=2)
    )
    assert (
        problems(Expectation(spoke=True), measures(spoke=False)) == "spoke: the bot did not speak"
    )
    assert problems(Expectation(spoke=False), measures()) == "spoke: the bot spoke"


def test_ears_get_neighbouring_utterances_at_once_and_no_more_than_they_take() -> None:
    near = [Span(1000.0, 2000.0), Span(3000.0, 4000.0), Span(40_000.0, 41_000.0)]
    assert pieces(near) == [(800, 4200), (39_800, 41_200)]
    long = pieces([Span(0.0, 70_000.0)])
    assert all(end - start <= 28_000 for start, end in long)
    assert (long[0][0], long[-1][1]) == (0, 70_200)


# --- many calls -----------------------------------------------------------------------


def played(found: Measures | None, verdict: Any = "passed", **changes: Any) -> Played:
    step = StepResult(2, 5, "expect x", "failed", 0, 0, ("said: not so",))
    steps = () if verdict == "passed" else (step,)
    reason = "" if verdict == "passed" else "step 2: said: not so"
    return Played("a", verdict, reason, steps, found, report(**changes))


def calls(*ones: Played | None) -> tuple[CallOf, ...]:
    return tuple(
        CallOf(n, f"c{n}", "" if one and one.passed else "step 2: said", one, "" if one else "gone")
        for n, one in enumerate(ones, 1)
    )


def scenario(folder: Path, thresholds: str = "") -> Scenario:
    return script_of(folder, f"[[step]]\nwait = 1\n[thresholds]\n{thresholds}\n")


def test_figures_are_over_all_calls(tmp_path: Path) -> None:
    many = calls(*(played(measures(100.0 * n, stops=(n,))) for n in range(1, 21)))
    figures = figures_of(many)
    assert (figures.calls, figures.failed_calls, figures.gaps) == (20, 0, 0)
    assert (figures.responses.p50, figures.responses.max) == (1100.0, 2000.0)
    assert figures.pacing_p95_ms == 2.0
    assert summed_up(scenario(tmp_path), many).passed


def test_a_threshold_that_was_never_measured_does_not_hold(tmp_path: Path) -> None:
    asked = scenario(tmp_path, "response_p95_ms = 1500\nbarge_in_p95_ms = 500\nfailed_calls = 0")
    load = summed_up(asked, calls(played(measures(2000.0))))
    assert load.problems == (
        "response_p95_ms: 2000, more than 1500",
        "barge_in_p95_ms: never measured",
    )
    assert (load.verdict, load.exit_code) == ("failed", ExitCode.FAILED)
    nobody = summed_up(scenario(tmp_path, "pacing_p95_ms = 10\ngaps = 0"), calls(None, None))
    assert nobody.problems == ("pacing_p95_ms: never measured", "gaps: never measured")


def test_a_bot_that_spoke_on_was_never_silent_in_time(tmp_path: Path) -> None:
    heeded, ignored = played(measures(stops=(50.0,))), played(measures(stops=(60.0, None)))
    asked = scenario(tmp_path, "barge_in_max_ms = 100")
    assert summed_up(asked, calls(heeded, heeded)).passed
    assert summed_up(asked, calls(heeded, ignored)).problems == (
        "barge_in_max_ms: the bot spoke on after 1 of 3 barge-ins",
    )
    before = baseline.Baseline(
        version=1, name="a", calls=2, figures=figures_of(calls(heeded, heeded)).by_name()
    )
    assert baseline.worse(before, figures_of(calls(heeded, ignored)).by_name()) == [
        "spoke_on: 1, it was 0"
    ]


def test_failed_calls_fail_a_run_unless_so_many_may(tmp_path: Path) -> None:
    some = calls(played(measures(100.0)), played(measures(100.0), "failed"), None)
    load = summed_up(scenario(tmp_path), some)
    assert load.reason.startswith("2 of 3 calls failed, the first: step 2: said: not so")
    assert load.causes == {"step 2: said": 2}
    assert summed_up(scenario(tmp_path, "failed_calls = 2"), some).passed
    assert summed_up(scenario(tmp_path, "failed_calls = 1"), some).problems == (
        "failed_calls: 2, more than 1",
    )


def test_a_run_that_was_too_slow_itself_says_so(tmp_path: Path) -> None:
    slow = played(measures(100.0), "not-trustworthy")
    load = summed_up(scenario(tmp_path), calls(played(measures(100.0)), slow))
    assert (load.verdict, load.exit_code) == ("not-trustworthy", ExitCode.FAILED)
    assert TRUSTED_PACING_MS == 20.0


def test_one_call_keeps_its_own_exit_code() -> None:
    lost = played(None, "failed", outcome="lost", exit_code=4)
    assert msgspec.structs.replace(lost, call_failed=True).exit_code is ExitCode.UNAVAILABLE
    assert lost.exit_code is ExitCode.FAILED  # the script expected the loss, and something else
    assert played(None, "interrupted").exit_code is ExitCode.INTERRUPTED
    assert played(None, "failed").exit_code is ExitCode.FAILED


# --- baselines ------------------------------------------------------------------------


def test_a_baseline_tells_what_got_worse(tmp_path: Path) -> None:
    path = tmp_path / "base.json"
    before = figures_of(calls(played(measures(1000.0, stops=(50.0,))))).by_name()
    path.write_bytes(baseline.written("a", 1, before))
    kept = baseline.read_baseline(path, name="a", calls=1, tolerance=0.2)
    assert baseline.worse(kept, before) == []
    later = figures_of(calls(played(measures(1190.0, stops=(69.0,))))).by_name()
    assert baseline.worse(kept, later) == []  # within the share; within a frame
    slow = figures_of(calls(played(measures(1300.0, gaps=1)))).by_name()
    assert baseline.worse(kept, slow) == [
        "response_p50_ms: 1300, it was 1000, 30 % more",
        "response_p95_ms: 1300, it was 1000, 30 % more",
        "response_max_ms: 1300, it was 1000, 30 % more",
        "barge_in_p95_ms: never measured; it was 50",
        "barge_in_max_ms: never measured; it was 50",
        "first_sound_p95_ms: 1300, it was 1000, 30 % more",
        "gaps: 1, it was 0",
        "spoke_on: never measured; it was 0",
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is no baseline"),
        ("\xff", "is no baseline"),
        ('{"version": 2, "name": "a", "calls": 1, "figures": {}}', "version 2"),
        ('{"version": 1, "name": "b", "calls": 1, "figures": {}}', "is of 1 calls of b"),
        ('{"version": 1, "name": "a", "calls": 5, "figures": {}}', "is of 5 calls of a"),
    ],
)
def test_a_baseline_of_something_else_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "base.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=why):
        baseline.read_baseline(path, name="a", calls=1)
