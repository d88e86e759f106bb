"""Measures of a call's sound in words: for ``capture measure``, ``emulate``, ``demo`` and
``calls show``.

Owns the wording and the JSON's shape. Refuses to know how they were measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from teamscall.audio.measures import Measures, Span, Track

_SHOWN = 20  # rows of a kind; the JSON has all


def as_json(found: Measures, *, snake: bool = False) -> dict[str, Any]:
    """Milliseconds rounded to a hundredth; what is derived is there too.

    ``snake``: the keys as in the emulator's report, else camelCase.
    """
    body: dict[str, Any] = {
        "lengthMs": _round(found.length_ms),
        "firstSoundMs": _round(found.first_sound_ms),
        "responses": [
            {
                "askedMs": _round(one.asked_ms),
                "answeredMs": _round(one.answered_ms),
                "latencyMs": _round(one.latency_ms),
            }
            for one in found.responses
        ],
        "bargeIns": [
            {
                "onsetMs": _round(one.onset_ms),
                "silentMs": _round(one.silent_ms),
                "stoppedAfterMs": _round(one.stopped_after_ms),
            }
            for one in found.barge_ins
        ],
        "overlapMs": _round(found.overlap_ms),
        "deadAir": _spans(found.dead_air),
        "caller": _track(found.caller),
        "bot": _track(found.bot),
    }
    return _snake(body) if snake else body


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {re.sub("([A-Z])", r"_\1", key).lower(): _snake(v) for key, v in value.items()}
    return [_snake(one) for one in value] if isinstance(value, list) else value


def brief(found: Measures) -> list[tuple[str, str]]:
    """A few lines, each with its label; of what is not there, none."""
    rows = [("answers", _answers(found))]
    if found.barge_ins:
        rows.append(("barge-ins", _barge_ins(found)))
    faults = [
        *(f"{_of(len(t.gaps), 'hole')} in the {who}'s" for who, t in _sides(found) if t.gaps),
        *(f"the {who} clipped" for who, t in _sides(found) if t.loudness.clipped_samples),
        *(
            f"{_of(t.loudness.clicks, 'click')} of the {who}"
            for who, t in _sides(found)
            if _clicky(t)
        ),
    ]
    if faults:
        rows.append(("sound", ", ".join(faults)))
    if found.dead_air:
        longest = max(one.length_ms for one in found.dead_air)
        times = "once" if len(found.dead_air) == 1 else f"{len(found.dead_air)} times"
        rows.append(("dead air", f"{times}, {longest / 1000:.1f} s at most"))
    return rows


def _of(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def table(found: Measures) -> Iterator[str]:
    """All of it, in lines of at most 80 columns."""
    yield f"{'length':<14} {_s(found.length_ms)}"
    first = "none" if found.first_sound_ms is None else _s(found.first_sound_ms)
    yield f"{'first sound':<14} {first}"
    yield f"{'answers':<14} {_answers(found)}"
    yield f"{'barge-ins':<14} {_barge_ins(found)}"
    yield f"{'overlap':<14} {found.overlap_ms:.0f} ms"
    if found.responses:
        yield from ("", "CALLER ENDED   BOT BEGAN    ANSWERED AFTER")
        yield from _cut(
            f"{_s(one.asked_ms):>12}   {_s(one.answered_ms):>9}    {one.latency_ms:>11.0f} ms"
            for one in found.responses
        )
    if found.barge_ins:
        yield from ("", "CALLER BEGAN   BOT'S LAST   SILENT AFTER")
        yield from _cut(
            f"{_s(one.onset_ms):>12}   "
            + (
                f"{'spoke on':>10}"
                if one.silent_ms is None or one.stopped_after_ms is None
                else f"{_s(one.silent_ms):>10}   {one.stopped_after_ms:>9.0f} ms"
            )
            for one in found.barge_ins
        )
    if found.dead_air:
        yield from ("", "NOBODY SPOKE   UNTIL       FOR")
        yield from _cut(
            f"{_s(one.start_ms):>12}   {_s(one.end_ms):>9}   {one.length_ms / 1000:.1f} s"
            for one in found.dead_air
        )
    yield ""
    yield f"{'':<14} {'CALLER':>12} {'BOT':>12}"
    for name, one, other in _sound_rows(found):
        yield f"{name:<14} {one:>12} {other:>12}"


def _sound_rows(found: Measures) -> Iterator[tuple[str, str, str]]:
    a, b = found.caller, found.bot
    one, other = a.loudness, b.loudness
    yield "utterances", str(len(a.utterances)), str(len(b.utterances))
    yield "speech", _s(a.speech_ms), _s(b.speech_ms)
    yield "level", _db(one.level_dbfs), _db(other.level_dbfs)
    yield "peak", _db(one.peak_dbfs), _db(other.peak_dbfs)
    yield "noise", _db(one.noise_dbfs), _db(other.noise_dbfs)
    yield "holes", _holes(a), _holes(b)
    yield "clicks", str(one.clicks), str(other.clicks)
    yield "clipped", f"{one.clipped_samples} samples", f"{other.clipped_samples} samples"


def _answers(found: Measures) -> str:
    if not found.responses:
        return "none measured"
    all_ms = [one.latency_ms for one in found.responses]
    if len(all_ms) == 1:
        return f"1, after {all_ms[0]:.0f} ms"
    return f"{len(all_ms)}, after {median(all_ms):.0f} ms (p50), {max(all_ms):.0f} ms at most"


def _barge_ins(found: Measures) -> str:
    stops = [one.stopped_after_ms for one in found.barge_ins if one.stopped_after_ms is not None]
    if not found.barge_ins:
        return "none"
    on = len(found.barge_ins) - len(stops)
    parts = [f"{len(found.barge_ins)}"]
    if stops:
        parts.append(f"silent within {max(stops):.0f} ms")
    if on:
        parts.append(f"spoke on in {on}")
    return ", ".join(parts)


def _sides(found: Measures) -> tuple[tuple[str, Track], ...]:
    return ("caller", found.caller), ("bot", found.bot)


def _clicky(track: Track) -> bool:
    return track.loudness.clicks > 0


def _cut(rows: Iterator[str]) -> Iterator[str]:
    every = list(rows)
    yield from every[:_SHOWN]
    if len(every) > _SHOWN:
        yield f"… and {len(every) - _SHOWN} more (--json has all)"


def _track(track: Track) -> dict[str, Any]:
    loud = track.loudness
    return {
        "utterances": _spans(track.utterances),
        "gaps": _spans(track.gaps),
        "speechMs": _round(track.speech_ms),
        "levelDbfs": _round(loud.level_dbfs),
        "peakDbfs": _round(loud.peak_dbfs),
        "noiseDbfs": _round(loud.noise_dbfs),
        "clippedSamples": loud.clipped_samples,
        "clicks": loud.clicks,
    }


def _spans(spans: Sequence[Span]) -> list[dict[str, float | None]]:
    return [{"startMs": _round(one.start_ms), "endMs": _round(one.end_ms)} for one in spans]


def _holes(track: Track) -> str:
    longest = max((one.length_ms for one in track.gaps), default=0.0)
    return f"{len(track.gaps)}, {longest:.0f} ms" if track.gaps else "0"


def _s(ms: float) -> str:
    return f"{ms / 1000:.3f} s"


def _db(level: float | None) -> str:
    return "-" if level is None else f"{level:.1f} dBFS"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
