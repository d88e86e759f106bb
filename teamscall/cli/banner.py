"""What `serve` says when it is up: what listens where, who may call, what looks risky."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from teamscall.cli.wording import DIALECTS

if TYPE_CHECKING:
    from teamscall.config import Config, Loaded
    from teamscall.server.run import Running

log = logging.getLogger("teamscall.bridge")


def who_may_call(config: Config) -> str:
    """One line on the authorization policy."""
    rules = config.authorization
    if not config.inbound.enabled:
        return "nobody (inbound.enabled is false)"
    phone = ", phone callers too" if rules.allow_pstn else ""
    hook = ", then asks the hook" if rules.hook_command or rules.hook_url else ""
    if rules.mode == "disabled":
        return "nobody (authorization.mode is disabled)"
    if rules.mode == "open":
        return f"anybody{phone}{hook}"
    if rules.mode == "tenant-only":
        return f"{len(rules.allowed_tenants)} tenant(s){phone}{hook}"
    return f"{len(rules.allow_from)} user(s) on the allow-list{phone}{hook}"


def captures(config: Config) -> str:
    """One line on what of calls is written where."""
    wanted = config.capture
    if wanted.content == "timing":
        return f"{wanted.dir} (structure and timing)"
    others = ", and of C# gateways" if wanted.without_status else ""
    return f"{wanted.dir} (with audio and words while recording is active{others})"


def facts(bridge: Running, loaded: Loaded) -> list[tuple[str, str]]:
    """The banner's rows."""
    from teamscall.engines.select import describe_choice

    config = loaded.config
    rows = [
        (", ".join(DIALECTS[d] for d in listening.dialects), " ".join(listening.urls))
        for listening in bridge.listening
    ]
    rows += [
        ("engine", bridge.engine.describe()),
        ("chosen by", describe_choice(config).reason),
        ("who may call", who_may_call(config)),
        (
            "limits",
            f"{config.max_concurrent_calls} calls at once, {config.max_duration_seconds} s each",
        ),
        (
            "configuration",
            str(loaded.path.absolute()) if loaded.path else "defaults, environment and flags",
        ),
        ("journal", str(bridge.journal.path) if bridge.journal else "off"),
        *([("metrics", bridge.bridge.metrics_url)] if bridge.bridge.metrics_url else []),
        *([("captures", captures(config))] if config.capture.dir else []),
        ("control", bridge.door.describe() if bridge.door else "off"),
    ]
    return rows


def print_banner(bridge: Running, loaded: Loaded) -> None:
    """For people, on stderr."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from teamscall import __version__

    console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
    console.print(Text(f"teamscall {__version__} is answering", style="bold"))
    if not sys.stderr.isatty():  # a pipe has no width: one line per fact
        for name, value in facts(bridge, loaded):
            console.print(Text(f"  {name:<19} {value}"))
        for warning in loaded.warnings:
            console.print(Text(f"  warning: {warning}"))
        return
    table = Table.grid(padding=(0, 2))
    for name, value in facts(bridge, loaded):
        table.add_row(Text(f"  {name}", style="dim"), Text(value))
    console.print(table)
    for warning in loaded.warnings:
        console.print(Padding(Text(f"warning: {warning}", style="yellow"), (0, 0, 0, 2)))


def log_banner(bridge: Running, loaded: Loaded) -> None:
    """For machines: one log line, and one for each warning."""
    fields = {
        name.replace(" ", "_").replace("#", ""): value for name, value in facts(bridge, loaded)
    }
    log.info("Answering", extra=fields)
    for warning in loaded.warnings:
        log.warning("Configuration warning", extra={"warning": warning})
