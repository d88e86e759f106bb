"""One step of a script, and one expectation: tables of TOML as structs, every mistake told.

Owns which keys a step has and which go together, and what a dialect cannot do. Reads the
sounds and pictures that are named. Refuses to know the file around the steps; what the keys
mean is in ``file``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from teamscall.emulator.picture import read_video
from teamscall.emulator.scenario import steps as script
from teamscall.emulator.scenario import values
from teamscall.emulator.scenario.values import near
from teamscall.errors import InputError
from teamscall.text import printable
from teamscall.wire.events import SAMPLE_RATE, Dialect, Emotion

# Ten minutes; what is longer is a mistake in the name of a file.
MAX_SOUND_S = 600

_STATUSES = ("active", "inactive", "unknown")
_SOURCES = ("camera", "screenshare")
Tell = Callable[[str, str], None]  # of which key, what is wrong


class Place(msgspec.Struct, frozen=True):
    """Where the script is, and for which dialect."""

    folder: Path
    dialect: Dialect | None  # None: not known because it is wrong itself
    voice: str = ""

    def path(self, value: object) -> Path:
        """Where this file is. Whether it can be read, its reader tells: but a pipe or a device
        might never end."""
        name = values.text(value)
        if "\0" in name:
            raise ValueError("is to be the name of a file")
        try:
            path = self.folder / Path(name).expanduser()
        except RuntimeError as error:
            raise ValueError(f"names the folder of nobody: {printable(name)}") from error
        if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
            raise ValueError(f"names what is no file: {printable(str(path))}")
        return path

    def standin(self, what: str) -> None:
        if self.dialect == "csharp":
            raise ValueError(f"cannot be done: the C# gateway dialect has no {what}")

    def csharp(self, what: str) -> None:
        if self.dialect == "standin":
            raise ValueError(f'cannot be done: StandIn has no {what}; use dialect = "csharp"')


# --- expectations ---------------------------------------------------------------------

# key: (field, check, what StandIn alone has)
_EXPECT: dict[str, tuple[str, Callable[[object], Any], str]] = {
    "said": ("said", values.phrases, ""),
    "not_said": ("not_said", values.phrases, ""),
    "heard": ("heard", values.phrases, ""),
    "not_heard": ("not_heard", values.phrases, ""),
    "latency_under_ms": ("latency_under_ms", values.milliseconds, ""),
    "flush_within_ms": ("flush_within_ms", values.milliseconds, ""),
    "silent_for": ("silent_for_s", values.some_time, ""),
    "spoke": ("spoke", values.truth, ""),
    "ended_by": ("ended_by", values.one_of(script.ENDED_BY), ""),
    "end_reason": ("end_reason", values.text, ""),
    "image": ("image", values.truth, "pictures"),
    "expression": ("expression", values.one_of(get_args(Emotion)), "expressions"),
    "max_gaps": ("max_gaps", values.count(1_000_000), ""),
    "within": ("within_s", values.some_time, ""),
}


def expectation(
    value: object, place: Place, tell: Tell, *, at_the_end: bool = False
) -> script.Expectation | None:
    """``at_the_end``: of the whole call, where nothing can be waited for."""
    if not isinstance(value, dict):
        tell("", 'is to be a table, as in { said = "three o\'clock" }')
        return None
    fields: dict[str, Any] = {}
    known = [key for key in _EXPECT if not (at_the_end and key in ("silent_for", "within"))]
    for key, given in value.items():
        if key in ("silent_for", "within") and at_the_end:
            tell(key, "is for an expect step: at the end there is nothing to wait for")
            continue
        if key not in _EXPECT:
            tell(printable(str(key), 60), f"is unknown; {near(key, known)}")
            continue
        field, check, standin = _EXPECT[key]
        try:
            if standin:
                place.standin(standin)
            fields[field] = check(given)
        except ValueError as error:
            tell(key, str(error))
    if not value.keys() - {"within"}:
        tell("", f"asks for nothing; there are {', '.join(known)}")
    return script.Expectation(**fields)


# --- steps ----------------------------------------------------------------------------


class _Step:
    """The table of one step, and what was wrong with it."""

    def __init__(self, table: Mapping[str, Any], place: Place, tell: Tell) -> None:
        self.table = table
        self.place = place
        self.tell = tell

    def within(self) -> float:
        return float(self.table.get("within", script.WITHIN_S))

    def say(self, value: object) -> script.Say:
        return script.Say(values.spoken(value), self.table.get("voice", self.place.voice))

    def play(self, value: object) -> script.PlaySound:
        return _sound(self.place, value)

    def wait(self, value: object) -> script.Wait:
        return script.Wait(values.some_time(value))

    def wait_for(self, value: object) -> script.Action:
        quiet = float(self.table.get("quiet", script.QUIET_S))
        if isinstance(value, str):
            if value in script.EVENTS:
                raise ValueError(f'is to be a table there: {{ event = "{value}" }}')
            sound = cast(script.Sound, values.one_of(script.SOUNDS)(value))
            return script.WaitForSound(sound, self.within(), quiet)
        if not isinstance(value, dict):
            raise ValueError(
                'is to be "speech", "silence" or "answer", { word = "time" } or { event = "flush" }'
            )
        keys = ("word", "event", "within")
        for key in value.keys() - set(keys):
            self.tell(f"wait_for.{printable(key, 60)}", f"is unknown; {near(key, keys)}")
        within = values.some_time(value["within"]) if "within" in value else self.within()
        if ("word" in value) == ("event" in value):
            raise ValueError("is to have either a word or an event")
        if "word" in value:
            return script.WaitForWord(values.spoken(value["word"]), within)
        event = cast(script.EventName, values.one_of(script.EVENTS)(value["event"]))
        if event in ("express", "image", "marks"):
            self.place.standin(f"event “{event}”")
        return script.WaitForEvent(event, within)

    def interrupt(self, value: object) -> script.Interrupt:
        keys = ("after_ms", "say", "play", "voice")
        if not isinstance(value, dict):
            raise ValueError('is to be a table, as in { after_ms = 600, say = "Stop" }')
        for key in value.keys() - set(keys):
            self.tell(f"interrupt.{printable(key, 60)}", f"is unknown; {near(key, keys)}")
        if ("say" in value) == ("play" in value):
            raise ValueError("is to have either say or play")
        after = values.number(0, 60_000, "milliseconds")(value.get("after_ms", 500)) / 1000
        speech: script.Say | script.PlaySound
        if "play" in value:
            speech = _sound(self.place, value["play"])
        else:
            by = voice(self.place, value["voice"]) if "voice" in value else self.place.voice
            speech = script.Say(values.spoken(value["say"]), by)
        return script.Interrupt(after, speech, self.within())

    def press(self, value: object) -> script.PressKeys:
        self.place.standin("digits")
        return script.PressKeys(values.digits(value))

    def ask_bot(self, value: object) -> script.AskBot:
        self.place.standin("assistant.say")
        return script.AskBot(values.spoken(value))

    def mute(self, value: object) -> script.MuteLine:
        return script.MuteLine(values.truth(value))

    def show(self, value: object) -> script.Show:
        self.place.standin("video")
        source = values.one_of(_SOURCES)(self.table.get("source", "camera"))
        path = self.place.path(value)
        try:
            video = read_video(path, source=cast(Any, source))
        except InputError as error:
            raise ValueError(f"names a picture that cannot be sent: {error}") from error
        return script.Show(printable(str(value)), video)

    def recording(self, value: object) -> script.ReportRecording:
        self.place.standin("recording status")
        return script.ReportRecording(cast(Any, values.one_of(_STATUSES)(value)))

    def participants(self, value: object) -> script.ReportParticipants:
        self.place.standin("participants")
        return script.ReportParticipants(values.count(10_000)(value))

    def drop(self, value: object) -> script.Drop:
        self.place.csharp("resume: a call whose socket is gone is over")
        if isinstance(value, dict):
            for key in value.keys() - {"seconds"}:
                self.tell(f"drop.{printable(key, 60)}", f"is unknown; {near(key, ['seconds'])}")
            value = value.get("seconds", 2)
        seconds = values.some_time(value)
        return script.Drop(seconds)

    def hang_up(self, value: object) -> script.HangUpStep:
        values.only_true(value)
        return script.HangUpStep()

    def expect(self, value: object) -> script.Action:
        before = self.table.get("within")
        found = expectation(
            value,
            self.place,
            lambda key, why: self.tell(f"expect.{key}" if key else "expect", why),
        )
        if found is None:
            return script.Expectation()
        if before is not None and "within" not in cast(dict[str, Any], value):
            found = msgspec.structs.replace(found, within_s=self.within())
        return found


def _sound(place: Place, value: object) -> script.PlaySound:
    from teamscall.audio.wav import read_wav

    path = place.path(value)
    try:
        pcm = read_wav(path)
    except InputError as error:
        raise ValueError(f"names a sound that cannot be played: {error}") from error
    if not pcm:
        raise ValueError("names a sound that is empty")
    if len(pcm) > MAX_SOUND_S * SAMPLE_RATE * 2:
        raise ValueError(f"names a sound that is longer than {MAX_SOUND_S} s")
    return script.PlaySound(printable(str(value)), pcm)


def voice(place: Place, value: object) -> str:
    """A model file, as it is found from anywhere."""
    path = place.path(value)
    if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
        raise ValueError(f"names a voice that is not there: {printable(str(path))}")
    return str(path)


# What a step does, and what may stand beside it.
_KINDS: dict[str, tuple[Callable[[_Step, object], script.Action], tuple[str, ...]]] = {
    "say": (_Step.say, ("voice",)),
    "play": (_Step.play, ()),
    "wait": (_Step.wait, ()),
    "wait_for": (_Step.wait_for, ("within", "quiet")),
    "interrupt": (_Step.interrupt, ("within",)),
    "press": (_Step.press, ()),
    "ask_bot_to_say": (_Step.ask_bot, ()),
    "mute": (_Step.mute, ()),
    "show": (_Step.show, ("source",)),
    "recording": (_Step.recording, ()),
    "participants": (_Step.participants, ()),
    "drop": (_Step.drop, ()),
    "hang_up": (_Step.hang_up, ()),
    "expect": (_Step.expect, ("within",)),
}
KINDS = tuple(_KINDS)
_BESIDE: dict[str, Callable[[Place, object], Any]] = {
    "within": lambda _, value: values.some_time(value),
    "quiet": lambda _, value: values.some_time(value),
    "voice": voice,
    "source": lambda _, value: values.one_of(_SOURCES)(value),
    "note": lambda _, value: values.short(value),
}


def step(number: int, line: int, table: object, place: Place, tell: Tell) -> script.Step | None:
    """One table of ``[[step]]``; None when it is wrong, and ``tell`` was told why."""
    if not isinstance(table, dict):
        tell("", "is to be a table, as in [[step]]")
        return None
    kinds = [key for key in table if key in _KINDS]
    beside = {key for kind in kinds for key in _KINDS[kind][1]} | {"note"}
    wrong = False

    def told(key: str, why: str) -> None:
        nonlocal wrong
        wrong = True
        tell(key, why)

    good: dict[str, Any] = {}
    for key, value in table.items():
        if key in _KINDS:
            continue
        if key not in beside:
            name = printable(str(key), 60)
            if key in _BESIDE and kinds:
                told(name, f"does not go with {kinds[0]}")
            else:
                known = (*KINDS, *sorted(_BESIDE))
                told(name, f"is unknown; {near(key, known)}")
            continue
        try:
            good[key] = _BESIDE[key](place, value)
        except ValueError as error:
            told(key, str(error))
    if len(kinds) != 1:
        if kinds or not wrong:  # an unknown key has been told, and is the reason
            both = (
                f"does {' and '.join(kinds)} at once; each is a step"
                if kinds
                else (f"does nothing; a step is one of {', '.join(KINDS)}")
            )
            told("", both)
        return None
    kind = kinds[0]
    try:
        action = _KINDS[kind][0](_Step(good | {kind: table[kind]}, place, told), table[kind])
    except ValueError as error:
        told(kind, str(error))
        return None
    if wrong:
        return None
    return script.Step(number, _shown(kind, table[kind]), action, line, good.get("note", ""))


def _shown(kind: str, value: object) -> str:
    """The step on one line, as a script says it."""

    def one(value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            return f"“{printable(value, 60)}”"
        if isinstance(value, list):
            return ", ".join(one(v) for v in value)
        return printable(str(value), 60)

    if isinstance(value, dict):
        return f"{kind} " + ", ".join(f"{printable(str(k))} {one(v)}" for k, v in value.items())
    if kind == "wait_for" or kind in ("recording", "press"):
        return f"{kind} {printable(str(value), 60)}"
    return kind if value is True and kind == "hang_up" else f"{kind} {one(value)}"
