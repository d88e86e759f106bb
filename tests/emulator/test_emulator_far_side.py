"""The far side's state machine, without a socket and without waiting."""

from __future__ import annotations

from typing import Any

import pytest
from emulator_rig import tone

from teamscall.emulator import happenings as seen
from teamscall.emulator.controls import MAX_COMMANDS, Controls
from teamscall.emulator.far_side import MAX_BEHIND_S, FarSide
from teamscall.emulator.plan import Dial, Plan, Press, Video
from teamscall.emulator.report import MAX_REPLIES, Samples
from teamscall.emulator.sources import Pcm, Sequence, Silence, Source, after_lead_in
from teamscall.emulator.tracks import Tracks
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    AuthAnswer,
    AuthRequested,
    CallEnded,
    Caller,
    CallResumed,
    CallStarted,
    Dialect,
    DigitPressed,
    Dropped,
    Flush,
    FromGateway,
    HangUp,
    ParticipantsChanged,
    Pinged,
    Pong,
    RecordingChanged,
    SayRequested,
    ToGateway,
    VideoIn,
)

WALL = 1_700_000_000_000
VOICE = tone(20)


class Play:
    """Drives a far side with a hand-moved clock and keeps what it sent."""

    def __init__(
        self, dialect: Dialect = "standin", source: Source | None = None, **plan: Any
    ) -> None:
        self.events: list[seen.EmulatorEvent] = []
        self.controls = Controls()
        self.tracks = Tracks()
        self.now = 100.0
        self.sent: list[FromGateway] = []
        self.side = FarSide(
            Plan(Dial("x", b"s", dialect), **plan),
            "call",
            "ws://x/call",
            source or Silence(),
            self.controls,
            began=self.now,
            handshake_ms=1.0,
            on_event=self.events.append,
            tracks=self.tracks,
        )
        self.sent += self.side.begin(self.now)

    def run(self, seconds: float, *, step: float = 0.02, echo: bool = False) -> None:
        end = self.now + seconds
        while self.now < end - 1e-9 and not self.side.over:
            self.now += step
            out = self.side.tick(self.now, self.wall)
            self.sent += out
            for event in out if echo else ():
                if isinstance(event, AudioIn):
                    self.get(AudioOut("call", event.seq, event.pcm))

    @property
    def wall(self) -> int:
        return WALL + round((self.now - 100) * 1000)

    def get(self, message: ToGateway | Dropped) -> list[FromGateway]:
        out = self.side.received(message, self.now, self.wall)
        self.sent += out
        return out

    def authorize(self, authorized: bool = True, skew_ms: int = 0) -> list[FromGateway]:
        asked = self.of(AuthRequested)[0]
        return self.get(
            AuthAnswer(
                "call", asked.correlation_id, authorized, "open", self.wall + skew_ms, "because"
            )
        )

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.sent if isinstance(event, kind)]

    def told(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


# --- starting ---------------------------------------------------------------------------


def test_standin_starts_with_recording_and_participants() -> None:
    play = Play(thread_id="19:x", caller=Caller("u"))
    assert play.sent == [
        CallStarted("call", Caller("u"), "inbound", "19:x", "active"),
        RecordingChanged("call", "active"),
        ParticipantsChanged("call", 1),
    ]


def test_a_recording_status_can_come_before_the_start_or_later() -> None:
    early = Play(recording_at_start=None, recording_at_s=-1.0)
    assert [type(e) for e in early.sent[:2]] == [RecordingChanged, CallStarted]
    late = Play(recording_at_start="unknown", recording_at_s=1.0)
    assert not late.of(RecordingChanged)
    late.run(0.9)
    assert not late.of(RecordingChanged)
    late.run(0.2)
    assert late.of(RecordingChanged) == [RecordingChanged("call", "active")]


def test_csharp_asks_first_and_sends_nothing_until_it_may() -> None:
    play = Play("csharp")
    play.run(0.5)
    assert [type(e) for e in play.sent] == [AuthRequested]
    assert isinstance(play.authorize()[0], CallStarted)
    play.run(0.1)
    assert len(play.of(AudioIn)) >= 5


def test_csharp_outbound_calls_are_not_asked_for() -> None:
    assert isinstance(Play("csharp", direction="outbound").sent[0], CallStarted)


def test_a_denied_call_is_refused_and_has_no_session() -> None:
    play = Play("csharp")
    play.authorize(False)
    report = play.side.report()
    assert (report.outcome, report.exit_code) == ("refused", 5)
    assert "because" in report.reason
    assert [type(e) for e in play.sent] == [AuthRequested]


def test_a_missing_answer_is_a_timeout() -> None:
    play = Play("csharp", auth_timeout_s=1.0)
    play.run(2.0)
    report = play.side.report()
    assert (report.outcome, report.exit_code) == ("auth-timeout", 6)


def test_a_clock_more_than_five_seconds_off_is_warned_about() -> None:
    play = Play("csharp")
    play.authorize(skew_ms=-5001)
    report = play.side.report()
    assert report.auth is not None
    assert report.auth.skew_ms == -5001
    assert "behind" in report.warnings[0]


def test_an_answer_to_another_question_is_not_taken() -> None:
    play = Play("csharp")
    play.get(AuthAnswer("call", "other", True, "open", play.wall))
    play.get(AuthAnswer("other-call", "other", True, "open", play.wall))
    assert play.side.state == "asking"
    assert play.side.report().received.dropped == {"unexpected": 1, "foreign": 1}


# --- audio out ----------------------------------------------------------------------------


def test_frames_leave_on_an_absolute_clock_whatever_the_ticks_do() -> None:
    play = Play()
    for step in (0.003, 0.02, 0.051, 0.017):
        play.run(5.0, step=step)
    frames = play.of(AudioIn)
    assert abs(len(frames) - (play.now - 100.0) / 0.02) <= 1.001
    assert [f.seq for f in frames] == list(range(len(frames)))
    assert [f.timestamp_ms for f in frames] == [20 * n for n in range(len(frames))]


def test_after_a_long_stall_time_is_skipped_and_not_sent_as_a_burst() -> None:
    play = Play()
    play.run(1.0)
    before = len(play.of(AudioIn))
    play.run(MAX_BEHIND_S + 10, step=MAX_BEHIND_S + 10)
    assert len(play.of(AudioIn)) - before <= 2
    assert play.side.report().sent.skipped_ms >= 14_900


def test_the_source_then_silence_and_mute_is_silence() -> None:
    play = Play(source=Pcm(VOICE * 10))
    play.run(0.1)
    play.controls.mute(True)
    play.run(0.06)
    play.controls.mute()
    play.run(0.3)
    voiced = [any(f.pcm) for f in play.of(AudioIn)]
    assert sum(voiced) == 7
    assert len(voiced) > 20
    assert play.told(seen.InputEnded)


def test_what_is_said_later_plays_after_what_plays() -> None:
    play = Play(source=Pcm(VOICE))
    play.controls.say(Pcm(VOICE * 2))
    play.run(0.2)
    assert [any(f.pcm) for f in play.of(AudioIn)][:4] == [True, True, True, False]


# --- cues ----------------------------------------------------------------------------------


def test_digits_pictures_and_pings_are_sent_when_due() -> None:
    video = Video(b"\xff\xd8", "image/jpeg", 4, 3, interval_s=1.0)
    play = Play(presses=(Press(0.5, "#"), Press(0.1, "1")), video=video, ping_interval_s=0.7)
    play.run(2.5)
    assert [e.digit for e in play.of(DigitPressed)] == ["1", "#"]
    assert len(play.of(VideoIn)) == 3
    assert [p.ts for p in play.of(Pinged)]
    assert len(play.of(Pinged)) == 3
    report = play.side.report()
    assert (report.sent.pictures, report.sent.digits, report.pings.sent) == (3, 2, 3)


def test_keys_change_recording_participants_and_ask_to_say() -> None:
    play = Play()
    play.controls.recording()
    play.controls.participants(1, relative=True)
    play.controls.participants(-9, relative=True)
    play.controls.digit("5")
    play.controls.ask_to_say("Goodbye")
    play.run(0.1)
    assert play.of(RecordingChanged)[-1].status == "inactive"
    assert [e.count for e in play.of(ParticipantsChanged)] == [1, 2, 0]
    assert play.of(DigitPressed) == [DigitPressed("call", "5")]
    assert play.of(SayRequested) == [SayRequested("call", "Goodbye")]


def test_what_the_csharp_dialect_has_not_is_not_sent() -> None:
    play = Play("csharp", ask_auth=False)
    play.controls.recording()
    play.controls.digit("5")
    play.run(0.1)
    assert {type(e) for e in play.sent} == {CallStarted, AudioIn}
    assert len(play.side.report().warnings) == 2


def test_a_wrong_digit_is_refused_and_the_queue_of_commands_is_bounded() -> None:
    controls = Controls()
    with pytest.raises(ValueError, match="digit"):
        controls.digit("A")
    assert all(controls.mute() for _ in range(MAX_COMMANDS))
    assert not controls.mute()
    assert controls.refused == 1


def test_pongs_are_matched_and_a_missing_one_ends_the_call() -> None:
    play = Play(ping_interval_s=1.0, pong_timeout_s=2.5)
    play.run(1.1)
    play.get(Pong("call", 7))
    play.get(Pong("call", play.of(Pinged)[0].ts))
    assert play.side.report().pings.answered == 1
    play.run(10.0)
    report = play.side.report()
    assert (report.outcome, report.exit_code) == ("lost", 4)
    assert play.of(CallEnded) == [CallEnded("call", "timeout")]


# --- hearing ---------------------------------------------------------------------------------


def test_an_echo_is_heard_on_the_callers_clock_and_measured() -> None:
    play = Play(source=after_lead_in(Pcm(VOICE * 50)))
    play.run(3.0, echo=True)
    report = play.side.report()
    assert report.heard.speech_ms == 1000
    assert report.heard.gaps == 0
    assert report.received.odd_sizes == report.received.seq_gaps == 0
    at = play.tracks.bot.index(VOICE)
    assert play.tracks.bot[at:].startswith(VOICE * 50)
    assert len(play.tracks.bot) == len(play.tracks.caller)
    assert report.replies[0].latency_ms is not None
    assert report.replies[0].heard_ms is not None
    assert report.replies[0].heard_ms >= report.replies[0].latency_ms


def test_latency_runs_from_the_callers_last_voiced_frame_to_the_bots_first() -> None:
    play = Play(source=Sequence([Pcm(VOICE * 10)]))
    play.run(1.2)  # voice until 0.2 s
    for n in range(30):
        play.get(AudioOut("call", n, VOICE))
    play.run(1.0)
    (reply,) = play.side.report().replies
    assert reply.latency_ms is not None
    assert 980 <= reply.latency_ms <= 1040


def test_one_answer_with_a_pause_is_one_reply() -> None:
    play = Play(source=Pcm(VOICE))
    play.run(0.5)
    for _ in range(3):
        for n in range(5):
            play.get(AudioOut("call", len(play.events) * 100 + n, VOICE))
        play.run(0.8)
    assert len(play.side.report().replies) == 1 <= MAX_REPLIES


def test_a_flush_drops_what_is_queued_and_counts_what_still_comes() -> None:
    play = Play()
    for n in range(20):
        play.get(AudioOut("call", n, VOICE))
    play.run(0.1)
    play.get(Flush("call", 1, 0))
    play.get(AudioOut("call", 20, VOICE))
    play.run(1.0)
    play.get(AudioOut("call", 21, VOICE))
    report = play.side.report()
    assert report.received.flushes == 1
    assert report.received.flushed_ms >= 300
    assert report.received.frames_after_flush == 1
    assert report.heard.speech_ms < 200


def test_counts_of_sequence_and_size_are_kept() -> None:
    play = Play()
    for seq, size in ((3, 640), (4, 320), (9, 640), (9, 640)):
        play.get(AudioOut("call", seq, bytes(size)))
    received = play.side.report().received
    assert (received.first_seq, received.last_seq) == (3, 9)
    assert (received.seq_gaps, received.seq_backwards, received.odd_sizes) == (4, 1, 1)


def test_nothing_undecodable_is_answered() -> None:
    play = Play()
    before = len(play.sent)
    for _ in range(3):
        play.get(Dropped("unknown-type", "surprise"))
    assert len(play.sent) == before
    assert play.side.report().received.dropped == {"unknown-type": 3}
    assert len(play.told(seen.Warned)) == 1


# --- ending -----------------------------------------------------------------------------------


def test_the_planned_duration_ends_the_call() -> None:
    play = Play(duration_s=1.0)
    play.run(5.0)
    assert play.of(CallEnded) == [CallEnded("call", "hangup")]
    report = play.side.report()
    assert report.outcome == "completed"
    assert 1000 <= report.duration_ms <= 1040


def test_silence_after_an_answer_ends_the_call_even_if_silent_frames_flow() -> None:
    play = Play(source=Pcm(VOICE * 10), silence_s=1.0)
    play.run(10.0, echo=True)
    assert play.side.report().outcome == "completed"
    assert play.now < 102.0


def test_no_answer_is_waited_for_with_patience_and_can_fail() -> None:
    play = Play(source=Pcm(VOICE), silence_s=0.5, patience_s=2.0, expect_speech=True)
    play.run(10.0)
    report = play.side.report()
    assert (report.outcome, report.exit_code) == ("no-speech", 1)
    assert 102.0 <= play.now <= 102.2


def test_a_hangup_of_the_bot_is_answered_in_csharp_and_what_is_buffered_is_heard() -> None:
    play = Play("csharp", ask_auth=False)
    for n in range(8):
        play.get(AudioOut("call", n, VOICE))
    play.run(0.1)
    assert play.get(HangUp("call", "")) == [CallEnded("call", "hangup-bot")]
    frames = len(play.of(AudioIn))
    play.run(2.0)
    report = play.side.report()
    assert report.outcome == "ended-by-bot"
    assert report.heard.speech_ms == 160
    assert len(play.of(AudioIn)) == frames


def test_a_session_end_of_a_standin_worker_is_not_answered() -> None:
    play = Play()
    play.get(AudioOut("call", 0, VOICE))
    assert play.get(HangUp("call", "time-limit")) == []
    play.side.link_closed(1000, "", play.now)
    play.run(2.0)
    report = play.side.report()
    assert (report.outcome, report.reason) == ("ended-by-bot", "time-limit")
    assert report.close_code == 1000
    assert report.heard.speech_ms == 20


@pytest.mark.parametrize("dialect", ["standin", "csharp"])
def test_a_hangup_at_once_and_without_a_word_is_a_refusal(dialect: Dialect) -> None:
    play = Play(dialect, ask_auth=False)
    play.run(0.2)
    play.get(HangUp("call", "not-allowed" if dialect == "standin" else ""))
    assert play.side.report().exit_code == 5


def test_a_broken_link_is_lost_and_a_clean_close_is_the_bots_end() -> None:
    for code, outcome in ((None, "lost"), (1011, "lost"), (1000, "ended-by-bot")):
        play = Play()
        play.get(AudioOut("call", 0, VOICE))
        play.side.link_closed(code, "why\x1b[31m", play.now)
        play.run(2.0)
        report = play.side.report()
        assert report.outcome == outcome
        assert "\x1b" not in report.reason


def test_frames_during_a_dropped_link_are_lost_with_their_numbers() -> None:
    play = Play("csharp", ask_auth=False)
    play.get(AudioOut("call", 41, VOICE))
    play.run(0.2)
    play.side.link_dropped(play.now)
    play.run(0.2)
    assert play.side.resumed(play.now) == [CallResumed("call", 41)]
    play.run(0.2)
    seqs = [f.seq for f in play.of(AudioIn)]
    report = play.side.report()
    assert report.sent.unsent_frames >= 9
    assert seqs[-1] - seqs[0] == len(seqs) - 1 + report.sent.unsent_frames


def test_the_first_reason_wins() -> None:
    play = Play()
    play.controls.hang_up("first")
    play.run(0.1)
    play.side.link_closed(1011, "second", play.now)
    play.side.broken("third", play.now)
    assert play.side.report().reason == "first"
    assert len(play.told(seen.Ended)) == 1


def test_a_spread_is_of_milliseconds() -> None:
    samples = Samples()
    for n in range(1, 101):
        samples.add(n / 1000)
    spread = samples.spread()
    assert (spread.count, spread.p50, spread.p95, spread.max) == (100, 51.0, 96.0, 100.0)
