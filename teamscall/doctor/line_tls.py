"""TLS at the registered address: does it speak it, until when, for whom, by whom.

OpenSSL's verdict decides; the certificate is read again without it to say why.
"""

from __future__ import annotations

import asyncio
import datetime
import ssl

import msgspec
from cryptography import x509

from teamscall.doctor import certificates
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped
from teamscall.doctor.knocking import CONNECT_S, Address, knock, leave, tls_context
from teamscall.doctor.line_reach import each
from teamscall.doctor.lines import Line
from teamscall.text import printable

# X509_V_ERR_*: no chain to a root that is trusted.
_SELF_SIGNED, _SELF_SIGNED_CHAIN = 18, 19
_NO_ISSUER, _NO_LEAF_ISSUER = 20, 21


class Handshake(msgspec.Struct, frozen=True):
    """What came of TLS, without verifying and with it."""

    cert: x509.Certificate | None = None
    version: str = ""
    problem: str = ""  # why there is no TLS at all; OpenSSL's word
    verify_code: int = 0
    verify_words: str = ""


async def handshake(site: Site, address: Address) -> Handshake:
    """Both handshakes with ``address``, once for all checks."""

    async def make() -> Handshake:
        return await _shake(address)

    return await site.shared.once(f"tls-{address.host}-{address.port}", make)


async def _shake(address: Address) -> Handshake:
    bare = msgspec.structs.replace(address, verify=False)
    try:
        der, version = await _connect(bare, tls_context(bare))
        cert = certificates.read_der(der)
    except ssl.SSLError as error:
        return Handshake(problem=printable(error.reason or "no TLS", 80))
    except (OSError, TimeoutError, ValueError) as error:
        return Handshake(problem=type(error).__name__)
    context = tls_context(msgspec.structs.replace(address, verify=True))
    context.check_hostname = False  # that is another check
    try:
        await _connect(address, context)
    except ssl.SSLCertVerificationError as error:
        words = printable(error.verify_message, 100)
        return Handshake(cert, version, verify_code=error.verify_code, verify_words=words)
    except (OSError, TimeoutError) as error:
        return Handshake(cert, version, verify_code=-1, verify_words=type(error).__name__)
    return Handshake(cert, version)


async def _connect(address: Address, context: ssl.SSLContext) -> tuple[bytes, str]:
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(
                address.host, address.port, ssl=context, server_hostname=address.host
            )
        link = writer.get_extra_info("ssl_object")
        return link.getpeercert(binary_form=True) or b"", link.version() or ""
    finally:
        if writer is not None:
            await leave(writer)


async def speaks(site: Site) -> Finding:
    return await each(site, _speaks, once=True)


async def _speaks(site: Site, line: Line) -> Finding:
    address = line.address
    where = printable(address.authority)
    if not address.tls:
        found = await knock(address, "/healthz", (("Connection", "close"),))
        # nginx says 400 to plain HTTP on a TLS port; others say nothing that is HTTP.
        # One that keeps plain HTTP waiting has read it.
        if found.status not in (0, 400) or found.trouble == "timeout":
            return skipped("The address is not encrypted.")
        secure = await _shake(address)
        if secure.cert is not None:
            return failed(
                f"{where} speaks TLS, and the registered address is {line.parts.scheme}://.",
                f"Register {_scheme(line, secure=True)}://{where}{line.parts.path}.",
                tls=True,
            )
        return skipped("The address is not encrypted.")
    found_tls = await handshake(site, address)
    if found_tls.cert is not None:
        return ok(f"{where} speaks {found_tls.version}.", version=found_tls.version)
    problem = found_tls.problem
    if "UNRECOGNIZED_NAME" in problem:
        return failed(
            f"What answers at {where} knows no host {printable(address.host)}: it ends the "
            "handshake (SNI).",
            f"Give it a host of that name (nginx: server_name {printable(address.host)}; HAProxy: "
            "a certificate for it), or register the name that it has.",
            openssl=problem,
        )
    if problem in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return failed(
            f"{where} does not speak TLS, and the registered address is {line.parts.scheme}://.",
            "Give the proxy a certificate on this port (nginx: listen ... ssl; HAProxy: bind ... "
            "ssl crt FILE), or correct the port.",
            openssl=problem,
        )
    if "PROTOCOL" in problem or "VERSION" in problem:
        return failed(
            f"{where} speaks only versions of TLS that are too old ({problem.lower()}).",
            "Allow TLS 1.2 and 1.3 there (nginx: ssl_protocols TLSv1.2 TLSv1.3; HAProxy: "
            "ssl-min-ver TLSv1.2).",
            openssl=problem,
        )
    return failed(
        f"No TLS handshake with {where}: {problem.lower().replace('_', ' ')}.",
        "Look at the proxy's error log: its certificate or its ciphers; a tunnel may not know "
        "this name.",
        openssl=problem,
    )


