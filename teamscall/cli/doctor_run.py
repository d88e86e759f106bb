"""From ``doctor``'s options to a run of checks and back: configuration, starter, exit code.

Owns no check (they are in ``doctor``) and no look (``doctor_view``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import typer

from teamscall.cli import doctor_view
from teamscall.config import Config
from teamscall.doctor import loading
from teamscall.doctor.checks import (
    CALL_TIMEOUT_S,
    THOROUGH_TIMEOUT_S,
    TOTAL_TIMEOUT_S,
    Site,
)
from teamscall.doctor.registry import CHECKS
from teamscall.doctor.running import examine, find, select, worst
from teamscall.errors import ExitCode, TeamscallError

# Of the promised time, what starting up and stopping the bridge of the test take.
_AROUND_S = 1.5


class Options(msgspec.Struct, frozen=True):
    """The command line, as typed."""

    config: Path | None = None
    pairs: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    public_url: str = ""
    ca: str = ""
    time_servers: tuple[str, ...] = ()
    thorough: bool = False
    strict: bool = False
    timeout_s: float | None = None
    call: str = ""
    yes: bool = False
    json: bool = False


def run(options: Options) -> ExitCode:
    """Run the checks that are meant and print what came of them."""
    checks = select(CHECKS, options.only, options.skip)
    if not options.call:  # nobody asked for that one
        checks = tuple(check for check in checks if check.group != "call")
        if not checks:
            raise typer.BadParameter("a call needs somebody to be called", param_hint="--call")
    _check_ca(options.ca)
    site = make_site(options)
    total_s = options.timeout_s or (THOROUGH_TIMEOUT_S if options.thorough else TOTAL_TIMEOUT_S)
    if options.timeout_s is None and not options.thorough:
        total_s -= _AROUND_S
    if options.call and options.timeout_s is None:
        total_s += CALL_TIMEOUT_S
    # A bridge that is started for the test tells the doctor's own dials: nobody's news.
    logging.disable(logging.CRITICAL)
    try:
        with doctor_view.progress(checks, quiet=options.json) as on_progress:
            outcomes = asyncio.run(examine(checks, site, total_s=total_s, on_progress=on_progress))
    finally:
        logging.disable(logging.NOTSET)
    counts = worst(outcomes)
    bad = counts["failed"] + (counts["warning"] if options.strict else 0)
    code = ExitCode.OK
    if bad:
        code = ExitCode.CONFIG if site.problems else ExitCode.FAILED
    if options.json:
        doctor_view.print_json(outcomes, code)
    else:
        doctor_view.print_table(outcomes)
    return code


def _check_ca(path: str) -> None:
    """Raises: typer.BadParameter, the file of ``--ca`` holds no certificate that can be read."""
    if not path:
        return
    import ssl

    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        why = "holds no certificate in PEM"
    except OSError as error:
        why = f"cannot be read: {error.strerror}"
    else:
        return
    raise typer.BadParameter(f"{path} {why}", param_hint="--ca")


def list_checks(options: Options) -> None:
    """Print ids and titles."""
    doctor_view.print_list(select(CHECKS, options.only, options.skip), json_=options.json)


def explain(name: str, *, json_: bool) -> None:
    """Print a check's section of the manual."""
    doctor_view.print_explained(find(CHECKS, name), json_=json_)


def make_site(options: Options) -> Site:
    """What the checks look at.

    Raises:
        typer.BadParameter: a ``--set`` that is not KEY=VALUE.
    """
    flags: dict[str, object] = {}
    for pair in options.pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
        flags[key.strip()] = value
    found = loading.load(options.config, env=os.environ, flags=flags)
    return Site(
        config=found.config,
        config_path=found.path,
        env=dict(os.environ),
        public_url=options.public_url,
        ca=options.ca,
        time_servers=options.time_servers,
        call=options.call,
        call_yes=options.yes,
        thorough=options.thorough,
        origins=found.origins,
        problems=found.problems,
        warnings=found.warnings,
        start=started,
    )


@asynccontextmanager
async def started(config: Config) -> AsyncIterator[object]:
    """A bridge for the test, on the configured ports: it answers the doctor and nobody else,
    writes nothing and loads no model."""
    from teamscall.config import (
        Authorization,
        Capture,
        Control,
        JournalFile,
        Metrics,
        Outbound,
    )
    from teamscall.server.run import running

    bare = msgspec.structs.replace(
        config,
        engine="echo",
        fallback=(),
        tools=(),
        webhooks=(),
        authorization=Authorization(),
        outbound=Outbound(enabled=False),
        journal=JournalFile(enabled=False),
        control=Control(enabled=False),
        metrics=Metrics(),
        capture=Capture(),
    )
    async with running(bare) as bridge:
        yield bridge


def last_failures(options: Options) -> None:
    """Print whom the running bridge turned away last.

    Raises:
        TeamscallError: no bridge is running, or it does not answer.
    """
    from teamscall.cli.asking import Door, ask

    try:
        found = ask(
            Door(options.config, timeout_s=options.timeout_s or 10.0),
            lambda client: client.status(),
        )
    except TeamscallError as error:
        if error.exit_code == ExitCode.UNAVAILABLE and not error.hint:
            error.hint = "Only a running bridge remembers them; start one with `teamscall serve`."
        raise
    doctor_view.print_failures(found.failures, json_=options.json)
