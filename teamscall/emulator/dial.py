"""Opens the socket as a gateway does: the address, the signed upgrade, and in plain words
why it was refused.

Owns the far side's half of the handshake. Refuses to know what is said afterwards.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
import uuid
from collections.abc import Mapping
from urllib.parse import SplitResult, quote, unquote, urlsplit, urlunsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidProxy, InvalidStatus, InvalidURI

from teamscall import __version__
from teamscall.emulator.plan import Dial, Generation
from teamscall.errors import DialError, HandshakeRefused, InputError
from teamscall.text import printable
from teamscall.wire import signature
from teamscall.wire.events import Dialect

CSHARP_PATH = "/teams-call/stream"
STANDIN_PATHS: Mapping[Generation, str] = {
    "today": "/msteams/calling",
    "both": "/msteams/calling",
    "1": "/voice/msteams/stream",
}
_NAMES: Mapping[Generation, tuple[signature.Generation, ...]] = {
    "today": (signature.TODAY,),
    "both": signature.GENERATIONS,
    "1": (signature.GENERATION_1,),
}

# The largest message of the protocols is a 1,400,000 byte picture in base64.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024

# A peer that does not finish the closing handshake is cut off after this.
CLOSE_TIMEOUT_S = 2.0

# What a bridge says in a refusal is shown up to here.
MAX_WORDS = 160

_CSHARP_CALL_ID = re.compile(r"\A[A-Za-z0-9_-]{1,128}\Z", re.ASCII)
_USER_INFO = re.compile(r"//[^/?#]*@")
_SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}


class Target(msgspec.Struct, frozen=True):
    """Where a call goes: the full URL of the upgrade and the (decoded) call id."""

    url: str
    call_id: str


def aim(dial: Dial) -> Target:
    """Work out URL and call id from what the operator gave.

    Raises:
        InputError: not a WebSocket address, or a call id that the dialect does not allow.
    """
    parts = _split(dial.url)
    if dial.dialect == "csharp":
        call_id = dial.call_id or f"teams-{uuid.uuid4()}"
        if not _CSHARP_CALL_ID.match(call_id):
            raise InputError(
                "This call id is not one that a C# gateway can send.",
                hint="1 to 128 letters, digits, hyphens and underscores.",
            )
        path = parts.path if parts.path not in ("", "/") else CSHARP_PATH
        return Target(urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), call_id)

    path = parts.path.rstrip("/")
    prefix, _, last = path.rpartition("/")
    call_id = dial.call_id
    if not call_id and prefix in STANDIN_PATHS.values():
        call_id = unquote(last)
    call_id = call_id or str(uuid.uuid4())
    if not 1 <= len(call_id) <= 256 or "/" in call_id or not call_id.isprintable():
        raise InputError(
            "This call id is not one that StandIn can send.",
            hint="1 to 256 printable characters without a slash.",
        )
    if not path:
        path = STANDIN_PATHS[dial.generation]
    if unquote(path.rpartition("/")[2]) != call_id:
        path = f"{path}/{quote(call_id, safe='')}"
    # No query: the dialect has none, and a worker may refuse one.
    return Target(urlunsplit((parts.scheme, parts.netloc, path, "", "")), call_id)


def headers(dial: Dial, call_id: str, wall_ms: int) -> list[tuple[str, str]]:
    """The credentials of one upgrade at ``wall_ms`` (epoch milliseconds).

    Raises:
        InputError: the secret is empty, or cannot be put in a header (C#).
    """
    if not dial.secret:
        raise InputError("There is no secret.", hint="Give the one that the bridge has.")
    if dial.dialect == "csharp":
        # Header values leave as latin-1: this carries the secret's own bytes, unchanged.
        value = dial.secret.decode("latin-1")
        if any(c in "\r\n\0" for c in value) or value != value.strip():
            raise InputError(
                "The secret has a line break or a blank at an end, which no header can carry.",
                hint="Remove it, for instance the newline at the end of the file.",
            )
        return [(signature.BRIDGE_SECRET_HEADER, value)]
    return signature.upgrade_headers(dial.secret, call_id, wall_ms, _NAMES[dial.generation])


async def open_socket(dial: Dial, target: Target, wall_ms: int) -> ClientConnection:
    """Dial and upgrade.

    Raises:
        HandshakeRefused: the bridge answered with something other than 101.
        DialError: nothing answered there, or not with a WebSocket handshake.
        InputError: the address or the secret cannot be used.
    """
    host = urlsplit(target.url).hostname or ""
    where = printable(urlsplit(target.url).netloc.rpartition("@")[2])
    try:
        return await _Connect(
            target.url,
            additional_headers=headers(dial, target.call_id, wall_ms),
            user_agent_header=f"teamscall/{__version__}",
            compression=None,
            ssl=tls_context(dial) if target.url.startswith("wss:") else None,
            # A proxy from the environment must not come between us and this machine.
            proxy=None if is_loopback(host) else True,
            open_timeout=dial.open_timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
        )
    except InvalidStatus as error:
        response = error.response
        raise _refused(
            dial.dialect,
            response.status_code,
            response.headers.get("Retry-After", ""),
            response.headers.get("Location", ""),
            bytes(response.body or b"").decode("utf-8", "replace"),
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise DialError(
            f"{where} has a certificate that this machine does not trust: "
            f"{printable(error.verify_message)}.",
            hint="Give its authority with --ca FILE, or use --insecure on your own network.",
        ) from error
    except ssl.SSLError as error:
        raise DialError(
            f"No TLS connection to {where}: {printable(error.reason or 'handshake failed')}.",
            hint="If the bridge has no certificate, dial ws:// and not wss://.",
        ) from error
    except (InvalidURI, InvalidProxy) as error:
        raise InputError(f"This cannot be dialled: {printable(str(error))}.") from error
    except TimeoutError as error:
        raise DialError(
            f"{where} did not answer within {dial.open_timeout_s:g} s.",
            hint="Check the address, the port and the firewall between.",
        ) from error
    except InvalidHandshake as error:
        raise DialError(
            f"{where} answered, but not with a WebSocket handshake: {printable(str(error))}.",
            hint="Is it the bridge's port, and wss:// where it has a certificate?",
        ) from error
    except OSError as error:
        why = printable(error.strerror or str(error))
        raise DialError(
            f"Nothing can be reached at {where}: {why}.",
            hint="Is the bridge running, and is it listening on this address and port?",
        ) from error


def shown(url: str) -> str:
    """``url`` for a terminal or a report: printable, without user name and password."""
    return printable(_USER_INFO.sub("//", url), 500)


class _Connect(connect):
    """Follows no redirect: a secret must not be carried to an address nobody named."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _split(url: str) -> SplitResult:
    text = url.strip()
    if "://" not in text:
        text = f"ws://{text}"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in _SCHEMES and parts.hostname
        _ = parts.port  # a ValueError when it is not a number
    except ValueError:
        usable = None
    if not usable:
        raise InputError(
            f"“{shown(url)}” is not an address that can be dialled.",
            hint="Like ws://127.0.0.1:3335 or wss://bot.example.com/msteams/calling.",
        )
    return parts._replace(scheme=_SCHEMES[parts.scheme])


def is_loopback(host: str) -> bool:
    """Whether this name or address stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tls_context(dial: Dial) -> ssl.SSLContext:
    """Whom to trust, as ``dial`` says.

    Raises:
        InputError: its file of certificates cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=dial.ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(
            f"“{printable(dial.ca_file)}” cannot be read as certificates.",
            hint="It must be a PEM file with the authority's certificate.",
        ) from error
    if not dial.verify_tls:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(
    dialect: Dialect, status: int, retry_after: str, location: str, body: str
) -> HandshakeRefused:
    words = printable(body, MAX_WORDS)
    said = f" It says: {words}" if words else ""
    later = f" It asks to wait {printable(retry_after, 20)} s." if retry_after else ""
    if status == 401:
        what = "does not accept our credentials"
        hint = (
            "Compare the secret with the bridge's bridge.secret, byte for byte."
            if dialect == "csharp"
            else "Compare the secret with the bridge's, byte for byte, and the two clocks: "
            "more than 60 s apart is refused too."
        )
    elif status == 404:
        what = "knows no call under this path"
        hint = "Check the path of the URL and --dialect."
    elif status == 400:
        what = "finds the request malformed"
        hint = "Usually the call id; try another --call-id."
    elif status == 405:
        what = "takes no GET on this path"
        hint = "Check the path of the URL."
    elif status == 409:
        what = "already has a live call with this id"
        hint = "Use another --call-id, or wait until that call has ended."
    elif status == 426:
        what = "asks for an upgrade although we sent one"
        hint = "A proxy between us and the bridge probably drops the Upgrade header."
    elif status == 429:
        what = "has seen too many failed attempts from this address"
        hint = f"Correct the secret, then wait a little.{later}"
    elif status == 503:
        what = "takes no call now: it is full or shutting down"
        hint = f"Try again later.{later}"
    elif 300 <= status < 400:
        what = f"redirects to {printable(location, MAX_WORDS) or 'nowhere'}"
        hint = "A gateway follows no redirect: dial that address itself if it is right."
    else:
        what = "does not speak WebSocket there"
        hint = "Check address, port and path."
    return HandshakeRefused(status, f"The bridge {what} ({status}).{said}", hint=hint)
