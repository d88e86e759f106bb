"""Reading a script: what it may say, and how its mistakes are told."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenario_rig import script_of

from teamscall.audio.wav import write_wav
from teamscall.emulator.impairments import Impairment
from teamscall.emulator.scenario import file, reading, values
from teamscall.emulator.scenario import steps as script
from teamscall.errors import InputError

PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 4, 3) + b"rest"


def actions(folder: Path, *steps: str, call: str = "") -> list[script.Action]:
    text = call + "".join(f"[[step]]\n{step}\n" for step in steps)
    return [step.action for step in script_of(folder, text).steps]


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(InputError) as told:
        script_of(folder, text)
    return [line.strip() for line in told.value.message.splitlines()[1:]]


def test_every_step_becomes_what_it_says(tmp_path: Path) -> None:
    write_wav(tmp_path / "a.wav", b"\x01\x02" * 400)
    (tmp_path / "a.png").write_bytes(PNG)
    found = actions(
        tmp_path,
        'say = "Hello there"',
        'play = "a.wav"',
        'wait = "600 ms"',
        'wait_for = "answer"\nwithin = 3\nquiet = "2 s"',
        'wait_for = { word = "time", within = 10 }',
        'wait_for = { event = "flush" }\nwithin = 4',
        'interrupt = { after_ms = 600, say = "Stop" }',
        'press = "12#"',
        'ask_bot_to_say = "Goodbye"',
        "mute = true",
        'show = "a.png"\nsource = "screenshare"',
        'recording = "inactive"',
        "participants = 3",
        'expect = { said = "a b", latency_under_ms = 900, within = 2 }',
        "hang_up = true",
    )
    assert found[0] == script.Say("Hello there")
    assert found[1] == script.PlaySound("a.wav", b"\x01\x02" * 400)
    assert found[2] == script.Wait(0.6)
    assert found[3] == script.WaitForSound("answer", 3.0, 2.0)
    assert found[4] == script.WaitForWord("time", 10.0)
    assert found[5] == script.WaitForEvent("flush", 4.0)
    assert found[6] == script.Interrupt(0.6, script.Say("Stop"))
    assert found[7:10] == [
        script.PressKeys("12#"),
        script.AskBot("Goodbye"),
        script.MuteLine(True),
    ]
    shown = found[10]
    assert isinstance(shown, script.Show)
    assert (shown.video.source, shown.video.width) == ("screenshare", 4)
    assert found[11:13] == [script.ReportRecording("inactive"), script.ReportParticipants(3)]
    assert found[13] == script.Expectation(said=("a b",), latency_under_ms=900.0, within_s=2.0)
    assert found[14] == script.HangUpStep()
    drop = actions(tmp_path, "drop = { seconds = 2 }", call='[call]\ndialect = "csharp"\n')
    assert drop == [script.Drop(2.0)]


def test_every_mistake_is_told_at_once_with_its_line_and_step(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        'descripton = "x"\n'
        "[call]\n"
        'recordng = "active"\n'
        "[[step]]\n"
        'sya = "What"\n'
        "[[step]]\n"
        'press = "1x"\n'
        "[[step]]\n"
        'say = "a"\nplay = "b.wav"\n'
        "[[step]]\n"
        'play = "missing.wav"\n'
        "[[step]]\n"
        'interrupt = { after_ms = 5, sayy = "x" }\n'
        "[[step]]\n"
        'wait_for = { event = "flush", word = "x" }\n'
        "[[step]]\n"
        'expect = { saidd = "x" }\n'
        "[[step]]\n"
        "hang_up = true\n"
        "[[step]]\n"
        'say = "too late"\n'
        "[expect]\n"
        "silent_for = 3\n"
        "[impairments]\n"
        "los_percent = 3\n"
        "from_bridge.loss_percent = 200\n"
        "[thresholds]\n"
        "response_p95 = 3\n",
    )
    assert told == [
        "line 1: descripton is unknown; did you mean description?",
        "line 3, [call]: recordng is unknown; did you mean recording?",
        "line 5, step 1: sya is unknown; did you mean say?",
        'line 7, step 2: press is to be keys of a dial pad, as in "12#"',
        "line 8, step 3: does say and play at once; each is a step",
        "line 12, step 4: play names a sound that cannot be played: "
        f"{tmp_path}/missing.wav: No such file or directory.",
        "line 14, step 5: interrupt.sayy is unknown; did you mean say?",
        "line 14, step 5: interrupt is to have either say or play",
        "line 16, step 6: wait_for is to have either a word or an event",
        "line 18, step 7: expect.saidd is unknown; did you mean said?",
        "line 21, step 9: comes after hang_up: the call is over; only expect may follow",
        "line 24, [expect]: silent_for is for an expect step: at the end there is nothing to "
        "wait for",
        "line 26, [impairments]: los_percent is unknown; did you mean loss_percent?",
        "line 27, [impairments]: from_bridge.loss_percent is to be from 0 to 100 percent",
        "line 29, [thresholds]: response_p95 is unknown; did you mean response_p95_ms?",
    ]


@pytest.mark.parametrize(
    ("dialect", "step", "why"),
    [
        ("csharp", 'press = "1"', "the C# gateway dialect has no digits"),
        ("csharp", 'recording = "active"', "the C# gateway dialect has no recording status"),
        ("csharp", "expect = { image = true }", "the C# gateway dialect has no pictures"),
        ("csharp", 'wait_for = { event = "image" }', "the C# gateway dialect has no event"),
        ("standin", "drop = 2", "StandIn has no resume"),
    ],
)
def test_what_a_dialect_cannot_do_is_refused_before_the_call(
    tmp_path: Path, dialect: str, step: str, why: str
) -> None:
    assert why in "\n".join(mistakes(tmp_path, f'[call]\ndialect="{dialect}"\n[[step]]\n{step}'))


def test_the_dialect_of_the_command_line_wins(tmp_path: Path) -> None:
    text = "[[step]]\ndrop = 1\n"
    assert script_of(tmp_path, text, dialect="csharp").dialect == "csharp"
    assert mistakes(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("step = 3", "step is a table for each step"),
        ("", "there is no step"),
        ("[[step]]\n", "does nothing; a step is one of say"),
        ('[[step]]\nsay = "x"\nwithin = 3', "within does not go with say"),
        ('[[step]]\nwait = "soon"', 'as in "600 ms" or "2 min"'),
        ('[[step]]\nwait_for = "flush"', 'is to be a table there: { event = "flush" }'),
        ('[[step]]\nwait_for = "answr"', "did you mean answer?"),
        ("[[step]]\nexpect = {}", "asks for nothing"),
        ('[[step]]\nsay = "..."', "has no word in it"),
        ("limit = 0\n[[step]]\nwait = 1", "limit is to be longer than nothing"),
        ('[call]\ndialect = "csharp"\nparticipants = 2\n[[step]]\nwait = 1', "is of StandIn"),
    ],
)
def test_a_mistake_says_what_is_right(tmp_path: Path, text: str, why: str) -> None:
    assert why in "\n".join(mistakes(tmp_path, text))


HUGE = "9" * 400


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"[[step]]\nwait = {HUGE}", "wait is to be from 0 to 3,600 seconds"),
        ("[[step]]\nwait = -1", "wait is to be from 0 to 3,600 seconds"),
        ("[[step]]\nwait = nan", "wait is to be from 0 to 3,600 seconds"),
        (f"limit = {HUGE}\n[[step]]\nwait = 1", "limit is to be from 0 to 3,600 seconds"),
        (f"[[step]]\nwait = 1\n[impairments]\njitter_ms = {HUGE}", "jitter_ms is to be from 0"),
        ('[[step]]\nplay = "/dev/zero"', "play names what is no file: /dev/zero"),
        ('[[step]]\nshow = "/dev/zero"', "show names what is no file: /dev/zero"),
        ('[[step]]\nplay = "~no-such-user/a.wav"', "play names the folder of nobody"),
        ('[[step]]\nplay = "a\\u0000b"', "play is to be the name of a file"),
        (f'[[step]]\nplay = "{"a" * 300}"', "File name too long"),
        (f'[[step]]\nsay = "x"\nvoice = "{"a" * 300}"', "voice names a voice that is not there"),
        ('[[step]]\ninterrupt = { say = "x", voice = "b" }', "names a voice that is not there"),
        (f'[call]\nvoice = "{"a" * 300}"\n[[step]]\nwait = 1', "[call]: voice names a voice"),
        ('[call]\nvoice = "~no-such-user/x"\n[[step]]\nwait = 1', "voice names the folder of"),
    ],
)
def test_a_value_that_breaks_its_reader_is_a_mistake(tmp_path: Path, text: str, why: str) -> None:
    (mistake,) = mistakes(tmp_path, text)
    assert why in mistake


def test_a_file_that_is_no_script_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for data in (b"\xff\xfe", b"[[step", b"x" * (file.MAX_FILE_BYTES + 1)):
        path.write_bytes(data)
        with pytest.raises(InputError):
            file.read_scenario(path)
    with pytest.raises(InputError, match="No such file"):
        file.read_scenario(tmp_path / "none.toml")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["say", "word", "event", "within", "seconds", "x"]), inner
        )
    ),
    max_leaves=4,
)
KEYS = st.sampled_from([*reading.KINDS, "within", "quiet", "source", "note", "voice", "x"])


@settings(max_examples=40)
@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_no_step_is_junk_enough_to_raise(table: dict[str, Any]) -> None:
    told: list[str] = []
    place = reading.Place(Path("/nowhere"), "standin")
    found = reading.step(1, 0, table, place, lambda key, why: told.append(f"{key} {why}"))
    assert (found is None) == bool(told)


TABLES = st.dictionaries(st.sampled_from([*file._TOP, "x"]), VALUES | st.lists(VALUES, max_size=3))


@settings(max_examples=40)
@given(TABLES)
def test_no_file_is_junk_enough_to_raise(table: dict[str, Any]) -> None:
    problems: list[str] = []
    file._Reader(Path("/nowhere"), "", problems, None).scenario("a", table)
    assert problems or table["step"]


@settings(max_examples=40)
@given(VALUES)
def test_no_table_of_impairments_is_junk_enough_to_raise(value: Any) -> None:
    values.impairments(value, lambda key, why: None)


def test_impairments_of_one_way_beat_those_of_both(tmp_path: Path) -> None:
    found = script_of(
        tmp_path,
        "[[step]]\nwait = 1\n[impairments]\nseed = 7\nloss_percent = 2\nburst_ms = 300\n"
        "[impairments.from_bridge]\nloss_percent = 0\n",
    ).impairments
    assert found.to_bridge == Impairment(loss=0.02, burst_s=0.3, burst_every_s=5.0)
    assert found.from_bridge == Impairment(burst_s=0.3, burst_every_s=5.0)
    assert found.seed == 7


def test_the_manual_names_every_key() -> None:
    manual = file.__doc__ or ""
    keys = {*reading.KINDS, *reading._EXPECT, *reading._BESIDE, *file.CALL, *file._THRESHOLDS}
    keys |= {*values.ONE_WAY, *values.WHOLE, *file._TOP, *script.EVENTS, *script.SOUNDS}
    assert [key for key in sorted(keys) if key not in manual] == []


def test_the_shipped_examples_are_right() -> None:
    found = sorted((Path(__file__).parent / "examples").glob(f"*{file.SUFFIX}"))
    assert len(found) >= 5
    for path in found:
        assert file.read_scenario(path).description
