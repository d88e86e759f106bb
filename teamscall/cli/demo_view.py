"""How the demo looks: live on a terminal, plain lines in a pipe, JSON lines for machines.

Owns the view and the files that are written at the end. Talk goes to stderr, the summary
to stdout.
"""

from __future__ import annotations

import abc
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from teamscall.audio.wav import write_stereo, write_wav
from teamscall.calls import records
from teamscall.cli import logs, streams
from teamscall.cli.demo_run import QUESTION, Demo, Result, demo_flags, question_wav
from teamscall.cli.measures_view import as_json, brief
from teamscall.cli.meters import filled
from teamscall.cli.outputs import check_writable
from teamscall.cli.settings import load
from teamscall.cli.stopping import stop_on_signals
from teamscall.emulator import happenings
from teamscall.emulator.devices import Loudspeaker, Microphone
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Pcm, Source, wav
from teamscall.engines.offline.synthesise import synthesise
from teamscall.errors import ExitCode, OutputLost, TeamscallError
from teamscall.server.run import Running
from teamscall.text import kebab, printable
from teamscall.wire.events import Dialect

MIC_SECONDS = 120.0  # a demo with a microphone ends by itself
_STAGES = (
    ("endpoint_ms", "pause noticed"),
    ("transcript_ms", "words known"),
    ("first_text_ms", "first word thought"),
    ("first_audio_ms", "first sound made"),
    ("first_frame_ms", "first frame sent"),
)


async def play_demo(
    *,
    say: str | None,
    wav: Path | None,
    mic: bool,
    device: str | None,
    dialect: Dialect,
    engine: str | None,
    out: Path,
    stereo: Path | None,
    capture: Path | None,
    patience: float,
    config: Path | None,
    pairs: Sequence[str],
    json_lines: bool,
) -> ExitCode:
    """Run the demo and show it; return the exit code.

    Raises:
        TeamscallError: the input, the configuration, an engine or a port cannot be used.
        asyncio.CancelledError: it was interrupted before there was a call.
    """
    check_writable({"--out": out, "--stereo": stereo, "--capture": capture}, reads=wav)
    flags = demo_flags(dialect) | ({"engine": engine} if engine else {})
    # A file is used only when it is named: the demo must not depend on what lies around.
    loaded = load(config or Path(os.devnull), flags, pairs)
    logs.set_up("text", "error")
    view: _View
    if json_lines:
        view = _JsonView()
    elif streams.live(sys.stderr):
        view = _LiveView()
    else:
        view = _PlainView()
    demo: Demo | None = None

    def hang_up() -> None:
        if demo is not None:  # with a microphone it is the way to end the demo
            demo.controls.hang_up(interrupted=not mic)

    def in_call() -> bool:
        return demo is not None and demo.in_call

    try:
        with view, stop_on_signals(hang_up, in_call) as stop:
            view.on_lost = stop
            view.note("preparing the question" if say else "loading the engine")
            source, spoken, play = await _input(say, wav, mic, device)
            if say:
                view.note("loading the engine")
            demo = Demo(loaded.config, dialect, source, spoken)
            result = await demo.run(
                on_ready=view.ready,
                on_record=view.record,
                on_event=view.event,
                play=play,
                patience_s=patience,
                duration_s=MIC_SECONDS if mic else None,
                capture=capture,
            )
    finally:
        if view.lost is not None:
            raise view.lost
    write_wav(out, demo.tracks.reply)
    if stereo is not None:
        write_stereo(stereo, demo.tracks.caller, demo.tracks.bot)
    if json_lines:
        _print_json(result, out, stereo)
    else:
        _print_summary(result, out, stereo)
    if result.report.outcome == "interrupted":
        return ExitCode.INTERRUPTED
    return ExitCode.OK if result.ok else ExitCode.FAILED


