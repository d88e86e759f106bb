"""The three keys that may give a secret: itself, a file, an environment variable.

Owns reading them, and what a copy may have done to a secret. Refuses to know layers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import msgspec

from teamscall.config.entries import Webhook
from teamscall.config.options import Option, entry_options
from teamscall.config.reading import Entries
from teamscall.config.secret import Secret
from teamscall.config.told import Parts, Told, told
from teamscall.errors import ConfigError
from teamscall.text import printable

# Seen where the plugin's users already keep it; only when no other source is given.
FALLBACK_VARIABLES = {
    "streaming.openai_api_key": "OPENAI_API_KEY",
    "openai.base_url": "OPENAI_BASE_URL",
}

# A secret is at most a few hundred characters: a longer file is another file.
_MAX_SECRET_BYTES = 65_536


def sources(path: str) -> tuple[str, str, str]:
    """The keys that may give a secret: itself, by a file, by an environment variable."""
    return path, f"{path}_file", f"{path}_env"


def resolve_secret(
    option: Option,
    values: dict[str, object],
    origins: dict[str, str],
    env: Mapping[str, str],
    problems: list[str],
    warnings: list[str],
    broken: set[str],
) -> None:
    """Put the secret's value in place, from the one source that is given."""
    name, by_file, by_env = sources(option.path)
    given = [key for key in (name, by_file, by_env) if values.get(key)]
    if not broken.isdisjoint((name, by_file, by_env)):
        broken.add(name)  # already told; "missing" would be a second, wrong complaint
        return
    if len(given) > 1:
        stated = " and ".join(f"{key} ({origins[key]})" for key in given)
        what = f"{name}: has two sources, {stated}; keep one"
        problems.append(Told(what, Parts(name, "", origins[given[0]], "", "keep one of them")))
        broken.add(name)
        return
    try:
        if given == [by_file]:
            path = Path(str(values[by_file]))
            values[name] = Secret(_secret_of_file(path, by_file, warnings))
            origins[name] = f"file {path}, named by {by_file} ({origins[by_file]})"
        elif given == [by_env]:
            variable = str(values[by_env])
            if not env.get(variable):
                raise ConfigError(f"names {printable(variable, 80)}, which is not set")
            values[name] = Secret(env[variable])
            origins[name] = f"environment {variable}, named by {by_env} ({origins[by_env]})"
        elif not given and (variable := FALLBACK_VARIABLES.get(name, "")) and env.get(variable):
            values[name] = Secret(env[variable])
            origins[name] = f"environment {variable}"
    except ConfigError as error:
        problems.append(told(given[0], error.message, origins[given[0]]))
        broken.add(name)
    value = values.get(name)
    if isinstance(value, Secret) and value.reveal() != value.reveal().strip(" \t\r\n\"'"):
        what = (
            f"{name} begins or ends with a blank or a quote, which counts as part of it; "
            "the other side must have the same"
        )
        warnings.append(Told(f"{what} ({origins[name]})", Parts(name, "", origins[name])))


def with_secrets(
    webhooks: Entries,
    origins: dict[str, str],
    env: Mapping[str, str],
    problems: list[str],
    warnings: list[str],
) -> tuple[Webhook, ...]:
    """The webhooks that were read, each with the value of its secret."""
    known = entry_options("webhooks")["secret"]
    resolved: list[Webhook] = []
    for place, webhook in zip(
        webhooks.places, cast(tuple[Webhook, ...], webhooks.value), strict=True
    ):
        option = msgspec.structs.replace(known, path=f"{place}.secret")
        given = (webhook.secret, webhook.secret_file, webhook.secret_env)
        values: dict[str, object] = dict(zip(sources(option.path), given, strict=True))
        stated = origins | dict.fromkeys(values, origins[place])
        resolve_secret(option, values, stated, env, problems, warnings, set())
        resolved.append(msgspec.structs.replace(webhook, secret=values[option.path]))
        origins[option.path] = stated[option.path]
    return tuple(resolved)


def _secret_of_file(path: Path, key: str, warnings: list[str]) -> str:
    """A secret file's text without exactly one trailing newline (editors and echo add it)."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SECRET_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or "no such path"
        raise ConfigError(f"{path} cannot be read: {reason}") from error
    if len(data) > _MAX_SECRET_BYTES:
        raise ConfigError(f"{path} is longer than {_MAX_SECRET_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text") from error
    if text.endswith("\n"):
        text = text[:-1].removesuffix("\r")
    if not text:
        raise ConfigError(f"{path} is empty")
    if open_to_others(mode):
        remedy = f"chmod 600 {path}"
        what = f"{key}: {path} can be read by other users; {remedy}"
        warnings.append(Told(what, Parts(key, str(path), f"file {path}", "", remedy)))
    return text


def readable_by_others(path: Path, inline: list[str]) -> Iterator[Told]:
    """Whether a file that holds these secrets is anybody's to read."""
    if inline and open_to_others(path.stat().st_mode):
        remedy = f"chmod 600 {path}, or move the secret to a file of its own"
        yield Told(
            f"{path} holds {' and '.join(inline)} and can be read by other users; {remedy}",
            Parts(inline[0], "", f"file {path.name}", "", remedy),
        )


def open_to_others(mode: int) -> bool:
    return os.name == "posix" and bool(mode & (stat.S_IRGRP | stat.S_IROTH))
