"""Captures of real bridge processes: killed, flooded, on a full disk, and what may be in them."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import signal
import stat
import sys
import time
import urllib.request
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from bridge_rig import BRIDGE_SECRET, log_lines, ports, served, standin_headers
from faults_rig import (
    PATIENCE_S,
    RawCaller,
    Site,
    audio_message,
    bridge,
    calling,
    numbered,
    text_frame,
    upgrade_request,
    where,
)
from websockets.asyncio.client import connect

from teamscall import config
from teamscall.calls.records import CallClosed
from teamscall.capture import codec
from teamscall.capture.eliding import kind_of
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import Closed, Content, Did, Dropped, Frame, Step

linux = pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
SECOND = 50  # frames
WHO = {"tenantId": "tenant-of-ann", "userId": "ann-id", "displayName": "Ann Somebody"}


def captures(folder: Path) -> list[Capture]:
    return [read(path) for path in sorted(folder.iterdir())]


def audio(capture: Capture, way: str) -> list[Frame]:
    kinds = (b'"audio.frame"', b'"audio_in"', b'"audio_out"')
    return [f for f in capture.frames if f.way == way and any(k in f.text for k in kinds)]


def during(
    tmp_path: Path,
    work: Callable[[Site], Coroutine[None, None, None]],
    capture: config.Capture,
    **changes: Any,
) -> list[Capture]:
    """What is left of ``work`` at a bridge in this process."""

    async def whole() -> None:
        async with bridge(tmp_path, capture=capture, **changes) as site:
            await work(site)

    asyncio.run(whole())
    return captures(Path(capture.dir))


def wait_for_end(folder: Path) -> None:
    """Until the one capture that there is has been written to its end."""
    deadline = time.monotonic() + PATIENCE_S
    while [one.damage for one in captures(folder)] != [None]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def wait_for_metric(url: str, line: str) -> None:
    """Until the bridge's metrics have this line."""
    deadline = time.monotonic() + PATIENCE_S
    host, port = where(url)
    while True:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics") as answer:
            text = answer.read().decode()
        if line in text.splitlines():
            return
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


async def call(url: str, call_id: str = "c", frames: int = SECOND) -> None:
    async with calling(url, call_id) as caller:
        await caller.count(frames, every_s=0.005)
        await caller.all_back()


# --- files ----------------------------------------------------------------------------


