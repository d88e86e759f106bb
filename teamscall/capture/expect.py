"""What must hold of a call, in place of its bytes: a TOML file and how it is judged.

    latency_under_ms = 1500
    no_audio_after_flush = true

    [capture."barge-in*"]
    heard = ["what time"]
    interruptions = { at_least = 1 }

Owns the file's keys, their checks and the verdicts, but for those of what is measured in the
sound (``expect_sound``). Keys at the top hold for every capture;
those of each table whose pattern matches the capture's name (its file's, without the
extension) replace them. Refuses to know how a call was replayed.
"""

from __future__ import annotations

import difflib
import fnmatch
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from teamscall.calls.events import Command
from teamscall.calls.records import (
    CallClosed,
    CarriedOn,
    EndedBy,
    Heard,
    Interrupted,
    TurnBegan,
    TurnEnded,
)
from teamscall.errors import InputError
from teamscall.text import printable
from teamscall.wire import events as wire

MAX_FILE_BYTES = 1_000_000
_SHOWN = 80  # characters of what was heard or said
_TABLE = "capture"


class Range(msgspec.Struct, frozen=True):
    """How many there must be; None: as it comes."""

    at_least: int | None = None
    at_most: int | None = None


class Expectation(msgspec.Struct, frozen=True):
    """What must hold; empty or None: nothing is asked.

    ``heard``, ``said``: words that occur in a row in one utterance, or one turn, whatever the
    case and punctuation. ``latency_under_ms``: of every answer, from the caller's last sound
    to the first frame sent; a call in which none was measured fails it.
    ``no_audio_after_flush``: of what was flushed nothing is sent any more.
    """

    heard: tuple[str, ...] = ()
    not_heard: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    not_said: tuple[str, ...] = ()
    latency_under_ms: float | None = None
    no_audio_after_flush: bool = False
    end_reason: str | None = None
    ended_by: str | None = None
    turns: Range | None = None
    interruptions: Range | None = None
    # Measured from both sides' sound, whatever the bridge believed.
    response_under_ms: float | None = None
    silent_within_ms: float | None = None
    no_gaps: bool = False
    no_clipping: bool = False
    max_dead_air_ms: float | None = None

    @property
    def of_sound(self) -> tuple[str, ...]:
        """The keys asked for that are measured."""
        return tuple(key for key in _OF_SOUND if getattr(self, key) not in (None, False))


class Expectations(msgspec.Struct, frozen=True):
    """A file of them: for all, and by pattern, in the file's order."""

    common: Mapping[str, Any]
    by_pattern: tuple[tuple[str, Mapping[str, Any]], ...]

    def of(self, name: str) -> Expectation:
        """What is asked of the capture of this name."""
        values = dict(self.common)
        for pattern, own in self.by_pattern:
            if fnmatch.fnmatchcase(name, pattern):
                values |= own
        return Expectation(**values)

    def unused(self, names: Iterable[str]) -> tuple[str, ...]:
        """The patterns that match none of these: a name misspelt would ask for nothing."""
        known = tuple(names)
        return tuple(
            pattern for pattern, _ in self.by_pattern if not fnmatch.filter(known, pattern)
        )


class LateAudio(msgspec.Struct, frozen=True):
    """A frame that was sent of what had been flushed."""

    at_s: float
    turn: int


class Facts(msgspec.Struct, frozen=True):
    """What can be asked of a call; ``latencies_ms`` of the answers that have one."""

    heard: tuple[str, ...]
    said: tuple[str, ...]
    latencies_ms: tuple[float, ...]
    late_audio: tuple[LateAudio, ...]
    turns: int
    interruptions: int
    end_reason: str | None  # None: it has not ended
    ended_by: EndedBy | None


class Broken(msgspec.Struct, frozen=True):
    """An expectation that does not hold, and why in one sentence."""

    key: str
    why: str


# --- what happened --------------------------------------------------------------------


