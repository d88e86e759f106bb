"""The keys of what an operator does with a running bridge: calls out, records, control.

Part of the table in ``tree``.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import field

from teamscall.config.keys import SET, key, url
from teamscall.config.secret import Secret


class Outbound(msgspec.Struct, frozen=True):
    """Calls that the bot places."""

    enabled: Annotated[bool, key("Allow placing calls.")] = True
    ring_timeout_ms: Annotated[int, key("Longest ringing.", unit="ms", ge=1000, le=600_000)] = (
        30_000
    )
    default_mode: Annotated[
        Literal["notify", "conversation"], key("What a call does once it is answered.")
    ] = "conversation"
    allow_to: Annotated[
        tuple[str, ...],
        key(
            "Who may be called: object ids, user:ID, phone:+NUMBER, with * for any ending. "
            "Empty: nobody."
        ),
    ] = ()
    max_per_hour: Annotated[int, key("Most calls placed in an hour.", ge=0, le=100_000)] = 60
    max_per_target_per_hour: Annotated[
        int, key("Most calls placed to the same target in an hour.", ge=0, le=100_000)
    ] = 3
    quiet_hours: Annotated[
        tuple[str, ...],
        key("When nobody is called: HH:MM-HH:MM, after days or not, as in sat,sun 00:00-24:00."),
    ] = ()
    timezone: Annotated[
        str, key("Of quiet_hours, such as Europe/Berlin; empty: this machine's.")
    ] = ""
    via: Annotated[
        Literal["auto", "csharp", "standin"],
        key(
            "Through what calls are placed. auto: a C# gateway for phones, and for users where "
            "one is connected or StandIn is not enabled; else StandIn."
        ),
    ] = "auto"
    tenant: Annotated[
        str,
        key(
            "Tenant of the users that are called; empty: the one in authorization.allowed_tenants."
        ),
    ] = ""
    resolver_command: Annotated[
        tuple[str, ...],
        key(
            "Process that turns an e-mail address into an object id: JSON in, JSON out.",
            kind="command",
        ),
    ] = ()
    resolver_url: Annotated[
        str, url("URL that turns an e-mail address into an object id: JSON by POST.")
    ] = ""
    undelivered_command: Annotated[
        tuple[str, ...],
        key("Process that is told when nobody answered: JSON on stdin.", kind="command"),
    ] = ()
    undelivered_url: Annotated[
        str, url("URL that is told when nobody answered: JSON by POST, signed like a webhook.")
    ] = ""
    undelivered_secret: Annotated[Secret, key("Signs what outbound.undelivered_url gets.")] = field(
        default_factory=Secret
    )
    undelivered_secret_file: Annotated[
        str, key("File that holds outbound.undelivered_secret.", kind="path")
    ] = ""
    undelivered_secret_env: Annotated[
        str, key("Environment variable that holds outbound.undelivered_secret.")
    ] = ""


class JournalFile(msgspec.Struct, frozen=True):
    """Call records on disk; what was said only where it is asked for."""

    enabled: Annotated[bool, key("Keep call records.")] = True
    path: Annotated[
        str,
        key("SQLite file; empty: journal.sqlite3 in the user's data directory.", kind="path"),
    ] = ""
    retention_days: Annotated[
        int, key("Records older than this are removed; 0 keeps all.", unit="days", ge=0, le=36_500)
    ] = 0
    max_mb: Annotated[
        int,
        key(
            "The oldest calls are removed when the file is larger; 0: no limit.",
            unit="MB",
            ge=0,
            le=1_000_000,
        ),
    ] = 0
    transcripts: Annotated[
        Literal["off", "when-recorded", "on"],
        key(
            "Keep what was said. when-recorded: only of calls and moments whose recording "
            "status is active; on: of every call whose media may be processed."
        ),
    ] = "off"


class Control(msgspec.Struct, frozen=True):
    """The operator's door into the running bridge: JSON-RPC over WebSocket."""

    enabled: Annotated[bool, key("Open it.")] = True
    socket: Annotated[
        str,
        key("Unix socket; empty: in the runtime directory, named by the journal.", kind="path"),
    ] = ""
    port: Annotated[
        int, key("TCP port beside the socket; 0: none. Needs control.token.", ge=0, le=65535)
    ] = 0
    bind: Annotated[
        str, key("Address of the port.", pattern=SET, allowed="an address or a host name")
    ] = "127.0.0.1"
    token: Annotated[Secret, key("Bearer token for the port, at least 32 characters.")] = field(
        default_factory=Secret
    )
    token_file: Annotated[str, key("File that holds control.token.", kind="path")] = ""
    token_env: Annotated[str, key("Environment variable that holds control.token.")] = ""
    tls_cert: Annotated[
        str, key("Certificate chain (PEM) of the port; needs tls_key.", kind="path")
    ] = ""
    tls_key: Annotated[str, key("Private key (PEM) of tls_cert.", kind="path")] = ""


class Capture(msgspec.Struct, frozen=True):
    """Calls as files, for replay and pictures: every raw message, and what was decided."""

    dir: Annotated[
        str, key("Folder with one file per call; empty: none is written.", kind="path")
    ] = ""
    content: Annotated[
        Literal["timing", "full"],
        key(
            "timing: audio and words by their length alone. full: with them, while the call's "
            "recording status is active (StandIn)."
        ),
    ] = "timing"
    without_status: Annotated[
        bool,
        key(
            "With full, also calls whose gateway tells no recording status (C#): only where "
            "they may be recorded."
        ),
    ] = False
    max_mb: Annotated[int, key("A file is not continued beyond.", unit="MB", ge=1, le=2000)] = 250


class Graph(msgspec.Struct, frozen=True):
    """The bot's registration at Microsoft, for ``doctor`` alone: calls do not need it."""

    tenant_id: Annotated[str, key("Directory (tenant) id.")] = ""
    client_id: Annotated[str, key("Application (client) id of the bot.")] = ""
    client_secret: Annotated[Secret, key("Value of a client secret.")] = field(
        default_factory=Secret
    )
    client_secret_file: Annotated[str, key("File that holds graph.client_secret.", kind="path")] = (
        ""
    )
    client_secret_env: Annotated[
        str, key("Environment variable that holds graph.client_secret.")
    ] = ""
    certificate_file: Annotated[
        str,
        key("PEM file with a certificate and its private key, in place of a secret.", kind="path"),
    ] = ""
    permissions: Annotated[
        tuple[str, ...],
        key("Application permissions that are needed; empty: what the configuration shows."),
    ] = ()
    authority: Annotated[str, url("Where tokens come from.")] = "https://login.microsoftonline.com"
    url: Annotated[str, url("Microsoft Graph.")] = "https://graph.microsoft.com"


class Metrics(msgspec.Struct, frozen=True):
    """``GET /metrics`` in Prometheus format."""

    enabled: Annotated[
        bool,
        key("Answer /metrics on the bridge's own ports, to this machine alone."),
    ] = True
    port: Annotated[int, key("A port of its own for /metrics; 0: none.", ge=0, le=65535)] = 0
    bind: Annotated[
        str, key("Address of that port.", pattern=SET, allowed="an address or a host name")
    ] = "127.0.0.1"
