"""Every configuration key: its name, type, default, range and one line of meaning.

This file is the only table: the loader, ``teamscall.toml``'s man page and
``config explain`` are made from it. The names and defaults of the options that the
msteams-call plugin has are the plugin's, in snake_case; camelCase is accepted too.
An empty model name means "the best current one", because a named default would
outlive the vendor's model.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import field

from teamscall.config.secret import Secret


def _key(
    doc: str,
    *,
    unit: str = "",
    kind: Literal["", "path", "command", "url"] = "",
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
    allowed: str = "",
) -> msgspec.Meta:
    """One key. ``allowed`` puts a pattern in words; ``kind`` says how text is read."""
    limits: dict[str, Any] = {"ge": ge, "le": le, "pattern": pattern}
    return msgspec.Meta(
        description=doc,
        extra={"unit": unit, "kind": kind, "allowed": allowed},
        **{name: limit for name, limit in limits.items() if limit is not None},
    )


def _url(doc: str) -> msgspec.Meta:
    return _key(doc, kind="url", pattern=_URL, allowed="an http or https URL")


# An hour: no timeout of a call is usefully longer, and a typed-in zero too many is caught.
_LONGEST_MS = 3_600_000

_URL_PATH = r"^/[^\s?#]*\Z"
_URL = r"^\Z|^https?://[^\s/]+"
_SET = r"\S"

Engine = Literal["auto", "offline", "openai", "echo", "scripted"]
AuthorizationMode = Literal["disabled", "open", "allowlist", "tenant-only"]


class Serve(msgspec.Struct, frozen=True):
    """The listener that a C# media gateway connects to."""

    enabled: Annotated[bool, _key("Listen for C# media gateways.")] = True
    port: Annotated[int, _key("WebSocket port; 0 takes any free one.", ge=0, le=65535)] = 3335
    bind: Annotated[
        str, _key("Address to listen on.", pattern=_SET, allowed="an address or a host name")
    ] = "127.0.0.1"
    path: Annotated[
        str,
        _key(
            "WebSocket path, matched exactly.",
            pattern=_URL_PATH,
            allowed="a path that begins with / and has no blank, ? or #",
        ),
    ] = "/teams-call/stream"
    tls_cert: Annotated[str, _key("Certificate chain (PEM); needs tls_key.", kind="path")] = ""
    tls_key: Annotated[str, _key("Private key (PEM) of tls_cert.", kind="path")] = ""
    insecure: Annotated[
        bool,
        _key("Acknowledge a bind that is not loopback without TLS; covers standin too."),
    ] = False
    open_timeout_ms: Annotated[
        int, _key("An upgrade must be complete after this long.", unit="ms", ge=100, le=60_000)
    ] = 10_000
    ping_interval_ms: Annotated[
        int, _key("WebSocket keepalive ping, every.", unit="ms", ge=1000, le=_LONGEST_MS)
    ] = 20_000
    ping_timeout_ms: Annotated[
        int,
        _key(
            "A socket whose pong is this late is dead.",
            unit="ms",
            ge=1000,
            le=_LONGEST_MS,
        ),
    ] = 20_000
    close_timeout_ms: Annotated[
        int,
        _key("A close handshake is cut off after this long.", unit="ms", ge=100, le=60_000),
    ] = 5000
    idle_timeout_ms: Annotated[
        int,
        _key(
            "A call without any message for this long is ended.", unit="ms", ge=1000, le=_LONGEST_MS
        ),
    ] = 90_000
    max_message_bytes: Annotated[
        int, _key("Longest message taken.", unit="bytes", ge=4096, le=16_777_216)
    ] = 2_097_152
    max_connections: Annotated[int, _key("Most sockets at once.", ge=1, le=100_000)] = 200


class Bridge(msgspec.Struct, frozen=True):
    """The credential shared with the C# gateway, and its calls."""

    secret: Annotated[
        Secret,
        _key("Secret shared with the gateway, at least 32 characters (openssl rand -base64 32)."),
    ] = field(default_factory=Secret)
    secret_file: Annotated[str, _key("File that holds bridge.secret.", kind="path")] = ""
    secret_env: Annotated[str, _key("Environment variable that holds bridge.secret.")] = ""
    resume_grace_ms: Annotated[
        int,
        _key("A call whose socket dropped may resume for this long.", unit="ms", ge=0, le=600_000),
    ] = 15_000
    auth_grant_ms: Annotated[
        int,
        _key(
            "A granted auth_request may wait this long for its session_start.",
            unit="ms",
            ge=1000,
            le=600_000,
        ),
    ] = 60_000
    max_failed_attempts: Annotated[
        int,
        _key("Wrong secrets from one address before it is answered 429.", ge=1, le=10_000),
    ] = 10
    failed_attempts_window_ms: Annotated[
        int, _key("Failed attempts are counted over.", unit="ms", ge=1000, le=_LONGEST_MS)
    ] = 60_000
    control_url: Annotated[
        str,
        _url("Base URL of the gateway's REST control plane, for outbound calls."),
    ] = ""


