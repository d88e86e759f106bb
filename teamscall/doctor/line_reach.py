"""The way to the door: the URL, its name, a TCP connection to each kind of address."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from teamscall.doctor import findings
from teamscall.doctor.bridge import running, started
from teamscall.doctor.checks import Check, Fact, Finding, Site, Status, failed, ok, skipped, warning
from teamscall.doctor.knocking import CONNECT_S, Address, is_address, knock
from teamscall.doctor.lines import Line, lines
from teamscall.errors import TeamscallError
from teamscall.text import printable

# What must be right before anything can be dialled.
GROUND = (
    "TC-CONFIG",
    "TC-SECRET",
    "TC-SECRET-FILE",
    "TC-SECRET-COPY",
    "TC-SECRET-STRENGTH",
    "TC-SECOND-BRIDGE",
    "TC-PORT",
    "TC-CERTIFICATE",
    "TC-PACKAGES",
)

_WORST: tuple[Status, ...] = ("failed", "warning", "ok", "skipped")

# Our own network lacks this family: nothing is known of theirs.
_OURS = frozenset({errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


async def each(
    site: Site, look: Callable[[Site, Line], Awaitable[Finding]], *, once: bool = False
) -> Finding:
    """The worst of what ``look`` finds on every line, at once. ``once``: lines that lead to the
    same address are one."""
    found = lines(site)
    if once:
        found = tuple({(line.address, line.registered): line for line in found}.values())
    if not found:
        return skipped("No dialect is served.")
    if (ground := await _ground(site)).status == "failed":
        return skipped(f"There is no bridge to dial: {ground.what}")
    told = await asyncio.gather(*(look(site, line) for line in found))
    worst = min(range(len(told)), key=lambda at: _WORST.index(told[at].status))
    chosen = told[worst]
    if len(found) > 1 and chosen.status in ("failed", "warning"):
        others = {one.what for one in told if one.status == chosen.status}
        if len(others) > 1 or sum(one.status == chosen.status for one in told) == 1:
            return Finding(
                chosen.status, f"{found[worst].name}: {chosen.what}", chosen.remedy, chosen.facts
            )
    return chosen


async def bridge(site: Site) -> Finding:
    """Something to dial: the bridge that runs, or one for the test."""
    return await _ground(site)


async def _ground(site: Site) -> Finding:
    """The same for whichever check asks first: each may be run alone."""

    async def make() -> Finding:
        return await _bridge(site)

    return await site.shared.once("ground", make)


async def _bridge(site: Site) -> Finding:
    up = await running(site)
    answers = [
        await knock(line.own, "/healthz") for line in {one.own: one for one in lines(site)}.values()
    ]
    if answers and all(answer.status == 200 for answer in answers):
        if up is not None and up.draining:
            return failed(
                f"The running bridge (process {up.pid}) is draining: it takes no more calls.",
                "Restart it.",
            )
        return ok("The running bridge is dialled; its calls are not disturbed.", started=False)
    if up is not None:
        return failed(
            f"The running bridge (process {up.pid}) does not answer on its own address.",
            "Look at its log; restart it if the addresses in the configuration were changed.",
        )
    if any(line.own.port == 0 for line in lines(site)):
        return skipped("serve.port is 0: any free port, so there is no address to dial.")
    if site.start is None:
        return failed("No bridge is running.", "Start it with `teamscall serve`.")
    try:
        await started(site)
    except TeamscallError as error:
        if any([(await knock(line.own, "/healthz")).status == 200 for line in lines(site)]):
            return failed(
                "Another bridge has taken the port in the meantime: most likely another doctor, at "
                "its test.",
                "Run it again in half a minute; if it stays so, TC-PORT tells who holds the port.",
            )
        return failed(
            f"No bridge can be started for the test: {printable(error.message, 200)}",
            printable(error.hint, 200) or "`teamscall serve` says the same.",
        )
    return ok("None is running: one was started for the test.", started=True)


async def url(site: Site) -> Finding:
    """The registered address by itself."""
    for line in findings.of("TC-URL", (*site.problems, *site.warnings)):
        if not site.public_url and ("is not" in line or "credentials" in line):
            return failed(findings.sentence(line), "Write it as wss://bot.example.com/path.")
    for line_ in lines(site):
        found = look_at(line_, site)
        if found.status == "failed" or (found.status == "warning" and await _leaves(line_)):
            return found
    told = lines(site)
    if not told:
        return skipped("No dialect is served.")
    first = told[0]
    if not first.registered:
        return ok(
            f"No public_url: the bridge's own address is dialled, {printable(first.url)}.",
            url=printable(first.url),
            registered=False,
        )
    told_of = look_at(first, site)
    return told_of if told_of.status == "ok" else ok(f"{printable(first.url)}.")


async def _leaves(line: Line) -> bool:
    """Whether what is said to this name leaves this machine and its network."""
    found = await resolve(line.address)
    if isinstance(found, str):
        return False  # TC-DNS tells
    places = [ipaddress.ip_address(where.partition("%")[0]) for _, where in found]
    return not all(place.is_loopback or place.is_private for place in places)


def look_at(line: Line, site: Site) -> Finding:
    """What is wrong with one registered address, before anybody dials it."""
    if not line.registered:
        return ok("")
    shown = printable(line.url)
    key, path = line.key, line.own_path
    try:
        parts = urlsplit(line.url)
        port = parts.port
    except ValueError:
        return failed(f"{key} {shown} is no URL.", f"Write it as wss://bot.example.com{path}.")
    if parts.scheme.lower() not in ("ws", "wss", "http", "https"):
        return failed(
            f"{key} has the scheme {printable(parts.scheme, 20)}.", "Write wss:// (or https://)."
        )
    host = parts.hostname or ""
    if "@" in parts.netloc:
        return failed(f"{key} has credentials in it.", "Take them out; the secret is the proof.")
    if not host or port == 0:
        return failed(f"{key} {shown} has no host.", f"Write it as wss://bot.example.com{path}.")
    good = f"{parts.scheme}://{parts.netloc}{path}"
    if parts.query or parts.fragment:
        return failed(
            f"{key} {shown} has a query or a fragment: the other side adds the call's id to it.",
            f"Register {good}.",
        )
    if "{" in parts.path or "<" in parts.path or "%7b" in parts.path.lower():
        return failed(
            f"{key} {shown} holds a placeholder: the other side adds the call's id by itself.",
            f"Register {good}.",
        )
    if parts.path in ("", "/"):
        return failed(
            f"{key} {shown} has no path: the other side would dial / and be refused.",
            f"Register {good}.",
        )
    if parts.path.endswith("/"):
        return failed(
            f"{key} {shown} ends with a slash: calls are not taken there.", f"Register {good}."
        )
    if "//" in parts.path:
        return failed(f"{key} {shown} has a double slash in its path.", f"Register {good}.")
    return _look_at_host(line, site, host, parts.scheme.lower() in ("ws", "http"))


def _look_at_host(line: Line, site: Site, host: str, clear: bool) -> Finding:
    shown, key = printable(line.url), line.key
    local = host.rstrip(".").lower() == "localhost"
    private = False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        local, private = address.is_loopback, address.is_private or address.is_link_local
        if address.is_unspecified:
            return failed(
                f"{key} {shown}: {host} is no address that can be dialled.",
                "Register the name or address under which the other side reaches this machine.",
            )
    if local and (far := _far_side(site, line)):
        return failed(
            f"{key} {shown} is this machine's own address, and the other side ({far}) is another "
            "machine: it would dial itself.",
            "Register a public name, with a proxy or a tunnel in front of the bridge.",
        )
    facts: dict[str, Fact] = {"url": shown, "loopback": local, "private": private, "tls": not clear}
    if clear and not local and not private:
        return warning(
            f"{key} {shown} is not encrypted: audio"
            f"{' and the secret travel' if line.dialect == 'csharp' else ' travels'} in clear.",
            "Register a wss:// address, with a certificate on the proxy or on the bridge.",
            **facts,
        )
    where = " (of this machine: only what runs here can dial it)" if local else ""
    return ok(f"{shown}{where}.", **facts)


def _far_side(site: Site, line: Line) -> str:
    """The other side's machine, where the configuration names one that is not this one."""
    config = site.config
    url = config.bridge.control_url if line.dialect == "csharp" else config.standin.worker_base_url
    try:
        host = urlsplit(url).hostname or ""
        return "" if ipaddress.ip_address(host).is_loopback else printable(host, 100)
    except ValueError:
        return "" if host in ("", "localhost") else printable(host, 100)


