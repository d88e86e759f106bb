"""The Teams app package of a calling bot: manifest, icons, and Microsoft's rules for them.

Owns the manifest's shape (schema 1.17) and its rules, each checked and named. Refuses to know
where the answers come from. Source of the rules: MicrosoftTeams.schema.json, version 1.17, and
the icon rules of Microsoft's app manifest reference.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from teamscall.config.rewriting import write_new
from teamscall.errors import InputError
from teamscall.text import printable

VERSION = "1.17"
SCHEMA = (
    "https://developer.microsoft.com/en-us/json-schemas/teams/"
    f"v{VERSION}/MicrosoftTeams.schema.json"
)
_ICONS = {"color.png": 192, "outline.png": 32}
_GUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_SEMVER = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_DOMAIN = re.compile(r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)+(:[0-9]+)?")
_MAX_URL = 2048
_MAX_DOMAINS = 16
# The day that a zip begins counting: the same answers give the same bytes.
_WHEN = (1980, 1, 1, 0, 0, 0)

_LENGTHS = (
    ("developer.name", 32),
    ("name.short", 30),
    ("name.full", 100),
    ("description.short", 80),
    ("description.full", 4000),
    ("version", 256),
)


class App(msgspec.Struct, frozen=True):
    """What is asked for. ``app_id``: the bot's Microsoft App ID."""

    app_id: str
    name: str
    company: str
    website: str
    privacy_url: str
    terms_url: str
    full_name: str = ""
    description: str = ""
    version: str = "1.0.0"
    accent: str = "#4F52B2"
    video: bool = False
    domains: tuple[str, ...] = ()


def manifest_of(app: App) -> dict[str, Any]:
    """The manifest; right or wrong."""
    about = app.description or f"{app.name} answers calls in Teams."
    host = urlsplit(app.website).hostname if "://" in app.website else ""
    domains = app.domains or ((host,) if host else ())
    return {
        "$schema": SCHEMA,
        "manifestVersion": VERSION,
        "version": app.version,
        "id": app.app_id,
        "developer": {
            "name": app.company,
            "websiteUrl": app.website,
            "privacyUrl": app.privacy_url,
            "termsOfUseUrl": app.terms_url,
        },
        "name": {"short": app.name, "full": app.full_name or app.name},
        "description": {"short": about[:80] if not app.description else about, "full": about},
        "icons": {"color": "color.png", "outline": "outline.png"},
        "accentColor": app.accent,
        "bots": [
            {
                "botId": app.app_id,
                "scopes": ["personal", "team", "groupChat"],
                "supportsFiles": False,
                "isNotificationOnly": False,
                "supportsCalling": True,
                "supportsVideo": app.video,
            }
        ],
        "permissions": ["identity", "messageTeamMembers"],
        "validDomains": list(domains),
    }


def violations(manifest: Mapping[str, Any]) -> list[str]:
    """Each rule that the manifest breaks, with the place; empty: Teams takes it."""
    return list(_violations(manifest))


