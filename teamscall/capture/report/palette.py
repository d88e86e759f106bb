"""The colours of the drawn timeline, on white paper.

Caller and bot are blue and orange, and the stages of a wait go from dark to light: both stay
apart for every kind of colour blindness, and in grey. What is bad has a shape or a word too.
"""

from __future__ import annotations

import msgspec


class Ink(msgspec.Struct, frozen=True):
    """``bold`` and ``mono`` are of texts."""

    fill: str = ""
    stroke: str = ""
    bold: bool = False
    mono: bool = False


INKS: dict[str, Ink] = {
    "paper": Ink("#ffffff"),
    "title": Ink("#16202c", bold=True),
    "dim": Ink("#5b6775"),
    "figure": Ink("#3c4856", mono=True),
    "caller-name": Ink("#1a5a96", bold=True),
    "bot-name": Ink("#a04a06", bold=True),
    "caller-peak": Ink("#a9cbea"),
    "caller-power": Ink("#2a75b8"),
    "bot-peak": Ink("#f2c9a0"),
    "bot-power": Ink("#cc6a14"),
    "bot-bar": Ink("#f2c9a0"),
    "zero": Ink(stroke="#d5dbe2"),
    "axis": Ink(stroke="#5b6775"),
    "grid": Ink(stroke="#edf0f3"),
    "closed": Ink("#e3e6ea"),
    "heard": Ink("#e3eff9"),
    "said": Ink("#fcebdb"),
    "words": Ink("#16202c"),
    "partial": Ink("#5b6775"),
    "partial-tick": Ink(stroke="#8fa9c2"),
    "cut": Ink("#8a5a3a"),
    "turn": Ink("#8f4a0d"),
    "on-turn": Ink("#ffffff"),
    "stop": Ink("#c1121f"),
    "stage-endpoint": Ink("#3b1f5b"),
    "stage-transcript": Ink("#3a528b"),
    "stage-first-text": Ink("#21908d"),
    "stage-first-audio": Ink("#5dc863"),
    "stage-first-frame": Ink("#c8b400"),
    "gate-open": Ink("#7d95a8"),
    "gate-shut": Ink("#e3e6ea"),
    "loss-late": Ink("#b8860b"),
    "loss-lost": Ink("#c1121f"),
    "loss-refused": Ink("#7a4988"),
    "loss-dry": Ink("#c1121f"),
    "loss-missing": Ink("#16202c"),
    "mark-bad": Ink("#c1121f"),
    "mark-link": Ink("#7a4988"),
    "mark-plain": Ink("#5b6775"),
    "mark-line-bad": Ink(stroke="#e39aa0"),
    "mark-line-link": Ink(stroke="#c3a8cb"),
    "mark-line-plain": Ink(stroke="#dde2e7"),
    "mark-word-bad": Ink("#a50f1a", bold=True),
    "mark-word-link": Ink("#6a3d78"),
    "mark-word-plain": Ink("#3c4856"),
}
