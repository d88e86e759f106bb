"""The authorization table of the C# gateway protocol, row by row."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.config import Authorization
from teamscall.policy.rules import AuthorizationRules, Decision, Mode, decide, rules_of
from teamscall.wire.events import Caller

ANNA = Caller(user_id="U-Anna", tenant_id="T-1", user_principal_name="Anna@Example.org")
MODES: tuple[Mode, ...] = ("disabled", "open", "allowlist", "tenant-only")


def caller(**changes: str) -> Caller:
    return msgspec.structs.replace(ANNA, **changes)


def rules(
    mode: Mode = "allowlist",
    users: tuple[str, ...] = ("u-anna",),
    tenants: tuple[str, ...] = (),
    pstn: bool = False,
) -> AuthorizationRules:
    return rules_of(
        Authorization(mode=mode, allow_from=users, allowed_tenants=tenants, allow_pstn=pstn)
    )


def no(reason: str, strategy: str) -> Decision:
    return Decision(False, strategy, reason)


PHONE = caller(phone_number="+15550100")


@pytest.mark.parametrize(
    ("who", "book", "expected"),
    [
        (caller(user_id=""), rules("open"), no("Invalid metadata", "validation-failed")),
        (caller(tenant_id=" "), rules("open"), no("Invalid metadata", "validation-failed")),
        (caller(user_id=""), rules("disabled"), no("Invalid metadata", "validation-failed")),
        (ANNA, rules("disabled"), no("Inbound calls disabled", "disabled")),
        (PHONE, rules("disabled"), no("Inbound calls disabled", "disabled")),
        (PHONE, rules("open"), no("PSTN calls not allowed", "pstn-blocked")),
        (PHONE, rules("allowlist"), no("PSTN calls not allowed", "pstn-blocked")),
        (PHONE, rules("tenant-only", tenants=()), no("PSTN calls not allowed", "pstn-blocked")),
        (PHONE, rules("open", pstn=True), Decision(True, "open")),
        (ANNA, rules("open", users=()), Decision(True, "open")),
        (ANNA, rules("tenant-only", tenants=()), no("No tenants configured", "tenant-only")),
        (ANNA, rules("tenant-only", tenants=(" ",)), no("No tenants configured", "tenant-only")),
        (ANNA, rules("tenant-only", tenants=("t-1",)), Decision(True, "tenant-only")),
        (ANNA, rules("tenant-only", tenants=("t-2",)), no("Tenant not allowed", "tenant-only")),
        (ANNA, rules(users=()), no("No users configured", "allowlist")),
        (ANNA, rules(users=(), tenants=("t-2",)), no("No users configured", "allowlist")),
        (ANNA, rules(tenants=("t-2",)), no("Tenant not allowed", "allowlist")),
        (ANNA, rules(tenants=(" T-1 ",)), Decision(True, "allowlist")),
        (ANNA, rules(), Decision(True, "allowlist")),
        (ANNA, rules(users=(" ANNA@example.ORG ",)), Decision(True, "allowlist")),
        (caller(user_id=" u-anna "), rules(), Decision(True, "allowlist")),
        (ANNA, rules(users=("u-bert",)), no("User not in allowlist", "allowlist")),
        (
            caller(user_principal_name=""),
            rules(users=("", "x")),
            no("User not in allowlist", "allowlist"),
        ),
    ],
)
def test_the_table(who: Caller, book: AuthorizationRules, expected: Decision) -> None:
    assert decide(who, book) == expected


def test_the_default_refuses_everybody() -> None:
    assert not decide(ANNA, AuthorizationRules()).authorized
    assert rules_of(Authorization()) == AuthorizationRules()


ids = st.sampled_from(["", " ", "a", "A ", "b", "ß", "SS", "t", "x@y.z"])
callers = st.builds(
    Caller, user_id=ids, tenant_id=ids, user_principal_name=ids, phone_number=ids, display_name=ids
)
books = st.builds(
    rules,
    mode=st.sampled_from(MODES),
    users=st.lists(ids, max_size=3).map(tuple),
    tenants=st.lists(ids, max_size=3).map(tuple),
    pstn=st.booleans(),
)


@settings(deadline=None)
@given(callers, books)
def test_a_grant_is_always_earned(who: Caller, book: AuthorizationRules) -> None:
    decision = decide(who, book)
    assert decision.authorized == (decision.reason == "")
    if not decision.authorized:
        return
    assert book.mode != "disabled"
    assert who.user_id.strip()
    assert who.tenant_id.strip()
    assert book.allow_pstn or not who.phone_number.strip()
    if book.mode == "tenant-only":
        assert who.tenant_id.strip().casefold() in book.allowed_tenants
    if book.mode == "allowlist":
        named = {who.user_id.strip().casefold(), who.user_principal_name.strip().casefold()}
        assert named & book.allow_from
        assert not book.allowed_tenants or who.tenant_id.strip().casefold() in book.allowed_tenants


@settings(deadline=None)
@given(callers, books)
def test_case_and_blanks_change_nothing(who: Caller, book: AuthorizationRules) -> None:
    loud = Caller(
        user_id=f" {who.user_id.casefold()}\t",
        tenant_id=f"{who.tenant_id.casefold()} ",
        user_principal_name=f" {who.user_principal_name.casefold()}",
        phone_number=who.phone_number,
    )
    assert decide(loud, book) == decide(who, book)


@settings(deadline=None)
@given(callers, books)
def test_an_empty_list_admits_nobody(who: Caller, book: AuthorizationRules) -> None:
    if book.mode == "allowlist":
        assert not decide(who, msgspec.structs.replace(book, allow_from=frozenset())).authorized
    if book.mode == "tenant-only":
        bare = msgspec.structs.replace(book, allowed_tenants=frozenset())
        assert not decide(who, bare).authorized


def test_a_rule_book_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        rules().mode = "open"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("who", "book", "expected"),
    [
        (Caller(), rules("open"), Decision(True, "open")),
        (Caller(), rules("disabled"), no("Inbound calls disabled", "disabled")),
        (Caller(), rules(), no("User not in allowlist", "allowlist")),
        (Caller(), rules("tenant-only", tenants=("t-1",)), no("Tenant not allowed", "tenant-only")),
        (caller(tenant_id=""), rules(), Decision(True, "allowlist")),
        (caller(tenant_id=""), rules(tenants=("t-1",)), no("Tenant not allowed", "allowlist")),
    ],
)
def test_a_standin_caller_without_identity_is_on_no_list(
    who: Caller, book: AuthorizationRules, expected: Decision
) -> None:
    assert decide(who, book, "standin") == expected
