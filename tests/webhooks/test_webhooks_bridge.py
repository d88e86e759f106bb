"""Webhooks of a real bridge: a call in, its events out, and the end of the process."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from websockets.asyncio.client import connect

from teamscall.config import (
    Authorization,
    Bridge,
    Config,
    Control,
    JournalFile,
    Outbound,
    Secret,
    Serve,
    Webhook,
)
from teamscall.server.run import running
from teamscall.webhooks.undelivered import Teller

SECRET = "bridge-secret-0123456789abcdef0123456789"
WRITES = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def config(*hooks: Webhook) -> Config:
    return Config(
        engine="echo",
        serve=Serve(port=0),
        bridge=Bridge(secret=Secret(SECRET)),
        authorization=Authorization(mode="open"),
        journal=JournalFile(enabled=False),
        control=Control(enabled=False),
        outbound=Outbound(undelivered_command=(sys.executable, "-c", WRITES)),
        webhooks=hooks,
    )


async def start_call(url: str) -> None:
    """A call that is up when the bridge is stopped."""
    who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
    async with connect(url, additional_headers={"X-Bridge-Secret": SECRET}) as call:
        ask = {"type": "auth_request", "callId": "c-1", "correlationId": "k", "metadata": who}
        await call.send(json.dumps(ask))
        await call.recv()
        start = {"type": "session_start", "callId": "c-1", "direction": "inbound", "metadata": who}
        await call.send(json.dumps(start))
        await call.wait_closed()


def test_a_call_is_told_also_at_the_end_of_the_process(tmp_path: Path) -> None:
    every, some = tmp_path / "every", tmp_path / "some"

    async def test() -> None:
        hooks = (
            Webhook(command=(sys.executable, "-c", WRITES, str(every))),
            Webhook(command=(sys.executable, "-c", WRITES, str(some)), events=("call.ended",)),
        )
        async with asyncio.TaskGroup() as tasks, running(config(*hooks)) as bridge:
            tasks.create_task(start_call(bridge.listening[0].urls[0]))
            async with asyncio.timeout(10):
                while not bridge.webhooks.states()[0].counts["delivered"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert isinstance(bridge.outbound.tell_undelivered, Teller)

    asyncio.run(test())
    told = [json.loads(line) for line in every.read_text().splitlines()]
    assert [one["type"] for one in told] == ["call.started", "call.ended"]
    assert told[1]["data"]["callId"] == "c-1"
    assert told[1]["data"]["reason"] == "server-shutdown"
    (ended,) = [json.loads(line) for line in some.read_text().splitlines()]
    assert ended["id"] == told[1]["id"]
