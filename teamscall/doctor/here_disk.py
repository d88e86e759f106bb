"""The disk: the data directory and who can read it, room, the journal, captures."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing
from pathlib import Path

from teamscall.doctor import findings
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped, warning
from teamscall.journal.schema import VERSION
from teamscall.journal.store import default_path
from teamscall.text import printable

# Below this a journal may not last the day, and captures not the hour.
LOW_MB, LEAST_MB = 500, 50
_MB = 1_000_000

# A long journal is not read from end to end: what this finds is what a start would trip over.
_QUICK_CHECK_BYTES = 50 * _MB


def journal_path(site: Site) -> Path:
    """Where the journal is, or would be."""
    return Path(site.config.journal.path) if site.config.journal.path else default_path()


async def data(site: Site) -> Finding:
    """Whether the data directory is there, or can be made, and can be written."""
    if not site.config.journal.enabled:
        return skipped("No journal is kept (journal.enabled = false).")
    return await asyncio.to_thread(_writable, journal_path(site))


def _writable(path: Path) -> Finding:
    directory = path.parent
    shown = printable(str(directory))
    if directory.exists() and not directory.is_dir():
        return failed(f"{shown} is no directory.", "Remove it, or set journal.path elsewhere.")
    there = next(each for each in (directory, *directory.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        if there != directory:
            return failed(
                f"{shown} cannot be made: {printable(str(there))} cannot be written "
                f"({error.strerror}).",
                f"Make it for the bridge's user (this is {_user()}), or set journal.path to a file "
                "in a directory of that user's (systemd: StateDirectory=teamscall, and "
                "journal.path under /var/lib/teamscall).",
                path=shown,
            )
        return failed(
            f"{shown} cannot be written: {error.strerror}.",
            f"chown {_id()} {shown}, or set journal.path to a file in a directory that the "
            f"bridge's user (this is {_user()}) can write.",
            path=shown,
        )
    if path.exists() and not os.access(path, os.W_OK):
        return failed(
            f"{printable(str(path))} cannot be written by this user ({_user()}).",
            f"chown {_id()} {printable(str(path))}, or remove it.",
        )
    return ok(f"{shown} {'can be written' if there == directory else 'can be made'}.", path=shown)


async def data_mode(site: Site) -> Finding:
    """Whether others can read who called, and what was said."""
    if not site.config.journal.enabled or os.name != "posix":
        return skipped("No journal is kept here.")
    path = journal_path(site)
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        try:
            bits = stat.S_IMODE(each.stat().st_mode)
            around = stat.S_IMODE(path.parent.stat().st_mode)
        except OSError:
            continue
        reachable = around & (stat.S_IXGRP | stat.S_IXOTH)
        if bits & 0o077 and reachable:
            shown = printable(str(each))
            return failed(
                f"{shown} can be read by other users (mode {bits:04o}): it says who called.",
                f"chmod 700 {printable(str(path.parent))} && chmod 600 {printable(str(path))}*",
                mode=f"{bits:04o}",
            )
    try:
        around = stat.S_IMODE(path.parent.stat().st_mode)
    except OSError:
        return ok("The data directory is not there yet; it is made for its owner alone.")
    if around & 0o022:
        shown = printable(str(path.parent))
        return failed(
            f"{shown} can be written by other users (mode {around:04o}): they can put another "
            "journal there.",
            f"chmod go-w {shown}",
            mode=f"{around:04o}",
        )
    return ok("Only its owner can read it.", mode=f"{around:04o}")


async def room(site: Site) -> Finding:
    """Free space where the journal and captures go."""
    places = [journal_path(site).parent] if site.config.journal.enabled else []
    if site.config.capture.dir:
        places.append(Path(site.config.capture.dir))
    least: tuple[int, Path] | None = None
    for place in places:
        there = next((each for each in (place, *place.parents) if each.exists()), None)
        if there is None:
            continue
        try:
            free = shutil.disk_usage(there).free // _MB
        except OSError:
            continue
        least = min(least or (free, there), (free, there))
    if least is None:
        return skipped("Nothing is written to a disk.")
    free, there = least
    shown = printable(str(there))
    if free < LEAST_MB:
        return failed(
            f"{free} MB are free at {shown}.",
            "Make room: records are lost when the disk is full (calls go on).",
            freeMb=free,
        )
    if free < LOW_MB:
        return warning(
            f"Only {free} MB are free at {shown}.",
            "Make room, or set journal.max_mb and capture.max_mb.",
            freeMb=free,
        )
    return ok(f"{free / 1000:.1f} GB are free at {shown}.", freeMb=free)


async def journal(site: Site) -> Finding:
    """Whether the journal opens and is sound."""
    if not site.config.journal.enabled:
        return skipped("No journal is kept (journal.enabled = false).")
    return await asyncio.to_thread(_sound, journal_path(site))


def _sound(path: Path) -> Finding:
    shown = printable(str(path))
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return ok("There is no journal yet; the first start makes it.")
    except OSError as error:
        return failed(f"{shown} cannot be looked at: {error.strerror}.", "Check the directory.")
    again = f"Stop the bridge and move {shown} away; a new journal begins with the next start."
    if not path.is_file():
        return failed(f"{shown} is no file.", again)
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("PRAGMA busy_timeout = 2000")
            version = database.execute("PRAGMA user_version").fetchone()[0]
            found = "ok"
            if size <= _QUICK_CHECK_BYTES:
                found = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        if "lock" in str(error) or "busy" in str(error):
            return ok("It is being written just now.", bytes=size)
        return failed(f"{shown} cannot be read: {printable(str(error), 120)}.", again, bytes=size)
    if version > VERSION:
        return failed(
            f"{shown} was written by a newer teamscall (version {version} of the journal; this one "
            f"knows up to {VERSION}): the bridge would not start.",
            "Use the newer teamscall, or set journal.path to another file.",
            bytes=size,
            schema=version,
        )
    if found != "ok":
        return failed(f"{shown} is damaged: {printable(found, 120)}.", again, bytes=size)
    return ok(f"{shown} is sound ({size / _MB:.1f} MB).", bytes=size, schema=version)


async def captures(site: Site) -> Finding:
    """The folder that captures go to."""
    if problems := findings.of("TC-CAPTURE", site.problems):
        return failed(findings.sentence(problems[0]), "Correct it; see `teamscall config check`.")
    if not site.config.capture.dir:
        if told := findings.of("TC-CAPTURE", site.warnings):
            return warning(findings.sentence(told[0]), "Set capture.dir, or take the key out.")
        return skipped("No captures are written (capture.dir is empty).")
    directory = Path(site.config.capture.dir)
    shown = printable(str(directory))
    there = next(each for each in (directory, *directory.parents) if each.exists())
    if not there.is_dir():
        return failed(f"{printable(str(there))} is no directory.", "Set capture.dir elsewhere.")
    try:
        await asyncio.to_thread(_try, there)
    except OSError as error:
        return failed(
            f"capture.dir {shown} cannot be written: {error.strerror}.",
            f"Give it to the bridge's user (this is {_user()}), or set capture.dir elsewhere.",
        )
    if there == directory and _open_to_others(directory):
        return warning(
            f"capture.dir {shown} can be entered by other users: captures may hold what was said.",
            f"chmod 700 {shown}",
        )
    return ok(f"{shown} can be written.")


async def control(site: Site) -> Finding:
    """Where the operator's socket is to be."""
    from teamscall.control.where import UNIX_SOCKETS, too_long

    if not site.config.control.enabled:
        return skipped("No control socket is opened (control.enabled = false).")
    if not UNIX_SOCKETS or not site.config.control.socket:
        return skipped("The control socket is where it is by default.")
    path = Path(site.config.control.socket)
    if problem := too_long(path):
        return failed(
            f"{problem[:-1]}: the bridge would not start.",
            "Set control.socket to a shorter path, such as /run/teamscall/control.sock, or take "
            "the key out.",
        )
    shown = printable(str(path.parent))
    there = next(each for each in path.parents if each.exists())
    if not there.is_dir():
        return failed(f"{printable(str(there))} is no directory.", "Set control.socket elsewhere.")
    if not os.access(there, os.W_OK | os.X_OK):
        return failed(
            f"control.socket: {printable(str(there))} cannot be written by this user ({_user()}).",
            f"Make {shown} for the bridge's user, or set control.socket elsewhere.",
        )
    return ok(f"{printable(str(path))} can be opened.")


