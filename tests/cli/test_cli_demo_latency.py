"""The demo's account of an answer's latency."""

from __future__ import annotations

from teamscall.calls.records import TurnLatency
from teamscall.cli.demo_view import _timeline


def test_stages_are_told_in_the_order_in_which_they_came() -> None:
    """An answer begun ahead of time was thought of before the pause was over."""
    ahead = TurnLatency(endpoint_ms=800, transcript_ms=800, first_text_ms=410, first_frame_ms=805)
    assert _timeline(ahead) == [
        ("first word thought", 410, 410),
        ("pause noticed", 800, 390),
        ("words known", 800, 0),
        ("first frame sent", 805, 5),
    ]
