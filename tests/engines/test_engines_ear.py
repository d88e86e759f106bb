"""When the offline ear decodes, and what it makes of it. With a recogniser that is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
from engines_rig import run
from hypothesis import given
from hypothesis import strategies as st

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    DiscardHeard,
    EngineDegraded,
    EngineEvent,
    EngineFailed,
    EngineReady,
    Hear,
    PeekUtterance,
    Transcript,
)
from teamscall.engines.offline.ear import BYTES_PER_S, PIECE_BYTES, OfflineEar, Talkers, quietest
from teamscall.engines.offline.frames import Finished, Request, Transcribe
from teamscall.engines.offline.worker import Job, Worker
from teamscall.engines.voicing import PRE_ROLL_BYTES
from teamscall.errors import EngineError

SPEECH = b"\x01\x01" * 320
QUIET = bytes(640)


class Recogniser(Worker):
    """Answers only when told to."""

    def __init__(self) -> None:
        super().__init__("none", (), stage="hear", threads=1)
        self.jobs: list[Job] = []
        self.urgent: list[bool] = []

    def submit(self, request: Request, *, urgent: bool = True) -> Job:
        job = Job(request, 0.0)
        self.jobs.append(job)
        self.urgent.append(urgent)
        return job

    def pcm(self, index: int) -> bytes:
        request = self.jobs[index].request
        assert isinstance(request, Transcribe)
        return request.pcm

    def answer(self, text: str, index: int = -1) -> None:
        self.jobs[index].give(Finished(0, text))


class Bench:
    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self.recogniser = Recogniser()
        self.time = 0.0
        self.talkers = Talkers()
        self.ear = OfflineEar(
            self.recogniser,
            self.events.append,
            is_speech=lambda frame: any(frame),
            talkers=self.talkers,
            now=lambda: self.time,
        )

    async def hear(self, frame: bytes, count: int) -> None:
        for _ in range(count):
            self.time += 0.02
            self.ear.submit(Hear(frame))
        await self.settle()

    async def settle(self) -> None:
        for _ in range(8):
            await asyncio.sleep(0)

    @property
    def transcripts(self) -> list[tuple[str, bool]]:
        return [(e.text, e.final) for e in self.events if isinstance(e, Transcript)]

    @property
    def settled(self) -> list[str]:
        return [e.text for e in self.events if isinstance(e, Transcript) and e.settled]


def bench(check: Callable[[Bench], Awaitable[None]]) -> None:
    async def whole() -> None:
        table = Bench()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(table.ear.run())
            await table.settle()
            assert table.events == [EngineReady()]
            await check(table)
            await table.ear.close()
            task.cancel()
        assert table.talkers.count == 0

    run(whole)


def test_an_utterance_begins_before_it_was_noticed() -> None:
    async def check(b: Bench) -> None:
        await b.hear(QUIET, 100)
        await b.hear(SPEECH, 10)
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 5)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        pcm = b.recogniser.pcm(0)
        assert pcm == bytes(PRE_ROLL_BYTES - 10 * 640) + SPEECH * 15
        assert b.recogniser.urgent == [True]
        b.recogniser.answer("hello")
        await b.settle()
        assert b.transcripts == [("hello", True)]

    bench(check)


def test_a_decode_begun_in_the_last_pause_is_the_final_one() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 10)
        assert b.recogniser.urgent == [False]
        await b.hear(QUIET, 15)
        b.recogniser.answer("all of it")
        await b.settle()
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert len(b.recogniser.jobs) == 1
        assert b.transcripts == [("all of it", False), ("all of it", True)]

    bench(check)


def test_words_after_the_last_decode_are_decoded() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 10)
        b.recogniser.answer("half")
        await b.hear(SPEECH, 10)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.recogniser.urgent == [False, True]
        b.recogniser.answer("half and more")
        await b.settle()
        assert b.transcripts[-1] == ("half and more", True)

    bench(check)


def test_a_final_does_not_wait_behind_a_guess_that_was_not_begun() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 10)  # asked for a guess; the recogniser is busy elsewhere
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.recogniser.jobs[0].over
        assert b.recogniser.urgent == [False, True]
        b.recogniser.answer("final")
        await b.settle()
        assert b.transcripts == [("final", True)]

    bench(check)


def test_a_peek_is_answered_by_the_decode_of_the_pause() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 15)
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert len(b.recogniser.jobs) == 1
        assert not b.transcripts
        b.recogniser.answer("so far")
        await b.settle()
        assert b.events[1:] == [Transcript(1, "so far", final=False, settled=True)]
        await b.hear(QUIET, 25)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert len(b.recogniser.jobs) == 1
        assert b.transcripts == [("so far", False), ("so far", True)]

    bench(check)


def test_a_peek_after_the_decode_is_answered_at_once_and_once() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 10)
        b.recogniser.answer("so far")
        await b.settle()
        assert b.settled == []
        b.ear.submit(PeekUtterance(1))
        b.ear.submit(PeekUtterance(2))  # of no such utterance
        await b.hear(QUIET, 20)
        assert b.settled == ["so far"]

    bench(check)


def test_a_peek_is_void_when_there_was_more_and_can_be_taken_again() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 15)
        b.ear.submit(PeekUtterance(1))
        await b.hear(SPEECH, 30)
        b.recogniser.answer("half")
        await b.hear(QUIET, 10)
        assert len(b.recogniser.jobs) == 2
        b.recogniser.answer("half and more")
        await b.settle()
        assert b.settled == []
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert b.settled == ["half and more"]

    bench(check)


def test_a_peek_decodes_what_the_guess_does_not_hold() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        await b.hear(QUIET, 10)
        b.recogniser.answer("half")
        await b.hear(SPEECH, 5)  # less than is worth a partial
        b.ear.submit(PeekUtterance(1))
        await b.settle()
        assert len(b.recogniser.jobs) == 2
        b.recogniser.answer("half of it")
        await b.settle()
        assert b.settled == ["half of it"]

    bench(check)


def test_what_is_made_of_noise_is_dropped_and_counted() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(QUIET, 40)
        b.recogniser.answer("Thank you.")
        await b.settle()
        b.ear.submit(CommitUtterance(1))
        await b.hear(QUIET, 10)
        b.recogniser.answer("Thank you.")
        await b.settle()
        assert b.transcripts == [("", True)]
        assert b.ear.made_up == 1

    bench(check)


def test_partials_come_while_the_caller_talks_and_less_often_when_others_do() -> None:
    async def check(b: Bench) -> None:
        b.talkers.count += 1  # another call
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 100)
        assert not b.recogniser.jobs
        await b.hear(SPEECH, 30)
        assert len(b.recogniser.jobs) == 1
        b.recogniser.answer("so far")
        await b.settle()
        assert b.transcripts == [("so far", False)]
        b.talkers.count -= 1

    bench(check)


def test_what_is_discarded_is_not_told() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 50)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        b.ear.submit(DiscardHeard())
        b.recogniser.answer("secret")
        await b.settle()
        assert b.transcripts == [("", True)]
        b.ear.submit(BeginUtterance(2))
        await b.hear(SPEECH, 30)
        b.ear.submit(DiscardHeard())
        await b.hear(SPEECH, 100)
        assert len(b.transcripts) == 1
        assert len(b.recogniser.jobs) == 1

    bench(check)


def test_a_long_utterance_is_decoded_in_pieces_and_nothing_is_lost() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        audio = np.random.default_rng(1).integers(1, 9, PIECE_BYTES // 2 + 16_000, dtype="<i2")
        quiet_at = PIECE_BYTES // 2 - 24_000
        audio[quiet_at : quiet_at + 8_000] = 0
        pcm = audio.tobytes()
        for start in range(0, len(pcm), 64_000):
            b.ear.submit(Hear(pcm[start : start + 64_000]))
        await b.settle()
        assert b.recogniser.urgent == [True]
        assert PIECE_BYTES - 48_000 < len(b.recogniser.pcm(0)) < PIECE_BYTES - 32_000
        b.recogniser.answer("one")
        await b.settle()
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        assert b.recogniser.pcm(0) + b.recogniser.pcm(len(b.recogniser.jobs) - 1) == pcm
        b.recogniser.answer("two")
        await b.settle()
        assert b.transcripts[-1] == ("one two", True)

    bench(check)


def test_a_failed_decode_is_told_and_the_turn_goes_on() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 20)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        b.recogniser.jobs[0].fail(EngineError("the recogniser died"))
        await b.settle()
        assert b.events[1:] == [
            EngineFailed("hear", "the recogniser died"),
            Transcript(1, "", final=True),
        ]

    bench(check)


def test_a_turn_that_queued_says_so() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 20)
        b.ear.submit(CommitUtterance(1))
        await b.settle()
        b.recogniser.jobs[0].waited_s = 2.5
        b.recogniser.answer("late")
        await b.settle()
        assert EngineDegraded("hear", "turns queue", 2_500) in b.events

    bench(check)


def test_an_utterance_that_begins_anew_keeps_its_pre_roll() -> None:
    async def check(b: Bench) -> None:
        b.ear.submit(BeginUtterance(1))
        await b.hear(SPEECH, 10)
        b.ear.submit(BeginUtterance(2))
        b.ear.submit(CommitUtterance(2))
        await b.settle()
        assert b.recogniser.pcm(0) == SPEECH * 10
        b.recogniser.answer("two")
        await b.settle()
        assert [e.utterance for e in b.events if isinstance(e, Transcript)] == [2]

    bench(check)


@given(st.integers(0, 90))
def test_the_quietest_place_is_found(position: int) -> None:
    samples = np.full(BYTES_PER_S // 2 * 2, 1_000, dtype="<i2")
    samples[position * 320 : (position + 10) * 320] = 0
    offset = quietest(samples.tobytes())
    assert position * 640 <= offset <= (position + 10) * 640
