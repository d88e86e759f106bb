"""Faults of the process and its disk (rows P of the fault matrix)."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bridge_rig import Served, log_lines, ports, served
from faults_rig import FRAME_S, Site, bridge, calling, until, upgrade_request, where
from server_rig import descriptors, run
from websockets.exceptions import InvalidStatus

import teamscall
from teamscall.calls.records import CallClosed, Decided
from teamscall.clock import ManualClock
from teamscall.config import JournalFile
from teamscall.journal import readers
from teamscall.wire.events import Caller

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prlimit")
LOST = "call records are lost"


def lines_with(process: Served, words: str) -> list[dict[str, object]]:
    return [line for line in log_lines(process) if words in str(line)]


# --- the disk -------------------------------------------------------------------------


async def two_calls(url: str) -> None:
    """Both are heard to their end."""
    for call_id in ("first", "second"):
        async with calling(url, call_id) as caller:
            await caller.count(10)
            await caller.all_back()


def test_a_journal_that_cannot_be_made_costs_one_warning(tmp_path: Path) -> None:
    """P2: its directory is a file."""
    (tmp_path / "file").write_text("in the way")
    env = {"TEAMSCALL_JOURNAL_PATH": str(tmp_path / "file" / "journal.sqlite3")}
    with served(tmp_path, "--engine", "echo", env=env) as process:
        asyncio.run(two_calls(ports(process)[1]))
        assert process.stop() == 0
        [warning] = lines_with(process, LOST)
    assert warning["level"] == "warning"


@linux
@pytest.mark.parametrize(
    "room_again", [False, pytest.param(True, marks=pytest.mark.load)], ids=["full", "room again"]
)
def test_a_disk_that_fills_up_costs_one_warning(tmp_path: Path, room_again: bool) -> None:
    """P2: no file of the process may grow any more; later they may."""
    with served(tmp_path, "--engine", "echo") as process:
        url = ports(process)[1]
        asyncio.run(two_calls(url))
        pid, unlimited = process.process.pid, (resource.RLIM_INFINITY,) * 2
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        asyncio.run(two_calls(url))
        process.wait_for(LOST)
        asyncio.run(two_calls(url))
        if room_again:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            asyncio.run(_until_written(url, process))
        assert process.stop() == 0
        assert len(lines_with(process, LOST)) == 1
    kept = {row.call_id for row in readers.calls(tmp_path / "journal.sqlite3")}
    assert kept == {"first", "second"} | ({"later"} if room_again else set())


async def _until_written(url: str, process: Served) -> None:
    """Calls come and go; the journal looks at its disk again by itself."""
    async with asyncio.timeout(30):
        while not any("written again" in line for line in process.lines):
            async with calling(url, "later") as caller:
                await caller.count(3)
            await asyncio.sleep(0.5)


def test_records_older_than_configured_go(tmp_path: Path) -> None:
    """``journal.retention_days`` reaches the journal of a running bridge."""

    async def test(call_id: str, clock: ManualClock, days: int) -> None:
        kept = JournalFile(path=str(tmp_path / "journal.sqlite3"), retention_days=days)
        async with bridge(tmp_path, clock=clock, journal=kept) as site:
            journal = site.up.journal
            assert journal is not None
            journal.record(
                Decided(
                    call_id, clock.wall_ms(), "csharp", True, "open", "", Caller(), "auth_request"
                )
            )
            await until(lambda: journal.written == 1)

    clock = ManualClock()
    asyncio.run(test("old", clock, 0))
    clock.advance(2 * 86_400)
    asyncio.run(test("new", clock, 1))
    assert [d.call_id for d in readers.decisions(tmp_path / "journal.sqlite3")] == ["new"]


# --- descriptors ----------------------------------------------------------------------


@linux
def test_running_out_of_descriptors_is_survived(tmp_path: Path) -> None:
    """P3: sixty-four of them, and a hundred sockets that want one each."""

    async def test(process: Served) -> None:
        url = ports(process)[1]
        pid = process.process.pid
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (64, 64))
        async with calling(url, "live") as live:
            await live.count(5)
            crowd = [socket.create_connection(where(url)) for _ in range(100)]
            await asyncio.to_thread(process.wait_for, "Not accepting")
            before = cpu_s(pid)
            await live.count(50)
            await live.all_back()
            assert cpu_s(pid) - before < 0.9, "the accept loop spins"  # of a second or more
            for one in crowd:
                one.close()
            await asyncio.to_thread(process.wait_for, "Accepting again")
            async with calling(url, "next") as another:
                await another.count(3)
                await another.all_back()
            await live.count(5)
            await live.all_back()

    with served(tmp_path, "--engine", "echo") as process:
        asyncio.run(test(process))
        assert process.stop() == 0
        assert len(lines_with(process, "Not accepting")) == 1
        assert not [line for line in log_lines(process) if "traceback" in line]
    assert {row.reason for row in readers.calls(tmp_path / "journal.sqlite3")} == {"hangup-user"}


def cpu_s(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- signals --------------------------------------------------------------------------


def test_sigterm_ends_ten_calls_within_the_drain(tmp_path: Path) -> None:
    """P4"""
    calls = 10

    async def one(url: str, number: int, up: list[str], process: Served) -> tuple[str | None, int]:
        async with calling(url, f"c{number}") as caller:
            await caller.count(5)
            await caller.all_back()
            up.append(caller.call_id)
            if len(up) == calls:
                process.process.send_signal(signal.SIGTERM)
            while caller.closed is None:
                await caller.count(1)
                await asyncio.sleep(FRAME_S)
            return caller.farewell, await caller.ended()

    async def test(process: Served) -> list[tuple[str | None, int]]:
        up: list[str] = []
        url = ports(process)[1]
        return await asyncio.gather(*(one(url, n, up, process) for n in range(calls)))

    options = ["--set", f"max_concurrent_calls={calls}", "--set", "shutdown.drain_seconds=1"]
    with served(tmp_path, "--engine", "echo", *options) as process:
        assert asyncio.run(test(process)) == [("server-shutdown", 1001)] * calls
        assert process.process.wait(20) == 0
        assert "traceback" not in process.text
    rows = list(readers.calls(tmp_path / "journal.sqlite3"))
    assert [row.reason for row in rows] == ["server-shutdown"] * calls


def test_sigterm_ends_a_process_in_which_something_does_not_end(tmp_path: Path) -> None:
    """P4, E11"""
    script = Path(__file__).with_name("faults_hung_process.py")
    rooms = (Path(teamscall.__file__).parent.parent, script.parent, script.parent.parent / "bridge")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, rooms))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "the process exits without it" in done.stderr
    [row] = readers.calls(tmp_path / "journal.sqlite3")
    assert row.reason == "server-shutdown"


# --- many calls -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "calls",
    [100, pytest.param(1000, marks=pytest.mark.load)],
)
def test_many_calls_one_after_the_other_leave_nothing(tmp_path: Path, calls: int) -> None:
    """P8: so many answered, so many refused, by both dialects' sockets."""

    async def answered(site: Site, number: int) -> None:
        async with calling(site.url(), f"c{number}") as caller:
            await caller.count(2, every_s=0.0)
            await until(lambda: len(caller.audio) == 2)
        await site.quiet()

    async def refused(site: Site, number: int) -> None:
        if number % 2:
            url = site.url()
            reader, writer = await asyncio.open_connection(*where(url))
            writer.write(upgrade_request(url, "live"))
            assert b" 409 " in await reader.readline()
            writer.transport.abort()
            return
        with pytest.raises(InvalidStatus):
            async with calling(site.url("csharp"), "any"):
                pass

    async def test() -> None:
        async with bridge(tmp_path) as site:
            for number in range(10):  # what is made once is made
                await answered(site, number)
            fds, tasks, memory = descriptors(), len(asyncio.all_tasks()), rss_mib()
            for number in range(calls):
                await answered(site, number)
            async with calling(site.url(), "live"):
                for number in range(calls):
                    await refused(site, number)
            await site.quiet()
            await until(lambda: len(asyncio.all_tasks()) <= tasks)
            await until(lambda: descriptors() <= fds)
            assert len(site.of(CallClosed)) == calls + 11
            site.records.clear()
            assert rss_mib() - memory < 20 + calls / 100

    run(test)