def _scheme(line: Line, *, secure: bool) -> str:
    plain = line.parts.scheme.lower().startswith("ws")
    return ("wss" if secure else "ws") if plain else ("https" if secure else "http")


async def lasts(site: Site) -> Finding:
    return await each(site, _lasts, once=True)


async def _lasts(site: Site, line: Line) -> Finding:
    if (found := await _certificate(site, line)) is None:
        return skipped("No certificate is presented.")
    now = datetime.datetime.now(datetime.UTC)
    return certificates.expiry(found, now, printable(line.address.authority))


async def named(site: Site) -> Finding:
    return await each(site, _named, once=True)


async def _named(site: Site, line: Line) -> Finding:
    if (found := await _certificate(site, line)) is None:
        return skipped("No certificate is presented.")
    if not line.registered:
        return skipped("No address is registered, so there is no name to be for.")
    host = line.address.host
    for_ = certificates.names(found)
    listed = ", ".join(printable(each, 80) for each in for_[:4]) or "no name at all"
    if not certificates.is_for(found, host):
        return failed(
            f"The certificate is not for {printable(host)}, but for {listed}.",
            f"Have one issued for {printable(host)}, or register an address that it is for.",
            names=listed,
        )
    return ok(f"It is for {printable(host)}.", names=listed)


async def trusted(site: Site) -> Finding:
    return await each(site, _trusted, once=True)


async def _trusted(site: Site, line: Line) -> Finding:
    if (found := await _certificate(site, line)) is None:
        return skipped("No certificate is presented.")
    if not line.registered:
        return skipped("No address is registered: whom the gateway trusts is not known here.")
    told = await handshake(site, line.address)
    by = certificates.issuer(found)
    if told.verify_code == 0:
        return ok(f"It was issued by {by} and is trusted here.", issuer=by)
    if told.verify_code == _SELF_SIGNED:
        return failed(
            "The certificate is self-signed: no gateway trusts it.",
            "Have one issued by an authority (Let's Encrypt, with certbot); on your own network "
            "make the gateway trust it, and give it here with --ca FILE.",
            issuer=by,
        )
    if told.verify_code in (_NO_ISSUER, _NO_LEAF_ISSUER):
        url = certificates.issuer_url(found)
        fetch = f" (it is at {url})" if url else ""
        return failed(
            f"The certificate's issuer, {by}, is neither presented nor trusted here: an "
            "intermediate certificate is missing.",
            "Let the proxy present the whole chain: the certificate, then its intermediates, in "
            f"one file (certbot's fullchain.pem){fetch}. For an authority of your own: --ca FILE.",
            issuer=by,
            verifyCode=told.verify_code,
        )
    if told.verify_code == _SELF_SIGNED_CHAIN:
        return failed(
            f"The certificate was issued by {by}, which this machine does not trust.",
            "Use one of a public authority; for one of your own, make the gateway trust it, and "
            "give it here with --ca FILE.",
            issuer=by,
            verifyCode=told.verify_code,
        )
    return failed(
        f"The certificate is not accepted: {told.verify_words}.",
        "Have a new one issued and present its whole chain.",
        issuer=by,
        verifyCode=told.verify_code,
    )


async def _certificate(site: Site, line: Line) -> x509.Certificate | None:
    if not line.address.tls:
        return None
    return (await handshake(site, line.address)).cert


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-TLS",
        "line",
        "TLS",
        speaks,
        "Makes a TLS handshake with the registered address, as a gateway does (TLS 1.2 or "
        "newer). It fails where plain HTTP answers, where the port speaks TLS and the address "
        "says ws:// or http://, and where only old versions are spoken.",
        "Give the proxy a certificate on that port and allow TLS 1.2 and 1.3.",
        after=("TC-TCP",),
    ),
    Check(
        "TC-TLS-EXPIRY",
        "line",
        "Until when the certificate is valid",
        lasts,
        "Reads the certificate that is presented at the registered address: it must be valid "
        "now, and for 14 more days.",
        "Renew it and reload the proxy: it keeps the old one in memory.",
        after=("TC-TLS",),
    ),
    Check(
        "TC-TLS-NAME",
        "line",
        "Whom the certificate is for",
        named,
        "The certificate must have the registered name among its own (subjectAltName).",
        "Have it issued for that name, or let the proxy present the right one for it (SNI).",
        after=("TC-TLS-EXPIRY",),
    ),
    Check(
        "TC-TLS-CHAIN",
        "line",
        "Who signed the certificate",
        trusted,
        "The certificate must lead, through what the proxy presents with it, to an authority "
        "that this machine trusts. Browsers fetch a missing intermediate; gateways do not.",
        "Present the whole chain (fullchain.pem), from a public authority.",
        after=("TC-TLS-NAME",),
    ),
)
