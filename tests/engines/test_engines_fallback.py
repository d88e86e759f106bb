"""When the call moves on, what it is told, and what is asked again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest
from engines_fallback_rig import (
    RATE,
    SOON,
    ProbeEngine,
    ProbeSession,
    chain,
    failing,
    kinds,
    obliging,
    settled,
    silent,
)
from engines_rig import CALL, Talk, run, talking

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    AnswerText,
    CancelAnswer,
    ConfirmAnswer,
    EngineCommand,
    EngineDegraded,
    EngineEvent,
    EngineFailed,
    EngineReady,
    EngineSwitched,
    EngineUsage,
    Line,
    PressDigit,
    Respond,
    Say,
    Transcript,
    TruncateAnswer,
)
from teamscall.engines.fallback import FallbackEngine, Limits, Patience
from teamscall.engines.fallback.session import FallbackSession
from teamscall.engines.fallback.turns import MAX_OWED
from teamscall.engines.memory import MAX_LINES
from teamscall.errors import EngineError

Failing = Callable[[ProbeSession], None]

WAYS: dict[str, tuple[Failing, str]] = {
    "raises": (lambda s: s.end(RuntimeError("the caller's words")), "RuntimeError"),
    "raises an engine's error": (lambda s: s.end(EngineError("401: look at the key")), "401"),
    "ends by itself": (lambda s: s.end(), "ended by itself"),
    "cancels itself": (lambda s: s.end(asyncio.CancelledError()), "cancelled itself"),
    "says so": (lambda s: s.tell(EngineFailed("think", "no credit", fatal=True)), "no credit"),
    "is deaf": (lambda s: s.tell(*[EngineFailed("hear", "no transcript")] * 2), "no transcript"),
}


class TestMovingOn:
    @pytest.mark.parametrize("way", WAYS)
    def test_an_engine_that_fails_gives_way_to_the_next(self, way: str) -> None:
        async def check() -> None:
            fail, why = WAYS[way]
            first, second = ProbeEngine("first"), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Say(1, "Hello."))
                await talk.done(1)
                fail(first.session)
                switched = await talk.first(EngineSwitched)
                (degraded,) = talk.all(EngineDegraded)
                assert (switched.name, switched.turn_taking) == ("second", "local")
                assert why in degraded.detail == switched.detail
                assert "first gave way to second" in degraded.detail
                assert "words" not in degraded.detail
                talk.submit(Say(2, "Still here."))
                assert (await talk.done(2)).status == "completed"
                assert [e.text for e in talk.audio(2)] == ["second answers. "]
                assert first.session.asked == [Say(1, "Hello.")]
                assert len(talk.all(EngineReady)) == 1
            assert first.session.closed

        run(check)

    @pytest.mark.parametrize("first", ["never ready", "not opened", "dies at once"])
    def test_one_that_never_gets_ready_is_passed_over(self, first: str) -> None:
        async def check() -> None:
            ready = None if first == "never ready" else EngineReady()
            broken = ProbeEngine("broken", ready=ready, opens=first != "not opened")
            if first == "dies at once":
                broken.ready = None
                begin = broken.open
                error = EngineError("no")
                broken.open = lambda call, emit: _dying(begin(call, emit), error)  # type: ignore[method-assign]
            second = ProbeEngine("second", ready=EngineReady(settle_ms=70))
            async with talking(chain(broken, second)) as talk:
                talk.submit(Say(1, "Hello."))
                await talk.done(1)
                assert kinds(talk)[:3] == ["EngineDegraded", "EngineReady", "EngineSwitched"]
                ready_event = talk.all(EngineReady)[0]
                assert (ready_event.turn_taking, ready_event.settle_ms) == ("local", 70)
                assert second.session.asked == [Say(1, "Hello.")]

        run(check)

    def test_several_that_never_get_ready_share_the_callers_patience(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []
        limit = FallbackSession._limit

        def noted(session: FallbackSession, seconds: float) -> float | None:
            found = limit(session, seconds)
            waited.append(found or 0.0)
            return found

        monkeypatch.setattr(FallbackSession, "_limit", noted)

        async def check() -> None:
            hung = [ProbeEngine(name, ready=None) for name in ("a", "b", "c")]
            async with talking(chain(*hung, ProbeEngine("last"))) as talk:
                await talk.first(EngineReady)
            # All three together waited as long as one alone would have been given.
            assert len(waited) == 4
            assert sum(waited) <= SOON.patience.ready

        run(check)

    def test_each_of_them_gets_its_share(self) -> None:
        async def check() -> None:
            hung, slow = ProbeEngine("hung", ready=None), ProbeEngine("slow", ready=None)
            limits = Limits(patience=Patience(ready=0.4))
            async with talking(chain(hung, slow, ProbeEngine("last"), limits=limits)) as talk:
                await talk.first(EngineDegraded)
                await asyncio.sleep(0.02)
                slow.session.tell(EngineReady())
                assert [e.name for e in talk.all(EngineSwitched)] == ["slow"]

        run(check)

    def test_the_last_one_that_never_gets_ready_is_the_calls_own_affair_at_first(self) -> None:
        async def check() -> None:
            async with talking(chain(ProbeEngine("only", ready=None))) as talk:
                await asyncio.sleep(2 * SOON.patience.ready)
                assert not talk.events

        run(check)

    def test_in_the_middle_of_a_call_nobody_else_would_notice_that_the_last_is_not_ready(
        self,
    ) -> None:
        async def check() -> None:
            first = ProbeEngine("first")
            async with talking(chain(first, ProbeEngine("last", ready=None))) as talk:
                await talk.first(EngineReady)
                first.session.end()
                assert (await talk.first(EngineFailed)).fatal

        run(check)

    @pytest.mark.parametrize("way", WAYS)
    def test_the_last_ones_failure_passes_as_it_is(self, way: str) -> None:
        async def check() -> None:
            fail, why = WAYS[way]
            engine = ProbeEngine("only")
            talk = Talk(chain(engine))
            serving = asyncio.gather(talk.session.run(), return_exceptions=True)
            await talk.first(EngineReady)
            fail(engine.session)
            failed = await talk.first(EngineFailed)
            assert why in failed.detail
            assert failed.fatal == (way != "is deaf")
            assert not talk.all(EngineDegraded)
            if way in ("says so", "is deaf"):
                await talk.session.close()
            (error,) = await serving
            assert isinstance(error, Exception if way.startswith("raises") else type(None))
            await talk.session.close()

        run(check)

    def test_a_chain_is_walked_to_its_end(self) -> None:
        async def check() -> None:
            engines = [ProbeEngine(name) for name in ("a", "b", "c")]
            async with talking(chain(*engines)) as talk:
                for number, engine in enumerate(engines[:2], 1):
                    talk.submit(Say(number, "x"))
                    await talk.done(number)
                    engine.session.end()
                    await talk.first(EngineSwitched, number)
                talk.submit(Say(3, "x"))
                await talk.done(3)
                assert [e.text for e in talk.all(AnswerAudio)] == [
                    f"{name} answers. " for name in "abc"
                ]

        run(check)

    def test_one_utterance_missed_is_no_reason_and_one_understood_starts_anew(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first")
            miss = EngineFailed("hear", "no transcript")
            async with talking(chain(first, ProbeEngine("second"))) as talk:
                await talk.first(EngineReady)
                first.session.tell(miss, Transcript(1, "", final=True))
                first.session.tell(Transcript(2, "well", final=True), miss)
                assert not talk.all(EngineSwitched)
                assert talk.all(EngineFailed) == [miss, miss]
                first.session.tell(Transcript(3, " ", final=True), miss)
                await talk.first(EngineSwitched)
                assert talk.all(EngineFailed) == [miss, miss]

        run(check)

    def test_what_does_not_concern_the_chain_passes(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first")
            others: list[EngineEvent] = [
                EngineUsage("think", "m", input_tokens=3),
                EngineDegraded("speak", "turns queue", 1200),
                EngineFailed("think", "a hiccup"),
                AnswerAudio(99, b"xx", RATE),
            ]
            async with talking(chain(first, ProbeEngine("second"))) as talk:
                await talk.first(EngineReady)
                first.session.tell(*others)
                assert talk.events[1:] == others

        run(check)


def _dying(session: ProbeSession, error: Exception) -> ProbeSession:
    async def serve() -> None:
        raise error

    session.run = serve  # type: ignore[method-assign]
    return session


class TestAnswers:
    @pytest.mark.parametrize("asked", [Respond(1, "hi"), PressDigit(1, "5"), Say(1, "Hello.")])
    def test_one_that_fails_unheard_is_asked_again_once_per_engine(
        self, asked: EngineCommand
    ) -> None:
        async def check() -> None:
            broken = failing(AnswerText(1, "Half of an ans"))
            engines = [ProbeEngine("a", broken), ProbeEngine("b", broken), ProbeEngine("c")]
            async with talking(chain(*engines)) as talk:
                talk.submit(asked)
                assert (await talk.done(1)).status == "completed"
                assert [engine.session.asked for engine in engines] == [[asked]] * 3
                # The words that nobody spoke are not in the call's record.
                assert talk.text(1) == ""
                assert [e.turn for e in talk.all(AnswerDone)] == [1]

        run(check)

    def test_the_last_engines_failed_answer_passes(self) -> None:
        async def check() -> None:
            last = ProbeEngine("b", failing())
            async with talking(chain(ProbeEngine("a", failing()), last)) as talk:
                for turn in (1, 2):
                    talk.submit(Respond(turn, "hi"))
                    done = await talk.done(turn)
                    assert (done.status, done.error) == ("failed", "500")
                assert not any(e.fatal for e in talk.all(EngineFailed))

        run(check)

    def test_one_that_was_partly_audible_fails_and_the_next_turn_is_the_next_engines(
        self,
    ) -> None:
        async def check() -> None:
            first = ProbeEngine("first", failing(AnswerAudio(1, b"xx", RATE, "I am ")))
            second = ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Respond(1, "who are you"))
                assert (await talk.done(1)).status == "failed"
                await talk.first(EngineSwitched)
                talk.submit(Respond(2, "hello?"))
                assert (await talk.done(2)).status == "completed"
                assert second.session.asked == [Respond(2, "hello?")]

        run(check)

    def test_a_session_that_dies_in_mid_answer_fails_it_and_answers_what_waits(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Respond(1, "one"), Respond(2, "two", speculative=True), Say(3, "Three"))
                await settled()
                first.session.tell(AnswerText(1, "Well, "), AnswerAudio(1, b"xx", RATE, "Well, "))
                talk.submit(ConfirmAnswer(2))
                first.session.end(RuntimeError())
                await talk.done(3)
                statuses = {e.turn: e.status for e in talk.all(AnswerDone)}
                assert statuses == {1: "failed", 2: "completed", 3: "completed"}
                assert len(talk.all(AnswerDone)) == 3
                assert second.session.asked == [Respond(2, "two"), Say(3, "Three")]

        run(check)

    def test_text_comes_with_the_first_speech_and_its_moment_before(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first", silent)
            async with talking(chain(first, ProbeEngine("second"))) as talk:
                talk.submit(Respond(1, "hi"))
                await settled()
                first.session.tell(AnswerText(1, "Hel"), AnswerText(1, "lo. "))
                assert talk.all(AnswerText) == [AnswerText(1, "")]
                first.session.tell(AnswerAudio(1, b"xx", RATE, "Hello. "), AnswerText(1, "More."))
                assert talk.text(1) == "Hello. More."
                assert kinds(talk)[-2:] == ["AnswerAudio", "AnswerText"]
                # An answer that is never spoken keeps its text.
                talk.submit(Respond(2, "hi"))
                first.session.tell(AnswerText(2, "..."), AnswerDone(2))
                assert talk.text(2) == "..."
                # Nobody could answer in other words than the last engine.
                first.session.end()
                await talk.first(EngineSwitched)

        run(check)

    def test_a_turn_is_answered_once(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first")
            async with talking(chain(first, ProbeEngine("second"))) as talk:
                talk.submit(Say(1, "x"), Say(1, "x"))
                await talk.done(1)
                first.session.tell(AnswerDone(1), AnswerAudio(1, b"xx", RATE))
                assert first.session.asked == [Say(1, "x")]
                assert len(talk.all(AnswerDone)) == len(talk.audio(1)) == 1

        run(check)

    def test_one_that_was_cancelled_is_not_asked_again(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Respond(1, "one"), CancelAnswer(1), Respond(2, "two"))
                await settled()
                first.session.tell(AnswerText(1, "late"), AnswerAudio(1, b"xx", RATE))
                first.session.end()
                talk.submit(CancelAnswer(2))  # between two engines
                await talk.done(2)
                await talk.first(EngineSwitched)
                assert [(e.turn, e.status) for e in talk.all(AnswerDone)] == [
                    (1, "cancelled"),
                    (2, "cancelled"),
                ]
                assert not talk.all(AnswerAudio)
                assert not second.session.asked
                assert not talk.emitted_inside_submit

        run(check)

    def test_what_fails_after_it_was_cancelled_is_no_failure(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first", silent)
            async with talking(chain(first, ProbeEngine("second"))) as talk:
                talk.submit(Respond(1, "one"), CancelAnswer(1))
                await settled()
                first.session.tell(AnswerDone(1, "failed", error="aborted"))
                assert (await talk.done(1)).status == "cancelled"
                await settled()
                assert not talk.all(EngineSwitched)

        run(check)

    def test_too_many_that_wait_for_an_engine_fail(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", ready=None), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(*(Say(turn, "x") for turn in range(1, MAX_OWED + 3)))
                await talk.first(AnswerDone, MAX_OWED + 2)
                failed = [e.turn for e in talk.all(AnswerDone) if e.status == "failed"]
                assert failed == [MAX_OWED + 1, MAX_OWED + 2]
                assert len(second.session.asked) == MAX_OWED
                assert not talk.emitted_inside_submit

        run(check)


class TestMemory:
    def test_the_next_session_knows_what_was_said_and_heard(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first"), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Say(1, "Welcome.", aloud=False), Respond(2, "who are you"))
                await talk.done(2)
                talk.submit(TruncateAnswer(2, 300, "first"), PressDigit(3, "7"))
                await talk.done(3)
                talk.submit(Respond(4, "half a quest"), CancelAnswer(4, forget=True))
                await talk.done(4)
                talk.submit(Respond(5, "again"))
                await talk.done(5)
                first.session.end()
                await talk.first(EngineSwitched)
                assert second.session.call.history == (
                    Line("bot", "Welcome."),
                    Line("caller", "who are you"),
                    Line("bot", "first"),
                    Line("caller", "(pressed 7)"),
                    Line("bot", "first answers."),
                    Line("caller", "again"),
                )
                assert second.session.call.call_id == CALL.call_id
                # The last words may still be playing: they come with their turn ...
                assert second.session.commands == [Say(5, "first answers.", aloud=False)]
                # ... so that they can be cut; what is in the history is not cut again.
                talk.submit(TruncateAnswer(2, 400, "first an"), TruncateAnswer(5, 90, "first"))
                assert second.session.commands[1:] == [TruncateAnswer(5, 90, "first")]

        run(check)

    def test_is_bounded(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first"), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                for turn in range(1, MAX_LINES + 2):
                    talk.submit(Respond(turn, f"question {turn}"))
                    await talk.done(turn)
                first.session.end()
                await talk.first(EngineSwitched)
                history = second.session.call.history
                assert MAX_LINES // 2 < len(history) <= MAX_LINES
                assert history[-1] == Line("caller", f"question {MAX_LINES + 1}")

        run(check)

    def test_what_is_asked_again_is_not_in_the_history(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", failing()), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Respond(1, "who are you"))
                await talk.done(1)
                assert second.session.call.history == ()
                assert second.session.commands == [Respond(1, "who are you")]

        run(check)

    def test_what_was_begun_and_cut_off_by_the_failure_is_remembered(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                talk.submit(Respond(1, "who are you"))
                await settled()
                first.session.tell(AnswerAudio(1, b"xx", RATE, "I am "))
                first.session.end()
                talk.submit(Say(2, "Sorry.", aloud=False))  # before the next one is ready
                await talk.first(EngineSwitched)
                assert second.session.call.history == (Line("caller", "who are you"),)
                assert second.session.commands == [
                    Say(1, "I am", aloud=False),
                    Say(2, "Sorry.", aloud=False),
                ]

        run(check)


class TestLettingGo:
    def test_nothing_of_the_old_session_is_emitted_after_the_move(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first", silent)
            async with talking(chain(first, ProbeEngine("second", silent))) as talk:
                talk.submit(Respond(1, "hi"))
                await talk.first(EngineReady)
                first.session.tell(EngineFailed("session", "gone", fatal=True))
                first.session.tell(AnswerAudio(1, b"xx", RATE), Transcript(1, "x", final=True))
                await talk.first(EngineSwitched)
                before = list(talk.events)
                first.session.tell(AnswerDone(1), EngineReady(), EngineFailed("hear", "x", True))
                assert talk.events == before

        run(check)

    def test_a_session_that_does_not_close_holds_nobody_up(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first"), ProbeEngine("second")

            async def hang() -> None:
                await asyncio.Event().wait()

            first.on_close = hang
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                first.session.tell(EngineFailed("session", "gone", fatal=True))
                talk.submit(Say(1, "x"))
                await talk.done(1)
                # It answers while the old one is still closing.
                assert "does not close" not in caplog.text
            assert "does not close" in caplog.text

        with caplog.at_level(logging.WARNING):
            run(check)

    def test_a_call_that_ends_closes_whatever_is_open(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first"), ProbeEngine("second", ready=None)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                first.session.end()
                await settled()
                await talk.session.close()
                await talk.session.close()
                before = list(talk.events)
                second.session.tell(EngineReady())
                talk.submit(Say(1, "x"), CancelAnswer(1))
                await settled()
                assert talk.events == before
            assert first.session.closed
            assert second.session.closed

        run(check)

    def test_a_session_that_fails_to_close_is_logged_and_no_more(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def check() -> None:
            engine = ProbeEngine("only")

            async def fail() -> None:
                raise OSError("broken pipe")

            engine.on_close = fail
            async with talking(chain(engine)) as talk:
                await talk.first(EngineReady)

        run(check)
        assert "failed to close" in caplog.text

    def test_one_that_was_closed_before_it_ran_does_not_run(self) -> None:
        async def check() -> None:
            engine = ProbeEngine("only")
            talk = Talk(chain(engine))
            await talk.session.close()
            await talk.session.run()
            assert not engine.sessions
            assert not talk.events

        run(check)


def test_an_engine_of_one_behaves_as_that_one() -> None:
    async def check() -> None:
        engine = FallbackEngine([ProbeEngine("only", obliging)])
        async with talking(engine) as talk:
            talk.submit(Say(1, "x"))
            await talk.done(1)
            assert kinds(talk) == ["EngineReady", "AnswerAudio", "AnswerDone"]

    run(check)
