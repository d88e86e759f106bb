"""The examples are for users: they run against a bridge of theirs, not among the tests."""

from __future__ import annotations

collect_ignore = ["examples"]
