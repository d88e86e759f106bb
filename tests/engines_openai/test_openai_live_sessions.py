"""Live sessions that end, are renewed, or never were."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai_live_rig import (
    ANSWER_BYTES,
    MANNER,
    MS,
    SAID,
    SCRIPT,
    SPOKEN,
    Caller,
    arrives,
    call,
    engine_of,
    run,
)

from teamscall.config import Secret
from teamscall.engines.base import (
    AnswerDone,
    CallBrief,
    DiscardHeard,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    Line,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.openai import live_session
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.live import LiveEngine, Manner
from teamscall.engines.openai.live_messages import MAX_HISTORY_BYTES, MAX_HISTORY_LINES
from teamscall.errors import EngineError
from teamscall.testing import (
    Drop,
    FakeOpenAI,
    Refuse,
    Settings,
    Visit,
)

# --- sessions that end -------------------------------------------------------------------


@pytest.mark.parametrize(
    "ends",
    [
        lambda fake: fake.drop_sockets(1011),
        lambda fake: fake.drop_sockets(1006),
        lambda fake: fake.expire_sessions(),
    ],
)
def test_another_session_knows_what_was_said_and_heard(
    ends: Callable[[FakeOpenAI], Awaitable[int]],
) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake), history=(Line("bot", "Welcome."),)) as caller:
            caller.speak()
            await caller.sees(AnswerDone)
            caller.does(TruncateAnswer(1, 300, "You said"))
            await ends(fake)
            lost = await caller.sees(EngineDegraded)
            assert lost.stage == "session"
            caller.speak()
            await caller.sees(AnswerDone, 2)
            assert caller.text(2) == SAID
            assert len(caller.all(EngineReady)) == 1
        first, second = fake.visits("/live/sessions")
        assert lines(first) == [("assistant", "Welcome.")]
        assert lines(second) == [
            ("assistant", "Welcome."),
            ("user", "one two three"),
            ("assistant", "You said"),
        ]

    run(test)


def lines(visit: Visit) -> list[tuple[str, str]]:
    (start,) = visit.received("session.start")
    given = start["session"].get("input", [])
    return [(item["role"], item["content"][0]["text"]) for item in given]


def test_a_long_history_is_told_from_its_end() -> None:
    async def test(fake: FakeOpenAI) -> None:
        history = tuple(Line("caller", f"{n} " + "x" * 90) for n in range(150))
        async with call(engine_of(fake), history=history):
            told = lines(fake.visits("/live/sessions")[0])
        assert told[-1][1] == history[-1].text
        assert len(told) <= MAX_HISTORY_LINES
        assert sum(len(text) for _, text in told) <= MAX_HISTORY_BYTES

    run(test)


def test_what_is_said_while_there_is_no_session_is_heard_by_the_next() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            fake.plan.fail("session", Refuse(status=503, at="connect"))
            await fake.drop_sockets(1011)
            session: Any = caller.session
            await arrives(fake, lambda: not session._line.ready)
            caller.speak(bytes(40 * MS))
            caller.does(DiscardHeard())
            caller.speak()
            done = await caller.sees(AnswerDone)
            assert done.status == "completed"
            assert caller.all(Transcript)[0].text == "one two three"
        assert fake.visits("/live/sessions")[-1].audio_bytes == pytest.approx(len(SPOKEN), rel=0.01)

    run(test)


def test_no_more_is_kept_than_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_session, "MAX_GAP_BYTES", 100 * MS)

    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            fake.plan.fail("session", Refuse(status=503, at="connect"))
            await fake.drop_sockets(1011)
            session: Any = caller.session
            await arrives(fake, lambda: not session._line.ready)
            caller.speak(bytes(500 * MS))
            await caller.sees(EngineDegraded)
            visit = fake.visits("/live/sessions")[-1]
            await arrives(fake, lambda: visit.audio_bytes)
        assert visit.audio_bytes == pytest.approx(100 * MS, rel=0.05)

    run(test)


def test_an_answer_that_is_cut_off_has_failed() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("session", Drop(after=0.5))
        async with call(engine_of(fake)) as caller:
            caller.speak()
            done = await caller.sees(AnswerDone)
            assert (done.turn, done.status) == (1, "failed")
            assert 0 < len(caller.pcm(1)) < ANSWER_BYTES
            await caller.sees(EngineDegraded)
            caller.speak()
            assert (await caller.sees(AnswerDone, 2)).status == "completed"

    run(test)


def test_a_session_is_renewed_in_a_pause_before_it_expires() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with call(engine_of(fake)) as caller:
            caller.speak()
            await caller.sees(AnswerDone)
            await arrives(fake, lambda: len(fake.visits("/live/sessions")) == 2)
            caller.speak()
            await caller.sees(AnswerDone, 2)
            assert caller.text(2) == SAID
            assert caller.all(EngineDegraded) == []
        first, second = fake.visits("/live/sessions")[:2]
        assert "session.closed" not in [event.type for event in first.sent]
        assert lines(second) == [("user", "one two three"), ("assistant", SAID)]

    run(test, Settings(script=SCRIPT, session_s=4))


# --- what no other session mends -----------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "model", "named"),
    [
        ("sk-wrong", "gpt-live-1", "the.key"),
        ("", "gpt-live-9", "live.model"),
        ("", "gpt-realtime-2.1", "live.model"),
    ],
)
def test_what_is_refused_names_the_setting(key: str, model: str, named: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        endpoint = Endpoint(fake.base_url, Secret(key or fake.api_key), "the.url", "the.key")
        caller = Caller()
        session = LiveEngine(endpoint, Manner(model)).open(CallBrief("c1"), caller.emit)
        with pytest.raises(EngineError) as failed:
            await session.run()
        assert named in failed.value.message
        (told,) = caller.all(EngineFailed)
        assert told.fatal
        assert fake.api_key not in told.detail
        assert len(fake.visits("/live/sessions")) == 1

    run(test)


def test_a_wrong_address_names_the_setting() -> None:
    async def test(fake: FakeOpenAI) -> None:
        endpoint = Endpoint(f"{fake.azure_endpoint}/v9", Secret(fake.api_key), "the.url")
        session = LiveEngine(endpoint, MANNER).open(CallBrief("c1"), Caller().emit)
        with pytest.raises(EngineError, match=re.escape("the.url")):
            await session.run()

    run(test)


def test_a_session_that_is_ended_for_its_content_is_not_begun_again() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("session", Drop(after=0.5, code=1000, reason="content"))
        caller = Caller()
        session = caller.session = engine_of(fake).open(CallBrief("c1"), caller.emit)

        async def talks() -> None:
            await caller.sees(EngineReady)
            caller.speak()

        async with asyncio.TaskGroup() as group:
            group.create_task(talks())
            with pytest.raises(EngineError, match="content"):
                await session.run()
        assert len(fake.visits("/live/sessions")) == 1

    run(test)


def test_sessions_that_do_not_hold_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teamscall.engines.openai.live_line.DELAYS_S", (0.0, 0.0, 0.0))

    async def test(fake: FakeOpenAI) -> None:
        async def drops() -> None:
            while True:
                await fake.drop_sockets(1011)
                await asyncio.sleep(0.01)

        caller = Caller()
        session = engine_of(fake).open(CallBrief("c1"), caller.emit)
        async with asyncio.TaskGroup() as group:
            dropping = group.create_task(drops())
            with pytest.raises(EngineError, match="does not hold"):
                await session.run()
            dropping.cancel()

    run(test)


def test_no_key_is_noticed_at_the_start() -> None:
    async def work() -> None:
        with pytest.raises(EngineError, match="no OpenAI key"):
            await LiveEngine(Endpoint(), MANNER).start()

    asyncio.run(work())
