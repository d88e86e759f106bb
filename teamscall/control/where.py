"""Where a bridge's door is: the path of its socket, and how a command finds it.

Owns the names in the runtime directory. Opens nothing for good; whoever binds or talks is
``server.door`` and ``client``.

Rules:

1. A directory that somebody else could have made is not trusted: a socket in it might be
   anybody's, and what is said to it would be theirs.
2. A bridge with its own journal has a socket of its own, so that several run side by side.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from teamscall.config import Config, Secret
from teamscall.config.findings import is_loopback
from teamscall.errors import InputError
from teamscall.journal.store import default_path
from teamscall.text import printable

NAME = "control.sock"
URL_VARIABLE = "TEAMSCALL_CONTROL_URL"
SERVICE_FOLDER = Path("/run/teamscall")  # RuntimeDirectory=teamscall; only root makes it

# sun_path has 108 bytes on Linux and 104 on macOS and the BSDs, one of them a NUL.
MAX_PATH_BYTES = 107 if sys.platform == "linux" else 103

# A living bridge's kernel answers at once, whatever the bridge is doing.
ALIVE_S = 0.25
_MAX_TOKEN_BYTES = 65_536

UNIX_SOCKETS = hasattr(socket, "AF_UNIX") and os.name == "posix"


class Where(msgspec.Struct, frozen=True):
    """One door: a Unix socket, or a URL with a token.

    ``ca``: a PEM file with what signs the port's certificate; blank: what the system trusts.
    ``looked``: where else a bridge was looked for. ``others``: bridges that run here too,
    between which the one who asks has to choose. ``guessed``: nothing names this one, it is
    the only one that runs.
    """

    socket: str = ""
    url: str = ""
    token: Secret | None = None
    ca: str = ""
    looked: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    guessed: bool = False

    @property
    def name(self) -> str:
        """For people."""
        return self.url or self.socket


def socket_for(config: Config, env: Mapping[str, str]) -> Path:
    """Where this bridge's socket belongs; its directory is made, readable to us alone.

    Raises:
        InputError: the path is too long for a socket, or no directory can be used.
    """
    if config.control.socket:
        path = Path(config.control.socket)
        if problem := too_long(path):
            raise InputError(problem, hint="Set control.socket to a shorter path.")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path
    name = name_for(config)
    for directory in _directories(env):
        path = directory / name
        if too_long(path):
            continue
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if _is_ours(directory) and os.access(directory, os.W_OK | os.X_OK):
            return path
    raise InputError(
        "There is no directory for the control socket.",
        hint="Set control.socket, or control.enabled = false.",
    )


def name_for(config: Config) -> str:
    """``control.sock``, or with another journal than the default one a name of its own."""
    path = config.journal.path
    if not path or Path(path).resolve() == default_path().resolve():
        return NAME
    digest = hashlib.sha256(os.fsencode(Path(path).resolve())).hexdigest()
    return f"control-{digest[:8]}.sock"


def find(
    config: Config,
    env: Mapping[str, str],
    *,
    socket: str = "",
    url: str = "",
    token_file: str = "",
) -> Where:
    """Which bridge a command talks to: the one that is named, else the one of this
    configuration, else the only one that runs.

    Raises:
        InputError: what was named cannot be used.
    """
    if socket and url:
        raise InputError("Both a socket and a URL are given.", hint="Leave one of them out.")
    url = url or ("" if socket else env.get(URL_VARIABLE, ""))
    if url:
        return _at_url(url, _token(token_file, config))
    if socket:
        return Where(socket=_checked(socket))
    if config.control.socket:
        return Where(socket=_checked(config.control.socket))
    if not UNIX_SOCKETS:
        host = config.control.bind
        scheme = "wss" if config.control.tls_cert else "ws"
        return _at_url(f"{scheme}://{host}:{config.control.port}", _token(token_file, config))
    return _found(name_for(config), env)


def keys(by_url: bool) -> frozenset[str]:
    """The options that ``find`` looks at. Whoever stops a bridge in a hurry cannot first
    repair what is wrong with the others."""
    named = {"journal.path", "control.socket", "control.port", "control.bind", "control.tls_cert"}
    if by_url or not UNIX_SOCKETS:
        named |= {"control.token", "control.token_file", "control.token_env"}
    return frozenset(named)


def alive(path: Path) -> bool:
    """Whether somebody listens on this socket. At most ``ALIVE_S``."""
    if not UNIX_SOCKETS or too_long(path):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(ALIVE_S)
        try:
            probe.connect(str(path))
        except (BlockingIOError, TimeoutError, PermissionError):
            return True  # a full queue of connections, or another user's
        except OSError:
            return False
    return True


def too_long(path: Path) -> str:
    """Why no socket can have this path; blank where one can."""
    length = len(os.fsencode(path))
    if length <= MAX_PATH_BYTES:
        return ""
    return (
        f"The control socket's path has {length} bytes, and a socket's can have at most "
        f"{MAX_PATH_BYTES}: {printable(str(path))}."
    )


def _found(name: str, env: Mapping[str, str]) -> Where:
    """The socket of this name, in the directory where there is one."""
    paths = [
        directory / name
        for directory in _directories(env)
        if _is_ours(directory) or not directory.exists()
    ]
    paths.append(SERVICE_FOLDER / name)
    for path in paths:
        if alive(path):
            return Where(socket=str(path))
    others: list[str] = []
    if name == NAME:  # nothing said which bridge is meant
        folders = dict.fromkeys(path.parent for path in paths)
        sockets = (one for folder in folders for one in sorted(folder.glob("control-*.sock")))
        others = [str(one) for one in sockets if alive(one)]
        if len(others) == 1:
            return Where(socket=others[0], guessed=True)
    return Where(socket=str(paths[0]), looked=tuple(map(str, paths)), others=tuple(others))


def _directories(env: Mapping[str, str]) -> Iterator[Path]:
    """Runtime directories, the best one first."""
    if service := env.get("RUNTIME_DIRECTORY", "").partition(":")[0]:  # systemd's
        yield Path(service)
    if not UNIX_SOCKETS:
        return
    user = os.geteuid()
    if (named := env.get("XDG_RUNTIME_DIR", "")) and _is_ours(Path(named)):
        yield Path(named) / "teamscall"
    if _is_ours(usual := Path(f"/run/user/{user}")):
        yield usual / "teamscall"
    yield Path(tempfile.gettempdir()) / f"teamscall-{user}"


def _is_ours(directory: Path) -> bool:
    """A real directory of ours into which nobody else can put anything."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    closed = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and closed


def _checked(path: str) -> str:
    if problem := too_long(Path(path)):
        raise InputError(problem, hint="Name a shorter path.")
    return path


def _at_url(url: str, token: Secret | None) -> Where:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("ws", "wss") or not host or "@" in parts.netloc:
        raise InputError(
            "The bridge's URL is none that can be used.",
            hint="It looks like ws://127.0.0.1:7443 or wss://bridge.example:7443.",
        )
    if parts.scheme == "ws" and not is_loopback(host):
        raise InputError(
            f"ws://{printable(host)} would send the token in clear to another machine.",
            hint="Use wss://.",
        )
    if not token:
        raise InputError(
            "There is no token for the bridge's port.",
            hint="Give --token-file, or set TEAMSCALL_CONTROL_TOKEN.",
        )
    return Where(url=url, token=token)


def _token(file: str, config: Config) -> Secret | None:
    if not file:
        return config.control.token or None
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(_MAX_TOKEN_BYTES).decode().strip()
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, a NUL in the path
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"The token file cannot be read: {reason}.") from error
    if not text:
        raise InputError("The token file is empty.")
    return Secret(text)
