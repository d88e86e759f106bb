"""Every gate's word, one fact changed at a time."""

from __future__ import annotations

import datetime
from typing import Any, get_args

import msgspec
import pytest
from outbound_rig import configured

from teamscall.config import Config, Outbound
from teamscall.config.check_placing import check_placing
from teamscall.config.quiet import Quiet, local_time, quiet_at, read_quiet
from teamscall.outbound.gates import Facts, allows, route, weigh
from teamscall.outbound.orders import GateName
from teamscall.outbound.target import Resolved, Target, Unreadable

ANN = Target("user", "Ann")
PHONE = Target("phone", "+4930123456")
FRIDAY_23H = datetime.datetime(2026, 11, 20, 23, 0)


def part(config: Config, table: str, **changes: Any) -> Config:
    changed = msgspec.structs.replace(getattr(config, table), **changes)
    return msgspec.structs.replace(config, **{table: changed})


CONFIG = configured(None, allow_to=("user:ann",), max_per_hour=5, max_per_target_per_hour=2)
FACTS = Facts(
    config=CONFIG,
    switched_on=True,
    draining=False,
    who=Resolved(ANN),
    local=FRIDAY_23H,
    placed=0,
    placed_to_it=0,
    ringing="",
    slots_free=1,
    gateway_open=False,
)


def but(**changes: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **changes)


def failing(facts: Facts) -> dict[str, str]:
    return {word.gate: word.detail for word in weigh(facts) if not word.passed}


def test_every_gate_has_its_word_in_order() -> None:
    words = weigh(FACTS)
    assert tuple(word.gate for word in words) == get_args(GateName)
    assert all(word.passed for word in words)
    assert all(word.detail.endswith(".") for word in words)


@pytest.mark.parametrize(
    ("facts", "gate", "says"),
    [
        (but(config=part(CONFIG, "outbound", enabled=False)), "enabled", "outbound.enabled"),
        (but(switched_on=False), "switch", "teamscall outbound on"),
        (but(draining=True), "draining", "shutting down"),
        (but(who=Resolved(Target("user", "bob"))), "allowed", '"user:bob" to outbound.allow_to'),
        (but(config=part(CONFIG, "outbound", allow_to=())), "allowed", "Nobody may be called"),
        (but(config=part(CONFIG, "outbound", allow_to=(" ",))), "allowed", "Nobody may be"),
        (
            but(config=part(CONFIG, "outbound", quiet_hours=("22:00-07:00",))),
            "quiet-hours",
            'quiet until 07:00: outbound.quiet_hours has "22:00-07:00"',
        ),
        (but(placed=5), "hourly-cap", "outbound.max_per_hour"),
        (but(placed_to_it=2), "target-cap", "outbound.max_per_target_per_hour"),
        (
            but(config=part(CONFIG, "outbound", max_per_hour=0)),
            "hourly-cap",
            "0 of 0",
        ),
        (but(ringing="out-1"), "already-ringing", "out-1 is ringing user:Ann"),
        (but(slots_free=0), "capacity", "max_concurrent_calls"),
        (but(config=part(CONFIG, "authorization", allowed_tenants=())), "far-side", "tenant"),
        (
            but(config=part(CONFIG, "authorization", allowed_tenants=("a", "b"))),
            "far-side",
            "outbound.tenant",
        ),
        (but(config=part(CONFIG, "standin", enabled=False), via="standin"), "far-side", "standin."),
        (
            but(config=part(CONFIG, "serve", enabled=False), via="csharp"),
            "far-side",
            "serve.enabled",
        ),
    ],
)
def test_one_gate_refuses_and_says_what_to_change(facts: Facts, gate: str, says: str) -> None:
    words = failing(facts)
    assert list(words) == [gate]
    assert says in words[gate]


def test_without_a_target_nothing_passes_that_needs_one() -> None:
    words = failing(but(who=Unreadable("No.")))
    assert list(words) == ["target", "allowed", "target-cap", "already-ringing", "far-side"]
    assert words["target"] == "No."


@pytest.mark.parametrize(
    ("entries", "target", "passes"),
    [
        ((), ANN, False),
        (("",), ANN, False),
        (("ann",), ANN, True),
        (("ANN",), ANN, True),
        ((" user:Ann ",), ANN, True),
        (("user:an",), ANN, False),
        (("user:a*",), ANN, True),
        (("a*",), ANN, True),
        (("user:*",), ANN, True),
        (("user:*",), PHONE, False),
        (("*",), ANN, True),
        (("*",), PHONE, True),
        (("phone:+49*",), PHONE, True),
        (("+49*",), PHONE, True),
        (("phone:+1*",), PHONE, False),
        (("*ann",), ANN, False),
        (("u*r:ann",), ANN, False),
        (("phone*",), PHONE, False),
        (("ann@example.com",), ANN, False),
    ],
)
def test_the_allow_list(entries: tuple[str, ...], target: Target, passes: bool) -> None:
    assert allows(entries, target) is passes


