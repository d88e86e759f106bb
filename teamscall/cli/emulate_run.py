"""From ``emulate``'s options to a call and back: plan, sound, files, signals, exit code.

Owns no rule of a call (they are in ``emulator``) and no look (``emulate_view``).
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from teamscall.cli.dialling import SECRET_ENV, read_secret
from teamscall.cli.emulate_capture import captured
from teamscall.cli.emulate_view import Keys, View, choose_view, print_devices
from teamscall.cli.outputs import check_writable
from teamscall.cli.stopping import stop_on_signals
from teamscall.clock import SystemClock
from teamscall.emulator import happenings, sources
from teamscall.emulator.call import run_call
from teamscall.emulator.controls import Controls
from teamscall.emulator.devices import Loudspeaker, Microphone, list_devices
from teamscall.emulator.dial import shown
from teamscall.emulator.impaired_link import Weather
from teamscall.emulator.impairments import Impairments
from teamscall.emulator.picture import read_video
from teamscall.emulator.plan import DIGITS, Dial, Generation, Plan, Press
from teamscall.emulator.report import Report, failed
from teamscall.emulator.tracks import Tracks, with_measures
from teamscall.errors import ExitCode, InputError, OutputLost, TeamscallError
from teamscall.text import printable
from teamscall.wire.events import Caller, Dialect, Direction, RecordingStatus

# Digits without a time: the first after this, each one this much after the one before.
FIRST_DIGIT_S = 1.0
DIGIT_STEP_S = 0.5

# With a WAV or a text, the call ends when the bot has been silent this long.
DEFAULT_SILENCE_S = 3.0


class Options(msgspec.Struct, frozen=True):
    """The command line, as typed."""

    url: str
    secret: str | None
    secret_file: Path | None
    dialect: str
    generation: str
    call_id: str
    ca: Path | None
    insecure: bool
    wav: Path | None
    say: str | None
    mic: bool
    device: str
    speaker: bool
    speaker_device: str
    list_devices: bool
    user_id: str
    tenant_id: str
    name: str
    upn: str
    phone: str
    thread_id: str
    direction: str
    auth: bool
    auth_timeout: float
    recording: str
    recording_after: float
    participants: int
    video: Path | None
    video_source: str
    video_interval: float
    dtmf: str
    ping_interval: float
    duration: float | None
    hang_up_after: float | None
    patience: float
    expect_speech: bool
    out: Path | None
    stereo: Path | None
    capture: Path | None
    answer: str | None
    ring: float | None
    calls: int | None
    listen: str
    late: float | None
    leg_first: bool
    own_socket: bool
    no_socket: bool
    script: Path | None
    ramp: float | None
    impair: tuple[str, ...] | None
    baseline: Path | None
    save_baseline: Path | None
    tolerance: float | None
    control: str
    control_token_file: str
    given: frozenset[str]  # options that were typed
    json_lines: bool
    quiet: bool

    def __repr__(self) -> str:  # the secret is among them
        return f"Options(url={self.url!r}, ...)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url)]


def place(options: Options) -> ExitCode:
    """Do what the command line says; every deliberate error is printed.

    Raises:
        OutputLost: there is nowhere to print to any more.
    """
    view = choose_view(json_lines=options.json_lines, quiet=options.quiet)
    try:
        if options.list_devices:
            print_devices(list_devices(), json_lines=options.json_lines)
            return ExitCode.OK
        if options.answer is not None:
            from teamscall.cli.emulate_called import take

            return asyncio.run(take(options, view))
        if options.script is not None or options.calls not in (None, 1):
            from teamscall.cli.emulate_script import play_script

            return play_script(options)
        report = asyncio.run(_call(options, view))
    except OutputLost:
        raise
    except TeamscallError as error:
        report = failed(
            error,
            url=shown(options.url),
            call_id=options.call_id,
            dialect=cast(Dialect, options.dialect),
            direction=cast(Direction, options.direction),
        )
        view.error(error, report)
    except (KeyboardInterrupt, asyncio.CancelledError):
        report = Report(
            outcome="interrupted",
            exit_code=int(ExitCode.INTERRUPTED),
            reason="interrupted before the call",
            call_id=options.call_id,
            url=shown(options.url),
            dialect=cast(Dialect, options.dialect),
            direction=cast(Direction, options.direction),
        )
        view.interrupted(report)
    return ExitCode(report.exit_code)


async def _call(options: Options, view: View) -> Report:
    plan = make_plan(options, read_secret(options.secret, options.secret_file))
    if options.secret is not None:
        view.warn(f"--secret is visible to others in ps; use --secret-file or ${SECRET_ENV}")
    check_writable(
        {"--out": options.out, "--stereo": options.stereo, "--capture": options.capture},
        reads=options.wav,
    )
    impairments = read_impairments(options.impair)
    plan = msgspec.structs.replace(plan, skew_ppm=impairments.skew_ppm)
    controls = Controls()
    tracks = Tracks()
    with ExitStack() as stack:
        source = await _source(options, view)
        stack.callback(source.close)
        play = None
        if options.speaker:
            loudspeaker = Loudspeaker(options.speaker_device)
            stack.callback(loudspeaker.close)
            play = loudspeaker.play
        connected = False
        lost: OutputLost | None = None

        def on_event(event: happenings.EmulatorEvent) -> None:
            nonlocal connected, lost
            connected = connected or isinstance(event, happenings.Connected)
            try:
                view.event(event)
            except OutputLost as error:  # it must not tear the call: it is hung up
                lost = error
                controls.hang_up("stdout cannot be written", interrupted=True)

        stack.enter_context(
            stop_on_signals(
                lambda: controls.hang_up("interrupted", interrupted=True), lambda: connected
            )
        )
        stack.enter_context(view.live())
        if view.interactive:
            stack.enter_context(Keys(controls))
        far_side = stack.enter_context(
            captured(options.capture, options.dialect, options.direction, view.warn)
        )
        report = await run_call(
            plan,
            source,
            clock=SystemClock(),
            on_event=on_event,
            controls=controls,
            tracks=tracks,
            play=play,
            tap=None if far_side is None else far_side.tap,
            weather=Weather(impairments, SystemClock()),
        )
    report = await with_measures(report, tracks)
    files = write(options.out, options.stereo, tracks)
    if lost is not None:
        raise lost
    view.report(report, files)
    return report


def make_plan(options: Options, secret: bytes) -> Plan:
    """The plan that these options mean.

    Raises:
        InputError: an option does not fit.
    """
    if not options.url.strip():
        raise InputError("There is no --url.", hint="For instance --url ws://127.0.0.1:9442.")
    if sum((options.mic, options.wav is not None, options.say is not None)) > 1:
        raise InputError("Only one of --mic, --wav and --say can be used.")
    standin = options.dialect == "standin"
    called = ("ring", "listen", "late", "leg_first", "own_socket", "no_socket")
    for name in called if options.answer is None else ():
        if (value := getattr(options, name)) not in (None, "") and value is not False:
            raise InputError(
                f"--{name.replace('_', '-')} is for a call that the bridge places.",
                hint="Say with --answer what becomes of it, for instance --answer pick-up.",
            )
    scripted = ("script", "ramp", "impair", "baseline", "save_baseline", "control")
    for name in scripted if options.answer is not None else ():
        if getattr(options, name):
            raise InputError(
                f"--{name.replace('_', '-')} is for calls that are placed here, not with --answer."
            )
    many = options.script is not None or options.calls not in (None, 1)
    for name in () if many else ("ramp", "baseline", "save_baseline", "tolerance", "control"):
        if getattr(options, name) not in (None, ""):
            raise InputError(f"--{name.replace('_', '-')} is for --script or --calls.")
    if not standin and (options.dtmf or options.video):
        raise InputError("The C# gateway dialect has neither digits nor video.")
    status = None if options.recording == "none" else cast(RecordingStatus, options.recording)
    silence_s = options.hang_up_after
    if silence_s is None and (options.wav or options.say is not None):
        silence_s = DEFAULT_SILENCE_S
    late = options.recording_after != 0
    return Plan(
        dial=Dial(
            url=options.url,
            secret=secret,
            dialect=cast(Dialect, options.dialect),
            generation=cast(Generation, options.generation),
            call_id=options.call_id,
            verify_tls=not options.insecure,
            ca_file=str(options.ca or ""),
        ),
        caller=Caller(
            user_id=options.user_id,
            tenant_id=options.tenant_id,
            display_name=options.name,
            user_principal_name=options.upn,
            phone_number=options.phone,
        ),
        direction=cast(Direction, options.direction),
        thread_id=options.thread_id,
        ask_auth=options.auth,
        auth_timeout_s=options.auth_timeout,
        recording_at_start="unknown" if late and status is not None else status,
        recording=status,
        recording_at_s=options.recording_after,
        participants=options.participants,
        video=None
        if options.video is None
        else read_video(
            options.video,
            source=cast(Literal["camera", "screenshare"], options.video_source),
            interval_s=options.video_interval,
        ),
        presses=parse_digits(options.dtmf),
        ping_interval_s=options.ping_interval,
        duration_s=options.duration,
        silence_s=silence_s,
        patience_s=options.patience,
        expect_speech=options.expect_speech,
    )


def parse_digits(text: str) -> tuple[Press, ...]:
    """``1,2,#`` or ``1@3.5,#@4``: digits, each with its second of the call if given.

    Raises:
        InputError: something else.
    """
    presses: list[Press] = []
    at = FIRST_DIGIT_S
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        digit, has_time, second = part.partition("@")
        try:
            at = float(second) if has_time else at
        except ValueError:
            digit = ""
        if digit not in DIGITS or not 0 <= at < float("inf"):
            raise InputError(
                f"“{printable(part)}” is not a digit to press.",
                hint="Like 1,2,# or 1@3.5 (the digit and the second).",
            )
        presses.append(Press(at, digit))
        at += DIGIT_STEP_S
    return tuple(presses)


def read_impairments(pairs: tuple[str, ...] | None) -> Impairments:
    """``--impair``: each as KEY=VALUE, where a script has a table.

    Raises:
        InputError: something is none of them; every mistake is named.
    """
    from teamscall.emulator.scenario.values import impairments

    table: dict[str, Any] = {}
    problems: list[str] = []
    for pair in pairs or ():
        key, _, text = pair.partition("=")
        way, dot, inner = key.strip().rpartition(".")
        into = table.setdefault(way, {}) if dot else table
        try:
            into[inner] = float(text) if "." in text or "e" in text.lower() else int(text)
        except ValueError:
            problems.append(f"“{printable(pair, 60)}” is not KEY=NUMBER, as in loss_percent=2")
    found = impairments(table, lambda key, why: problems.append(f"{key} {why}"))
    if problems:
        raise InputError(f"--impair: {'; '.join(problems)}.")
    return found


async def _source(options: Options, view: View) -> sources.Source:
    if options.mic:
        return Microphone(options.device)
    if options.wav is not None:
        return sources.after_lead_in(sources.wav(options.wav))
    if options.say is not None:
        from teamscall.engines.offline.synthesise import synthesise

        view.note("loading the offline voice")
        return sources.after_lead_in(sources.Pcm(await synthesise(options.say)))
    return sources.Silence()


def write(out: Path | None, stereo: Path | None, tracks: Tracks) -> dict[str, str]:
    """Write the files that were asked for and hold sound; return their names by option."""
    from teamscall.audio.wav import write_stereo, write_wav

    files: dict[str, str] = {}
    if out is not None and tracks.reply:
        write_wav(out, tracks.reply)
        files["out"] = str(out)
    if stereo is not None and tracks.caller:
        write_stereo(stereo, tracks.caller, tracks.bot)
        files["stereo"] = str(stereo)
    return files
