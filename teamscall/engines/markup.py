"""Markdown taken out of a text while it streams.

Owns which characters are markup and what is left of them. Refuses to know languages,
numbers and words (:mod:`teamscall.engines.speakable`).

Rule 1: what comes out does not depend on how the text was cut into deltas: a decision waits
for the characters that it needs, and for no others.
Rule 2: what waits is bounded; what is too long for markup is none.
"""

from __future__ import annotations

import re

CODE = "\ue000"  # stands for a block of code that was left out
MAX_LINE = 1_000  # of a table or a fence; beyond it, it is none
MAX_BRACKETS = 400
MAX_TARGET = 2_000  # of a link
MAX_DEPTH = 3  # of brackets in brackets
_PLAIN = re.compile(r"[^\n\[!*_~`<\\|]+")
_STOPS = ".!?:;,…。！？；，、"
_RULE = re.compile(r"([-*_=])(?:[ \t]*\1){2,}[ \t]*")
_TABLE_RULE = re.compile(r"[|\s:+=-]+")
_FENCE = re.compile(r"(`{3,}|~{3,})([^`]*)")
_ORDERED = re.compile(r"(\d{1,3})[.)](?=[ \t])")
_NO_LABEL = re.compile(r"\s?|x|X|\^?\w{1,3}")  # a check box, a footnote, a citation
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9]*)")
_TAGS = frozenset(
    re.findall(
        r"\w+",
        "a abbr b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins "
        "kbd li mark ol p pre q s small span strong sub summary sup table tbody td th thead tr u "
        "ul",
    )
)
_BREAKS = frozenset(re.findall(r"\w+", "br p div li tr hr h1 h2 h3 h4 h5 h6 td th dd dt"))
_AUTOLINKS = frozenset({"http", "https", "mailto", "www"})


class _More(Exception):
    """The decision needs characters that have not come yet."""


