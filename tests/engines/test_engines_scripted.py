"""The script's format, its voice and its delays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engines_rig import run, talking

from teamscall.engines.base import (
    AnswerAudio,
    AnswerDone,
    BeginUtterance,
    CommitUtterance,
    PeekUtterance,
    PressDigit,
    Respond,
    Transcript,
)
from teamscall.engines.scripted import Script, ScriptedEngine, ScriptLine, load_script, tone_speech
from teamscall.errors import ConfigError, InputError


def test_reads_a_script_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "script.toml"
    path.write_text(
        'rate = 24000\nrepeat = false\n[digits]\n1 = "One."\n'
        '[[line]]\nheard = "hello"\nanswer = "Hi."\nthink_ms = 20\nfail = "speak-once"\n'
    )
    script = load_script(path)
    assert script.rate == 24_000
    assert script.digits == {"1": "One."}
    assert script.lines == (
        ScriptLine(heard="hello", answer="Hi.", think_ms=20, fail="speak-once"),
    )


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("line = [", "wrong"),
        ("[[line]]\nheard = 5\n", "heard"),
        ('[[line]]\nherd = "x"\n', "herd"),
        ('[[line]]\nfail = "maybe"\n', "maybe"),
        ("[[line]]\nthink_ms = -1\n", "think_ms"),
        ("rate = 5\n", "rate"),
        ("\udcff", "wrong"),
    ],
)
def test_nonsense_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "script.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigError, match=named):
        load_script(path)


def test_a_script_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        ScriptedEngine(tmp_path / "none.toml")


def test_the_voice_is_audible_deterministic_and_of_known_length() -> None:
    pcm = tone_speech("three little words", rate=16_000, word_ms=200, pause_ms=100)
    assert pcm == tone_speech("three little words", rate=16_000, word_ms=200, pause_ms=100)
    assert len(pcm) == 3 * 300 * 32
    samples = np.frombuffer(pcm, "<i2").astype(float)
    assert 2_000 < np.sqrt(np.mean(samples**2)) < 12_000
    assert np.abs(np.diff(samples)).max() < 3_000  # no click at any join
    assert samples[0] == 0
    assert samples[-1] == 0


def test_delays_go_through_the_clock_that_was_given() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    line = ScriptLine(heard="x", answer="Yes.", hear_ms=7_000, think_ms=5_000, speak_ms=3_000)
    engine = ScriptedEngine(Script(lines=(line,), speed=20, chunk_bytes=6_400), sleep=sleep)

    async def check() -> None:
        async with talking(engine) as talk:
            talk.submit(CommitUtterance(1))
            await talk.first(Transcript)
            talk.submit(Respond(1, "x"))
            await talk.done(1)

    run(check)
    # 300 ms of speech: a chunk of 200 ms and one of 100 ms, at 20 times real time.
    assert slept == pytest.approx([7.0, 5.0, 3.0, 0.01, 0.005])


def test_follows_its_lines_once_when_it_does_not_repeat() -> None:
    script = Script(lines=(ScriptLine(heard="one", answer="1."),), repeat=False)

    async def check() -> None:
        async with talking(ScriptedEngine(script)) as talk:
            for n in (1, 2):
                talk.submit(BeginUtterance(n), CommitUtterance(n), Respond(n, "x"))
                await talk.done(n)
            assert [e.text for e in talk.all(Transcript)] == ["one", ""]
            assert talk.text(1) == "1."
            assert talk.text(2) == ""

    run(check)


@pytest.mark.parametrize("settles", [False, True])
def test_a_pause_is_told_what_was_heard_where_the_script_says_so(settles: bool) -> None:
    script = Script(lines=(ScriptLine(heard="one", settles=settles),))

    async def check() -> None:
        async with talking(ScriptedEngine(script)) as talk:
            talk.submit(BeginUtterance(1), PeekUtterance(1), CommitUtterance(1))
            await talk.until(lambda: any(one.final for one in talk.all(Transcript)))
            settled = Transcript(1, "one", final=False, settled=True)
            final = Transcript(1, "one", final=True)
            assert talk.all(Transcript) == ([settled, final] if settles else [final])

    run(check)


def test_odd_chunks_carry_every_byte() -> None:
    script = Script(lines=(ScriptLine(answer="Hello to you."),), chunk_bytes=333)

    async def check() -> None:
        async with talking(ScriptedEngine(script)) as talk:
            talk.submit(Respond(1, "x"))
            await talk.done(1)
            assert {len(e.pcm) for e in talk.all(AnswerAudio)} >= {333}
            whole = tone_speech("Hello to you.", rate=16_000, word_ms=200, pause_ms=100)
            assert talk.pcm(1) == whole

    run(check)


def test_a_key_has_its_own_answer_and_the_end_of_call_is_told() -> None:
    script = Script(lines=(ScriptLine(answer="Bye.", end_call=True),), digits={"5": "Five."})

    async def check() -> None:
        async with talking(ScriptedEngine(script)) as talk:
            talk.submit(PressDigit(1, "5"), PressDigit(2, "6"), Respond(3, "x"))
            await talk.done(3)
            assert talk.text(1) == "Five."
            assert talk.text(2) == ""
            assert [e.end_call for e in talk.all(AnswerDone)] == [False, False, True]

    run(check)
