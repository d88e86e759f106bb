"""``capture info | frames | wav | scrub | trim | merge | migrate``, on a call that both sides
captured: a real bridge and a real ``emulate``, each a process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import wave
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from bridge_rig import STANDIN_SECRET, ports, served
from hypothesis import given
from hypothesis import strategies as st
from replay_rig import Recorded

import teamscall
from teamscall.__main__ import command as program
from teamscall.audio.wav import read_wav
from teamscall.capture import codec, versions
from teamscall.capture.blocks import HEAD_BYTES, PREAMBLE, encode_record, pack
from teamscall.capture.cutting import clock_shift, merge, trim
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import OPEN, Closed, Did, Dropped, Event, Frame, Header, Record, Step
from teamscall.capture.scrubbing import scrub
from teamscall.capture.sound import tracks
from teamscall.capture.writer import write
from teamscall.errors import CaptureError
from teamscall.wire import csharp
from teamscall.wire.events import SAMPLE_RATE, AudioIn, AudioOut, Flush

QUESTION = Path(teamscall.__file__).parent / "assets" / "question.wav"
CALLER = {"--user-id": "5ec7e700-aaaa", "--tenant-id": "5ec7e700-bbbb", "--name": "Ann Tester"}
HEARD, ANSWER = "question of the caller", "Fourty two words"
SCRIPT = f"""
[[line]]
heard = "{HEARD}"
answer = "{ANSWER}"
"""


class Ran(msgspec.Struct, frozen=True):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: object) -> Ran:
    """The whole command in this process, from its argv to its exit code: ten times faster."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["teamscall", *map(str, arguments)])
        patch.setenv("COLUMNS", "100")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                program()
                code: object = 0
            except SystemExit as ended:
                code = ended.code
    assert isinstance(code, int)
    return Ran(code, out.getvalue(), err.getvalue())


def emulate(url: str, capture: Path, *options: str) -> None:
    """A caller of its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "teamscall", "emulate", "--url", url, "--wav", str(QUESTION),
         "--hang-up-after", "0.3", "--expect-speech", "--capture", str(capture), *options],
        capture_output=True, text=True, timeout=60, check=False,
        env=os.environ | {"TEAMSCALL_EMULATE_SECRET": STANDIN_SECRET},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The bridge's capture and the emulator's of one call."""
    folder = tmp_path_factory.mktemp("call")
    (folder / "script.toml").write_text(SCRIPT)
    options = ["--engine", "scripted", "--set", f"scripted.path={folder / 'script.toml'}"]
    options += ["--capture", str(folder / "bridge"), "--set", "capture.content=full"]
    with served(folder, *options) as process:
        who = [text for pair in CALLER.items() for text in pair]
        emulate(ports(process)[1], folder / "emulator.tcap", *who)
        assert process.stop() == 0
    [bridge] = (folder / "bridge").iterdir()
    return bridge, folder / "emulator.tcap"


# --- looking --------------------------------------------------------------------------


def test_info_says_what_a_capture_holds(both: tuple[Path, Path]) -> None:
    done = run("capture", "info", *both, "--json")
    assert done.returncode == 0
    ours, theirs = map(json.loads, done.stdout.splitlines())
    assert ours["version"] == theirs["version"] == 1
    assert (ours["side"], theirs["side"]) == ("bridge", "emulator")
    assert ours["callId"] == theirs["callId"]
    assert ours["content"] == theirs["content"] == "full"
    assert ours["framesIn"] == theirs["framesIn"]
    # What was on its way when the caller hung up, only the bridge knows of.
    assert 0 < theirs["framesOut"] <= ours["framesOut"]
    assert theirs["messages"].keys() == ours["messages"].keys()
    assert all(count <= ours["messages"][name] for name, count in theirs["messages"].items())
    assert ours["steps"] > ours["framesIn"]
    assert theirs["steps"] == 0
    assert ours["reason"] == "hangup"
    words = run("capture", "info", both[0]).stdout
    assert "audio and words" in words
    assert all(len(line) <= 200 for line in words.splitlines())


def test_frames_are_lines_for_people_and_objects_for_jq(both: tuple[Path, Path]) -> None:
    lines = [json.loads(x) for x in run("capture", "frames", both[0], "--json").stdout.splitlines()]
    legs = {one["leg"] for one in lines}
    assert legs == {"gateway", "engine", "call"}
    start = next(one for one in lines if one["name"] == "session.start")
    assert start["message"]["caller"]["displayName"] == CALLER["--name"]
    heard = [one for one in lines if one["name"] == "Transcript" and one["fields"]["final"]]
    assert [one["fields"]["text"] for one in heard] == [HEARD]
    some = run(
        "capture", "frames", both[0], "--json", "--leg", "engine", "--from", "1", "--to", "2"
    )
    found = [json.loads(line) for line in some.stdout.splitlines()]
    assert found
    assert all(one["leg"] == "engine" and 1 <= one["at"] <= 2 for one in found)
    plain = run("capture", "frames", both[0]).stdout.splitlines()
    assert len(plain) == len(lines)
    assert any("payloadBase64=<856 characters>" in line for line in plain)


