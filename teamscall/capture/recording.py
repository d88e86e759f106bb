"""A capture as a conversation's story: what it was given, and what came of each of these.

Owns how records belong together, and what two of them are compared by. Refuses to know
what is done with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from teamscall.calls.admission import Admission
from teamscall.calls.events import Setup
from teamscall.calls.settings import CallSettings
from teamscall.capture import codec
from teamscall.capture.admitting import admissions_of
from teamscall.capture.diff import Moment
from teamscall.capture.reader import Capture
from teamscall.capture.records import OPEN, Did, Dropped, Frame, Record, Step
from teamscall.engines import base as engine
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire

_DECODE: dict[wire.Dialect, Callable[..., wire.FromGateway | wire.Dropped]] = {
    "csharp": csharp.decode_from_gateway,
    "standin": standin.decode_from_gateway,
}
_ENCODE: dict[wire.Dialect, Callable[[wire.ToGateway], bytes | None]] = {
    "csharp": csharp.encode_to_gateway,
    "standin": standin.encode_to_gateway,
}
_DIGESTED = 200  # bytes; of longer values only a digest is shown
# What is known of an elided message: how long its media was.
_SAID = {"AnswerText": "delta", "AnswerAudio": "text"}
_MEDIA = {"AudioIn": "pcm", "VideoIn": "data", "AnswerAudio": "pcm"}


class Given(msgspec.Struct, frozen=True):
    """One event and what came of it in the recording.

    ``event`` None: the beginning. ``misread``: the gateway's message, which this version
    reads no more. ``elided``: without what was said in it; so are its ``expected``.
    ``records``: from its step to its last command, as indices of the capture's.
    """

    at: float
    event: object
    expected: tuple[Moment, ...]
    did: tuple[Did, ...]
    records: range
    misread: Moment | None = None
    elided: bool = False


class Recording(msgspec.Struct, frozen=True):
    """A capture's story; ``stopped`` says why it ends before the call does.

    ``silenced``: turns of which not all that was said is known, because the call was not
    being recorded then; nothing that is said in them is compared. ``admissions``: the
    decisions that led to it.
    """

    setup: Setup
    settings: CallSettings
    began: float
    given: tuple[Given, ...]
    pongs: tuple[tuple[int, Moment, Moment], ...]  # the event before it; expected; what comes
    stopped: str
    silenced: frozenset[int] = frozenset()
    admissions: tuple[Admission, ...] = ()

    def hides(self, given: Given, command: object) -> bool:
        """Whether what is said in this is not compared."""
        return given.elided or getattr(command, "turn", None) in self.silenced

    def hides_sound(self, given: Given) -> bool:
        """Whether the bot is heard here with something that was left out."""
        unknown = bool(self.silenced) or given.elided
        return unknown and any(m.name == "AudioOut" and not m.body for m in given.expected)

    def events(self) -> list[Moment]:
        """What the conversation was given, to be looked at."""
        return [_given(given.event, given.at - self.began) for given in self.given]


def recording(capture: Capture) -> Recording:
    """The story of a capture.

    Raises:
        CaptureError: it was made by an emulator, has no audio, or does not fit together.
    """
    header = capture.header
    name = printable(str(capture.path))
    if header.side != "bridge":
        raise CaptureError(
            f"{name} was made by an emulator: the bridge's decisions are not in it.",
            hint="Replay what `serve --capture` or `demo --capture` made of the same call.",
        )
    if header.content != "full":
        raise CaptureError(
            f"{name} holds structure and timing only: what was heard is not in it.",
            hint="`teamscall capture info` says what a capture holds.",
        )
    setup, settings = codec.setup_of(header), codec.settings_of(header)
    return _Teller(capture, setup).tell(settings)


def moment_of(command: object, at_s: float, setup: Setup, *, elide: bool = False) -> Moment:
    """What came, as it is compared.

    Raises:
        ValueError: the dialect must not say this.
    """
    name = type(command).__name__
    if codec.is_wire_message(name):
        body = _ENCODE[setup.dialect](command) or b""  # type: ignore[arg-type]
        return Moment(at_s, "sent", name, body, getattr(command, "turn_id", None))
    return _moment(codec.did(command, elide=elide), at_s)


def _given(event: object, at_s: float) -> Moment:
    """Without the call's id; long values as their length and digest."""
    if event is None:
        return Moment(at_s, "given", "CallBegan")
    fields = msgspec.to_builtins(event, builtin_types=(bytes,))
    fields.pop("type", None)
    fields.pop("call_id", None)
    body = _json({name: _looked_at(value) for name, value in fields.items()})
    return Moment(at_s, "given", type(event).__name__, body)


