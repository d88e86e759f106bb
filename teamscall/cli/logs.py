"""Log lines for people and for machines.

On a terminal one human line per event; ``--log-format json`` one JSON object per line.
Everything goes to stderr: stdout is for results. Fields come from ``extra=``; the message
is static text.
"""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
import traceback
from typing import Literal

from teamscall.errors import TeamscallError
from teamscall.text import printable

Format = Literal["auto", "text", "json"]

# What logging itself puts on a record; everything else came in by ``extra=``.
_OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_COLOURS = {"WARNING": "33", "ERROR": "31", "CRITICAL": "31;1", "DEBUG": "2"}
_MAX_FIELD = 300
_MAX_STACK = -20  # the innermost frames
_MAX_CAUSES = 10
_MAX_GROUP = 5


def set_up(format_: Format, level: str) -> None:
    """Install the one handler. ``auto`` is text; coloured where stderr is a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonLines() if format_ == "json" else HumanLines(colour=colour))
    root = logging.getLogger("teamscall")
    root.handlers[:] = [handler]
    set_level(level)
    root.propagate = False
    # A library's complaint is worth a line too, in the same form.
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger().setLevel(logging.WARNING)


def set_level(level: str) -> None:
    """Show lines of this level and above from now on."""
    logging.getLogger("teamscall").setLevel(level.upper())


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _OWN}


def _traceback(error: BaseException | None, indent: str = "", depth: int = 0) -> str:
    """Where it happened, and of what type it is, causes first.

    Not what it says, unless it is one of ours: a vendor's words may hold a key, and a
    decoder's what a caller sent.
    """
    if error is None or depth > _MAX_CAUSES:
        return f"{indent}(no more is told)"
    parts: list[str] = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        parts += [_traceback(cause, indent, depth + 1), f"{indent}which led to:"]
    stack = traceback.format_tb(error.__traceback__, _MAX_STACK)
    parts += [indent + line for entry in stack for line in entry.splitlines()]
    said = f": {printable(error.message, _MAX_FIELD)}" if isinstance(error, TeamscallError) else ""
    parts.append(f"{indent}{type(error).__module__}.{type(error).__qualname__}{said}")
    if isinstance(error, BaseExceptionGroup):
        inside = error.exceptions[:_MAX_GROUP]
        parts += [_traceback(one, indent + "  | ", depth + 1) for one in inside]
    return "\n".join(parts)


class JsonLines(logging.Formatter):
    """``{"v":1,"time":…,"level":…,"logger":…,"message":…, fields…}``."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "v": 1,
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, printable(value, _MAX_FIELD) if isinstance(value, str) else value)
        if record.exc_info:
            line["traceback"] = _traceback(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanLines(logging.Formatter):
    """``12:03:04 info  Call started  callId=… dialect=…``."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        level = record.levelname.lower()
        fields = _fields(record)
        call_id = fields.pop("callId", None)
        shown = [] if call_id is None else [f"callId={_value(call_id, 256)}"]
        shown += [f"{name}={_value(value)}" for name, value in fields.items() if name != "audit"]
        message = printable(record.getMessage(), 500)
        code = _COLOURS.get(record.levelname)
        if self._colour and code:
            level, message = f"\x1b[{code}m{level}\x1b[0m", f"\x1b[{code}m{message}\x1b[0m"
        pad = " " * (8 - len(record.levelname))
        line = f"{moment} {level}{pad}{message}"
        if shown:
            tail = " ".join(shown)
            line += f"  \x1b[2m{tail}\x1b[0m" if self._colour else f"  {tail}"
        if record.exc_info:
            line += "\n" + _traceback(record.exc_info[1])
        return line


def _value(value: object, limit: int = _MAX_FIELD) -> str:
    """In quotes where it could be taken for more fields than one: a peer chose some of them."""
    text = printable(value if isinstance(value, str) else str(value), limit)
    plain = text and " " not in text and '"' not in text
    return text if plain else json.dumps(text, ensure_ascii=False)
