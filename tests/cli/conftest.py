"""The rigs of the rooms around: a whole bridge as a process, and phones that it rings."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for room in ("bridge", "control"):
    if str(TESTS / room) not in sys.path:
        sys.path.append(str(TESTS / room))
