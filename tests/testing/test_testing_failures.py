"""Everything that goes wrong on demand."""

from __future__ import annotations

import asyncio
import base64
import gc
import socket
import time
from typing import Any

import httpx2
import openai
import pytest
from testing_rig import Peer, bare, peer, run, sdk, silence, speech, types, with_fake
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from teamscall.errors import ConfigError
from teamscall.testing import (
    Drop,
    Empty,
    Failure,
    FakeOpenAI,
    Plan,
    Refuse,
    Report,
    Settings,
    Stall,
    parse_failure,
)
from teamscall.testing.voice import ToneVoice

VOICE = "model=gpt-realtime-2.1"
TRANSCRIPT = "conversation.item.input_audio_transcription"
PATIENCE_S = 0.5  # what comes before a stall is here by then, on a busy machine too
QUIET_S = 0.15  # nothing is known to come: waiting longer would prove no more
HELLO: Any = [{"role": "user", "content": "hello"}]
SPEECH: dict[str, Any] = {
    "model": "gpt-4o-mini-tts",
    "voice": "coral",
    "input": "One two three four.",
    "response_format": "pcm",
}
WHOLE = 4 * 280 * 48


async def collect(stream: Any, words: list[str | None], patience_s: float | None) -> None:
    async with asyncio.timeout(patience_s):
        async for chunk in stream:
            words.append(chunk.choices[0].delta.content)


