"""Sites and fronts for the doctor's tests: real sockets, certificates of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from teamscall.cli.doctor_run import started
from teamscall.config import Authorization, Bridge, Config, JournalFile, Secret, Serve, StandIn
from teamscall.doctor.checks import Check, Finding, Group, Site, ok
from teamscall.doctor.registry import CHECKS
from teamscall.doctor.running import Outcome, examine, select

SECRET = "q7Yt2Wk9Lm4Xc8Vb1Nz6Hs3Gd5Fj0PaQ+uR/eTiOoAz="
PATH = "/teams-call/stream"

Respond = Callable[[bytes], bytes | None]  # to a request's head; None: pass it on


def free_port() -> int:
    """A port that nobody listens on now."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def config(*, standin: bool = False, secret: str = SECRET, public_url: str = "") -> Config:
    """A bridge of one dialect on a free port, that writes nothing."""
    port = free_port()
    base = Config(
        engine="echo",
        authorization=Authorization(mode="open"),
        journal=JournalFile(enabled=False),
    )
    if standin:
        table = StandIn(enabled=True, port=port, secret=Secret(secret), public_url=public_url)
        return msgspec.structs.replace(base, serve=Serve(enabled=False), standin=table)
    return msgspec.structs.replace(
        base,
        serve=Serve(port=port, public_url=public_url),
        bridge=Bridge(secret=Secret(secret)),
    )


def site(config_: Config, **more: object) -> Site:
    """What the checks look at, with a bridge that can be started."""
    return Site(config=config_, start=started, **more)  # type: ignore[arg-type]


async def line_of(config_: Config, *names: str, **more: object) -> dict[str, Finding]:
    """What the checks of the line tell, by id. Silence takes too long for a test."""
    chosen = select(CHECKS, names or ("line",), ("TC-IDLE",))
    outcomes = await examine(chosen, site(config_, **more), total_s=60.0)
    return findings(outcomes)


def findings(outcomes: Sequence[Outcome]) -> dict[str, Finding]:
    return {one.check.id: one.finding for one in outcomes}


def failures(told: dict[str, Finding]) -> list[str]:
    return [name for name, finding in told.items() if finding.status in ("failed", "warning")]


def check(
    name: str,
    run: Callable[[Site], object] | None = None,
    *,
    after: tuple[str, ...] = (),
    group: Group = "here",
    timeout_s: float = 5.0,
) -> Check:
    """A check for tests of the run itself; ``run`` gives a finding or an awaitable of one."""

    async def go(site_: Site) -> Finding:
        found = run(site_) if run is not None else ok("fine")
        if asyncio.iscoroutine(found):
            found = await found
        assert isinstance(found, Finding)
        return found

    return Check(name, group, name.lower(), go, "about", "", after, timeout_s)


def certificate(
    folder: Path, *, names: Sequence[str] = ("localhost",), days: tuple[int, int] = (-1, 60)
) -> tuple[Path, Path]:
    """A self-signed certificate and its key, valid from and to so many days from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=days[0]))
        .not_valid_after(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
        .sign(key, hashes.SHA256())
    )
    crt, pem = folder / "front.crt", folder / "front.key"
    crt.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return crt, pem


@contextlib.asynccontextmanager
async def front(
    to_port: int,
    *,
    respond: Respond = lambda head: None,
    change: Callable[[bytes], bytes] = lambda head: head,
    tls: tuple[Path, Path] | None = None,
    cap: int = 0,
    slow_s: float = 0.0,
) -> AsyncIterator[int]:
    """A proxy on a free port: answers a head by itself, or changes it and passes it on.
    ``cap``: cuts the connection after so many bytes; ``slow_s``: keeps each piece so long."""

    links: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        links.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            if (answer := respond(head)) is not None:
                writer.write(answer)
                await writer.drain()
            else:
                back, on = await asyncio.open_connection("127.0.0.1", to_port)
                links.append(on)
                on.write(change(head))
                await asyncio.gather(
                    _pipe(reader, on, cap, writer, slow_s), _pipe(back, writer, 0, None, slow_s)
                )
        writer.close()

    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for link in links:
            link.transport.abort()


async def _pipe(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    cap: int,
    other: asyncio.StreamWriter | None,
    slow_s: float,
) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            passed += len(data)
            if cap and passed > cap:
                assert other is not None
                other.transport.abort()
                break
            if slow_s:
                await asyncio.sleep(slow_s)
            writer.write(data)
            await writer.drain()
    writer.close()
