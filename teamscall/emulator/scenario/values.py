"""What a script's values may be: durations, texts, names, shares.

Owns one check per kind of value: it returns the value as a script's struct has it, or raises
``ValueError`` with the end of a sentence that begins with the key. Refuses to know which key
wants which, and files.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from teamscall.emulator.impairments import Impairment, Impairments
from teamscall.emulator.plan import DIGITS
from teamscall.text import printable

MAX_TEXT = 2_000  # as the offline voice takes it: two minutes of speech
MAX_SECONDS = 3_600.0
MAX_DIGITS = 64

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min)?\s*", re.ASCII)
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared: no case, no punctuation."""
    return re.findall(r"\w+(?:['’]\w+)*", text.casefold().replace("’", "'"))


def contains(text: str, wanted: list[str]) -> bool:
    """Whether these words are in it, in a row."""
    found = words_of(text)
    return any(found[at : at + len(wanted)] == wanted for at in range(len(found)))


def near(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is none of these."""
    names = list(known)
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"


def text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("is to be a text")
    if len(value) > MAX_TEXT:
        raise ValueError(f"has {len(value)} characters; at most {MAX_TEXT} are possible")
    return value


def spoken(value: object) -> str:
    given = text(value)
    if not words_of(given):
        raise ValueError("has no word in it")
    return given


def short(value: object) -> str:
    """A text that may be empty, as a name."""
    if not isinstance(value, str) or len(value) > 256 or not (value.isprintable()):
        raise ValueError("is to be a text of at most 256 printable characters")
    return value


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is to be true or false")
    return value


def only_true(value: object) -> bool:
    if value is not True:
        raise ValueError("is to be true")
    return True


def duration(value: object) -> float:
    """Seconds."""
    seconds: float | None = None
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        seconds = float(found[1]) * _UNITS[found[2] or "s"]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = value
    if seconds is None:
        raise ValueError('is to be seconds, as in 1.5, or a text, as in "600 ms" or "2 min"')
    if not 0 <= seconds <= MAX_SECONDS:  # before float(), that a huge whole number has none of
        raise ValueError(f"is to be from 0 to {MAX_SECONDS:,.0f} seconds")
    return float(seconds)


def some_time(value: object) -> float:
    """A duration that is not nothing."""
    seconds = duration(value)
    if seconds <= 0:
        raise ValueError("is to be longer than nothing")
    return seconds


def number(low: float, high: float, what: str) -> Callable[[object], float]:
    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"is to be a number of {what}")
        if not low <= value <= high:
            raise ValueError(f"is to be from {low:,.15g} to {high:,.15g} {what}")
        return float(value)

    return check


def count(high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= high:
            raise ValueError(f"is to be a whole number from 0 to {high}")
        return value

    return check


def one_of(names: Iterable[str]) -> Callable[[object], str]:
    known = tuple(names)

    def check(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            tip = f"; {near(value, known)}" if isinstance(value, str) and value else ""
            raise ValueError(f"is to be one of {', '.join(known)}{tip if 'mean' in tip else ''}")
        return value

    return check


def phrases(value: object) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or not all(isinstance(g, str) for g in given):
        raise ValueError('is to be a text or a list of texts, as in ["good morning"]')
    if not all(words_of(one) for one in given):
        raise ValueError("has a text without a word in it")
    return tuple(given)


def digits(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        value = str(value)
    if not isinstance(value, str) or not value or set(value) - DIGITS:
        raise ValueError('is to be keys of a dial pad, as in "12#"')
    if len(value) > MAX_DIGITS:
        raise ValueError(f"has {len(value)} keys; at most {MAX_DIGITS} are possible")
    return value


milliseconds = number(1, MAX_SECONDS * 1000, "milliseconds")
_percent = number(0, 100, "percent")

# --- impairments: of one direction, and of the whole ------------------------------------

ONE_WAY: dict[str, tuple[str, float, Callable[[object], float]]] = {
    # key: (field of Impairment, its unit in the key's, check)
    "loss_percent": ("loss", 0.01, _percent),
    "jitter_ms": ("jitter_s", 0.001, number(0, 10_000, "milliseconds")),
    "reorder_percent": ("reorder", 0.01, _percent),
    "duplicate_percent": ("duplicate", 0.01, _percent),
    "burst_ms": ("burst_s", 0.001, number(0, 60_000, "milliseconds")),
    "burst_every_s": ("burst_every_s", 1.0, number(0.1, 3600, "seconds")),
}
WHOLE: dict[str, tuple[str, float, Callable[[object], float]]] = {
    "skew_ppm": ("skew_ppm", 1.0, number(-100_000, 100_000, "parts per million")),
    "read_pause_ms": ("read_pause_s", 0.001, number(0, 10_000, "milliseconds")),
}
WAYS = ("to_bridge", "from_bridge")
BURST_EVERY_S = 5.0


def impairments(table: object, say: Callable[[str, str], None]) -> Impairments:
    """A table of them; ``say(key, what is wrong)`` is told of every mistake."""
    if not isinstance(table, dict):
        say("", "is to be a table, as in [impairments]")
        return Impairments()
    ways: dict[str, dict[str, float]] = {way: {} for way in WAYS}
    whole: dict[str, float] = {}
    seed = 1

    def take(
        where: str,
        given: dict[str, object],
        known: dict[str, tuple[str, float, Callable[[object], float]]],
        into: Iterable[dict[str, float]],
    ) -> None:
        for key, value in given.items():
            field, unit, check = known[key]
            try:
                checked = check(value) * unit
            except ValueError as error:
                say(where + key, str(error))
                continue
            for fields in into:
                fields[field] = checked

    for key, value in table.items():
        name = printable(str(key), 60)
        if key == "seed":
            try:
                seed = count(2**63 - 1)(value)
            except ValueError as error:
                say(name, str(error))
        elif key in ONE_WAY:
            # Of both directions, unless a direction's own table says otherwise.
            own = [
                ways[way]
                for way in WAYS
                if not (isinstance(table.get(way), dict) and key in table[way])
            ]
            take("", {key: value}, ONE_WAY, own)
        elif key in WHOLE:
            take("", {key: value}, WHOLE, [whole])
        elif key in WAYS and isinstance(value, dict):
            for inner in value:
                if inner not in ONE_WAY:
                    say(
                        f"{name}.{printable(str(inner), 60)}", f"is unknown; {near(inner, ONE_WAY)}"
                    )
            take(f"{name}.", {k: v for k, v in value.items() if k in ONE_WAY}, ONE_WAY, [ways[key]])
        elif key in WAYS:
            say(name, f"is to be a table, as in [impairments.{name}]")
        else:
            say(name, f"is unknown; {near(key, ('seed', *ONE_WAY, *WHOLE, *WAYS))}")
    for fields in ways.values():
        if fields.get("burst_s") and "burst_every_s" not in fields:
            fields["burst_every_s"] = BURST_EVERY_S
        if fields.get("burst_s", 0.0) > fields.get("burst_every_s", BURST_EVERY_S):
            say("burst_ms", "is to be shorter than burst_every_s")
    return Impairments(
        Impairment(**ways["to_bridge"]),
        Impairment(**ways["from_bridge"]),
        whole.get("skew_ppm", 0.0),
        whole.get("read_pause_s", 0.0),
        seed,
    )
