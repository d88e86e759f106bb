"""The addresses to dial: one line for each dialect that is served, as registered and direct.

Owns which URL is meant and what its upgrade carries. Refuses to know sockets.
"""

from __future__ import annotations

import time
import uuid
from urllib.parse import SplitResult, quote, urlsplit

import msgspec

from teamscall.config import Config, Secret
from teamscall.doctor.bridge import Listener, listeners
from teamscall.doctor.checks import Site
from teamscall.doctor.here_place import reachable
from teamscall.doctor.knocking import Address
from teamscall.wire.events import Dialect
from teamscall.wire.signature import BRIDGE_SECRET_HEADER, upgrade_headers

# How a running bridge recognises a call of StandIn's dialect as the doctor's.
CALL_ID_PREFIX = "doctor-"

_TLS = {"ws": False, "http": False, "wss": True, "https": True}


class Line(msgspec.Struct, frozen=True):
    """One way to the bridge.

    ``url``: as registered. ``registered``: False where nothing is, and ``url`` is the
    bridge's own address. ``key``: where it was written.
    """

    dialect: Dialect
    url: str
    registered: bool
    key: str
    own: Address
    own_path: str
    secret: Secret
    max_message_bytes: int
    ca: str = ""

    @property
    def name(self) -> str:
        """For people, where there are several."""
        return "StandIn" if self.dialect == "standin" else "C# gateway"

    @property
    def parts(self) -> SplitResult:
        """Raises: ValueError."""
        return urlsplit(self.url)

    @property
    def address(self) -> Address:
        """Where the registered address leads. Raises: ValueError, see ``TC-URL``."""
        parts = self.parts
        tls = _TLS[parts.scheme.lower()]
        if not parts.hostname:
            raise ValueError("no host")
        port = parts.port or (443 if tls else 80)
        return Address(parts.hostname, port, tls, verify=self.registered, ca=self.ca)


def lines(site: Site) -> tuple[Line, ...]:
    """Every line of this configuration."""
    config = site.config
    found: list[Line] = []
    for listener in listeners(config):
        for dialect in listener.dialects:
            found.append(_line(site, listener, dialect))
    return tuple(found)


def _line(site: Site, listener: Listener, dialect: Dialect) -> Line:
    config = site.config
    own = Address(reachable(listener.bind), listener.port, bool(listener.cert), verify=False)
    standin = dialect == "standin"
    path = (config.standin.paths or ("/",))[0] if standin else config.serve.path
    url, key = registered(site, dialect)
    direct = f"{'wss' if own.tls else 'ws'}://{own.authority}{path}"
    return Line(
        dialect=dialect,
        url=url or direct,
        registered=bool(url),
        key=key,
        own=own,
        own_path=path,
        secret=config.standin.secret if standin else config.bridge.secret,
        max_message_bytes=(config.standin if standin else config.serve).max_message_bytes,
        ca=site.ca,
    )


def registered(site: Site, dialect: Dialect) -> tuple[str, str]:
    """The address that the other side has, and where that is written; blank: none is."""
    config = site.config
    if site.public_url:
        given, key = site.public_url, "--public-url"
    elif dialect == "standin" and config.standin.public_url:
        return config.standin.public_url, "standin.public_url"
    else:
        given, key = config.serve.public_url, "serve.public_url"
    if given and "://" not in given:
        given = f"wss://{given}"
    if not given or not _is_of_other(config, given, dialect):
        return given, key
    path = config.standin.paths[0] if dialect == "standin" else config.serve.path
    try:
        return urlsplit(given)._replace(path=path).geturl(), key
    except ValueError:
        return given, key


def _is_of_other(config: Config, url: str, dialect: Dialect) -> bool:
    """Whether this is the address of the other dialect, where both are served."""
    if not (config.serve.enabled and config.standin.enabled and config.standin.paths):
        return False
    try:
        path = urlsplit(url).path.rstrip("/")
    except ValueError:
        return False
    if dialect == "standin":
        return path not in config.standin.paths
    return path in config.standin.paths


def dialled(line: Line, *, direct: bool = False) -> tuple[Address, str, list[tuple[str, str]]]:
    """Address, target and headers of one upgrade, signed now.

    Raises:
        ValueError: the address cannot be dialled, see ``TC-URL``.
    """
    address = line.own if direct else line.address
    path = line.own_path if direct else (line.parts.path or "/")
    secret = line.secret.reveal().encode("utf-8", "surrogateescape")
    if line.dialect == "csharp":
        return address, path, [(BRIDGE_SECRET_HEADER, secret.decode("latin-1"))]
    call_id = f"{CALL_ID_PREFIX}{uuid.uuid4()}"
    target = f"{path.rstrip('/')}/{quote(call_id, safe='')}"
    return address, target, upgrade_headers(secret, call_id, time.time_ns() // 1_000_000)
