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
    options,
    parse_text,
    tables,
)
from teamscall.config.reading import read_entries
from teamscall.config.secret_sources import (
    FALLBACK_VARIABLES,
    readable_by_others,
    resolve_secret,
    sources,
    with_secrets,
)
from teamscall.config.source import TomlFile, parse_toml, read_toml
from teamscall.config.told import Parts, Told, lines, told
from teamscall.config.tree import Config
from teamscall.config.words import about, either, unknown_key, wrong_value
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


class Loaded(msgspec.Struct, frozen=True):
    """A configuration and its story."""

    config: Config
    origins: Mapping[str, str]  # by path, for every option: "file teamscall.toml line 12"
    warnings: tuple[str, ...]
    path: Path | None  # None: there is no file


class Examined(msgspec.Struct, frozen=True):
    """A configuration as far as it can be read, and all that is wrong with it."""

    config: Config  # what is wrong has its default in it
    origins: Mapping[str, str]
    problems: tuple[Told, ...]
    warnings: tuple[Told, ...]
    path: Path | None
    empty: bool = False  # the file is there and has nothing in it


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
    seen = examine(
        path,
        env=env,
        flags=flags,
        flag_names=flag_names,
        cross_checks=cross_checks,
        only=only,
        today=today,
    )
    if seen.problems:
        problems = seen.problems
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        where = f" ({seen.path})" if seen.path is not None and not seen.empty else ""
        raise ConfigError(f"The configuration has {count}{where}.", problems=problems)
    return Loaded(config=seen.config, origins=seen.origins, warnings=seen.warnings, path=seen.path)


def examine(
    path: Path | None = None,
    *,
    env: Mapping[str, str],
    flags: Mapping[str, object] | None = None,
    flag_names: Mapping[str, str] | None = None,
    cross_checks: bool = True,
    only: Container[str] | None = None,
    today: datetime.date | None = None,
    contents: bytes | None = None,
) -> Examined:
    """What ``load_config`` loads, right or wrong.

    Args:
        contents: taken for what is in ``path``, which need not be there.

    Raises:
        ConfigError: the file cannot be read, or is no TOML.
    """
    problems: list[str] = []
    warnings: list[str] = []
    if path is not None and contents is not None:
        file: TomlFile | None = parse_toml(path, contents)
    else:
        file = _find(path, env)
    given: dict[str, _Given] = {}
    if file is not None:
        _lay(given, dict(_from_file(file, problems)))
    _lay(given, dict(_from_env(env, warnings)))
    _lay(given, dict(_from_flags(flags or {}, flag_names or {}, problems)))
    for name, variable in FALLBACK_VARIABLES.items():
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
                values["webhooks"] = with_secrets(entries, origins, env, problems, warnings)
    for option in options().values():
        if option.secret and (only is None or option.path in only):
            resolve_secret(option, values, origins, env, problems, warnings, broken)
    if file is not None and file.path.exists():
        warnings.extend(readable_by_others(file.path, _inline_secrets(given, values)))

    config = _build(Config, "", values)
    if cross_checks and only is None:
        for finding in checks.check(config, origins, today or datetime.date.today()):
            if broken.isdisjoint(finding.keys):
                (problems if finding.fatal else warnings).append(about(finding, config))
    return Examined(
        config=config,
        origins=origins,
        problems=lines(problems),
        warnings=lines(warnings),
        path=file.path if file is not None else None,
        empty=file is not None and not file.document,
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
            keys = sources(option.path)
            if any(key in layer and layer[key].value for key in keys):
                for key in keys:
                    given.pop(key, None)
    given.update(layer)


def _from_file(file: TomlFile, problems: list[str]) -> Iterator[tuple[str, _Given]]:
    base = file.path.absolute().parent
    for name, spelt, value in _known_keys(file, file.document, "", (), problems):
        if isinstance(value, dict):
            problems.append(told(name, "a table where a value is expected", file.where(*spelt)))
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
            problems.append(unknown_key(prefix + key, value, file.where(*spelt)))
            continue
        if name in seen:
            twice = f"given twice, as {seen[name]} and as {key}"
            where = f"{file.where(*around, seen[name])}, {file.where(*spelt)}"
            problems.append(told(name, twice, where, "take one of the two out"))
            continue
        seen[name] = key
        if name in options():
            yield name, spelt, value
        elif isinstance(value, dict):
            yield from _known_keys(file, value, f"{name}.", spelt, problems)
        else:
            problems.append(told(name, "a value where a table is expected", file.where(*spelt)))


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
        origin = f"environment {variable}"
        warnings.append(
            Told(
                f"environment {printable(variable, 80)} is no option{meant}",
                Parts(variable, "", origin, "", meant.removeprefix("; ")),
            )
        )


def _from_flags(
    flags: Mapping[str, object], names: Mapping[str, str], problems: list[str]
) -> Iterator[tuple[str, _Given]]:
    for path, value in flags.items():
        if value is None:
            continue
        flag = names.get(path) or "--" + path.rpartition(".")[2].replace("_", "-")
        name = _canonical_path(path)
        if name not in options():
            problems.append(unknown_key(path, None, f"flag {flag}"))
            continue
        yield name, _Given(value, f"flag {flag}", Path.cwd(), text=isinstance(value, str))


def _canonical_path(path: str) -> str:
    by_camel = {option.camel: option.path for option in options().values()}
    return by_camel.get(path, path)


def _read(option: Option, one: _Given) -> object:
    if one.text and isinstance(one.value, str):
        return parse_text(option, one.value)
    return one.value


def _inline_secrets(given: Mapping[str, _Given], values: Mapping[str, object]) -> list[str]:
    """The secrets that stand in the file itself."""
    found = [
        name
        for name, one in given.items()
        if options()[name].secret and one.value and one.origin.startswith("file ")
    ]
    return found + [
        f"webhooks[{number}].secret"
        for number, one in enumerate(cast(tuple[Webhook, ...], values.get("webhooks", ())))
        if one.secret and not (one.secret_file or one.secret_env)
    ]


# --- the tree ---------------------------------------------------------------------


def _build(struct: type[_T], prefix: str, values: Mapping[str, object]) -> _T:
    """The struct with what is given; the rest keeps its default."""
    chosen: dict[str, Any] = {}
    defaults = struct()
    for name in struct.__struct_fields__:
        path = prefix + name
        if path in values:
            chosen[name] = values[path]
        elif path in tables():
            chosen[name] = _build(type(getattr(defaults, name)), f"{path}.", values)
    return struct(**chosen)
