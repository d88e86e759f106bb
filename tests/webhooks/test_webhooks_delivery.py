"""Deliveries to a real receiver on loopback and to real commands."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.config import Config, Outbound, Secret, Webhook
from teamscall.journal.kept import Undelivered
from teamscall.webhooks.courier import Courier
from teamscall.webhooks.hooks import Webhooks
from teamscall.webhooks.messages import Answered, Event
from teamscall.webhooks.undelivered import Teller

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = Secret("whsec_" + base64.b64encode(KEY).decode())
PATIENCE_S = 10.0
HANG = 0  # a receiver that takes the request and never answers


class Receiver:
    """Answers each request with the next planned status; 200 when the plan is over."""

    def __init__(self, plan: list[int | tuple[int, str]]) -> None:
        self.plan = plan
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.at: list[float] = []
        self.url = ""
        self.released = asyncio.Event()  # hung requests end
        self.tasks: set[asyncio.Task[Any]] = set()

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.got]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[1:]
            pairs = (line.partition(": ") for line in lines if line)
            headers = {name.lower(): value for name, _, value in pairs}
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append((headers, body))
            self.at.append(time.monotonic())
            planned = self.plan.pop(0) if self.plan else 200
            status, more = planned if isinstance(planned, tuple) else (planned, "")
            if status == HANG:
                await self.released.wait()
            writer.write(f"HTTP/1.1 {status or 500} x\r\n{more}Content-Length: 0\r\n\r\n".encode())
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def receiver(*plan: int | tuple[int, str]) -> AsyncIterator[Receiver]:
    site = Receiver(list(plan))
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0)
    site.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield site
    finally:
        site.released.set()
        server.close()
        await server.wait_closed()
        if site.tasks:
            await asyncio.wait(site.tasks)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def courier(webhook: Webhook, **more: Any) -> AsyncIterator[Courier]:
    one = Courier("webhooks[0]", webhook, SystemClock(), **{"first_wait_s": 0.01} | more)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(one.run())
        yield one
        running.cancel()


def event(number: int = 1, type_: Any = "call.answered") -> Event:
    return Event(f"evt_{number}", type_, 1_795_348_800_000, Answered(f"c-{number}"))


def verified(headers: dict[str, str], body: bytes) -> bool:
    """As a receiver does it, with nothing of ours."""
    signed = b"%s.%s." % (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode())
    expected = base64.b64encode(hmac.new(KEY, signed + body, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    return fresh and headers["webhook-signature"] == f"v1,{expected}"


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await test()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left

    asyncio.run(main(), debug=True)


def test_an_event_arrives_signed() -> None:
    async def test() -> None:
        async with receiver() as site, courier(Webhook(url=site.url, secret=SECRET)) as one:
            one.post(event())
            await until(lambda: one.counts["delivered"] == 1)
            ((headers, body),) = site.got
            assert verified(headers, body)
            assert headers["content-type"] == "application/json"
            assert not verified(headers, body + b" ")
            assert json.loads(body) == {
                "id": "evt_1",
                "type": "call.answered",
                "timestamp": "2026-11-22T12:00:00.000Z",
                "data": {"callId": "c-1"},
            }

    run(test)


def test_what_fails_is_tried_again_with_the_same_id_and_in_order() -> None:
    async def test() -> None:
        async with receiver(500, 429, 408) as site, courier(Webhook(url=site.url)) as one:
            for number in (1, 2):
                one.post(event(number))
            await until(lambda: one.counts["delivered"] == 2)
            assert site.ids == ["evt_1"] * 4 + ["evt_2"]
            assert one.retries == 3

    run(test)


def test_a_refused_connection_is_tried_again() -> None:
    async def test() -> None:
        async with receiver() as gone:
            url = gone.url
        async with courier(Webhook(url=url, attempts=2)) as one:
            one.post(event())
            await until(lambda: one.counts["failed"] == 1)
            assert one.retries == 1

    run(test)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 302])
def test_other_statuses_are_final(status: int) -> None:
    async def test() -> None:
        async with receiver(status) as site, courier(Webhook(url=site.url)) as one:
            one.post(event(1))
            one.post(event(2))
            await until(lambda: one.counts["delivered"] == 1)
            assert one.counts["refused"] == 1
            assert site.ids == ["evt_1", "evt_2"]

    run(test)


def test_after_410_nothing_is_sent_until_the_next_reload() -> None:
    async def test() -> None:
        async with receiver(410) as site, courier(Webhook(url=site.url)) as one:
            one.post(event(1))
            one.post(event(2))
            await until(lambda: one.counts["disabled"] == 2)
            one.post(event(3))
            assert one.counts["disabled"] == 3
            assert site.ids == ["evt_1"]
            one.renew("webhooks[0]", one.webhook)
            one.post(event(4))
            await until(lambda: one.counts["delivered"] == 1)
            assert site.ids == ["evt_1", "evt_4"]

    run(test)


def test_an_event_is_given_up_after_its_attempts() -> None:
    async def test() -> None:
        plan = [503, 503, 503]
        async with receiver(*plan) as site, courier(Webhook(url=site.url, attempts=3)) as one:
            one.post(event(1))
            one.post(event(2))
            await until(lambda: one.counts["delivered"] == 1)
            assert one.counts["failed"] == 1
            assert site.ids == ["evt_1"] * 3 + ["evt_2"]

    run(test)


def test_retry_after_is_kept_to() -> None:
    async def test() -> None:
        plan = (503, "Retry-After: 1\r\n")
        async with receiver(plan) as site, courier(Webhook(url=site.url)) as one:
            one.post(event())
            await until(lambda: one.counts["delivered"] == 1)
            # Only that it was waited for: without the header it is 10 ms.
            assert site.at[1] - site.at[0] >= 0.99

    run(test)


def test_a_receiver_that_hangs_costs_its_queue_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test() -> None:
        async with receiver(HANG) as site:
            hook = Webhook(url=site.url, timeout_ms=60_000)
            async with courier(hook, queue_events=10) as one:
                one.post(event(0))
                await until(lambda: site.got)
                for number in range(1, 31):
                    one.post(event(number))
                assert (one.waiting, one.counts["dropped"]) == (10, 20)
                site.released.set()
                await until(lambda: one.counts["delivered"] == 11)
                assert site.ids[-10:] == [f"evt_{number}" for number in range(21, 31)]

    with caplog.at_level(logging.WARNING, "teamscall.webhooks"):
        run(test)
    full = [r for r in caplog.records if "queue of a webhook is full" in r.message]
    assert len(full) == 1


def test_a_timeout_is_tried_again() -> None:
    async def test() -> None:
        async with receiver(HANG) as site, courier(Webhook(url=site.url, timeout_ms=100)) as one:
            one.post(event())
            await until(lambda: one.counts["delivered"] == 1)
            assert site.ids == ["evt_1", "evt_1"]

    run(test)


def test_a_flood_is_bounded_and_does_not_wait() -> None:
    async def test() -> None:
        async with receiver(HANG) as site, courier(Webhook(url=site.url)) as one:
            for number in range(20_000):
                one.post(event(number))
            assert one.waiting == 1000
            assert one.counts["dropped"] == 19_000

    run(test)


def test_only_the_events_that_are_wanted_are_sent() -> None:
    async def test() -> None:
        only: Any = ("call.ended",)
        async with receiver() as site, courier(Webhook(url=site.url, events=only)) as one:
            one.post(event(1))
            one.post(event(2, "call.ended"))
            await until(lambda: one.counts["delivered"] == 1)
            assert site.ids == ["evt_2"]

    run(test)


WRITES = "import os, sys; open(sys.argv[1], 'a').write(sys.stdin.read()); print('ok')"


def test_a_command_gets_the_json_on_stdin_and_none_of_our_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAMSCALL_BRIDGE_SECRET", "ours")
    script = "import os, sys; assert not any('TEAMSCALL' in k for k in os.environ)\n" + WRITES
    out = tmp_path / "out"

    async def test() -> None:
        hook = Webhook(command=(sys.executable, "-c", script, str(out)))
        async with courier(hook) as one:
            one.post(event(1))
            one.post(event(2))
            await until(lambda: one.counts["delivered"] == 2)

    run(test)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["evt_1", "evt_2"]


def test_a_command_that_fails_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        script = "import sys; sys.exit('it said c-1')"
        hook = Webhook(command=(sys.executable, "-c", script), attempts=2)
        async with courier(hook) as one:
            one.post(event())
            await until(lambda: one.counts["failed"] == 1)
            assert one.retries == 1

    run(test)
    assert "it said" not in caplog.text


# --- all of them -----------------------------------------------------------------------


def answered(number: int = 1) -> records.CallAnswered:
    return records.CallAnswered(f"c-{number}", 1_795_348_800_000)


@contextlib.asynccontextmanager
async def webhooks(*hooks: Webhook) -> AsyncIterator[Webhooks]:
    every = Webhooks(Config(webhooks=hooks), SystemClock())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(every.run())
        await asyncio.sleep(0)
        yield every
        await every.stop(0.2)


def test_a_hanging_receiver_does_not_hold_up_another() -> None:
    async def test() -> None:
        async with (
            receiver(HANG) as hung,
            receiver() as well,
            webhooks(Webhook(url=hung.url), Webhook(url=well.url)) as every,
        ):
            for number in range(5):
                every.record(answered(number))
            await until(lambda: len(well.got) == 5 and hung.got)
            assert [state.waiting for state in every.states()] == [4, 0]
            assert hung.ids == well.ids[:1]

    run(test)


def test_the_end_delivers_what_waits_but_not_for_long(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with receiver(HANG) as hung, receiver() as well:
            async with webhooks(Webhook(url=hung.url), Webhook(url=well.url)) as every:
                for number in range(4):
                    every.record(answered(number))
                await every.stop(1.5)
                assert len(well.got) == 4
            first, second = every.states()
            assert (first.counts["lost"], second.counts["delivered"]) == (4, 4)

    run(test)
    assert "Events were not delivered" in caplog.text


def test_a_reload_keeps_what_waits_for_a_receiver_that_stays() -> None:
    async def test() -> None:
        async with receiver(503) as site, receiver() as other:
            old = Webhook(url=site.url)
            async with webhooks(old) as every:
                every.record(answered(1))
                await until(lambda: site.got)
                new = Webhook(url=site.url, secret=SECRET)
                every.reconfigure(Config(webhooks=(Webhook(url=other.url), new)))
                await until(lambda: len(site.got) == 2)
                assert site.ids[0] == site.ids[1]
                assert verified(*site.got[1])
                assert other.got == []
                every.record(answered(2))
                await until(lambda: other.got and len(site.got) == 3)
                every.reconfigure(Config(webhooks=(new,)))
                every.record(answered(3))
                await until(lambda: len(site.got) == 4)
                assert len(other.got) == 1

    run(test)


# --- messages that nobody heard ----------------------------------------------------------

NOBODY = Undelivered(
    "out-0123456789ab", "c-9", "phone:+491234", "notify", "cli", 1_795_348_800_000,
    1_795_348_830_000, "no-answer", "rang 30 s", "The boiler is leaking.",
)  # fmt: skip


def test_an_undelivered_message_is_told_signed_with_the_attempts_id() -> None:
    async def test() -> None:
        async with receiver(500) as site:
            tell = Teller(Outbound(undelivered_url=site.url, undelivered_secret=SECRET))
            assert await tell(NOBODY) is False
            assert await tell(NOBODY) is True
            assert site.ids == [NOBODY.attempt] * 2
            assert verified(*site.got[1])
            body = site.bodies()[1]
            assert (body["id"], body["type"]) == (NOBODY.attempt, "outbound.undelivered")
            assert body["data"] == {
                "attempt": NOBODY.attempt,
                "callId": "c-9",
                "to": "phone:+491234",
                "message": "The boiler is leaking.",
                "outcome": "no-answer",
                "detail": "rang 30 s",
                "askedAt": "2026-11-22T12:00:00.000Z",
                "endedAt": "2026-11-22T12:00:30.000Z",
            }

    run(test)


def test_an_undelivered_message_is_told_to_a_command(tmp_path: Path) -> None:
    out = tmp_path / "out"

    async def test() -> None:
        command = (sys.executable, "-c", WRITES, str(out))
        assert await Teller(Outbound(undelivered_command=command))(NOBODY) is True
        failing = (sys.executable, "-c", "raise SystemExit(1)")
        assert await Teller(Outbound(undelivered_command=failing))(NOBODY) is False

    run(test)
    assert json.loads(out.read_text())["data"]["message"] == "The boiler is leaking."


def test_the_message_itself_is_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        async with receiver(500) as site:
            await Teller(Outbound(undelivered_url=site.url + "/token-123"))(NOBODY)

    run(test)
    told = " ".join(f"{r.message} {vars(r)}" for r in caplog.records)
    assert NOBODY.attempt in told
    assert "boiler" not in told
    assert "token-123" not in " ".join(
        str(vars(r)) for r in caplog.records if r.name.startswith("teamscall")
    )
