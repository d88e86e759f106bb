"""Who is at the door: signatures of StandIn, the replay guard, the C# gateway's secret.

Owns the header names of every generation, signing, verifying, the single use of a
handshake, and the words that tell an operator why one failed. Signs for the emulator and
for our own control requests, verifies for the server (protocol/standin.md, "Upgrade" and
"Placing a call").
Refuses to know clocks (``now_ms`` is epoch milliseconds, an argument) and statuses.

Rules:
1. Nothing that a peer puts into a header raises; every byte of it leads to a verdict.
2. Secrets and signatures are compared over bytes, in constant time, and never shown.
3. An empty secret verifies nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import heapq
import hmac
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

# The C# gateway's credential.
BRIDGE_SECRET_HEADER = "X-Bridge-Secret"

# Covers method, path and body of a control request; there is no older name for it.
SIGNATURE_V2_HEADER = "X-StandIn-Signature-V2"

# Epoch milliseconds have 13 digits until the year 2286; what has more than 16 is no time.
_TIMESTAMP = re.compile(r"[0-9]{1,16}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_BLANKS = " \t\r\n"

# Fail closed above this many handshakes inside one window: a thousand a second, two windows.
MAX_REMEMBERED = 120_000

Header = str | bytes | None  # text as latin-1 made it, raw bytes, or not sent


class Generation(msgspec.Struct, frozen=True):
    """One generation's names for the two handshake headers."""

    timestamp_header: str
    signature_header: str


TODAY = Generation("X-StandIn-Timestamp", "X-StandIn-Signature")
GENERATION_1 = Generation("X-OpenClawTeamsBridge-Timestamp", "X-OpenClawTeamsBridge-Signature")
GENERATIONS = (TODAY, GENERATION_1)


class Verdict(msgspec.Struct, frozen=True):
    """What became of a signed request.

    ``skew_ms`` is the far side's timestamp minus our clock: negative, it is behind us.
    ``signature`` is the normalised one, for :meth:`ReplayGuard.spend`; empty when missing
    or malformed, as ``timestamp_ms`` is 0. Neither belongs in a log.
    """

    reason: Literal["ok", "missing", "malformed", "mismatch", "stale"]
    timestamp_ms: int = 0
    skew_ms: int = 0
    signature: str = ""

    @property
    def ok(self) -> bool:
        return self.reason == "ok"


# --- signing ----------------------------------------------------------------------------


def sign_v1(secret: bytes, timestamp: str, subject: str) -> str:
    """Lowercase hex of HMAC-SHA256 over ``{timestamp}.{subject}``.

    ``timestamp`` is the header's text as it stands, ``subject`` a percent-decoded call id
    or, when placing a call, the callee's object id.
    """
    return _hmac(secret, f"{timestamp}.{subject}".encode("utf-8", "surrogatepass"))


def sign_v2(secret: bytes, timestamp: str, method: str, path: str, body: bytes) -> str:
    """Lowercase hex of HMAC-SHA256 over ``{timestamp}.METHOD\\n{path}\\n{sha256hex(body)}``.

    ``path`` is as it stands on the request line; a query is cut off.
    """
    digest = hashlib.sha256(body).hexdigest()
    signed = f"{timestamp}.{method.upper()}\n{path.partition('?')[0]}\n{digest}"
    return _hmac(secret, signed.encode("utf-8", "surrogatepass"))


def upgrade_headers(
    secret: bytes,
    call_id: str,
    timestamp_ms: int,
    generations: Sequence[Generation] = GENERATIONS,
) -> list[tuple[str, str]]:
    """The headers with which StandIn signs an upgrade, one pair per generation."""
    timestamp = str(timestamp_ms)
    signature = sign_v1(secret, timestamp, call_id)
    return [
        pair
        for names in generations
        for pair in ((names.timestamp_header, timestamp), (names.signature_header, signature))
    ]


