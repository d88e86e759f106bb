"""Replay of calls recorded here under a manual clock."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from replay_rig import BEGAN, CALL, SILENCE, Recorded, conversation, tone

from teamscall.calls import conversation as conversations
from teamscall.calls.bargein import BargeIn
from teamscall.calls.events import EndRequested, LinkLost, LinkResumed, MessageSeen
from teamscall.calls.settings import CallSettings
from teamscall.capture import codec, diff
from teamscall.capture.reader import Capture, read
from teamscall.capture.recording import recording
from teamscall.capture.records import Closed, Did, Dropped, Event, Frame, Step
from teamscall.capture.replay import Replayed, replay
from teamscall.capture.suite import Task, judge
from teamscall.capture.writer import write
from teamscall.engines import base as engine
from teamscall.errors import CaptureError
from teamscall.wire import csharp
from teamscall.wire import events as wire

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests" / "corpus"


def small(**changes: Any) -> Recorded:
    """One question, and half of its answer."""
    call = Recorded(**changes)
    call.ask(quiet_s=0.9)
    call.answer(ms=200)
    call.quiet(0.3)
    call.hang_up()
    return call


def saved(call: Recorded, tmp_path: Path) -> Capture:
    return read(call.save(tmp_path / "call.tcap"))


def run(call: Recorded, tmp_path: Path) -> Replayed:
    return replay(recording(saved(call, tmp_path)))


def difference(came: Replayed) -> diff.Difference:
    assert came.difference is not None
    return came.difference


def digest(came: Replayed) -> str:
    whole = hashlib.sha256()
    for moments in came.came:
        for moment in moments:
            whole.update(f"{moment.at_s!r} {moment.name}".encode() + moment.body)
    return whole.hexdigest()


def edited(call: Recorded, tmp_path: Path, edit: Callable[[Any], Any]) -> Capture:
    """The capture with each record as ``edit`` gives it back; None takes it out."""
    records = [edited for record in call.records if (edited := edit(record)) is not None]
    write(tmp_path / "edited.tcap", call.header, [*records, Closed(call.now, "ended")])
    return read(tmp_path / "edited.tcap")


# --- the same -------------------------------------------------------------------------


def test_a_call_in_the_csharp_dialect_is_the_same(tmp_path: Path) -> None:
    call = conversation()
    came = run(call, tmp_path)
    assert came.difference is None
    assert [act.command for act in came.acts] == call.commands
    assert came.sent > 50
    assert came.call_s == pytest.approx(call.now - BEGAN)


def test_a_call_in_the_standin_dialect_is_the_same(tmp_path: Path) -> None:
    settings = CallSettings(greeting="Hello!", recording_required=True)
    call = Recorded(dialect="standin", settings=settings, lead_ms=160)
    call.hear([SILENCE] * 3)
    call.gateway(wire.RecordingChanged(CALL, "active"))
    greeting = call.last(engine.Say).turn
    call.engine(engine.AnswerAudio(greeting, tone(300), 24_000, "Hello!"))
    call.engine(engine.AnswerDone(greeting))
    call.gateway(wire.DigitPressed(CALL, "7"))
    call.message(b'{"type":"ping","ts":5}')
    call.shell(MessageSeen())
    call.ask()
    call.answer(ms=200)
    call.shell(EndRequested("server-shutdown", "bridge", "Bye."))
    call.wait(6.0)
    came = run(call, tmp_path)
    assert came.difference is None
    assert [act.command for act in came.acts] == call.commands


def test_a_hundred_runs_are_identical(tmp_path: Path) -> None:
    story = recording(saved(small(), tmp_path))
    assert len({digest(replay(story)) for _ in range(100)}) == 1


_PRINT_DIGEST = """
import sys
from pathlib import Path
sys.path.insert(0, "tests/capture")
from test_capture_replay import digest
from teamscall.capture.reader import read
from teamscall.capture.recording import recording
from teamscall.capture.replay import replay
came = replay(recording(read(Path(sys.argv[1]))))
print(came.difference, digest(came))
"""


def test_other_processes_with_other_hash_seeds_say_the_same(tmp_path: Path) -> None:
    path = conversation().save(tmp_path / "call.tcap")
    expected = f"None {digest(replay(recording(read(path))))}"
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PRINT_DIGEST, str(path)],
            env=env | {"PYTHONHASHSEED": seed},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("0", "4711")
    ]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == [expected] * 2


def test_a_call_is_replayed_many_times_faster_than_it_was(tmp_path: Path) -> None:
    call = Recorded()
    for _ in range(6):
        call.ask()
        call.answer(ms=1500)
        call.quiet(3.2)
    call.hang_up()
    path = call.save(tmp_path / "call.tcap")
    began = time.process_time()
    verdict = judge(Task(path, "call"))
    took = time.process_time() - began
    assert verdict.result == "same"
    assert verdict.call_s > 29
    # 30 times is what is promised; a third of it is left to slow machines.
    assert verdict.call_s / took > 10


# --- what is different ----------------------------------------------------------------


def test_a_later_barge_in_is_found_where_it_should_have_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = recording(saved(conversation(), tmp_path))
    init = BargeIn.__init__

    def slower(self: Any, settings: Any, hum: Any) -> None:
        init(self, msgspec.structs.replace(settings, min_speech_ms=160), hum)

    monkeypatch.setattr(BargeIn, "__init__", slower)
    found = difference(replay(story))
    assert (found.kind, found.turn) == ("missing", 1)
    assert found.expected is not None
    assert found.expected.name == "Flush"
    assert found.shifted_s == pytest.approx(0.1, abs=0.001)
    text = "\n".join(diff.lines(found))
    assert "flush on the wire did not come here; it came 100 ms later" in text
    assert found.around[found.here].name == "AudioIn"


def test_other_bytes_on_the_wire_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    story = recording(saved(small(), tmp_path))
    module = sys.modules["teamscall.capture.recording"]
    spaced = {"csharp": lambda m: (csharp.encode_to_gateway(m) or b"").replace(b":", b": ", 1)}
    monkeypatch.setattr(module, "_ENCODE", spaced)
    found = difference(replay(story))
    assert found.kind == "changed"
    assert found.fields == ()
    assert "says the same in other bytes" in diff.describe(found)
    assert any(
        line.startswith("+ ") and '"type": "audio_out"' in line for line in diff.lines(found)
    )


def test_a_message_that_is_not_read_any_more_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = saved(small(), tmp_path)
    module = sys.modules["teamscall.capture.recording"]
    refuse = {"csharp": lambda data, call_id: wire.Dropped("bad-audio", "audio_in of 640 bytes")}
    monkeypatch.setattr(module, "_DECODE", refuse)
    found = difference(replay(recording(capture)))
    assert found.kind == "decoded"
    assert found.step == 2
    assert any("bad-audio" in line for line in diff.lines(found) if line.startswith("+ "))


def test_a_conversation_that_raises_is_a_difference_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = recording(saved(small(), tmp_path))

    def broken(self: Any, event: Any, now: float) -> None:
        raise ZeroDivisionError("\x1b[31mred")

    monkeypatch.setitem(conversations._REACTIONS, engine.Transcript, broken)
    found = difference(replay(story))
    assert found.kind == "failed"
    assert "ZeroDivisionError: [31mred" in diff.describe(found)
    assert found.around[found.here].name == "Transcript"


@pytest.mark.parametrize(("later", "why"), [(0.5, "wants to look at"), (None, "nothing")])
def test_a_timer_that_would_not_ring_by_then_is_found(
    monkeypatch: pytest.MonkeyPatch, later: float | None, why: str
) -> None:
    usual = conversations.Conversation.next_deadline

    def postponed(self: conversations.Conversation) -> float | None:
        due = usual(self)
        return None if due is None or later is None else due + later

    story = recording(read(CORPUS / "idle.tcap"))
    assert replay(story).difference is None
    monkeypatch.setattr(conversations.Conversation, "next_deadline", postponed)
    found = difference(replay(story))
    assert found.kind == "unwoken"
    assert found.expected is not None
    assert found.expected.name == "TimePassed"
    assert why in diff.describe(found)
    assert any(line.startswith("+ ") and why in line for line in diff.lines(found))


def test_a_deadline_that_cannot_be_told_is_a_difference_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(self: conversations.Conversation) -> float | None:
        raise ZeroDivisionError

    story = recording(read(CORPUS / "idle.tcap"))
    monkeypatch.setattr(conversations.Conversation, "next_deadline", broken)
    assert difference(replay(story)).kind == "failed"


def test_what_an_echo_decided_that_is_not_in_the_capture_is_no_difference() -> None:
    """The bot spoke while the call was not being recorded; half a second later, somebody else."""
    # No *.tcap: the project's own plugin would take it for a test.
    path = Path(__file__).parent / "unrecorded-bot.capture"
    verdict = judge(Task(path, "unrecorded-bot"))
    assert (verdict.result, verdict.differing) == ("damaged", 0)
    assert "while the call was not recorded" in verdict.damage
    assert 0.7 < verdict.call_s < 0.8


def test_another_answer_to_a_ping_is_found(tmp_path: Path) -> None:
    call = Recorded()
    call.quiet(0.1)
    call.message(b'{"type":"ping","callId":"call-1"}')
    call._frame("out", b'{"type":"pong","callId":"call-2"}')
    call.shell(MessageSeen())
    call.hang_up()
    found = difference(run(call, tmp_path))
    assert found.expected is not None
    assert found.expected.name == "Pong"
    assert [field.path for field in found.fields] == ["callId"]


def test_nothing_a_peer_sent_reaches_the_diff_as_a_command_to_the_terminal(tmp_path: Path) -> None:
    call = small()
    turn = call.last(engine.Respond).turn
    hostile = "\x1b]0;owned\x07\u202e" + "x" * 5000

    def edit(record: Any) -> Any:
        if isinstance(record, Did) and record.name == "TurnEnded":
            return Did(record.name, {**record.fields, "said_text": hostile})
        return record

    found = difference(replay(recording(edited(call, tmp_path, edit))))
    assert found.turn == turn
    for line in diff.lines(found):
        assert line.isprintable(), line
        assert len(line) <= 160


# --- what a recording may be like --------------------------------------------------------


def test_what_was_wanted_while_the_socket_was_gone_has_no_bytes(tmp_path: Path) -> None:
    call = Recorded()
    call.ask()
    call.answer(ms=800)
    call.quiet(0.3)
    call.connected = False
    call.shell(LinkLost())
    call.wait(0.5)
    call.shell(EndRequested("operator", "operator"))  # its hang-up went nowhere
    assert run(call, tmp_path).difference is None

    call = Recorded()
    call.ask()
    call.answer(ms=800)
    call.quiet(0.3)
    call.shell(LinkLost())
    call.wait(0.5)
    call.shell(LinkResumed(3))
    call.quiet(1.0)
    call.hang_up()
    assert run(call, tmp_path).difference is None


def test_media_that_were_left_out_are_replayed_as_silence(tmp_path: Path) -> None:
    settings = CallSettings(recording_required=True)
    call = Recorded(dialect="standin", settings=settings)
    call.speak(0.2)
    call.hang_up()

    def elide(record: Any) -> Any:
        if isinstance(record, Frame):
            return msgspec.structs.replace(record, text=b"", elided=len(record.text))
        if isinstance(record, Step) and record.source == "gateway" and record.frame < 10:
            event = Event(
                "AudioIn", {"call_id": CALL, "seq": record.frame, "pcm": b""}, {"pcm": 640}
            )
            return Step(record.now, "gateway", -1, event)
        if isinstance(record, Step) and record.source == "gateway":
            ended = Event("CallEnded", {"call_id": CALL, "reason": "ended"})
            return Step(record.now, "gateway", -1, ended)
        return record

    came = replay(recording(edited(call, tmp_path, elide)))
    assert came.difference is None
    assert came.steps == len([r for r in call.records if isinstance(r, Step)])


def test_fields_that_are_new_since_the_capture_have_their_defaults(tmp_path: Path) -> None:
    def older(record: Any) -> Any:
        if isinstance(record, Did) and record.name in ("CallOpened", "CallClosed"):
            gone = ("usage", "detail") if record.name == "CallClosed" else ()
            return Did(record.name, {k: v for k, v in record.fields.items() if k not in gone})
        return record

    assert replay(recording(edited(small(), tmp_path, older))).difference is None


def test_records_that_are_missing_end_the_replay_before_them(tmp_path: Path) -> None:
    call = small()
    seen = 0

    def lossy(record: Any) -> Any:
        nonlocal seen
        seen += isinstance(record, Step)
        if seen == 40:
            return Dropped(record.now, 3, "queue") if isinstance(record, Step) else None
        return record

    story = recording(edited(call, tmp_path, lossy))
    assert "3 records are missing (queue), at" in story.stopped
    came = replay(story)
    assert came.difference is None
    assert came.steps == 39


def test_a_step_without_its_message_ends_the_replay(tmp_path: Path) -> None:
    def without(record: Any) -> Any:
        return None if isinstance(record, Frame) and record.index == 20 else record

    story = recording(edited(small(), tmp_path, without))
    assert "a message is missing, at" in story.stopped


def cuts(size: int) -> Iterator[int]:
    yield from range(size - 1, 0, -max(1, size // 40))


def test_a_capture_that_is_cut_anywhere_is_the_same_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = conversation().save(tmp_path / "whole.tcap").read_bytes()
    results: set[str] = set()
    for length in cuts(len(whole)):
        path = tmp_path / "cut.tcap"
        path.write_bytes(whole[:length])
        verdict = judge(Task(path, "cut"))
        assert verdict.result in ("damaged", "wrong"), (length, verdict.lines())
        assert verdict.summary()
        results.add(verdict.result)
    assert results == {"damaged", "wrong"}


def test_a_flipped_bit_is_never_taken_for_the_call(tmp_path: Path) -> None:
    whole = bytearray(conversation().save(tmp_path / "whole.tcap").read_bytes())
    for at in cuts(len(whole)):
        whole[at] ^= 0x10
        path = tmp_path / "flipped.tcap"
        path.write_bytes(whole)
        verdict = judge(Task(path, "flipped"))
        whole[at] ^= 0x10
        assert verdict.result in ("damaged", "wrong"), (at, verdict.lines())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"side": "emulator"}, "was made by an emulator"),
        ({"content": "timing"}, "structure and timing only"),
        ({"setup": b""}, "no setup"),
        ({"settings": b"\x81"}, "settings cannot be read"),
    ],
)
def test_what_cannot_be_replayed_says_why(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    call = small()
    header = msgspec.structs.replace(call.header, **change)
    write(tmp_path / "other.tcap", header, [*call.records, Closed(call.now, "ended")])
    with pytest.raises(CaptureError, match=says):
        recording(read(tmp_path / "other.tcap"))
    assert judge(Task(tmp_path / "other.tcap", "other")).result == "wrong"


def test_a_capture_without_the_beginning_says_so(tmp_path: Path) -> None:
    call = small()
    first = next(i for i, r in enumerate(call.records) if isinstance(r, Step) and i > 0)
    call.records = call.records[first:]
    with pytest.raises(CaptureError, match="does not have the beginning"):
        recording(saved(call, tmp_path))


def test_the_event_of_a_step_may_be_unknown_to_this_version(tmp_path: Path) -> None:
    call = small()
    call.records.insert(5, Step(BEGAN, "engine", -1, Event("Hummed", {"song": "x"})))
    verdict = judge(Task(call.save(tmp_path / "newer.tcap"), "newer"))
    assert (verdict.result, "unknown event: Hummed" in verdict.error) == ("wrong", True)
    assert codec.is_wire_message("Hummed") is False


def test_what_the_emulator_saw_of_a_merged_capture_is_not_the_bridges(tmp_path: Path) -> None:
    call = Recorded()
    call.quiet(0.1)
    call.connected = False  # the socket is gone: its hang-up has no message
    call.shell(LinkLost())
    call.shell(EndRequested("operator", "operator"))
    theirs = Frame(call.now, "out", b'{"type":"hangup","callId":"call-2"}', 0, 9999, "emulator")
    names = [getattr(record, "name", "") for record in call.records]
    del call.records[names.index("HangUp") + 1 :]
    call.records.append(theirs)
    (given,) = recording(saved(call, tmp_path)).given[-1:]
    assert [(moment.name, moment.body) for moment in given.expected] == [("HangUp", b"")]
