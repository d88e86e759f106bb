"""What makes no sense in who is told of calls: webhooks, undelivered messages, metrics."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator

from teamscall.config.entries import Webhook
from teamscall.config.findings import (
    Finding,
    clear_text,
    error,
    is_loopback,
    missing_command,
    split_url,
    warning,
)
from teamscall.config.secret import Secret
from teamscall.config.tree import Config

# Of a Standard Webhooks secret: what follows is base64.
WHSEC = "whsec_"
# The specification asks for 24 to 64 bytes.
_LEAST_BYTES = 24


def telling(config: Config) -> Iterator[Finding]:
    for number, webhook in enumerate(config.webhooks):
        yield from _webhook(f"webhooks[{number}]", webhook, config.journal.transcripts)
    outbound = config.outbound
    if outbound.undelivered_command and outbound.undelivered_url:
        yield error(
            "outbound.undelivered_command and outbound.undelivered_url are both given: keep one",
            "outbound.undelivered_command",
            "outbound.undelivered_url",
        )
    yield from missing_command("outbound.undelivered_command", outbound.undelivered_command)
    yield from _url("outbound.undelivered_url", outbound.undelivered_url, "messages travel")
    yield from _signed(
        "outbound.undelivered_secret", outbound.undelivered_url, outbound.undelivered_secret
    )
    metrics = config.metrics
    if metrics.port and not is_loopback(metrics.bind):
        yield warning(
            f"metrics.bind {metrics.bind} is not loopback: whoever reaches port {metrics.port} "
            "reads the metrics",
            "metrics.bind",
            "metrics.port",
        )
    for name, enabled, port in (
        ("serve", config.serve.enabled, config.serve.port),
        ("standin", config.standin.enabled, config.standin.port),
    ):
        if metrics.port and enabled and metrics.port == port:
            yield error(
                f"metrics.port and {name}.port are both {metrics.port}: give it another one, or "
                "leave it out, since metrics.enabled answers /metrics there",
                "metrics.port",
                f"{name}.port",
            )


def _webhook(place: str, webhook: Webhook, kept: str) -> Iterator[Finding]:
    yield from missing_command(f"{place}.command", webhook.command)
    what = "what is said travels" if webhook.transcripts else "who calls travels"
    yield from _url(f"{place}.url", webhook.url, what)
    yield from _signed(f"{place}.secret", webhook.url, webhook.secret)
    if webhook.transcripts and kept == "off":
        yield warning(
            f"{place}.transcripts has no effect while journal.transcripts is off",
            f"{place}.transcripts",
            "journal.transcripts",
        )


def _url(key: str, url: str, what: str) -> Iterator[Finding]:
    parts = split_url(url)
    if url and parts is None:
        yield error(f"{key} is not a URL with a host", key)
    elif parts is not None and "@" in parts.netloc:
        yield error(f"{key} has credentials in it: take them out, a secret signs", key)
    yield from clear_text(key, url, what)


def _signed(key: str, url: str, secret: Secret) -> Iterator[Finding]:
    parts = split_url(url)
    if parts is not None and not secret and not is_loopback(parts.hostname or ""):
        yield warning(
            f"{key} is missing: the receiver cannot know that a message is ours; make one with: "
            'echo "whsec_$(openssl rand -base64 32)"',
            key,
        )
    value = secret.reveal()
    if not value.startswith(WHSEC):
        return
    try:
        size = len(base64.b64decode(value.removeprefix(WHSEC), validate=True))
    except (binascii.Error, ValueError):
        yield error(f"{key} begins with {WHSEC} and what follows is not base64", key)
    else:
        if size < _LEAST_BYTES:
            yield warning(f"{key} has {size} bytes; {_LEAST_BYTES} to 64 are usual", key)
