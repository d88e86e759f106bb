"""Peer text made printable, in one place.

Whatever a gateway, a caller or a vendor sent is data: before it reaches a terminal,
a log or a file it is capped and stripped of everything that a terminal would obey.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

# Cc: control, Cf: format (bidi overrides, zero-width), Cs: lone surrogates,
# Co: private use, Zl/Zp: line and paragraph separators.
_UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})

MAX_MARKS = 4  # on one letter; no script needs more, and a thousand hide the lines above

ELLIPSIS = "…"


def kebab(name: str) -> str:
    """``CallerSpoke`` -> ``caller-spoke``: a class name as the name of a JSON event."""
    return "".join(f"-{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))


def printable(text: str, limit: int = 200) -> str:
    """Return ``text`` as one safe line of at most ``limit`` characters.

    Control, format and separator characters become a space (runs of blanks are
    folded), towers of combining marks are cut to ``MAX_MARKS``; what is longer ends in an
    ellipsis. The result never contains ESC, CR, LF, BEL or a bidirectional override.
    """
    # A hostile text may be megabytes long: look only at what could be shown.
    head = text[: limit * 4]
    if not (head.isascii() and head.isprintable()):  # seldom
        head = "".join(_shown(head))
    line = " ".join(head.split())
    if len(line) > limit or len(text) > limit * 4:
        return line[: max(0, limit - 1)].rstrip() + ELLIPSIS
    return line


def _shown(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks <= MAX_MARKS:
            yield " " if category in _UNPRINTABLE else char


def harmless(text: str, limit: int) -> str:
    """``text`` with a blank for each character that a terminal would obey; blanks stay, so
    that pieces can be put together again. At most ``limit`` characters."""
    text = text[:limit]
    if text.isprintable():  # almost always
        return text
    return "".join(" " if unicodedata.category(c) in _UNPRINTABLE else c for c in text)