def rss_mib() -> float:
    """Resident memory of this process; 0 where it cannot be told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * resource.getpagesize() / 2**20


@linux
@pytest.mark.soak
def test_a_soak_has_no_drift_and_flat_memory(tmp_path: Path) -> None:
    """P10: 25 calls for TEAMSCALL_TEST_SOAK_S seconds (60 unless told)."""
    calls, seconds = 25, float(os.environ.get("TEAMSCALL_TEST_SOAK_S", "60"))
    samples: list[float] = []

    async def one(url: str, number: int) -> None:
        async with calling(url, f"c{number}") as caller:
            await caller.count(round(seconds * 50))
            await caller.all_back()
            late = lateness(caller.arrived)
            third = len(late) // 3
            # The last third is no later than the first by more than a few frames.
            assert max(late[-third:]) - max(late[:third]) < 0.2
            assert abs(late[-1] - late[0]) < 0.005 * seconds + 0.1

    async def test(process: Served) -> None:
        url = ports(process)[1]
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                group.create_task(one(url, number))
                await asyncio.sleep(0.007)
            began = time.monotonic()
            while time.monotonic() - began < seconds:
                await asyncio.sleep(min(5.0, seconds / 10))
                samples.append(rss_of(process.process.pid))

    def lateness(arrived: list[float]) -> list[float]:
        return [at - arrived[0] - number * FRAME_S for number, at in enumerate(arrived)]

    def rss_of(pid: int) -> float:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20

    with served(tmp_path, "--engine", "echo", "--set", f"max_concurrent_calls={calls}") as process:
        asyncio.run(test(process))
        assert process.stop() == 0
    assert samples[-1] - samples[len(samples) // 3] < 10, samples
