"""What a key is for, in all that is known of it: for ``config explain``.

Made from the table of keys. Refuses to know how it is printed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from teamscall.config.differing import value_of
from teamscall.config.entries import ENTRIES, HEADERS
from teamscall.config.options import Option, entry_options, options, table_doc
from teamscall.config.places import Place
from teamscall.config.tree import Config
from teamscall.config.words import shown

_WORD = re.compile(r"[a-z_]+\.[a-z_]+|[a-z]+_[a-z_]+")
_MOST_RELATED = 8


class Line(msgspec.Struct, frozen=True):
    """One key of a table."""

    key: str
    about: str
    value: str


class Explained(msgspec.Struct, frozen=True, rename="camel"):
    """``value`` and ``default`` are as TOML writes them, a secret masked. ``keys`` has those of
    a table, of which the rest is empty."""

    version: int
    key: str
    kind: str
    about: str
    type: str = ""
    allowed: str = ""
    unit: str = ""
    default: str = ""
    env: str = ""
    camel: str = ""
    secret: bool = False
    value: str = ""
    origin: str = ""
    related: tuple[str, ...] = ()
    example: str = ""
    keys: tuple[Line, ...] = ()


def explain(place: Place, config: Config, origins: Mapping[str, str]) -> Explained:
    """All about a place; ``config`` and ``origins`` say how it is now."""
    if place.kind == "table":
        inside = [o for o in options().values() if o.path.startswith(f"{place.path}.")]
        lines = tuple(Line(o.path, o.doc, shown(o, value_of(config, o.path))) for o in inside)
        return Explained(1, place.path, "table", table_doc(place.path), keys=lines)
    if place.kind == "entries" and place.option is None:
        known = entry_options(place.path).values()
        lines = tuple(Line(o.path, o.doc, _default(o)) for o in known)
        about = f"{(ENTRIES[place.path].__doc__ or '').strip()} As many as wanted."
        example = _entry_example(place.path)
        return Explained(1, place.path, "entries", about, keys=lines, example=example)
    option = place.option
    assert option is not None
    if place.kind == "entries":
        return Explained(
            1, f"{place.path}.{place.leaf}", "entry key", option.doc, option.type_words,
            option.allowed, option.unit, _default(option), "", option.camel, option.secret,
            example=_entry_example(place.path),
        )  # fmt: skip
    return Explained(
        version=1,
        key=option.path,
        kind="key",
        about=option.doc,
        type=option.type_words,
        allowed=option.allowed,
        unit=option.unit,
        default=_default(option),
        env=option.env,
        camel=option.camel if option.camel != option.path else "",
        secret=option.secret,
        value=shown(option, value_of(config, option.path)),
        origin=origins.get(option.path, "default"),
        related=related(option),
        example=written_out(option),
    )


def _default(option: Option) -> str:
    if option.default is msgspec.NODEFAULT:
        return "none: it must be given"
    if isinstance(option.default, dict):
        return "{}"
    return shown(option, option.default) if not option.secret else ""


def related(option: Option) -> tuple[str, ...]:
    """Keys that go with it: other sources of a secret, keys that its meaning or theirs names,
    the same key of another table."""
    table, _, leaf = option.path.rpartition(".")
    base = re.sub(r"_(file|env)$", "", option.path)
    found = [p for p in options() if p in (base, f"{base}_file", f"{base}_env")]
    if base in options() and not options()[base].secret:
        found = []
    for other in options().values():
        names = _WORD.findall(other.doc)
        if option.path in names or (leaf in names and other.path.rpartition(".")[0] == table):
            found.append(other.path)
    for word in _WORD.findall(option.doc):
        found += [name for name in (word, f"{table}.{word}") if name in options()]
    pair = {"tls_cert": "tls_key", "tls_key": "tls_cert", "hook_command": "hook_url"}
    if leaf in pair:
        found.append(f"{table}.{pair[leaf]}")
    if leaf not in ("enabled", "secret"):
        same = [p for p in options() if p.rpartition(".")[2] == leaf]
        found += same if len(same) <= 4 else []
    return tuple(p for p in dict.fromkeys(found) if p != option.path)[:_MOST_RELATED]


def written_out(option: Option) -> str:
    """Two lines of TOML."""
    table, _, leaf = option.path.rpartition(".")
    head = f"[{table}]\n" if table else ""
    return f"{head}{leaf} = {_example_value(option)}"


_EXAMPLES = {
    "authorization.allow_from": '["anna@example.org", "3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11"]',
    "authorization.allowed_tenants": '["8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a"]',
    "outbound.allow_to": '["user:3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11", "phone:+4930*"]',
    "outbound.quiet_hours": '["22:00-07:00", "sat,sun 00:00-24:00"]',
    "outbound.timezone": '"Europe/Berlin"',
    "inbound.greeting": '"Hello! How can I help you?"',
    "serve.public_url": '"wss://bridge.example.org/teams-call/stream"',
    "standin.public_url": '"wss://bridge.example.org/msteams/calling"',
}


def _example_value(option: Option) -> str:
    if option.path in _EXAMPLES:
        return _EXAMPLES[option.path]
    if option.secret:
        return '"…"   # or its _file or _env'
    if option.path.endswith("_file") or option.kind == "path":
        return f'"/etc/teamscall/{option.path.rpartition(".")[2].removesuffix("_file")}"'
    if option.path.endswith("_env"):
        return f'"{option.path.rpartition(".")[2].removesuffix("_env").upper()}"'
    if option.kind == "url":
        return '"https://service.example.org"'
    if option.kind == "command":
        return f'["/usr/local/bin/{option.path.rpartition(".")[2].removesuffix("_command")}"]'
    if option.type_words == "boolean or string":
        return "true"
    if option.choices:
        default = option.default
        other = next((c for c in option.choices if c != default and c != "disabled"), "")
        return f'["{other}"]' if option.type_words == "list of strings" else f'"{other}"'
    if isinstance(option.default, bool):
        return str(not option.default).lower()
    if isinstance(option.default, int | float):
        return str(option.default)
    if isinstance(option.default, tuple):
        return "[" + ", ".join(f'"{one}"' for one in option.default[:2]) + "]"
    return f'"{option.default}"'


def _entry_example(table: str) -> str:
    return {
        "tools": '[[tools]]\nname = "door_open"\ndescription = "Open the front door."\n'
        'command = ["/usr/local/bin/door", "open"]',
        "webhooks": '[[webhooks]]\nurl = "https://hooks.example.org/calls"\n'
        'events = ["call.ended"]\nsecret_env = "HOOK_SECRET"',
        "prices": '[prices."gpt-6-luna"]\ninput = 1.25\noutput = 10.0',
    }.get(table, HEADERS[table])
