"""One HTTP/1.1 request on a connection of its own, and whatever comes back, as bytes show it.

A client library would follow, repair or reject what is wrong here; this only tells. Owns the
connection and reading one head. Refuses to know what an answer means.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import ssl
import time
from collections.abc import Sequence
from typing import Literal

import msgspec

from teamscall import __version__
from teamscall.text import printable

# How a running bridge recognises what is the doctor's; its calls need the right secret too.
AGENT = f"teamscall-doctor/{__version__}"
# In what a doctor's call is answered with: which bridge it has reached.
IDENTITY_HEADER = "Teamscall-Bridge"

CONNECT_S = 4.0
ANSWER_S = 4.0
MAX_BYTES = 64 * 1024

_STATUS = re.compile(rb"HTTP/(\d)(?:\.(\d))? +(\d{3})(?: |\r|\n|$)")

Trouble = Literal[
    "",
    "unresolved",
    "refused",
    "unreachable",
    "connect-timeout",
    "tls",
    "closed",  # without an answer
    "timeout",  # no answer
    "http2",
    "not-http",
]


class Address(msgspec.Struct, frozen=True):
    """Where to knock. ``host``: name or address without brackets; ``ca``: a PEM file."""

    host: str
    port: int
    tls: bool
    verify: bool = True
    ca: str = ""

    @property
    def authority(self) -> str:
        """As in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Answer(msgspec.Struct, frozen=True):
    """What came back. ``status`` 0 where it was no HTTP/1 answer; ``trouble`` says why."""

    status: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    trouble: Trouble = ""
    detail: str = ""  # printable
    took_ms: float = 0.0
    sent_at: float = 0.0  # by the wall clock, seconds

    def header(self, name: str) -> str:
        """The first of this name, printable; blank where there is none."""
        return next((printable(v, 300) for k, v in self.headers if k == name.lower()), "")


async def knock(address: Address, target: str, headers: Sequence[tuple[str, str]] = ()) -> Answer:
    """``GET target``. Raises nothing: what goes wrong is the answer."""
    began = time.monotonic()
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=tls_context(address) if address.tls else None,
                server_hostname=address.host if address.tls else None,
                limit=MAX_BYTES,
            )
    except TimeoutError:
        return Answer(trouble="connect-timeout", took_ms=_since(began))
    except ssl.SSLError as error:
        return Answer(trouble="tls", detail=printable(error.reason or "", 100))
    except ConnectionRefusedError:
        return Answer(trouble="refused")
    except OSError as error:
        kind: Trouble = "unresolved" if not isinstance(error.errno, int) else "unreachable"
        return Answer(trouble=kind, detail=printable(error.strerror or "", 100))
    sent_at = time.time()
    try:
        lines = [f"GET {target} HTTP/1.1", f"Host: {address.authority}", f"User-Agent: {AGENT}"]
        lines += [f"{name}: {value}" for name, value in headers]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", "replace"))
        data = bytearray()
        async with asyncio.timeout(ANSWER_S):
            await writer.drain()
            while (piece := await reader.read(16_384)) and len(data) < MAX_BYTES:
                data += piece
                if _whole(bytes(data)):
                    break
        answer = read_answer(bytes(data))
    except TimeoutError:
        answer = read_answer(bytes(data)) if data else Answer(trouble="timeout")
    except ssl.SSLError as error:
        answer = Answer(trouble="tls", detail=printable(error.reason or "", 100))
    except OSError as error:
        answer = Answer(trouble="closed", detail=printable(error.strerror or "", 100))
    finally:
        await leave(writer)
    return msgspec.structs.replace(answer, took_ms=_since(began), sent_at=sent_at)


async def leave(writer: asyncio.StreamWriter) -> None:
    """Close a connection. The far side's half of a TLS goodbye is not waited for."""
    if writer.get_extra_info("ssl_object") is not None:
        writer.transport.abort()
        return
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await writer.wait_closed()


async def speaks_http2(address: Address) -> bool:
    """Whether HTTP/2 is answered there to one who begins with it (RFC 9113, section 3.4)."""
    writer: asyncio.StreamWriter | None = None
    context = tls_context(address) if address.tls else None
    if context is not None:
        context.set_alpn_protocols(["h2"])
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(
                address.host,
                address.port,
                ssl=context,
                server_hostname=address.host if address.tls else None,
            )
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5))
            await writer.drain()
            return read_answer(await reader.read(64)).trouble == "http2"
    except (OSError, TimeoutError):
        return False
    finally:
        if writer is not None:
            writer.transport.abort()


def read_answer(data: bytes) -> Answer:
    """What these bytes are."""
    if not data:
        return Answer(trouble="closed")
    match = _STATUS.match(data)
    if match is None:
        # A SETTINGS frame of HTTP/2: three bytes of length, type 4, on stream 0.
        if len(data) >= 9 and data[3] in (4, 7) and data[5:9] == bytes(4):
            return Answer(trouble="http2")
        return Answer(trouble="not-http", detail=printable(data[:80].decode("latin-1"), 80))
    head, _, body = data.partition(b"\r\n\r\n")
    headers = tuple(
        (name.strip().lower(), value.strip())
        for name, colon, value in (
            line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:]
        )
        if colon
    )
    return Answer(int(match[3]), headers, body)


def tls_context(address: Address) -> ssl.SSLContext:
    """As a gateway's: no ALPN, TLS 1.2 or newer, the system's authorities."""
    context = ssl.create_default_context(cafile=address.ca or None)
    if not address.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def is_address(host: str) -> bool:
    """Whether it is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _whole(data: bytes) -> bool:
    """Whether the head is there, and the body as far as it says its length."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return not data.startswith(b"HTTP/"[: len(data)])
    if re.match(rb"HTTP/1\.[01] (?:1\d\d|204|304)", head):
        return True
    length = re.search(rb"\r\ncontent-length: *(\d{1,9})", head, re.IGNORECASE)
    return length is not None and len(body) >= int(length[1])


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)
