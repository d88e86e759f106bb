"""Writes completions/ and man/ from the command tree and the configuration tree.

python .ci/docs.py           write them
python .ci/docs.py --check   fail if what is there differs
"""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Any

import msgspec
import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from teamscall import __version__
from teamscall.cli.app import app
from teamscall.config import HEADERS, Option, entry_options, iter_options
from teamscall.doctor.registry import CHECKS
from teamscall.emulator.scenario import file as scenario_file
from teamscall.errors import ExitCode

ROOT = Path(__file__).resolve().parent.parent
SHELLS = {
    "bash": "teamscall.bash",
    "zsh": "_teamscall",
    "fish": "teamscall.fish",
    "powershell": "teamscall.ps1",
}
# Found through fpath, the whole file is the function, and the first Tab calls it.
ZSH_AUTOLOADED = """
if [ "$funcstack[1]" = "_teamscall" ]; then
  _teamscall_completion
fi
"""
EXIT_WORDS = {
    ExitCode.OK: "What was asked for happened.",
    ExitCode.FAILED: "It did not happen: no reply was heard, the call failed or was cancelled.",
    ExitCode.USAGE: "The command line, or a file or call named on it, is wrong.",
    ExitCode.CONFIG: "The configuration is wrong.",
    ExitCode.UNAVAILABLE: "Nothing answers there, no bridge runs, a port is taken, "
    "a package is missing.",
    ExitCode.REFUSED: "Refused: by the other side (signature, authorization, capacity), or by a "
    "rule for placed calls.",
    ExitCode.TIMEOUT: "A deadline passed.",
    ExitCode.NO_ANSWER: "The call that was placed rang, and nobody answered.",
    ExitCode.BUSY: "The line was busy.",
    ExitCode.DECLINED: "The call was declined.",
    ExitCode.INTERRUPTED: "Interrupted from the keyboard.",
}

GROUPS = {
    "here": "THIS MACHINE",
    "line": "THE LINE",
    "engines": "THE ENGINES",
    "other-side": "THE OTHER SIDE",
    "call": "A CALL",
}

TOOLS = f"""Each {HEADERS["tools"]} is something that the model may do in a call, beside
end_call, with which it hangs up.

A command is run without a shell, in a process group of its own; it gets one line of JSON on
stdin, {{"call": {{"id": ..., "direction": ..., "callerName": ...}}, "tool": ...,
"arguments": {{...}}}}, and what it prints is the result, if it exits with 0. A url gets the
same by POST, and the body of a 2xx answer is the result. A result is cut at 8 kB.

What goes wrong is told to the model, which makes the best of it. These keys come from the file
only."""
WEBHOOKS = f"""Each {HEADERS["webhooks"]} tells somebody outside of calls: call.started,
call.answered (of a call that was placed), call.turn, call.ended (with its summary) and
outbound.ended (what became of placing one).

A url gets JSON by POST, {{"id": ..., "type": ..., "timestamp": ..., "data": {{...}}}}, with the
headers webhook-id, webhook-timestamp and webhook-signature of Standard Webhooks, if there is a
secret; a command gets the same JSON on stdin, as one line, and takes it by exiting with 0.

A delivery that fails is tried again, later and later: after a network error or the statuses
408, 425, 429 and 5xx, and Retry-After is kept to up to a minute. Any other status is final, and
after 410 nothing more is sent until the configuration is read again. Events keep their order;
one thousand of them may wait, then the oldest are given up. These keys come from the file
only."""
PRICES = f"""Each {HEADERS["prices"]} says what a model costs, so that calls can tell what they
cost. A model's name has quotes around it. These keys come from the file only."""