class StandIn(msgspec.Struct, frozen=True):
    """The listener that the hosted StandIn bridge connects to."""

    enabled: Annotated[bool, _key("Listen for StandIn.")] = False
    port: Annotated[
        int,
        _key("WebSocket port; may be serve.port: both dialects then share it.", ge=0, le=65535),
    ] = 9442
    bind: Annotated[
        str, _key("Address to listen on.", pattern=_SET, allowed="an address or a host name")
    ] = "127.0.0.1"
    paths: Annotated[
        tuple[str, ...],
        _key("Call path prefixes; the call id is the segment that follows."),
    ] = ("/msteams/calling", "/voice/msteams/stream")
    secret: Annotated[Secret, _key("Secret registered for the bot in StandIn.")] = field(
        default_factory=Secret
    )
    secret_file: Annotated[str, _key("File that holds standin.secret.", kind="path")] = ""
    secret_env: Annotated[str, _key("Environment variable that holds standin.secret.")] = ""
    hmac_window_ms: Annotated[
        int,
        _key(
            "A signature's timestamp may be this far off our clock.", unit="ms", ge=1000, le=600_000
        ),
    ] = 60_000
    start_timeout_ms: Annotated[
        int, _key("session.start must come within.", unit="ms", ge=100, le=600_000)
    ] = 10_000
    idle_timeout_ms: Annotated[
        int,
        _key(
            "A call without any message for this long is ended.", unit="ms", ge=1000, le=_LONGEST_MS
        ),
    ] = 90_000
    max_connections: Annotated[int, _key("Most sockets at once.", ge=1, le=100_000)] = 200
    max_connections_per_address: Annotated[
        int, _key("Most sockets at once from one address.", ge=1, le=100_000)
    ] = 100
    max_message_bytes: Annotated[
        int, _key("Longest message taken.", unit="bytes", ge=4096, le=16_777_216)
    ] = 2_097_152
    worker_base_url: Annotated[
        str,
        _url("StandIn's control endpoint, for outbound calls."),
    ] = "http://127.0.0.1:9440"
    outbound_signature: Annotated[
        Literal["v2", "v1", "both"], _key("Which signature control requests carry.")
    ] = "v2"
    allow_remote_worker: Annotated[
        bool, _key("Allow a worker_base_url whose host is not loopback.")
    ] = False
    tls_cert: Annotated[
        str, _key("Certificate chain (PEM); empty: serve.tls_cert.", kind="path")
    ] = ""
    tls_key: Annotated[str, _key("Private key (PEM); empty: serve.tls_key.", kind="path")] = ""


class Inbound(msgspec.Struct, frozen=True):
    """Calls that reach the bot."""

    enabled: Annotated[bool, _key("Take inbound calls.")] = True
    greeting: Annotated[str, _key("Spoken when a call starts; empty: nothing.")] = ""
    greeting_interruptible: Annotated[bool, _key("The caller may interrupt the greeting.")] = True


class Outbound(msgspec.Struct, frozen=True):
    """Calls that the bot places."""

    enabled: Annotated[bool, _key("Allow placing calls.")] = True
    ring_timeout_ms: Annotated[int, _key("Longest ringing.", unit="ms", ge=1000, le=600_000)] = (
        30_000
    )
    default_mode: Annotated[
        Literal["notify", "conversation"], _key("What a call does once it is answered.")
    ] = "conversation"


