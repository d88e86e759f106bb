"""Call paths, outcomes and the control planes' bodies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.wire import control
from teamscall.wire.control import (
    Health,
    Initiating,
    PathRefusal,
    PhoneTarget,
    Placed,
    Placing,
    Refused,
    UserTarget,
    call_id_from_path,
    call_path,
    is_call_id,
)
from teamscall.wire.events import Dropped

PREFIXES = ["/msteams/calling", "/voice/msteams/stream"]
printable_ids = st.text(min_size=1, max_size=256).filter(is_call_id)


class TestPaths:
    @pytest.mark.parametrize(
        ("target", "call_id"),
        [
            ("/msteams/calling/call-1", "call-1"),
            ("/voice/msteams/stream/19%3Aabc%40thread.v2", "19:abc@thread.v2"),
            ("/msteams/calling/a%20b", "a b"),
            ("/msteams/calling/%E7%A7%98", "秘"),
            ("/msteams/calling/" + "秘".encode().decode("latin-1"), "秘"),
            ("/msteams/calling/a+b", "a+b"),
            ("/msteams/calling/%2525", "%25"),
            ("/msteams/calling/" + "x" * 256, "x" * 256),
            ("/msteams/calling/outcome", "outcome"),
        ],
    )
    def test_a_call_id_is_percent_decoded_once(self, target: str, call_id: str) -> None:
        assert call_id_from_path(target, PREFIXES) == call_id

    @pytest.mark.parametrize(
        "target",
        [
            "", "/", "*", "/msteams/calling", "/msteams/calling/", "/msteams/calling/a/",
            "/msteams/calling/a/b", "/msteams/calling//a", "/msteams/calling/../a",
            "/msteams/calling/a?", "/msteams/calling/a?x=1", "/msteams/callings/a",
            "/MSTEAMS/calling/a", "http://host/msteams/calling/a", "/x/msteams/calling/a",
        ],
    )  # fmt: skip
    def test_any_other_path_is_404(self, target: str) -> None:
        refusal = call_id_from_path(target, PREFIXES)
        assert isinstance(refusal, PathRefusal)
        assert refusal.status == 404

    @pytest.mark.parametrize(
        "segment",
        [
            "%2e%2e%2f", "%2e%2e", ".", "..", "a%2Fb", "a%0Ab", "%1B[31m", "%00", "%7F", "%",
            "%4", "%zz", "%FF", "%C3", "%E2%80%AE", "%20", "x" * 257, "x" * 4096, "%ED%A0%80",
            "a\nb", "\u0661\uffff",
        ],
    )  # fmt: skip
    def test_a_bad_call_id_is_400(self, segment: str) -> None:
        refusal = call_id_from_path("/msteams/calling/" + segment, PREFIXES)
        assert isinstance(refusal, PathRefusal)
        assert refusal.status == 400

    @given(st.text(st.characters(), max_size=50), st.sampled_from(["", *PREFIXES]))
    def test_no_target_raises(self, rest: str, prefix: str) -> None:
        answer = call_id_from_path(f"{prefix}/{rest}", PREFIXES)
        assert isinstance(answer, PathRefusal) or is_call_id(answer)

    @given(printable_ids, st.sampled_from(PREFIXES))
    def test_a_written_path_reads_back(self, call_id: str, prefix: str) -> None:
        assert call_id_from_path(call_path(prefix, call_id), PREFIXES) == call_id

    def test_a_bad_call_id_has_no_path(self) -> None:
        with pytest.raises(ValueError, match="call id"):
            call_path("/msteams/calling", "a/b")

    def test_outcomes_have_their_own_prefix(self) -> None:
        prefixes = [prefix + control.OUTCOME_SEGMENT for prefix in PREFIXES]
        assert call_id_from_path("/msteams/calling/outcome/c", prefixes) == "c"


class TestOutcomes:
    @pytest.mark.parametrize("word", ["answered", "no-answer", "declined", "busy", "failed"])
    def test_known_words(self, word: str) -> None:
        assert control.decode_outcome(b'{"outcome":"%s","x":1}' % word.encode()) == word

    @pytest.mark.parametrize("word", ["", "ANSWERED", "voicemail", "\\u001b"])
    def test_unknown_words_are_none(self, word: str) -> None:
        assert control.decode_outcome(b'{"outcome":"%s"}' % word.encode()) is None

    @pytest.mark.parametrize(
        "body",
        [b"", b"{}", b"[]", b'{"outcome":1}', b'{"outcome":null}', b"\xff", b"[" * 8000,
         b'{"outcome":"busy"', b'\xef\xbb\xbf{"outcome":"busy"}', b'{"outcome":NaN}'],
    )  # fmt: skip
    def test_malformed_bodies_are_dropped(self, body: bytes) -> None:
        got = control.decode_outcome(body)
        assert isinstance(got, Dropped)
        assert got.cause != "too-large"

    def test_the_cap(self) -> None:
        body = control.encode_outcome("busy")
        padded = body + b" " * (control.MAX_OUTCOME_BYTES - len(body))
        assert control.decode_outcome(padded) == "busy"
        assert control.decode_outcome(padded + b" ") == Dropped("too-large", "body over the cap")


class TestPlacing:
    def test_standins_request(self) -> None:
        body = control.encode_placing(Placing("u", "t"))
        assert body == b'{"userObjectId":"u","tenantId":"t"}'
        assert control.decode_placing(body) == Placing("u", "t")

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"userObjectId":"u"}',
                                      b'{"userObjectId":" ","tenantId":"t"}'])  # fmt: skip
    def test_standin_refuses(self, body: bytes) -> None:
        assert isinstance(control.decode_placing(body), Dropped)

    @pytest.mark.parametrize("target", [UserTarget("u"), PhoneTarget("+4930123")])
    def test_the_csharp_request(self, target: UserTarget | PhoneTarget) -> None:
        for initiating in (Initiating(target), Initiating(target, "Hello!")):
            body = control.encode_initiating(initiating)
            assert control.decode_initiating(body) == initiating

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"target":{"type":"room"}}',
                                      b'{"target":{"type":"user","userId":""}}'])  # fmt: skip
    def test_a_csharp_gateway_refuses(self, body: bytes) -> None:
        assert isinstance(control.decode_initiating(body), Dropped)

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_any_2xx_with_a_call_id_rings(self, status: int) -> None:
        body = control.encode_placed(Placed("call-1", "scenario"))
        assert control.decode_placed(status, body) == Placed("call-1", "scenario")
        assert control.decode_placed(status, b'{"callId":"c","scenarioId":7}') == Placed("c")
        assert control.decode_placed(status, b'{"callId":"c"}', csharp=True) == Placed("c")

    @pytest.mark.parametrize("body", [b"", b"{}", b'{"callId":""}', b'{"callId":"a/b"}',
                                      b'{"callId":5}', b'{"callId":"a\\u001b"}'])  # fmt: skip
    def test_an_answer_without_a_usable_call_id_is_refused(self, body: bytes) -> None:
        assert isinstance(control.decode_placed(202, body), Refused)

    def test_csharp_holds_to_its_alphabet(self) -> None:
        assert isinstance(control.decode_placed(202, b'{"callId":"a:b"}', csharp=True), Refused)

    def test_a_refusals_words_are_capped_and_printable(self) -> None:
        got = control.decode_placed(503, b"\x1b[31mno licence\xff\n" + b"x" * 100_000)
        assert isinstance(got, Refused)
        assert got.status == 503
        assert got.words.startswith("[31mno licence")
        assert len(got.words) <= control.MAX_REFUSAL_CHARS

    @given(st.integers(100, 599), st.binary(max_size=100))
    def test_no_answer_raises(self, status: int, body: bytes) -> None:
        control.decode_placed(status, body)
        control.decode_hung_up(status, body)
        control.decode_health(status, body)
        control.decode_placing(body)
        control.decode_initiating(body)
        control.decode_hang_up(body)
        control.decode_outcome(body)


class TestHangingUpAndHealth:
    def test_hanging_up(self) -> None:
        body = control.encode_hang_up("c")
        assert body == b'{"callId":"c"}'
        assert control.decode_hang_up(body) == "c"
        assert control.decode_hang_up(b'{"callId":"../c"}') == Dropped("bad-call-id")
        assert control.decode_hung_up(200, control.encode_hung_up(True)) is True
        assert control.decode_hung_up(200, b"{}") is False
        assert control.decode_hung_up(401, b"who?") == Refused(401, "who?")

    def test_health(self) -> None:
        body = control.encode_health(Health("healthy", 2, "1.2.0"))
        assert body == b'{"status":"healthy","activeCalls":2,"sdkVersion":"1.2.0"}'
        assert control.decode_health(200, body) == Health("healthy", 2, "1.2.0")
        assert isinstance(control.decode_health(200, b"OK"), Refused)
        assert isinstance(control.decode_health(401, b""), Refused)
