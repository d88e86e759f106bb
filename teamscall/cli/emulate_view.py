"""How ``emulate`` looks: live on a terminal, plain lines elsewhere, JSON lines for scripts.

Owns printing and keys. The result goes to stdout, talk to stderr.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from teamscall.cli import streams
from teamscall.cli.emulate_words import gate, numbers, summary, words
from teamscall.cli.measures_view import as_json
from teamscall.cli.meters import METER_FLOOR_DBFS, meter
from teamscall.emulator import happenings as seen
from teamscall.emulator.controls import Controls
from teamscall.emulator.devices import Device
from teamscall.emulator.plan import DIGITS
from teamscall.emulator.report import Report
from teamscall.errors import TeamscallError
from teamscall.text import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

METER_COLUMNS = 24
LOG_LINES = 8
KEY_HELP = "m mute · 0-9 * # digits · r recording · + - participants · q hang up"


class View:
    """Says nothing: ``--quiet``. The others say more."""

    interactive = False
    many = False  # calls: each line says of which it is

    @contextmanager
    def live(self) -> Iterator[None]:
        """While the call runs."""
        yield

    def event(self, event: seen.EmulatorEvent, call_id: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass

    def error(self, error: TeamscallError, report: Report) -> None:
        _err(f"teamscall: {error.message}")
        if error.hint:
            _err(f"  {error.hint}")

    def interrupted(self, report: Report) -> None:
        """Stopped before there was a call."""

    def report(self, report: Report, files: Mapping[str, str]) -> None:
        for line in summary(report, files):
            print(line)


class PlainView(View):
    """One line per event on stderr."""

    def _which(self, call_id: str) -> str:
        return f"{printable(call_id, 9)}  " if self.many and call_id else ""

    def event(self, event: seen.EmulatorEvent, call_id: str = "") -> None:
        text = words(event)
        if text:
            _err(f"{event.at_ms / 1000:8.3f}  {self._which(call_id)}{text}")

    def note(self, text: str) -> None:
        _err(text)

    def warn(self, text: str) -> None:
        _err(f"warning: {text}")


class JsonView(View):
    """One JSON object per line on stdout: events as they come (without meters), the report."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def event(self, event: seen.EmulatorEvent, call_id: str = "") -> None:
        if not isinstance(event, seen.Levels):
            which = {"call_id": call_id} if call_id else {}
            self._put({"v": seen.VERSION, **msgspec.to_builtins(event), **which})

    def warn(self, text: str) -> None:
        if not self._quiet:
            _err(f"warning: {text}")

    def error(self, error: TeamscallError, report: Report) -> None:
        if not self._quiet:
            super().error(error, report)
        self.report(report, {})

    def interrupted(self, report: Report) -> None:
        self.report(report, {})

    def report(self, report: Report, files: Mapping[str, str]) -> None:
        body = msgspec.to_builtins(report)
        if report.measures is not None:
            body["measures"] = as_json(report.measures, snake=True)
        self._put({"v": body.pop("v"), "event": "report", **body, "files": dict(files)})

    def _put(self, body: dict[str, Any]) -> None:
        sys.stdout.write(msgspec.json.encode(body).decode() + "\n")
        sys.stdout.flush()


