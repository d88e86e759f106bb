"""The one-shot commands against real bridges: exit codes, kill -9, twenty at once."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bridge_rig import BRIDGE_SECRET, Served, ports, served
from door_rig import run, short_folder, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, unix_serve

from teamscall.cli.asking import complete_call
from teamscall.errors import ExitCode

COMMAND_S = 60.0
# A command that opened a port would end here.
NO_PORTS = """
import os, socket
def listen(self, *_):
    os.write(2, b"OPENED A PORT\\n")
    os._exit(99)
socket.socket.listen = listen
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as made:
        yield made


def environment(folder: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")}
    (folder / "sitecustomize.py").write_text(NO_PORTS)
    root = str(Path(__file__).resolve().parents[2])
    return clean | {
        "TEAMSCALL_CONTROL_SOCKET": str(folder / "c.sock"),
        "TEAMSCALL_CONFIG": os.devnull,
        "PYTHONPATH": os.pathsep.join([str(folder), root]),
    }


def teamscall(folder: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "teamscall", *words], env=environment(folder), input=stdin,
        capture_output=True, text=True, timeout=COMMAND_S, check=False,
    )  # fmt: skip


async def asked(folder: Path, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "teamscall", *words, env=environment(folder),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(COMMAND_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@contextlib.contextmanager
def a_bridge(folder: Path, *options: str) -> Iterator[Served]:
    env = {"TEAMSCALL_CONTROL_SOCKET": str(folder / "c.sock")}
    with served(folder, "--engine", "echo", *options, env=env) as bridge:
        bridge.wait_for('"Answering"')
        yield bridge


@contextlib.asynccontextmanager
async def a_call(url: str, *call_ids: str) -> AsyncIterator[ClientConnection]:
    async with connect(url, additional_headers={"X-Bridge-Secret": BRIDGE_SECRET}) as link:
        who = {"tenantId": "t", "userId": "u", "teamsCallId": "x", "displayName": "Ann"}
        for call_id in call_ids:
            head = {"callId": call_id, "metadata": who}
            await link.send(json.dumps({"type": "auth_request", "correlationId": "k", **head}))
            assert json.loads(await link.recv())["authorized"] is True
            start = {"type": "session_start", "direction": "inbound", **head}
            await link.send(json.dumps(start))
        yield link


def test_without_a_bridge_every_command_says_so_at_once(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "c.sock"))  # what a kill -9 leaves

    async def work() -> None:
        commands = (
            ("status", "--json"), ("speak", "abcd", "Hello."), ("tail", "--until-end"),
        )  # fmt: skip
        for code, out, err in await asyncio.gather(*(asked(folder, *one) for one in commands)):
            assert (code, out) == (ExitCode.UNAVAILABLE, "")
            sentence, hint = err.splitlines()
            assert sentence == "teamscall: No bridge is running here."
            assert "teamscall serve" in hint

    run(work())


def test_a_bridge_that_never_answers_is_not_waited_for(folder: Path) -> None:
    """It takes the connection, and every question, and that is all."""
    commands = (
        ("status",), ("call", "phone:+493012345"), ("tail",),
    )  # fmt: skip

    async def silent(link: ServerConnection) -> None:
        async for _ in link:
            pass

    async def work() -> None:
        async with unix_serve(silent, str(folder / "c.sock")):
            asking = (asked(folder, *one, "--timeout", "0.5") for one in commands)
            for code, out, err in await asyncio.gather(*asking):
                assert (code, out) == (ExitCode.TIMEOUT, "")
                assert err.splitlines()[0] == "teamscall: The bridge did not answer within 0.5 s."

    run(work())


@pytest.mark.long
def test_arguments_that_are_no_text_are_said_to_be_none(folder: Path) -> None:
    journal = str(folder / "journal.sqlite3")
    commands = (
        ("speak", "a\udcff", "Hello."), ("call", "user:\udcff"),
        ("calls", "show", "a\udcff", "--journal", journal),
    )  # fmt: skip

    async def work() -> None:
        with a_bridge(folder) as bridge:
            url, _ = ports(bridge)
            async with a_call(url, "cafe-1"):  # so that there is a journal
                asking = (asked(folder, *one) for one in commands)
                for code, _, err in await asyncio.gather(*asking):
                    assert code == ExitCode.USAGE, err
                    assert err.startswith("teamscall: ")
                    assert "Traceback" not in err

    run(work())


def test_the_commands_do_and_say_what_they_did(folder: Path) -> None:
    with a_bridge(folder) as bridge:

        async def work() -> None:
            async with a_call(ports(bridge)[0], "cafe-1", "cafe-2"):
                (code, out, _), (page, text, _), (none, _, why) = await asyncio.gather(
                    asked(folder, "status", "--json"),
                    asked(folder, "status"),
                    asked(folder, "status", "cafe"),
                )
                whole = json.loads(out)
                assert (code, whole["version"], whole["bridge"]["slotsFree"]) == (0, 1, 3)
                assert {call["callId"] for call in whole["calls"]} == {"cafe-1", "cafe-2"}
                assert page == 0
                assert "cafe-1" in text
                assert "Ann" in text
                assert (none, "cafe-1, cafe-2" in why) == (ExitCode.USAGE, True)
                said = await asyncio.to_thread(
                    teamscall, folder, "speak", "cafe-2", "--json", stdin="Hello\nyou.\n"
                )
                assert json.loads(said.stdout) == {"version": 1, "callId": "cafe-2", "ok": True}
                (ended, _, _), (off, switch, _), (bad, _, problem) = await asyncio.gather(
                    asked(folder, "end", "cafe-1"),
                    asked(folder, "outbound", "off", "--json"),
                    asked(folder, "speak", "cafe-2", ""),
                )
                assert (ended, off, json.loads(switch)["switchedOn"]) == (0, 0, False)
                assert (bad, "nothing to say" in problem) == (ExitCode.USAGE, True)
                left, counted, _ = await asked(folder, "drain", "--seconds", "0.1", "--json")
                assert (left, json.loads(counted)) == (ExitCode.TIMEOUT, {"version": 1, "calls": 1})

        run(work())
        assert bridge.stop() == 0
        assert not (folder / "c.sock").exists()


def test_a_killed_bridge_blocks_nothing(folder: Path) -> None:
    with a_bridge(folder) as bridge:

        async def killed() -> None:
            async with a_call(ports(bridge)[0], "cafe-1"):
                code, _, _ = await asked(folder, "status", "cafe-1")
                assert code == 0
                bridge.stop(signal.SIGKILL)

        with contextlib.suppress(OSError):
            run(killed())
    assert (folder / "c.sock").is_socket()
    assert teamscall(folder, "status").returncode == ExitCode.UNAVAILABLE
    with a_bridge(folder) as again:

        async def another() -> None:
            async with a_call(ports(again)[0], "cafe-1"):
                code, out, _ = await asked(folder, "status", "--json")
                assert (code, len(json.loads(out)["calls"])) == (0, 1)

        run(another())
        again.stop()
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite3")) as journal:
        reasons = [row[0] for row in journal.execute("SELECT reason FROM calls ORDER BY id")]
    assert reasons[0] == "interrupted"
    assert len(reasons) == 2


@pytest.mark.long
def test_a_switch_that_is_not_written_down_is_said_to_be_lost_with_the_bridge(folder: Path) -> None:
    with a_bridge(folder):
        assert teamscall(folder, "outbound", "off").stderr == ""
        kept = json.loads(teamscall(folder, "outbound", "off", "--json").stdout)
        assert (kept["switchedOn"], kept["kept"]) == (False, True)
    with a_bridge(folder, "--set", "journal.enabled=false"):
        off = teamscall(folder, "outbound", "off")
        assert off.returncode == ExitCode.OK
        assert off.stdout.startswith("Placing calls is off")
        assert "does not outlive a restart" in off.stderr


@pytest.mark.long
def test_two_bridges_never_share_a_journal(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    link = folder / "elsewhere" / "linked.sqlite3"
    link.symlink_to(folder / "journal.sqlite3")
    with a_bridge(folder) as first:
        for path in (folder / "journal.sqlite3", link):
            env = {"TEAMSCALL_JOURNAL_PATH": str(path)}
            with served(folder, "--engine", "echo", env=env) as second:
                assert second.process.wait(COMMAND_S) == ExitCode.UNAVAILABLE
                second._reader.join(COMMAND_S)
            assert f"process {first.process.pid}" in second.text
            assert "journal.path" in second.text
        assert (folder / "journal.sqlite3.lock").stat().st_mode & 0o777 == 0o600
        assert teamscall(folder, "status").returncode == 0
        own = {"TEAMSCALL_JOURNAL_PATH": str(folder / "other.sqlite3")}
        with served(folder, "--engine", "echo", env=own) as other:
            other.wait_for('"Answering"')


@pytest.mark.parametrize("times", [2, pytest.param(4, marks=pytest.mark.load)])
def test_many_commands_at_once_hang_nowhere_and_disturb_no_call(folder: Path, times: int) -> None:
    """Ten; on demand twenty."""
    sent = 0
    back: list[bytes] = []

    def frame(number: int) -> bytes:
        return number.to_bytes(4, "little") * 160

    async def talk(link: ClientConnection) -> None:
        nonlocal sent
        while True:
            data = base64.b64encode(frame(sent)).decode()
            message = {"type": "audio_in", "callId": "cafe-1", "seq": sent, "data": data}
            await link.send(json.dumps(message))
            sent += 1
            await asyncio.sleep(0.02)

    async def listen(link: ClientConnection) -> None:
        async for text in link:
            message: dict[str, Any] = json.loads(text)
            if message["type"] == "audio_out":
                back.append(base64.b64decode(message["data"]))

    with a_bridge(folder) as bridge:

        async def work() -> None:
            commands = [
                ("status",), ("status", "--json"), ("status", "cafe-1"), ("outbound", "status"),
                ("end", "nowhere"),
            ] * times  # fmt: skip
            async with a_call(ports(bridge)[0], "cafe-1") as link, asyncio.TaskGroup() as group:
                tasks = [group.create_task(talk(link)), group.create_task(listen(link))]
                done = await asyncio.gather(*(asked(folder, *one) for one in commands))
                codes = [code for code, _, _ in done]
                assert codes == [0, 0, 0, 0, ExitCode.USAGE] * times, done
                tasks[0].cancel()
                await until(lambda: len(back) >= sent - 10)
                tasks[1].cancel()

        run(work())
    assert len(back) > 20
    numbers = [int.from_bytes(one[:4], "little") for one in back if one == one[:4] * 160]
    assert numbers == sorted(numbers)
    assert len(numbers) >= len(back) - 10  # all but what the end cut is what was said


def test_commands_give_way_to_the_bridge(folder: Path) -> None:
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    with a_bridge(folder) as bridge:
        assert os.getpriority(os.PRIO_PROCESS, bridge.process.pid) == ours
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(folder / "s.sock"))
        silent.listen()
        command = subprocess.Popen(
            [sys.executable, "-m", "teamscall", "status", "--socket", str(folder / "s.sock")],
            env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            silent.settimeout(COMMAND_S)
            silent.accept()[0].close()  # it asks: it is past its start
            nicer = os.getpriority(os.PRIO_PROCESS, command.pid)
        finally:
            command.kill()
            command.wait()
    assert nicer == min(19, ours + 10)


def test_completion_is_silent_and_quick_whatever_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TEAMSCALL_CONFIG", os.devnull)
    monkeypatch.setenv("TEAMSCALL_CONTROL_SOCKET", str(folder / "c.sock"))
    assert complete_call("") == []
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(folder / "c.sock"))
        deaf.listen()
        assert complete_call("") == []
    monkeypatch.setenv("TEAMSCALL_CONFIG", "/nowhere")
    monkeypatch.setenv("TEAMSCALL_CONTROL_URL", "nonsense")
    assert complete_call("") == []
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("TEAMSCALL_CONFIG", os.devnull)
    monkeypatch.delenv("TEAMSCALL_CONTROL_URL")
    (folder / "c.sock").unlink()
    with a_bridge(folder) as bridge:

        async def work() -> None:
            async with a_call(ports(bridge)[0], "cafe-1", "beef-1"):
                found = await asyncio.to_thread(complete_call, "ca")
                assert found == [("cafe-1", "talking Ann")]

        run(work())
