"""The door of a real bridge: verbs, errors, who may come in, and those who do not read."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest
from door_rig import TOKEN, Site, bridge, run, short_folder, until
from websockets.asyncio.client import connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from teamscall.calls.records import Audited, CallRecord, Said
from teamscall.config import Control, JournalFile, Outbound, Secret
from teamscall.control.client import EventStream
from teamscall.control.client import connect as ask_bridge
from teamscall.control.protocol import (
    MAX_UNSAID,
    ErrorCode,
    Initiate,
    Speak,
    Subscribe,
)
from teamscall.control.where import Where, alive
from teamscall.errors import ControlError, DeadlinePassed, DialError, ExitCode
from teamscall.journal import readers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_socket_is_its_owners_alone_and_goes_with_the_bridge() -> None:
    async def work() -> None:
        async with bridge() as site:
            path = Path(site.where.socket)
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            assert alive(path)
            async with site.client() as client:
                status = await client.status()
        assert status.ready
        assert not status.calls
        assert status.journal.path == str(site.folder / "journal.sqlite3")
        with pytest.raises(DialError) as none:
            async with ask_bridge(site.where):
                pass
        assert none.value.message == "No bridge is running here."
        assert none.value.exit_code == ExitCode.UNAVAILABLE

    run(work())


def test_the_verbs_find_a_call_by_the_beginning_of_its_id() -> None:
    async def work() -> None:
        async with bridge() as site, site.client() as client, site.call("cafe-1", "cafe-2"):
            assert (await client.call_status("cafe-1")).state == "talking"
            with pytest.raises(ControlError) as two:
                await client.speak("cafe", "Hello.")
            assert two.value.name == "call-ambiguous"
            assert two.value.data["callIds"] == ["cafe-1", "cafe-2"]
            assert (await client.speak("cafe-2", "Hello.")).call_id == "cafe-2"
            assert (await client.end("cafe-1")).call_id == "cafe-1"
            await until(lambda: site.up.switchboard.active == 1)
            assert (await client.end("cafe")).call_id == "cafe-2"
            await until(lambda: site.up.switchboard.active == 0)
            journal = site.up.journal
            assert journal is not None
            await until(lambda: readers.calls(journal.path, call_id="cafe-2")[0].closed_ms)
            over = await client.call_status("cafe-2")
            assert (over.state, over.ended_by, over.reason) == ("ended", "operator", "operator")
            with pytest.raises(ControlError, match="2 calls begin with cafe"):
                await client.call_status("cafe")
            listed = (await client.calls(limit=10)).calls
            assert {call["callId"] for call in listed} == {"cafe-1", "cafe-2"}

    run(work())


def test_every_change_is_audited_and_never_with_what_was_to_be_said() -> None:
    async def work() -> None:
        records: list[CallRecord] = []
        async with bridge() as site, site.call("cafe-1"):
            site.up.switchboard.watch(records.append)
            async with site.client(name="probe\x1b[2J") as client:
                await client.speak("cafe-1", "the secret word")
                await client.outbound(False)
                with pytest.raises(ControlError):
                    await client.end("nowhere")
                await client.status()
        told = [record for record in records if isinstance(record, Audited)]
        assert [(one.action, one.result) for one in told] == [
            ("speak", "ok"),
            ("outbound", "ok"),
            ("end", "call-not-found"),
        ]
        assert all(one.by.startswith("socket") and one.by.endswith("(probe [2J)") for one in told)
        assert b"secret word" not in msgspec.json.encode(told)

    run(work())


QUESTIONS: list[tuple[str | bytes, ErrorCode]] = [
    ("{", ErrorCode.PARSE_ERROR),
    (b"\xff\xfe", ErrorCode.PARSE_ERROR),
    ("[" * 60_000, ErrorCode.PARSE_ERROR),
    ('[{"jsonrpc": "2.0", "id": 1, "method": "teamscall.status"}]', ErrorCode.INVALID_REQUEST),
    ('"teamscall.status"', ErrorCode.INVALID_REQUEST),
    ('{"id": 1, "method": "teamscall.status"}', ErrorCode.INVALID_REQUEST),
    ('{"jsonrpc": "2.0", "id": [1], "method": "teamscall.status"}', ErrorCode.INVALID_REQUEST),
    ('{"jsonrpc": "2.0", "id": 1, "method": 7}', ErrorCode.INVALID_REQUEST),
    ('{"jsonrpc": "2.0", "id": 1, "method": "teamscall.fly"}', ErrorCode.METHOD_NOT_FOUND),
]
PARAMS: list[tuple[str, dict[str, Any], ErrorCode, str]] = [
    ("speak", {"callId": "cafe-1"}, ErrorCode.INVALID_PARAMS, "required field `message`"),
    ("speak", {"callId": 1, "message": "a"}, ErrorCode.INVALID_PARAMS, "`$.callId`"),
    ("speak", {"callId": "c", "message": "a", "x\x1b": 1}, ErrorCode.INVALID_PARAMS, "unknown"),
    ("speak", {"callId": "cafe-1", "message": " "}, ErrorCode.INVALID_PARAMS, "nothing to say"),
    ("speak", {"callId": "cafe-1", "message": "\x1b\u200b"}, ErrorCode.INVALID_PARAMS, "nothing"),
    ("speak", {"callId": "cafe-1", "message": "a" * 4001}, ErrorCode.INVALID_PARAMS, "4001"),
    ("speak", {"callId": "", "message": "a"}, ErrorCode.INVALID_PARAMS, "blank"),
    ("end", {"callId": "x" * 300}, ErrorCode.INVALID_PARAMS, "256"),
    ("end", {"callId": "caf"}, ErrorCode.CALL_NOT_FOUND, "no call caf"),
    ("initiate", {"to": " "}, ErrorCode.INVALID_PARAMS, "blank"),
    ("initiate", {"to": "user:u", "mode": "shout"}, ErrorCode.INVALID_PARAMS, "shout"),
    ("initiate", {"to": "phone:+4930123456"}, ErrorCode.REFUSED, "allow"),
    ("drain", {"seconds": -1}, ErrorCode.INVALID_PARAMS, "seconds"),
    ("calls", {"sinceMs": 2**63}, ErrorCode.INVALID_PARAMS, "sinceMs"),
    ("calls", {"limit": 0}, ErrorCode.INVALID_PARAMS, "limit"),
    ("calls", {}, ErrorCode.JOURNAL, "No records"),
    ("reload", {}, ErrorCode.RELOAD_FAILED, "no configuration"),
    ("subscribe", {"events": ["nonsense"]}, ErrorCode.INVALID_PARAMS, "nonsense"),
    ("subscribe", {"cursor": "x"}, ErrorCode.INVALID_PARAMS, "cursor"),
    ("unsubscribe", {"subscription": "x"}, ErrorCode.INVALID_PARAMS, "no such"),
]


def test_every_wrong_question_gets_its_own_error_and_the_connection_lives() -> None:
    async def work() -> None:
        off = JournalFile(enabled=False)
        async with bridge(journal=off) as site, site.raw() as raw, site.call("cafe-1"):
            for text, code in QUESTIONS:
                answer = await raw.say(text)
                assert answer["error"]["code"] == code, text
                assert answer["error"]["data"]["name"] == code.word
            for verb, params, code, words in PARAMS:
                answer = await raw.ask(f"teamscall.{verb}", "n1", **params)
                assert answer["id"] == "n1"
                error = answer["error"]
                assert (error["code"], words in error["message"]) == (code, True), (verb, error)
                assert error["message"].isprintable()
            assert (await raw.ask("teamscall.status"))["result"]["calls"][0]["callId"] == "cafe-1"

    run(work())


def test_ids_come_back_as_they_were_and_a_notification_gets_no_answer() -> None:
    async def work() -> None:
        async with bridge() as site, site.raw() as raw:
            await raw.link.send('{"jsonrpc": "2.0", "method": "teamscall.status"}')
            await raw.link.send('{"jsonrpc": "2.0", "method": "teamscall.nothing"}')
            for number in (0, "a\u2028b", 2**70, 1.5, None):
                assert (await raw.ask("teamscall.status", number))["id"] == number

    run(work())


def test_a_dry_run_lists_every_gate_and_a_refusal_names_the_one_that_refused() -> None:
    async def work() -> None:
        async with bridge(outbound=Outbound(allow_to=())) as site, site.client() as client:
            dry = await client.initiate(Initiate(to="user:u", dry_run=True))
            assert not dry.would_place
            assert not dry.attempt
            assert "allowed" in {gate.gate for gate in dry.gates if not gate.passed}
            with pytest.raises(ControlError) as no:
                await client.initiate(Initiate(to="user:u"))
            assert no.value.exit_code == ExitCode.REFUSED
            assert no.value.data["gate"] in {gate.gate for gate in dry.gates if not gate.passed}
            gates = no.value.data["gates"]
            assert isinstance(gates, list)
            assert len(gates) == len(dry.gates)

    run(work())


def test_a_call_that_waits_for_a_gateway_is_shown_cannot_hear_and_can_be_stopped() -> None:
    async def work() -> None:
        outbound = Outbound(allow_to=("*",), ring_timeout_ms=60_000, tenant="t")
        async with bridge(outbound=outbound) as site, site.client() as client, site.call("cafe"):
            asked = asyncio.gather(client.initiate(Initiate(to="phone:+4930123456", message="Hi.")))
            await until(site.up.outbound.attempts)
            (attempt,) = site.up.outbound.attempts()
            shown = await client.call_status(attempt.attempt[:9])
            assert (shown.attempt, shown.direction) == (attempt.attempt, "outbound")
            with pytest.raises(ControlError) as early:
                await client.speak(attempt.attempt, "Hello.")
            assert early.value.name == "call-not-listening"
            await client.end(attempt.attempt)
            await until(lambda: not site.up.outbound.attempts())
            await asyncio.gather(asked, return_exceptions=True)

    run(work())


def test_a_call_takes_so_many_messages_at_once_and_loses_none_of_them() -> None:
    async def work() -> None:
        async with bridge(engine="scripted") as site, site.client() as client, site.call("cafe-1"):
            # While the first is heard (minutes) the others wait.
            await client.speak("cafe-1", "word " * 500)
            for number in range(MAX_UNSAID):
                await client.speak("cafe-1", f"Message {number}.")
            with pytest.raises(ControlError) as full:
                await client.speak("cafe-1", "One more.")
            assert (full.value.name, full.value.exit_code) == ("too-much", ExitCode.FAILED)
            assert (await client.call_status("cafe-1")).turns == 1 + MAX_UNSAID

    run(work())


def test_a_drain_takes_no_more_calls_and_cuts_none() -> None:
    async def work() -> None:
        async with bridge() as site, site.client() as client, site.call("cafe-1"):
            assert (await client.drain(0.05)).calls == 1
            assert (await client.status()).draining
            assert site.up.switchboard.active == 1
            waiting = asyncio.gather(client.drain(30))
            with pytest.raises(ControlError) as no:
                await client.initiate(Initiate(to="user:u"))
            assert no.value.exit_code == ExitCode.REFUSED
            await client.end("cafe-1")
            ((left),) = await waiting
            assert left.calls == 0
            ready = site.up.switchboard.readiness()
            assert (ready.ready, ready.draining) == (False, True)

    run(work())


def test_no_browser_and_nobody_without_the_token_comes_in() -> None:
    async def work() -> None:
        port = free_port()
        with short_folder() as folder:
            control = Control(socket=str(folder / "c.sock"), port=port, token=Secret(TOKEN))
            async with bridge(control=control) as site:
                url = f"ws://127.0.0.1:{port}"
                right = {"Authorization": f"Bearer {TOKEN}"}
                for headers, status in (
                    ({}, 401),
                    ({"Authorization": "Bearer x"}, 401),
                    ({"Authorization": f"Bearer {TOKEN}x"}, 401),
                    ({"Authorization": f"Basic {TOKEN}"}, 401),
                    ({"Authorization": TOKEN}, 401),
                    ({"Origin": "http://localhost", **right}, 403),
                ):
                    with pytest.raises(InvalidStatus) as refused:
                        await connect(url, additional_headers=headers)
                    assert refused.value.response.status_code == status
                with pytest.raises(InvalidStatus):
                    await unix_connect(site.where.socket, origin="http://localhost")
                # A scheme's name has no case (RFC 9110), and clients write it as they like.
                async with connect(url, additional_headers={"Authorization": f"bearer {TOKEN}"}):
                    pass
                async with ask_bridge(Where(url=url, token=Secret(TOKEN))) as client:
                    assert (await client.status()).ready
                with pytest.raises(ControlError) as no:
                    async with ask_bridge(Where(url=url, token=Secret("x"))):
                        pass
                assert no.value.name == "unauthorized"
                assert TOKEN not in str(no.value)

    run(work())


def test_a_port_with_a_certificate_is_asked_over_tls() -> None:
    async def work() -> None:
        folder = Path(__file__).parents[1] / "server"
        pair = str(folder / "loopback.cert.pem"), str(folder / "loopback.key.pem")
        port = free_port()
        with short_folder() as own:
            control = Control(
                socket=str(own / "c.sock"), port=port, token=Secret(TOKEN),
                tls_cert=pair[0], tls_key=pair[1],
            )  # fmt: skip
            async with bridge(control=control):
                there = Where(url=f"wss://127.0.0.1:{port}", token=Secret(TOKEN), ca=pair[0])
                async with ask_bridge(there) as client:
                    assert (await client.status()).ready
                with pytest.raises(DialError, match="not trusted"):
                    async with ask_bridge(msgspec.structs.replace(there, ca="")):
                        pass

    run(work())


def test_one_connection_has_so_many_subscriptions_and_questions() -> None:
    async def work() -> None:
        async with bridge() as site, site.raw() as raw, site.call("cafe-1"):
            for _ in range(16):
                assert "result" in await raw.ask("teamscall.subscribe", events=["heard"])
            one_more = await raw.ask("teamscall.subscribe", events=["heard"])
            assert one_more["error"]["code"] == ErrorCode.TOO_MUCH
            question = {"jsonrpc": "2.0", "method": "teamscall.drain", "params": {"seconds": 60}}
            for number in range(33):
                await raw.link.send(json.dumps({"id": number, **question}))
            busy = await raw.next()
            assert (busy["id"], busy["error"]["code"]) == (32, ErrorCode.TOO_MUCH)
            async with site.client() as other:  # its own count
                await other.end("cafe-1")
            answers = [await raw.next() for _ in range(32)]
            assert all(answer["result"] == {"calls": 0} for answer in answers)

    run(work())


def said(site: Site, number: int, text: str = "") -> None:
    site.up.switchboard.tell(Said("c", number, number, text))


def test_who_does_not_read_holds_up_nobody_and_is_told_what_was_missed() -> None:
    async def work() -> None:
        async with bridge() as site, site.raw(max_queue=1) as slow, site.client() as quick:
            await slow.ask("teamscall.subscribe")
            for number in range(6000):
                said(site, number, "x" * 1000)
                if not number % 500:
                    await asyncio.sleep(0)
            assert (await quick.status()).ready  # at once, whatever the other one does
            missed = 0
            seen: list[int] = []
            while not seen or seen[-1] < 5999:
                event = (await slow.next())["params"]["event"]
                if event["event"] == "gap":
                    missed += event["missed"]
                    assert event["why"] == "slow"
                else:
                    seen.append(event["turn"])
            assert missed > 0
            assert missed + len(seen) == 6000
            assert seen == sorted(seen)

    run(work())


def test_a_subscription_goes_on_where_another_connection_stopped() -> None:
    async def work() -> None:
        async with bridge() as site:
            async with site.client() as client, client.subscribed(Subscribe()) as stream:
                for number in range(3):
                    said(site, number)
                first = await anext(stream)
                assert first.event == {
                    "event": "said", "callId": "c", "wallMs": 0, "turn": 0, "delta": "",
                }  # fmt: skip
            said(site, 3)
            async with site.client() as client:
                wanted = Subscribe(events=("said",), cursor=first.cursor)
                turns = []
                async for event in client.events(wanted):
                    turns.append(event.event["turn"])
                    if len(turns) == 3:
                        break
                assert turns == [1, 2, 3]
                stale = Subscribe(cursor="00000000:1")
                async with client.subscribed(stale) as stream:
                    assert stream.subscribed.gap
                    assert (await anext(stream)).event["why"] == "restarted"

    run(work())


async def everything(stream: EventStream) -> None:
    async for _ in stream:
        pass


def test_an_iteration_ends_with_the_bridge() -> None:
    async def work() -> None:
        async with bridge() as site:
            client = await (entered := site.client()).__aenter__()
            stream = await (subscribed := client.subscribed(Subscribe())).__aenter__()
        with pytest.raises(DialError, match="went away"):
            await everything(stream)
        with pytest.raises(DialError, match="went away"):
            await client.status()
        await subscribed.__aexit__(None, None, None)
        await entered.__aexit__(None, None, None)

    run(work())


def test_a_bridge_that_hangs_costs_the_timeout_and_no_more() -> None:
    async def work() -> None:
        with short_folder() as folder, socket.socket(socket.AF_UNIX) as deaf:
            deaf.bind(str(folder / "c.sock"))
            deaf.listen()
            with pytest.raises(DeadlinePassed) as late:
                async with ask_bridge(Where(socket=str(folder / "c.sock")), timeout_s=0.2):
                    pass
            assert late.value.exit_code == ExitCode.TIMEOUT
        async with bridge() as site, site.call("cafe-1"), site.client() as client:
            from teamscall.control.protocol import Drain

            with pytest.raises(DeadlinePassed):
                await client.ask(Drain(seconds=60), timeout_s=0.1)
            assert (await client.status()).draining  # the connection is as good as before

    run(work())


def test_too_large_a_message_ends_its_connection_and_no_other() -> None:
    async def work() -> None:
        async with bridge() as site, site.client() as other, site.raw() as raw:
            with pytest.raises(ConnectionClosed):
                await raw.say("x" * 70_000)
            longest = "\U0001f600" * 4000
            with pytest.raises(ControlError, match="no call"):  # it fits, however it is escaped
                await other.ask(Speak(call_id="nowhere", message=longest))
            async with site.raw() as escaped:
                answer = await escaped.ask("teamscall.speak", callId="nowhere", message=longest)
                assert answer["error"]["code"] == ErrorCode.CALL_NOT_FOUND

    run(work())


def test_a_dead_bridges_socket_is_replaced_and_a_living_ones_is_not() -> None:
    async def work() -> None:
        with short_folder() as folder:
            path = folder / "c.sock"
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))  # and never listens: what a kill -9 leaves
            control = Control(socket=str(path))
            async with bridge(control=control) as first:
                assert Path(first.where.socket) == path
                async with bridge(control=control) as second:
                    assert Path(second.where.socket) != path
                    async with second.client() as client, first.client() as other:
                        ours = (await client.status()).journal.path
                        assert ours != (await other.status()).journal.path
                assert alive(path)

    run(work())


def test_what_killed_bridges_left_is_swept_and_living_ones_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work() -> None:
        with short_folder() as runtime, short_folder() as elsewhere:
            monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
            folder = runtime / "teamscall"
            folder.mkdir(mode=0o700)
            with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as living:
                dead.bind(str(folder / "control-dead.sock"))
                living.bind(str(folder / "control-living.sock"))
                living.listen()
                journal = JournalFile(path=str(elsewhere / "journal"))
                async with bridge(control=Control(), journal=journal) as site:
                    names = {one.name for one in folder.iterdir()}
                    assert names == {"control-living.sock", Path(site.where.socket).name}

    run(work())


def test_what_is_no_socket_is_not_touched() -> None:
    async def work() -> None:
        with short_folder() as folder:
            (folder / "c.sock").write_text("precious")
            from teamscall.errors import ListenError

            with pytest.raises(ListenError, match="no socket"):
                async with bridge(control=Control(socket=str(folder / "c.sock"))):
                    pass
            assert (folder / "c.sock").read_text() == "precious"

    run(work())


def test_hostile_text_over_the_wire_leaves_the_door_open() -> None:
    texts = ["", " ", "null", "{}", "[]", "\x00", '{"id":', "1e999", '{"jsonrpc":"2.0","id":1e999}',
             '{"jsonrpc":"2.0","id":"\\ud800","method":"teamscall.status"}',
             '{"jsonrpc":"2.0","id":1,"method":"\\ud800"}',
             '{"a":' * 9000, '{"jsonrpc":"2.0","id":1,"method":"teamscall.status","params":[]}',
             '{"jsonrpc":"2.0","id":1,"method":"teamscall.status","params":' + "[" * 9000,
             ]  # fmt: skip

    async def work() -> None:
        async with bridge() as site, site.raw() as raw:
            for text in texts:
                assert "error" in await raw.say(text), text[:40]
                assert "error" in await raw.say(text.encode()), text[:40]
            assert "result" in await raw.ask("teamscall.status")

    run(work())
