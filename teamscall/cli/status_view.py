"""A bridge's status as a page and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from teamscall.cli import calls_view
from teamscall.cli.moments import lasted, local
from teamscall.cli.wording import DIALECTS
from teamscall.control.protocol import CallStatus, Status, Who
from teamscall.text import printable

WIDE = 100  # columns, for two more of the table
_GAP, _WHO, _LEAST_WHO = "  ", 3, 8
_STATES = {"lost": "lost: its connection is gone, and may come back"}
_COLOURS = {
    "requested": "yellow",
    "waiting": "yellow",
    "ringing": "yellow",
    "talking": "green",
    "goodbye": "cyan",
    "lost": "red",
}


def print_json(found: Status | CallStatus) -> None:
    """One object: ``bridge`` and ``calls``, or ``call``."""
    whole = msgspec.to_builtins(found)
    if isinstance(found, CallStatus):
        calls_view.print_json({"call": whole})
    else:
        calls = whole.pop("calls")
        calls_view.print_json({"bridge": whole, "calls": calls})


def print_status(found: Status | CallStatus) -> None:
    """For people. Nothing of a peer is markup or a control character."""
    if isinstance(found, CallStatus):
        _print_facts(_of_call(found))
        return
    _print_facts(_of_bridge(found))
    print()
    if found.calls:
        _print_calls(found.calls)
    else:
        print("No calls.")


def _print_facts(rows: Iterable[tuple[str, str]]) -> None:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value:
            table.add_row(Text(name, style="dim"), Text(printable(value, 1000)))
    calls_view.console().print(table)


def _print_calls(calls: tuple[CallStatus, ...]) -> None:
    """Who it is gets the room that is left: every other column is shown whole."""
    out = calls_view.console()
    heads = ["CALL", "STATE", "", "WHO", "LASTED", "TURNS", "HEARS"]
    if out.width >= WIDE:
        heads += ["ENGINE", "THROUGH"]
    names = calls_view.short_ids([call.call_id or call.attempt for call in calls])
    rows = [_row(call, names, wide=out.width >= WIDE) for call in calls]
    whole = [max(map(cell_len, [head, *(row[i] for row in rows)])) for i, head in enumerate(heads)]
    left = out.width - sum(whole) + whole[_WHO] - len(_GAP) * (len(heads) - 1)
    table = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="dim")
    for i, head in enumerate(heads):
        table.add_column(
            head,
            justify="right" if head in ("LASTED", "TURNS") else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=max(_LEAST_WHO, left) if i == _WHO else None,
        )
    for call, row in zip(calls, rows, strict=True):
        cells = [Text(cell) for cell in row]
        cells[1].stylize(_COLOURS.get(call.state, ""))
        table.add_row(*cells)
    out.print(table)


def _row(call: CallStatus, names: Mapping[str, str], *, wide: bool) -> list[str]:
    up = call.state in ("talking", "goodbye", "lost")
    row = [
        printable(names[call.call_id or call.attempt], 80),
        call.state,
        "out" if call.direction == "outbound" else "in",
        _who(call),
        lasted(call.duration_ms),
        str(call.turns) if up else "",
        ("yes" if call.hears else "no") if up else "",
    ]
    if wide:
        row += [
            call.engine + ("" if call.engine_ready or not up else " (starting)"),
            DIALECTS[call.dialect],
        ]
    return row


def _of_bridge(status: Status) -> Iterable[tuple[str, str]]:
    state = "draining: no new calls" if status.draining else "answering"
    if not status.ready and not status.draining:
        state = "full: no slot is free"
    yield "teamscall", f"{status.version}, process {status.pid}"
    yield "state", f"{state}; up {lasted(status.uptime_s * 1000)}"
    for one in status.listening:
        yield ", ".join(DIALECTS[dialect] for dialect in one.dialects), " ".join(one.urls)
    yield "C# sockets", f"{status.gateways} open"
    yield "engine", status.engine
    yield "slots", f"{status.slots_free} of {status.slots} free"
    outbound = status.outbound
    on = "on" if outbound.enabled and outbound.switched_on else "off"
    yield (
        "calls out",
        f"{on}; {outbound.ringing} ringing, {outbound.last_hour} of {outbound.max_per_hour} in "
        "the last hour",
    )
    journal = status.journal
    trouble = "; NOT BEING WRITTEN" if journal.failing else ""
    lost = f"; {journal.lost} records lost" if journal.lost else ""
    yield "journal", f"{journal.path}{trouble}{lost}" if journal.path else "off"
    yield "dropped", _counted(status.drops)
    yield "refused", _counted(status.refusals)
    yield "configuration", status.config_path or "defaults, environment and flags"


def _of_call(call: CallStatus) -> Iterable[tuple[str, str]]:
    yield "call", call.call_id
    yield "attempt", call.attempt
    yield "state", _STATES.get(call.state, call.state)
    yield "outcome", call.outcome or ""
    yield "direction", call.direction
    yield "through", f"{DIALECTS[call.dialect]} {call.address}".strip()
    yield "who", _who(call)
    yield "user", call.who.user_id
    yield "tenant", call.who.tenant_id
    yield "target", call.target
    yield "mode", call.mode or ""
    yield "started", local(call.started_ms)
    yield "lasted", lasted(call.duration_ms)
    yield "engine", call.engine and f"{call.engine}{'' if _ready(call) else ' (starting)'}"
    yield "recording", call.recording or ""
    if call.state not in ("ended", "requested", "waiting"):
        yield "hears", "yes" if call.hears else "no: its recording status is not active"
        yield "frames", f"{call.frames_in} in, {call.frames_out} out"
    yield "turns", str(call.turns)
    yield "interrupted", str(call.interruptions or "")
    by = f" by the {call.ended_by}" if call.ended_by else ""
    yield "ended", f"{call.reason}{by}" if call.reason else ""
    yield "detail", call.detail


def _ready(call: CallStatus) -> bool:
    return call.engine_ready or call.state == "ended"


def _who(call: CallStatus) -> str:
    who: Who = call.who
    named = who.display_name or who.user_principal_name or who.phone_number or who.user_id
    return printable(named or call.target or "unknown", 80)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
