"""Two secrets at a door, on a real socket: both are valid while one replaces the other."""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec
import pytest
from server_rig import SECRET, STANDIN_SECRET, UPGRADE, Site, make_config, parse, run, site

from teamscall.clock import ManualClock
from teamscall.config import Config, Secret
from teamscall.server.credentials import PREVIOUS_LINE_S, PreviousUse, Secrets
from teamscall.wire.signature import GENERATION_1, TODAY, Verdict, control_headers, upgrade_headers

OLD = "the-secret-before-0123456789abcdef"
OLD_STANDIN = "the-standin-secret-before-01234567"


def rotating() -> Config:
    """Both dialects have a secret and the one before it."""
    config = make_config(previous_secret=Secret(OLD_STANDIN))
    bridge = msgspec.structs.replace(config.bridge, previous_secret=Secret(OLD))
    return msgspec.structs.replace(config, bridge=bridge)


async def upgrade(at: Site, target: str, headers: dict[str, str], dialect: Any) -> int:
    lines = [f"GET {target} HTTP/1.1", "Host: bridge", *UPGRADE]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode()
    status, _, _ = parse(await at.raw(head, dialect, eof=True))
    return status


async def csharp(at: Site, secret: str) -> int:
    return await upgrade(at, "/teams-call/stream", {"X-Bridge-Secret": secret}, "csharp")


async def standin(at: Site, call_id: str, headers: dict[str, str]) -> int:
    return await upgrade(at, f"/msteams/calling/{call_id}", headers, "standin")


async def outcome(at: Site, secret: str) -> int:
    body = json.dumps({"callId": "o", "outcome": "busy"}).encode()
    path = "/msteams/calling/outcome/o"
    headers = dict(control_headers(secret.encode(), at.clock.wall_ms(), "POST", path, body, "o"))
    status, _, _ = await at.request("POST", path, headers, body=body)
    return status


def test_both_secrets_are_valid_until_the_old_one_is_taken_out() -> None:
    async def test() -> None:
        async with site(rotating()) as at:
            assert [await csharp(at, secret) for secret in (SECRET, OLD, "x" * 32)] == [
                101,
                101,
                401,
            ]
            signed = [
                await standin(at, f"c-{secret}", at.signed(f"c-{secret}", secret=secret))
                for secret in (STANDIN_SECRET, OLD_STANDIN, OLD)
            ]
            assert signed == [101, 101, 401]
            told = [await outcome(at, secret) for secret in (STANDIN_SECRET, OLD_STANDIN, OLD)]
            assert told == [200, 200, 401]
            assert at.bridge.gate.previous.counts == {"bridge": 1, "standin": 2}

            at.bridge.gate.reconfigure(make_config())
            assert [await csharp(at, secret) for secret in (SECRET, OLD)] == [101, 401]
            signed = [
                await standin(at, f"d-{secret}", at.signed(f"d-{secret}", secret=secret))
                for secret in (STANDIN_SECRET, OLD_STANDIN)
            ]
            assert signed == [101, 401]
            assert [await outcome(at, s) for s in (STANDIN_SECRET, OLD_STANDIN)] == [200, 401]

    run(test)


def test_an_empty_secret_before_lets_nobody_in() -> None:
    async def test() -> None:
        async with site(make_config()) as at:
            assert await csharp(at, "") == 401
            assert await standin(at, "e", at.signed("e", secret="")) == 401
            assert await outcome(at, "") == 401

    run(test)


@pytest.mark.parametrize("first", [STANDIN_SECRET, OLD_STANDIN])
def test_a_handshake_that_either_secret_signed_is_used_once(first: str) -> None:
    """H5: signed with one secret in one pair of headers and with the other in the other."""

    async def test() -> None:
        second = OLD_STANDIN if first == STANDIN_SECRET else STANDIN_SECRET
        async with site(rotating(), clock=ManualClock()) as at:
            now = at.clock.wall_ms()
            mine = upgrade_headers(first.encode(), "r", now, (TODAY,))
            theirs = upgrade_headers(second.encode(), "r", now, (GENERATION_1,))
            assert await standin(at, "r", dict([*mine, *theirs])) == 101
            await at.gone(1)
            for again in (mine, theirs, [*mine, *theirs]):
                assert await standin(at, "r", dict(again)) == 401
            assert at.bridge.refusals["replayed"] == 3

    run(test)


def test_what_was_spent_stays_spent_when_secret_and_window_change() -> None:
    """A handshake of before the reload is not admitted again, whatever is valid after it."""

    async def test() -> None:
        clock = ManualClock()
        async with site(make_config(), clock=clock) as at:
            now = clock.wall_ms()
            used = at.signed("w")
            other = dict(upgrade_headers(OLD_STANDIN.encode(), "w", now))
            assert await standin(at, "w", used) == 101
            await at.gone(1)
            clock.advance(61)
            assert await standin(at, "v", at.signed("v")) == 101  # forgets the one before
            longer = msgspec.structs.replace(rotating().standin, hmac_window_ms=600_000)
            at.bridge.gate.reconfigure(msgspec.structs.replace(rotating(), standin=longer))
            assert await standin(at, "w", used) == 401
            assert await standin(at, "w", other) == 401
            assert at.bridge.refusals["replayed"] == 2
            assert await standin(at, "u", at.signed("u", at=-59_000)) == 101

    run(test)


def test_the_old_secret_in_use_is_said_once_a_minute(log: list[logging.LogRecord]) -> None:
    use = PreviousUse(logging.getLogger("teamscall.server"))
    for now in (0.0, 1.0, 2.0, PREVIOUS_LINE_S, PREVIOUS_LINE_S + 1):
        use.note("bridge", "10.0.0.1:5", now)
    use.note("standin", "10.0.0.2:5", 3.0)
    said = [(r.levelname, r.__dict__["secret"], r.__dict__["times"]) for r in log]
    assert said == [
        ("INFO", "bridge.previous_secret", 1),
        ("INFO", "bridge.previous_secret", 3),
        ("INFO", "standin.previous_secret", 1),
    ]
    assert use.counts == {"bridge": 5, "standin": 1}


@pytest.mark.parametrize("theirs", ['"{}"', "{}\n", "nothing like it"])
def test_a_refusal_does_not_say_which_secret_it_is_like(
    theirs: str, log: list[logging.LogRecord]
) -> None:
    async def test() -> None:
        async with site(rotating()) as at:
            for secret in (SECRET, OLD):
                assert await csharp(at, theirs.format(secret).strip()) in (101, 401)
            for secret in (STANDIN_SECRET, OLD_STANDIN):
                call_id = f"m-{len(secret)}"
                assert await standin(at, call_id, at.signed(call_id, secret=theirs.format(secret)))

    run(test)
    details = [record.__dict__["detail"] for record in log if record.getMessage() == "Refused"]
    assert details[-2] == details[-1]
    assert len(set(details)) == 1
    whole = " ".join(map(str, (record.__dict__ for record in log)))
    assert not [secret for secret in (SECRET, OLD, STANDIN_SECRET, OLD_STANDIN) if secret in whole]


def test_the_verdict_is_of_the_secret_that_got_furthest() -> None:
    secrets = Secrets(Secret("a"), Secret("b"))
    asked: list[bytes] = []

    def check(secret: bytes) -> Verdict:
        asked.append(secret)
        return Verdict("stale" if secret == b"b" else "mismatch")

    assert secrets.verify(check) == (Verdict("stale"), False)
    assert asked == [b"a", b"b"]
    both = Secrets(Secret("a"), Secret("a"))
    assert both.match(b"a") == (True, False)