def control_headers(
    secret: bytes,
    timestamp_ms: int,
    method: str,
    path: str,
    body: bytes,
    subject: str,
    which: Literal["v2", "v1", "both"] = "v2",
) -> list[tuple[str, str]]:
    """The headers that sign a control request (placing, cancelling, an outcome).

    ``subject`` is what version 1 covers: the callee's object id, or the call id.
    """
    timestamp = str(timestamp_ms)
    headers = [(TODAY.timestamp_header, timestamp)]
    if which != "v2":
        headers.append((TODAY.signature_header, sign_v1(secret, timestamp, subject)))
    if which != "v1":
        headers.append((SIGNATURE_V2_HEADER, sign_v2(secret, timestamp, method, path, body)))
    return headers


# --- verifying --------------------------------------------------------------------------


def parse_timestamp(header: Header) -> int | None:
    """Epoch milliseconds, or None for what is not plain ASCII decimal digits.

    No sign, exponent, underscore, hex, blank or Unicode digit; at most 16 digits.
    """
    text = _text(header)
    return int(text) if text is not None and _TIMESTAMP.fullmatch(text) else None


def verify_v1(
    secret: bytes,
    timestamp_header: Header,
    subject: str,
    signature_header: Header,
    now_ms: int,
    window_ms: int,
) -> Verdict:
    """Is this version 1 signature ours, and its timestamp within the window (inclusive)?"""
    return _verify(
        secret,
        timestamp_header,
        signature_header,
        lambda key, timestamp: sign_v1(key, timestamp, subject),
        now_ms,
        window_ms,
    )


def verify_v2(
    secret: bytes,
    timestamp_header: Header,
    method: str,
    path: str,
    body: bytes,
    signature_header: Header,
    now_ms: int,
    window_ms: int,
) -> Verdict:
    """Is this version 2 signature ours, and its timestamp within the window (inclusive)?"""
    return _verify(
        secret,
        timestamp_header,
        signature_header,
        lambda key, timestamp: sign_v2(key, timestamp, method, path, body),
        now_ms,
        window_ms,
    )


def verify_upgrade(
    secret: bytes,
    headers: Mapping[str, str] | Mapping[str, bytes],
    call_id: str,
    now_ms: int,
    window_ms: int,
) -> Verdict:
    """Verify an upgrade signed with either generation's header pair.

    ``headers`` has lower-case names. The first pair that verifies wins; if none does, the
    verdict is on the newest pair that was sent.
    """
    verdicts = [
        verify_v1(secret, timestamp, call_id, signature, now_ms, window_ms)
        for timestamp, signature in _pairs(headers)
    ]
    sent = [v for v in verdicts if v.reason != "missing"]
    return next((v for v in sent if v.ok), sent[0] if sent else verdicts[0])


def verify_control(
    secret: bytes,
    headers: Mapping[str, str] | Mapping[str, bytes],
    method: str,
    path: str,
    body: bytes,
    subject: str,
    now_ms: int,
    window_ms: int,
) -> Verdict:
    """Verify a control request signed with version 1, version 2 or both.

    A version 2 signature that is present must verify, and then suffices: it covers more.
    ``headers`` has lower-case names, ``subject`` is what version 1 covers.
    """
    signature_v2 = headers.get(SIGNATURE_V2_HEADER.lower())
    if signature_v2 is None:
        return verify_upgrade(secret, headers, subject, now_ms, window_ms)
    timestamp = headers.get(TODAY.timestamp_header.lower())
    return verify_v2(secret, timestamp, method, path, body, signature_v2, now_ms, window_ms)


def secrets_match(given: bytes, expected: bytes) -> bool:
    """Compare an ``X-Bridge-Secret`` in constant time. An empty expected one never matches."""
    return hmac.compare_digest(given, expected) and bool(expected)


