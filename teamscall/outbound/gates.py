"""May this call be placed: every gate's word, in order, from facts that were gathered.

Pure: the time is a fact among the others. Owns the allow-list's rules, the caps, quiet
hours and through whom a call would go; each word says which key to change. Refuses to know
how facts are gathered, and far sides' protocols.

Rule 1: fail closed. What cannot be said without a target does not pass.
Rule 2: an empty allow-list allows nobody.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable

import msgspec

from teamscall.config import Config
from teamscall.config.quiet import quiet_at
from teamscall.outbound.orders import GateName, GateResult, Via
from teamscall.outbound.target import Resolved, Target, Unreadable
from teamscall.wire.events import Dialect

HOUR_MS = 3_600_000
_NO_TARGET = "Cannot be said without a target."


class Facts(msgspec.Struct, frozen=True):
    """What is so at the moment of the question.

    ``local`` is wall-clock time in ``outbound.timezone``. ``placed`` and ``placed_to_it``:
    how many calls were placed in the last hour, in all and to this target. ``ringing``: the
    attempt that rings this target now, blank for none.
    """

    config: Config
    switched_on: bool
    draining: bool
    who: Resolved | Unreadable
    local: datetime.datetime
    placed: int
    placed_to_it: int
    ringing: str
    slots_free: int
    gateway_open: bool
    via: Via = "auto"  # as ordered
    tenant: str = ""  # as ordered
    switch_unread: bool = False  # what the operator switched last is on a disk that fails


class Route(msgspec.Struct, frozen=True):
    """Through whom a call would go. ``dialect`` None: nobody is there. ``detail``: one
    sentence."""

    passed: bool
    detail: str
    dialect: Dialect | None = None
    tenant: str = ""


def weigh(facts: Facts) -> tuple[GateResult, ...]:
    """Every gate's word, in order."""
    outbound = facts.config.outbound
    target = facts.who.target if isinstance(facts.who, Resolved) else None
    on, off = "Calls may be placed.", "Calls are not placed here: set outbound.enabled = true."
    switch = "The operator's switch is on."
    if not facts.switched_on:
        switch = "The operator switched it off; `teamscall outbound on` allows calls again."
        if facts.switch_unread:
            switch = (
                "The journal cannot be read, and calls may have been switched off: mend it, or "
                "say `teamscall outbound on`."
            )
    draining = "The bridge takes calls."
    if facts.draining:
        draining = "The bridge is shutting down and takes no more calls."
    return (
        _word("enabled", outbound.enabled, on if outbound.enabled else off),
        _word("switch", facts.switched_on, switch),
        _word("draining", not facts.draining, draining),
        _target(facts.who),
        _allowed(outbound.allow_to, target),
        _quiet(facts),
        _hourly_cap(facts),
        _target_cap(facts, target),
        _already_ringing(facts, target),
        _capacity(facts),
        _far_side(facts),
    )


def route(facts: Facts) -> Route:
    """Through whom this call would go."""
    if isinstance(facts.who, Unreadable):
        return Route(False, _NO_TARGET)
    config, target = facts.config, facts.who.target
    named = facts.via if facts.via != "auto" else config.outbound.via
    if named == "auto":
        csharp = (
            target.kind == "phone"
            or facts.gateway_open
            or bool(config.bridge.control_url)
            or not config.standin.enabled
        )
        named = "csharp" if csharp else "standin"
    if named == "csharp":
        return _by_gateway(facts)
    return _by_standin(facts, target, facts.who.tenant)


def allows(entries: Iterable[str], target: Target) -> bool:
    """Whether an allow-list has this target. An entry is an object id, ``user:ID`` or
    ``phone:+NUMBER``, a ``*`` at its end stands for any ending; ``*`` alone is anybody."""
    for entry in entries:
        wanted = entry.strip().casefold()
        if wanted and not wanted.startswith(("user:", "phone:")) and wanted != "*":
            wanted = f"phone:{wanted}" if wanted.startswith("+") else f"user:{wanted}"
        prefix, star, rest = wanted.partition("*")
        if star and not rest and target.key.startswith(prefix):
            return True
        if wanted and not star and target.key == wanted:
            return True
    return False


def _word(gate: GateName, passed: bool, detail: str) -> GateResult:
    return GateResult(gate, passed, detail)


def _target(who: Resolved | Unreadable) -> GateResult:
    if isinstance(who, Unreadable):
        return _word("target", False, who.detail)
    return _word("target", True, f"It is {who.target}.")


