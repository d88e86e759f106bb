"""What ``teamscall init`` says: what was written, what became of each key, what is to be done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from teamscall.text import printable

if TYPE_CHECKING:
    from teamscall.setup.other_side import Step
    from teamscall.setup.plan import Plan
    from teamscall.setup.taking import Taken
    from teamscall.setup.writing import Written

_MARKS = {"taken": "taken", "renamed": "renamed", "not-needed": "not needed", "wrong": "wrong"}


def print_written(
    done: Written,
    taken: Taken | None,
    todo: Sequence[Step],
    fresh: Sequence[str],
    plan: Plan,
) -> None:
    """The files on stdout; the words on stderr."""
    if taken is not None:
        print_rows(taken)
    for file in (done.path, *done.secret_files.values()):
        typer.echo(printable(str(file), 300))
    for key in fresh if taken is not None else ():
        typer.echo(f"\n{key} is a fresh one: the other side needs it too", err=True)
    typer.echo("\nOn the other side:", err=True)
    for number, step in enumerate(todo, start=1):
        typer.echo(f"\n{wrapped(f'{number}. {step.title}', '  ', '     ')}", err=True)
        for line in step.lines:
            typer.echo(f"       {printable(line, 300)}", err=True)
    typer.echo("\nHere:\n", err=True)
    from teamscall.config.load import default_paths

    option = "" if done.path == default_paths()[0] else f" --config {printable(str(done.path))}"
    has_key = any("openai" in key for key in (*done.secret_files, *plan.taken))
    for command in _here(option, plan, has_key):
        typer.echo(f"       {command}", err=True)
    for warning in done.warnings:
        typer.echo(f"\n{wrapped(f'warning: {warning}', '', '  ')}", err=True)


def wrapped(text: str, first: str = "", more: str = "") -> str:
    """Prose in the terminal's width; nothing that is copied goes through it."""
    import shutil
    import textwrap

    width = min(shutil.get_terminal_size().columns, 100)
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=more,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _here(option: str, plan: Plan, has_key: bool) -> list[str]:
    import importlib.util
    import os

    lines = [f"teamscall serve{option}"]
    no_models = importlib.util.find_spec("faster_whisper") is None
    has_key = plan.engine == "auto" and (has_key or bool(os.environ.get("OPENAI_API_KEY")))
    if plan.engine in ("auto", "offline") and no_models and not has_key:
        lines.insert(0, "pip install 'teamscall[offline]'   # or: export OPENAI_API_KEY=…")
    lines.append("teamscall init --print systemd   # a unit; --print env: variables")
    return lines


def print_rows(taken: Taken) -> None:
    """A line for each key of the other program."""
    width = max((len(row.key) for row in taken.rows), default=0)
    width = min(width, 60)
    for row in taken.rows:
        to = f"-> {row.to}" if row.to and row.verdict == "renamed" else ""
        why = f"({row.why})" if row.why else ""
        words = " ".join(filter(None, (to, why)))
        typer.echo(f"{_MARKS[row.verdict]:<11}{row.key:<{width}}  {printable(words, 300)}".rstrip())
    typer.echo("")


def print_json(
    done: Written, taken: Taken | None, todo: Sequence[Step], fresh: Sequence[str]
) -> None:
    about: dict[str, object] = {
        "version": 1,
        "path": str(done.path),
        "secretFiles": {key: str(file) for key, file in done.secret_files.items()},
        "freshSecrets": list(fresh),
        "todo": [{"title": step.title, "lines": list(step.lines)} for step in todo],
        "warnings": [str(warning) for warning in done.warnings],
    }
    if taken is not None:
        about["keys"] = [
            {"key": row.key, "verdict": row.verdict, "to": row.to, "why": row.why}
            for row in taken.rows
        ]
    typer.echo(json.dumps(about, indent=2, ensure_ascii=False))


def print_variant(
    variant: str,
    plan: Plan,
    values: Mapping[str, object],
    taken: Taken | None,
    path: Path,
    output: Path | None,
) -> None:
    """The file, the variables or the unit, on stdout; no secret is in any of them. ``output``:
    as it was given, for the unit, whose file is the system's else."""
    import shutil
    import sys

    from teamscall.setup.toml import commented
    from teamscall.setup.variants import HOME, environment, systemd_unit
    from teamscall.setup.writing import secret_name

    if taken is not None:
        for row in taken.rows:
            typer.echo(f"{row.verdict}: {row.key} {row.why}".rstrip(), err=True)
    wanted = [("bridge.secret", plan.csharp), ("standin.secret", plan.standin)]
    secrets = [key for key, needed in wanted if needed and f"{key}_env" not in values]
    if taken is not None:
        secrets = list(dict.fromkeys([*secrets, *taken.secrets]))
    if variant == "env":
        known = () if taken is None else tuple(taken.secrets)
        typer.echo(environment(values, tuple(secrets), known), nl=False)
    elif variant == "systemd":
        found = shutil.which("teamscall")
        command = [found] if found else [sys.executable, "-m", "teamscall"]
        config = HOME / "teamscall.toml" if output is None else path
        typer.echo(systemd_unit(command, str(config)), nl=False)
    else:
        named = {f"{key}_file": secret_name(path, key) for key in secrets}
        typer.echo(commented({**values, **named}, notes={}), nl=False)