def test_each_call_has_a_file_that_only_this_user_can_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "captures"

    async def calls(site: Site) -> None:
        for number, call_id in enumerate(("first", "second", "second"), 1):
            await call(site.url(), call_id)
            await site.record(CallClosed, count=number)

    found = during(tmp_path, calls, config.Capture(dir=str(folder)))
    assert [one.header.call_id for one in found] == ["first", "second", "second"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for one in found:
        assert stat.S_IMODE(one.path.stat().st_mode) == 0o600
        assert one.damage is None
        assert one.header.content == "timing"
        assert one.dropped == 0
        assert isinstance(one.records[-1], Closed)
        assert one.records[-1].reason == "hangup-user"
        assert len(audio(one, "in")) == len(audio(one, "out")) == SECOND


HOSTILE = ("..", "a%2e%2eb", "ü\u202e€", "x" * 200, "~.tcap", "-rf", "a\\b")


async def place_hostile(url: str, call_id: str) -> bool:
    """A call of this name that says one frame; False: it was not let in."""
    path = quote(call_id, safe="")
    reader, writer = await asyncio.open_connection(*where(url))
    writer.write(upgrade_request(url, path, standin_headers(call_id)))
    head = await reader.readuntil(b"\r\n\r\n")
    let_in = b" 101 " in head.partition(b"\r\n")[0]
    if let_in:
        start = {"type": "session.start", "callId": call_id, "caller": {"aadId": "u"},
                 "recordingStatus": "active"}  # fmt: skip
        writer.write(text_frame(json.dumps(start).encode()))
        writer.write(text_frame(audio_message(0, numbered(1))))
        assert await reader.read(1)
    writer.transport.abort()
    return let_in


@pytest.mark.load
def test_no_call_id_leads_to_another_folder(tmp_path: Path) -> None:
    """H9"""
    inside = tmp_path / "inside"
    env = {"TEAMSCALL_JOURNAL_PATH": str(inside / "journal.sqlite3")}
    options = ["--engine", "echo", "--capture", str(inside / "captures")]
    options += ["--set", "max_concurrent_calls=20"]

    async def all_of_them(url: str) -> list[str]:
        return [call_id for call_id in HOSTILE if await place_hostile(url, call_id)]

    with served(tmp_path, *options, env=env) as process:
        let_in = asyncio.run(all_of_them(ports(process)[1]))
        assert process.stop() == 0
    assert "a\\b" in let_in
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside"]
    others = [p.name for p in inside.iterdir() if not p.name.startswith("journal")]
    assert others == ["captures"]
    found = captures(inside / "captures")
    assert sorted(one.header.call_id for one in found) == sorted(let_in)
    for one in found:
        assert one.path.suffix == ".tcap"
        assert one.path.name.isascii()
        assert len(one.path.name) < 120


def test_a_killed_bridge_leaves_what_was_written_readable(tmp_path: Path) -> None:
    """P1"""
    folder = tmp_path / "captures"
    with served(tmp_path, "--engine", "echo", "--capture", str(folder)) as process:

        async def during() -> None:
            async with calling(ports(process)[1], "killed") as caller:
                await caller.count(2 * SECOND)
                process.stop(signal.SIGKILL)

        asyncio.run(during())
    [one] = captures(folder)
    assert one.damage is not None
    assert "it has no end" in one.damage
    # What is younger than a block's time may be lost, no more.
    assert len(audio(one, "in")) >= SECOND
    assert any(isinstance(record, Did) for record in one.records)


@linux
@pytest.mark.load
def test_a_full_disk_costs_the_capture_and_one_warning(tmp_path: Path) -> None:
    """P2"""
    folder = tmp_path / "captures"
    options = ("--capture", str(folder), "--set", "capture.content=full")
    with served(tmp_path, "--engine", "echo", *options) as process:
        url, pid = ports(process)[1], process.process.pid
        asyncio.run(call(url, "before"))
        wait_for_end(folder)
        limit = (8192, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)

        async def during() -> None:
            for call_id in ("first", "second"):
                async with calling(url, call_id) as caller:
                    await caller.count(2 * SECOND, every_s=0.012)
                    await caller.all_back()

        asyncio.run(during())
        wait_for_metric(url, "teamscall_capture_failed_total 2.0")
        assert process.stop() == 0
        warnings = [one for one in log_lines(process) if "capture" in str(one["message"])]
        assert len(warnings) == 1, warnings
        assert warnings[0]["level"] == "warning"
    found = {one.header.call_id: one for one in captures(folder)}
    assert found["before"].damage is None
    for call_id in ("first", "second"):
        # Cut back to whole blocks: nothing is torn, it only ends early.
        assert "it has no end" in (found[call_id].damage or "")
        assert found[call_id].good_bytes == found[call_id].file_bytes


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folder = str(tmp_path / "file" / "captures")
    with served(tmp_path, "--engine", "echo", "--capture", folder) as process:
        assert process.process.wait(60) == 3
        process.wait_for("No captures can be written")


# --- the flood ------------------------------------------------------------------------


@pytest.mark.load
def test_a_flood_is_marked_as_dropped_and_delays_no_audio(tmp_path: Path) -> None:
    """P9: how late frames come, with captures and without, side by side in one run."""
    folder = tmp_path / "captures"
    capture = ("--capture", str(folder), "--set", "capture.content=full")
    large = json.dumps({"type": "video.frame", "source": "camera", "ts": 1, "width": 9,
                        "height": 9, "mime": "image/jpeg",
                        "dataBase64": base64.b64encode(os.urandom(150_000)).decode()})  # fmt: skip

    async def flooding(url: str, stop: Callable[[], bool]) -> None:
        raw = await RawCaller.dial(url, "flood")
        data = text_frame(large.encode())
        while not stop():
            await raw.send(data)
            await asyncio.sleep(0.002)
        raw.close()

    async def heard(url: str) -> list[float]:
        """How long after the one before each frame came, in seconds."""
        async with calling(url, "victim") as caller:
            flood = asyncio.get_running_loop().create_task(
                flooding(url, lambda: len(caller.sent) >= 3 * SECOND)
            )
            await caller.count(3 * SECOND)
            await caller.all_back()
            await asyncio.wait([flood], timeout=PATIENCE_S)
            return sorted(
                after - before
                for before, after in zip(caller.arrived, caller.arrived[1:], strict=False)
            )

    async def both(with_: str, without: str) -> tuple[list[float], list[float]]:
        return await asyncio.gather(heard(with_), heard(without))

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        served(tmp_path / "a", "--engine", "echo", *capture) as captured,
        served(tmp_path / "b", "--engine", "echo") as plain,
    ):
        ours, theirs = asyncio.run(both(ports(captured)[1], ports(plain)[1]))
        assert captured.stop() == 0
        assert plain.stop() == 0
    nearly_all = len(ours) * 95 // 100
    # A frame and a half of tolerance for a shared machine, of 20 ms each.
    assert ours[nearly_all] < 1.5 * theirs[nearly_all] + 0.03
    found = {one.header.call_id: one for one in captures(folder)}
    lost = [r for r in found["flood"].records if isinstance(r, Dropped)]
    assert lost
    assert {one.why for one in lost} <= {"rate", "queue"}
    assert found["victim"].dropped == 0
    assert len(audio(found["victim"], "in")) == 3 * SECOND
    assert all(one.damage is None for one in found.values())


