"""Taps: what sockets and calls tell becomes records of one file per call.

Implements ``calls.tape``. Owns which message is whose call's, what came and was decided
before a call existed, and which frame an event was decoded from. Lives on the event loop;
everything that costs is left to the writer's thread. Refuses to know files.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from pathlib import Path

import msgspec

from teamscall import __version__
from teamscall.calls.admission import Admission
from teamscall.calls.events import Setup
from teamscall.calls.link import Link
from teamscall.calls.settings import CallSettings
from teamscall.capture import codec
from teamscall.capture.admitting import packed
from teamscall.capture.content import Rule
from teamscall.capture.eliding import elide
from teamscall.capture.naming import file_name
from teamscall.capture.records import FORMAT_VERSION, NO_FRAME, Content, Frame, Header, Way
from teamscall.capture.writer import Track, Writer
from teamscall.wire.events import AuthRequested, Dropped, FromGateway, PlaceCall, ToGateway

# What is kept of a call that does not exist yet: its auth_request, and what StandIn sends
# while it is being decided (250 frames, 250 KB). Newer is dropped.
ASIDE_FRAMES = 320
ASIDE_BYTES = 512 * 1024
# Of all of them, and for how long; the oldest goes first. A grant lasts a minute.
ASIDE_CALLS = 256
ASIDE_BYTES_OF_ALL = 16 * 1024 * 1024
ASIDE_S = 120.0
# Decisions of a call that does not exist yet, and of how many of those; the oldest go first.
ADMISSIONS = 16
ADMISSION_CALLS = 256
# Whoever calls itself something longer is no caller to remember.
ADMISSION_CHARS = 2000

Message = FromGateway | ToGateway | Dropped
_FIRST = (AuthRequested, PlaceCall)


class Wanted(msgspec.Struct, frozen=True):
    """What the operator wants captured; ``max_bytes`` of one file."""

    content: Content
    max_bytes: int
    without_status: bool = False
    emulated: bool = False


class _Kept(msgspec.Struct, frozen=True):
    at: float
    way: Way
    text: bytes
    message: Message


class _Aside:
    """Frames of a call that may come."""

    def __init__(self, link: object, now: float) -> None:
        self.link = link
        self.since = now
        self.frames: list[_Kept] = []
        self.bytes = 0
        self.missing = 0

    def keep(self, kept: _Kept) -> int:
        if len(self.frames) >= ASIDE_FRAMES or self.bytes + len(kept.text) > ASIDE_BYTES:
            self.missing += 1
            return 0
        self.frames.append(kept)
        self.bytes += len(kept.text)
        return len(kept.text)


class CallTape:
    """Implements :class:`teamscall.calls.tape.Tape`; also one side's frames alone."""

    def __init__(self, track: Track, rule: Rule, on_close: Callable[[CallTape], None]) -> None:
        self._track = track
        self._rule = rule
        self._on_close = on_close
        self._index = 0
        self._decoded: dict[int, tuple[object, int]] = {}  # events to come, by identity
        self._latest: object = None
        self._latest_index = NO_FRAME
        self.link: object = None  # the socket that its messages came on last

    # --- frames -----------------------------------------------------------------------

    def frame(self, at: float, way: Way, text: bytes, message: Message) -> int:
        """One message; its index."""
        self._rule.follow(message)
        index, self._index = self._index, self._index + 1
        if self._rule.full:
            self._track.put(at, Frame(at, way, text, 0, index), len(text))
        else:
            self._track.put(at, functools.partial(_elided, at, way, text, index), len(text))
        if way == "in":
            self._latest, self._latest_index = message, index
        return index

    def before(self, aside: _Aside) -> None:
        """What was kept until the call began."""
        for kept in aside.frames:
            index = self.frame(kept.at, kept.way, kept.text, kept.message)
            if kept.way == "in":
                self._decoded[id(kept.message)] = (kept.message, index)
        for _ in range(aside.missing):
            self._track.skip("queue")
        self.link = aside.link

    # --- the conversation -------------------------------------------------------------

    def opened(self, now: float) -> None:
        self._track.put(now, codec.opening(now), 0)

    def step(self, now: float, event: object) -> None:
        index = NO_FRAME
        if event is self._latest:
            index = self._latest_index
        elif self._decoded and (known := self._decoded.pop(id(event), None)) is not None:
            index = known[1]
        make = functools.partial(codec.step, now, event, frame=index, elide=not self._rule.full)
        self._track.put(now, make, 0 if index != NO_FRAME else _weight(event))

    def did(self, command: object) -> None:
        make = functools.partial(codec.did, command, elide=not self._rule.full)
        self._track.put(self._track.latest, make, 0)

    def close(self, now: float, reason: str) -> None:
        self._track.close(now, reason)
        self._decoded.clear()
        self._on_close(self)


