"""The rigs of the rooms around: a bridge process, raw clients, a voice."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for room in ("bridge", "calls", "server"):
    if str(TESTS / room) not in sys.path:
        sys.path.append(str(TESTS / room))
