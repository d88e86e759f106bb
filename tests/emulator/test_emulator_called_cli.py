"""``teamscall emulate --answer`` as a process: what it prints, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from called_rig import SECRET, TENANT, USER, now_ms
from emulate_options_rig import emulate_options
from test_emulator_cli import ENV, PROGRAM

from teamscall.cli.emulate_called import make_answering, parse_listen
from teamscall.cli.emulate_run import place
from teamscall.cli.emulate_words import words
from teamscall.emulator import happenings as seen
from teamscall.emulator.answering import Answering
from teamscall.emulator.report import Rung
from teamscall.errors import InputError
from teamscall.wire.signature import control_headers

ENVIRONMENT = {**ENV, "TEAMSCALL_EMULATE_SECRET": SECRET.decode()}


@contextmanager
def emulating(*args: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """The process, once it waits, and its first JSON line."""
    process = subprocess.Popen(
        [*PROGRAM, "--json", *args],
        env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        waiting = json.loads(process.stdout.readline())
        assert waiting["event"] == "waiting"
        yield process, waiting
    finally:
        process.kill()
        process.communicate()


def request(url: str, method: str, path: str, body: bytes, subject: str, secret: bytes) -> Any:
    headers = dict(control_headers(secret, now_ms(), method, path, body, subject, "both"))
    data = None if method == "DELETE" else body
    asked = urllib.request.Request(url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def place_by_hand(url: str, secret: bytes = SECRET) -> Any:
    body = json.dumps({"userObjectId": USER, "tenantId": TENANT}).encode()
    return request(url, "POST", "/api/calls", body, USER, secret)


def test_a_process_is_called_refuses_a_wrong_secret_and_reports() -> None:
    args = ("--url", "127.0.0.1:9", "--answer", "busy", "--ring", "0", "--listen", "127.0.0.1:0")
    with emulating(*args) as (process, waiting):
        assert place_by_hand(waiting["listening"], b"wrong")[0] == 401
        status, body = place_by_hand(waiting["listening"])
        assert status == 200
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == [
        "warned", "ringing", "ring-stopped", "ended", "outcome-told", "report",
    ]  # fmt: skip
    assert "wrong secret" in lines[0]["text"]
    assert {line.get("call_id") for line in lines[1:]} == {json.loads(body)["callId"]}
    report = lines[-1]
    assert (report["outcome"], report["exit_code"]) == ("not-answered", 0)
    assert (report["rung"]["outcome"], report["rung"]["outcome_status"]) == ("busy", 0)
    assert SECRET.decode() not in out + err


def test_ctrl_c_while_it_rings_ends_it_in_order() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"127.0.0.1:{mute.getsockname()[1]}"
        args = ("--url", url, "--dialect", "csharp", "--answer", "no-answer",
                "--no-socket", "--listen", "127.0.0.1:0", "--calls", "0")  # fmt: skip
        with emulating(*args) as (process, waiting):
            body = json.dumps({"target": {"type": "phone", "number": "+49"}}).encode()
            asked = urllib.request.Request(
                waiting["listening"] + "/control/initiateCall",
                body,
                {"X-Bridge-Secret": SECRET.decode()},
            )
            with urllib.request.urlopen(asked, timeout=20) as answer:
                assert answer.status == 202
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["event"] == "ringing"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert json.loads(out.splitlines()[-1])["outcome"] == "interrupted"
    assert "Traceback" not in err


@pytest.mark.parametrize(("calls", "code"), [("1", 130), ("0", 0)])
def test_ctrl_c_while_nobody_calls(calls: str, code: int) -> None:
    args = ("--url", "127.0.0.1:9", "--answer", "pick-up", "--listen", ":0", "--calls", calls)
    with emulating(*args) as (process, _):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ring": 0.0}, "--answer"),
        ({"calls": 0}, "--answer"),
        ({"leg_first": True}, "--answer"),
        ({"answer": "busy", "late": 1.0}, "--late"),
        ({"answer": "busy", "expect_speech": True}, "--expect-speech"),
        ({"answer": "pick-up", "late": 1.0, "ring": 1.0}, "--ring does not fit"),
        ({"answer": "pick-up", "own_socket": True}, "csharp"),
        ({"answer": "pick-up", "leg_first": True, "dialect": "csharp"}, "standin"),
        ({"answer": "pick-up", "no_socket": True, "dialect": "csharp"}, "--listen"),
        ({"answer": "pick-up", "call_id": "x"}, "--call-id"),
        ({"answer": "pick-up", "listen": "x"}, "listen on"),
        ({"answer": "pick-up", "listen": "h:70000"}, "listen on"),
        ({"answer": "pick-up", "url": ""}, "no --url"),
        ({"answer": "pick-up", "wav": __file__}, "--wav|WAV"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(
    changes: dict[str, Any], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if "wav" in changes:
        changes = {**changes, "wav": Path(changes["wav"])}
    assert place(emulate_options(**{"url": "h", "secret": "s", "quiet": True, **changes})) == 2
    printed = capsys.readouterr()
    assert any(word in printed.err for word in expected.split("|")), printed.err
    assert printed.out == ""


def test_a_taken_port_is_a_sentence_and_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        given = emulate_options(url="h", secret="s", quiet=True, answer="busy", listen=where)
        assert place(given) == 4
    assert "already in use" in capsys.readouterr().err


def test_where_to_listen_and_how_long_to_ring() -> None:
    assert parse_listen("9440") == parse_listen(":9440") == ("127.0.0.1", 9440)
    assert parse_listen("[::1]:0") == ("::1", 0)
    for bad in ("", "host", "host:", "host:-1", "host:65536", "host:１"):
        with pytest.raises(InputError):
            parse_listen(bad)
    standin = make_answering(emulate_options(answer="pick-up"))
    assert (standin.listen, standin.calls, standin.ring_for_s) == (("127.0.0.1", 9440), 1, 2.0)
    csharp = make_answering(emulate_options(answer="no-answer", dialect="csharp", mic=True))
    assert (csharp.listen, csharp.lines) == (None, 1)
    assert csharp.ring_for_s > 600


def test_every_new_event_has_words() -> None:
    waiting = seen.Waiting(0, "csharp", "http://127.0.0.1:1", "ws://127.0.0.1:2/x")
    assert "bridge.control_url" in words(waiting)
    assert "“Hi”" in words(seen.Ringing(0, "c", "user", "u", "t", "Hi"))
    assert "bridge" in words(seen.RingStopped(0, "bridge", "cancelled", 100))
    assert "late" in words(seen.PickedUp(0, 100, True))
    assert "does not answer" in words(seen.OutcomeTold(0, "busy", 0))
    assert "not taken" in words(seen.OutcomeTold(0, "busy", 401))
    assert Answering().ring_for_s == 2.0
    assert Rung("user", "u", "t", "", "busy").ended_by == ""
