"""One emulated call as a pure state machine: messages and ticks in, messages to send out.

Owns what a gateway says and when, when the call ends and why, and what is measured.
Refuses to know sockets, asyncio and clocks: ``now`` is monotonic seconds, ``wall_ms`` epoch
milliseconds, both arguments. ``call`` runs it.

Rule 1: one frame every 20 ms from the session start to the end, on absolute deadlines:
silence in the pauses, never a burst for lack of time, never a drift.
Rule 2: only what a gateway says is said; nothing unknown is ever answered.
Rule 3: the first reason to end wins. What is buffered may still be heard, for a second.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Literal

from teamscall.emulator import controls as hands
from teamscall.emulator import happenings as seen
from teamscall.emulator.controls import Controls
from teamscall.emulator.cues import Cues
from teamscall.emulator.diary import Diary
from teamscall.emulator.ear import QUIET_DBFS, Ear
from teamscall.emulator.plan import Plan
from teamscall.emulator.report import (
    EXIT_CODES,
    Auth,
    Outcome,
    Report,
    Samples,
    Sent,
)
from teamscall.emulator.sources import SILENCE, Sequence, Source
from teamscall.emulator.tracks import Tracks
from teamscall.text import printable
from teamscall.wire.events import (
    FRAME_MS,
    AudioIn,
    AudioOut,
    AuthAnswer,
    AuthRequested,
    CallEnded,
    CallResumed,
    CallStarted,
    Dropped,
    Express,
    Flush,
    FromGateway,
    HangUp,
    PlaceCall,
    Pong,
    ShowImage,
    SpeechMarks,
    ToGateway,
)

State = Literal["new", "asking", "up", "draining", "over"]

FRAME_S = FRAME_MS / 1000

# After a stall of ours (a suspended laptop) longer than this, time is skipped, not sent.
MAX_BEHIND_S = 5.0

# A gateway rejects an auth_response whose clock is further off.
MAX_AUTH_SKEW_MS = 5_000

# A C# gateway ends the Teams call within this of a hangup; until then, buffered audio plays.
DRAIN_S = 1.0

# A hangup this soon and without a word is a refusal: the C# dialect has no other way to say it.
REFUSED_WITHIN_S = 2.0

LEVELS_FRAMES = 5  # meters move ten times a second

_REFUSALS = frozenset({"not-allowed", "callid-mismatch", "agent-unavailable"})
_CLEAN_CLOSES = frozenset({1000, 1001, 1005})
_POLICY_CLOSE = 1008
_PRIVATE_CLOSES = range(4000, 5000)


class FarSide:
    """One call. Feed it messages and ticks; send what it returns, in order."""

    def __init__(
        self,
        plan: Plan,
        call_id: str,
        url: str,
        source: Source,
        controls: Controls,
        *,
        began: float,
        handshake_ms: float,
        on_event: seen.OnEvent,
        tracks: Tracks | None = None,
        play: Callable[[bytes], None] | None = None,
        diary: Diary | None = None,
    ) -> None:
        self.state: State = "new"
        self.link_up = True
        self.drop_link: hands.DropLink | None = None  # for the shell to carry out
        self.close_code: int | None = None
        self.close_reason = ""
        self._plan = plan
        self._call_id = call_id
        self._url = url
        self._source = Sequence([source])
        self._controls = controls
        self._tracks = tracks
        self._diary = diary or Diary(began, on_event)
        self._cues = Cues(plan, call_id, self._diary)
        self._ear = Ear(self._diary, tracks, play)
        self._handshake_ms = handshake_ms
        self._standin = plan.dial.dialect == "standin"

        self._outcome: Outcome = "lost"
        self._reason = ""
        self._origin = began  # of the audio clock: the session start
        self._started_at: float | None = None
        self._ended_at = began
        self._drain_until = began
        self._asked_at = began
        self._correlation_id = uuid.uuid4().hex
        self._auth: Auth | None = None

        self._frame_s = FRAME_S / (1 + plan.skew_ppm / 1_000_000)  # on our clock
        self._slot = 0  # of the audio clock: frames that should have been sent
        self._seq = 0
        self._sent = 0
        self._unsent = 0
        self._skipped_ms = 0
        self._lateness = Samples()
        self._resumes = 0

        self._input_ended_at: float | None = None

    # --- the shell's face ---------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self.state == "over"

    def begin(self, now: float) -> list[FromGateway]:
        """The socket is open: ask for authorization, or start."""
        plan = self._plan
        self._diary.tell(
            seen.Connected(
                self._diary.ms(now), self._url, self._call_id, plan.dial.dialect, self._handshake_ms
            )
        )
        if self._standin or plan.direction == "outbound" or not plan.ask_auth:
            return self._start(now)
        self.state = "asking"
        self._asked_at = now
        return [AuthRequested(self._call_id, self._correlation_id, plan.caller)]

    def pick_up(self, now: float, *, announce: bool) -> list[FromGateway]:
        """The callee of a call that the bridge placed has picked up: audio flows.

        ``announce``: the session start has not been said yet.
        """
        started = self._start(now)
        return started if announce else [e for e in started if not isinstance(e, CallStarted)]

    def next_tick(self, now: float) -> float:
        """When ``tick`` wants to be called again."""
        if self._started_at is None:
            return now + FRAME_S
        return self._origin + self._slot * self._frame_s

    def tick(self, now: float, wall_ms: int) -> list[FromGateway]:
        """Everything that is due at ``now``."""
        out: list[FromGateway] = []
        while self.state in ("asking", "up") and (command := self._controls.take()):
            out += self._obey(command, now)
        if self.state == "asking" and now - self._asked_at >= self._plan.auth_timeout_s:
            reason = f"no auth_response within {self._plan.auth_timeout_s:g} s"
            self._end("auth-timeout", reason, now)
        if self.state == "up":
            out += self._speak(now)
            if self.link_up:
                out += self._cues.due(now - self._origin, now, wall_ms)
            out += self._stop_conditions(now)
        elif self.state == "draining":
            while self._slot_due(now):
                self._pass(SILENCE)
            if now >= self._drain_until or not self._ear.buffered_ms:
                self._over(now)
        return out

    def received(self, message: ToGateway | Dropped, now: float, wall_ms: int) -> list[FromGateway]:
        """One decoded message of the bridge."""
        self._ear.arrivals.messages += 1
        if self.state == "over":
            return []
        if isinstance(message, Dropped):
            self._diary.ignore(message.cause, message.detail, now)
            return []
        if message.call_id != self._call_id:
            self._diary.ignore("foreign", "a message for another call", now)
            return []
        match message:
            case AuthAnswer():
                return self._authorized(message, now, wall_ms)
            case AudioOut():
                if self._started_at is None:
                    self._diary.ignore("early-audio", "audio before the session start", now)
                else:
                    self._ear.arrived(message.seq, message.pcm, now)
            case Flush():
                self._ear.flush(now)
            case HangUp():
                return self._hung_up(message.reason, now)
            case Pong():
                self._cues.ponged(message, now)
            case Express():
                self._ear.arrivals.expressions += 1
                self._diary.tell(seen.Expressed(self._diary.ms(now), message.emotion))
            case SpeechMarks():
                self._ear.arrivals.speech_marks += 1
                self._diary.tell(seen.Marked(self._diary.ms(now), len(message.marks)))
            case ShowImage():
                self._ear.arrivals.images += 1
                size, caption = len(message.data), printable(message.caption)
                self._diary.tell(seen.Shown(self._diary.ms(now), message.mime, size, caption))
            case PlaceCall():
                self._diary.ignore("place-call", "the bridge asked to place a call", now)
        return []

    def link_closed(self, code: int | None, reason: str, now: float) -> None:
        """The socket is gone and no resume follows."""
        self.link_up = False
        self.close_code = code
        self.close_reason = printable(reason)
        if self.state in ("draining", "over"):
            return
        words = f"closed with {code}" if code is not None else "the connection broke"
        if self.close_reason:
            words += f" ({self.close_reason})"
        meant = code in _CLEAN_CLOSES or code == _POLICY_CLOSE or code in _PRIVATE_CLOSES
        if self.state == "asking":
            self._end("refused" if meant else "lost", f"{words} instead of an auth_response", now)
        elif meant and self._wordless(now):
            self._end("refused", f"{words} at once, without a word", now)
        elif code in _CLEAN_CLOSES:
            self._drain("ended-by-bot", words, now)
        else:
            self._drain("lost", words, now)

    def broken(self, reason: str, now: float) -> None:
        """The shell cannot go on (the bridge stopped reading, a resume was refused)."""
        self.link_up = False
        self._end("lost", reason, now)

    def link_dropped(self, now: float) -> None:
        """The shell cut the socket on our order; ``resumed`` follows."""
        self.link_up = False
        self._diary.tell(seen.LinkLost(self._diary.ms(now)))

    def resumed(self, now: float) -> list[FromGateway]:
        """C#: a new socket is open for this call."""
        if self.state not in ("up", "draining"):
            return []
        self.link_up = True
        self._resumes += 1
        self._cues.forget_pings()
        last = -1 if self._ear.arrivals.last_seq is None else self._ear.arrivals.last_seq
        self._diary.tell(seen.LinkResumed(self._diary.ms(now), last))
        return [CallResumed(self._call_id, last)]

    def report(self) -> Report:
        """What came of it."""
        outcome, reason = self._outcome, self._reason
        silent = self._ear.bot.frames == 0
        if self._plan.expect_speech and silent and EXIT_CODES[outcome] == 0:
            outcome, reason = "no-speech", f"the bot never spoke; {reason}"
        started, first = self._started_at, self._ear.first_audio_at
        return Report(
            outcome=outcome,
            exit_code=int(EXIT_CODES[outcome]),
            reason=reason,
            call_id=self._call_id,
            url=self._url,
            dialect=self._plan.dial.dialect,
            direction=self._plan.direction,
            handshake_ms=self._handshake_ms,
            auth=self._auth,
            duration_ms=0 if started is None else round((self._ended_at - started) * 1000),
            sent=Sent(
                frames=self._sent,
                unsent_frames=self._unsent,
                skipped_ms=self._skipped_ms,
                lateness=self._lateness.spread(),
                pictures=self._cues.pictures,
                digits=self._cues.digits,
            ),
            received=self._ear.arrivals.received(self._diary.ignored),
            heard=self._ear.heard(),
            replies=tuple(self._ear.replies),
            first_audio_ms=(
                None if started is None or first is None else round((first - started) * 1000, 1)
            ),
            pings=self._cues.pings(),
            resumes=self._resumes,
            close_code=self.close_code,
            close_reason=self.close_reason,
            tracks_truncated=self._tracks is not None and self._tracks.truncated,
            warnings=tuple(self._diary.warnings),
        )

    # --- starting and speaking ------------------------------------------------------------

    def _start(self, now: float) -> list[FromGateway]:
        plan = self._plan
        self.state = "up"
        self._origin = self._started_at = now
        start = CallStarted(
            self._call_id,
            plan.caller,
            plan.direction,
            plan.thread_id,
            plan.recording_at_start if self._standin else None,
        )
        self._diary.tell(seen.Started(self._diary.ms(now)))
        return [*self._cues.before_start(), start, *self._cues.after_start()]

    def _pass(self, caller: bytes) -> None:
        """20 ms of the audio clock pass, on both sides."""
        since_s = self._slot * self._frame_s
        self._ear.slot(caller, self._origin + since_s, since_s)
        self._slot += 1

    def _slot_due(self, now: float) -> bool:
        return self._origin + self._slot * self._frame_s <= now

    def _speak(self, now: float) -> list[FromGateway]:
        behind = now - (self._origin + self._slot * self._frame_s)
        if behind > MAX_BEHIND_S:
            skipped = int(behind / self._frame_s)
            self._skipped_ms += skipped * FRAME_MS
            self._origin += skipped * self._frame_s
            self._diary.warn(f"this machine stood still for {behind:.1f} s: time skipped", now)
        out: list[FromGateway] = []
        while self._slot_due(now):
            due = self._origin + self._slot * self._frame_s
            frame = self._next_frame(now)
            if self.link_up:
                self._lateness.add(now - due)
                out.append(AudioIn(self._call_id, self._seq, frame, self._slot * FRAME_MS))
                self._sent += 1
            else:
                self._unsent += 1
            self._seq += 1
            self._pass(frame)
            if self._slot % LEVELS_FRAMES == 0:
                self._tell_levels(now)
        return out

    def _next_frame(self, now: float) -> bytes:
        frame = self._source.next_frame()
        if frame is None:
            if self._input_ended_at is None:
                self._input_ended_at = now
                self._diary.tell(seen.InputEnded(self._diary.ms(now)))
            return SILENCE
        return SILENCE if self._cues.muted else frame

    def _stop_conditions(self, now: float) -> list[FromGateway]:
        plan = self._plan
        if plan.duration_s is not None and now - self._origin >= plan.duration_s:
            return self._hang_up("completed", "the planned duration is over", now)
        if self._cues.pong_overdue(now):
            reason = f"no pong within {plan.pong_timeout_s:g} s"
            return self._hang_up("lost", reason, now, wire_reason="timeout")
        ended = self._input_ended_at
        if plan.silence_s is None or ended is None:
            return []
        heard = self._ear.bot.last_at
        if heard is not None and heard > (self._ear.caller.last_at or 0.0):
            if now - max(ended, heard) >= plan.silence_s:
                return self._hang_up("completed", "the bot has answered and is silent", now)
        elif now - ended >= plan.patience_s:
            return self._hang_up("completed", "the bot did not answer", now)
        return []

    # --- messages --------------------------------------------------------------------------

    def _authorized(self, answer: AuthAnswer, now: float, wall_ms: int) -> list[FromGateway]:
        if self.state != "asking":
            self._diary.ignore("unexpected", "an auth_response that was not asked for", now)
            return []
        if answer.correlation_id != self._correlation_id:
            self._diary.ignore("unexpected", "an auth_response with another correlationId", now)
            return []
        skew = answer.timestamp_ms - wall_ms
        reason, strategy = printable(answer.reason), printable(answer.strategy)
        latency = round((now - self._asked_at) * 1000, 1)
        self._auth = Auth(answer.authorized, strategy, reason, latency, skew)
        self._diary.tell(
            seen.Authorized(self._diary.ms(now), answer.authorized, strategy, reason, latency, skew)
        )
        if abs(skew) > MAX_AUTH_SKEW_MS:
            off = f"{abs(skew) / 1000:.1f} s {'ahead of' if skew > 0 else 'behind'} ours"
            self._diary.warn(f"the bridge's clock is {off}: a gateway rejects over 5 s", now)
        if answer.authorized:
            return self._start(now)
        self._end("refused", f"not authorized: {reason or 'no reason given'} ({strategy})", now)
        return []

    def _hung_up(self, reason: str, now: float) -> list[FromGateway]:
        if self.state not in ("asking", "up"):
            return []
        words = printable(reason) or "hangup"
        if words in _REFUSALS:
            self._end("refused", words, now)
        elif self._wordless(now):
            self._end("refused", f"{words} at once, without a word", now)
        else:
            self._drain("ended-by-bot", words, now)
        # The C# gateway ends the Teams call and says so. StandIn says nothing: the worker's
        # session.end is advisory and its close follows.
        if self._standin or self._started_at is None:
            return []
        return [CallEnded(self._call_id, "hangup-bot")]

    def _wordless(self, now: float) -> bool:
        if self._started_at is None:
            return True
        return not self._ear.arrivals.frames and now - self._started_at < REFUSED_WITHIN_S

    # --- commands ------------------------------------------------------------------------

    def _obey(self, command: hands.Command, now: float) -> list[FromGateway]:
        match command:
            case hands.HangUpNow():
                outcome: Outcome = "interrupted" if command.interrupted else "completed"
                return self._hang_up(outcome, printable(command.reason), now)
            case hands.DropLink():
                self.drop_link = command
            case hands.Play():
                self._source.append(command.source)
                self._input_ended_at = None
            case hands.Mute():
                self._cues.mute(command.on, now)
            case _ if self.state != "up" or not self.link_up:
                self._diary.warn("not sent: the call is not up", now)
            case hands.PressDigit():
                return self._cues.press(command.digit, now)
            case hands.SetRecording():
                return self._cues.set_recording(command.status, now)
            case hands.SetParticipants():
                return self._cues.set_participants(command.count, command.relative, now)
            case hands.AskToSay():
                return self._cues.ask_to_say(command.text, now)
            case hands.ShowPicture():
                return self._cues.show(command.video, now - self._origin, now)
        return []

    # --- ending ---------------------------------------------------------------------------

    def _hang_up(
        self, outcome: Outcome, reason: str, now: float, *, wire_reason: str = ""
    ) -> list[FromGateway]:
        said = self.state == "up"
        self._end(outcome, reason, now)
        if not said or not self.link_up:
            return []
        words = wire_reason or ("hangup" if self._standin else "hangup-user")
        return [CallEnded(self._call_id, words)]

    def _drain(self, outcome: Outcome, reason: str, now: float) -> None:
        """Ending, but what is buffered is still heard."""
        if self.state != "up":
            self._end(outcome, reason, now)
            return
        self._outcome, self._reason = outcome, reason
        self._drain_until = now + DRAIN_S
        self._ended_at = now
        self.state = "draining"

    def _end(self, outcome: Outcome, reason: str, now: float) -> None:
        if self.state == "over":
            return
        if self.state != "draining":
            self._outcome, self._reason = outcome, reason
            self._ended_at = now
        self._over(now)

    def _over(self, now: float) -> None:
        self.state = "over"
        self._ear.hush(now)
        self._diary.tell(seen.Ended(self._diary.ms(now), self._outcome, self._reason))

    def _tell_levels(self, now: float) -> None:
        ear = self._ear
        self._diary.tell(
            seen.Levels(
                self._diary.ms(now),
                round(ear.caller.peak_dbfs, 1),
                round(ear.bot.peak_dbfs, 1),
                self._cues.muted,
                self._sent,
                ear.arrivals.frames,
                ear.buffered_ms,
                self._lateness.max_ms,
                ear.gaps,
                self._cues.recording if self._standin else None,
                self._cues.participants if self._standin else None,
            )
        )
        ear.caller.peak_dbfs = ear.bot.peak_dbfs = QUIET_DBFS
