"""Questions and answers without a socket: whatever comes, an answer goes back."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teamscall.calls.switchboard import Switchboard
from teamscall.clock import ManualClock
from teamscall.config import Authorization, Config
from teamscall.control import protocol
from teamscall.control.document import document
from teamscall.control.history import History
from teamscall.control.methods import Methods, Visitor
from teamscall.control.operator import Operator, Site
from teamscall.control.protocol import EXIT_CODES, METHODS, ErrorCode
from teamscall.control.stream import Stream
from teamscall.engines.echo import EchoEngine
from teamscall.errors import ConfigError, PlacingError
from teamscall.outbound.orders import Attempt, Order, Weighed
from teamscall.policy.authorization import Policy
from teamscall.text import kebab, printable


class Places:
    """Places nothing: it fails as it is told to."""

    switched_on = True
    ringing = 0
    last_hour = 0

    def __init__(self) -> None:
        self.fails: Exception = PlacingError("no-far-side", "Nobody is there.")

    async def weigh(self, order: Order) -> Weighed:
        return Weighed(order.to, "notify", None, ())

    async def place(self, order: Order) -> Attempt:
        raise self.fails

    async def cancel(self, call_id_or_attempt: str) -> bool:
        return False

    async def switch(self, on: bool) -> bool:
        return True

    def attempts(self) -> tuple[Attempt, ...]:
        return ()


class Rig:
    def __init__(self, reload: Any = None, journal: Path | None = None) -> None:
        clock, config = ManualClock(), Config(authorization=Authorization(mode="open"))
        self.places = Places()
        self.board = Switchboard(config, EchoEngine(), Policy(config.authorization), clock)
        site = Site(
            pid=os.getpid(),
            started_ms=0,
            engine=lambda: "echo",
            listening=(),
            config_path="",
            gateways=lambda: 0,
            refusals=dict,
            journal=protocol.JournalStatus,
        )
        operator = Operator(config, self.board, self.places, History(journal), site, clock, reload)
        self.methods = Methods(operator, Stream(clock))
        self.visitor = Visitor("test")

    async def say(self, text: str | bytes) -> Any:
        answer = await self.methods.answer(text, self.visitor)
        return None if answer is None else json.loads(answer)

    async def ask(self, method: str, **params: Any) -> Any:
        question = {"jsonrpc": "2.0", "id": 7, "method": f"teamscall.{method}", "params": params}
        return await self.say(json.dumps(question))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
FIELDS = sorted({f.encode_name for m in METHODS.values() for f in msgspec.structs.fields(m.params)})
QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "jsonrpc": st.just("2.0") | JSON,
        "id": JSON,
        # Without drain: it may wait.
        "method": st.sampled_from(sorted(set(METHODS) - {"teamscall.drain"})) | JSON,
        "params": st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4) | JSON,
        "extra": JSON,
    },
)


def check_answer(answer: Any, *, asked: bool) -> None:
    if answer is None:
        assert not asked
        return
    assert answer["jsonrpc"] == "2.0"
    assert "id" in answer
    assert ("result" in answer) != ("error" in answer)
    if "error" in answer:
        code = ErrorCode(answer["error"]["code"])
        assert code is not ErrorCode.INTERNAL_ERROR, answer
        # Not isprintable(): letters that are newer than this Python may be shown.
        assert answer["error"]["message"] == printable(answer["error"]["message"], 1000)
        assert answer["error"]["data"]["name"] == code.word


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))
def test_whatever_bytes_come_an_answer_goes_back(data: bytes) -> None:
    async def work() -> None:
        rig = Rig()
        check_answer(await rig.say(data), asked=False)
        assert rig.methods.busy(data) is None or json.loads(rig.methods.busy(data) or b"")
        assert "result" in await rig.ask("status")

    asyncio.run(work())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(QUESTIONS)
def test_whatever_is_asked_an_answer_goes_back(question: dict[str, Any]) -> None:
    async def work() -> None:
        rig = Rig()
        # NaN and infinities are written as Python does, which is no JSON: refused as such.
        check_answer(await rig.say(json.dumps(question)), asked="id" in question)
        check_answer(await rig.say(json.dumps(question, ensure_ascii=False, allow_nan=True)
                                   .encode("utf-8", "surrogatepass")), asked=False)  # fmt: skip
        rig.methods.leave(rig.visitor)

    asyncio.run(work())


@pytest.mark.parametrize(
    ("error", "code", "data"),
    [
        (PlacingError("no-far-side", "x"), ErrorCode.NO_FAR_SIDE, {}),
        (PlacingError("far-side-failed", "x", status=503), ErrorCode.FAR_SIDE_FAILED,
         {"status": 503}),
        (PlacingError("refused", "x", gates=(("enabled", True, "a"), ("switch", False, "b\x1b"))),
         ErrorCode.REFUSED, {"gate": "switch", "gates": [
             {"gate": "enabled", "passed": True, "detail": "a"},
             {"gate": "switch", "passed": False, "detail": "b"}]}),
        (RuntimeError("the key is sk-123"), ErrorCode.INTERNAL_ERROR, {}),
    ],
)  # fmt: skip
def test_a_call_that_is_not_placed_says_why(
    error: Exception, code: ErrorCode, data: dict[str, Any]
) -> None:
    async def work() -> None:
        rig = Rig()
        rig.places.fails = error
        answer = await rig.ask("initiate", to="user:u")
        assert answer["error"]["code"] == code
        assert answer["error"]["data"].items() >= data.items()
        assert "sk-123" not in json.dumps(answer)

    asyncio.run(work())


def test_a_drained_bridge_places_nothing_and_says_that_it_drains() -> None:
    async def work() -> None:
        rig = Rig()
        await rig.ask("drain", seconds=0)
        rig.places.fails = PlacingError("refused", "x", gates=(("draining", False, "It drains."),))
        answer = await rig.ask("initiate", to="user:u")
        assert answer["error"]["code"] == ErrorCode.DRAINING

    asyncio.run(work())


def test_a_bad_configuration_is_told_problem_by_problem() -> None:
    async def reload() -> protocol.Reloaded:
        raise ConfigError("The configuration has a problem.", problems=("a.b: no\x1b[2J",))

    async def work() -> None:
        answer = await Rig(reload).ask("reload")
        assert answer["error"]["code"] == ErrorCode.RELOAD_FAILED
        assert answer["error"]["data"]["problems"] == ["a.b: no [2J"]

    asyncio.run(work())


def test_records_that_cannot_be_read_are_an_error_of_their_own(tmp_path: Path) -> None:
    async def work() -> None:
        (tmp_path / "j").write_text("this is no journal, and longer than a header of SQLite is")
        for method, params in (("calls", {}), ("status", {"callId": "abcd"})):
            answer = await Rig(journal=tmp_path / "j").ask(method, **params)
            assert answer["error"]["code"] == ErrorCode.JOURNAL

    asyncio.run(work())


# --- the contract as a document -----------------------------------------------------------


def test_the_document_has_every_method_event_and_error() -> None:
    from typing import get_args

    from teamscall.calls.records import CallRecord

    text = json.dumps(document())
    shown = json.loads(text)
    assert [method["name"] for method in shown["methods"]] == list(METHODS)
    errors = shown["components"]["errors"]
    assert {one["code"] for one in errors.values()} == set(map(int, ErrorCode))
    for code, exit_code in EXIT_CODES.items():
        assert errors[code.word]["data"]["exitCode"] == exit_code
    (events,) = (one["events"] for one in shown["x-notifications"])
    assert set(events) == {kebab(kind.__name__) for kind in get_args(CallRecord)} | {"gap"}
    schemas = shown["components"]["schemas"]
    for part in text.split('"$ref": "')[1:]:
        _, _, kind, name = part.partition('"')[0].split("/")
        assert name in shown["components"][kind], name
    for method in shown["methods"]:
        for param in method["params"]:
            assert param["description"], (method["name"], param["name"])
    assert "``" not in json.dumps(shown["methods"])
    initiate = shown["methods"][0]
    assert {one["name"]: one["required"] for one in initiate["params"]}["to"] is True
    assert "dryRun" in {one["name"] for one in initiate["params"]}
    assert "callId" in schemas["TurnEndedEvent"]["properties"]
    assert "type" not in schemas["TurnEndedEvent"]["properties"]
