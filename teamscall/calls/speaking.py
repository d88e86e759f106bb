"""The bot's side of a conversation: its turns, from the first order to what was heard.

Owns turns, their deadlines, what ends them and what is recorded of them. Refuses to know
the caller's audio, the recording gate, links and why a call ends.

Rules:

1. Every turn that begins is recorded as over exactly once. A speculative answer has not
   begun before it is confirmed, and nothing of it is heard, shown or recorded until then.
2. A turn that does not end by itself is cancelled at the engine and truncated in its
   memory to what was heard.
3. An engine that owes the next sound of a turn has a deadline.
4. A turn that the caller's voice stopped is on the shelf until it is known what the voice
   meant; then it goes on, or it is over.
"""

from __future__ import annotations

from teamscall.calls import settings as limits
from teamscall.calls.backchannel import same_words
from teamscall.calls.events import Fill, Setup
from teamscall.calls.interruption import Interruption
from teamscall.calls.orders import Orders
from teamscall.calls.playout import FAR_FUTURE, Playout
from teamscall.calls.records import (
    Said,
    TurnKind,
)
from teamscall.calls.settings import CallSettings
from teamscall.calls.spending import Spending
from teamscall.calls.turnbook import TurnBook
from teamscall.calls.turns import Kept, Turn
from teamscall.engines import base as engine
from teamscall.wire import events as wire


