"""What makes no sense together: findings on a whole configuration.

Each finding names the keys that it rests on, says what happens and what to do, and is
fatal (serve would be unsafe or useless) or a warning (it works, but perhaps not as
meant). Looks at files only to see that they are there.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from teamscall.config import models
from teamscall.config.check_capture import check_capture
from teamscall.config.check_control import check_control
from teamscall.config.check_placing import check_placing
from teamscall.config.check_public import check_public
from teamscall.config.check_telling import telling
from teamscall.config.findings import Finding, is_loopback
from teamscall.config.findings import clear_text as _clear_text
from teamscall.config.findings import error as _error
from teamscall.config.findings import missing_command as _missing_command
from teamscall.config.findings import missing_file as _missing_file
from teamscall.config.findings import split_url as _split
from teamscall.config.findings import warning as _warn
from teamscall.config.secret import Secret
from teamscall.config.talk import Live, Realtime
from teamscall.config.tree import Config, Engine

# The C# gateway and the plugin both ask for 32 characters.
MIN_BRIDGE_SECRET = 32

# From the documents that operators copy their first configuration from.
_PLACEHOLDERS = frozenset(
    {
        "your-shared-secret-min-32-chars",
        "your-32-char-minimum-secret-here",
        "your-shared-secret",
        "your-secret-here",
        "sk-...",
    }
)

# Said of a secret, however it is spelt: CHANGE_ME, ChangeMeChangeMe, <replace-me>.
_PLACEHOLDER_WORDS = ("changeme", "changethis", "replaceme", "placeholder", "yoursecret")

# 32 random hexadecimal digits have 14 different ones on average.
_FEW_CHARACTERS = 8


def resolved_engine(config: Config) -> Engine:
    """The engine that ``engine`` selects; ``auto`` is OpenAI's when there is a key for it,
    or a server of one's own."""
    if config.engine != "auto":
        return config.engine
    return "openai" if openai_key(config) or config.openai.base_url else "offline"


Mode = Literal["streaming", "realtime", "live"]


def resolved_mode(config: Config) -> tuple[Mode, str]:
    """How OpenAI is used, and one sentence that says why."""
    if config.mode != "auto":
        return config.mode, f"mode = {config.mode}"
    if config.realtime != Realtime():
        return "realtime", "mode = auto: realtime.* is set"
    return "streaming", "mode = auto: realtime.* is not set"


def openai_key(config: Config) -> Secret:
    """The key, under either of its names."""
    return config.openai.api_key or config.streaming.openai_api_key


def check(config: Config, origins: Mapping[str, str], today: datetime.date) -> Iterator[Finding]:
    """Everything that makes no sense in ``config``; ``origins`` say where it was written."""
    for finding in _findings(config, origins, today):
        stated = [origins[key] for key in finding.keys if origins.get(key, "default") != "default"]
        yield msgspec.structs.replace(finding, origin=stated[0] if stated else "")


def _findings(
    config: Config, origins: Mapping[str, str], today: datetime.date
) -> Iterator[Finding]:
    yield from _listeners(config)
    yield from _secrets(config)
    yield from _tls(config)
    yield from _exposure(config)
    yield from _authorization(config)
    yield from _engine(config)
    yield from _openai(config, origins, today)
    yield from _tools(config)
    yield from _outbound(config)
    yield from check_placing(config.outbound)
    yield from check_public(config)
    yield from check_control(config.control)
    yield from telling(config)
    yield from check_capture(config.capture)
    if config.standin.enabled and config.recording.require is False:
        yield _warn(
            "recording.require is false: caller media of StandIn calls is processed whatever "
            "their recording status; Microsoft's terms ask for the status first",
            "recording.require",
        )


