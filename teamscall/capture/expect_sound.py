"""What must hold of a call's sound: the keys of an expectation that are measured.

Owns their verdicts, and that what was never measured does not hold. Refuses to know where the
sound comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from teamscall.audio.measures import Measures
from teamscall.audio.waveform import Thresholds
from teamscall.capture.expect import Broken, Expectation

Measure = Callable[[Thresholds], Measures | None]


def broken_in_sound(wanted: Expectation, measure: Measure) -> tuple[Broken, ...]:
    """Which of what is asked of the sound does not hold, in the order of the keys.

    ``measure`` is only called where something is asked of it; None: there is no sound.
    """
    if not wanted.of_sound:
        return ()
    usual = Thresholds()
    longest = wanted.max_dead_air_ms or usual.dead_air_ms
    found = measure(Thresholds(dead_air_ms=min(longest, usual.dead_air_ms)))
    if found is None:
        return tuple(Broken(key, "the call has no sound to measure") for key in wanted.of_sound)
    return (
        *_responses(wanted.response_under_ms, found),
        *_silent(wanted.silent_within_ms, found),
        *_bot(wanted, found),
        *_dead_air(wanted.max_dead_air_ms, found),
    )


def _responses(limit_ms: float | None, found: Measures) -> Iterable[Broken]:
    if limit_ms is None:
        return
    if not found.responses:
        yield Broken("response_under_ms", "no answer could be measured in the sound")
        return
    slow = [one for one in found.responses if one.latency_ms >= limit_ms]
    if slow:
        worst = max(slow, key=lambda one: one.latency_ms)
        yield Broken(
            "response_under_ms",
            f"{len(slow)} of {len(found.responses)} answers were heard after {limit_ms:g} ms or "
            f"more, the slowest after {worst.latency_ms:.0f} ms, at "
            f"{worst.answered_ms / 1000:.3f} s",
        )


def _silent(limit_ms: float | None, found: Measures) -> Iterable[Broken]:
    if limit_ms is None:
        return
    if not found.barge_ins:
        yield Broken("silent_within_ms", "nobody was heard to begin while the bot spoke")
        return
    late = [
        one
        for one in found.barge_ins
        if one.stopped_after_ms is None or one.stopped_after_ms > limit_ms
    ]
    if late:
        first = late[0]
        after = first.stopped_after_ms
        how = "the bot spoke on" if after is None else f"the bot was silent after {after:.0f} ms"
        yield Broken(
            "silent_within_ms",
            f"in {len(late)} of {len(found.barge_ins)} barge-ins not within {limit_ms:g} ms, "
            f"first at {first.onset_ms / 1000:.3f} s: {how}",
        )


def _bot(wanted: Expectation, found: Measures) -> Iterable[Broken]:
    """Of the bot's sound alone: the caller's is none of the bridge's making."""
    for key, asked in (("no_gaps", wanted.no_gaps), ("no_clipping", wanted.no_clipping)):
        if asked and not found.bot.utterances:
            yield Broken(key, "the bot was never heard")
    gaps = found.bot.gaps
    if wanted.no_gaps and gaps:
        holes = "1 hole" if len(gaps) == 1 else f"{len(gaps)} holes"
        longest = max(one.length_ms for one in gaps)
        yield Broken(
            "no_gaps",
            f"{holes} in the bot's sound, the first at {gaps[0].start_ms / 1000:.3f} s, "
            f"{longest:.0f} ms at most",
        )
    clipped = found.bot.loudness.clipped_samples
    if wanted.no_clipping and clipped:
        yield Broken("no_clipping", f"{clipped} samples of the bot's sound are at full scale")


def _dead_air(limit_ms: float | None, found: Measures) -> Iterable[Broken]:
    if limit_ms is None:
        return
    if not found.bot.utterances and not found.caller.utterances:
        yield Broken("max_dead_air_ms", "nobody was heard")
        return
    long = [one for one in found.dead_air if one.length_ms > limit_ms]
    if long:
        worst = max(long, key=lambda one: one.length_ms)
        yield Broken(
            "max_dead_air_ms",
            f"nobody spoke for {worst.length_ms:.0f} ms from {worst.start_ms / 1000:.3f} s on, "
            f"{limit_ms:g} ms are allowed",
        )
