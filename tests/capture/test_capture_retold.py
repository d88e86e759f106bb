"""A recorded call under other settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from replay_rig import CALL, Recorded, conversation, tone

from teamscall.calls import records
from teamscall.calls.conversation import Conversation
from teamscall.calls.events import Finish
from teamscall.calls.settings import BargeInSettings, CallSettings, EndpointSettings, Goodbyes
from teamscall.capture import diff
from teamscall.capture.answers import Answers
from teamscall.capture.reader import read
from teamscall.capture.recording import Recording, recording
from teamscall.capture.replay import Replayed
from teamscall.capture.retold import TOLERANCE_S, replay_otherwise
from teamscall.engines import base as engine
from teamscall.wire import events as wire


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    path = tmp_path_factory.mktemp("retold") / "call.tcap"
    return recording(read(conversation().save(path)))


def story_of(call: Recorded, tmp_path: Path) -> Recording:
    return recording(read(call.save(tmp_path / "call.tcap")))


def told(story: Recording, **changes: Any) -> Replayed:
    return replay_otherwise(story, msgspec.structs.replace(story.settings, **changes))


def all_of(came: Replayed, kind: type[Any]) -> list[Any]:
    return [act.command for act in came.acts if isinstance(act.command, kind)]


def test_the_recorded_settings_are_the_recorded_call(story: Recording) -> None:
    came = told(story)
    assert came.difference is None
    assert len(came.came) == len(story.given)


def test_settings_that_change_nothing_here_are_no_difference(story: Recording) -> None:
    came = told(story, ring_timeout_s=7.0)
    assert came.difference is None, diff.lines(came.difference)
    assert came.unanswered == 0
    assert all_of(came, Finish) == [Finish("ended", "caller")]


def test_a_shorter_pause_is_a_decision_that_came_earlier(story: Recording) -> None:
    came = told(story, endpoint=EndpointSettings(silence_ms=400))
    found = came.difference
    assert found is not None
    assert (found.kind, found.expected and found.expected.name) == ("moved", "CommitUtterance")
    assert diff.describe(found) == "commit-utterance came 400 ms earlier"
    recorded = [m for given in story.given for m in given.expected if m.name == "Heard"]
    heard = [act.at_s for act in came.acts if isinstance(act.command, records.Heard)]
    # The engine took as long as it did.
    assert heard[0] == pytest.approx(recorded[0].at_s - 0.4, abs=TOLERANCE_S)
    assert came.unanswered == 0


def test_an_answer_that_is_asked_for_later_is_given_all_the_same(story: Recording) -> None:
    came = told(story, endpoint=EndpointSettings(silence_ms=1000, adaptive=False))
    ended = all_of(came, records.TurnEnded)
    assert [turn.said_text for turn in ended] == ["one two three four", "It is Monday."]
    assert came.unanswered == 0


def test_without_barge_in_the_answer_is_not_cut(story: Recording) -> None:
    came = told(story, barge_in=BargeInSettings(enabled=False))
    assert all_of(came, wire.Flush) == []
    assert all_of(came, records.Interrupted) == []
    assert came.difference is not None
    assert came.difference.expected is not None
    assert came.difference.expected.name == "Flush"


def test_what_the_recorded_engine_was_never_asked_is_answered_with_nothing(
    story: Recording,
) -> None:
    came = told(story, greeting="Good morning!")
    assert came.unanswered == 1
    greeting, *answers = all_of(came, records.TurnEnded)
    assert greeting.kind == "greeting"
    assert [turn.said_text for turn in answers] == ["one two three four", "It is Monday."]
    # Its turns have other numbers than the recorded ones.
    assert [turn.turn for turn in answers] == [2, 3]


def test_a_call_that_would_last_longer_is_left_after_a_while(tmp_path: Path) -> None:
    call = Recorded(settings=CallSettings(idle_timeout_s=5.0))
    call.quiet(0.2)
    call.wait(5.1)
    assert isinstance(call.commands[-1], Finish)
    came = told(story_of(call, tmp_path), idle_timeout_s=900.0)
    assert all_of(came, Finish) == []
    assert came.difference is not None
    assert came.difference.kind == "missing"


def test_a_conversation_whose_timers_stand_still_is_found(
    story: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Conversation, "next_deadline", lambda self: 0.0)
    came = told(story, ring_timeout_s=7.0)
    assert came.difference is not None
    assert came.difference.kind == "failed"
    assert "never let time go on" in came.difference.why


def test_the_end_may_be_another(tmp_path: Path) -> None:
    call = Recorded(settings=CallSettings(goodbyes=Goodbyes(apology="Sorry.")))
    call.quiet(0.2)
    call.engine(engine.EngineFailed("session", "gone", fatal=True))
    said = call.last(engine.Say).turn
    call.engine(engine.AnswerAudio(said, tone(200), 16_000, "Sorry."), engine.AnswerDone(said))
    call.wait(1.0)
    assert isinstance(call.commands[-1], Finish)
    came = told(story_of(call, tmp_path), goodbyes=Goodbyes())
    assert all_of(came, engine.Say) == []
    assert came.difference is not None
    assert came.difference.at_s == pytest.approx(0.2, abs=0.05)


# --- which answer belongs to which question -------------------------------------------


def answers(*story: tuple[float, Any]) -> Answers:
    found = Answers()
    for at, one in story:
        if not found.answered(at, one):
            found.asked(at, one)
    return found


def test_an_answer_keeps_its_distance_and_gets_the_new_number() -> None:
    found = answers(
        (1.0, engine.Respond(1, "hello", 1)),
        (1.5, engine.AnswerText(1, "Hi.")),
        (1.75, engine.AnswerDone(1)),
    )
    assert list(found.to(4.0, [engine.Respond(7, "hello", 1)])) == [
        (4.5, engine.AnswerText(7, "Hi.")),
        (4.75, engine.AnswerDone(7)),
    ]
    assert found.unknown == 0


def test_a_spoken_answer_is_better_than_one_thrown_away() -> None:
    found = answers(
        (1.0, engine.Respond(1, "hello", 1, speculative=True)),
        (1.1, engine.AnswerDone(1, "cancelled")),
        (2.0, engine.Respond(2, "hello you", 1)),
        (2.1, engine.AnswerAudio(2, b"\0\0", 16_000, "Hi.")),
    )
    (came,) = found.to(1.0, [engine.Respond(1, "other words", 1)])
    assert isinstance(came[1], engine.AnswerAudio)


def test_transcripts_belong_to_what_asked_for_them() -> None:
    found = answers(
        (1.0, engine.BeginUtterance(1)),
        (1.2, engine.Transcript(1, "hel", False)),
        (2.0, engine.PeekUtterance(1)),
        (2.1, engine.Transcript(1, "hello", False, settled=True)),
        (3.0, engine.CommitUtterance(1)),
        (3.5, engine.Transcript(1, "hello", True)),
    )
    asked = [engine.BeginUtterance(1), engine.CommitUtterance(1)]
    came = list(found.to(10.0, asked))
    assert [event.text for _, event in came if isinstance(event, engine.Transcript)] == [
        "hel",
        "hello",
    ]
    assert [at for at, _ in came] == pytest.approx([10.2, 10.5])
    # A second utterance that the recording does not know has no words.
    unknown = list(found.to(11.0, [engine.CommitUtterance(2)]))
    assert unknown == [(11.0, engine.Transcript(2, "", True))]


def test_what_nobody_asked_for_is_nobodys_answer() -> None:
    found = Answers()
    assert not found.answered(1.0, engine.EngineReady())
    assert not found.answered(1.0, engine.Transcript(1, "engine turn taking", True))
    assert not found.answered(1.0, engine.AnswerText(3, "late"))
    assert list(found.to(1.0, [wire.Flush(CALL, 1, 1), engine.CancelAnswer(1)])) == []
    assert list(found.to(1.0, [engine.Say(1, "Hi.", aloud=False)])) == []
