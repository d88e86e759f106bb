"""How ``doctor`` looks: progress on stderr, the table on stdout, JSON."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from teamscall.cli.calls_view import console
from teamscall.cli.streams import live
from teamscall.doctor.checks import GROUPS, Check, Status
from teamscall.doctor.running import OnProgress, Outcome, worst
from teamscall.text import printable

if TYPE_CHECKING:
    from teamscall.control.protocol import Failure
    from teamscall.errors import ExitCode

VERSION = 1  # of the JSON
FEW_SKIPPED = 3  # of a group have a line each; --json has all of them with their reasons

_WORDS: dict[Status, str] = {
    "ok": "ok",
    "warning": "warning",
    "failed": "FAILED",
    "skipped": "skipped",
}
_STYLES: dict[Status, str] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "bold red",
    "skipped": "dim",
}
_ORDER: tuple[Status, ...] = ("failed", "warning", "ok", "skipped")


@contextlib.contextmanager
def progress(checks: Sequence[Check], *, quiet: bool) -> Iterator[OnProgress]:
    """Which checks are under way, on one line that is gone at the end."""
    if quiet or not live(sys.stderr):
        yield lambda check, outcome: None
        return
    running: dict[str, None] = {}
    done = 0

    def line() -> Text:
        names = ", ".join(running)
        room = max(10, err.width - 24)
        return Text(f"Checking {done}/{len(checks)}  {printable(names, room)}", style="dim")

    err = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with err.status(line()) as status:

        def tell(check: Check, outcome: Outcome | None) -> None:
            nonlocal done
            if outcome is None:
                running[check.id] = None
            else:
                running.pop(check.id, None)
                done += 1
            status.update(line())

        yield tell


def print_table(outcomes: Sequence[Outcome]) -> None:
    """One row for each check, by group; what to do under what is wrong."""
    out = console()
    width = max((len(outcome.check.id) for outcome in outcomes), default=0)
    for group, title in GROUPS.items():
        rows = [outcome for outcome in outcomes if outcome.check.group == group]
        if not rows:
            continue
        out.print(Text(title, style="bold"))
        table = Table.grid(padding=(0, 2, 0, 0), expand=False)
        table.add_column(no_wrap=True, min_width=len("skipped") + 2)
        table.add_column(no_wrap=True, min_width=width)
        table.add_column(overflow="fold")
        brief = [one for one in rows if one.finding.status == "skipped" and not one.finding.remedy]
        if len(brief) <= FEW_SKIPPED:
            brief = []
        for outcome in rows:
            if outcome in brief:
                continue
            status = outcome.finding.status
            style = _STYLES[status]
            what = Text(outcome.finding.what, style="dim" if status == "skipped" else "")
            table.add_row(Text(f"  {_WORDS[status]}", style), Text(outcome.check.id, style), what)
            if outcome.finding.remedy:
                table.add_row("", "", Text(f"-> {outcome.finding.remedy}"))
        for why, ids in _briefly(brief).items():
            names = ", ".join(ids)
            table.add_row(Text("  skipped", "dim"), Text(why, "dim"), Text(names, "dim"))
        out.print(table)
        out.print()
    out.print(Text(_summary(outcomes)))


def _briefly(skipped: Sequence[Outcome]) -> dict[str, list[str]]:
    """Ids of what was skipped, by why in a word or two."""
    found: dict[str, list[str]] = {}
    for one in skipped:
        cause = one.finding.what.removesuffix(" is in the way.")
        why = "not looked at" if cause == one.finding.what else f"for {cause}"
        found.setdefault(why, []).append(one.check.id)
    return found


def _summary(outcomes: Sequence[Outcome]) -> str:
    counts = worst(outcomes)
    words = {"failed": "failed", "warning": "warned", "ok": "ok", "skipped": "skipped"}
    told = ", ".join(f"{counts[s]} {words[s]}" for s in _ORDER if counts[s] or s == "failed")
    first = next((one for one in outcomes if one.finding.status == "failed"), None)
    more = f" More about it: teamscall doctor --explain {first.check.id}" if first else ""
    return f"{len(outcomes)} checks: {told}.{more}"


def print_json(outcomes: Sequence[Outcome], code: ExitCode) -> None:
    """One object."""
    counts = worst(outcomes)
    found = {
        "version": VERSION,
        "checks": [
            {
                "id": one.check.id,
                "group": one.check.group,
                "title": one.check.title,
                "status": one.finding.status,
                "what": one.finding.what,
                "remedy": one.finding.remedy,
                "facts": dict(one.finding.facts),
                "tookMs": one.took_ms,
            }
            for one in outcomes
        ],
        "summary": {**{str(name): count for name, count in counts.items()}, "exitCode": int(code)},
    }
    print(json.dumps(found, indent=2, ensure_ascii=False))


def print_list(checks: Sequence[Check], *, json_: bool) -> None:
    """Every check's id, group and title."""
    if json_:
        listed = [{"id": c.id, "group": c.group, "title": c.title} for c in checks]
        print(json.dumps({"version": VERSION, "checks": listed}, indent=2))
        return
    width = max((len(check.id) for check in checks), default=0)
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            print(f"{GROUPS[check.group]} ({group})")
        print(f"  {check.id:<{width}}  {check.title}")


def print_explained(check: Check, *, json_: bool) -> None:
    """A check's section of the manual."""
    if json_:
        told = {
            "version": VERSION,
            "id": check.id,
            "group": check.group,
            "title": check.title,
            "about": check.about,
            "remedies": check.remedies,
            "after": list(check.after),
        }
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    out = console()
    out.print(Text(f"{check.id}  {check.title} ({GROUPS[check.group]})", style="bold"))
    out.print()
    out.print(Text(check.about))
    if check.remedies:
        out.print()
        out.print(Text("What to do: ", style="bold").append(check.remedies, style="not bold"))
    if check.after:
        out.print()
        out.print(Text(f"It needs {', '.join(check.after)} first.", style="dim"))


def print_failures(failures: Sequence[Failure], *, json_: bool) -> None:
    """Whom the bridge turned away last."""
    if json_:
        import msgspec

        listed = [msgspec.to_builtins(one) for one in failures]
        print(json.dumps({"version": VERSION, "failures": listed}, indent=2, ensure_ascii=False))
        return
    if not failures:
        print("The bridge has turned nobody away since it started.", file=sys.stderr)
        return
    from teamscall.cli.moments import local

    out = console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("WHEN", "FROM", "REASON", "WHY"):
        table.add_column(name, overflow="fold", no_wrap=name != "WHY")
    for one in failures:
        times = f" ({one.times} times)" if one.times > 1 else ""
        table.add_row(
            Text(local(one.at_ms)), Text(one.address), Text(one.reason + times), Text(one.detail)
        )
    out.print(table)