# --- what may be in it ----------------------------------------------------------------


def content_of(one: Capture) -> list[object]:
    """Everything of a capture that is media or words."""
    told = [r.event for r in one.records if isinstance(r, Step) and r.event is not None]
    fields = [(t.name, t.fields) for t in told]
    fields += [(r.name, r.fields) for r in one.records if isinstance(r, Did)]
    said = [f[k] for name, f in fields for k in codec.CONTENT.get(name, ()) if f.get(k)]
    payloads = [
        message[key]
        for frame in one.frames
        for message in ([json.loads(frame.text)] if frame.text[:1] == b"{" else [])
        for key in ("payloadBase64", "dataBase64", "data", "text", "digit")
        if message.get(key)
    ]
    return [*said, *payloads]


async def talk(url: str, call_id: str, *statuses: str | None) -> None:
    """A second of sound in each status; None: as the start said (active)."""
    async with calling(url, call_id) as caller:
        for status in statuses:
            if status is not None:
                await caller.say("recording.status", status=status)
            await caller.count(SECOND, every_s=0.005)
            await caller.say("dtmf", digit="7")
            await asyncio.sleep(0.2)
        await caller.say("assistant.say", text="a secret sentence")


SCRIPT = """
repeat = true
[digits]
7 = "Seven is the secret."
"""


@pytest.mark.parametrize("content", ["timing", "full"])
def test_media_are_kept_only_where_asked_for_and_only_while_recording_is_active(
    tmp_path: Path, content: Content
) -> None:
    folder, script = tmp_path / "captures", tmp_path / "script.toml"
    script.write_text(SCRIPT)

    async def calls(site: Site) -> None:
        await talk(site.url(), "on", None, "inactive")
        await talk(site.url(), "off", "inactive")

    left = during(
        tmp_path,
        calls,
        config.Capture(dir=str(folder), content=content),
        engine="scripted",
        scripted=config.Scripted(path=str(script)),
        filler=config.Filler(after_ms=60_000, words=("A secret.",)),
    )
    found = {one.header.call_id: one for one in left}
    assert content_of(found["off"]) == []
    incoming = audio(found["on"], "in")
    assert len(incoming) == 2 * SECOND
    if content == "timing":
        assert content_of(found["on"]) == []
        assert found["on"].header.why == ""
        assert b"secret" not in found["on"].header.settings
        assert all(frame.elided == len(base64.b64encode(numbered(1))) for frame in incoming)
    else:
        assert found["on"].header.why
        assert [f.elided == 0 for f in incoming] == [True] * SECOND + [False] * SECOND
        change = next(f for f in found["on"].frames if b'"inactive"' in f.text)
        later = [r for r in found["on"].records if (getattr(r, "at", 0)) > change.at]
        assert not any(b"secret" in f.text for f in later if isinstance(f, Frame))
        steps = [r for r in found["on"].records if isinstance(r, Step) and r.now > change.at]
        assert not any("secret" in str(step) for step in steps)
        early = [r for r in found["on"].records if isinstance(r, Step) and r.now < change.at]
        assert any("secret" in str(step) for step in early)


