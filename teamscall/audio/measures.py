"""What can be measured of a call from its sound alone, as data.

Owns the shape of the figures that ``waveform`` measures from two tracks on one clock: the
caller's, and the bot's as the far side plays it. Refuses to know where the tracks come from,
and what the program believed while it made them.

All times are milliseconds from the beginning of the tracks.
"""

from __future__ import annotations

import msgspec


class Span(msgspec.Struct, frozen=True):
    """From ``start_ms`` up to ``end_ms``."""

    start_ms: float
    end_ms: float

    @property
    def length_ms(self) -> float:
        return self.end_ms - self.start_ms


class Response(msgspec.Struct, frozen=True):
    """The caller had finished, and the bot began to be heard."""

    asked_ms: float  # the end of the caller's last sound before it
    answered_ms: float  # the bot's first sound

    @property
    def latency_ms(self) -> float:
        return self.answered_ms - self.asked_ms


class BargeIn(msgspec.Struct, frozen=True):
    """The caller began to speak while the bot was speaking.

    ``silent_ms``: the end of the bot's last sound before it was silent; None: it spoke on (a
    backchannel, or an interruption that was not heard).
    """

    onset_ms: float
    silent_ms: float | None

    @property
    def stopped_after_ms(self) -> float | None:
        return None if self.silent_ms is None else self.silent_ms - self.onset_ms


class Loudness(msgspec.Struct, frozen=True):
    """Of one track. ``level_dbfs`` is the RMS of its speech alone; None: it never spoke."""

    level_dbfs: float | None
    peak_dbfs: float
    noise_dbfs: float | None  # between the speech; None: there is nothing between
    clipped_samples: int  # at full scale, in runs of three or more
    clicks: int  # steps between samples that neither speech nor a fade makes


class Track(msgspec.Struct, frozen=True):
    """One side: when it spoke, and how it sounds.

    ``utterances`` are speech with its pauses; ``gaps`` are holes of digital silence inside an
    utterance that no speaker makes, such as a lost frame.
    """

    utterances: tuple[Span, ...]
    gaps: tuple[Span, ...]
    speech_ms: float
    loudness: Loudness


class Measures(msgspec.Struct, frozen=True):
    """A whole call. ``dead_air``: nobody spoke for long between the first and the last sound."""

    length_ms: float
    caller: Track
    bot: Track
    responses: tuple[Response, ...]
    barge_ins: tuple[BargeIn, ...]
    overlap_ms: float
    dead_air: tuple[Span, ...]
    first_sound_ms: float | None  # of the bot, from the beginning
