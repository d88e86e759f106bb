"""Every event survives both directions of each dialect, as far as the dialect can say it."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.wire import csharp, standin
from teamscall.wire.events import (
    AudioIn,
    AudioOut,
    AuthAnswer,
    AuthRequested,
    CallEnded,
    Caller,
    CallProgressed,
    CallResumed,
    CallStarted,
    DigitPressed,
    Express,
    Flush,
    FromGateway,
    HangUp,
    ParticipantsChanged,
    Pinged,
    PlaceCall,
    Pong,
    RecordingChanged,
    SayRequested,
    ShowImage,
    SpeechMark,
    SpeechMarks,
    ToGateway,
    VideoIn,
)
from teamscall.wire.strict import MAX_INTEGER, MAX_PICTURE_BYTES

call_ids = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
texts = st.text(max_size=30).map(str.strip)
named = texts.filter(bool)
reasons = st.text("abc-é😀", max_size=20)
counts = st.integers(0, MAX_INTEGER)
safe = st.integers(-(2**53) + 1, 2**53 - 1)
frames = st.integers(1, 3).flatmap(lambda n: st.binary(min_size=640 * n, max_size=640 * n))
frame = st.binary(min_size=640, max_size=640)
even = st.binary(min_size=1, max_size=50).map(lambda b: b + b)
pictures = st.binary(min_size=1, max_size=50)
directions = st.sampled_from(["inbound", "outbound"])
recordings = st.sampled_from(["active", "inactive", "unknown"])
emotions = st.sampled_from(["neutral", "happy", "sad", "surprised", "thinking"])
full_callers = st.builds(Caller, texts, texts, texts, texts, texts, texts)
callers = st.builds(Caller, texts, texts, texts)
marks = st.lists(st.builds(SpeechMark, counts, st.integers(0, 21)), max_size=5).map(
    lambda found: tuple(sorted(found, key=lambda m: m.t_ms))
)

CSHARP_FROM = st.one_of(
    st.builds(AuthRequested, call_ids, texts, full_callers),
    st.builds(CallStarted, call_ids, full_callers, directions),
    st.builds(CallEnded, call_ids, reasons),
    st.builds(CallResumed, call_ids, st.integers(-MAX_INTEGER, MAX_INTEGER)),
    st.builds(AudioIn, call_ids, counts, frames),
    st.builds(Pinged, call_ids),
    st.builds(
        CallProgressed,
        call_ids,
        st.sampled_from(["ringing", "answered", "failed", "busy", "no-answer"]),
        reasons,
    ),
)
CSHARP_TO = st.one_of(
    st.builds(AuthAnswer, call_ids, texts, st.booleans(), texts, counts, texts),
    st.builds(AudioOut, call_ids, counts, frame),
    st.builds(Flush, call_ids, st.just(0), counts),
    st.builds(HangUp, call_ids, st.just("")),
    st.builds(Pong, call_ids),
    st.builds(PlaceCall, call_ids, st.sampled_from(["user", "phone"]), named, texts),
)
PATH_ID = "path-id"
mine = st.just(PATH_ID)
STANDIN_FROM = st.one_of(
    st.builds(CallStarted, named, callers, directions, texts, recordings | st.none(), texts),
    st.builds(CallEnded, mine, reasons),
    st.builds(AudioIn, mine, counts, even, counts, texts),
    st.builds(RecordingChanged, mine, recordings),
    st.builds(
        VideoIn,
        mine,
        st.sampled_from(["camera", "screenshare"]),
        counts,
        st.integers(1, MAX_INTEGER),
        st.integers(1, MAX_INTEGER),
        named,
        pictures,
        texts,
        texts,
    ),
    st.builds(ParticipantsChanged, mine, counts),
    st.builds(DigitPressed, mine, st.sampled_from("0123456789*#")),
    st.builds(Pinged, mine, safe),
    st.builds(SayRequested, mine, named),
)
STANDIN_TO = st.one_of(
    st.builds(AudioOut, mine, counts, even, counts),
    st.builds(Flush, mine, counts, st.just(0)),
    st.builds(HangUp, mine, reasons),
    st.builds(Pong, mine, safe),
    st.builds(Express, mine, emotions),
    st.builds(SpeechMarks, mine, marks),
    st.builds(
        ShowImage,
        mine,
        pictures,
        st.sampled_from(["image/jpeg", "image/png"]),
        counts,
        st.sampled_from(["fullscreen", "overlay", ""]),
        texts,
    ),
)


class TestRoundTrips:
    @given(CSHARP_FROM)
    def test_what_a_csharp_gateway_says(self, event: FromGateway) -> None:
        raw = csharp.encode_from_gateway(event)
        assert raw is not None
        assert csharp.decode_from_gateway(raw) == event
        assert csharp.decode_from_gateway(raw.decode(), call_id="ignored") == event

    @given(CSHARP_TO)
    def test_what_a_csharp_gateway_is_told(self, message: ToGateway) -> None:
        raw = csharp.encode_to_gateway(message)
        assert raw is not None
        assert csharp.decode_to_gateway(raw) == message

    @given(STANDIN_FROM)
    def test_what_standin_says(self, event: FromGateway) -> None:
        raw = standin.encode_from_gateway(event)
        assert raw is not None
        assert standin.decode_from_gateway(raw, call_id=PATH_ID) == event

    @given(STANDIN_TO)
    def test_what_standin_is_told(self, message: ToGateway) -> None:
        raw = standin.encode_to_gateway(message)
        assert raw is not None
        assert standin.decode_to_gateway(raw.decode(), call_id=PATH_ID) == message


NOBODY = Caller("u", "t")


class TestWhatADialectCannotSay:
    @pytest.mark.parametrize(
        "event",
        [
            RecordingChanged("c", "active"),
            VideoIn("c", "camera", 0, 1, 1, "image/jpeg", b"x"),
            ParticipantsChanged("c", 1),
            DigitPressed("c", "1"),
            SayRequested("c", "x"),
        ],
    )
    def test_csharp_gateways_do_not_say(self, event: FromGateway) -> None:
        assert csharp.encode_from_gateway(event) is None

    @pytest.mark.parametrize(
        "message", [Express("c", "sad"), SpeechMarks("c", ()), ShowImage("c", b"x", "image/png")]
    )
    def test_csharp_gateways_are_not_told(self, message: ToGateway) -> None:
        assert csharp.encode_to_gateway(message) is None

    @pytest.mark.parametrize(
        "event",
        [AuthRequested("c", "k", NOBODY), CallResumed("c", 1), CallProgressed("c", "busy")],
    )
    def test_standin_does_not_say(self, event: FromGateway) -> None:
        assert standin.encode_from_gateway(event) is None

    @pytest.mark.parametrize(
        "message", [AuthAnswer("c", "k", True, "open", 1), PlaceCall("c", "user", "u")]
    )
    def test_standin_is_not_told(self, message: ToGateway) -> None:
        assert standin.encode_to_gateway(message) is None


class TestWhatAnEncoderRefuses:
    @pytest.mark.parametrize(
        "message",
        [
            AudioOut("c", 0, bytes(638)),
            AudioOut("c", 0, bytes(1280)),
            AudioOut("c", -1, bytes(640)),
            AudioOut('c","x":"', 0, bytes(640)),
            AudioOut("c\n", 0, bytes(640)),
            AudioOut("", 0, bytes(640)),
            Flush("c", 0, -1),
            PlaceCall("c", "user", ""),
            AuthAnswer("c", "\ud800", True, "open", 1),
        ],
    )
    def test_csharp_to_the_gateway(self, message: ToGateway) -> None:
        with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
            csharp.encode_to_gateway(message)

    @pytest.mark.parametrize(
        "event", [AudioIn("c", 0, b""), AudioIn("c", 0, bytes(641)), Pinged("../c")]
    )
    def test_csharp_from_the_gateway(self, event: FromGateway) -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            csharp.encode_from_gateway(event)

    @pytest.mark.parametrize(
        "message",
        [
            AudioOut("c", 0, b""),
            AudioOut("c", 0, bytes(3)),
            AudioOut("c", 0, bytes(2), -1),
            Pong("c", 2**53),
            ShowImage("c", bytes(MAX_PICTURE_BYTES + 1), "image/png"),
            ShowImage("c", b"", "image/png"),
            SpeechMarks("c", (SpeechMark(2, 0), SpeechMark(1, 0))),
            SpeechMarks("c", (SpeechMark(0, 22),)),
            SpeechMarks("c", (SpeechMark(-1, 0),)),
        ],
    )
    def test_standin_to_the_gateway(self, message: ToGateway) -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            standin.encode_to_gateway(message)

    @pytest.mark.parametrize(
        "event",
        [
            AudioIn("c", 0, bytes(1)),
            DigitPressed("c", "A"),
            SayRequested("c", " "),
            CallStarted(" ", NOBODY),
            ParticipantsChanged("c", -1),
            VideoIn("c", "camera", 0, 0, 1, "image/jpeg", b"x"),
        ],
    )
    def test_standin_from_the_gateway(self, event: FromGateway) -> None:
        with pytest.raises(ValueError):  # noqa: PT011
            standin.encode_from_gateway(event)


class TestPictures:
    def test_the_largest_picture_passes_both_ways(self) -> None:
        data = bytes(range(256)) * (MAX_PICTURE_BYTES // 256) + bytes(MAX_PICTURE_BYTES % 256)
        image = ShowImage(PATH_ID, data, "image/jpeg")
        raw = standin.encode_to_gateway(image)
        assert raw is not None
        assert standin.decode_to_gateway(raw, call_id=PATH_ID) == image
        seen = VideoIn(PATH_ID, "camera", 0, 1, 1, "image/jpeg", data)
        raw = standin.encode_from_gateway(seen)
        assert raw is not None
        assert standin.decode_from_gateway(raw, call_id=PATH_ID) == seen

    @pytest.mark.parametrize("over", [1, 2, 3])
    def test_a_larger_one_is_dropped(self, over: int) -> None:
        raw = msgspec.json.encode(
            {
                "type": "display.image",
                "dataBase64": bytes(MAX_PICTURE_BYTES + over),
                "mime": "image/png",
            }
        )
        got = standin.decode_to_gateway(raw)
        assert got.__class__.__name__ == "Dropped"


def test_a_frame_of_standin_is_856_characters_of_base64() -> None:
    raw = standin.encode_to_gateway(AudioOut("c", 0, bytes(640)))
    assert raw is not None
    assert len(msgspec.json.decode(raw)["payloadBase64"]) == 856