def _listeners(config: Config) -> Iterator[Finding]:
    serve, standin = config.serve, config.standin
    if not serve.enabled and not standin.enabled:
        yield _error(
            "serve.enabled and standin.enabled are both false: nothing would listen",
            "serve.enabled",
            "standin.enabled",
        )
    bad = [path for path in standin.paths if not _is_prefix(path)]
    if bad:
        yield _error(
            f"standin.paths: {bad[0]!a} is not a path that begins with /, does not end with / "
            "and has no blank, ? or #",
            "standin.paths",
        )
    if standin.enabled and not standin.paths:
        yield _error("standin.paths is empty: no StandIn call could connect", "standin.paths")
    if not (serve.enabled and standin.enabled and serve.port == standin.port != 0):
        return
    if serve.bind != standin.bind:
        yield _error(
            f"serve.port and standin.port are both {serve.port} but serve.bind and standin.bind "
            "differ: give both the same bind (one shared listener) or different ports",
            "standin.port",
            "serve.port",
            "serve.bind",
            "standin.bind",
        )
    own = (standin.tls_cert, standin.tls_key)
    if any(own) and own != (serve.tls_cert, serve.tls_key):
        yield _error(
            "serve and standin share a port but have different certificates: leave out "
            "standin.tls_cert and standin.tls_key, or use different ports",
            "standin.tls_cert",
            "standin.tls_key",
            "standin.port",
            "serve.port",
        )
    clash = [path for path in standin.paths if (serve.path + "/").startswith(path + "/")]
    if clash:
        yield _error(
            f"serve.path {serve.path} lies under standin.paths {clash[0]} on the same port",
            "serve.path",
            "standin.paths",
            "serve.port",
            "standin.port",
        )


def _is_prefix(path: str) -> bool:
    return (
        path.startswith("/")
        and not path.endswith("/")
        and path.isprintable()
        and not any(c in path for c in " ?#")
    )


def _secrets(config: Config) -> Iterator[Finding]:
    generate = "make one with: openssl rand -base64 32"
    if config.serve.enabled and not config.bridge.secret:
        yield _error(
            f"bridge.secret is missing: the gateway and the bridge must share one; {generate}",
            "bridge.secret",
        )
    if config.standin.enabled and not config.standin.secret:
        yield _error(
            "standin.secret is missing: it must be the one registered for your bot in StandIn",
            "standin.secret",
        )
    named: tuple[tuple[str, Secret], ...] = (
        ("bridge.secret", config.bridge.secret),
        ("bridge.previous_secret", config.bridge.previous_secret),
        ("standin.secret", config.standin.secret),
        ("standin.previous_secret", config.standin.previous_secret),
        ("streaming.openai_api_key", config.streaming.openai_api_key),
        ("openai.api_key", config.openai.api_key),
        ("response.api_key", config.response.api_key),
    )
    for key, secret in named:
        table = key.partition(".")[0]
        if table != "standin" and not secret.reveal().strip().isprintable():
            yield _error(
                f"{key} has a line break or control character in it: no HTTP header carries that",
                key,
            )
        if _is_placeholder(secret.reveal()):
            yield _error(f"{key} is a placeholder copied from the documentation", key)
        elif table == "bridge" and 0 < len(secret.reveal()) < MIN_BRIDGE_SECRET:
            yield _error(
                f"{key} has {len(secret.reveal())} characters, at least {MIN_BRIDGE_SECRET} "
                f"are needed; {generate}",
                key,
            )
        elif table == "standin" and 0 < len(secret.reveal()) < MIN_BRIDGE_SECRET:
            yield _warn(
                f"{key} has only {len(secret.reveal())} characters; {generate} "
                "and register it in StandIn",
                key,
            )
        elif key.endswith("secret") and 0 < len(set(secret.reveal())) < _FEW_CHARACTERS:
            yield _warn(f"{key} is easy to guess: few different characters; {generate}", key)
    for table, now, before in (
        ("bridge", config.bridge.secret, config.bridge.previous_secret),
        ("standin", config.standin.secret, config.standin.previous_secret),
    ):
        if before and before == now:
            yield _warn(
                f"{table}.previous_secret is the same as {table}.secret: nothing is replaced; "
                "take it out",
                f"{table}.previous_secret",
                f"{table}.secret",
            )


def _is_placeholder(secret: str) -> bool:
    text = secret.strip().lower()
    letters = "".join(filter(str.isalpha, text))
    return text in _PLACEHOLDERS or any(word in letters for word in _PLACEHOLDER_WORDS)


def _tls(config: Config) -> Iterator[Finding]:
    for table, cert, key in (
        ("serve", config.serve.tls_cert, config.serve.tls_key),
        ("standin", config.standin.tls_cert, config.standin.tls_key),
    ):
        names = (f"{table}.tls_cert", f"{table}.tls_key")
        if bool(cert) != bool(key):
            have, lack = names if cert else (names[1], names[0])
            yield _error(f"{have} is given without {lack}: both are needed", have, lack)
        for name, path in zip(names, (cert, key), strict=True):
            yield from _missing_file(name, path)


