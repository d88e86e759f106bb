"""Which permissions of Microsoft Graph the configured features need, and which a token has.

Pure. The table is Microsoft's (Graph's cloud communications API).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from teamscall.config import Config, Graph


class Needed(msgspec.Struct, frozen=True):
    """One application permission. ``must``: nothing works without it."""

    name: str
    purpose: str
    must: bool = True


def needed(config: Config) -> tuple[Needed, ...]:
    """What this configuration needs."""
    if config.graph.permissions:
        return tuple(Needed(name.strip(), "graph.permissions") for name in config.graph.permissions)
    found = [Needed("Calls.AccessMedia.All", "the sound of every call")]
    if config.outbound.enabled and config.outbound.allow_to:
        found.append(Needed("Calls.Initiate.All", "placing calls: outbound.allow_to"))
    if config.inbound.enabled:
        found.append(Needed("Calls.JoinGroupCall.All", "group calls and meetings", must=False))
    return tuple(found)


def missing(wanted: Sequence[Needed], roles: Sequence[str]) -> list[Needed]:
    """Those of ``wanted`` that ``roles`` lacks; joining as a guest counts as joining."""
    have = {role.casefold() for role in roles}
    if "calls.joingroupcallasguest.all" in have:
        have.add("calls.joingroupcall.all")
    return [each for each in wanted if each.name.casefold() not in have]


def consent_url(graph: Graph) -> str:
    """Where an administrator consents; the ids are left to be filled in where unknown."""
    tenant = quote(graph.tenant_id, safe=".") or "TENANT_ID"
    client = quote(graph.client_id, safe="") or "CLIENT_ID"
    return f"{graph.authority.rstrip('/')}/{tenant}/adminconsent?client_id={client}"


def checklist(config: Config) -> str:
    """What to grant, in one line."""
    names = ", ".join(each.name for each in needed(config))
    return (
        f"Have an administrator grant the bot {names} as Application permissions: "
        f"{consent_url(config.graph)}; set graph.tenant_id, graph.client_id and a secret to have "
        "it checked."
    )


def roles_of(token: str) -> tuple[str, ...] | None:
    """The ``roles`` claim of a JWT, which is not verified; None: it cannot be read."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(claims, type=_Claims).roles
    except (binascii.Error, ValueError, msgspec.DecodeError):
        return None


class _Claims(msgspec.Struct):
    roles: tuple[str, ...] = ()
