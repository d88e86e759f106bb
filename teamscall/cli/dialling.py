"""The options with which a command dials a bridge as a gateway does, and its shared secret.

Owned by ``emulate`` and ``replay --against`` together. Refuses to know the wire.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from teamscall.cli.emulate_names import GenerationName
from teamscall.errors import InputError
from teamscall.text import printable

SECRET_ENV = "TEAMSCALL_EMULATE_SECRET"
PANEL = "Dialling"

SecretOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help=f"The shared secret; better --secret-file or ${SECRET_ENV}.",
        rich_help_panel=PANEL,
    ),
]
SecretFileOption = Annotated[
    Path | None, typer.Option(help="A file with the shared secret.", rich_help_panel=PANEL)
]
GenerationOption = Annotated[
    GenerationName,
    typer.Option(help="Which of StandIn's header names to send.", rich_help_panel=PANEL),
]
CaOption = Annotated[
    Path | None,
    typer.Option(help="PEM file of the authority to trust.", rich_help_panel=PANEL),
]
InsecureOption = Annotated[
    bool, typer.Option("--insecure", help="Accept any certificate.", rich_help_panel=PANEL)
]


def read_secret(
    given: str | None, file: Path | None, env: Mapping[str, str] | None = None
) -> bytes:
    """The secret from the flag, the file or the environment (``os.environ``), in this order.

    One line end at the end of a file is the editor's, not the secret's.

    Raises:
        InputError: there is none, or the file cannot be read.
    """
    if given is not None:
        secret = os.fsencode(given)
    elif file is not None:
        try:
            secret = file.read_bytes()
        except OSError as error:
            name = printable(str(file))
            raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
        secret = secret.removesuffix(b"\n").removesuffix(b"\r")
    else:
        secret = os.fsencode((os.environ if env is None else env).get(SECRET_ENV, ""))
    if not secret:
        raise InputError(
            "There is no secret.", hint=f"Use --secret-file, or put it into ${SECRET_ENV}."
        )
    return secret
