"""The Realtime API of the stand-in, event by event."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from testing_rig import MS, Peer, bare, peer, sdk, silence, speech, types, with_fake
from websockets.exceptions import InvalidStatus

from teamscall.testing import Answer, FakeOpenAI, Script, Settings

VOICE = "model=gpt-realtime-2.1"
SCRIPT = Script(
    hears=("what is the weather", "thank you"),
    answer=(
        Answer(
            to="weather", tool="get_weather", arguments='{"city": "Rome"}', say="It is {result}."
        ),
        Answer(to="thank", say="You are welcome."),
    ),
    otherwise="I see.",
)
TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
TRANSCRIPT = "conversation.item.input_audio_transcription"


def hears(model: str, **more: Any) -> dict[str, Any]:
    """A transcription session's update."""
    sound = {"transcription": {"model": model}, **more}
    return {"type": "transcription", "audio": {"input": sound}}


# --- coming in --------------------------------------------------------------------------


def test_the_session_comes_first_and_says_when_it_ends() -> None:
    async def test(fake: FakeOpenAI) -> None:
        for query, kind in (("intent=transcription", "transcription"), (VOICE, "realtime")):
            async with bare(fake, query) as client:
                created = await client.hear()
            assert created["type"] == "session.created"
            session = created["session"]
            assert session["type"] == kind
            assert session["id"].startswith("sess_")
            assert session["expires_at"] > 1_700_000_000

    with_fake(test)


@pytest.mark.parametrize(
    ("query", "headers", "status", "code"),
    [
        (VOICE, {"Authorization": "Bearer wrong"}, 401, "invalid_api_key"),
        (VOICE, {"Authorization": ""}, 401, None),
        ("model=gpt-realtime-0", {}, 404, "model_not_found"),
        ("model=whisper-1", {}, 400, "invalid_model"),
        ("", {}, 400, "missing_model"),
    ],
)
def test_who_may_not_come_in_is_told_by_the_upgrade(
    query: str, headers: dict[str, str], status: int, code: str | None
) -> None:
    async def test(fake: FakeOpenAI) -> None:
        with pytest.raises(InvalidStatus) as refused:
            async with bare(fake, query, **headers):
                pass
        response = refused.value.response
        assert response.status_code == status
        assert response.headers["x-request-id"] == fake.requests[-1].request_id
        if code:
            assert code in bytes(response.body).decode()

    with_fake(test)


def test_the_beta_header_ends_the_socket() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with bare(fake, VOICE, **{"OpenAI-Beta": "realtime=v1"}) as client:
            error = await client.hear()
            assert error["error"]["code"] == "beta_api_shape_disabled"
            assert await client.closed() == 4000

    with_fake(test)


def test_azure_comes_in_by_its_own_path_and_header() -> None:
    async def test(fake: FakeOpenAI) -> None:
        url = fake.websocket_base_url.replace("/v1", "/openai/v1")
        async with (
            sdk(fake, websocket_base_url=url) as client,
            client.realtime.connect(
                model="gpt-realtime-2.1", extra_headers={"api-key": fake.api_key}
            ) as socket,
        ):
            assert (await socket.recv()).type == "session.created"

    with_fake(test)


# --- what is refused ----------------------------------------------------------------------


def test_a_refused_update_changes_nothing_and_the_session_goes_on() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            wrong = {"type": "realtime", "instructions": "new", "modalities": ["audio"]}
            error = await client.ask("session.update", event_id="mine", session=wrong)
            assert error["type"] == "error"
            assert error["error"] == {
                "type": "invalid_request_error",
                "code": "unknown_parameter",
                "message": "Unknown parameter: 'session.modalities'.",
                "param": "session.modalities",
                "event_id": "mine",
            }
            updated = await client.update(type="realtime", output_modalities=["text"])
            assert updated["session"]["instructions"] != "new"
            assert updated["session"]["output_modalities"] == ["text"]

    with_fake(test)


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"type": "transcription_session.update", "session": {}}, "invalid_value", "type"),
        ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
        ({"type": "input_audio_buffer.append", "audio": "%%"}, "invalid_value", "audio"),
        ({"type": "input_audio_buffer.commit", "extra": 1}, "unknown_parameter", "extra"),
        ({"type": "input_audio_buffer.commit"}, "input_audio_buffer_commit_empty", None),
        ({"type": "conversation.item.retrieve", "item_id": "x"}, "item_not_found", "item_id"),
        ({"type": "conversation.item.delete", "item_id": "x"}, "item_not_found", "item_id"),
        ({"type": "response.cancel"}, "response_cancel_not_active", None),
        (
            {"type": "response.create", "response": {"voice": "ash"}},
            "unknown_parameter",
            "response.voice",
        ),
        (
            {"type": "conversation.item.truncate", "item_id": "x", "audio_end_ms": 1},
            "missing_required_parameter",
            "content_index",
        ),
        (
            {"type": "session.update", "session": {"type": "transcription"}},
            "invalid_parameter",
            "session.type",
        ),
    ],
)
def test_wrong_events_are_answered_with_an_error(
    event: dict[str, Any], code: str, param: str | None
) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            error = await client.ask(**{"type_": event.pop("type"), **event})
            assert (error["type"], error["error"]["code"]) == ("error", code)
            assert error["error"]["param"] == param

    with_fake(test)


