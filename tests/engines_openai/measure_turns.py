"""How much of a turn is ours: whole calls against the stand-in with latencies like a vendor's.

    PYTHONPATH=tests/engines_openai:tests/engines python tests/engines_openai/measure_turns.py

The recogniser takes 200 ms, the model 300 ms, the voice 250 ms to its first byte and speaks
at four times real time. Printed: from the caller's last voiced frame to the first frame of
the answer, and how much of that is neither the pause nor the vendor.
"""

from __future__ import annotations

import asyncio
import sys

from engines_openai_rig import cloud
from test_openai_call import ANSWER, SCRIPT, bridge, call

from teamscall.config import Endpointing, Realtime
from teamscall.testing import Settings

HEAR_MS, THINK_MS, SPEAK_MS = 200, 300, 250
SLOW = Settings(
    script=SCRIPT,
    hear_ms=HEAR_MS,
    think_ms=THINK_MS,
    speak_first_byte_ms=SPEAK_MS,
    speak_speed=4,
)
NOT_AHEAD: dict[str, object] = {"endpointing": Endpointing(speculate_after_ms=0)}
WAYS: dict[str, tuple[str, dict[str, object], int]] = {
    "streaming, speech endpoint": ("speech", NOT_AHEAD, HEAR_MS + THINK_MS + SPEAK_MS),
    "streaming, reading session": ("reading", NOT_AHEAD, HEAR_MS + THINK_MS + SPEAK_MS),
    "realtime, local detection": (
        "speech",
        {"mode": "realtime", "realtime": Realtime(turn_detection="local")},
        THINK_MS + SPEAK_MS,
    ),
}


def main() -> None:
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    for name, (voice, changes, vendor_ms) in WAYS.items():
        whole: list[float] = []
        ours: list[float] = []
        with cloud(SLOW) as there:
            for _ in range(calls):
                called = asyncio.run(call(bridge(there, voice, **changes)))
                latency = next(t for t in called.turns if t.said_text == ANSWER).latency
                assert latency.first_frame_ms is not None
                assert latency.endpoint_ms is not None
                whole.append(latency.first_frame_ms)
                ours.append(latency.first_frame_ms - latency.endpoint_ms - vendor_ms)
        whole.sort()
        ours.sort()
        middle = len(ours) // 2
        print(
            f"{name:28} {whole[middle]:6.0f} ms, ours p50 {ours[middle]:5.1f} "
            f"max {ours[-1]:5.1f} ms ({calls} calls)"
        )


if __name__ == "__main__":
    main()
