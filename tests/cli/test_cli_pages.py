"""Help, manual pages and completions, as a terminal and a shell take them."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from teamscall.cli.app import app
from teamscall.cli.tree import MODULES, tree

ROOT = Path(__file__).resolve().parents[2]
TYPED = "teamscall serve --authorization ten"


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A PATH whose first ``teamscall`` is this one."""
    script = tmp_path / "teamscall"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m teamscall "$@"\n')
    script.chmod(0o755)
    return dict(os.environ) | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
    }


def run(command: list[str], env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )


def test_help_leaves_line_breaks_to_the_terminal() -> None:
    for command in app.registered_commands:
        for paragraph in (command.help or "").split("\n\n"):
            assert paragraph
            assert "\n" not in paragraph


@needs("man")
@pytest.mark.parametrize("page", sorted((ROOT / "man").iterdir()), ids=lambda page: page.name)
def test_a_manual_page_renders_without_a_warning(page: Path) -> None:
    done = run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(page)])
    assert (done.returncode, done.stderr) == (0, "")


@needs("bash")
def test_bash_completes(env: dict[str, str]) -> None:
    words = " ".join(TYPED.split())
    done = run(
        [
            "bash", "--norc", "-c",
            f"source completions/teamscall.bash && complete -p teamscall && "
            f"COMP_WORDS=({words}) COMP_CWORD=3 && _teamscall_completion teamscall && "
            'echo "${COMPREPLY[@]}"',
        ],
        env,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "tenant-only", done.stderr


@needs("fish")
def test_fish_completes(env: dict[str, str]) -> None:
    done = run(["fish", "-c", f"source completions/teamscall.fish; complete -C '{TYPED}'"], env)
    assert done.stdout.split() == ["tenant-only"], done.stderr


@needs("zsh")
def test_zsh_finds_the_completion_and_calls_it_at_the_first_tab(env: dict[str, str]) -> None:
    # Without a terminal there is no Tab: what it would call is called, with a witness.
    script = (
        "fpath=(completions $fpath); autoload -U compinit; compinit -u -D; "
        "echo $_comps[teamscall]; "
        f"words=({TYPED}); CURRENT=4; _arguments() {{ print -r -- $@ }}; "
        "$_comps[teamscall]"
    )
    done = run(["zsh", "-f", "-c", script], env)
    first, *rest = done.stdout.splitlines()
    assert first == "_teamscall", done.stderr
    assert "tenant-only" in "".join(rest), done.stdout + done.stderr


command_of = functools.cache(typer.main.get_command)


@pytest.mark.parametrize("verb", [one for verbs in MODULES.values() for one in verbs])
def test_one_command_alone_is_as_in_the_whole_tree(verb: str) -> None:
    whole, alone = command_of(app), typer.main.get_command(tree([verb, "x"]))
    assert isinstance(whole, typer.core.TyperGroup)
    assert isinstance(alone, typer.core.TyperGroup)
    assert verb in alone.commands
    for name, command in alone.commands.items():
        with whole.make_context("teamscall", [], resilient_parsing=True) as context:
            assert command.get_help(context) == whole.commands[name].get_help(context)


def test_every_command_is_in_the_table_of_modules() -> None:
    whole = command_of(app)
    assert isinstance(whole, typer.core.TyperGroup)
    assert set(whole.commands) == {one for verbs in MODULES.values() for one in verbs}