async def csharp_calls(url: str, *call_ids: str) -> None:
    """Several calls over one socket, told apart by their ids alone."""
    async with connect(url, additional_headers={"X-Bridge-Secret": BRIDGE_SECRET}) as socket:

        async def say(kind: str, call_id: str, **fields: object) -> None:
            await socket.send(json.dumps({"type": kind, "callId": call_id, **fields}))

        for call_id in call_ids:
            await say("auth_request", call_id, correlationId=f"k-{call_id}", metadata=WHO)
            while json.loads(await socket.recv())["type"] != "auth_response":
                pass
            await say("session_start", call_id, direction="inbound", metadata=WHO)
        await socket.send("no json, of nobody")
        back = 0
        for number in range(SECOND):
            for call_id in call_ids:
                data = base64.b64encode(numbered(number)).decode()
                await say("audio_in", call_id, seq=number, data=data)
            await asyncio.sleep(0.005)
        async with asyncio.timeout(PATIENCE_S):
            while back < SECOND * len(call_ids):
                back += json.loads(await socket.recv())["type"] == "audio_out"
        for call_id in call_ids:
            await say("session_end", call_id, reason="hangup-user")


@pytest.mark.parametrize("switch", [False, True])
def test_calls_that_share_a_socket_have_a_file_each_and_their_media_need_a_switch(
    tmp_path: Path, switch: bool
) -> None:
    async def calls(site: Site) -> None:
        await csharp_calls(site.url("csharp"), "one", "two")

    wanted = config.Capture(dir=str(tmp_path / "c"), content="full", without_status=switch)
    found = during(tmp_path, calls, wanted)
    assert sorted(one.header.call_id for one in found) == ["one", "two"]
    for one in found:
        assert one.damage is None
        assert one.header.content == ("full" if switch else "timing")
        kinds = [kind_of(f.text) for f in one.frames]
        assert kinds[:3] == ["auth_request", "auth_response", "session_start"]
        ids = {json.loads(f.text)["callId"] for f in one.frames if f.text[:1] == b"{"}
        assert ids == {one.header.call_id}
        assert sum(f.text[:1] != b"{" for f in one.frames) == 1  # nobody's, so everybody's
        assert "ann-id" in str(one.frames[0].text)
        assert len(audio(one, "in")) == len(audio(one, "out")) == SECOND
        assert bool(content_of(one)) is switch


def test_what_the_conversation_was_given_refers_to_the_frames_it_came_from(
    tmp_path: Path,
) -> None:
    wanted = config.Capture(dir=str(tmp_path / "c"), content="full")
    [one] = during(tmp_path, lambda site: call(site.url()), wanted)
    by_index = {frame.index: frame for frame in one.frames}
    assert list(by_index) == list(range(len(by_index)))
    given = [r for r in one.records if isinstance(r, Step) and r.source == "gateway"]
    assert len(given) >= SECOND
    assert all(step.event is None and by_index[step.frame].way == "in" for step in given)
    assert len({step.frame for step in given}) == len(given)
    closed = [codec.command_of(r) for r in one.records if isinstance(r, Did) and
              r.name == "CallClosed"]  # fmt: skip
    assert [type(one) for one in closed] == [CallClosed]
    times = [r.now for r in one.records if isinstance(r, Step)]
    assert times == sorted(times)
    assert one.header.began <= times[0] <= time.monotonic()
