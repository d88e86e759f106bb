"""One question over HTTP, and what it means when no answer comes.

Owns the telling apart of a proxy, a name, a port, a certificate and a server that speaks
something else, and the words for each. Refuses to know what is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import msgspec

from teamscall import __version__
from teamscall.config.findings import is_loopback
from teamscall.text import printable

# A handshake takes three round trips and an answer one more.
ANSWER_S = 6.0
# Whose certificate it is, is asked apart; nobody waits long for that.
_CERTIFICATE_S = 2.0
_MAX_BYTES = 1_000_000  # a list of models has a hundred thousand

_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY")


class Answer(msgspec.Struct, frozen=True):
    """What came. ``skew_s``: the server's Date minus our clock; None: it has none."""

    status: int
    kind: str  # the media type
    body: bytes
    location: str = ""
    skew_s: float | None = None

    @property
    def is_html(self) -> bool:
        start = self.body[:200].lstrip().lower()
        return "html" in self.kind or start.startswith((b"<!doctype html", b"<html"))

    def json(self) -> object:
        """The body; None where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None

    @property
    def code(self) -> str:
        """``error.code`` or ``error.type`` as OpenAI's API gives it; blank without one."""
        found = self.json()
        error = found.get("error") if isinstance(found, dict) else None
        if not isinstance(error, dict):
            return ""
        words = (str(error.get(name) or "") for name in ("code", "type"))
        return printable(next((word for word in words if word), ""), 60)


