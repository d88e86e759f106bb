"""The engine of a recording, for a conversation that takes other decisions than it did.

With other settings a question may be asked sooner, later or not at all. What the engine said
then is tied to what it was asked: each recorded answer is given again after the same time,
under the number that it has now. What nobody asked the engine for (that it is ready, what it
hears by itself) comes when it came.

Owns which recorded answer belongs to which command. Refuses to know how a capture is stored
and what a conversation does with an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from teamscall.calls.events import Fill
from teamscall.engines import base as engine

Asked = (
    engine.Respond
    | engine.PressDigit
    | engine.Say
    | Fill
    | engine.BeginUtterance
    | engine.PeekUtterance
    | engine.CommitUtterance
)
Answer = engine.AnswerText | engine.AnswerAudio | engine.AnswerDone | engine.Transcript
_TURNS = engine.Respond | engine.PressDigit | engine.Say | Fill
_OF_TURNS = engine.AnswerText | engine.AnswerAudio | engine.AnswerDone


class _Told(msgspec.Struct):
    """One command of the recording and what came of it, each after so many seconds."""

    at: float
    command: Asked
    answers: list[tuple[float, Answer]] = []
    used: bool = False

    @property
    def spoke(self) -> bool:
        return any(isinstance(answer, engine.AnswerAudio) for _, answer in self.answers)


class Answers:
    """See the module.

    Attributes:
        unknown: commands that the recording has no answer to.
    """

    def __init__(self) -> None:
        self.unknown = 0
        self._told: list[_Told] = []
        self._utterances: dict[tuple[type, int], _Told] = {}
        self._turns: dict[int, _Told] = {}

    # --- the recording -----------------------------------------------------------

    def asked(self, at: float, command: object) -> None:
        """The recorded conversation gave this command."""
        if not isinstance(command, Asked):
            return
        told = _Told(at, command)
        self._told.append(told)
        if isinstance(command, _TURNS):
            self._turns[command.turn] = told
        else:
            self._utterances[type(command), command.utterance] = told

    def answered(self, at: float, event: object) -> bool:
        """The recorded engine said this; False: nobody had asked for it."""
        told: _Told | None = None
        if isinstance(event, _OF_TURNS):
            told = self._turns.get(event.turn)
        elif isinstance(event, engine.Transcript):
            told = self._utterances.get((_asked_for(event), event.utterance))
        if told is None or not isinstance(event, Answer):
            return False
        told.answers.append((at - told.at, event))
        return True

    # --- the conversation that runs now ---------------------------------------------

    def to(self, at: float, commands: Sequence[object]) -> Iterator[tuple[float, Answer]]:
        """What the engine says to these commands, each with its moment."""
        for command in commands:
            if isinstance(command, Asked) and not _silent(command):
                yield from self._to(at, command)

    def _to(self, at: float, command: Asked) -> Iterator[tuple[float, Answer]]:
        told = self._find(command)
        if told is not None:
            told.used = True
            for after, answer in told.answers:
                yield at + after, _renumbered(answer, command)
        elif isinstance(command, engine.CommitUtterance):
            self.unknown += 1
            yield at, engine.Transcript(command.utterance, "", True)
        elif isinstance(command, _TURNS):
            self.unknown += 1
            yield at, engine.AnswerDone(command.turn)

    def _find(self, command: Asked) -> _Told | None:
        """The recorded command that this one is, told from its kind and what it says. An
        answer that was spoken is better than one that was thrown away."""
        free = [t for t in self._told if not t.used and type(t.command) is type(command)]
        same = [t for t in free if _key(t.command) == _key(command)]
        if not same and isinstance(command, engine.Respond):
            same = [t for t in free if _utterance(t.command) == command.utterance]
        return next((told for told in same if told.spoke), same[0] if same else None)


def _asked_for(event: engine.Transcript) -> type:
    if event.final:
        return engine.CommitUtterance
    return engine.PeekUtterance if event.settled else engine.BeginUtterance


def _silent(command: Asked) -> bool:
    return isinstance(command, engine.Say) and not command.aloud


def _key(command: Asked) -> tuple[object, ...]:
    match command:
        case engine.Respond(text=text, utterance=utterance):
            return text, utterance
        case engine.PressDigit(digit=digit):
            return (digit,)
        case engine.Say(text=text) | Fill(text=text):
            return (text,)
        case (
            engine.BeginUtterance(utterance=utterance)
            | engine.PeekUtterance(utterance=utterance)
            | engine.CommitUtterance(utterance=utterance)
        ):
            return (utterance,)


def _utterance(command: Asked) -> int | None:
    return command.utterance if isinstance(command, engine.Respond) else None


def _renumbered(answer: Answer, command: Asked) -> Answer:
    if isinstance(answer, _OF_TURNS) and isinstance(command, _TURNS):
        return msgspec.structs.replace(answer, turn=command.turn)
    return answer
