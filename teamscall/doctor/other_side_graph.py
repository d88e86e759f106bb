"""The bot's registration at Microsoft: a token for Graph, and what it may do.

Owns the values' own checks, the asking (by MSAL, in a thread) and what Microsoft's refusals
mean. Refuses to know which permissions are needed (``other_side_permissions``).
"""

from __future__ import annotations

import asyncio
import datetime
import importlib.util
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec

from teamscall.config import Graph
from teamscall.doctor import findings
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_asking import Silent, tls_context, why
from teamscall.doctor.other_side_certificate import SOON_DAYS, Pair, Unusable, read_pair
from teamscall.doctor.other_side_permissions import (
    checklist,
    consent_url,
    missing,
    needed,
    roles_of,
)
from teamscall.text import printable

NO_GRAPH = "The bot's registration at Microsoft is not configured (graph.*)."
INSTALL = f"{shlex.quote(sys.executable or 'python3')} -m pip install 'teamscall[graph]'"

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_DOMAIN = re.compile(r"([a-z0-9-]+\.)+[a-z]{2,}", re.IGNORECASE)
_OVERVIEW = "entra.microsoft.com, App registrations, your bot, Overview"
_SECRETS = "entra.microsoft.com, App registrations, your bot, Certificates & secrets"
_ASK_S = 5.0  # each of two requests

# Microsoft's error numbers (learn.microsoft.com, AADSTS error codes): what, and what to do.
_CODES: dict[int, tuple[str, str]] = {
    7000215: (
        "graph.client_secret is not a secret of this application",
        "Copy the secret's Value, not its Secret ID. It is shown only once: make a new one at "
        f"{_SECRETS}.",
    ),
    7000222: (
        "graph.client_secret has expired",
        f"Make a new one at {_SECRETS}, and set it here and at the gateway.",
    ),
    7000218: (
        "the application wants a secret or a certificate",
        "Set graph.client_secret or graph.certificate_file.",
    ),
    7000112: ("the application is disabled in this tenant", "Enable it in Entra."),
    700016: (
        "there is no application graph.client_id in this tenant",
        f"Compare graph.client_id and graph.tenant_id with {_OVERVIEW}; an application of "
        "another tenant needs an admin's consent here first.",
    ),
    90002: ("there is no tenant graph.tenant_id", f"Copy the Directory (tenant) ID: {_OVERVIEW}."),
    900023: (
        "graph.tenant_id is no tenant's id or domain",
        f"Copy the Directory (tenant) ID: {_OVERVIEW}.",
    ),
    700027: (
        "the certificate is not registered for this application",
        f"Upload it at {_SECRETS}, and compare the thumbprint.",
    ),
    700024: (
        "the certificate's signature is out of its time: this clock is wrong",
        "Set this machine's clock (TC-CLOCK).",
    ),
    700030: ("the certificate is not accepted", f"Upload the one that is used at {_SECRETS}."),
    500011: (
        "graph.url is not known in this tenant",
        "Use https://graph.microsoft.com, or the address of your national cloud with its own "
        "graph.authority.",
    ),
    50001: ("graph.url is not known in this tenant", "Use https://graph.microsoft.com."),
    53003: (
        "a Conditional Access policy refuses the application",
        "Have an administrator allow the application from this network.",
    ),
}


class Token(msgspec.Struct, frozen=True):
    """What came of asking for one: its roles, or what is wrong."""

    roles: tuple[str, ...] | None = None  # None: it cannot be read
    problem: Finding | None = None


async def registration(site: Site) -> Finding:
    """The values themselves."""
    graph = site.config.graph
    if told := findings.of("TC-GRAPH", site.problems):
        return failed(findings.sentence(told[0]), "Correct it; see `teamscall config check`.")
    if not _configured(graph):
        return skipped(NO_GRAPH, checklist(site.config))
    if (wrong := _values(graph)) is not None:
        return wrong
    if importlib.util.find_spec("msal") is None:
        return failed("Asking Microsoft needs the package msal.", INSTALL)
    facts: dict[str, Fact] = {"tenant": graph.tenant_id, "client": graph.client_id}
    if graph.certificate_file:
        return await _certificate(graph, facts)
    if told := findings.of("TC-GRAPH", site.warnings):
        return warning(findings.sentence(told[0]), "Correct it; see `teamscall config check`.")
    return ok("Tenant, application and secret are there.", **facts)


def _configured(graph: Graph) -> bool:
    return bool(graph.tenant_id or graph.client_id or graph.client_secret or graph.certificate_file)


