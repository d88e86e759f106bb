"""Whole calls: a script, a far side, a real socket and the real bridge, in this process."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scenario_rig import (
    EarsThatSay,
    Tones,
    bridge,
    dial,
    script_of,
)

from teamscall.cli.asking import Door
from teamscall.cli.emulate_senses import BridgeWitness
from teamscall.clock import SystemClock
from teamscall.emulator import happenings as seen
from teamscall.emulator.scenario.load import Load, play_many
from teamscall.emulator.scenario.performance import StepBegan, StepEnded
from teamscall.emulator.scenario.result import Played
from teamscall.emulator.scenario.run import plan_for, play, rendered
from teamscall.emulator.scenario.senses import Ears
from teamscall.emulator.tracks import Tracks
from teamscall.engines.scripted import ScriptLine
from teamscall.errors import DialError, ExitCode, InputError
from teamscall.wire.events import Dialect

LONG = "Once upon a time there was a king who had a cat and a dog and a bird and a horse"
LINES = (
    ScriptLine(heard="what time is it", answer="Three."),
    ScriptLine(heard="tell me a story", answer=LONG),
    ScriptLine(heard="stop", answer="Well."),
)
CONVERSATION = """
limit = 60
[[step]]
say = "What time"
[[step]]
expect = { said = "three", latency_under_ms = 20000 }
[[step]]
say = "A story"
[[step]]
interrupt = { after_ms = 400, say = "Stop it" }
[[step]]
expect = { flush_within_ms = 5000 }
[expect]
heard = "tell me a story"
ended_by = "caller"
"""


class Asked(msgspec.Struct, frozen=True):
    """A script, and what the bridge and the caller have for it."""

    text: str
    lines: tuple[ScriptLine, ...] = LINES
    digits: dict[str, str] = {}
    ears: Ears | None = None
    told: list[Any] = []
    tracks: Tracks = msgspec.field(default_factory=Tracks)


SAYS_THREE = EarsThatSay("It is three.")
HOLDS = Asked(CONVERSATION, ears=SAYS_THREE)
DOES_NOT = Asked(
    '[[step]]\nsay = "What time"\n[[step]]\nexpect = { said = "four", latency_under_ms = 1 }\n'
    '[[step]]\nexpect = { heard = "x" }\n[expect]\nended_by = "bot"\nflush_within_ms = 5\n',
    ears=EarsThatSay("It is three."),
)
DROPPED = Asked(
    '[call]\ndialect = "csharp"\n[[step]]\nsay = "Hello"\n[[step]]\nwait_for = "speech"\n'
    "[[step]]\ndrop = 0.2\n[[step]]\nexpect = { spoke = true }\n",
    (ScriptLine(heard="hello", answer=LONG),),
)
KEYS = Asked(
    '[[step]]\npress = "1"\n[[step]]\nexpect = { spoke = true }\n'
    "[impairments]\nseed = 7\nto_bridge.loss_percent = 20\n",
    digits={"1": "One was pressed."},
)
GOODBYE = Asked(
    '[[step]]\nsay = "Goodbye"\n[[step]]\nwait_for = { event = "hangup" }\n'
    '[expect]\nended_by = "bot"\n',
    (ScriptLine(heard="goodbye", answer="Goodbye.", end_call=True),),
)


async def call(folder: Path, asked: Asked, control: str = "") -> Played:
    scenario = script_of(folder, asked.text)
    witness = BridgeWitness(Door(socket=control)) if control else None
    async with bridge(folder, asked.lines, asked.digits, control=control) as up:
        if witness is not None:
            with pytest.raises(InputError, match="does not remember"):
                await witness.heard("another")
        return await play(
            scenario,
            dial(up, scenario.dialect),
            clock=SystemClock(),
            voice=Tones(),
            ears=asked.ears,
            witness=witness,
            on_step=asked.told.append,
            tracks=asked.tracks,
        )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Played]:
    """What came of each script: they take their time at the same time."""

    async def main(control: str) -> list[Played]:
        folder = tmp_path_factory.mktemp("calls")
        return await asyncio.gather(
            call(folder, HOLDS, control),
            *(call(folder, one) for one in (DOES_NOT, DROPPED, KEYS, GOODBYE)),
        )

    with tempfile.TemporaryDirectory() as short:  # a socket's path has to be short
        found = asyncio.run(main(f"{short}/c.sock"))
    names = ("holds", "does not", "dropped", "keys", "goodbye")
    return dict(zip(names, found, strict=True))


def said(played: Played) -> str:
    """For the message of an assertion; a machine too busy to trust is no failure of these."""
    return "\n".join(played.lines())


def held(played: Played) -> list[str]:
    return [step.state for step in played.steps]


def test_a_conversation_with_an_interruption_holds(played: dict[str, Played]) -> None:
    found = played["holds"]
    assert held(found) == ["done", "held", "done", "done", "held", "held"], said(found)
    assert found.measures is not None
    assert len(found.measures.responses) >= 2
    assert len(found.measures.barge_ins) == 1
    assert found.report.received.flushes == 1
    assert found.steps[-1].measured[0].startswith("heard “what time is it”, “tell me a story”")
    assert len(SAYS_THREE.lengths) == 1  # the answer to one question, and nothing twice
    assert len(HOLDS.tracks.caller) == len(HOLDS.tracks.bot) > 16_000
    assert {type(event) for event in HOLDS.told} == {StepBegan, StepEnded}
    assert found.verdict in ("passed", "not-trustworthy")
    body = msgspec.json.decode(msgspec.json.encode(found))
    assert (body["version"], len(body["steps"])) == (1, 6)


def test_what_does_not_hold_fails_with_its_reason(played: dict[str, Played]) -> None:
    found = played["does not"]
    assert held(found) == ["done", "failed", "failed", "failed"]
    assert not found.passed
    assert found.exit_code is ExitCode.FAILED
    problems = [problem.split(":")[0] for step in found.steps for problem in step.problems]
    assert problems == ["said", "latency_under_ms", "heard", "flush_within_ms", "ended_by"]
    assert "step 2: said: “four” was not said; the ears heard “It is three.”" in said(found)


def test_a_dropped_call_goes_on(played: dict[str, Played]) -> None:
    found = played["dropped"]
    assert held(found)[:3] == ["done"] * 3, said(found)
    assert (found.report.resumes, found.report.outcome) == (1, "completed")


def test_keys_are_answered_and_a_bad_network_is_counted(played: dict[str, Played]) -> None:
    found = played["keys"]
    assert held(found) == ["done", "held"], said(found)
    toll = found.report.impaired
    assert toll is not None
    assert 0 < toll.to_bridge.lost < toll.to_bridge.frames
    assert toll.from_bridge.lost == 0


def test_an_end_by_the_bot_can_be_expected(played: dict[str, Played]) -> None:
    assert held(played["goodbye"]) == ["done", "done", "held"], said(played["goodbye"])


def test_a_refused_call_has_the_codes_of_a_refusal(tmp_path: Path) -> None:
    scenario = script_of(tmp_path, '[call]\ndialect = "csharp"\n[[step]]\nwait = 1\n')

    async def main() -> Played:
        async with bridge(tmp_path, LINES, mode="disabled") as up:
            return await play(scenario, dial(up, "csharp"), clock=SystemClock())

    played = asyncio.run(main())
    assert held(played) == ["failed"]
    assert played.exit_code is ExitCode.REFUSED
    assert "the call was over: not authorized" in said(played)


def many(folder: Path, text: str, calls: int, dialect: Dialect = "standin") -> tuple[Load, Any]:
    scenario = script_of(folder, text)
    events: list[tuple[int, seen.EmulatorEvent]] = []

    async def main() -> Load:
        from teamscall.emulator.scenario.load import Watch

        async with bridge(folder, LINES) as up:
            return await play_many(
                scenario,
                plan_for(scenario, dial(up, dialect)),
                calls=calls,
                ramp_s=0.2,
                clock=SystemClock(),
                speech=await rendered(scenario, Tones()),
                watch=Watch(event=lambda number, event: events.append((number, event))),
            )

    return asyncio.run(main()), events


def test_many_callers_are_others_and_their_figures_are_together(tmp_path: Path) -> None:
    load, events = many(
        tmp_path,
        '[[step]]\nsay = "What time"\n[[step]]\nexpect = { latency_under_ms = 20000 }\n'
        "[thresholds]\nbarge_in_p95_ms = 100\n",
        3,
    )
    assert [call.number for call in load.calls] == [1, 2, 3]
    assert len({call.call_id for call in load.calls}) == 3
    assert load.figures.responses.count == 3
    assert load.problems == ("barge_in_p95_ms: never measured",)
    assert not load.passed
    assert {number for number, _ in events} == {1, 2, 3}


def test_a_run_that_is_stopped_places_no_more_calls(tmp_path: Path) -> None:
    scenario = script_of(tmp_path, "[[step]]\nwait = 0.1\n")

    async def main() -> Load:
        from teamscall.emulator.scenario.load import Watch

        stop = asyncio.Event()
        async with bridge(tmp_path, LINES) as up:
            return await play_many(
                scenario,
                plan_for(scenario, dial(up)),
                calls=3,
                ramp_s=3600.0,
                clock=SystemClock(),
                speech={},
                watch=Watch(event=lambda number, event: stop.set()),
                stop=stop,
            )

    load = asyncio.run(main())
    assert [call.number for call in load.calls] == [1]
    assert (load.verdict, load.exit_code) == ("interrupted", ExitCode.INTERRUPTED)
    assert load.reason == "stopped when 1 of 3 calls were placed"


def test_calls_that_cannot_be_made_are_counted_by_cause(tmp_path: Path) -> None:
    scenario = script_of(tmp_path, "[[step]]\nwait = 1\n")

    async def main(calls: int) -> Load:
        async with bridge(tmp_path, LINES) as up:
            plan = plan_for(scenario, msgspec.structs.replace(dial(up), secret=b"wrong"))
            return await play_many(
                scenario, plan, calls=calls, ramp_s=0.0, clock=SystemClock(), speech={}
            )

    load = asyncio.run(main(2))
    assert load.figures.failed_calls == 2
    assert list(load.causes.values()) == [2]
    assert "credentials" in load.reason


def test_what_prevents_a_call_is_raised(tmp_path: Path) -> None:
    scenario = script_of(tmp_path, '[[step]]\nsay = "x"\n')

    async def main(url: str, dialect: Dialect, voice: Tones | None) -> Played:
        from teamscall.emulator.plan import Dial

        target = Dial(url, b"secret", dialect)
        return await play(scenario, target, clock=SystemClock(), voice=voice)

    with pytest.raises(InputError, match="no voice"):
        asyncio.run(main("ws://127.0.0.1:1", "standin", None))
    with pytest.raises(InputError, match="is written for standin"):
        asyncio.run(main("ws://127.0.0.1:1", "csharp", None))
    with pytest.raises(DialError):
        asyncio.run(main("ws://127.0.0.1:1", "standin", Tones()))
