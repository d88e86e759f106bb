"""What holds for every conversation, whatever happens in it and when."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from playbook import CALL, FRAME_S, VOICE, Playbook, tone

from teamscall.calls.events import (
    EndRequested,
    Finish,
    LinkLost,
    LinkResumed,
    MessageSeen,
    SpeakRequested,
)
from teamscall.calls.settings import BargeInSettings
from teamscall.engines import base as engine
from teamscall.wire import events as wire

TONES = {ms: tone(ms) for ms in (0, 5, 20, 300, 2000)}

few = st.integers(min_value=0, max_value=6)
text = st.sampled_from(["", "yes", "one two three"])
event = st.one_of(
    st.builds(wire.RecordingChanged, st.just(CALL), st.sampled_from(["active", "inactive"])),
    st.builds(wire.DigitPressed, st.just(CALL), st.just("1")),
    st.builds(wire.SayRequested, st.just(CALL), st.just("Say this.")),
    st.builds(wire.CallEnded, st.just(CALL), st.just("bye")),
    st.just(engine.EngineReady()),
    st.builds(engine.SpeechStarted, few),
    st.builds(engine.SpeechStopped, few),
    st.builds(engine.Transcript, few, text, st.booleans()),
    st.builds(engine.AnswerText, few, text),
    st.builds(
        engine.AnswerAudio,
        few,
        st.sampled_from([*TONES.values(), b"x"]),
        st.sampled_from([16_000, 24_000]),
        text,
    ),
    st.builds(
        engine.AnswerDone, few, st.sampled_from(["completed", "failed"]), st.booleans(), text
    ),
    st.builds(engine.EngineFailed, st.just("session"), st.just("x"), st.booleans()),
    st.just(MessageSeen()),
    st.just(LinkLost()),
    st.builds(LinkResumed, st.integers(-5, 400)),
    st.builds(EndRequested, st.just("op"), st.just("operator"), st.sampled_from(["", "Bye."])),
    st.builds(SpeakRequested, st.just("Words.")),
)
# Ends are rare, speech is common: most of what is interesting happens in between.
step = st.one_of(
    st.tuples(st.just("event"), event),
    st.tuples(st.just("speech"), st.integers(1, 40)),
    st.tuples(st.just("quiet"), st.integers(1, 50)),
    st.tuples(st.just("wait"), st.floats(0, 3) | st.floats(0, 40)),
    st.tuples(st.just("answer"), st.sampled_from([20, 300, 2000])),
)


@how(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    steps=st.lists(step, max_size=40),
    shape=st.fixed_dictionaries(
        {
            "dialect": st.sampled_from(["csharp", "standin"]),
            "direction": st.sampled_from(["inbound", "outbound"]),
            "turn_taking": st.sampled_from(["local", "local", "engine", "none"]),
            "recording_required": st.booleans(),
            "greeting": st.sampled_from(["", "Hello."]),
            "opening": st.sampled_from(["", "Hi."]),
            "notify": st.booleans(),
            "barge_in": st.sampled_from([BargeInSettings(), BargeInSettings(enabled=False)]),
            "greeting_interruptible": st.booleans(),
            "ready": st.booleans(),
        }
    ),
)
def test_a_conversation_is_sound(steps: list[tuple[str, Any]], shape: dict[str, Any]) -> None:
    lead_ms = 160 if shape["dialect"] == "standin" else 60
    book = Playbook(lead_ms=lead_ms, max_duration_s=120.0, **shape)
    lost = False
    for kind, what in steps:
        if kind == "event":
            # The shell never says these out of order.
            if isinstance(what, LinkResumed) and not lost:
                continue
            if isinstance(what, LinkLost):
                if lost or shape["dialect"] == "standin":
                    continue
                lost = True
            elif isinstance(what, LinkResumed):
                lost = False
            book(what)
        elif kind == "speech" and not lost:
            book.hear(VOICE[:what])
        elif kind == "quiet" and not lost:
            book.hear([bytes(640)] * what)
        elif kind == "wait":
            book.wait(what)
        elif kind == "answer" and (asked := book.all(engine.Respond) + book.all(engine.Say)):
            book.answer(max(command.turn for command in asked), ms=what)
    check_frames(book, lead_ms)
    book.wait(300)  # every wait has a deadline: sooner or later each call is over
    check_frames(book, lead_ms)
    book.reason()


def check_frames(book: Playbook, lead_ms: int) -> None:
    """Numbers go up by one, nothing follows a hangup, nothing is ahead of the lead."""
    expected, over = 0, False
    held_until = 0.0  # when the far side will have played what it holds
    for moment, way, item in book.script:
        if way == "->" and isinstance(item, LinkResumed):
            expected = min(expected, max(item.last_received_seq + 1, expected - 250))
            held_until = moment
        if way == "->":
            continue
        assert not over, f"something after the end\n{book}"
        over = isinstance(item, Finish)
        if isinstance(item, wire.Flush):
            held_until = moment
        if isinstance(item, wire.AudioOut):
            # After a resume, frames that a flush made void leave a gap, and never a repeat.
            assert item.seq >= expected, f"seq {item.seq}\n{book}"
            expected = item.seq + 1
            # A gap of less than a frame does not restart the far side's clock.
            held_until = max(held_until + FRAME_S, moment)
            assert held_until <= moment + lead_ms / 1000 + FRAME_S + 1e-6, f"ahead\n{book}"