async def _input(
    say: str | None, path: Path | None, mic: bool, device: str | None
) -> tuple[Source, str, Callable[[bytes], None] | None]:
    """The caller's sound, the words in it where they are known, and the loudspeaker."""
    if mic:
        microphone = Microphone(device or "")
        return microphone, "", Loudspeaker().play
    if path is not None:
        return wav(path), "", None
    if say is not None:
        return Pcm(await synthesise(say)), say, None
    return Pcm(question_wav()), QUESTION, None


# --- views -------------------------------------------------------------------------------


class _View(abc.ABC):
    """What is shown while the call goes on."""

    lost: OutputLost | None = None  # why nothing more can be shown
    on_lost: Callable[[], None] = staticmethod(lambda: None)

    def __enter__(self) -> _View:
        return self

    def __exit__(self, *_: object) -> None:  # most have nothing to end
        pass

    @abc.abstractmethod
    def note(self, text: str) -> None: ...

    def ready(self, bridge: Running) -> None:
        self.note(f"{bridge.listening[0].urls[0]} answers with {bridge.engine.describe()}")

    @abc.abstractmethod
    def record(self, record: records.CallRecord) -> None: ...

    @abc.abstractmethod
    def event(self, event: happenings.EmulatorEvent) -> None: ...


class _JsonView(_View):
    """One object per line on stdout: records of the call, events of the emulator."""

    def note(self, text: str) -> None:
        self._put({"event": "note", "text": text})

    def record(self, record: records.CallRecord) -> None:
        fields = msgspec.to_builtins(record)
        self._put({"event": kebab(fields.pop("type")), "side": "bridge", **fields})

    def event(self, event: happenings.EmulatorEvent) -> None:
        if not isinstance(event, happenings.Levels):
            self._put({"side": "emulator", **msgspec.to_builtins(event)})

    def _put(self, line: dict[str, object]) -> None:
        try:
            print(json.dumps({"v": 1, **line}, ensure_ascii=False), flush=True)
        except OutputLost as error:  # raised at the end: here it would tear the call
            self.lost = self.lost or error
            self.on_lost()


class _PlainView(_View):
    """Lines on stderr, for pipes and CI."""

    def note(self, text: str) -> None:
        print(printable(text, 300), file=sys.stderr, flush=True)

    def record(self, record: records.CallRecord) -> None:
        if isinstance(record, records.Heard) and record.final:
            self.note(f"caller: {record.text}")
        elif isinstance(record, records.TurnEnded):
            cut = " [cut]" if record.status == "interrupted" else ""
            self.note(f"bot:    {record.heard_text}{cut}")
        elif isinstance(record, records.EngineTrouble):
            self.note(f"engine: {record.stage}: {record.detail}")

    def event(self, event: happenings.EmulatorEvent) -> None:
        if isinstance(event, happenings.Connected):
            self.note(f"connected in {event.handshake_ms:.0f} ms as a {event.dialect} call")
        elif isinstance(event, happenings.Warned):
            self.note(f"warning: {event.text}")


