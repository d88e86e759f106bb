"""The backend that a Live session delegates to: a Responses model with tools. Pure.

Minimal: one task at a time. A scripted answer with a tool is a task; the tool's result,
which the client gives, has its ``say`` spoken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from teamscall.testing.cloud import Cloud, new_id
from teamscall.testing.settings import Answer, choose
from teamscall.testing.strict import Wrong
from teamscall.testing.thinking import response_events, response_usage, text_of
from teamscall.testing.visits import Json


@dataclass(slots=True)
class Task:
    """One delegation. ``call_id``: of the tool call that waits for its result."""

    id: str
    response_id: str
    heard: str
    call_id: str = ""
    result: str | None = None


class Backend:
    """Whom this session delegates to, and the task in hand."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._config: Json = {}
        self._task: Task | None = None
        self.target: Literal["client", "responses"] = "client"

    def configure(self, delegation: Json | None) -> None:
        """What the session was started with; raises Wrong when its model is none."""
        self.target = "client" if delegation is None else delegation["type"]
        if delegation is not None and self.target == "responses":
            model = delegation["responses"]["model"]
            self._cloud.check_model(model, "text", "session.delegation.responses.model")
            self._config = delegation["responses"]

    def update(self, delegation: Json) -> None:
        """Raises Wrong when the owner of tasks would change."""
        if delegation["type"] != self.target:
            raise Wrong(
                "The delegation type of a session cannot be changed.",
                code="invalid_value",
                param="session.delegation.type",
            )
        self._config = {**self._config, **delegation.get("responses", {})}

    def delegate(self, heard: str) -> Task:
        """Begin a task."""
        self._task = Task(new_id("deleg"), new_id("resp"), heard)
        return self._task

    def add(self, item: Json) -> None:
        """An item of the client's; raises Wrong when it does not fit."""
        self._need_responses()
        if item.get("type") == "function_call_output":
            if self._task is None or item["call_id"] != self._task.call_id:
                raise Wrong(
                    f"No tool call found for function call output with call_id {item['call_id']}.",
                    code="invalid_value",
                    param="item.call_id",
                )
            self._task.result = item["output"]
        else:
            self._task = Task(new_id("deleg"), new_id("resp"), text_of(item["content"]))

    def proceed(self) -> None:
        """A response is asked for; raises Wrong when nothing can be answered."""
        self._need_responses()
        if self._task is None:
            raise Wrong("There is nothing to respond to.", code="invalid_request")
        if self._task.call_id and self._task.result is None:
            raise Wrong(
                f"No tool output found for function call {self._task.call_id}.",
                code="invalid_value",
            )

    def work(self) -> tuple[Task, Iterator[Json], str]:
        """The task in hand, the events of a response to it, and what it has the voice say."""
        task = self._task
        assert task is not None, "there is no task"
        answer = choose(self._cloud.settings.script, task.heard, task.result)
        names = [tool.get("name") for tool in self._config.get("tools", ())]
        if answer.tool and answer.tool not in names:
            answer = Answer(say=f"I would call {answer.tool}, but was not given it.")
        if task.result is not None:
            task.response_id = new_id("resp")
        task.call_id = new_id("call") if answer.tool else ""
        # Snapshots are kept small: what was configured is left out of them.
        response: Json = {
            "id": task.response_id,
            "object": "response",
            "created_at": self._cloud.clock.wall_ms() // 1000,
            "status": "in_progress",
            "model": self._config["model"],
            "instructions": None,
            "tools": [],
            "output": [],
            "error": None,
            "usage": None,
        }
        usage = response_usage(task.heard, answer)
        events = response_events(response, answer, usage, call_id=task.call_id, brief=True)
        return task, events, "" if answer.tool else answer.say

    def _need_responses(self) -> None:
        if self.target != "responses":
            raise Wrong(
                "This event requires Responses delegation.", code="invalid_request", param="type"
            )