def _exposure(config: Config) -> Iterator[Finding]:
    serve, standin = config.serve, config.standin
    for table, enabled, bind, cert in (
        ("serve", serve.enabled, serve.bind, serve.tls_cert),
        ("standin", standin.enabled, standin.bind, standin.tls_cert or serve.tls_cert),
    ):
        if not enabled or cert or is_loopback(bind):
            continue
        keys = (f"{table}.bind", f"{table}.tls_cert", "serve.tls_cert", "serve.insecure")
        what = f"{table}.bind {bind} is not loopback and there is no TLS: audio"
        what += " and the secret travel in clear" if table == "serve" else " travels in clear"
        if serve.insecure:
            yield _warn(f"{what} (acknowledged by serve.insecure)", *keys)
        else:
            yield _error(
                f"{what}; give serve.tls_cert and serve.tls_key, bind to 127.0.0.1 behind a "
                "proxy or tunnel, or acknowledge it with serve.insecure = true",
                *keys,
            )


def _authorization(config: Config) -> Iterator[Finding]:
    rules = config.authorization
    if config.inbound.enabled:
        if rules.mode == "disabled":
            yield _warn(
                "authorization.mode is disabled: every inbound call will be refused; set "
                "allowlist, tenant-only or open",
                "authorization.mode",
            )
        elif rules.mode == "open":
            yield _warn(
                "authorization.mode is open: whoever can call the bot is answered",
                "authorization.mode",
            )
        elif rules.mode == "allowlist" and not any(map(str.strip, rules.allow_from)):
            yield _warn(
                "authorization.mode is allowlist and allow_from is empty: every call will be "
                "refused; add object ids or addresses to authorization.allow_from",
                "authorization.allow_from",
                "authorization.mode",
            )
        elif rules.mode == "tenant-only" and not any(map(str.strip, rules.allowed_tenants)):
            yield _warn(
                "authorization.mode is tenant-only and allowed_tenants is empty: every call will "
                "be refused; add tenant ids to authorization.allowed_tenants",
                "authorization.allowed_tenants",
                "authorization.mode",
            )
    if rules.allow_from and rules.mode in ("open", "tenant-only"):
        yield _warn(
            f"authorization.allow_from has no effect in mode {rules.mode}",
            "authorization.allow_from",
            "authorization.mode",
        )
    if rules.allowed_tenants and rules.mode == "open":
        yield _warn(
            "authorization.allowed_tenants has no effect in mode open",
            "authorization.allowed_tenants",
            "authorization.mode",
        )
    if rules.hook_command and rules.hook_url:
        yield _error(
            "authorization.hook_command and authorization.hook_url are both given: keep one",
            "authorization.hook_command",
            "authorization.hook_url",
        )
    yield from _missing_command("authorization.hook_command", rules.hook_command)
    yield from _clear_text("authorization.hook_url", rules.hook_url, "callers' identities travel")


def _tools(config: Config) -> Iterator[Finding]:
    for number, tool in enumerate(config.tools):
        yield from _missing_command(f"tools[{number}].command", tool.command)
        yield from _clear_text(f"tools[{number}].url", tool.url, "what callers said travels")
    if not config.tools:
        return
    engine = resolved_engine(config)
    if engine not in ("openai", "offline"):
        yield _warn(f"tools have no effect with engine = {engine}", "tools[0]", "engine")
    elif config.response.command:
        yield _warn(
            "tools have no effect with response.command, which does what it likes by itself",
            "tools[0]",
            "response.command",
        )
    elif engine == "offline" and not config.response.base_url:
        yield _warn(
            "tools have no effect with the built-in responder; set response.base_url or an "
            "OpenAI key",
            "tools[0]",
            "engine",
        )


