"""The rules: who may call, to the letter of the C# gateway's authorization table.

Pure: a caller and a rule book in, a decision out. Identifiers are compared trimmed and
case-folded, because tenant and object ids are GUIDs and addresses ignore case.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from teamscall.config import Authorization
from teamscall.wire.events import Caller, Dialect

Mode = Literal["disabled", "open", "allowlist", "tenant-only"]
AskedOn = Literal["auth_request", "session_start"]

UNDECIDED = "Authorization error"  # the reason when the decision itself fails
DENIED = "Denied by hook"  # where the hook gives no reason


class Decision(msgspec.Struct, frozen=True):
    """Whether a call may happen. ``reason`` is empty when it may.

    ``settings``: keys of the configuration that the hook has given this one call.
    """

    authorized: bool
    strategy: str
    reason: str = ""
    settings: dict[str, Any] = {}


class PolicyRequest(msgspec.Struct, frozen=True):
    """Who wants to call, and which message said so."""

    call_id: str
    dialect: Dialect
    caller: Caller
    on: AskedOn


class AuthorizationRules(msgspec.Struct, frozen=True):
    """An immutable rule book; a reload makes a new one. Make it with ``rules_of``: the
    sets hold folded identifiers and no blank one."""

    mode: Mode = "disabled"
    allow_from: frozenset[str] = frozenset()
    allowed_tenants: frozenset[str] = frozenset()
    allow_pstn: bool = False


def rules_of(settings: Authorization) -> AuthorizationRules:
    """The rule book of a configuration."""
    return AuthorizationRules(
        mode=settings.mode,
        allow_from=_folded(settings.allow_from),
        allowed_tenants=_folded(settings.allowed_tenants),
        allow_pstn=settings.allow_pstn,
    )


class RulesFor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What of a configuration's rules a decision on one caller depends on, as it is written
    there: of each list the entries that are this caller's, and whether it has any others."""

    mode: Mode = "disabled"
    allow_from: tuple[str, ...] = ()
    others_allowed: bool = False
    allowed_tenants: tuple[str, ...] = ()
    other_tenants: bool = False
    allow_pstn: bool = False

    def settings(self, caller: Caller) -> Authorization:
        """A configuration that decides on this caller as that one does. It has no hook."""
        own = _identifiers(caller)
        other = "somebody else"
        while fold(other) in own:
            other += " else"
        return Authorization(
            mode=self.mode,
            allow_from=(*self.allow_from, *[other] * self.others_allowed),
            allowed_tenants=(*self.allowed_tenants, *[other] * self.other_tenants),
            allow_pstn=self.allow_pstn,
        )


def rules_for(caller: Caller, settings: Authorization) -> RulesFor:
    """What of these rules this caller meets: nobody else's identifier is in it."""
    own = _identifiers(caller)
    allow_from = tuple(e for e in settings.allow_from if fold(e) in own)
    tenants = tuple(e for e in settings.allowed_tenants if fold(e) in own)
    return RulesFor(
        mode=settings.mode,
        allow_from=allow_from,
        others_allowed=len(allow_from) < len(settings.allow_from),
        allowed_tenants=tenants,
        other_tenants=len(tenants) < len(settings.allowed_tenants),
        allow_pstn=settings.allow_pstn,
    )


def decide(caller: Caller, rules: AuthorizationRules, dialect: Dialect = "csharp") -> Decision:
    """Decide. The order of the checks is part of the protocol: the first that applies answers.

    A C# gateway always says tenant and user, so their absence is a broken message. StandIn
    may leave out either (a guest, a phone): there such a caller is merely on no list.
    """
    tenant, user, address = map(
        fold, (caller.tenant_id, caller.user_id, caller.user_principal_name)
    )
    mode = rules.mode
    if dialect == "csharp" and not (tenant and user):
        return Decision(False, "validation-failed", "Invalid metadata")
    if mode == "disabled":
        return Decision(False, mode, "Inbound calls disabled")
    if fold(caller.phone_number) and not rules.allow_pstn:
        return Decision(False, "pstn-blocked", "PSTN calls not allowed")
    if mode == "open":
        return Decision(True, mode)
    if mode == "tenant-only":
        if not rules.allowed_tenants:
            return Decision(False, mode, "No tenants configured")
        if tenant not in rules.allowed_tenants:
            return Decision(False, mode, "Tenant not allowed")
        return Decision(True, mode)
    if not rules.allow_from:
        return Decision(False, mode, "No users configured")
    if rules.allowed_tenants and tenant not in rules.allowed_tenants:
        return Decision(False, mode, "Tenant not allowed")
    # An empty address is never in the set, so an absent one cannot match.
    if user in rules.allow_from or address in rules.allow_from:
        return Decision(True, mode)
    return Decision(False, mode, "User not in allowlist")


def fold(identifier: str) -> str:
    """An identifier as it is compared: trimmed and case-folded."""
    return identifier.strip().casefold()


def _identifiers(caller: Caller) -> frozenset[str]:
    """All that a caller says of itself, and the blank that any may: what an entry of a list
    might be taken for."""
    return frozenset({"", *map(fold, msgspec.structs.astuple(caller))})


def _folded(identifiers: Iterable[str]) -> frozenset[str]:
    return frozenset(filter(None, map(fold, identifiers)))
