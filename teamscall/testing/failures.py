"""What goes wrong, where and how often.

A failure is put on the plan for a stage and taken by the next attempts there. Refuses to
know how a stage carries it out.
"""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec

from teamscall.errors import ConfigError
from teamscall.text import printable

Stage = Literal["hear", "think", "speak", "session", "models"]
"""``hear``: transcription sockets, and transcripts in any session. ``think``: chat and
responses. ``speak``: the speech endpoint, and what a session is told to read aloud.
``session``: voice sockets and their answers. ``models``: the list of models."""

Moment = Literal["answer", "connect"]
"""On a socket: at the next answer (a transcript, a response), or as it is opened."""


class _Failure(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"
):
    """Has a ``kind``, so that it can be written down."""


class Refuse(_Failure, frozen=True, kw_only=True, tag="refuse"):
    """An HTTP error instead of an answer, or of the upgrade."""

    status: int = 500
    code: str | None = None
    message: str = ""
    retry_after_s: float | None = None
    at: Moment = "connect"


class Stall(_Failure, frozen=True, kw_only=True, tag="stall"):
    """Nothing more comes after this fraction of the answer; the connection stays open.

    A socket stalled as it is opened says ``session.created`` and ``session.updated``,
    takes audio, and never says anything again. ``headers=False``: over HTTP, not even the
    status.
    """

    after: float = 0.0
    headers: bool = True
    at: Moment = "answer"


class Empty(_Failure, frozen=True, kw_only=True, tag="empty"):
    """A success without content: 200 and no bytes, an empty transcript, no audio."""

    at: Moment = "answer"


class Drop(_Failure, frozen=True, kw_only=True, tag="drop"):
    """The connection ends after this fraction of the answer.

    ``code``: of the close frame; 1006 is a reset without one, as always over HTTP.
    """

    after: float = 0.0
    code: int = 1006
    reason: str = ""
    at: Moment = "answer"


class Report(_Failure, frozen=True, kw_only=True, tag="report"):
    """The service says that it failed, after this fraction: an error in the event stream,
    a failed transcription, a failed response. The connection stays usable."""

    after: float = 0.0
    code: str = "server_error"
    message: str = "The server had an error while processing your request."
    at: Moment = "answer"


Failure = Refuse | Stall | Empty | Drop | Report


class Plan:
    """The failures to come, per stage, first in, first out."""

    def __init__(self) -> None:
        self._next: dict[str, deque[tuple[Failure, int | None]]] = {}
        self.carried_out: list[tuple[Stage, Failure]] = []

    def fail(self, stage: Stage, failure: Failure, *, times: int | None = 1) -> None:
        """The next ``times`` attempts at ``stage`` fail so; None: all, until ``clear``."""
        if times != 0:
            self._next.setdefault(stage, deque()).append((failure, times))

    def clear(self, stage: Stage | None = None) -> None:
        """Forget what has not happened yet, of one stage or all."""
        if stage is None:
            self._next.clear()
        else:
            self._next.pop(stage, None)

    def take(self, stage: Stage, moment: Moment | None = None) -> Failure | None:
        """What this attempt at ``stage`` shall suffer; None: nothing.

        ``moment``: on sockets, only failures meant for it.
        """
        waiting = self._next.get(stage)
        if not waiting or (moment is not None and waiting[0][0].at != moment):
            return None
        failure, times = waiting[0]
        if times is not None:
            waiting.popleft()
            if times > 1:
                waiting.appendleft((failure, times - 1))
        self.carried_out.append((stage, failure))
        return failure


def parse_failure(text: str) -> tuple[Stage, Failure, int | None]:
    """Read ``STAGE:KIND[:KEY=VALUE...]``, such as ``speak:stall:after=0.5:times=2``.

    ``times`` is how often; without it: always.

    Raises:
        ConfigError: it is wrong; the message says how.
    """
    stage, _, rest = text.partition(":")
    kind, *pairs = rest.split(":")
    fields: dict[str, object] = {"kind": kind}
    for pair in pairs:
        name, _, value = pair.partition("=")
        fields[name] = value
    times = fields.pop("times", None)
    try:
        return (
            msgspec.convert(stage, Stage),
            msgspec.convert(fields, Failure, strict=False),
            msgspec.convert(times, int | None, strict=False),
        )
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"The failure {printable(text, 80)} is wrong: {printable(str(error))}.",
            hint="Write STAGE:KIND[:KEY=VALUE...], such as speak:stall:after=0.5:times=2.",
        ) from error


def spare(pieces: int, failure: Failure | None) -> int:
    """How many of an answer's ``pieces`` come before ``failure`` strikes (all without one)."""
    if isinstance(failure, Stall | Drop | Report):
        return min(pieces, int(pieces * failure.after))
    return pieces
