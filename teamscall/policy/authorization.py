"""The one face of the policy: rules first, then the hook, and no way around either."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import msgspec

from teamscall.config import Authorization
from teamscall.errors import PolicyError
from teamscall.policy.hook import HookAnswer, HookSettings, prepare_hook, run_hook
from teamscall.policy.rules import (
    DENIED,
    UNDECIDED,
    AuthorizationRules,
    Decision,
    PolicyRequest,
    RulesFor,
    decide,
    rules_for,
    rules_of,
)
from teamscall.text import printable
from teamscall.wire.events import Caller, Dialect

__all__ = [
    "AuthorizationRules",
    "Decision",
    "HookAnswer",
    "Policy",
    "PolicyRequest",
    "RulesFor",
    "decide",
    "rules_of",
]

log = logging.getLogger("teamscall.policy")

# What a hook says about a refusal goes to a gateway, a log and a terminal.
_MAX_REASON = 200


class Policy:
    """Decides on calls by one immutable rule book and at most one hook.

    ``hook``: asked instead of the configuration's; raises PolicyError where it has no answer.
    """

    def __init__(
        self,
        settings: Authorization,
        hook: Callable[[PolicyRequest], Awaitable[HookAnswer]] | None = None,
    ) -> None:
        self._settings = settings
        self._rules = rules_of(settings)
        self._own_hook = hook
        self._hook = HookSettings(
            command=settings.hook_command,
            url=settings.hook_url,
            timeout_s=settings.hook_timeout_ms / 1000,
        )
        prepare_hook(self._hook)

    @property
    def has_hook(self) -> bool:
        """Whether ``authorize`` may have to wait for something outside."""
        return bool(self._own_hook or self._hook.command or self._hook.url)

    def rules_for(self, caller: Caller) -> RulesFor:
        """What of the rules a decision on this caller depends on."""
        return rules_for(caller, self._settings)

    def rules_decide(self, caller: Caller, dialect: Dialect = "csharp") -> Decision:
        """What the rules alone say; never waits."""
        return decide(caller, self._rules, dialect)

    async def authorize(
        self, request: PolicyRequest, heard: Callable[[HookAnswer], None] | None = None
    ) -> Decision:
        """Decide, asking the hook if the rules grant; answers within the hook's deadline.

        ``heard`` is told the hook's own answer, where there is one. Never raises but for
        cancellation: a hook that cannot be asked denies.
        """
        decision = self.rules_decide(request.caller, request.dialect)
        if not decision.authorized or not self.has_hook:
            return decision
        try:
            answer = await self._ask(request)
        except PolicyError as error:
            log.warning(
                "The authorization hook failed; the call is refused",
                extra={"callId": request.call_id, "detail": error.message},
            )
        except Exception:  # fail closed, whatever it was
            log.exception(
                "The authorization hook failed unexpectedly; the call is refused",
                extra={"callId": request.call_id},
            )
        else:
            if heard is not None:
                heard(answer)
            if answer.authorized:
                return msgspec.structs.replace(decision, settings=answer.settings)
            return Decision(False, "hook", printable(answer.reason, _MAX_REASON) or DENIED)
        return Decision(False, self._rules.mode, UNDECIDED)

    async def _ask(self, request: PolicyRequest) -> HookAnswer:
        if self._own_hook is not None:
            return await self._own_hook(request)
        return await run_hook(self._hook, request)