@pytest.mark.parametrize("command", ["info", "frames"])
def test_a_damaged_file_is_shown_as_far_as_it_goes_and_fails(
    both: tuple[Path, Path], tmp_path: Path, command: str
) -> None:
    """R3"""
    whole, cut = run("capture", command, both[0]), tmp_path / "cut.tcap"
    data = both[0].read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    done = run("capture", command, cut)
    assert done.returncode == 1
    assert "at byte" in done.stdout + done.stderr
    assert 0 < len(done.stdout.splitlines()) <= len(whole.stdout.splitlines()) + 1
    cut.write_bytes(b"TCAP?")
    done = run("capture", command, cut)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_what_a_peer_sent_does_not_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    path, evil = tmp_path / "evil.tcap", "\x1b]0;pwned\x07\u202e\x9b31m"
    header = Header(1, evil, "standin", evil, "inbound", "bridge", "full", evil, 1, 0.0, "", evil)
    text = json.dumps({"type": evil, "text": evil}, ensure_ascii=False).encode()
    records: list[Record] = [
        Frame(0.0, "in", text, 0, 0),
        Frame(0.0, "in", evil.encode(), 0, 1),
        Step(0.0, "shell", -1, Event(evil, {evil: evil})),
        Closed(1.0, evil),
    ]
    write(path, header, records)
    for arguments in (["info"], ["info", "--json"], ["frames"], ["frames", "--json"]):
        done = run("capture", *arguments, path)
        assert done.returncode == 0, done.stderr
        printed = (done.stdout + done.stderr).replace("\n", "")
        assert printed.isprintable(), (arguments, printed)
        if arguments == ["frames", "--json"]:  # and jq gets what was sent
            told = [json.loads(line) for line in done.stdout.splitlines()]
            assert told[0]["message"]["text"] == told[1]["text"] == evil


# --- sound ----------------------------------------------------------------------------


def shift_of(track: np.ndarray[Any, Any], sound: np.ndarray[Any, Any]) -> tuple[int, float]:
    """Where a sound is in a track, in samples, and how alike they are there."""
    size = 1 << (len(track) + len(sound)).bit_length()
    product = np.fft.irfft(np.fft.rfft(track, size) * np.conj(np.fft.rfft(sound, size)), size)
    at = int(np.argmax(product[: len(track)]))
    there = track[at : at + len(sound)]
    alike = np.dot(there, sound[: len(there)]) / np.linalg.norm(there) / np.linalg.norm(sound)
    return at, float(alike)


def test_both_sides_become_one_wav(both: tuple[Path, Path], tmp_path: Path) -> None:
    question = np.frombuffer(read_wav(QUESTION), "<i2").astype(float)
    for number, path in enumerate(both):
        out = tmp_path / f"{number}.wav"
        done = run("capture", "wav", path, "-o", out)
        assert done.returncode == 0, done.stderr
        with wave.open(str(out)) as file:
            assert (file.getnchannels(), file.getframerate()) == (2, SAMPLE_RATE)
            data = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
        caller, bot = data[:, 0].astype(float), data[:, 1]
        at, alike = shift_of(caller, question)
        assert alike > 0.999  # no frame missing, doubled or moved
        first = int(np.argmax(np.abs(bot) > 500))
        assert first > at + len(question)  # the answer comes after the question


def frames_of(events: Sequence[tuple[float, Any]], began: float = 100.0) -> Capture:
    header = Header(1, "0", "csharp", "c", "inbound", "bridge", "full", "", 0, began)
    records: list[Record] = []
    for index, (at, event) in enumerate(events):
        way = "in" if isinstance(event, AudioIn) else "out"
        encode: Any = csharp.encode_from_gateway if way == "in" else csharp.encode_to_gateway
        records.append(Frame(began + at, way, encode(event), 0, index))  # type: ignore[arg-type]
    return Capture(Path("x"), header, tuple(records), None, 0, 0)


def sound(number: int) -> bytes:
    return bytes([number % 250 + 1, 1]) * 320


@given(st.lists(st.floats(0, 0.3), min_size=60, max_size=80))
def test_jitter_moves_no_frame_of_the_caller(late: list[float]) -> None:
    late[-1] = 0.0  # one comes at once
    events = [(0.5 + n * 0.02 + d, AudioIn("c", n, sound(n))) for n, d in enumerate(late)]
    heard = tracks(frames_of(events)).caller
    assert heard == bytes(16_000) + b"".join(sound(n) for n in range(len(late)))


