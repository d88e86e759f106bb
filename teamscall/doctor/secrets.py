"""What a secret's own text tells: damage that copying leaves, and how easy it is to guess.

Pure. Owns the words; never gives back any part of a secret but its length and a short
fingerprint by which two people can compare what they have.
"""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from collections.abc import Iterator

import msgspec

MIN_CHARS = 32
_FEW = 8  # different characters; 32 random ones of 16 have 13 or more, 99 times of 100
_BASE64 = re.compile(r"[A-Za-z0-9+/]+")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_ESCAPED = re.compile(r"%(3[dD]|2[bBfF])")
_SMART = {
    "“": "a curly quote",
    "”": "a curly quote",
    "„": "a curly quote",
    "‘": "a curly quote",
    "’": "a curly quote",
    "–": "a dash that a word processor made",
    "—": "a dash that a word processor made",
    "…": "an ellipsis that stands for three dots, or for a text cut off",
}
_PLACEHOLDERS = re.compile(
    r"changeme|placeholder|example|replaceme|yoursecret|mysecret|thesecret|sharedsecret|password"
    r"|putyour|insertyour|todo|secrethere|base64secret|abcdefghijkl|qwertz|qwerty|lorem"
)


class Damage(msgspec.Struct, frozen=True):
    """One thing that is wrong: what, and what to do. ``certain``: no secret is made so."""

    what: str
    remedy: str
    certain: bool = True


def fingerprint(secret: str) -> str:
    """Eight hex digits of a SHA-256: enough to compare, useless to guess a long secret."""
    data = b"teamscall-doctor\n" + secret.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:8]


def damage(secret: str) -> Damage | None:
    """What a copy has done to ``secret``: the first that is found; None: nothing."""
    return next(_damages(secret), None)


def weakness(secret: str) -> Damage | None:
    """Why ``secret`` is none; None: it is one."""
    make = "Make one with `openssl rand -base64 32`, and give it to the other side as well."
    letters = "".join(filter(str.isalpha, secret.lower()))
    if not secret:
        return None
    if (secret[0], secret[-1]) in (("<", ">"), ("[", "]"), ("{", "}")) or secret.startswith("$"):
        return Damage("is a placeholder: nothing was put in its place", make)
    if _PLACEHOLDERS.search(letters):
        return Damage("is a placeholder or an example: everybody knows it", make)
    if len(secret) < MIN_CHARS:
        return Damage(f"has {len(secret)} characters; at least {MIN_CHARS} are needed", make)
    if len(set(secret)) < _FEW or _repeats(secret):
        return Damage("repeats a few characters and can be guessed", make)
    return None


def _damages(secret: str) -> Iterator[Damage]:
    where = "in the configuration and, if it was registered so, on the other side"
    if "\r" in secret or "\n" in secret:
        kind = "a Windows line end" if "\r" in secret else "a line break"
        if secret.strip("\r\n") == secret:
            yield Damage(f"has {kind} in the middle", f"Write it on one line, {where}.")
        yield Damage(f"ends or begins with {kind}", f"Take it off, {where}.")
    if secret != secret.strip():
        place = "ends" if secret == secret.lstrip() else "begins"
        yield Damage(f"{place} with a blank", f"Take the blank off, {where}.")
    if secret.startswith("\ufeff"):
        yield Damage(
            "begins with a byte order mark",
            "Save the file as UTF-8 without BOM (in PowerShell: -Encoding utf8NoBOM).",
        )
    if smart := next((char for char in secret if char in _SMART), ""):
        yield Damage(
            f"has {_SMART[smart]} in it",
            "Copy it again from where it was made, not through a word processor or a chat.",
        )
    if len(secret) > 1 and secret[0] == secret[-1] and secret[0] in "\"'`":
        yield Damage(
            "stands in quotes that are part of it",
            f"Take the inner quotes off, {where}. An env file and a secret file need none.",
        )
    elif (secret[:1] in "\"'`" and secret) or (secret[-1:] in "\"'`" and secret):
        yield Damage("has a quote at one end that is part of it", f"Take the quote off, {where}.")
    if any(unicodedata.category(char) in ("Cf", "Cc", "Co", "Cs", "Zs") for char in secret):
        if " " in secret and all(char.isprintable() for char in secret):
            yield Damage(
                "has a blank in the middle",
                "Copy it again from where it was made: a line was joined, or two were.",
            )
        else:
            yield Damage(
                "has an invisible character in it",
                "Copy it again from where it was made, as plain text; a web page or a chat "
                "put the character in.",
            )
    if not secret.isascii():
        yield Damage(
            "has letters that are not ASCII",
            "Copy it again from where it was made; the other side may encode such letters "
            "another way.",
        )
    if match := _ESCAPED.search(secret):
        yield Damage(
            f"is URL-encoded ({match[0]} stands in it)",
            "Write = for %3D, + for %2B and / for %2F: a URL was where it was copied from.",
        )
    yield from _encoded(secret)


def _encoded(secret: str) -> Iterator[Damage]:
    """A text that looks like base64 or hex and is not as long as either can be."""
    copy = "Copy it again, to its very end, from where it was made."
    body = secret.rstrip("=")
    padding = len(secret) - len(body)
    if _HEX.fullmatch(secret):
        if len(secret) % 2 and len(secret) > MIN_CHARS - 2:
            yield Damage("is hex with an odd number of digits: it was cut off", copy)
        return
    if not _BASE64.fullmatch(body) or len(body) < MIN_CHARS - 4 or secret.isalpha():
        return
    clearly = "+" in body or "/" in body or padding > 0
    rest = len(body) % 4
    if padding and (rest in (0, 1) or padding != 4 - rest):
        yield Damage("is base64 with a wrong padding: it was cut off, or = signs were added", copy)
    elif not padding and clearly and rest == 1:
        yield Damage("is base64 that was cut off", copy)
    elif not padding and rest and (clearly or len(body) == 43):
        lost = "=" * (4 - rest)
        yield Damage(
            f"is base64 that has lost its padding ({lost} at the end)",
            f"Put {lost} back at its end if it was made with `openssl rand -base64`; a double "
            "click or a cut at = leaves it out. If both sides have it so, make a new one.",
            certain=clearly,
        )


def _repeats(secret: str) -> bool:
    """One short piece again and again, or a run of the alphabet or of digits."""
    for length in range(1, 9):
        if len(secret) >= 3 * length and (secret[:length] * len(secret))[: len(secret)] == secret:
            return True
    runs = string.ascii_lowercase + string.digits
    return any(runs[i : i + 10] in secret.lower() for i in range(len(runs) - 9))
