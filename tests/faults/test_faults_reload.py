"""The configuration of a running process is read again: SIGHUP, with calls on (P5, H13)."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bridge_rig import BRIDGE_SECRET, STANDIN_SECRET, Served, log_lines, ports, served
from bridge_rig import standin_headers as signed
from faults_rig import FRAME_S, PATIENCE_S, calling, until
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

NEW_BRIDGE = "bridge-secret-of-tomorrow-0123456789abcdef"
NEW_STANDIN = "standin-secret-of-tomorrow-0123456789abcdef"
# The rig gives secrets by variables, which would beat the file.
ENV = {"TEAMSCALL_BRIDGE_SECRET": "", "TEAMSCALL_STANDIN_SECRET": ""}
DONE = ("The configuration was read again", "The configuration is as it was")
SCRIPT = 'word_ms = 40\npause_ms = 20\n[[line]]\nheard = "hello"\nanswer = "one"\n'


class File:
    """The configuration file of a process; ``mode`` and ports are the rig's flags."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "teamscall.toml"

    def write(self, **values: object) -> None:
        usual: dict[str, object] = {
            "engine": "echo",
            "authorization__allow_from": ["u"],
            "bridge__secret": BRIDGE_SECRET,
            "standin__secret": STANDIN_SECRET,
        }
        lines = [f"{k.replace('__', '.')} = {json.dumps(v)}" for k, v in (usual | values).items()]
        self.path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def file(tmp_path: Path) -> File:
    made = File(tmp_path)
    made.write()
    return made


def reloads(process: Served) -> list[dict[str, object]]:
    return [line for line in log_lines(process) if line["message"] in DONE]


async def reload(process: Served) -> dict[str, object]:
    """Send the signal and wait for what came of it."""
    before = len(reloads(process))
    process.process.send_signal(signal.SIGHUP)
    await until(lambda: len(reloads(process)) > before)
    assert len(reloads(process)) == before + 1
    return reloads(process)[-1]


