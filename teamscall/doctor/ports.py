"""Who listens on a port of this machine: Linux's /proc, where it can be read.

Owns reading the kernel's tables. Says nothing where there are none.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from teamscall.text import printable

_PROC = Path("/proc")
_LISTEN = "0A"


class Holder(msgspec.Struct, frozen=True):
    """A process; ``pid`` 0 where it is another user's and cannot be seen."""

    pid: int = 0
    name: str = ""
    uid: int = -1

    @property
    def words(self) -> str:
        """For people."""
        if not self.pid:
            return f"a process of uid {self.uid}" if self.uid >= 0 else "another process"
        return f"{self.name or 'a process'} (process {self.pid})"


def holder(bind: str, port: int) -> Holder | None:
    """Who listens on ``port`` in the way of ``bind``; None where that cannot be told."""
    for address, inode, uid in _listening(port):
        if _clash(bind, address):
            pid, name = _process(inode)
            return Holder(pid, name, uid)
    return None


def name_of(pid: int) -> str:
    """A process's name, printable; blank where it cannot be read."""
    try:
        return printable((_PROC / str(pid) / "comm").read_text("utf-8", "replace").strip(), 40)
    except OSError:
        return ""


def _listening(port: int) -> Iterator[tuple[str, str, int]]:
    """(address, inode, uid) of the sockets that listen on ``port``."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text("ascii").splitlines()[1:]
        except (OSError, ValueError):
            continue
        for line in lines:
            words = line.split()
            with contextlib.suppress(ValueError, IndexError):
                host, _, number = words[1].partition(":")
                if words[3] == _LISTEN and int(number, 16) == port:
                    yield _address(host), words[9], int(words[7])


def _address(text: str) -> str:
    """The kernel's hex, words in the machine's order, as an address."""
    data = bytes.fromhex(text)
    words = [data[at : at + 4][::-1] for at in range(0, len(data), 4)]
    return str(ipaddress.ip_address(b"".join(words)))


def _clash(bind: str, address: str) -> bool:
    bare = {"localhost": "127.0.0.1", "": "0.0.0.0"}.get(bind, bind.strip("[]"))
    try:
        mine, theirs = ipaddress.ip_address(bare), ipaddress.ip_address(address)
    except ValueError:
        return True
    return mine == theirs or theirs.is_unspecified or mine.is_unspecified


def _process(inode: str) -> tuple[int, str]:
    wanted = f"socket:[{inode}]"
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            for link in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(link) == wanted:
                        return int(entry.name), name_of(int(entry.name))
        except OSError:
            continue
    return 0, ""
