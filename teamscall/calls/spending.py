"""What a call used of its models, and what that costs.

Owns the sums and the arithmetic of prices. Refuses to know turns and vendors.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from teamscall.calls.records import Usage
from teamscall.config import Price
from teamscall.engines.base import EngineUsage

_MILLION = 1_000_000
_SUMMED = tuple(
    name
    for name in Usage.__struct_fields__
    if name not in ("stage", "model") and name in EngineUsage.__struct_fields__
)


class Spending:
    """See the module. ``prices``: by model name."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self._sums: dict[tuple[str, str], Usage] = {}

    def add(self, event: EngineUsage) -> Usage:
        """Count it; the same with its cost, where the model has a price."""
        numbers = {name: getattr(event, name) for name in _SUMMED}
        usage = Usage(event.stage, event.model, **numbers)
        if (price := self._prices.get(event.model)) is not None:
            cost = round(cost_of(event, price), 9)
            usage = msgspec.structs.replace(usage, cost=cost, currency=price.currency)
        key = event.stage, event.model
        before = self._sums.get(key)
        self._sums[key] = usage if before is None else _together(before, usage)
        return usage

    def totals(self) -> tuple[Usage, ...]:
        """One line per stage and model, in the order of their first use."""
        return tuple(self._sums.values())


def cost_of(used: EngineUsage, price: Price) -> float:
    """In the currency of the price table. Audio has prices of its own where they are given,
    and is otherwise as dear as text."""
    text_in = max(0, used.input_tokens - used.cached_tokens - used.audio_input_tokens)
    text_out = max(0, used.output_tokens - used.audio_output_tokens)
    audio_in = price.audio_input or price.input
    audio_out = price.audio_output or price.output
    tokens = (
        text_in * price.input
        + min(used.cached_tokens, used.input_tokens) * (price.cached_input or price.input)
        + used.audio_input_tokens * audio_in
        + text_out * price.output
        + used.audio_output_tokens * audio_out
    )
    characters = used.characters * price.characters
    minutes = (used.audio_in_s + used.audio_out_s) / 60 * price.minute
    return (tokens + characters) / _MILLION + minutes


def _together(one: Usage, other: Usage) -> Usage:
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMMED}
    costs = [usage.cost for usage in (one, other) if usage.cost is not None]
    return msgspec.structs.replace(one, **sums, cost=round(sum(costs), 9) if costs else None)