def _try(directory: Path) -> None:
    with tempfile.TemporaryFile(dir=directory):
        pass


def _open_to_others(directory: Path) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(directory.stat().st_mode) & 0o007)


def _id() -> str:
    """As chown takes it."""
    return f"{os.geteuid()}" if hasattr(os, "geteuid") else "it"


def _user() -> str:
    return f"uid {os.geteuid()}" if hasattr(os, "geteuid") else "this user"


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-DATA",
        "here",
        "The data directory",
        data,
        "The journal and its lock are written there. Without it no record is kept, `teamscall "
        "calls` shows nothing, and two bridges would not notice each other.",
        "Give the directory to the bridge's user, or set journal.path.",
    ),
    Check(
        "TC-DATA-MODE",
        "here",
        "Who can read the data directory",
        data_mode,
        "The journal says who called and, where transcripts are kept, what was said. It is "
        "made for its owner alone; a copy or a restore may have changed that.",
        "chmod 700 the directory and 600 the files in it.",
    ),
    Check(
        "TC-DISK",
        "here",
        "Free space",
        room,
        "On a full disk records and captures are lost; calls go on.",
        "Make room, or bound what is kept: journal.max_mb, journal.retention_days.",
    ),
    Check(
        "TC-JOURNAL",
        "here",
        "The journal",
        journal,
        "Opens the journal for reading and has SQLite check it (up to 50 MB).",
        "Move a damaged file away; the next start makes a new one.",
        after=("TC-DATA",),
    ),
    Check(
        "TC-CAPTURE",
        "here",
        "The folder for captures",
        captures,
        "When capture.dir is set: whether it can be written, and by whom it can be entered.",
        "Give it to the bridge's user alone (chmod 700).",
    ),
    Check(
        "TC-CONTROL",
        "here",
        "The control socket",
        control,
        "When control.socket is set: whether a socket can have that path (107 bytes on Linux) "
        "and this user may make it there. `teamscall status`, `call`, `reload` and the others "
        "go through it.",
        "Take a shorter path, in a directory of the bridge's user.",
    ),
)
