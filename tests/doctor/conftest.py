"""Lets the tests of this room import its rig, and the emulator's."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
for room in (HERE, HERE.parent / "emulator"):
    if str(room) not in sys.path:
        sys.path.append(str(room))