def encode(command: wire.ToGateway, dialect: wire.Dialect) -> bytes | None:
    """What the bridge says, as its bytes; None: the dialect has no such message."""
    return _ENCODE[dialect](command)


class _Teller:
    """Goes through the records once."""

    def __init__(self, capture: Capture, setup: Setup) -> None:
        self._capture = capture
        self._setup = setup
        self._began = capture.header.began
        self._frames = {
            r.index: r
            for r in capture.records
            if isinstance(r, Frame) and r.way == "in" and r.side in ("", "bridge")
        }
        self._given: list[Given] = []
        self._pongs: list[tuple[int, Moment, Moment]] = []
        self._pinged: list[wire.Pinged] = []
        self._silenced: set[int] = set()
        self._silent: set[int] = set()  # those of them that are not over

    def tell(self, settings: CallSettings) -> Recording:
        records = self._capture.records
        stopped = self._capture.damage or ""
        at = 0
        while at < len(records):
            record = records[at]
            end = at + 1
            if isinstance(record, Dropped):
                words = "1 record is" if record.count == 1 else f"{record.count} records are"
                stopped = f"{words} missing ({record.why}), at {record.at - self._began:.3f} s"
                break
            if isinstance(record, Step):
                end = self._end(records, at)
                given = self._told(record, records, range(at, end))
                if given is not None and given.elided and self._was_heard(given, settings):
                    stopped = f"the call is not recorded, at {given.at - self._began:.3f} s"
                    break
                if given is None:
                    stopped = f"a message is missing, at {record.now - self._began:.3f} s"
                    break
                self._given.append(given)
            elif isinstance(record, Frame):
                self._between(record)
            at = end
        if stopped and self._given and self._given[-1].records.stop == at:
            self._given.pop()  # what came of it may be missing
        if not self._given or self._given[0].event is not None:
            name = printable(str(self._capture.path))
            raise CaptureError(f"{name} does not have the beginning of a call.")
        return Recording(
            self._setup,
            settings,
            self._began,
            tuple(self._given),
            tuple(self._pongs),
            stopped,
            frozenset(self._silenced),
            admissions_of(self._capture.header),
        )

    @staticmethod
    def _was_heard(given: Given, settings: CallSettings) -> bool:
        """Whether what was said, and left out, decided what came of it."""
        said = isinstance(given.event, wire.AudioIn | engine.Transcript)
        return said and not settings.recording_required

    @staticmethod
    def _end(records: Sequence[Record], at: int) -> int:
        """Past the last command of the step at ``at``, and that one's message."""
        end = at + 1
        while end < len(records):
            record = records[end]
            if isinstance(record, Frame):
                before = records[end - 1]
                message = isinstance(before, Did) and codec.is_wire_message(before.name)
                if record.way != "out" or record.side == "emulator" or not message:
                    break
            elif not isinstance(record, Did):
                break
            end += 1
        return end

    def _told(self, step: Step, records: Sequence[Record], where: range) -> Given | None:
        event, misread, elided = self._event(step)
        if event is _MISSING:
            return None
        own = [records[index] for index in where[1:]]
        did = tuple(record for record in own if isinstance(record, Did))
        turn = getattr(event, "turn", None)
        if elided and isinstance(turn, int):
            self._silenced.add(turn)
            self._silent.add(turn)
        elided = elided or any(record.elided for record in did)
        expected: list[Moment] = []
        for index, record in enumerate(own):
            if isinstance(record, Did):
                frame = own[index + 1] if index + 1 < len(own) else None
                sent = frame if isinstance(frame, Frame) else None
                hidden = elided or record.fields.get("turn") in self._silenced
                expected.append(self._expected(record, sent, step.now - self._began, hidden))
                if record.name == "TurnEnded":
                    self._silent.discard(record.fields.get("turn", 0))
        return Given(step.now, event, tuple(expected), did, where, misread, elided)

    def _event(self, step: Step) -> tuple[object, Moment | None, bool]:
        if step.event is not None:
            if step.event.name == OPEN:
                return None, None, False
            return _whole(step.event), None, bool(step.event.elided)
        frame = self._frames.get(step.frame)
        if frame is None:
            return _MISSING, None, False
        if frame.elided:
            frame = msgspec.structs.replace(frame, text=filled(frame.text, frame.elided))
        event = self._decode(frame)
        if isinstance(event, wire.Dropped):
            at_s = step.now - self._began
            return event, Moment(at_s, "given", "ReadableMessage", frame.text), False
        return event, None, bool(frame.elided)

    def _decode(self, frame: Frame) -> wire.FromGateway | wire.Dropped:
        return _DECODE[self._setup.dialect](frame.text, call_id=self._setup.call_id)

    def _expected(self, did: Did, frame: Frame | None, at_s: float, elide: bool) -> Moment:
        if codec.is_wire_message(did.name):
            silent = did.name == "AudioOut" and bool(self._silent)
            body = b"" if frame is None or frame.elided or silent else frame.text
            return Moment(at_s, "sent", did.name, body)
        if did.name == "Hear":
            fields = {**did.fields, "crc32": 0} if elide else did.fields
            return _moment(Did("Hear", fields), at_s)
        try:
            # Once more through its struct: fields that are new since then get their defaults.
            return _moment(codec.did(codec.command_of(did), elide=elide), at_s)
        except CaptureError:
            return _moment(did, at_s)

    def _between(self, frame: Frame) -> None:
        """What passes beside the conversation: a ping and its answer."""
        if frame.side not in ("", "bridge") or frame.elided:
            return
        if frame.way == "in":
            event = self._decode(frame)
            if isinstance(event, wire.Pinged):
                self._pinged.append(event)
            return
        if not self._pinged:
            return
        ping = self._pinged.pop(0)
        at_s = frame.at - self._began
        came = encode(wire.Pong(ping.call_id, ping.ts), self._setup.dialect) or b""
        expected = Moment(at_s, "sent", "Pong", frame.text)
        step = max(0, len(self._given) - 1)
        self._pongs.append((step, expected, Moment(at_s, "sent", "Pong", came)))


