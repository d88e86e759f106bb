"""Keys on the command line: completion, and the argument that every verb about keys takes."""

from __future__ import annotations

from typing import Annotated

import typer


def complete_key(incomplete: str) -> list[tuple[str, str]]:
    """Keys and tables that begin with what is typed."""
    from teamscall.config.places import known_names

    return [(name, doc) for name, doc in known_names() if name.startswith(incomplete)]


def complete_table(incomplete: str) -> list[tuple[str, str]]:
    """Tables alone, until a dot is typed."""
    found = complete_key(incomplete)
    return found if "." in incomplete else [one for one in found if "." not in one[0]]


def complete_pair(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Keys, and after a key the words that it may be."""
    from teamscall.config.options import options

    typed = [str(word) for word in ctx.params.get("words") or ()]
    if len(typed) % 2 == 0:
        return complete_key(incomplete)
    option = options().get(typed[-1])
    if option is None:
        return []
    words = ("true", "false") if "boolean" in option.type_words else ()
    return [(word, "") for word in (*words, *option.choices) if word.startswith(incomplete)]


KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="A key such as serve.port, or a table such as serve.",
        autocompletion=complete_key,
    ),
]
