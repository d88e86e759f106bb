"""How calls to a live bridge did: what was and what is, side by side; one object for machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from teamscall.capture.live import LiveVerdict, Result
from teamscall.capture.live_sides import Side
from teamscall.cli import calls_view, replay_sum
from teamscall.text import printable

_COLOURS: dict[Result, str] = {
    "played": "green",
    "differs": "red",
    "broken": "red",
    "interrupted": "yellow",
    "wrong": "yellow",
}
_WORDS: dict[Result, str] = {
    "played": "played",
    "differs": "different",
    "broken": "not as expected",
    "interrupted": "interrupted",
    "wrong": "not played",
}
_SHOWN = 60  # characters of what was heard or said


def print_verdicts(verdicts: Sequence[LiveVerdict], *, left: int = 0) -> None:
    """Each call, then the sum, where the eye is."""
    out = calls_view.console()
    for verdict in verdicts:
        _print_one(out, verdict)
    replay_sum.print_sum(out, verdicts, _WORDS, left=left)


def _print_one(out: Console, verdict: LiveVerdict) -> None:
    name = Text(f"{printable(str(verdict.path), 500)}: ")
    name.append(_WORDS[verdict.result], style=_COLOURS[verdict.result])
    played = verdict.played
    if played is not None:
        parts = [verdict.against, f"{played.sent} messages in {played.length_s:.1f} s"]
        if played.left:
            parts.append(f"{played.left} not said: {played.reason}")
        if played.resumes:
            parts.append(f"{played.resumes} resumed")
        name.append(f" ({', '.join(parts)})")
    out.print(name, soft_wrap=True)
    if verdict.recorded is not None and verdict.now is not None:
        out.print(_table(verdict.recorded, verdict.now))
    styles = {"-": "red", "~": "yellow"}
    for line in verdict.lines():
        out.print(Text(f"  {line}", style=styles.get(line[:1], "")), soft_wrap=True)
    out.print()


def _table(recorded: Side, now: Side) -> Table:
    table = Table(box=None, pad_edge=True, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("", "RECORDED", "NOW"):
        table.add_column(column, overflow="fold")
    for what, was, came in _rows(recorded, now):
        table.add_row(Text(what, style="dim"), Text(was), Text(came))
    return table


def _rows(recorded: Side, now: Side) -> Iterator[tuple[str, str, str]]:
    yield "length", f"{recorded.length_s:.1f} s", f"{now.length_s:.1f} s"
    yield "answers", _answers(recorded), _answers(now)
    yield "flushes", str(recorded.flushes), str(now.flushes)
    for what, was, came in (
        ("heard", recorded.heard, now.heard),
        ("said", recorded.said, now.said),
    ):
        if was is not None or came is not None:
            yield what, _texts(was), _texts(came)
    for what, old, new in (
        ("turns", recorded.turns, now.turns),
        ("interrupted", recorded.interruptions, now.interruptions),
    ):
        if old is not None or new is not None:
            yield what, _number(old), _number(new)
    if recorded.end_reason or now.end_reason:
        yield "ended", _end(recorded), _end(now)


def _answers(one: Side) -> str:
    told = [f"{p.latency_ms:.0f}" for p in one.places if p.latency_ms is not None]
    return f"{len(told)}, after {', '.join(told)} ms" if told else "0"


def _texts(texts: tuple[str, ...] | None) -> str:
    if texts is None:
        return "not known"
    return " | ".join(printable(text, _SHOWN) for text in texts) or "nothing"


def _number(count: int | None) -> str:
    return "not known" if count is None else str(count)


def _end(one: Side) -> str:
    if one.end_reason is None:
        return "not known"
    return f"{printable(one.end_reason, _SHOWN)} by {one.ended_by}"


# --- for machines -------------------------------------------------------------------------


def print_json(verdicts: Sequence[LiveVerdict], *, left: int = 0) -> None:
    """One object."""
    replay_sum.print_json(verdicts, _WORDS, _as_json, left=left)


def _as_json(verdict: LiveVerdict) -> dict[str, Any]:
    played = verdict.played
    return {
        "capture": verdict.name,
        "file": printable(str(verdict.path), 4096),
        "result": verdict.result,
        "against": verdict.against,
        "dialect": verdict.dialect,
        "tookMs": round(verdict.took_s * 1000, 1),
        "outcome": None if played is None else played.outcome,
        "reason": None if played is None else printable(played.reason, 500),
        "callId": None if played is None else printable(played.call_id, 256),
        "sent": None if played is None else played.sent,
        "notSent": None if played is None else played.left,
        "latenessMs": None if played is None else played.late_ms,
        "resumes": None if played is None else played.resumes,
        "recorded": _side(verdict.recorded),
        "now": _side(verdict.now),
        "differences": [
            {"key": p.key, "text": printable(p.text, 500), "fails": p.fails} for p in verdict.points
        ],
        "broken": [{"key": b.key, "why": printable(b.why, 500)} for b in verdict.broken],
        "error": verdict.error or None,
        "hint": verdict.hint or None,
    }


def _side(one: Side | None) -> dict[str, Any] | None:
    if one is None:
        return None
    shown: dict[str, Any] = msgspec.to_builtins(one)
    for key in ("heard", "said"):
        if shown[key] is not None:
            shown[key] = [printable(text, 4096) for text in shown[key]]
    if shown["endReason"] is not None:
        shown["endReason"] = printable(shown["endReason"], 500)
    return shown
