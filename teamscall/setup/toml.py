"""A commented TOML file from keys and values.

Every key has its meaning over it, from the same table as the manual. Pure.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping

from teamscall.config.options import options, table_doc

_WIDTH = 88
_HEAD = """\
# Configuration of teamscall, written by `teamscall init`.
#
#   teamscall config check          is it right?
#   teamscall config explain KEY    what does a key do? (all keys: man teamscall.toml)
#   teamscall reload                a running bridge takes what was changed
"""
# Left out, and of use soon: they are written as comments.
OFFERED = (
    *("inbound.greeting", "response_system_prompt", "serve.public_url", "standin.public_url"),
    *("outbound.allow_to", "journal.transcripts"),
)


def commented(values: Mapping[str, object], *, notes: Mapping[str, str]) -> str:
    """The file. ``notes``: a sentence of one's own over a key, in place of its meaning."""
    offered = [key for key in OFFERED if key not in values and _fits(key, values)]
    order = {path: number for number, path in enumerate(options())}
    keys = sorted({*values, *offered}, key=lambda key: order[key])
    blocks = [_HEAD]
    table = ""
    for key in keys:
        here, _, leaf = key.rpartition(".")
        if here != table:
            blocks.append(f"\n# {table_doc(here)}\n[{here}]\n")
            table = here
        elif not here:
            blocks.append("\n")
        blocks.append(_comment(notes.get(key) or _meaning(key)))
        if key in values:
            blocks.append(f"{leaf} = {toml_value(values[key])}\n")
        else:
            blocks.append(f"# {leaf} = {_EXAMPLES[key]}\n")
    return "".join(blocks)


_EXAMPLES = {
    "inbound.greeting": '"Hello! How can I help you?"',
    "response_system_prompt": '"You answer the phone of Example Ltd. Be brief."',
    "serve.public_url": '"wss://bridge.example.org/teams-call/stream"',
    "standin.public_url": '"wss://bridge.example.org/msteams/calling"',
    "outbound.allow_to": '["user:3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11"]',
    "journal.transcripts": '"when-recorded"',
}


def _fits(key: str, values: Mapping[str, object]) -> bool:
    if key == "serve.public_url":
        return values.get("serve.enabled") is not False
    if key == "standin.public_url":
        return bool(values.get("standin.enabled"))
    return True


def _meaning(key: str) -> str:
    option = options()[key]
    words = [option.doc]
    if option.choices:
        words.append(f"{option.allowed[:1].upper()}{option.allowed[1:]}.")
    elif option.unit:
        words.append(f"In {option.unit}.")
    return " ".join(words)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, _WIDTH))


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        items = [toml_value(one) for one in value]
        if sum(map(len, items)) > _WIDTH - 20:
            return "[\n" + "".join(f"    {item},\n" for item in items) + "]"
        return "[" + ", ".join(items) + "]"
    # JSON's strings are TOML's but for what JSON leaves as it is: DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
