"""`teamscall call` as a process, through a real bridge, to phones in both dialects."""

from __future__ import annotations

import asyncio
import io
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from placing_rig import PHONE, RING_S, TARGET, Ran, Site, finish, line_with, phone, placing_bridge
from placing_rig import run as command
from placing_rig import start as begin

from teamscall.cli.asking import Door
from teamscall.cli.call_run import Order, place
from teamscall.control.following import STATES
from teamscall.emulator.answering import Answer
from teamscall.errors import InputError
from teamscall.wire.events import Dialect

# The C# dialect has no word for a call that is declined: it is read from the error.
OUTCOMES: list[tuple[Answer, dict[Dialect, tuple[str, int]]]] = [
    ("busy", {"csharp": ("busy", 8), "standin": ("busy", 8)}),
    ("declined", {"csharp": ("declined", 9), "standin": ("declined", 9)}),
    ("failed", {"csharp": ("failed", 1), "standin": ("failed", 1)}),
    ("no-answer", {"csharp": ("no-answer", 7), "standin": ("no-answer", 7)}),
]
BOTH: tuple[Dialect, ...] = ("csharp", "standin")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with placing_bridge(tmp_path_factory.mktemp("b")) as running:
        yield running


def in_both(one: Callable[[Dialect], Awaitable[Ran]]) -> dict[Dialect, Ran]:
    """The same in both dialects at the same time."""

    async def both() -> list[Ran | BaseException]:
        return await asyncio.gather(*map(one, BOTH), return_exceptions=True)

    ran: dict[Dialect, Ran] = {}
    for dialect, result in zip(BOTH, asyncio.run(both()), strict=True):
        if isinstance(result, BaseException):
            raise result
        ran[dialect] = result
    return ran


def words(dialect: Dialect, *more: str) -> tuple[str, ...]:
    return ("call", TARGET[dialect], "--via", dialect, *more)


def states(ran: Ran) -> list[str]:
    """Every state that was said, each once, in its order."""
    said = [line["state"] for line in ran.lines]
    assert said == sorted(said, key=STATES.index)
    return list(dict.fromkeys(said))


@pytest.mark.parametrize(("answer", "expected"), OUTCOMES)
def test_each_outcome_has_its_exit_code_in_both_dialects(
    site: Site, answer: Answer, expected: dict[Dialect, tuple[str, int]]
) -> None:
    async def one(dialect: Dialect) -> Ran:
        async with phone(site, dialect, answer):
            return await command(site, *words(dialect, "--json", "-m", "Hello"))

    for dialect, ran in in_both(one).items():
        outcome, code = expected[dialect]
        assert (ran.code, ran.last["outcome"], ran.last["exitCode"]) == (code, outcome, code), ran
        assert states(ran)[-1] == "ended"
        assert not {"answered", "talking"} & set(states(ran))
        assert all(line["version"] == 1 and line["attempt"] for line in ran.lines)


def test_a_notification_is_followed_until_it_was_heard(site: Site) -> None:
    async def one(dialect: Dialect) -> Ran:
        async with phone(site, dialect) as house:
            ran = await command(site, *words(dialect, "--json", "--mode", "notify", "-m", "Hi."))
            await asyncio.wait_for(house.ended.wait(), 20)
            assert ran.last["callId"] == house.asked[0].call_id
            return ran

    for ran in in_both(one).values():
        assert ran.code == 0, ran
        assert states(ran)[-3:] == ["answered", "talking", "ended"]
        last = ran.last
        assert (last["outcome"], last["messageHeard"], last["endedBy"]) == ("answered", True, "bot")
        assert 0 < last["durationMs"] <= last["elapsedMs"]
        times = [line["wallMs"] for line in ran.lines]
        assert times[0] == min(times)


@pytest.mark.long
def test_a_notification_that_was_cut_off_failed(site: Site) -> None:
    async def run() -> Ran:
        async with phone(site, "csharp", duration_s=0.5):
            long = "one two three four five six seven eight nine ten eleven twelve"
            return await command(site, *words("csharp", "--mode", "notify", "-m", long))

    ran = asyncio.run(run())
    assert ran.code == 1
    assert "was not heard to its end" in ran.out
    assert "the other side" in ran.out


def test_a_conversation_goes_on_after_the_command(site: Site) -> None:
    async def run() -> None:
        async with phone(site, "csharp") as house:
            ran = await command(site, *words("csharp"), "-m", "-", given=b"Good morning.\n")
            call_id = house.asked[0].call_id
            assert ran.code == 0, ran
            assert f"teamscall end {call_id}" in ran.out
            assert "ringing" in ran.err
            assert house.asked[0].message == "Good morning."
            told = await command(
                site, "tool", "run", json.dumps({"action": "get_status", "callId": call_id})
            )
            assert told.last["call"]["state"] == "talking"
            assert told.last["call"]["mode"] == "conversation"

    asyncio.run(run())


def test_a_dry_run_lists_every_gate_and_rings_nobody(site: Site) -> None:
    async def run() -> None:
        async with phone(site, "csharp") as house:
            good, bad = await asyncio.gather(
                command(site, *words("csharp", "--dry-run", "--json")),
                command(site, "call", "user:somebody-else", "--dry-run"),
            )
            assert not house.ringing.is_set()
        assert (good.code, good.last["wouldPlace"]) == (0, True)
        assert all(gate["passed"] for gate in good.last["gates"])
        assert len(good.last["gates"]) >= 10
        assert bad.code == 5
        refusing = [line.split()[0] for line in bad.out.splitlines() if " REFUSES " in line]
        assert "allowed" in refusing
        assert bad.out.endswith("user:somebody-else would not be rung.\n")

    asyncio.run(run())


