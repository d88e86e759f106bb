"""Every configuration key: its name, type, default, range and one line of meaning.

This file, ``talk``, ``operate`` and ``entries`` are the only table: the loader, the man page
of ``teamscall.toml`` and ``config show`` are made from it. The names and defaults of the
options that the msteams-call plugin has are the plugin's, in snake_case; camelCase is
accepted too.
An empty model name means "the best current one", because a named default would
outlive the vendor's model.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import field

from teamscall.config.entries import Price, Tool, Webhook
from teamscall.config.keys import LONGEST_MS, SET, URL_PATH, address, key, url
from teamscall.config.operate import Capture, Control, Graph, JournalFile, Metrics, Outbound
from teamscall.config.secret import Secret
from teamscall.config.talk import (
    BargeIn,
    Endpointing,
    Filler,
    Idle,
    Live,
    Offline,
    OpenAI,
    Realtime,
    Response,
    Scripted,
    Streaming,
    Tts,
)

Engine = Literal["auto", "offline", "openai", "echo", "scripted"]
AuthorizationMode = Literal["disabled", "open", "allowlist", "tenant-only"]


class Serve(msgspec.Struct, frozen=True):
    """The listener that a C# media gateway connects to."""

    enabled: Annotated[bool, key("Listen for C# media gateways.")] = True
    port: Annotated[int, key("WebSocket port; 0 takes any free one.", ge=0, le=65535)] = 3335
    bind: Annotated[
        str, key("Address to listen on.", pattern=SET, allowed="an address or a host name")
    ] = "127.0.0.1"
    path: Annotated[
        str,
        key(
            "WebSocket path, matched exactly.",
            pattern=URL_PATH,
            allowed="a path that begins with / and has no blank, ? or #",
        ),
    ] = "/teams-call/stream"
    public_url: Annotated[
        str,
        address(
            "Address registered with the gateway, path and all; doctor dials it. "
            "Empty: there is no proxy or tunnel."
        ),
    ] = ""
    tls_cert: Annotated[str, key("Certificate chain (PEM); needs tls_key.", kind="path")] = ""
    tls_key: Annotated[str, key("Private key (PEM) of tls_cert.", kind="path")] = ""
    insecure: Annotated[
        bool,
        key("Acknowledge a bind that is not loopback without TLS; covers standin too."),
    ] = False
    open_timeout_ms: Annotated[
        int, key("An upgrade must be complete after this long.", unit="ms", ge=100, le=60_000)
    ] = 10_000
    ping_interval_ms: Annotated[
        int, key("WebSocket keepalive ping, every.", unit="ms", ge=1000, le=LONGEST_MS)
    ] = 20_000
    ping_timeout_ms: Annotated[
        int,
        key(
            "A socket whose pong is this late is dead.",
            unit="ms",
            ge=1000,
            le=LONGEST_MS,
        ),
    ] = 20_000
    close_timeout_ms: Annotated[
        int,
        key("A close handshake is cut off after this long.", unit="ms", ge=100, le=60_000),
    ] = 5000
    idle_timeout_ms: Annotated[
        int,
        key(
            "A call without any message for this long is ended.", unit="ms", ge=1000, le=LONGEST_MS
        ),
    ] = 90_000
    max_message_bytes: Annotated[
        int, key("Longest message taken.", unit="bytes", ge=4096, le=16_777_216)
    ] = 2_097_152
    max_connections: Annotated[int, key("Most sockets at once.", ge=1, le=100_000)] = 200


class Bridge(msgspec.Struct, frozen=True):
    """The credential shared with the C# gateway, and its calls."""

    secret: Annotated[
        Secret,
        key("Secret shared with the gateway, at least 32 characters (openssl rand -base64 32)."),
    ] = field(default_factory=Secret)
    secret_file: Annotated[str, key("File that holds bridge.secret.", kind="path")] = ""
    secret_env: Annotated[str, key("Environment variable that holds bridge.secret.")] = ""
    previous_secret: Annotated[
        Secret, key("The secret before this one: still valid, while it is being replaced.")
    ] = field(default_factory=Secret)
    previous_secret_file: Annotated[
        str, key("File that holds bridge.previous_secret.", kind="path")
    ] = ""
    previous_secret_env: Annotated[
        str, key("Environment variable that holds bridge.previous_secret.")
    ] = ""
    resume_grace_ms: Annotated[
        int,
        key("A call whose socket dropped may resume for this long.", unit="ms", ge=0, le=600_000),
    ] = 15_000
    auth_grant_ms: Annotated[
        int,
        key(
            "A granted auth_request may wait this long for its session_start.",
            unit="ms",
            ge=1000,
            le=600_000,
        ),
    ] = 60_000
    max_failed_attempts: Annotated[
        int,
        key("Wrong secrets from one address before it is answered 429.", ge=1, le=10_000),
    ] = 10
    failed_attempts_window_ms: Annotated[
        int, key("Failed attempts are counted over.", unit="ms", ge=1000, le=LONGEST_MS)
    ] = 60_000
    control_url: Annotated[
        str,
        url("Base URL of the gateway's REST control plane, for outbound calls."),
    ] = ""


