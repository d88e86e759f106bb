"""Strict reading: what is refused, whatever the bytes are, and at what cost."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.wire import csharp, standin
from teamscall.wire.events import Dropped
from teamscall.wire.strict import (
    MAX_AUDIO_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_PICTURE_BYTES,
    mend_surrogates,
    read_base64,
    read_body,
    safe_integer,
)

DECODERS = [
    csharp.decode_from_gateway,
    csharp.decode_to_gateway,
    standin.decode_from_gateway,
    standin.decode_to_gateway,
]
TYPES = [
    "auth_request",
    "session_start",
    "audio_in",
    "call_status",
    "session_end",
    "session_resume",
    "ping",
    "auth_response",
    "audio_out",
    "audio_flush",
    "hangup",
    "initiate_call",
    "pong",
    "session.start",
    "session.end",
    "recording.status",
    "audio.frame",
    "video.frame",
    "participants",
    "dtmf",
    "assistant.say",
    "assistant.cancel",
    "expression",
    "speech.marks",
    "display.image",
]
FIELDS = [
    "type",
    "callId",
    "correlationId",
    "metadata",
    "tenantId",
    "userId",
    "phoneNumber",
    "direction",
    "seq",
    "data",
    "status",
    "error",
    "reason",
    "lastReceivedSeq",
    "authorized",
    "strategy",
    "timestamp",
    "target",
    "number",
    "message",
    "threadId",
    "caller",
    "aadId",
    "displayName",
    "recordingStatus",
    "timestampMs",
    "payloadBase64",
    "speakerName",
    "source",
    "ts",
    "width",
    "height",
    "mime",
    "dataBase64",
    "count",
    "digit",
    "text",
    "turnId",
    "emotion",
    "marks",
    "tMs",
    "visemeId",
    "durationMs",
    "mode",
    "caption",
]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=12).map(lambda b: base64.b64encode(b).decode()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=12,
)


def refuse(data: str | bytes) -> Dropped:
    """What every decoder of both dialects refuses in the same words."""
    answers = [decode(data, call_id="c") for decode in DECODERS]
    assert all(a == answers[0] for a in answers)
    assert isinstance(answers[0], Dropped)
    return answers[0]


class TestAnyInput:
    @given(st.binary(max_size=200) | st.text(max_size=200))
    def test_no_decoder_raises_for_any_bytes_or_text(self, data: str | bytes) -> None:
        for decode in DECODERS:
            decode(data, call_id="c")

    @given(st.text(st.characters(), max_size=20))  # lone surrogates included
    def test_no_decoder_raises_for_text_that_utf8_cannot_hold(self, text: str) -> None:
        for decode in DECODERS:
            decode(f'{{"type":"ping","callId":"c","x":"{text}"}}', call_id="c")

    @given(st.sampled_from(TYPES), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8))
    def test_no_decoder_raises_for_any_json(self, kind: str, fields: dict[str, object]) -> None:
        data = json.dumps({"callId": "c", **fields, "type": kind})
        for decode in DECODERS:
            decode(data, call_id="c")

    @given(st.sampled_from(TYPES), st.data())
    def test_a_cut_message_is_never_read(self, kind: str, data: st.DataObject) -> None:
        whole = json.dumps(
            {"type": kind, "callId": "c", "text": "é😀"}, ensure_ascii=False
        ).encode()
        cut = data.draw(st.integers(0, len(whole) - 1))
        assert refuse(whole[:cut]).cause == "not-json"


class TestMessages:
    @pytest.mark.parametrize("depth", [10_000, 500_000])
    @pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
    def test_deep_nesting_is_dropped(self, depth: int, left: str, right: str) -> None:
        deep = left * depth + "1" + right * depth
        for data in (
            f'{{"type":"ping","callId":"c","x":{deep}}}',
            f'{{"type":"session.start","callId":"c","caller":{deep}}}',
            f'{{"type":{deep},"callId":"c"}}',
            f'{{"type":"ping","ts":{deep},"callId":"c"}}',
            deep,
        ):
            for decode in DECODERS:
                answer = decode(data, call_id="c")
                assert isinstance(answer, Dropped)

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    def test_other_encodings_are_dropped(self, encoding: str) -> None:
        assert refuse('{"type":"ping","callId":"c"}'.encode(encoding)).cause == "not-json"

    def test_truncated_utf8_is_dropped_even_where_nobody_looks(self) -> None:
        data = '{"type":"ping","callId":"c","unknown":"é"}'.encode().replace(b"\xa9", b"")
        assert refuse(data) == Dropped("not-json", "not UTF-8")

    def test_a_message_over_the_cap_is_not_parsed(self) -> None:
        data = b" " * (MAX_MESSAGE_BYTES - 28) + b'{"type":"ping","callId":"c"}'
        assert not isinstance(standin.decode_from_gateway(data), Dropped)
        assert refuse(b" " + data).cause == "too-large"

    def test_the_peers_type_name_is_capped_and_printable(self) -> None:
        detail = refuse(json.dumps({"type": "x\x1b\u202e" * 100_000})).detail
        assert len(detail) <= 64
        assert detail.isprintable()

    def test_peer_text_does_not_reach_the_detail_of_a_bad_field(self) -> None:
        evil = "evil` - at `$.secret`"
        data = json.dumps({"type": "call_status", "callId": "c", "status": evil})
        got = csharp.decode_from_gateway(data)
        assert got == Dropped("bad-field", "call_status status")


class TestBase64:
    @given(st.binary(max_size=50))
    def test_what_is_canonical_reads_back(self, value: bytes) -> None:
        assert read_base64(base64.b64encode(value).decode(), 50) == value

    @given(
        st.text(alphabet="ABQgwcEIM/+-_= \n\\é", max_size=12)
        | st.text(alphabet="AB=", max_size=8)
        | st.text(max_size=12)
    )
    def test_what_is_not_canonical_is_refused(self, text: str) -> None:
        value = read_base64(text, 100)
        if value is not None:
            assert base64.b64encode(value).decode() == text

    @pytest.mark.parametrize("cap", [638, 639, 640, 641, 642])
    def test_the_cap_is_exact(self, cap: int) -> None:
        assert read_base64(base64.b64encode(bytes(cap)).decode(), cap) == bytes(cap)
        for over in (1, 2, 3, 100):
            assert read_base64(base64.b64encode(bytes(cap + over)).decode(), cap) is None

    def test_what_is_too_long_is_not_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def decoded(*_: object) -> bytes:
            raise AssertionError("decoded")

        monkeypatch.setattr(msgspec, "convert", decoded)
        assert read_base64("A" * 1024, 640) is None


class TestCaps:
    def test_a_picture_of_the_largest_size_fits_a_message(self) -> None:
        assert (MAX_PICTURE_BYTES + 2) // 3 * 4 + 64 * 1024 < MAX_MESSAGE_BYTES
        assert (MAX_AUDIO_BYTES + 2) // 3 * 4 + 64 * 1024 < MAX_MESSAGE_BYTES

    @pytest.mark.parametrize(
        ("decode", "envelope"),
        [
            (csharp.decode_from_gateway, '{"type":"audio_in","callId":"c","seq":1,"data":"%s"}'),
            (standin.decode_from_gateway, '{"type":"audio.frame","seq":1,"payloadBase64":"%s"}'),
        ],
    )
    def test_audio_has_its_own_cap(self, decode: object, envelope: str) -> None:
        assert callable(decode)
        longest = base64.b64encode(bytes(MAX_AUDIO_BYTES)).decode()
        over = base64.b64encode(bytes(MAX_AUDIO_BYTES + 640)).decode()
        assert decode(envelope % longest).pcm == bytes(MAX_AUDIO_BYTES)
        assert decode(envelope % over).cause == "bad-audio"


class TestOddValues:
    @given(st.binary(max_size=20) | JSON.map(lambda v: json.dumps(v).encode()))
    def test_a_safe_integer_is_one_for_any_raw_value(self, raw: bytes) -> None:
        assert abs(safe_integer(msgspec.Raw(raw))) < 2**53

    @pytest.mark.parametrize(
        ("raw", "mended"),
        [
            (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
            (rb'"a\ud83d"', rb'"a\ufffd"'),
            (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
            (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
            (rb'"\\ud83d"', rb'"\\ud83d"'),
            (rb'"\\\ud83d\n"', rb'"\\\ufffd\n"'),
        ],
    )
    def test_half_a_surrogate_pair_is_replaced(self, raw: bytes, mended: bytes) -> None:
        assert mend_surrogates(raw) == mended
        msgspec.json.decode(mended)

    @given(st.text(st.characters(), max_size=30))
    def test_mended_text_is_what_utf16_with_replacement_gives(self, text: str) -> None:
        mended = msgspec.json.decode(mend_surrogates(json.dumps(text).encode()), type=str)
        assert mended == text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    @given(st.binary(max_size=100))
    def test_no_body_makes_a_reader_raise(self, body: bytes) -> None:
        read_body(msgspec.json.Decoder(dict[str, int]), body, 64)
        read_body(msgspec.json.Decoder(list[object]), b"[" * 10_000 + body, 100_000)
