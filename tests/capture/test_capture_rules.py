"""What may be in a capture: the recording rule, what is left out, and how files are named."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teamscall.calls.events import Setup
from teamscall.calls.records import CallClosed, CallCounters, Usage
from teamscall.calls.settings import CallSettings, Filler, Goodbyes, Silence
from teamscall.capture import codec
from teamscall.capture.content import Rule
from teamscall.capture.eliding import elide, kind_of
from teamscall.capture.naming import file_name
from teamscall.capture.records import Content, Event
from teamscall.engines import base as engine
from teamscall.errors import CaptureError
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire
from teamscall.wire.events import Dialect, RecordingStatus

SECRET = "what nobody may read"
PCM = b"\x01\x02" * 320

# --- the recording rule ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "dialect", "without_status", "required", "status", "full"),
    [
        ("timing", "standin", True, False, "active", False),
        ("full", "standin", False, True, "active", True),
        ("full", "standin", False, False, "active", True),
        ("full", "standin", False, False, "inactive", False),
        ("full", "standin", False, False, "unknown", False),
        ("full", "standin", True, False, None, False),
        ("full", "csharp", False, False, None, False),
        ("full", "csharp", True, False, None, True),
        ("full", "csharp", True, True, None, False),
    ],
)
def test_media_are_kept_only_of_a_call_that_may_be_recorded(
    wanted: Content,
    dialect: Dialect,
    without_status: bool,
    required: bool,
    status: RecordingStatus | None,
    full: bool,
) -> None:
    rule = Rule(wanted, dialect, without_status=without_status, required=required)
    if status is not None:
        rule.follow(wire.RecordingChanged("c", status))
    assert rule.full is full
    assert not full or rule.content == "full"
    assert bool(rule.why) is (rule.content == "full")


def test_an_emulated_call_is_full_whatever_its_status() -> None:
    rule = Rule("full", "standin", emulated=True, required=True)
    rule.follow(wire.RecordingChanged("c", "inactive"))
    assert rule.full


def test_an_explicit_status_is_not_undone_by_the_start() -> None:
    rule = Rule("full", "standin")
    rule.follow(wire.RecordingChanged("c", "inactive"))
    rule.follow(wire.CallStarted("c", wire.Caller(), recording="active"))
    assert not rule.full


# --- what is left out of a message ----------------------------------------------------

FROM: list[wire.FromGateway] = [
    wire.AudioIn("c", 1, PCM, 20, "Ann"),
    wire.VideoIn("c", "camera", 1, 2, 3, "image/jpeg", SECRET.encode()),
    wire.DigitPressed("c", "7"),
    wire.SayRequested("c", SECRET),
    wire.AuthRequested("c", "k", wire.Caller("ann")),
]
TO: list[wire.ToGateway] = [
    wire.AudioOut("c", 1, PCM, 20),
    wire.PlaceCall("c", "user", "u", SECRET),
    wire.ShowImage("c", SECRET.encode(), "image/png", 1, "overlay", SECRET),
    wire.SpeechMarks("c", (wire.SpeechMark(1, 2),)),
    wire.Flush("c", 1, 2),
]


@pytest.mark.parametrize("dialect", [standin, csharp])
def test_a_message_keeps_its_kind_and_loses_its_content(dialect: Any) -> None:
    texts = [dialect.encode_from_gateway(event) for event in FROM]
    texts += [dialect.encode_to_gateway(message) for message in TO]
    for text in filter(None, texts):
        left, elided = elide(text)
        assert kind_of(left) == kind_of(text)
        for secret in (SECRET, "AQIBAgEC", "d2hhdCBub2Jv", '"7"', "visemeId"):
            assert secret.encode() not in left
        keys = {"payloadBase64", "dataBase64", "data", "text", "message", "digit", "marks"}
        has_content = bool(keys & json.loads(text).keys())
        assert bool(elided) is has_content


@pytest.mark.parametrize(
    "text",
    [
        b"no json, " + SECRET.encode(),
        json.dumps([SECRET]).encode(),
        json.dumps(SECRET).encode(),
        json.dumps({"type": "audio.frame", "later": SECRET}).encode(),
        json.dumps({"type": "dtmf", SECRET: 1}).encode(),
        json.dumps({"type": "x", "status": {"deep": SECRET}}).encode(),
        json.dumps({"type": "x", "caller": {"said": SECRET}}).encode(),
        json.dumps({"type": "x", "caller": SECRET}).encode(),
        json.dumps({"type": "x", "reason": SECRET * 100}).encode(),
        b"[" * 100_000 + SECRET.encode(),
    ],
)
def test_what_nobody_thought_of_is_left_out(text: bytes) -> None:
    left, elided = elide(text)
    assert SECRET.encode() not in left
    assert elided


@given(st.binary(max_size=300))
def test_any_bytes_are_left_out(data: bytes) -> None:
    left, elided = elide(data)
    assert len(left) <= len(data) + 8
    assert elided or left or not data


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["type", "text", "caller", "x", "marks"]), json_values))
def test_any_message_is_left_with_structure_alone(value: dict[str, Any]) -> None:
    left, _ = elide(json.dumps(value).encode())
    if left:
        told = json.loads(left)
        assert set(told) <= {"type", "text", "caller", "marks"}
        assert told.get("text", "") in ("", None, [])


# --- structs and records --------------------------------------------------------------


def kinds() -> list[type]:
    return [
        *codec.SHELL_EVENTS, *codec.ENGINE_EVENTS, *codec.GATEWAY_EVENTS, *codec.COMMANDS
    ]  # fmt: skip


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that stands in a struct."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return of(args[0])
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(of(args[0]), max_size=2).map(tuple)
    if origin is not None and origin is not dict:
        return st.one_of([of(arg) for arg in args])
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind, include_extras=True)
        return st.fixed_dictionaries({f: of(hints[f]) for f in kind.__struct_fields__}).map(
            lambda fields: kind(**fields)
        )
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
        bytes: st.binary(max_size=20),
        int: st.integers(-(2**63), 2**63),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
        type(None): st.none(),
    }
    return plain[kind]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_any_event_and_command_comes_back_as_it_was(kind: type) -> None:
    @settings(max_examples=15)
    @given(of(kind))
    def check(value: Any) -> None:
        if kind in codec.COMMANDS:
            record = codec.did(value)
            if kind is engine.Hear:
                with pytest.raises(CaptureError):
                    codec.command_of(record)
            else:
                assert codec.command_of(_through(record)) == value
        else:
            step = _through(codec.step(1.5, value))
            assert step.event is not None
            assert codec.event_of(step.event) == value

    check()


def _through(record: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(record), type=type(record))


# Every other text and every bytes of an event or command: no word of a caller's or a bot's.
HARMLESS = {
    *("call_id", "correlation_id", "thread_id", "tenant_id", "address", "attempt", "target"),
    *("user_id", "display_name", "user_principal_name", "phone_number", "teams_call_id"),
    *("speaker", "participant_id", "participant_name", "mime"),
    *("reason", "detail", "error", "name", "stage", "model", "strategy", "engine", "currency"),
    *("action", "by", "result"),
}


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_text_of_an_event_is_known_to_be_content_or_harmless(kind: type) -> None:
    content = codec.CONTENT.get(kind.__name__, ())
    if kind is engine.Hear:  # its audio is never in a record
        return
    for field in msgspec.structs.fields(kind):
        hints = typing.get_type_hints(kind)
        if hints[field.name] in (str, bytes) and field.name not in content:
            assert field.name in HARMLESS, f"{kind.__name__}.{field.name}"
    assert set(content) <= set(kind.__struct_fields__)  # type: ignore[attr-defined]


def test_content_becomes_its_length() -> None:
    step = codec.step(1.0, engine.AnswerAudio(3, PCM, 16_000, "grüß"), elide=True)
    assert step.event == Event(
        "AnswerAudio",
        {"turn": 3, "pcm": b"", "rate": 16_000, "text": ""},
        {"pcm": len(PCM), "text": 6},
    )
    assert codec.did(engine.Hear(PCM), elide=True).fields == {"length": len(PCM), "crc32": 0}


def test_a_record_of_another_time_is_one_clear_error() -> None:
    for event in (Event("Unheard", {}), Event("Transcript", {"text": 5}), Event("Respond", {})):
        with pytest.raises(CaptureError):
            codec.event_of(event)
    with pytest.raises(TypeError):
        codec.step(1.0, object())


def test_the_final_record_keeps_its_nested_parts() -> None:
    closed = CallClosed("c", 1, "r", "bot", 2, CallCounters(frames_in=3), "", (Usage("s", "m"),))
    assert codec.command_of(_through(codec.did(closed))) == closed


def test_the_digest_is_of_the_settings_alone() -> None:
    assert codec.digest(CallSettings()) == codec.digest(CallSettings())
    assert codec.digest(CallSettings()) != codec.digest(CallSettings(greeting="Hi"))


def test_settings_without_words_keep_every_time() -> None:
    """What the operator has the bot say is what was said."""
    spoken = CallSettings(
        greeting=SECRET,
        goodbyes=Goodbyes(SECRET, SECRET, SECRET, deadline_s=2.5),
        silence=Silence(3.0, SECRET, 7.0, SECRET),
        filler=Filler(after_s=0.7, words=(SECRET,), sound=SECRET.encode()),
    )
    left = codec.without_words(spoken)
    assert SECRET.encode() not in codec.settings_bytes(left)
    assert (left.silence, left.filler.after_s) == (Silence(3.0, "", 7.0, ""), 0.7)
    assert (left.goodbyes.deadline_s, left.endpoint) == (2.5, spoken.endpoint)


def test_a_setup_comes_back_as_it_was() -> None:
    @given(of(Setup))
    def check(setup: Setup) -> None:
        assert msgspec.msgpack.decode(codec.setup_bytes(setup), type=Setup) == setup

    check()


# --- names ----------------------------------------------------------------------------


@given(st.text(max_size=5000), st.integers(0, 4_000_000_000_000))
def test_any_call_id_becomes_one_plain_file_name(call_id: str, wall_ms: int) -> None:
    name = file_name(call_id, wall_ms)
    assert re.fullmatch(r"\d{8}T\d{6}Z-[A-Za-z0-9_-]+\.tcap", name)
    assert len(name) < 120
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name == Path(name).name


def test_ids_that_look_alike_as_names_stay_two() -> None:
    ids = ["a/b", "a.b", "a_b", "a\\b", "A/b", "x" * 200, "x" * 201, "", "-", "_"]
    assert len({file_name(call_id, 0).lower() for call_id in ids}) == len(ids)
