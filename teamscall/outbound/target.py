"""Whom to call: what an operator typed, read, and what to write instead where it is wrong.

Owns the forms ``user:ID``, ``phone:+NUMBER`` and e-mail addresses, and asking the
operator's resolver who has an address. Refuses to know who may be called.

Rule 1: two targets are the same when their keys are: identifiers are case-folded.
Rule 2: a resolver has one deadline for everything, and whatever is not a well-formed answer
in time is no target.
"""

from __future__ import annotations

import asyncio
import re
from typing import Literal

import msgspec

from teamscall.asking import ask_command, ask_url, outside_environment
from teamscall.config import Outbound
from teamscall.errors import AskError
from teamscall.text import printable

# An operator waits at a terminal; the far side is not ringing yet.
RESOLVE_S = 5.0

_USER_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_GUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
# E.164: at most 15 digits, no 0 first. The shortest numbers in the plan have 7.
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_ADDRESS = re.compile(r"[^\s@:]{1,64}@[^\s@:]{1,253}")
_NUMBER_LIKE = re.compile(r"\+?[0-9][0-9 ()./-]*")
_FORMS = "Write user:<object id> or phone:+<number with country code>."

_FIND_IT = (
    "Teams knows people by object id: write user:<object id> (Entra admin centre, Users), or set "
    "outbound.resolver_command or outbound.resolver_url."
)


class Target(msgspec.Struct, frozen=True):
    """Somebody who can be called. ``name``: an object id, or ``+`` and digits."""

    kind: Literal["user", "phone"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def key(self) -> str:
        """Equal for what is the same target."""
        return str(self).casefold()


class Address(msgspec.Struct, frozen=True):
    """An e-mail address, which only a resolver can make a target of."""

    address: str


class Unreadable(msgspec.Struct, frozen=True):
    """No target. ``detail``: what is wrong and what to write, in a sentence or two."""

    detail: str


class Resolved(msgspec.Struct, frozen=True):
    """A target, and the tenant that the resolver named; blank where it named none."""

    target: Target
    tenant: str = ""


class _Question(msgspec.Struct):
    address: str
    version: int = 1


class _Answer(msgspec.Struct, rename="camel"):
    user_object_id: str
    tenant_id: str | None = None


def read_target(typed: str) -> Target | Address | Unreadable:
    """Read ``typed``. Never raises; what it quotes of it is printable."""
    text = typed.strip()
    kind, colon, name = text.partition(":")
    kind = kind.strip().lower() if colon else ""
    name = name.strip() if colon else text
    if kind in ("", "user", "mailto") and _ADDRESS.fullmatch(name) and name.isprintable():
        return Address(name)
    if kind == "user":
        return _user(name)
    if kind == "phone":
        return _phone(name)
    return Unreadable(_instead(kind, name, printable(text, 80)))


def key_of(canonical: str) -> str:
    """The key of a target that was kept as text."""
    return canonical.casefold()


async def resolve(config: Outbound, address: Address) -> Resolved | Unreadable:
    """Ask the resolver who has this address. Never raises."""
    if not (config.resolver_command or config.resolver_url):
        return Unreadable(f"{printable(address.address, 60)} is an address. {_FIND_IT}")
    question = msgspec.json.encode(_Question(address.address))
    key = "outbound.resolver_command" if config.resolver_command else "outbound.resolver_url"
    try:
        async with asyncio.timeout(RESOLVE_S):
            if config.resolver_command:
                env = outside_environment()
                answer = await ask_command(config.resolver_command, question, env=env)
            else:
                answer = await ask_url(config.resolver_url, question, statuses=(200,))
    except AskError as error:
        said = f": {error.said}" if error.said else ""
        return Unreadable(f"{key} did not resolve the address: {error.message}{said}.")
    except TimeoutError:
        return Unreadable(f"{key} gave no answer within {RESOLVE_S:g} s.")
    return _read_answer(key, answer)


def _read_answer(key: str, body: bytes) -> Resolved | Unreadable:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # The decoder's words quote field names and types, never values.
        return Unreadable(f"{key} gave a malformed answer: {printable(str(error))}.")
    user = answer.user_object_id.strip().removeprefix("user:")
    if not _USER_ID.fullmatch(user):
        return Unreadable(f"{key} gave a userObjectId that is none.")
    tenant = (answer.tenant_id or "").strip()
    if tenant and not _USER_ID.fullmatch(tenant):
        return Unreadable(f"{key} gave a tenantId that is none.")
    return Resolved(Target("user", user), tenant)


def _user(name: str) -> Target | Unreadable:
    if _USER_ID.fullmatch(name) and name.strip("."):
        return Target("user", name)
    if _E164.fullmatch(_dialled(name)):
        return Unreadable(f"That is a phone number; write phone:{_dialled(name)}.")
    return Unreadable(
        "An object id has 1 to 128 letters, digits, dots, underscores and hyphens; "
        "in Teams it is a GUID such as 00000000-0000-0000-0000-000000000000."
    )


def _phone(name: str) -> Target | Unreadable:
    if _E164.fullmatch(name):
        return Target("phone", name)
    return Unreadable(_better_number(name) or "A phone number is + and 7 to 15 digits. " + _FORMS)


def _instead(kind: str, name: str, shown: str) -> str:
    if not kind and not name:
        return f"There is nobody to call. {_FORMS}"
    if not kind and _GUID.fullmatch(name):
        return f"Say what it is: write user:{name}."
    if kind in ("", "tel", "sip", "callto", "number") and (better := _better_number(name)):
        return better
    return f"{shown!r} is not somebody who can be called. {_FORMS}"


def _better_number(name: str) -> str:
    """What to write for something that looks like a phone number; blank if it does not."""
    if not _NUMBER_LIKE.fullmatch(name) or not name.isascii():
        return ""
    dialled = _dialled(name)
    if _E164.fullmatch(dialled):
        return f"Write phone:{dialled}."
    if not dialled.startswith("+"):
        return "A phone number needs its country code: write phone:+<country code><number>."
    return "A phone number is + and 7 to 15 digits, and does not begin with 0 after the +."


def _dialled(name: str) -> str:
    """Without what people put between digits; 00 is what they dial for +."""
    digits = "".join(c for c in name if c in "+0123456789") if name.isascii() else ""
    return "+" + digits[2:] if digits.startswith("00") else digits
