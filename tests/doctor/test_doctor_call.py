"""One call, placed by a bridge in this process, taken by an emulated phone."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from doctor_far_rig import SECRET, bad, config, examined
from doctor_rig import free_port

from teamscall.clock import SystemClock
from teamscall.config import Control, JournalFile, Outbound, Secret, Serve, StandIn
from teamscall.doctor import call
from teamscall.doctor.checks import Finding
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answer, Answering, Asked
from teamscall.emulator.called import Ends, Phone
from teamscall.emulator.controls import Controls
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Silence
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.server.run import running

ANN = "user:00000000-0000-4000-8000-000000000001"
TENANT = "00000000-0000-4000-8000-00000000000a"
QUICK = Script(lines=(ScriptLine(heard="hello", answer="Hi."),), word_ms=40, pause_ms=20)


class House:
    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.asked: list[Asked] = []

    def told(self, event: seen.EmulatorEvent) -> None:
        if isinstance(event, seen.Waiting):
            self.ready.set()

    def rung(self, asked: Asked) -> Ends:
        self.asked.append(asked)
        return Ends(Silence(), Controls(), lambda event: None)

    def over(self, asked: Asked, ends: Ends, report: Report) -> None:
        """Nobody waits for it."""


@contextlib.asynccontextmanager
async def phone(url: str, port: int, answer: Answer) -> AsyncIterator[House]:
    house = House()
    answering = Answering(answer, 0.1, calls=1, listen=("127.0.0.1", port))
    taken = Phone(Plan(Dial(url, SECRET.encode(), "standin")), answering, house, SystemClock())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(taken.run())
        try:
            await house.ready.wait()
            yield house
        finally:
            taken.stop()
            await asyncio.wait({task}, timeout=10)
            task.cancel()


def doctor(
    answer: Answer, *, yes: bool, to: str = ANN, **outbound: Any
) -> tuple[dict[str, Finding], House]:
    async def go(folder: Path) -> tuple[dict[str, Finding], House]:
        port = free_port()
        given = {"allow_to": ("user:00000000-*",), "tenant": TENANT, **outbound}
        made = config(
            serve=Serve(enabled=False),
            standin=StandIn(
                enabled=True,
                port=0,
                secret=Secret(SECRET),
                worker_base_url=f"http://127.0.0.1:{port}",
            ),
            outbound=Outbound(**given),
            control=Control(socket=str(folder / "c.sock")),
            journal=JournalFile(enabled=False),
        )
        async with running(made, engine=ScriptedEngine(QUICK)) as bridge:
            url = f"ws://127.0.0.1:{bridge.listening[0].port}"
            async with phone(url, port, answer) as house:
                found = await examined(call.CHECKS, made, call=to, call_yes=yes)
        return found, house

    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        return asyncio.run(go(Path(folder)))


def test_a_call_is_placed_measured_and_hung_up() -> None:
    found, house = doctor("pick-up", yes=True)
    assert bad(found) == {}
    facts = found["TC-CALL"].facts
    assert facts["outcome"] == "answered"
    assert facts["heard"] is True
    assert int(str(facts["framesIn"])) > 0
    assert int(str(facts["framesOut"])) > 0
    assert len(house.asked) == 1


def test_without_yes_nobody_is_rung() -> None:
    found, house = doctor("pick-up", yes=False)
    assert found["TC-CALL"].status == "skipped"
    assert "--yes" in found["TC-CALL"].remedy
    assert house.asked == []


def test_a_call_that_a_rule_refuses_is_told_by_the_rule() -> None:
    weighed, _ = doctor("pick-up", yes=False, to="user:99999999-0000-4000-8000-000000000001")
    placed, house = doctor("pick-up", yes=True, enabled=False)
    assert "outbound" in bad(weighed)["TC-CALL"]
    assert "does not place it" in bad(placed)["TC-CALL"]
    assert house.asked == []


def test_a_line_that_is_busy_is_told() -> None:
    found, _ = doctor("busy", yes=True)
    assert "busy" in bad(found)["TC-CALL"]


def test_without_a_bridge_there_is_no_call(tmp_path: Path) -> None:
    made = msgspec.structs.replace(config(), control=Control(socket=str(tmp_path / "c.sock")))
    found = bad(asyncio.run(examined(call.CHECKS, made, call=ANN, call_yes=True)))
    assert "teamscall serve" in found["TC-CALL"]