@pytest.mark.parametrize("message", ["{", "[]", "null", '{"type": 5}', "[" * 100_000, b"\xff\x00"])
def test_what_is_no_event_is_an_error_too(message: str | bytes) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            await client.socket.send(message)
            assert (await client.hear())["type"] == "error"

    with_fake(test)


def test_a_transcription_session_does_not_answer() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            error = await client.ask("response.create")
            assert error["error"]["param"] == "type"

    with_fake(test)


@pytest.mark.parametrize(
    ("session", "param"),
    [
        (hears("gpt-live-transcribe", turn_detection={"type": "server_vad"}), "turn_detection"),
        (hears("gpt-realtime-whisper", turn_detection={"type": "semantic_vad"}), "turn_detection"),
        (hears("nobody"), "transcription.model"),
        (hears("gpt-4o-mini-tts"), "transcription.model"),
        (
            {
                "type": "transcription",
                "audio": {
                    "input": {"transcription": {"model": "gpt-transcribe", "language": "en"}}
                },
            },
            "transcription.language",
        ),
        (
            {
                "type": "transcription",
                "audio": {"input": {"transcription": {"model": "gpt-transcribe", "delay": "low"}}},
            },
            "transcription.delay",
        ),
    ],
)
def test_models_take_only_what_they_can(session: dict[str, Any], param: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            error = await client.update(**session)
            assert error["type"] == "error"
            assert error["error"]["param"] == f"session.audio.input.{param}"

    with_fake(test)


@pytest.mark.parametrize("given", [{"reasoning": {"effort": "low"}}, {"parallel_tool_calls": True}])
def test_only_models_that_reason_are_told_how(given: dict[str, Any]) -> None:
    async def test(fake: FakeOpenAI) -> None:
        (name,) = given
        async with peer(fake, "model=gpt-realtime-1.5") as client:
            error = await client.update(type="realtime", **given)
            assert error["error"]["param"] == f"session.{name}"
            error = await client.ask("response.create", response=given)
            assert error["error"]["param"] == f"response.{name}"
        async with peer(fake, VOICE) as client:
            assert (await client.update(type="realtime", **given))["type"] == "session.updated"

    with_fake(test)


@pytest.mark.parametrize(
    "metadata", [{"a": "x" * 513}, {"a" * 65: "x"}, {"a": 1}, {str(n): "x" for n in range(17)}]
)
def test_metadata_is_small_and_of_strings(metadata: dict[str, Any]) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            error = await client.ask("response.create", response={"metadata": metadata})
            assert error["error"]["param"].startswith("response.metadata")

    with_fake(test)


# --- hearing ----------------------------------------------------------------------------


def test_server_vad_finds_the_turn_and_it_is_transcribed() -> None:
    async def test(fake: FakeOpenAI) -> None:
        vad = {"type": "server_vad", "silence_duration_ms": 300, "prefix_padding_ms": 100}
        async with peer(fake) as client:
            assert (await client.update(**hears("gpt-transcribe", turn_detection=vad)))["type"] == (
                "session.updated"
            )
            await client.append(silence(500) + speech() + silence(600))
            events = await client.until(f"{TRANSCRIPT}.completed")
            words = [e["delta"] for e in events if e["type"] == f"{TRANSCRIPT}.delta"]
            assert types([e for e in events if not e["type"].endswith(".delta")]) == [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                f"{TRANSCRIPT}.completed",
            ]
            started, stopped, committed, added = events[:4]
            said_ms = 4 * 280
            assert 300 <= started["audio_start_ms"] <= 460  # 500, less the padding
            assert 500 + said_ms - 60 + 300 - 40 <= stopped["audio_end_ms"] <= 500 + said_ms + 360
            item_id = started["item_id"]
            assert stopped["item_id"] == committed["item_id"] == added["item"]["id"] == item_id
            assert committed["previous_item_id"] is None
            done = events[-1]
            assert done["item_id"] == item_id
            assert "".join(words) == done["transcript"] == "what is the weather"
            assert done["usage"]["type"] == "duration"
            # the next turn comes after the first
            await client.append(speech() + silence(600))
            events = await client.until(f"{TRANSCRIPT}.completed")
            assert events[2]["previous_item_id"] == item_id
            assert events[-1]["transcript"] == "thank you"

    with_fake(test, Settings(script=SCRIPT))


@pytest.mark.parametrize("model", ["gpt-live-transcribe", "gpt-realtime-whisper"])
def test_a_model_without_vad_waits_for_the_commit_and_streams_before_it(model: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            updated = await client.update(**hears(model))
            assert updated["session"]["audio"]["input"]["turn_detection"] is None
            await client.append(speech(5) + silence(1000))
            delta = await client.hear()
            assert delta["type"] == f"{TRANSCRIPT}.delta"
            await client.say("input_audio_buffer.commit")
            events = [delta, *await client.until(f"{TRANSCRIPT}.completed")]
            assert not [t for t in types(events) if "speech_" in t]
            assert {e["item_id"] for e in events if "item_id" in e} == {delta["item_id"]}
            words = [e["delta"] for e in events if e["type"] == f"{TRANSCRIPT}.delta"]
            assert "".join(words) == events[-1]["transcript"] == "what is the weather"

    with_fake(test, Settings(script=SCRIPT))


def test_silence_is_no_turn_and_no_words() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            await client.update(**hears("gpt-transcribe", turn_detection=None))
            await client.append(silence(300))
            await client.say("input_audio_buffer.commit")
            assert (await client.until(f"{TRANSCRIPT}.completed"))[-1]["transcript"] == "Bye."
            await client.append(speech())
            assert (await client.ask("input_audio_buffer.clear"))["type"] == (
                "input_audio_buffer.cleared"
            )
            error = await client.ask("input_audio_buffer.commit")
            assert error["error"]["code"] == "input_audio_buffer_commit_empty"

    with_fake(test, Settings(silence_transcript="Bye."))


def test_what_came_in_is_kept() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake) as client:
            await client.update(**hears("gpt-transcribe"))
            await client.append(silence(200))
            await client.ask("input_audio_buffer.clear")
        visit = fake.visits("/realtime", "WS")[0]
        assert visit.query == {"intent": "transcription"}
        assert visit.audio_bytes == 200 * MS
        assert visit.received("session.update")[0]["session"]["type"] == "transcription"
        assert [e.type for e in visit.sent] == [
            "session.created",
            "session.updated",
            "input_audio_buffer.cleared",
        ]

    with_fake(test)


# --- answering --------------------------------------------------------------------------

IN_ORDER = [
    "response.created",
    "rate_limits.updated",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]


def audio_of(events: list[dict[str, Any]]) -> bytes:
    deltas = [e["delta"] for e in events if e["type"] == "response.output_audio.delta"]
    return b"".join(map(base64.b64decode, deltas))


async def ask_in_text(client: Peer, text: str) -> None:
    item = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": text}],
    }
    await client.say("conversation.item.create", item=item)
    await client.until("conversation.item.done")


