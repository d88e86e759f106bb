"""From TOML, environment and flags to the tree, with the origin of every value.

Flags beat the environment, which beats the file, which beats the defaults. A secret has
one source in each of them. All problems are reported at once; a value that is wrong and
secret is shown masked.

Environment variables: ``TEAMSCALL_`` and the path in upper case with ``_`` for the dot.
An empty variable counts as not set (compose files pass those through).
"""

from __future__ import annotations

import datetime
import difflib
import functools
import os
import stat
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import platformdirs

from teamscall.config import checks
from teamscall.config.entries import ENTRIES, Webhook
from teamscall.config.options import (
    ENV_PREFIX,
    Option,
    camel_case,
    convert,
    entry_options,
    options,
    parse_text,
    tables,
)
from teamscall.config.reading import Entries, read_entries
from teamscall.config.secret import Secret
from teamscall.config.source import TomlFile, read_toml
from teamscall.config.tree import Config
from teamscall.config.words import either, lines, unknown_key, wrong_value
from teamscall.errors import ConfigError
from teamscall.text import printable

_T = TypeVar("_T", bound=msgspec.Struct)

CONFIG_VARIABLE = "TEAMSCALL_CONFIG"
FILE_NAME = "teamscall.toml"

# TEAMSCALL_ variables that are not options.
_NOT_OPTIONS = frozenset(
    {
        CONFIG_VARIABLE,
        "TEAMSCALL_EMULATE_SECRET",  # the emulator's own
        "TEAMSCALL_CONTROL_URL",  # of the commands that ask a bridge
    }
)

# Seen where the plugin's users already keep it; only when no other source is given.
_FALLBACK_VARIABLES = {
    "streaming.openai_api_key": "OPENAI_API_KEY",
    "openai.base_url": "OPENAI_BASE_URL",
}

