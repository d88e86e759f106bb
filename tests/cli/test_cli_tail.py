"""What `tail` says of each event, in a pipe and on a terminal."""

from __future__ import annotations

import asyncio
import io
import json
import re
import unicodedata
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from teamscall.calls import records
from teamscall.cli.tail_events import DEFAULT, GROUPS, LEVELS, Selection, names, split
from teamscall.cli.tail_lines import Labels, duration, heard_and_cut, legible, line_of
from teamscall.cli.tail_live import LiveView
from teamscall.cli.tail_since import Since, since
from teamscall.cli.tail_view import JsonView, PlainView, View, json_line, moment
from teamscall.control.stream import NAMES, _Told
from teamscall.control.told import KINDS, record_of
from teamscall.errors import InputError, OutputLost
from teamscall.wire.events import Caller

Event = dict[str, Any]
AT = 1_780_000_000_000
ANN = Caller(user_id="u-ann", display_name="Ann Example")
QUICK = records.TurnLatency(first_frame_ms=1234.0)
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "one\rtwo\r\nthree\x00",
    "\u202eright to left\u202c",
    "zero\u200bwidth\u200d\ufeff",
    "\x9b31mC1",
    "e" + "\u0301" * 5000,
    "x" * 100_000,
    "wide 漢字 " * 60,
    "[red]markup[/red] [/]",
    "\ud800 lone",
    "\U000e0041 tag \ue000 private \u2028 line",
)


def told(record: records.CallRecord) -> Event:
    """The event as a bridge sends it."""
    event: Event = json.loads(_Told(1, record).json)
    return event


def raw(record: records.CallRecord) -> Event:
    """The event as a bridge would send it that makes no text harmless."""
    fields = msgspec.to_builtins(record)
    fields.pop("type")

    def camel(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                re.sub("_(.)", lambda found: found[1].upper(), name): camel(inner)
                for name, inner in value.items()
            }
        return [camel(inner) for inner in value] if isinstance(value, list) else value

    return {"event": NAMES[type(record)], **camel(fields)}


def ended(status: records.TurnStatus, said: str, heard: str = "", **more: Any) -> Event:
    given: dict[str, Any] = {"said_ms": 3000, "heard_ms": 1200, "latency": QUICK} | more
    return told(records.TurnEnded("call-1", AT, 1, "answer", status, said, heard, **given))


def heard(text: str, call_id: str = "call-1", *, final: bool = True) -> Event:
    return told(records.Heard(call_id, AT, 1, text, final))


def said(text: str, call_id: str = "call-1", turn: int = 1) -> Event:
    return told(records.Said(call_id, AT, turn, text))


