"""Checks JSON against the types that the official SDK declares for requests.

The SDK's ``TypedDict`` classes are the vendor's own word about today's API: a field that
they do not have is unknown to the service, which refuses the whole request for it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NotRequired, Required, Union

import typing_extensions
from openai import NotGiven, Omit


def faults(value: object, hint: Any, path: str = "") -> list[str]:
    """What is wrong with ``value`` as a ``hint``; empty if nothing."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or hint is object or isinstance(hint, typing.TypeVar):
        return []
    if origin in (Annotated, Required, NotRequired):
        return faults(value, arguments[0], path)
    if origin in (Union, types.UnionType):
        tried = [faults(value, one, path) for one in arguments]
        return [] if [] in tried else min(tried, key=_misses)
    if origin is Literal:
        return [] if value in arguments else [f"{path}: {value!r} is none of {arguments}"]
    if typing_extensions.is_typeddict(hint):
        return _record_faults(value, hint, path)
    if hint is str or not isinstance(value, str):
        if isinstance(origin, type) and issubclass(origin, Mapping):
            if not isinstance(value, dict):
                return [f"{path}: not an object"]
            return [f for k, v in value.items() for f in faults(v, arguments[1], f"{path}.{k}")]
        if isinstance(origin, type) and issubclass(origin, Iterable):
            if not isinstance(value, list):
                return [f"{path}: not an array"]
            return [f for i, v in enumerate(value) for f in faults(v, arguments[0], f"{path}[{i}]")]
    if hint in (None, type(None)):
        return [] if value is None else [f"{path}: not null"]
    if hint in (Omit, NotGiven):
        return [f"{path}: never on the wire"]
    wanted = (int, float) if hint is float else hint
    wrong = not isinstance(wanted, type | tuple) or not isinstance(value, wanted)
    if wrong or (isinstance(value, bool) and hint is not bool):
        return [f"{path}: {type(value).__name__} where {hint} is wanted"]
    return []


def _record_faults(value: object, hint: Any, path: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{path}: not an object"]
    fields = typing.get_type_hints(hint, include_extras=False)
    found = [f"{path}.{name}: unknown to {hint.__name__}" for name in value if name not in fields]
    required = getattr(hint, "__required_keys__", ())
    found += [f"{path}.{name}: missing" for name in required if name not in value]
    for name, one in value.items():
        if name in fields:
            found += faults(one, fields[name], f"{path}.{name}")
    return found


def _misses(found: list[str]) -> tuple[int, int]:
    """The member of a union that was meant: the one whose ``type`` fits, then the fewest."""
    return sum(".type:" in fault for fault in found), len(found)
