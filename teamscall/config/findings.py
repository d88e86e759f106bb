"""A finding on a configuration, and the small questions that several checks ask.

Looks at files only to see that they are there.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that makes no sense, and the keys that it rests on."""

    fatal: bool
    keys: tuple[str, ...]
    text: str  # what; then "; " and what to do
    origin: str = ""  # where the first of the keys that is written somewhere was

    @property
    def line(self) -> str:
        return f"{self.text} ({self.origin})" if self.origin else self.text


def error(text: str, *keys: str) -> Finding:
    return Finding(True, keys, text)


def warning(text: str, *keys: str) -> Finding:
    return Finding(False, keys, text)


def is_loopback(host: str) -> bool:
    """Whether ``host`` is certainly this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    bare = host.strip().strip("[]").lower()
    if bare in ("localhost", "localhost."):
        return True
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return False


def missing_file(key: str, path: str) -> Iterator[Finding]:
    if path and not Path(path).exists():
        yield error(f"{key}: {path} does not exist", key)
    elif path and not os.access(path, os.R_OK):
        yield error(f"{key}: {path} cannot be read by this user", key)


def missing_command(key: str, command: tuple[str, ...]) -> Iterator[Finding]:
    if command and shutil.which(command[0]) is None:
        yield error(f"{key}: {command[0]!a} is not an executable that can be found", key)


def clear_text(key: str, url: str, what: str) -> Iterator[Finding]:
    parts = split_url(url)
    if parts is not None and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        yield warning(f"{key} is http to another machine: {what} in clear", key)


def split_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.hostname and parts.port != 0 else None
    except ValueError:
        return None
