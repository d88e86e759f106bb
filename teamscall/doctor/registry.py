"""Every check there is, in the order of the table and the manual.

A group's modules list their checks as a tuple ``CHECKS``; nothing else is listed anywhere.
"""

from __future__ import annotations

from teamscall.doctor import call, engines, here, line, other_side
from teamscall.doctor.checks import Check

CHECKS: tuple[Check, ...] = (
    *here.CHECKS,
    *line.CHECKS,
    *engines.CHECKS,
    *other_side.CHECKS,
    *call.CHECKS,
)
