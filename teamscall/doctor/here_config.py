"""The configuration: does it load, who may read it, what else steers it, who may call.

Refuses to know the secrets in it (``here_secrets``).
"""

from __future__ import annotations

import os
import shlex
import stat

from teamscall.config import Config, iter_options
from teamscall.doctor import findings
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, warning
from teamscall.text import printable


async def loads(site: Site) -> Finding:
    """Every line that no other check tells of."""
    problems = findings.of(findings.CONFIG, site.problems)
    warnings = findings.of(findings.CONFIG, site.warnings)
    where = printable(str(site.config_path)) if site.config_path else ""
    if problems:
        more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
        return failed(
            findings.sentence(problems[0]) + more,
            _remedy(site),
            problems=len(problems),
            path=where,
            **{f"problem{number}": line for number, line in enumerate(problems, start=1)},
        )
    if warnings:
        return warning(
            findings.sentence(warnings[0])
            + (f" And {len(warnings) - 1} more." if len(warnings) > 1 else ""),
            "`teamscall config check` lists every warning.",
            path=where,
            **{f"warning{number}": line for number, line in enumerate(warnings, start=1)},
        )
    if not where:
        return ok("No file: defaults and the environment.")
    return ok(f"{where} is read.", path=where)


async def mode(site: Site) -> Finding:
    """Whether others can read, or change, what the file holds."""
    path = site.config_path
    if path is None:
        return ok("There is no file.")
    if os.name != "posix":
        return ok("This system has other permissions.")
    try:
        info = path.stat()
    except OSError:
        return ok("The file cannot be looked at; see TC-CONFIG.")
    shown = printable(str(path))
    bits = stat.S_IMODE(info.st_mode)
    if bits & stat.S_IWOTH or (bits & stat.S_IWGRP and info.st_gid not in _own_groups()):
        return failed(
            f"{shown} can be written by other users (mode {bits:04o}).",
            f"chmod go-w {shown}",
            mode=f"{bits:04o}",
        )
    if told := findings.of("TC-CONFIG-MODE", site.warnings):
        return failed(
            f"{shown} holds a secret and can be read by other users (mode {bits:04o}).",
            f"chmod 600 {shown}",
            mode=f"{bits:04o}",
            said=told[0],
        )
    if holders := _secrets_in_file(site.config, site):
        return ok(f"{shown} holds a secret and only its owner can read it.", secrets=holders)
    return ok(f"{shown} holds no secret.", mode=f"{bits:04o}")


def _remedy(site: Site) -> str:
    """The file may be wrong, or not there to be wrong."""
    path = site.config_path
    if path is not None and not path.exists():
        written = printable(shlex.quote(str(path)))
        return f"Name the file that there is, or write this one: `teamscall init -o {written}`."
    if path is not None and (path.is_dir() or not os.access(path, os.R_OK)):
        return "Let the user that runs this read it (`chmod`, `chown`), or name another file."
    return "Correct it; `teamscall config check` lists every problem."


async def environment(site: Site) -> Finding:
    """Variables that look like ours and are none."""
    told = findings.of("TC-ENVIRONMENT", site.warnings)
    # Kubernetes makes these for a service named teamscall.
    told = [line for line in told if not _by_kubernetes(line, site)]
    if told:
        return warning(
            findings.sentence(told[0]) + (f" And {len(told) - 1} more." if told[1:] else ""),
            "Correct the name, or unset it: a misspelt variable is not read.",
            count=len(told),
        )
    used = sum(1 for origin in site.origins.values() if origin.startswith("environment "))
    return ok(f"{used} keys come from the environment, every variable is known.", used=used)


async def callers(site: Site) -> Finding:
    """Whether anybody may call at all."""
    rules = site.config.authorization
    if problems := findings.of("TC-CALLERS", site.problems):
        return failed(findings.sentence(problems[0]), "Correct it; see `teamscall config check`.")
    told = findings.of("TC-CALLERS", site.warnings)
    if refusing := [line for line in told if "refused" in line]:
        text, _, todo = refusing[0].partition("; ")
        return failed(findings.sentence(text), f"{todo[:1].upper()}{todo[1:]}.", mode=rules.mode)
    if told:
        return warning(findings.sentence(told[0]), "Correct it, or take the key out.")
    if not site.config.inbound.enabled:
        return ok("No inbound calls are taken (inbound.enabled = false).")
    return ok(f"authorization.mode is {rules.mode}.", mode=rules.mode)


def _by_kubernetes(line: str, site: Site) -> bool:
    name = line.split(" ")[1]
    service = ("_SERVICE_HOST", "_SERVICE_PORT", "_PORT")
    return "KUBERNETES_SERVICE_HOST" in site.env and (
        name.endswith(service) or "_PORT_" in name or "_SERVICE_PORT_" in name
    )


def _secrets_in_file(config: Config, site: Site) -> int:
    return sum(
        1
        for option in iter_options()
        if option.secret
        and site.origins.get(option.path, "").startswith("file ")
        and "named by" not in site.origins[option.path]
    )


def _own_groups() -> set[int]:
    return {os.getgid()} if hasattr(os, "getgid") else set()


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-CONFIG",
        "here",
        "Configuration",
        loads,
        "Reads the configuration as `teamscall serve` does: the file, the environment, --set. "
        "It fails when a key is unknown, a value has a wrong type or is out of range, or two "
        "keys contradict each other; a bridge would not start.",
        "Correct the named key at the named line. `teamscall config check` lists every problem "
        "at once.",
    ),
    Check(
        "TC-CONFIG-MODE",
        "here",
        "Who can read the configuration",
        mode,
        "Looks at the permissions of the configuration file. Whoever can read the secret in it "
        "can answer calls in your bot's name; whoever can write it can run commands as the "
        "bridge's user.",
        "`chmod 600` the file, or move the secret to a file of its own (bridge.secret_file, "
        "standin.secret_file).",
    ),
    Check(
        "TC-ENVIRONMENT",
        "here",
        "Environment variables",
        environment,
        "Looks for variables that begin with TEAMSCALL_ and are no key. Such a variable is "
        "not read: TEAMSCALL_BRDIGE_SECRET sets nothing.",
        "Correct the spelling; `teamscall config show` lists every key, and the variable of a "
        "key is its path in capitals with _ for the dot.",
    ),
    Check(
        "TC-CALLERS",
        "here",
        "Who may call",
        callers,
        "Looks at authorization.*: the default refuses every call, and so do an allowlist and "
        "a list of tenants that are empty.",
        "Set authorization.mode to allowlist, tenant-only or open, and fill the list that it "
        "goes by.",
        after=("TC-CONFIG",),
    ),
)