COUNTERS = records.CallCounters(turns=4, interruptions=1)
SAMPLES: tuple[tuple[records.CallRecord, str], ...] = (
    (
        records.Decided("c", AT, "csharp", False, "allowlist", "Not listed", ANN, "auth_request"),
        "call refused “Ann Example” (allowlist: Not listed)",
    ),
    (
        records.Decided("c", AT, "csharp", True, "open", "", ANN, "auth_request"),
        "call let in (open)",
    ),
    (
        records.CallOpened("c", AT, "csharp", "inbound", ANN, "10.0.0.1", "echo"),
        "call inbound from “Ann Example” through C# gateway, answered by echo",
    ),
    (
        records.CallOpened("c", AT, "standin", "outbound", Caller(phone_number="+4930")),
        "call outbound to +4930 through StandIn",
    ),
    (records.CallAnswered("c", AT), "call answered"),
    (records.GateChanged("c", AT, True, "active"), "call listening (recording active)"),
    (records.GateChanged("c", AT, False, None), "call not listening (recording not told)"),
    (records.RecordingSeen("c", AT, "unknown", 0), "call recording unknown"),
    (records.Heard("c", AT, 1, "What time is it?", True), "caller What time is it?"),
    (records.TurnBegan("c", AT, 1, "answer"), "bot (answer)"),
    (records.Said("c", AT, 1, " three"), "bot three"),
    (
        records.Interrupted("c", AT, 1, "caller", 1200, 80.4, "words"),
        "call interrupted by the caller (words) after 1.2 s, silent 80 ms later",
    ),
    (
        records.Interrupted("c", AT, 1, "gate", 200, 0.0),
        "call interrupted by the recording gate after 200 ms, silent 0 ms later",
    ),
    (
        records.CarriedOn("c", AT, 1, "backchannel", 420.0),
        "call carried on after 420 ms: it was a backchannel",
    ),
    (records.Pressed("c", AT, "5"), "caller pressed 5"),
    (records.ParticipantsSeen("c", AT, 3), "call 3 people in the call"),
    (
        records.EngineTrouble("c", AT, "think", "no answer", False),
        "engine think: no answer",
    ),
    (
        records.EngineTrouble("c", AT, "think", "401", True),
        "engine think: 401, and that ends it",
    ),
    (
        records.OutboundProgress("", AT, "out-1", "waiting", "user:u-1", "notify"),
        "call calling user:u-1: waiting for a gateway",
    ),
    (
        records.OutboundProgress(
            "c", AT, "out-1", "ended", "user:u-1", "notify", "csharp", "no-answer", "rang for 30 s"
        ),
        "call calling user:u-1: no-answer (rang for 30 s)",
    ),
    (
        records.OutboundProgress(
            "c", AT, "out-1", "ended", "user:u-1", "notify", "csharp", "answered"
        ),
        "call calling user:u-1: call over",
    ),
    (records.Audited("c", AT, "speak", "socket", "ok", "12"), "call speak by socket: ok (12)"),
    (records.AudioLevels("c", AT, -23.4, -120.0), "call caller -23 dBFS, bot silent"),
    (records.AudioLevels("c", AT, None, -3.0), "call caller not listened to, bot -3 dBFS"),
    (
        records.CallClosed("c", AT, "hangup-caller", "caller", 98_000, COUNTERS),
        "call ended by the caller: hangup-caller, after 1:38, 4 turns, 1 interruption",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("record", "words"), SAMPLES, ids=lambda one: type(one).__name__)
def test_every_record_has_its_words(record: records.CallRecord, words: str) -> None:
    assert record_of(told(record)) == record
    line = line_of(told(record))
    assert line is not None
    assert f"{line.who} {line.text}" == words


def test_no_kind_of_record_is_without_words() -> None:
    shown = {type(record) for record, _ in SAMPLES} | {records.TurnEnded}
    assert shown == set(KINDS.values())


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (ended("completed", "It is three."), "It is three."),
        (ended("completed", ""), "(3.0 s of sound)"),
        (ended("interrupted", "It is three o'clock.", "It is"), "It is [cut: three o'clock.]"),
        (ended("interrupted", "It is three.", ""), "[cut: It is three.]"),
        (ended("interrupted", "It is three.", "It is three."), "It is three. [cut after 1.2 s]"),
        # Numbers are spoken otherwise than they are written: words are counted then.
        (ended("interrupted", "It is 3 o'clock", "It is three"), "It is three [cut: o'clock]"),
        (ended("interrupted", "", ""), "[cut after 1.2 s]"),
        (ended("cancelled", "", "", heard_ms=0), "[dropped before a word]"),
        (ended("failed", "It is three", "It is"), "It is [cut: three] [failed]"),
    ],
)  # fmt: skip
def test_what_was_not_heard_is_marked_as_cut(event: Event, text: str) -> None:
    line = line_of(event)
    assert line is not None
    assert line.text == text
    assert line.latency_ms == 1234.0


def test_what_is_cut_is_what_was_said_without_what_was_heard() -> None:
    assert heard_and_cut("三時です今", "三時です") == ("三時です", "今")
    assert heard_and_cut("a b c", "") == ("", "a b c")
    assert heard_and_cut("a b", "a b c d") == ("a b c d", "")


def test_gaps_and_what_a_newer_bridge_says_are_shown() -> None:
    def text(event: Event) -> str:
        line = line_of(event)
        assert line is not None
        return line.text

    assert text({"event": "gap", "missed": 1, "why": "slow"}) == "[gap: 1 event missing here]"
    assert (
        text({"event": "gap", "missed": 0, "why": "restarted"}) == "[gap: the bridge was restarted]"
    )
    assert text({"event": "gap"}) == "[gap: events may be missing here]"
    assert text({"event": "hologram-\x1bseen", "callId": "c", "wallMs": AT}) == "hologram- seen"
    assert text(heard("hi") | {"final": "perhaps"}) == "heard"
    assert text({}) == "?"


@pytest.mark.parametrize(
    ("ms", "words"),
    [(0, "0 ms"), (850, "850 ms"), (1234, "1.2 s"), (98_000, "1:38"), (3_725_000, "1:02:05")],
)
def test_durations(ms: float, words: str) -> None:
    assert duration(ms) == words


