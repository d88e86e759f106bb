"""Findings on ``public_url``: the address that was registered with the other side."""

from __future__ import annotations

from collections.abc import Iterator

from teamscall.config.findings import Finding, error, is_loopback, split_url, warning
from teamscall.config.tree import Config


def check_public(config: Config) -> Iterator[Finding]:
    """What is wrong with an address, whoever is asked for it."""
    for key, url in (
        ("serve.public_url", config.serve.public_url),
        ("standin.public_url", config.standin.public_url),
    ):
        yield from _address(key, url)
    own = (config.serve.path,) if config.serve.enabled else config.standin.paths
    yield from _path("serve.public_url", config.serve.public_url, own)
    yield from _path("standin.public_url", config.standin.public_url, config.standin.paths)


def _address(key: str, url: str) -> Iterator[Finding]:
    parts = split_url(url)
    if url and parts is None:
        yield error(f"{key} is not a URL with a host", key)
    elif parts is not None and "@" in parts.netloc:
        # The URL is not shown: what stands before the @ is a password.
        yield error(f"{key} has credentials in it: take them out", key)
    elif (
        parts is not None
        and parts.scheme in ("ws", "http")
        and not is_loopback(parts.hostname or "")
    ):
        yield warning(
            f"{key} is {parts.scheme}: audio travels in clear on the way; register a wss address",
            key,
        )


def _path(key: str, url: str, paths: tuple[str, ...]) -> Iterator[Finding]:
    parts = split_url(url)
    if parts is None or "@" in parts.netloc or not paths or parts.path in paths:
        return
    if parts.path in ("", "/"):
        yield warning(
            f"{key} has no path: the other side would dial /, and calls are taken at "
            f"{paths[0]}; write {url.rstrip('/')}{paths[0]}",
            key,
        )
    elif parts.path.endswith("/"):
        yield warning(f"{key} ends with a slash: calls are not taken there; take it off", key)
