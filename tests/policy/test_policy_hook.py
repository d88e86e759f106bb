"""The hook: real processes and a real HTTP server, well behaved and not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from teamscall.config import Authorization
from teamscall.policy.authorization import Decision, Policy, PolicyRequest
from teamscall.wire.events import Caller

ANNA = Caller(
    user_id="u-anna",
    tenant_id="t-1",
    display_name="Anna Ünal",
    user_principal_name="a@x.org",
    teams_call_id="tc",
)
REQUEST = PolicyRequest("call-1", "csharp", ANNA, "auth_request")
UNDECIDED = Decision(False, "open", "Authorization error")
GRANTED = Decision(True, "open")


def ask(
    script: str = "",
    *,
    url: str = "",
    mode: str = "open",
    timeout_ms: int = 1900,
    command: tuple[str, ...] = (),
    request: PolicyRequest = REQUEST,
) -> Decision:
    if script:
        command = (sys.executable, "-S", "-c", script)
    settings = Authorization(
        mode=mode,  # type: ignore[arg-type]
        hook_command=command,
        hook_url=url,
        hook_timeout_ms=timeout_ms,
    )
    return asyncio.run(Policy(settings).authorize(request))


def gone(pid: int) -> bool:
    """Whether a process no longer runs, and is not a zombie that we ought to reap."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if _zombie_of_init(pid):
            return True
        time.sleep(0.02)
    return False