class ReplayGuard:
    """Makes every verified handshake single-use.

    An entry lives until its **signing** timestamp + window, strictly past it: at exactly
    that millisecond the signature still verifies, so the entry is still there. Spend only
    what verified and would be admitted, so that a 503 burns nothing.
    """

    def __init__(self, window_ms: int, max_entries: int = MAX_REMEMBERED) -> None:
        self._window_ms = window_ms
        self._max_entries = max_entries
        self._spent: set[tuple[str, int, str]] = set()
        self._by_expiry: list[tuple[int, tuple[str, int, str]]] = []
        self._forgotten_ms = -1  # the latest expiry among pruned entries

    def __len__(self) -> int:
        return len(self._spent)

    def resize(self, window_ms: int) -> None:
        """Another window from now on. What was spent stays so for as long as it verifies, and
        what is forgotten verifies no more, however long the new window is."""
        change = window_ms - self._window_ms
        if not change:
            return
        self._window_ms = window_ms
        self._by_expiry = [(expiry + change, entry) for expiry, entry in self._by_expiry]
        if self._forgotten_ms >= 0:
            self._forgotten_ms += change

    def spend(self, call_id: str, timestamp_ms: int, signature: str, now_ms: int) -> bool:
        """Spend a verified handshake; True the first time, False ever after.

        False also for one as old as something already forgotten (the wall clock stepped
        forward, the table was pruned, the clock stepped back), and when the table is full.
        """
        self._prune(now_ms)
        entry = (call_id, timestamp_ms, _normalised(signature))
        expiry = timestamp_ms + self._window_ms
        if entry in self._spent or expiry <= self._forgotten_ms:
            return False
        if len(self._spent) >= self._max_entries:
            return False
        self._spent.add(entry)
        heapq.heappush(self._by_expiry, (expiry, entry))
        return True

    def _prune(self, now_ms: int) -> None:
        while self._by_expiry and self._by_expiry[0][0] < now_ms:
            self._forgotten_ms, entry = heapq.heappop(self._by_expiry)
            self._spent.discard(entry)


# --- words for the operator ---------------------------------------------------------------


def diagnose(
    secret: bytes,
    verdict: Verdict,
    timestamp_header: Header,
    subject: str,
    window_ms: int,
) -> str:
    """Say in one sentence why a version 1 signature failed. No secret, no signature.

    A wrong signature is tried against the ways in which a secret gets mangled between two
    configurations; a stale one names the clocks' difference with its size and sign.
    """
    match verdict.reason:
        case "ok":
            return "the signature is right"
        case "missing":
            return "the timestamp or signature header is missing"
        case "malformed":
            return "the timestamp is not decimal milliseconds or the signature not 64 hex digits"
        case "stale":
            return _skew_words(verdict, window_ms)
        case "mismatch":
            timestamp = _text(timestamp_header) or ""
            for words, variant in _variants(secret):
                if _equal(sign_v1(variant, timestamp, subject), verdict.signature):
                    return f"wrong secret: theirs looks like yours {words}"
            return "wrong secret: the two sides' secrets differ"


def diagnose_secret(given: Header, expected: bytes) -> str:
    """Say in one sentence why an ``X-Bridge-Secret`` was refused. No secret."""
    if given is None or not given:
        return f"no {BRIDGE_SECRET_HEADER} header"
    sent = given if isinstance(given, bytes) else given.encode("utf-8", "surrogatepass")
    if secrets_match(sent, expected):
        return "the secret is right"
    for words, variant in _variants(expected):
        if hmac.compare_digest(sent, variant):
            return f"wrong secret: theirs looks like yours {words}"
    return "wrong secret: the two sides' secrets differ"


def _skew_words(verdict: Verdict, window_ms: int) -> str:
    if verdict.timestamp_ms < 100_000_000_000:  # ten digits: 1973 in milliseconds
        return "the timestamp looks like seconds; milliseconds are expected"
    side = "behind" if verdict.skew_ms < 0 else "ahead of"
    return (
        f"the far side's clock is {_seconds(abs(verdict.skew_ms))} s {side} ours "
        f"(at most {_seconds(window_ms)} s is allowed)"
    )


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")


