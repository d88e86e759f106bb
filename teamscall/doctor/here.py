"""The group "here": what this machine and the configuration alone can tell."""

from __future__ import annotations

from teamscall.doctor import (
    here_clock,
    here_config,
    here_disk,
    here_machine,
    here_place,
    here_secrets,
    here_sound,
)
from teamscall.doctor.checks import Check

CHECKS: tuple[Check, ...] = (
    *here_config.CHECKS,
    *here_secrets.CHECKS,
    *here_place.CHECKS,
    *here_clock.CHECKS,
    *here_disk.CHECKS,
    *here_machine.CHECKS,
    *here_sound.CHECKS,
)
