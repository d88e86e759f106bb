"""Several engines behind one face: when one fails in a call, the next takes the call over."""

from teamscall.engines.fallback.engine import FallbackEngine, Limits
from teamscall.engines.fallback.leg import Patience

__all__ = ["FallbackEngine", "Limits", "Patience"]