_MISSING = object()
_SPEECH = ("payloadBase64", "dataBase64", "data")


def filled(text: bytes, elided: int) -> bytes:
    """A message whose content was left out, with nothing worth hearing of about the same
    length in its place: it reads as its kind again."""
    try:
        whole = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return text
    if not isinstance(whole, dict):
        return text
    for key in whole:
        if key in _SPEECH:
            size = elided * 3 // 4
            # Whole frames where there are, as the C# dialect wants them.
            size -= size % wire.FRAME_BYTES if size >= wire.FRAME_BYTES else size % 2
            whole[key] = bytes(size or 2)
        elif key == "text":
            whole[key] = "?" * min(elided, standin.MAX_SAY_CHARS)
        elif key == "digit":
            whole[key] = "0"
    return msgspec.json.encode(whole)


def _whole(event: Any) -> object:
    """With silence of the same length where media was left out, and with something said where
    the bot's words were: that there were some is a decision's cause."""
    fields = dict(event.fields)
    field, words = _MEDIA.get(event.name), _SAID.get(event.name)
    if field is not None and event.elided.get(field):
        fields[field] = bytes(event.elided[field])
    if words is not None and event.elided.get(words):
        fields[words] = "?" * min(event.elided[words], standin.MAX_SAY_CHARS)
    return codec.event_of(msgspec.structs.replace(event, fields=fields))


def _moment(did: Did, at_s: float) -> Moment:
    turn = did.fields.get("turn")
    body = _json(did.fields)
    return Moment(at_s, "did", did.name, body, turn if isinstance(turn, int) else None)


def _looked_at(value: object) -> object:
    if isinstance(value, bytes | str) and len(value) > _DIGESTED:
        data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
        unit = "bytes" if isinstance(value, bytes) else "characters"
        return f"{len(value)} {unit}, {zlib.crc32(data):08x}"
    return value


def _json(fields: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(fields)
