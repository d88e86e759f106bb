"""``teamscall init --teams-manifest``: the Teams app package, asked for and written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

_PANEL = "Teams app package"


def _option(*names: str, help_: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=help_, metavar=metavar, rich_help_panel=_PANEL)


ManifestOption = Annotated[
    Path | None,
    _option(
        "--teams-manifest",
        help_="Write the Teams app package there, and no configuration.",
        metavar="DIR|FILE.zip",
    ),
]
AppIdOption = Annotated[str | None, _option("--app-id", help_="The bot's Microsoft App ID.")]
AppNameOption = Annotated[str | None, _option("--name", help_="The app's name, 30 at most.")]
CompanyOption = Annotated[str | None, _option("--company", help_="Who makes it.")]
WebsiteOption = Annotated[str | None, _option("--website", help_="https URL of the company.")]
PrivacyOption = Annotated[str | None, _option("--privacy-url", help_="https URL.")]
TermsOption = Annotated[str | None, _option("--terms-url", help_="https URL.")]
DescriptionOption = Annotated[
    str | None, _option("--description", help_="What the bot does, in 80 characters.")
]
AppVersionOption = Annotated[str, _option("--app-version", help_="Of the app.")]
AccentOption = Annotated[str, _option("--accent", help_="Colour behind the icon.")]
VideoOption = Annotated[bool, _option("--video", help_="The bot shows a picture (StandIn).")]
DomainOption = Annotated[
    list[str] | None, _option("--domain", help_="A valid domain. Default: the website's.")
]

_QUESTIONS = {
    "app_id": ("--app-id", "The bot's Microsoft App ID (a GUID)"),
    "name": ("--name", "Name of the app (30 characters at most)"),
    "company": ("--company", "Your company"),
    "website": ("--website", "Website (https)"),
    "privacy_url": ("--privacy-url", "Privacy statement (https)"),
    "terms_url": ("--terms-url", "Terms of use (https)"),
}


def write(
    target: Path,
    given: Mapping[str, str | None],
    more: Mapping[str, Any],
    *,
    asks: bool,
    json_: bool,
) -> None:
    """Write the package; what is missing is asked for, or named."""
    import json

    from teamscall.cli.init_ask import answer
    from teamscall.errors import InputError
    from teamscall.setup.teams_app import VERSION, App, write_package
    from teamscall.text import printable

    answers = {key: (value or "").strip() for key, value in given.items()}
    for key, (_, question) in _QUESTIONS.items():
        if not answers[key] and asks:
            answers[key] = answer(question).strip()
    missing = [flag for key, (flag, _) in _QUESTIONS.items() if not answers[key]]
    if missing:
        raise InputError(f"The app package needs {', '.join(missing)}.")
    wanted: dict[str, Any] = {**answers, **more}
    files = write_package(App(**wanted), target)
    if json_:
        about = {"version": 1, "manifestVersion": VERSION, "files": [str(file) for file in files]}
        typer.echo(json.dumps(about, indent=2))
        return
    for file in files:
        typer.echo(printable(str(file), 300))
    whole = target.suffix.lower() == ".zip"
    first = "" if whole else "zip the three files (not their folder), then "
    typer.echo(
        f"\nIn Teams: {first}Apps > Manage your apps > Upload an app; for everybody, the Teams "
        "admin center. In the Azure Bot's Teams channel, turn on calling and give it the "
        "webhook of your gateway.",
        err=True,
    )
