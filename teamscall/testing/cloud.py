"""What every endpoint of one stand-in shares."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from teamscall.clock import Clock
from teamscall.testing import catalogue
from teamscall.testing.catalogue import Purpose
from teamscall.testing.failures import Plan
from teamscall.testing.settings import Settings
from teamscall.testing.strict import Wrong
from teamscall.testing.voice import Ear, Voice


@dataclass(frozen=True, slots=True)
class Cloud:
    """Settings, failures to come, voice and ears."""

    settings: Settings
    plan: Plan
    clock: Clock
    voice: Voice
    open_ear: Callable[[], Ear]

    def check_model(self, name: str, purpose: Purpose, endpoint: str) -> None:
        """Raise Wrong unless ``name`` is a living model that ``endpoint`` takes."""
        why = catalogue.find(name, purpose, today=self.settings.today, more=self.settings.models)
        if why == "gone":
            raise Wrong(
                f"The model `{name}` does not exist or you do not have access to it.",
                code="model_not_found",
                status=404,
            )
        if why:
            raise Wrong(
                f"`{name}` isn't a supported model for {endpoint}.",
                code="invalid_model",
                param="model",
            )


def new_id(kind: str) -> str:
    """``item_…``, ``resp_…`` and so on."""
    return f"{kind}_{uuid.uuid4().hex[:20]}"
