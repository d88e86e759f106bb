"""What a picture of a call is made of. Structs only.

All times are seconds since the conversation began, as on the tracks of ``capture.sound``.
Every text in here is one printable line, whoever said it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.audio.measures import Measures

Who = Literal["caller", "bot"]
MarkKind = Literal[
    "barge-in",
    "carried-on",
    "digit",
    "image-shown",
    "image-seen",
    "link",
    "trouble",
    "participants",
    "missing",
    "end",
]
LossKind = Literal[
    "late",  # a caller's frame came later than others of its time
    "lost",  # numbers of the caller's frames that never came
    "refused",  # a message that could not be read, or must not be said
    "dry",  # the far side had played everything before the bot's next frame came
    "missing",  # the capture has not all of it
]


class Stretch(msgspec.Struct, frozen=True):
    """From ``start`` up to ``end``."""

    start: float
    end: float


class Piece(msgspec.Struct, frozen=True):
    """Sound that is not digital silence: mu-law, one byte for each sample at 16 kHz."""

    sample: int
    mulaw: bytes


class Track(msgspec.Struct, frozen=True):
    """One side's sound. ``peaks`` and ``powers`` (RMS) have one byte for each ``bucket_ms``:
    255 times the square root of the amplitude, so that quiet speech is seen too."""

    who: Who
    bucket_ms: int
    peaks: bytes
    powers: bytes
    pieces: tuple[Piece, ...]


class Partial(msgspec.Struct, frozen=True):
    """What the words were taken for by then."""

    at: float
    text: str


class Utterance(msgspec.Struct, frozen=True):
    """What the caller said. ``text`` is the last that was made of it; ``final`` says whether
    it was ever certain."""

    number: int
    start: float
    end: float
    text: str
    final: bool
    partials: tuple[Partial, ...]


class Stage(msgspec.Struct, frozen=True):
    """A part of the wait for an answer, in milliseconds from the caller's last sound."""

    name: str
    label: str
    from_ms: float
    to_ms: float


class Turn(msgspec.Struct, frozen=True):
    """One of the bot's. ``audible``: when it was heard. ``cut``: what was said of it and
    heard by nobody. ``asked``: the caller's last sound, where the turn answers one.

    ``ended`` None: the capture stops before. ``measured_ms``: the same wait, from the sound.
    """

    number: int
    kind: str
    status: str
    began: float
    ended: float | None
    audible: tuple[Stretch, ...]
    said: str
    heard: str
    cut: str
    said_ms: float
    heard_ms: float
    asked: float | None = None
    first_frame: float | None = None
    stages: tuple[Stage, ...] = ()
    measured_ms: float | None = None
    measured_from: float | None = None


class Mark(msgspec.Struct, frozen=True):
    """Something at an instant. ``label`` is short, ``text`` says it all."""

    at: float
    kind: MarkKind
    label: str
    text: str


class Gate(msgspec.Struct, frozen=True):
    """The recording gate, or the recording status of a call that has none."""

    start: float
    end: float
    open: bool
    label: str


class Loss(msgspec.Struct, frozen=True):
    """Frames that had trouble, those next to each other as one."""

    start: float
    end: float
    kind: LossKind
    who: Who
    count: int
    text: str


class Image(msgspec.Struct, frozen=True):
    """A picture that was shown or seen. ``thumbnail``: JPEG, made anew; empty: none."""

    at: float
    way: Literal["shown", "seen"]
    title: str
    text: str
    thumbnail: bytes


class Decision(msgspec.Struct, frozen=True):
    """One record of the call; ``way`` as in ``capture.listing``."""

    at: float
    leg: Literal["gateway", "engine", "call"]
    way: Literal["in", "out"]
    name: str
    text: str


class Fact(msgspec.Struct, frozen=True):
    label: str
    value: str


class Picture(msgspec.Struct, frozen=True):
    """A call. ``tracks``: none where the capture has no sound; ``spoken`` then says when the
    bot was heard all the same. ``more``: how many of what were left out, as sentences.
    ``stopped``: when the bridge stopped the bot for the caller's voice."""

    name: str
    title: str
    call_id: str
    dialect: str
    side: str
    began: str
    length: float
    reason: str
    notes: tuple[str, ...]
    facts: tuple[Fact, ...]
    tracks: tuple[Track, ...]
    spoken: tuple[Stretch, ...]
    utterances: tuple[Utterance, ...]
    turns: tuple[Turn, ...]
    marks: tuple[Mark, ...]
    gates: tuple[Gate, ...]
    losses: tuple[Loss, ...]
    images: tuple[Image, ...]
    decisions: tuple[Decision, ...]
    measures: Measures | None = None
    more: tuple[str, ...] = ()
    stopped: tuple[float, ...] = ()