# --- which events -------------------------------------------------------------------------


def test_the_groups_name_events_that_there_are() -> None:
    for group in GROUPS.values():
        assert {name.partition(":")[0] for name in group} <= KINDS.keys()
    assert set(DEFAULT) <= set(names())


@pytest.mark.parametrize(
    ("words", "event", "wanted"),
    [
        ("", heard("a"), True),
        ("", heard("a", final=False), False),
        ("", said("a"), False),
        ("", told(records.AudioLevels("c", 0, 0.0, 0.0)), False),
        ("turns,partials", heard("a", final=False), True),
        ("partials", heard("a"), False),
        ("heard", heard("a", final=False), True),
        ("all", told(records.Audited("c", 0, "a", "b", "ok")), True),
        ("all", told(records.AudioLevels("c", 0, 0.0, 0.0)), False),
        ("audio-levels", told(records.AudioLevels("c", 0, 0.0, 0.0)), True),
        ("errors", {"event": "gap"}, True),
        ("errors", heard("a"), False),
    ],
)
def test_what_a_selection_takes(words: str, event: Event, wanted: bool) -> None:
    assert (event in Selection(split(words))) is wanted


def test_an_unknown_event_is_told_with_the_list() -> None:
    with pytest.raises(InputError) as caught:
        Selection(split("turns,tunrs"))
    assert "'tunrs'" in caught.value.message
    assert "audio-levels" in caught.value.hint


def test_levels_are_subscribed_to_only_when_they_are_wanted() -> None:
    assert LEVELS not in Selection(split("all")).subscription
    assert LEVELS in Selection(split("turns,audio-levels")).subscription


# --- since when -------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("10m", Since(ms=600_000)),
        ("2h", Since(ms=7_200_000)),
        ("20", Since(last=20)),
        ("0", Since(last=0)),
        ("2026-03-01T11:00:00+00:00", Since(ms=3_600_000)),
        ("2026-03-02T11:00:00+00:00", Since(ms=1)),
    ],
)
def test_since(text: str, meant: Since) -> None:
    assert since(text, NOON) == meant


def test_a_time_of_day_is_the_latest_that_was() -> None:
    now = NOON.astimezone().replace(hour=12, minute=30)
    assert since("12:00", now) == Since(ms=1_800_000)
    assert since("13:00", now) == Since(ms=round(23.5 * 3_600_000))


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "-5", "10x", "1e9", "\x1b[2J"])
def test_since_what_nobody_knows(text: str) -> None:
    with pytest.raises(InputError) as caught:
        since(text, NOON)
    assert "\x1b" not in str(caught.value)


# --- labels -------------------------------------------------------------------------


def test_a_label_is_as_long_as_it_takes() -> None:
    labels = Labels()
    assert labels("a1b2c3d4-e5f6") == "a1b2c3d4"
    assert labels("standin-call-1") == "standin-"
    assert labels("standin-call-2") == "standin-call-2"
    assert labels("standin-call-1") == "standin-call-1"
    assert labels("short") == "short"
    assert labels("") == ""
    assert labels("a" * 200 + "1") != labels("a" * 200 + "2")
    assert labels.width <= Labels.LONG


def test_labels_forget() -> None:
    labels = Labels()
    for number in range(3 * Labels.REMEMBERED):
        labels(f"{number:08}-rest")
    assert len(labels._labels) == Labels.REMEMBERED


# --- in a pipe -------------------------------------------------------------------------


def piped(view: View, events: Iterable[Event], capsys: pytest.CaptureFixture[str]) -> str:
    with view:
        for event in events:
            view.event(event)
    return capsys.readouterr().out


def test_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        heard("Wha", final=False),
        heard("What time?"),
        said("It"),
        ended("interrupted", "It is three o'clock.", "It is"),
    ]
    at = f"{moment(AT):%Y-%m-%d %H:%M:%S}"
    assert piped(PlainView(Selection([])), events, capsys) == (
        f"{at}  call-1    caller  What time?\n"
        f"{at}  call-1    bot     It is [cut: three o'clock.]  (1.2 s)\n"
    )
    wanted = Selection(["turns", "partials"])
    assert piped(PlainView(wanted, one_call=True), events, capsys) == (
        f"{at}  caller… Wha\n"
        f"{at}  caller  What time?\n"
        f"{at}  bot…    It\n"
        f"{at}  bot     It is [cut: three o'clock.]  (1.2 s)\n"
    )


