"""What a chat model asks of tools: read from a stream in pieces, and remembered.

Owns how servers differ in the pieces: an id only in the first one, an empty name in the
later ones, arguments in bits or whole or as an object, no index, no id. Refuses to know
what a tool does.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from teamscall.engines.tools import ToolResult

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam

MAX_CALLS = 8  # in one answer: more is a model gone astray
MAX_ARGUMENT_CHARS = 65_536  # of one call; what is longer is cut, and so is no JSON any more
MAX_REMEMBERED_TURNS = 20
MAX_REMEMBERED_CHARS = 24_000  # as much as the memory of words


class ToolCall(msgspec.Struct, frozen=True):
    """One call, as the model wrote it."""

    id: str
    name: str
    arguments: str


class _Piece:
    """A call that is being read."""

    def __init__(self, index: object) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments = ""


class ToolCallReader:
    """Puts the pieces of a stream's tool calls together."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []

    def add(self, delta: object) -> None:
        """One item of ``delta.tool_calls``."""
        function = getattr(delta, "function", None)
        name = getattr(function, "name", None) or ""
        given_id = getattr(delta, "id", None) or ""
        arguments = getattr(function, "arguments", None) or ""
        if not isinstance(arguments, str):  # some give the object itself
            arguments = json.dumps(arguments)
        piece = self._piece(getattr(delta, "index", None), str(given_id), str(name))
        if piece is None:
            return
        piece.id = piece.id or str(given_id)
        piece.name = piece.name or str(name)
        piece.arguments = (piece.arguments + arguments)[:MAX_ARGUMENT_CHARS]

    def calls(self) -> list[ToolCall]:
        """The calls; each has an id, the server's or one made up."""
        named = [piece for piece in self._pieces if piece.name]
        return [
            ToolCall(piece.id or f"call_{number}", piece.name, piece.arguments)
            for number, piece in enumerate(named)
        ]

    def _piece(self, index: object, given_id: str, name: str) -> _Piece | None:
        """The call that a piece belongs to; None when there are too many."""
        found = next((one for one in reversed(self._pieces) if one.index == index), None)
        if found is not None and not self._is_another(found, given_id, name):
            return found
        if len(self._pieces) >= MAX_CALLS:
            return None
        self._pieces.append(_Piece(index))
        return self._pieces[-1]

    @staticmethod
    def _is_another(found: _Piece, given_id: str, name: str) -> bool:
        """Whether a piece begins a call although its index was seen: some servers give
        whole calls one by one, all with index 0 or with none."""
        if given_id and found.id:
            return given_id != found.id
        return bool(name and found.name and found.arguments)


class Exchanges:
    """The tool calls of past turns with their results, as messages, bounded."""

    def __init__(self) -> None:
        self._by_turn: OrderedDict[int, list[ChatCompletionMessageParam]] = OrderedDict()

    def add(
        self, turn: int, said: str, calls: Sequence[ToolCall], results: Sequence[ToolResult]
    ) -> list[ChatCompletionMessageParam]:
        """Remember what came of ``calls``.

        Returns:
            the messages for the turn itself, with the words ``said`` before the calls. In
            later turns those words are part of the answer that was heard.
        """
        outcomes: list[ChatCompletionMessageParam] = [
            {"role": "tool", "tool_call_id": call.id, "content": result.output}
            for call, result in zip(calls, results, strict=True)
        ]
        self._by_turn.setdefault(turn, []).extend([_asked("", calls), *outcomes])
        while len(self._by_turn) > 1 and self._is_too_much():
            self._by_turn.popitem(last=False)
        return [_asked(said, calls), *outcomes]

    def of(self, turn: int) -> list[ChatCompletionMessageParam]:
        return self._by_turn.get(turn, [])

    def _is_too_much(self) -> bool:
        chars = sum(len(str(message)) for turn in self._by_turn.values() for message in turn)
        return len(self._by_turn) > MAX_REMEMBERED_TURNS or chars > MAX_REMEMBERED_CHARS


def _asked(said: str, calls: Sequence[ToolCall]) -> ChatCompletionMessageParam:
    return {
        "role": "assistant",
        "content": said or None,
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": _as_json(call.arguments)},
            }
            for call in calls
        ],
    }


def _as_json(arguments: str) -> str:
    """Servers read the arguments of earlier calls, and some refuse what is no JSON object."""
    try:
        given: Any = json.loads(arguments)
    except (ValueError, RecursionError):
        return "{}"
    return arguments if isinstance(given, dict) else "{}"