def _allowed(entries: tuple[str, ...], target: Target | None) -> GateResult:
    if target is None:
        return _word("allowed", False, _NO_TARGET)
    if allows(entries, target):
        return _word("allowed", True, "outbound.allow_to has it.")
    if not any(entry.strip() for entry in entries):
        detail = f'Nobody may be called yet: add "{target}" to outbound.allow_to.'
    else:
        detail = f'{target} may not be called: add "{target}" to outbound.allow_to.'
    return _word("allowed", False, detail)


def _quiet(facts: Facts) -> GateResult:
    outbound = facts.config.outbound
    zone = outbound.timezone or "this machine's time"
    now = f"{facts.local:%H:%M}"
    quiet = quiet_at(outbound.quiet_hours, facts.local)
    if quiet is None:
        detail = f"It is {now} ({zone}), not a quiet hour."
    else:
        detail = (
            f"It is {now} ({zone}) and quiet until {quiet.until}: "
            f'outbound.quiet_hours has "{quiet.entry}".'
        )
    return _word("quiet-hours", quiet is None, detail)


def _hourly_cap(facts: Facts) -> GateResult:
    most = facts.config.outbound.max_per_hour
    detail = f"{facts.placed} of {most} calls were placed in the last hour"
    passed = facts.placed < most
    return _word("hourly-cap", passed, _capped(detail, passed, "outbound.max_per_hour"))


def _target_cap(facts: Facts, target: Target | None) -> GateResult:
    if target is None:
        return _word("target-cap", False, _NO_TARGET)
    most = facts.config.outbound.max_per_target_per_hour
    detail = f"{target} was called {facts.placed_to_it} of {most} times in the last hour"
    passed = facts.placed_to_it < most
    key = "outbound.max_per_target_per_hour"
    return _word("target-cap", passed, _capped(detail, passed, key))


def _capped(detail: str, passed: bool, key: str) -> str:
    return f"{detail}." if passed else f"{detail}: wait, or raise {key}."


def _already_ringing(facts: Facts, target: Target | None) -> GateResult:
    if target is None:
        return _word("already-ringing", False, _NO_TARGET)
    if not facts.ringing:
        return _word("already-ringing", True, "No other call rings there.")
    return _word(
        "already-ringing",
        False,
        f"{facts.ringing} is ringing {target} already: wait, or end it with "
        f"`teamscall end {facts.ringing}`.",
    )


def _capacity(facts: Facts) -> GateResult:
    if facts.slots_free > 0:
        return _word("capacity", True, f"Free for calls: {facts.slots_free}.")
    most = facts.config.max_concurrent_calls
    detail = f"All {most} calls are taken: wait for one to end, or raise max_concurrent_calls."
    return _word("capacity", False, detail)


def _far_side(facts: Facts) -> GateResult:
    way = route(facts)
    return _word("far-side", way.passed, way.detail)


def _by_gateway(facts: Facts) -> Route:
    config = facts.config
    if not config.serve.enabled:
        return Route(
            False,
            "The C# gateway's listener is off, so no answered call could come in: set "
            "serve.enabled = true.",
        )
    if facts.gateway_open:
        return Route(True, "A C# gateway is connected and will ring.", "csharp")
    if config.bridge.control_url:
        return Route(True, "The C# gateway will be asked by its REST API.", "csharp")
    seconds = config.outbound.ring_timeout_ms / 1000
    return Route(
        True,
        f"No C# gateway is connected: one is waited for, {seconds:g} s at most.",
        "csharp",
    )


def _by_standin(facts: Facts, target: Target, resolved_tenant: str) -> Route:
    config = facts.config
    if not config.standin.enabled:
        return Route(False, "StandIn is not enabled: set standin.enabled = true.")
    if target.kind == "phone":
        return Route(
            False,
            "StandIn cannot ring phones: only a C# gateway can (--via csharp, or outbound.via).",
            "standin",
        )
    tenants = tuple({t.strip() for t in config.authorization.allowed_tenants if t.strip()})
    only = tenants[0] if len(tenants) == 1 else ""
    tenant = facts.tenant.strip() or resolved_tenant or config.outbound.tenant.strip() or only
    if not tenant:
        return Route(
            False,
            "StandIn needs the tenant of the user: set outbound.tenant, or give one with the "
            "order (--tenant).",
            "standin",
        )
    return Route(True, "StandIn will be asked.", "standin", tenant)
