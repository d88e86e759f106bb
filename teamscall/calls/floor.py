"""Who has the floor: the caller's speech, what it means, and when it is answered.

Owns utterances from their first voiced frame to the answer that is asked for: endpointing,
barge-in, thinking ahead. Refuses to know phases, links, the recording gate and why a call
ends: it is asked only while the call is live and the gate is open.

Rules:

1. An utterance is answered once, when its final transcript came or its deadline passed; a
   ``direct`` engine is asked as soon as the utterance is over. A duplex one (it takes the
   turns and tells nothing of the caller's) is not asked: it answers when it likes.
2. What only says "go on" over the bot's speech is not answered: the bot goes on.
3. What was discarded never becomes words.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.audio.hum import is_hum
from teamscall.calls import settings as limits
from teamscall.calls.backchannel import Backchannels, words_of
from teamscall.calls.bargein import BargeIn
from teamscall.calls.events import Setup
from teamscall.calls.listening import Listening, SpeechBegan, SpeechEnded
from teamscall.calls.orders import Orders
from teamscall.calls.playout import FAR_FUTURE
from teamscall.calls.records import Heard
from teamscall.calls.settings import CallSettings
from teamscall.calls.speaking import Speaking
from teamscall.engines import base as engine
from teamscall.wire.events import FRAME_MS, AudioIn


class _Awaited(msgspec.Struct):
    """An utterance whose final transcript is owed.

    ``answer_by``: of a direct engine's, answer then even without the transcript; None: it is
    answered already.
    """

    last_voiced: float
    endpointed: float
    deadline: float
    answer_by: float | None = None


class Floor:
    """See the module.

    Attributes:
        last_voice: when the caller was last heard, or began to be waited for.
    """

    def __init__(
        self, setup: Setup, settings: CallSettings, speaking: Speaking, orders: Orders, now: float
    ) -> None:

        self._call_id = setup.call_id
        self._settings = settings
        self._speaking = speaking
        self._stopping = speaking.interruption
        self._orders = orders
        self._listening = Listening(
            detect=setup.turn_taking != "none",
            endpoint=settings.endpoint,
            echo_immunity=settings.barge_in.echo_immunity,
            burst_frames=limits.AUDIO_BURST_FRAMES,
            rate_fps=limits.AUDIO_RATE_FPS,
        )
        self._barge = BargeIn(settings.barge_in, is_hum)
        self._backchannels = Backchannels(settings.barge_in.backchannels)
        self._turn_taking = setup.turn_taking
        self._direct = False
        self._stopping.patient = self._turn_taking == "local"
        self._engine_hears_speech = False  # ``engine`` turn taking
        self._engine_tells = False  # that the caller speaks; until it does, we listen
        self._awaited: dict[int, _Awaited] = {}
        self._last_utterance = 0
        self._void_until = 0  # utterances up to this one were discarded
        self._over_bot: int | None = None  # the utterance that stopped the bot
        self._over_bot_from = now
        self._settle_by = FAR_FUTURE  # by then a duplex engine says what it was
        self._said_at: float | None = None  # the end of what is not answered yet
        self._answered_at = now
        self._excused = 0  # the one that only said "go on", as far as it is settled
        self._peeked = False  # into the pause that is going on
        self._deaf = False  # hearing failed since words were last heard
        self.last_voice = now
        self.frames_in = 0

    # --- small facts -----------------------------------------------------------

    @property
    def caller_speaks(self) -> bool:
        if self._turn_taking == "local" or self._duplex:
            return self._listening.in_speech
        return self._engine_hears_speech

    @property
    def _duplex(self) -> bool:
        return self._turn_taking == "engine" and self._direct and not self._engine_tells

    @property
    def waiting(self) -> bool:
        """Whether the caller speaks, or has spoken and is not understood yet."""
        return self.caller_speaks or bool(self._awaited)

    @property
    def utterance_begun(self) -> int:
        """The latest utterance that may have begun, whether it was announced yet or not."""
        beside = self._turn_taking == "engine" and (
            self._listening.in_speech or self._said_at is not None
        )
        return self._last_utterance + beside

    @property
    def dropped(self) -> int:
        return self._listening.dropped

    @property
    def silence_frames(self) -> int:
        return self._listening.silence_frames

    def sent(self, pcm: bytes, plays_at: float) -> None:
        """The far side will play this frame then: it may come back as an echo."""
        self._listening.played(pcm, plays_at)

    def flushed(self, now: float) -> None:
        """The far side plays no more of what it was sent."""
        self._listening.flushed(now)

    # --- the caller's audio -----------------------------------------------------------

    def on_audio(self, event: AudioIn, now: float) -> None:
        self.frames_in += 1
        for frame in self._listening.frames(event.seq, event.pcm, now):
            found = self._listening.speech(frame, now)
            # An echo is no news to an engine that detects speech itself: it would take it
            # for the caller's.
            muted = self._turn_taking == "engine" and self._listening.echo
            self._orders.tell_engine(engine.Hear(_SILENCE if muted else frame))
            if self._listening.voiced:
                self.last_voice = now
            if found is not None:
                self._on_speech(found, now)
            if self._settings.barge_in.enabled and self._turn_taking != "none":
                self._look_for_barge_in(frame, now)
            self._look_ahead(now)

    def _on_speech(self, speech: SpeechBegan | SpeechEnded, now: float) -> None:
        """By our own detection, whoever takes the turns."""
        if isinstance(speech, SpeechEnded):
            known = speech.last_voiced <= self._answered_at
            self._said_at = None if known else speech.last_voiced
        if self._turn_taking == "engine":
            self._on_speech_beside(speech, now)
        elif isinstance(speech, SpeechBegan):
            self._last_utterance = speech.utterance
            self._orders.tell_engine(engine.BeginUtterance(speech.utterance))
            self._began(speech.utterance, now)
        else:
            self._orders.tell_engine(engine.CommitUtterance(speech.utterance))
            self._ended(speech.utterance, speech.last_voiced, now)

    def _on_speech_beside(self, speech: SpeechBegan | SpeechEnded, now: float) -> None:
        """Speech over the bot's that a duplex engine understands without telling of it."""
        if not self._duplex or self._barge.stance == "listening":
            return
        if isinstance(speech, SpeechBegan):
            self._over_bot = self._last_utterance + 1
        else:
            self._settle_by = now + limits.BACKCHANNEL_WAIT_S

    def _began(self, utterance: int, now: float) -> None:
        if self._barge.stance != "listening":
            self._over_bot = utterance
        self._peeked = False
        self._speaking.hold(now)

    def _ended(self, utterance: int, last_voiced: float, now: float) -> None:
        awaited = _Awaited(last_voiced, now, now + limits.TRANSCRIPT_DEADLINE_S)
        self._awaited[utterance] = awaited
        if not self._direct:
            return
        long = last_voiced - self._over_bot_from > limits.LONGEST_BACKCHANNEL_S
        if utterance == self._over_bot and self._stopping.may_carry_on and not long:
            awaited.answer_by = now + limits.BACKCHANNEL_WAIT_S
        else:
            self._answer(utterance, "", awaited, now)

    def _look_for_barge_in(self, frame: bytes, now: float) -> None:
        barge, stopping = self._barge, self._stopping
        decided = barge.stance in ("doubting", "cut") and stopping.stopped is None
        if decided and self._speaking.playout.speaking(now) is not None:
            barge.reset()  # the bot was told to speak all the same
        detected = self._listening.detected_at if self._listening.in_speech else now
        free = barge.stance == "listening" and stopping.interruptible(detected, now)
        heard = self._listening
        step = barge.frame(frame, voiced=heard.voiced, interruptible=free, regained=heard.regained)
        onset = now - barge.since_onset_ms / 1000
        if step == "pause":
            stopping.pause(now)
        elif step == "go on":
            stopping.go_on(now)
        elif step == "doubt":
            self._interrupt(onset, now, told=False)
        elif step == "insist":
            self._cut(now)
        elif step == "cut":
            if stopping.stopped is not None:
                self._cut(now)
            else:
                # Until it is speech for sure, an engine that still works on it goes on.
                sure = stopping.patient or heard.in_speech or stopping.nothing_owed(now)
                self._interrupt(onset, now, told=sure and not self._duplex)
        elif barge.sure and heard.voiced and not (stopping.patient or self._duplex):
            self._cut(now)
        elif (
            barge.stance in ("doubting", "cut")
            and barge.faded
            and not self.waiting
            and self._over_bot is None
        ):
            self._carry_on("noise", now)  # nobody took it for speech

    def _interrupt(self, onset: float, now: float, *, told: bool) -> None:
        self._over_bot_from = onset
        if self.caller_speaks:
            self._over_bot = self._last_utterance + self._duplex
        self._stopping.interrupt("caller", onset, now, why="speech", shelve=True, told=told)
        self._speaking.hold(now)

    def _cut(self, now: float) -> None:
        """The caller wants the turn. A duplex engine, which heard that too, says so by what
        it does: told to stop, it would be silent where it goes on talking after a "mhm"."""
        if not self._duplex:
            self._stopping.cut("speech", now)

    def _carry_on(self, why: Literal["noise", "backchannel"], now: float) -> None:
        self._stand_down(now)
        if self._stopping.may_carry_on:
            self._stopping.carry_on(why, now)
            self._speaking.release(now)
            return
        cut_short = self._stopping.stopped is not None
        self._stopping.drop(now)
        if not self.waiting:
            self._speaking.release(now)
        if cut_short and self._direct:
            self._speaking.own_accord(now)  # it knows what was heard, and goes on from there

    def _stand_down(self, now: float) -> None:
        """It is decided what the caller's voice meant."""
        if self._barge.stance == "paused":
            self._stopping.go_on(now)
        self._barge.reset()
        self._over_bot = None
        self._settle_by = FAR_FUTURE

    # --- pauses -----------------------------------------------------------

    def _look_ahead(self, now: float) -> None:
        """A pause that may be the end: ask what was said so far."""
        if self._turn_taking != "local" or not self._listening.in_speech:
            return
        paused_ms = self._listening.paused_ms
        if paused_ms < 2 * FRAME_MS:
            if self._peeked:
                self._peeked = False
                self._speaking.retract(now)
            return
        if self._peeked:
            return
        after_ms = self._settings.endpoint.speculate_after_ms
        if self._over_bot is not None and self._stopping.may_carry_on:
            after_ms = limits.QUICK_PEEK_MS
        if after_ms and paused_ms >= after_ms:
            self._peeked = True
            self._orders.tell_engine(engine.PeekUtterance(self._listening.utterance))

    def _on_settled(self, event: engine.Transcript, now: float) -> None:
        """What was said up to the pause that is going on."""
        if not self._peeked or event.utterance != self._listening.utterance:
            return
        text = event.text.strip()
        if event.utterance == self._over_bot:
            if self._backchannels.only(text) and self._stopping.far_from_its_end:
                self._excused = event.utterance
                self._carry_on("backchannel", now)
        elif text and not self._direct and self._settings.endpoint.speculate_after_ms:
            self._speaking.speculate(text, event.utterance, now)

    # --- the engine -----------------------------------------------------------

    def on_ready(self, event: engine.EngineReady | engine.EngineSwitched, now: float) -> None:
        """The engine hears; another one than before has its own way of taking turns."""
        was_direct, self._direct = self._direct, event.direct
        self._listening.settle(event.settle_ms)
        was, self._turn_taking = self._turn_taking, event.turn_taking or self._turn_taking
        self._stopping.patient = self._turn_taking == "local" and not self._direct
        if isinstance(event, engine.EngineReady):
            return
        self._engine_tells = False
        if was_direct:
            self._awaited.clear()  # they are answered; nobody will transcribe them any more
        if was != event.turn_taking:
            self._listening.reset()
            # Numbers grow, whoever gives them.
            self._listening.utterance = max(self._listening.utterance, self._last_utterance)
            self._engine_hears_speech = False
            self._speaking.release(now)
        if (was_direct or was != event.turn_taking) and self._over_bot not in self._awaited:
            self._over_bot = None  # nobody will say what it was: what it stopped goes on

    def on_hearing_failed(self) -> None:
        """What the caller says may come back without words, though there were some."""
        self._deaf = True

    def on_engine_speech(
        self, event: engine.SpeechStarted | engine.SpeechStopped, now: float
    ) -> None:
        """``engine`` turn taking: the vendor's own voice activity."""
        if event.utterance <= self._void_until or self._turn_taking != "engine":
            return
        self._engine_tells, self._settle_by = True, FAR_FUTURE
        self._last_utterance = max(self._last_utterance, event.utterance)
        self._engine_hears_speech = isinstance(event, engine.SpeechStarted)
        if not self._engine_hears_speech:
            last_voiced = self.last_voice if self._listening.spoke else now
            self._ended(event.utterance, last_voiced, now)
            return
        stance = self._barge.stance
        interruptible = stance == "listening" and self._stopping.interruptible(now, now)
        if self._settings.barge_in.enabled and (stance == "paused" or interruptible):
            onset = self._paused_from(now)
            self._barge.stance = "cut"
            self._stopping.interrupt("caller", onset, now, why="vendor", shelve=True)
            self._over_bot_from = onset
        elif stance == "cut":
            self._cut(now)
        self._began(event.utterance, now)

    def _paused_from(self, now: float) -> float:
        """When the voice began that our own detection paused the bot for; else now."""
        paused = self._barge.stance == "paused"
        return now - self._barge.since_onset_ms / 1000 if paused else now

    def on_transcript(self, event: engine.Transcript, now: float) -> None:
        if event.utterance <= self._void_until:
            return
        self._last_utterance = max(self._last_utterance, event.utterance)
        awaited = self._awaited.pop(event.utterance, None) if event.final else None
        if awaited is None and event.final:
            if self._turn_taking == "local":
                return  # given up on, or said twice
            # An engine's own turn may have had no end that it told of.
            answered = now if self._direct else None
            awaited = _Awaited(now, now, now, None if answered else now)
        if text := event.text.strip():
            wall = self._orders.wall(now)
            self._orders.add(Heard(self._call_id, wall, event.utterance, text, event.final))
        if awaited is None:
            if event.settled:
                self._on_settled(event, now)
            elif text:
                self._on_partial(event.utterance, text, now)
            return
        self._on_final(event.utterance, text, awaited, now)
        if not self.caller_speaks:
            self._speaking.release(now)

    def _on_partial(self, utterance: int, text: str, now: float) -> None:
        """Words over the bot's stopped speech: the caller wants the turn."""
        stopped = self._barge.stance in ("doubting", "cut") and utterance == self._over_bot
        if stopped and self._wants_the_turn(text):
            self._barge.stance = "cut"
            self._stopping.cut("words", now)

    def _wants_the_turn(self, text: str, *, over_bot: bool = True) -> bool:
        words = words_of(text)
        enough = len(words) >= max(1, self._settings.barge_in.min_words)
        if self._backchannels.only(text):
            return over_bot and not self._stopping.far_from_its_end
        return enough

    def _on_final(self, utterance: int, text: str, awaited: _Awaited, now: float) -> None:
        over_bot = utterance == self._over_bot
        wants = self._wants_the_turn(text, over_bot=over_bot)
        if utterance == self._excused and not wants:
            return
        if over_bot:
            if self._stopping.may_carry_on and not wants:
                if self._turn_taking == "engine":
                    self._orders.tell_engine(engine.IgnoreUtterance(utterance))
                self._carry_on("backchannel" if text else "noise", now)
                return
            self._stand_down(now)
            if self._duplex:
                self._stopping.drop(now)
        if self._direct:
            if awaited.answer_by is not None:
                self._answer(utterance, "", awaited, now)
            else:
                self._speaking.transcribed(utterance, now)
        elif text:
            self._answer(utterance, text, awaited, now)
        else:
            self._speaking.retract(now)
            self._stopping.drop(now)
            if self._deaf:
                self._speaking.excuse(now)
        self._deaf = False

    def _answer(self, utterance: int, text: str, awaited: _Awaited, now: float) -> None:
        awaited.answer_by = self._said_at = None
        self._answered_at = now
        self._stand_down(now)
        self._speaking.answer(text, utterance, awaited.last_voiced, awaited.endpointed, now)
        if self._direct and not self.caller_speaks:
            self._speaking.release(now)  # its transcript may come late, or never

    def on_answer_began(self, now: float) -> None:
        """A duplex engine answers: what is on the shelf is over."""
        said_at, self._said_at = self._said_at, None
        self._answered_at = now
        paused = self._barge.stance == "paused"  # and would play, but for the next voice
        if said_at is not None and (paused or self._stopping.interruptible(now, now)):
            self._stopping.interrupt("caller", self._paused_from(now), now, why="vendor")
        self._stand_down(now)
        if self._listening.in_speech:
            said_at = now - self._listening.paused_ms / 1000
        self._speaking.own_accord(now, said_at)
        self._speaking.release(now)

    # --- endings -----------------------------------------------------------

    def discard(self, now: float) -> None:
        """What was captured and is not yet words must not become words."""
        self._orders.discard_heard()
        self.stop()
        self._void_until = self._last_utterance
        self._speaking.retract(now)
        self._stopping.go_on(now)
        self._stopping.drop(now)
        self._speaking.release(now)

    def stop(self) -> None:
        """Wait for nothing any more."""
        self._listening.reset()
        self._barge.reset()
        self._over_bot = self._said_at = None
        self._settle_by = FAR_FUTURE
        self._engine_hears_speech = False
        self._awaited.clear()

    # --- time -----------------------------------------------------------

    def next_deadline(self) -> float:
        earliest = min(self._listening.lapses_at(), self._settle_by)
        for awaited in self._awaited.values():
            earliest = min(earliest, awaited.deadline, awaited.answer_by or FAR_FUTURE)
        return earliest

    def advance(self, now: float) -> None:
        for utterance, awaited in list(self._awaited.items()):
            if awaited.deadline <= now:
                self._speaking.trouble("hear", "the final transcript did not come in time", now)
                self._deaf = True
                self.on_transcript(engine.Transcript(utterance, "", True), now)
            elif awaited.answer_by is not None and awaited.answer_by <= now:
                self._answer(utterance, "", awaited, now)
        if self._settle_by <= now:
            self._carry_on("noise", now)
        if (ended := self._listening.lapse(now)) is not None:
            self._on_speech(ended, now)


_SILENCE = bytes(640)