def facts(commands: Iterable[tuple[float, Command]], *, streams: bool = False) -> Facts:
    """Of what a conversation returned, each with its second of the call.

    ``streams``: the engine plays without turns; then audio is of no turn.
    """
    heard: list[str] = []
    said: list[str] = []
    latencies: list[float] = []
    late: list[LateAudio] = []
    turns = interruptions = 0
    closed: CallClosed | None = None
    live: set[int] = set()
    flushed: set[int] = set()
    latest = -1  # frame; one up to it is sent again after a resume
    for at_s, command in commands:
        match command:
            case wire.AudioOut(seq=seq):
                again, latest = seq <= latest, max(seq, latest)
                if flushed and not again and not streams and not live - flushed:
                    late.append(LateAudio(at_s, max(flushed)))
            case wire.Flush(turn_id=turn):
                flushed.add(turn)
            case CarriedOn(turn=turn):
                flushed.discard(turn)
            case TurnBegan(turn=turn):
                turns += 1
                live.add(turn)
            case TurnEnded(turn=turn, kind=kind, said_text=text, latency=latency):
                live.discard(turn)
                if text:
                    said.append(text)
                # Those of a greeting count from its own beginning.
                if kind == "answer" and latency.first_frame_ms is not None:
                    latencies.append(latency.first_frame_ms)
            case Heard(final=True, text=text):
                heard.append(text)
            case Interrupted():
                interruptions += 1
            case CallClosed():
                closed = command
            case _:
                pass
    return Facts(
        tuple(heard),
        tuple(said),
        tuple(latencies),
        tuple(late),
        turns,
        interruptions,
        closed.reason if closed else None,
        closed.ended_by if closed else None,
    )


# --- does it hold ---------------------------------------------------------------------


def broken(wanted: Expectation, found: Facts) -> tuple[Broken, ...]:
    """Which of what is asked does not hold, in the order of the keys."""
    out = [
        *_texts("heard", wanted.heard, wanted.not_heard, found.heard, "heard"),
        *_texts("said", wanted.said, wanted.not_said, found.said, "said"),
        *_latency(wanted.latency_under_ms, found.latencies_ms),
    ]
    if wanted.no_audio_after_flush and found.late_audio:
        first, number = found.late_audio[0], len(found.late_audio)
        frames = "1 frame was" if number == 1 else f"{number} frames were"
        why = f"{frames} sent of turn {first.turn} after its flush, the first at {first.at_s:.3f} s"
        out.append(Broken("no_audio_after_flush", why))
    for key, asked, came in (
        ("end_reason", wanted.end_reason, found.end_reason),
        ("ended_by", wanted.ended_by, found.ended_by),
    ):
        if asked is not None and asked != came:
            was = "the call has not ended" if came is None else f"it was {_quoted(came)}"
            out.append(Broken(key, f"expected {_quoted(asked)}, {was}"))
    out += _counted("turns", wanted.turns, found.turns)
    out += _counted("interruptions", wanted.interruptions, found.interruptions)
    return tuple(out)


def _texts(
    key: str, wanted: tuple[str, ...], unwanted: tuple[str, ...], found: tuple[str, ...], verb: str
) -> Iterable[Broken]:
    for text in wanted:
        if not any(_contains(one, text) for one in found):
            yield Broken(key, f"{_quoted(text)} was not {verb}; {_all(found, verb)}")
    for text in unwanted:
        for one in found:
            if _contains(one, text):
                yield Broken(f"not_{key}", f"{_quoted(text)} was {verb}: {_quoted(one)}")
                break


def _latency(limit_ms: float | None, found: tuple[float, ...]) -> Iterable[Broken]:
    if limit_ms is None:
        return
    if not found:
        yield Broken("latency_under_ms", "no answer had a latency that could be measured")
        return
    slow = [one for one in found if one >= limit_ms]
    if slow:
        yield Broken(
            "latency_under_ms",
            f"{len(slow)} of {len(found)} answers took {limit_ms:g} ms or more, "
            f"the slowest {max(slow):.0f} ms",
        )


def _counted(key: str, wanted: Range | None, found: int) -> Iterable[Broken]:
    if wanted is None:
        return
    low, high = wanted.at_least, wanted.at_most
    if (low is None or low <= found) and (high is None or found <= high):
        return
    if low == high:
        asked = f"{low}"
    elif low is None:
        asked = f"at most {high}"
    elif high is None:
        asked = f"at least {low}"
    else:
        asked = f"{low} to {high}"
    yield Broken(key, f"expected {asked}, there were {found}")


def _contains(text: str, words: str) -> bool:
    wanted, found = _words(words), _words(text)
    return any(found[at : at + len(wanted)] == wanted for at in range(len(found)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’]\w+)*", text.casefold().replace("’", "'"))


