"""When a chat endpoint is asked a second time, and how soon.

Somebody is waiting on the phone: once, at once or within seconds, and never where asking
again cannot help.
"""

from __future__ import annotations

import datetime
import email.utils

RETRY_S = 0.25
MAX_RETRY_AFTER_S = 3.0  # a caller thinks that the line is dead if it takes longer


def retry_after_s(error: Exception) -> float | None:
    """How long to wait before asking again after ``error``; None: do not.

    A timeout is not tried again: somebody waited for it. Nor is what the service will
    refuse again (401, 404, an exhausted quota), or asks to wait for longer than is good.
    """
    import httpx2
    import openai

    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return None
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError):
        return RETRY_S
    if not isinstance(error, openai.APIStatusError) or error.code == "insufficient_quota":
        return None
    if error.status_code not in (408, 409, 429) and error.status_code < 500:
        return None
    told_s = _told_s(error.response.headers)
    if told_s is None:
        return RETRY_S
    return told_s if told_s <= MAX_RETRY_AFTER_S else None


def _told_s(headers: object) -> float | None:
    """``Retry-After``, in seconds or as a date, or its more precise sister."""
    get = getattr(headers, "get", None)
    if get is None:
        return None
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(get(name, "")) * unit)
        except ValueError:
            continue
    try:
        until = email.utils.parsedate_to_datetime(get("retry-after", ""))
        left = until - datetime.datetime.now(until.tzinfo)
    except (ValueError, TypeError, IndexError):
        return None
    return max(0.0, left.total_seconds())