class Taps:
    """Implements :class:`teamscall.calls.tape.Tapes`: one file per call in ``directory``.

    Args:
        name: the file of a call by its id and wall time; default: ``file_name``.
    """

    def __init__(
        self,
        directory: Path,
        writer: Writer,
        wanted: Wanted,
        *,
        name: Callable[[str, int], str] = file_name,
        replace: bool = False,
    ) -> None:
        self.wanted = wanted
        self._directory = directory
        self._writer = writer
        self._name = name
        self._replace = replace
        self._tapes: dict[str, CallTape] = {}
        self._aside: collections.OrderedDict[str, _Aside] = collections.OrderedDict()
        self._aside_bytes = 0
        self._admissions: collections.OrderedDict[str, collections.deque[Admission]] = (
            collections.OrderedDict()
        )

    def heard(
        self, link: Link, call_id: str, text: bytes, event: FromGateway | Dropped, now: float
    ) -> None:
        if not isinstance(event, Dropped):
            self._frame(link, event.call_id, now, "in", text, event)
        elif call_id:
            self._frame(link, call_id, now, "in", text, event)
        else:  # nobody knows whose it is: it is of all that share the socket
            for tape in self._tapes.values():
                if tape.link is link:
                    tape.frame(now, "in", text, event)

    def said(self, link: Link, text: bytes, message: ToGateway, now: float) -> None:
        self._frame(link, message.call_id, now, "out", text, message)

    def decided(self, admission: Admission) -> None:
        call_id = admission.call_id
        said = msgspec.structs.astuple(admission.caller)
        if call_id in self._tapes or len(call_id) + sum(map(len, said)) > ADMISSION_CHARS:
            return
        kept = self._admissions.setdefault(call_id, collections.deque(maxlen=ADMISSIONS))
        kept.append(admission)
        self._admissions.move_to_end(call_id)
        if len(self._admissions) > ADMISSION_CALLS:
            self._admissions.popitem(last=False)

    def tape(self, setup: Setup, settings: CallSettings, began: float) -> CallTape | None:
        wanted, call_id = self.wanted, setup.call_id
        rule = Rule(
            wanted.content,
            setup.dialect,
            emulated=wanted.emulated,
            without_status=wanted.without_status,
            required=settings.recording_required,
        )
        shown, ours = setup, settings
        if rule.content == "timing":  # what the bot is to say are words too
            shown = msgspec.structs.replace(setup, opening="")
            ours = codec.without_words(settings)
        header = Header(
            FORMAT_VERSION,
            __version__,
            setup.dialect,
            call_id,
            setup.direction,
            "bridge",
            rule.content,
            rule.why,
            setup.wall_ms,
            began,
            codec.digest(settings),
            setup.engine_name,
            codec.setup_bytes(shown),
            codec.settings_bytes(ours),
            packed(self._admissions.pop(call_id, ())),
        )
        path = self._directory / self._name(call_id, setup.wall_ms)
        track = self._writer.open(path, header, max_bytes=wanted.max_bytes, replace=self._replace)
        tape = CallTape(track, rule, self._forget)
        if (aside := self._aside.pop(call_id, None)) is not None:
            self._aside_bytes -= aside.bytes
            tape.before(aside)
        rule.status = setup.recording  # as the call itself knows it
        self._tapes[call_id] = tape
        return tape

    def _forget(self, tape: CallTape) -> None:
        for call_id in [c for c, other in self._tapes.items() if other is tape]:
            del self._tapes[call_id]

    def _frame(
        self, link: object, call_id: str, now: float, way: Way, text: bytes, message: Message
    ) -> None:
        if (tape := self._tapes.get(call_id)) is not None:
            if way == "in":
                tape.link = link
            tape.frame(now, way, text, message)
            return
        aside = self._aside.get(call_id)
        if aside is not None and (aside.link is not link or isinstance(message, _FIRST)):
            # Another socket's claim to this call, or another call of the same name: what
            # was said before belongs to no other.
            self._let_go(call_id)
            aside = None
        if aside is None:
            aside = self._aside[call_id] = _Aside(link, now)
        self._aside_bytes += aside.keep(_Kept(now, way, text, message))
        while self._aside and (
            len(self._aside) > ASIDE_CALLS
            or self._aside_bytes > ASIDE_BYTES_OF_ALL
            or now - next(iter(self._aside.values())).since > ASIDE_S
        ):
            self._let_go(next(iter(self._aside)))

    def _let_go(self, call_id: str) -> None:
        self._aside_bytes -= self._aside.pop(call_id).bytes


def _elided(at: float, way: Way, text: bytes, index: int) -> Frame:
    left, elided = elide(text)
    return Frame(at, way, left, elided, index)


def _weight(event: object) -> int:
    """What an event weighs in the queue: an engine's audio is nearly all there is."""
    return len(getattr(event, "pcm", b"")) or 2 * len(getattr(event, "text", ""))
