"""``emulate --script`` and ``--calls``: from options to scripted calls and back.

Owns which option wins over the script, the files, the signals and the exit code. Refuses to
know steps and verdicts (``emulator.scenario``) and looks (``emulate_script_view``).
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import msgspec

from teamscall.cli.asking import Door
from teamscall.cli.dialling import SECRET_ENV, read_secret
from teamscall.cli.emulate_capture import captured
from teamscall.cli.emulate_run import (
    DEFAULT_SILENCE_S,
    Options,
    make_plan,
    read_impairments,
    write,
)
from teamscall.cli.emulate_script_view import ScriptView, choose_view
from teamscall.cli.emulate_senses import BridgeWitness, Senses
from teamscall.cli.outputs import check_writable
from teamscall.cli.stopping import stop_on_signals
from teamscall.clock import SystemClock
from teamscall.emulator import happenings, sources
from teamscall.emulator.controls import Controls
from teamscall.emulator.devices import Loudspeaker
from teamscall.emulator.scenario import baseline as earlier
from teamscall.emulator.scenario import steps as script
from teamscall.emulator.scenario.file import read_scenario
from teamscall.emulator.scenario.load import MAX_CALLS, CallOf, Load, Watch, play_many
from teamscall.emulator.scenario.performance import StepBegan, StepEnded
from teamscall.emulator.scenario.run import rendered
from teamscall.emulator.tracks import Tracks
from teamscall.errors import ExitCode, InputError, OutputLost, TeamscallError

# What belongs into the script when there is one.
_IN_SCRIPT = (
    "wav",
    "say",
    "mic",
    "dtmf",
    "duration",
    "hang_up_after",
    "patience",
    "expect_speech",
    "answer",
)
# Options that a script's [call] table sets where they are not typed; other names differ.
_FROM_CALL = (
    "url",
    "dialect",
    "generation",
    "call_id",
    "direction",
    "name",
    "user_id",
    "tenant_id",
    "upn",
    "phone",
    "thread_id",
    "recording",
    "participants",
    "auth",
)


def play_script(options: Options) -> ExitCode:
    """Do what the command line says; every deliberate error is printed.

    Raises:
        OutputLost: there is nowhere to print to any more.
    """
    view = choose_view(json_lines=options.json_lines, quiet=options.quiet)
    try:
        return asyncio.run(act(options, view))
    except OutputLost:
        raise
    except TeamscallError as error:
        view.error(error)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        view.interrupted()
        return ExitCode.INTERRUPTED


async def act(options: Options, view: ScriptView) -> ExitCode:
    """Play what the options say, print the verdict.

    Raises:
        TeamscallError: the script, a file or an option cannot be used, or the only call
            could not be made.
        OutputLost: there is nowhere to print to any more.
    """
    calls = 1 if options.calls is None else options.calls
    _check(options, calls)
    scenario = _scenario(options)
    options = _merged(options, scenario)
    plan = make_plan(options, read_secret(options.secret, options.secret_file))
    if options.secret is not None:
        view.warn(f"--secret is visible to others in ps; use --secret-file or ${SECRET_ENV}")
    outs, stereos = _numbered(options.out, calls), _numbered(options.stereo, calls)
    check_writable(
        {f"--out {number}": path for number, path in enumerate(outs, 1)}
        | {f"--stereo {number}": path for number, path in enumerate(stereos, 1)}
        | {"--capture": options.capture, "--save-baseline": options.save_baseline},
        reads=options.baseline,
    )
    before = None
    if options.baseline is not None:
        tolerance = earlier.TOLERANCE if options.tolerance is None else options.tolerance / 100
        before = earlier.read_baseline(
            options.baseline, name=scenario.name, calls=calls, tolerance=tolerance
        )
    view.many = calls > 1
    controls = [Controls() for _ in range(calls)]
    tracks = [Tracks() for _ in range(calls)]
    async with AsyncExitStack() as stack:
        senses = await stack.enter_async_context(Senses())
        if scenario.needs_voice:
            view.note("loading the offline voice")
        speech = await rendered(scenario, senses)
        await senses.silence_voices()
        if scenario.needs_ears:
            view.note("loading the offline ear")
            await senses.listen()
        witness = BridgeWitness(_door(options)) if scenario.needs_witness else None
        hear = None
        if options.speaker:
            loudspeaker = Loudspeaker(options.speaker_device)
            stack.callback(loudspeaker.close)
            hear = loudspeaker.play
        with ExitStack() as running:
            far_side = running.enter_context(
                captured(options.capture, options.dialect, options.direction, view.warn)
            )
            stage = _Stage(view, controls)
            running.enter_context(stop_on_signals(stage.interrupt, lambda: stage.connected))
            load = await play_many(
                scenario,
                plan,
                calls=calls,
                ramp_s=options.ramp or 0.0,
                clock=SystemClock(),
                speech=speech,
                ears=senses,
                witness=witness,
                watch=Watch(stage.event, stage.step, stage.over),
                controls=controls,
                tracks=tracks,
                hear=hear,
                tap=None if far_side is None else far_side.tap,
                baseline=before,
                stop=stage.stop,
            )
    files = _files(options, load, tracks, outs, stereos)
    if options.save_baseline is not None and not load.passed:
        view.warn("the run did not pass: its figures are no baseline, and none was written")
    if stage.lost is not None:
        raise stage.lost
    view.result(load, files)
    return load.exit_code


class _Stage:
    """Tells the view; when nobody reads any more or a signal came, hangs up all calls and has
    no more placed."""

    def __init__(self, view: ScriptView, controls: list[Controls]) -> None:
        self.connected = False
        self.stop = asyncio.Event()
        self.lost: OutputLost | None = None
        self._view = view
        self._controls = controls

    def interrupt(self) -> None:
        self.stop.set()
        for one in self._controls:
            one.hang_up("interrupted", interrupted=True)

    def event(self, number: int, event: happenings.EmulatorEvent) -> None:
        self.connected = self.connected or isinstance(event, happenings.Connected)
        self._told(self._view.event, number, event)

    def step(self, number: int, event: StepBegan | StepEnded) -> None:
        self._told(self._view.step, number, event)

    def over(self, number: int, call: CallOf) -> None:
        self._told(self._view.over, number, call)

    def _told(self, tell: Any, number: int, what: Any) -> None:
        if self.lost is not None:
            return
        try:
            tell(number, what)
        except OutputLost as error:  # it must not tear the calls: they are hung up
            self.lost = error
            self.interrupt()


def _check(options: Options, calls: int) -> None:
    """Options that do not go together.

    Raises:
        InputError: some.
    """
    if options.script is not None:
        for name in _IN_SCRIPT:
            if name in options.given:
                raise InputError(
                    f"--{name.replace('_', '-')} does not go with --script.",
                    hint="Say it in the script.",
                )
    if not 1 <= calls <= MAX_CALLS:
        raise InputError(
            f"--calls is to be from 1 to {MAX_CALLS}.", hint="0 is for --answer: until stopped."
        )
    if calls > 1:
        for name in ("mic", "speaker", "capture"):
            if getattr(options, name):
                raise InputError(f"--{name} is for one call, not for --calls {calls}.")


def _scenario(options: Options) -> script.Scenario:
    """The script, or what ``--wav`` and ``--say`` mean as one."""
    typed = "dialect" in options.given
    if options.script is not None:
        found = read_scenario(options.script, dialect=options.dialect if typed else None)  # type: ignore[arg-type]
    else:
        found = _plain(options)
    if options.impair:
        found = msgspec.structs.replace(found, impairments=read_impairments(options.impair))
    return found


def _plain(options: Options) -> script.Scenario:
    quiet_s = DEFAULT_SILENCE_S if options.hang_up_after is None else options.hang_up_after
    actions: list[tuple[str, script.Action]] = [
        ("wait", script.Wait(sources.LEAD_IN_MS / 1000)),
    ]
    if options.wav is not None:
        from teamscall.audio.wav import read_wav

        sound = script.PlaySound(options.wav.name, read_wav(options.wav))
        actions.append((f"play {options.wav.name}", sound))
    elif options.say is not None:
        actions.append((f"say “{options.say}”", script.Say(options.say)))
    if len(actions) > 1 and options.duration is None:
        answer = script.WaitForSound("answer", options.patience + quiet_s, quiet_s)
        actions.append(("wait_for answer", answer))
    elif options.duration is not None:
        actions.append((f"wait {options.duration:g}", script.Wait(options.duration)))
    else:
        raise InputError(
            "Many calls need something to do.", hint="Give --script, --wav, --say or --duration."
        )
    expect = script.Expectation(spoke=True) if options.expect_speech else None
    steps = tuple(script.Step(n, what, action) for n, (what, action) in enumerate(actions, 1))
    return script.Scenario(
        "calls", steps, dialect=options.dialect, expect=expect  # type: ignore[arg-type]
    )  # fmt: skip


def _merged(options: Options, scenario: script.Scenario) -> Options:
    """What is typed wins over the script, the script over what is usual."""
    changes = {
        name: scenario.call[name]
        for name in _FROM_CALL
        if name in scenario.call and name not in options.given
    }
    if options.script is not None:
        changes["dialect"] = scenario.dialect
    return msgspec.structs.replace(options, **changes)


def _door(options: Options) -> Door:
    """Where ``--control`` says, or as every command finds a bridge."""
    if "://" in options.control:
        return Door(url=options.control, token_file=options.control_token_file)
    return Door(socket=options.control, token_file=options.control_token_file)


def _numbered(path: Path | None, calls: int) -> list[Path | None]:
    """Of each call: ``a.wav``, or ``a-1.wav``, ``a-2.wav``, ... of many."""
    if path is None or calls == 1:
        return [path] * calls
    return [path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(1, calls + 1)]


def _files(
    options: Options,
    load: Load,
    tracks: list[Tracks],
    outs: list[Path | None],
    stereos: list[Path | None],
) -> dict[str, str]:
    """Write what was asked for; the names by option."""
    files: dict[str, str] = {}
    for number, (out, stereo, sound) in enumerate(zip(outs, stereos, tracks, strict=True), 1):
        for option, name in write(out, stereo, sound).items():
            files[option if len(tracks) == 1 else f"{option}{number}"] = name
    if options.save_baseline is not None and load.passed:
        name, calls = load.name, load.figures.calls
        try:
            options.save_baseline.write_bytes(earlier.written(name, calls, load.figures.by_name()))
        except OSError as error:
            raise InputError(
                f"The baseline cannot be written: {error.strerror or error}."
            ) from error
        files["saveBaseline"] = str(options.save_baseline)
    return files
