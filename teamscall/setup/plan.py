"""What an operator wants, in a few answers, and the keys that it comes to.

Pure. Owns the way from an address as it is typed to the one that is registered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from teamscall.config import Config
from teamscall.config.tree import Engine
from teamscall.errors import InputError
from teamscall.text import printable

Gateway = Literal["standin", "csharp", "both"]
ENGINES: tuple[Engine, ...] = ("auto", "openai", "offline", "echo")
EVERYBODY = frozenset({"*", "everybody", "anybody"})
_TENANT = "tenant:"
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ADDRESS = re.compile(r"[^\s@,:/\"']+@[^\s@,:/\"']+")
_SCHEMES = {"https": "wss", "http": "ws", "wss": "wss", "ws": "ws"}


class Plan(msgspec.Struct, frozen=True):
    """The answers. ``public_url``: as typed; ``allow``: ids, addresses, ``tenant:ID`` or ``*``.
    ``taken``: further keys and their values, of another program."""

    gateway: Gateway
    public_url: str = ""
    allow: tuple[str, ...] = ()
    engine: Engine = "auto"
    greeting: str = ""
    taken: Mapping[str, object] = {}

    @property
    def standin(self) -> bool:
        return self.gateway in ("standin", "both")

    @property
    def csharp(self) -> bool:
        return self.gateway in ("csharp", "both")


def values_of(plan: Plan) -> dict[str, object]:
    """Keys and values, without the secrets.

    Raises:
        InputError: the address or a caller is none.
    """
    plain = Config()
    values: dict[str, object] = {"engine": plan.engine}
    if not plan.csharp:
        values["serve.enabled"] = False
    if plan.standin:
        values["standin.enabled"] = True
    if plan.gateway == "both":  # one port, so that one tunnel or proxy does for both
        values["standin.port"] = plain.serve.port
    values |= plan.taken
    serve_path = str(values.get("serve.path", plain.serve.path))
    prefixes = values.get("standin.paths", plain.standin.paths)
    prefix = next(iter(prefixes if isinstance(prefixes, list | tuple) else ()), "/")
    if plan.public_url:
        both = plan.gateway == "both"
        if both and urlsplit(public_address(plan.public_url, "")).path not in (
            "",
            serve_path,
            prefix,
        ):
            raise InputError(
                "The address has a path, and each side has its own.",
                hint="Give it without a path; it is added for each.",
            )
        if plan.csharp:
            values["serve.public_url"] = public_address(plan.public_url, serve_path, keep=not both)
        if plan.standin:
            values["standin.public_url"] = public_address(plan.public_url, prefix, keep=not both)
    if plan.allow or "authorization.mode" not in values:
        values |= callers(plan.allow)
    if plan.greeting:
        values["inbound.greeting"] = plan.greeting
    return values


def public_address(typed: str, path: str, *, keep: bool = True) -> str:
    """The address as the other side dials it: ``bridge.example.org`` gets a scheme and the
    path that calls are taken at. ``keep``: a path that was typed stays.

    Raises:
        InputError: it is no address.
    """
    text = typed.strip()
    if "://" not in text:
        text = f"wss://{text}"
    try:
        parts = urlsplit(text)
        good = bool(parts.hostname) and parts.port != 0 and parts.scheme in _SCHEMES
    except ValueError:
        good = False
    if not good or "@" in parts.netloc or parts.query or parts.fragment or " " in text:
        raise InputError(
            f"{printable(typed, 80)} is not an address that a gateway can dial.",
            hint="Write it as wss://bridge.example.org, with a path or without.",
        )
    own = parts.path.rstrip("/")
    return f"{_SCHEMES[parts.scheme]}://{parts.netloc}{own if own and keep else path}"


def callers(allow: tuple[str, ...]) -> dict[str, object]:
    """Who may call, as keys; nobody named: nobody may.

    Raises:
        InputError: a caller is neither an id, nor an address, nor a tenant.
    """
    named = [one.strip() for one in allow if one.strip()]
    if not named:
        return {"authorization.mode": "disabled"}
    if any(one.lower() in EVERYBODY for one in named):
        return {"authorization.mode": "open"}
    tenants = [one[len(_TENANT) :].strip() for one in named if one.lower().startswith(_TENANT)]
    users = [one for one in named if not one.lower().startswith(_TENANT)]
    for one in users:
        if not (_GUID.fullmatch(one) or _ADDRESS.fullmatch(one)):
            raise InputError(
                f"{printable(one, 80)} is no caller.",
                hint="Name an object id, an address, tenant:ID, or * for everybody.",
            )
    for one in tenants:
        if not (_GUID.fullmatch(one)):
            raise InputError(f"{printable(one, 80)} is no tenant: it is a GUID.")
    values: dict[str, object] = {"authorization.mode": "allowlist" if users else "tenant-only"}
    if users:
        values["authorization.allow_from"] = users
    if tenants:
        values["authorization.allowed_tenants"] = tenants
    return values
