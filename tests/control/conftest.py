"""The rigs of the rooms around: a whole bridge as a process."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent
for room in ("bridge",):
    if str(TESTS / room) not in sys.path:
        sys.path.append(str(TESTS / room))
