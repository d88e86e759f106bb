"""The tools that a model may use in a call: their shapes, for whoever asks and answers.

Owns what a tool is and what comes of using one. Refuses to know models, and what a tool
does: an operator's command or URL (:mod:`teamscall.engines.toolbox`), or hanging up.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from teamscall.engines.base import CallBrief


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as a model is told of it. ``parameters``: a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ToolResult(msgspec.Struct, frozen=True):
    """What a model is told came of it. ``end_call``: hang up once the answer that goes
    with it has been heard."""

    output: str
    end_call: bool = False


class Tools(Protocol):
    """The tools of a bridge, shared by its calls."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]: ...

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        """Use a tool. ``arguments``: JSON text as the model wrote it, which may be wrong.

        Never raises but when cancelled: what went wrong is in the output, for the model to
        make the best of. Bounded in time and size.
        """
        ...


class NoTools:
    """A bridge without tools."""

    specs: tuple[ToolSpec, ...] = ()

    async def use(self, call: CallBrief, name: str, arguments: str) -> ToolResult:
        return ToolResult('{"error":"there is no such tool"}')
