"""What the ear sends and says when the call peeks into a pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from engines_openai_rig import cloud, configured, started, utterance, voice
from engines_rig import run, talking
from openai_ear_rig import QUIET, SPEECH, Bench
from openai_ear_rig import bench as any_bench

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    EngineDegraded,
    EngineFailed,
    EngineReady,
    EngineUsage,
    Hear,
    PeekUtterance,
    Transcript,
)
from teamscall.engines.openai.ear import OpenAIEar
from teamscall.engines.openai.transcription import PROGRESS_S
from teamscall.testing import Drop, Script, Settings


def bench(check: Callable[[Bench], Awaitable[None]]) -> None:
    any_bench(OpenAIEar, check)


async def peeked(b: Bench, words: int = 50) -> None:
    """One utterance, up to a pause that is peeked into."""
    b.ear.submit(BeginUtterance(1))
    await b.hear(SPEECH, words)
    await b.hear(QUIET, 15)
    b.ear.submit(PeekUtterance(1))
    await b.settle()


def test_a_peek_commits_and_the_final_needs_no_second_round_trip() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        assert b.socket.kinds() == ["append", "commit"]
        b.socket.commits("a")
        b.socket.hears("a", "What time is it?")
        await b.settle()
        assert b.settled == ["What time is it?"]
        before = b.socket.ms()
        await b.hear(QUIET, 25)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.finals == [(1, "What time is it?")]
        assert b.socket.kinds() == ["append", "commit"]
        assert b.socket.ms() == before  # of the pause, nothing was sent

    bench(check)


def test_partials_do_not_settle_anything() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.says(
            "conversation.item.input_audio_transcription.delta", item_id="a", delta="What time"
        )
        await b.settle()
        assert [e.text for e in b.events if isinstance(e, Transcript)] == ["What time"]
        assert b.settled == []

    bench(check)


def test_more_words_are_a_piece_of_their_own_with_what_was_before_them() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "What time is it")
        await b.settle()
        first = b.socket.ms()
        await b.hear(QUIET, 100)
        await b.hear(SPEECH, 30)
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert b.socket.kinds() == ["append", "commit", "append", "commit"]
        # The words, and half a second of the pause before them.
        assert 30 * 20 + 400 <= b.socket.ms() - first <= 30 * 20 + 500
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.finals == []
        b.socket.commits("b")
        b.socket.hears("b", "in Vienna?")
        await b.settle()
        assert b.settled == ["What time is it"]  # the second was overtaken by the commit
        assert b.finals == [(1, "What time is it in Vienna?")]

    bench(check)


def test_a_peek_is_void_when_there_is_more() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        await b.hear(SPEECH, 10)
        b.socket.commits("a")
        b.socket.hears("a", "Half")
        await b.settle()
        assert b.settled == []
        b.ear.submit(CommitUtterance(1))
        b.socket.commits("b")
        b.socket.hears("b", "and half.")
        await b.settle()
        assert b.finals == [(1, "Half and half.")]

    bench(check)


def test_a_second_peek_into_the_same_pause_says_it_again_without_asking() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "All of it.")
        await b.settle()
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert b.settled == ["All of it."] * 2
        assert b.socket.kinds() == ["append", "commit"]

    bench(check)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_breath_after_a_peek_is_not_transcribed(frames: int) -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "All of it.")
        for _ in range(3):
            await b.hear(SPEECH, frames)
            await b.hear(QUIET, 12)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.finals == [(1, "All of it.")]
        assert b.socket.kinds() == ["append", "commit"]

    bench(check)


def test_words_that_come_in_one_lump_with_their_pause_are_not_lost() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        await b.hear(SPEECH * 20 + QUIET * 20, 1)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.socket.kinds() == ["append", "commit", "append", "commit"]

    bench(check)


def test_a_commit_before_the_peeked_transcript_waits_for_it_only() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.finals == []
        b.socket.commits("a")
        b.socket.hears("a", "Late.")
        await b.settle()
        assert b.finals == [(1, "Late.")]
        assert b.settled == []

    bench(check)


def test_a_peek_too_early_or_of_nothing_does_nothing() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(PeekUtterance(1))
        b.ear.submit(BeginUtterance(1))
        b.ear.submit(Hear(SPEECH))
        b.ear.submit(PeekUtterance(1))
        b.ear.submit(PeekUtterance(9))
        await b.settle()
        assert b.socket.kinds() == ["append"]
        assert b.events == [EngineReady()]

    bench(check)


def test_what_is_discarded_after_a_peek_is_not_told() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.ear.submit(DiscardHeard())
        b.socket.commits("a")
        b.socket.hears("a", "Secret.")
        b.ear.submit(BeginUtterance(2))
        await b.hear(SPEECH, 20)
        b.ear.submit(CommitUtterance(2))
        b.socket.commits("b")
        b.socket.hears("b", "Public.")
        await b.settle()
        assert b.finals == [(2, "Public.")]
        assert b.settled == []

    bench(check)


def test_noise_in_a_piece_is_dropped_and_the_words_of_the_other_stay() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "I need a taxi.")
        await b.hear(SPEECH, 4)
        await b.hear(QUIET, 10)
        b.ear.submit(CommitUtterance(1))
        b.socket.commits("b")
        b.socket.hears("b", "Thank you.")
        await b.settle()
        assert b.finals == [(1, "I need a taxi.")]
        assert b.ear.made_up == 1

    bench(check)


def test_a_loss_between_peek_and_transcript_costs_nothing() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        once = b.socket.ms()
        b.socket.drop()
        await b.hear(QUIET, 10)
        b.socket.open()
        assert b.socket.kinds() == ["append", "commit"]
        assert b.socket.ms() == once
        b.socket.commits("z")
        b.socket.hears("z", "All of it.")
        await b.settle()
        assert b.settled == ["All of it."]
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.finals == [(1, "All of it.")]
        assert b.socket.kinds() == ["append", "commit"]

    bench(check)


def test_two_losses_in_a_row_send_each_piece_once_per_session() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "One")
        await b.hear(SPEECH, 50)
        b.socket.drop()
        await b.hear(SPEECH, 10)
        b.socket.open()
        again = b.socket.ms()
        assert b.socket.kinds() == ["append"]  # of the first piece, nothing
        b.socket.drop()
        await b.hear(SPEECH, 10)
        b.socket.open()
        assert b.socket.ms() - again == pytest.approx(200, abs=5)
        b.ear.submit(CommitUtterance(1))
        b.socket.commits("b")
        b.socket.hears("b", "two.")
        await b.settle()
        assert b.finals == [(1, "One two.")]
        assert len([e for e in b.events if isinstance(e, EngineDegraded)]) == 2
        assert not [e for e in b.events if isinstance(e, EngineFailed)]

    bench(check)


def test_a_loss_in_the_pause_after_a_transcript_sends_nothing_again() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "One.")
        await b.hear(QUIET, 5)
        b.socket.drop()
        await b.hear(QUIET, 5)
        b.socket.open()
        assert b.socket.kinds() == []
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.finals == [(1, "One.")]

    bench(check)


def test_a_stall_and_then_a_loss_still_end_in_one_final() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.ear.submit(CommitUtterance(1))
        b.time += PROGRESS_S + 1
        b.ear.submit(CommitUtterance(2))  # wakes the watch
        await b.settle()
        assert len(b.socket.restarts) == 1
        b.socket.open()
        b.socket.drop()
        b.socket.open()
        assert b.socket.kinds() == ["append", "commit"]
        b.socket.commits("c")
        b.socket.hears("c", "At last.")
        await b.settle()
        assert sorted(b.finals) == [(1, "At last."), (2, "")]

    bench(check)


def test_what_the_service_counted_is_told() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.commits("a")
        b.socket.hears("a", "One.", usage={"type": "duration", "seconds": 1.5})
        b.ear.submit(BeginUtterance(2))
        await b.hear(SPEECH, 20)
        b.ear.submit(CommitUtterance(2))
        b.socket.commits("b")
        tokens = {
            "type": "tokens",
            "input_tokens": 14,
            "output_tokens": 3,
            "input_token_details": {"audio_tokens": 12, "text_tokens": 2},
        }
        b.socket.hears("b", "Two.", usage=tokens)
        model = "gpt-live-transcribe"
        assert [e for e in b.events if isinstance(e, EngineUsage)] == [
            EngineUsage("hear", model, audio_in_s=1.5),
            EngineUsage("hear", model, input_tokens=14, output_tokens=3, audio_input_tokens=12),
        ]

    bench(check)


def test_over_real_sockets_a_peek_settles_and_a_loss_before_its_transcript_is_made_good() -> None:
    async def check() -> None:
        said = ("What time is it?", "And tomorrow?")
        with cloud(Settings(script=Script(hears=said))) as there:
            async with started(configured(there)) as engine, talking(engine) as talk:
                await talk.first(EngineReady)
                there.fake.plan.fail("hear", Drop(after=0.5, code=1011))
                commands = utterance(1)
                pause = [Hear(bytes(640))] * 15
                talk.submit(*commands[:-1], *pause, PeekUtterance(1), *pause)
                await talk.until(lambda: any(e.settled for e in talk.all(Transcript)))
                talk.submit(*pause, CommitUtterance(1))
                await talk.until(lambda: any(e.final for e in talk.all(Transcript)))
                degraded = await talk.first(EngineDegraded)
                assert degraded.waited_ms < 1000
            settled, final = talk.all(Transcript)[-2:]
            assert settled.settled
            assert (settled.text, final.text) == (said[0], said[0])
            lost, kept = there.sockets()
            counted = [[e.type.rpartition(".")[2] for e in events] for events in (lost, kept)]
            assert [types.count("commit") for types in counted] == [1, 1]
            assert sum(e.audio_bytes for e in lost) == sum(e.audio_bytes for e in kept)
            assert sum(e.audio_bytes for e in kept) // 48 == pytest.approx(
                len(voice()) // 32 + 300, abs=25
            )

    run(check)
