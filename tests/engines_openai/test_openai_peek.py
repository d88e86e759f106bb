"""What the ear says when the call peeks into a pause."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from openai_ear_rig import QUIET, SPEECH, Bench
from openai_ear_rig import bench as any_bench

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    EngineUsage,
    PeekUtterance,
)
from teamscall.engines.openai.ear import OpenAIEar

DELTA = "conversation.item.input_audio_transcription.delta"


def bench(check: Callable[[Bench], Awaitable[None]], *, streams: bool = True) -> None:
    any_bench(partial(OpenAIEar, streams=streams), check)


async def peeked(b: Bench, text: str = "", words: int = 50) -> None:
    """One utterance, up to a pause that is peeked into. ``text``: what streamed meanwhile."""
    b.ear.submit(BeginUtterance(1))
    await b.hear(SPEECH, words)
    if text:
        b.socket.says(DELTA, item_id="a", delta=text)
    await b.hear(QUIET, 15)
    b.ear.submit(PeekUtterance(1))
    await b.settle()


def test_words_that_stand_still_are_settled_and_nothing_is_cut() -> None:
    async def check(b: Bench) -> None:
        await peeked(b, "What time is it?")
        assert b.settled == ["What time is it?"]
        assert b.socket.kinds() == ["append"]
        await b.hear(QUIET, 25)
        b.ear.submit(CommitUtterance(1))
        b.socket.commits("a")
        b.socket.hears("a", "What time is it?")
        await b.settle()
        assert b.finals == [(1, "What time is it?")]
        assert b.socket.kinds() == ["append", "commit"]

    bench(check)


def test_words_that_still_come_are_waited_for() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.socket.says(DELTA, item_id="a", delta="What time ")
        await b.settle()
        assert b.settled == []
        await b.hear(QUIET, 4)
        b.socket.says(DELTA, item_id="a", delta="is it?")
        await b.settle()
        assert b.settled == []
        await b.hear(QUIET, 10)
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert b.settled == ["What time is it?"]

    bench(check)


def test_a_peek_is_void_when_the_caller_goes_on() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        await b.hear(SPEECH, 10)
        b.socket.says(DELTA, item_id="a", delta="Half")
        await b.hear(QUIET, 10)
        b.socket.says(DELTA, item_id="a", delta=" of it")
        await b.settle()
        assert b.settled == []

    bench(check)


def test_a_model_that_does_not_stream_settles_nothing() -> None:
    async def check(b: Bench) -> None:
        await peeked(b, "What time is it?")
        assert b.settled == []
        assert b.socket.kinds() == ["append"]

    bench(check, streams=False)


def test_what_was_discarded_is_not_settled() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.ear.submit(DiscardHeard())
        b.socket.says(DELTA, item_id="a", delta="What time is it?")
        await b.hear(QUIET, 20)
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert b.settled == []

    bench(check)


def test_what_the_service_counted_is_told() -> None:
    async def check(b: Bench) -> None:
        await peeked(b)
        b.ear.submit(CommitUtterance(1))
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
