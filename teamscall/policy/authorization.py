"""The one face of the policy: rules first, then the hook, and no way around either."""

from __future__ import annotations

import logging

import msgspec

from teamscall.config import Authorization
from teamscall.errors import PolicyError
from teamscall.policy.hook import HookSettings, prepare_hook, run_hook
from teamscall.policy.rules import (
    UNDECIDED,
    AuthorizationRules,
    Decision,
    PolicyRequest,
    decide,
    rules_of,
)
from teamscall.text import printable
from teamscall.wire.events import Caller, Dialect

__all__ = [
    "AuthorizationRules",
    "Decision",
    "Policy",
    "PolicyRequest",
    "decide",
    "rules_of",
]

log = logging.getLogger("teamscall.policy")

# What a hook says about a refusal goes to a gateway, a log and a terminal.
_MAX_REASON = 200


class Policy:
    """Decides on calls by one immutable rule book and at most one hook."""

    def __init__(self, settings: Authorization) -> None:
        self._rules = rules_of(settings)
        self._hook = HookSettings(
            command=settings.hook_command,
            url=settings.hook_url,
            timeout_s=settings.hook_timeout_ms / 1000,
        )
        prepare_hook(self._hook)

    @property
    def has_hook(self) -> bool:
        """Whether ``authorize`` may have to wait for something outside."""
        return bool(self._hook.command or self._hook.url)

    def rules_decide(self, caller: Caller, dialect: Dialect = "csharp") -> Decision:
        """What the rules alone say; never waits."""
        return decide(caller, self._rules, dialect)

    async def authorize(self, request: PolicyRequest) -> Decision:
        """Decide, asking the hook if the rules grant; answers within the hook's deadline.

        Never raises but for cancellation: a hook that cannot be asked denies.
        """
        decision = self.rules_decide(request.caller, request.dialect)
        if not decision.authorized or not self.has_hook:
            return decision
        try:
            answer = await run_hook(self._hook, request)
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
            if answer.authorized:
                return msgspec.structs.replace(decision, settings=answer.settings)
            return Decision(
                False, "hook", printable(answer.reason, _MAX_REASON) or "Denied by hook"
            )
        return Decision(False, self._rules.mode, UNDECIDED)
