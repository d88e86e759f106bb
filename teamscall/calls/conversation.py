"""The conversation of one call: a pure state machine, ``on(event, now) -> commands``.

Owns the phases of a call, turn taking, barge-in, the recording gate and its one end. What
the bot says is in ``speaking``, how it leaves in ``playout``. Refuses to know sockets,
clocks, tasks, vendors and the terminal: what it wants done it returns.

Rules:

1. The first reason to end wins; after ``Finish`` nothing more is returned.
2. While the gate is closed nothing of the caller's media goes further than this file, and
   what was captured before and is not yet words never becomes words.
3. Audio of a turn that was flushed or cancelled never leaves (the pacer's epoch).
4. Every wait on somebody else has a deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from teamscall.calls import settings as limits
from teamscall.calls.deadair import DeadAir
from teamscall.calls.events import (
    Command,
    EndRequested,
    Finish,
    LinkLost,
    LinkResumed,
    MessageSeen,
    Phase,
    Setup,
    SpeakRequested,
)
from teamscall.calls.floor import Floor
from teamscall.calls.orders import Orders
from teamscall.calls.playout import FAR_FUTURE
from teamscall.calls.records import (
    CallAnswered,
    CallClosed,
    CallCounters,
    CallOpened,
    GateChanged,
    ParticipantsSeen,
    Pressed,
    RecordingSeen,
)
from teamscall.calls.settings import CallSettings
from teamscall.calls.speaking import Speaking
from teamscall.engines import base as engine
from teamscall.wire import events as wire


class Conversation:
    """See the module. ``open`` first, then ``on`` for every event."""

    def __init__(self, setup: Setup, settings: CallSettings, now: float) -> None:
        self.setup = setup
        self.settings = settings
        self.phase: Phase = "live"
        self.gate_status = setup.recording
        self._began = now
        self._orders = Orders(setup, now)
        self._speaking = Speaking(setup, settings, self._orders, now)
        self._floor = Floor(setup, settings, self._speaking, self._orders, now)
        self._speaking.playout.on_sent = self._floor.sent
        self._speaking.playout.on_flushed = self._floor.flushed
        self._dead_air = DeadAir(settings.silence, now)
        self._lost_until = FAR_FUTURE
        self._ready_by = now + limits.ENGINE_READY_S
        self._idle_at = now + settings.idle_timeout_s
        self._limit_at = now + settings.max_duration_s
        self._ring_until = FAR_FUTURE
        self._goodbye_by = FAR_FUTURE
        self._ending: EndRequested | None = None
        self._after_speech: EndRequested | None = None
        self._last_turns: frozenset[int] = frozenset()  # those that it waits for
        self._participants: int | None = None
        self._gated = self._early = 0

    # --- the two faces -----------------------------------------------------------

    def open(self, now: float) -> list[Command]:
        """The first commands: the opening record, the greeting."""
        s, wall = self.setup, self._orders.wall(now)
        self._orders.add(
            CallOpened(s.call_id, wall, s.dialect, s.direction, s.caller, s.address, s.engine_name)
        )
        if s.recording is not None:
            self._orders.add(RecordingSeen(s.call_id, wall, s.recording, 0))
        if self.settings.recording_required:
            self._orders.add(GateChanged(s.call_id, wall, self.gate_open, self.gate_status))
        if s.direction == "outbound" and s.dialect == "standin" and self.gate_status != "active":
            # On an outbound StandIn leg, an active recording is the only sign of an answer.
            self.phase = "ringing"
            self._ring_until = now + self.settings.ring_timeout_s
        else:
            self._begin(now)
        self._advance(now)
        return self._orders.take()

    def on(self, event: Any, now: float) -> list[Command]:
        """Take one event at monotonic ``now``; return what has to be done, in order."""
        if self.phase == "over":
            return []
        reaction = _REACTIONS.get(type(event))
        if reaction is not None:
            reaction(self, event, now)
        self._advance(now)
        return self._orders.take()

    def next_deadline(self) -> float | None:
        """When ``TimePassed`` is due; None after the end."""
        if self.phase == "over":
            return None
        earliest = min(
            self._speaking.next_deadline(),
            self._idle_deadline(),
            self._limit_at,
            self._lost_until,
            self._ring_until,
            self._goodbye_by,
            self._ready_by,
        )
        if self.phase == "live":
            earliest = min(earliest, self._floor.next_deadline(), self._dead_air.next_deadline())
        return earliest

    # --- small facts -----------------------------------------------------------

    @property
    def gate_open(self) -> bool:
        return not self.settings.recording_required or self.gate_status == "active"

    @property
    def listens(self) -> bool:
        return self.gate_open and self.phase == "live"

    @property
    def unsaid(self) -> int:
        """How many of the operator's messages wait for others to be said."""
        return self._speaking.waiting

    @property
    def engine_is_ready(self) -> bool:
        return self._orders.engine_ready

    @property
    def counters(self) -> CallCounters:
        floor, speaking = self._floor, self._speaking
        return CallCounters(
            frames_in=floor.frames_in,
            frames_out=speaking.playout.frames,
            dropped_in=floor.dropped + self._early + self._orders.dropped,
            gated_in=self._gated,
            silence_in=floor.silence_frames,
            underruns=speaking.playout.underruns,
            turns=speaking.count,
            interruptions=speaking.interruption.count,
            carried_on=speaking.interruption.carried_on,
            speculated=speaking.speculated,
            thrown_away=speaking.thrown_away,
        )

    def _idle_deadline(self) -> float:
        return FAR_FUTURE if self.phase == "ringing" else self._idle_at

    def _touch(self, now: float) -> None:
        self._idle_at = now + self.settings.idle_timeout_s

    def _begin(self, now: float) -> None:
        """Somebody listens."""
        if self.setup.direction == "outbound":
            self._orders.add(CallAnswered(self.setup.call_id, self._orders.wall(now)))
        self._greet(now)

    def _greet(self, now: float) -> None:
        outbound = self.setup.direction == "outbound"
        notify = outbound and self.setup.notify
        text = self.setup.opening if outbound else self.settings.greeting
        if text:
            free = self.settings.greeting_interruptible
            turn = self._speaking.say(text, "greeting", now, interruptible=free)
            turn.end_call = notify
        elif notify:
            self._end(EndRequested("hangup-bot", "bot"), now)

    # --- the caller's audio -----------------------------------------------------------

    def _on_audio(self, event: wire.AudioIn, now: float) -> None:
        self._touch(now)
        if not self.gate_open:
            self._gated += 1
            return
        if self.phase != "live":
            self._early += 1
            return
        self._floor.on_audio(event, now)

    def _on_engine_speech(
        self, event: engine.SpeechStarted | engine.SpeechStopped, now: float
    ) -> None:
        if self.listens:
            self._floor.on_engine_speech(event, now)

    def _on_transcript(self, event: engine.Transcript, now: float) -> None:
        if self.listens:
            self._floor.on_transcript(event, now)

    # --- the recording gate -----------------------------------------------------------

    def _on_recording(self, event: wire.RecordingChanged, now: float) -> None:
        self._touch(now)
        was_open, was = self.gate_open, self.gate_status
        self.gate_status = event.status
        wall = self._orders.wall(now)
        if event.status != was:
            begun = self._floor.utterance_begun
            self._orders.add(RecordingSeen(self.setup.call_id, wall, event.status, begun))
        if self.gate_open != was_open:
            self._orders.add(GateChanged(self.setup.call_id, wall, self.gate_open, event.status))
            if was_open:
                self._floor.discard(now)
        if self.phase == "ringing" and event.status == "active":
            self.phase = "live"
            self._ring_until = FAR_FUTURE
            self._limit_at = now + self.settings.max_duration_s
            self._begin(now)

    # --- what else the far side says -----------------------------------------------------------

    def _on_digit(self, event: wire.DigitPressed, now: float) -> None:
        self._touch(now)
        if self.phase != "live":
            return
        self._orders.add(Pressed(self.setup.call_id, self._orders.wall(now), event.digit))
        if self.setup.turn_taking != "none":
            self._speaking.press(event.digit, now)
            self._dead_air.heard(now)

    def _on_participants(self, event: wire.ParticipantsChanged, now: float) -> None:
        self._touch(now)
        self._participants = event.count
        wall = self._orders.wall(now)
        self._orders.add(ParticipantsSeen(self.setup.call_id, wall, event.count))

    def _on_video(self, event: wire.VideoIn, now: float) -> None:
        # The pictures go nowhere yet: no engine here sees. The gate counts them all the same.
        self._touch(now)
        if not self.gate_open:
            self._gated += 1

    def _on_say(self, event: wire.SayRequested, now: float) -> None:
        self._touch(now)
        if self.phase == "live":
            self._speaking.retract(now)
            self._speaking.interruption.interrupt("say", now, now)
            self._speaking.say(event.text, "say", now)

    def _on_speak(self, event: SpeakRequested, now: float) -> None:
        if self.phase != "live":
            return
        if not self._speaking.saying_what_was_asked:
            self._speaking.retract(now)
            self._speaking.interruption.interrupt("operator", now, now)
        self._speaking.say_in_turn(event.text, now)

    def _on_ended(self, event: wire.CallEnded, now: float) -> None:
        self._end(EndRequested(event.reason or "ended", "caller", tell=False), now)

    def _on_message_seen(self, event: MessageSeen, now: float) -> None:
        self._touch(now)

    # --- the engine -----------------------------------------------------------

    def _on_ready(self, event: engine.EngineReady | engine.EngineSwitched, now: float) -> None:
        self._ready_by = FAR_FUTURE
        self._floor.on_ready(event, now)
        self._orders.engine_is_up()
        if isinstance(event, engine.EngineSwitched):
            self._speaking.trouble("session", f"{event.name} took over: {event.detail}", now)

    def _on_answer_began(self, event: engine.AnswerBegan, now: float) -> None:
        if self.listens:
            self._floor.on_answer_began(now)

    def _on_answer_text(self, event: engine.AnswerText, now: float) -> None:
        self._speaking.on_text(event, now)

    def _on_answer_audio(self, event: engine.AnswerAudio, now: float) -> None:
        self._speaking.on_audio(event, now)

    def _on_answer_done(self, event: engine.AnswerDone, now: float) -> None:
        self._speaking.on_done(event, now)

    def _on_usage(self, event: engine.EngineUsage, now: float) -> None:
        self._speaking.on_usage(event)

    def _on_degraded(self, event: engine.EngineDegraded, now: float) -> None:
        self._speaking.trouble(event.stage, event.detail, now)

    def _on_failed(self, event: engine.EngineFailed, now: float) -> None:
        if event.fatal and self._ending is not None and self._ending.by == "engine":
            return  # the same failure, reported by another stage
        self._speaking.trouble(event.stage, event.detail, now, fatal=event.fatal)
        if event.stage == "hear":
            self._floor.on_hearing_failed()
            self._excuse_unheard(now)
        if event.fatal:
            self._ready_by = FAR_FUTURE
            apology = self.settings.goodbyes.apology
            self._end(EndRequested("agent-unavailable", "engine", apology, event.detail), now)

    def _excuse_unheard(self, now: float) -> None:
        """Ask for what the engine missed altogether: no transcript will say that it did."""
        floor, speaking = self._floor, self._speaking
        unanswered = speaking.resting and floor.last_voice > speaking.rested_at
        if self.listens and unanswered and not (floor.waiting or floor.caller_speaks):
            speaking.excuse(now)

    # --- the link -----------------------------------------------------------

    def _on_link_lost(self, event: LinkLost, now: float) -> None:
        self._speaking.playout.lose(now)
        self._lost_until = now + self.settings.resume_grace_s

    def _on_link_resumed(self, event: LinkResumed, now: float) -> None:
        self._touch(now)
        self._lost_until = FAR_FUTURE
        self._speaking.playout.regain(event.last_received_seq, now)

    # --- the end -----------------------------------------------------------

    def _end(self, request: EndRequested, now: float) -> None:
        """End, after a goodbye where one is wanted. The first reason wins."""
        if request.after_speech and self.phase == "live" and not self._speaking.resting:
            if self._after_speech is None:
                self._after_speech, self._last_turns = request, self._speaking.numbers
            return
        if self._ending is not None and request.goodbye:
            return  # one goodbye is being said already
        reachable = self.phase == "live" and not self._speaking.playout.lost
        if not (request.goodbye and reachable):
            self._finish(self._ending or request, request.tell, now)
            return
        self._ending = request
        self.phase = "goodbye"
        self._goodbye_by = now + self.settings.goodbyes.deadline_s
        self._floor.stop()
        self._speaking.retract(now)
        self._speaking.interruption.interrupt("operator", now, now)
        turn = self._speaking.say(request.goodbye, "goodbye", now, interruptible=False)
        turn.end_call = True

    def _finish(self, request: EndRequested, tell: bool, now: float) -> None:
        s = self.setup
        self._speaking.stop(now)
        if tell:
            self._orders.add(wire.HangUp(s.call_id, request.reason))
        self.phase = "over"
        self._orders.add(
            CallClosed(
                s.call_id,
                self._orders.wall(now),
                request.reason,
                request.by,
                round((now - self._began) * 1000),
                self.counters,
                request.detail,
                self._speaking.spending.totals(),
            )
        )
        self._orders.add(Finish(request.reason, request.by))

    # --- time -----------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Send what is due, close what has been heard, look at every deadline."""
        if self.phase == "over":
            return
        if self._speaking.advance(now):
            request = self._ending or EndRequested("hangup-bot", "bot")
            self._finish(request, request.tell, now)
            return
        last = self._after_speech
        said = self._last_turns.isdisjoint(self._speaking.numbers)
        if last is not None and said and self._ending is None:
            self._finish(last, last.tell, now)
            return
        if self.phase == "live":
            self._floor.advance(now)
            self._mind_silence(now)
        if self._speaking.failing and self._ending is None:
            self._give_up(now)
        self._check_limits(now)

    def _mind_silence(self, now: float) -> None:
        """Nobody says anything: ask, and in the end hang up."""
        speaking, floor = self._speaking, self._floor
        if (
            self.setup.turn_taking == "none"
            or not (self.gate_open and speaking.resting and not floor.waiting)
            or speaking.playout.lost
            or (self._participants or 1) > 1  # people talk to each other, or think
        ):
            self._dead_air.pause()
            return
        due = self._dead_air.advance(floor.last_voice, speaking.rested_at, now)
        silence = self.settings.silence
        if due == "reprompt":
            speaking.say(silence.reprompt, "reprompt", now)
        elif due == "hangup":
            self._end(EndRequested("caller-silent", "bridge", silence.goodbye), now)

    def _give_up(self, now: float) -> None:
        """Answer after answer came to nothing."""
        detail = "answer after answer failed"
        apology = self.settings.goodbyes.apology
        self._end(EndRequested("agent-unavailable", "engine", apology, detail), now)

    def _check_limits(self, now: float) -> None:
        """The deadlines of the call itself; at most one acts, and it never acts twice."""
        if self._lost_until <= now:
            self._end(EndRequested("connection-lost", "gateway", tell=False), now)
        elif self._ring_until <= now:
            self._end(EndRequested("no-answer", "bridge"), now)
        elif self._goodbye_by <= now and self._ending is not None:
            self._finish(self._ending, self._ending.tell, now)
        elif self._idle_deadline() <= now:
            self._end(EndRequested("idle-timeout", "bridge"), now)
        elif self._limit_at <= now:
            self._limit_at = FAR_FUTURE
            if self._ending is None:
                text = self.settings.goodbyes.time_limit
                self._end(EndRequested("time-limit", "bridge", text), now)
        elif self._ready_by <= now:
            late = "the engine did not get ready in time"
            self._on_failed(engine.EngineFailed("session", late, fatal=True), now)