class _LiveView(_View):
    """Both sides as they speak, meters, latency by stage; redrawn in place."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._live = Live(console=console, refresh_per_second=10, transient=True)
        self._note = ""
        self._lines: list[tuple[str, str, str]] = []  # who, text, style
        self._levels: happenings.Levels | None = None
        self._turn: records.TurnEnded | None = None

    def __enter__(self) -> _View:
        self._live.__enter__()
        return self

    def __exit__(self, *stop: object) -> None:
        self._live.update(self._picture(), refresh=True)
        self._live.transient = False  # the last picture stays
        self._live.__exit__(None, None, None)

    def note(self, text: str) -> None:
        self._note = printable(text, 300)
        self._live.update(self._picture(), refresh=True)

    def record(self, record: records.CallRecord) -> None:
        if isinstance(record, records.Heard):
            self._put("caller", record.text, "cyan" if record.final else "cyan dim", record.final)
        elif isinstance(record, records.Said):
            self._more("bot", record.delta)
        elif isinstance(record, records.TurnEnded):
            self._turn = record
            if record.status == "interrupted":
                self._put("bot", f"{record.heard_text} [cut]", "green", True)
            self._close("bot")
        elif isinstance(record, records.EngineTrouble):
            self._put("engine", f"{record.stage}: {record.detail}", "red", True)
        self._live.update(self._picture())

    def event(self, event: happenings.EmulatorEvent) -> None:
        if isinstance(event, happenings.Levels):
            self._levels = event
        elif isinstance(event, happenings.Connected):
            self._note = f"on a {event.dialect} call at {event.url}"
        elif isinstance(event, happenings.Warned):
            self._put("note", event.text, "yellow", True)
        elif isinstance(event, happenings.Ended):
            self._note = f"call over: {event.reason or event.outcome}"
        self._live.update(self._picture())

    def _put(self, who: str, text: str, style: str, final: bool) -> None:
        """Replace the line of ``who`` that is still forming, or begin one."""
        line = (who if final else f"{who}…", printable(text, 500), style)
        for index in range(len(self._lines) - 1, -1, -1):
            if self._lines[index][0] == f"{who}…":
                self._lines[index] = line
                return
        self._lines.append(line)

    def _more(self, who: str, delta: str) -> None:
        forming = next((text for name, text, _ in self._lines if name == f"{who}…"), "")
        glue = " " if forming and delta[:1].isspace() else ""
        self._put(who, f"{forming}{glue}{printable(delta, 500)}", "green", False)

    def _close(self, who: str) -> None:
        self._lines = [
            (who, text, style) if name == f"{who}…" else (name, text, style)
            for name, text, style in self._lines
        ]

    def _picture(self) -> RenderableType:
        width = self._live.console.width
        parts: list[RenderableType] = [
            Text(f"teamscall demo: {self._note}", style="bold", overflow="ellipsis", no_wrap=True)
        ]
        if self._lines:
            talk = Table.grid(padding=(0, 1))
            talk.add_column(width=7, no_wrap=True)
            talk.add_column(overflow="fold")
            for who, text, style in self._lines[-12:]:
                talk.add_row(Text(who, style="dim"), Text(text, style=style))
            parts.append(talk)
        if self._levels is not None:
            parts.append(self._meters(self._levels, width))
        if self._turn is not None:
            parts.append(_stages(self._turn))
        return Group(*parts)

    def _meters(self, levels: happenings.Levels, width: int) -> RenderableType:
        bar = max(10, (width - 30) // 2)
        grid = Table.grid(padding=(0, 1))
        grid.add_row(
            Text("caller", style="dim"),
            _meter(levels.caller_dbfs, bar),
            Text("bot", style="dim"),
            _meter(levels.bot_dbfs, bar),
        )
        counts = (
            f"frames {levels.sent_frames} out, {levels.received_frames} in   "
            f"buffered {levels.buffered_ms} ms   late {levels.late_max_ms:.1f} ms   "
            f"gaps {levels.gaps}"
        )
        return Group(grid, Text(counts, style="dim", overflow="ellipsis", no_wrap=True))


def _meter(dbfs: float, width: int) -> Text:
    full = filled(dbfs, width)
    style = "red" if dbfs > -1 else "yellow" if dbfs > -9 else "green"
    return Text("█" * full, style=style) + Text("░" * (width - full), style="dim")


def _stages(turn: records.TurnEnded) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for words, at_ms, took_ms in _timeline(turn.latency):
        grid.add_row(
            Text(f"  {words}", style="dim"),
            Text(f"{at_ms:7.0f} ms", style="bold"),
            Text(f"+{took_ms:.0f}", style="dim"),
        )
    return Group(Text("from the caller's last sound:", style="dim"), grid)


def _timeline(latency: records.TurnLatency) -> list[tuple[str, float, float]]:
    """Each stage with its moment and the time since the one before, in ms.

    In the order in which they came: an answer may be thought of before the pause is over.
    """
    known = [(getattr(latency, field), words) for field, words in _STAGES]
    came = sorted(((at, words) for at, words in known if at is not None), key=lambda one: one[0])
    befores = [0.0, *(at for at, _ in came)]
    return [(words, at, at - before) for (at, words), before in zip(came, befores, strict=False)]


# --- the end -------------------------------------------------------------------------------


def _print_summary(result: Result, out: Path, stereo: Path | None) -> None:
    # A pipe has no width: one line per fact. A terminal wraps at words.
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    report = result.report
    rows = [
        ("heard", " ".join(result.heard) or "nothing"),
        ("said", " ".join(result.said) or "nothing"),
        ("latency", _latency_words(result)),
        *_measured(report),
        ("frames", _frame_words(report)),
        ("ended", f"{result.closed.reason if result.closed else report.reason}"),
        ("reply", str(out) + (f", call: {stereo}" if stereo else "")),
    ]
    good = "The agent heard, understood and answered."
    if not result.heard:
        good = "The caller's own voice came back."
    verdict = good if result.ok else result.failed
    console.print(Text(verdict, style="bold green" if result.ok else "bold red"))
    if not sys.stdout.isatty():
        for name, value in rows:
            console.print(f"  {name:<8}{printable(value, 1000)}", markup=False)
        return
    grid = Table.grid(padding=(0, 1))
    for name, value in rows:
        grid.add_row(Text(f"  {name}", style="dim"), Text(printable(value, 1000)))
    console.print(grid)


def _latency_words(result: Result) -> str:
    turn = next((t for t in result.turns if t.kind == "answer"), None)
    if not result.turns:
        return "not measured: the engine took no turn"
    if turn is None or turn.latency.first_frame_ms is None:
        return "not measured: there was no answer"
    parts = [f"{words} +{took_ms:.0f}" for words, _, took_ms in _timeline(turn.latency)]
    total = turn.latency.first_frame_ms
    return f"{total:.0f} ms from the last sound to the first frame ({', '.join(parts)})"


def _measured(report: Report) -> list[tuple[str, str]]:
    """What the sound of both sides says: as a caller hears it, behind the far side's buffer."""
    if report.measures is None:
        return []
    found = "; ".join(f"{label} {words}" for label, words in brief(report.measures))
    return [("by ear", found)]


