"""Where the bridge is to be: another one with its journal, its ports, its certificate."""

from __future__ import annotations

import asyncio
import datetime
import errno
import os
import socket
import ssl
import stat
from pathlib import Path

from teamscall.doctor import findings
from teamscall.doctor.bridge import Listener, Running, listeners, running
from teamscall.doctor.certificates import expiry, read_pem
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.here_disk import journal_path
from teamscall.doctor.knocking import Address, knock
from teamscall.doctor.ports import Holder, holder, name_of
from teamscall.text import printable


async def second(site: Site) -> Finding:
    """Whether another bridge holds this journal. Our own, running, is fine."""
    up = await running(site)
    pid = None
    if site.config.journal.enabled:
        pid = await asyncio.to_thread(_locked_by, journal_path(site))
    shown = printable(str(journal_path(site)))
    if up is not None:
        ports = {one.port for one in listeners(site.config)} - {0}
        other = _another_file(site, up)
        if ports and not ports & up.ports and other:
            return failed(
                f"Another bridge (process {up.pid}, {other}) uses the journal {shown}: this one "
                "would not start.",
                "Stop it, or give this one a journal.path of its own.",
                pid=up.pid,
            )
        return ok(
            f"A bridge runs (process {up.pid}, version {up.version}).",
            pid=up.pid,
            version=up.version,
            uptimeS=up.uptime_s,
        )
    if pid is None:
        return ok("No bridge runs here.")
    for one in listeners(site.config):
        held = await asyncio.to_thread(holder, one.bind, one.port)
        if held is not None and held.pid in (pid, 0):
            return ok(f"A bridge runs (process {pid}).", pid=pid)
    who = f"process {pid}" if pid else "another process"
    return failed(
        f"Another bridge ({who}) uses the journal {shown}: this one would not start.",
        "Stop it, or give this one a journal.path of its own.",
        pid=pid,
    )


def _another_file(site: Site, up: Running) -> str:
    """The running bridge's configuration file, if it is not ours."""
    ours = str(site.config_path.absolute()) if site.config_path else ""
    if up.config_path == ours:
        return ""
    return printable(up.config_path) if up.config_path else "without a configuration file"


