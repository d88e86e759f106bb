"""The rigs of the rooms around: a bridge process, callers that know what they must hear."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for room in ("bridge", "calls", "server", "faults"):
    if str(TESTS / room) not in sys.path:
        sys.path.append(str(TESTS / room))
