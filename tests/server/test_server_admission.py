"""The upgrade and outcome tables, row by row, on a real socket."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from server_rig import (
    SECRET,
    STANDIN_SECRET,
    UPGRADE,
    Site,
    close,
    make_config,
    parse,
    run,
    site,
)

from teamscall.calls.link import Readiness, Unavailable
from teamscall.clock import ManualClock
from teamscall.wire.signature import GENERATION_1, TODAY, control_headers, sign_v1

PATH = "/teams-call/stream"
CALL = "/msteams/calling/call-1"


async def upgrade(at: Site, target: str, headers: dict[str, str], dialect: Any = "standin") -> int:
    """The status of an upgrade; an admitted socket is closed again."""
    lines = [f"GET {target} HTTP/1.1", "Host: bridge", *UPGRADE]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
    status, _, _ = parse(await at.raw(head, dialect, eof=True))
    return status


# --- health ---------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["csharp", "standin"])
def test_every_listener_answers_health(dialect: Any) -> None:
    async def test() -> None:
        async with site() as at:
            status, headers, body = await at.request("GET", "/healthz?x=1", dialect=dialect)
            assert (status, json.loads(body)["status"]) == (200, "alive")
            assert headers["connection"] == "close"
            status, _, body = await at.request("GET", "/readyz", dialect=dialect)
            assert (status, json.loads(body)["slotsFree"]) == (200, 5)
            status, headers, body = await at.request("HEAD", "/readyz", dialect=dialect)
            assert (status, body) == (200, b"")
            assert int(headers["content-length"]) > 0
            status, headers, _ = await at.request("DELETE", "/healthz", dialect=dialect)
            assert (status, headers["allow"]) == (405, "GET, HEAD")

    run(test)


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        (Readiness(True, False, 1, 4), 200, "ready"),
        (Readiness(False, False, 5, 0), 503, "full"),
        (Readiness(False, True, 1, 4), 503, "draining"),
    ],
)
def test_readiness_is_the_exchanges(state: Readiness, status: int, word: str) -> None:
    async def test() -> None:
        async with site() as at:
            at.exchange.ready = state
            got, _, body = await at.request("GET", "/readyz")
            assert (got, json.loads(body)["status"]) == (status, word)

    run(test)


# --- the C# gateway -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        (PATH, {"X-Bridge-Secret": SECRET}, 101),
        (PATH + "?a=b", {"x-bridge-secret": SECRET}, 101),
        (PATH, {"X-Bridge-Secret": SECRET, "Sec-WebSocket-Protocol": "teams"}, 101),
        (PATH, {}, 401),
        (PATH, {"X-Bridge-Secret": ""}, 401),
        (PATH, {"X-Bridge-Secret": SECRET[:-1]}, 401),
        (PATH, {"X-Bridge-Secret": "x" * 4096}, 401),
        (PATH, {"X-Bridge-Secret": "pässwörd-秘密"}, 401),
        (PATH + "/", {"X-Bridge-Secret": SECRET}, 404),
        ("/", {"X-Bridge-Secret": SECRET}, 404),
        ("/Teams-Call/stream", {"X-Bridge-Secret": SECRET}, 404),
        (CALL, {"X-Bridge-Secret": SECRET}, 404),  # StandIn's path, on C#'s listener
    ],
)
def test_csharp_upgrade(target: str, headers: dict[str, str], status: int) -> None:
    async def test() -> None:
        async with site() as at:
            assert await upgrade(at, target, headers, "csharp") == status
            assert len(at.exchange.links) == (status == 101)

    run(test)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_plain_http_on_the_csharp_path_is_told_to_upgrade(method: str) -> None:
    async def test() -> None:
        async with site() as at:
            status, headers, _ = await at.request(
                method, PATH, {"X-Bridge-Secret": SECRET}, dialect="csharp"
            )
            assert (status, headers["upgrade"]) == (426, "websocket")

    run(test)


def test_failed_attempts_are_limited_but_the_right_secret_always_passes() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            wrong = {"X-Bridge-Secret": "wrong"}
            for _ in range(30):  # a gateway that opens one socket per call
                assert await upgrade(at, PATH, {"X-Bridge-Secret": SECRET}, "csharp") == 101
            bodies = set()
            for _ in range(10):
                status, _, body = await at.request(
                    "GET", PATH, wrong, dialect="csharp", upgrade=True
                )
                bodies.add(body)
                assert status == 401
            assert len(bodies) == 1
            clock.advance(20)
            status, headers, _ = await at.request(
                "GET", PATH, wrong, dialect="csharp", upgrade=True
            )
            assert (status, headers["retry-after"]) == (429, "40")
            assert await upgrade(at, PATH, {"X-Bridge-Secret": SECRET}, "csharp") == 101
            clock.advance(61)
            assert await upgrade(at, PATH, wrong, "csharp") == 401
            assert at.bridge.refusals["secret-mismatch"] == 11
            assert at.bridge.refusals["too-many-attempts"] == 1

    run(test)


def test_csharp_sockets_are_capped_and_refused_while_draining() -> None:
    async def test() -> None:
        async with site(make_config(serve={"max_connections": 1})) as at:
            first = await at.dial_csharp()
            status, headers, _ = await at.request(
                "GET", PATH, {"X-Bridge-Secret": SECRET}, dialect="csharp", upgrade=True
            )
            assert (status, headers["retry-after"]) == (503, "5")
            await first.close()
            at.exchange.ready = Readiness(False, True, 0, 0)
            status, _, _ = await at.request(
                "GET", PATH, {"X-Bridge-Secret": SECRET}, dialect="csharp", upgrade=True
            )
            assert status == 503

    run(test)


# --- StandIn --------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/msteams/calling", "/voice/msteams/stream"])
@pytest.mark.parametrize("generations", [(TODAY,), (GENERATION_1,), (TODAY, GENERATION_1)])
def test_either_header_pair_on_either_path(prefix: str, generations: Any) -> None:
    async def test() -> None:
        async with site() as at:
            headers = at.signed("a b/c"[:3], generations=generations)
            assert await upgrade(at, f"{prefix}/a%20b", headers) == 101
            assert at.exchange.call_ids == ["a b"]

    run(test)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/msteams/calling", 404),
        ("/msteams/calling/", 404),
        ("/msteams/calling/call-1/", 404),
        ("/msteams/calling/a/b", 404),
        ("/msteams/callingx/call-1", 404),
        ("/nowhere/call-1", 404),
        (PATH, 404),
        ("/msteams/calling/..", 400),
        ("/msteams/calling/%2e%2e%2fetc", 400),
        ("/msteams/calling/a%0Ab", 400),
        ("/msteams/calling/a%1bb", 400),
        ("/msteams/calling/%", 400),
        ("/msteams/calling/%zz", 400),
        ("/msteams/calling/%ff", 400),
        ("/msteams/calling/" + "a" * 257, 400),
        ("/msteams/calling/" + "a" * 4096, 400),
    ],
)
def test_bad_paths(target: str, status: int) -> None:
    async def test() -> None:
        async with site() as at:
            assert await upgrade(at, target, at.signed("call-1")) == status
            assert not at.exchange.links

    run(test)


def test_other_methods_on_the_call_path() -> None:
    async def test() -> None:
        async with site() as at:
            status, headers, _ = await at.request("POST", CALL, at.signed("call-1"), body=b"{}")
            assert (status, headers["allow"]) == (405, "GET")
            status, headers, _ = await at.request("GET", CALL, at.signed("call-1"))
            assert (status, headers["upgrade"]) == (426, "websocket")

    run(test)


STAMP = "1700000000000"


@pytest.mark.parametrize(
    ("stamp", "signature", "reason"),
    [
        (None, None, "signature-missing"),
        (STAMP, None, "signature-missing"),
        ("", "", "signature-missing"),
        ("NaN", "0" * 64, "signature-malformed"),
        ("1" + "0" * 30, "0" * 64, "signature-malformed"),
        ("-1700000000000", "0" * 64, "signature-malformed"),
        ("0x18bcfe56800", "0" * 64, "signature-malformed"),
        ("17e11", "0" * 64, "signature-malformed"),
        ("１７０００００００００００", "0" * 64, "signature-malformed"),
        (STAMP, "é" * 64, "signature-malformed"),
        (STAMP, "00", "signature-malformed"),
        (STAMP, "0" * 64, "signature-mismatch"),
    ],
)
def test_bad_signatures_are_401_with_one_body(
    stamp: str | None, signature: str | None, reason: str
) -> None:
    async def test() -> None:
        async with site(clock=ManualClock()) as at:
            headers = {"X-StandIn-Timestamp": stamp, "X-StandIn-Signature": signature}
            sent = {name: value for name, value in headers.items() if value is not None}
            status, _, body = await at.request("GET", CALL, sent, upgrade=True)
            assert (status, body) == (401, b'{"error":"unauthorized"}')
            assert at.bridge.refusals == {reason: 1}
            assert not at.exchange.links

    run(test)


@pytest.mark.parametrize(
    ("offset", "status"), [(-60_000, 101), (-60_001, 401), (60_000, 101), (60_001, 401)]
)
def test_the_window_is_inclusive_on_both_sides(offset: int, status: int) -> None:
    async def test() -> None:
        async with site(clock=ManualClock()) as at:
            assert await upgrade(at, CALL, at.signed("call-1", at=offset)) == status

    run(test)


def test_a_replay_is_refused_up_to_the_end_of_the_window() -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            headers = at.signed("call-1", at=60_000)
            assert await upgrade(at, CALL, headers) == 101
            assert await upgrade(at, CALL, headers) == 401
            clock.advance(120)  # exactly the signing time and the window
            loud = {name: f" {value.upper()} " for name, value in headers.items()}
            assert await upgrade(at, CALL, loud) == 401
            assert at.bridge.refusals == {"replayed": 2}

    run(test)


def test_both_pairs_of_an_upgrade_are_spent() -> None:
    async def test() -> None:
        async with site() as at:
            today = at.signed("call-1", generations=(TODAY,))
            old = at.signed("call-1", at=-5, generations=(GENERATION_1,))
            assert await upgrade(at, CALL, today | old) == 101
            assert await upgrade(at, CALL, old) == 401
            assert await upgrade(at, CALL, today) == 401

    run(test)


def test_concurrent_twins_one_is_admitted() -> None:
    async def test() -> None:
        async with site() as at:
            headers = at.signed("call-1")
            statuses = await asyncio.gather(*(upgrade(at, CALL, headers) for _ in range(8)))
            assert sorted(statuses) == [101] + [401] * 7

    run(test)


@pytest.mark.parametrize("why", ["draining", "capacity", "address-capacity"])
def test_a_503_burns_nothing(why: Unavailable) -> None:
    async def test() -> None:
        async with site() as at:
            headers = at.signed("call-1")
            at.exchange.full = why
            status, answer, _ = await at.request("GET", CALL, headers, upgrade=True)
            assert status == 503
            assert int(answer["retry-after"]) > 0
            at.exchange.full = None
            assert await upgrade(at, CALL, headers) == 101
            assert at.bridge.refusals == {why: 1}

    run(test)


def test_a_bad_handshake_burns_nothing_either() -> None:
    async def test() -> None:
        async with site() as at:
            headers = at.signed("call-1")
            bad = headers | {"Sec-WebSocket-Key": "again"}
            assert await upgrade(at, CALL, bad) == 400
            assert at.exchange.live == set()
            assert await upgrade(at, CALL, headers) == 101

    run(test)


def test_standin_sockets_are_capped_per_address_and_in_all() -> None:
    async def test() -> None:
        config = make_config(max_connections=2, max_connections_per_address=1)
        async with site(config) as at:
            first = await at.dial_standin("call-1")
            assert await upgrade(at, "/msteams/calling/c2", at.signed("c2")) == 503
            assert at.bridge.refusals == {"address-capacity": 1}
            await first.close()

    run(test)


def test_a_live_call_keeps_its_socket() -> None:
    async def test() -> None:
        async with site() as at:
            first = await at.dial_standin("call-1")
            assert await upgrade(at, CALL, at.signed("call-1", at=1)) == 409
            assert at.exchange.gone == []
            await first.close()

    run(test)


def test_both_dialects_share_a_port() -> None:
    async def test() -> None:
        async with site() as spare:
            port = spare.port("csharp")
        config = make_config(serve={"port": port}, port=port)
        async with site(config) as at:
            (only,) = at.listening
            assert only.dialects == ("csharp", "standin")
            assert only.urls == (
                f"ws://127.0.0.1:{port}/teams-call/stream",
                f"ws://127.0.0.1:{port}/msteams/calling",
                f"ws://127.0.0.1:{port}/voice/msteams/stream",
            )
            assert await upgrade(at, PATH, {"X-Bridge-Secret": SECRET}) == 101
            assert await upgrade(at, CALL, at.signed("call-1")) == 101
            assert at.exchange.call_ids == [None, "call-1"]

    run(test)


# --- outcomes -------------------------------------------------------------------------

OUTCOME = "/msteams/calling/outcome/call-1"


@pytest.mark.parametrize("which", ["v1", "v2", "both"])
def test_an_outcome_reaches_the_calls(which: Any) -> None:
    async def test() -> None:
        async with site() as at:
            body = b'{"outcome":"no-answer","more":1}'
            headers = dict(
                control_headers(
                    STANDIN_SECRET.encode(),
                    at.clock.wall_ms(),
                    "POST",
                    OUTCOME,
                    body,
                    "call-1",
                    which,
                )
            )
            status, _, _ = await at.request("POST", OUTCOME, headers, body=body)
            assert status == 200
            assert at.exchange.outcomes == [("call-1", "no-answer")]

    run(test)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"outcome":"eaten"}', 200),
        (b"{}", 400),
        (b"[]", 400),
        (b'{"outcome":1}', 400),
        (b"\xff", 400),
        (b"[" * 8000, 400),
        (b" " * 8193, 413),
    ],
)
def test_outcome_bodies(body: bytes, status: int) -> None:
    async def test() -> None:
        async with site() as at:
            got, _, _ = await at.request("POST", OUTCOME, at.signed("call-1"), body=body)
            assert got == status
            assert at.exchange.outcomes == []

    run(test)


def test_a_chunked_outcome_is_capped_while_it_is_read() -> None:
    async def test() -> None:
        async with site() as at:
            head = f"POST {OUTCOME} HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
            status, _, _ = parse(
                await at.raw(head.encode() + (b"400\r\n" + b" " * 1024 + b"\r\n") * 9)
            )
            assert status == 413

    run(test)


def test_outcome_signatures_and_methods() -> None:
    async def test() -> None:
        async with site() as at:
            body = b'{"outcome":"busy"}'
            status, _, _ = await at.request("POST", OUTCOME, {}, body=body)
            assert status == 401
            wrong_v2 = at.signed("call-1") | {"X-StandIn-Signature-V2": "0" * 64}
            status, _, _ = await at.request("POST", OUTCOME, wrong_v2, body=body)
            assert status == 401
            status, headers, _ = await at.request("GET", OUTCOME, at.signed("call-1"))
            assert (status, headers["allow"]) == (405, "POST")
            assert at.exchange.outcomes == []

    run(test)


def test_expect_100_continue() -> None:
    async def test() -> None:
        async with site() as at:
            body = b'{"outcome":"busy"}'
            lines = [f"POST {OUTCOME} HTTP/1.1", "Host: b", "Expect: 100-continue"]
            lines += [f"{name}: {value}" for name, value in at.signed("call-1").items()]
            lines.append(f"Content-Length: {len(body)}")
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port("standin"))
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            writer.write(body)
            status, _, _ = parse(await reader.read())
            await close(writer)
            assert status == 200

    run(test)


# --- what an operator reads -----------------------------------------------------------


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {
        name: getattr(record, name)
        for name in ("reason", "address", "callId", "detail", "status", "count")
        if hasattr(record, name)
    }


def test_a_refusal_is_one_line_in_operator_words(log: list[logging.LogRecord]) -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            await at.request("GET", CALL, at.signed("call-1", at=-75_000), upgrade=True)
            newline = at.signed("call-1", secret=STANDIN_SECRET + "\n")
            await at.request("GET", CALL, newline, upgrade=True)
            await at.request(
                "GET", PATH, {"X-Bridge-Secret": SECRET.upper()}, dialect="csharp", upgrade=True
            )
            await at.request("GET", "/msteams/calling/%1b%5b31m", {}, upgrade=True)
            await at.request("GET", "/wrong", {}, upgrade=True)

    run(test)
    lines = [fields(record) for record in log if record.msg == "Refused"]
    assert [line["reason"] for line in lines] == [
        "signature-stale",
        "signature-mismatch",
        "secret-mismatch",
        "bad-call-id",
        "wrong-path",
    ]
    assert "75 s behind" in lines[0]["detail"]
    assert "plus a trailing newline" in lines[1]["detail"]
    assert "upper case" in lines[2]["detail"]
    assert "/msteams/calling/{callId}" in lines[4]["detail"]
    assert all(line["address"].startswith("127.0.0.1:") for line in lines)
    signature = sign_v1(STANDIN_SECRET.encode(), str(clock.wall_ms()), "call-1")
    everything = " ".join(repr(record.__dict__) for record in log)
    for secret in (SECRET, SECRET.upper(), STANDIN_SECRET, signature, "\x1b"):
        assert secret not in everything


def test_the_log_of_a_flood_is_bounded(log: list[logging.LogRecord]) -> None:
    clock = ManualClock()

    async def test() -> None:
        async with site(clock=clock) as at:
            for _ in range(40):
                await at.request("GET", "/wrong", {})
            clock.advance(11)
            await asyncio.sleep(0.25)  # a tick sums them up
            assert at.bridge.refusals == {"wrong-path": 40}

    run(test)
    assert [record.msg for record in log].count("Refused") == 5
    (summary,) = [record for record in log if record.msg.startswith("Refused more")]
    assert fields(summary)["count"] == 35
