"""No word of the caller is lost between two engines, and none is heard twice."""

from __future__ import annotations

import asyncio
import random

from engines_fallback_rig import Caller, ProbeEngine, chain, settled, silent
from engines_rig import Talk, run, talking
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.engines.base import (
    AnswerAudio,
    AnswerBegan,
    AnswerDone,
    BeginUtterance,
    CancelAnswer,
    CommitUtterance,
    DiscardHeard,
    EngineCommand,
    EngineReady,
    EngineSwitched,
    Hear,
    IgnoreUtterance,
    Line,
    PeekUtterance,
    Respond,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)
from teamscall.engines.fallback import Limits, Patience
from teamscall.engines.fallback.unheard import (
    BYTES_PER_S,
    JOIN_S,
    MAX_S,
    MAX_UTTERANCES,
    PRE_ROLL_S,
    VENDOR_PRE_ROLL_S,
    Unheard,
)

FRAME_S = 0.02
PRE_ROLL = round(PRE_ROLL_S * BYTES_PER_S)
DIRECT = EngineReady("engine", direct=True)


def realtime(name: str = "realtime") -> ProbeEngine:
    return ProbeEngine(name, silent, turn_taking="engine", ready=DIRECT)


async def moved(talk: Talk, first: ProbeEngine) -> None:
    """Let the first engine fail; wait until the next has taken over."""
    count = len(talk.all(EngineSwitched))
    first.session.end()
    await talk.first(EngineSwitched, count + 1)


