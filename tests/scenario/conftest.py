"""The rig of the emulator beside this room's; the examples are for users: they run against a
bridge of theirs, not among the tests."""

from __future__ import annotations

import sys
from pathlib import Path

EMULATOR = str(Path(__file__).parent.parent / "emulator")
if EMULATOR not in sys.path:
    sys.path.append(EMULATOR)

collect_ignore = ["examples"]