async def csharp(url: str, secret: str) -> int:
    try:
        async with connect(url, additional_headers={"X-Bridge-Secret": secret}, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def valid_at_last(url: str, secret: str) -> None:
    """A reload was asked for; nobody says when it is done."""
    async with asyncio.timeout(PATIENCE_S):
        while await csharp(url, secret) != 101:
            pass


async def standin(url: str, call_id: str, secret: str) -> int:
    try:
        headers = signed(call_id, secret)
        async with connect(f"{url}/{call_id}", additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def farewell(url: str, call_id: str, user: str) -> str | None:
    """Why a call of this user was turned away; None: it was not."""
    async with calling(url, call_id, caller={"aadId": user, "tenantId": "t"}) as caller:
        await caller.count(3)
        await until(lambda: caller.audio or caller.closed is not None)
        return caller.farewell


def test_a_call_goes_on_through_reloads_good_and_bad(tmp_path: Path, file: File) -> None:
    """P5, H13: its audio unbroken and its caller welcome, whoever may call now."""

    async def test(process: Served) -> None:
        url = ports(process)[1]
        async with calling(url, "old") as old:

            async def talk() -> None:
                while not over.is_set():
                    await old.count(1)
                    await asyncio.sleep(FRAME_S)

            over = asyncio.Event()
            talking = asyncio.get_running_loop().create_task(talk())
            await until(lambda: old.audio)
            assert await farewell(url, "u-1", "u") is None
            assert await farewell(url, "v-1", "v") == "not-allowed"

            file.write(authorization__allow_from=["v"], max_concurrent_calls=2)
            done = await reload(process)
            assert done["changed"] == "max_concurrent_calls, authorization.allow_from"
            assert await farewell(url, "u-2", "u") == "not-allowed"
            assert await farewell(url, "v-2", "v") is None

            file.path.write_text(file.path.read_text().replace('["v"]', '{ all = "*" }'))
            assert (await reload(process))["level"] == "error"
            file.path.unlink()
            assert (await reload(process))["level"] == "error"
            assert await farewell(url, "u-3", "u") == "not-allowed"
            assert await farewell(url, "v-3", "v") is None

            script = tmp_path / "script.toml"
            file.write(engine="scripted", scripted__path=str(script))
            assert (await reload(process))["level"] == "error"  # there is no script
            script.write_text(SCRIPT)
            file.write(
                engine="scripted",
                scripted__path=str(script),
                inbound__greeting="Good morning to you.",
                max_concurrent_calls=1,
            )
            assert "engine" in str((await reload(process))["changed"])
            assert await standin(url, "full", STANDIN_SECRET) == 503
            over.set()
            await talking
            await old.all_back()
            assert old.closed is None
        async with calling(url, "new") as new:
            await until(lambda: len(new.audio) > 10)  # it is greeted
        await asyncio.to_thread(process.wait_for, "The engine of before is stopped")

    with served(tmp_path, "-c", str(file.path), "--authorization", "allowlist", env=ENV) as process:
        asyncio.run(test(process))
        problems = [str(line.get("problem", "")) for line in log_lines(process)]
        assert any("authorization.allow_from" in problem for problem in problems)
        assert process.stop() == 0
        assert "traceback" not in process.text


def test_secrets_are_replaced_without_a_moment_in_which_neither_is_valid(
    tmp_path: Path, file: File
) -> None:
    async def valid(process: Served, when: str) -> list[int]:
        """Statuses: the old and the new secret of the C# gateway, then of StandIn."""
        gateway, url = ports(process)
        return [
            await csharp(gateway, BRIDGE_SECRET),
            await csharp(gateway, NEW_BRIDGE),
            await standin(url, f"{when}-old", STANDIN_SECRET),
            await standin(url, f"{when}-new", NEW_STANDIN),
        ]

    async def test(process: Served) -> None:
        async with connect(
            ports(process)[0], additional_headers={"X-Bridge-Secret": BRIDGE_SECRET}, proxy=None
        ) as early:
            assert await valid(process, "before") == [101, 401, 101, 401]
            new: dict[str, object] = {
                "bridge__secret": NEW_BRIDGE,
                "standin__secret": NEW_STANDIN,
            }
            file.write(
                **new,
                bridge__previous_secret=BRIDGE_SECRET,
                standin__previous_secret=STANDIN_SECRET,
            )
            done = await reload(process)
            assert str(done["changed"]).split(", ") == [
                "bridge.secret",
                "bridge.previous_secret",
                "standin.secret",
                "standin.previous_secret",
            ]
            assert await valid(process, "both") == [101, 101, 101, 101]
            file.write(**new)
            await reload(process)
            assert await valid(process, "after") == [401, 101, 401, 101]
            # A socket that is open stays open, whatever it came in with.
            await early.send(json.dumps({"type": "ping", "callId": "c", "timestamp": 1}))
            assert json.loads(await early.recv())["type"] == "pong"

    with served(tmp_path, "-c", str(file.path), env=ENV) as process:
        asyncio.run(test(process))
        in_use = [
            line["secret"]
            for line in log_lines(process)
            if line["message"] == "The previous secret is still in use"
        ]
        assert sorted(map(str, in_use)) == ["bridge.previous_secret", "standin.previous_secret"]
        assert process.stop() == 0
        for secret in (BRIDGE_SECRET, STANDIN_SECRET, NEW_BRIDGE, NEW_STANDIN):
            assert secret not in process.text


def test_a_storm_of_signals_is_a_few_reloads(tmp_path: Path, file: File) -> None:
    async def test(process: Served) -> None:
        async with calling(ports(process)[1], "on") as caller:
            for number in range(100):
                file.write(inbound__greeting=f"Hello {number}.")
                process.process.send_signal(signal.SIGHUP)
                await caller.count(1)
            file.write(max_duration_seconds=77)
            process.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(process.wait_for, "max_duration_seconds")
            await caller.all_back()

    with served(tmp_path, "-c", str(file.path), env=ENV) as process:
        asyncio.run(test(process))
        assert 1 <= len(reloads(process)) <= 101
        assert process.stop() == 0
        assert "traceback" not in process.text


@pytest.mark.skipif(not hasattr(os, "setsid"), reason="needs a terminal that can go away")
def test_a_terminal_that_goes_away_does_not_take_the_bridge_with_it(
    tmp_path: Path, file: File
) -> None:
    """The kernel sends SIGHUP to whoever leads the terminal's session."""
    file.write(log__level="info", journal__path=str(tmp_path / "journal.sqlite3"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c",
         "import fcntl, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
         "sys.argv[0] = 'teamscall'; from teamscall.__main__ import main; main()",
         "serve", "-c", str(file.path), "--port", "0", "--log-format", "json"],
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environment,
    )  # fmt: skip
    os.close(theirs)
    try:
        said = b""
        while b'"message": "Answering"' not in said or not said.endswith(b"\n"):
            said += os.read(ours, 4096)
        line = next(part for part in said.splitlines() if b'"Answering"' in part)
        url = json.loads(line)["C_gateway"]
        assert asyncio.run(csharp(url, BRIDGE_SECRET)) == 101
        file.write(bridge__secret=NEW_BRIDGE, journal__path=str(tmp_path / "journal.sqlite3"))
        os.close(ours)
        asyncio.run(valid_at_last(url, NEW_BRIDGE))
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_level_of_the_log_changes_at_once(tmp_path: Path, file: File) -> None:
    async def test(process: Served) -> None:
        gateway = ports(process)[0]
        file.write(log__level="error", bridge__previous_secret=NEW_BRIDGE)
        process.process.send_signal(signal.SIGHUP)
        await valid_at_last(gateway, NEW_BRIDGE)
        file.write(log__level="info", bridge__previous_secret=NEW_BRIDGE)
        assert (await reload(process))["changed"] == "log.level"

    with served(tmp_path, "-c", str(file.path), env=ENV) as process:
        asyncio.run(test(process))
        assert len(reloads(process)) == 1, "the first one is not shown"
        assert process.stop() == 0
