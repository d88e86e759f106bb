"""What a Live session delegates: tool calls of its backend, which are made here.

Owns which results are awaited and when the backend goes on. Refuses to know what a tool
does, and speech. A Live session that has no backend delegates to us; there is nobody here
who could do more than the model, and it is told so.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from teamscall.engines.base import CallBrief, EngineDegraded, EngineEvent, EngineUsage
from teamscall.engines.openai import live_messages
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.realtime_tools import Spawn, Toolbelt, Uses
from teamscall.engines.tools import Tools

MAX_ROUNDS = 10  # of tools for one thing that was said

_NOBODY = (
    "Nothing can be looked up or done here. Answer from what you know, or say that you cannot."
)


class _Delegation(msgspec.Struct, frozen=True):
    id: str = ""
    target: str = ""


_delegation: msgspec.json.Decoder[_Delegation | None] = msgspec.json.Decoder(_Delegation | None)


class Delegate:
    """See the module.

    Args:
        call: for whom tools are used.
        send: queues a message to the session.
        post: takes events.
        spawn: starts a task of the session's.
        model: the backend's name, for what is counted.
        tools: see :class:`teamscall.engines.tools.Tools`.
    """

    def __init__(
        self,
        call: CallBrief,
        send: Callable[[str], bool],
        post: Callable[[EngineEvent], None],
        spawn: Spawn,
        model: str,
        tools: Tools,
    ) -> None:
        self._belt = Toolbelt(call, tools, spawn)
        self._send = send
        self._post = post
        self._model = model
        self._uses = Uses(self._belt, self._go_on)
        self._complete = False  # the response that uses them has no more of them
        self._rounds = 0
        self._ends = False

    @property
    def idle(self) -> bool:
        return not len(self._uses)

    def received(self, event: ServerEvent) -> None:
        """A delegation, or an event of the backend."""
        if event.type == "session.delegation.created":
            self._rounds = 0
            self._decline(event)
            return
        inner = live_messages.backend_event(event.event)
        if inner is None:
            return
        match inner.type:
            case "response.output_item.done" if inner.item is not None:
                self._uses.begin(inner.item)
            case "response.completed":
                self._count(inner)
                self._complete = True
                self._go_on()
            case "response.failed" | "response.incomplete":
                self.lost()
                detail = "the model that uses the tools failed"
                self._post(EngineDegraded("think", detail))

    def lost(self) -> None:
        """Nobody waits for the results any more."""
        self._uses.cancel()
        self._uses = Uses(self._belt, self._go_on)
        self._complete = False

    def end_call(self) -> bool:
        """Whether a tool has asked for the call's end, once."""
        ends, self._ends = self._ends, False
        return ends

    def _decline(self, event: ServerEvent) -> None:
        try:
            delegation = _delegation.decode(event.delegation)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return  # not ours to answer, as far as we can tell
        if delegation is not None and delegation.target == "client":
            self._send(live_messages.tell("instructions", _NOBODY, delegation.id))

    def _go_on(self) -> None:
        """Give the results back, once there are all, and have the backend go on."""
        if not (self._complete and len(self._uses) and self._uses.finished):
            return
        results = self._uses.results
        self._uses = Uses(self._belt, self._go_on)
        self._complete = False
        self._rounds += 1
        if self._rounds > MAX_ROUNDS:
            self._post(EngineDegraded("think", "the model uses tools and comes to no end"))
            return
        for call_id, result in results.items():
            self._send(live_messages.returned(call_id, result.output))
            self._ends = self._ends or result.end_call
        self._send(live_messages.CONTINUE)

    def _count(self, event: live_messages.BackendEvent) -> None:
        usage = live_messages.backend_usage(event)
        if usage is not None:
            self._post(
                EngineUsage(
                    "think",
                    self._model,
                    input_tokens=usage.input_tokens,
                    cached_tokens=usage.cached_tokens,
                    output_tokens=usage.output_tokens,
                )
            )