class LiveView(PlainView):
    """Meters, state, timings and the last events, redrawn ten times a second."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Any = None
        self._levels: seen.Levels | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._state = "dialling"
        self._who = ""
        self._latency: float | None = None
        self._caller = self._bot = False
        self._call_id = ""  # the newest: its meters are shown
        self.interactive = sys.stdin.isatty()

    @contextmanager
    def live(self) -> Iterator[None]:
        self._begin()
        try:
            yield
        finally:
            live, self._live = self._live, None
            if live is not None:
                live.update(self._draw(), refresh=True)
                live.stop()

    def _begin(self) -> None:
        from rich.live import Live

        # No thread of its own: redrawn by the ten level events a second.
        self._live = Live(self._draw(), console=self._console, auto_refresh=False)
        self._live.start()

    def note(self, text: str) -> None:
        self._console.print(printable(text), markup=False, highlight=False)

    def warn(self, text: str) -> None:
        self.note(f"warning: {text}")

    def event(self, event: seen.EmulatorEvent, call_id: str = "") -> None:
        if isinstance(event, seen.Ringing):
            self._call_id, self._levels, self._latency = call_id, None, None
        newest = call_id == self._call_id
        match event:
            case seen.Waiting():
                self._state, self._who = "waiting", event.listening or event.socket
            case seen.Ringing():
                self._state = "ringing"
                self._who = f"{event.target_type} {event.target}"
            case _ if not newest:
                pass  # of another call: only its line is shown
            case seen.Ended() if self.many:
                self._state, self._levels = "waiting", None
            case seen.PickedUp():
                self._state = "in call"
            case seen.Levels():
                self._levels = event
            case seen.Connected() if not call_id:
                self._state, self._who = "connected", f"{event.dialect} {printable(event.call_id)}"
            case seen.Started():
                self._state = "in call"
            case seen.CallerSpoke():
                self._caller = event.speaking
            case seen.BotSpoke():
                self._bot = event.speaking
                self._latency = event.latency_ms or self._latency
            case seen.LinkLost():
                self._state = "link lost"
            case seen.LinkResumed():
                self._state = "in call"
            case seen.Ended():
                self._state = event.outcome
        text = words(event)
        if text:
            self._log.append(f"{event.at_ms / 1000:7.2f}  {self._which(call_id)}{text}")
        if self._live is not None:
            # Between calls there are no levels that would redraw it.
            due = isinstance(event, seen.Levels) or self._levels is None
            self._live.update(self._draw(), refresh=due)

    def report(self, report: Report, files: Mapping[str, str]) -> None:
        # The picture goes to stderr and the report to stdout: not both at once. A picture that
        # was stopped would be drawn over what came after it: below the report is a new one.
        live, self._live = self._live, None
        if live is not None:
            live.transient = self.many
            live.update(self._draw(), refresh=True)
            live.stop()
        super().report(report, files)
        if live is not None and self.many:
            self._begin()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        levels = self._levels
        who = " · ".join(filter(None, (gate(levels), self._who)))
        head = Text.assemble((f" {self._state} ", "reverse"), " ", (who, "dim"))
        head.no_wrap, head.overflow = True, "ellipsis"
        meters = Table.grid(padding=(0, 1))
        meters.add_column(width=6)
        meters.add_column(width=METER_COLUMNS)
        meters.add_column(width=5, justify="right")
        meters.add_column(no_wrap=True, overflow="ellipsis")
        muted = levels is not None and levels.muted
        caller_dbfs = levels.caller_dbfs if levels else METER_FLOOR_DBFS
        bot_dbfs = levels.bot_dbfs if levels else METER_FLOOR_DBFS
        meters.add_row(
            "caller",
            Text(meter(caller_dbfs, METER_COLUMNS), "green"),
            f"{max(caller_dbfs, -96):.0f}",
            Text("muted", "bold yellow") if muted else ("speaking" if self._caller else ""),
        )
        meters.add_row(
            "bot",
            Text(meter(bot_dbfs, METER_COLUMNS), "cyan"),
            f"{max(bot_dbfs, -96):.0f}",
            "speaking" if self._bot else "",
        )
        rows: list[RenderableType] = [head, meters]
        if levels is not None:
            rows.append(
                Text(numbers(levels, self._latency), "dim", no_wrap=True, overflow="ellipsis")
            )
        rows += [Text(line, no_wrap=True, overflow="ellipsis") for line in self._log]
        if self.interactive:
            rows.append(Text(KEY_HELP, "dim", no_wrap=True, overflow="ellipsis"))
        return Group(*rows)


class Keys:
    """Keys of the terminal, as commands. The terminal is restored whatever happens."""

    def __init__(self, controls: Controls) -> None:
        self.controls = controls  # whose call the keys are for
        self._restore: Any = None
        self._stop = threading.Event()

    def __enter__(self) -> Keys:
        loop = asyncio.get_running_loop()
        if sys.platform == "win32":
            thread = threading.Thread(target=self._poll_windows, args=(loop,), daemon=True)
            thread.start()
            self._restore = thread.join
            return self
        import termios
        import tty

        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
        tty.setcbreak(fd)  # Ctrl-C stays Ctrl-C
        loop.add_reader(fd, self._read, fd)

        def restore() -> None:
            loop.remove_reader(fd)
            termios.tcsetattr(fd, termios.TCSADRAIN, before)

        self._restore = restore
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._restore()

    def press(self, key: str) -> None:
        """One key."""
        if key in DIGITS:
            self.controls.digit(key)
            return
        match key:
            case "m":
                self.controls.mute()
            case "r":
                self.controls.recording()
            case "+" | "=":
                self.controls.participants(1, relative=True)
            case "-":
                self.controls.participants(-1, relative=True)
            case "q":
                self.controls.hang_up("hung up by key")

    def _read(self, fd: int) -> None:
        for key in os.read(fd, 64).decode("ascii", "replace"):
            self.press(key)

    def _poll_windows(self, loop: asyncio.AbstractEventLoop) -> None:
        if sys.platform == "win32":
            import msvcrt

            while not self._stop.wait(0.05):
                while msvcrt.kbhit():
                    loop.call_soon_threadsafe(self.press, msvcrt.getwch())


def choose_view(*, json_lines: bool, quiet: bool) -> View:
    """JSON, nothing, live on a terminal that is nobody's CI, or plain lines."""
    if json_lines:
        return JsonView(quiet)
    if quiet:
        return View()
    return LiveView() if streams.live(sys.stderr) else PlainView()


def print_devices(devices: Sequence[Device], *, json_lines: bool) -> None:
    """What ``--list-devices`` prints."""
    for device in devices:
        if json_lines:
            print(msgspec.json.encode(device).decode())
            continue
        kinds = [
            f"{kind}{' (default)' if default else ''}"
            for kind, channels, default in (
                ("microphone", device.inputs, device.default_input),
                ("loudspeaker", device.outputs, device.default_output),
            )
            if channels
        ]
        print(f"{device.index:3}  {device.name}  [{', '.join(kinds)}]")
    if not devices:
        _err("This machine has no audio device.")


def _err(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
