"""The three standard streams, as this process finds them.

Owns what is done when one is closed, full, or a pipe that nobody reads any more.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TextIO

from teamscall.errors import OutputLost

_WORDS = {"": False, "0": False, "false": False, "no": False}


def set_up() -> None:
    """Give every closed stream the null device, make stdout say how it fails, and let no
    failure of stderr change what a command does.

    A closed descriptor must not stay free: the next socket or file would get its number
    and take what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper) and not isinstance(sys.stdout, Stdout):
        sys.stdout = Stdout(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper) and not isinstance(sys.stderr, Stderr):
        sys.stderr = Stderr(sys.stderr)


def live(stream: TextIO) -> bool:
    """Whether a picture may be redrawn there: a terminal that can, and nobody's CI."""
    in_ci = _WORDS.get(os.environ.get("CI", "").lower(), True)
    return stream.isatty() and os.environ.get("TERM", "") != "dumb" and not in_ci


class Stdout(io.TextIOWrapper):
    """stdout whose failures are one deliberate error, the first time; then it is silent.

    A character that its encoding lacks becomes a question mark, not a traceback.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        encoding, terminal = stream.encoding, stream.isatty()
        super().__init__(
            stream.detach(), encoding=encoding, errors="replace", line_buffering=terminal
        )

    def write(self, text: str) -> int:
        """Raises: OutputLost."""
        try:
            return super().write(text)
        except OSError as error:
            raise self._lost(error) from error

    def flush(self) -> None:
        """Raises: OutputLost."""
        try:
            super().flush()
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> OutputLost:
        # What is still buffered must go somewhere, or the interpreter complains at its exit.
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return OutputLost(
            f"stdout cannot be written: {error.strerror or error}.",
            silent=error.errno == errno.EPIPE,
        )


class Stderr(io.TextIOWrapper):
    """stderr that takes what it can, and again once it can: a bridge's log goes there. Who
    cannot be told still gets the exit code."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        encoding = stream.encoding
        super().__init__(
            stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=True
        )

    def write(self, text: str) -> int:
        """Never raises OSError."""
        with contextlib.suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        """Never raises OSError."""
        with contextlib.suppress(OSError):
            super().flush()
