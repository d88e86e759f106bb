"""What the operator does to a call: say something in it, end it; and when one is answered."""

from __future__ import annotations

from playbook import CALL, Playbook, tone

from teamscall.calls.events import EndRequested, Finish, SpeakRequested
from teamscall.calls.records import CallAnswered, CallClosed, Interrupted, TurnEnded
from teamscall.engines import base as engine
from teamscall.wire import events as wire

END = EndRequested("hangup-bot", "operator", after_speech=True)


def say(book: Playbook, text: str, ms: int = 1000) -> int:
    """The operator wants it said, and the engine says it; the turn."""
    book(SpeakRequested(text))
    order = book.last(engine.Say)
    assert order.text == text
    book.answer(order.turn, text, ms)
    return order.turn


def ended(book: Playbook) -> list[tuple[int, str]]:
    return [(turn.turn, turn.status) for turn in book.all(TurnEnded)]


def test_what_the_operator_says_stops_an_answer() -> None:
    book = Playbook()
    answer = book.ask()
    book.answer(answer, ms=4000)
    book.wait(1.0)
    words = say(book, "The building is being cleared.")
    assert book.last(wire.Flush).turn_id == answer
    assert book.last(Interrupted).by == "operator"
    book.wait(3.0)
    assert ended(book) == [(answer, "interrupted"), (words, "completed")]


def test_what_the_operator_says_twice_is_said_in_order() -> None:
    book = Playbook()
    first = say(book, "One.")
    book.wait(0.3)
    second = say(book, "Two.")
    book.wait(4.0)
    assert ended(book) == [(first, "completed"), (second, "completed")]
    assert not book.all(wire.Flush)


def test_many_messages_of_the_operator_are_said_one_after_the_other() -> None:
    """However many wait: the engine is given one at a time, and owes nothing before that."""
    book = Playbook()
    wanted = [f"Message {number}." for number in range(30)]
    book(*(SpeakRequested(text) for text in wanted))
    for number, text in enumerate(wanted):
        orders = book.all(engine.Say)
        assert [order.text for order in orders] == wanted[: number + 1]
        book.wait(2.0)  # thirty of them take longer than an answer may
        book.answer(orders[-1].turn, text, 1000)
    assert book.talk.unsaid == 0
    book(END)
    book.wait(35.0)
    assert [status for _, status in ended(book)] == ["completed"] * 30
    assert book.last(CallClosed).reason == "hangup-bot"


def test_no_hour_of_messages_is_synthesised_ahead() -> None:
    book = Playbook()
    first = say(book, "Long.", 60_000)
    book(SpeakRequested("Next."))
    book.wait(20.0)
    assert [order.turn for order in book.all(engine.Say)] == [first]
    assert book.talk.unsaid == 1
    book.wait(20.0)
    assert book.last(engine.Say).text == "Next."


def told_two_things() -> tuple[Playbook, int]:
    """The first of two messages is being heard; its turn."""
    book = Playbook()
    book.quiet(0.5)
    first = say(book, "One two three.", 35_000)
    book(SpeakRequested("Two."))
    book.quiet(1.4)
    assert book.talk.unsaid == 1
    return book, first


def test_what_waits_to_be_said_outlives_a_mhm() -> None:
    book, first = told_two_things()
    book.speak(0.3)
    book.quiet(0.24)
    peek = book.last(engine.PeekUtterance)
    book(engine.Transcript(peek.utterance, "Mhm.", final=False, settled=True))
    book.quiet(10.0)
    order = book.last(engine.Say)
    assert order.text == "Two."
    book.answer(order.turn, "Two.", 500)
    book.quiet(30.0)
    assert ended(book) == [(first, "completed"), (order.turn, "completed")]


def test_what_waits_to_be_said_is_over_when_the_caller_takes_the_turn() -> None:
    book, first = told_two_things()
    answer = book.ask("What do you mean?")
    assert ended(book) == [(first, "interrupted"), (first + 1, "cancelled")]
    assert len(book.all(engine.Say)) == 1
    told = {order.turn for order in book.all(engine.CancelAnswer)}
    told |= {order.turn for order in book.all(engine.TruncateAnswer)}
    assert told == {first}  # of the other the engine knows nothing
    book.answer(answer)
    book.quiet(3.0)
    assert ended(book)[-1] == (answer, "completed")


def test_an_opening_is_finished_before_the_operators_words() -> None:
    book = Playbook(direction="outbound", opening="Hello Ann.")
    opening = book.last(engine.Say).turn
    book.answer(opening, "Hello Ann.", 1000)
    book.wait(0.3)
    words = say(book, "Two.")
    book.wait(3.0)
    assert ended(book) == [(opening, "completed"), (words, "completed")]


def test_the_end_waits_for_what_is_being_said() -> None:
    book = Playbook()
    words = say(book, "Goodbye, then.", 1000)
    book.wait(0.2)
    book(END)
    assert not book.all(Finish)
    book.wait(3.0)
    assert ended(book) == [(words, "completed")]
    closed = book.last(CallClosed)
    assert (closed.reason, closed.ended_by) == ("hangup-bot", "operator")
    assert book.last(wire.HangUp).reason == "hangup-bot"


def test_the_end_waits_for_nothing_when_nothing_is_said() -> None:
    book = Playbook()
    book(END)
    assert book.last(CallClosed).ended_by == "operator"


def test_a_caller_who_interrupts_the_last_words_is_not_kept() -> None:
    book = Playbook()
    say(book, "Goodbye, then, and all the best to you and yours.", 6000)
    book.wait(1.0)
    book(END)
    book.speak(1.0)
    book.quiet(1.0)
    utterance = book.last(engine.CommitUtterance).utterance
    book(engine.Transcript(utterance, "Wait, one more thing.", True))
    assert book.last(CallClosed).reason == "hangup-bot"


def test_another_end_does_not_wait() -> None:
    book = Playbook()
    say(book, "Goodbye, then.", 5000)
    book.wait(0.2)
    book(END, EndRequested("hangup-bot", "operator"))
    assert len(book.all(CallClosed)) == 1


def test_nobody_is_spoken_to_while_it_rings() -> None:
    book = Playbook(dialect="standin", direction="outbound", recording="inactive", opening="Hello.")
    book(SpeakRequested("Anybody there?"))
    assert not book.all(engine.Say)
    assert not book.all(CallAnswered)
    book(wire.RecordingChanged(CALL, "active"))
    assert len(book.all(CallAnswered)) == 1
    assert [order.text for order in book.all(engine.Say)] == ["Hello."]


def test_an_inbound_call_is_not_answered_by_anybody() -> None:
    book = Playbook()
    assert not book.all(CallAnswered)


def test_a_gateways_outbound_call_is_answered_when_it_starts() -> None:
    book = Playbook(direction="outbound", opening="Hello.", notify=True)
    assert len(book.all(CallAnswered)) == 1
    turn = book.last(engine.Say).turn
    book(engine.AnswerAudio(turn, tone(400), 16_000, "Hello."), engine.AnswerDone(turn))
    book.wait(2.0)
    assert book.last(CallClosed).reason == "hangup-bot"
