"""Pictures as one page that needs nothing else: no network, no file, no other script.

Owns that nothing a peer said is ever run: texts are escaped by the template, data stand in
a script of type JSON without any angle bracket, and a content security policy names the
page's own script and style by their hashes. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from teamscall.capture.report import svg
from teamscall.capture.report.figures import figures, inaudible
from teamscall.capture.report.parts import Picture, Track, Turn
from teamscall.capture.report.scene import clock, scene
from teamscall.capture.report.story import story

_ASSETS = files("teamscall") / "assets" / "report"
# The drawn timeline that is printed: as wide as a page of paper reads well.
STILL_WIDTH = 1000


def render(pictures: Sequence[Picture]) -> str:
    """The page: one call, or several with a table that compares them.

    Raises:
        ValueError: there is none.
    """
    import jinja2
    from markupsafe import Markup

    if not pictures:
        raise ValueError("a page of no call")
    style = (_ASSETS / "report.css").read_text("utf-8")
    script = (_ASSETS / "report.js").read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        clock=_clock, seconds=_seconds, ms=_ms, db=_db, base64=_base64, exact=_exact
    )
    template = environment.from_string((_ASSETS / "report.html.jinja").read_text("utf-8"))
    answers = [turn for picture in pictures for turn in picture.turns if turn.stages]
    waits = [ms for turn in answers for ms in (turn.stages[-1].to_ms, turn.measured_ms) if ms]
    calls = [_call(number, one, Markup) for number, one in enumerate(pictures, 1)]
    return template.render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        calls=calls,
        title=pictures[0].title if len(calls) == 1 else f"{len(calls)} calls",
        longest_ms=max(waits, default=1.0),
    )


def _call(number: int, picture: Picture, markup: Any) -> dict[str, Any]:
    return {
        "number": number,
        "picture": picture,
        "figures": figures(picture),
        "story": story(picture),
        "answers": [turn for turn in picture.turns if turn.stages],
        "inaudible": inaudible(picture),
        "still": markup(svg.render(scene(picture, STILL_WIDTH))),
        "data": markup(_json(_data(picture))),
        "sounds": [
            (track.who, markup(_json([[p.sample, _base64(p.mulaw)] for p in track.pieces])))
            for track in picture.tracks
            if track.pieces
        ],
    }


def _policy(style: str, script: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "img-src data:",
            "media-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(value: object) -> str:
    """ASCII without anything that HTML knows."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# --- what the script draws ------------------------------------------------------------


def _data(picture: Picture) -> Mapping[str, Any]:
    return {
        "length": picture.length,
        "tracks": {track.who: _track(track) for track in picture.tracks},
        "spoken": [[one.start, one.end] for one in picture.spoken] if not picture.tracks else [],
        "gates": [[one.start, one.end, one.open, one.label] for one in picture.gates],
        "items": _items(picture),
    }


def _track(track: Track) -> Mapping[str, Any]:
    return {
        "bucketMs": track.bucket_ms,
        "peaks": _base64(track.peaks),
        "powers": _base64(track.powers),
    }


def _items(picture: Picture) -> list[list[Any]]:
    """Lane, kind, from, to, what stands on it, what is told of it."""
    items: list[list[Any]] = []
    for one in picture.utterances:
        kind = "heard" if one.final else "heard unsure"
        told = f"heard from {_clock(one.start)} to {_clock(one.end)}: {one.text}"
        items.append(["heard", kind, one.start, one.end, one.text, told])
        stops = [partial.at for partial in one.partials[1:]]
        stops.append(max(one.end, *(partial.at for partial in one.partials), 0.0))
        for index, (partial, stop) in enumerate(zip(one.partials, stops, strict=False)):
            last = one.final and index == len(one.partials) - 1
            word = "final" if last else "partial"
            told = f"{word}, {_clock(partial.at)}: {partial.text}"
            items.append(["partials", word, partial.at, stop, partial.text, told])
    for turn in picture.turns:
        items += _turn_items(turn)
    for mark in picture.marks:
        told = f"{_clock(mark.at)}: {mark.text}"
        items.append(["events", mark.kind, mark.at, mark.at, mark.label, told])
    for gate in picture.gates:
        kind = "open" if gate.open else "shut"
        items.append(["recording", kind, gate.start, gate.end, gate.label, gate.label])
    for loss in picture.losses:
        told = f"{_clock(loss.start)}, {loss.who}: {loss.text}"
        items.append(["frames", loss.kind, loss.start, loss.end, "", told])
    return items


def _turn_items(turn: Turn) -> list[list[Any]]:
    items: list[list[Any]] = []
    name = f"turn {turn.number}, {turn.kind}, {turn.status}"
    start = turn.audible[0].start if turn.audible else turn.began
    widest = max(turn.audible, key=lambda span: span.end - span.start, default=None)
    for index, span in enumerate(turn.audible):
        words = turn.heard if not index else ""
        kind = "said more" if index else "said"
        items.append(["said", kind, span.start, span.end, words, f"{name}: {turn.heard}"])
        label = f"{turn.number} {turn.kind}" if span is widest else ""
        items.append(["turns", "turn", span.start, span.end, label, _turn_words(turn, name)])
    if not turn.audible and turn.said:
        items.append(["said", "unheard", start, start, "", f"{name}: {turn.said}"])
    if turn.cut:
        stop = turn.audible[-1].end if turn.audible else start
        items.append(["cut", "cut", start, stop, turn.cut, f"{name}; not heard: {turn.cut}"])
        items.append(["turns", "stop", stop, stop, "", f"{name}, cut at {_clock(stop)}"])
    if turn.asked is not None:
        for stage in turn.stages:
            begin, end = (turn.asked + ms / 1000 for ms in (stage.from_ms, stage.to_ms))
            told = f"{stage.label}: {stage.to_ms:.0f} ms (+{stage.to_ms - stage.from_ms:.0f})"
            items.append(["turns", f"stage-{stage.name.replace('_', '-')}", begin, end, "", told])
    if turn.measured_ms is not None and turn.measured_from is not None:
        end = turn.measured_from + turn.measured_ms / 1000
        told = f"turn {turn.number}, measured from the sound: {turn.measured_ms:.0f} ms"
        items.append(["turns", "measured", turn.measured_from, end, "", told])
    return items


def _turn_words(turn: Turn, name: str) -> str:
    words = f"{name}: {turn.said_ms / 1000:.1f} s said, {turn.heard_ms / 1000:.1f} s heard"
    if turn.stages:
        words += f"; first frame after {turn.stages[-1].to_ms:.0f} ms"
    if turn.measured_ms is not None:
        words += f", first sound after {turn.measured_ms:.0f} ms as measured"
    return words


# --- filters ----------------------------------------------------------------------------


def _clock(seconds: float) -> str:
    return clock(seconds, 0.1) if seconds >= 0 else f"−{clock(-seconds, 0.1)}"


def _exact(seconds: float) -> str:
    return f"{seconds:.3f}".replace("-", "−")


def _seconds(ms: float | None) -> str:
    return "–" if ms is None else f"{ms / 1000:.1f} s"


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms".replace(",", "\u202f")


def _db(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}".replace("-", "−")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
