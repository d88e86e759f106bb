"""The clock, against others: time servers over SNTP, the Date of answers over HTTP.

Owns the asking and the arithmetic. A source that cannot be reached says nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import socket
import struct
import time
from urllib.parse import urlsplit

import msgspec

from teamscall.config import Config
from teamscall.doctor.bridge import listeners, running
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.here_place import reachable
from teamscall.doctor.knocking import Address, knock
from teamscall.text import printable

# Three that belong to different people; asked once each.
SERVERS = ("time.cloudflare.com", "time.google.com", "pool.ntp.org")
PORT = 123
ANSWER_S = 1.5
_EPOCH_S = 2_208_988_800  # 1900, where NTP begins, to 1970

# A gateway rejects an answer whose timestamp is further off (csharp-gateway.md).
CSHARP_MS = 5000
# A Date has whole seconds: what it tells is true to this.
DATE_MS = 1000.0


class Skew(msgspec.Struct, frozen=True):
    """Our clock minus theirs. ``give_ms``: how far off that may be."""

    source: str
    ms: float
    give_ms: float


async def clock(site: Site) -> Finding:
    """All sources at once. Of the time servers the middle one counts, for one may be wrong;
    each far side counts by itself: its clock is the one that ours has to agree with."""
    dates = [*_peers(site), *await _own(site)]
    told, seen = await asyncio.gather(
        asyncio.gather(*map(_ask_server, servers(site))), asyncio.gather(*map(_ask_date, dates))
    )
    exact = sorted((one for one in told if one is not None), key=lambda one: one.ms)
    found = exact[len(exact) // 2 :][:1] + [one for one in seen if one is not None]
    if not found:
        return skipped("No time source can be reached from here.")
    number = len(exact) + sum(one is not None for one in seen)
    judged = [judge(one, number, site.config) for one in found]
    return min(judged, key=lambda one: ("failed", "warning", "ok").index(one.status))


def judge(skew: Skew, sources: int, config: Config) -> Finding:
    """What follows from being off by so much."""
    facts: dict[str, Fact] = {"skewMs": round(skew.ms), "source": skew.source, "sources": sources}
    off = max(0.0, abs(skew.ms) - skew.give_ms)  # certainly
    way = "ahead of" if skew.ms > 0 else "behind"
    amount = f"{abs(skew.ms):.0f} ms" if abs(skew.ms) < 10_000 else f"{abs(skew.ms) / 1000:.0f} s"
    what = f"This machine's clock is {amount} {way} {skew.source}"
    repair = (
        "Set the clock by a time server: `timedatectl set-ntp true` (or chrony, or the host's "
        "clock in a virtual machine); then run `teamscall doctor --only TC-CLOCK` again."
    )
    window = config.standin.hmac_window_ms
    if config.standin.enabled and off > window:
        return failed(
            f"{what}: StandIn's signatures are refused beyond {window / 1000:g} s.", repair, **facts
        )
    if config.serve.enabled and off > CSHARP_MS:
        return failed(
            f"{what}: a gateway rejects our answers beyond {CSHARP_MS / 1000:g} s.", repair, **facts
        )
    if off > min(CSHARP_MS, window / 2):
        return warning(f"{what}.", repair, **facts)
    return ok(f"{what} (of {sources} asked that answered).", **facts)


def servers(site: Site) -> tuple[str, ...]:
    """The time servers to ask."""
    return site.time_servers or SERVERS


def _peers(site: Site) -> list[Address]:
    """Other machines whose answers have a Date."""
    config = site.config
    urls = [site.public_url, config.serve.public_url, config.standin.public_url]
    urls.append(config.bridge.control_url)
    found: dict[Address, None] = {}
    for url in urls:
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            secure = parts.scheme in ("https", "wss")
            if parts.hostname:
                port = parts.port or (443 if secure else 80)
                found[Address(parts.hostname, port, secure, verify=False)] = None
    return list(found)


async def _own(site: Site) -> list[Address]:
    """The running bridge: it may have been started with another clock than ours."""
    if await running(site) is None:
        return []
    return [
        Address(reachable(one.bind), one.port, bool(one.cert), verify=False)
        for one in listeners(site.config)
        if one.port
    ]


async def _ask_server(name: str) -> Skew | None:
    """One SNTP question (RFC 4330)."""
    host, _, port = name.rpartition(":") if name.count(":") == 1 else (name, "", "")
    try:
        async with asyncio.timeout(ANSWER_S):
            loop = asyncio.get_running_loop()
            places = await loop.getaddrinfo(host or name, int(port or PORT), type=socket.SOCK_DGRAM)
            family, kind, proto, _, address = places[0]
            with socket.socket(family, kind, proto) as link:
                link.setblocking(False)
                link.connect(address)
                sent = time.time()
                stamp = struct.pack("!Q", int((sent + _EPOCH_S) * 2**32) & (2**64 - 1))
                await loop.sock_sendall(link, bytes([0x23]) + bytes(39) + stamp)
                answer = await loop.sock_recv(link, 512)
                back = time.time()
    except (OSError, TimeoutError, ValueError):
        return None
    return read_answer(answer, stamp, sent, back, printable(name, 60))


def read_answer(answer: bytes, stamp: bytes, sent: float, back: float, source: str) -> Skew | None:
    """What a time server's packet tells; None: it is no answer to ours, or it knows no time."""
    if len(answer) < 48 or answer[24:32] != stamp or answer[0] & 7 != 4:
        return None
    if not 0 < answer[1] < 16 or answer[0] >> 6 == 3:  # its stratum; it is not synchronised
        return None
    received, transmitted = (
        number / 2**32 - _EPOCH_S for number in struct.unpack("!QQ", answer[32:48])
    )
    theirs = ((received - sent) + (transmitted - back)) / 2
    give_ms = max(1.0, (back - sent) * 500)
    return Skew(source, -theirs * 1000, give_ms)


async def _ask_date(address: Address) -> Skew | None:
    # The certificate is looked at by TC-TLS-*; a Date is only ever a hint.
    answer = await knock(address, "/healthz", (("Connection", "close"),))
    if not answer.sent_at:
        return None
    name = f"the Date that {printable(address.authority)} answers with"
    return read_date(
        answer.header("Date"), answer.sent_at, answer.sent_at + answer.took_ms / 1000, name
    )


def read_date(text: str, sent: float, back: float, source: str) -> Skew | None:
    """What a Date header tells: whole seconds, cut off."""
    try:
        theirs = email.utils.parsedate_to_datetime(text).timestamp() + 0.5
    except (TypeError, ValueError, OverflowError):
        return None
    return Skew(source, ((sent + back) / 2 - theirs) * 1000, DATE_MS + (back - sent) * 500)


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-CLOCK",
        "here",
        "The clock",
        clock,
        "Compares this machine's clock with time servers (SNTP, UDP port 123) and with the "
        "Date of what the registered address and the gateway answer. StandIn's signatures are "
        "good for 60 s around our clock, and a C# gateway rejects our answers beyond 5 s. "
        "Sources that cannot be reached are left out; --ntp HOST names others.",
        "Have the clock set by a time server. In a container it is the host's clock.",
    ),
)
