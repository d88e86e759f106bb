"""Requests to a far side: who is let in, and a door that nobody can block."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.emulator.control_endpoint import (
    WINDOW_MS,
    AskHealth,
    Cancel,
    Place,
    Refusal,
    Wish,
    read_csharp,
    read_standin,
)
from teamscall.emulator.dial import Target
from teamscall.emulator.door import MAX_CONNECTIONS, Answer, Door, Request
from teamscall.emulator.outcome import outcome_url
from teamscall.wire.signature import control_headers, sign_v1, sign_v2

NOW = 1_700_000_000_000
SECRET = b"sec"
BODY = b'{"userObjectId":"u1","tenantId":"tenant-A"}'


def asked(
    method: str = "POST",
    target: str = "/api/calls",
    body: bytes = BODY,
    headers: Mapping[str, str] | None = None,
) -> Request:
    lower = {name.lower(): value.encode("latin-1") for name, value in (headers or {}).items()}
    return Request(method, target, lower, body, "127.0.0.1")


def signed(
    method: str = "POST",
    target: str = "/api/calls",
    body: bytes = BODY,
    subject: str = "u1",
    *,
    which: str = "v2",
    secret: bytes = SECRET,
    at: int = NOW,
) -> Request:
    headers = control_headers(secret, at, method, target, body, subject, which)  # type: ignore[arg-type]
    return asked(method, target, body, dict(headers))


def status(wish: Wish) -> int:
    assert isinstance(wish, Refusal), wish
    return wish.answer.status


@pytest.mark.parametrize("which", ["v2", "v1", "both"])
def test_a_signed_request_places_and_cancels(which: str) -> None:
    assert read_standin(signed(which=which), SECRET, NOW) == Place("user", "u1", "tenant-A")
    cancel = signed("DELETE", "/api/calls/a%20b", b"", "a b", which=which)
    assert read_standin(cancel, SECRET, NOW) == Cancel("a b")


def test_the_documents_vectors_are_those_that_are_checked() -> None:
    body = b'{"UserObjectId":"u1","TenantId":"tenant-A"}'
    vector = "269b10f137bd1df14cdd87608e0f94aa638f5624b5fc98f3f5c895c588853722"
    assert sign_v2(SECRET, str(NOW), "POST", "/api/calls", body) == vector
    headers = {"X-StandIn-Timestamp": str(NOW), "X-StandIn-Signature-V2": vector}
    # Signed rightly; but the names of its fields are not the document's.
    assert status(read_standin(asked(body=body, headers=headers), SECRET, NOW)) == 400
    assert status(read_standin(asked(headers=headers), SECRET, NOW)) == 401


@pytest.mark.parametrize("which", ["v2", "v1", "both"])
@pytest.mark.parametrize(("off", "ok"), [(WINDOW_MS, True), (WINDOW_MS + 1, False)])
def test_the_window_has_sixty_seconds_on_both_sides(which: str, off: int, ok: bool) -> None:
    for now in (NOW - off, NOW + off):
        wish = read_standin(signed(which=which), SECRET, now)
        assert isinstance(wish, Place) == ok
        if not ok:
            assert status(wish) == 401
            assert isinstance(wish, Refusal)
            assert "clock" in wish.why


def test_a_version_2_signature_that_is_there_must_verify() -> None:
    request = signed(which="both")
    headers = {**request.headers, "x-standin-signature-v2": b"0" * 64}
    assert status(read_standin(asked_raw(request, headers), SECRET, NOW)) == 401
    # Version 1 does not cover the tenant; version 2 does.
    other = BODY.replace(b"tenant-A", b"tenant-B")
    v1 = signed(which="v1")
    assert read_standin(Request("POST", "/api/calls", v1.headers, other), SECRET, NOW) == Place(
        "user", "u1", "tenant-B"
    )
    v2 = signed(which="v2")
    assert (
        status(read_standin(Request("POST", "/api/calls", v2.headers, other), SECRET, NOW)) == 401
    )


def asked_raw(request: Request, headers: Mapping[str, bytes]) -> Request:
    return Request(request.method, request.target, headers, request.body, request.peer)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (asked(), 401),
        (asked(body=b"{"), 401),
        (signed(body=b"{"), 400),
        (signed(body=b"{", which="v1"), 400),
        (signed(body=b'{"userObjectId":" ","tenantId":"t"}'), 400),
        (signed(body=b'{"userObjectId":"u1"}'), 400),
        (signed(secret=b"other"), 401),
        (signed("GET"), 405),
        (signed(target="/api/call"), 404),
        (signed("DELETE", "/api/calls/", b"", ""), 404),
        (signed("DELETE", "/api/calls/a/b", b"", "a/b"), 404),
        (signed("DELETE", "/api/calls/%00", b"", "\0"), 400),
        (signed("GET", "/api/calls/a", b"", "a"), 405),
        (signed("DELETE", "/api/calls/a", b"", "b", which="v1"), 401),
    ],
)
def test_what_is_not_a_request_of_a_bridge_is_refused(request_: Request, expected: int) -> None:
    assert status(read_standin(request_, SECRET, NOW)) == expected


def test_an_operator_reads_why_and_never_the_secret() -> None:
    wish = read_standin(signed(which="v1", secret=b"sec\n"), SECRET, NOW)
    assert isinstance(wish, Refusal)
    assert "trailing newline" in wish.why
    assert sign_v1(SECRET, str(NOW), "u1") not in wish.why
    hostile = asked("DELETE", "/api/calls/\x1b[2J" + "x" * 500)
    wish = read_standin(hostile, SECRET, NOW)
    assert isinstance(wish, Refusal)
    assert "\x1b" not in wish.why
    assert len(wish.why) < 300


def test_the_csharp_control_plane() -> None:
    key = {"X-Bridge-Secret": "sec"}
    user = b'{"target":{"type":"user","userId":"u1"},"message":"Hi"}'
    phone = b'{"target":{"type":"phone","number":"+4930"}}'
    path = "/control/initiateCall"
    assert read_csharp(asked("POST", path, user, key), SECRET) == Place("user", "u1", "", "Hi")
    assert read_csharp(asked("POST", path, phone, key), SECRET) == Place("phone", "+4930")
    assert read_csharp(asked("GET", "/health", b"", key), SECRET) == AskHealth()
    hang_up = asked("POST", "/control/hangup", b'{"callId":"c-1"}', key)
    assert read_csharp(hang_up, SECRET) == Cancel("c-1")
    for request, expected in (
        (asked("POST", path, user), 401),
        (asked("GET", "/health", b"", {"X-Bridge-Secret": "s\xe9c"}), 401),
        (asked("POST", path, b'{"target":{"type":"robot"}}', key), 400),
        (asked("POST", path, b'{"target":{"type":"user","userId":""}}', key), 400),
        (asked("POST", "/control/hangup", b'{"callId":"a b"}', key), 400),
        (asked("GET", path, b"", key), 405),
        (asked("POST", "/control", b"", key), 404),
    ):
        assert status(read_csharp(request, SECRET)) == expected


@given(
    st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    st.text(alphabet=st.characters(max_codepoint=255), max_size=40),
    st.dictionaries(
        st.sampled_from(
            ["x-standin-timestamp", "x-standin-signature", "x-standin-signature-v2",
             "x-bridge-secret", "x-openclawteamsbridge-signature"]
        ),
        st.binary(max_size=70),
    ),
    st.binary(max_size=80),
)  # fmt: skip
def test_nothing_that_a_peer_sends_is_let_in_or_raises(
    method: str, tail: str, headers: dict[str, bytes], body: bytes
) -> None:
    for path in ("/api/calls", "/api/calls/", "/control/", "/health", ""):
        request = Request(method, path + tail, headers, body)
        assert isinstance(read_standin(request, b"a secret", NOW), Refusal)
        assert isinstance(read_csharp(request, b"a secret"), Refusal) or (
            headers.get("x-bridge-secret") == b"a secret"
        )


def test_the_outcome_goes_beside_the_calls_own_path() -> None:
    today = Target("wss://bot.example.com:9442/msteams/calling/a%20b", "a b")
    assert outcome_url(today) == "https://bot.example.com:9442/msteams/calling/outcome/a%20b"
    first = Target("ws://127.0.0.1:9442/voice/msteams/stream/c", "c")
    assert outcome_url(first) == "http://127.0.0.1:9442/voice/msteams/stream/outcome/c"


# --- the door -----------------------------------------------------------------------------


def knock(*texts: bytes) -> list[bytes]:
    """What each of these connections is answered, all at once; the door echoes bodies."""

    async def answer(request: Request) -> Answer:
        said = {"method": request.method, "target": request.target, "size": len(request.body)}
        return Answer(200, json.dumps(said).encode())

    async def one(door: Door, text: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*door.address)
        try:
            writer.write(text)
            await writer.drain()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def main() -> list[bytes]:
        door = Door(answer)
        await door.open("127.0.0.1", 0)
        try:
            async with asyncio.timeout(20):
                return await asyncio.gather(*(one(door, text) for text in texts))
        finally:
            await door.close()
            assert not door._tasks

    return asyncio.run(main())


def test_a_request_is_answered_once_and_the_connection_closed() -> None:
    head = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    (said,) = knock(head + b"abc")
    assert b"HTTP/1.1 200 OK" in said
    assert b'{"method": "POST", "target": "/a?b", "size": 3}' in said


def test_what_is_no_request_is_refused_and_what_is_too_large() -> None:
    host = b"HTTP/1.1\r\nHost: x\r\n"
    answers = knock(
        b"nonsense\r\n\r\n",
        b"GET / " + host + b"X: " + b"a" * 60_000 + b"\r\n\r\n",
        b"POST / " + host + b"Content-Length: 70000\r\n\r\n" + b"a" * 70_000,
        b"GET / " + host + b"Content-Length: x\r\n\r\n",
    )
    statuses = [answer.partition(b" ")[2][:3] for answer in answers]
    assert statuses[0] == b"400"
    assert statuses[1] == b"431"
    assert statuses[2] in (b"413", b"")  # or reset, as it was still being sent
    assert statuses[3] == b"400"


def test_connections_that_say_nothing_do_not_shut_the_door() -> None:
    async def main() -> None:
        async def answer(_: Request) -> Answer:
            return Answer(204)

        door = Door(answer)
        await door.open("127.0.0.1", 0)
        mute = [await asyncio.open_connection(*door.address) for _ in range(MAX_CONNECTIONS)]
        reader, writer = await asyncio.open_connection(*door.address)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        mute.pop()[1].close()
        for _ in range(500):  # until it has noticed
            again = await asyncio.open_connection(*door.address)
            again[1].write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            line = await again[0].readline()
            again[1].close()
            if line.startswith(b"HTTP/1.1 204"):
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the door stayed shut")
        await door.close()
        for _, one in (*mute, (reader, writer)):
            one.close()

    asyncio.run(main())
