"""Signatures: the documents' vectors, the window, the replay guard, the operator's words."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teamscall.wire.signature import (
    GENERATION_1,
    SIGNATURE_V2_HEADER,
    TODAY,
    Generation,
    Header,
    ReplayGuard,
    Verdict,
    control_headers,
    diagnose,
    diagnose_secret,
    parse_timestamp,
    secrets_match,
    sign_v1,
    sign_v2,
    upgrade_headers,
    verify_control,
    verify_upgrade,
    verify_v1,
    verify_v2,
)

NOW = 1_700_000_000_000
WINDOW = 60_000
SECRET = b"a secret of at least 32 characters"
CALL = "chat"


def lower(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}


def verify(
    timestamp: Header = str(NOW), signature: Header = None, secret: bytes = SECRET
) -> Verdict:
    if signature is None:
        signature = sign_v1(SECRET, str(timestamp), CALL)
    return verify_v1(secret, timestamp, CALL, signature, NOW, WINDOW)


class TestVectors:
    @pytest.mark.parametrize(
        ("secret", "timestamp", "call_id", "expected"),
        [
            (
                "test-secret",
                "1700000000000",
                "chat",
                "85d25494db0c5c048e4a5a51fce0f0d78131738437e396337e4a2258087f802f",
            ),
            (
                "peer-secret",
                "1735689600000",
                "571f0580-4d4b-4f32-9a8e-0a1b2c3d4e5f",
                "bffaeede0d3e433e71e56a2ac5bda9429d0247120c5afb63e06f9249bf6087dd",
            ),
            (
                "pässwörd-秘密",
                "1735689600000",
                "call-1",
                "37e30694f3f2e9ab5fbb54c757ab0ba1a1ff2eb6f44f19ffa48ae4d12bf4f201",
            ),
        ],
    )
    def test_version_1(self, secret: str, timestamp: str, call_id: str, expected: str) -> None:
        assert sign_v1(secret.encode(), timestamp, call_id) == expected

    @pytest.mark.parametrize(
        ("secret", "method", "path", "body", "expected"),
        [
            (
                b"sec",
                "POST",
                "/api/calls",
                b'{"UserObjectId":"u1","TenantId":"tenant-A"}',
                "269b10f137bd1df14cdd87608e0f94aa638f5624b5fc98f3f5c895c588853722",
            ),
            (
                b"shared-xyz",
                "get",
                "/api/calls/call-1?x=1",
                b"",
                "3bbe74737b60a69b59bbb16ef328c4656e8f5d78b90b41e3ed9f006a52bd0ba6",
            ),
        ],
    )
    def test_version_2(
        self, secret: bytes, method: str, path: str, body: bytes, expected: str
    ) -> None:
        assert sign_v2(secret, "1700000000000", method, path, body) == expected


class TestTimestamps:
    @pytest.mark.parametrize(
        "header",
        [
            None, "", " ", "NaN", "Infinity", "1" + "0" * 30, "-1700000000000", "+1700000000000",
            "0x18bcfe56800", "1.7e12", "1_700_000_000_000", "1700000000000.0", "１７００",
            "١٢٣", " 1700000000000", "1700000000000\n", "1700000000000\x00", "²", "\ud800",
            b"\xff\xfe", b"",
        ],
    )  # fmt: skip
    def test_what_is_not_ascii_decimal_is_refused(self, header: Header) -> None:
        assert parse_timestamp(header) is None
        assert verify(header, "0" * 64).reason in {"missing", "malformed"}

    @pytest.mark.parametrize("header", ["0", "1700000000000", "0001700000000000", b"17"])
    def test_what_is_decimal_is_read(self, header: str | bytes) -> None:
        assert parse_timestamp(header) == int(header)

    @pytest.mark.parametrize("skew", [-WINDOW, -1, 0, 1, WINDOW])
    def test_both_ends_of_the_window_are_inside(self, skew: int) -> None:
        assert verify(str(NOW + skew)).ok

    @pytest.mark.parametrize("skew", [-WINDOW - 1, WINDOW + 1])
    def test_one_millisecond_further_is_stale(self, skew: int) -> None:
        verdict = verify(str(NOW + skew))
        assert (verdict.reason, verdict.skew_ms, verdict.ok) == ("stale", skew, False)

    def test_the_header_is_signed_as_it_stands(self) -> None:
        assert verify("000" + str(NOW)).ok
        assert verify("000" + str(NOW), sign_v1(SECRET, str(NOW), CALL)).reason == "mismatch"


class TestSignatures:
    @pytest.mark.parametrize(
        "signature",
        [
            "x",
            "é" * 64,
            "0" * 63,
            "0" * 65,
            "\ud800" * 64,
            "\x00",
            b"\xff" * 64,
            "０" * 64,
            "K" * 64,
        ],
    )
    def test_what_is_not_64_hex_digits_is_malformed(self, signature: Header) -> None:
        assert verify(signature=signature).reason == "malformed"

    @pytest.mark.parametrize("signature", ["", b""])
    def test_an_empty_one_is_missing(self, signature: Header) -> None:
        assert verify_v1(SECRET, str(NOW), CALL, signature, NOW, WINDOW).reason == "missing"

    def test_upper_case_and_blanks_are_normalised(self) -> None:
        right = sign_v1(SECRET, str(NOW), CALL)
        for shape in (right.upper(), f"  {right}\t", right.encode(), f" {right.upper()} "):
            verdict = verify(signature=shape)
            assert verdict.ok
            assert verdict.signature == right

    def test_an_empty_secret_never_verifies(self) -> None:
        signature = sign_v1(b"", str(NOW), CALL)
        assert verify_v1(b"", str(NOW), CALL, signature, NOW, WINDOW).reason == "mismatch"
        assert not secrets_match(b"", b"")

    def test_a_wrong_secret_is_a_mismatch_even_when_stale(self) -> None:
        assert verify(str(NOW - 10 * WINDOW), secret=b"other", signature="0" * 64).reason == (
            "mismatch"
        )

    @given(
        st.none() | st.text(max_size=80) | st.binary(max_size=80),
        st.none() | st.text(st.characters(), max_size=80) | st.binary(max_size=80),
        st.text(st.characters(), max_size=20),
    )
    def test_no_header_text_raises(self, timestamp: Header, signature: Header, who: str) -> None:
        for header in (timestamp, str(NOW)):
            verdict = verify_v1(SECRET, header, who, signature, NOW, WINDOW)
            assert not verdict.ok
            assert diagnose(SECRET, verdict, header, who, WINDOW).isprintable()
            assert not verify_v2(SECRET, header, who, who, b"", signature, NOW, WINDOW).ok
        assert diagnose_secret(signature, SECRET)

    @given(st.binary(max_size=40), st.binary(max_size=40))
    def test_secrets_match_when_equal(self, given_secret: bytes, expected: bytes) -> None:
        assert secrets_match(given_secret, expected) == (given_secret == expected != b"")
        assert secrets_match(expected, expected) == bool(expected)


class TestUpgrades:
    @pytest.mark.parametrize("generations", [(TODAY,), (GENERATION_1,), (TODAY, GENERATION_1)])
    def test_every_generation_is_taken(self, generations: tuple[Generation, ...]) -> None:
        headers = lower(upgrade_headers(SECRET, CALL, NOW, generations))
        assert len(headers) == 2 * len(generations)
        assert verify_upgrade(SECRET, headers, CALL, NOW, WINDOW).ok

    def test_either_pair_suffices(self) -> None:
        for names in (TODAY, GENERATION_1):
            headers = lower(upgrade_headers(SECRET, CALL, NOW))
            headers[names.signature_header.lower()] = "0" * 64
            assert verify_upgrade(SECRET, headers, CALL, NOW, WINDOW).ok

    def test_pairs_are_not_mixed(self) -> None:
        headers = lower(upgrade_headers(SECRET, CALL, NOW))
        del headers[TODAY.timestamp_header.lower()], headers[GENERATION_1.signature_header.lower()]
        assert verify_upgrade(SECRET, headers, CALL, NOW, WINDOW).reason == "missing"

    def test_another_call_does_not_verify(self) -> None:
        headers = lower(upgrade_headers(SECRET, CALL, NOW))
        assert verify_upgrade(SECRET, headers, "other", NOW, WINDOW).reason == "mismatch"
        assert verify_upgrade(SECRET, {}, CALL, NOW, WINDOW).reason == "missing"


class TestControlRequests:
    REQUEST = ("POST", "/api/calls", b'{"userObjectId":"u"}', "u")

    @pytest.mark.parametrize("which", ["v1", "v2", "both"])
    def test_each_choice_verifies(self, which: str) -> None:
        headers = lower(control_headers(SECRET, NOW, *self.REQUEST, which))  # type: ignore[arg-type]
        assert verify_control(SECRET, headers, *self.REQUEST, NOW, WINDOW).ok
        assert len(headers) == (3 if which == "both" else 2)

    @pytest.mark.parametrize("bad", ["", "0" * 64, "é"])
    def test_a_version_2_that_is_present_must_verify(self, bad: str) -> None:
        headers = lower(control_headers(SECRET, NOW, *self.REQUEST, "both"))
        headers[SIGNATURE_V2_HEADER.lower()] = bad
        assert not verify_control(SECRET, headers, *self.REQUEST, NOW, WINDOW).ok

    def test_version_2_covers_the_body(self) -> None:
        headers = lower(control_headers(SECRET, NOW, *self.REQUEST, "v2"))
        verdict = verify_control(SECRET, headers, "POST", "/api/calls", b"{}", "u", NOW, WINDOW)
        assert verdict.reason == "mismatch"


class TestReplay:
    def test_a_handshake_is_single_use(self) -> None:
        guard = ReplayGuard(WINDOW)
        assert guard.spend(CALL, NOW, "ab", NOW)
        assert not guard.spend(CALL, NOW, "ab", NOW)
        assert not guard.spend(CALL, NOW, " AB ", NOW)
        assert guard.spend("other", NOW, "ab", NOW)
        assert guard.spend(CALL, NOW + 1, "ab", NOW)

    @pytest.mark.parametrize("arrival", [NOW - WINDOW, NOW, NOW + WINDOW])
    def test_an_entry_lives_until_the_signing_time_and_the_window(self, arrival: int) -> None:
        guard = ReplayGuard(WINDOW)
        assert guard.spend(CALL, NOW, "ab", arrival)
        assert not guard.spend(CALL, NOW, "ab", NOW + WINDOW)
        assert len(guard) == 1
        assert guard.spend(CALL, NOW + WINDOW, "cd", NOW + WINDOW + 1)
        assert len(guard) == 1  # the first is forgotten, strictly past its life

    def test_a_clock_that_steps_forward_and_back_opens_nothing(self) -> None:
        guard = ReplayGuard(WINDOW)
        assert guard.spend(CALL, NOW, "ab", NOW)
        assert guard.spend("early", NOW + 300_000, "cd", NOW + 300_000)
        assert not guard.spend(CALL, NOW, "ab", NOW + 1)
        assert guard.spend("next", NOW + 2, "ef", NOW + 2)

    def test_a_full_table_fails_closed(self) -> None:
        guard = ReplayGuard(WINDOW, max_entries=2)
        assert [guard.spend(CALL, NOW, str(n), NOW) for n in range(3)] == [True, True, False]
        assert guard.spend(CALL, NOW + WINDOW + 1, "x", NOW + WINDOW + 1)

    @given(st.lists(st.tuples(st.integers(-70, 70), st.integers(0, 40)), max_size=60))
    def test_nothing_that_verifies_is_admitted_twice(self, steps: list[tuple[int, int]]) -> None:
        guard, admitted, now = ReplayGuard(60), set(), 1000
        for skew, elapsed in steps:
            now += elapsed
            timestamp = now + skew
            if abs(skew) <= 60:
                fresh = guard.spend(CALL, timestamp, "ab", now)
                assert fresh == (timestamp not in admitted)
                admitted.add(timestamp)
        assert len(guard) <= 121

    @given(
        st.lists(
            st.tuples(st.integers(-90, 90), st.integers(0, 40), st.sampled_from([10, 30, 60, 90])),
            max_size=60,
        )
    )
    def test_another_window_admits_nothing_twice(self, steps: list[tuple[int, int, int]]) -> None:
        guard, admitted, now = ReplayGuard(60), set[int](), 1000
        for skew, elapsed, window in steps:
            now += elapsed
            guard.resize(window)
            if abs(skew) <= window and guard.spend(CALL, now + skew, "ab", now):
                assert now + skew not in admitted
                admitted.add(now + skew)


class TestWords:
    @pytest.mark.parametrize(
        ("ours", "theirs", "words"),
        [
            (SECRET, SECRET + b"\n", "yours plus a trailing newline"),
            (SECRET, SECRET + b"\r\n", "yours plus a trailing CR LF"),
            (SECRET, SECRET + b" ", "yours plus a trailing space"),
            (SECRET + b"\n", SECRET, "yours without the blanks around it"),
            (SECRET, b'"' + SECRET + b'"', "yours in double quotes"),
            (b"'" + SECRET + b"'", SECRET, "yours without the quotes around it"),
            (base64.b64encode(SECRET), SECRET, "yours decoded from base64"),
            (SECRET.hex().encode(), SECRET, "yours decoded from hex"),
            (SECRET, b"something else", "the two sides' secrets differ"),
        ],
    )
    def test_a_mangled_secret_is_named(self, ours: bytes, theirs: bytes, words: str) -> None:
        verdict = verify_v1(ours, str(NOW), CALL, sign_v1(theirs, str(NOW), CALL), NOW, WINDOW)
        said = diagnose(ours, verdict, str(NOW), CALL, WINDOW)
        assert words in said
        assert said == diagnose_secret(theirs, ours)
        assert SECRET.decode() not in said

    @pytest.mark.parametrize(
        ("skew", "words"),
        [
            (-84_000, "the far side's clock is 84 s behind ours (at most 60 s is allowed)"),
            (60_001, "the far side's clock is 60.001 s ahead of ours (at most 60 s is allowed)"),
        ],
    )
    def test_a_skewed_clock_is_named_with_size_and_sign(self, skew: int, words: str) -> None:
        stamp = str(NOW + skew)
        assert diagnose(SECRET, verify(stamp), stamp, CALL, WINDOW) == words

    def test_seconds_are_recognised(self) -> None:
        said = diagnose(SECRET, verify("1700000000"), "1700000000", CALL, WINDOW)
        assert "seconds; milliseconds" in said

    def test_what_is_missing_or_right_is_said(self) -> None:
        assert "missing" in diagnose(SECRET, Verdict("missing"), None, CALL, WINDOW)
        assert "right" in diagnose(SECRET, Verdict("ok"), None, CALL, WINDOW)
        assert "no X-Bridge-Secret" in diagnose_secret(None, SECRET)
        assert "right" in diagnose_secret(SECRET, SECRET)
