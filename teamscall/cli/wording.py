"""Names that people read, the same in every view. JSON and options keep the values."""

from __future__ import annotations

DIALECTS = {"csharp": "C# gateway", "standin": "StandIn"}
