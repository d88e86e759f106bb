"""One call on a terminal or in a pipe: facts, timeline, turns, transcript."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from teamscall.cli.calls_view import console, cost_words, outcome_style, who_words
from teamscall.cli.moments import lasted, local
from teamscall.cli.timeline import LEGEND, heard_between, picture
from teamscall.cli.wording import DIALECTS
from teamscall.journal.figures import STAGES
from teamscall.journal.history import CallLine
from teamscall.journal.whole import Happened, Whole

_LANE_STYLES = {"caller": "cyan", "bot": "green", "cut": "yellow", "errors": "red"}
STAGE_WORDS = {
    "endpoint": "pause noticed",
    "transcript": "words known",
    "firstText": "first word thought",
    "firstAudio": "first sound made",
    "firstFrame": "first frame sent",
}


def print_call(call: Whole, now_ms: int) -> None:
    """All of it. Lists that are empty are left out."""
    out = console()
    line = call.call
    name = line.call_id or line.attempt
    out.print(Text.assemble((name, "bold"), "  ", (line.outcome, outcome_style(line.outcome))))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for label, value in _facts(call, now_ms):
        facts.add_row(Text(label, style="dim"), Text(value))
    out.print(facts)
    if line.outcome == "refused":
        return
    _print_timeline(out, call, now_ms)
    _print_latency(out, line)
    _print_turns(out, call)
    _print_events(out, call)
    _print_transcript(out, call)


def _facts(call: Whole, now_ms: int) -> Iterator[tuple[str, str]]:
    line = call.call
    who = line.who
    more = (who.user_principal_name, who.phone_number, who.user_id, who.tenant_id)
    name = who_words(who, line.target)
    yield "who", ", ".join([name, *(one for one in more if one and one != name)])
    through = DIALECTS.get(line.dialect, line.dialect)
    far = f"{line.direction}, {through} {line.address}".rstrip()
    yield "call", far + (f", {line.mode}" if line.mode else "")
    if line.attempt:
        yield "asked", f"{line.target} by {line.asked_by or 'unknown'} ({line.attempt})"
    if (decision := line.decision) is not None:
        word = "granted" if decision.authorized else "refused"
        yield "decision", f"{word} by {decision.strategy}: {decision.reason}".rstrip(": ")
    if line.engine:
        yield "engine", line.engine
    yield "started", local(line.started_ms)
    if line.answered_ms is not None:
        rang = lasted(line.answered_ms - line.started_ms)
        yield "answered", f"{local(line.answered_ms)}, after {rang}"
    if line.outcome == "refused":
        return
    if line.ended_ms is None and line.outcome == "interrupted":
        yield "ended", "unknown: the bridge was killed, and was not started again"
    elif line.ended_ms is None:
        yield "ended", f"not yet, {lasted(now_ms - line.started_ms)} so far"
    else:
        by = f" by the {line.ended_by}" if line.ended_by else ""
        detail = f" ({line.detail})" if line.detail else ""
        length = lasted(line.duration_ms or line.ended_ms - line.started_ms)
        yield "ended", f"{local(line.ended_ms)}, after {length}: {line.reason}{by}{detail}"
    yield "turns", f"{line.turns}, {line.interruptions} interrupted, {line.carried_on} carried on"
    if (counters := call.counters) is not None:
        lost = counters.dropped_in + counters.dropped_out
        yield (
            "frames",
            f"{counters.frames_in} in, {counters.frames_out} out, {lost} dropped, "
            f"{counters.gated_in} gated, {counters.underruns} underruns",
        )
    if line.errors:
        yield "errors", str(line.errors)
    if line.input_tokens or line.output_tokens:
        yield "tokens", f"{line.input_tokens} in, {line.output_tokens} out"
    if line.cost:
        yield "cost", cost_words(line.cost)
    if call.others:
        yield "others", f"{call.others} more of this id; this is the newest"


def _print_timeline(out: Console, call: Whole, now_ms: int) -> None:
    drawn = picture(call, out.width, now_ms)
    out.print()
    for lane in drawn.lanes:
        style = _LANE_STYLES.get(lane.name, "")
        out.print(
            Text.assemble((lane.name.ljust(10), "dim"), (lane.cells.rstrip(), style)), no_wrap=True
        )
    for row in drawn.axis:
        out.print(Text(" " * 10 + row, style="dim"), no_wrap=True)
    seen = "".join(lane.cells for lane in drawn.lanes)
    legend = "   ".join(f"{sign} {words}" for sign, words in LEGEND if sign in seen)
    if legend:
        out.print(Text(legend, style="dim"))


def _print_latency(out: Console, line: CallLine) -> None:
    if not line.latency:
        return
    table = _table("ANSWERS, MS FROM THE LAST WORD", ">P50", ">P95", ">COUNT")
    for stage in STAGES:
        if (found := line.latency.get(stage)) is not None:
            table.add_row(
                STAGE_WORDS[stage], f"{found.p50:.0f}", f"{found.p95:.0f}", str(found.count)
            )
    out.print()
    out.print(table)


def _print_turns(out: Console, call: Whole) -> None:
    if not call.turns:
        return
    table = _table(">AT", ">TURN", "KIND", "STATUS", ">SAID", ">HEARD", ">FIRST FRAME")
    for turn in call.turns:
        first = "" if turn.first_frame_ms is None else f"{turn.first_frame_ms:.0f} ms"
        table.add_row(
            _offset(call, heard_between(turn, call.events)[0]),
            str(turn.turn),
            turn.kind,
            Text(turn.status, style="" if turn.status == "completed" else "yellow"),
            f"{turn.said_ms / 1000:.1f} s",
            f"{turn.heard_ms / 1000:.1f} s",
            first,
        )
    out.print()
    out.print(table)


def _print_events(out: Console, call: Whole) -> None:
    rows = [(event.wall_ms, event.kind, _event_words(event)) for event in call.events]
    rows += [
        (one.wall_ms, "asked for", f"{one.action} by {one.asked_by}: {one.result} {one.detail}")
        for one in call.audit
    ]
    if not rows:
        return
    table = _table(">AT", "EVENT", "WHAT")
    for wall_ms, kind, words in sorted(rows):
        table.add_row(_offset(call, wall_ms), kind, Text(words.strip(), overflow="fold"))
    out.print()
    out.print(table)


def _event_words(event: Happened) -> str:
    match event.kind:
        case "barge-in":
            after = "" if event.ms is None else f", flushed {event.ms:.0f} ms after the onset"
            return f"turn {event.turn} by {event.state} ({event.detail}){after}"
        case "carried-on":
            stopped = "" if event.ms is None else f" after {event.ms:.0f} ms"
            return f"turn {event.turn}{stopped}: it was a {event.state}"
        case "trouble":
            fatal = ", fatal" if event.number else ""
            return f"{event.state}{fatal}: {event.detail}"
        case "participants":
            return str(event.number)
        case "gate":
            return f"{event.state} ({event.detail or 'no status yet'})"
    return event.state


def _print_transcript(out: Console, call: Whole) -> None:
    if not call.transcript:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    turns = {turn.turn: turn for turn in call.turns}
    began = {turn: heard_between(one, call.events)[0] for turn, one in turns.items()}
    # A turn that was cut is over once it is known why: it is told where it began.
    said = [(began.get(words.turn or 0, words.wall_ms), words) for words in call.transcript]
    for wall_ms, words in sorted(said, key=lambda one: one[0]):
        text = Text(words.text, style="")
        if words.speaker == "bot" and words.status != "completed":
            text = _cut(words.text, words.heard)
        table.add_row(
            Text(_offset(call, wall_ms), style="dim"),
            Text(words.speaker, style=_LANE_STYLES.get(words.speaker, "")),
            text,
        )
    out.print()
    out.print(table)


def _cut(said: str, heard: str) -> Text:
    """What was heard, and after a slash what nobody heard any more."""
    if not said.startswith(heard):
        return Text.assemble(heard, (" /", "yellow"), (f" ({said})", "dim"))
    rest = said[len(heard) :].strip()
    if not rest:
        return Text(heard)
    return Text.assemble(f"{heard} ".lstrip(), ("/ ", "yellow"), (rest, "dim strike"))


def _offset(call: Whole, wall_ms: int) -> str:
    """Seconds into the call."""
    return f"{max(0, wall_ms - call.call.started_ms) / 1000:.1f}s"


def _table(*names: str) -> Table:
    """Columns; those with ``>`` are numbers."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(
            name.removeprefix(">"),
            justify="right" if name.startswith(">") else "left",
            overflow="fold",
        )
    return table
