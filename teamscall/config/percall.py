"""What may be different for one call: a few keys of the configuration, by somebody's word.

Owns the list of those keys and their checking, which is that of the configuration itself.
Refuses to know who said it (an authorization hook, whoever places a call).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from teamscall.config.options import convert, iter_options
from teamscall.config.tree import Config
from teamscall.text import printable

# What a caller hears and how they are listened to; nothing about who may call, and no file.
PER_CALL = (
    *("barge_in.", "endpointing.", "idle.", "streaming.silence_duration_ms"),
    *("filler.after_ms", "filler.words", "inbound.greeting", "max_duration_seconds"),
)
MAX_GIVEN = 64
_OPTIONS = {
    name: option
    for option in iter_options()
    if option.path.startswith(PER_CALL)
    for name in (option.path, option.camel)
}


def for_one_call(config: Config, given: Mapping[str, object]) -> tuple[Config, tuple[str, ...]]:
    """``config`` with what was given for one call, and what of that was not taken and why.

    ``given``: by key, in either spelling, nested or dotted: ``{"bargeIn": {"minWords": 2}}``
    or ``{"barge_in.min_words": 2}``. What is wrong costs itself and nothing else.
    """
    problems: list[str] = []
    for path, value in _flat(given):
        option = _OPTIONS.get(path)
        if option is None:
            problems.append(f"{printable(path, 80)}: not a key that one call may have its own of")
            continue
        try:
            checked = convert(option, value, base=Path())
        except (ValueError, msgspec.ValidationError):
            problems.append(f"{option.path}: not {option.allowed}")
            continue
        config = _replaced(config, option.path.split("."), checked)
    return config, tuple(problems)


def _flat(given: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for count, (name, value) in enumerate(given.items()):
        if count == MAX_GIVEN:
            return
        if isinstance(value, Mapping) and not prefix:
            yield from _flat(value, f"{name}.")
        else:
            yield prefix + str(name), value


def _replaced(config: Config, path: list[str], value: object) -> Config:
    if len(path) == 1:
        return msgspec.structs.replace(config, **{path[0]: value})
    table = msgspec.structs.replace(getattr(config, path[0]), **{path[1]: value})
    return msgspec.structs.replace(config, **{path[0]: table})
