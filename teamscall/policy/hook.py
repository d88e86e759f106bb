"""The hook: an organisation's own answer, from a command or a URL, by a deadline.

Rule 1: a hook has one deadline for everything, from its start to its whole answer.
Rule 2: whatever is not a well-formed answer in time is a ``PolicyError``, never a grant.
Rule 3: how a command is run and killed is :mod:`teamscall.asking`'s.

The request is one JSON object (``version``, ``callId``, ``dialect``, ``on``, ``caller``);
the answer is one JSON object, ``{"authorized": bool, "reason"?: string, "settings"?: object}``,
where ``settings`` are keys of the configuration for this one call. A command
gets it on stdin, answers on stdout and exits with 0; a URL gets a POST and answers 200.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from teamscall.asking import ask_command, ask_url, prepare_url
from teamscall.errors import AskError, PolicyError
from teamscall.policy.rules import PolicyRequest
from teamscall.text import printable
from teamscall.wire.events import Caller


class HookSettings(msgspec.Struct, frozen=True):
    """Which hook, if any, and how long it may take. At most one of command and url."""

    command: tuple[str, ...] = ()
    url: str = ""
    timeout_s: float = 1.5


class HookAnswer(msgspec.Struct, frozen=True):
    """What a hook said. ``reason`` is its own text: make it printable before use."""

    authorized: bool
    reason: str = ""
    settings: dict[str, Any] = {}


class _Answer(msgspec.Struct):
    authorized: bool
    reason: str | None = None
    settings: dict[str, Any] | None = None


class _Caller(msgspec.Struct, rename="camel"):
    user_id: str
    tenant_id: str
    display_name: str
    user_principal_name: str
    phone_number: str
    teams_call_id: str


class _Request(msgspec.Struct, rename="camel"):
    call_id: str
    dialect: str
    on: str
    caller: _Caller
    version: int = 1


def prepare_hook(settings: HookSettings) -> None:
    """Import and load what the hook needs now, not while a call is ringing."""
    if settings.url:
        prepare_url()


async def run_hook(settings: HookSettings, request: PolicyRequest) -> HookAnswer:
    """Ask the hook.

    Raises:
        PolicyError: there is no well-formed answer within ``settings.timeout_s``. The
            message is printable and safe to log.
    """
    body = _request_body(request)
    try:
        async with asyncio.timeout(settings.timeout_s):
            if settings.command:
                answer = await ask_command(settings.command, body)
            else:
                answer = await ask_url(settings.url, body, statuses=(200,))
            return _decode(answer)
    except AskError as error:
        raise PolicyError(error.message + (f": {error.said}" if error.said else "")) from error
    except TimeoutError as error:
        raise PolicyError(
            f"no answer within authorization.hook_timeout_ms ({settings.timeout_s * 1000:.0f} ms)"
        ) from error


def _request_body(request: PolicyRequest) -> bytes:
    caller: Caller = request.caller
    return msgspec.json.encode(
        _Request(
            call_id=request.call_id,
            dialect=request.dialect,
            on=request.on,
            caller=_Caller(
                user_id=caller.user_id,
                tenant_id=caller.tenant_id,
                display_name=caller.display_name,
                user_principal_name=caller.user_principal_name,
                phone_number=caller.phone_number,
                teams_call_id=caller.teams_call_id,
            ),
        )
    )


def _decode(body: bytes) -> HookAnswer:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # The decoder's words quote field names and types, never values.
        raise PolicyError(f"its answer is malformed: {printable(str(error))}") from error
    return HookAnswer(answer.authorized, answer.reason or "", answer.settings or {})
