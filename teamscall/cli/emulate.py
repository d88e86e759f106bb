"""``teamscall emulate``: play the far side against any bridge."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from teamscall.cli.dialling import PANEL as _DIAL
from teamscall.cli.dialling import (
    CaOption,
    GenerationOption,
    InsecureOption,
    SecretFileOption,
    SecretOption,
)
from teamscall.cli.emulate_names import (
    AnswerName,
    DialectName,
    DirectionName,
    GenerationName,
    RecordingName,
    VideoSource,
)

_HELP = (
    "Play a Teams gateway against any bridge: dial, sign, speak, listen, measure.\n\n"
    "With --answer, be called: wait until the bridge places a call, ring, and answer it or "
    "not. Everything that a call can do works once it is picked up.\n\n"
    "Keys on a terminal: m mute, 0-9 * # digits, r recording on and off, + and - "
    "participants, q hang up (decline while it rings).\n\n"
    "With --script, a caller does what a file says, and what must come of it is judged; with "
    "--calls, many of them at once.\n\n"
    "Exit codes: 0 the call was played, or not answered as it was asked for, 1 it failed "
    "(with --expect-speech: the bot never spoke; with --late: it did not hang up; with a "
    "script: something expected did not hold, or this machine was too busy to tell), 2 wrong "
    "options, files or script, 4 nothing answers, the port is taken or the link was lost, "
    "5 refused, 6 no authorization in time, 130 interrupted."
)
_SOUND, _WHO, _CALL, _END = "Sound", "Caller", "The call", "Ending and output"
_CALLED = "Being called"
_SCRIPT = "Scripts, bad networks, many callers"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("emulate", help=_HELP)(emulate)


def emulate(
    context: typer.Context,
    url: Annotated[
        str,
        typer.Option(
            help="The bridge: host:port, or a ws:// or wss:// URL with or without its path.",
            rich_help_panel=_DIAL,
        ),
    ] = "",
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    dialect: Annotated[
        DialectName, typer.Option(help="Which gateway to play.", rich_help_panel=_DIAL)
    ] = DialectName.STANDIN,
    generation: GenerationOption = GenerationName.BOTH,
    call_id: Annotated[str, typer.Option(help="Default: a new one.", rich_help_panel=_DIAL)] = "",
    ca: CaOption = None,
    insecure: InsecureOption = False,
    wav: Annotated[
        Path | None, typer.Option(help="Speak this WAV file.", rich_help_panel=_SOUND)
    ] = None,
    say: Annotated[
        str | None,
        typer.Option(help="Speak this text with the offline voice.", rich_help_panel=_SOUND),
    ] = None,
    mic: Annotated[
        bool, typer.Option("--mic", help="Speak from a microphone.", rich_help_panel=_SOUND)
    ] = False,
    device: Annotated[
        str,
        typer.Option(help="Microphone, by index or part of its name.", rich_help_panel=_SOUND),
    ] = "",
    speaker: Annotated[
        bool, typer.Option("--speaker", help="Hear the bot aloud.", rich_help_panel=_SOUND)
    ] = False,
    speaker_device: Annotated[
        str,
        typer.Option(help="Loudspeaker, by index or part of its name.", rich_help_panel=_SOUND),
    ] = "",
    list_devices: Annotated[
        bool,
        typer.Option("--list-devices", help="List them and exit.", rich_help_panel=_SOUND),
    ] = False,
    user_id: Annotated[
        str, typer.Option(help="The caller's object id.", rich_help_panel=_WHO)
    ] = "00000000-0000-4000-8000-000000000001",
    tenant_id: Annotated[
        str, typer.Option(help="The caller's tenant.", rich_help_panel=_WHO)
    ] = "00000000-0000-4000-8000-00000000000a",
    name: Annotated[
        str, typer.Option(help="The caller's display name.", rich_help_panel=_WHO)
    ] = "Emulated Caller",
    upn: Annotated[
        str, typer.Option(help="The caller's address (csharp).", rich_help_panel=_WHO)
    ] = "",
    phone: Annotated[
        str, typer.Option(help="The caller's number (csharp).", rich_help_panel=_WHO)
    ] = "",
    thread_id: Annotated[
        str, typer.Option(help="Meeting or channel (standin).", rich_help_panel=_WHO)
    ] = "",
    direction: Annotated[
        DirectionName, typer.Option(help="Who called whom.", rich_help_panel=_CALL)
    ] = DirectionName.INBOUND,
    auth: Annotated[
        bool,
        typer.Option(
            "--auth/--no-auth", help="Send auth_request first (csharp).", rich_help_panel=_CALL
        ),
    ] = True,
    auth_timeout: Annotated[
        float,
        typer.Option(
            min=0.001, max=14.999, help="Seconds to wait for its answer.", rich_help_panel=_CALL
        ),
    ] = 2.0,
    recording: Annotated[
        RecordingName, typer.Option(help="Recording status (standin).", rich_help_panel=_CALL)
    ] = RecordingName.ACTIVE,
    recording_after: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Say it this much after the start (until then: unknown); negative: before it.",
            rich_help_panel=_CALL,
        ),
    ] = 0.0,
    participants: Annotated[
        int,
        typer.Option(min=0, help="Humans in the call (standin).", rich_help_panel=_CALL),
    ] = 1,
    video: Annotated[
        Path | None,
        typer.Option(help="A JPEG or PNG to send as video (standin).", rich_help_panel=_CALL),
    ] = None,
    video_source: Annotated[
        VideoSource, typer.Option(help="What the picture is.", rich_help_panel=_CALL)
    ] = VideoSource.CAMERA,
    video_interval: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds between pictures.", rich_help_panel=_CALL),
    ] = 2.0,
    dtmf: Annotated[
        str,
        typer.Option(
            metavar="DIGITS",
            help="Digits to press, like 1,2,# or 1@3.5 for a second (standin).",
            rich_help_panel=_CALL,
        ),
    ] = "",
    ping_interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between pings.", rich_help_panel=_CALL)
    ] = 30.0,
    duration: Annotated[
        float | None,
        typer.Option(min=0.0, help="Hang up after this many seconds.", rich_help_panel=_END),
    ] = None,
    hang_up_after: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Hang up when the input has ended, the bot has answered and been silent this "
            "long. Default with --wav and --say: 3.",
            rich_help_panel=_END,
        ),
    ] = None,
    patience: Annotated[
        float,
        typer.Option(
            min=0.0, help="Seconds to wait for a first answer before that.", rich_help_panel=_END
        ),
    ] = 20.0,
    expect_speech: Annotated[
        bool,
        typer.Option(
            "--expect-speech", help="Fail when the bot never speaks.", rich_help_panel=_END
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Write what the bot said to this WAV.", rich_help_panel=_END),
    ] = None,
    stereo: Annotated[
        Path | None,
        typer.Option(
            help="Write both sides to this WAV: caller left, bot right.", rich_help_panel=_END
        ),
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(help="Write every raw frame to this capture.", rich_help_panel=_END),
    ] = None,
    answer: Annotated[
        AnswerName | None,
        typer.Option(
            help="Wait for a call that the bridge places, and do this.", rich_help_panel=_CALLED
        ),
    ] = None,
    ring: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Ring this long first. Default: 2; no-answer: until the bridge stops it.",
            rich_help_panel=_CALLED,
        ),
    ] = None,
    calls: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Place so many calls at once, each of somebody else (--ramp spreads their "
            "beginnings). With --answer: exit after this many; 0: when stopped. Default: 1.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the bridge asks for calls; port 0: any free one. Default: "
            "127.0.0.1:9440 (standin), nowhere (csharp).",
            rich_help_panel=_CALLED,
        ),
    ] = "",
    late: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            metavar="SECONDS",
            help="Pick up this long after the bridge has stopped the ringing: it must hang up.",
            rich_help_panel=_CALLED,
        ),
    ] = None,
    leg_first: Annotated[
        bool,
        typer.Option(
            "--leg-first",
            help="Dial the leg before the request is answered (standin).",
            rich_help_panel=_CALLED,
        ),
    ] = False,
    own_socket: Annotated[
        bool,
        typer.Option(
            "--own-socket",
            help="Bring the call on a socket of its own (csharp).",
            rich_help_panel=_CALLED,
        ),
    ] = False,
    no_socket: Annotated[
        bool,
        typer.Option(
            "--no-socket",
            help="Have no socket open until a call is brought (csharp, with --listen).",
            rich_help_panel=_CALLED,
        ),
    ] = False,
    script: Annotated[
        Path | None,
        typer.Option(
            help="Do what this TOML file says, step by step, and judge what comes of it; see "
            "teamscall-scenario(5). Its table “call” sets options; those given here win.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    ramp: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=3600.0,
            metavar="SECONDS",
            help="With --calls: the last call begins this long after the first. Default: 0.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    impair: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="A bad network: loss_percent, jitter_ms, reorder_percent, duplicate_percent, "
            "burst_ms, burst_every_s (to_bridge.KEY and from_bridge.KEY: one way), skew_ppm, "
            "read_pause_ms; the same for the same seed=N. Again for each.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="Fail when this run is worse than the one in this file.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    save_baseline: Annotated[
        Path | None,
        typer.Option(
            help="Write this run's figures to this file, if it passed.", rich_help_panel=_SCRIPT
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1000.0,
            metavar="PERCENT",
            help="Worse than the baseline is by more than this. Default: 20.",
            rich_help_panel=_SCRIPT,
        ),
    ] = None,
    control: Annotated[
        str,
        typer.Option(
            metavar="SOCKET|URL",
            help="Where the bridge is asked what it heard. Default: as for status.",
            rich_help_panel=_SCRIPT,
        ),
    ] = "",
    control_token_file: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="With the token of a control port.", rich_help_panel=_SCRIPT
        ),
    ] = "",
    json_lines: Annotated[
        bool,
        typer.Option(
            "--json", help="One JSON object per event, the report last.", rich_help_panel=_END
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No talk on stderr.", rich_help_panel=_END)
    ] = False,
) -> None:
    """Play a Teams gateway against any bridge."""
    from teamscall.cli.emulate_run import Options, place

    code = place(
        Options(
            url=url,
            secret=secret,
            secret_file=secret_file,
            dialect=dialect.value,
            generation=generation.value,
            call_id=call_id,
            ca=ca,
            insecure=insecure,
            wav=wav,
            say=say,
            mic=mic,
            device=device,
            speaker=speaker or bool(speaker_device),
            speaker_device=speaker_device,
            list_devices=list_devices,
            user_id=user_id,
            tenant_id=tenant_id,
            name=name,
            upn=upn,
            phone=phone,
            thread_id=thread_id,
            direction=direction.value,
            auth=auth,
            auth_timeout=auth_timeout,
            recording=recording.value,
            recording_after=recording_after,
            participants=participants,
            video=video,
            video_source=video_source.value,
            video_interval=video_interval,
            dtmf=dtmf,
            ping_interval=ping_interval,
            duration=duration,
            hang_up_after=hang_up_after,
            patience=patience,
            expect_speech=expect_speech,
            out=out,
            stereo=stereo,
            capture=capture,
            answer=None if answer is None else answer.value,
            ring=ring,
            calls=calls,
            listen=listen,
            late=late,
            leg_first=leg_first,
            own_socket=own_socket,
            no_socket=no_socket,
            script=script,
            ramp=ramp,
            impair=tuple(impair) if impair else None,
            baseline=baseline,
            save_baseline=save_baseline,
            tolerance=tolerance,
            control=control,
            control_token_file=control_token_file,
            given=_given(context),
            json_lines=json_lines,
            quiet=quiet,
        )
    )
    raise typer.Exit(code)


def _given(context: typer.Context) -> frozenset[str]:
    """The options that were typed: a script's own settings give way to them."""
    return frozenset(
        name
        for name in context.params
        if (source := context.get_parameter_source(name)) is not None
        and source.name not in ("DEFAULT", "DEFAULT_MAP")
    )
