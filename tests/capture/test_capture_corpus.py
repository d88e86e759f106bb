"""The project's own corpus: every call is taken as it was, and a regression is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from teamscall.audio import pauses, vad
from teamscall.calls import bargein, conversation, listening, spending
from teamscall.calls import settings as limits
from teamscall.calls.bargein import BargeIn
from teamscall.calls.deadair import DeadAir
from teamscall.calls.events import LinkLost, MessageSeen
from teamscall.calls.floor import Floor
from teamscall.calls.interruption import Interruption
from teamscall.calls.listening import Listening
from teamscall.calls.playout import Playout
from teamscall.calls.speaking import Speaking
from teamscall.calls.turnbook import TurnBook
from teamscall.capture import diff
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import Did, Step
from teamscall.capture.suite import Task, Verdict, captures_in, judge
from teamscall.wire import standin
from teamscall.wire.events import Dropped

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
CAPTURES = dict(captures_in([CORPUS]))
# What a capture is there for, as events (>) and decisions in it.
HOLDS = {
    "backchannel": ["Flush", "CarriedOn"],
    "barge-in": ["Flush", "Interrupted", "TruncateAnswer"],
    "broken": [">LinkLost", ">LinkResumed", "Flush", "Interrupted"],
    "click": ["AudioOut", "TurnEnded"],
    "clicks": ["Flush", "Interrupted", "Respond"],
    "csharp-question": ["Respond", "TurnEnded"],
    "cut-early": ["Interrupted", "TruncateAnswer", "CancelAnswer"],
    "dead": ["TurnEnded", "HangUp", "CallClosed"],
    "deaf": [">EngineFailed", "EngineTrouble", "Say", "HangUp"],
    "digits": ["RecordingSeen", "Pressed", "PressDigit"],
    "door": ["CallOpened", "Finish"],
    "door-flood": ["CallOpened", "Finish"],
    "door-standin": ["AudioOut", "Finish"],
    "duplex": [">AnswerBegan", "IgnoreUtterance", "CarriedOn", "Interrupted"],
    "echo": ["AudioOut", "Pressed", "Say"],
    "engine-dropped": [">EngineFailed", "EngineTrouble", "HangUp"],
    "fails": [">EngineFailed", "EngineTrouble", "Say", "HangUp"],
    "fallback": [">EngineSwitched", ">EngineDegraded", "CancelAnswer", "BeginUtterance"],
    "filler-sound": ["AudioOut", "TurnEnded"],
    "flood": ["Respond", "TurnEnded"],
    "fluent": ["CommitUtterance", "TurnEnded"],
    "gate": ["GateChanged", "DiscardHeard", "PressDigit"],
    "gate-over": ["GateChanged", "DiscardHeard", "CancelAnswer", "ConfirmAnswer"],
    "goodbye": ["Say", "HangUp"],
    "group": ["ParticipantsSeen", "Say", "Interrupted", "Pressed"],
    "held": [">SpeechStarted", "EngineTrouble", "CancelAnswer"],
    "hostile-gateway": ["Respond", "TurnEnded"],
    "hum": ["Flush", "CarriedOn", "Interrupted", "TruncateAnswer"],
    "idle": ["ParticipantsSeen", "Pressed", "Say", "HangUp"],
    "keys": ["Pressed", "PressDigit", "CancelAnswer", "Say"],
    "knocks": ["CancelAnswer", "IgnoreUtterance", "EngineTrouble", "CarriedOn"],
    "late-engine": ["PeekUtterance", "CancelAnswer", "TruncateAnswer", "Respond"],
    "late-words": ["IgnoreUtterance", "CarriedOn", "Respond"],
    "live": [">AnswerBegan", ">Transcript"],
    "lost": [">LinkLost", "TurnEnded", "CallClosed"],
    "lost-limit": [">LinkLost", "HangUp", "CallClosed"],
    "messages": [">SpeakRequested", "CarriedOn", "Interrupted", "Say"],
    "min-words": ["Flush", "CarriedOn"],
    "no-transcript": [">EngineFailed", "EngineTrouble", "Respond"],
    "noise": [">LinkLost", ">LinkResumed", "CarriedOn"],
    "operator": [">SpeakRequested", ">EndRequested", "Interrupted", "HangUp"],
    "outbound": ["CallAnswered", "Say", "HangUp"],
    "pictures": ["GateChanged", "Respond"],
    "realtime": [">SpeechStarted", ">SpeechStopped", ">EngineUsage", "Interrupted"],
    "resume": [">LinkLost", ">LinkResumed"],
    "ringing": ["RecordingSeen", "CallAnswered", "Say", "HangUp"],
    "settled": ["PeekUtterance", "CancelAnswer", "Interrupted", "Respond"],
    "signs": [">MessageSeen", "Pressed", "ParticipantsSeen", "Say", "HangUp"],
    "silent": ["EngineTrouble", "Say", "HangUp"],
    "spent": [">EngineUsage", "CommitUtterance", "CallClosed"],
    "stalled": ["CarriedOn", "EngineTrouble", "CancelAnswer", "TruncateAnswer"],
    "standin-question": ["GateChanged", "Respond", "TurnEnded"],
    "switched": [">EngineSwitched", "BeginUtterance", "Interrupted", "Respond"],
    "think-ahead": ["PeekUtterance", "Respond", "CancelAnswer", "ConfirmAnswer"],
    "think-fails": ["TurnEnded", "EngineTrouble"],
    "time-limit": [">TimePassed", "Say", "HangUp"],
    "told": ["Flush", "Interrupted", "Say"],
    "two-questions": ["Fill", "Said", "HangUp"],
    "unanswered": ["GateChanged", "HangUp", "CallClosed"],
    "unheard": [">EngineDegraded", "EngineTrouble", "CancelAnswer", "Say"],
    "vendor-turns": ["IgnoreUtterance", "CarriedOn", "Interrupted", "DiscardHeard"],
    "wait": ["Fill", "CancelAnswer", "TurnEnded"],
    "words": ["Interrupted", "CancelAnswer", "Respond"],
}
MAX_BYTES = 110_000


def verdicts() -> dict[str, Verdict]:
    return {name: judge(Task(path, name)) for name, path in CAPTURES.items()}


def holds(capture: Capture) -> set[str]:
    events = {f">{r.event.name}" for r in capture.records if isinstance(r, Step) and r.event}
    return events | {r.name for r in capture.records if isinstance(r, Did)}


def test_every_call_of_the_corpus_is_taken_as_it_was() -> None:
    wrong = {name: v.lines() for name, v in verdicts().items() if v.result != "same"}
    assert wrong == {}


@pytest.mark.parametrize("name", sorted(CAPTURES))
def test_a_capture_is_small_and_holds_what_it_is_there_for(name: str) -> None:
    assert CAPTURES[name].stat().st_size < MAX_BYTES
    capture = read(CAPTURES[name])
    assert capture.damage is None
    assert set(HOLDS[name]) <= holds(capture)
    assert f"`{name}`" in (CORPUS / "README.md").read_text()
    assert f"wanted {name};" in (CORPUS / "make.sh").read_text()


def test_both_dialects_and_a_hostile_gateway_are_in_it() -> None:
    assert set(HOLDS) == set(CAPTURES)
    assert {read(path).header.dialect for path in CAPTURES.values()} == {"csharp", "standin"}
    frames = [f.text for f in read(CAPTURES["hostile-gateway"]).frames if f.way == "in"]
    decoded = [standin.decode_from_gateway(text, call_id="x") for text in frames]
    assert sum(isinstance(event, Dropped) for event in decoded) > 20


# --- planted regressions --------------------------------------------------------------


def a_longer_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Listening.__init__

    def slower(self: Any, **options: Any) -> None:
        endpoint = options.pop("endpoint")
        pause = endpoint.silence_ms + 40
        init(self, **options, endpoint=_replaced(endpoint, silence_ms=pause))

    monkeypatch.setattr(Listening, "__init__", slower)


def _replaced(struct: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(struct, **changes)


def no_backchannels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LAST_WORDS_MS", 60_000)


def nothing_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    regain = Playout.regain
    monkeypatch.setattr(Playout, "regain", lambda self, seq, now: regain(self, 2**60, now))


def a_deafer_ear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vad, "FLOOR_MARGIN_DB", 40.0)


def a_closed_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "_RECORDING", {})


def nothing_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Floor, "discard", lambda self, now: None)


def no_retry_phrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_FAILED_ANSWERS", 1)


def keys_are_no_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DeadAir, "heard", lambda self, now: None)


def a_longer_wait_for_the_muted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "LAPSE_S", 0.7)


def nobody_is_hung_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def forever(self: Any, event: Any, now: float) -> None:
        self._speaking.playout.lose(now)

    monkeypatch.setitem(conversation._REACTIONS, LinkLost, forever)


def what_was_thought_ahead_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    confirm = Speaking._confirm

    def shorter(self: Any, turn: Any, now: float) -> None:
        del turn.kept[0]
        confirm(self, turn, now)

    monkeypatch.setattr(Speaking, "_confirm", shorter)


def every_greeting_can_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TurnBook, "new", _interruptible(TurnBook.new))


def _interruptible(new: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, kind, now, interruptible=True: new(self, kind, now)


def orders_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speaking, "saying_what_was_asked", True)


def silence_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation.Conversation, "_idle_deadline", lambda self: 1e9)


def an_answer_may_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speaking, "_overdue", lambda self, turn, now: None)


def a_filling_sound_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speaking, "_end_sound", lambda self, answer, now: None)


def words_cut_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Interruption, "cut", lambda self, why, now: None)


def a_click_is_voice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bargein, "CALM_FRAMES", 1000)


def nobody_is_too_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Listening.__init__

    def generous(self: Any, **options: Any) -> None:
        init(self, **options)
        self._burst = self._tokens = 1e9

    monkeypatch.setattr(Listening, "__init__", generous)


def voice_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BargeIn, "_judge", lambda self: "cut")


def an_engine_may_never_be_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ENGINE_READY_S", 1e9)


def words_may_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TRANSCRIPT_DEADLINE_S", 1e9)


def a_direct_answer_waits_for_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BACKCHANNEL_WAIT_S", 1e9)


def every_sound_wants_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Floor, "_wants_the_turn", lambda self, text, over_bot=True: True)


def audio_is_as_dear_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    cost_of = spending.cost_of

    def cheaper(used: Any, price: Any) -> float:
        return cost_of(used, _replaced(price, audio_output=price.output))

    monkeypatch.setattr(spending, "cost_of", cheaper)


def nothing_has_to_settle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listening, "settle", lambda self, settle_ms: None)


def an_answer_waits_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HOLD_LIMIT_S", 1e9)


def a_stall_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ANSWER_STALL_S", 1e9)


def messages_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_once(self: Any, text: str, now: float) -> None:
        self.say(text, "say", now)

    monkeypatch.setattr(Speaking, "say_in_turn", at_once)


def void_answers_are_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Speaking, "_cancel_unheard", lambda self, now: None)


def only_audio_is_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(conversation._REACTIONS, MessageSeen, lambda self, event, now: None)


def nothing_is_void(monkeypatch: pytest.MonkeyPatch) -> None:
    discard = Floor.discard

    def forgetful(self: Any, now: float) -> None:
        discard(self, now)
        self._void_until = 0

    monkeypatch.setattr(Floor, "discard", forgetful)


def the_gate_keeps_what_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    discard = Floor.discard

    def careless(self: Any, now: float) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Interruption, "drop", lambda self, now: None)
            discard(self, now)

    monkeypatch.setattr(Floor, "discard", careless)


def what_was_cut_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    flush = Playout.flush

    def keeping(self: Any, now: float, keep: int | None = None) -> Any:
        sent = list(self._sent)
        lines = flush(self, now, keep)
        self._sent.extend(sent)
        return lines

    monkeypatch.setattr(Playout, "flush", keeping)


def clicks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bargein, "GAP_FRAMES", 1000)


def lost_words_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    on_ready = Floor.on_ready

    def patient(self: Any, event: Any, now: float) -> None:
        over_bot = self._over_bot
        on_ready(self, event, now)
        self._over_bot = over_bot

    monkeypatch.setattr(Floor, "on_ready", patient)


def nobody_is_fluent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "ENOUGH", 1000)


@pytest.mark.parametrize(
    ("plant", "found_in", "says"),
    [
        (an_engine_may_never_be_ready, "silent", "engine-trouble did not come here"),
        (words_may_never_come, "knocks", "engine-trouble did not come here"),
        (a_direct_answer_waits_for_words, "late-words", "turn-ended did not come here"),
        (a_direct_answer_waits_for_words, "duplex", "carried-on did not come here"),
        (every_sound_wants_the_turn, "vendor-turns", "turn-ended came instead of ignore-utterance"),
        (audio_is_as_dear_as_text, "spent", "turn-ended has another usage[0].cost"),
        (nothing_has_to_settle, "spent", "commit-utterance was not expected here"),
        (an_answer_waits_for_good, "held", "audio-out on the wire did not come here"),
        (a_stall_is_borne, "stalled", "cancel-answer did not come here"),
        (messages_do_not_wait, "messages", "say was not expected here"),
        (void_answers_are_spoken, "wait", "cancel-answer did not come here"),
        (void_answers_are_spoken, "late-engine", "cancel-answer did not come here"),
        (only_audio_is_a_sign_of_life, "signs", "hang-up on the wire was not expected here"),
        (nothing_is_void, "vendor-turns", "heard was not expected here"),
        (the_gate_keeps_what_is_stopped, "gate-over", "turn-ended did not come here"),
        (what_was_cut_is_sent_again, "broken", "audio-out on the wire was not expected here"),
        (clicks_add_up, "clicks", "audio-out on the wire did not come here"),
        (lost_words_are_waited_for, "switched", "carried-on did not come here"),
        (nobody_is_fluent, "fluent", "commit-utterance did not come here"),
        (silence_is_borne, "dead", "turn-ended did not come here"),
        (an_answer_may_never_come, "unheard", "cancel-answer did not come here"),
        (a_filling_sound_goes_on, "filler-sound", "turn-ended did not come here"),
        (words_cut_nothing, "cut-early", "cancel-answer did not come here"),
        (a_click_is_voice, "click", "audio-out on the wire did not come here"),
        (nobody_is_too_fast, "flood", "hear was not expected here"),
        (voice_is_enough, "hum", "interrupted was not expected here"),
        (voice_is_enough, "min-words", "interrupted was not expected here"),
        (nothing_is_discarded, "gate", "discard-heard did not come here"),
        (no_retry_phrase, "think-fails", "turn-began has another kind"),
        (keys_are_no_sign_of_life, "idle", "turn-began was not expected here"),
        (orders_wait, "operator", "flush on the wire did not come here"),
        (a_longer_wait_for_the_muted, "lost", "commit-utterance did not come here"),
        (nobody_is_hung_up_on, "lost", "turn-ended did not come here"),
        (what_was_thought_ahead_is_cut, "think-ahead", "audio-out on the wire"),
        (every_greeting_can_be_cut, "keys", "flush on the wire was not expected here"),
        (every_greeting_can_be_cut, "think-ahead", "audio-out on the wire did not come here"),
        (a_longer_pause, "csharp-question", "commit-utterance did not come here; it came "),
        (no_backchannels, "backchannel", "turn-ended came instead of carried-on"),
        (nothing_is_sent_again, "resume", "audio-out on the wire has another seq"),
        (a_deafer_ear, "barge-in", "begin-utterance did not come here"),
        (a_closed_gate, "digits", "recording-seen did not come here"),
    ],
)
def test_a_planted_regression_is_found_with_a_diff_that_points_at_it(
    monkeypatch: pytest.MonkeyPatch,
    plant: Callable[[pytest.MonkeyPatch], None],
    found_in: str,
    says: str,
) -> None:
    plant(monkeypatch)
    verdict = judge(Task(CAPTURES[found_in], found_in))
    assert verdict.result == "differs"
    assert verdict.difference is not None
    text = "\n".join(verdict.lines())
    assert says in text, text
    assert diff.place(verdict.difference) in text


def test_a_regression_leaves_alone_what_it_has_nothing_to_do_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    no_backchannels(monkeypatch)
    near = ("backchannel", "barge-in", "csharp-question", "noise", "operator")
    found = {name for name in near if not judge(Task(CAPTURES[name], name)).passed}
    assert found == {"backchannel"}
