"""Slots that are promised are held once and given back once, in whatever order it goes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from teamscall.calls.bookings import MAX_BOOKINGS, Bookings, Grant, Placed
from teamscall.calls.registry import Slots
from teamscall.wire.events import Caller

IDS = st.sampled_from(["a", "b", "c"])
STEP = st.tuples(
    st.sampled_from(
        [
            *("ask", "grant", "deny", "revoke", "start", "end", "place", "meet", "arrive"),
            *("forget", "place-unnamed", "leg", "named", "unplace"),
        ]
    ),
    IDS,
    st.integers(0, 20),
)


@given(st.lists(STEP, max_size=60))
def test_slots_add_up_whatever_happens(steps: list[tuple[str, str, int]]) -> None:
    slots = Slots(2)
    bookings = Bookings(slots)
    asked: list[str] = []
    live: set[str] = set()
    legs: set[str] = set()  # of calls that may be the ones to be named
    now = 0.0
    for what, call_id, seconds in steps:
        now += seconds
        bookings.expire(now)
        if what == "ask" and call_id not in live:
            if bookings.ask(call_id, "host"):
                asked.append(call_id)
        elif what in ("grant", "deny") and call_id in asked:
            asked.remove(call_id)
            granted = Grant(Caller(), now + 30) if what == "grant" else None
            bookings.decided(call_id, granted)
        elif what == "revoke":
            bookings.revoke(call_id)
        elif what == "start" and bookings.redeem(call_id):
            live.add(call_id)
            asked = [one for one in asked if one != call_id]
        elif what == "arrive" and bookings.arrive(call_id):
            live.add(call_id)
        elif what == "end" and call_id in live:
            live.remove(call_id)
            slots.give_back(call_id)
        elif what == "place" and call_id not in live:
            bookings.place(call_id, Placed("", False, now + 30))
        elif what == "meet":
            bookings.meet(call_id)
        elif what == "forget" and call_id not in legs:
            bookings.forget(call_id)
        elif what == "place-unnamed":
            bookings.place_unnamed(Placed("", False, now + 30, f"out-{call_id}"))
        elif what == "leg" and call_id not in live | legs and bookings.unnamed:
            if not bookings.is_placed(call_id) and bookings.reserve(call_id, "host"):
                legs.add(call_id)
        elif what == "named" and call_id not in live:
            bookings.named(f"out-{call_id}", call_id)
        elif what == "unplace":
            bookings.unplace(f"out-{call_id}")
        for leg in list(legs):  # what a line does once it is known whose leg it is
            if bookings.is_placed(leg) or not bookings.unnamed:
                legs.remove(leg)
                if bookings.arrive(leg):
                    live.add(leg)
                else:
                    slots.give_back(leg)
        assert live <= slots._held.keys(), "a live call lost its slot"
        assert slots.held <= 2 + bookings.unnamed
        assert len(live) <= 2
    for call_id in asked:
        bookings.decided(call_id, None)
    for call_id in live | legs:
        slots.give_back(call_id)
    for call_id in ("a", "b", "c"):
        bookings.forget(call_id)
        bookings.unplace(f"out-{call_id}")
    assert slots.held == 0
    assert len(bookings) == 0


def test_a_gateway_that_asks_and_never_calls_is_bounded() -> None:
    slots = Slots(10_000)
    bookings = Bookings(slots)
    taken = sum(bookings.ask(f"c{n}", "host") for n in range(2 * MAX_BOOKINGS))
    assert taken == slots.held == MAX_BOOKINGS
