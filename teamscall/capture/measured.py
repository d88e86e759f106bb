"""A captured call, measured from its sound.

Owns which side's tracks are measured, and that nothing is measured where the capture does not
know what was to be heard: frames left out (the recording gate was closed, or the capture holds
no audio), frames that got lost, records that were dropped. A response, a barge-in, a hole or a
silence that touches such a place is no finding. Refuses to know how it is measured.

Whose clock: the emulator's, where the capture has its side, alone or merged: that is where a
caller's ear is. The bridge's side has the caller's sound as late as the network brought it,
and the bot's as the far side plays it without a network in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from teamscall.audio.measures import Measures, Span, Track
from teamscall.audio.waveform import Thresholds, measure
from teamscall.calls.events import Command
from teamscall.capture.reader import Capture
from teamscall.capture.records import Frame, Side
from teamscall.capture.sound import Tracks, Unknown, bot_track, tracks
from teamscall.errors import CaptureError

# Sound that begins or ends this near to an unknown place may have done so inside it.
_NEAR_MS = 40.0


def side_measured(capture: Capture) -> Side:
    """Whose clock and ears."""
    theirs = any(isinstance(one, Frame) and one.side == "emulator" for one in capture.records)
    return "emulator" if theirs else capture.header.side


def measured(capture: Capture, thresholds: Thresholds | None = None) -> Measures | None:
    """The figures of a call; None: there is no sound in the capture."""
    for side in dict.fromkeys((side_measured(capture), capture.header.side)):
        try:
            return of_tracks(tracks(capture, side), thresholds)
        except CaptureError:
            continue  # of a merged one, the other side may have kept its audio
    return None


def measured_again(
    capture: Capture, commands: Iterable[tuple[float, Command]], thresholds: Thresholds
) -> Measures | None:
    """The figures of a replay: the recorded caller, and the bot as the far side would play
    what the conversation returned, each with its second of the call. On the bridge's clock.
    """
    try:
        sound = tracks(capture, capture.header.side)
    except CaptureError:
        return None
    return of_tracks(msgspec.structs.replace(sound, bot=bot_track(commands)), thresholds)


def of_tracks(sound: Tracks, thresholds: Thresholds | None = None) -> Measures:
    """The figures of both tracks, without what touches a place that is not known."""
    found = measure(sound.caller, sound.bot, thresholds=thresholds or Thresholds())
    if not sound.unknown:
        return found
    apart = _apart(sound.unknown)
    return msgspec.structs.replace(
        found,
        caller=_known(found.caller, [u for u in sound.unknown if u.side != "bot"]),
        bot=_known(found.bot, [u for u in sound.unknown if u.side != "caller"]),
        responses=tuple(r for r in found.responses if apart(r.asked_ms, r.answered_ms)),
        barge_ins=tuple(b for b in found.barge_ins if apart(b.onset_ms, b.silent_ms)),
        dead_air=tuple(s for s in found.dead_air if apart(s.start_ms, s.end_ms)),
    )


def _known(track: Track, unknown: Iterable[Unknown]) -> Track:
    """A lost frame of the caller's is a hole that was heard; what was left out is none, but
    nobody can tell them apart in a track."""
    apart = _apart(unknown)
    gaps: tuple[Span, ...] = tuple(g for g in track.gaps if apart(g.start_ms, g.end_ms))
    return msgspec.structs.replace(track, gaps=gaps)


def _apart(unknown: Iterable[Unknown]) -> Callable[[float, float | None], bool]:
    """Whether nothing unknown lies between two moments, or near them."""
    places = [(one.start_ms - _NEAR_MS, one.end_ms + _NEAR_MS) for one in unknown]

    def apart(start_ms: float, end_ms: float | None) -> bool:
        end = start_ms if end_ms is None else end_ms
        return all(end < first or last < start_ms for first, last in places)

    return apart
