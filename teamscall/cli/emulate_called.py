"""``emulate --answer``: from options to a phone that is called, and back.

Owns no rule of a call (they are in ``emulator``) and no look (``emulate_view``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from teamscall.capture.far_side import FarSide
from teamscall.cli.dialling import SECRET_ENV, read_secret
from teamscall.cli.emulate_capture import captured
from teamscall.cli.emulate_run import Options, make_plan, write
from teamscall.cli.emulate_view import Keys, View
from teamscall.cli.outputs import check_writable
from teamscall.cli.stopping import stop_on_signals
from teamscall.clock import SystemClock
from teamscall.emulator import happenings, sources
from teamscall.emulator.answering import MAX_LINES, Answer, Answering, Asked
from teamscall.emulator.called import Ends, Phone
from teamscall.emulator.controls import Controls
from teamscall.emulator.devices import Loudspeaker, Microphone
from teamscall.emulator.dial import shown
from teamscall.emulator.report import Report
from teamscall.emulator.tracks import Tracks
from teamscall.errors import ExitCode, InputError, OutputLost, TeamscallError
from teamscall.text import printable
from teamscall.wire.events import Dialect

# StandIn's control endpoint (protocol/standin.md).
STANDIN_LISTEN = "127.0.0.1:9440"

Sound = Callable[[], sources.Source]


async def take(options: Options, view: View) -> ExitCode:
    """Wait for calls and take them; the exit code of the last one that went wrong.

    Raises:
        TeamscallError: no call can be waited for.
        OutputLost: there is nowhere to print to any more.
    """
    answering = make_answering(options)
    plan = make_plan(options, read_secret(options.secret, options.secret_file))
    if options.secret is not None:
        view.warn(f"--secret is visible to others in ps; use --secret-file or ${SECRET_ENV}")
    check_writable(
        {"--out": options.out, "--stereo": options.stereo, "--capture": options.capture},
        reads=options.wav,
    )
    view.many = answering.calls != 1
    with ExitStack() as stack:
        play = None
        if options.speaker:
            loudspeaker = Loudspeaker(options.speaker_device)
            stack.callback(loudspeaker.close)
            play = loudspeaker.play
        household = _Household(options, view, await _sound(options, view), play)
        household.far_side = far_side = stack.enter_context(
            captured(options.capture, options.dialect, "outbound", view.warn)
        )
        tap = None if far_side is None else far_side.tap
        phone = Phone(plan, answering, household, SystemClock(), tap)
        household.stop = phone.stop
        stack.enter_context(stop_on_signals(household.interrupt, lambda: True))
        stack.enter_context(view.live())
        if view.interactive:
            household.keys = stack.enter_context(Keys(household.idle))
        await phone.run()
    if household.lost is not None:
        raise household.lost
    if household.interrupted and not household.taken and answering.calls:
        view.interrupted(_nobody_called(options))
        return ExitCode.INTERRUPTED
    return household.code


def make_answering(options: Options) -> Answering:
    """How calls are answered, as these options say.

    Raises:
        InputError: an option does not fit.
    """
    standin = options.dialect == "standin"
    for name in ("own_socket", "no_socket") if standin else ("leg_first",):
        if getattr(options, name):
            other = "csharp" if standin else "standin"
            raise InputError(f"--{name.replace('_', '-')} is for --dialect {other}.")
    if options.call_id:
        raise InputError("A call that the bridge places has no --call-id of ours.")
    if options.no_socket and not options.listen:
        raise InputError(
            "Without a socket, nobody can ask for a call.",
            hint="Give --listen HOST:PORT for the gateway's control plane.",
        )
    answer = cast(Answer, options.answer)
    if answer != "pick-up" and (options.late is not None or options.expect_speech):
        name = "--late" if options.late is not None else "--expect-speech"
        raise InputError(f"{name} is for --answer pick-up.")
    if options.late is not None and options.ring is not None:
        raise InputError("With --late it rings until the bridge stops it: --ring does not fit.")
    where = options.listen or (STANDIN_LISTEN if standin else "")
    return Answering(
        answer=answer,
        ring_s=options.ring,
        late_s=options.late,
        calls=1 if options.calls is None else options.calls,
        lines=1 if options.mic or options.speaker else MAX_LINES,
        listen=parse_listen(where) if where else None,
        leg_first=options.leg_first,
        own_socket=options.own_socket,
        hold_socket=not options.no_socket,
    )


def parse_listen(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPv6]:PORT``, ``:PORT`` or ``PORT``; without a host: this machine only.

    Raises:
        InputError: something else.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise InputError(
            f"“{printable(text)}” is not an address to listen on.",
            hint="Like 127.0.0.1:9440; port 0 takes any free one.",
        )
    return host, int(port)


# Many calls may be up at once: where no file was asked for, 38 MB of each are enough to
# measure it by.
MEASURED_MS = 600_000


class _IdleHands(Controls):
    """The keys while nobody calls: only hanging up means anything."""

    def __init__(self, stop: Callable[[], None]) -> None:
        super().__init__()
        self._stop = stop

    def hang_up(self, reason: str = "hangup", *, interrupted: bool = False) -> bool:
        self._stop()
        return True


class _Household:
    """Sound, keys, view and files for each call."""

    def __init__(
        self, options: Options, view: View, sound: Sound, play: Callable[[bytes], None] | None
    ) -> None:
        self.stop: Callable[[], None] = lambda: None
        self.idle = _IdleHands(self.interrupt)
        self.keys: Keys | None = None
        self.far_side: FarSide | None = None
        self.lost: OutputLost | None = None
        self.interrupted = False
        self.taken = 0
        self.code = ExitCode.OK
        self._options = options
        self._view = view
        self._sound = sound
        self._play = play
        self._up: list[Controls] = []  # of the calls under way, oldest first

    def interrupt(self) -> None:
        """Ctrl-C, or a key while nobody calls."""
        self.interrupted = True
        self.stop()

    def told(self, event: happenings.EmulatorEvent) -> None:
        self._show(event, "")

    def rung(self, asked: Asked) -> Ends:
        self.taken += 1
        try:
            source = self._sound()
        except TeamscallError as error:  # a microphone that was there before
            self._view.warn(f"silence is sent: {error.message}")
            source = sources.Silence()
        controls = Controls()
        self._up.append(controls)
        self._hold_keys()
        call_id = asked.call_id
        return Ends(
            source,
            controls,
            lambda event: self._show(event, call_id),
            Tracks() if self._options.out or self._options.stereo else Tracks(MEASURED_MS),
            self._play,
        )

    def over(self, asked: Asked, ends: Ends, report: Report) -> None:
        if self.far_side is not None:
            self.far_side.over(asked.call_id)
        self._up.remove(ends.controls)
        self._hold_keys()
        if report.exit_code:
            self.code = ExitCode(report.exit_code)
        files: dict[str, str] = {}
        try:
            if ends.tracks is not None:
                out, stereo = (self._numbered(p) for p in (self._options.out, self._options.stereo))
                files = write(out, stereo, ends.tracks)
        except OSError as error:
            self._view.warn(f"the sound could not be written: {error.strerror or error}")
            self.code = ExitCode.FAILED
        try:
            self._view.report(report, files)
        except OutputLost as error:
            self._lose(error)

    def _hold_keys(self) -> None:
        if self.keys is not None:
            self.keys.controls = self._up[-1] if self._up else self.idle

    def _numbered(self, path: Path | None) -> Path | None:
        if path is None or self.taken == 1:
            return path
        return path.with_stem(f"{path.stem}-{self.taken}")

    def _show(self, event: happenings.EmulatorEvent, call_id: str) -> None:
        try:
            self._view.event(event, call_id)
        except OutputLost as error:  # it must not tear a call: all are hung up
            self._lose(error)

    def _lose(self, error: OutputLost) -> None:
        if self.lost is None:
            self.lost = error
            self.stop()


async def _sound(options: Options, view: View) -> Sound:
    """Makes what is spoken in each call; what cannot be made is said now."""
    if options.mic:
        Microphone(options.device).close()
        return lambda: Microphone(options.device)
    if options.wav is not None:
        path = options.wav
        sources.wav(path)
        return lambda: sources.after_lead_in(sources.wav(path))
    if options.say is not None:
        from teamscall.engines.offline.synthesise import synthesise

        view.note("loading the offline voice")
        pcm = await synthesise(options.say)
        return lambda: sources.after_lead_in(sources.Pcm(pcm))
    return sources.Silence


def _nobody_called(options: Options) -> Report:
    return Report(
        outcome="interrupted",
        exit_code=int(ExitCode.INTERRUPTED),
        reason="interrupted before a call came",
        call_id="",
        url=shown(options.url),
        dialect=cast(Dialect, options.dialect),
        direction="outbound",
    )