def test_a_spoken_turn_is_answered_with_audio_and_its_words() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await client.append(speech() + silence(700))
            heard = await client.until("input_audio_buffer.committed")
            await client.until("conversation.item.done")
            events = await client.until("response.done")
            steps = [t for t in types(events) if not t.endswith(".delta")]
            assert steps == IN_ORDER
            words = [
                e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta"
            ]
            assert "".join(words) == "I see."
            assert len(audio_of(events)) == 2 * 280 * MS
            response = events[-1]["response"]
            assert response["status"] == "completed"
            assert response["output"][0]["content"][0]["transcript"] == "I see."
            assert response["usage"]["total_tokens"] > 0
            added = events[3]
            assert added["previous_item_id"] == heard[-1]["item_id"]

    with_fake(test, Settings(script=Script(otherwise="I see.")))


def test_text_in_text_out() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await ask_in_text(client, "thanks, thank you")
            await client.say("response.create", response={"output_modalities": ["text"]})
            events = await client.until("response.done")
            words = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
            assert "".join(words) == "You are welcome."

    with_fake(test, Settings(script=SCRIPT))


def test_a_tool_is_called_and_its_result_spoken() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await client.update(type="realtime", tools=[TOOL])
            await ask_in_text(client, "the weather?")
            await client.say("response.create")
            events = await client.until("response.done")
            call = events[-1]["response"]["output"][0]
            assert (call["type"], call["name"]) == ("function_call", "get_weather")
            done = next(e for e in events if e["type"] == "response.function_call_arguments.done")
            assert done["arguments"] == call["arguments"] == '{"city": "Rome"}'
            assert done["call_id"] == call["call_id"]
            result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
            await client.say("conversation.item.create", item=result)
            await client.until("conversation.item.done")
            await client.say("response.create")
            spoken = (await client.until("response.done"))[-1]["response"]["output"][0]
            assert spoken["content"][0]["transcript"] == "It is sunny."

    with_fake(test, Settings(script=SCRIPT))


