"""Far sides on loopback that answer as a test says, over HTTP or TLS, and a run of checks."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import h11
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from teamscall.config import Bridge, Config, Secret
from teamscall.doctor.checks import Check, Finding, Site
from teamscall.doctor.running import examine

SECRET = "q8Zr3vT1nYwL5kXcB7mHs2pJd9fGaE4u"
TOTAL_S = 60.0
Headers = Mapping[str, str]


class Asked(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


class Reply(NamedTuple):
    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()


def as_json(found: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(found).encode(), [("Content-Type", "application/json")])


PAGE = Reply(200, b"<!doctype html><html>Welcome</html>", [("Content-Type", "text/html")])


@asynccontextmanager
async def far_side(
    answer: Callable[[Asked], Reply], tls: ssl.SSLContext | None = None
) -> AsyncIterator[str]:
    """A server that answers so; its base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = h11.Connection(h11.SERVER)
        head: h11.Request | None = None
        body = b""
        with suppress(ConnectionError, h11.RemoteProtocolError):
            while not isinstance(event := link.next_event(), h11.EndOfMessage):
                if event is h11.NEED_DATA:
                    link.receive_data(await reader.read(65_536))
                elif isinstance(event, h11.Request):
                    head = event
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                else:
                    writer.close()
                    return
            assert head is not None
            told = {name.decode().lower(): value.decode("latin-1") for name, value in head.headers}
            asked = Asked(head.method.decode(), head.target.decode(), told, body)
            reply = answer(asked)
            sent = b"" if asked.method == "HEAD" else reply.body
            headers = [*reply.headers, ("Content-Length", str(len(sent))), ("Connection", "close")]
            writer.write(link.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
            writer.write(link.send(h11.Data(data=sent)) or b"")
            writer.write(link.send(h11.EndOfMessage()) or b"")
            await writer.drain()
        if link.their_state is h11.ERROR:  # no HTTP: as servers answer to TLS
            writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def run(checks: Sequence[Check], config: Config, **site: Any) -> dict[str, Finding]:
    """Run these checks and give their findings by id."""
    return asyncio.run(examined(checks, config, **site))


async def examined(checks: Sequence[Check], config: Config, **site: Any) -> dict[str, Finding]:
    outcomes = await examine(checks, Site(config=config, **site), total_s=TOTAL_S)
    return {one.check.id: one.finding for one in outcomes}


def bad(found: Mapping[str, Finding]) -> dict[str, str]:
    """What failed or warned, by id."""
    return {
        name: f"{one.what} {one.remedy}"
        for name, one in found.items()
        if one.status in ("failed", "warning")
    }


def config(**tables: Any) -> Config:
    """A configuration with a good secret and these tables."""
    return msgspec.structs.replace(Config(bridge=Bridge(secret=Secret(SECRET))), **tables)


# --- certificates -----------------------------------------------------------------------


def certificate(
    path: Path, *, days: float = 365, key_too: bool = True, rsa_key: bool = False
) -> Path:
    """A self-signed one for 127.0.0.1, with its key in the same PEM file of mode 0600."""
    key: Any = rsa.generate_private_key(65537, 2048) if rsa_key else None
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Corp Inspection CA")])
    ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - datetime.timedelta(days=800))
        .not_valid_after(ends)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    data = made.public_bytes(serialization.Encoding.PEM)
    if key_too:
        data += key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def server_tls(path: Path) -> ssl.SSLContext:
    """What a server needs to show it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