class OpenAI(msgspec.Struct, frozen=True):
    """Where OpenAI is, or what speaks its API: Azure, or a server of one's own."""

    base_url: Annotated[
        str,
        _url("Up to and with /v1; empty: OpenAI's own. Else $OPENAI_BASE_URL."),
    ] = ""
    hear_base_url: Annotated[
        str,
        _url("The same, for hearing only."),
    ] = ""
    think_base_url: Annotated[
        str,
        _url("The same, for thinking only."),
    ] = ""
    speak_base_url: Annotated[
        str,
        _url("The same, for speaking only."),
    ] = ""
    api_key: Annotated[Secret, _key("Another name of streaming.openai_api_key.")] = field(
        default_factory=Secret
    )
    api_key_file: Annotated[str, _key("File that holds the key.", kind="path")] = ""
    api_key_env: Annotated[str, _key("Environment variable that holds the key.")] = ""


class Tts(msgspec.Struct, frozen=True):
    """OpenAI's voice."""

    model: Annotated[str, _key("TTS model; empty: the best current one.")] = ""
    voice: Annotated[str, _key("TTS voice.", pattern=_SET, allowed="the name of a voice")] = "coral"
    speed: Annotated[float, _key("Speech speed.", ge=0.25, le=4.0)] = 1.0
    instructions: Annotated[str, _key("Style instructions for the voice.")] = ""
    sample_rate: Annotated[
        int,
        _key(
            "Rate of the raw PCM of a server that is not OpenAI; 0 asks it for WAV.",
            unit="Hz",
            ge=0,
            le=48_000,
        ),
    ] = 0


class Streaming(msgspec.Struct, frozen=True):
    """OpenAI's ears, and how long a pause ends a sentence."""

    openai_api_key: Annotated[Secret, _key("OpenAI API key; else $OPENAI_API_KEY.")] = field(
        default_factory=Secret
    )
    openai_api_key_file: Annotated[str, _key("File that holds the key.", kind="path")] = ""
    openai_api_key_env: Annotated[str, _key("Environment variable that holds the key.")] = ""
    stt_model: Annotated[str, _key("STT model; empty: the best current one.")] = ""
    language: Annotated[
        str,
        _key(
            "Language that callers speak; empty: any.",
            pattern=r"^\Z|^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*\Z",
            allowed="a language code such as en, or empty",
        ),
    ] = ""
    silence_duration_ms: Annotated[
        int, _key("Silence that ends the caller's turn.", unit="ms", ge=100, le=10_000)
    ] = 800
    vad_threshold: Annotated[float, _key("How sure voice activity must be.", ge=0.0, le=1.0)] = 0.5


class Response(msgspec.Struct, frozen=True):
    """The mind behind the offline engine: built in, a command, or a chat endpoint."""

    command: Annotated[
        tuple[str, ...],
        _key("Process that gets turns as JSON lines and answers with text.", kind="command"),
    ] = ()
    base_url: Annotated[
        str,
        _url("Base URL of an OpenAI-compatible chat endpoint."),
    ] = ""
    api_key: Annotated[Secret, _key("API key of that endpoint.")] = field(default_factory=Secret)
    api_key_file: Annotated[str, _key("File that holds response.api_key.", kind="path")] = ""
    api_key_env: Annotated[str, _key("Environment variable that holds response.api_key.")] = ""
    model: Annotated[str, _key("Model asked for at that endpoint.")] = ""


class Authorization(msgspec.Struct, frozen=True):
    """Who may call the bot. Fail closed: the default refuses every call."""

    mode: Annotated[AuthorizationMode, _key("The rule; disabled refuses every call.")] = "disabled"
    allow_from: Annotated[
        tuple[str, ...],
        _key("Object ids or addresses that may call (allowlist). Empty: nobody."),
    ] = ()
    allowed_tenants: Annotated[
        tuple[str, ...],
        _key("Tenants that may call (tenant-only; a further condition in allowlist)."),
    ] = ()
    allow_pstn: Annotated[bool, _key("Allow callers from the telephone network.")] = False
    hook_command: Annotated[
        tuple[str, ...],
        _key(
            "Process asked after the rules granted: JSON on stdin, JSON on stdout.", kind="command"
        ),
    ] = ()
    hook_url: Annotated[
        str,
        _url("URL asked after the rules granted: JSON by POST."),
    ] = ""
    hook_timeout_ms: Annotated[
        int,
        # A gateway gives up 2 s after its auth_request: the answer must be there before.
        _key("A hook that has not answered by then denies the call.", unit="ms", ge=50, le=1900),
    ] = 1500


class Recording(msgspec.Struct, frozen=True):
    """The recording gate: Microsoft's terms for what a caller's media may be used for."""

    require: Annotated[
        bool | Literal["auto"],
        _key(
            "Process caller media only while the call's recording status is active; "
            "auto: StandIn calls yes, C# gateway calls no."
        ),
    ] = "auto"


