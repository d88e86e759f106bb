"""The group "engines": what hears, thinks and speaks, and what they use."""

from __future__ import annotations

from teamscall.doctor import engines_models, engines_offline, engines_openai, engines_tools
from teamscall.doctor.checks import Check

CHECKS: tuple[Check, ...] = (
    *engines_openai.CHECKS,
    *engines_models.CHECKS,
    *engines_offline.CHECKS,
    *engines_tools.CHECKS,
)
