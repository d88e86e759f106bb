"""`teamscall serve` as a process: start-up, both dialects, drain, and what it logs."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bridge_rig import (
    BRIDGE_SECRET,
    STANDIN_SECRET,
    Served,
    log_lines,
    ports,
    served,
    standin_headers,
)
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from teamscall.journal import readers

FRAME = bytes(range(256)) * 2 + bytes(128)
SPOKEN = "the caller's own words"


def frame(number: int) -> bytes:
    """A frame that no other is equal to."""
    return number.to_bytes(4, "little") + FRAME[4:]


def test_an_echo_comes_back_identical_in_both_dialects(tmp_path: Path) -> None:
    async def standin(url: str) -> list[bytes]:
        headers = standin_headers("call-1")
        async with connect(f"{url}/call-1", additional_headers=headers) as socket:
            start = {"type": "session.start", "callId": "call-1", "recordingStatus": "active",
                     "caller": {"aadId": "u", "tenantId": "t", "displayName": "Ann"}}  # fmt: skip
            await socket.send(json.dumps(start))
            for number in range(20):
                data = base64.b64encode(frame(number)).decode()
                message = {"type": "audio.frame", "seq": number, "timestampMs": number * 20,
                           "payloadBase64": data}  # fmt: skip
                await socket.send(json.dumps(message))
            return await collect(socket, "audio.frame", "payloadBase64", 20)

    async def csharp(url: str) -> list[bytes]:
        async with connect(url, additional_headers={"X-Bridge-Secret": BRIDGE_SECRET}) as socket:
            who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
            ask = {"type": "auth_request", "callId": "c-1", "correlationId": "k", "metadata": who}
            await socket.send(json.dumps(ask))
            answer = json.loads(await socket.recv())
            assert answer["type"] == "auth_response"
            assert answer["authorized"] is True
            assert abs(answer["timestamp"] - time.time() * 1000) < 5000
            start = {"type": "session_start", "callId": "c-1", "direction": "inbound",
                     "metadata": who}  # fmt: skip
            await socket.send(json.dumps(start))
            for number in range(20):
                data = base64.b64encode(frame(number)).decode()
                message = {"type": "audio_in", "callId": "c-1", "seq": number, "data": data}
                await socket.send(json.dumps(message))
            return await collect(socket, "audio_out", "data", 20)

    async def collect(socket: object, kind: str, field: str, count: int) -> list[bytes]:
        back: list[bytes] = []
        async with asyncio.timeout(20):
            while len(back) < count:
                message = json.loads(await socket.recv())  # type: ignore[attr-defined]
                if message["type"] == kind:
                    assert message["seq"] == len(back)
                    back.append(base64.b64decode(message[field]))
        return back

    async def both(csharp_url: str, standin_url: str) -> list[list[bytes]]:
        return list(await asyncio.gather(csharp(csharp_url), standin(standin_url)))

    with served(tmp_path, "--engine", "echo") as bridge:
        sent = [frame(number) for number in range(20)]
        assert asyncio.run(both(*ports(bridge))) == [sent, sent]
        assert bridge.stop() == 0
        assert "Stopped" in bridge.text


def standin_call(bridge: Served, then: object) -> None:
    """A StandIn call that is up; ``then(socket)`` goes on with it."""

    async def run() -> None:
        url = ports(bridge)[1]
        async with connect(f"{url}/c", additional_headers=standin_headers("c")) as socket:
            start = {"type": "session.start", "callId": "c", "recordingStatus": "active",
                     "caller": {"aadId": "u", "tenantId": "t"}}  # fmt: skip
            await socket.send(json.dumps(start))
            await asyncio.to_thread(bridge.wait_for, "Call started")
            await then(socket)  # type: ignore[operator]

    asyncio.run(run())


def test_sigterm_says_server_shutdown_and_closes_with_1001(tmp_path: Path) -> None:
    seen: list[object] = []

    async def then(socket: object) -> None:
        bridge.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(20):
                while True:
                    seen.append(json.loads(await socket.recv()))  # type: ignore[attr-defined]
        except ConnectionClosed as closed:
            seen.append(closed.rcvd.code if closed.rcvd is not None else None)

    with served(tmp_path, "--engine", "echo", "--set", "shutdown.drain_seconds=1") as bridge:
        standin_call(bridge, then)
        assert bridge.process.wait(20) == 0
    assert seen[-2:] == [{"type": "session.end", "reason": "server-shutdown"}, 1001]


def test_a_second_signal_exits_at_once(tmp_path: Path) -> None:
    async def then(_: object) -> None:
        bridge.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(bridge.wait_for, "Draining")
        bridge.process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(bridge.process.wait, 20)
        assert code == 128 + signal.SIGTERM

    with served(tmp_path, "--engine", "echo", "--set", "shutdown.drain_seconds=300") as bridge:
        standin_call(bridge, then)


def test_a_new_call_is_refused_while_draining(tmp_path: Path) -> None:
    async def then(_: object) -> None:
        bridge.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(bridge.wait_for, "Draining")
        url = ports(bridge)[1].replace("ws://", "http://").removesuffix("/msteams/calling")
        done = await asyncio.to_thread(http, url + "/readyz")
        assert done[0] == 503
        assert done[1]["draining"] is True

    with served(tmp_path, "--engine", "echo", "--set", "shutdown.drain_seconds=30") as bridge:
        standin_call(bridge, then)


def http(url: str) -> tuple[int, dict[str, object]]:
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_every_log_line_is_json_and_none_has_a_secret_or_what_was_said(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text(f'[[line]]\nheard = "{SPOKEN}"\nanswer = "an answer nobody logs"\n')

    async def then(socket: object) -> None:
        say = {"type": "assistant.say", "text": "spoken by order"}
        await socket.send(json.dumps(say))  # type: ignore[attr-defined]
        await socket.send(json.dumps({"type": "dtmf", "digit": "7"}))  # type: ignore[attr-defined]
        await socket.send("not json at all \x1b[31m")  # type: ignore[attr-defined]
        await asyncio.to_thread(bridge.wait_for, "Turn over")
        await socket.send(json.dumps({"type": "session.end", "reason": "x\x1b[2J"}))  # type: ignore[attr-defined]
        await asyncio.to_thread(bridge.wait_for, "Call ended")

    with served(tmp_path, "--engine", "scripted", "--set", f"scripted.path={script}") as bridge:
        standin_call(bridge, then)
        assert bridge.stop() == 0
        lines = log_lines(bridge)
    about_the_call = [line for line in lines if line["logger"] == "teamscall.call"]
    assert about_the_call
    assert all(line["callId"] == "c" for line in about_the_call)
    for secret in (BRIDGE_SECRET, STANDIN_SECRET, SPOKEN, "spoken by order", "nobody logs", "\x1b"):
        assert secret not in bridge.text
    calls = list(readers.calls(tmp_path / "journal.sqlite3"))
    assert [call.call_id for call in calls] == ["c"]


def test_a_taken_port_is_one_sentence_and_exit_code_4(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with served(tmp_path, "--engine", "echo", "--port", str(port)) as bridge:
            assert bridge.process.wait(60) == 4
            assert str(port) in bridge.wait_for("teamscall: .*").group(0)
            assert "Traceback" not in bridge.text


def test_wrong_configuration_is_all_problems_and_exit_code_3(tmp_path: Path) -> None:
    file = tmp_path / "teamscall.toml"
    file.write_text('[serve]\nprot = 1\n[tts]\nspeed = 9\n[authorization]\nmode = "opne"\n')
    done = subprocess.run(
        [sys.executable, "-m", "teamscall", "serve", "--config", str(file)],
        capture_output=True, text=True, timeout=60, check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")},
    )  # fmt: skip
    assert done.returncode == 3
    for words in ("serve.prot", "serve.port", "tts.speed", "authorization.mode", "bridge.secret"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs Unix sockets")
def test_systemd_is_told_ready_and_stopping(tmp_path: Path) -> None:
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(address))
        notify.settimeout(60)
        env = {"NOTIFY_SOCKET": str(address)}
        with served(tmp_path, "--engine", "echo", env=env) as bridge:
            assert notify.recv(100) == b"READY=1"
            assert bridge.stop() == 0
            assert notify.recv(100) == b"STOPPING=1"


def test_a_killed_bridge_leaves_a_journal_that_says_interrupted(tmp_path: Path) -> None:
    async def then(_: object) -> None:
        deadline = time.monotonic() + 20
        while not list(readers.calls(tmp_path / "journal.sqlite3")):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        bridge.process.kill()

    with served(tmp_path, "--engine", "echo") as bridge:
        standin_call(bridge, then)
        bridge.process.wait(20)
    with served(tmp_path, "--engine", "echo") as bridge:
        ports(bridge)
        assert bridge.stop() == 0
    [call] = readers.calls(tmp_path / "journal.sqlite3")
    assert call.reason == "interrupted"