class Speaking:
    """See the module. What has to be done goes into ``orders``.

    Attributes:
        interruption: what the caller's voice does to it.
        speculated, thrown_away: answers begun ahead of time, and those unheard.
        failing: so many answers in a row came to nothing that the engine is given up.
    """

    def __init__(self, setup: Setup, settings: CallSettings, orders: Orders, now: float) -> None:
        self.playout = Playout(setup.call_id, setup.dialect, setup.lead_ms)
        self._book = TurnBook(orders, settings.response_timeout_s, now)
        self.interruption = Interruption(self._book, self.playout, orders)
        self.spending = Spending(settings.prices)
        self.speculated = self.thrown_away = 0
        self.failing = False
        self._call_id = setup.call_id
        self._streams = setup.turn_taking == "none"
        self._filler = settings.filler
        self._fillers_played = 0
        self._orders = orders
        self._guess: Turn | None = None  # the speculative one
        self._failed_in_a_row = 0
        self._held_until = FAR_FUTURE

    @property
    def count(self) -> int:
        """Turns so far."""
        return self._book.count

    @property
    def resting(self) -> bool:
        """Whether the bot has nothing to say and nothing to think of."""
        return not self._book.turns

    @property
    def numbers(self) -> frozenset[int]:
        """The turns that are not over."""
        return frozenset(self._book.turns)

    @property
    def saying_what_was_asked(self) -> bool:
        """Whether all that the bot says is what it was told to say word by word."""
        return all(turn.kind in ("say", "greeting") for turn in self._book.turns.values())

    @property
    def waiting(self) -> int:
        """How many wait for others to be said."""
        return len(self._book.waiting())

    @property
    def rested_at(self) -> float:
        """When the latest turn was over, or the call began."""
        return self._book.rested_at

    # --- beginning -----------------------------------------------------------

    def say(self, text: str, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        """Speak exactly this, whether or not the caller is speaking."""
        self.release(now)
        turn = self._begin(kind, now, interruptible=interruptible)
        # Not kept for the engine: the shell may have it in the phrase cache.
        self._orders.add(engine.Say(turn.number, text))
        return turn

    def say_in_turn(self, text: str, now: float) -> None:
        """Speak exactly this after all else that is to be spoken. The engine is given one
        after the other: each of them has its deadline from then on, however many wait."""
        turn = self._begin("say", now)
        turn.waiting, turn.deadline = text, FAR_FUTURE
        self._say_next(now)

    def _next(self) -> Turn | None:
        """What waits and can be given to the engine now."""
        waiting = self._book.waiting()
        if not waiting or self.interruption.stopped is not None:
            return None
        given = (turn for turn in self._book.turns.values() if turn.waiting is None)
        if self.playout.unsent_s > limits.SAY_AHEAD_S or not all(one.complete for one in given):
            return None
        return waiting[0]

    def _say_next(self, now: float) -> None:
        turn = self._next()
        if turn is None or turn.waiting is None:
            return
        self.release(now)
        text, turn.waiting = turn.waiting, None
        self._book.owe(turn, now)
        # Not kept for the engine: the shell may have it in the phrase cache.
        self._orders.add(engine.Say(turn.number, text))

    def answer(
        self, text: str, utterance: int, last_voiced: float, endpointed: float, now: float
    ) -> None:
        """Answer what the caller said; what the caller has not begun to hear is void."""
        self.interruption.drop(now)
        guess = self._guess
        guessed = (
            guess is not None
            and guess.utterance == utterance
            and same_words(guess.question or "", text)
        )
        if guess is None or not guessed:
            self.retract(now)
            self._cancel_unheard(now)
            turn = self._begin("answer", now)
            self._orders.tell_engine(engine.Respond(turn.number, text, utterance))
        else:
            turn = guess
            self._cancel_unheard(now)
            self._confirm(turn, now)
        turn.utterance = utterance
        turn.speech_ended, turn.endpointed = last_voiced, endpointed
        turn.transcribed = now if text else None
        if turn.first_audio is None:
            if self._filler.after_s:
                turn.fill_at = now + self._filler.after_s
            self._book.express("thinking")

    def transcribed(self, utterance: int, now: float) -> None:
        """A direct engine's transcript of what is being answered came."""
        for turn in self._book.turns.values():
            if turn.utterance == utterance and turn.transcribed is None:
                turn.transcribed = now

    def own_accord(self, now: float, said_at: float | None = None) -> None:
        """The engine speaks, or goes on, without being given an utterance to answer.

        ``said_at``: when the caller was last heard, if that is what it answers.
        """
        self.interruption.drop(now)
        turn = self._begin("answer", now)
        turn.speech_ended = said_at
        self._orders.tell_engine(engine.Respond(turn.number, ""))

    def press(self, digit: str, now: float) -> None:
        """Answer a key; it interrupts like speech does."""
        self.retract(now)
        if self._book.turns and all(turn.interruptible for turn in self._book.turns.values()):
            self.interruption.interrupt("caller", now, now, why="key")
        turn = self._begin("digit", now)
        self._orders.tell_engine(engine.PressDigit(turn.number, digit))

    def _begin(self, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        turn = self._book.new(kind, now, interruptible=interruptible)
        self.playout.end_stream()
        self._book.announce(turn, now)
        return turn

    # --- thinking ahead -----------------------------------------------------------

    def speculate(self, text: str, utterance: int, now: float) -> None:
        """Begin an answer in case the caller has finished; it is not heard before ``answer``
        is asked for with the same words."""
        if self._guess is not None or self._book.turns:
            return
        self.speculated += 1
        self._guess = turn = self._book.new("answer", now)
        turn.question, turn.utterance = text, utterance
        self._orders.tell_engine(
            engine.Respond(turn.number, text, utterance, speculative=True),
        )

    def retract(self, now: float) -> None:
        """The caller had not finished: the speculative answer never was."""
        turn, self._guess = self._guess, None
        if turn is not None:
            self.thrown_away += 1
            del self._book.turns[turn.number]
            self._orders.tell_engine(engine.CancelAnswer(turn.number, forget=True))

    def _confirm(self, turn: Turn, now: float) -> None:
        self._guess = None
        turn.question = None
        self.playout.end_stream()
        self._book.announce(turn, now)
        self._orders.tell_engine(engine.ConfirmAnswer(turn.number))
        if turn.said:
            text = "".join(turn.said)
            self._orders.add(Said(self._call_id, self._orders.wall(now), turn.number, text))
        for speech in turn.kept:
            self.playout.push(turn.number, speech.pcm, speech.rate, speech.text)
        turn.kept.clear()
        if turn.complete:
            self.playout.finish(turn.number)

    # --- the caller speaks -----------------------------------------------------------

    def hold(self, now: float) -> None:
        """The caller speaks: what has not begun waits, for a bounded time."""
        if self.playout.speaking(now) is None:
            self.playout.hold(now)
            self._held_until = now + limits.HOLD_LIMIT_S

    def release(self, now: float) -> None:
        self.playout.release(now)
        self._held_until = FAR_FUTURE

    def _cancel_unheard(self, now: float) -> None:
        """The caller went on: answers not begun, and one that stalled, are thrown away."""
        silent = not self.playout.lost and self.playout.speaking(now) is None
        for turn in list(self._book.turns.values()):
            if turn.kind == "filler":
                self._book.over(turn, "cancelled", self.playout.drop(turn.number), now)
                continue
            stalled = silent and not turn.complete
            unheard = stalled or not self.playout.has_begun(turn.number)
            if turn.kind == "answer" and not turn.speculative and unheard:
                self._book.cut(turn, self.playout.drop(turn.number), now)

    # --- the engine -----------------------------------------------------------

    def on_text(self, event: engine.AnswerText, now: float) -> None:
        turn = self._book.turns.get(event.turn)
        if turn is None:
            return
        if turn.first_text is None:
            turn.first_text = now  # also of an empty one: the first token, held back
        if not event.delta:
            return
        turn.said.append(event.delta)
        if not turn.speculative:
            self._orders.add(Said(self._call_id, self._orders.wall(now), turn.number, event.delta))

    def on_audio(self, event: engine.AnswerAudio, now: float) -> None:
        turn = self._book.turns.get(event.turn)
        if turn is None:
            # Flushed, cancelled or over; or the stream of an engine without turns, which is
            # silent while a turn is spoken.
            if self._streams and not self._book.turns:
                self.playout.push_stream(event.pcm, event.rate)
            return
        if turn.complete or turn.cancelled:
            return
        if turn.first_audio is None:
            turn.first_audio = now
            turn.fill_at = FAR_FUTURE
            if turn.kind == "answer":
                self._failed_in_a_row = 0
        turn.deadline = now + self.playout.unsent_s + limits.ANSWER_STALL_S
        if turn.speculative:
            turn.kept.append(Kept(event.pcm, event.rate, event.text))
            return
        self._end_sound(turn, now)
        self._book.express("neutral")
        self.playout.push(turn.number, event.pcm, event.rate, event.text)

    def on_done(self, event: engine.AnswerDone, now: float) -> None:
        turn = self._book.turns.get(event.turn)
        if turn is None or turn.complete:
            return
        if turn.speculative and event.status != "completed":
            self.retract(now)  # not the caller's business; the answer is asked for again
            return
        turn.complete = True
        turn.deadline = turn.fill_at = FAR_FUTURE
        turn.end_call = turn.end_call or event.end_call
        turn.failed = event.status == "failed"
        if turn.speculative:
            return
        self.playout.finish(turn.number)
        if turn.failed:
            if event.error != self._book.last_trouble:  # told already, with its stage
                self.trouble("speak" if turn.first_audio else "think", event.error, now)
            if turn.first_audio is None:
                self._give_up(turn, now)

    def on_usage(self, event: engine.EngineUsage) -> None:
        """What a stage used, for the turn while it lasts and for the call."""
        usage = self.spending.add(event)
        if (turn := self._book.turns.get(event.turn)) is not None:
            turn.usage.append(usage)

    def trouble(self, stage: str, detail: str, now: float, *, fatal: bool = False) -> None:
        """Record that an engine degraded or failed."""
        self._book.trouble(stage, detail, now, fatal=fatal)

    def _give_up(self, turn: Turn, now: float) -> None:
        """Nothing came of an answer: say so instead of falling silent."""
        if turn.kind == "answer":
            self._book.over(turn, "failed", self.playout.drop(turn.number), now)
            self.excuse(now)

    def excuse(self, now: float) -> None:
        """The caller spoke and cannot be answered: ask again, or give the engine up."""
        self._failed_in_a_row += 1
        self.failing = self._failed_in_a_row >= limits.MAX_FAILED_ANSWERS
        if not self.failing:
            self.say(limits.RETRY_PHRASE, "say", now)

    # --- time -----------------------------------------------------------

    def next_deadline(self) -> float:
        """When ``advance`` is due; infinite when nothing is awaited."""
        if self._next() is not None:
            return 0.0
        earliest = min(self.playout.next_deadline(), self._held_until)
        for turn in self._book.turns.values():
            earliest = min(earliest, turn.deadline, turn.fill_at)
        return earliest

    def advance(self, now: float) -> bool:
        """Send what is due and close what was heard; whether the call is to end with it."""
        if self._held_until <= now:
            self.release(now)
        for turn in list(self._book.turns.values()):
            if turn.deadline <= now:
                self._overdue(turn, now)
            elif turn.fill_at <= now:
                self._fill(turn, now)
        for number, frame in self.playout.due(now):
            if (
                sending := self._book.turns.get(number)
            ) is not None and sending.first_frame is None:
                sending.first_frame = now
            self._orders.add(frame)
        end_call = False
        for line in self.playout.done(now):
            if (heard := self._book.turns.get(line.turn)) is not None:
                if heard.retold:
                    told = engine.TruncateAnswer(heard.number, line.heard_ms, line.said_text)
                    self._orders.tell_engine(told)
                self._book.over(heard, "failed" if heard.failed else "completed", line, now)
                end_call = end_call or heard.end_call
        self._say_next(now)
        return end_call

    def _overdue(self, turn: Turn, now: float) -> None:
        """The engine owes a sound. What it gave is played to its end, then the turn is over."""
        if turn.speculative:
            self.retract(now)
            return
        if turn.first_audio is not None and self.playout.unsent_s > 0:
            turn.deadline = now + self.playout.unsent_s + limits.ANSWER_STALL_S
            return
        silent = turn.first_audio is None
        detail = "no answer within response_timeout_ms" if silent else "an answer stopped midway"
        self._orders.tell_engine(engine.CancelAnswer(turn.number))
        turn.complete = turn.failed = True
        turn.deadline = turn.fill_at = FAR_FUTURE
        self.playout.finish(turn.number)
        self._book.trouble("think" if silent else "speak", detail, now)
        if silent:
            self._give_up(turn, now)

    def stop(self, now: float) -> None:
        """The call is over: end every turn, as far as it was heard by now."""
        self.retract(now)
        for turn in list(self._book.turns.values()):
            stop = turn.stopped
            line = stop.line if stop is not None else self.playout.played(turn.number, now)
            if not turn.complete and turn.waiting is None:
                self._orders.add(engine.CancelAnswer(turn.number))
            self._book.over(turn, "interrupted" if line.sent_ms else "cancelled", line, now)
        self.playout.flush(now)

    # --- the silence of thinking -----------------------------------------------------------

    def _fill(self, turn: Turn, now: float) -> None:
        """Thinking takes long: fill the silence once, unless there is none."""
        turn.fill_at = FAR_FUTURE
        filler = self._filler
        if not self.playout.idle(now) or not (filler.sound or filler.words):
            return
        filling = self._begin("filler", now)
        filling.deadline = FAR_FUTURE
        if filler.sound:
            filling.complete = True
            self.playout.push(filling.number, filler.sound, wire.SAMPLE_RATE)
            self.playout.finish(filling.number)
            return
        text = filler.words[self._fillers_played % len(filler.words)]
        self._fillers_played += 1
        self._orders.add(Fill(filling.number, text))

    def _end_sound(self, answer: Turn, now: float) -> None:
        """The answer begins: a filling sound stops for it, filling words are finished."""
        if not self._filler.sound:
            return
        for turn in list(self._book.turns.values()):
            if turn.kind == "filler":
                self._book.over(turn, "completed", self.playout.drop(turn.number), now)