def test_a_caller_that_was_muted_leaves_a_gap() -> None:
    first = [(n * 0.02, AudioIn("c", n, sound(n))) for n in range(10)]
    second = [(1.0 + n * 0.02, AudioIn("c", 10 + n, sound(10 + n))) for n in range(10)]
    heard = tracks(frames_of([*first, *second])).caller
    assert heard[32_000 : 32_000 + 640] == sound(10)
    assert not any(heard[6400:32_000])


def test_a_flush_cuts_what_has_not_been_played() -> None:
    sent = [(0.0, AudioOut("c", n, sound(n))) for n in range(50)]  # a second at once
    after = [(0.6, AudioOut("c", 50, sound(99)))]
    played = tracks(frames_of([*sent, (0.31, Flush("c", 1, 0)), *after])).bot
    assert played[: 31 * 320] == b"".join(sound(n) for n in range(16))[: 31 * 320]
    assert not any(played[31 * 320 : 60 * 320])
    assert played[60 * 320 :] == sound(99)


# --- scrubbing ------------------------------------------------------------------------


def unpacked(path: Path) -> bytes:
    """Everything in a file, block by block."""
    data, out = path.read_bytes()[len(PREAMBLE) :], b""
    while data:
        size = int.from_bytes(data[:4], "little")
        out += zlib.decompress(data[HEAD_BYTES : HEAD_BYTES + size])
        data = data[HEAD_BYTES + size :]
    return out


@pytest.mark.parametrize("side", [0, 1])
def test_a_scrubbed_capture_knows_nobody_and_keeps_its_timing(
    both: tuple[Path, Path], tmp_path: Path, side: int
) -> None:
    """R4"""
    out = tmp_path / "scrubbed.tcap"
    assert run("capture", "scrub", both[side], "-o", out).returncode == 0
    before, after = read(both[side]), read(out)
    raw, left = unpacked(both[side]), unpacked(out)
    secrets = [*CALLER.values(), before.header.call_id]
    if side == 0:
        secrets += [HEARD, ANSWER, "127.0.0.1"]
    secrets += [frame.text[-200:-10].decode() for frame in before.frames if len(frame.text) > 900]
    for secret in secrets:
        assert secret.encode() in raw
        assert secret.encode() not in left, secret
    assert after.header.content == "timing"
    assert after.damage is None
    assert len(after.records) == len(before.records)
    for one, other in zip(before.records, after.records, strict=True):
        assert type(one) is type(other)
        if isinstance(one, Frame) and isinstance(other, Frame):
            assert (one.at, one.way, one.index) == (other.at, other.way, other.index)
            assert other.elided > 800 or len(one.text) < 900
        if isinstance(one, Step) and isinstance(other, Step):
            assert one.now == other.now
            if one.event is not None and one.event.name != OPEN:
                assert other.event is not None
                assert type(codec.event_of(other.event)) is type(codec.event_of(one.event))
        if isinstance(one, Did) and isinstance(other, Did):
            assert one.name == other.name
    done = run("capture", "wav", out, "-o", tmp_path / "none.wav")
    assert done.returncode == 1
    assert "no audio" in done.stderr
    assert not (tmp_path / "none.wav").exists()
    assert scrub(after)[1] == list(after.records) or side == 0


# --- cutting --------------------------------------------------------------------------


def test_two_parts_become_the_whole_again(both: tuple[Path, Path], tmp_path: Path) -> None:
    one, two, whole = (tmp_path / f"{n}.tcap" for n in "123")
    assert run("capture", "trim", both[0], "--to", "2.5", "-o", one).returncode == 0
    assert run("capture", "trim", both[0], "--from", "2", "-o", two).returncode == 0
    first = read(two).records[0]
    assert isinstance(first, Dropped)
    assert first.why == "trimmed"
    assert run("capture", "merge", two, one, "-o", whole).returncode == 0
    before, after = read(both[0]), read(whole)
    key = msgspec.msgpack.encode
    assert sorted(map(key, after.records)) == sorted(map(key, before.records))
    assert [r for r in after.records if not isinstance(r, Frame)] == [
        r for r in before.records if not isinstance(r, Frame)
    ]