def test_json_lines_are_the_events(capsys: pytest.CaptureFixture[str]) -> None:
    events = [heard("Wie spät?\u009b\x7f \u202e"), said("a"), {"event": "gap", "missed": 3}]
    lines = piped(JsonView(Selection([])), events, capsys).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"version": 1, **event} for event in (events[0], events[2])
    ]
    assert "spät" in lines[0]


def test_every_text_survives_json() -> None:
    for text in HOSTILE:
        line = json_line({"event": "heard", "text": text})
        assert line.isprintable()
        assert json.loads(line)["text"] == text


# --- on a terminal -------------------------------------------------------------------------


def screen(width: int, *, colour: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=width, height=24, force_terminal=True, highlight=False,
        color_system="standard" if colour else None, legacy_windows=False, _environ={},
    )  # fmt: skip


def drawn(console: Console) -> str:
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def on_terminal(events: Iterable[Event], width: int, *, words: str = "", **more: Any) -> str:
    """What is left there, without the terminal's own codes."""
    console = screen(width)

    async def run() -> None:
        given: dict[str, Any] = {"goes_on": False} | more
        with LiveView(Selection(split(words)), console=console, **given) as view:
            for event in events:
                view.event(event)

    asyncio.run(run())
    return re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\r", "", drawn(console)).rstrip("\n")


LONG = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen."


def test_eighty_columns() -> None:
    events = [heard("What time is it?"), ended("interrupted", LONG, "One two three")]
    day, at = f"{moment(AT):%Y-%m-%d}", f"{moment(AT):%H:%M:%S}"
    assert on_terminal(events, 80).splitlines() == [
        day,
        f"{at}  call-1    caller  What time is it?",
        f"{at}  call-1    bot     One two three [cut: four five six seven        1.2 s",
        "                            eight nine ten eleven twelve thirteen",
        "                            fourteen fifteen.]",
    ]


def test_a_hundred_and_twenty_columns_of_one_call() -> None:
    lines = on_terminal([ended("completed", LONG)], 120, one_call=True).splitlines()
    at = f"{moment(AT):%H:%M:%S}"
    assert lines[1].startswith(f"{at}  bot     One two")
    assert lines[1].endswith("  1.2 s")
    assert len(lines[1]) == 120
    assert len(lines) == 2


@pytest.mark.parametrize("width", [20, 40, 80, 120, 300])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_lost(width: int) -> None:
    text = on_terminal([heard(LONG), ended("interrupted", LONG, "One two")], width)
    for line in text.splitlines():
        assert len(line) <= width
    joined = re.sub(r"\s+", "", text)
    assert joined.count(re.sub(r"\s+", "", LONG)) == 1
    assert "[cut:threefourfive" in joined


def test_a_hundred_thousand_letters_are_wrapped() -> None:
    text = on_terminal([heard("y" * 19_000)], 80)
    assert text.count("y") == 19_000
    assert max(len(line) for line in text.splitlines()) <= 80


def test_what_forms_is_shown_below_and_is_gone_when_it_is_final() -> None:
    console = screen(80)

    async def run() -> None:
        with LiveView(Selection([]), console=console) as view:
            view.event(heard("Wha", final=False))
            view.event(heard("What ti", final=False))
            view.event(told(records.TurnBegan("call-1", AT, 1, "answer")))
            view.event(said("It is"))
            view.event(said(" three"))
            view.draw()
            assert "What ti" in drawn(console)
            assert "It is three" in drawn(console)
            assert "Wha\n" not in drawn(console)
            view.event(heard("What time?"))
            view.event(ended("completed", "It is three."))
            assert view._now == {}

    asyncio.run(run())


def test_a_line_that_is_the_last_leaves_nothing_of_what_formed() -> None:
    console = screen(80)

    async def run() -> None:
        with LiveView(Selection([]), console=console) as view:
            view.event(heard("and anoth", final=False))
            view.draw()
            assert isinstance(console.file, io.StringIO)
            console.file.seek(0)
            console.file.truncate()
            view.event(told(records.CallClosed("call-1", AT, "x", "bot", 1, COUNTERS)))
            view.draw()
            assert "ended by" in drawn(console)
            assert "and anoth" not in drawn(console)

    asyncio.run(run())


def test_a_long_partial_shows_its_newest_words() -> None:
    console = screen(80)

    async def run() -> None:
        with LiveView(Selection([]), console=console) as view:
            view.event(heard(f"{LONG} and then some", final=False))
            view.draw()

    asyncio.run(run())
    assert "and then some" in drawn(console)
    assert "One two" not in drawn(console)