class Goodbye(msgspec.Struct, frozen=True):
    """What is said before the bot ends a call."""

    time_limit: Annotated[str, _key("Said when max_duration_seconds is over.")] = (
        "Sorry, we have reached the time limit for this call. Goodbye."
    )
    shutdown: Annotated[str, _key("Said at a shutdown; empty: nothing.")] = ""
    apology: Annotated[str, _key("Said when the engine fails for good.")] = (
        "Sorry, something went wrong on my side. Please call again."
    )
    deadline_ms: Annotated[
        int, _key("A goodbye is cut off after this long.", unit="ms", ge=0, le=60_000)
    ] = 5000


class BargeIn(msgspec.Struct, frozen=True):
    """The caller speaks over the bot."""

    enabled: Annotated[bool, _key("Speech of the caller stops the bot's.")] = True
    min_speech_ms: Annotated[
        int, _key("Speech shorter than this does not interrupt.", unit="ms", ge=20, le=5000)
    ] = 160


class Shutdown(msgspec.Struct, frozen=True):
    """SIGTERM and Ctrl-C."""

    drain_seconds: Annotated[
        float, _key("Running calls may go on for this long.", unit="s", ge=0, le=3600)
    ] = 20.0


class Offline(msgspec.Struct, frozen=True):
    """Ears and voice that need no key."""

    stt_model: Annotated[
        str, _key("Directory of another speech recogniser; empty: the packaged one.", kind="path")
    ] = ""
    tts_voice: Annotated[
        str, _key("File of another voice; empty: the packaged one.", kind="path")
    ] = ""
    language: Annotated[
        str,
        _key(
            "Language spoken.",
            pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*\Z",
            allowed="a language code such as en",
        ),
    ] = "en"
    beam_size: Annotated[int, _key("Beams of the recogniser's search.", ge=1, le=10)] = 1
    threads: Annotated[int, _key("CPU threads of the recogniser.", ge=1, le=64)] = 2


class Scripted(msgspec.Struct, frozen=True):
    """The engine that follows a script."""

    path: Annotated[str, _key("The script.", kind="path")] = ""


class Log(msgspec.Struct, frozen=True):
    """What goes to stderr."""

    format: Annotated[
        Literal["auto", "text", "json"],
        _key("auto: text on a terminal, JSON lines elsewhere."),
    ] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], _key("Least level shown.")] = (
        "info"
    )


class JournalFile(msgspec.Struct, frozen=True):
    """Call records on disk; never what was said."""

    enabled: Annotated[bool, _key("Keep call records.")] = True
    path: Annotated[
        str,
        _key("SQLite file; empty: journal.sqlite3 in the user's data directory.", kind="path"),
    ] = ""
    retention_days: Annotated[
        int, _key("Records older than this are removed; 0 keeps all.", unit="days", ge=0, le=36_500)
    ] = 0


class Config(msgspec.Struct, frozen=True):
    """The whole configuration. Every part has a default; a valid one for serve has a secret."""

    engine: Annotated[
        Engine,
        _key("What hears, thinks and speaks; auto: openai if a key or openai.base_url is set."),
    ] = "auto"
    mode: Annotated[
        Literal["auto", "streaming"],
        _key("How OpenAI is used; streaming: one model hears, one thinks, one speaks."),
    ] = "auto"
    response_model: Annotated[str, _key("Model that answers; empty: the best current one.")] = ""
    response_system_prompt: Annotated[str, _key("System prompt for answers.")] = ""
    response_timeout_ms: Annotated[
        int, _key("An answer must begin within.", unit="ms", ge=100, le=_LONGEST_MS)
    ] = 30_000
    max_concurrent_calls: Annotated[int, _key("Most calls at once.", ge=1, le=100_000)] = 5
    max_duration_seconds: Annotated[int, _key("Longest call.", unit="s", ge=1, le=604_800)] = 3600
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
    response: Response = field(default_factory=Response)
    offline: Offline = field(default_factory=Offline)
    scripted: Scripted = field(default_factory=Scripted)
    barge_in: BargeIn = field(default_factory=BargeIn)
    goodbye: Goodbye = field(default_factory=Goodbye)
    shutdown: Shutdown = field(default_factory=Shutdown)
    log: Log = field(default_factory=Log)
    journal: JournalFile = field(default_factory=JournalFile)
