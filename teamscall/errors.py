"""Every exception that teamscall raises on purpose, listed once, and the exit codes.

An error says whose fault it is (``fault``), what happened (its message, static text
plus safe fields) and what to do next (``hint``). Peer text in a message must have gone
through :func:`teamscall.text.printable` first.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import ClassVar, Literal

Fault = Literal["operator", "gateway", "engine", "refused", "bug"]


class ExitCode(enum.IntEnum):
    """What the process tells its caller. Published in teamscall(1)."""

    OK = 0
    FAILED = 1  # the thing asked for did not happen (no reply heard, call failed)
    USAGE = 2  # the command line is wrong (Click's own code)
    CONFIG = 3  # the configuration is wrong
    UNAVAILABLE = 4  # nothing answers there, the port is taken, a package is missing
    REFUSED = 5  # the other side refused: signature, authorization, capacity
    TIMEOUT = 6  # a named deadline passed
    NO_ANSWER = 7  # the call that was placed rang, and nobody answered
    BUSY = 8  # the line was busy
    DECLINED = 9  # it was declined
    INTERRUPTED = 130  # Ctrl-C


class TeamscallError(Exception):
    """Base of every deliberate error.

    Attributes:
        message: what happened, one sentence.
        hint: what to do next, one sentence, may be empty.
    """

    fault: ClassVar[Fault] = "bug"
    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip() if self.hint else self.message


class ConfigError(TeamscallError):
    """The configuration is wrong; carries every problem found, not only the first."""

    fault = "operator"
    exit_code = ExitCode.CONFIG

    def __init__(self, message: str, *, problems: tuple[str, ...] = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class MissingPackageError(TeamscallError):
    """An optional package or system library is not installed; the hint installs it."""

    fault = "operator"
    exit_code = ExitCode.UNAVAILABLE


class ListenError(TeamscallError):
    """A listener could not be opened (port taken, no permission, bad certificate)."""

    fault = "operator"
    exit_code = ExitCode.UNAVAILABLE


class InputError(TeamscallError):
    """A file or device that the operator named cannot be used (not a WAV, no such device)."""

    fault = "operator"
    exit_code = ExitCode.USAGE


class OutputLost(TeamscallError):
    """stdout took no more of the result.

    Attributes:
        silent: its reader went away, as ``head`` does; nobody needs to be told.
    """

    fault = "operator"

    def __init__(self, message: str, *, silent: bool) -> None:
        super().__init__(message)
        self.silent = silent


class DialError(TeamscallError):
    """The emulator could not reach the server, or lost it."""

    fault = "gateway"
    exit_code = ExitCode.UNAVAILABLE


class HandshakeRefused(TeamscallError):
    """The server answered the upgrade with something other than 101.

    Attributes:
        status: the HTTP status.
    """

    fault = "refused"
    exit_code = ExitCode.REFUSED

    def __init__(self, status: int, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class AskError(TeamscallError):
    """A command or URL of the operator's gave no answer; the message is safe to log.

    Attributes:
        said: what the command wrote to stderr, printable. It may quote a caller.
        status: the HTTP status of a URL that answered; 0 where there is none.
        retry_after: that answer's Retry-After header, as it came; may be empty.
    """

    fault = "operator"

    def __init__(
        self, message: str, *, said: str = "", status: int = 0, retry_after: str = ""
    ) -> None:
        super().__init__(message)
        self.said = said
        self.status = status
        self.retry_after = retry_after


# Statuses of a far side that understood and does not want to: not 404, a wrong address.
FAR_REFUSALS = frozenset({400, 401, 403, 409, 422, 429})


class PlacingError(TeamscallError):
    """A call was not placed.

    Attributes:
        why: ``refused`` by a gate, ``no-far-side`` to ask, ``far-side-failed``: it was asked
            and gave no call.
        gates: with ``refused``, (name, whether it passed, one sentence) of every gate.
        status: the HTTP status of a far side that refused; 0 where there is none.
    """

    fault = "refused"
    exit_code = ExitCode.REFUSED

    def __init__(
        self,
        why: Literal["refused", "no-far-side", "far-side-failed"],
        message: str,
        *,
        hint: str = "",
        gates: tuple[tuple[str, bool, str], ...] = (),
        status: int = 0,
    ) -> None:
        super().__init__(message, hint=hint)
        self.why = why
        self.gates = gates
        self.status = status

    @property
    def far_side_refused(self) -> bool:
        """Whether the far side understood and does not want to."""
        return self.status in FAR_REFUSALS


class ControlError(TeamscallError):
    """The operator's door did not do what it was asked for.

    Attributes:
        code: the JSON-RPC error code, see ``teamscall.control.protocol``.
        name: the same as a stable word: ``call-not-found``.
        data: more about it, for machines.
    """

    fault = "operator"

    def __init__(
        self,
        code: int,
        name: str,
        message: str,
        *,
        hint: str = "",
        exit_code: ExitCode = ExitCode.FAILED,
        data: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.name = name
        self.exit_code = exit_code  # type: ignore[misc]  # of this one
        self.data = dict(data or {})


class CaptureError(TeamscallError):
    """A capture cannot be read or written, or has not what was asked of it."""

    fault = "operator"


class EngineError(TeamscallError):
    """A speech or language vendor failed.

    Attributes:
        stage: ``hear``, ``think``, ``speak`` or ``session``.
        retryable: whether trying again unchanged can help (never for 401 or 404).
    """

    fault = "engine"

    def __init__(
        self, message: str, *, stage: str = "session", retryable: bool = False, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.stage = stage
        self.retryable = retryable


class PolicyError(TeamscallError):
    """A policy decision could not be made; callers must treat it as a denial."""

    fault = "operator"


class DeadlinePassed(TeamscallError):
    """A named deadline passed.

    Attributes:
        deadline: the configuration key or constant that set it.
    """

    exit_code = ExitCode.TIMEOUT

    def __init__(self, deadline: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.deadline = deadline