async def quiet(client: Peer) -> None:
    """Nothing comes."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET_S):
            await client.hear()


async def listening(client: Peer) -> None:
    session = {"transcription": {"model": "gpt-transcribe"}, "turn_detection": None}
    await client.say(
        "session.update", session={"type": "transcription", "audio": {"input": session}}
    )


async def commit(client: Peer) -> None:
    await client.append(speech(), 9_600)
    await client.say("input_audio_buffer.commit")


# --- HTTP -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_request_is_refused_and_the_next_is_not(
    status: int, error: type[openai.APIStatusError]
) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            fake.plan.fail("think", Refuse(status=status, retry_after_s=1.5))
            with pytest.raises(error) as refused:
                await client.chat.completions.create(model="gpt-6-luna", messages=HELLO)
            assert refused.value.response.headers["retry-after"] == "1.5"
            await client.chat.completions.create(model="gpt-6-luna", messages=HELLO)

    with_fake(test)


async def pieces_of(client: openai.AsyncOpenAI, pieces: list[bytes]) -> None:
    async with client.audio.speech.with_streaming_response.create(**SPEECH) as response:
        async for piece in response.iter_bytes():
            pieces.append(piece)


@pytest.mark.parametrize("failure", [Stall(), Stall(headers=False), Stall(after=0.5)])
def test_speech_stalls(failure: Failure) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("speak", failure)
        pieces: list[bytes] = []
        async with sdk(fake) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await pieces_of(client, pieces)
        expected = WHOLE // 2 if isinstance(failure, Stall) and failure.after else 0
        assert abs(sum(map(len, pieces)) - expected) < 4_800
        await fake.requests[-1].ended.wait()
        assert fake.requests[-1].hung_up  # the stand-in noticed that the client left

    with_fake(test)


@pytest.mark.parametrize("failure", [Drop(after=0.5), Report(after=0.5)])
def test_speech_breaks_off(failure: Failure) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("speak", failure)
        pieces: list[bytes] = []
        async with sdk(fake) as client:
            with pytest.raises(httpx2.TransportError):
                await pieces_of(client, pieces)
        assert sum(map(len, pieces)) < WHOLE

    with_fake(test)


def test_a_200_may_have_no_bytes() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("speak", Empty())
        fake.plan.fail("think", Empty())
        pieces: list[bytes] = []
        async with sdk(fake) as client:
            await pieces_of(client, pieces)
            assert pieces == []
            stream = await client.chat.completions.create(
                model="gpt-6-luna", messages=HELLO, stream=True
            )
            assert [chunk async for chunk in stream] == []

    with_fake(test)


def test_chat_stalls_reports_and_drops_midway() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client:
            for failure, expected in (
                (Stall(after=0.5), TimeoutError),
                (Report(after=0.5), openai.APIError),
                (Drop(after=0.5), openai.APIConnectionError),
            ):
                fake.plan.fail("think", failure)
                stream = await client.chat.completions.create(
                    model="gpt-6-luna", messages=HELLO, stream=True
                )
                words: list[str | None] = []
                with pytest.raises(expected):
                    await collect(stream, words, PATIENCE_S if expected is TimeoutError else None)
                assert words

    with_fake(test)


def test_models_can_be_refused() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("models", Refuse(status=429))
        async with sdk(fake) as client:
            with pytest.raises(openai.RateLimitError):
                await client.models.list()

    with_fake(test)


# --- sockets --------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["intent=transcription", VOICE])
def test_an_upgrade_is_refused(query: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        stage = parse_failure("session:empty" if query == VOICE else "hear:empty")[0]
        fake.plan.fail(stage, Refuse(status=429, retry_after_s=2))
        with pytest.raises(InvalidStatus) as refused:
            async with bare(fake, query):
                pass
        assert refused.value.response.status_code == 429
        assert refused.value.response.headers["retry-after"] == "2"
        async with peer(fake, query):
            pass

    with_fake(test)


@pytest.mark.parametrize("code", [1001, 1006, 1011])
def test_a_socket_is_dropped_as_it_opens_and_later(code: int) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("hear", Drop(code=code, at="connect"))
        async with bare(fake) as client:
            assert await client.closed() == code
        async with peer(fake) as client:
            assert await fake.drop_sockets(code, "bye") == 1
            assert await client.closed() == code

    with_fake(test)


def test_a_recogniser_takes_audio_and_says_nothing() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("hear", Stall(at="connect"))
        async with peer(fake) as client:
            await listening(client)
            assert (await client.hear())["type"] == "session.updated"
            await commit(client)
            await quiet(client)
            await client.socket.ping()
        assert fake.requests[-1].audio_bytes == len(speech())

    with_fake(test)


@pytest.mark.parametrize(
    ("failure", "last"),
    [
        (Stall(), "conversation.item.done"),
        (Stall(after=0.5), f"{TRANSCRIPT}.delta"),
        (Empty(), f"{TRANSCRIPT}.completed"),
        (Report(after=0.5), f"{TRANSCRIPT}.failed"),
    ],
)
def test_a_transcript_fails(failure: Failure, last: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("hear", failure)
        async with peer(fake) as client:
            await listening(client)
            await commit(client)
            events = await client.until(last)
            if isinstance(failure, Empty):
                assert events[-1]["transcript"] == ""
            if isinstance(failure, Stall) and failure.after:
                await client.until(last)  # there are two words of it, and no more
            await quiet(client)
            await commit(client)  # the next utterance is heard
            await client.until(f"{TRANSCRIPT}.completed")

    with_fake(test)


@pytest.mark.parametrize(
    ("failure", "status"),
    [(Empty(), "completed"), (Report(after=0.5), "failed"), (Stall(after=0.5), "")],
)
@pytest.mark.parametrize("aloud", [False, True])
def test_an_answer_fails(failure: Failure, status: str, aloud: bool) -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("speak" if aloud else "session", failure)
        wanted: dict[str, Any] = {}
        if aloud:
            wanted = {"conversation": "none", "instructions": "Read aloud: one two three four"}
        async with peer(fake, VOICE) as client:
            await client.say("response.create", response=wanted)
            if not status:
                await client.until("response.output_audio.delta")
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(QUIET_S):
                        await client.until("response.done")
                return
            events = await client.until("response.done")
            response = events[-1]["response"]
            assert response["status"] == status
            assert ("response.output_audio.delta" in types(events)) == (status == "failed")
            if status == "failed":
                assert response["status_details"]["error"]["code"] == "server_error"

    with_fake(test)


def test_a_refused_reading_is_a_failed_response() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("speak", Refuse(status=429))
        wanted = {"conversation": "none", "instructions": "Read aloud: one two"}
        async with peer(fake, VOICE) as client:
            await client.say("response.create", response=wanted)
            response = (await client.until("response.done"))[-1]["response"]
            assert response["status_details"]["error"]["code"] == "rate_limit_exceeded"

    with_fake(test)


def test_an_answer_is_cut_off_with_the_socket() -> None:
    async def test(fake: FakeOpenAI) -> None:
        fake.plan.fail("session", Drop(after=0.5, code=1011, reason="oops"))
        async with peer(fake, VOICE) as client:
            await client.say("response.create")
            with pytest.raises(ConnectionClosedError) as closed:
                await client.until("response.done")
            assert closed.value.rcvd is not None
            assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "oops")

    with_fake(test)


@pytest.mark.parametrize("by_itself", [True, False])
def test_a_session_expires(by_itself: bool) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            if not by_itself:
                assert await fake.expire_sessions() == 1
            error = await client.hear()
            assert error["error"]["code"] == "session_expired"
            assert error["error"]["type"] == "invalid_request_error"
            assert await client.closed() == 1001
            assert client.socket.close_reason == error["error"]["message"]

    with_fake(test, Settings(session_s=0.2 if by_itself else 3600))


def test_the_minutes_are_in_the_words() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await fake.expire_sessions()
            message = (await client.hear())["error"]["message"]
            assert message == "Your session hit the maximum duration of 60 minutes."

    with_fake(test)


def test_latencies_are_kept_in_order() -> None:
    """Never earlier than asked for; how much later is the machine's business."""

    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client, peer(fake) as ear, peer(fake, VOICE) as voice:
            pieces: list[bytes] = []
            await pieces_of(client, pieces)
            visit = fake.visits("/audio/speech")[0]
            assert visit.first_byte_at is not None
            assert visit.ended_at is not None
            assert visit.first_byte_at - visit.at >= 0.049
            audio_s = WHOLE / 48_000
            assert visit.ended_at - visit.first_byte_at >= (audio_s - 0.1) / 20 - 0.001
            await client.chat.completions.create(model="gpt-6-luna", messages=HELLO)
            visit = fake.visits("/chat/completions")[0]
            assert visit.first_byte_at is not None
            assert visit.first_byte_at - visit.at >= 0.039
            await listening(ear)
            await commit(ear)
            await ear.until(f"{TRANSCRIPT}.completed")
            at = {e.type: e.at for e in fake.visits("/realtime")[0].sent}
            waited = at[f"{TRANSCRIPT}.completed"] - at["input_audio_buffer.committed"]
            assert waited >= 0.029
            await voice.say("response.create")
            await voice.until("response.output_audio.delta")
            at = {e.type: e.at for e in fake.visits("/realtime")[1].sent}
            assert at["response.output_audio.delta"] - at["response.created"] >= 0.089

    with_fake(test, Settings(hear_ms=30, think_ms=40, speak_first_byte_ms=50, speak_speed=20))


