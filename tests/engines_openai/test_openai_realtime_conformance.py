"""Realtime mode does what every engine must do, whoever takes the turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import pytest
import test_engines_conformance as suite
from engines_openai_rig import cloud
from openai_realtime_rig import LOCAL, SERVER, engine

# A session that takes the turns itself is told of no utterance.
OF_LOCAL_TURNS = (
    suite.test_a_committed_utterance_gets_one_final_transcript,
    suite.test_a_commit_without_audio_still_gets_its_final,
)
OF_ALL = [
    check
    for name, check in vars(suite).items()
    if name.startswith("test_") and "offline" not in name and check not in OF_LOCAL_TURNS
]


@pytest.fixture(scope="module", params=[LOCAL, SERVER], ids=["local", "server"])
def stage(request: pytest.FixtureRequest) -> Iterator[suite.Stage]:
    with contextlib.ExitStack() as stack:
        realtime = engine(stack.enter_context(cloud()), request.param)
        runner = stack.enter_context(asyncio.Runner())
        runner.run(realtime.start())
        yield suite.Stage(runner, realtime)
        runner.run(realtime.stop())
        runner.run(realtime.stop())


@pytest.mark.parametrize("check", OF_ALL, ids=lambda check: check.__name__.removeprefix("test_"))
def test_as_every_engine(check: object, stage: suite.Stage) -> None:
    assert callable(check)
    check(stage)


@pytest.mark.parametrize("check", OF_LOCAL_TURNS, ids=lambda check: check.__name__[5:])
@pytest.mark.parametrize("stage", [LOCAL], ids=["local"], indirect=True)
def test_as_every_engine_that_is_told_of_utterances(check: object, stage: suite.Stage) -> None:
    assert callable(check)
    check(stage)
