"""What a Live session says, cut into answers: its protocol has none.

Owns where an answer begins and ends, whose turn it is, and which of it is dropped. Pure:
time is an argument. Refuses to know sockets and what is remembered.

Rule 1: an answer begins with sound, never with text alone, and ends when none came for a
while.
Rule 2: until the call has given a turn to an answer, it is kept, bounded in time and size.
Rule 3: what was cancelled is dropped until the output pauses. The protocol has no ids, so
what follows without a pause is dropped with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec

from teamscall.audio.level import peak_dbfs
from teamscall.engines.base import (
    AnswerAudio,
    AnswerBegan,
    AnswerDone,
    AnswerStatus,
    AnswerText,
    EngineEvent,
)
from teamscall.engines.openai.live_messages import BYTES_PER_MS, RATE

GAP_S = 0.6  # without output: the answer is over; pauses between sentences are shorter
SILENCE_MS = 1_000  # of silent output, where it goes on between answers
SOUND_DBFS = -60.0  # a peak above this is more than the noise of a codec
GIVE_TURN_S = 2.0  # the call answers AnswerBegan at once, or never will
MAX_HELD_BYTES = 20_000 * BYTES_PER_MS  # the longest answer that arrives within that
SAY_S = 5.0  # until what the model was asked to say begins
MAX_ASKED = 8
EARLY_S = 2.0  # words come before their sound by no more than this
MAX_EARLY_CHARS = 2_000
FAR_FUTURE = float("inf")


class _Asked(msgspec.Struct):
    """A turn that waits for speech of its own. ``turn`` 0: no longer wanted."""

    turn: int
    by: float


class Speech:
    """See the module.

    Args:
        began: emits ``AnswerBegan``; ``give`` may be called from inside.
        post: takes every other event, in order.
        end_call: whether the call shall end with the answer that is over now.
    """

    def __init__(
        self,
        began: Callable[[AnswerBegan], None],
        post: Callable[[EngineEvent], None],
        *,
        end_call: Callable[[], bool] = lambda: False,
    ) -> None:
        self._began = began
        self._post = post
        self._end_call = end_call
        self._state: Literal["idle", "held", "given", "dropped"] = "idle"
        self._turn = 0
        self._since = 0.0  # of ``held``
        self._last_at = 0.0  # of output
        self._silence = 0  # bytes in a row
        self._words = ""  # whose sound has not come yet
        self._words_at = 0.0
        self._held: list[tuple[str, bytes]] = []
        self._held_bytes = 0
        self._half = b""  # of a sample
        self._asked: deque[_Asked] = deque()
        self.dropped_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether nothing is said or waited for."""
        return self._state == "idle" and not self._asked

    # --- from the session --------------------------------------------------------------------

    def text(self, delta: str, now: float) -> None:
        """More of the transcript; it may come before its sound or after it."""
        if self._state == "dropped":
            return
        self._words = (self._words + delta)[-MAX_EARLY_CHARS:]
        self._words_at = now
        if self._state != "idle":
            self._last_at = now

    def audio(self, data: bytes, now: float) -> None:
        """More sound, or silence."""
        data = self._half + data
        pcm, self._half = data[: len(data) // 2 * 2], data[len(data) // 2 * 2 :]
        silent = peak_dbfs(pcm) < SOUND_DBFS
        self._silence = self._silence + len(pcm) if silent else 0
        if self._state == "idle":
            if silent:
                return
            self._begin(now)
        elif not silent:
            self._last_at = now
        if self._state == "dropped":
            self.dropped_bytes += len(pcm)
            return
        words, self._words = self._words, ""
        if self._state == "held":
            self._hold(words, pcm)
        else:
            self._give_out(words, pcm)
            if self._silence >= SILENCE_MS * BYTES_PER_MS:
                self._end("completed")

    def lost(self, error: str) -> None:
        """The session is over, and what it was saying."""
        if self._state == "given":
            self._end("failed", error)
        self._state, self._words, self._half = "idle", "", b""
        self._held.clear()

    # --- from the call -----------------------------------------------------------------------

    def give(self, turn: int) -> None:
        """The answer that began is ``turn``; over at once if there is none."""
        if self._state != "held":
            self._post(AnswerDone(turn))
            return
        self._state, self._turn = "given", turn
        held, self._held = self._held, []
        for words, pcm in held:
            self._give_out(words, pcm)

    def ask(self, turn: int, now: float) -> None:
        """The model was asked to say something: what begins next is ``turn``."""
        if len(self._asked) >= MAX_ASKED:
            self._post(AnswerDone(turn, "failed", error="too much to say at once"))
            return
        self._asked.append(_Asked(turn, now + SAY_S))

    def waiting(self) -> tuple[int, ...]:
        """The turns that were asked for and have not begun."""
        return tuple(asked.turn for asked in self._asked if asked.turn)

    def cancel(self, turn: int) -> bool:
        """Drop what still comes of ``turn``; False if it is over, or was never here."""
        for asked in self._asked:
            if asked.turn == turn:
                asked.turn = 0
                return True
        if self._state != "given" or self._turn != turn:
            return False
        self._state, self._words = "dropped", ""
        return True

    # --- time --------------------------------------------------------------------------------

    def deadline(self) -> float:
        """When ``tick`` is due."""
        due = min((asked.by for asked in self._asked), default=FAR_FUTURE)
        match self._state:
            case "held":
                return min(due, self._since + GIVE_TURN_S)
            case "given" | "dropped":
                return min(due, self._last_at + GAP_S)
            case _:
                return min(due, self._words_at + EARLY_S) if self._words else due

    def tick(self, now: float) -> None:
        """End what has paused, and give up what does not come."""
        if self._state == "held" and now >= self._since + GIVE_TURN_S:
            self._drop()
        elif self._state == "given" and now >= self._last_at + GAP_S:
            self._end("completed")
        elif self._state == "dropped" and now >= self._last_at + GAP_S:
            self._state = "idle"
        elif self._state == "idle" and self._words and now >= self._words_at + EARLY_S:
            self._words = ""
        while self._asked and self._asked[0].by <= now:
            if turn := self._asked.popleft().turn:
                error = "the model did not say what it was asked to"
                self._post(AnswerDone(turn, "failed", error=error))

    # --- one answer --------------------------------------------------------------------------

    def _begin(self, now: float) -> None:
        self._since = self._last_at = now
        if self._asked:
            self._turn = self._asked.popleft().turn
            self._state = "given" if self._turn else "dropped"
            return
        self._state = "held"
        self._held_bytes = 0
        self._began(AnswerBegan())

    def _hold(self, words: str, pcm: bytes) -> None:
        self._held.append((words, pcm))
        self._held_bytes += len(pcm)
        if self._held_bytes > MAX_HELD_BYTES:
            self._drop()

    def _drop(self) -> None:
        self.dropped_bytes += self._held_bytes
        self._held.clear()
        self._state, self._words = "dropped", ""

    def _give_out(self, words: str, pcm: bytes) -> None:
        if words:
            self._post(AnswerText(self._turn, words))
        self._post(AnswerAudio(self._turn, pcm, RATE, words))

    def _end(self, status: AnswerStatus, error: str = "") -> None:
        words, self._words = self._words, ""
        if words:
            # The playout ledger knows words by their sound: an instant of it carries these.
            self._give_out(words, bytes(BYTES_PER_MS))
        end_call = status == "completed" and self._end_call()
        self._post(AnswerDone(self._turn, status, end_call, error))
        self._state = "idle"
