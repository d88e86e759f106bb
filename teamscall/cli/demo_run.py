"""The demo's call: a real bridge and a real emulated caller, joined by a real socket.

Owns the wiring of one run and the judgement of what came of it. Refuses to know how it is
shown.
"""

from __future__ import annotations

import importlib.resources
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import msgspec

from teamscall.calls import records
from teamscall.clock import SystemClock
from teamscall.config import Config
from teamscall.emulator.call import run_call
from teamscall.emulator.controls import Controls
from teamscall.emulator.happenings import Connected, EmulatorEvent
from teamscall.emulator.plan import Dial, Plan
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Source, after_lead_in
from teamscall.emulator.tracks import Tracks, with_measures
from teamscall.server.run import Running, running
from teamscall.wire.events import Caller, Dialect

# What teamscall/assets/question.wav says.
QUESTION = "Hello. What can you do, and what time is it?"
# The caller waits this long after the bot's last word before hanging up.
SILENCE_S = 1.5
# Understood: at least this share of the words that were spoken were heard.
UNDERSTOOD = 0.7

CALLER = Caller(
    user_id="3f0d2a53-2f6e-4c11-9f0a-5d5f0f6f5e11",
    tenant_id="8a7c1d0e-90b4-4a0b-8c5d-6f1e2d3c4b5a",
    display_name="Demo Caller",
)


class Result(msgspec.Struct, frozen=True):
    """What came of a demo."""

    ok: bool
    failed: str  # why not, one sentence; empty when ok
    heard: tuple[str, ...]  # what the engine understood, utterance by utterance
    said: tuple[str, ...]
    words_heard: float | None  # share of the spoken words; None: it is not known what was said
    turns: tuple[records.TurnEnded, ...]
    closed: records.CallClosed | None
    report: Report


class Demo:
    """One run. ``reply`` and the two tracks are PCM, 16 kHz s16le mono."""

    def __init__(self, config: Config, dialect: Dialect, source: Source, spoken: str) -> None:
        self._config = config
        self._dialect = dialect
        self._source = source
        self._spoken = spoken
        self.controls = Controls()
        self.in_call = False  # a hang-up is possible
        self.tracks = Tracks()
        self._records: list[records.CallRecord] = []

    async def run(
        self,
        *,
        on_ready: Callable[[Running], None],
        on_record: Callable[[records.CallRecord], None],
        on_event: Callable[[EmulatorEvent], None],
        play: Callable[[bytes], None] | None = None,
        patience_s: float,
        duration_s: float | None = None,
        capture: Path | None = None,
    ) -> Result:
        """Start the bridge, place the call, wait for its end, stop the bridge.

        ``patience_s``: how long a first answer may take. ``duration_s``: hang up after this
        long; else when the answer has been heard. ``capture``: the file that the bridge's side
        of the call goes to.

        Raises:
            TeamscallError: the bridge could not start, or the call not be dialled.
        """
        async with running(self._config, capture=capture) as bridge:
            bridge.switchboard.watch(self._records.append)
            bridge.switchboard.watch(on_record)
            on_ready(bridge)

            def watch(event: EmulatorEvent) -> None:
                self.in_call = self.in_call or isinstance(event, Connected)
                on_event(event)

            plan = Plan(
                dial=Dial(
                    url=bridge.listening[0].urls[0],
                    secret=secret_of(self._config, self._dialect).encode(),
                    dialect=self._dialect,
                ),
                caller=CALLER,
                silence_s=None if duration_s else SILENCE_S,
                patience_s=patience_s,
                duration_s=duration_s,
            )
            report = await run_call(
                plan,
                after_lead_in(self._source),
                clock=SystemClock(),
                on_event=watch,
                controls=self.controls,
                tracks=self.tracks,
                play=play,
            )
        return self._judge(await with_measures(report, self.tracks))

    def _judge(self, report: Report) -> Result:
        heard = tuple(r.text for r in self._records if isinstance(r, records.Heard) and r.final)
        turns = tuple(r for r in self._records if isinstance(r, records.TurnEnded))
        closed = next((r for r in self._records if isinstance(r, records.CallClosed)), None)
        said = tuple(turn.said_text for turn in turns if turn.said_text)
        share = words_heard(self._spoken, " ".join(heard)) if self._spoken else None
        echo = self._config.engine == "echo"  # nobody understands; the voice comes back
        if report.outcome == "interrupted":
            failed = "Interrupted before the end of the call."
        elif not heard and not echo:
            failed = "The engine heard no speech."
        elif share is not None and share < UNDERSTOOD and not echo:
            failed = f"The engine understood only {share:.0%} of the words."
        elif not report.spoke:
            failed = "No answer came back as speech."
        else:
            failed = ""
        return Result(not failed, failed, heard, said, share, turns, closed, report)


def demo_flags(dialect: Dialect) -> dict[str, object]:
    """The configuration of a demo's bridge: any free port, a secret made for this run.

    It overrides what of a file or the environment would keep the demo's caller out.
    """
    secret = secrets.token_urlsafe(32)
    standin = dialect == "standin"
    return {
        "serve.enabled": not standin,
        "serve.port": 0,
        "serve.bind": "127.0.0.1",
        "serve.tls_cert": "",
        "serve.tls_key": "",
        "bridge.secret": secret,
        "standin.enabled": standin,
        "standin.port": 0,
        "standin.bind": "127.0.0.1",
        "standin.tls_cert": "",
        "standin.tls_key": "",
        "standin.secret": secret,
        "inbound.enabled": True,
        "authorization.mode": "open",
        "authorization.hook_command": [],
        "authorization.hook_url": "",
        "journal.enabled": False,
        "control.enabled": False,
        "capture.dir": "",
    }


def secret_of(config: Config, dialect: Dialect) -> str:
    """The secret that this dialect's far side signs with."""
    return (config.standin if dialect == "standin" else config.bridge).secret.reveal()


def question_wav() -> bytes:
    """The shipped question as 16 kHz PCM."""
    from teamscall.audio.wav import read_wav

    asset = importlib.resources.files("teamscall") / "assets" / "question.wav"
    with importlib.resources.as_file(asset) as path:
        return read_wav(path)


def words_heard(spoken: str, heard: str) -> float:
    """The share of the words of ``spoken`` that are in ``heard``, in order."""
    wanted, got = _words(spoken), _words(heard)
    if not wanted:
        return 0.0
    # Longest common subsequence: what was missed or replaced does not count.
    row = [0] * (len(got) + 1)
    for word in wanted:
        previous = 0
        for column, other in enumerate(got, 1):
            above = row[column]
            row[column] = previous + 1 if word == other else max(above, row[column - 1])
            previous = above
    return row[-1] / len(wanted)


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9']+", text.lower())
