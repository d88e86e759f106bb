"""A leg may come before the answer that names its call: slots add up all the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from teamscall.calls.bookings import Bookings, Placed
from teamscall.calls.registry import Slots

IDS = st.sampled_from(["a", "b", "c"])
LEG_STEP = st.tuples(
    st.sampled_from(["place", "leg", "name", "unplace", "start", "gone", "forget", "end"]),
    st.sampled_from(["x", "y"]),
    IDS,
)


@given(st.lists(LEG_STEP, max_size=60), st.integers(1, 2))
def test_a_leg_may_come_before_its_name_and_costs_one_slot(
    steps: list[tuple[str, str, str]], limit: int
) -> None:
    """As the StandIn line and the switchboard go about it."""
    slots = Slots(limit)
    bookings = Bookings(slots)
    unnamed: set[str] = set()  # attempts
    named: set[str] = set()  # booked calls
    legs: set[str] = set()  # sockets before their start
    live: set[str] = set()

    def gone(call_id: str) -> None:
        legs.discard(call_id)
        named.discard(call_id)
        if not bookings.forget(call_id):
            slots.give_back(call_id)

    for what, attempt, call_id in steps:
        if what == "place" and attempt not in unnamed:
            if bookings.place_unnamed(Placed("", False, 30.0, attempt)):
                unnamed.add(attempt)
        elif what == "leg" and call_id not in legs | live:
            let_in = bookings.reserve(call_id, "host")
            assert let_in or call_id not in named, "a placed call's leg found no slot"
            if let_in:
                legs.add(call_id)
        elif what == "name" and attempt in unnamed and call_id not in live:
            unnamed.remove(attempt)
            assert bookings.named(attempt, call_id) is (call_id not in named)
            named.add(call_id)
        elif what == "unplace":
            unnamed.discard(attempt)
            bookings.unplace(attempt)
        elif what == "start" and call_id in legs and (call_id in named or not unnamed):
            if bookings.arrive(call_id) is not None:
                live.add(call_id)
                legs.remove(call_id)
                named.discard(call_id)
            else:
                gone(call_id)  # nobody asked for it
        elif call_id in {"gone": legs, "forget": named - legs}.get(what, ()):
            gone(call_id)
        elif what == "end" and call_id in live:
            live.remove(call_id)
            slots.give_back(call_id)
        held = slots._held.keys()
        assert unnamed | named | legs | live == held
        assert len(held) <= limit + len(unnamed) + len(legs)
    for call_id in live:
        slots.give_back(call_id)
    for call_id in legs | named:
        gone(call_id)
    for attempt in unnamed:
        bookings.unplace(attempt)
    assert slots.held == 0
    assert len(bookings) == 0
    assert not bookings.awaits_leg
