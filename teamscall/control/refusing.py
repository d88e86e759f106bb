"""How the door says no: one error for each code, with what a machine and a person need."""

from __future__ import annotations

from collections.abc import Mapping

from teamscall.control.protocol import EXIT_CODES, ErrorCode
from teamscall.errors import ControlError, ExitCode


def refusal(
    code: ErrorCode, message: str, *, hint: str = "", data: Mapping[str, object] | None = None
) -> ControlError:
    """The error to raise. ``message`` and ``hint``: printable."""
    return ControlError(
        code,
        code.word,
        message,
        hint=hint,
        exit_code=EXIT_CODES.get(code, ExitCode.FAILED),
        data=data,
    )