class StandIn(msgspec.Struct, frozen=True):
    """The listener that the hosted StandIn bridge connects to."""

    enabled: Annotated[bool, key("Listen for StandIn.")] = False
    port: Annotated[
        int,
        key("WebSocket port; may be serve.port: both dialects then share it.", ge=0, le=65535),
    ] = 9442
    bind: Annotated[
        str, key("Address to listen on.", pattern=SET, allowed="an address or a host name")
    ] = "127.0.0.1"
    paths: Annotated[
        tuple[str, ...],
        key("Call path prefixes; the call id is the segment that follows."),
    ] = ("/msteams/calling", "/voice/msteams/stream")
    public_url: Annotated[
        str,
        address(
            "Address registered in StandIn, path prefix and all; empty: that of "
            "serve.public_url with a path of this table."
        ),
    ] = ""
    secret: Annotated[Secret, key("Secret registered for the bot in StandIn.")] = field(
        default_factory=Secret
    )
    secret_file: Annotated[str, key("File that holds standin.secret.", kind="path")] = ""
    secret_env: Annotated[str, key("Environment variable that holds standin.secret.")] = ""
    previous_secret: Annotated[
        Secret, key("The secret before this one: still valid, while it is being replaced.")
    ] = field(default_factory=Secret)
    previous_secret_file: Annotated[
        str, key("File that holds standin.previous_secret.", kind="path")
    ] = ""
    previous_secret_env: Annotated[
        str, key("Environment variable that holds standin.previous_secret.")
    ] = ""
    hmac_window_ms: Annotated[
        int,
        key(
            "A signature's timestamp may be this far off our clock.", unit="ms", ge=1000, le=600_000
        ),
    ] = 60_000
    start_timeout_ms: Annotated[
        int, key("session.start must come within.", unit="ms", ge=100, le=600_000)
    ] = 10_000
    idle_timeout_ms: Annotated[
        int,
        key(
            "A call without any message for this long is ended.", unit="ms", ge=1000, le=LONGEST_MS
        ),
    ] = 90_000
    max_connections: Annotated[int, key("Most sockets at once.", ge=1, le=100_000)] = 200
    max_connections_per_address: Annotated[
        int, key("Most sockets at once from one address.", ge=1, le=100_000)
    ] = 100
    max_message_bytes: Annotated[
        int, key("Longest message taken.", unit="bytes", ge=4096, le=16_777_216)
    ] = 2_097_152
    worker_base_url: Annotated[
        str,
        url("StandIn's control endpoint, for outbound calls."),
    ] = "http://127.0.0.1:9440"
    outbound_signature: Annotated[
        Literal["v2", "v1", "both"], key("Which signature control requests carry.")
    ] = "v2"
    allow_remote_worker: Annotated[
        bool, key("Allow a worker_base_url whose host is not loopback.")
    ] = False
    tls_cert: Annotated[
        str, key("Certificate chain (PEM); empty: serve.tls_cert.", kind="path")
    ] = ""
    tls_key: Annotated[str, key("Private key (PEM); empty: serve.tls_key.", kind="path")] = ""


class Inbound(msgspec.Struct, frozen=True):
    """Calls that reach the bot."""

    enabled: Annotated[bool, key("Take inbound calls.")] = True
    greeting: Annotated[str, key("Spoken when a call starts; empty: nothing.")] = ""
    greeting_interruptible: Annotated[bool, key("The caller may interrupt the greeting.")] = True


class Authorization(msgspec.Struct, frozen=True):
    """Who may call the bot. Fail closed: the default refuses every call."""

    mode: Annotated[AuthorizationMode, key("The rule; disabled refuses every call.")] = "disabled"
    allow_from: Annotated[
        tuple[str, ...],
        key("Object ids or addresses that may call (allowlist). Empty: nobody."),
    ] = ()
    allowed_tenants: Annotated[
        tuple[str, ...],
        key("Tenants that may call (tenant-only; a further condition in allowlist)."),
    ] = ()
    allow_pstn: Annotated[bool, key("Allow callers from the telephone network.")] = False
    hook_command: Annotated[
        tuple[str, ...],
        key(
            "Process asked after the rules granted: JSON on stdin, JSON on stdout.", kind="command"
        ),
    ] = ()
    hook_url: Annotated[
        str,
        url("URL asked after the rules granted: JSON by POST."),
    ] = ""
    hook_timeout_ms: Annotated[
        int,
        # A gateway gives up 2 s after its auth_request: the answer must be there before.
        key("A hook that has not answered by then denies the call.", unit="ms", ge=50, le=1900),
    ] = 1500