_REACTIONS: dict[type, Callable[[Conversation, Any, float], None]] = {
    wire.AudioIn: Conversation._on_audio,
    wire.CallEnded: Conversation._on_ended,
    wire.RecordingChanged: Conversation._on_recording,
    wire.ParticipantsChanged: Conversation._on_participants,
    wire.VideoIn: Conversation._on_video,
    wire.DigitPressed: Conversation._on_digit,
    wire.SayRequested: Conversation._on_say,
    engine.EngineReady: Conversation._on_ready,
    engine.EngineSwitched: Conversation._on_ready,
    engine.SpeechStarted: Conversation._on_engine_speech,
    engine.SpeechStopped: Conversation._on_engine_speech,
    engine.Transcript: Conversation._on_transcript,
    engine.AnswerBegan: Conversation._on_answer_began,
    engine.AnswerText: Conversation._on_answer_text,
    engine.AnswerAudio: Conversation._on_answer_audio,
    engine.AnswerDone: Conversation._on_answer_done,
    engine.EngineUsage: Conversation._on_usage,
    engine.EngineDegraded: Conversation._on_degraded,
    engine.EngineFailed: Conversation._on_failed,
    SpeakRequested: Conversation._on_speak,
    MessageSeen: Conversation._on_message_seen,
    LinkLost: Conversation._on_link_lost,
    LinkResumed: Conversation._on_link_resumed,
    EndRequested: Conversation._end,
}
