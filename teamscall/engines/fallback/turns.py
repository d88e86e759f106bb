"""What one call asked its engines to answer, and what came of it.

Owns which turns are still owed an answer, and the conversation so far as the next session
must be told it. That is no :class:`teamscall.engines.memory.Memory`: what was asked may
become known after its answer began, and a question that will be asked again must not be
in the history that goes before it. Refuses to know engines, time and audio.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from teamscall.engines.base import Line, PressDigit, Respond, Say
from teamscall.engines.memory import MAX_CHARS, MAX_LINES

MAX_OWED = 32  # a call asks for one or two answers at a time; more is a fault

Asking = Respond | PressDigit | Say


class Turn:
    """One turn.

    Attributes:
        command: what was asked; ``asked``: in the caller's words, ``""`` if not (yet) known.
        audible: some of its speech went to the call.
        cancelled: nobody wants it any more. over: its ``AnswerDone`` went to the call.
        held: text that goes to the call with the first speech: until then another engine
            may have to answer in other words.
    """

    __slots__ = (
        *("asked", "audible", "cancelled", "command", "heard", "held", "over", "spoken"),
        "thought",
    )

    def __init__(self, command: Asking) -> None:
        self.command = command
        self.asked = ""
        match command:
            case Respond(text=text):
                self.asked = text
            case PressDigit(digit=digit):
                self.asked = f"(pressed {digit})"
        self.heard: str | None = None  # all that was heard of it, where it was cut short
        self.cancelled = False
        self.over = False
        self.reset()

    def reset(self) -> None:
        """It is asked for anew."""
        self.audible = False
        self.spoken = self.thought = ""
        self.held: list[str] = []

    @property
    def number(self) -> int:
        return self.command.turn

    @property
    def said(self) -> str:
        """What was said of it and heard, as far as is known."""
        if self.heard is not None:
            return self.heard.strip()
        return (self.spoken or self.thought).strip() if self.audible else ""

    @property
    def wordless(self) -> bool:
        """A direct session was asked to answer what it heard, or to say what it wants."""
        return isinstance(self.command, Respond) and not self.command.text

    @property
    def utterance(self) -> int:
        """The vendor's utterance that it answers as it was heard, less than 0; 0: none."""
        if isinstance(self.command, Respond) and not self.command.text:
            return -self.command.utterance
        return 0

    @property
    def speculative(self) -> bool:
        return isinstance(self.command, Respond) and self.command.speculative

    def forget(self) -> None:
        """Neither its question nor what was said of it is remembered."""
        self.asked, self.heard = "", ""


class Turns:
    """The turns of one call in the order they were asked for; the oldest are forgotten."""

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}

    def get(self, number: int) -> Turn | None:
        return self._turns.get(number)

    def add(self, command: Asking) -> Turn | None:
        """A turn begins; None if it has begun before: a turn is answered once."""
        if command.turn in self._turns:
            return None
        turn = self._turns[command.turn] = Turn(command)
        if isinstance(command, Say) and not command.aloud:
            turn.spoken, turn.audible, turn.over = command.text, True, True
        self._bound()
        return turn

    def owed(self) -> list[Turn]:
        """Those without their ``AnswerDone``."""
        return [turn for turn in self._turns.values() if not turn.over]

    def answering(self, utterance: int) -> Turn | None:
        """The turn that answers this utterance as it was heard."""
        for turn in self._turns.values():
            if utterance and turn.utterance == utterance:
                return turn
        return None

    def confirm(self, number: int) -> None:
        """Its question was complete."""
        turn = self._turns.get(number)
        if turn is not None and isinstance(turn.command, Respond):
            turn.command = msgspec.structs.replace(turn.command, speculative=False)

    # --- what a new session is told ------------------------------------------------------

    def history(self) -> tuple[tuple[Line, ...], int]:
        """What was said up to the caller's last answered words, and the turn they began.

        What the bot said since may still be playing, and be cut short: the session is told
        of it turn by turn (``said_since``), so that it can be told that, too.
        """
        over = self._over()
        last = max((i for i, turn in enumerate(over) if turn.asked.strip()), default=None)
        if last is None:
            return (), 0
        lines: list[Line] = []
        for turn in over[: last + 1]:
            if turn.asked.strip():
                lines.append(Line("caller", turn.asked.strip()))
            if turn.said and turn is not over[last]:
                lines.append(Line("bot", turn.said))
        return tuple(lines), over[last].number

    def said_since(self, number: int) -> Iterator[Say]:
        """What the bot said in turn ``number`` and after it; 0: in all."""
        begun = number == 0
        for turn in self._over():
            begun = begun or turn.number == number
            if begun and turn.said:
                yield Say(turn.number, turn.said, aloud=False)

    def _over(self) -> list[Turn]:
        return [turn for turn in self._turns.values() if turn.over]

    def _bound(self) -> None:
        """Forget the oldest turns that are over, as a ``Memory`` forgets lines."""
        over = self._over()
        chars = sum(len(turn.asked) + len(turn.said) for turn in over)
        while len(over) > 1 and (len(over) >= MAX_LINES // 2 or chars > MAX_CHARS):
            oldest = over.pop(0)
            chars -= len(oldest.asked) + len(oldest.said)
            del self._turns[oldest.number]