async def names(site: Site) -> Finding:
    return await each(site, _name, once=True)


async def _name(site: Site, line: Line) -> Finding:
    host = line.address.host
    if is_address(host):
        return ok(f"{host} is an address, no name.")
    found = await resolve(line.address)
    if isinstance(found, str):
        return failed(
            f"The name {printable(host)} of {line.key} does not resolve: {found}.",
            "Correct the name, or make its DNS record (A or AAAA) and wait until it is known.",
            host=printable(host),
        )
    v4 = [one for family, one in found if family == socket.AF_INET]
    v6 = [one for family, one in found if family == socket.AF_INET6]
    addresses = ", ".join((v4 + v6)[:4])
    return ok(f"{printable(host)} is {addresses}.", v4=len(v4), v6=len(v6), addresses=addresses)


async def resolve(address: Address) -> list[tuple[int, str]] | str:
    """(family, address) of a name, or why there is none."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        return f"no answer within {CONNECT_S:g} s"
    except (OSError, UnicodeError) as error:
        return printable(getattr(error, "strerror", None) or "it is no host name", 100)
    return list(dict.fromkeys((int(each[0]), str(each[4][0])) for each in found))


async def connects(site: Site) -> Finding:
    return await each(site, _connect, once=True)


async def _connect(site: Site, line: Line) -> Finding:
    address = line.address
    found = await resolve(address)
    if isinstance(found, str):
        return failed(f"{printable(address.host)} does not resolve.", "See TC-DNS.")
    # A name of this machine has both families by habit, and a proxy often only one.
    tried = found[:6]
    results = await asyncio.gather(*(_try(each, address.port) for each in tried))
    known = {where: why for (_, where), why in zip(tried, results, strict=True) if why not in _OURS}
    where = printable(address.authority)
    bad = {one: why for one, why in known.items() if why}
    if known and len(bad) < len(known):
        ours = all(ipaddress.ip_address(one.partition("%")[0]).is_loopback for one in known)
        if bad and not ours:
            one, why = next(iter(bad.items()))
            return warning(
                f"{where} can be reached, but not at {one}: {_words(why)}.",
                f"Let the proxy listen at {one} too, or take that record out of the DNS.",
                address=one,
            )
        return ok(f"{where} takes connections.", addresses=", ".join(known))
    if not known:
        return failed(
            f"{where}: this machine has no route to it.",
            "Check this machine's network; is the address one that it can reach?",
        )
    one, why = next(iter(bad.items()))
    if why == errno.ECONNREFUSED:
        return failed(
            f"{where} refuses connections: nothing listens at {one} port {address.port}.",
            "Start the proxy or the tunnel, or correct the port of the address "
            f"({line.key if line.registered else 'serve.port'}).",
            address=one,
            port=address.port,
        )
    return failed(
        f"{where} cannot be reached at {one} port {address.port}: {_words(why)}.",
        "Open that port in the firewall (and in the cloud's security group), and forward it to "
        "the proxy.",
        address=one,
        port=address.port,
    )


async def _try(place: tuple[int, str], port: int) -> int:
    """0, or the error number."""
    family, host = place
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_S):
                await asyncio.get_running_loop().sock_connect(probe, (host, port))
        except TimeoutError:
            return errno.ETIMEDOUT
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def _words(number: int) -> str:
    if number == errno.ETIMEDOUT:
        return f"no answer within {CONNECT_S:g} s"
    return os.strerror(number).lower()


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-BRIDGE",
        "line",
        "A bridge to dial",
        bridge,
        "The line is tested against the running bridge, whose calls are not disturbed: the "
        "doctor's own are recognised by the right secret and a name, take no slot, ring nobody "
        "and are in no journal. Where none runs, one is started for the test.",
        "Start the bridge, or correct what keeps it from starting.",
        after=GROUND,
        timeout_s=12.0,
    ),
    Check(
        "TC-URL",
        "line",
        "The registered address",
        url,
        "Looks at the address that is registered with the other side (--public-url, "
        "serve.public_url, standin.public_url) before anybody dials it: scheme, host, path.",
        "Register the address that it names, and write the same into public_url.",
    ),
    Check(
        "TC-DNS",
        "line",
        "The name",
        names,
        "Resolves the registered name as this machine sees it.",
        "Make the DNS record, or correct the name.",
        after=("TC-URL", "TC-BRIDGE"),
    ),
    Check(
        "TC-TCP",
        "line",
        "A connection",
        connects,
        "Connects to every address of the registered name. Refused: nothing listens there. No "
        "answer: a firewall.",
        "Start the proxy or tunnel, open the port, or correct the address.",
        after=("TC-DNS",),
    ),
)