def _variants(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Ways in which the far side's secret may differ from ours, with words for each."""
    stripped = secret.strip()
    candidates = [
        ("plus a trailing newline", secret + b"\n"),
        ("plus a trailing CR LF", secret + b"\r\n"),
        ("plus a trailing space", secret + b" "),
        ("plus a leading space", b" " + secret),
        ("without the blanks around it", stripped),
        ("in double quotes", b'"' + secret + b'"'),
        ("in single quotes", b"'" + secret + b"'"),
        ("without the quotes around it", stripped.strip(b"\"'")),
        ("plus a byte order mark", b"\xef\xbb\xbf" + secret),
        ("without its byte order mark", secret.removeprefix(b"\xef\xbb\xbf")),
        ("without the = at its end", stripped.rstrip(b"=")),
        ("plus = at its end", _padded(stripped)),
        ("in URL encoding", _url_encoded(stripped)),
        ("without its URL encoding", _url_decoded(stripped)),
        ("decoded from base64", _decoded(base64.b64decode, stripped)),
        ("decoded from hex", _decoded(binascii.unhexlify, stripped)),
        ("encoded as base64", base64.b64encode(secret)),
        ("in lower case", secret.lower()),
        ("in upper case", secret.upper()),
    ]
    return ((words, variant) for words, variant in candidates if variant and variant != secret)


def _padded(text: bytes) -> bytes:
    return text + b"=" * (-len(text) % 4)


def _url_encoded(text: bytes) -> bytes:
    return text.replace(b"+", b"%2B").replace(b"/", b"%2F").replace(b"=", b"%3D")


def _url_decoded(text: bytes) -> bytes:
    for code, char in ((b"%2B", b"+"), (b"%2F", b"/"), (b"%3D", b"=")):
        text = text.replace(code, char).replace(code.lower(), char)
    return text


def _decoded(decode: Callable[[bytes], bytes], text: bytes) -> bytes:
    try:
        return decode(text)
    except ValueError:  # binascii.Error is one: the secret is simply not of that kind
        return b""


# --- pieces -----------------------------------------------------------------------------


def _verify(
    secret: bytes,
    timestamp_header: Header,
    signature_header: Header,
    sign: Callable[[bytes, str], str],
    now_ms: int,
    window_ms: int,
) -> Verdict:
    if not timestamp_header or not signature_header:
        return Verdict("missing")
    timestamp = _text(timestamp_header) or ""
    timestamp_ms = parse_timestamp(timestamp)
    signature = _normalised(_text(signature_header) or "")
    if timestamp_ms is None or not _SIGNATURE.fullmatch(signature):
        return Verdict("malformed")
    skew_ms = timestamp_ms - now_ms
    # The signature first: until it verifies, the timestamp is anybody's, and a skew that is
    # only a wrong secret would send the operator to the wrong machine.
    matches = _equal(sign(secret, timestamp), signature)
    if not matches or not secret:
        return Verdict("mismatch", timestamp_ms, skew_ms, signature)
    if abs(skew_ms) > window_ms:
        return Verdict("stale", timestamp_ms, skew_ms, signature)
    return Verdict("ok", timestamp_ms, skew_ms, signature)


def _pairs(
    headers: Mapping[str, str] | Mapping[str, bytes],
) -> Iterator[tuple[Header, Header]]:
    for names in GENERATIONS:
        yield (
            headers.get(names.timestamp_header.lower()),
            headers.get(names.signature_header.lower()),
        )


def _text(header: Header) -> str | None:
    return header.decode("latin-1") if isinstance(header, bytes) else header


def _normalised(signature: str) -> str:
    return signature.strip(_BLANKS).lower()


def _equal(ours: str, theirs: str) -> bool:
    return hmac.compare_digest(ours.encode(), theirs.encode("utf-8", "surrogatepass"))


def _hmac(secret: bytes, signed: bytes) -> str:
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()