def _values(graph: Graph) -> Finding | None:
    tenant, client = graph.tenant_id, graph.client_id
    lacking = [
        name
        for name, value in (
            ("graph.tenant_id", tenant),
            ("graph.client_id", client),
            (
                "graph.client_secret or graph.certificate_file",
                graph.client_secret or graph.certificate_file,
            ),
        )
        if not value
    ]
    if lacking:
        return failed(
            f"{lacking[0]} is missing.",
            f"Set it: {_OVERVIEW}; or take [graph] out.",
        )
    if not _GUID.fullmatch(tenant) and not _DOMAIN.fullmatch(tenant):
        return failed(
            f"graph.tenant_id is {printable(tenant, 60)}: that is no GUID and no domain.",
            f"Copy the Directory (tenant) ID: {_OVERVIEW}.",
        )
    if not _GUID.fullmatch(client):
        return failed(
            f"graph.client_id is {printable(client, 60)}: that is no GUID.",
            f"Copy the Application (client) ID: {_OVERVIEW}.",
        )
    if client.lower() == tenant.lower():
        return failed(
            "graph.client_id and graph.tenant_id are the same.",
            f"Copy both again: {_OVERVIEW}.",
        )
    if graph.client_secret and graph.certificate_file:
        return failed(
            "graph.client_secret and graph.certificate_file are both set.", "Keep one of them."
        )
    secret = graph.client_secret.reveal()
    if secret != secret.strip(" \t\r\n\"'"):
        return failed(
            "graph.client_secret begins or ends with a blank, a quote or a line end.",
            "Take it off; a secret file needs no quotes.",
        )
    if _GUID.fullmatch(secret):
        return failed(
            "graph.client_secret is a Secret ID, not a secret.",
            f"Copy the Value beside it; it is shown only once: make a new one at {_SECRETS}.",
        )
    if not graph.authority.startswith("https://"):
        return failed(
            "graph.authority is not https: MSAL takes no other.",
            "Set it to https://login.microsoftonline.com, or leave it out.",
        )
    return None


async def _certificate(graph: Graph, facts: dict[str, Fact]) -> Finding:
    path = Path(graph.certificate_file)
    try:
        pair = await asyncio.to_thread(read_pair, path)
    except Unusable as error:
        return failed(f"graph.certificate_file: {error.what}.", error.remedy)
    left = pair.days_left(datetime.datetime.now(datetime.UTC))
    facts |= {"thumbprint": pair.thumbprint, "daysLeft": round(left, 1)}
    renew = f"Make a new one, upload it at {_SECRETS}, and name it here and at the gateway."
    if left < 0:
        return failed(f"The bot's certificate expired on {pair.ends:%Y-%m-%d}.", renew, **facts)
    if left < SOON_DAYS:
        return warning(
            f"The bot's certificate expires on {pair.ends:%Y-%m-%d}, in {left:.0f} days.",
            renew,
            **facts,
        )
    if pair.open_to_others:
        shown = printable(str(path), 120)
        return warning(
            "graph.certificate_file holds a private key and can be read by other users.",
            f"chmod 600 {shown}",
            **facts,
        )
    return ok(f"The certificate is valid until {pair.ends:%Y-%m-%d}.", **facts)


async def token(site: Site) -> Finding:
    """A token of the application's own."""
    if not _configured(site.config.graph):
        return skipped(NO_GRAPH)
    found = await _token(site)
    return found.problem or ok("Microsoft gives the bot a token.", roles=len(found.roles or ()))


async def permissions(site: Site) -> Finding:
    """What the token may do, beside what is needed."""
    config = site.config
    if not _configured(config.graph):
        return skipped(NO_GRAPH)
    found = await _token(site)
    if found.problem is not None:
        return found.problem
    if found.roles is None:
        return warning(
            "The token cannot be read here, so nothing is known of its permissions.",
            f"Look at API permissions of the bot in Entra. {checklist(config)}",
        )
    facts: dict[str, Fact] = {"roles": ", ".join(sorted(found.roles))}
    lacking = missing(needed(config), found.roles)
    if not lacking:
        return ok(f"{len(found.roles)} permissions, all that are needed.", **facts)
    words = "; ".join(f"{each.name} ({each.purpose})" for each in lacking)
    link = consent_url(config.graph)
    what = f"The bot lacks {words}."
    remedy = (
        "Add it as an Application permission of Microsoft Graph (API permissions of the bot in "
        f"Entra), then have an administrator consent: {link} (a token shows it some minutes later)."
    )
    facts["missing"] = ", ".join(each.name for each in lacking)
    if any(each.must for each in lacking):
        return failed(what, remedy, **facts)
    return warning(
        what, f"{remedy} If it is not wanted: list what is in graph.permissions.", **facts
    )


# --- asking -----------------------------------------------------------------------------


async def _token(site: Site) -> Token:
    return await site.shared.once("graph token", lambda: _ask(site.config.graph))