def test_what_lies_between_two_parts_is_marked() -> None:
    talk = Recorded()
    talk.quiet(3.0)
    talk.hang_up()
    records = (*talk.records, Closed(talk.now, "ended"))
    whole = Capture(Path("x"), talk.header, records, None, 0, 0)
    parts: list[Capture] = []
    for start, end in ((0.0, 1.0), (2.0, 9.0)):
        header, kept = trim(whole, start, end)
        parts.append(Capture(Path("x"), header, tuple(kept), None, 0, 0))
    _, merged = merge(*parts)
    [mark] = [r for r in merged if isinstance(r, Dropped)]
    assert mark.why == "trimmed"
    assert mark.count == len(records) - len(merged) + 1


def test_nothing_between_two_seconds_is_an_error(both: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.tcap"
    done = run("capture", "trim", both[0], "--from", "1000", "-o", out)
    assert done.returncode == 1
    assert "Nothing happened" in done.stderr
    assert not out.exists()
    assert run("capture", "trim", both[0], "--from", "2", "--to", "1", "-o", out).returncode == 2
    assert run("capture", "trim", both[0], "-o", both[0]).returncode == 2  # its own input


def test_both_sides_of_a_call_come_onto_one_clock(both: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "both.tcap"
    assert run("capture", "merge", both[1], both[0], "-o", out).returncode == 0
    bridge, emulator, merged = read(both[0]), read(both[1]), read(out)
    assert merged.header == bridge.header
    ours = [r for r in merged.records if not (isinstance(r, Frame) and r.side == "emulator")]
    assert ours[:-1] == list(bridge.records[:-1])  # the conversation's story is as it was
    theirs = [frame for frame in merged.frames if frame.side == "emulator"]
    assert [frame.text for frame in theirs] == [frame.text for frame in emulator.frames]
    # Both ran on this machine's clock: the shift is within what a message takes.
    assert abs(clock_shift(bridge, emulator)) < 0.05
    times = [frame.at for frame in merged.frames if frame.side == "emulator"]
    assert times == sorted(times)


@given(st.floats(-1e6, 1e6))
def test_the_shift_is_found_whatever_the_clocks_say(shift: float) -> None:
    talk: list[tuple[float, Any]] = [(n * 0.02, AudioIn("c", n, sound(n))) for n in range(5)]
    talk += [(n * 0.02, AudioOut("c", n, sound(n))) for n in range(5)]
    bridge = frames_of(talk)
    late = {"in": -0.004, "out": 0.006}
    theirs = [
        msgspec.structs.replace(frame, at=frame.at + late[frame.way] - shift)
        for frame in bridge.frames
    ]
    emulator = msgspec.structs.replace(
        bridge,
        header=msgspec.structs.replace(bridge.header, side="emulator"),
        records=tuple(theirs),
    )
    assert clock_shift(bridge, emulator) == pytest.approx(shift, abs=0.005)


def test_captures_of_different_calls_are_not_merged(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    other = tmp_path / "other.tcap"
    header = msgspec.structs.replace(read(both[0]).header, call_id="another")
    write(other, header, [Closed(1.0, "x")])
    done = run("capture", "merge", both[0], other, "-o", tmp_path / "out.tcap")
    assert done.returncode == 1
    assert "different calls" in done.stderr


# --- versions -------------------------------------------------------------------------


def test_a_file_of_the_newest_version_needs_no_migration(both: tuple[Path, Path]) -> None:
    before = both[0].read_bytes()
    done = run("capture", "migrate", both[0])
    assert done.returncode == 0
    assert "nothing to do" in done.stderr
    assert both[0].read_bytes() == before


def test_with_a_file_to_write_the_newest_version_is_copied_as_it_is(
    both: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out.tcap"
    done = run("capture", "migrate", both[0], "-o", out)
    assert (done.returncode, "copied to" in done.stderr) == (0, True)
    assert out.read_bytes() == both[0].read_bytes()
    torn = tmp_path / "torn.tcap"
    torn.write_bytes(both[0].read_bytes()[:-1])
    done = run("capture", "migrate", torn)
    assert done.returncode == 1
    assert "a block is cut short" in done.stderr


def test_converters_are_applied_one_after_the_other() -> None:
    """R2: how it will be once there is a second version."""
    steps = {1: lambda data: data + b"2", 2: lambda data: data + b"3"}
    assert versions.converted(b"1", 1, steps, newest=3) == b"123"
    assert versions.converted(b"x", 3, steps, newest=3) == b"x"
    with pytest.raises(CaptureError, match="no way from format version 3"):
        versions.converted(b"x", 1, steps, newest=4)


def test_a_newer_file_is_one_clear_error(tmp_path: Path) -> None:
    """R2"""
    path = tmp_path / "newer.tcap"
    path.write_bytes(b"TCAP\x07\n" + pack([encode_record(Closed(1.0, "x"))]))
    for command in ("info", "frames", "migrate"):
        done = run("capture", command, path)
        assert done.returncode == 1
        assert "format version 7" in done.stderr
