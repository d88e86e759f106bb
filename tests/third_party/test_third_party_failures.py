"""aimock fails on purpose, at each stage of a call, once or for good.

All calls go on at the same time, each with models of its own by which aimock knows them:
what matters is what their callers hear, not how soon.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, Literal

import msgspec
import pytest
from _pytest.mark import ParameterSet
from third_party_call import Called, at, bridge, call, tone
from third_party_servers import Aimock

from teamscall.calls import records
from teamscall.config import Streaming, Tts

pytestmark = pytest.mark.third_party

SAID = "What can you do, and what time is it?"
FIRST, SECOND = "I can tell you the time.", "It is five past ten in the morning."
ANSWER = f"{FIRST} {SECOND}"
# A recogniser that says nothing is asked twice, and given four seconds each time.
PATIENCE_S = 12.0

Part = Literal["hear", "think", "speak"]
ENDPOINTS: dict[Part, str] = {"hear": "realtime-transcription", "think": "chat", "speak": "speech"}
WORKS: dict[Part, dict[str, Any]] = {
    "hear": {"transcription": {"text": SAID}},
    "think": {"content": ANSWER},
    "speak": {
        "audio": base64.b64encode(tone(0.8, 24_000)).decode(),
        "format": "pcm",
    },
}


class Fault(msgspec.Struct, frozen=True):
    """What goes wrong with a part, once or ``for_good``; a voice's single fault is with the
    answer's first clause."""

    part: Part
    fixture: dict[str, Any]  # over a good answer
    for_good: bool = False


def refused(status: int, **more: object) -> dict[str, Any]:
    return {
        "response": {"error": {"message": "no", "type": "server_error"}, "status": status} | more
    }


CUT_OFF = {"chaos": {"disconnectRate": 1}}
GARBLED = {"chaos": {"malformedRate": 1}}
BUSY = refused(429, retryAfter=1)

ONCE = {
    "a transcription that fails": Fault("hear", refused(500)),
    "a recogniser that breaks off": Fault("hear", {"truncateAfterChunks": 2, "chunkSize": 6}),
    "a recogniser that says nothing": Fault("hear", {"latency": 30_000}),
    "a model with a fault": Fault("think", refused(500)),
    "a model that is busy": Fault("think", BUSY),
    "a model that hangs up": Fault("think", CUT_OFF),
    "a voice with a fault": Fault("speak", refused(500)),
    "a voice that is busy": Fault("speak", BUSY),
    "a voice that hangs up": Fault("speak", CUT_OFF),
}
EVER = {
    "transcriptions that fail": Fault("hear", refused(500), for_good=True),
    "a recogniser that is silent": Fault("hear", {"latency": 30_000}, for_good=True),
    "a model that is out of order": Fault("think", refused(500), for_good=True),
    "a model that is always busy": Fault("think", BUSY, for_good=True),
    "a model that is never there": Fault("think", CUT_OFF, for_good=True),
    "a model that talks nonsense": Fault("think", GARBLED, for_good=True),
    "a model that breaks off": Fault(
        "think", {"chunkSize": 4, "latency": 50, "disconnectAfterMs": 400}, for_good=True
    ),
    "a voice that is out of order": Fault("speak", refused(500), for_good=True),
    "a voice that is always busy": Fault("speak", BUSY, for_good=True),
    "a voice that is never there": Fault("speak", CUT_OFF, for_good=True),
    "a voice that talks nonsense": Fault("speak", GARBLED, for_good=True),
}
CASES = ONCE | EVER
FEW = (
    "a recogniser that breaks off",
    "a model with a fault",
    "a voice that hangs up",
    "transcriptions that fail",
    "a model that is never there",
    "a voice that is out of order",
)


def cases(of: Iterable[str]) -> list[ParameterSet]:
    return [pytest.param(n, marks=() if n in FEW else pytest.mark.long) for n in of]


def model(case: str) -> str:
    """aimock transcribes with names that begin so, and takes any elsewhere."""
    return "gpt-4o-mini-transcribe-" + case.replace(" ", "-")


def fixture(case: str) -> dict[str, Any]:
    fault = CASES[case]
    match: dict[str, Any] = {"endpoint": ENDPOINTS[fault.part], "model": model(case)}
    if fault.part == "speak" and not fault.for_good:
        match["userMessage"] = FIRST
    wrong: dict[str, Any] = {"response": WORKS[fault.part]} | fault.fixture
    if not fault.for_good:
        match["sequenceIndex"] = 0
    return {"match": match} | wrong


@pytest.fixture(scope="module")
def calls(aimock: Aimock, chosen: Callable[[str], list[str]]) -> dict[str, Called]:
    good = [{"match": {"endpoint": ENDPOINTS[part]}, "response": WORKS[part]} for part in ENDPOINTS]
    aimock.plays(*(fixture(case) for case in CASES), *good)

    async def one(case: str) -> Called:
        name = model(case)
        models: dict[str, Any] = {
            "streaming": Streaming(stt_model=name),
            "response_model": name,
            "tts": Tts(model=name),
        }
        return await call(bridge(at(aimock, name), **models), patience_s=PATIENCE_S)

    async def all_of_them() -> dict[str, Called]:
        async with asyncio.TaskGroup() as group:
            tasks = {case: group.create_task(one(case)) for case in chosen("case")}
        return {case: task.result() for case, task in tasks.items()}

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("case", cases(ONCE))
def test_a_fault_that_passes_is_not_heard(case: str, calls: dict[str, Called]) -> None:
    called = calls[case]
    assert called.heard == [SAID]
    assert [turn.heard_text for turn in called.answers] == [ANSWER]


def told(called: Called) -> bool:
    """Whether the caller heard something that answers for what was said."""
    turns = [r for r in called.records if isinstance(r, records.TurnEnded)]
    return called.spoke and any(turn.heard_text and turn.kind != "reprompt" for turn in turns)


@pytest.mark.parametrize("case", cases(EVER))
def test_one_that_stays_is_told(case: str, calls: dict[str, Called]) -> None:
    assert told(calls[case])


@pytest.mark.parametrize("case", cases(EVER))
def test_a_trouble_is_told_once_and_of_its_own_part(case: str, calls: dict[str, Called]) -> None:
    part, troubles = EVER[case].part, calls[case].troubles
    assert troubles
    assert {trouble.stage for trouble in troubles} == {part}
    assert all(a.detail != b.detail for a, b in pairwise(troubles))