# A secret is at most a few hundred characters: a longer file is another file.
_MAX_SECRET_BYTES = 65_536


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and its story."""

    config: Config
    origins: Mapping[str, str]  # by path, for every option: "file teamscall.toml line 12"
    warnings: tuple[str, ...]
    path: Path | None  # None: there is no file


class _Given(msgspec.Struct, frozen=True):
    """One value of one layer."""

    value: object
    origin: str
    base: Path  # relative paths are relative to this
    text: bool = False  # an environment variable: read it as text


def default_paths() -> tuple[Path, ...]:
    """Where a configuration file is looked for when none is named, first match first."""
    return (
        Path(platformdirs.user_config_dir("teamscall", appauthor=False)) / FILE_NAME,
        Path("/etc/teamscall") / FILE_NAME,
    )


def load_config(
    path: Path | None = None,
    *,
    env: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
    flag_names: Mapping[str, str] | None = None,
    cross_checks: bool = True,
    only: Container[str] | None = None,
    today: datetime.date | None = None,
) -> Loaded:
    """Load the configuration.

    Args:
        path: the file; None looks at ``$TEAMSCALL_CONFIG``, then at ``default_paths()``.
        env: the environment (``os.environ``).
        flags: values by dotted path; None as a value means that the flag was not given.
            Text is read as in the environment.
        flag_names: what a flag is called where its name is not ``--`` plus its path's leaf.
        cross_checks: False leaves out what makes no sense only for ``serve`` (no secret,
            no listener); single values are always checked.
        only: these keys alone are read, and what is wrong with others does not matter; a
            secret has three. None: all of them.
        today: by which a model is current; None: the real one.

    Raises:
        ConfigError: with every problem found in ``problems``.
    """
    problems: list[str] = []
    warnings: list[str] = []
    file = _find(path, env)
    given: dict[str, _Given] = {}
    if file is not None:
        _lay(given, dict(_from_file(file, problems)))
    _lay(given, dict(_from_env(env, warnings)))
    _lay(given, dict(_from_flags(flags or {}, flag_names or {}, problems)))
    for name, variable in _FALLBACK_VARIABLES.items():
        if not options()[name].secret and name not in given and env.get(variable):
            origin = f"environment {variable}"
            given[name] = _Given(env[variable], origin, Path.cwd(), text=True)

    if only is not None:
        problems.clear()
        given = {name: one for name, one in given.items() if name in only}

    values: dict[str, object] = {}
    origins = dict.fromkeys(options(), "default")
    broken: set[str] = set()
    for name, one in given.items():
        option = options()[name]
        origins[name] = one.origin
        try:
            values[name] = convert(option, _read(option, one), base=one.base)
        except (ValueError, msgspec.ValidationError):
            broken.add(name)
            problems.append(wrong_value(option, one.value, one.origin))
    if file is not None and only is None:
        for entries in read_entries(file, problems):
            values[entries.name] = entries.value
            origins.update(entries.origins)
            if entries.name == "webhooks":
                values["webhooks"] = _with_secrets(entries, origins, env, problems, warnings)
    for option in options().values():
        if option.secret and (only is None or option.path in only):
            _resolve_secret(option, values, origins, env, problems, warnings, broken)
    if file is not None:
        warnings.extend(_readable_by_others(file, given, values))

    config = _build(Config, "", values)
    if cross_checks and only is None:
        for finding in checks.check(config, origins, today or datetime.date.today()):
            if broken.isdisjoint(finding.keys):
                (problems if finding.fatal else warnings).append(finding.text)
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        where = f" ({file.path})" if file is not None and file.document else ""
        raise ConfigError(f"The configuration has {count}{where}.", problems=lines(problems))
    return Loaded(
        config=config,
        origins=origins,
        warnings=lines(warnings),
        path=file.path if file is not None else None,
    )


def _find(path: Path | None, env: Mapping[str, str]) -> TomlFile | None:
    if path is not None:
        return read_toml(path)
    if named := env.get(CONFIG_VARIABLE):
        return read_toml(Path(os.path.expanduser(named)))
    for candidate in default_paths():
        try:
            candidate.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # it is there and not for us to see: reading it says so
        return read_toml(candidate)
    return None


# --- layers -----------------------------------------------------------------------


def _lay(given: dict[str, _Given], layer: Mapping[str, _Given]) -> None:
    """Put a layer over those below. A secret's three keys are one value: whichever of them
    a layer gives, those below have no say."""
    for option in options().values():
        if option.secret:
            sources = _sources(option)
            if any(key in layer and layer[key].value for key in sources):
                for key in sources:
                    given.pop(key, None)
    given.update(layer)


def _from_file(file: TomlFile, problems: list[str]) -> Iterator[tuple[str, _Given]]:
    base = file.path.absolute().parent
    for name, spelt, value in _known_keys(file, file.document, "", (), problems):
        if isinstance(value, dict):
            problems.append(f"{name}: a table where a value is expected ({file.where(*spelt)})")
            continue
        yield name, _Given(value, file.where(*spelt), base)


def _known_keys(
    file: TomlFile,
    table: dict[str, Any],
    prefix: str,
    around: tuple[str, ...],
    problems: list[str],
) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """(canonical path, path as spelt, value) of the known keys; the rest become problems."""
    seen: dict[str, str] = {}
    for key, value in table.items():
        if not prefix and key in ENTRIES:
            continue
        spelt = (*around, key)
        name = prefix + _canonical(key, prefix)
        if name not in options() and name not in tables():
            problems.append(unknown_key(prefix + key, isinstance(value, dict), file.where(*spelt)))
            continue
        if name in seen:
            problems.append(
                f"{name}: given twice, as {seen[name]} and as {key} "
                f"({file.where(*around, seen[name])}, {file.where(*spelt)})"
            )
            continue
        seen[name] = key
        if name in options():
            yield name, spelt, value
        elif isinstance(value, dict):
            yield from _known_keys(file, value, f"{name}.", spelt, problems)
        else:
            problems.append(f"{name}: a value where a table is expected ({file.where(*spelt)})")


def _canonical(key: str, prefix: str) -> str:
    """``ringTimeoutMs`` -> ``ring_timeout_ms``; what is not known stays as it is."""
    return _camel_names().get(prefix + key, key)


@functools.cache
def _camel_names() -> dict[str, str]:
    names = {}
    for path in (*options(), *tables()):
        prefix, dot, leaf = path.rpartition(".")
        names[prefix + dot + camel_case(leaf)] = leaf
    return names


def _from_env(env: Mapping[str, str], warnings: list[str]) -> Iterator[tuple[str, _Given]]:
    by_variable = {option.env: option for option in options().values()}
    for variable, value in env.items():
        if not variable.startswith(ENV_PREFIX) or variable in _NOT_OPTIONS or not value:
            continue
        if variable in by_variable:
            origin = f"environment {variable}"
            yield by_variable[variable].path, _Given(value, origin, Path.cwd(), text=True)
            continue
        # Not an error: Kubernetes sets TEAMSCALL_PORT and its like for a service of that name.
        close = either(difflib.get_close_matches(variable, by_variable, n=2, cutoff=0.8))
        meant = f"; did you mean {close}?" if close else ""
        warnings.append(f"environment {printable(variable, 80)} is no option{meant}")


def _from_flags(
    flags: Mapping[str, object], names: Mapping[str, str], problems: list[str]
) -> Iterator[tuple[str, _Given]]:
    for path, value in flags.items():
        if value is None:
            continue
        flag = names.get(path) or "--" + path.rpartition(".")[2].replace("_", "-")
        name = _canonical_path(path)
        if name not in options():
            problems.append(unknown_key(path, False, f"flag {flag}"))
            continue
        yield name, _Given(value, f"flag {flag}", Path.cwd(), text=isinstance(value, str))


def _canonical_path(path: str) -> str:
    by_camel = {option.camel: option.path for option in options().values()}
    return by_camel.get(path, path)


def _read(option: Option, one: _Given) -> object:
    if one.text and isinstance(one.value, str):
        return parse_text(option, one.value)
    return one.value


# --- secrets ----------------------------------------------------------------------


def _sources(option: Option) -> tuple[str, str, str]:
    """The keys that may give a secret: itself, by a file, by an environment variable."""
    return option.path, f"{option.path}_file", f"{option.path}_env"


def _resolve_secret(
    option: Option,
    values: dict[str, object],
    origins: dict[str, str],
    env: Mapping[str, str],
    problems: list[str],
    warnings: list[str],
    broken: set[str],
) -> None:
    """Put the secret's value in place, from the one source that is given."""
    name, by_file, by_env = _sources(option)
    sources = [key for key in (name, by_file, by_env) if values.get(key)]
    if not broken.isdisjoint((name, by_file, by_env)):
        broken.add(name)  # already told; "missing" would be a second, wrong complaint
        return
    if len(sources) > 1:
        stated = " and ".join(f"{key} ({origins[key]})" for key in sources)
        problems.append(f"{name}: has two sources, {stated}; keep one")
        broken.add(name)
        return
    try:
        if sources == [by_file]:
            path = Path(str(values[by_file]))
            values[name] = Secret(_secret_of_file(path, by_file, warnings))
            origins[name] = f"file {path}, named by {by_file} ({origins[by_file]})"
        elif sources == [by_env]:
            variable = str(values[by_env])
            if not env.get(variable):
                raise ConfigError(f"names {printable(variable, 80)}, which is not set")
            values[name] = Secret(env[variable])
            origins[name] = f"environment {variable}, named by {by_env} ({origins[by_env]})"
        elif not sources and (variable := _FALLBACK_VARIABLES.get(name, "")) and env.get(variable):
            values[name] = Secret(env[variable])
            origins[name] = f"environment {variable}"
    except ConfigError as error:
        problems.append(f"{sources[0]}: {error.message} ({origins[sources[0]]})")
        broken.add(name)
    value = values.get(name)
    if isinstance(value, Secret) and value.reveal() != value.reveal().strip(" \t\r\n\"'"):
        warnings.append(
            f"{name} begins or ends with a blank or a quote, which counts as part of it; "
            f"the other side must have the same ({origins[name]})"
        )


