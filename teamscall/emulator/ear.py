"""The human on the far side: what they heard, when, and how soon after they had spoken.

Owns the playout, both tracks, the measurement of the bot's audio and of its replies.
Refuses to know the wire, sockets and clocks: times are monotonic seconds and arguments.
"""

from __future__ import annotations

from collections.abc import Callable

from teamscall.audio.level import rms_dbfs
from teamscall.emulator.diary import Diary
from teamscall.emulator.happenings import BotSpoke, CallerSpoke, Flushed
from teamscall.emulator.playout import Playout
from teamscall.emulator.report import MAX_REPLIES, Arrivals, Heard, Reply
from teamscall.emulator.sources import SILENCE
from teamscall.emulator.tracks import Tracks
from teamscall.wire.events import FRAME_MS

# A frame above this is speech. Rooms idle at -60 to -50 dBFS, close speech is at -30 to -15.
SPEECH_DBFS = -45.0
QUIET_DBFS = -96.0

# Silence shorter than this is a pause inside speech.
PAUSE_FRAMES = 300 // FRAME_MS


class Voice:
    """Whether one side is speaking, frame by frame."""

    def __init__(self) -> None:
        self.last_at: float | None = None  # of its last voiced frame
        self.frames = 0  # voiced ones
        self.peak_dbfs = QUIET_DBFS  # since the meters were last read
        self._quiet = PAUSE_FRAMES

    @property
    def speaking(self) -> bool:
        return self._quiet < PAUSE_FRAMES

    def frame(self, pcm: bytes | None, at: float) -> bool | None:
        """One frame. True: speech begins; False: it has ended; None: no change."""
        level = QUIET_DBFS if pcm is None or pcm is SILENCE else rms_dbfs(pcm)
        self.peak_dbfs = max(self.peak_dbfs, level)
        was = self.speaking
        if level > SPEECH_DBFS:
            self.last_at = at
            self.frames += 1
            self._quiet = 0
        else:
            self._quiet += 1
        return self.speaking if self.speaking != was else None


class Ear:
    """One call's. ``arrived`` for the bot's audio, ``slot`` once per 20 ms."""

    def __init__(
        self, diary: Diary, tracks: Tracks | None, play: Callable[[bytes], None] | None
    ) -> None:
        self.caller = Voice()
        self.bot = Voice()
        self.arrivals = Arrivals()
        self.replies: list[Reply] = []
        self.first_audio_at: float | None = None
        self._playout = Playout()
        self._diary = diary
        self._tracks = tracks
        self._play = play
        self._pending: tuple[float, float | None] | None = None  # arrived, caller's last voice
        self._replied_at: float | None = None

    @property
    def buffered_ms(self) -> int:
        """Bot audio received and not yet heard."""
        return self._playout.buffered_ms

    @property
    def gaps(self) -> int:
        return self._playout.gaps

    def arrived(self, seq: int, pcm: bytes, now: float) -> None:
        """A chunk of the bot's audio, any even size."""
        if self.first_audio_at is None:
            self.first_audio_at = now
        restarts = self._playout.restarts
        taken = self._playout.push(seq, pcm)
        self.arrivals.frame(seq, len(pcm), self.buffered_ms, now)
        if self._playout.restarts > restarts:
            self._diary.warn("seq went back: a gateway may drop such frames as late", now)
        if self._playout.overflow:
            self._diary.warn("the bot sends minutes ahead of real time: it must pace", now)
        idle = self._pending is None and not self.bot.speaking
        if idle and taken and rms_dbfs(pcm) > SPEECH_DBFS:
            self._pending = (now, self.caller.last_at)

    def flush(self, now: float) -> None:
        """Drop what is queued: the bot was interrupted."""
        dropped_ms = self._playout.flush()
        self._pending = None
        self.arrivals.flush(dropped_ms, now)
        self._diary.tell(Flushed(self._diary.ms(now), dropped_ms))

    def slot(self, caller: bytes, due: float, since_start_s: float) -> None:
        """20 ms pass on both sides: ``caller`` was said, the playout's next frame is heard."""
        changed = self.caller.frame(caller, due)
        if changed is not None:
            self._diary.tell(CallerSpoke(self._diary.ms(due), changed))
        frame = self._playout.slot()
        if self._tracks is not None:
            self._tracks.add(caller, frame)
        if self._play is not None:
            self._play(frame or SILENCE)
        changed = self.bot.frame(frame, due)
        if changed is not None:
            latency = self._reply(due, since_start_s) if changed else None
            self._diary.tell(BotSpoke(self._diary.ms(due), changed, latency))

    def hush(self, now: float) -> None:
        """The call is over: whoever is speaking stops."""
        if self.caller.speaking:
            self._diary.tell(CallerSpoke(self._diary.ms(now), False))
        if self.bot.speaking:
            self._diary.tell(BotSpoke(self._diary.ms(now), False))

    def heard(self) -> Heard:
        playout = self._playout
        return Heard(
            speech_ms=self.bot.frames * FRAME_MS,
            gaps=playout.gaps,
            gap_ms=playout.gap_frames * FRAME_MS,
            late_frames=playout.late,
            overflow_frames=playout.overflow,
            seq_restarts=playout.restarts,
        )

    def _reply(self, due: float, since_start_s: float) -> float | None:
        """The bot begins to be heard. Its latency, where this answers the caller."""
        arrived, asked = self._pending or (due, self.caller.last_at)
        self._pending = None
        if self._replied_at is not None and (asked is None or asked <= self._replied_at):
            return None  # it goes on after a pause of its own
        self._replied_at = due
        latency = heard = None
        if asked is not None:
            latency = round((arrived - asked) * 1000, 1)
            heard = round(max(due, arrived) * 1000 - asked * 1000, 1)
        if len(self.replies) < MAX_REPLIES:
            self.replies.append(Reply(round(since_start_s * 1000), latency, heard))
        return latency
