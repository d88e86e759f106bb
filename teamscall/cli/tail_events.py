"""Which events `tail` shows: the names of ``--events``.

Owns the groups. An event has a name and, where one name tells of two things, a facet:
``heard`` is partial or final.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from teamscall.errors import InputError

_FACETS = {
    "heard": ("final", {True: "heard:final", False: "heard:partial"}),
    "decided": ("authorized", {True: "decided:granted", False: "decided:denied"}),
}

GROUPS: dict[str, tuple[str, ...]] = {
    "turns": ("heard:final", "turn-ended", "interrupted", "carried-on", "pressed"),
    "partials": ("heard:partial", "turn-began", "said"),
    "calls": (
        "decided:denied",
        "call-opened",
        "call-answered",
        "gate-changed",
        "participants-seen",
        "call-closed",
    ),
    "outbound": ("outbound-progress",),
    "errors": ("engine-trouble",),
}
LEVELS = "audio-levels"
DEFAULT = ("turns", "calls", "outbound", "errors")
HELP = {
    "turns": "what was said, cut, pressed",
    "partials": "words as they come",
    "calls": "begin, end, gate, refusals",
    "outbound": "calls that are placed",
    "errors": "engine trouble",
    LEVELS: "meters, five times a second",
    "all": "everything but audio-levels",
}
"""Groups and what they are, for help and completion."""


def names() -> tuple[str, ...]:
    """Everything that ``--events`` takes."""
    from teamscall.control.told import KINDS

    return (*HELP, *sorted(KINDS.keys() - HELP.keys()))


class Selection:
    """The events that are wanted. A ``gap`` always is.

    Args:
        words: group and event names; none for ``DEFAULT``.

    Raises:
        InputError: an unknown one.
    """

    def __init__(self, words: Iterable[str]) -> None:
        from teamscall.control.told import KINDS

        wanted = tuple(words) or DEFAULT
        self._wanted: set[str] = set()
        for word in wanted:
            if word == "all":
                self._wanted |= KINDS.keys() - {LEVELS}
            elif word in GROUPS:
                self._wanted.update(GROUPS[word])
            elif word in KINDS:
                self._wanted.add(word)
            else:
                raise InputError(
                    f"--events knows no {word!r}.", hint=f"It takes {', '.join(names())}."
                )

    def plus(self, *names: str) -> Selection:
        """This one and ``names``, which are groups or events."""
        both = Selection(names)
        both._wanted |= self._wanted
        return both

    def __contains__(self, event: Mapping[str, Any]) -> bool:
        name = str(event.get("event", ""))
        if name == "gap" or name in self._wanted:
            return True
        field, facets = _FACETS.get(name, ("", {}))
        return facets.get(bool(event.get(field)), "") in self._wanted

    @property
    def talk(self) -> bool:
        """Whether what is said is wanted, and not only what happens."""
        return not self._wanted.isdisjoint({"turn-ended", "heard", "heard:final", "said"})

    @property
    def levels(self) -> bool:
        """Whether meters are wanted."""
        return LEVELS in self._wanted

    @property
    def subscription(self) -> tuple[str, ...]:
        """The names that the bridge has to tell."""
        return tuple(sorted({name.partition(":")[0] for name in self._wanted}))


def split(text: str) -> tuple[str, ...]:
    """``turns, partials`` -> the words."""
    return tuple(word for part in text.split(",") if (word := part.strip()))
