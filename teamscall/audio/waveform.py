"""Measures a call from its sound alone: who spoke when, how fast the answers came.

Owns which response belongs to which question, what is a barge-in and what is dead air; when
a track sounds is ``sounding``'s, what is broken in it ``blemishes``'. Refuses to know where
the tracks come from, and what the program believed while it made them. Pure.

- A response is the bot's first sound after the caller's last. The caller's pauses count as
  one question, the bot's utterances as one answer; where the bot speaks first there is none.
- A barge-in is the caller's onset while the bot speaks, ``collision_ms`` after it began:
  who begins at the same time does not interrupt. The bot was silenced if it stops while the
  caller speaks or soon after (``silenced_within_ms``), and stays so: until the caller has
  ended, and for ``silenced_for_ms``. Else it spoke on. Whether it would have stopped at that
  moment anyway, the sound does not say.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from teamscall.audio import blemishes
from teamscall.audio.measures import BargeIn, Loudness, Measures, Response, Span, Track
from teamscall.audio.sounding import (
    STEP,
    WINDOW,
    Flags,
    Hearing,
    Samples,
    Sounding,
    dbfs,
    listen,
)
from teamscall.wire.events import SAMPLE_RATE

_MS = SAMPLE_RATE / 1000  # samples
# Around speech, breath and room belong to it: this is not measured as noise.
_GUARD = 100  # ms


class Thresholds(msgspec.Struct, frozen=True):
    """What is decided by a number. Times in milliseconds."""

    hearing: Hearing = Hearing()
    # A bot neither coughs nor types: its sounds are meant, however short.
    bot_hearing: Hearing = Hearing(shortest_ms=30.0)
    blemishes: blemishes.Limits = blemishes.Limits()
    # Nobody reacts to a voice faster: until then both began at the same time.
    collision_ms: float = 150.0
    # A bot that answers into a pause of the caller's: shorter ones are within words.
    answered_pause_ms: float = 150.0
    # An onset after this pause of the caller's is another barge-in.
    barge_in_pause_ms: float = 700.0
    # A bridge notices speech within 0.5 s, and what is on its way plays out: later, the bot
    # stopped for a reason of its own, unless the caller still speaks.
    silenced_within_ms: float = 1500.0
    silenced_after_speech_ms: float = 500.0
    # Between two sentences a voice pauses for 200 to 400.
    silenced_for_ms: float = 400.0
    # Callers ask "hello?" after 3 to 4 s.
    dead_air_ms: float = 3000.0


def measure(caller: bytes, bot: bytes, *, thresholds: Thresholds = Thresholds()) -> Measures:  # noqa: B008 - frozen
    """Measure two tracks of s16le mono at 16 kHz that begin at the same moment.

    The shorter one is followed by silence; half a sample at the end is dropped. Raises
    nothing.
    """
    sides = [np.frombuffer(pcm, "<i2", count=len(pcm) // 2) for pcm in (caller, bot)]
    heard = [
        listen(sides[0], thresholds.hearing),
        listen(sides[1], thresholds.bot_hearing),
    ]
    tracks = [
        _track(samples, found, thresholds) for samples, found in zip(sides, heard, strict=True)
    ]
    asking, saying = (track.utterances for track in tracks)
    barge_ins, cut = _barge_ins(asking, saying, thresholds)
    return Measures(
        length_ms=max(len(samples) for samples in sides) / _MS,
        caller=tracks[0],
        bot=tracks[1],
        responses=_responses(_talk(heard[0], asking, thresholds), saying, cut),
        barge_ins=barge_ins,
        overlap_ms=_overlap(asking, saying),
        dead_air=_dead_air([*asking, *saying], thresholds.dead_air_ms),
        first_sound_ms=saying[0].start_ms if saying else None,
    )


# --- one side -------------------------------------------------------------------------


def _track(samples: Samples, heard: Sounding, thresholds: Thresholds) -> Track:
    spans = tuple(Span(one.start / _MS, one.end / _MS) for one in heard.utterances)
    pieces = [piece for one in heard.utterances for piece in one.pieces]
    return Track(
        utterances=spans,
        gaps=tuple(
            Span(start / _MS, end / _MS)
            for start, end in blemishes.holes(samples, heard, thresholds.blemishes)
        ),
        speech_ms=float(sum(end - start for start, end in pieces)),
        loudness=Loudness(
            level_dbfs=_level(samples, pieces),
            peak_dbfs=_peak(samples),
            noise_dbfs=_noise(heard),
            clipped_samples=blemishes.clipped(samples, thresholds.blemishes),
            clicks=len(blemishes.clicks(samples, thresholds.blemishes)),
        ),
    )


def _level(samples: Samples, pieces: Sequence[tuple[int, int]]) -> float | None:
    """RMS without each piece's own mean."""
    total = count = 0.0
    for start, end in pieces:
        here = samples[start * STEP : end * STEP].astype(np.float64)
        total += float(np.square(here - here.mean()).sum()) / 32768.0**2
        count += len(here)
    return dbfs(total / count) if count else None


def _peak(samples: Samples) -> float:
    if not len(samples):
        return dbfs(0.0)
    # Not np.abs: |-32768| is no int16.
    return dbfs((max(int(samples.max()), -int(samples.min())) / 32768.0) ** 2)