class Recording(msgspec.Struct, frozen=True):
    """The recording gate: Microsoft's terms for what a caller's media may be used for."""

    require: Annotated[
        bool | Literal["auto"],
        key(
            "Process caller media only while the call's recording status is active; "
            "auto: StandIn calls yes, C# gateway calls no."
        ),
    ] = "auto"


class Goodbye(msgspec.Struct, frozen=True):
    """What is said before the bot ends a call."""

    time_limit: Annotated[str, key("Said when max_duration_seconds is over.")] = (
        "Sorry, we have reached the time limit for this call. Goodbye."
    )
    shutdown: Annotated[str, key("Said at a shutdown; empty: nothing.")] = ""
    apology: Annotated[str, key("Said when the engine fails for good.")] = (
        "Sorry, something went wrong on my side. Please call again."
    )
    deadline_ms: Annotated[
        int, key("A goodbye is cut off after this long.", unit="ms", ge=0, le=60_000)
    ] = 5000


class Shutdown(msgspec.Struct, frozen=True):
    """SIGTERM and Ctrl-C."""

    drain_seconds: Annotated[
        float, key("Running calls may go on for this long.", unit="s", ge=0, le=3600)
    ] = 20.0


class Log(msgspec.Struct, frozen=True):
    """What goes to stderr."""

    format: Annotated[
        Literal["auto", "text", "json"],
        key("auto: text on a terminal, JSON lines elsewhere."),
    ] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], key("Least level shown.")] = (
        "info"
    )


class Config(msgspec.Struct, frozen=True):
    """The whole configuration. Every part has a default; a valid one for serve has a secret."""

    engine: Annotated[
        Engine,
        key("What hears, thinks and speaks; auto: openai if a key or openai.base_url is set."),
    ] = "auto"
    mode: Annotated[
        Literal["auto", "streaming", "realtime", "live"],
        key(
            "How OpenAI is used. streaming: one model hears, one thinks, one speaks; realtime: "
            "one does it all; live: full duplex, experimental; auto: by what is configured."
        ),
    ] = "auto"
    fallback: Annotated[
        tuple[Literal["streaming", "offline"], ...],
        key("What takes a call over when the engine fails in it, in this order."),
    ] = ()
    response_model: Annotated[str, key("Model that answers; empty: the best current one.")] = ""
    response_system_prompt: Annotated[str, key("System prompt for answers.")] = ""
    response_timeout_ms: Annotated[
        int, key("An answer must begin within.", unit="ms", ge=100, le=LONGEST_MS)
    ] = 30_000
    max_concurrent_calls: Annotated[int, key("Most calls at once.", ge=1, le=100_000)] = 5
    max_duration_seconds: Annotated[int, key("Longest call.", unit="s", ge=1, le=604_800)] = 3600
    serve: Serve = field(default_factory=Serve)
    bridge: Bridge = field(default_factory=Bridge)
    standin: StandIn = field(default_factory=StandIn)
    authorization: Authorization = field(default_factory=Authorization)
    inbound: Inbound = field(default_factory=Inbound)
    outbound: Outbound = field(default_factory=Outbound)
    recording: Recording = field(default_factory=Recording)
    openai: OpenAI = field(default_factory=OpenAI)
    tts: Tts = field(default_factory=Tts)
    streaming: Streaming = field(default_factory=Streaming)
    realtime: Realtime = field(default_factory=Realtime)
    live: Live = field(default_factory=Live)
    response: Response = field(default_factory=Response)
    offline: Offline = field(default_factory=Offline)
    scripted: Scripted = field(default_factory=Scripted)
    barge_in: BargeIn = field(default_factory=BargeIn)
    endpointing: Endpointing = field(default_factory=Endpointing)
    idle: Idle = field(default_factory=Idle)
    filler: Filler = field(default_factory=Filler)
    goodbye: Goodbye = field(default_factory=Goodbye)
    shutdown: Shutdown = field(default_factory=Shutdown)
    log: Log = field(default_factory=Log)
    journal: JournalFile = field(default_factory=JournalFile)
    control: Control = field(default_factory=Control)
    metrics: Metrics = field(default_factory=Metrics)
    capture: Capture = field(default_factory=Capture)
    graph: Graph = field(default_factory=Graph)
    webhooks: tuple[Webhook, ...] = ()
    tools: tuple[Tool, ...] = ()
    prices: dict[str, Price] = field(default_factory=dict)  # by model