def _locked_by(journal: Path) -> int | None:
    """Who holds the journal: its number, 0 for one that is not told; None: nobody does."""
    lock = f"{os.path.realpath(journal)}.lock"
    try:
        import fcntl
    except ImportError:
        return None
    try:
        number = os.open(lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            return None
        text = os.read(number, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else 0
    finally:
        os.close(number)
    return None


async def port(site: Site) -> Finding:
    """Whether every port is free, or our own bridge has it."""
    up = await running(site)
    told: list[str] = []
    for one in listeners(site.config):
        if one.port == 0:
            told.append("any free port")
            continue
        problem = await asyncio.to_thread(_try_to_bind, one)
        if problem is None:
            if up is not None and up.ports:
                have = ", ".join(map(str, sorted(up.ports)))
                return failed(
                    f"The running bridge (process {up.pid}) does not listen on {one.table}.port "
                    f"{one.port}, but on {have}.",
                    "Restart the bridge: a port changes with a restart alone.",
                    pid=up.pid,
                    port=one.port,
                )
            told.append(f"{one.port} is free")
            continue
        if problem != errno.EADDRINUSE:
            return _cannot_bind(one, problem)
        held = await asyncio.to_thread(holder, one.bind, one.port)
        if up is not None and (held is None or held.pid in (up.pid, 0)) and one.port in up.ports:
            told.append(f"{one.port} is held by the running bridge")
            continue
        if not await _is_bridge(one) or _is_another(site, held):
            return _taken(one, held)
        told.append(f"a bridge answers on {one.port}")
    return ok(f"{', '.join(told)}." if told else "No port is to be opened.")


def _try_to_bind(one: Listener) -> int | None:
    """The error number of binding as the bridge would; None: it works."""
    try:
        found = socket.getaddrinfo(
            one.bind or None, one.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        return errno.EADDRNOTAVAIL
    for family, kind, proto, _, address in dict.fromkeys(found):
        with socket.socket(family, kind, proto) as probe:
            if os.name == "posix":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind(address)
                probe.listen(1)  # two may bind with SO_REUSEADDR, one may listen
            except OSError as error:
                return error.errno
    return None


def _cannot_bind(one: Listener, number: int) -> Finding:
    where = f"{one.table}.bind {printable(one.bind)} port {one.port}"
    if number == errno.EACCES:
        return failed(
            f"This user may not open {where}.",
            f"Choose a {one.table}.port above 1023, and let a proxy have the low one.",
            port=one.port,
        )
    if number == errno.EADDRNOTAVAIL:
        return failed(
            f"{printable(one.bind)}, {one.table}.bind, is no address of this machine.",
            "Use 127.0.0.1 behind a proxy, 0.0.0.0 for all, or an address that `ip addr` shows.",
            port=one.port,
        )
    return failed(
        f"{where} cannot be opened: {os.strerror(number)}.", "Choose another address or port."
    )


async def _is_bridge(one: Listener) -> bool:
    address = Address(reachable(one.bind), one.port, bool(one.cert), verify=False)
    answer = await knock(address, "/healthz")
    return answer.status == 200 and b'"alive"' in answer.body


def _is_another(site: Site, held: Holder | None) -> bool:
    """A bridge of our own user that is not to be found where ours would be."""
    return (
        held is not None
        and held.pid > 0
        and site.config.control.enabled
        and hasattr(os, "geteuid")
        and held.uid == os.geteuid()
    )


def _taken(one: Listener, held: Holder | None) -> Finding:
    who = held.words if held is not None else "another process"
    stop = f"Stop process {held.pid}" if held is not None and held.pid else "Stop it"
    return failed(
        f"Port {one.port} ({one.table}.port) is held by {who}: the bridge would not start.",
        f"{stop}, or set {one.table}.port to another one (`ss -ltnp 'sport = :{one.port}'` shows "
        "who listens).",
        port=one.port,
        pid=held.pid if held else 0,
        process=name_of(held.pid) if held and held.pid else "",
    )


def reachable(bind: str) -> str:
    """The address under which a bind can be dialled from this machine."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(bind, bind.strip("[]"))


async def certificate(site: Site) -> Finding:
    """The bridge's own certificate files."""
    if problems := findings.of("TC-CERTIFICATE", site.problems):
        return failed(
            findings.sentence(problems[0]),
            "Name both tls_cert and tls_key, PEM files that the bridge's user can read.",
        )
    pairs = dict.fromkeys((one.cert, one.key) for one in listeners(site.config) if one.cert)
    if not pairs:
        return skipped("The bridge itself speaks no TLS (no serve.tls_cert).")
    now = datetime.datetime.now(datetime.UTC)
    worst: Finding | None = None
    for cert, key in pairs:
        found = await asyncio.to_thread(_usable, cert, key, now)
        if found.status == "failed":
            return found
        worst = found if worst is None or found.status == "warning" else worst
    assert worst is not None
    return worst


def _usable(cert: str, key: str, now: datetime.datetime) -> Finding:
    shown = printable(cert)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(cert, key, password=lambda: b"")
        leaf = read_pem(Path(cert).read_bytes())
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            return failed(
                f"The key {printable(key)} does not belong to the certificate {shown}.",
                "Name the key that the certificate was made with; the certificate's own comes "
                "first in its file, the intermediates after it.",
            )
        return failed(
            f"{shown} and {printable(key)} cannot be loaded: they are no PEM, or the key is "
            "encrypted.",
            "Give PEM files, and the key without a password (openssl pkey -in KEY -out PLAIN).",
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no certificate"
        return failed(f"{shown} cannot be used: {reason}.", "Give PEM files.")
    found = expiry(leaf, now, shown)
    if found.status == "ok" and os.name == "posix" and (bits := _bits(key)) & 0o007:
        return warning(
            f"The key {printable(key)} can be read by other users (mode {bits:04o}).",
            f"chmod o= {printable(key)}",
            mode=f"{bits:04o}",
        )
    return found


def _bits(path: str) -> int:
    try:
        return stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return 0


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-SECOND-BRIDGE",
        "here",
        "Another bridge with the same journal",
        second,
        "Two bridges on one journal would close each other's calls, so the second one does not "
        "start. A running bridge of this configuration is fine, and named.",
        "Stop the other one, or give this one a journal.path of its own.",
        after=("TC-CONFIG",),
    ),
    Check(
        "TC-PORT",
        "here",
        "The ports to listen on",
        port,
        "Each port must be free, or held by the running bridge. It names who holds it where "
        "the system lets it be seen.",
        "Stop the other program, or choose another serve.port or standin.port; the proxy's "
        "upstream has to follow.",
        after=("TC-CONFIG", "TC-SECOND-BRIDGE"),
    ),
    Check(
        "TC-CERTIFICATE",
        "here",
        "The bridge's own certificate",
        certificate,
        "When serve.tls_cert is set: the files can be read, belong together, and are not "
        "expired. What a proxy in front presents is looked at by TC-TLS-*.",
        "Renew it, name the right pair, then `teamscall reload`.",
    ),
)
