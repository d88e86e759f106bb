"""What no call may do to the bridge: hang it, leak, or take others down."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest
from switchboard_rig import ANN, PATIENCE_S, rig

from teamscall.calls import call as running
from teamscall.calls.records import CallClosed, CallOpened, EngineTrouble, TurnEnded
from teamscall.config import Goodbye, Inbound
from teamscall.engines import base as engine
from teamscall.engines.echo import EchoEngine
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine
from teamscall.wire import events as wire

NO_APOLOGY = Goodbye(apology="")


class Session:
    """An engine session that does what a test wants of it."""

    def __init__(self, emit: engine.Emit, voice: Voice) -> None:
        self.emit = emit
        self.voice = voice
        self.fault = voice.fault

    async def run(self) -> None:
        self.emit(engine.EngineReady())
        if self.fault == "ends":
            return
        if self.fault == "raises":
            raise RuntimeError("a bug")
        if self.fault == "cancels itself":
            raise asyncio.CancelledError
        if self.fault == "groups":
            raise ExceptionGroup("several", [RuntimeError("one"), RuntimeError("two")])
        while not self.voice.released.is_set():
            try:
                await self.voice.released.wait()
            except asyncio.CancelledError:
                if self.fault != "swallows cancellation":
                    raise

    def submit(self, command: engine.EngineCommand) -> None:
        if self.fault == "raises at once":
            raise RuntimeError("a bug")
        if isinstance(command, engine.Say) and command.aloud:  # answered before submit returns
            self.emit(engine.AnswerText(command.turn, command.text))
            self.emit(engine.AnswerAudio(command.turn, bytes(1280), 16_000, command.text))
            self.emit(engine.AnswerDone(command.turn))

    async def close(self) -> None:
        if self.fault == "fails to close":
            raise RuntimeError("a bug")
        if self.fault == "swallows cancellation":
            await self.run()


class Voice:
    name = "test"
    turn_taking: engine.TurnTaking = "local"

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.released = asyncio.Event()
        self.cached: engine.Phrase | None = None

    def describe(self) -> str:
        return ""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def open(self, call: engine.CallBrief, emit: engine.Emit) -> Session:
        return Session(emit, self)

    def warm(self) -> None: ...

    async def prepare(self, texts: Sequence[str]) -> None: ...

    def phrase(self, text: str) -> engine.Phrase | None:
        return self.cached


class TestAnEngineThatMisbehaves:
    @pytest.mark.parametrize("fault", ["ends", "raises", "cancels itself", "groups"])
    def test_fails_its_call_and_no_other(self, fault: str) -> None:
        async def run() -> None:
            voice = Voice()
            async with rig(voice, goodbye=NO_APOLOGY) as site:
                site.call("good")
                await asyncio.sleep(0)
                voice.fault = fault
                link = site.call("bad")
                await site.until(lambda: site.ended())
                assert link.farewell == "agent-unavailable"
                assert site.of(EngineTrouble)[0].fatal
                assert site.live() == {"good"}
                assert site.free == 4

        asyncio.run(run())

    @pytest.mark.parametrize("fault", ["swallows cancellation", "fails to close"])
    def test_holds_neither_the_slot_nor_the_end_of_its_call(
        self, fault: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(running, "ENGINE_CLOSE_S", 0.03)
        monkeypatch.setattr(running, "ENGINE_CANCEL_S", 0.03)

        async def run() -> None:
            voice = Voice(fault)
            async with rig(voice) as site:
                link = site.call("c1")
                await asyncio.sleep(0)
                site.board.received(link, wire.CallEnded("c1", "hangup-user"))
                assert site.ended() == ["hangup-user"]
                assert site.free == 5
                names = {t.get_name() for t in asyncio.all_tasks()}
                assert "call c1" in names
                await site.until(
                    lambda: "call c1" not in {t.get_name() for t in asyncio.all_tasks()}
                )
                voice.released.set()

        asyncio.run(run())

    def test_raises_from_a_command_and_the_call_ends_as_an_error(self) -> None:
        async def run() -> None:
            async with rig(Voice("raises at once"), inbound=Inbound(greeting="Hello.")) as site:
                link = site.csharp()
                site.ask(link, "c1")
                site.start(link, "c1")
                assert site.ended() == ["error"]
                assert link.farewell == "error"
                assert site.free == 5

        asyncio.run(run())

    def test_may_answer_before_submit_returns(self) -> None:
        async def run() -> None:
            async with rig(Voice(), inbound=Inbound(greeting="Hello.")) as site:
                link = site.call("c1")
                await site.until(lambda: site.of(TurnEnded))
                assert site.of(TurnEnded)[0].heard_text == "Hello."
                assert len(link.of(wire.AudioOut)) == 2

        asyncio.run(run())

    def test_has_a_cached_phrase_played_before_it_is_up(self) -> None:
        async def run() -> None:
            voice = Voice()
            voice.cached = engine.Phrase("Hello.", bytes(2400), 24_000)
            async with rig(voice, inbound=Inbound(greeting="Hello."), goodbye=NO_APOLOGY) as site:
                link = site.csharp()
                site.ask(link, "c1")
                site.start(link, "c1")
                assert len(link.of(wire.AudioOut)) == 3  # before any task has run

        asyncio.run(run())


class TestABug:
    def test_in_a_watcher_costs_nobody_anything(self) -> None:
        async def run() -> None:
            async with rig() as site:
                stop = site.board.watch(lambda record: 1 / 0)  # type: ignore[arg-type]
                site.call("c1")
                stop()
                assert site.free == 4

        asyncio.run(run())

    def test_in_the_conversation_ends_the_call_with_a_last_record(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.call("c1")
                call = site.board._desk.calls["c1"]
                real = call._conversation.on

                def on(event: Any, now: float) -> Any:
                    if isinstance(event, wire.DigitPressed):
                        raise RuntimeError("a bug")
                    return real(event, now)

                monkeypatch.setattr(call._conversation, "on", on)
                site.board.received(link, wire.DigitPressed("c1", "1"))
                assert site.ended() == ["error"]
                assert link.farewell == "error"

        asyncio.run(run())

    def test_that_breaks_the_conversation_for_good_still_frees_the_slot(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.call("c1")
                call = site.board._desk.calls["c1"]

                def on(event: Any, now: float) -> Any:
                    raise RuntimeError("a bug")

                monkeypatch.setattr(call._conversation, "on", on)
                site.board.received(link, wire.DigitPressed("c1", "1"))
                assert site.free == 5
                monkeypatch.undo()
                await asyncio.sleep(0.01)
                assert site.ended() == ["cancelled"]

        asyncio.run(run())

    def test_that_cancels_a_call_leaves_a_last_record(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.call("c1")
                await asyncio.sleep(0)
                for task in asyncio.all_tasks():
                    if task.get_name() == "call c1":
                        task.cancel()
                await site.until(lambda: site.ended())
                assert site.ended() == ["cancelled"]
                assert link.farewell == "cancelled"
                assert site.free == 5

        asyncio.run(run())


class TestTheDrain:
    def test_says_goodbye_and_ends_each_call_once_it_was_heard(self) -> None:
        async def run() -> None:
            async with rig(goodbye=Goodbye(shutdown="Bye.")) as site:
                links = [site.call("c1"), site.call("c2")]
                site.ask(links[0], "c3")
                async with asyncio.timeout(PATIENCE_S):
                    await site.board.drain(PATIENCE_S)
                assert [link.farewell for link in links] == ["server-shutdown"] * 2
                assert [turn.heard_text for turn in site.of(TurnEnded)] == ["Bye."] * 2
                site.start(links[0], "c3")
                assert len(links[0].of(wire.HangUp)) == 2

        asyncio.run(run())

    def test_lets_calls_end_by_themselves_for_a_while(self) -> None:
        async def run() -> None:
            async with rig() as site:
                link, other = site.call("c1"), site.call("c2")
                loop = asyncio.get_running_loop()
                loop.call_later(0.02, site.board.received, link, wire.CallEnded("c1", "bye"))
                await site.board.drain(0.06)
                assert site.ended() == ["bye", "server-shutdown"]
                assert other.farewell == "server-shutdown"

        asyncio.run(run())

    def test_does_not_wait_for_a_call_that_nobody_can_resume(self) -> None:
        async def run() -> None:
            async with rig() as site:
                site.close(site.call("c1"))
                assert site.ended() == []
                async with asyncio.timeout(PATIENCE_S):
                    await site.board.drain(10 * PATIENCE_S)
                assert site.ended() == ["connection-lost"]

        asyncio.run(run())

    def test_ends_though_a_goodbye_hangs(self) -> None:
        async def run() -> None:
            line = ScriptLine(speak_ms=60_000)
            voice = ScriptedEngine(Script(lines=(line,)))
            async with rig(voice, goodbye=Goodbye(shutdown="Bye.")) as site:
                site.call("c1")
                await asyncio.sleep(0)
                async with asyncio.timeout(PATIENCE_S):
                    await site.board.drain(0.02)
                assert site.ended() == ["server-shutdown"]

        asyncio.run(run())

    def test_lets_no_placed_call_come_up(self) -> None:
        async def run() -> None:
            async with rig() as site:
                assert site.board.expect("o1", ring_timeout_s=30)
                await site.board.drain(0.0)
                link = site.csharp()
                site.start(link, "o1", direction="outbound")
                assert link.farewell == "not-allowed"
                assert not site.board.expect("o2", ring_timeout_s=30)
                site.board.outcome("o1", "failed")
                assert site.free == 5

        asyncio.run(run())


class TestNothingIsLeft:
    @pytest.mark.parametrize("dialect", ["csharp", "standin"])
    def test_of_a_thousand_calls(self, dialect: str) -> None:
        async def run() -> None:
            async with rig(EchoEngine()) as site:
                baseline = len(asyncio.all_tasks())
                gateway = site.csharp()
                for n in range(1000):
                    call_id = f"c{n}"
                    if dialect == "standin":
                        link = site.standin(call_id)
                        site.board.received(link, wire.CallStarted(call_id, ANN))
                    else:
                        link = site.call(call_id, gateway)
                    if n % 2:
                        await asyncio.sleep(0)
                    site.board.received(link, wire.AudioIn(call_id, 0, bytes(640)))
                    site.board.received(link, wire.CallEnded(call_id, "hangup-user"))
                    if dialect == "standin":
                        site.close(link)
                    del site.records[:]
                assert site.free == 5
                await site.until(lambda: len(asyncio.all_tasks()) == baseline)
                assert len(site.board._lines) == 1
                await site.until(lambda: len(site.board._desk.tasks) == 0)
                assert len(site.board._desk.bookings) == 0

        asyncio.run(run())

    def test_of_a_thousand_refused_calls(self) -> None:
        async def run() -> None:
            async with rig(inbound=Inbound(enabled=False)) as site:
                baseline = len(asyncio.all_tasks())
                gateway = site.csharp()
                for n in range(1000):
                    site.ask(gateway, f"c{n}")
                    site.start(gateway, f"c{n}")
                    link = site.standin(f"s{n}")
                    site.board.received(link, wire.CallStarted(f"s{n}", ANN))
                    assert link.closed == (1000, "not-allowed")
                    site.close(link)
                assert site.free == 5
                assert len(asyncio.all_tasks()) == baseline
                assert len(site.board._desk.bookings) == 0
                assert site.of(CallOpened) == []
                assert site.of(CallClosed) == []

        asyncio.run(run())

    def test_of_dropped_messages_but_a_count_and_a_line(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def run() -> None:
            async with rig() as site:
                link = site.csharp()
                with caplog.at_level(logging.WARNING, "teamscall.calls"):
                    for _ in range(1500):
                        site.board.dropped(link, wire.Dropped("unknown-type", "x"))
                assert site.board.drops["unknown-type"] == 1500
                assert len(caplog.records) == 2

        asyncio.run(run())
