"""The stand-in's Live API, over real sockets: by the official client and by a bare one."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from testing_rig import Peer, sdk, types, with_fake
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from teamscall.testing import (
    Answer,
    Drop,
    Empty,
    Failure,
    FakeOpenAI,
    Refuse,
    Report,
    Script,
    Settings,
    Stall,
    tone_speech,
)

Json = dict[str, Any]

RATE = 16_000
MS = 32  # bytes per ms
SESSION: Json = {
    "model": "gpt-live-1",
    "instructions": "Be brief.",
    "audio": {"format": {"type": "audio/pcm", "rate": RATE}, "output": {"voice": "cedar"}},
}
TOOL: Json = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
WITH_TOOL: Json = {
    **SESSION,
    "delegation": {"type": "responses", "responses": {"model": "gpt-6-luna", "tools": [TOOL]}},
}
ASK_WEATHER = Script(
    hears=("How is the weather?",),
    answer=(Answer(to="weather", tool="weather", arguments='{"at":"sea"}', say="It is {result}."),),
)
SCRIPT = Script(hears=("one two three",), otherwise="You said {heard} to me.")


class LivePeer(Peer):
    """A Live client that speaks JSON."""

    async def speak(self, words: int = 3, rate: int = RATE, pause_ms: int = 700) -> None:
        pcm = tone_speech("word " * words, word_ms=220, pause_ms=60, rate=rate)
        pcm += bytes(pause_ms * rate // 1000 * 2)
        step = rate // 50 * 2
        for at in range(0, len(pcm), step):
            audio = base64.b64encode(pcm[at : at + step]).decode()
            await self.say("session.input_audio.append", audio=audio)


@contextlib.asynccontextmanager
async def bare(fake: FakeOpenAI, query: str = "") -> AsyncIterator[LivePeer]:
    url = f"{fake.websocket_base_url}/live/sessions{query}"
    headers = {"Authorization": f"Bearer {fake.api_key}"}
    async with connect(url, additional_headers=headers, compression=None) as socket:
        yield LivePeer(socket)


@contextlib.asynccontextmanager
async def live(fake: FakeOpenAI, session: Json = SESSION) -> AsyncIterator[LivePeer]:
    """A started session."""
    async with bare(fake) as peer:
        assert (await peer.ask("session.start", session=session))["type"] == "session.started"
        yield peer


def audio_ms(events: list[Json], rate: int = RATE) -> float:
    deltas = [e["delta"] for e in events if e["type"] == "session.output_audio.delta"]
    return len(b"".join(map(base64.b64decode, deltas))) / 2 / rate * 1000


def words(events: list[Json], kind: str) -> str:
    return "".join(e["delta"] for e in events if e["type"] == f"session.{kind}_transcript.delta")


def test_the_official_client_holds_a_conversation() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client, client.live.connect() as socket:
            session: Any = SESSION
            await socket.session.start(session=session)
            started: Any = await socket.recv()
            assert started.type == "session.started"
            assert started.session.status == "active"
            assert started.session.audio.output.voice == "cedar"
            pcm = tone_speech("a b c", word_ms=220, pause_ms=60, rate=RATE) + bytes(700 * MS)
            await socket.session.input_audio.append(audio=base64.b64encode(pcm).decode())
            heard, said, sound = "", "", 0
            event: Any
            async for event in socket:
                if event.type == "session.input_transcript.delta":
                    assert event.end_ms > event.start_ms
                    heard += event.delta
                elif event.type == "session.output_transcript.delta":
                    said += event.delta
                elif event.type == "session.output_audio.delta":
                    sound += len(base64.b64decode(event.delta))
                elif event.type == "session.usage.updated":
                    break
            assert heard == "one two three"
            assert said == "You said one two three to me."
            assert sound == 7 * 280 * MS
            assert event.usage.seconds == pytest.approx(len(pcm) / MS / 1000, abs=0.1)
            await socket.session.close()
            closed: Any = await socket.recv()
            assert closed.type == "session.closed"
            assert closed.reason == "close_requested"

    with_fake(test, Settings(script=SCRIPT))


@pytest.mark.parametrize(
    ("format_", "bytes_per_ms"),
    [
        ({"type": "audio/pcm", "rate": 24_000}, 48),
        ({"type": "audio/pcm", "rate": 16_000}, 32),
        ({"type": "audio/pcmu", "rate": 8_000}, 8),
    ],
)
def test_audio_goes_out_as_the_session_wants_it(format_: Json, bytes_per_ms: int) -> None:
    async def test(fake: FakeOpenAI) -> None:
        session = {**SESSION, "audio": {"format": format_}}
        async with live(fake, session) as peer:
            content = {"content": "one two", "delegation_id": None}
            await peer.say("session.commentary.append", **content)
            events = await peer.until("session.usage.updated")
            deltas = [e["delta"] for e in events if "output_audio" in e["type"]]
            assert len(b"".join(map(base64.b64decode, deltas))) == 560 * bytes_per_ms

    with_fake(test)


WRONG_SESSIONS: list[tuple[Json, str]] = [
    ({"model": None}, "session.model"),
    ({"model": "gpt-realtime-2.1"}, "model"),
    ({"turn_detection": None}, "session.turn_detection"),
    ({"audio": {"format": {"type": "audio/pcm", "rate": 48_000}}}, "session.audio.format.rate"),
    ({"audio": {"format": {"type": "audio/pcm"}}}, "session.audio.format.rate"),
    ({"audio": {"output": {"voice": "fable"}}}, "session.audio.output.voice"),
    ({"audio": {"input": {}}}, "session.audio.input"),
    ({"instructions": "word " * 20_000}, "session.instructions"),
    ({"input": [{"role": "system", "content": []}]}, "session.input[0].role"),
    ({"input": [{"role": "user", "content": []}]}, "session.input[0].content"),
    ({"delegation": {"type": "responses"}}, "session.delegation.responses"),
    ({"delegation": {"type": "responses", "responses": {}}}, "session.delegation.responses.model"),
    ({"tools": []}, "session.tools"),
]


@pytest.mark.parametrize(("wrong", "param"), WRONG_SESSIONS)
def test_a_wrong_session_does_not_start(wrong: Json, param: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with bare(fake) as peer:
            error = await peer.ask("session.start", session={**SESSION, **wrong}, event_id="mine")
            assert error["type"] == "error"
            assert error["error"]["param"] == param
            assert error["error"]["client_event_id"] == "mine"
            assert (await peer.ask("session.start", session=SESSION))["type"] == "session.started"

    with_fake(test)


WRONG_EVENTS: list[tuple[str, Json, str | None]] = [
    ("session.start", {"session": SESSION}, "type"),
    ("input_audio_buffer.append", {"audio": ""}, "type"),
    ("session.input_audio.append", {"audio": "?"}, "audio"),
    ("session.input_audio.append", {"audio": 5}, "audio"),
    ("session.input_audio.mute", {"reason": "x"}, "reason"),
    ("session.instructions.append", {"content": "x"}, "delegation_id"),
    ("session.thinking.append", {"content": "x", "delegation_id": "no"}, "delegation_id"),
    ("session.commentary.append", {"content": "x " * 1_500, "delegation_id": None}, "content"),
    ("session.update", {"session": {"instructions": "x"}}, "session.instructions"),
    (
        "session.update",
        {"session": {"delegation": {"type": "responses"}}},
        "session.delegation.type",
    ),
    ("response.create", {}, "type"),
    ("response.item.create", {"item": {"type": "dance"}}, "item.call_id"),
]


@pytest.mark.parametrize(("type_", "fields", "param"), WRONG_EVENTS)
def test_wrong_events_are_refused(type_: str, fields: Json, param: str | None) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            error = await peer.ask(type_, **fields)
            assert error["type"] == "error"
            assert isinstance(error["error"]["code"], str)
            assert error["error"]["param"] == param
            assert (await peer.ask("session.input_audio.mute"))["type"].endswith(".muted")

    with_fake(test)


def test_nothing_comes_before_the_start() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with bare(fake) as peer:
            assert (await peer.ask("session.close"))["error"]["code"] == "session_not_started"
        with pytest.raises(InvalidStatus) as refused:
            async with bare(fake, "?model=gpt-live-1"):
                pass
        assert refused.value.response.status_code == 400

    with_fake(test)


def test_speech_over_the_answer_ends_it() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            await peer.speak()
            await peer.until("session.output_audio.delta")
            await peer.speak(pause_ms=0)
            events = await peer.until("session.usage.updated")
            assert audio_ms(events) < 7 * 280 / 2
            assert len(words(events, "output")) < len("You said one two three to me.")

    with_fake(test, Settings(script=SCRIPT, speak_speed=1))


def test_a_muted_caller_is_not_heard() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            assert (await peer.ask("session.input_audio.mute"))["type"].endswith(".muted")
            await peer.speak()
            muted = await peer.ask("session.input_audio.unmute", event_id="a")
            assert muted["type"] == "session.input_audio.unmuted"
            assert muted["client_event_id"] == "a"
            await peer.speak()
            assert words(await peer.until("session.usage.updated"), "input") == "one two three"

    with_fake(test, Settings(script=SCRIPT))


def test_context_is_taken_and_only_commentary_is_spoken() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            for kind in ("instructions", "thinking"):
                appended = await peer.ask(
                    f"session.{kind}.append", content="Hush now.", delegation_id=None
                )
                assert appended["type"] == f"session.{kind}.appended"
                assert appended["end_ms"] >= appended["start_ms"]
            await peer.say("session.commentary.append", content="Hello there.", delegation_id=None)
            events = await peer.until("session.usage.updated")
            assert types(events)[0] == "session.commentary.appended"
            assert words(events, "output") == "Hello there."
            assert audio_ms(events) == 560

    with_fake(test)


def test_output_may_go_on_as_silence() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            event = await peer.hear()
            assert event["type"] == "session.output_audio.delta"
            assert not any(base64.b64decode(event["delta"]))

    with_fake(test, Settings(live_silence=True, delta_ms=20))


def test_a_task_is_delegated_and_the_clients_tool_is_used() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake, WITH_TOOL) as peer:
            await peer.speak()
            events = await peer.until("session.delegation.created")
            task = events[-1]["delegation"]
            assert task["target"] == "responses"
            nested: list[Json] = []
            while not nested or nested[-1]["type"] != "response.completed":
                event = await peer.hear()
                if event["type"] == "response.event":
                    assert event["delegation_id"] == task["id"]
                    nested.append(event["event"])
            calls = [e["item"] for e in nested if e["type"] == "response.output_item.done"]
            assert calls[0]["name"] == "weather"
            assert json.loads(calls[0]["arguments"]) == {"at": "sea"}
            assert nested[-1]["response"]["output"] == []
            assert (await peer.ask("response.create"))["type"] == "error"
            wrong = {"type": "function_call_output", "call_id": "no", "output": "x"}
            assert (await peer.ask("response.item.create", item=wrong))["type"] == "error"
            item = {**wrong, "call_id": calls[0]["call_id"], "output": "rough"}
            await peer.say("response.item.create", item=item)
            await peer.say("response.create")
            assert words(await peer.until("session.usage.updated"), "output") == "It is rough."

    with_fake(test, Settings(script=ASK_WEATHER))


def test_a_client_may_do_the_delegated_work() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            await peer.speak()
            task = (await peer.until("session.delegation.created"))[-1]["delegation"]
            assert task["target"] == "client"
            done = {"content": "It is calm.", "delegation_id": task["id"]}
            await peer.say("session.commentary.append", **done)
            assert words(await peer.until("session.usage.updated"), "output") == "It is calm."

    with_fake(test, Settings(script=ASK_WEATHER))


def test_the_backend_can_be_changed_but_not_its_owner() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake, WITH_TOOL) as peer:
            change = {"type": "responses", "responses": {"instructions": "Be quick."}}
            updated = await peer.ask("session.update", session={"delegation": change})
            backend = updated["session"]["delegation"]["responses"]
            assert backend["instructions"] == "Be quick."
            assert backend["model"] == "gpt-6-luna"
            wrong = {"delegation": {"type": "client"}}
            assert (await peer.ask("session.update", session=wrong))["type"] == "error"

    with_fake(test)


@pytest.mark.parametrize(
    ("failure", "last"),
    [
        (Report(after=0.5), "error"),
        (Drop(after=0.5, reason="content"), "session.closed"),
    ],
)
def test_an_answer_fails(failure: Failure, last: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("session", failure)
        async with live(fake) as peer:
            await peer.speak()
            events = await peer.until(last)
            assert 0 < audio_ms(events) < 7 * 280

    with_fake(test, Settings(script=SCRIPT))


@pytest.mark.parametrize("failure", [Stall(after=0.5), Empty()])
def test_an_answer_ends_early_and_the_next_does_not(failure: Failure) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("session", failure)
        async with live(fake) as peer:
            await peer.speak()
            assert audio_ms(await peer.until("session.usage.updated")) < 7 * 280
            await peer.speak()
            assert audio_ms(await peer.until("session.usage.updated")) == 7 * 280

    with_fake(test, Settings(script=SCRIPT))


def test_a_session_fails_as_it_begins() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("session", Refuse(status=503, at="connect"))
        with pytest.raises(InvalidStatus):
            async with bare(fake):
                pass
        fake.plan.fail("session", Drop(code=1011, at="connect"))
        async with bare(fake) as peer:
            assert await peer.closed() == 1011
        fake.plan.fail("session", Stall(at="connect"))
        async with live(fake) as peer:
            await peer.say("session.input_audio.mute")
            await peer.say("session.close")
            assert await peer.closed() == 1000
        assert types([e.body for e in fake.requests[-1].sent]) == ["session.started"]

    with_fake(test)


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_session_expires(by_itself: bool) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with live(fake) as peer:
            if not by_itself:
                assert await fake.expire_sessions() == 1
            closed = await peer.hear()
            assert (closed["type"], closed["reason"]) == ("session.closed", "expired")
            assert closed["usage"] == {"seconds": 0.0}
            assert await peer.closed() == 1000

    with_fake(test, Settings(session_s=0.1 if by_itself else 60))