def test_one_answer_at_a_time_and_a_cancelled_one_is_done() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await client.say("response.create")
            await client.until("response.output_audio.delta")
            await client.say("response.create")
            error = (await client.until("error"))[-1]
            assert error["error"]["code"] == "conversation_already_has_active_response"
            await client.say("response.cancel")
            response = (await client.until("response.done"))[-1]["response"]
            assert response["status"] == "cancelled"
            assert response["status_details"] == {
                "type": "cancelled",
                "reason": "client_cancelled",
            }

    with_fake(test, Settings(speak_speed=1))


def test_speech_over_the_answer_interrupts_it() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await client.say("response.create")
            await client.until("response.output_audio.delta")
            await client.append(speech(2))
            events = await client.until("response.done")
            assert "input_audio_buffer.speech_started" in types(events)
            details = events[-1]["response"]["status_details"]
            assert details["reason"] == "turn_detected"

    with_fake(test, Settings(speak_speed=1))


def test_truncation_is_checked_against_what_was_really_sent() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            await client.say("response.create")
            done = (await client.until("response.done"))[-1]["response"]
            place = {"item_id": done["output"][0]["id"], "content_index": 0}
            sent_ms = 2 * 280
            error = await client.ask(
                "conversation.item.truncate", **place, audio_end_ms=sent_ms + 1
            )
            assert error["error"]["param"] == "audio_end_ms"
            cut = await client.ask("conversation.item.truncate", **place, audio_end_ms=200)
            assert cut["type"] == "conversation.item.truncated"
            assert cut["audio_end_ms"] == 200
            got = await client.ask("conversation.item.retrieve", item_id=place["item_id"])
            assert "transcript" not in got["item"]["content"][0]
            error = await client.ask("conversation.item.truncate", **place, audio_end_ms=300)
            assert error["type"] == "error"
            gone = await client.ask("conversation.item.delete", item_id=place["item_id"])
            assert gone["type"] == "conversation.item.deleted"

    with_fake(test, Settings(script=Script(otherwise="I see.")))


@pytest.mark.parametrize("reword", [False, True])
def test_a_session_reads_aloud_beside_the_conversation(reword: bool) -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            for text in ("Good morning: it is nine.", "Bye."):
                await client.say(
                    "response.create",
                    response={
                        "conversation": "none",
                        "input": [],
                        "output_modalities": ["audio"],
                        "instructions": f"Read aloud word for word, add nothing: {text}",
                        "audio": {"output": {"voice": "coral"}},
                        "metadata": {"clause": "1"},
                    },
                )
            done = []
            for _ in range(2):
                events = await client.until("response.done")
                assert "conversation.item.added" not in types(events)
                done.append(events[-1]["response"])
            said = {r["output"][0]["content"][0]["transcript"] for r in done}
            plus = "Sure! " if reword else ""
            assert said == {f"{plus}Good morning: it is nine.", f"{plus}Bye."}
            assert done[0]["metadata"] == {"clause": "1"}
            assert done[0]["conversation_id"] is None

    with_fake(test, Settings(reword=reword))


def test_the_voice_is_frozen_after_audio() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with peer(fake, VOICE) as client:
            other = {"audio": {"output": {"voice": "ash"}}}
            assert (await client.update(type="realtime", **other))["type"] == "session.updated"
            await client.say("response.create")
            await client.until("response.done")
            back = {"audio": {"output": {"voice": "coral"}}}
            error = await client.update(type="realtime", **back)
            assert error["error"]["code"] == "cannot_update_voice"

    with_fake(test)


def test_the_official_client_holds_a_conversation() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with sdk(fake) as client, client.realtime.connect(model="gpt-realtime-2.1") as socket:
            assert (await socket.recv()).type == "session.created"
            await socket.session.update(
                session={
                    "type": "realtime",
                    "instructions": "Be kind.",
                    "audio": {"output": {"voice": "coral"}},
                }
            )
            assert (await socket.recv()).type == "session.updated"
            await socket.input_audio_buffer.append(
                audio=base64.b64encode(speech() + silence(700)).decode()
            )
            async for event in socket:
                if event.type == "response.done":
                    assert event.response.status == "completed"
                    break

    with_fake(test)