def _violations(manifest: Mapping[str, Any]) -> Iterator[str]:
    for path, longest in _LENGTHS:
        text = _at(manifest, path)
        if not isinstance(text, str) or not text.strip():
            yield f"{path} is missing"
        elif len(text) > longest:
            yield f"{path} has {len(text)} characters, at most {longest} are taken"
    if not _GUID.fullmatch(str(_at(manifest, "id"))):
        yield "id is not a GUID: it is the bot's Microsoft App ID"
    if not _SEMVER.fullmatch(str(_at(manifest, "version"))):
        yield "version is not MAJOR.MINOR.PATCH, as in 1.0.0"
    if not _COLOUR.fullmatch(str(_at(manifest, "accentColor"))):
        yield "accentColor is not a colour such as #4F52B2"
    for name in ("websiteUrl", "privacyUrl", "termsOfUseUrl"):
        url = str(_at(manifest, f"developer.{name}") or "")
        if not _is_https(url):
            yield f"developer.{name} is not an https URL"
        elif len(url) > _MAX_URL:
            yield f"developer.{name} has {len(url)} characters, at most {_MAX_URL} are taken"
    bots = manifest.get("bots")
    if not isinstance(bots, list) or len(bots) != 1:
        yield "bots has not exactly one bot"
    else:
        if not _GUID.fullmatch(str(bots[0].get("botId"))):
            yield "bots[0].botId is not a GUID"
        if bots[0].get("supportsCalling") is not True:
            yield "bots[0].supportsCalling is not true: nobody could call the bot"
        if not bots[0].get("scopes"):
            yield "bots[0].scopes is empty"
    domains = manifest.get("validDomains", [])
    if len(domains) > _MAX_DOMAINS:
        yield f"validDomains has {len(domains)} entries, at most {_MAX_DOMAINS} are taken"
    for domain in domains:
        if not _DOMAIN.fullmatch(str(domain)):
            shown = printable(str(domain), 60)
            yield f"validDomains: {shown} is not a host name (no https://, no path, no lone *)"


def _at(manifest: Mapping[str, Any], path: str) -> object:
    value: Any = manifest
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme.lower() == "https" and bool(parts.hostname) and " " not in url
    except ValueError:
        return False


def icon_violations(icons: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the icons: their size, and the outline's colours."""
    from PIL import Image, UnidentifiedImageError

    found: list[str] = []
    for name, size in _ICONS.items():
        try:
            with Image.open(io.BytesIO(icons.get(name, b""))) as image:
                image.load()
                if image.format != "PNG" or image.size != (size, size):
                    found.append(f"{name} is not a PNG of {size} x {size} pixels")
                elif name == "outline.png" and not _is_outline(image):
                    found.append(f"{name} is not white on transparent")
        except (UnidentifiedImageError, OSError):
            found.append(f"{name} is no picture")
    return found


def _is_outline(image: Any) -> bool:
    pixels = image.convert("RGBA").tobytes()
    clear = any(pixels[n + 3] == 0 for n in range(0, len(pixels), 4))
    white = all(
        pixels[n : n + 3] == b"\xff\xff\xff" for n in range(0, len(pixels), 4) if pixels[n + 3]
    )
    return clear and white


def own_icons() -> dict[str, bytes]:
    """The icons that come with the package."""
    folder = resources.files("teamscall") / "assets" / "teams-app"
    return {name: (folder / name).read_bytes() for name in _ICONS}


def write_package(app: App, target: Path) -> list[Path]:
    """Write the package: a zip where the name ends so, else a folder; the files written.

    Raises:
        InputError: with every rule that is broken, or it is there, or cannot be written.
    """
    manifest, icons = manifest_of(app), own_icons()
    wrong = violations(manifest) + icon_violations(icons)
    if wrong:
        raise InputError(
            "Teams would refuse this app: " + "; ".join(wrong) + ".",
            hint="Nothing was written.",
        )
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    files = {"manifest.json": text.encode(), **icons}
    name = printable(str(target), 300)
    try:
        if target.suffix.lower() == ".zip":
            write_new(target, _zipped(files))
            target.chmod(0o644)
            return [target]
        target.mkdir(parents=True, exist_ok=True)
        there = [one for one in files if (target / one).exists()]
        if there:
            raise FileExistsError(None, f"{there[0]} is there already")
        for file, data in files.items():
            write_new(target / file, data)
            (target / file).chmod(0o644)
    except FileExistsError as error:
        raise InputError(f"{name} is there already, and nothing is overwritten.") from error
    except OSError as error:
        raise InputError(f"{name} cannot be written: {error.strerror or error}.") from error
    return [target / file for file in files]


def _zipped(files: Mapping[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            about = zipfile.ZipInfo(name, _WHEN)
            about.external_attr = 0o644 << 16
            about.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(about, data)
    return packed.getvalue()
