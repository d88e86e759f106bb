"""Live mode in whole calls: a phone, a bridge and the stand-in on real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from engines_openai_rig import cloud
from openai_call_rig import SPEECH, Site, config, site

from teamscall.calls import records
from teamscall.testing import Answer, Script, Settings
from teamscall.wire import events as wire

STORY = "one two three four five six seven eight nine ten " * 5
TELL = Script(
    hears=("Tell me a story.", "Enough."),
    answer=(Answer(to="story", say=STORY),),
    otherwise="As you like.",
)
NOISE = SPEECH[12_800 : 12_800 + 2 * 640]


def talked(script: Script, what: Callable[[Site], Awaitable[None]]) -> Site:
    """One call in which ``what`` happens; all that is known of it."""

    async def call() -> Site:
        async with site(there, config(there, "live")) as one:
            await what(one)
        return one

    with cloud(Settings(script=script, speak_speed=4)) as there:
        seen = asyncio.run(call())
        assert not seen.sent_us("error")
        return seen


def test_who_interrupts_is_answered_and_the_old_answer_is_heard_no_more() -> None:
    async def talk(one: Site) -> None:
        await one.phone.say(SPEECH)
        await one.speaking()
        await asyncio.sleep(0.8)
        await one.phone.say(SPEECH)
        await one.turn(2)

    seen = talked(TELL, talk)
    assert seen.heard == ["Tell me a story.", "Enough."]
    first, second = seen.turns()
    assert (first.status, second.status) == ("interrupted", "completed")
    assert second.heard_text == "As you like."
    (flushed,) = seen.phone.flushed
    begun = [at for at, r in seen.records if isinstance(r, records.TurnBegan)][1]
    assert not [at for at, _ in seen.phone.came if flushed + 0.002 < at < begun]
    notes = [note.body["content"] for note in seen.got("session.thinking.append")]
    assert len(notes) == 1
    assert first.heard_text in notes[0]
    # Counted from the caller's last word, though nobody told us when the pause was over.
    assert second.latency.first_frame_ms is not None
    assert second.latency.first_frame_ms > 300


@pytest.mark.long
@pytest.mark.long
def test_a_noise_costs_nothing_of_what_it_says() -> None:
    async def talk(one: Site) -> None:
        await one.phone.say(SPEECH)
        await one.speaking()
        await asyncio.sleep(0.8)
        await one.phone.say(NOISE)
        await one.turn()

    seen = talked(Script(hears=("Tell me a story.",), otherwise=STORY[:48]), talk)
    (turn,) = seen.turns()
    assert (turn.status, turn.heard_text) == ("completed", STORY[:48].strip())
    assert not seen.got("session.thinking.append")


def test_what_was_said_before_the_gate_closed_becomes_no_words() -> None:
    async def talk(one: Site) -> None:
        saying = asyncio.get_running_loop().create_task(one.phone.say(SPEECH))
        await asyncio.sleep(0.7)
        await one.phone.send(wire.RecordingChanged("call-1", "inactive"))
        await saying
        await one.phone.send(wire.RecordingChanged("call-1", "active"))
        await asyncio.sleep(1.0)
        assert one.heard == []
        assert not one.all(records.TurnBegan)
        await one.phone.say(SPEECH)
        await one.turn()

    seen = talked(Script(hears=("Now then.",), otherwise="Yes."), talk)
    assert seen.heard == ["Now then."]
    assert len(seen.sockets) == 2
