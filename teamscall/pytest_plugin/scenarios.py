"""``*.scenario.toml`` as tests: a scripted caller calls a bridge of its own.

Owns what the caller is given of this machine: the offline voice and ears, and the bridge as
its witness. Refuses to know steps and verdicts (``emulator.scenario``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest._code.code import ExceptionInfo, TerminalRepr

from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.emulator.scenario.file import read_scenario
from teamscall.emulator.scenario.result import Played
from teamscall.emulator.scenario.run import dial_for, play
from teamscall.emulator.tracks import Tracks
from teamscall.errors import TeamscallError
from teamscall.pytest_plugin.bridge import WAIT_S, Bridge, configured
from teamscall.pytest_plugin.senses import OfflineEars, OfflineVoice
from teamscall.pytest_plugin.shown import NotAsWantedError, Shown
from teamscall.wire.events import Dialect

SUFFIX = ".scenario.toml"


class ScenarioFile(pytest.File):
    """A script."""

    def collect(self) -> Iterator[ScenarioItem]:
        yield ScenarioItem.from_parent(self, name=self.path.name.removesuffix(SUFFIX))


class ScenarioItem(pytest.Item):
    """Its play."""

    def runtest(self) -> None:
        try:
            with Bridge(configured(self.config, {})) as bridge:
                played = asyncio.run(play_script(bridge, self.path))
        except TeamscallError as error:
            lines = [*error.message.splitlines(), *filter(None, [error.hint])]
            raise NotAsWantedError(lines) from error
        if not played.passed:
            raise NotAsWantedError(played.lines())
        self.add_report_section("call", "teamscall", "\n".join(played.lines()))

    def repr_failure(
        self, excinfo: ExceptionInfo[BaseException], style: object = None
    ) -> str | TerminalRepr:
        if isinstance(excinfo.value, NotAsWantedError):
            return Shown(excinfo.value.lines, self.path)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"scenario {self.name}"


class _Witness:
    """The bridge's own word."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def heard(self, call_id: str) -> tuple[str, ...]:
        await asyncio.to_thread(
            self._bridge.wait_for,
            records.CallClosed,
            where=lambda one: one.call_id == call_id,
            timeout=WAIT_S,
        )
        return tuple(
            one.text
            for one in self._bridge.records
            if isinstance(one, records.Heard) and one.final and one.call_id == call_id
        )


async def play_script(
    bridge: Bridge, path: Path, dialect: Dialect | None = None, tracks: Tracks | None = None
) -> Played:
    """Play a script to a test's bridge. ``dialect``: in place of the script's own.

    Raises:
        InputError: the script has mistakes.
        HandshakeRefused, DialError: there is no call.
    """
    scenario = read_scenario(path, dialect=dialect)
    async with OfflineEars() as ears:
        return await play(
            scenario,
            dial_for(scenario, bridge.urls[scenario.dialect], bridge.secret.encode()),
            clock=SystemClock(),
            ears=ears,
            voice=OfflineVoice(),
            witness=_Witness(bridge),
            tracks=tracks,
        )
