"""What makes no sense in the operator's door: findings on ``control``.

Whoever is let in may place calls: a port without a good token is an error, not a warning.
"""

from __future__ import annotations

from collections.abc import Iterator

from teamscall.config.findings import Finding, error, is_loopback, missing_file, warning
from teamscall.config.operate import Control

MIN_TOKEN_CHARS = 32  # it is guessed at over a port


def check_control(control: Control) -> Iterator[Finding]:
    """Everything that makes no sense in ``control``."""
    if not control.enabled:
        return
    token = control.token.reveal()
    if control.port and not token:
        yield error(
            "control.port is given without control.token: whoever reaches the port could place "
            "calls; `openssl rand -hex 32` makes one",
            "control.port",
            "control.token",
        )
    elif token and len(token) < MIN_TOKEN_CHARS:
        yield error(
            f"control.token has {len(token)} characters, at least {MIN_TOKEN_CHARS} are needed; "
            "`openssl rand -hex 32` makes one",
            "control.token",
        )
    elif not (token.isascii() and token.isprintable() and token == token.strip()):
        yield error(
            "control.token has a blank at an end, or something that no HTTP header carries",
            "control.token",
        )
    elif token and not control.port:
        yield warning(
            "control.token has no effect without control.port", "control.token", "control.port"
        )
    pair = {"control.tls_cert": control.tls_cert, "control.tls_key": control.tls_key}
    if len([path for path in pair.values() if path]) == 1:
        yield error("control.tls_cert and control.tls_key are needed both, or none", *pair)
    for name, path in pair.items():
        yield from missing_file(name, path)
    if control.port and not control.tls_cert and not is_loopback(control.bind):
        yield error(
            f"control.bind {control.bind} is not loopback and there is no TLS: the token would "
            "travel in clear; give control.tls_cert and control.tls_key",
            "control.bind",
            "control.tls_cert",
        )
