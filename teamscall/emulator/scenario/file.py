"""Scripts of callers: the format, and its reader.

A script is a TOML file: what one caller does in one call, step by step, and what must come
of it. ``teamscall emulate --script FILE`` plays it against any bridge; a file whose name ends
in ``.scenario.toml`` is a test for pytest too. Everything in it is checked before anything is
dialled: files are read and decoded, and what the dialect cannot do is refused. Every mistake
is told at once, with its step and line.

::

    description = "Asks for the time and interrupts the answer."

    [call]
    dialect = "standin"

    [[step]]
    say = "What time is it?"

    [[step]]
    expect = { said = "time", latency_under_ms = 1500 }

    [[step]]
    say = "Tell me a long story."

    [[step]]
    interrupt = { after_ms = 600, say = "Stop, please." }

    [[step]]
    expect = { flush_within_ms = 700 }

    [[step]]
    hang_up = true

    [expect]
    ended_by = "caller"
    max_gaps = 0

Durations are seconds (``1.5``) or texts with a unit (``"600 ms"``, ``"1.5 s"``, ``"2 min"``);
keys that end in ``_ms`` are plain milliseconds. Files are found from the script's folder.

TOP
---
``description``: a text for people. ``limit`` (duration, 300): a call that lasts longer is hung
up and has failed.

[call]
------
Who calls, and how; flags on the command line win over every one of these.

``url``: where to dial, as ``--url``. The secret is never in a script.
``dialect``: ``standin`` (default) or ``csharp``.
``generation``: StandIn's header names: ``both`` (default), ``today``, ``1``.
``call_id``: default a new one; with many calls, ``-1``, ``-2``, ... is appended.
``direction``: ``inbound`` (default) or ``outbound``.
``name``, ``user_id``, ``tenant_id``, ``upn``, ``phone``, ``thread_id``: the caller's.
``recording``: ``active`` (default), ``inactive``, ``unknown`` or ``none`` (nothing is said).
``participants`` (1): humans in the call (StandIn).
``auth`` (true): send ``auth_request`` first (C#).
``voice``: the model file (``.onnx``) of the caller's voice; default the packaged one.

[[step]]
--------
Each table is one step: exactly one of the keys below, and ``note``, a text for people, beside
it. The next step begins when one is done. When the last is done, the caller hangs up. A step
that waits has a bound: ``within`` (duration, 15). One whose bound passes has failed, the
steps after it are not done, and the caller hangs up. An ``expect`` that does not hold has
failed too, but the call goes on.

The steps that ask something of the bot are ``say``, ``play``, ``interrupt``, ``press`` and
``ask_bot_to_say``. What waits and expects is about what came since the last of them began
(before the first: since the session start), and an ``expect`` about what came up to the next.

``say = TEXT``: speak it with the offline voice, rendered before the call. Done when the last
sound is sent. ``voice = FILE`` beside it: with this voice.

``play = FILE``: speak a WAV file, of any rate and number of channels.

``wait = DURATION``: do nothing.

``wait_for = "speech"``: until the bot is heard; at once where it is speaking.
``wait_for = "silence"``: until the bot, having been heard since the last question or while
that began, is silent for ``quiet`` (duration beside it, 1 s), and the caller too.
``wait_for = "answer"``: the same, but the bot must have begun to speak after the question
began.
``wait_for = { word = TEXT }``: until the ears have recognised these words, in a row, in what
the bot has said; case and punctuation do not matter. Recognition takes a moment, and is
tried about once a second while the bot speaks.
``wait_for = { event = NAME }``: until the bridge sends it: ``flush`` (what is queued is
dropped), ``hangup``, and of StandIn's ``express``, ``image``, ``marks``.
``within`` may stand in the table or beside it.

``interrupt = { after_ms = 600, say = TEXT }``: when the bot has been heard speaking this long
without a pause of 300 ms (``after_ms``, 500), speak. ``play = FILE`` in place of ``say``.

``press = KEYS``: keys of the dial pad, such as ``"12#"``, 300 ms apart (StandIn).

``ask_bot_to_say = TEXT``: StandIn's ``assistant.say``: the bot must say exactly this, now.

``mute = true`` or ``false``: from here on the caller's line carries silence; what is said
meanwhile takes its time and is not sent.

``show = FILE``: one JPEG or PNG as video, ``source = "camera"`` (default) or
``"screenshare"`` beside it (StandIn).

``recording = STATUS``: report ``active``, ``inactive`` or ``unknown`` (StandIn).

``participants = N``: report so many humans (StandIn).

``drop = { seconds = 2 }`` or ``drop = DURATION``: cut the socket as a broken network would,
and resume the call on a new one after so long (C#). Done when it is resumed; fails when the
bridge refuses.

``hang_up = true``: end the call.

``expect = { KEY = ... }``: what must hold, see below.

EXPECT
------
In a step, about the answer to the last question; in the table ``[expect]``, about the whole
call. A step waits first, at most ``within``, until there is something to judge: for the bot
to begin (``latency_under_ms``, ``spoke = true``), to begin and finish (``said``, ``not_said``),
to fall silent (``flush_within_ms``), for a picture, an expression or the end. What was never
measured does not hold. The latencies and times come from the sound of the call, as the far
side sent and heard it; ``--stereo`` writes the same sound.

``said``, ``not_said`` (text or list): the bot said these words in a row, by the ears.
``heard``, ``not_heard`` (text or list): the bridge understood the caller so. Only the bridge
knows: it is asked through its control plane, which must be in reach (``--control``, or the
socket of a bridge on this machine). In a step, too, this is about the whole call.
``latency_under_ms``: each answer began to be heard within this after the caller's last sound.
``flush_within_ms``: each time the caller began to speak over the bot, the bot was silent
within this after the caller's first sound.
``silent_for`` (duration): from here on, for so long, the bot says nothing (steps only).
``spoke``: whether the bot was heard at all.
``ended_by``: ``bot``, ``caller`` or ``link`` (the connection broke). Without it a call that
was refused or lost has failed.
``end_reason``: the bridge's own word for the end, such as ``time-limit``.
``image``: whether a picture was shown. ``expression``: this face was made (StandIn).
``max_gaps``: at most so many holes in the bot's speech.
``within`` (duration, 15; steps only): how long to wait.

[impairments]
-------------
A bad network, the same for the same ``seed`` (1): which frames are hit depends on the seed
and the frame's number alone. Audio only. The keys of one direction apply to both; in
``[impairments.to_bridge]`` and ``[impairments.from_bridge]``, to one.

``loss_percent``, ``duplicate_percent``, ``reorder_percent`` (behind the next frame).
``jitter_ms``: each frame is late by 0 to this, in order.
``burst_ms``: every ``burst_every_s`` (5) nothing comes for so long, then all of it at once.
``skew_ppm``: so much faster runs the far side's clock; negative: slower.
``read_pause_ms``: after each message, the far side reads the next one this much later.

[thresholds]
------------
Over all calls of ``--calls N``; one call is a run of one. What was never measured fails.

``response_p50_ms``, ``response_p95_ms``, ``response_max_ms``: the bot's answers.
``barge_in_p95_ms``, ``barge_in_max_ms``: from the caller's first sound to the bot's silence.
``first_sound_p95_ms``: from the session start to the bot's first sound.
``pacing_p95_ms``: how late the emulator itself was; beyond 20 ms a run is not trustworthy
whatever this says.
``gaps``: holes in the bot's speech, all calls together. ``failed_calls``: how many may fail;
without it, none.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast, get_args

from teamscall.emulator.impairments import NO_IMPAIRMENTS
from teamscall.emulator.plan import Generation
from teamscall.emulator.scenario import reading, values
from teamscall.emulator.scenario import steps as script
from teamscall.emulator.scenario.values import near
from teamscall.errors import InputError
from teamscall.text import printable
from teamscall.wire.events import Dialect, Direction

SUFFIX = ".scenario.toml"
MAX_FILE_BYTES = 1_000_000
MAX_STEPS = 1_000
_SHOWN = 40  # mistakes; a file with more has another problem

_TABLES = ("call", "step", "expect", "impairments", "thresholds")
_TOP = ("description", "limit", *_TABLES)
CALL: dict[str, Callable[[object], Any]] = {
    "url": values.text,
    "dialect": values.one_of(get_args(Dialect)),
    "generation": values.one_of(get_args(Generation)),
    "call_id": values.text,
    "direction": values.one_of(get_args(Direction)),
    "name": values.short,
    "user_id": values.short,
    "tenant_id": values.short,
    "upn": values.short,
    "phone": values.short,
    "thread_id": values.short,
    "recording": values.one_of(("active", "inactive", "unknown", "none")),
    "participants": values.count(10_000),
    "auth": values.truth,
    "voice": values.text,
}
_STANDIN_ONLY = {"generation", "thread_id", "recording", "participants"}
_THRESHOLDS: dict[str, Callable[[object], Any]] = {
    name: values.count(1_000_000) if name in ("gaps", "failed_calls") else values.milliseconds
    for name in script.Thresholds.__struct_fields__
}
_STEP = re.compile(r"^[ \t]*\[\[[ \t]*step[ \t]*\]\]", re.MULTILINE)


def read_scenario(path: Path, *, dialect: Dialect | None = None) -> script.Scenario:
    """Read and check a script, with the sounds and pictures that it names.

    ``dialect``: in place of the script's own.

    Raises:
        InputError: it cannot be read, is no TOML, or something in it is wrong; the message
            has every mistake, each on a line of its own.
    """
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{name} is larger than {MAX_FILE_BYTES:,} bytes.")
        text = data.decode()
        table = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{name} is not UTF-8 text.") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise InputError(f"{name} is no TOML: {printable(str(error))}.") from error
    problems: list[str] = []
    found = _Reader(path.parent, text, problems, dialect).scenario(path.name, table)
    if problems:
        count = "a mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        more = [f"  and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        lines = [f"  {problem}" for problem in problems[:_SHOWN]]
        raise InputError("\n".join([f"{name} has {count}:", *lines, *more]))
    return found


class _Reader:
    """One file; every mistake goes to ``problems``."""

    def __init__(
        self, folder: Path, text: str, problems: list[str], dialect: Dialect | None
    ) -> None:
        self._folder = folder
        self._problems = problems
        self._dialect = dialect
        self._lines = text.splitlines()
        self._steps = [text.count("\n", 0, m.start()) + 1 for m in _STEP.finditer(text)]

    def scenario(self, name: str, table: Mapping[str, Any]) -> script.Scenario:
        for key in table:
            if key not in _TOP:
                self._tell("", 0)(printable(str(key), 60), f"is unknown; {near(key, _TOP)}")
        call = self._call(table.get("call", {}))
        dialect = self._dialect or cast("Dialect | None", call.get("dialect", "standin"))
        place = reading.Place(self._folder, dialect, call.get("voice", ""))
        steps = tuple(self._all_steps(table.get("step", []), place))
        expect, at = None, self._line_of(r"\[\s*expect\s*\]")
        if "expect" in table:
            tell = self._tell("[expect]", at)
            expect = reading.expectation(table["expect"], place, tell, at_the_end=True)
        impairments = NO_IMPAIRMENTS
        if "impairments" in table:
            tell = self._tell("[impairments]", self._line_of(r"\[\s*impairments\s*\]"))
            impairments = values.impairments(table["impairments"], tell)
        limits = self._checked("thresholds", table.get("thresholds", {}), _THRESHOLDS)
        top = self._tell("", 0)
        limit_s, description = script.LIMIT_S, ""
        try:
            limit_s = values.some_time(table.get("limit", limit_s))
        except ValueError as error:
            top("limit", str(error))
        try:
            description = values.text(table["description"]) if "description" in table else ""
        except ValueError as error:
            top("description", str(error))
        return script.Scenario(
            printable(name),
            steps,
            dialect or "standin",
            description,
            call,
            expect,
            at,
            impairments,
            script.Thresholds(**limits),
            limit_s,
        )

    def _call(self, table: object) -> dict[str, Any]:
        call = self._checked("call", table, CALL)
        where = self._line_of(r"\[\s*call\s*\]")
        if (self._dialect or call.get("dialect")) == "csharp":
            for key in sorted(call.keys() & _STANDIN_ONLY):
                self._tell("[call]", where)(key, "is of StandIn, not of the C# gateway dialect")
        if "voice" in call:
            try:
                call["voice"] = reading.voice(reading.Place(self._folder, None), call["voice"])
            except ValueError as error:
                self._tell("[call]", where)("voice", str(error))
        return call

    def _checked(
        self, name: str, table: object, checks: Mapping[str, Callable[[object], Any]]
    ) -> dict[str, Any]:
        tell = self._tell(f"[{name}]", self._line_of(rf"\[\s*{name}\s*\]"))
        if not isinstance(table, dict):
            tell("", f"is to be a table, as in [{name}]")
            return {}
        out: dict[str, Any] = {}
        for key, value in table.items():
            if key not in checks:
                tell(printable(str(key), 60), f"is unknown; {near(key, checks)}")
                continue
            try:
                out[key] = checks[key](value)
            except ValueError as error:
                tell(key, str(error))
        return out

    def _all_steps(self, tables: object, place: reading.Place) -> Iterator[script.Step]:
        if not isinstance(tables, list):
            self._tell("", 0)("step", "is a table for each step, as in [[step]]")
            return
        if not 0 < len(tables) <= MAX_STEPS:
            why = f"{len(tables):,} steps; at most {MAX_STEPS:,} are possible"
            self._tell("", 0)("", why if tables else "there is no step, as in [[step]]")
            return
        known = len(self._steps) == len(tables)
        ended = False
        for number, table in enumerate(tables, 1):
            line = self._steps[number - 1] if known else 0
            tell = self._tell(f"step {number}", line)
            step = reading.step(number, line, table, place, tell)
            if step is None:
                continue
            after = isinstance(step.action, script.Expectation)
            if ended and not after:
                tell("", "comes after hang_up: the call is over; only expect may follow")
            ended = ended or isinstance(step.action, script.HangUpStep)
            yield step

    def _tell(self, where: str, line: int) -> reading.Tell:
        def tell(key: str, why: str) -> None:
            at = self._key_line(line, key)
            place = ", ".join(filter(None, (f"line {at}" if at else "", where)))
            self._problems.append(f"{place}{': ' if place else ''}{key}{' ' if key else ''}{why}")

        return tell

    def _line_of(self, pattern: str) -> int:
        """The line of this header; 0: it is not there, or is written otherwise."""
        for number, line in enumerate(self._lines, 1):
            if re.match(rf"\s*{pattern}", line):
                return number
        return 0

    def _key_line(self, header: int, key: str) -> int:
        """The line of a key below a header, else the header's."""
        first = key.split(".")[0]
        for number in range(header + 1, len(self._lines) + 1):
            line = self._lines[number - 1].lstrip()
            if line.startswith("["):
                break  # the next table
            if first and re.match(rf'"?{re.escape(first)}"?\s*[=.]', line):
                return number
        return header
