"""What makes no sense in the placing of calls: findings on ``outbound``.

A bad quiet hour must be found here: while calls are placed nobody reads it, and a call in
the night cannot be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator

from teamscall.config.findings import (
    Finding,
    clear_text,
    error,
    missing_command,
    split_url,
    warning,
)
from teamscall.config.operate import Outbound
from teamscall.config.quiet import read_quiet, read_timezone


def check_placing(outbound: Outbound) -> Iterator[Finding]:
    """Everything that makes no sense in ``outbound``, but for whom it tells."""
    for entry in outbound.quiet_hours:
        problem = read_quiet(entry)
        if isinstance(problem, str):
            yield error(f"outbound.quiet_hours: {entry!a}: {problem}", "outbound.quiet_hours")
    problem_zone = read_timezone(outbound.timezone)
    if isinstance(problem_zone, str):
        yield error(
            f"outbound.timezone: {outbound.timezone!a}: {problem_zone}", "outbound.timezone"
        )
    if outbound.timezone and not outbound.quiet_hours:
        yield warning(
            "outbound.timezone has no effect without outbound.quiet_hours", "outbound.timezone"
        )
    for entry in outbound.allow_to:
        yield from _allowed(entry)
    if outbound.resolver_command and outbound.resolver_url:
        yield error(
            "outbound.resolver_command and outbound.resolver_url are both given: keep one",
            "outbound.resolver_command",
            "outbound.resolver_url",
        )
    yield from missing_command("outbound.resolver_command", outbound.resolver_command)
    key = "outbound.resolver_url"
    if outbound.resolver_url:
        parts = split_url(outbound.resolver_url)
        if parts is None:
            yield error(f"{key} is not a URL with a host", key)
        elif "@" in parts.netloc:
            # The URL is not shown: what stands before the @ is a password.
            yield error(f"{key} has credentials in it: URLs are logged, take them out", key)
    yield from clear_text(key, outbound.resolver_url, "who is to be called travels")


def _allowed(entry: str) -> Iterator[Finding]:
    key, text = "outbound.allow_to", entry.strip()
    if "@" in text:
        yield warning(
            f"{key}: {entry!a} is an address and allows nobody: write the object id that it is "
            "resolved to",
            key,
        )
    elif "*" in text[:-1]:
        yield warning(f"{key}: {entry!a} allows nobody: a * stands only at the end", key)
    elif text.lower().startswith(("tel:", "sip:")):
        yield warning(f"{key}: {entry!a} allows nobody: write phone:+NUMBER", key)
