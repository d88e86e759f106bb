"""Replacing a configuration file: all of it or nothing, and never by two at once.

Owns the lock, the owner, the mode and the disk. Refuses to know what is in the file.

Rules:

1. A symlink stays; what it points to is replaced, in its own folder.
2. Mode, owner and group stay; a file that is new is 0600. What cannot keep its owner is not
   replaced.
3. The new file is on the disk before it takes the old one's place.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from teamscall.config.source import MAX_FILE_BYTES
from teamscall.errors import DeadlinePassed, InputError
from teamscall.text import printable

# Another edit takes milliseconds; one that hangs on a disk must not be waited for.
LOCK_S = 10.0
_RETRY_S = 0.02
_UNFINISHED = ".unfinished"


def rewrite(path: Path, change: Callable[[bytes | None], bytes]) -> Path:
    """Replace the contents; the file that was written, by its real name.

    Args:
        change: gets what is there (None: there is no file) and gives what shall be; what it
            raises leaves the file as it is.

    Raises:
        InputError: it cannot be read or written, in words.
        DeadlinePassed: somebody else has been editing it for ``LOCK_S``.
    """
    real = Path(os.path.realpath(path))
    name = printable(str(path), 300)
    try:
        _make_folder(real.parent)
        with _locked(real.parent):
            old = _read(real)
            new = change(old)
            if new != old:
                _replace(real, new)
    except OSError as error:
        folder = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
        hint = f"{real.parent} must be writable, for the file is replaced." if folder else ""
        raise InputError(
            f"{name} cannot be written: {error.strerror or error}.", hint=printable(hint, 300)
        ) from error
    return real


def write_new(path: Path, data: bytes) -> None:
    """Write a file that was not there, 0600, on the disk when this returns.

    Raises:
        FileExistsError: it is there, or a link of that name is.
        OSError: it cannot be written; nothing is left of it.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        about = path.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(about.st_mode):
        raise InputError(f"{printable(str(path), 300)} is not a file that can be edited.")
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _replace(path: Path, data: bytes) -> None:
    # An edit that was killed left its own: it may hold a secret, and under the lock it is nobody's.
    for left in path.parent.glob(f".{glob.escape(path.name)}.*{_UNFINISHED}"):
        left.unlink(missing_ok=True)
    handle, temporary = tempfile.mkstemp(_UNFINISHED, f".{path.name}.", path.parent)  # 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            if path.exists():
                _like(path, Path(temporary))
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(path.parent)


def _like(old: Path, new: Path) -> None:
    """Owner, group, mode and extended attributes of the old file."""
    was = old.stat()
    now = new.stat()
    if os.name == "posix" and (was.st_uid, was.st_gid) != (now.st_uid, now.st_gid):
        try:
            os.chown(new, was.st_uid, was.st_gid)
        except PermissionError as error:
            raise InputError(
                f"{printable(str(old), 300)} belongs to another user, and would become yours.",
                hint="Run this as the user that it belongs to, or as root.",
            ) from error
    shutil.copystat(old, new)
    os.utime(new)  # copied too, and it is new


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One edit at a time in this folder. The folder itself is locked: no file is left lying."""
    try:
        import fcntl
    except ImportError:  # Windows
        try:
            with FileLock(folder / ".teamscall.lock", timeout=LOCK_S):
                yield
        except Timeout as error:
            raise _busy(folder) from error
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise _busy(folder) from error
                time.sleep(_RETRY_S)
        yield
    finally:
        os.close(handle)  # and the lock with it


def _busy(folder: Path) -> DeadlinePassed:
    return DeadlinePassed(
        "LOCK_S", f"Somebody else is editing a file in {printable(str(folder), 300)}."
    )