def _zombie_of_init(pid: int) -> bool:
    """Killed and orphaned: init reaps it whenever it likes. Only Linux can tell."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state == "Z" and int(parent) != os.getpid()


# --- a command --------------------------------------------------------------------


def test_a_command_gets_the_request_and_grants(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    script = (
        "import sys\n"
        f"open({str(seen)!r}, 'w', encoding='utf-8').write(sys.stdin.buffer.read().decode())\n"
        'print(\'{"authorized": true, "extra": 1}\')'
    )
    assert ask(script) == GRANTED
    assert json.loads(seen.read_text(encoding="utf-8")) == {
        "version": 1,
        "callId": "call-1",
        "dialect": "csharp",
        "on": "auth_request",
        "caller": {
            "userId": "u-anna",
            "tenantId": "t-1",
            "displayName": "Anna Ünal",
            "userPrincipalName": "a@x.org",
            "phoneNumber": "",
            "teamsCallId": "tc",
        },
    }


def test_a_denial_is_the_hooks_and_printable() -> None:
    answer = json.dumps({"authorized": False, "reason": "not\x1b[31m on duty\n" + "x" * 500})
    decision = ask(f"print({answer!r})")
    assert (decision.authorized, decision.strategy) == (False, "hook")
    assert decision.reason.startswith("not [31m on duty x")
    assert len(decision.reason) == 200


def test_a_denial_without_a_reason_gets_one() -> None:
    for answer in ('{"authorized": false}', '{"authorized": false, "reason": null}'):
        assert ask(f"print({answer!r})") == Decision(False, "hook", "Denied by hook")


def test_a_hook_is_not_asked_about_what_the_rules_refused(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    script = f"open({str(asked)!r}, 'w'); print('{{\"authorized\": true}}')"
    assert ask(script, mode="disabled") == Decision(False, "disabled", "Inbound calls disabled")
    assert not asked.exists()


@pytest.mark.parametrize(
    "script",
    [
        "print('{\"authorized\": true}'); raise SystemExit(1)",
        "print('{\"authorized\": true}', flush=True); import os; os.kill(os.getpid(), 11)",
        "pass",
        "print('yes')",
        "print('{}')",
        "print('{\"authorized\": 1}')",
        'print(\'{"authorized": "true"}\')',
        'print(\'{"authorized": true, "reason": 5}\')',
        "print('[true]')",
        'print(\'{"authorized": true} {"authorized": true}\')',
        "print('[' * 60000)",
        'import sys; sys.stdout.buffer.write(b\'{"authorized": true, "reason": "\\xff"}\')',
        "print('{\"authorized\": true}' + ' ' * 100000)",
        "import sys, itertools\nfor _ in itertools.count(): sys.stdout.write('x' * 65536)",
    ],
)
def test_what_is_not_a_good_answer_denies(script: str) -> None:
    assert ask(script) == UNDECIDED


@pytest.mark.parametrize("command", [("/no/such/program",), ("/",), ("a\0b",)])
def test_a_command_that_cannot_run_denies(command: tuple[str, ...]) -> None:
    assert ask(command=command) == UNDECIDED


def test_a_hanging_command_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, time, signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        f"open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"
        "time.sleep(600)"
    )
    assert ask(script, timeout_ms=1000) == UNDECIDED
    numbers = [int(line) for line in pids.read_text().split()]
    assert len(numbers) == 2
    assert all(map(gone, numbers))


def test_what_a_finished_command_left_behind_is_killed_too(tmp_path: Path) -> None:
    left = tmp_path / "left"
    script = (
        "import os, time\n"
        "child = os.fork()\n"
        "if not child: time.sleep(600)\n"
        f"open({str(left)!r}, 'w').write(str(child))\n"
        "print('{\"authorized\": true}')"
    )
    assert ask(script) == GRANTED
    assert gone(int(left.read_text()))


def test_a_cancelled_question_leaves_no_process(tmp_path: Path) -> None:
    born = tmp_path / "born"
    script = f"import os, time; open({str(born)!r}, 'w').write(str(os.getpid())); time.sleep(600)"

    async def cancel() -> None:
        policy = Policy(
            Authorization(mode="open", hook_command=(sys.executable, "-S", "-c", script))
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await policy.authorize(REQUEST)

    asyncio.run(cancel())
    assert gone(int(born.read_text()))


def test_many_hooks_at_once_are_independent() -> None:
    script = (
        "import sys, json; r = json.load(sys.stdin)\n"
        "print(json.dumps({'authorized': r['callId'] == 'yes', 'reason': r['callId']}))"
    )

    async def all_of_them() -> list[Decision]:
        policy = Policy(
            Authorization(
                mode="open", hook_command=(sys.executable, "-S", "-c", script), hook_timeout_ms=1900
            )
        )
        names = ["yes", "no-1", "no-2"]
        return await asyncio.gather(
            *(policy.authorize(PolicyRequest(n, "csharp", ANNA, "auth_request")) for n in names)
        )

    assert asyncio.run(all_of_them()) == [
        GRANTED,
        Decision(False, "hook", "no-1"),
        Decision(False, "hook", "no-2"),
    ]


def test_the_log_says_why_without_obeying_the_command(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "teamscall.policy"):
        ask("import sys; sys.exit('directory\\x1b[2J down')")
    (record,) = caplog.records
    assert record.getMessage() == "The authorization hook failed; the call is refused"
    assert record.__dict__["callId"] == "call-1"
    assert record.__dict__["detail"] == "the command ended with status 1: directory [2J down"


def test_a_bug_in_the_hook_denies(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("bug")

    monkeypatch.setattr("teamscall.policy.authorization.run_hook", broken)
    assert ask(command=("x",)) == UNDECIDED


# --- a URL ------------------------------------------------------------------------


@contextmanager
def serving(status: int, body: bytes, *, hang: bool = False) -> Iterator[tuple[str, list[object]]]:
    """A local HTTP server; yields its URL and what was posted to it."""
    seen: list[object] = []
    release = threading.Event()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if hang:
                release.wait(10)
                return
            self.send_response(status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:
                return  # the client had enough

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/may", seen
    finally:
        release.set()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_url_grants_and_denies() -> None:
    with serving(200, b'{"authorized": true}') as (url, seen):
        assert ask(url=url) == GRANTED
        assert seen[0]["callId"] == "call-1"  # type: ignore[index]
    with serving(200, b'{"authorized": false, "reason": "on holiday"}') as (url, _):
        assert ask(url=url) == Decision(False, "hook", "on holiday")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b'{"authorized": true}'),
        (302, b'{"authorized": true}'),
        (204, b""),
        (200, b"<html>"),
        (200, b'{"authorized": true}' + b" " * 1_000_000),
    ],
)
def test_what_is_no_good_answer_of_a_url_denies(status: int, body: bytes) -> None:
    with serving(status, body) as (url, seen):
        assert ask(url=url) == UNDECIDED
        assert len(seen) == 1


def test_a_hanging_url_denies() -> None:
    with serving(200, b"", hang=True) as (url, seen):
        assert ask(url=url, timeout_ms=300) == UNDECIDED
        assert len(seen) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1", "nonsense://x"])
def test_a_url_that_cannot_be_asked_denies(url: str) -> None:
    assert ask(url=url) == UNDECIDED


def test_without_a_hook_nothing_is_waited_for() -> None:
    policy = Policy(Authorization(mode="open"))
    assert not policy.has_hook
    assert policy.rules_decide(ANNA) == GRANTED
    assert asyncio.run(policy.authorize(REQUEST)) == GRANTED
