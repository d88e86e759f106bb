"""Realtime mode in whole calls: a phone, a bridge and the stand-in on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from engines_openai_rig import cloud
from openai_call_rig import SPEECH, Site, config, site

from teamscall.calls import records
from teamscall.config import Inbound, Realtime, Tool
from teamscall.testing import Answer, Script, Settings
from teamscall.wire import events as wire

STORY = "one two three four five six seven eight nine ten " * 5
ASKED = ("What time is it?", "And tomorrow?")
ANSWERS = ("It is noon, I think, or soon.", "Sunny all day long.")
TALK = Script(
    hears=ASKED,
    answer=tuple(Answer(to=to, say=say) for to, say in zip(ASKED, ANSWERS, strict=True)),
)
TELL = Script(
    hears=("Tell me a story.", "Enough."),
    answer=(Answer(to="story", say=STORY),),
    otherwise="As you like.",
)


def talked(
    script: Script,
    what: Callable[[Site], Awaitable[None]],
    detection: str = "server",
    *,
    dialect: wire.Dialect = "standin",
    start: bool = True,
    slow: dict[str, float] | None = None,
    **changes: object,
) -> Site:
    """One call in which ``what`` happens; all that is known of it."""

    async def call() -> Site:
        settings = config(there, "realtime", detection, **changes)
        async with site(there, settings, dialect, start=start) as one:
            await what(one)
        return one

    with cloud(Settings(script=script, speak_speed=4, **(slow or {}))) as there:  # type: ignore[arg-type]
        seen = asyncio.run(call())
        assert not seen.sent_us("error")
        return seen


@pytest.mark.long
@pytest.mark.parametrize("detection", ["server", "local"])
def test_a_conversation_whose_session_is_renewed(detection: str) -> None:
    async def talk(one: Site) -> None:
        await one.phone.say(SPEECH)
        await one.turn()
        await asyncio.sleep(1.5)  # longer than what is left of the session
        await one.phone.say(SPEECH)
        await one.turn(2)

    # The words for the record come after the first sound of the answer.
    slow = {"hear_ms": 600.0, "think_ms": 100.0, "speak_first_byte_ms": 100.0}
    renewing = Realtime(turn_detection=detection, renew_after_minutes=0.04)  # type: ignore[arg-type]
    seen = talked(TALK, talk, detection, slow=slow, realtime=renewing)
    assert len(seen.sockets) > 1
    assert [turn.status for turn in seen.turns()] == ["completed"] * 2
    assert len(seen.heard) == len(seen.got("response.create")) == 2
    for turn in seen.turns():
        at = turn.latency
        assert at.endpoint_ms is not None
        assert at.first_frame_ms is not None
        assert at.transcript_ms is not None
        assert at.endpoint_ms < at.first_frame_ms < at.transcript_ms
        assert turn.heard_text == ANSWERS[0]  # a new session of the stand-in begins its script
        assert turn.usage
    assert {used.stage for used in seen.all(records.CallClosed)[0].usage} == {"hear", "session"}
    assert not seen.all(records.EngineTrouble)


def test_who_interrupts_is_answered_and_the_old_answer_is_heard_no_more() -> None:
    async def talk(one: Site) -> None:
        await one.phone.say(SPEECH)
        await one.speaking()
        await asyncio.sleep(0.8)
        await one.phone.say(SPEECH)
        await one.turn(2)

    seen = talked(TELL, talk)
    (cut,) = seen.all(records.Interrupted)
    assert cut.onset_to_flush_ms <= 100
    assert len(seen.got("response.cancel")) == 1
    (told,) = seen.got("conversation.item.truncate")
    assert told.body["audio_end_ms"] == cut.heard_ms == seen.turns()[0].heard_ms
    assert [turn.status for turn in seen.turns()] == ["interrupted", "completed"]
    (flushed,) = seen.phone.flushed
    second = [at for at, r in seen.records if isinstance(r, records.TurnBegan)][1]
    assert not [at for at, _ in seen.phone.came if flushed + 0.002 < at < second]


@pytest.mark.long
def test_a_mhm_over_the_bot_is_ignored_and_the_bot_goes_on() -> None:
    async def talk(one: Site) -> None:
        await one.phone.say(SPEECH)
        await one.speaking()
        await asyncio.sleep(0.8)
        await one.phone.say(SPEECH[: len(SPEECH) // 4])
        await one.turn()

    script = Script(hears=("Tell me a story.", "Mhm."), otherwise=STORY[:48])
    seen = talked(script, talk)
    (turn,) = seen.turns()
    assert (turn.status, turn.heard_ms) == ("completed", turn.said_ms)
    assert [one.why for one in seen.all(records.CarriedOn)] in (["backchannel"], ["noise"])
    if "Mhm." in seen.heard:
        assert seen.got("conversation.item.delete")
    assert len(seen.got("response.create")) == 1


def test_what_was_said_before_the_gate_closed_becomes_no_words() -> None:
    async def talk(one: Site) -> None:
        saying = asyncio.get_running_loop().create_task(one.phone.say(SPEECH))
        await asyncio.sleep(0.9)
        await one.phone.send(wire.RecordingChanged("call-1", "inactive"))
        await saying
        await asyncio.sleep(0.3)
        await one.phone.send(wire.RecordingChanged("call-1", "active"))
        await asyncio.sleep(1.0)
        assert one.heard == []
        assert not one.all(records.TurnBegan)
        await one.phone.say(SPEECH)
        await one.turn()

    seen = talked(TALK, talk)
    assert seen.heard == [ASKED[0]]


def test_a_tool_is_used_and_another_hangs_up_after_the_goodbye() -> None:
    async def talk(one: Site) -> None:
        await one.phone.say(SPEECH)
        await one.turn()
        await one.phone.say(SPEECH)
        await one.record(records.CallClosed)

    script = Script(
        hears=ASKED,
        answer=(
            Answer(to="time", tool="clock", say="It is {result}."),
            Answer(to="tomorrow", tool="end_call", say="Goodbye."),
        ),
    )
    clock = Tool(name="clock", description="Tells the time.", command=("echo", "noon"))
    seen = talked(script, talk, tools=(clock,))
    assert [turn.heard_text for turn in seen.turns()] == ["It is noon.", "Goodbye."]
    assert seen.all(records.CallClosed)[0].reason == "hangup-bot"


def test_a_notification_is_heard_to_its_end() -> None:
    async def talk(one: Site) -> None:
        board = one.up.switchboard
        assert board.expect("call-1", opening="Hello.", notify=True, ring_timeout_s=10)
        await one.phone.start("outbound")
        assert (await one.record(records.CallClosed)).reason == "hangup-bot"

    seen = talked(TALK, talk, dialect="csharp", start=False)
    assert seen.turns("greeting")[0].heard_text == "Hello."
    assert seen.turns() == []


@pytest.mark.load
def test_the_bots_own_voice_is_nobodys() -> None:
    """160 ms late and 12 dB softer, with real speech, over several answers."""
    story = "The train to the coast leaves at ten past nine, and it stops at every station."
    words = Settings(
        script=Script(hears=("Tell me about the train.",), otherwise=story),
        voice="offline",
        speak_speed=4,
    )

    async def talk() -> Site:
        settings = config(there, "realtime", "server", inbound=Inbound(greeting="Welcome to us!"))
        async with site(there, settings, echo=True) as one:
            await one.turn(1, "greeting")
            for count in (1, 2):
                await asyncio.sleep(0.8)
                await one.phone.say(SPEECH)
                await one.turn(count)
            return one

    with cloud(words) as there:
        seen = asyncio.run(talk())
    assert [turn.status for turn in seen.turns()] == ["completed"] * 2
    assert seen.all(records.Interrupted) == []
    assert len(seen.heard) == 2
