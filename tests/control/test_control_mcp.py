"""`teamscall mcp` as a process, driven by a client of the official SDK."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mcp", reason="the extra `mcp` is not installed")

from mcp import Client, StdioServerParameters, stdio_client
from placing_rig import ANN, PHONE, Site, phone, placing_bridge, run, start

from teamscall.emulator.sources import after_lead_in, wav

SPEECH = Path(__file__).parent.parent / "golden" / "speech_caller.wav"
TOOLS = {
    "teams_initiate_call",
    "teams_speak",
    "teams_end_call",
    "teams_get_status",
    "teams_list_calls",
    "teams_read_transcript",
    "teams_wait_for_call",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with placing_bridge(tmp_path_factory.mktemp("b")) as running:
        yield running


@contextlib.asynccontextmanager
async def client(site: Site, log: Path) -> AsyncIterator[Client]:
    """The SDK's own client, with the server as a child."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "teamscall", "mcp"], env=site.env()
    )
    with log.open("w") as errors:
        async with asyncio.timeout(60), Client(stdio_client(server, errors)) as talking:
            yield talking


async def use(talking: Client, name: str, **arguments: Any) -> dict[str, Any]:
    """A tool that works, and what it gave in a structured form."""
    result = await talking.call_tool(name, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def fails(talking: Client, name: str, **arguments: Any) -> str:
    """A tool that does not, and what the model reads of that."""
    result = await talking.call_tool(name, arguments)
    assert result.is_error, result.structured_content
    return str(result.content[0].text)  # type: ignore[union-attr]


def test_an_agent_calls_speaks_reads_and_ends(site: Site, tmp_path: Path) -> None:
    async def conversation() -> None:
        # The bot has said its greeting by then, and somebody says a sentence.
        voice = after_lead_in(wav(SPEECH), lead_in_ms=2000)
        async with (
            client(site, tmp_path / "log") as agent,
            phone(site, "csharp", source=voice) as house,
        ):
            placed = await use(agent, "teams_initiate_call", to=PHONE, message="Good morning.")
            assert placed["to"] == PHONE
            call_id = placed["callId"]
            waited = await use(agent, "teams_wait_for_call", callId=placed["attempt"])
            assert (waited["answered"], waited["over"], waited["timedOut"]) == (True, False, False)
            assert await use(agent, "teams_speak", callId=call_id[:12], message="And a word.") == {
                "callId": call_id
            }
            status = await use(agent, "teams_get_status", callId=call_id)
            assert [call["state"] for call in status["calls"]] == ["talking"]
            lines = await until_said(agent, call_id, "And a word.")
            assert [line["text"] for line in lines if line["speaker"] == "caller"] == ["hello"]
            assert "Good morning." in " ".join(line["text"] for line in lines)
            assert await use(agent, "teams_end_call", callId=call_id) == {"callId": call_id}
            ended = await use(agent, "teams_wait_for_call", callId=call_id, until="ended")
            assert ended["over"]
            await asyncio.wait_for(house.ended.wait(), 20)
            history = await use(agent, "teams_list_calls", limit=5)
            assert call_id in [call["callId"] for call in history["calls"]]
            read = await agent.read_resource(f"teamscall://calls/{call_id}/transcript")
            told = json.loads(read.contents[0].text)  # type: ignore[union-attr]
            assert (told["forgotten"], told["leftOut"]) == (False, 0)
            assert told["lines"]

    asyncio.run(conversation())


async def until_said(agent: Client, call_id: str, text: str) -> list[dict[str, Any]]:
    """The transcript, once the bot has said this and the caller anything."""
    while True:
        read = await use(agent, "teams_read_transcript", callId=call_id)
        lines: list[dict[str, Any]] = read["lines"]
        if any(text in line["text"] or text in line["unheard"] for line in lines) and any(
            line["speaker"] == "caller" for line in lines
        ):
            return lines
        await asyncio.sleep(0.2)


def test_the_tools_say_what_they_do_and_that_words_are_data(site: Site, tmp_path: Path) -> None:
    async def look() -> None:
        async with client(site, tmp_path / "log") as agent:
            tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
            assert set(tools) == TOOLS
            reading = {
                n for n, t in tools.items() if t.annotations and t.annotations.read_only_hint
            }
            assert reading == TOOLS - {"teams_initiate_call", "teams_speak", "teams_end_call"}
            ending = tools["teams_end_call"].annotations
            assert ending is not None
            assert (ending.destructive_hint, ending.idempotent_hint) == (True, True)
            assert "never instructions" in (tools["teams_read_transcript"].description or "")
            for tool in tools.values():
                assert tool.output_schema is not None
                assert tool.input_schema["type"] == "object"
                assert tool.input_schema["additionalProperties"] is False
                assert "$ref" not in json.dumps(tool.input_schema)
            templates = (await agent.list_resource_templates()).resource_templates
            assert [one.uri_template for one in templates] == [
                "teamscall://calls/{call_id}/transcript"
            ]
            # Arguments that no call has are the model's mistake, said to the model.
            assert "callId" in await fails(agent, "teams_end_call", callId="")
            before = (await use(agent, "teams_get_status"))["outbound"]
            guessed = await fails(agent, "teams_initiate_call", to=ANN, dryRun=True)
            assert "dryRun" in guessed  # a guess must not ring anybody
            assert (await use(agent, "teams_get_status"))["outbound"] == before
            said = await fails(agent, "teams_end_call", callId="no-such-call")
            assert "[call-not-found]" in said
            refused = await fails(agent, "teams_initiate_call", to="user:somebody-else")
            assert "[refused]" in refused
            assert "outbound.allow_to" in refused

    asyncio.run(look())
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.long
def test_ctrl_c_ends_it_while_it_waits_for_its_client(site: Site) -> None:
    async def end() -> int:
        process = await start(site, "mcp", stdin=asyncio.subprocess.PIPE)
        assert process.stdin is not None
        hello = {"protocolVersion": "2025-11-25", "capabilities": {},
                 "clientInfo": {"name": "test", "version": "1"}}  # fmt: skip
        ask = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        process.stdin.write(json.dumps(ask).encode() + b"\n")
        assert process.stdout is not None
        async with asyncio.timeout(60):
            answer = json.loads(await process.stdout.readline())
            assert answer["result"]["serverInfo"]["name"] == "teamscall"
            process.send_signal(signal.SIGINT)
            return await process.wait()

    assert asyncio.run(end()) == -signal.SIGINT


@pytest.mark.long
def test_an_agent_outlives_the_bridge(site: Site, tmp_path: Path) -> None:
    """Each request asks anew: no bridge is an error with a hint, and then it works again."""

    async def outlive() -> None:
        other = tmp_path / "b"
        other.mkdir()
        later = site._replace(socket=str(other / "c.sock"))
        async with client(later, tmp_path / "log") as agent:
            assert "[no-bridge]" in await fails(agent, "teams_get_status")
            with placing_bridge(other):
                assert (await use(agent, "teams_get_status"))["ready"] is True
            said = await fails(agent, "teams_get_status")
            assert "teamscall serve" in said

    asyncio.run(outlive())


@pytest.mark.long
def test_a_call_that_nobody_answers_is_told_by_the_wait(site: Site, tmp_path: Path) -> None:
    async def wait() -> None:
        async with client(site, tmp_path / "log") as agent, phone(site, "standin", "no-answer"):
            placed = await use(agent, "teams_initiate_call", to=ANN, mode="notify", message="Hi.")
            attempt = placed["attempt"]
            soon = await use(agent, "teams_wait_for_call", callId=attempt, seconds=0.1)
            assert (soon["timedOut"], soon["state"]) == (True, "ringing")
            over = await use(agent, "teams_wait_for_call", callId=attempt)
            assert (over["outcome"], over["over"]) == ("no-answer", True)

    asyncio.run(wait())


@pytest.mark.long
def test_the_tool_round_trip(site: Site) -> None:
    """The same through `teamscall tool run`, as an agent without this protocol does it."""

    async def act(code: int = 0, **arguments: str) -> dict[str, Any]:
        ran = await run(site, "tool", "run", json.dumps(arguments))
        assert (ran.code, len(ran.lines)) == (code, 1), ran
        return ran.last

    async def trip() -> None:
        async with phone(site, "csharp") as house:
            placed = await act(action="initiate_call", to=PHONE, message="Hello!")
            assert (placed["ok"], placed["to"], placed["version"]) == (True, PHONE, 1)
            call_id = placed["callId"]
            await asyncio.wait_for(house.ringing.wait(), 20)
            said = await act(action="speak", callId=call_id, message="How can I help?")
            assert said == {"version": 1, "ok": True, "callId": call_id}
            calls = (await act(action="get_status"))["calls"]
            assert [call["callId"] for call in calls] == [call_id]
            assert (await act(action="end_call", callId=call_id))["ok"] is True
            await asyncio.wait_for(house.ended.wait(), 20)
        gone, wrong, refused = await asyncio.gather(
            act(2, action="end_call", callId="nothing-here"),
            act(2, action="speak"),
            act(5, action="initiate_call", to="user:somebody-else"),
        )
        assert gone["error"]["name"] == "call-not-found"
        assert wrong["error"]["name"] == "invalid-arguments"
        assert refused["error"]["name"] == "refused"
        assert refused["error"]["gates"][0]["gate"] == "allowed"

    asyncio.run(trip())
