"""The group "other-side": the gateway, StandIn, Microsoft, and whom the bridge asks or tells."""

from __future__ import annotations

from teamscall.doctor import (
    other_side_gateway,
    other_side_graph,
    other_side_hooks,
    other_side_standin,
)
from teamscall.doctor.checks import Check

CHECKS: tuple[Check, ...] = (
    *other_side_gateway.CHECKS,
    *other_side_standin.CHECKS,
    *other_side_graph.CHECKS,
    *other_side_hooks.CHECKS,
)