class Silent(Exception):
    """No answer: what happened, as the end of a sentence, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


async def ask(
    method: str,
    url: str,
    setting: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    by_proxy: bool = True,
    timeout_s: float = ANSWER_S,
) -> Answer:
    """Ask once; no redirect is followed. ``setting``: the key that the URL comes from.

    Raises:
        Silent: there is no answer.
    """
    import httpx2

    verify = tls_context()
    told = {"User-Agent": f"teamscall/{__version__}", "Accept-Encoding": "identity"}
    try:
        async with (
            asyncio.timeout(timeout_s),
            httpx2.AsyncClient(
                timeout=None, follow_redirects=False, trust_env=by_proxy, verify=verify
            ) as http,
            http.stream(
                method, url, content=body or None, headers={**told, **(headers or {})}
            ) as response,
        ):
            read = bytearray()
            async for chunk in response.aiter_bytes():
                read += chunk
                if len(read) > _MAX_BYTES:
                    break
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return Answer(
                response.status_code,
                printable(kind, 60),
                bytes(read),
                printable(response.headers.get("location", ""), 200),
                _skew_s(response.headers.get("date", "")),
            )
    except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
        raise await why(error, url, setting) from None
    except (TimeoutError, OSError, ValueError) as error:
        raise await why(error, url, setting) from None


def tls_context() -> ssl.SSLContext:
    """As the engines and the outbound calls verify: the system's CAs, or SSL_CERT_FILE's.

    Raises:
        Silent: the environment names a file that cannot be used.
    """
    try:
        return _loaded(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))
    except OSError as error:  # ssl.SSLError is one
        raise distrusted(error) from None


@functools.cache
def _loaded(file: str, folder: str) -> ssl.SSLContext:
    """Loading the trust store takes tens of milliseconds: once for these variables."""
    import httpx2

    return httpx2.create_ssl_context()


def distrusted(error: OSError) -> Silent:
    """The file of CAs that the environment names cannot be used."""
    name = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
    reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
    return Silent(
        f"{name} is {printable(os.environ.get(name, ''), 120)}, and cannot be used ({reason})",
        f"Unset {name}, or have it name a PEM file with CA certificates.",
    )


async def why(error: BaseException, url: str, setting: str) -> Silent:
    """What an exception on the way to ``url`` means."""
    import httpx2

    parts = urlsplit(url)
    host, there = printable(parts.hostname or "", 100), place(url)
    chain = list(_chain(error))
    proxy = proxy_for(url)
    refused = next((each for each in chain if isinstance(each, httpx2.ProxyError)), None)
    if refused is not None and "407" in str(refused):
        return Silent(
            f"the proxy {proxy or 'of the environment'} wants a name and a password (407)",
            "Write them into the variable: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT.",
        )
    if refused is not None:
        return Silent(
            f"the proxy {proxy or 'of the environment'} does not let it through "
            f"({printable(str(error), 80)})",
            f"Have the proxy allow {there}, or leave it out with NO_PROXY={host}.",
        )
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        found = next(each for each in chain if isinstance(each, ssl.SSLCertVerificationError))
        return await _untrusted(found, url, setting)
    if any(isinstance(each, ssl.SSLError) for each in chain):
        return Silent(
            f"{there} speaks no TLS",
            f"Write http:// in place of https:// in {setting}, or give the port its TLS.",
        )
    if any(isinstance(each, socket.gaierror) for each in chain):
        return Silent(
            f"the name {host} does not resolve",
            f"Correct the host in {setting}; if it is right, look at this machine's DNS "
            f"(`getent hosts {host}`).",
        )
    if any(isinstance(each, TimeoutError | httpx2.TimeoutException) for each in chain):
        return Silent(
            f"{there} did not answer in time",
            f"Is the host in {setting} right, and does a firewall let it through? Where only a "
            "proxy leads out, set HTTPS_PROXY.",
        )
    if any(isinstance(each, httpx2.ConnectError | ConnectionError) for each in chain):
        by = f" (through the proxy {proxy})" if proxy else ""
        return Silent(
            f"nothing answers at {there}{by}",
            f"Is it running, and are host and port of {setting} right?",
        )
    if any(isinstance(each, httpx2.InvalidURL | httpx2.UnsupportedProtocol) for each in chain):
        return Silent("its address is no URL", f"Correct {setting}.")
    tls = "https" if parts.scheme == "http" else "http"
    return Silent(
        f"{there} does not answer in HTTP ({printable(type(error).__name__, 60)})",
        f"Does the port of {setting} want {tls}://, or belong to something else?",
    )


async def _untrusted(error: ssl.SSLCertVerificationError, url: str, setting: str) -> Silent:
    host = printable(urlsplit(url).hostname or "", 100)
    said = printable(error.verify_message or str(error), 120)
    if error.verify_code == 10:
        return Silent(
            f"the certificate of {host} has expired",
            "Look at this machine's clock first (TC-CLOCK); else whoever runs that server has "
            "to renew it.",
        )
    if error.verify_code == 62:
        return Silent(
            f"the certificate is not for {host}",
            f"Write the name that it is for in {setting}; it is another server's.",
        )
    if error.verify_code == 9:
        return Silent(
            f"the certificate of {host} is not valid yet",
            "Set this machine's clock: it is behind (TC-CLOCK).",
        )
    issuer = await _issuer(url)
    by = f', issued by "{issuer}",' if issuer else ""
    return Silent(
        f"the certificate of {host}{by} is not trusted ({said})",
        "If your network looks into TLS, add its CA to this machine's trust store "
        "(/usr/local/share/ca-certificates and `update-ca-certificates`), or set SSL_CERT_FILE "
        "to a bundle with it for teamscall.",
    )


async def _issuer(url: str) -> str:
    """Who issued the certificate there; blank where that cannot be found out."""
    from cryptography import x509

    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError, TimeoutError, ValueError):
        async with asyncio.timeout(_CERTIFICATE_S):
            _, writer = await asyncio.open_connection(
                parts.hostname, parts.port or 443, ssl=context, server_hostname=parts.hostname
            )
            held = writer.get_extra_info("ssl_object").getpeercert(True)
            writer.transport.abort()
        issuer = x509.load_der_x509_certificate(held).issuer
        names = issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return printable(str(names[0].value if names else issuer.rfc4514_string()), 80)
    return ""


def place(url: str) -> str:
    """Scheme, host and port, for people."""
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", 120)


def proxy_for(url: str) -> str:
    """The proxy that the environment names for this URL (also of a WebSocket), for people;
    blank: none."""
    found = raw_proxy_for(url)
    return place(found if "://" in found else f"http://{found}") if found else ""


def raw_proxy_for(url: str) -> str:
    """The same, as it is written: it may hold a password."""
    import urllib.request

    parts = urlsplit(url)
    host = parts.hostname or ""
    if urllib.request.proxy_bypass(f"{host}:{parts.port or 0}"):
        return ""
    proxies = urllib.request.getproxies()
    schemes = {
        # In the order of the clients that are used: httpx2 and websockets.
        "http": ("http", "all"),
        "https": ("https", "all"),
        "ws": ("ws", "socks", "https", "http"),
        "wss": ("wss", "socks", "https"),
    }.get(parts.scheme, ())
    return next((proxies[each] for each in schemes if proxies.get(each)), "")


def local(url: str) -> bool:
    """Whether it is on this machine, where product requests pass no proxy."""
    return is_loopback(urlsplit(url).hostname or "")


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions
        waiting += [one for one in (each.__cause__, each.__context__) if one is not None]


def _skew_s(date: str) -> float | None:
    import time

    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
