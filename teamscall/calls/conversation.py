"""The conversation of one call: a pure state machine, ``on(event, now) -> commands``.

Owns turn taking, barge-in, the recording gate, greetings and goodbyes, every deadline of
a call and its one end. Refuses to know sockets, clocks, tasks, vendors and the terminal:
what it wants done it returns.

Rules:

1. The first reason to end wins; after ``Finish`` nothing more is returned.
2. While the gate is closed nothing of the caller's media goes further than this file.
3. Audio of a turn that was flushed or cancelled never leaves (the pacer's epoch).
4. Every wait on somebody else has a deadline here.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from teamscall.audio.pacer import Pacer, Played
from teamscall.audio.resample import Resampler
from teamscall.calls import settings as limits
from teamscall.calls.listening import Listening, SpeechBegan, SpeechEnded
from teamscall.calls.records import (
    CallClosed,
    CallCounters,
    CallOpened,
    CallRecord,
    EndedBy,
    EngineTrouble,
    GateChanged,
    Heard,
    Interrupted,
    ParticipantsSeen,
    Pressed,
    Said,
    TurnBegan,
    TurnEnded,
    TurnKind,
    TurnStatus,
)
from teamscall.calls.settings import CallSettings
from teamscall.calls.turns import Turn
from teamscall.engines import base as engine
from teamscall.wire import events as wire

Phase = Literal["ringing", "live", "goodbye", "over"]

ENGINE_READY_S = 10.0  # opening a session takes a vendor seconds at worst; then it is broken


class Setup(msgspec.Struct, frozen=True):
    """What is known when a call starts."""

    call_id: str
    dialect: wire.Dialect
    direction: wire.Direction
    caller: wire.Caller
    address: str
    lead_ms: int
    engine_name: str
    turn_taking: engine.TurnTaking
    wall_ms: int  # epoch milliseconds at the start
    recording: wire.RecordingStatus | None = None
    opening: str = ""  # outbound: what to say once it is answered
    notify: bool = False  # outbound: hang up once the opening has been heard


# --- what the shell tells us besides the wire's and the engine's events ---------------


class TimePassed(msgspec.Struct, frozen=True):
    """The instant of ``next_deadline`` has come."""


class LinkLost(msgspec.Struct, frozen=True):
    """The socket is gone; the call may be resumed (C# only)."""


class LinkResumed(msgspec.Struct, frozen=True):
    """The call goes on, on another socket. The gateway has our frames up to this one."""

    last_received_seq: int


class EndRequested(msgspec.Struct, frozen=True):
    """Somebody wants the call to end; ``goodbye`` is spoken first when not empty."""

    reason: str
    by: EndedBy
    goodbye: str = ""
    detail: str = ""
    tell: bool = True  # whether the far side has to be told


class MessageSeen(msgspec.Struct, frozen=True):
    """A message of this call that needs nothing but keeps it from being idle."""


class Finish(msgspec.Struct, frozen=True):
    """The call is over: let go of everything."""

    reason: str
    by: EndedBy


Command = wire.ToGateway | engine.EngineCommand | CallRecord | Finish

_FAR_FUTURE = float("inf")


class Conversation:
    """See the module. ``open`` first, then ``on`` for every event."""

    def __init__(self, setup: Setup, settings: CallSettings, now: float) -> None:
        self.setup = setup
        self.settings = settings
        self.phase: Phase = "live"
        self.gate_status = setup.recording
        self._began = now
        self._out: list[Command] = []
        self._pacer = Pacer(setup.lead_ms)
        self._resamplers: dict[int, tuple[int, Resampler]] = {}  # by turn: its rate, its state
        self._listening = Listening(
            local=setup.turn_taking == "local",
            silence_ms=settings.silence_ms,
            burst_frames=limits.AUDIO_BURST_FRAMES,
            rate_fps=limits.AUDIO_RATE_FPS,
        )
        self._engine_ready = False
        self._kept: collections.deque[engine.EngineCommand] = collections.deque(
            maxlen=limits.KEPT_FRAMES
        )
        self._turns: dict[int, Turn] = {}  # begun and not over, in order
        self._turn_number = 0
        self._awaited: dict[int, float] = {}  # committed utterance -> transcript deadline
        self._ended_speech: dict[int, tuple[float, float]] = {}  # utterance -> (last voiced, stop)
        self._seq = 0
        self._sent: collections.deque[wire.AudioOut] = collections.deque(
            maxlen=limits.RESEND_FRAMES if setup.dialect == "csharp" else 0
        )
        self._resend: collections.deque[wire.AudioOut] = collections.deque()
        self._resend_next = 0.0
        self._lost_until = _FAR_FUTURE
        self._ready_by = now + ENGINE_READY_S
        self._idle_at = now + settings.idle_timeout_s
        self._limit_at = now + settings.max_duration_s
        self._ring_until = _FAR_FUTURE
        self._goodbye_by = _FAR_FUTURE
        self._ending: EndRequested | None = None
        self._emotion: wire.Emotion = "neutral"
        self._gated = self._early = self._frames_in = self._frames_out = 0
        self._turn_count = self._interruptions = 0

    # --- the two faces -----------------------------------------------------------

    def open(self, now: float) -> list[Command]:
        """The first commands: the opening record, the greeting."""
        s = self.setup
        self._out = []
        self._record(
            CallOpened(
                s.call_id,
                self._wall(now),
                s.dialect,
                s.direction,
                s.caller,
                s.address,
                s.engine_name,
            )
        )
        if self.settings.recording_required:
            self._record(GateChanged(s.call_id, self._wall(now), self.gate_open, self.gate_status))
        if s.direction == "outbound" and s.dialect == "standin" and self.gate_status != "active":
            # On an outbound StandIn leg, an active recording is the only sign of an answer.
            self.phase = "ringing"
            self._ring_until = now + self.settings.ring_timeout_s
        else:
            self._greet(now)
        self._pump(now)
        return self._out

    def on(self, event: Any, now: float) -> list[Command]:
        """Take one event at monotonic ``now``; return what has to be done, in order."""
        self._out = []
        if self.phase == "over":
            return self._out
        reaction = _REACTIONS.get(type(event))
        if reaction is not None:
            reaction(self, event, now)
        if not self._is_over:
            self._pump(now)
        return self._out

    def next_deadline(self) -> float | None:
        """When ``TimePassed`` is due; None after the end."""
        if self.phase == "over":
            return None
        moments = [
            self._lost_until,
            self._limit_at,
            self._ring_until,
            self._goodbye_by,
            self._resend_next if self._resend else _FAR_FUTURE,
        ]
        if not self._engine_ready:
            moments.append(self._ready_by)
        if self.phase != "ringing":
            moments.append(self._idle_at)
        if (pacing := self._pacer.next_deadline()) is not None:
            moments.append(pacing)
        moments.extend(self._awaited.values())
        moments.extend(
            turn.began + self.settings.response_timeout_s
            for turn in self._turns.values()
            if turn.first_audio is None and not turn.complete
        )
        return min(moments)

    # --- small facts -----------------------------------------------------------

    @property
    def gate_open(self) -> bool:
        return not self.settings.recording_required or self.gate_status == "active"

    @property
    def counters(self) -> CallCounters:
        heard = self._listening
        return CallCounters(
            frames_in=self._frames_in,
            frames_out=self._frames_out,
            dropped_in=heard.dropped + self._early,
            gated_in=self._gated,
            silence_in=heard.silence_frames,
            underruns=self._pacer.underruns,
            turns=self._turn_count,
            interruptions=self._interruptions,
        )

    @property
    def _is_over(self) -> bool:
        return self.phase == "over"

    def _wall(self, now: float) -> int:
        return self.setup.wall_ms + round((now - self._began) * 1000)

    def _record(self, record: CallRecord) -> None:
        self._out.append(record)

    def _tell_engine(self, command: engine.EngineCommand) -> None:
        """Send, or keep until the engine is up; kept audio is bounded, oldest dropped first."""
        if self._engine_ready:
            self._out.append(command)
            return
        if len(self._kept) == self._kept.maxlen:
            oldest = next((c for c in self._kept if type(c) is engine.Hear), None)
            if oldest is not None:
                self._kept.remove(oldest)
        self._kept.append(command)

    # --- turns -----------------------------------------------------------

    def _begin(self, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        self._turn_number += 1
        turn = Turn(self._turn_number, kind, now, interruptible=interruptible)
        self._turns[turn.number] = turn
        self._turn_count += 1
        self._record(TurnBegan(self.setup.call_id, self._wall(now), turn.number, kind))
        return turn

    def _say(self, text: str, kind: TurnKind, now: float, *, interruptible: bool = True) -> Turn:
        self._release_answer(now)
        turn = self._begin(kind, now, interruptible=interruptible)
        # Not kept for the engine: the shell may have it in the phrase cache.
        self._out.append(engine.Say(turn.number, text))
        return turn

    def _greet(self, now: float) -> None:
        outbound = self.setup.direction == "outbound"
        text = self.setup.opening if outbound else self.settings.greeting
        if text:
            turn = self._say(
                text, "greeting", now, interruptible=self.settings.greeting_interruptible
            )
            turn.end_call = outbound and self.setup.notify
        elif outbound and self.setup.notify:
            self._end(EndRequested("hangup-bot", "bot"), now)

    def _over_turn(self, turn: Turn, status: TurnStatus, played: Played, now: float) -> None:
        self._turns.pop(turn.number, None)
        self._resamplers.pop(turn.number, None)
        heard = turn.said_text if status == "completed" else played.heard_text
        self._record(
            TurnEnded(
                self.setup.call_id,
                self._wall(now),
                turn.number,
                turn.kind,
                status,
                turn.said_text or played.said_text,
                heard,
                played.sent_ms,
                played.heard_ms,
                turn.latency(),
            )
        )

    def _cancel_unheard(self, now: float) -> None:
        """The caller went on before the answer began: throw it away unheard."""
        for turn in list(self._turns.values()):
            if turn.kind == "answer" and not self._pacer.turn_sent_anything(turn.number):
                self._tell_engine(engine.CancelAnswer(turn.number))
                self._tell_engine(engine.TruncateAnswer(turn.number, 0, ""))
                self._pacer.drop(turn.number)
                self._over_turn(turn, "cancelled", Played(turn.number), now)

    def _interrupt(
        self, by: Literal["caller", "say", "operator", "gate"], onset: float, now: float
    ) -> None:
        """Flush here, at the gateway and at the engine, and say what was heard."""
        if not self._turns and not self._resend:
            if self.setup.turn_taking == "none":
                self._pacer.flush(now)
            return
        speaking = self._pacer.speaking(now)
        played = {line.turn: line for line in self._pacer.flush(now)}
        self._resend.clear()
        current = max(self._turns, default=0)
        self._out.append(wire.Flush(self.setup.call_id, speaking or current, self._wall(now)))
        for turn in list(self._turns.values()):
            line = played.get(turn.number, Played(turn.number))
            if not turn.complete:
                self._tell_engine(engine.CancelAnswer(turn.number))
            self._tell_engine(engine.TruncateAnswer(turn.number, line.heard_ms, line.heard_text))
            status: TurnStatus = "interrupted" if line.sent_ms else "cancelled"
            if status == "interrupted":
                self._interruptions += 1
                self._record(
                    Interrupted(
                        self.setup.call_id,
                        self._wall(now),
                        turn.number,
                        by,
                        line.heard_ms,
                        round((now - onset) * 1000, 1),
                    )
                )
            self._over_turn(turn, status, line, now)
        self._express("neutral")

    def _express(self, emotion: wire.Emotion) -> None:
        if emotion != self._emotion:
            self._emotion = emotion
            self._out.append(wire.Express(self.setup.call_id, emotion))

    # --- the caller's side -----------------------------------------------------------

    def _on_audio(self, event: wire.AudioIn, now: float) -> None:
        self._touch(now)
        if not self.gate_open:
            self._gated += 1
            return
        if self.phase != "live":
            self._early += 1
            return
        self._frames_in += 1
        for frame in self._listening.frames(event.seq, event.pcm, now):
            self._tell_engine(engine.Hear(frame))
            if (speech := self._listening.speech(frame, now)) is not None:
                self._on_speech(speech, now)
        self._consider_barge_in(now)

    def _on_speech(self, speech: SpeechBegan | SpeechEnded, now: float) -> None:
        if isinstance(speech, SpeechBegan):
            self._tell_engine(engine.BeginUtterance(speech.utterance))
            self._hold_unheard_answer(now)
        else:
            self._tell_engine(engine.CommitUtterance(speech.utterance))
            self._await_transcript(speech.utterance, speech.last_voiced, now)

    def _hold_unheard_answer(self, now: float) -> None:
        """An answer that has not begun waits for what the caller is saying now."""
        if self._pacer.speaking(now) is None and self._lost_until == _FAR_FUTURE:
            self._pacer.pause(now)

    def _release_answer(self, now: float) -> None:
        if self._lost_until == _FAR_FUTURE and not self._resend:
            self._pacer.resume(now)

    def _await_transcript(self, utterance: int, last_voiced: float, now: float) -> None:
        self._awaited[utterance] = now + limits.TRANSCRIPT_DEADLINE_S
        self._ended_speech[utterance] = (last_voiced, now)

    def _consider_barge_in(self, now: float) -> None:
        heard = self._listening
        if (
            not self.settings.barge_in
            or heard.onset is None
            or heard.voiced_ms < self.settings.barge_in_min_speech_ms
        ):
            return
        speaking = self._pacer.speaking(now)
        if speaking is None:
            return
        turn = self._turns.get(speaking)
        if turn is None or turn.interruptible:
            self._interrupt("caller", heard.onset, now)

    def _on_transcript(self, event: engine.Transcript, now: float) -> None:
        if event.final:
            self._awaited.pop(event.utterance, None)
        if not self.gate_open or self.phase != "live":
            return
        text = event.text.strip()
        if text:
            self._record(
                Heard(self.setup.call_id, self._wall(now), event.utterance, text, event.final)
            )
        if not event.final:
            return
        last_voiced, stopped = self._ended_speech.pop(event.utterance, (now, now))
        if text:
            self._cancel_unheard(now)
            turn = self._begin("answer", now)
            turn.speech_ended, turn.endpointed, turn.transcribed = last_voiced, stopped, now
            self._tell_engine(engine.Respond(turn.number, text))
            self._express("thinking")
        if not self._listening.in_speech:
            self._release_answer(now)

    def _on_engine_speech(
        self, event: engine.SpeechStarted | engine.SpeechStopped, now: float
    ) -> None:
        """``engine`` turn taking: the vendor's own voice activity."""
        if isinstance(event, engine.SpeechStopped):
            self._await_transcript(event.utterance, now, now)
        elif self.settings.barge_in and (speaking := self._pacer.speaking(now)) is not None:
            turn = self._turns.get(speaking)
            if turn is None or turn.interruptible:
                self._interrupt("caller", now, now)

    def _on_digit(self, event: wire.DigitPressed, now: float) -> None:
        self._touch(now)
        if self.phase != "live":
            return
        self._record(Pressed(self.setup.call_id, self._wall(now), event.digit))
        if self.setup.turn_taking == "none":
            return
        if self._may_interrupt():
            self._interrupt("caller", now, now)
        turn = self._begin("digit", now)
        self._tell_engine(engine.PressDigit(turn.number, event.digit))

    def _may_interrupt(self) -> bool:
        return bool(self._turns) and all(turn.interruptible for turn in self._turns.values())

    def _on_recording(self, event: wire.RecordingChanged, now: float) -> None:
        self._touch(now)
        was_open = self.gate_open
        self.gate_status = event.status
        if self.settings.recording_required and self.gate_open != was_open:
            self._record(
                GateChanged(self.setup.call_id, self._wall(now), self.gate_open, event.status)
            )
        if was_open and not self.gate_open:
            # What was captured and not yet turned into words must not become words.
            self._kept = collections.deque(
                (c for c in self._kept if type(c) is not engine.Hear), maxlen=self._kept.maxlen
            )
            self._tell_engine(engine.DiscardHeard())
            self._listening.reset()
            self._awaited.clear()
            self._ended_speech.clear()
            self._release_answer(now)
        if self.phase == "ringing" and event.status == "active":
            self.phase = "live"
            self._ring_until = _FAR_FUTURE
            self._limit_at = now + self.settings.max_duration_s
            self._greet(now)

    def _on_participants(self, event: wire.ParticipantsChanged, now: float) -> None:
        self._touch(now)
        self._record(ParticipantsSeen(self.setup.call_id, self._wall(now), event.count))

    def _on_video(self, event: wire.VideoIn, now: float) -> None:
        # The pictures go nowhere yet: no engine here sees. The gate counts them all the same.
        self._touch(now)
        if not self.gate_open:
            self._gated += 1

    def _on_say(self, event: wire.SayRequested, now: float) -> None:
        self._touch(now)
        if self.phase == "live":
            self._interrupt("say", now, now)
            self._say(event.text, "say", now)

    def _on_ended(self, event: wire.CallEnded, now: float) -> None:
        self._end(EndRequested(event.reason or "ended", "caller", tell=False), now)

    def _touch(self, now: float) -> None:
        self._idle_at = now + self.settings.idle_timeout_s

    def _on_message_seen(self, event: MessageSeen, now: float) -> None:
        self._touch(now)

    # --- the engine's side -----------------------------------------------------------

    def _on_ready(self, event: engine.EngineReady, now: float) -> None:
        if self._engine_ready:
            return
        self._engine_ready = True
        self._out.extend(self._kept)
        self._kept.clear()

    def _on_answer_text(self, event: engine.AnswerText, now: float) -> None:
        turn = self._turns.get(event.turn)
        if turn is None or not event.delta:
            return
        if turn.first_text is None:
            turn.first_text = now
        turn.said.append(event.delta)
        self._record(Said(self.setup.call_id, self._wall(now), turn.number, event.delta))

    def _on_answer_audio(self, event: engine.AnswerAudio, now: float) -> None:
        turn = self._turns.get(event.turn)
        if turn is None and self.setup.turn_taking != "none":
            return  # flushed, cancelled or over
        if turn is not None and turn.first_audio is None:
            turn.first_audio = now
            self._express("neutral")
        rate, resampler = self._resamplers.get(event.turn, (0, None))
        if resampler is None or rate != event.rate:
            resampler = Resampler(event.rate, wire.SAMPLE_RATE)
            self._resamplers[event.turn] = event.rate, resampler
        self._pacer.push(event.turn, resampler.push(event.pcm), event.text)

    def _on_answer_done(self, event: engine.AnswerDone, now: float) -> None:
        turn = self._turns.get(event.turn)
        if turn is None:
            return
        turn.complete = True
        turn.end_call = turn.end_call or event.end_call
        turn.failed = event.status == "failed"
        if event.turn in self._resamplers:
            _, resampler = self._resamplers.pop(event.turn)
            self._pacer.push(event.turn, resampler.flush())
        self._pacer.finish(event.turn)
        if turn.failed:
            self._trouble("speak" if turn.first_audio else "think", event.error, False, now)
            if turn.first_audio is None and turn.kind == "answer":
                self._give_up(turn, now)

    def _give_up(self, turn: Turn, now: float) -> None:
        """The engine could not answer: say so instead of falling silent."""
        self._pacer.drop(turn.number)
        self._over_turn(turn, "failed", Played(turn.number), now)
        self._say(limits.RETRY_PHRASE, "say", now)

    def _on_degraded(self, event: engine.EngineDegraded, now: float) -> None:
        self._trouble(event.stage, event.detail, False, now)

    def _on_failed(self, event: engine.EngineFailed, now: float) -> None:
        self._trouble(event.stage, event.detail, event.fatal, now)
        if event.fatal:
            self._end(
                EndRequested(
                    "agent-unavailable", "engine", self.settings.goodbyes.apology, event.detail
                ),
                now,
            )

    def _trouble(self, stage: str, detail: str, fatal: bool, now: float) -> None:
        self._record(EngineTrouble(self.setup.call_id, self._wall(now), stage, detail, fatal))

    # --- link and end -----------------------------------------------------------

    def _on_link_lost(self, event: LinkLost, now: float) -> None:
        self._pacer.pause(now)
        self._resend.clear()
        self._lost_until = now + self.settings.resume_grace_s

    def _on_link_resumed(self, event: LinkResumed, now: float) -> None:
        self._lost_until = _FAR_FUTURE
        self._touch(now)
        self._resend.extend(f for f in self._sent if f.seq > event.last_received_seq)
        self._resend_next = now
        if not self._resend:
            self._pacer.resume(now)

    def _end(self, request: EndRequested, now: float) -> None:
        """End, after a goodbye where one is wanted. The first reason wins."""
        if self._is_over or (self._ending is not None and request.goodbye):
            return
        reachable = self._lost_until == _FAR_FUTURE and self.phase == "live"
        if request.goodbye and reachable and self._ending is None:
            self._ending = request
            self.phase = "goodbye"
            self._goodbye_by = now + self.settings.goodbyes.deadline_s
            self._listening.reset()
            self._interrupt("operator", now, now)
            self._pacer.resume(now)
            turn = self._say(request.goodbye, "goodbye", now, interruptible=False)
            turn.end_call = True
            return
        self._finish(self._ending or request, request.tell, now)

    def _finish(self, request: EndRequested, tell: bool, now: float) -> None:
        s = self.setup
        for turn in list(self._turns.values()):
            played = self._pacer.played(turn.number, now)
            if not turn.complete:
                self._out.append(engine.CancelAnswer(turn.number))
            self._over_turn(turn, "interrupted" if played.sent_ms else "cancelled", played, now)
        self._pacer.flush(now)
        self._resend.clear()
        if tell:
            self._out.append(wire.HangUp(s.call_id, request.reason))
        self.phase = "over"
        self._record(
            CallClosed(
                s.call_id,
                self._wall(now),
                request.reason,
                request.by,
                round((now - self._began) * 1000),
                self.counters,
                request.detail,
            )
        )
        self._out.append(Finish(request.reason, request.by))

    # --- time -----------------------------------------------------------

    def _pump(self, now: float) -> None:
        """Send what is due, close what has been heard, look at every deadline."""
        self._send_again(now)
        for frame in self._pacer.due(now):
            turn = self._turns.get(frame.turn)
            if turn is not None and turn.first_frame is None:
                turn.first_frame = now
            self._send_frame(frame.pcm)
        for line in self._pacer.done(now):
            turn = self._turns.get(line.turn)
            if turn is None:
                continue
            self._over_turn(turn, "failed" if turn.failed else "completed", line, now)
            if turn.end_call:
                reason = self._ending or EndRequested("hangup-bot", "bot")
                self._finish(reason, reason.tell, now)
                return
        self._check_deadlines(now)

    def _send_frame(self, pcm: bytes) -> None:
        out = wire.AudioOut(self.setup.call_id, self._seq, pcm, self._seq * wire.FRAME_MS)
        self._seq += 1
        self._frames_out += 1
        self._sent.append(out)
        self._out.append(out)

    def _send_again(self, now: float) -> None:
        """After a resume: what the gateway did not get, in real time, before anything new."""
        while self._resend and self._resend_next <= now:
            self._out.append(self._resend.popleft())
            self._resend_next += wire.FRAME_MS / 1000
            if not self._resend:
                self._pacer.resume(now)

    def _check_deadlines(self, now: float) -> None:
        if self._lost_until <= now:
            self._end(EndRequested("connection-lost", "gateway", tell=False), now)
        elif self._ring_until <= now:
            self._end(EndRequested("no-answer", "bridge"), now)
        elif self._goodbye_by <= now and self._ending is not None:
            self._finish(self._ending, self._ending.tell, now)
        elif self._idle_at <= now and self.phase != "ringing":
            self._end(EndRequested("idle-timeout", "bridge"), now)
        elif self._limit_at <= now:
            self._limit_at = _FAR_FUTURE
            text = self.settings.goodbyes.time_limit
            self._end(EndRequested("time-limit", "bridge", text), now)
        elif self._ready_by <= now and not self._engine_ready:
            self._ready_by = _FAR_FUTURE
            late = engine.EngineFailed("session", "the engine did not get ready in time", True)
            self._on_failed(late, now)
        if not self._is_over:
            self._check_engine_deadlines(now)

    def _check_engine_deadlines(self, now: float) -> None:
        for utterance, deadline in list(self._awaited.items()):
            if deadline <= now:
                self._trouble("hear", "the final transcript did not come in time", False, now)
                self._on_transcript(engine.Transcript(utterance, "", True), now)
        for turn in list(self._turns.values()):
            waiting = turn.first_audio is None and not turn.complete
            if waiting and turn.began + self.settings.response_timeout_s <= now:
                self._tell_engine(engine.CancelAnswer(turn.number))
                self._trouble("think", "no answer within response_timeout_ms", False, now)
                if turn.kind == "answer":
                    self._give_up(turn, now)
                else:
                    self._pacer.drop(turn.number)
                    self._over_turn(turn, "failed", Played(turn.number), now)


_REACTIONS: dict[type, Callable[[Conversation, Any, float], None]] = {
    wire.AudioIn: Conversation._on_audio,
    wire.CallEnded: Conversation._on_ended,
    wire.RecordingChanged: Conversation._on_recording,
    wire.ParticipantsChanged: Conversation._on_participants,
    wire.VideoIn: Conversation._on_video,
    wire.DigitPressed: Conversation._on_digit,
    wire.SayRequested: Conversation._on_say,
    engine.EngineReady: Conversation._on_ready,
    engine.SpeechStarted: Conversation._on_engine_speech,
    engine.SpeechStopped: Conversation._on_engine_speech,
    engine.Transcript: Conversation._on_transcript,
    engine.AnswerText: Conversation._on_answer_text,
    engine.AnswerAudio: Conversation._on_answer_audio,
    engine.AnswerDone: Conversation._on_answer_done,
    engine.EngineDegraded: Conversation._on_degraded,
    engine.EngineFailed: Conversation._on_failed,
    MessageSeen: Conversation._on_message_seen,
    LinkLost: Conversation._on_link_lost,
    LinkResumed: Conversation._on_link_resumed,
    EndRequested: Conversation._end,
}