async def _ask(graph: Graph) -> Token:
    import httpx2

    pair: Pair | None = None
    if graph.certificate_file:
        try:
            pair = await asyncio.to_thread(read_pair, Path(graph.certificate_file))
        except Unusable as error:
            return Token(problem=failed(f"{error.what}.", error.remedy))
    authority = f"{graph.authority.rstrip('/')}/{graph.tenant_id}"
    try:
        answer = await asyncio.to_thread(_acquire, graph, pair, authority)
    except (httpx2.HTTPError, OSError) as error:
        silent = await why(error, graph.authority, "graph.authority")
        return Token(problem=failed(f"Microsoft's token endpoint: {silent.what}.", silent.remedy))
    except Silent as silent:
        return Token(problem=failed(f"{silent.what}.", silent.remedy))
    except ValueError:  # MSAL: the tenant's own description is refused
        what, remedy = _CODES[90002]
        return Token(
            problem=failed(
                f"Microsoft gives no token (AADSTS90002): {what}.", remedy, code="AADSTS90002"
            )
        )
    if "access_token" in answer:
        return Token(roles=roles_of(str(answer["access_token"])))
    return Token(problem=_explained(answer, pair))


def _acquire(graph: Graph, pair: Pair | None, authority: str) -> dict[str, Any]:
    """Blocks: for a thread."""
    import httpx2
    import msal  # type: ignore[import-untyped]  # it has no types

    credential: str | dict[str, str] = graph.client_secret.reveal()
    if pair is not None:
        credential = {"private_key": pair.key, "public_certificate": pair.certificate}
    # Its own client would trust another list of CAs than all else here does.
    with httpx2.Client(verify=tls_context(), timeout=_ASK_S) as http:
        application = msal.ConfidentialClientApplication(
            graph.client_id,
            client_credential=credential,
            authority=authority,
            instance_discovery=False,
            http_client=http,
        )
        scope = f"{graph.url.rstrip('/')}/.default"
        found: dict[str, Any] = application.acquire_token_for_client(scopes=[scope])
        return found


def _explained(answer: dict[str, Any], pair: Pair | None) -> Finding:
    """What a refusal of Microsoft's means. Its own text is not shown: only the numbers."""
    said = str(answer.get("error_description", ""))
    numbers = [int(each) for each in re.findall(r"AADSTS(\d{4,8})", said)]
    listed = answer.get("error_codes")
    if isinstance(listed, list):
        numbers += [each for each in listed if isinstance(each, int)]
    number = next((each for each in numbers if each in _CODES), numbers[0] if numbers else 0)
    code = f"AADSTS{number}" if number else printable(str(answer.get("error", "")), 60)
    facts: dict[str, Fact] = {"code": code}
    if number in _CODES:
        what, remedy = _CODES[number]
        if pair is not None and number in (700027, 700030):
            facts["thumbprint"] = pair.thumbprint
            remedy = f"{remedy.rstrip('.')}: {pair.thumbprint}."
        return failed(f"Microsoft gives no token ({code}): {what}.", remedy, **facts)
    return failed(
        f"Microsoft gives no token ({code}).",
        f"Look it up: https://login.microsoftonline.com/error?code={number}"
        if number
        else "Look at the application's sign-in logs in Entra.",
        **facts,
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-GRAPH",
        "other-side",
        "The bot's registration",
        registration,
        "Looks at graph.tenant_id, graph.client_id, graph.client_secret or "
        "graph.certificate_file themselves: GUIDs, a Secret ID in place of a secret, a "
        "certificate without its key or past its end. Calls need none of these: only the "
        "gateway talks to Graph. Without them, this is what an administrator has to grant, as "
        "Application permissions of Microsoft Graph: Calls.AccessMedia.All, always; "
        "Calls.JoinGroupCall.All, to take group calls and meetings; Calls.Initiate.All, to place "
        "calls; Calls.InitiateGroupCall.All, to place group calls. One-to-one calls that a user "
        "makes to the bot need no more than the first. And in the Teams app's manifest: "
        "bots[0].supportsCalling true.",
        f"Copy the ids from {_OVERVIEW}; secrets and certificates are made at {_SECRETS}.",
        after=("TC-CONFIG",),
    ),
    Check(
        "TC-GRAPH-TOKEN",
        "other-side",
        "Microsoft gives the bot a token",
        token,
        "Asks graph.authority for a token of the application's own (client credentials), as the "
        "gateway does. The token is thrown away. Microsoft's AADSTS numbers are said in words.",
        "What the number says: a wrong or expired secret is made anew, a wrong tenant or "
        "application id copied again, a certificate uploaded.",
        after=("TC-GRAPH", "TC-PROXY"),
        timeout_s=12.0,
    ),
    Check(
        "TC-GRAPH-PERMISSIONS",
        "other-side",
        "The bot's permissions",
        permissions,
        "Reads the roles of that token: the application permissions to which an administrator "
        "has really consented, beside what the configured features need; graph.permissions says "
        "otherwise.",
        "Add the permission, and have an administrator open the consent link.",
        after=("TC-GRAPH-TOKEN",),
        timeout_s=12.0,
    ),
)
