"""The caller's audio that has not become words yet, kept to be heard again.

Owns the frames of utterances without their final transcript, each with a moment of what
came before it, and their bounds. Refuses to know who hears, and time: audio is its own
clock. Any number but 0 names an utterance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from teamscall.engines.base import (
    BeginUtterance,
    CommitUtterance,
    EngineCommand,
    Hear,
    PeekUtterance,
)

BYTES_PER_S = 32_000
# Speech begins some frames before anybody knows; a vendor's word of it takes longer.
PRE_ROLL_S = 0.5
VENDOR_PRE_ROLL_S = 1.0
MAX_S = 20.0  # kept in all, the oldest dropped first: nobody waits longer for an answer
MAX_UTTERANCES = 64  # also of those that have no audio
# A call that takes up detecting speech says within this much audio that there is some.
JOIN_S = 1.0


class _Utterance:
    __slots__ = ("before", "begun", "complete", "frames", "peeked")

    def __init__(self, before: deque[bytes], frames: deque[bytes], *, begun: bool = True) -> None:
        self.before = before
        self.frames = frames
        self.begun = begun  # else there is nothing to hear, but a final is owed
        self.peeked = -1  # after so many frames
        self.complete = False


class Unheard:
    """The utterances without their final transcript, in order, and the frames since.

    Attributes:
        dropped: frames given up because there were too many.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._utterances: dict[int, _Utterance] = {}
        self._open = 0  # the utterance that goes on; 0: none
        self._loose: deque[bytes] = deque()  # outside of utterances
        self._pre_roll = _bytes(PRE_ROLL_S)
        self._joining = 0  # bytes that may still come before an utterance begins
        self._size = 0  # bytes in all

    def __contains__(self, utterance: int) -> bool:
        return utterance in self._utterances

    # --- as it comes ---------------------------------------------------------------------

    def hear(self, pcm: bytes) -> Iterable[bytes]:
        """Take a frame; what a session that is ready may be told now (mostly: this)."""
        self._size += len(pcm)
        if self._open:
            self._utterances[self._open].frames.append(pcm)
            self._bound()
            return (pcm,)
        self._loose.append(pcm)
        if not self._joining:
            self._trim()
            return (pcm,)
        self._joining = max(0, self._joining - len(pcm))
        if self._joining:
            self._bound()
            return ()
        self._trim()  # nothing joined it: it is over, or was no speech
        return tuple(self._loose)

    def begin(self, utterance: int) -> list[EngineCommand]:
        """Speech began; what a session is told of it, with the audio that joins it."""
        heard, self._loose = self._loose, deque()
        joined, self._joining = self._joining > 0, 0
        self.settle(utterance)
        before, frames = (deque[bytes](), heard) if joined else (heard, deque[bytes]())
        self._add(utterance, _Utterance(before, frames))
        self._open = utterance
        return [BeginUtterance(utterance), *map(Hear, frames)]

    def peek(self, utterance: int) -> None:
        """The caller paused."""
        if utterance in self._utterances:
            found = self._utterances[utterance]
            found.peeked = len(found.frames)

    def commit(self, utterance: int) -> None:
        """Speech ended."""
        if utterance not in self._utterances:
            self._add(utterance, _Utterance(deque(), deque(), begun=False))
        self._utterances[utterance].complete = True
        if utterance == self._open:
            self._open = 0

    def settle(self, utterance: int) -> None:
        """It has become words, or nobody wants them: it is not needed any more."""
        found = self._utterances.pop(utterance, None)
        if found is not None:
            self._size -= _size(found.before) + _size(found.frames)
        if utterance == self._open:
            self._open = 0

    def discard(self) -> None:
        """Forget everything."""
        self._utterances.clear()
        self._loose.clear()
        self._open = self._joining = self._size = 0

    # --- from one session to the next ----------------------------------------------------

    def keep_all(self) -> None:
        """Nobody detects speech for now: what comes outside of utterances is kept, too."""
        self._pre_roll = _bytes(MAX_S)

    def marked(self, *, join: bool) -> list[EngineCommand]:
        """Everything for a session that is told of speech, marks included.

        ``join``: a vendor told of speech until now, and the call does from now on. What was
        going on, or came in the meantime, is not told yet: it joins the utterance that the
        call begins next, if it does so soon.
        """
        if join:
            self._loosen()
        commands: list[EngineCommand] = []
        for number, utterance in self._utterances.items():
            commands += map(Hear, utterance.before)
            if utterance.begun:
                commands.append(BeginUtterance(number))
            peeked = -1 if utterance.complete else utterance.peeked
            for count, frame in enumerate(utterance.frames):
                if count == peeked:
                    commands.append(PeekUtterance(number))
                commands.append(Hear(frame))
            if len(utterance.frames) == peeked:
                commands.append(PeekUtterance(number))
            if utterance.complete:
                commands.append(CommitUtterance(number))
        self._pre_roll = _bytes(PRE_ROLL_S)
        if join:
            self._joining = _bytes(JOIN_S)
        else:
            commands += map(Hear, self._loose)
            self._trim()
        return commands

    def unmarked(self) -> list[EngineCommand]:
        """Everything for a session that detects speech itself, which tells of it anew."""
        for number in reversed(list(self._utterances)):
            self._open = number
            self._loosen()
        commands: list[EngineCommand] = [Hear(frame) for frame in self._loose]
        self._pre_roll = _bytes(VENDOR_PRE_ROLL_S)
        self._trim()
        return commands

    def _loosen(self) -> None:
        """What goes on is no utterance any more; its frames are as if it never was."""
        if self._open:
            found = self._utterances.pop(self._open)
            self._loose = found.before + found.frames + self._loose
            self._open = 0

    # --- bounds --------------------------------------------------------------------------

    def _add(self, number: int, utterance: _Utterance) -> None:
        if len(self._utterances) >= MAX_UTTERANCES:
            self.settle(next(iter(self._utterances)))
        self._utterances[number] = utterance

    def _trim(self) -> None:
        loose = _size(self._loose)
        while loose > self._pre_roll:
            loose -= self._drop(self._loose)

    def _bound(self) -> None:
        kept = [(u.before, u.frames) for u in self._utterances.values()] if self._over else []
        for frames in (*(part for parts in kept for part in parts), self._loose):
            while self._over and frames:
                self._drop(frames)
                self.dropped += 1

    @property
    def _over(self) -> bool:
        return self._size > MAX_S * BYTES_PER_S

    def _drop(self, frames: deque[bytes]) -> int:
        dropped = len(frames.popleft())
        self._size -= dropped
        return dropped


def _bytes(seconds: float) -> int:
    return int(seconds * BYTES_PER_S)


def _size(frames: deque[bytes]) -> int:
    return sum(map(len, frames))
