"""One bridge for each journal: two would close each other's calls as interrupted.

Owns the lock file beside the journal, with the number of the process that holds it. The
kernel lets go of the lock however the process ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from teamscall.errors import ListenError
from teamscall.text import printable

log = logging.getLogger("teamscall.bridge")


@contextlib.contextmanager
def sole_use(journal: Path) -> Iterator[None]:
    """Hold the journal's lock. On a disk that cannot be written there is none, and a warning:
    it costs no call, and nothing is written there that two could spoil.

    Raises:
        ListenError: another bridge holds it.
    """
    # Beside the file itself: a link to it, in whatever folder, is the same journal.
    path = Path(f"{os.path.realpath(journal)}.lock")
    lock = FileLock(str(path), timeout=0, mode=0o600)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise ListenError(
            f"Another bridge{_process(path)} uses the journal {printable(str(journal))}.",
            hint="Stop it, or give this one a journal.path of its own.",
        ) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        log.warning("The journal is not locked", extra={"path": str(path), "reason": reason})
        yield
        return
    try:
        _sign(path)
        yield
    finally:
        lock.release()


def _sign(path: Path) -> None:
    """Only for people: who holds it is the lock's word alone."""
    with contextlib.suppress(OSError):  # Windows: nobody writes to a locked file
        number = os.open(path, os.O_WRONLY | os.O_TRUNC)
        with os.fdopen(number, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")


def _process(path: Path) -> str:
    try:
        text = path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""
    return f" (process {text})" if text.isdecimal() and len(text) < 12 else ""
