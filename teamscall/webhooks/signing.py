"""Signatures as Standard Webhooks has them (github.com/standard-webhooks/standard-webhooks).

HMAC-SHA256 of ``id.timestamp.body`` in base64, after ``v1,``. The secret is ``whsec_`` and
base64; any other text is used as its bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from teamscall.config import Secret

_PREFIX = "whsec_"


def headers(secret: Secret, event_id: str, timestamp_s: int, body: bytes) -> dict[str, str]:
    """The headers of one delivery at ``timestamp_s`` epoch seconds. Without a secret there is
    no signature."""
    found = {"webhook-id": event_id, "webhook-timestamp": str(timestamp_s)}
    if secret:
        found["webhook-signature"] = sign(secret, event_id, timestamp_s, body)
    return found


def sign(secret: Secret, event_id: str, timestamp_s: int, body: bytes) -> str:
    """One signature, with its version."""
    signed = b".".join((event_id.encode(), str(timestamp_s).encode(), body))
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def _key(secret: Secret) -> bytes:
    value = secret.reveal()
    if value.startswith(_PREFIX):
        try:
            return base64.b64decode(value.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            pass  # the configuration's checks refuse it; as text it signs all the same
    return value.encode("utf-8", "surrogateescape")
