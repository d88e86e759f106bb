"""What a call uses besides its models: the script, and the operator's tools.

A command is looked at and not run, a URL is reached and not asked: they may act.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Sequence

from teamscall.config import resolved_engine
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_asking import Silent, ask, place
from teamscall.errors import TeamscallError
from teamscall.text import printable


async def script(site: Site) -> Finding:
    """Whether the scripted engine's file can be followed."""
    if resolved_engine(site.config) != "scripted":
        return skipped("The scripted engine is not used.")
    from teamscall.engines.scripted import ScriptedEngine

    path = site.config.scripted.path
    try:
        await asyncio.to_thread(ScriptedEngine, path or None)
    except TeamscallError as error:
        return failed(printable(error.message, 240), error.hint or "Correct the script.")
    return ok(f"{printable(path, 120)} can be followed.")


async def tools(site: Site) -> Finding:
    """Whether every tool's command or URL is there."""
    wanted = site.config.tools
    if not wanted:
        return skipped("There are no tools.")
    return await reach(
        [(f"tools[{n}].command", each.command) for n, each in enumerate(wanted) if each.command],
        [(f"tools[{n}].url", each.url) for n, each in enumerate(wanted) if each.url],
        f"{len(wanted)} tools are there.",
    )


async def reach(
    commands: Iterable[tuple[str, Sequence[str]]], urls: Iterable[tuple[str, str]], done: str
) -> Finding:
    """The first that is not there, else ``done``."""
    for setting, command in commands:
        if shutil.which(command[0]) is None:
            return failed(
                f"{setting}: {printable(command[0], 100)} is no program that can be run.",
                "Write its full path, and make it executable (chmod +x).",
                setting=setting,
            )
    listed = list(urls)
    found = await asyncio.gather(*(_reached(setting, url) for setting, url in listed))
    wrong = [one for one in found if one is not None]
    order = sorted(wrong, key=lambda one: one.status != "failed")
    return order[0] if order else ok(done, urls=len(listed))


async def _reached(setting: str, url: str) -> Finding | None:
    """HEAD is asked: nothing is delivered, and any answer is an answer."""
    try:
        answer = await ask("HEAD", url, setting)
    except Silent as silent:
        return failed(f"{setting}: {silent.what}.", silent.remedy, setting=setting, url=place(url))
    if answer.status in (502, 503, 504):
        return warning(
            f"{setting}: {place(url)} answers {answer.status}: what is behind it is down.",
            "Start what serves it.",
            setting=setting,
            status=answer.status,
        )
    return None


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-SCRIPT",
        "engines",
        "The script",
        script,
        'Reads scripted.path as engine = "scripted" does.',
        "Correct the key of the script that is named.",
        after=("TC-CONFIG",),
    ),
    Check(
        "TC-TOOLS",
        "engines",
        "Tools",
        tools,
        "Looks whether each tool's command can be run, and reaches each tool's URL with HEAD. "
        "No tool is used.",
        "Correct the path or the URL, or take the tool out: a model that uses it tells the "
        "caller that it failed.",
        after=("TC-CONFIG", "TC-PROXY"),
    ),
)