def test_meters_are_drawn_while_they_are_wanted() -> None:
    level = told(records.AudioLevels("call-1", AT, -30.0, -120.0))
    console = screen(100)

    async def run() -> None:
        with LiveView(Selection(["turns", LEVELS]), console=console) as view:
            view.event(level)
            view.draw()
            view.event(told(records.CallClosed("call-1", AT, "x", "bot", 1, COUNTERS)))
            assert view._now == {}

    asyncio.run(run())
    assert "caller ████████████············ -30 dB" in drawn(console)
    assert "bot ························  quiet" in drawn(console)


def test_a_crowd_leaves_room_for_the_lines() -> None:
    console = screen(80)

    async def run() -> None:
        with LiveView(Selection([]), console=console) as view:
            for number in range(100):
                view.event(heard("hm", f"{number:04}-call", final=False))
            view.draw()
            assert drawn(console).count("hm") == 12
            assert "and 88 more" in drawn(console)

    asyncio.run(run())


def test_lines_are_never_dropped_however_many_come_between_two_drawings() -> None:
    console = screen(80)

    async def run() -> None:
        with LiveView(Selection([]), console=console) as view:
            for number in range(5000):
                view.event(heard(f"n{number:04}.", f"call-{number % 100}"))

    asyncio.run(run())
    found = re.findall(r"n(\d{4})\.", drawn(console))
    assert found == [f"{number:04}" for number in range(5000)]


def test_the_cursor_is_shown_again_when_the_terminal_is_lost() -> None:
    class Lost(io.StringIO):
        broken = False

        def write(self, text: str) -> int:
            if self.broken:
                self.broken = False
                raise OutputLost("gone", silent=False)
            return super().write(text)

    console = screen(80)
    file = console.file = Lost()

    async def run() -> None:
        with LiveView(Selection([]), console=console) as view:
            lost = asyncio.Event()
            view.on_lost = lost.set
            view.event(heard("a"))
            file.broken = True
            async with asyncio.timeout(10):
                await lost.wait()
            assert view.lost is not None

    asyncio.run(run())
    assert file.getvalue().rpartition("\x1b[?25h")[2] == "\r"


# --- whatever they say -------------------------------------------------------------------------

ANYTHING = st.text(max_size=60) | st.sampled_from(HOSTILE) | st.characters(codec=None)
SGR = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[[0-9]*A|\x1b\[2K")


def events_of(text: str) -> list[Event]:
    caller = Caller(display_name=text, user_id=text, phone_number=text)
    strange: list[records.CallRecord] = [
        records.Decided(text, AT, "csharp", False, text, text, caller, "auth_request"),
        records.CallOpened(text, AT, "standin", "inbound", caller, text, text),
        records.Heard(text, AT, 1, text, False),
        records.Heard(text, AT, 1, text, True),
        records.Said(text, AT, 1, text),
        records.TurnEnded(text, AT, 1, "answer", "interrupted", text * 2, text, 1, 1, QUICK),
        records.Pressed(text, AT, text),
        records.EngineTrouble(text, AT, text, text, False),
        records.OutboundProgress(text, AT, text, "ringing", text, "notify", detail=text),
        records.Audited(text, AT, text, text, text, text),
        records.CallClosed(text, AT, text, "bot", 1, COUNTERS, text),
    ]
    return [*(raw(record) for record in strange), {"event": text, "callId": text, "wallMs": text}]


def controls(text: str) -> set[str]:
    return {c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}


@settings(deadline=None, max_examples=60)
@given(ANYTHING)
def test_no_text_reaches_a_terminal_as_a_command(text: str) -> None:
    console = screen(80, colour=True)
    plain = PlainView(Selection(["all"]))

    async def run() -> None:
        with LiveView(Selection(["all"]), console=console) as view:
            for event in events_of(text):
                view.event(event)
                view.draw()
                line = line_of(event)
                assert line is None or not controls(plain._plain(line))
                assert json_line(event).isprintable()

    asyncio.run(run())
    left = SGR.sub("", drawn(console)).replace("\r", "")
    assert controls(left) == set()


def test_marks_do_not_tower() -> None:
    assert len(legible("e" + "\u0301" * 5000)) == 5
    assert legible("किंतु नमस्ते") == "किंतु नमस्ते"
