"""``teamscall serve``: answer calls."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from teamscall.server.run import Running


class LogFormat(enum.StrEnum):
    """How log lines look."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


class EngineName(enum.StrEnum):
    """What hears, thinks and speaks."""

    AUTO = "auto"
    OFFLINE = "offline"
    OPENAI = "openai"
    ECHO = "echo"
    SCRIPTED = "scripted"


class Mode(enum.StrEnum):
    """Who may call."""

    DISABLED = "disabled"
    OPEN = "open"
    ALLOWLIST = "allowlist"
    TENANT_ONLY = "tenant-only"


ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="TOML file. Default: teamscall.toml in the configuration directory."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any configuration key, such as inbound.greeting='Hello!'. Repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    config: ConfigOption = None,
    engine: Annotated[
        EngineName | None, typer.Option(help="What hears, thinks and speaks.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port for C# gateways (serve.port); 0 takes any free one.")
    ] = None,
    bind: Annotated[str | None, typer.Option(help="Address to listen on (serve.bind).")] = None,
    standin: Annotated[
        bool | None,
        typer.Option("--standin/--no-standin", help="Listen for StandIn (standin.enabled)."),
    ] = None,
    standin_port: Annotated[
        int | None, typer.Option(help="Port for StandIn (standin.port).")
    ] = None,
    standin_bind: Annotated[
        str | None, typer.Option(help="Address for StandIn (standin.bind).")
    ] = None,
    authorization: Annotated[
        Mode | None, typer.Option(help="Who may call (authorization.mode).")
    ] = None,
    greeting: Annotated[
        str | None, typer.Option(help="What the bot says first (inbound.greeting).")
    ] = None,
    capture: Annotated[
        Path | None, typer.Option(help="Write each call to a file in this folder (capture.dir).")
    ] = None,
    log_format: Annotated[
        LogFormat | None, typer.Option(help="Log lines: text for people, json for machines.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error (log.level).")
    ] = None,
    set_: SetOption = None,
) -> None:
    """Run the bridge: answer Teams calls until it is told to stop.

    SIGTERM or Ctrl-C drains: no new calls, a goodbye where one is configured, a bounded
    wait, exit code 0. A second signal exits at once. SIGHUP reads the configuration again.
    """
    from teamscall.cli import logs
    from teamscall.cli.settings import load
    from teamscall.server.reload import Source
    from teamscall.server.run import serve_process

    flags: dict[str, object] = {
        "engine": engine,
        "serve.port": port,
        "serve.bind": bind,
        "standin.enabled": standin,
        "standin.port": standin_port,
        "standin.bind": standin_bind,
        "authorization.mode": authorization,
        "inbound.greeting": greeting,
        "capture.dir": None if capture is None else str(capture),
        "log.format": log_format,
        "log.level": log_level,
    }
    names = {
        "standin.enabled": "--standin",
        "standin.port": "--standin-port",
        "standin.bind": "--standin-bind",
        "authorization.mode": "--authorization",
        "capture.dir": "--capture",
        "log.format": "--log-format",
        "log.level": "--log-level",
    }
    source = Source.read(lambda: load(config, flags, set_, names=names))
    loaded = source.loaded
    logs.set_up(loaded.config.log.format, loaded.config.log.level)
    json_lines = loaded.config.log.format == "json"

    def on_ready(bridge: Running) -> None:
        from teamscall.cli.banner import log_banner, print_banner

        (log_banner if json_lines else print_banner)(bridge, loaded)
        if bridge.reloading is not None:
            bridge.reloading.follow(lambda config: logs.set_level(config.log.level))

    raise typer.Exit(serve_process(loaded.config, on_ready=on_ready, source=source))
