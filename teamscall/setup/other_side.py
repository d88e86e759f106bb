"""What is left to do where we are not: the secret, the address, the permissions.

Owns the words. Facts: ``design/microsoft.md``. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from teamscall.setup.plan import Plan

CONSENT = "https://login.microsoftonline.com/TENANT/adminconsent?client_id=APP"


class Permission(msgspec.Struct, frozen=True):
    """An application permission of Microsoft Graph. ``always``: nothing works without it."""

    name: str
    wanted_for: str
    always: bool = False


STANDIN_PERMISSIONS = (
    Permission("Calls.AccessMedia.All", "the sound of a call", True),
    Permission("Calls.JoinGroupCall.All", "answering calls, joining meetings", True),
    Permission("Calls.InitiateGroupCall.All", "calling somebody back"),
    Permission("Chat.Read.All", "finding a call's chat"),
)
CSHARP_PERMISSIONS = (
    Permission("Calls.AccessMedia.All", "the sound of a call", True),
    Permission("Calls.JoinGroupCall.All", "group calls and meetings"),
    Permission("Calls.Initiate.All", "placing calls"),
)


class Step(msgspec.Struct, frozen=True):
    """One thing to do, and its lines."""

    title: str
    lines: tuple[str, ...]


def steps(plan: Plan, values: Mapping[str, object], files: Mapping[str, Path]) -> list[Step]:
    """The three things to do, for each side that was planned."""
    found: list[Step] = []
    for wanted, side, key, table, place, permissions in (
        (plan.standin, "StandIn", "standin.secret", "standin", "your bot in the dashboard at "
         "standin.komaa.com", STANDIN_PERMISSIONS),
        (plan.csharp, "the C# gateway", "bridge.secret", "serve", "the gateway's settings (it is "
         "sent as X-Bridge-Secret)", CSHARP_PERMISSIONS),
    ):  # fmt: skip
        if not wanted:
            continue
        secret = files.get(key)
        address = values.get(f"{table}.public_url")
        show = f"cat {secret}" if secret else f"teamscall config explain {key}"
        found.append(
            Step(
                f"{side}: paste the secret into {place}",
                (show, "Every character counts: no blank before it, no line break after it."),
            )
        )
        path = "/msteams/calling" if table == "standin" else "/teams-call/stream"
        register = str(address) if address else f"wss://YOUR-ADDRESS{path}"
        more = () if address else (f"then: teamscall config set {table}.public_url ADDRESS",)
        found.append(Step(f"{side}: register this address", (register, *more)))
        found.append(
            Step(
                f"{side}: give the bot's app these Graph permissions, with admin consent",
                (
                    *(
                        f"{p.name} ({'always' if p.always else 'only'} for {p.wanted_for})"
                        for p in permissions
                    ),
                    f"Consent: {CONSENT}",
                ),
            )
        )
    return found
