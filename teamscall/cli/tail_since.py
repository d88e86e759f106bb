"""From when on `tail` shows events: what ``--since`` takes. Pure."""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
import typer

from teamscall.cli.moments import moment_ms
from teamscall.errors import InputError
from teamscall.text import printable

MAX_LINES = 1_000_000


class Since(msgspec.Struct, frozen=True):
    """``ms`` before now, or the ``last`` lines; both None: all that is remembered."""

    ms: int | None = None
    last: int | None = None


def since(text: str, now: datetime) -> Since:
    """``20`` lines, or what ``moments`` knows: ``10m``, ``14:05``, an ISO time.

    Raises:
        InputError: it is none of them.
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Since(last=min(int(text), MAX_LINES))
    now_ms = round(now.timestamp() * 1000)
    try:
        at_ms = moment_ms(text, now_ms, "--since")
    except typer.BadParameter:
        raise InputError(
            f"--since cannot be {printable(text, 40)!r}.",
            hint="It takes 10m, 2h, a number of lines, 14:05 or 2026-03-01T14:05.",
        ) from None
    return Since(ms=max(1, now_ms - at_ms))
