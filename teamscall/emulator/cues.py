"""What a gateway says beside audio: recording status, participants, digits, pictures, pings.

Owns the schedule of these, the switches that keys change, and the watch for pongs. Refuses
to know audio and when the call ends. Times are monotonic seconds, ``since_s`` is seconds
since the session start.
"""

from __future__ import annotations

from collections import deque

from teamscall.emulator import happenings as seen
from teamscall.emulator.diary import Diary
from teamscall.emulator.plan import Plan, Video
from teamscall.emulator.report import Pings, Samples
from teamscall.wire.events import (
    DigitPressed,
    FromGateway,
    ParticipantsChanged,
    Pinged,
    Pong,
    RecordingChanged,
    RecordingStatus,
    SayRequested,
    VideoIn,
)


class Cues:
    """One call's. Every method returns what to send, in order."""

    def __init__(self, plan: Plan, call_id: str, diary: Diary) -> None:
        self.muted = False
        self.recording = plan.recording_at_start
        self.participants = plan.participants
        self.pictures = 0
        self.digits = 0
        self._plan = plan
        self._call_id = call_id
        self._diary = diary
        self._standin = plan.dial.dialect == "standin"
        self._presses = deque(sorted(plan.presses, key=lambda press: press.at_s))
        self._recording_due = plan.recording if plan.recording_at_s > 0 else None
        self._next_video_s = 0.0
        self._next_ping_s = plan.ping_interval_s
        self._waiting: deque[tuple[int, float]] = deque()  # pings without a pong: ts, sent at
        self._pings = 0
        self._pongs = 0
        self._rtt = Samples()

    def before_start(self) -> list[FromGateway]:
        """A recording status may come before the session start."""
        status = self._plan.recording
        if not self._standin or status is None or self._plan.recording_at_s >= 0:
            return []
        self.recording = status
        return [RecordingChanged(self._call_id, status)]

    def after_start(self) -> list[FromGateway]:
        out: list[FromGateway] = []
        if not self._standin:
            return out
        status = self._plan.recording
        if status is not None and self._plan.recording_at_s == 0:
            self.recording = status
            out.append(RecordingChanged(self._call_id, status))
        if self.participants is not None:
            out.append(ParticipantsChanged(self._call_id, self.participants))
        return out

    def due(self, since_s: float, now: float, wall_ms: int) -> list[FromGateway]:
        """What is scheduled until now."""
        plan = self._plan
        out: list[FromGateway] = []
        if self._recording_due is not None and since_s >= plan.recording_at_s:
            out += self.set_recording(self._recording_due, now)
            self._recording_due = None
        while self._presses and self._presses[0].at_s <= since_s:
            out += self.press(self._presses.popleft().digit, now)
        if plan.video is not None and self._standin and since_s >= self._next_video_s:
            self._next_video_s = since_s + plan.video.interval_s
            out.append(self._picture(plan.video, round(since_s * 1000)))
        if since_s >= self._next_ping_s:
            self._next_ping_s = since_s + plan.ping_interval_s
            self._pings += 1
            self._waiting.append((wall_ms, now))
            out.append(Pinged(self._call_id, wall_ms))
        return out

    def press(self, digit: str, now: float) -> list[FromGateway]:
        if not self._has("digits", now):
            return []
        self.digits += 1
        self._diary.tell(seen.Pressed(self._diary.ms(now), digit))
        return [DigitPressed(self._call_id, digit)]

    def mute(self, on: bool | None, now: float) -> None:
        self.muted = not self.muted if on is None else on
        self._switched(now)

    def set_recording(self, status: RecordingStatus | None, now: float) -> list[FromGateway]:
        """None: the other way round."""
        if not self._has("recording status", now):
            return []
        if status is None:
            status = "inactive" if self.recording == "active" else "active"
        self.recording = status
        self._switched(now)
        return [RecordingChanged(self._call_id, status)]

    def set_participants(self, count: int, relative: bool, now: float) -> list[FromGateway]:
        if not self._has("participants", now):
            return []
        self.participants = max(0, count + ((self.participants or 0) if relative else 0))
        self._switched(now)
        return [ParticipantsChanged(self._call_id, self.participants)]

    def ask_to_say(self, text: str, now: float) -> list[FromGateway]:
        if not text.strip() or not self._has("assistant.say", now):
            return []
        return [SayRequested(self._call_id, text)]

    def show(self, video: Video, since_s: float, now: float) -> list[FromGateway]:
        """One picture more, besides those of the plan."""
        if not self._has("video", now):
            return []
        return [self._picture(video, round(since_s * 1000))]

    def ponged(self, pong: Pong, now: float) -> None:
        # C# pongs carry no ts: the oldest ping is meant.
        for ts, at in self._waiting:
            if not self._standin or ts == pong.ts:
                self._waiting.remove((ts, at))
                self._pongs += 1
                self._rtt.add(now - at)
                self._diary.tell(seen.Answered(self._diary.ms(now), round((now - at) * 1000, 1)))
                return
        self._diary.ignore("unexpected", "a pong for no ping of ours", now)

    def pong_overdue(self, now: float) -> bool:
        """Whether a gateway would give up on this bridge."""
        return bool(self._waiting) and now - self._waiting[0][1] >= self._plan.pong_timeout_s

    def forget_pings(self) -> None:
        """The socket that they were sent on is gone."""
        self._waiting.clear()

    def pings(self) -> Pings:
        return Pings(self._pings, self._pongs, self._rtt.spread())

    def _picture(self, video: Video, timestamp_ms: int) -> FromGateway:
        caller = self._plan.caller
        self.pictures += 1
        return VideoIn(
            self._call_id,
            video.source,
            timestamp_ms,
            video.width,
            video.height,
            video.mime,
            video.data,
            caller.user_id,
            caller.display_name,
        )

    def _has(self, what: str, now: float) -> bool:
        if not self._standin:
            self._diary.warn(f"the C# gateway dialect has no {what}", now)
        return self._standin

    def _switched(self, now: float) -> None:
        self._diary.tell(
            seen.Switched(self._diary.ms(now), self.muted, self.recording, self.participants)
        )
