"""``replay --engine`` and ``--against``: recorded callers call a live bridge.

Owns the bridge of a run, the credentials, and the files of the new captures. Refuses to know
how a call is played and judged (``capture.live*``).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import cast

import msgspec

from teamscall.capture import live
from teamscall.capture.expect import Expectation, Expectations, read_expectations
from teamscall.capture.far_side import FarSide
from teamscall.capture.live import LiveVerdict
from teamscall.capture.live_line import Line, line
from teamscall.capture.live_play import Player, Tap
from teamscall.capture.reader import Capture, read
from teamscall.capture.suite import captures_in
from teamscall.cli.dialling import read_secret
from teamscall.cli.emulate_capture import captured
from teamscall.cli.stopping import stop_on_signals
from teamscall.clock import SystemClock
from teamscall.config import Config
from teamscall.emulator.dial import shown
from teamscall.emulator.plan import Dial, Generation
from teamscall.errors import ExitCode, InputError, TeamscallError
from teamscall.text import printable
from teamscall.wire.events import Dialect


class Wanted(msgspec.Struct, frozen=True):
    """The command line, as typed. Exactly one of ``engine`` and ``against`` is there."""

    captures: list[Path]
    engine: str | None = None
    against: str | None = None
    config: Path | None = None
    pairs: tuple[str, ...] = ()
    secret: str | None = None
    secret_file: Path | None = None
    generation: str = "both"
    ca: Path | None = None
    insecure: bool = False
    same_call_id: bool = False
    speed: float = 1.0
    hold_s: float = 0.0
    silence: bool = False
    expect: Path | None = None
    capture: Path | None = None
    fail_fast: bool = False

    def __repr__(self) -> str:  # the secret is among them
        return f"Wanted({self.captures!r}, ...)"

    @property
    def where(self) -> str:
        """Who answers, for people."""
        return f"engine {self.engine}" if self.engine else shown(self.against or "")


def run(wanted: Wanted, talk: Callable[[str], None]) -> tuple[list[LiveVerdict], int]:
    """Play each in its turn; the verdicts, and how many were left out. ``talk``: for stderr.

    Raises:
        InputError: no capture is there, there is no secret, or the expectations are wrong.
        ConfigError: the configuration is.
    """
    found = captures_in(wanted.captures)
    expectations = read_expectations(wanted.expect) if wanted.expect else None
    if wanted.capture is not None and len(found) > 1:
        raise InputError(
            "--capture keeps one call, and there are several.",
            hint="Name one capture, or leave --capture out.",
        )
    _check(wanted, found, expectations)
    if wanted.speed != 1.0:
        talk(
            f"at {wanted.speed:g} times the recorded speed: to the bridge the caller's sound comes "
            "faster or slower than it can be spoken, so no latency is compared"
        )
    verdicts: list[LiveVerdict] = []
    for name, path in found:
        talk(f"{printable(name, 80)}: calling {wanted.where}")
        began = time.perf_counter()
        expectation = expectations.of(name) if expectations else None
        try:
            one = asyncio.run(_Run(wanted, path, name, expectation, talk).play())
        except TeamscallError as error:
            one = live.not_played(path, name, error, time.perf_counter() - began)
        except (KeyboardInterrupt, asyncio.CancelledError):
            one = LiveVerdict(path, name, "interrupted", took_s=time.perf_counter() - began)
        verdicts.append(one)
        if one.result == "interrupted" or (wanted.fail_fast and not one.passed):
            break
    return verdicts, len(found) - len(verdicts)


def exit_code(verdicts: Sequence[LiveVerdict]) -> ExitCode:
    """A difference outweighs what could not be played; of one call, why it could not be."""
    results = {one.result for one in verdicts}
    if "interrupted" in results:
        return ExitCode.INTERRUPTED
    if results & {"differs", "broken"}:
        return ExitCode.FAILED
    if "wrong" in results:
        codes = {one.code for one in verdicts if one.result == "wrong"}
        return ExitCode(codes.pop()) if len(codes) == 1 else ExitCode.FAILED
    return ExitCode.OK


def _check(
    wanted: Wanted, found: Sequence[tuple[str, Path]], expectations: Expectations | None
) -> None:
    """Say before the first call what would keep the last one from being judged."""
    if expectations is not None:
        if unused := expectations.unused([name for name, _ in found]):
            names = ", ".join(printable(name, 60) for name in unused)
            raise InputError(
                f"{printable(str(wanted.expect))}: no capture here has the name {names}."
            )
        for call, _ in found if wanted.against else ():
            live.check_askable(expectations.of(call), str(wanted.expect))
    if wanted.against is not None:
        read_secret(wanted.secret, wanted.secret_file)


class _Run:
    """One capture."""

    def __init__(
        self,
        wanted: Wanted,
        path: Path,
        name: str,
        expectation: Expectation | None,
        talk: Callable[[str], None],
    ) -> None:
        self._wanted = wanted
        self._path = path
        self._name = name
        self._expectation = expectation
        self._talk = talk

    async def play(self) -> LiveVerdict:
        """Call, listen, judge."""
        wanted = self._wanted
        began = time.perf_counter()
        capture = read(self._path)
        story = line(capture, silence=wanted.silence)
        self._say_what_is_missing(capture, story)
        with tempfile.TemporaryDirectory(prefix="teamscall-") as folder:
            kept = (wanted.capture or Path(folder) / "now.tcap").absolute()
            async with self._bridge(story, kept) as (dial, tap):
                player = Player(
                    story,
                    dial,
                    SystemClock(),
                    speed=wanted.speed,
                    hold_s=wanted.hold_s,
                    tap=tap,
                )
                with stop_on_signals(player.stop, lambda: player.up):
                    played = await player.run()
            took = time.perf_counter() - began
            if not kept.exists():
                return live.turned_away(
                    capture, self._name, played, against=wanted.where, took_s=took
                )
            return live.verdict(
                capture,
                self._name,
                played,
                read(kept),
                against=wanted.where,
                took_s=took,
                speed=wanted.speed,
                expectation=self._expectation,
            )

    def _say_what_is_missing(self, capture: Capture, story: Line) -> None:
        name = printable(self._name, 80)
        if story.silent:
            self._talk(f"{name}: {story.silent} of the caller's frames are silence: left out then")
        if story.lost:
            self._talk(f"{name}: {story.lost} records are missing in the capture")
        elif capture.damage:
            self._talk(f"{name}: the capture ends early: {printable(capture.damage, 160)}")

    @contextlib.asynccontextmanager
    async def _bridge(self, story: Line, kept: Path) -> AsyncIterator[tuple[Dial, Tap | None]]:
        """Whom to dial, and what taps the far side's frames where the bridge keeps none."""
        wanted = self._wanted
        call_id = story.call_id if wanted.same_call_id else ""
        if wanted.against is None:
            from teamscall.cli.demo_run import secret_of
            from teamscall.server.run import running

            config = live_config(wanted.engine, story.dialect, wanted.config, wanted.pairs)
            async with running(config, capture=kept) as bridge:
                secret = secret_of(config, story.dialect).encode()
                url = bridge.listening[0].urls[0]
                yield Dial(url, secret, story.dialect, call_id=call_id), None
            return
        dial = Dial(
            url=wanted.against,
            secret=read_secret(wanted.secret, wanted.secret_file),
            dialect=story.dialect,
            generation=cast(Generation, wanted.generation),
            call_id=call_id,
            verify_tls=not wanted.insecure,
            ca_file=str(wanted.ca or ""),
        )
        with captured(kept, story.dialect, "inbound", self._talk) as far_side:
            yield dial, None if far_side is None else _tap(far_side)


def _tap(far_side: FarSide) -> Tap:
    return far_side.tap


def live_config(
    engine: str | None, dialect: Dialect, path: Path | None, pairs: Sequence[str]
) -> Config:
    """The configuration of a bridge for one emulated caller. Whatever lies around is not read:
    only ``path``, the environment and ``pairs``.

    Raises:
        ConfigError: with every problem found.
    """
    from teamscall.cli.demo_run import demo_flags
    from teamscall.cli.settings import load

    flags = {**demo_flags(dialect), "engine": engine}
    return load(path or Path(os.devnull), flags, pairs).config


def to_stderr(text: str) -> None:
    """A line of talk."""
    print(f"teamscall: {text}", file=sys.stderr)