def _noise(heard: Sounding) -> float | None:
    """The median level between the utterances."""
    between: Flags = np.ones(len(heard.power), np.bool_)
    for one in heard.utterances:
        first = max(0, int(one.start / STEP) - _GUARD - WINDOW)
        between[first : -(-one.end // STEP) + _GUARD] = False
    values = heard.power[between]
    return dbfs(float(np.median(values))) if len(values) else None


# --- both -----------------------------------------------------------------------------


def _talk(
    heard: Sounding, spans: Sequence[Span], thresholds: Thresholds
) -> list[tuple[Span, list[Span]]]:
    """The caller's utterances, each with its pauses that a bot could answer into."""
    out = []
    for span, one in zip(spans, heard.utterances, strict=True):
        pauses = [
            Span(float(before[1]), float(after[0]))
            for before, after in zip(one.pieces, one.pieces[1:], strict=False)
            if after[0] - before[1] >= thresholds.answered_pause_ms
        ]
        out.append((span, pauses))
    return out


def _responses(
    talk: Sequence[tuple[Span, Sequence[Span]]], saying: Sequence[Span], cut: Sequence[int]
) -> tuple[Response, ...]:
    """``cut``: the caller's utterances that silenced the bot."""
    ends: list[tuple[float, int]] = []  # of the caller's sound, and of which utterance
    for number, (span, pauses) in enumerate(talk):
        ends += [(pause.start_ms, number) for pause in pauses]
        ends.append((span.end_ms, number))
    out: list[Response] = []
    spoken_until = -math.inf  # by the bot
    answered = -1  # the last of ``ends`` that has its answer
    for one in saying:
        at = bisect.bisect_right(ends, (one.start_ms, len(talk))) - 1
        if at > answered:
            asked, number = ends[at]
            span, pauses = talk[number]
            # Into the caller's speech: no answer, unless it is into a pause of it.
            after = one.start_ms
            speaking = number + 1 < len(talk) and talk[number + 1][0].start_ms <= after
            if asked < span.end_ms:
                speaking = all(not p.start_ms <= after < p.end_ms for p in pauses)
            # What was said under the bot's own voice has no answer, but for a "stop".
            if not speaking and (asked > spoken_until or number in cut):
                out.append(Response(asked, after))
                answered = at
            elif not speaking:
                answered = at
        spoken_until = one.end_ms
    return tuple(out)


def _barge_ins(
    asking: Sequence[Span], saying: Sequence[Span], thresholds: Thresholds
) -> tuple[tuple[BargeIn, ...], tuple[int, ...]]:
    """And which of the caller's utterances silenced the bot."""
    out: list[BargeIn] = []
    cut: list[int] = []
    starts = [one.start_ms for one in saying]
    last_end, during = -math.inf, False
    for number, one in enumerate(asking):
        onset = one.start_ms
        again = during and onset - last_end < thresholds.barge_in_pause_ms
        last_end = one.end_ms
        at = bisect.bisect_right(starts, onset - thresholds.collision_ms) - 1
        speaking = at >= 0 and onset < saying[at].end_ms
        if not speaking and 0 <= at < len(saying) - 1:
            # In the bot's pause, and the bot goes on into it.
            pause = saying[at + 1].start_ms - saying[at].end_ms
            into = onset <= saying[at + 1].start_ms < one.end_ms
            if into and pause < thresholds.barge_in_pause_ms:
                at, speaking = at + 1, True
        during = speaking
        if not speaking:
            continue
        silent = _silenced(one, at, saying, thresholds)
        if silent is not None:
            cut.append(number)
        if not again:
            out.append(BargeIn(onset, silent))
        elif silent is not None and out[-1].silent_ms is None:
            out[-1] = BargeIn(out[-1].onset_ms, silent)
    return tuple(out), tuple(cut)


def _silenced(
    caller: Span, at: int, saying: Sequence[Span], thresholds: Thresholds
) -> float | None:
    """The end of the bot's last sound, from its utterance ``at`` on; None: it spoke on."""
    latest = max(
        caller.start_ms + thresholds.silenced_within_ms,
        caller.end_ms + thresholds.silenced_after_speech_ms,
    )
    for number in range(at, len(saying)):
        end = saying[number].end_ms
        if end > latest:
            return None
        again = saying[number + 1].start_ms if number + 1 < len(saying) else math.inf
        if again >= caller.end_ms and again - end >= thresholds.silenced_for_ms:
            return end
    return None


def _overlap(asking: Sequence[Span], saying: Sequence[Span]) -> float:
    total, i, j = 0.0, 0, 0
    while i < len(asking) and j < len(saying):
        one, other = asking[i], saying[j]
        total += max(0.0, min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms))
        if one.end_ms <= other.end_ms:
            i += 1
        else:
            j += 1
    return total


def _dead_air(spans: Sequence[Span], longest_ms: float) -> tuple[Span, ...]:
    out: list[Span] = []
    until = math.inf
    for one in sorted(spans, key=lambda span: span.start_ms):
        if one.start_ms - until >= longest_ms:
            out.append(Span(until, one.start_ms))
        until = one.end_ms if until == math.inf else max(until, one.end_ms)
    return tuple(out)
