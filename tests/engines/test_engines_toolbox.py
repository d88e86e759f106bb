"""Tools: checked, used, bounded, and never a reason for a call to fail."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from engines_rig import CALL, eventually, run
from hypothesis import given
from hypothesis import strategies as st

from teamscall.config import Tool
from teamscall.engines.toolbox import DONE, END_CALL, MAX_OUTPUT_BYTES, Toolbox, readable
from teamscall.engines.tools import NoTools, ToolResult, Tools

SCHEMA = {
    "type": "object",
    "properties": {
        "room": {"type": "string"},
        "seats": {"type": "integer"},
        "price": {"type": "number"},
        "kind": {"enum": ["big", "small"]},
        "note": {"type": ["string", "null"]},
        "odd": {"type": "colour"},
    },
    "required": ["room"],
}


def toolbox(script: str = "", *, url: str = "", timeout_ms: int = 20_000) -> Toolbox:
    command = (sys.executable, "-S", "-c", script) if script else ()
    tool = Tool(
        name="book",
        description="Books a room.",
        parameters=SCHEMA,
        command=command,
        url=url,
        timeout_ms=timeout_ms,
    )
    return Toolbox([tool])


def use(tools: Tools, arguments: str = '{"room": "4.01"}', name: str = "book") -> ToolResult:
    found: list[ToolResult] = []

    async def check() -> None:
        found.append(await tools.use(CALL, name, arguments))

    run(check)
    return found[0]


def error_of(result: ToolResult) -> str:
    error = json.loads(result.output)["error"]
    assert isinstance(error, str)
    return error


# --- what there is ----------------------------------------------------------------------


def test_a_model_is_told_of_every_tool_and_how_to_hang_up() -> None:
    specs = toolbox("pass").specs
    assert [spec.name for spec in specs] == ["end_call", "book"]
    assert "goodbye" in specs[0].description
    assert specs[1].parameters == SCHEMA
    assert Toolbox(end_call=False).specs == NoTools().specs == ()


def test_hanging_up_ends_the_call() -> None:
    assert use(Toolbox(), "", END_CALL.name) == ToolResult(DONE, end_call=True)
    assert not use(Toolbox(end_call=False), "", END_CALL.name).end_call


def test_an_unknown_tool_is_an_error_for_the_model_and_not_for_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    assert error_of(use(Toolbox(), "{}", "what_the_caller_said")).startswith("there is no tool")
    assert "caller_said" not in caplog.text
    assert error_of(use(NoTools(), "{}", "x"))


# --- arguments --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("", "missing: room"),
        ("{", "not JSON"),
        ("[" * 30_000, "not JSON"),
        ("[]", "not a JSON object"),
        ('{"seats": 4}', "missing: room"),
        ('{"room": 4}', "room must be of type string"),
        ('{"room": "a", "seats": 4.5}', "seats must be of type integer"),
        ('{"room": "a", "seats": true}', "seats must be of type integer"),
        ('{"room": "a", "price": "4"}', "price must be of type number"),
        ('{"room": "a", "kind": "huge"}', 'kind must be one of ["big", "small"]'),
        ('{"room": "a", "note": 1}', "note must be of type string or null"),
        (json.dumps({"room": "a" * 100_000}), "too long"),
    ],
)
def test_wrong_arguments_are_told_to_the_model(arguments: str, problem: str) -> None:
    # It would fail if it were run.
    assert problem in error_of(use(toolbox("raise SystemExit(1)"), arguments))


ECHO = "import sys; print(sys.stdin.read())"


@pytest.mark.parametrize(
    "arguments",
    [
        {"room": "a", "seats": 4.0, "price": 3, "kind": "big", "note": None, "odd": 1, "more": 2},
        {"room": "Ünal", "seats": 4, "price": 1.5, "note": "x"},
    ],
)
def test_a_command_gets_the_call_and_the_arguments(arguments: dict[str, Any]) -> None:
    result = use(toolbox(ECHO), json.dumps(arguments))
    assert json.loads(result.output) == {
        "call": {"id": "call-1", "direction": "inbound", "callerName": "Ada Lovelace"},
        "tool": "book",
        "arguments": arguments,
    }
    assert not result.end_call


def test_a_schema_may_be_closed() -> None:
    closed = Tool(
        name="a", description="b", parameters={"additionalProperties": False}, command=("false",)
    )
    assert "no argument x" in error_of(use(Toolbox([closed]), '{"x": 1}', "a"))


# --- commands ---------------------------------------------------------------------------


def test_a_command_does_not_see_the_bridges_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "s3cret")
    monkeypatch.setenv("OTHER", "seen")
    shown = use(toolbox("import os; print(*os.environ)")).output.split()
    assert "OTHER" in shown
    assert "TEAMSCALL_BRIDGE_SECRET" not in shown


def test_silence_is_success() -> None:
    assert use(toolbox("pass")).output == DONE


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("raise SystemExit('no such room')", "ended with status 1: no such room"),
        ("print('x' * 100_000)", "longer than 65536 bytes"),
    ],
)
def test_what_a_failed_command_says_is_for_the_model_only(
    script: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assert problem in error_of(use(toolbox(script)))
    assert "A tool failed" in caplog.text
    assert "no such room" not in caplog.text
    assert "4.01" not in caplog.text


def test_a_command_that_cannot_be_run_says_so() -> None:
    tool = Tool(name="book", description="x", command=("/does/not/exist",))
    assert "cannot be run" in error_of(use(Toolbox([tool])))


GRANDCHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"])
open({path!r}, "w").write(f"{{os.getpid()}} {{child.pid}}")
os.rename({path!r}, {path!r} + ".done")
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:  # killed and orphaned: whoever is init reaps it when it likes
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return True


@pytest.mark.parametrize("cancels", [True, False])
def test_a_hanging_command_is_killed_with_all_it_started(tmp_path: Path, cancels: bool) -> None:
    path = tmp_path / "pids"
    done = tmp_path / "pids.done"
    tools = toolbox(GRANDCHILD.format(path=str(path)), timeout_ms=600_000 if cancels else 2_000)

    async def check() -> None:
        using = asyncio.get_running_loop().create_task(tools.use(CALL, "book", '{"room": ""}'))
        await eventually(done.exists)
        if cancels:
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
        else:
            assert "no result within 2000 ms" in error_of(await using)
        pids = [int(pid) for pid in done.read_text().split()]
        await eventually(lambda: not any(map(alive, pids)))

    run(check)


@given(st.binary(max_size=400))
def test_any_output_becomes_readable(output: bytes) -> None:
    text = readable(output)
    assert text == text.strip()
    assert all(c.isprintable() or c.isspace() or ord(c) > 127 for c in text)


def test_a_long_output_is_cut() -> None:
    text = readable("ü".encode() * MAX_OUTPUT_BYTES)
    assert text == "ü" * (MAX_OUTPUT_BYTES // 2) + " … (cut)"
    assert readable(b"\x1b[31mred\x00\r\n\tok") == "[31mred\n\tok"


# --- URLs -------------------------------------------------------------------------------


@contextmanager
def serving(status: int, body: bytes) -> Iterator[tuple[str, list[Any]]]:
    seen: list[Any] = []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            seen.append(json.loads(self.rfile.read(length)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/tool", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "output"), [(200, b"Booked.", "Booked."), (204, b"", DONE)]
)
def test_a_url_gets_the_call_and_the_arguments(status: int, body: bytes, output: str) -> None:
    with serving(status, body) as (url, seen):
        tools = toolbox(url=url)
        tools.prepare()
        assert use(tools).output == output
    assert seen[0]["arguments"] == {"room": "4.01"}
    assert seen[0]["call"]["id"] == "call-1"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (500, b"", "status 500"),
        (302, b"", "status 302"),
        (200, b"x" * 100_000, "longer than"),
    ],
)
def test_a_url_that_fails_is_told_to_the_model(status: int, body: bytes, problem: str) -> None:
    with serving(status, body) as (url, _):
        assert problem in error_of(use(toolbox(url=url)))


def test_nobody_there_is_told_to_the_model() -> None:
    assert "cannot be asked" in error_of(use(toolbox(url="http://127.0.0.1:9/")))
