"""The hands on a running emulated call: keys, scripts and tests use the same verbs.

Owns a bounded queue of commands, taken by the call once per tick (so a command is at most
20 ms old when it acts). Safe to call from another thread. Refuses to know what a command
does in a dialect.
"""

from __future__ import annotations

from collections import deque

import msgspec

from teamscall.emulator.plan import DIGITS, Video
from teamscall.emulator.sources import Source
from teamscall.wire.events import RecordingStatus

# More than a person presses in a second; what comes on top is refused and counted.
MAX_COMMANDS = 256


class Mute(msgspec.Struct, frozen=True):
    on: bool | None  # None: the other way round


class PressDigit(msgspec.Struct, frozen=True):
    digit: str


class SetRecording(msgspec.Struct, frozen=True):
    status: RecordingStatus | None  # None: the other way round


class SetParticipants(msgspec.Struct, frozen=True):
    count: int
    relative: bool = False


class Play(msgspec.Struct, frozen=True):
    source: Source


class AskToSay(msgspec.Struct, frozen=True):
    text: str


class ShowPicture(msgspec.Struct, frozen=True):
    video: Video


class HangUpNow(msgspec.Struct, frozen=True):
    reason: str
    interrupted: bool = False


class DropLink(msgspec.Struct, frozen=True):
    resume_after_s: float | None


Command = (
    Mute
    | PressDigit
    | SetRecording
    | SetParticipants
    | Play
    | AskToSay
    | ShowPicture
    | HangUpNow
    | DropLink
)


class Controls:
    """Commands for one call. Every method returns False when the queue is full."""

    def __init__(self) -> None:
        self._commands: deque[Command] = deque()
        self.refused = 0

    def mute(self, on: bool | None = None) -> bool:
        """Send silence in place of the source (which plays on); None toggles."""
        return self._put(Mute(on))

    def digit(self, digit: str) -> bool:
        """Press a key of the dial pad (StandIn).

        Raises:
            ValueError: it is not one of ``0``-``9``, ``*``, ``#``.
        """
        if digit not in DIGITS:
            raise ValueError("a digit is one of 0-9, * and #")
        return self._put(PressDigit(digit))

    def recording(self, status: RecordingStatus | None = None) -> bool:
        """Report a recording status (StandIn); None toggles active and inactive."""
        return self._put(SetRecording(status))

    def participants(self, count: int, *, relative: bool = False) -> bool:
        """Report how many humans are in the call (StandIn), or how many came or left."""
        return self._put(SetParticipants(count, relative))

    def say(self, source: Source) -> bool:
        """Play ``source`` after what is still playing; hang-up-after-silence waits for it."""
        return self._put(Play(source))

    def ask_to_say(self, text: str) -> bool:
        """StandIn's ``assistant.say``: the bot must speak exactly this, now."""
        return self._put(AskToSay(text))

    def show(self, video: Video) -> bool:
        """Send one picture, once (StandIn)."""
        return self._put(ShowPicture(video))

    def hang_up(self, reason: str = "hangup", *, interrupted: bool = False) -> bool:
        """End the call as the caller would."""
        return self._put(HangUpNow(reason, interrupted))

    def drop_link(self, resume_after_s: float | None = None) -> bool:
        """Cut the socket without a close handshake; C#: resume the call after a while."""
        return self._put(DropLink(resume_after_s))

    def take(self) -> Command | None:
        """The oldest command, or None. For the call."""
        try:
            return self._commands.popleft()
        except IndexError:
            return None

    def _put(self, command: Command) -> bool:
        if len(self._commands) >= MAX_COMMANDS:
            self.refused += 1
            return False
        self._commands.append(command)
        return True
