"""Which engine a call gets, and when one that was replaced is no longer used."""

from __future__ import annotations

import asyncio

from teamscall.calls.voices import Voices
from teamscall.engines.scripted import ScriptedEngine


def test_an_engine_that_was_replaced_is_over_with_its_last_call() -> None:
    async def test() -> None:
        old, new = ScriptedEngine(), ScriptedEngine()
        voices = Voices(old)
        assert [voices.take(), voices.take()] == [old, old]
        voices.current = new
        assert voices.take() is new
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(voices.over(old))
            again = group.create_task(voices.over(old))
            await asyncio.sleep(0)
            voices.give_back(old)
            voices.give_back(new)
            await asyncio.sleep(0)
            assert not waiting.done()
            voices.give_back(old)
        assert again.done()

    asyncio.run(test())


def test_an_engine_that_no_call_uses_is_over_at_once() -> None:
    async def test() -> None:
        voices = Voices(ScriptedEngine())
        await voices.over(voices.current)
        voices.give_back(voices.take())
        await voices.over(voices.current)

    asyncio.run(test())