def roff(text: str) -> str:
    """Text as roff: escapes and lines that would be requests."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "")
    return "\n".join(
        f"\\&{line}" if line.startswith((".", "\\(aq")) else line for line in escaped.split("\n")
    )


def header(title: str, section: int) -> str:
    return f'.TH "{title.upper()}" "{section}" "" "teamscall {__version__}" "teamscall manual"'


def paragraphs(text: str) -> list[str]:
    lines: list[str] = []
    for block in text.strip().split("\n\n"):
        lines += [".PP", roff(" ".join(line.strip() for line in block.split("\n")))]
    return lines


def _value_of(param: Any) -> str:
    """What an option takes, from its annotation."""
    annotation = param.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "|".join(str(member.value) for member in annotation)
    names = {Path: "PATH", int: "NUMBER", float: "NUMBER", str: "TEXT"}
    return names.get(annotation, "VALUE")


def option_rows(command: Any) -> list[str]:
    lines: list[str] = []
    for param in command.params:
        if getattr(param, "hidden", False) or param.param_type_name == "argument":
            continue
        names = ", ".join(roff(name) for name in [*param.opts, *param.secondary_opts])
        value = "" if param.is_flag or param.count else param.metavar or _value_of(param)
        lines += [".TP", f"\\fB{names}\\fR" + (f" \\fI{roff(value)}\\fR" if value else "")]
        text = param.help or ""
        default = getattr(param, "default", None)
        if default not in (None, False, True, (), [], "") and not callable(default):
            text += f" Default: {getattr(default, 'value', default)}."
        if param.envvar:
            text += f" Environment: {param.envvar}."
        lines.append(roff(text))
    return lines


def argument_rows(command: Any) -> list[str]:
    lines: list[str] = []
    for param in command.params:
        if param.param_type_name == "argument" and not getattr(param, "hidden", False):
            lines += [".TP", f"\\fI{_argument(param)}\\fR", roff(param.help or "")]
    return lines


def _argument(param: Any) -> str:
    return roff((param.metavar or param.name).strip("[]").upper())


def _synopsis(command: Any) -> str:
    found = [p for p in command.params if p.param_type_name == "argument"]
    return "".join(f" {_argument(p)}" if p.required else f" [{_argument(p)}]" for p in found)


def command_page(name: str, full: str, command: Any, children: list[str]) -> str:
    text = command.help or ""
    brief = text.split("\n")[0].rstrip(".")
    lines = [header(name, 1), ".SH NAME", f"{roff(name)} \\- {roff(brief)}", ".SH SYNOPSIS"]
    tail = " COMMAND [ARGS]" if children else ""
    lines.append(f"\\fB{roff(full)}\\fR [OPTIONS]{_synopsis(command)}{tail}")
    lines += [".SH DESCRIPTION", *paragraphs(text)]
    if rows := argument_rows(command):
        lines += [".SH ARGUMENTS", *rows]
    if rows := option_rows(command):
        lines += [".SH OPTIONS", *rows]
    if children:
        lines.append(".SH COMMANDS")
        for child in children:
            lines += [".TP", f"\\fB{roff(child)}\\fR(1)"]
            lines.append(roff(pages_help[child].split("\n")[0]))
    if name == "teamscall":
        lines.append(".SH EXIT STATUS")
        for code, words in EXIT_WORDS.items():
            lines += [".TP", f"\\fB{int(code)}\\fR", roff(words)]
        lines += [
            ".SH ENVIRONMENT",
            ".TP",
            "\\fBTEAMSCALL_CONFIG\\fR",
            "The configuration file, where no \\-\\-config is given.",
            ".TP",
            "\\fBTEAMSCALL_…\\fR",
            "Any configuration key; see \\fBteamscall.toml\\fR(5).",
            ".TP",
            "\\fBOPENAI_API_KEY\\fR",
            "The key of the speech and language service.",
            ".TP",
            "\\fBNO_COLOR\\fR",
            "No colour, whatever the terminal can.",
            ".TP",
            "\\fBCI\\fR",
            "Lines in place of pictures that are redrawn; so does TERM=dumb.",
            ".TP",
            "\\fBTEAMSCALL_EMULATE_SECRET\\fR",
            "The secret that \\fBteamscall emulate\\fR signs with.",
        ]
    else:
        lines += [".SH EXIT STATUS", "As \\fBteamscall\\fR(1) lists them."]
    lines += [".SH SEE ALSO", "\\fBteamscall\\fR(1), \\fBteamscall.toml\\fR(5)"]
    return "\n".join(lines) + "\n"


pages_help: dict[str, str] = {}


def commands() -> dict[str, tuple[str, Any, list[str]]]:
    """Every visible command by its page's name: as it is typed, itself, and its children."""
    found: dict[str, tuple[str, Any, list[str]]] = {}

    def walk(name: str, full: str, command: Any) -> None:
        children = getattr(command, "commands", {})
        visible = {f"{name}-{key}": c for key, c in children.items() if not c.hidden}
        pages_help[name] = (command.help or "").strip()
        found[name] = (full, command, list(visible))
        for child, sub in visible.items():
            walk(child, f"{full} {child.removeprefix(name + '-')}", sub)

    walk("teamscall", "teamscall", typer.main.get_command(app))
    return found


def toml_page() -> str:
    lines = [
        header("teamscall.toml", 5),
        ".SH NAME",
        "teamscall.toml \\- configuration of teamscall",
        ".SH DESCRIPTION",
        *paragraphs(
            "A TOML file. It is looked for where --config says, then where TEAMSCALL_CONFIG "
            "says, then in the platform's configuration directory, then in /etc/teamscall. "
            "Flags win over the environment, the environment over the file. Each key can also "
            "be written in camelCase. A secret can be given as KEY, as KEY_env (the name of an "
            "environment variable) or as KEY_file (a file); the file, the environment and the "
            "flags may each give one of them."
        ),
        ".SH KEYS",
    ]
    for option in iter_options():
        lines += key_rows(option)
    lines += [".SH TOOLS", *paragraphs(TOOLS)]
    for option in entry_options("tools").values():
        lines += key_rows(option)
    lines += [".SH WEBHOOKS", *paragraphs(WEBHOOKS)]
    for option in entry_options("webhooks").values():
        lines += key_rows(option)
    lines += [".SH PRICES", *paragraphs(PRICES)]
    for option in entry_options("prices").values():
        lines += key_rows(option)
    lines += [".SH SEE ALSO", "\\fBteamscall\\fR(1)"]
    return "\n".join(lines) + "\n"