def _with_secrets(
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
        values: dict[str, object] = dict(zip(_sources(option), given, strict=True))
        stated = origins | dict.fromkeys(values, origins[place])
        _resolve_secret(option, values, stated, env, problems, warnings, set())
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
    if _open_to_others(mode):
        warnings.append(f"{key}: {path} can be read by other users; chmod 600 it")
    return text


def _readable_by_others(
    file: TomlFile, given: Mapping[str, _Given], values: Mapping[str, object]
) -> Iterator[str]:
    secrets = [
        name
        for name, one in given.items()
        if options()[name].secret and one.value and one.origin.startswith("file ")
    ]
    secrets += [
        f"webhooks[{number}].secret"
        for number, one in enumerate(cast(tuple[Webhook, ...], values.get("webhooks", ())))
        if one.secret and not (one.secret_file or one.secret_env)
    ]
    if secrets and _open_to_others(file.path.stat().st_mode):
        yield (
            f"{file.path} holds {' and '.join(secrets)} and can be read by other users; "
            "chmod 600 it, or move the secret to a file of its own"
        )


def _open_to_others(mode: int) -> bool:
    return os.name == "posix" and bool(mode & (stat.S_IRGRP | stat.S_IROTH))


# --- the tree ---------------------------------------------------------------------


def _build(struct: type[_T], prefix: str, values: Mapping[str, object]) -> _T:
    """The struct with what is given; the rest keeps its default."""
    chosen: dict[str, Any] = {}
    for one in msgspec.structs.fields(struct):
        path = prefix + one.name
        if path in values:
            chosen[one.name] = values[path]
        elif path in tables():
            chosen[one.name] = _build(one.default_factory, f"{path}.", values)
    return struct(**chosen)
