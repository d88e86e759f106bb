"""The group "here": what this machine and the configuration alone can tell."""

from __future__ import annotations

from teamscall.doctor import here_config
from teamscall.doctor.checks import Check

CHECKS: tuple[Check, ...] = (*here_config.CHECKS,)
