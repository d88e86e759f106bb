"""The secrets of both dialects: there, whole, hard to guess, and not the same twice.

Shows lengths and fingerprints only.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from teamscall.config import Config, Secret
from teamscall.doctor import findings, secrets
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.text import printable

MAX_FILE_BYTES = 65_536


class Named(msgspec.Struct, frozen=True):
    """One secret with its key and the file that gives it, if one does."""

    key: str
    secret: Secret
    file: str = ""


def named(config: Config) -> Iterator[Named]:
    """The secrets of the dialects that are served, in force and being replaced."""
    for table, on, one in (
        ("bridge", config.serve.enabled, config.bridge),
        ("standin", config.standin.enabled, config.standin),
    ):
        if on:
            yield Named(f"{table}.secret", one.secret, one.secret_file)
            if one.previous_secret or one.previous_secret_file:
                yield Named(
                    f"{table}.previous_secret", one.previous_secret, one.previous_secret_file
                )


async def given(site: Site) -> Finding:
    """Whether each served dialect has a secret, from one source."""
    if told := findings.of("TC-SECRET", site.problems):
        return failed(
            findings.sentence(told[0]),
            "Keep exactly one of the key, its _file and its _env, and see that it is set.",
        )
    file_told = findings.of("TC-SECRET-FILE", site.problems)
    missing = [
        one.key for one in named(site.config) if not one.secret and not one.key.endswith("previous")
    ]
    if missing and not file_told:
        to = "the one registered for the bot in StandIn" if "standin" in missing[0] else "a secret"
        return failed(
            f"{missing[0]} is missing: nobody can prove who they are.",
            f"Set {missing[0]} (or {missing[0]}_file) to {to}; `openssl rand -base64 32` makes "
            "one, and both sides need the same.",
            key=missing[0],
        )
    facts: dict[str, Fact] = {}
    for one in named(site.config):
        if one.secret:
            facts[f"{one.key}.length"] = len(one.secret.reveal())
            facts[f"{one.key}.fingerprint"] = secrets.fingerprint(one.secret.reveal())
    told_of = ", ".join(
        f"{one.key} ({len(one.secret.reveal())} characters, fingerprint "
        f"{secrets.fingerprint(one.secret.reveal())})"
        for one in named(site.config)
        if one.secret
    )
    return ok(f"{told_of}." if told_of else "A file gives it; see TC-SECRET-FILE.", **facts)


async def files(site: Site) -> Finding:
    """Whether the files that hold secrets can be read, by us alone, and hold one line."""
    if told := findings.of("TC-SECRET-FILE", site.problems):
        return failed(
            findings.sentence(told[0]),
            "Write the secret into that file, one line, readable by this user (chmod 600).",
        )
    seen = [one for one in named(site.config) if one.file]
    for one in seen:
        if (found := await asyncio.to_thread(_wrong_file, one)) is not None:
            return found
    if not seen:
        return skipped("No secret comes from a file of its own.")
    return ok(f"{_number(len(seen), 'file')}, one line each, readable by the owner alone.")


def _wrong_file(one: Named) -> Finding | None:
    shown = printable(one.file)
    try:
        with Path(one.file).open("rb") as file:
            data = file.read(MAX_FILE_BYTES)
            bits = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    except OSError as error:
        return failed(
            f"{shown}, named by {one.key}_file, cannot be read: {error.strerror}.",
            "Check the path, and that this user may read it.",
        )
    lines = [line for line in data.replace(b"\r\n", b"\n").split(b"\n") if line.strip()]
    if len(lines) > 1:
        return failed(
            f"{shown}, named by {one.key}_file, has {len(lines)} lines; all of them are taken as "
            "the secret.",
            "Leave the secret alone in it, on one line.",
            lines=len(lines),
        )
    if os.name == "posix" and bits & 0o077:
        others = "written" if bits & 0o022 else "read"
        return failed(
            f"{shown}, named by {one.key}_file, can be {others} by other users (mode {bits:04o}).",
            f"chmod 600 {shown}",
            mode=f"{bits:04o}",
        )
    return None


async def whole(site: Site) -> Finding:
    """What a copy may have done to a secret."""
    doubtful: tuple[Named, secrets.Damage] | None = None
    for one in named(site.config):
        found = secrets.damage(one.secret.reveal())
        if found is not None and found.certain:
            return failed(f"{one.key} {found.what}.", found.remedy, **_about(one))
        if found is not None and doubtful is None:
            doubtful = one, found
    if doubtful is not None:
        one, found = doubtful
        return warning(f"{one.key} looks as if it {found.what}.", found.remedy, **_about(one))
    return ok("No blanks, quotes, line ends or hidden characters around or in them.")


async def strength(site: Site) -> Finding:
    """Whether a secret can be guessed."""
    for one in named(site.config):
        found = secrets.weakness(one.secret.reveal())
        if found is not None:
            return failed(f"{one.key} {found.what}.", found.remedy, **_about(one))
    return ok("Long enough, and no placeholder.")


async def apart(site: Site) -> Finding:
    """Whether the two dialects share a secret."""
    config = site.config
    if not (config.serve.enabled and config.standin.enabled):
        return skipped("Only one dialect is served.")
    if config.bridge.secret == config.standin.secret:
        return warning(
            "bridge.secret and standin.secret are the same: who learns one has both.",
            "Make another for one of them (`openssl rand -base64 32`) and register it there.",
        )
    return ok("Each dialect has its own.")


async def rotation(site: Site) -> Finding:
    """Whether a secret that is being replaced can be told from the new one."""
    replaced = [one for one in named(site.config) if one.key.endswith("previous_secret")]
    if not replaced:
        return skipped("No secret is being replaced.")
    now = {one.key: one.secret for one in named(site.config)}
    for one in replaced:
        current = now[one.key.replace("previous_", "")]
        if one.secret and one.secret == current:
            return failed(
                f"{one.key} is the same as {one.key.replace('previous_', '')}: nothing is "
                "replaced.",
                f"Put the new secret into {one.key.replace('previous_', '')}, or take "
                f"{one.key} out.",
            )
        if one.secret.reveal().strip() == current.reveal().strip():
            return failed(
                f"{one.key} differs from the new secret by blanks alone.",
                f"Take {one.key} out, and see that the secret in force has no blanks around it.",
            )
    keys = " and ".join(one.key for one in replaced)
    return ok(
        f"{keys} is still taken beside the new one; take it out once the other side has the "
        "new secret (the log says while the old one is in use)."
    )


def _about(one: Named) -> dict[str, Fact]:
    value = one.secret.reveal()
    return {"key": one.key, "length": len(value), "fingerprint": secrets.fingerprint(value)}


def _number(count: int, word: str) -> str:
    return f"1 {word}" if count == 1 else f"{count} {word}s"


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-SECRET",
        "here",
        "A secret for each dialect",
        given,
        "Each dialect that is served needs the secret that it shares with its other side. It "
        "shows lengths and fingerprints: `teamscall doctor` on two machines with the same "
        "secret shows the same ones.",
        "Set bridge.secret (C# gateway) or standin.secret (StandIn), directly, by _file or by "
        "_env, from one source only.",
        after=("TC-CONFIG",),
    ),
    Check(
        "TC-SECRET-FILE",
        "here",
        "Files that hold secrets",
        files,
        "Reads each secret_file: it must be there, not empty, one line, and readable by the "
        "bridge's user alone. One line end at its end is taken off, nothing else.",
        "Write it anew: `openssl rand -base64 32 > FILE && chmod 600 FILE`.",
        after=("TC-CONFIG",),
    ),
    Check(
        "TC-SECRET-COPY",
        "here",
        "What a copy did to the secret",
        whole,
        "Looks for what copying leaves: blanks, line ends, quotes, a byte order mark, curly "
        "quotes, invisible characters, %3D for =, base64 without its padding, a text cut off. "
        "A secret that differs by one of them differs: every call is refused.",
        "Copy the secret again from where it was made, as plain text, to both sides.",
        after=("TC-SECRET", "TC-SECRET-FILE"),
    ),
    Check(
        "TC-SECRET-STRENGTH",
        "here",
        "Whether the secret can be guessed",
        strength,
        "At least 32 characters, no placeholder, no example from a manual, no short pattern.",
        "`openssl rand -base64 32`, on both sides.",
        after=("TC-SECRET", "TC-SECRET-FILE", "TC-SECRET-COPY"),
    ),
    Check(
        "TC-SECRET-SHARED",
        "here",
        "One secret for two dialects",
        apart,
        "StandIn and your own gateway are two parties: the same secret for both lets each "
        "play the other.",
        "Make a second secret and register it with one of them.",
        after=("TC-SECRET", "TC-SECRET-FILE"),
    ),
    Check(
        "TC-SECRET-ROTATION",
        "here",
        "A secret that is being replaced",
        rotation,
        "While previous_secret is set, both secrets are taken. It must differ from the new one.",
        "Put the new secret into `secret`, the old one into `previous_secret`, reload the "
        "bridge, change the other side, then take previous_secret out.",
        after=("TC-SECRET", "TC-SECRET-FILE"),
    ),
)