class Unmarked:
    """Takes markdown in pieces of any size, gives what is left of it without the markup."""

    def __init__(self) -> None:
        self._text = ""
        self._over = False
        self._begin()

    def _begin(self) -> None:
        self._at_start = True  # of a line
        self._fence = ""  # what ends the block of code that this is in
        self._stop = False  # this line is to end like a sentence
        self._last = ""  # the last character given on this line that is no blank
        self._before = ""  # the last character taken
        self._word = ""  # what was taken since the last blank
        self._item = 0  # the last number of an ordered list

    def push(self, delta: str) -> str:
        """Add text; return what is decided."""
        self._text += delta.replace(CODE, "").replace("\r", "")
        given = []
        try:
            while self._text:
                given.append(self._step())
        except _More:
            pass
        return "".join(given)

    def flush(self) -> str:
        """The text is over: return what is left."""
        self._over = True
        given = self.push("")
        if self._stop:
            given += self._stopped()
        self._over = False
        self._begin()
        return given

    # --- one decision ----------------------------------------------------------------------

    def _step(self) -> str:
        if self._fence:
            return self._in_fence()
        if self._at_start:
            return self._line_start()
        return self._inline()

    def _take(self, count: int, given: str) -> str:
        taken, self._text = self._text[:count], self._text[count:]
        if taken:
            self._before = taken[-1]
            blank = max(taken.rfind(" "), taken.rfind("\n"), taken.rfind("\t"))
            self._word = (taken[blank + 1 :] if blank >= 0 else self._word + taken)[:200]
        if said := given.strip():
            self._last = said[-1]
        return given

    def _peek(self, place: int) -> str:
        """The character at ``place``, "" after the end of the text."""
        if place < len(self._text):
            return self._text[place]
        if not self._over:
            raise _More
        return ""

    def _line(self) -> str | None:
        """The whole line, None if it is too long for what it might have been."""
        end = self._text.find("\n", 0, MAX_LINE + 1)
        if end >= 0:
            return self._text[:end]
        if len(self._text) > MAX_LINE:
            return None
        if not self._over:
            raise _More
        return self._text

    def _stopped(self) -> str:
        """The end of a line that is a sentence of its own, whatever it ends with."""
        self._stop = False
        return "" if not self._last or self._last in _STOPS else "."

    # --- lines -----------------------------------------------------------------------------

    def _in_fence(self) -> str:
        line = self._line()
        if line is None:
            return self._take(MAX_LINE, "")
        ended = line.strip().startswith(self._fence) and not line.strip().strip(self._fence[0])
        self._take(len(line) + 1, "")
        if ended:
            self._fence = ""
        return ""

    def _line_start(self) -> str:
        blanks = len(self._text) - len(self._text.lstrip(" \t"))
        if blanks > MAX_LINE:
            return self._take(MAX_LINE, " ")
        mark = self._peek(blanks)
        if mark == ">":
            return self._take(blanks + (2 if self._peek(blanks + 1) == " " else 1), "")
        found = None
        if mark and mark in "-*_=+":
            found = self._rule_or_bullet(blanks, mark)
        elif mark == "#":
            found = self._heading(blanks)
        elif mark == "|":
            found = self._row()
        elif mark and mark in "`~":
            found = self._open_fence(blanks, mark)
        elif mark.isdigit() and mark.isascii():
            found = self._ordered(blanks)
        if found is not None:
            return found
        self._at_start = False
        return self._take(blanks, self._text[:blanks])

    def _rule_or_bullet(self, blanks: int, mark: str) -> str | None:
        place = blanks
        while place - blanks <= MAX_LINE and (c := self._peek(place)) and c in (mark, " ", "\t"):
            place += 1
        if self._peek(place) in ("", "\n") and _RULE.fullmatch(self._text, blanks, place):
            return self._take(place, "")
        if mark in "-*+" and self._peek(blanks + 1) in (" ", "\t"):
            return self._item_begins(blanks + 1)
        return None

    def _item_begins(self, count: int, given: str = "") -> str:
        while self._peek(count) in (" ", "\t"):
            count += 1
        self._at_start = False
        self._stop = True
        return self._take(count, given)

    def _heading(self, blanks: int) -> str | None:
        place = blanks
        while place - blanks <= 6 and self._peek(place) == "#":
            place += 1
        if place - blanks > 6 or self._peek(place) not in (" ", "\t"):
            return None
        return self._item_begins(place)

    def _ordered(self, blanks: int) -> str | None:
        place = blanks
        while place - blanks < 4 and self._peek(place).isdigit():
            place += 1
        if self._peek(place) not in (".", ")") or self._peek(place + 1) not in (" ", "\t"):
            return None
        match = _ORDERED.match(self._text, blanks)
        if match is None or int(match[1]) not in (1, self._item + 1):
            return None  # "24. December" begins no list
        self._item = int(match[1])
        return self._item_begins(place + 1, f"{match[1]}: ")

    def _row(self) -> str | None:
        line = self._line()
        if line is None:
            return None
        if _TABLE_RULE.fullmatch(line):
            return self._take(len(line), "")
        cells = [cell.strip() for cell in line.replace("\\|", " ").split("|")]
        self._text = ", ".join(filter(None, cells)) + self._text[len(line) :]
        self._at_start = False
        self._stop = True
        return ""

    def _open_fence(self, blanks: int, mark: str) -> str | None:
        if self._peek(blanks + 1) != mark or self._peek(blanks + 2) != mark:
            return None
        line = self._line()
        match = _FENCE.fullmatch(line.strip()) if line is not None else None
        if line is None or match is None:
            return None
        self._fence = match[1]
        return self._take(len(line) + 1, f"{CODE} ")

    # --- within a line ---------------------------------------------------------------------

    def _inline(self) -> str:
        if plain := _PLAIN.match(self._text):
            return self._take(plain.end(), plain[0])
        match self._text[0]:
            case "\n":
                given = self._stopped() if self._stop else ""
                self._at_start = True
                self._last = ""
                return self._take(1, given + "\n")
            case "!":
                return self._take(1, "" if self._peek(1) == "[" else "!")
            case "[":
                return self._brackets()
            case "<":
                return self._angle()
            case "\\":
                escaped = self._peek(1)
                return self._take(2, "" if escaped in _MARKS else escaped)
            case "|":
                return self._take(1, " ")
            case "`":
                return self._take(1, "")
            case mark:
                return self._emphasis(mark)

    def _emphasis(self, mark: str) -> str:
        """``*``, ``_`` or ``~``: markup, but for what is arithmetic, a name or an address."""
        if "://" in self._word or self._word.startswith("www."):
            return self._take(1, mark)
        before, after = self._before, self._peek(1)
        if mark == "_":
            return self._take(1, " " if before.isalnum() and after.isalnum() else "")
        if mark == "~":
            return self._take(1, "~" if after.isdigit() and not before.isalnum() else "")
        times = (before.isdigit() and after.isdigit()) or (before == " " and after == " ")
        return self._take(1, "×" if times else "")

    def _brackets(self) -> str:
        """A link, an image, a footnote: its label is what is left."""
        end = self._closing(0, "[", "]", MAX_BRACKETS)
        if end is None:
            return self._take(1, "")
        label = self._text[1:end]
        after = end + 1
        follows = self._peek(after)
        if follows in ("(", "["):
            target = self._closing(after, follows, {"(": ")", "[": "]"}[follows], MAX_TARGET)
            after = after if target is None else target + 1
        elif _NO_LABEL.fullmatch(label):
            label = ""
            if self._before.strip() == "" and self._peek(after) == " ":
                after += 1
        # Without the brackets it is read again: emphasis and links may be inside.
        self._text = label + self._text[after:]
        return ""

    def _closing(self, start: int, opens: str, closes: str, limit: int) -> int | None:
        """Where the bracket at ``start`` is closed on this line, None if it is not."""
        depth = 0
        for place in range(start, start + limit):
            c = self._peek(place)
            depth += (c == opens) - (c == closes)
            if depth == 0:
                return place
            if c in ("", "\n") or depth > MAX_DEPTH:
                return None
        return None

    def _angle(self) -> str:
        """A tag or ``<address>``; anything else is a sign."""
        place = 2 if self._peek(1) == "/" else 1
        while place < 12 and (c := self._peek(place)) and c.isascii() and c.isalnum():
            place += 1
        match = _TAG.match(self._text, 0, place)
        name = match[1].lower() if match is not None else ""
        if name not in _TAGS and name not in _AUTOLINKS:
            return self._take(1, "<")
        end = self._closing(0, "<", ">", MAX_BRACKETS)
        if end is None:
            return self._take(1, "<")
        if name in _AUTOLINKS:
            inner = self._text[1:end].removeprefix("mailto:")
            self._text = inner + self._text[end + 1 :]
            return ""
        return self._take(end + 1, " " if name in _BREAKS else "")


_MARKS = frozenset("*_~`[]<>|#\\{}")
