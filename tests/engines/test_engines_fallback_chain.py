"""Who is in the chain, who rests, and what the chain says of itself."""

from __future__ import annotations

import asyncio
import logging

import pytest
from engines_fallback_rig import ProbeEngine, ProbeSession, chain, failing, obliging
from engines_rig import Talk, run, talking

from teamscall.engines.base import EngineCommand, EngineReady, EngineSwitched, Say
from teamscall.engines.fallback import FallbackEngine, Limits
from teamscall.errors import EngineError, MissingPackageError


def test_it_speaks_for_all_and_begins_as_the_first() -> None:
    first = ProbeEngine("realtime", turn_taking="engine")
    engine = chain(first, ProbeEngine("streaming"), ProbeEngine("offline"))
    assert engine.describe() == "realtime: a probe, then streaming: a probe, then offline: a probe"
    assert (engine.name, engine.turn_taking) == ("realtime", "engine")


@pytest.mark.parametrize("error", [EngineError("no key"), MissingPackageError("no package")])
def test_one_that_cannot_start_is_left_out(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    broken, good = ProbeEngine("broken", start=error), ProbeEngine("good")
    engine = chain(broken, good)
    asyncio.run(engine.start())
    assert engine.describe() == "good: a probe"
    assert (engine.name, engine.turn_taking) == ("good", "local")
    assert broken.did == ["start", "stop"]
    assert str(error) in caplog.text
    asyncio.run(engine.stop())
    assert good.did == ["start", "stop"]


def test_when_none_can_start_the_first_ones_error_is_raised() -> None:
    engines = [ProbeEngine(name, start=EngineError(name)) for name in ("a", "b")]
    with pytest.raises(EngineError, match="a"):
        asyncio.run(chain(*engines).start())
    assert [engine.did[-1] for engine in engines] == ["stop", "stop"]


def test_a_bug_at_the_start_is_not_hidden() -> None:
    engines = [ProbeEngine("good"), ProbeEngine("bad", start=ZeroDivisionError())]
    with pytest.raises(ZeroDivisionError):
        asyncio.run(chain(*engines).start())
    assert engines[0].did == ["start", "stop"]


def test_phrases_are_prepared_in_all_voices_and_said_in_the_first_that_has_them() -> None:
    first = ProbeEngine("first", phrases=["Hello."])
    second = ProbeEngine("second", phrases=["Hello.", "Goodbye."])
    engine = chain(first, second)
    asyncio.run(engine.prepare(["Hello.", "Goodbye."]))
    assert first.did == second.did == ["prepare 2"]
    found = [engine.phrase(text) for text in ("Hello.", "Goodbye.", "Never.")]
    assert [phrase and phrase.pcm for phrase in found] == [b"first", b"second", None]


class TestResting:
    LIMITS = Limits(failures=3, within_s=60.0, rest_s=30.0)

    def begin(
        self, now: list[float], limits: Limits = LIMITS
    ) -> tuple[FallbackEngine, ProbeEngine, ProbeEngine]:
        first, second = ProbeEngine("first", self.dies), ProbeEngine("second", obliging)
        engine = FallbackEngine([first, second], limits=limits, now=lambda: now[0])
        return engine, first, second

    @staticmethod
    def dies(session: ProbeSession, command: EngineCommand) -> None:
        session.end(EngineError("503"))

    async def call(self, engine: FallbackEngine) -> list[str]:
        """Which engines served one call."""
        async with talking(engine) as talk:
            talk.submit(Say(1, "x"))
            await talk.done(1)
            assert [e.turn_taking for e in talk.all(EngineReady)] == ["local"]
            return [e.name for e in talk.all(EngineSwitched)]

    def test_one_that_failed_in_several_calls_rests_and_is_tried_again(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        now = [1000.0]
        engine, first, second = self.begin(now)

        async def check() -> None:
            for _ in range(3):
                assert await self.call(engine) == ["second"]
            assert len(first.sessions) == 3
            for _ in range(5):
                assert await self.call(engine) == ["second"]
            assert len(first.sessions) == 3
            assert len(second.sessions) == 8
            engine.warm()
            assert (first.did, second.did) == ([], ["warm"])
            now[0] += 30.0
            engine.warm()
            assert first.did == ["warm"]
            await self.call(engine)
            assert len(first.sessions) == 4
            await self.call(engine)  # it failed again, so it rests again
            assert len(first.sessions) == 4

        with caplog.at_level(logging.WARNING, "teamscall.engines"):
            run(check)
        assert caplog.text.count("failed in several calls") == 2

    def test_failures_far_apart_are_no_reason(self) -> None:
        now = [1000.0]
        engine, first, _ = self.begin(now, Limits(failures=3, within_s=60.0, rest_s=300.0))

        async def check() -> None:
            for _ in range(6):
                await self.call(engine)
                now[0] += 31.0
            assert len(first.sessions) == 6

        run(check)

    def test_one_that_fails_while_it_rests_rests_no_longer_for_that(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        now = [1000.0]
        engine, first, second = self.begin(now)

        async def check() -> None:
            for _ in range(3):
                await self.call(engine)
            now[0] += 29.0
            second.behave = self.dies
            talk = Talk(engine)
            talk.submit(Say(1, "x"))
            with pytest.raises(EngineError):
                await talk.session.run()
            await talk.session.close()
            assert len(first.sessions) == 4
            now[0] += 1.0
            second.behave = obliging
            await self.call(engine)
            assert len(first.sessions) == 5

        with caplog.at_level(logging.WARNING, "teamscall.engines"):
            run(check)

    def test_a_call_counts_once_however_often_it_fails_there(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def check() -> None:
            engine = FallbackEngine([ProbeEngine("only", failing())], limits=self.LIMITS)
            for rests in (False, False, True):
                async with talking(engine) as talk:
                    for turn in (1, 2, 3):
                        talk.submit(Say(turn, "x"))
                        assert (await talk.done(turn)).status == "failed"
                assert ("failed in several calls" in caplog.text) == rests

        with caplog.at_level(logging.WARNING, "teamscall.engines"):
            run(check)

    def test_one_that_rests_is_still_better_than_none(self) -> None:
        now = [1000.0]
        engine, first, second = self.begin(now)

        async def check() -> None:
            for _ in range(3):
                await self.call(engine)
            first.behave, second.behave = obliging, self.dies
            async with talking(engine) as talk:
                talk.submit(Say(1, "x"))
                assert (await talk.done(1)).status == "completed"
                names = [e.name for e in talk.all(EngineSwitched)]
                assert names == ["second", "first"]
                assert "left alone" in talk.all(EngineSwitched)[0].detail

        run(check)