def _engine(config: Config) -> Iterator[Finding]:
    if config.engine == "scripted" and not config.scripted.path:
        yield _error("engine is scripted and scripted.path is empty", "scripted.path", "engine")
    yield from _missing_file("scripted.path", config.scripted.path)
    yield from _missing_file("offline.stt_model", config.offline.stt_model)
    yield from _missing_file("offline.tts_voice", config.offline.tts_voice)
    response = config.response
    if response.command and response.base_url:
        yield _error(
            "response.command and response.base_url are both given: the mind is one of them",
            "response.command",
            "response.base_url",
        )
    yield from _missing_command("response.command", response.command)
    yield from _clear_text("response.base_url", response.base_url, "what callers say travels")


def _openai(config: Config, origins: Mapping[str, str], today: datetime.date) -> Iterator[Finding]:
    key = "streaming.openai_api_key"
    stated = origins.get(key) != "environment OPENAI_API_KEY"  # that one is only a fallback
    if config.openai.api_key and config.streaming.openai_api_key and stated:
        yield _error(
            f"openai.api_key and {key} are both given: they are one, keep one of the two",
            "openai.api_key",
            key,
        )
    urls = [
        ("openai.base_url", config.openai.base_url),
        ("openai.hear_base_url", config.openai.hear_base_url),
        ("openai.think_base_url", config.openai.think_base_url),
        ("openai.speak_base_url", config.openai.speak_base_url),
    ]
    for name, url in urls:
        yield from _clear_text(name, url, "what callers say and the key travel")
    if resolved_engine(config) != "openai":
        return
    own = bool(config.openai.base_url) or all(url for _, url in urls[1:])
    if not own and not openai_key(config):
        yield _error(
            f"engine is openai and there is no key: set OPENAI_API_KEY or {key}", "engine", key
        )
    yield from _modes(config)
    used: list[tuple[models.Role, str, str, str]] = [
        ("hear", "streaming.stt_model", config.streaming.stt_model, urls[1][1]),
        ("think", "response_model", config.response_model, urls[2][1]),
        ("speak", "tts.model", config.tts.model, urls[3][1]),
        ("realtime", "realtime.model", config.realtime.model, ""),
        ("hear", "realtime.transcription_model", config.realtime.transcription_model, ""),
        ("live", "live.model", config.live.model, ""),
    ]
    for role, setting, name, url in used:
        # Another server's models are its own, whatever their names.
        if name and not (url or config.openai.base_url):
            model = models.resolve(role, name, today)
            if warning := models.lifetime_warning(setting, model, today):
                yield _warn(warning, setting)


def _modes(config: Config) -> Iterator[Finding]:
    mode, _ = resolved_mode(config)
    for key, table, default, wanted in (
        ("realtime", config.realtime, Realtime(), "realtime"),
        ("live", config.live, Live(), "live"),
    ):
        if table != default and mode != wanted:
            yield _warn(f"{key}.* is set but the mode is {mode}: it has no effect", "mode")
    if mode == "streaming" and "streaming" in config.fallback:
        yield _warn("fallback: streaming is the mode already, so it is no fallback", "fallback")
    if len(set(config.fallback)) < len(config.fallback):
        yield _error("fallback names an engine twice", "fallback")


def _outbound(config: Config) -> Iterator[Finding]:
    urls = {
        "bridge.control_url": config.bridge.control_url,
        "standin.worker_base_url": config.standin.worker_base_url,
        "authorization.hook_url": config.authorization.hook_url,
        "response.base_url": config.response.base_url,
        "openai.base_url": config.openai.base_url,
        "openai.hear_base_url": config.openai.hear_base_url,
        "openai.think_base_url": config.openai.think_base_url,
        "openai.speak_base_url": config.openai.speak_base_url,
    }
    for key, url in urls.items():
        parts = _split(url)
        if url and parts is None:
            yield _error(f"{key} is not a URL with a host", key)
        elif parts is not None and "@" in parts.netloc:
            # The URL is not shown: what stands before the @ is a password.
            yield _error(f"{key} has credentials in it: URLs are logged, take them out", key)
    worker = _split(config.standin.worker_base_url)
    if (
        config.standin.enabled
        and worker is not None
        and not is_loopback(worker.hostname or "")
        and not config.standin.allow_remote_worker
    ):
        yield _error(
            f"standin.worker_base_url points to {worker.hostname}, which is not loopback; allow "
            "it with standin.allow_remote_worker = true",
            "standin.worker_base_url",
            "standin.allow_remote_worker",
        )
    yield from _clear_text("bridge.control_url", config.bridge.control_url, "the secret travels")