class TestFromLocalToLocal:
    def test_what_has_no_final_is_heard_again_and_what_has_is_not(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second", silent)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                caller.utter(1, 30)
                first.session.tell(Transcript(1, "one", final=True))
                caller.speak(40)
                two = caller.utter(2, 30)
                pause = caller.speak(10)
                talk.submit(BeginUtterance(3))
                three = caller.speak(20)
                await moved(talk, first)
                three += caller.speak(20)
                talk.submit(CommitUtterance(3))
                session = second.session
                assert session.marks == [
                    BeginUtterance(2), CommitUtterance(2), BeginUtterance(3), CommitUtterance(3),
                ]  # fmt: skip
                assert session.within(2) == two
                assert session.within(3) == three
                before = session.heard[: session.heard.index(two)]
                assert len(before) == PRE_ROLL
                assert session.heard == before + two + pause + three
                session.tell(Transcript(2, "two", final=True), Transcript(3, "three", final=True))
                assert [e.text for e in talk.all(Transcript)] == ["one", "two", "three"]

        run(check)

    def test_the_pause_that_was_peeked_into_is_peeked_into_again(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second", silent)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                talk.submit(BeginUtterance(1))
                caller.speak(3)
                talk.submit(PeekUtterance(1))
                caller.speak(3)
                talk.submit(PeekUtterance(1))
                await moved(talk, first)
                caller.speak(1)
                kinds = [type(c) for c in second.session.commands]
                assert kinds == [BeginUtterance, *[Hear] * 6, PeekUtterance, Hear]
                assert first.session.marks == [
                    BeginUtterance(1), PeekUtterance(1), PeekUtterance(1),
                ]  # fmt: skip

        run(check)

    def test_but_not_when_it_became_the_end(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second", silent)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                talk.submit(BeginUtterance(1))
                caller.speak(3)
                talk.submit(PeekUtterance(1))
                caller.speak(3)
                talk.submit(CommitUtterance(1))
                await moved(talk, first)
                assert second.session.marks == [BeginUtterance(1), CommitUtterance(1)]

        run(check)

    def test_what_is_said_while_nobody_is_ready_is_kept(self) -> None:
        async def check() -> None:
            first = ProbeEngine("first", silent)
            second = ProbeEngine("second", silent, ready=None)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                first.session.end()
                await settled()
                one = caller.utter(1, 100)
                caller.speak(40)
                two = caller.utter(2, 10)
                second.session.tell(EngineReady())
                assert second.session.within(1) == one
                assert second.session.within(2) == two

        run(check)

    def test_what_was_discarded_is_not_heard_again(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), ProbeEngine("second", silent)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                Caller(talk).utter(1, 30)
                talk.submit(DiscardHeard())
                await moved(talk, first)
                assert not second.session.commands
                assert first.session.commands[-1] == DiscardHeard()

        run(check)


class TestARecogniserThatSaysNothing:
    LIMITS = Limits(patience=Patience(ready=1.0, final=0.02))

    def test_of_an_utterance_is_left_for_one_that_hears_it_again(self) -> None:
        async def check() -> None:
            first, second, third = (ProbeEngine(name, silent) for name in "abc")
            async with talking(chain(first, second, third, limits=self.LIMITS)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                caller.utter(1, 10)
                first.session.tell(Transcript(1, "one", final=True))
                talk.submit(BeginUtterance(2))  # goes on for longer than that, rightly
                await asyncio.sleep(0.04)
                assert not talk.all(EngineSwitched)
                said = caller.speak(10)
                talk.submit(CommitUtterance(2))
                await talk.first(EngineSwitched, 2)
                assert "no transcript within 0.02 s" in talk.all(EngineSwitched)[0].detail
                assert second.session.within(2) == third.session.within(2) == said
                await asyncio.sleep(0.04)  # the last one takes what time it needs
                third.session.tell(Transcript(2, "two", final=True))
                assert [e.text for e in talk.all(Transcript)] == ["one", "two"]

        run(check)

    def test_is_left_though_it_tells_of_speech_unless_it_answers_without_words(self) -> None:
        async def check(*, direct: bool) -> None:
            ready = EngineReady("engine", direct=direct)
            first = ProbeEngine("first", silent, turn_taking="engine", ready=ready)
            second = ProbeEngine("second", silent)
            async with talking(chain(first, second, limits=self.LIMITS)) as talk:
                await talk.first(EngineReady)
                first.session.tell(SpeechStarted(1))
                Caller(talk).speak(10)
                first.session.tell(SpeechStopped(1))
                await asyncio.sleep(0.04)
                assert bool(talk.all(EngineSwitched)) != direct

        run(lambda: check(direct=False))
        run(lambda: check(direct=True))


class TestFromAVendorsTurnTaking:
    def test_an_answer_that_is_owed_is_asked_for_in_the_words_that_came(self) -> None:
        async def check() -> None:
            first, second = realtime(), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                first.session.tell(SpeechStarted(1))
                caller.speak(20)
                # The transcript may come before or after the answer is asked for.
                first.session.tell(SpeechStopped(1), Transcript(1, "hello", final=True))
                talk.submit(Respond(1, "", utterance=1), Respond(2, "", utterance=2))
                first.session.tell(Transcript(2, "are you there", final=True))
                await moved(talk, first)
                await talk.done(2)
                assert second.session.asked == [Respond(1, "hello"), Respond(2, "are you there")]
                assert not second.session.heard

        run(check)

    def test_or_else_what_was_said_is_heard_again_and_then_answered(self) -> None:
        async def check() -> None:
            first, second = realtime(), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                caller.speak(100)
                first.session.tell(SpeechStarted(1))
                said = caller.speak(20)
                first.session.tell(SpeechStopped(1))
                talk.submit(Respond(1, "", utterance=1))
                await moved(talk, first)
                session = second.session
                assert session.marks == [BeginUtterance(-1), CommitUtterance(-1)]
                assert session.within(-1) == said
                # What the call begins by itself has other numbers, whatever they are.
                also = caller.utter(1, 10)
                assert session.within(1) == also
                session.tell(Transcript(1, "please", final=True))
                assert talk.all(Transcript) == [Transcript(1, "please", final=True)]
                assert len(session.heard) == len(said + also) + VENDOR_PRE_ROLL_S * BYTES_PER_S
                session.tell(Transcript(-1, "what ti", final=False))
                session.tell(Transcript(-1, "what time is it", final=True))
                assert session.asked == [Respond(1, "what time is it")]
                assert (await talk.done(1)).status == "completed"
                # It was asked for already: the call does not ask once more.
                assert len(talk.all(Transcript)) == 1
                # And the engine after that one knows both.
                assert talk.session._turns.history()[0] == (  # type: ignore[attr-defined]
                    Line("caller", "what time is it"),
                )

        run(check)

    def test_also_by_the_engine_after_the_next(self) -> None:
        async def check() -> None:
            first, second, third = realtime(), ProbeEngine("b", silent), ProbeEngine("c")
            async with talking(chain(first, second, third)) as talk:
                await talk.first(EngineReady)
                first.session.tell(SpeechStarted(1))
                said = Caller(talk).speak(20)
                first.session.tell(SpeechStopped(1))
                talk.submit(Respond(1, "", utterance=1))
                await moved(talk, first)
                await moved(talk, second)
                assert third.session.within(-1) == said
                third.session.tell(Transcript(-1, "", final=True))  # nothing intelligible
                assert (await talk.done(1)).status == "cancelled"
                assert not third.session.asked

        run(check)

    def test_what_was_answered_ignored_or_cancelled_is_not_heard_again(self) -> None:
        async def check() -> None:
            first, second = realtime(), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                for number in (1, 2, 3):
                    first.session.tell(SpeechStarted(number))
                    caller.speak(20)
                    first.session.tell(SpeechStopped(number))
                talk.submit(Respond(1, "", utterance=1), IgnoreUtterance(2))
                talk.submit(Respond(3, "", utterance=3), CancelAnswer(3))
                first.session.tell(AnswerAudio(1, b"xx", 16_000, "Hi. "), AnswerDone(1))
                first.session.tell(AnswerDone(3, "cancelled"))
                assert IgnoreUtterance(2) in first.session.commands
                await moved(talk, first)
                assert not second.session.marks[1:]  # but that "Hi." was said
                assert not second.session.asked

        run(check)

    def test_discarding_what_was_heard_ends_what_was_to_be_heard_again(self) -> None:
        async def check() -> None:
            first, second = realtime(), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                first.session.tell(SpeechStarted(1))
                Caller(talk).speak(20)
                first.session.tell(SpeechStopped(1))
                talk.submit(Respond(1, "", utterance=1))
                await moved(talk, first)
                talk.submit(DiscardHeard())
                assert (await talk.done(1)).status == "cancelled"
                second.session.tell(Transcript(-1, "too late", final=True))
                assert not second.session.asked
                assert not talk.all(Transcript)
                assert not talk.emitted_inside_submit

        run(check)

    def test_what_a_session_wanted_to_say_by_itself_is_gone_with_it(self) -> None:
        async def check() -> None:
            first, second = realtime(), ProbeEngine("second")
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                first.session.tell(AnswerBegan())
                talk.submit(Respond(1, ""))
                assert talk.all(AnswerBegan)
                await moved(talk, first)
                assert (await talk.done(1)).status == "cancelled"
                assert not second.session.asked

        run(check)

    def test_a_sentence_in_the_middle_joins_what_the_call_begins_next(self) -> None:
        async def check() -> None:
            first = realtime()
            second = ProbeEngine("second", silent, ready=None)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                first.session.tell(SpeechStarted(1))
                said = caller.speak(50)
                first.session.end()
                await settled()
                said += caller.speak(100)  # nobody listens for two seconds
                second.session.tell(EngineReady())
                said += caller.speak(5)
                assert not second.session.commands
                talk.submit(BeginUtterance(2))
                said += caller.speak(5)
                talk.submit(CommitUtterance(2))
                assert second.session.within(2) == said
                second.session.tell(Transcript(2, "all of it", final=True))
                assert talk.all(Transcript) == [Transcript(2, "all of it", final=True)]

        run(check)

    def test_and_so_does_what_was_begun_while_nobody_listened(self) -> None:
        async def check() -> None:
            first = realtime()
            second = ProbeEngine("second", silent, ready=None)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                first.session.end()
                await settled()
                said = caller.speak(150)
                second.session.tell(EngineReady())
                talk.submit(BeginUtterance(1))
                said += caller.speak(5)
                talk.submit(CommitUtterance(1))
                assert second.session.within(1) == said

        run(check)

    def test_or_is_over_when_the_call_begins_nothing(self) -> None:
        async def check() -> None:
            first, second = realtime(), ProbeEngine("second", silent)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                first.session.tell(SpeechStarted(1))
                caller.speak(50)
                await moved(talk, first)
                silence = caller.speak(round(JOIN_S / FRAME_S))
                assert second.session.heard == silence[-PRE_ROLL:]
                question = caller.utter(2, 10)
                assert second.session.within(2) == question

        run(check)

    def test_a_complete_utterance_without_its_transcript_still_gets_it(self) -> None:
        async def check() -> None:
            waits = EngineReady("engine")  # not direct: the call waits for the words
            first = ProbeEngine("first", silent, turn_taking="engine", ready=waits)
            second = ProbeEngine("second", silent)
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                first.session.tell(SpeechStarted(1))
                said = Caller(talk).speak(20)
                first.session.tell(SpeechStopped(1))
                await moved(talk, first)
                assert second.session.within(-1) == said
                second.session.tell(Transcript(-1, "hello", final=True))
                assert talk.all(Transcript) == [Transcript(1, "hello", final=True)]

        run(check)

    def test_the_next_vendor_hears_it_anew_and_its_numbers_go_on(self) -> None:
        async def check() -> None:
            first, second = realtime("first"), realtime("second")
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                for number in (1, 2):
                    first.session.tell(SpeechStarted(number))
                    said = caller.speak(20)
                    first.session.tell(SpeechStopped(number))
                    talk.submit(Respond(number, "", utterance=number))
                first.session.tell(Transcript(1, "hello", final=True))
                await moved(talk, first)
                assert (await talk.done(2)).status == "cancelled"
                session = second.session
                assert session.asked == [Respond(1, "hello")]
                assert not [c for c in session.commands if isinstance(c, BeginUtterance)]
                assert session.heard == said
                session.tell(SpeechStarted(1), SpeechStopped(1), Transcript(1, "you?", final=True))
                assert talk.all(SpeechStarted)[-1] == SpeechStarted(3)
                assert talk.all(SpeechStopped)[-1] == SpeechStopped(3)
                assert talk.all(Transcript)[-1] == Transcript(3, "you?", final=True)
                talk.submit(Respond(3, "", utterance=3), IgnoreUtterance(2), IgnoreUtterance(4))
                assert session.commands[-2:] == [Respond(3, "", utterance=1), IgnoreUtterance(2)]

        run(check)

    def test_a_vendor_after_a_local_one_numbers_on_as_well(self) -> None:
        async def check() -> None:
            first, second = ProbeEngine("first", silent), realtime()
            async with talking(chain(first, second)) as talk:
                await talk.first(EngineReady)
                caller = Caller(talk)
                caller.utter(7, 20)
                first.session.tell(Transcript(7, "hello", final=True))
                talk.submit(Respond(1, "hello", utterance=7), BeginUtterance(8))
                said = caller.speak(20)
                await moved(talk, first)
                session = second.session
                assert session.heard.endswith(said)
                assert session.asked == [Respond(1, "hello")]
                session.tell(SpeechStarted(1))
                assert talk.all(SpeechStarted) == [SpeechStarted(9)]

        run(check)


class TestUnheard:
    def heard(self, commands: list[EngineCommand]) -> bytes:
        return b"".join(c.pcm for c in commands if isinstance(c, Hear))

    def test_is_bounded_and_drops_the_oldest(self) -> None:
        unheard = Unheard()
        unheard.begin(1)
        total = round(MAX_S / FRAME_S) + 100
        for number in range(total):
            unheard.hear(number.to_bytes(4, "little") * 160)
        kept = self.heard(unheard.marked(join=False))
        assert len(kept) == MAX_S * BYTES_PER_S
        assert int.from_bytes(kept[:4], "little") == unheard.dropped == 100

    def test_is_bounded_while_nobody_detects_speech_and_while_it_waits_to_join(self) -> None:
        unheard = Unheard()
        unheard.keep_all()
        for _ in range(2):
            for _ in range(round(MAX_S / FRAME_S) + 10):
                unheard.hear(bytes(640))
            unheard.marked(join=True)
            unheard.hear(bytes(640))
            assert len(self.heard(unheard.begin(2))) == MAX_S * BYTES_PER_S
            unheard.settle(2)
            unheard.keep_all()

    def test_keeps_a_bounded_number_of_utterances_without_audio(self) -> None:
        unheard = Unheard()
        for number in range(1, 2 * MAX_UTTERANCES):
            unheard.commit(number)
        assert len(unheard.marked(join=False)) == MAX_UTTERANCES

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 10**6))
    def test_whatever_comes_each_utterance_without_final_is_kept_whole_and_once(
        self, seed: int
    ) -> None:
        choice = random.Random(seed)
        unheard = Unheard()
        said: dict[int, bytes] = {}
        current = latest = frame = 0
        for _ in range(choice.randrange(120)):
            match choice.choice(["hear"] * 6 + ["begin", "commit", "settle", "peek"]):
                case "hear":
                    pcm = frame.to_bytes(4, "little") * 160
                    frame += 1
                    unheard.hear(pcm)
                    if current:
                        said[current] += pcm
                case "begin" if not current:
                    latest += 1
                    current = latest
                    said[current] = b""
                    assert unheard.begin(current) == [BeginUtterance(current)]
                case "commit" if current:
                    unheard.commit(current)
                    current = 0
                case "settle" if said:
                    number = choice.choice(list(said))
                    if number != current:
                        unheard.settle(number)
                        del said[number]
                case "peek" if current:
                    unheard.peek(current)
        commands = unheard.marked(join=False)
        found: dict[int, bytes] = {}
        number = 0
        for command in commands:
            match command:
                case BeginUtterance(utterance=number):
                    found[number] = b""
                case CommitUtterance():
                    number = 0
                case Hear(pcm=pcm) if number:
                    found[number] += pcm
        assert found == said
        stamps = [c.pcm[:4] for c in commands if isinstance(c, Hear)]
        assert len(set(stamps)) == len(stamps), "a frame came twice"
        numbers = [int.from_bytes(stamp, "little") for stamp in stamps]
        assert numbers == sorted(numbers)
        assert self.heard(unheard.unmarked()) == self.heard(commands)


def test_the_call_does_not_wait_for_the_audio_to_be_heard_again() -> None:
    """Twenty seconds of audio go over at once, and nothing blocks."""

    async def check() -> None:
        first, second = ProbeEngine("first", silent), ProbeEngine("second", silent)
        async with talking(chain(first, second)) as talk:
            await talk.first(EngineReady)
            said = Caller(talk).utter(1, round(MAX_S / FRAME_S))
            await asyncio.sleep(0)
            await moved(talk, first)
            assert second.session.within(1) == said

    run(check)
