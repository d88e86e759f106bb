"""The machine: Python, packages, how late it is, descriptors, the service manager."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import os
import re
import sys

from teamscall.config import Config, resolved_engine
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.programs import output_of
from teamscall.text import printable

MIN_PYTHON = (3, 11)

# Imported by a bridge whatever is configured, for an installation without metadata.
_MODULES = ("websockets", "h11", "msgspec", "numpy", "soxr", "filelock", "platformdirs")
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*([^;]*)(?:;(.*))?$")
_BOUND = re.compile(r"(>=|==|<=|<|>|!=|~=)\s*([0-9][0-9A-Za-z.]*)")

# Samples of 20 ms, the frame of a call, for a second.
_FRAME_S, _FRAMES = 0.02, 50
# Nine of ten frames are at most so late on a machine that can carry a call: the far side
# buffers 60 ms or more.
LATE_MS = 60.0
_SAMPLES = 3

# A call has a socket, an engine's session has up to three, and a bridge some for itself.
_PER_CALL, _OWN = 6, 64


async def python(site: Site) -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < MIN_PYTHON:
        return failed(
            f"Python {version} is too old.",
            "Install Python 3.11 or newer, and teamscall into it.",
            version=version,
        )
    return ok(f"Python {version}.", version=version, executable=printable(sys.executable))


async def packages(site: Site) -> Finding:
    """What is installed, against what this version and this configuration need."""
    return await asyncio.to_thread(_packages, site.config)


def _packages(config: Config) -> Finding:
    wrong: list[str] = []
    try:
        wanted = importlib.metadata.requires("teamscall") or []
    except importlib.metadata.PackageNotFoundError:
        wanted = []
        wrong = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    extras = needed_extras(config)
    for text in wanted:
        match = _REQUIREMENT.match(text)
        if match is None:
            continue
        name, bounds, marker = match[1], match[2], match[3] or ""
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if extra and extra[1] not in extras:
            continue
        if "sys_platform" in marker and f'"{sys.platform}"' not in marker.replace("'", '"'):
            continue
        wrong += _against(name, bounds)
    if "offline" in extras and not wanted:
        wrong += [
            each for each in ("faster_whisper", "piper") if importlib.util.find_spec(each) is None
        ]
    if wrong:
        named = f"[{','.join(sorted(extras))}]" if extras else ""
        return failed(
            f"Missing or too old: {', '.join(wrong[:6])}.",
            f"pip install --upgrade 'teamscall{named}'",
            count=len(wrong),
        )
    what = f" and {', '.join(sorted(extras))}" if extras else ""
    return ok(f"Every package is there{what}.", extras=",".join(sorted(extras)))


def needed_extras(config: Config) -> set[str]:
    """The optional packages that this configuration needs."""
    engine = resolved_engine(config)
    return {"offline"} if engine == "offline" or "offline" in config.fallback else set()


def _against(name: str, bounds: str) -> list[str]:
    try:
        have = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return [name]
    for sign, text in _BOUND.findall(bounds):
        mine, theirs = _numbers(have), _numbers(text)
        length = max(len(mine), len(theirs))
        mine += (0,) * (length - len(mine))
        theirs += (0,) * (length - len(theirs))
        if (
            (sign == ">=" and mine < theirs)
            or (sign == "<" and mine >= theirs)
            or (sign == "==" and mine != theirs)
        ):
            return [f"{name} {printable(have, 20)} ({sign}{text} is needed)"]
    return []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:4])


async def lateness(site: Site) -> Finding:
    """How late this machine wakes a program that sleeps for a frame.

    In a process of its own: what the doctor does meanwhile is no lateness of a bridge. The best
    of three counts: the doctor gives way to everything else, which a bridge does not.
    """
    best: tuple[float, float, float] | None = None
    for _ in range(_SAMPLES):
        if (sample := await _sample()) is None:
            return skipped("The sample could not be taken.")
        best = min(best or sample, sample, key=lambda each: each[1])
        if best[1] <= LATE_MS:
            break
    assert best is not None
    median, most, worst = best
    facts: dict[str, Fact] = {
        "medianMs": round(median, 2),
        "p90Ms": round(most, 2),
        "maxMs": round(worst, 2),
    }
    if most > LATE_MS:
        return warning(
            f"One of ten frames of 20 ms is {most:.0f} ms late or more: calls will stutter.",
            "Take load off this machine, give the bridge's service more CPU, or use another "
            "machine; then run `teamscall doctor --only TC-LATENESS` again.",
            **facts,
        )
    return ok(f"Nine of ten frames are at most {most:.1f} ms late.", **facts)


async def _sample() -> tuple[float, float, float] | None:
    """Of one second: the median lateness, that of the ninth of ten, the worst; in ms."""
    script = (
        "import time\nlate=[]\nat=time.monotonic()\n"
        f"for _ in range({_FRAMES}):\n"
        f" at+={_FRAME_S}\n time.sleep(max(0,at-time.monotonic()))\n"
        " late.append((time.monotonic()-at)*1000)\n"
        f"late.sort()\nprint(late[{_FRAMES // 2}],late[{_FRAMES * 9 // 10}],late[-1])\n"
    )
    said = await output_of(sys.executable or "python3", "-I", "-S", "-c", script)
    if said is None:
        return None  # nothing is known of the machine
    try:
        median, most, worst = (float(part) for part in said.split())
    except ValueError:
        return None
    return median, most, worst


async def descriptors(site: Site) -> Finding:
    """Open files that this process may have, against what the calls will need."""
    try:
        import resource
    except ImportError:
        return skipped("This system has no such limit.")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = _OWN + _PER_CALL * site.config.max_concurrent_calls
    if soft == resource.RLIM_INFINITY or soft >= need:
        limit = -1 if soft == resource.RLIM_INFINITY else soft
        return ok(
            f"{limit if limit >= 0 else 'Any number of'} open files, about {need} are needed.",
            soft=limit,
            needed=need,
        )
    raised = "ulimit -n" if hard == resource.RLIM_INFINITY or hard >= need else "the hard limit"
    return failed(
        f"This process may open {soft} files; {site.config.max_concurrent_calls} calls need "
        f"about {need}.",
        f"Raise {raised} to {need} (systemd: LimitNOFILE={need}; a shell: ulimit -n {need}), or "
        "lower max_concurrent_calls.",
        soft=soft,
        hard=hard,
        needed=need,
    )


async def service(site: Site) -> Finding:
    """What systemd told this process, if it started it."""
    address, usec = site.env.get("NOTIFY_SOCKET", ""), site.env.get("WATCHDOG_USEC", "")
    if not address and not usec:
        return skipped("Not started by systemd.")
    if usec and not usec.isdecimal():
        return failed(
            "WATCHDOG_USEC is not a number.", "Leave it to systemd: set WatchdogSec= in the unit."
        )
    if usec and not address:
        return failed(
            "systemd watches this service and gives no NOTIFY_SOCKET: it will kill it.",
            "Set Type=notify (or notify-reload) and NotifyAccess=main in the unit.",
        )
    if usec and int(usec) < 2_000_000:
        return warning(
            f"WatchdogSec is {int(usec) / 1e6:g} s: a busy machine is late by as much.",
            "Set WatchdogSec=30 or longer.",
        )
    if not address.startswith("@"):
        try:
            os.stat(address)
        except OSError as error:
            return failed(
                f"NOTIFY_SOCKET is {printable(address)}, which is not there: {error.strerror}.",
                "Let systemd set it (Type=notify); a sandbox must not hide /run/systemd/notify.",
            )
    return ok("The unit notifies systemd.", watchdogMs=int(usec or 0) // 1000)


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-PYTHON",
        "here",
        "Python's version",
        python,
        "teamscall runs on Python 3.11 and newer.",
        "Install a newer Python and make the virtual environment anew with it.",
    ),
    Check(
        "TC-PACKAGES",
        "here",
        "Installed packages",
        packages,
        "Compares what is installed with what this version of teamscall asks for, and with "
        "what the configuration needs: engine = offline needs the extra `offline`.",
        "pip install --upgrade 'teamscall[offline]', into the environment that runs it.",
    ),
    Check(
        "TC-LATENESS",
        "here",
        "How late this machine is",
        lateness,
        "Sleeps for fifty frames of 20 ms and measures how late it wakes up. A bridge on a "
        "machine that is late sends its audio late: the bot stutters.",
        "Take load off the machine, or give the bridge's service its share (CPUWeight=).",
    ),
    Check(
        "TC-DESCRIPTORS",
        "here",
        "Open files",
        descriptors,
        "A bridge that has no file descriptor left takes no call. It needs about six per call.",
        "Raise the limit of the bridge's service (LimitNOFILE=), or lower max_concurrent_calls.",
    ),
    Check(
        "TC-SYSTEMD",
        "here",
        "The service manager",
        service,
        "When systemd has started this process: whether the bridge can tell it that it is up "
        "and alive.",
        "Type=notify-reload, NotifyAccess=main, WatchdogSec=30 in the unit.",
    ),
)
