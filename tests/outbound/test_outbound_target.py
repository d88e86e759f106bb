"""What an operator typed, read; and what is suggested where it is wrong."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbound_rig import far_side

from teamscall.config import Outbound
from teamscall.outbound import target as targets
from teamscall.outbound.target import (
    Address,
    Resolved,
    Target,
    Unreadable,
    read_target,
    resolve,
)

GUID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (f"user:{GUID}", Target("user", GUID)),
        (" user:Ann_1.x-y ", Target("user", "Ann_1.x-y")),
        ("USER:a", Target("user", "a")),
        ("user:" + "a" * 128, Target("user", "a" * 128)),
        ("phone:+4930123456", Target("phone", "+4930123456")),
        ("phone:+12345678", Target("phone", "+12345678")),
        ("user:ann@example.com", Address("ann@example.com")),
        ("ann@example.com", Address("ann@example.com")),
        ("mailto:ann@example.com", Address("ann@example.com")),
    ],
)
def test_reads(typed: str, read: object) -> None:
    assert read_target(typed) == read


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("", "nobody to call"),
        (GUID, f"write user:{GUID}"),
        ("+49 30 123-456", "Write phone:+4930123456."),
        ("0049 30 123456", "Write phone:+4930123456."),
        ("tel:+4930123456", "Write phone:+4930123456."),
        ("phone:+49 30 123456", "Write phone:+4930123456."),
        ("phone:030123456", "country code"),
        ("030/123456", "country code"),
        ("phone:+0301234567", "does not begin with 0"),
        ("phone:+1234567890123456", "7 to 15 digits"),
        ("phone:+４９30123456", "7 to 15 digits"),
        ("user:+4930123456", "write phone:+4930123456"),
        ("user:" + "a" * 129, "object id has 1 to 128"),
        ("user:a/b", "object id has"),
        ("user:..", "object id has"),
        ("user:", "object id has"),
        ("sip:ann@example.com", "user:<object id>"),
        ("ann", "user:<object id>"),
        ("ann\x1b[31m", "user:<object id>"),
    ],
)
def test_says_what_to_write_instead(typed: str, suggestion: str) -> None:
    read = read_target(typed)
    assert isinstance(read, Unreadable), read
    assert suggestion in read.detail
    assert read.detail.isprintable()


@given(st.text(max_size=300))
def test_never_raises_and_never_lets_a_control_byte_through(typed: str) -> None:
    for text in (typed, f"user:{typed}", f"phone:{typed}", f"{typed}@{typed}"):
        read = read_target(text)
        if isinstance(read, Target):
            assert str(read).isascii()
            assert read_target(str(read)) == read
        elif isinstance(read, Unreadable):
            assert read.detail.isprintable()


def test_ids_are_compared_case_folded() -> None:
    assert Target("user", GUID.upper()).key == Target("user", GUID).key


class TestAnAddress:
    def ask(self, config: Outbound) -> Resolved | Unreadable:
        return asyncio.run(resolve(config, Address("ann@example.com")))

    def script(self, tmp_path: Path, text: str) -> Outbound:
        path = tmp_path / "resolver.py"
        path.write_text(text)
        return Outbound(resolver_command=(sys.executable, str(path)))

    def test_is_explained_without_a_resolver(self) -> None:
        read = self.ask(Outbound())
        assert isinstance(read, Unreadable)
        assert "write user:<object id> (Entra admin centre, Users)" in read.detail
        assert "outbound.resolver_command" in read.detail

    def test_is_resolved_by_a_command(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "not yours")
        config = self.script(
            tmp_path,
            "import json, os, sys\n"
            "assert not [n for n in os.environ if n.startswith('TEAMSCALL_')]\n"
            "asked = json.load(sys.stdin)['address']\n"
            "print(json.dumps({'userObjectId': 'id-of-' + asked.split('@')[0], 'more': 1}))\n",
        )
        assert self.ask(config) == Resolved(Target("user", "id-of-ann"))

    def test_is_resolved_by_a_url(self) -> None:
        async def run() -> None:
            async with far_side() as far:
                found = {"userObjectId": "u-1", "tenantId": "t-9"}
                far.answers = [(200, json.dumps(found).encode())]
                config = Outbound(resolver_url=far.url + "/api/calls")
                read = await resolve(config, Address("ann@example.com"))
                assert read == Resolved(Target("user", "u-1"), "t-9")
                assert far.requests[0].json["address"] == "ann@example.com"

        asyncio.run(run())

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("print('{}')", "malformed"),
            ("print('[1]')", "malformed"),
            ("""print('{"userObjectId": "a b"}')""", "userObjectId that is none"),
            ("""print('{"userObjectId": "../x"}')""", "userObjectId that is none"),
            ("""print('{"userObjectId": "u", "tenantId": "?"}')""", "tenantId that is none"),
            ("import sys; sys.exit('no\\x1b[1m such user')", "status 1: no [1m such user"),
        ],
    )
    def test_is_none_by_anything_but_an_answer(self, text: str, words: str, tmp_path: Path) -> None:
        read = self.ask(self.script(tmp_path, text))
        assert isinstance(read, Unreadable)
        assert words in read.detail
        assert "outbound.resolver_command" in read.detail

    def test_is_none_when_the_resolver_hangs(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(targets, "RESOLVE_S", 0.2)
        read = self.ask(self.script(tmp_path, "import time; time.sleep(60)"))
        assert isinstance(read, Unreadable)
        assert "no answer within 0.2 s" in read.detail