@pytest.mark.parametrize(
    ("facts", "dialect", "tenant"),
    [
        (FACTS, "standin", "t-1"),
        (but(tenant="t-2"), "standin", "t-2"),
        (but(who=Resolved(ANN, "t-3")), "standin", "t-3"),
        (but(who=Resolved(ANN, "t-3"), tenant="t-2"), "standin", "t-2"),
        (but(config=part(CONFIG, "outbound", tenant="t-4")), "standin", "t-4"),
        (but(gateway_open=True), "csharp", ""),
        (but(gateway_open=True, via="standin"), "standin", "t-1"),
        (but(config=part(CONFIG, "bridge", control_url="http://127.0.0.1:1")), "csharp", ""),
        (but(config=part(CONFIG, "standin", enabled=False)), "csharp", ""),
        (but(config=part(CONFIG, "outbound", via="csharp")), "csharp", ""),
        (but(who=Resolved(PHONE)), "csharp", ""),
    ],
)
def test_through_whom(facts: Facts, dialect: str, tenant: str) -> None:
    way = route(facts)
    assert (way.passed, way.dialect, way.tenant) == (True, dialect, tenant)


def test_standin_rings_no_phones() -> None:
    way = route(but(who=Resolved(PHONE), via="standin"))
    assert not way.passed
    assert "StandIn cannot ring phones" in way.detail


class TestQuietHours:
    @pytest.mark.parametrize(
        ("entry", "when", "quiet"),
        [  # 2026-11-20 is a Friday
            ("22:00-07:00", "20 21:59", False),
            ("22:00-07:00", "20 22:00", True),
            ("22:00-07:00", "21 06:59", True),
            ("22:00-07:00", "21 07:00", False),
            ("12:00-13:00", "20 12:30", True),
            ("12:00-13:00", "20 13:00", False),
            ("00:00-24:00", "20 00:00", True),
            ("fri 22:00-07:00", "21 03:00", True),  # Saturday, of Friday's night
            ("fri 22:00-07:00", "20 03:00", False),  # Friday, of Thursday's night
            ("fri 22:00-07:00", "21 23:00", False),
            ("sat,sun 00:00-24:00", "21 12:00", True),
            ("sat,sun 00:00-24:00", "22 23:59", True),
            ("sat,sun 00:00-24:00", "23 00:00", False),
            ("sun 22:00-07:00", "23 06:00", True),  # Monday
            ("Mon-Fri 12:00-13:00", "20 12:00", True),
            ("mon-fri 12:00-13:00", "21 12:00", False),
            ("sat-mon 12:00-13:00", "23 12:00", True),
            ("sat-mon 12:00-13:00", "24 12:00", False),
            ("fri 18:00-24:00", "20 23:59", True),
            ("fri 18:00-24:00", "21 00:00", False),
            ("9:00-9:30", "20 09:15", True),
        ],
    )
    def test_cover(self, entry: str, when: str, quiet: bool) -> None:
        local = datetime.datetime.fromisoformat(f"2026-11-{when}")
        assert (quiet_at((entry,), local) is not None) is quiet

    @pytest.mark.parametrize(
        "entry",
        ["", "22-07", "22:00", "25:00-07:00", "22:60-23:00", "24:00-07:00", "08:00-08:00",
         "foo 08:00-09:00", "mon- 08:00-09:00", "mon,,tue 08:00-09:00", "08:00-24:01",
         "22:00-07:00 mon", "２２:00-07:00"],
    )  # fmt: skip
    def test_that_cannot_be_read_are_found_at_load(self, entry: str) -> None:
        assert isinstance(read_quiet(entry), str)
        [finding] = check_placing(Outbound(quiet_hours=(entry,)))
        assert finding.fatal
        assert "outbound.quiet_hours" in finding.text

    def test_are_in_the_timezone(self) -> None:
        noon_utc = 1_795_176_000_000  # 2026-11-20 12:00
        assert local_time(noon_utc, "Asia/Tokyo").hour == 21
        assert local_time(noon_utc, "UTC").hour == 12
        assert local_time(noon_utc, "").utcoffset() is not None

    @pytest.mark.parametrize("zone", ["Europe/Atlantis", "../etc/passwd", "Europe", "CE ST"])
    def test_need_a_timezone_that_there_is(self, zone: str) -> None:
        findings = list(check_placing(Outbound(timezone=zone, quiet_hours=("22:00-07:00",))))
        assert [finding.fatal for finding in findings] == [True]
        assert "outbound.timezone" in findings[0].text

    def test_end_is_said_as_it_was_written(self) -> None:
        read = read_quiet("sat 22:30-07:15")
        assert isinstance(read, Quiet)
        assert read.until == "07:15"


@pytest.mark.parametrize(
    ("changes", "fatal", "says"),
    [
        ({"allow_to": ("ann@example.com",)}, False, "is an address"),
        ({"allow_to": ("user:*-x",)}, False, "only at the end"),
        ({"allow_to": ("tel:+49",)}, False, "phone:+NUMBER"),
        ({"timezone": "UTC"}, False, "no effect"),
        ({"resolver_command": ("/no/such",)}, True, "not an executable"),
        ({"resolver_url": "https://a:b@c/"}, True, "credentials"),
        ({"resolver_url": "http://example.com/"}, False, "in clear"),
        ({"resolver_command": ("true",), "resolver_url": "https://x/"}, True, "keep one"),
    ],
)
def test_what_makes_no_sense_is_found_at_load(
    changes: dict[str, Any], fatal: bool, says: str
) -> None:
    [finding] = check_placing(Outbound(**changes))
    assert finding.fatal is fatal
    assert says in finding.text
