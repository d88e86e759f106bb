"""Signatures: the published vector of Standard Webhooks, and secrets of every kind."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from teamscall.config import Secret
from teamscall.webhooks.signing import headers, sign

# From the specification's own test suites.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP_S = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector() -> None:
    assert sign(Secret(SECRET), ID, TIMESTAMP_S, BODY) == SIGNATURE
    assert headers(Secret(SECRET), ID, TIMESTAMP_S, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


@pytest.mark.parametrize(
    ("event_id", "timestamp_s", "body"),
    [("msg_other", TIMESTAMP_S, BODY), (ID, TIMESTAMP_S + 1, BODY), (ID, TIMESTAMP_S, b"{}")],
)
def test_id_time_and_body_are_all_signed(event_id: str, timestamp_s: int, body: bytes) -> None:
    assert sign(Secret(SECRET), event_id, timestamp_s, body) != SIGNATURE


@pytest.mark.parametrize("secret", ["plain text", "grüße", "\udcff raw", "whsec_not base64!"])
def test_any_other_text_is_used_as_its_bytes(secret: str) -> None:
    key = secret.encode("utf-8", "surrogateescape")
    digest = hmac.new(key, b"%s.%d.%s" % (ID.encode(), TIMESTAMP_S, BODY), hashlib.sha256)
    expected = "v1," + base64.b64encode(digest.digest()).decode()
    assert sign(Secret(secret), ID, TIMESTAMP_S, BODY) == expected


def test_without_a_secret_nothing_is_signed() -> None:
    assert set(headers(Secret(""), ID, TIMESTAMP_S, BODY)) == {"webhook-id", "webhook-timestamp"}