def scenario_page() -> str:
    """Of the reader's docstring: underlined headings, ``::`` before a literal block, a
    paragraph that begins with ``name`` is an entry."""
    text = (scenario_file.__doc__ or "").strip()
    lines = [
        header("teamscall-scenario", 5),
        ".SH NAME",
        "teamscall\\-scenario \\- scripts of callers for teamscall emulate",
        ".SH DESCRIPTION",
    ]
    literal = False
    for block in text.split("\n\n")[1:]:
        rows = block.split("\n")
        if block == "::":
            literal = True
            lines += [".PP", ".nf"]
            continue
        if literal and block.startswith("    "):
            lines += [roff(row[4:]) for row in rows] + [".sp"]
            continue
        if literal:
            literal = False
            lines += [".fi", ".PP"]
        if len(rows) > 1 and set(rows[1]) == {"-"}:
            lines.append(f".SH {roff(rows[0])}")
            rows = rows[2:]
        for row in rows:
            if row.startswith("``"):
                lines.append(".PP")
            lines.append(roff(row))
        lines.append(".PP")
    lines += [".SH SEE ALSO", "\\fBteamscall\\-emulate\\fR(1)"]
    return "\n".join(lines) + "\n"


def checks_page() -> str:
    lines = [
        header("teamscall-checks", 7),
        ".SH NAME",
        "teamscall\\-checks \\- what teamscall doctor looks at",
        ".SH DESCRIPTION",
        *paragraphs(
            "Every check of teamscall-doctor(1) by its id, which stays what it is. "
            "A check is ok, a warning, failed, or skipped because there is nothing to look at or "
            "another check has failed before it. What to do is beside each finding."
        ),
    ]
    group = ""
    for check in CHECKS:
        if check.group != group:
            group = check.group
            lines.append(f".SH {roff(GROUPS[group])}")
        lines += [".TP", f"\\fB{roff(check.id)}\\fR: {roff(check.title)}"]
        words = " ".join(check.about.split())
        if check.after:
            words += f" Only after: {', '.join(check.after)}."
        lines.append(roff(words))
    lines += [".SH SEE ALSO", "\\fBteamscall\\-doctor\\fR(1), \\fBteamscall.toml\\fR(5)"]
    return "\n".join(lines) + "\n"


def key_rows(option: Option) -> list[str]:
    words = [option.doc]
    if option.allowed:
        words.append(f"Allowed: {option.allowed}.")
    if option.unit:
        words.append(f"Unit: {option.unit}.")
    if option.default is msgspec.NODEFAULT:
        words.append("Required.")
    elif not option.secret and not isinstance(option.default, dict):
        words.append(f"Default: {_toml(option.default)}.")
    if option.env:
        words.append(f"Environment: {option.env}.")
    name = f"\\fB{roff(option.path)}\\fR ({roff(option.type_words)})"
    return [".TP", name, roff(" ".join(words))]


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def wanted() -> dict[Path, str]:
    """Every generated file and its text."""
    files = {
        ROOT / "completions" / file: get_completion_script(
            prog_name="teamscall", complete_var="_TEAMSCALL_COMPLETE", shell=shell
        )
        + ZSH_AUTOLOADED * (shell == "zsh")
        + "\n"
        for shell, file in SHELLS.items()
    }
    for name, (full, command, children) in commands().items():
        files[ROOT / "man" / f"{name}.1"] = command_page(name, full, command, children)
    files[ROOT / "man" / "teamscall.toml.5"] = toml_page()
    files[ROOT / "man" / "teamscall-scenario.5"] = scenario_page()
    files[ROOT / "man" / "teamscall-checks.7"] = checks_page()
    return files


def main() -> int:
    files = wanted()
    present = {p for d in ("completions", "man") for p in (ROOT / d).iterdir() if p.is_file()}
    if "--check" in sys.argv[1:]:
        stale = [p for p, text in files.items() if not p.exists() or p.read_text("utf-8") != text]
        stale += sorted(present - set(files))
        for path in stale:
            print(f"not fresh: {path.relative_to(ROOT)} (run: python .ci/docs.py)")
        return 1 if stale else 0
    for path in present - set(files):
        path.unlink()
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    print(f"wrote {len(files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
