"""Addresses, credentials, and refusals in plain words."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import struct
from pathlib import Path
from typing import Any

import pytest
from emulator_rig import SECRET, Bridge
from hypothesis import given
from hypothesis import strategies as st

from teamscall.emulator.dial import aim, headers, open_socket, shown
from teamscall.emulator.picture import read_video
from teamscall.emulator.plan import Dial, Generation
from teamscall.errors import DialError, HandshakeRefused, InputError
from teamscall.wire.events import Dialect


@pytest.mark.parametrize(
    ("url", "call_id", "expected"),
    [
        ("ws://h:1", "a/b".replace("/", "?"), "ws://h:1/msteams/calling/a%3Fb"),
        ("h:1", "x", "ws://h:1/msteams/calling/x"),
        ("https://h/", "x", "wss://h/msteams/calling/x"),
        ("ws://h:1/msteams/calling", "é x", "ws://h:1/msteams/calling/%C3%A9%20x"),
        ("ws://h:1/msteams/calling/", "x", "ws://h:1/msteams/calling/x"),
        ("ws://h:1/msteams/calling/x", "x", "ws://h:1/msteams/calling/x"),
        ("ws://h:1/msteams/calling/x%20y", "", "ws://h:1/msteams/calling/x%20y"),
        ("ws://h:1/own/path", "x", "ws://h:1/own/path/x"),
        ("ws://[::1]:9442?q=1", "x", "ws://[::1]:9442/msteams/calling/x"),
    ],
)
def test_standin_addresses(url: str, call_id: str, expected: str) -> None:
    assert aim(Dial(url, b"s", call_id=call_id)).url == expected


def test_generation_one_has_its_own_path() -> None:
    target = aim(Dial("h:1", b"s", generation="1", call_id="x"))
    assert target.url == "ws://h:1/voice/msteams/stream/x"


def test_a_call_id_in_the_url_is_the_call_id() -> None:
    assert aim(Dial("ws://h/voice/msteams/stream/a%20b", b"s")).call_id == "a b"


def test_csharp_addresses_and_call_ids() -> None:
    assert aim(Dial("h:1", b"s", "csharp")).url == "ws://h:1/teams-call/stream"
    assert aim(Dial("ws://h/x?y=1", b"s", "csharp")).url == "ws://h/x?y=1"
    with pytest.raises(InputError):
        aim(Dial("h", b"s", "csharp", call_id="a b"))


@pytest.mark.parametrize("url", ["", "ftp://h", "ws://", "ws://h:port", "ws://[::1", "://"])
def test_what_is_no_address_is_one_sentence(url: str) -> None:
    with pytest.raises(InputError, match="not an address"):
        aim(Dial(url, b"s"))


@pytest.mark.parametrize("call_id", ["a/b", "a\nb", "x" * 257, "\x1b"])
def test_what_is_no_call_id_is_refused_before_dialling(call_id: str) -> None:
    with pytest.raises(InputError):
        aim(Dial("h", b"s", call_id=call_id))


@given(st.text(max_size=60), st.text(max_size=20), st.sampled_from(["standin", "csharp"]))
def test_no_address_and_no_call_id_does_anything_but_work_or_say_why(
    url: str, call_id: str, dialect: Dialect
) -> None:
    try:
        target = aim(Dial(url, b"s", dialect, call_id=call_id))
    except InputError:
        return
    assert target.url.startswith(("ws://", "wss://"))
    assert target.call_id


@pytest.mark.parametrize(("generation", "pairs"), [("both", 2), ("today", 1), ("1", 1)])
def test_standin_signs_timestamp_and_decoded_call_id(generation: Generation, pairs: int) -> None:
    sent = headers(Dial("h", b"peer-secret", generation=generation), "a b", 1735689600000)
    expected = hmac.new(b"peer-secret", b"1735689600000.a b", hashlib.sha256).hexdigest()
    assert [v for n, v in sent if n.endswith("Signature")] == [expected] * pairs
    names = " ".join(n for n, _ in sent)
    assert ("X-StandIn-" in names) == (generation != "1")
    assert ("X-OpenClawTeamsBridge-" in names) == (generation != "today")


def test_a_secret_that_no_header_can_carry_is_named_and_not_shown() -> None:
    with pytest.raises(InputError) as caught:
        headers(Dial("h", b"hush-hush\n", "csharp"), "x", 0)
    assert "hush" not in str(caught.value)
    with pytest.raises(InputError, match="no secret"):
        headers(Dial("h", b""), "x", 0)


def test_the_secret_is_in_no_repr() -> None:
    dial = Dial("h", b"hush-hush")
    assert "hush" not in repr(dial)
    assert "hush" not in repr(dial.__rich_repr__())


def refusal(status: int, dialect: Dialect = "standin", **quirks: Any) -> HandshakeRefused:
    async def main() -> HandshakeRefused:
        async with Bridge(dialect, refuse=status, **quirks).listening() as bridge:
            dial = Dial(bridge.url, SECRET, dialect)
            with pytest.raises(HandshakeRefused) as caught:
                await open_socket(dial, aim(dial), 0)
            assert len(bridge.paths) == 1
            return caught.value

    return asyncio.run(main())


@pytest.mark.parametrize("status", [400, 401, 404, 405, 409, 426, 429, 500, 503, 200])
def test_every_refusal_has_its_status_words_and_a_hint(status: int) -> None:
    error = refusal(status, words="sorry \x1b[31m")
    assert error.status == status
    assert str(status) in error.message
    assert "sorry" in error.message
    assert "\x1b" not in str(error)
    assert error.hint
    assert ("7 s" in error.hint) == (status in (429, 503))


def test_the_hint_for_401_fits_the_dialect() -> None:
    assert "clock" in refusal(401).hint
    assert "bridge.secret" in refusal(401, "csharp").hint


def test_a_redirect_is_not_followed_with_the_secret_in_hand() -> None:
    error = refusal(302, "csharp", location="ws://elsewhere.example/")
    assert "elsewhere.example" in error.message


def test_nothing_there_and_no_websocket_there_are_dial_errors() -> None:
    async def main() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"220 mail ready\r\n\r\n")
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(deaf, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        dial = Dial(f"127.0.0.1:{port}", SECRET)
        async with server:
            with pytest.raises(DialError, match="not with a WebSocket handshake"):
                await open_socket(dial, aim(dial), 0)
            tls = Dial(f"wss://127.0.0.1:{port}", SECRET, open_timeout_s=0.3)
            with pytest.raises(DialError):
                await open_socket(tls, aim(tls), 0)
        with pytest.raises(DialError, match="Nothing can be reached"):
            await open_socket(dial, aim(dial), 0)

    asyncio.run(main())


def test_pictures_are_measured(tmp_path: Path) -> None:
    png = tmp_path / "a.png"
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR"
    png.write_bytes(head + struct.pack(">II", 640, 360) + b"\x08\x02")
    video = read_video(png)
    assert (video.mime, video.width, video.height) == ("image/png", 640, 360)
    jpeg = tmp_path / "a.jpg"
    jpeg.write_bytes(
        b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", 480, 800)
    )
    video = read_video(jpeg, source="screenshare")
    assert (video.mime, video.width, video.height) == ("image/jpeg", 800, 480)


@given(st.binary(max_size=80))
def test_what_is_no_picture_is_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "picture"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_video(path)
    path.write_bytes(b"\xff\xd8" + data)
    with contextlib.suppress(InputError):
        read_video(path)


def test_a_password_in_an_address_is_not_shown() -> None:
    assert shown("ws://me:hush@h:1/p?q=a@b") == "ws://h:1/p?q=a@b"
    with pytest.raises(InputError) as caught:
        aim(Dial("ftp://me:hush@h", b"s"))
    assert "hush" not in str(caught.value)