def test_a_refused_call_says_which_gate(site: Site) -> None:
    ran = asyncio.run(command(site, "call", "user:somebody-else", "--json"))
    assert ran.code == 5
    assert "outbound.allow_to" in ran.err
    last = ran.last
    assert (last["outcome"], last["reason"], last["exitCode"]) == ("refused", "refused", 5)
    assert "allowed" in [gate["gate"] for gate in last["gates"]]


def test_a_far_side_that_cannot_be_reached_is_a_failed_call(site: Site) -> None:
    ran = asyncio.run(command(site, *words("standin", "--json")))
    last = ran.last
    assert (ran.code, last["outcome"], last["reason"]) == (1, "failed", "far-side-failed"), ran
    assert "worker_base_url" in ran.err


def test_a_gateway_that_never_comes_is_exit_code_4(site: Site) -> None:
    ran = asyncio.run(command(site, *words("csharp", "--json")))
    assert ran.code == 4, ran
    assert states(ran) == ["requested", "waiting", "ended"]
    assert "gateway" in ran.last["summary"]


def test_ctrl_c_while_it_rings_hangs_up(site: Site) -> None:
    async def one(dialect: Dialect) -> Ran:
        async with phone(site, dialect, ring_s=20) as house:
            process = await begin(site, *words(dialect, "--json"))
            await line_with(process, "ringing")
            await asyncio.wait_for(house.ringing.wait(), 20)
            process.send_signal(signal.SIGINT)
            ran = await finish(process)
            await asyncio.wait_for(house.ended.wait(), 20)  # before the ringing would end
            rung = house.reports[0].rung
            assert rung is not None
            assert (rung.picked_up, rung.ended_by) == (False, "bridge")
            return ran

    for ran in in_both(one).values():
        assert ran.code == 130, ran
        assert (ran.last["outcome"], ran.last["exitCode"]) == ("cancelled", 130)
        assert "Hanging up." in ran.err


def test_ctrl_c_after_the_answer_leaves_the_call_running(site: Site) -> None:
    async def run() -> None:
        async with phone(site, "csharp") as house:
            process = await begin(site, *words("csharp", "--json", "--wait", "ended"))
            await line_with(process, "answered")
            process.send_signal(signal.SIGINT)
            ran = await finish(process)
            call_id = house.asked[0].call_id
            assert ran.code == 130, ran
            assert ran.last["outcome"] == "answered"
            assert f"teamscall end {call_id}" in ran.last["summary"]
            assert not house.ended.is_set()
            done = await command(
                site, "tool", "run", "-",
                given=json.dumps({"action": "end_call", "callId": call_id}).encode(),
            )  # fmt: skip
            assert (done.code, done.last) == (0, {"version": 1, "ok": True, "callId": call_id})
            await asyncio.wait_for(house.ended.wait(), 20)

    asyncio.run(run())


@pytest.mark.long
def test_the_timeout_bounds_the_command_and_not_the_call(site: Site) -> None:
    async def run() -> None:
        async with phone(site, "csharp", ring_s=20) as house:
            ran = await command(site, *words("csharp", "--json", "--timeout", "1"))
            assert ran.code == 6, ran
            assert ran.last["state"] == "ringing"
            assert ran.last["outcome"] is None
            assert "It goes on" in ran.err
            async with asyncio.timeout(20):
                await house.ended.wait()
            (report,) = house.reports
            assert report.rung is not None
            assert report.rung.rang_ms >= 0.9 * RING_S * 1000  # not until the command gave up

    asyncio.run(run())


def test_a_bridge_that_dies_is_exit_code_4_and_a_sentence(tmp_path: Path) -> None:
    async def run(site: Site) -> Ran:
        async with phone(site, "standin", ring_s=20):
            process = await begin(site, *words("standin", "--json"))
            await line_with(process, "ringing")
            site.bridge.process.kill()
            return await finish(process)

    with placing_bridge(tmp_path) as site:
        ran = asyncio.run(run(site))
    assert ran.code == 4, ran
    assert "may still be rung" in ran.err
    assert "`teamscall calls`" in ran.err
    assert ran.last["outcome"] is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (b"  \n", "no message on stdin"),
        (b"\xff\xfe", "no UTF-8"),
        (b"x" * 20_000, "longer than 4000"),
    ],
)
def test_a_message_that_cannot_be_said_is_refused_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, given: bytes, says: str
) -> None:
    order = Order(PHONE, "-", None, "", "auto", None, False, None, False)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    with pytest.raises(InputError, match=says) as caught:
        place(Door(socket="/nowhere"), order)
    assert caught.value.exit_code == 2


@pytest.mark.long
def test_a_second_ctrl_c_leaves_also_where_the_bridge_hangs(site: Site) -> None:
    async def run() -> Ran:
        async with phone(site, "csharp", ring_s=20):
            process = await begin(site, *words("csharp", "--json"))
            await line_with(process, "ringing")
            site.bridge.process.send_signal(signal.SIGSTOP)
            try:
                process.send_signal(signal.SIGINT)
                assert process.stderr is not None
                async with asyncio.timeout(20):
                    assert await process.stderr.readline() == b"Hanging up.\n"
                process.send_signal(signal.SIGINT)
                return await finish(process)
            finally:
                site.bridge.process.send_signal(signal.SIGCONT)

    ran = asyncio.run(run())
    assert ran.code == 130, ran
    assert "may still ring" in ran.last["summary"]


@pytest.mark.long
def test_no_bridge_is_one_sentence(tmp_path: Path, site: Site) -> None:
    nowhere = site._replace(socket=str(tmp_path / "none.sock"))
    ran = asyncio.run(command(nowhere, "call", PHONE))
    assert (ran.code, ran.out) == (4, "")
    assert ran.err.startswith("teamscall: No bridge is running")