def _all(found: tuple[str, ...], verb: str) -> str:
    if not found:
        return f"nothing was {verb}"
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{verb}: {', '.join(_quoted(text) for text in found[:3])}{more}"


def _quoted(text: str) -> str:
    return json.dumps(printable(text, _SHOWN), ensure_ascii=False)


# --- the file -------------------------------------------------------------------------


def read_expectations(path: Path) -> Expectations:
    """Read and check a file.

    Raises:
        InputError: it cannot be read, is no TOML, or asks for what does not exist; the
            message has every mistake.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{name} is larger than {MAX_FILE_BYTES} bytes.")
        table = tomllib.loads(data.decode())
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text.") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"{name} is no TOML: {printable(str(error))}.") from error
    try:
        return checked(table)
    except ValueError as error:
        raise InputError(f"{name}: {error}.") from error


def checked(table: Mapping[str, Any]) -> Expectations:
    """A TOML table as expectations.

    Raises:
        ValueError: every mistake in it, as one text.
    """
    problems: list[str] = []
    tables = table.get(_TABLE, {})
    common = _values({k: v for k, v in table.items() if k != _TABLE}, "", problems)
    by_pattern: list[tuple[str, Mapping[str, Any]]] = []
    if not isinstance(tables, dict):
        problems.append(f"{_TABLE} is a table for each capture, as in [{_TABLE}.barge-in]")
        tables = {}
    for pattern, own in tables.items():
        where = f"{_TABLE}.{printable(pattern, 60)}"
        if isinstance(own, dict):
            by_pattern.append((pattern, _values(own, f"{where}.", problems)))
        else:
            problems.append(f"{where} is to be a table, as in [{_TABLE}.barge-in]")
    if not common and not any(own for _, own in by_pattern) and not problems:
        problems.append(f"nothing is asked for; {_known()}")
    if problems:
        raise ValueError("; ".join(problems))
    return Expectations(common, tuple(by_pattern))


def _values(table: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in table.items():
        name = where + printable(key, 60)
        check = _CHECKS.get(key)
        if check is None:
            near = difflib.get_close_matches(key, _CHECKS, 1)
            tip = f"did you mean {near[0]}?" if near else _known()
            problems.append(f"{name} is unknown; {tip}")
            continue
        try:
            out[key] = check(value)
        except ValueError as error:
            problems.append(f"{name} {error}")
    return out


def _known() -> str:
    return f"there are {', '.join(_CHECKS)} and [{_TABLE}.NAME]"


def _phrases(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise ValueError('is to be a text or a list of texts, as in ["good morning"]')
    if not all(_words(one) for one in given):
        raise ValueError("has a text without a word in it")
    return tuple(given)


def _milliseconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _NEVER:
        raise ValueError("is to be a number of milliseconds above 0")
    return float(value)


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is to be true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError('is to be a text, as in "ended"')
    return value


def _ended_by(value: object) -> str:
    if value not in get_args(EndedBy):
        raise ValueError(f"is to be one of {', '.join(get_args(EndedBy))}")
    return str(value)


def _range(value: object) -> Range:
    if isinstance(value, dict) and value and not value.keys() - {"at_least", "at_most"}:
        low, high = (None if value.get(k) is None else _count(value[k]) for k in _BOUNDS)
        if low is not None and high is not None and low > high:
            raise ValueError(f"asks for at least {low} and at most {high}")
        return Range(low, high)
    number = _count(value)
    return Range(number, number)


_BOUNDS = ("at_least", "at_most")
_NEVER = float("inf")


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("is to be a number from 0, or { at_least = 1, at_most = 3 }")
    return value


_CHECKS = {
    "heard": _phrases,
    "not_heard": _phrases,
    "said": _phrases,
    "not_said": _phrases,
    "latency_under_ms": _milliseconds,
    "no_audio_after_flush": _truth,
    "end_reason": _text,
    "ended_by": _ended_by,
    "turns": _range,
    "interruptions": _range,
    "response_under_ms": _milliseconds,
    "silent_within_ms": _milliseconds,
    "no_gaps": _truth,
    "no_clipping": _truth,
    "max_dead_air_ms": _milliseconds,
}
_OF_SOUND = (
    "response_under_ms",
    "silent_within_ms",
    "no_gaps",
    "no_clipping",
    "max_dead_air_ms",
)
