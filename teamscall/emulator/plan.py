"""What one emulated call does: whom to dial, who calls, what is sent and when it ends.

Owns the frozen description only. Refuses to know sockets, clocks and files: pictures and
sound come in as bytes.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from teamscall.wire.events import Caller, Dialect, Direction, RecordingStatus

# StandIn's names: today's, generation 1's, or both header pairs on today's path, which is
# what the service itself sent during the change of names.
Generation = Literal["today", "1", "both"]

DIGITS = frozenset("0123456789*#")

# A gateway sends one every 30 s; authors give up after 5 s or 45 s without an answer.
PING_INTERVAL_S = 30.0
PONG_TIMEOUT_S = 45.0

# How long a gateway waits for its auth_response (1 to 14,999 ms configurable in the field).
AUTH_TIMEOUT_S = 2.0


class Dial(msgspec.Struct, frozen=True):
    """Where to dial and with which credentials.

    ``url`` may be a bare ``host:port``, a base URL, a URL with the call path, or (StandIn)
    one that already ends in the call id. ``secret`` is bytes as the far side has it.
    """

    url: str
    secret: bytes
    dialect: Dialect = "standin"
    generation: Generation = "both"
    call_id: str = ""  # empty: taken from the URL where it has one, else made up
    verify_tls: bool = True
    ca_file: str = ""  # PEM; empty: the system's
    open_timeout_s: float = 10.0

    def __repr__(self) -> str:
        return (
            f"Dial(url={self.url!r}, secret=<hidden>, dialect={self.dialect!r}, "
            f"generation={self.generation!r}, call_id={self.call_id!r})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [
            (name, "<hidden>" if name == "secret" else getattr(self, name))
            for name in self.__struct_fields__
        ]


class Press(msgspec.Struct, frozen=True):
    """One DTMF digit, ``at_s`` seconds after the session start."""

    at_s: float
    digit: str


class Video(msgspec.Struct, frozen=True):
    """One encoded picture, sent again every ``interval_s``, as a camera or a shared screen."""

    data: bytes
    mime: str
    width: int
    height: int
    source: Literal["camera", "screenshare"] = "camera"
    interval_s: float = 2.0


class Plan(msgspec.Struct, frozen=True):
    """One emulated call."""

    dial: Dial
    caller: Caller = Caller()
    direction: Direction = "inbound"
    thread_id: str = ""

    # C#: ask before the session, and how long the answer may take.
    ask_auth: bool = True
    auth_timeout_s: float = AUTH_TIMEOUT_S

    # StandIn: what session.start says, and what recording.status says ``recording_at_s``
    # seconds later; a negative time sends it before session.start. None: not said.
    recording_at_start: RecordingStatus | None = "active"
    recording: RecordingStatus | None = "active"
    recording_at_s: float = 0.0

    participants: int | None = 1  # StandIn: humans without the bot; None: not said
    video: Video | None = None
    presses: tuple[Press, ...] = ()

    ping_interval_s: float = PING_INTERVAL_S
    pong_timeout_s: float = PONG_TIMEOUT_S

    skew_ppm: float = 0.0  # so much faster than ours runs the far side's clock

    # When to hang up. None: not for that reason.
    duration_s: float | None = None  # after the session start
    silence_s: float | None = None  # the input ended, the bot answered and has been silent
    patience_s: float = 20.0  # with ``silence_s``: how long a first answer may take

    expect_speech: bool = False  # a call in which the bot never spoke has failed