def _frame_words(report: Report) -> str:
    jitter = report.received.interval
    return (
        f"{report.sent.frames} sent, {report.received.frames} received, "
        f"interval p50 {jitter.p50:.1f} p95 {jitter.p95:.1f} max {jitter.max:.1f} ms, "
        f"{report.heard.gaps} gaps"
    )


def print_failure(error: TeamscallError | None) -> None:
    """The summary, as JSON, of a demo that an error (None: an interruption) prevented."""
    summary = {
        "v": 1,
        "event": "summary",
        "ok": False,
        "failed": error.message if error else "Interrupted before the call.",
        "hint": error.hint if error else "",
    }
    print(json.dumps(summary, ensure_ascii=False), flush=True)


def _print_json(result: Result, out: Path, stereo: Path | None) -> None:
    report = msgspec.to_builtins(result.report)
    if result.report.measures is not None:
        report["measures"] = as_json(result.report.measures, snake=True)
    summary = {
        "v": 1,
        "event": "summary",
        "ok": result.ok,
        "failed": result.failed,
        "heard": result.heard,
        "said": result.said,
        "words_heard": result.words_heard,
        "turns": msgspec.to_builtins(result.turns),
        "closed": msgspec.to_builtins(result.closed),
        "report": report,
        "reply": str(out),
        "stereo": str(stereo) if stereo else None,
    }
    print(json.dumps(summary, ensure_ascii=False), flush=True)
