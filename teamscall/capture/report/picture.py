"""A capture as a picture: one pass over its records.

Owns which record becomes what on the page. Refuses to know how any of it is drawn.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import msgspec

from teamscall.audio.measures import Measures
from teamscall.capture.eliding import kind_of
from teamscall.capture.measured import of_tracks
from teamscall.capture.reader import Capture
from teamscall.capture.records import Closed, Did, Dropped, Frame, Step
from teamscall.capture.report import facts, peaks
from teamscall.capture.report.decisions import Decisions
from teamscall.capture.report.flow import FRAME_S, BotFlow, CallerFlow, Trouble, losses
from teamscall.capture.report.marks import Marks
from teamscall.capture.report.parts import Gate, Picture, Track, Who
from teamscall.capture.report.thumbnails import Images
from teamscall.capture.report.turns import Turns, frames_of, with_measured
from teamscall.capture.report.utterances import Utterances
from teamscall.capture.sound import Tracks, tracks
from teamscall.errors import CaptureError
from teamscall.text import printable
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire

_AUDIO = frozenset({"audio.frame", "audio_in", "audio_out"})
# Of a call: what is later than this is no capture of one, and no axis for it.
LONGEST_S = 24 * 3600.0


def picture(capture: Capture, *, audio: bool = True) -> Picture:
    """The picture of a capture; ``audio``: with what can be played, where it has any."""
    told = _Teller(capture)
    told.tell()
    return told.picture(audio)


class _Teller:
    """Goes through the records once."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._header = capture.header
        self._codec = standin if capture.header.dialect == "standin" else csharp
        self._frames = {"in": 0, "out": 0}
        self._dropped = 0
        self._reason: str | None = None
        self._now = 0.0
        self._last = 0.0
        self._bot = BotFlow()
        self._callers: dict[str, CallerFlow] = {}
        self._troubles: list[Trouble] = []
        self._utterances = Utterances()
        self._turns = Turns(frames_of(capture.records))
        self._marks = Marks()
        self._images = Images()
        self._decisions = Decisions()
        self._gates: list[tuple[float, bool, str]] = []
        self._statuses: list[tuple[float, bool, str]] = []
        self._caller = wire.Caller()
        self._stopped: list[float] = []  # the bot, for the caller's voice

    def tell(self) -> None:
        for record in self._capture.records:
            match record:
                case Frame():
                    self._frames[record.way] += 1
                    if record.side in ("", self._header.side):
                        self._frame(record, self._at(record.at))
                case Step():
                    self._now = self._at(record.now)
                    if record.event is not None:
                        self._event(record, record.event.name, record.event.fields)
                case Did():
                    self._did(record.name, record.fields)
                case Dropped():
                    self._dropped += record.count
                    at = self._at(record.at)
                    words = "1 record is" if record.count == 1 else f"{record.count} records are"
                    text = f"{words} missing from the capture ({record.why})"
                    self._troubles.append(Trouble(at, at, "missing", "caller", note=text))
                    self._marks.add(at, "missing", "missing", text)
                    self._decisions.add(at, "call", "in", "missing", text)
                case Closed():
                    at = self._at(record.at)
                    self._reason = record.reason
                    reason = printable(record.reason, 80)
                    self._marks.add(at, "end", reason or "end", f"the call ended: {reason}")
                    self._decisions.add(at, "call", "out", "closed", reason)
                case _:
                    pass

    def _at(self, moment: float) -> float:
        at = round(min(max(moment - self._header.began, -LONGEST_S), LONGEST_S), 6)
        self._last = max(self._last, at)
        return at

    # --- the wire -----------------------------------------------------------------------

    def _frame(self, frame: Frame, at: float) -> None:
        kind = kind_of(frame.text)
        shown = max(0.0, at)
        if kind in _AUDIO:
            self._audio(frame, shown, kind)
            return
        decode = self._codec.decode_from_gateway
        message: object
        if frame.way == "in":
            message = decode(frame.text, call_id=self._header.call_id)
        else:
            message = self._codec.decode_to_gateway(frame.text, call_id=self._header.call_id)
        if not isinstance(message, wire.Pinged | wire.Pong):
            self._decisions.message(at, frame, kind)
        if isinstance(message, wire.Dropped):
            if frame.elided and kind == "dtmf":  # a key, whichever it was
                self._message(wire.DigitPressed(self._header.call_id, ""), shown)
            elif not frame.elided:
                note = f"{message.cause}: {printable(message.detail, 80)}".rstrip(": ")
                who: Who = "caller" if frame.way == "in" else "bot"
                self._troubles.append(Trouble(shown, shown, "refused", who, note=note))
            return
        self._message(message, shown)

    def _audio(self, frame: Frame, at: float, kind: str) -> None:
        if frame.way == "out":
            self._bot.frame(at, self._turns.sent())
            return
        if frame.elided:
            # Three bytes of PCM are four of base64.
            seconds = frame.elided * 3 // 4 / 2 / wire.SAMPLE_RATE
            head = _head(frame.text)
            if head is not None:
                seconds = round(seconds / FRAME_S) * FRAME_S or FRAME_S
                self._callers.setdefault("", CallerFlow()).frame(at, seconds, head.seq)
            return
        heard = self._codec.decode_from_gateway(frame.text, call_id=self._header.call_id)
        if isinstance(heard, wire.AudioIn):
            seconds = len(heard.pcm) / 2 / wire.SAMPLE_RATE
            flow = self._callers.setdefault(heard.speaker, CallerFlow())
            flow.frame(at, seconds, heard.seq)
        elif isinstance(heard, wire.Dropped):
            note = f"{heard.cause}: {printable(heard.detail, 80)}".rstrip(": ")
            self._troubles.append(Trouble(at, at, "refused", "caller", note=note))

    def _message(self, message: object, at: float) -> None:
        match message:
            case wire.AuthRequested(caller=caller) | wire.CallStarted(caller=caller):
                self._caller = caller if caller != wire.Caller() else self._caller
                if isinstance(message, wire.CallStarted) and message.recording is not None:
                    self._status(at, message.recording)
            case wire.RecordingChanged(status=status):
                self._status(at, status)
            case wire.Flush():
                self._bot.flush(at)
                if self._header.side == "emulator":
                    self._marks.add(at, "barge-in", "flush", "the bridge stopped its speech")
            case wire.DigitPressed(digit=digit):
                key = printable(digit, 4)
                self._marks.add(at, "digit", key or "•", f"key {key or '(not in the capture)'}")
            case wire.ParticipantsChanged(count=count):
                self._marks.add(at, "participants", f"{count} in call", f"{count} in the call")
            case wire.CallResumed():
                if self._header.side == "emulator":
                    self._marks.add(at, "link", "socket back", "the socket is back")
            case wire.VideoIn() | wire.ShowImage():
                self._images.add(at, message, self._marks)
            case _:
                pass

    def _status(self, at: float, status: str) -> None:
        if not self._statuses or self._statuses[-1][2] != status:
            self._statuses.append((at, status == "active", status))

    # --- the conversation ---------------------------------------------------------------

    def _event(self, step: Step, name: str, fields: Any) -> None:
        self._decisions.event(self._now, step)
        if name == "LinkLost":
            self._marks.add(self._now, "link", "socket lost", "the socket broke")
        elif name == "LinkResumed":
            self._marks.add(self._now, "link", "socket back", "the socket is back")
        elif name == "AnswerAudio":
            self._turns.gave(fields.get("turn"))

    def _did(self, name: str, fields: Any) -> None:
        if name in ("Hear", "AudioOut"):
            return
        at = max(0.0, self._now)
        self._decisions.did(self._now, name, fields)
        tell: Callable[[float, str, Any], None] | None = {
            "BeginUtterance": self._utterances.tell,
            "CommitUtterance": self._utterances.tell,
            "IgnoreUtterance": self._utterances.tell,
            "Heard": self._utterances.tell,
            "TurnBegan": self._turns.tell,
            "Said": self._turns.tell,
            "TurnEnded": self._turns.tell,
            "Interrupted": self._interrupted,
            "CarriedOn": self._carried_on,
            "EngineTrouble": self._marks.tell,
            "GateChanged": self._gate,
        }.get(name)
        if tell is not None:
            tell(at, name, fields)

    def _interrupted(self, at: float, name: str, fields: Any) -> None:
        self._turns.tell(at, name, fields)
        self._marks.tell(at, name, fields)
        if fields.get("by") == "caller" and fields.get("why") != "key":
            self._stopped.append(at)

    def _carried_on(self, at: float, name: str, fields: Any) -> None:
        self._bot.stopped()
        self._marks.tell(at, name, fields)

    def _gate(self, at: float, name: str, fields: Any) -> None:
        is_open = fields.get("open") is True
        status = printable(str(fields.get("status") or "no status yet"), 40)
        self._gates.append((at, is_open, f"gate {'open' if is_open else 'closed'} ({status})"))

    # --- the result ---------------------------------------------------------------------

    def picture(self, audio: bool) -> Picture:
        sound = self._sound()
        sounding = max(len(sound.caller), len(sound.bot)) / 2 / wire.SAMPLE_RATE if sound else 0.0
        length = max(self._last, sounding, FRAME_S)
        drawn: tuple[Track, ...] = ()
        measures: Measures | None = None
        if sound is not None:
            measures = of_tracks(sound)
            drawn = (
                peaks.track("caller", sound.caller, length=length, audio=audio),
                peaks.track("bot", sound.bot, length=length, audio=audio),
            )
        counts = facts.Counts(self._frames["in"], self._frames["out"], self._dropped, self._reason)
        heard = self._bot.heard()
        turns = with_measured(self._turns.told(heard, self._bot.first, length), measures)
        flows = [flow.troubles for flow in self._callers.values()]
        troubles = [*self._troubles, *self._bot.troubles, *(one for flow in flows for one in flow)]
        began = datetime.datetime.fromtimestamp(self._header.wall_ms / 1000, datetime.UTC)
        lost = losses(troubles)
        return Picture(
            name=printable(self._capture.path.name, 120),
            title=facts.title(self._header, self._caller),
            call_id=printable(self._header.call_id, 120),
            dialect=self._header.dialect,
            side=self._header.side,
            began=f"{began:%Y-%m-%d %H:%M:%S} UTC",
            length=round(length, 6),
            reason=printable(self._reason or "", 80),
            notes=facts.notes(self._capture, counts, sound),
            facts=facts.facts(self._capture, counts, self._caller),
            tracks=drawn,
            spoken=tuple(one.span for one in heard),
            utterances=self._utterances.told(length),
            turns=turns,
            marks=self._marks.told(),
            gates=_gates(self._gates, length, True) or _gates(self._statuses, length, False),
            losses=lost[:_MOST_LOSSES],
            images=self._images.told(),
            decisions=self._decisions.told(),
            measures=measures,
            stopped=tuple(self._stopped),
            more=tuple(
                text
                for text in (
                    self._decisions.more,
                    self._marks.more,
                    self._images.more,
                    _more(len(lost) - _MOST_LOSSES),
                )
                if text
            ),
        )

    def _sound(self) -> Tracks | None:
        try:
            return tracks(self._capture)
        except CaptureError:  # there is none in it
            return None


_MOST_LOSSES = 2000


def _more(count: int) -> str:
    return f"Left out, of troubles of frames: {count}" if count > 0 else ""


class _Head(msgspec.Struct):
    seq: int


def _head(text: bytes) -> _Head | None:
    try:
        return msgspec.json.decode(text, type=_Head)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def _gates(
    changes: list[tuple[float, bool, str]], length: float, closed_first: bool
) -> tuple[Gate, ...]:
    """Stretches between changes; before the first one a gate is closed."""
    if not changes:
        return ()
    if closed_first and changes[0][0] > 0:
        changes = [(0.0, False, "gate closed"), *changes]
    ends = [*(at for at, _, _ in changes[1:]), length]
    found = zip(changes, ends, strict=True)
    # A call begins with a gate that is closed for an instant, until its status is read.
    return tuple(
        Gate(at, end, is_open, label) for (at, is_open, label), end in found if end - at >= FRAME_S
    )
