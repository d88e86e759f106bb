"""What the caller said, as it was understood: partials that became final. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teamscall.capture.report.parts import Partial, Utterance
from teamscall.text import printable

MAX_WORDS = 4000  # characters of one utterance
MAX_PARTIALS = 200  # of one utterance


class Utterances:
    """Fed with the records that are about them, in order."""

    def __init__(self) -> None:
        self._found: dict[int, _Utterance] = {}

    def tell(self, at: float, name: str, fields: Mapping[str, Any]) -> None:
        number = fields.get("utterance")
        if not isinstance(number, int):
            return
        one = self._found.get(number)
        if one is None:
            one = self._found[number] = _Utterance(number, at)
        match name:
            case "CommitUtterance" | "IgnoreUtterance":
                one.end = at
            case "Heard":
                one.heard(at, str(fields.get("text", "")), fields.get("final") is True)
            case _:
                pass

    def told(self, length: float) -> tuple[Utterance, ...]:
        """Those of which there is something to show; in the order they began."""
        return tuple(one.told(length) for one in self._found.values() if one.worth)


class _Utterance:
    def __init__(self, number: int, start: float) -> None:
        self._number = number
        self._start = start
        self._partials: list[Partial] = []
        self._final: Partial | None = None
        self.end: float | None = None

    @property
    def worth(self) -> bool:
        return bool(self._partials or self._final or self.end is not None)

    def heard(self, at: float, text: str, final: bool) -> None:
        partial = Partial(at, printable(text, MAX_WORDS))
        if final:
            self._final = partial
        elif len(self._partials) < MAX_PARTIALS:
            self._partials.append(partial)

    def told(self, length: float) -> Utterance:
        last = self._final or (self._partials[-1] if self._partials else None)
        end = self.end if self.end is not None else (last.at if last else length)
        return Utterance(
            number=self._number,
            start=self._start,
            end=max(end, self._start),
            text=last.text if last else "",
            final=self._final is not None,
            partials=(*self._partials, *([self._final] if self._final else [])),
        )
