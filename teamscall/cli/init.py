"""``teamscall init``: from nothing to a configuration that serve starts with."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from teamscall.cli import init_app, init_view
from teamscall.cli.init_app import (
    AccentOption,
    AppIdOption,
    AppNameOption,
    AppVersionOption,
    CompanyOption,
    DescriptionOption,
    DomainOption,
    ManifestOption,
    PrivacyOption,
    TermsOption,
    VideoOption,
    WebsiteOption,
)

if TYPE_CHECKING:
    from teamscall.config.tree import Engine
    from teamscall.setup.plan import Plan
    from teamscall.setup.taking import Taken


class Gateway(enum.StrEnum):
    """Who dials the bridge."""

    STANDIN = "standin"
    CSHARP = "csharp"
    BOTH = "both"


class Voice(enum.StrEnum):
    """What hears, thinks and speaks."""

    AUTO = "auto"
    OPENAI = "openai"
    OFFLINE = "offline"
    ECHO = "echo"


class Variant(enum.StrEnum):
    """The same for another home."""

    TOML = "toml"
    ENV = "env"
    SYSTEMD = "systemd"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write. Default: the user's own."),
    ] = None,
    gateway: Annotated[
        Gateway | None, typer.Option("--dialect", help="Who dials the bridge.")
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(help="Address at which the other side reaches the bridge: wss://…"),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Who may call: an object id, an address, tenant:ID, or * for everybody. "
            "Repeatable."
        ),
    ] = None,
    engine: Annotated[Voice | None, typer.Option(help="What hears, thinks and speaks.")] = None,
    greeting: Annotated[str | None, typer.Option(help="What the bot says first.")] = None,
    import_: Annotated[
        Path | None,
        typer.Option(
            "--import",
            help="Take over a plugin's settings: a JSON or JSON5 file of msteams-call, or of "
            "StandIn's plugins for OpenClaw and Hermes.",
        ),
    ] = None,
    teams_manifest: ManifestOption = None,
    app_id: AppIdOption = None,
    name: AppNameOption = None,
    company: CompanyOption = None,
    website: WebsiteOption = None,
    privacy_url: PrivacyOption = None,
    terms_url: TermsOption = None,
    description: DescriptionOption = None,
    app_version: AppVersionOption = "1.0.0",
    accent: AccentOption = "#4F52B2",
    video: VideoOption = False,
    domain: DomainOption = None,
    print_: Annotated[
        Variant | None,
        typer.Option("--print", help="Print this and write nothing; secrets are left out."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing; what is not given is left open.")
    ] = False,
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object: what was written and is to be done.")
    ] = False,
) -> None:
    """Write a configuration with fresh secrets, and say what is left to do elsewhere.

    It asks a few questions on a terminal, and none with --yes or where stdin is no terminal.
    Each secret has a file of its own beside the configuration, 0600. Nothing is overwritten.
    """
    if teams_manifest is not None:
        given = {
            "app_id": app_id, "name": name, "company": company, "website": website,
            "privacy_url": privacy_url, "terms_url": terms_url,
        }  # fmt: skip
        more = {
            "description": description or "", "version": app_version, "accent": accent,
            "video": video, "domains": tuple(domain or ()),
        }  # fmt: skip
        init_app.write(teams_manifest, given, more, asks=not yes and _may_ask(), json_=json_)
        return
    from teamscall.setup.plan import Plan, values_of

    taken = _take(import_)
    if taken is not None and gateway is None:
        both = taken.standin and taken.csharp
        gateway = Gateway.BOTH if both else Gateway.STANDIN if taken.standin else Gateway.CSHARP
    path = _target(output)
    if print_ is None:
        _refuse_to_overwrite(path)
    asks = taken is None and print_ is None and not yes and not json_ and _may_ask()
    if asks:
        from teamscall.cli.init_ask import ask

        gateway_word, public_url, allow, engine_word = ask(
            None if gateway is None else gateway.value, public_url, allow,
            None if engine is None else engine.value,
        )  # fmt: skip
        gateway, engine = Gateway(gateway_word), Voice(engine_word)
    plan = Plan(
        gateway=(gateway or Gateway.BOTH).value,
        public_url=public_url or "",
        allow=tuple(allow or ()),
        engine=_engine(engine, taken),
        greeting=greeting or "",
        taken={} if taken is None else taken.values,
    )
    if print_ is not None:
        init_view.print_variant(print_.value, plan, values_of(plan), taken, path, output)
        return
    _write(path, plan, taken, json_)


def _may_ask() -> bool:
    import sys

    return all(
        stream is not None and not stream.closed and stream.isatty()
        for stream in (sys.stdin, sys.stderr)
    )


def _target(output: Path | None) -> Path:
    from teamscall.config.load import default_paths

    return (output or default_paths()[0]).expanduser().absolute()


def _refuse_to_overwrite(path: Path) -> None:
    """Before anything is asked."""
    import os

    from teamscall.errors import InputError
    from teamscall.text import printable

    if path.is_dir():
        raise InputError(
            f"{printable(str(path), 300)} is a folder.", hint="Name a file in it with -o."
        )
    if os.path.lexists(path):
        raise InputError(
            f"{printable(str(path), 300)} is there already, and nothing is overwritten.",
            hint="Look at it: teamscall config show. Or name another file with -o.",
        )


def _take(file: Path | None) -> Taken | None:
    if file is None:
        return None
    import os

    from teamscall.setup.foreign import read_blocks
    from teamscall.setup.taking import take

    return take(read_blocks(file), os.environ)


def _engine(engine: Voice | None, taken: Taken | None) -> Engine:
    """What is asked for, where serve would start with it: without a key, auto, which takes
    OpenAI as soon as there is one."""
    import os

    wanted = "auto" if engine is None else engine.value
    named = taken is not None and any(
        key.startswith(("openai.", "streaming.openai_api_key"))
        for key in (*taken.values, *taken.secrets)
    )
    if wanted == "openai" and not os.environ.get("OPENAI_API_KEY") and not named:
        typer.echo(
            "engine: auto is written, for OPENAI_API_KEY is not set here; with it auto is openai",
            err=True,
        )
        return "auto"
    return cast("Engine", wanted)


def _write(path: Path, plan: Plan, taken: Taken | None, json_: bool) -> None:
    import os

    from teamscall.setup.other_side import steps
    from teamscall.setup.plan import values_of
    from teamscall.setup.writing import fresh_secret, write

    values = values_of(plan)
    secrets = dict(taken.secrets) if taken is not None else {}
    for key, wanted in (("bridge.secret", plan.csharp), ("standin.secret", plan.standin)):
        if wanted and key not in secrets and f"{key}_env" not in values:
            secrets.setdefault(key, fresh_secret())
    fresh = tuple(key for key in secrets if taken is None or key not in taken.secrets)
    done = write(path, values, secrets, env=os.environ)
    todo = steps(plan, values, done.secret_files)
    if json_:
        init_view.print_json(done, taken, todo, fresh)
    else:
        init_view.print_written(done, taken, todo, fresh, plan)
