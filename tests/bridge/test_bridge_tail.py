"""`teamscall tail` on a real bridge with real calls: cuts, lost connections, kill -9."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bridge_rig import BRIDGE_SECRET, START_S, Served, ports, served

from teamscall.audio.wav import write_wav
from teamscall.cli.demo_run import question_wav
from teamscall.errors import ExitCode
from teamscall.wire.events import SAMPLE_RATE

SCRIPT = """
word_ms = 250
[[line]]
heard = "What can you do?"
partials = ["What"]
answer = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen."
[[line]]
heard = "Stop it."
answer = "All right."
"""
TAIL = [sys.executable, "-m", "teamscall", "tail"]


class Tailing:
    """A running `tail` and the lines that it has printed."""

    def __init__(self, door: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*TAIL, "--socket", str(door), *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.out: list[str] = []
        self.err: list[str] = []
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream: Any, into: list[str]) -> None:
        for line in stream:
            with self._news:
                into.append(line.rstrip("\n"))
                self._news.notify_all()
        stream.close()

    def until(self, what: Callable[[], object]) -> None:
        with self._news:
            if not self._news.wait_for(what, START_S):
                raise AssertionError("\n".join(["waited in vain:", *self.out, *self.err]))

    def count(self, event: str) -> int:
        return sum(f'"event": "{event}"' in line for line in self.out)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(30)
        for thread in self._threads:
            thread.join(30)
        return code

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out]


@contextlib.contextmanager
def tailing(door: Path, *options: str) -> Iterator[Tailing]:
    tail = Tailing(door, *options)
    try:
        yield tail
    finally:
        if tail.process.poll() is None:
            tail.process.kill()
        tail.wait()


class Wire:
    """A socket in front of the door, whose connections can be cut."""

    def __init__(self, path: Path, door: Path) -> None:
        self._door = door
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self.cuts = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._spawn(self._accept)

    def _spawn(self, work: Callable[..., None], *given: Any) -> None:
        thread = threading.Thread(target=work, args=given, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._open += [near, far]
            try:
                far.connect(str(self._door))
            except OSError:
                near.close()
                continue
            self._spawn(self._pump, near, far)
            self._spawn(self._pump, far, near)

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        self.cuts += 1
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()
        for thread in self._threads:
            thread.join(10)
        for one in self._open:
            one.close()


def bridge(tmp_path: Path, door: Path) -> contextlib.AbstractContextManager[Served]:
    script = tmp_path / "script.toml"
    script.write_text(SCRIPT)
    return served(
        tmp_path, "--engine", "scripted", "--set", f"scripted.path={script}",
        "--set", f"control.socket={door}", "--set", "inbound.greeting=",
    )  # fmt: skip


def interrupting(path: Path) -> Path:
    """Speech, two seconds for the answer to begin, speech into it, and quiet."""
    second = SAMPLE_RATE * 2
    speech = question_wav()[:second]
    write_wav(path, speech + bytes(2 * second) + speech + bytes(2 * second))
    return path


@contextlib.contextmanager
def calling(up: Served, sound: Path, call_id: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [
            sys.executable, "-m", "teamscall", "emulate", "--dialect", "csharp", "--quiet",
            "--url", ports(up)[0], "--wav", str(sound), "--call-id", call_id,
            "--name", "Ann\x1b[2J",
        ],
        env=os.environ | {"TEAMSCALL_EMULATE_SECRET": BRIDGE_SECRET},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def once(door: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TAIL, "--socket", str(door), *options], capture_output=True, text=True, timeout=60
    )


def test_a_tail_through_lost_connections_and_a_killed_bridge(tmp_path: Path) -> None:
    door, by_wire = tmp_path / "c.sock", tmp_path / "w.sock"
    sound = interrupting(tmp_path / "s.wav")
    wire = Wire(by_wire, door)
    with (
        contextlib.closing(wire),
        tailing(door, "-f", "--json", "--events", "all") as machine,
        tailing(by_wire, "-f", "--json", "--events", "all") as shaken,
    ):
        machine.until(lambda: len(machine.err) == 1)  # waited for
        shaken.until(lambda: len(shaken.err) == 1)
        with bridge(tmp_path, door) as up:
            machine.until(lambda: len(machine.err) == 2)  # and there
            shaken.until(lambda: len(shaken.err) == 2)
            with calling(up, sound, "first-call") as call:
                shaken.until(lambda: shaken.count("call-opened"))
                with tailing(door, "firs", "--until-end") as plain:
                    wire.cut()
                    shaken.until(lambda: shaken.count("said"))
                    wire.cut()
                    assert call.wait(60) == 0
                    assert plain.wait() == ExitCode.OK
            machine.until(lambda: machine.count("call-closed") == 1)
            shaken.until(lambda: shaken.count("call-closed") == 1)
            remembered = once(door, "--json", "--events", "all")
            assert remembered.returncode == ExitCode.OK
            _shows_the_cut(plain)

            # Nothing doubled, nothing lost: as one who had no trouble has it.
            whole = [json.loads(line) for line in remembered.stdout.splitlines()]
            assert whole[0]["version"] == 1
            assert machine.events == whole
            assert shaken.events == whole
            shaken.until(lambda: len(shaken.err) == 2 + 2 * wire.cuts)  # each said once
            assert shaken.stop() == ExitCode.INTERRUPTED
            assert "Traceback" not in "".join(shaken.err)

            with calling(up, sound, "second-call"):  # killed in the middle of it
                machine.until(lambda: machine.count("turn-began") == 3)
                up.process.kill()
                up.process.wait()
        with bridge(tmp_path, door) as again:
            machine.until(lambda: machine.count("gap") == 1)
            before = len(machine.out)
            assert json.loads(machine.out[-1])["why"] == "restarted"
            with calling(again, sound, "third-call") as call:
                machine.until(lambda: machine.count("call-opened") == 3)
                call.send_signal(signal.SIGINT)  # it hangs up
                machine.until(lambda: machine.count("call-closed") == 2)
            remembered = once(door, "--json", "--events", "all")
            assert remembered.stdout.splitlines() == machine.out[before:]
        assert machine.stop() == ExitCode.INTERRUPTED
        assert "Traceback" not in "".join(machine.err)


def _shows_the_cut(plain: Tailing) -> None:
    text = "\n".join(plain.out)
    assert "[cut: " in text
    assert "thirteen fourteen.]" in text
    assert "caller  What can you do?" in text
    assert "interrupted by the caller" in text
    assert "ended by the caller" in plain.out[-1]
    assert "\x1b" not in text


def test_what_a_tail_of_no_bridge_or_no_call_says(tmp_path: Path) -> None:
    door = tmp_path / "c.sock"
    alone = once(door)
    assert alone.returncode == ExitCode.UNAVAILABLE
    assert alone.stdout == ""
    assert len(alone.stderr.splitlines()) == 2
    with bridge(tmp_path, door) as up:
        ports(up)
        for options in (("nobody",), ("nobody", "-f")):
            unknown = once(door, *options)
            assert unknown.returncode == ExitCode.USAGE, options
            assert "nobody" in unknown.stderr
        assert once(door, "--since", "soon").returncode == ExitCode.USAGE
        quiet = once(door, "--until-end")
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (ExitCode.OK, "", "")

        # Whoever read it went away: noticed although there is nothing to write.
        gone = subprocess.Popen(
            [*TAIL, "--socket", str(door), "-f"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert gone.stdout is not None
        assert gone.stderr is not None
        gone.stdout.close()
        gone.wait(30)
        assert gone.stderr.read() == b""
        gone.stderr.close()