def test_the_voice_is_made_during_the_wait_and_not_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else the stand-in is slower than its settings say, by what its machine takes."""
    asked: list[float] = []
    speak = ToneVoice.speak

    async def noted(voice: ToneVoice, text: str, speed: float = 1.0) -> bytes:
        asked.append(time.monotonic())
        return await speak(voice, text, speed)

    monkeypatch.setattr(ToneVoice, "speak", noted)

    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as voice:
            await voice.say("response.create")
            await voice.until("response.output_audio.delta")
            at = {e.type: e.at for e in fake.visits("/realtime")[0].sent}
            created, spoke = at["response.created"], at["response.output_audio.delta"]
            assert spoke - created >= 0.299
            assert asked[0] - created < spoke - asked[0]

    with_fake(test, Settings(speak_first_byte_ms=300))


def test_hostile_peers_leave_the_stand_in_alone() -> None:
    async def test(fake: FakeOpenAI) -> None:
        key = f"Authorization: Bearer {fake.api_key}\r\n"
        upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        for text in (
            "\r\n\r\n",
            "GET\r\n\r\n",
            "GET //[ HTTP/1.1\r\nHost: x\r\n\r\n",
            f"POST /v1/responses HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 2\r\n\r\n[]",
            f"POST /v1/responses HTTP/1.1\r\nHost: x\r\n{key}Content-Length: 9\r\n\r\n[]",
            f"GET /v1/realtime?model=gpt-realtime-2.1 HTTP/1.1\r\n{key}{upgrade}\r\n",
            f"GET /v1/realtime HTTP/1.1\r\nHost: x\r\n{upgrade}Sec-WebSocket-Key: 1\r\n\r\n",
            "x" * 100_000,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", fake.port)
            writer.write(text.encode())
            writer.write_eof()
            await reader.read()
            writer.close()
            await writer.wait_closed()
        for index in range(3):  # gone in the middle of an answer
            async with peer(fake, VOICE) as client:
                await client.say("response.create")
                await client.append(speech(), 9_600)
                if index:
                    client.socket.transport.abort()
        async with peer(fake, VOICE):
            pass

    with_fake(test, Settings(speak_speed=1))


# --- the plan -------------------------------------------------------------------------------


@pytest.mark.parametrize("turns", range(6))
def test_it_may_close_while_connections_are_coming_in(turns: int) -> None:
    async def work() -> None:
        async with FakeOpenAI() as fake:
            address = ("127.0.0.1", fake.port)
            peers = [socket.create_connection(address) for _ in range(5)]
            for _ in range(turns):  # of the loop: accepted, connected, begun
                await asyncio.sleep(0)
        for each in peers:
            each.close()

    run(work())
    gc.collect()  # a transport that was left open complains here


def test_failures_are_taken_in_order_and_as_often_as_said() -> None:
    plan = Plan()
    plan.fail("speak", Stall(), times=2)
    plan.fail("speak", Empty(), times=None)
    taken = [plan.take("speak") for _ in range(4)]
    assert taken == [Stall(), Stall(), Empty(), Empty()]
    assert plan.take("think") is None
    plan.clear("speak")
    assert plan.take("speak") is None
    assert plan.carried_out[0] == ("speak", Stall())
    plan.fail("hear", Refuse())
    assert plan.take("hear", "answer") is None
    assert plan.take("hear", "connect") == Refuse()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("speak:stall:after=0.5:times=2", ("speak", Stall(after=0.5), 2)),
        ("think:refuse:status=429", ("think", Refuse(status=429), None)),
        ("think:refuse:retry_after_s=1", ("think", Refuse(retry_after_s=1), None)),
        ("hear:drop:code=1011:at=connect", ("hear", Drop(code=1011, at="connect"), None)),
        ("session:empty", ("session", Empty(), None)),
    ],
)
def test_failures_can_be_written_down(text: str, expected: tuple[object, ...]) -> None:
    assert parse_failure(text) == expected


@pytest.mark.parametrize("text", ["", "speak", "speak:break", "dance:stall", "speak:stall:x=1"])
def test_a_wrong_failure_is_the_operators_fault(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_failure(text)


def test_audio_may_come_in_any_size() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            pcm = speech() + silence(700)
            audio = base64.b64encode(pcm).decode()
            await client.say("input_audio_buffer.append", audio=audio)
            await client.until("response.done")
            await client.append(pcm, 1_001)
            await client.until("response.done")

    with_fake(test)


def test_another_process_can_make_it_fail() -> None:
    async def test(fake: FakeOpenAI) -> None:
        door = fake.base_url.replace("/v1", "/stand-in")
        headers = {"Authorization": f"Bearer {fake.api_key}"}
        async with httpx2.AsyncClient(headers=headers) as client, peer(fake) as voice:
            plan = {"failures": ["models:refuse:status=429:times=1"]}
            assert (await client.post(f"{door}/fail", json=plan)).json() == {"v": 1, "done": 1}
            assert (await client.get(f"{fake.base_url}/models")).status_code == 429
            assert (await client.get(f"{fake.base_url}/models")).status_code == 200
            wrong = {"failures": ["models:dance"]}
            assert (await client.post(f"{door}/fail", json=wrong)).status_code == 400
            await client.post(f"{door}/fail", json=plan)
            await client.post(f"{door}/clear")
            assert (await client.get(f"{fake.base_url}/models")).status_code == 200
            assert (await client.post(f"{door}/drop", json={"code": 1011})).json()["done"] == 1
            assert await voice.closed() == 1011
            assert (await client.post(f"{door}/expire")).status_code == 200
            assert (await client.post(f"{door}/dance")).status_code == 404

    with_fake(test)
