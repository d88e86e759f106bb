"""Label values from closed lists: what a peer sends can never make another time series.

Refuses to know metrics and where a value came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

OTHER = "other"

# Why calls end, in our words and in the gateways' documents. A gateway may send any text.
END_REASONS = frozenset(
    {
        *("hangup-user", "hangup-bot", "operator", "ended", "timeout", "error"),
        *("connection-lost", "idle-timeout", "time-limit", "caller-silent", "agent-unavailable"),
        *("no-answer", "busy", "declined", "refused", "failed", "cancelled", "server-shutdown"),
    }
)
STRATEGIES = frozenset(
    {
        *("disabled", "open", "allowlist", "tenant-only", "pstn-blocked", "validation-failed"),
        *("hook", "outbound", "draining"),
    }
)
STAGES = frozenset({"hear", "think", "speak", "session"})

# Of a label whose values are ours: a mistake must not cost more than this many series.
MAX_VALUES = 48
_WORD = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")


def closed(value: str, known: frozenset[str]) -> str:
    """``value`` if it is known, else ``other``."""
    return value if value in known else OTHER


def bounded(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts by words of our own, at most ``MAX_VALUES`` of them, the first that came;
    everything else together is ``other``."""
    found: dict[str, int] = {}
    for name, count in counts.items():
        fits = _WORD.match(name) is not None and len(found) < MAX_VALUES
        key = name if fits or name in found else OTHER
        found[key] = found.get(key, 0) + count
    return found


def models(configured: Iterable[str]) -> frozenset[str]:
    """The model names that may be labels: those that the operator wrote, or that stand for
    what was left out."""
    return frozenset(sorted({name for name in configured if name})[:MAX_VALUES])
