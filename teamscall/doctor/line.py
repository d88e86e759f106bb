"""The group "line": from the address that the other side dials to the bridge."""

from __future__ import annotations

from teamscall.doctor import line_call, line_door, line_reach, line_refused, line_tls
from teamscall.doctor.checks import Check

CHECKS: tuple[Check, ...] = (
    *line_reach.CHECKS,
    *line_tls.CHECKS,
    *line_door.CHECKS,
    *line_call.CHECKS,
    *line_refused.CHECKS,
)
