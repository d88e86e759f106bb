"""The command mind: a process that gets turns as JSON lines and answers with text.

Owns that process, one per call, and the two line formats. Refuses to know what runs in it.

To stdin, one JSON object per line::

    {"type": "turn", "turn": 3, "callId": "…", "callerName": "…", "text": "…",
     "history": [{"role": "caller", "text": "…"}, {"role": "bot", "text": "…"}]}
    {"type": "digit", "turn": 4, "callId": "…", "digit": "5", "history": […]}

From stdout, per question, lines until one is final::

    {"text": "Hello, ", "final": false}     more comes
    {"text": "how are you?"}                the end (final is true when absent)
    {"text": "Bye.", "endCall": true}       the end, then hang up
    {"text": ""}                            nothing to say
    Hello there                             a line that is no JSON object is the whole answer

``"turn": N`` may be given back; a line for an earlier turn is then dropped. Without it,
what a process still says to a question that was cancelled cannot be told from the answer
to the next, so a process that never gives it back is replaced when an answer is cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from collections.abc import AsyncGenerator, Sequence

import msgspec

from teamscall.asking import outside_environment
from teamscall.engines.parts import Line, Question, Thought
from teamscall.errors import EngineError

MAX_LINE_BYTES = 64 * 1024
MAX_LINES_PER_ANSWER = 1_000
KILL_GRACE_S = 0.5  # from SIGTERM to SIGKILL
_STDERR_READ_BYTES = 4_096


class _Turn(msgspec.Struct, frozen=True, tag="turn", rename="camel"):
    turn: int
    call_id: str
    caller_name: str
    text: str
    history: tuple[Line, ...]


class _Digit(msgspec.Struct, frozen=True, tag="digit", rename="camel"):
    turn: int
    call_id: str
    caller_name: str
    digit: str
    history: tuple[Line, ...]


class _Reply(msgspec.Struct, frozen=True, rename="camel"):
    text: str = ""
    final: bool = True
    end_call: bool = False
    turn: int | None = None


class CommandMind:
    """One call's process; started at the first question, again when it died.

    Args:
        command: program and arguments, or one string that is split as a shell would;
            no shell is involved.
        timeout_s: between a question (or a line) and the next line.
    """

    def __init__(self, command: Sequence[str] | str, *, timeout_s: float = 30.0) -> None:
        self._argv = shlex.split(command) if isinstance(command, str) else list(command)
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._stderr: asyncio.Task[None] | None = None
        self._closed = False
        self._tells_turns = False
        self.starts = 0
        self.stderr_bytes = 0  # counted, never logged: it may quote the caller

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        await question.until_confirmed()  # who knows what it does with a turn
        answered = False
        failed = False
        try:
            async with contextlib.aclosing(self._lines(question)) as lines:
                async for line in lines:
                    self._tells_turns = self._tells_turns or line.turn is not None
                    yield Thought(line.text, end_call=line.end_call)
            answered = True
        except EngineError:
            failed = True
            raise
        finally:
            # What it still says to a question that was cut off would be taken for the
            # answer to the next one, unless it tells them apart.
            if failed or not (answered or self._tells_turns):
                await self._kill()

    async def close(self) -> None:
        """Kill the process and what it started. Idempotent."""
        self._closed = True
        await self._kill()

    async def _lines(self, question: Question) -> AsyncGenerator[_Reply]:
        # It may have died since the last question, then it is started once more.
        line = await self._asked(question) or await self._asked(question)
        for _ in range(MAX_LINES_PER_ANSWER):
            if not line:
                raise EngineError("the response command ended without an answer", stage="think")
            reply = _decoded(line)
            if reply is not None and reply.turn in (None, question.turn):
                yield reply
                if reply.final:
                    return
            line = await self._line()
        raise EngineError("the response command does not come to an end", stage="think")

    async def _asked(self, question: Question) -> bytes:
        """Write the question; return the first line said to it, b"" if the process ended."""
        process = await self._running()
        assert process.stdin is not None
        with contextlib.suppress(ConnectionError):
            process.stdin.write(_encoded(question))
            await process.stdin.drain()
        line = await self._line()
        if not line:
            await self._kill()
        return line

    async def _running(self) -> asyncio.subprocess.Process:
        if self._closed:
            raise EngineError("the call is over", stage="think")
        if self._process is not None and self._process.returncode is None:
            return self._process
        await self._kill()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=MAX_LINE_BYTES,
                env=outside_environment(),
                start_new_session=os.name == "posix",  # a group to kill as a whole
            )
        except OSError as error:
            raise EngineError(
                f"the response command cannot be started: {error.strerror}",
                stage="think",
                hint="Look at response.command.",
            ) from error
        self.starts += 1
        # Lives as long as the process, across answers; _kill awaits it.
        self._stderr = asyncio.get_running_loop().create_task(self._drain(self._process))
        return self._process

    async def _line(self) -> bytes:
        """One line, b"" at the end of the process's output."""
        process = self._process
        if process is None or process.stdout is None:
            return b""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await process.stdout.readline()
        except TimeoutError:
            raise EngineError(
                f"the response command did not answer within {self._timeout_s:g} s", stage="think"
            ) from None
        except ValueError:  # longer than the limit
            raise EngineError(
                f"the response command wrote a line beyond {MAX_LINE_BYTES} bytes", stage="think"
            ) from None

    async def _drain(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while data := await process.stderr.read(_STDERR_READ_BYTES):
            self.stderr_bytes += len(data)

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(KILL_GRACE_S):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            # Also what the process itself started, in its group.
            _signal(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            process._transport.close()  # type: ignore[attr-defined]
            drain, self._stderr = self._stderr, None
            if drain is not None:
                drain.cancel()
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        elif process.returncode is None:
            process.send_signal(number)


def _encoded(question: Question) -> bytes:
    common = (question.turn, question.call.call_id, question.call.caller_name)
    message = (
        _Digit(*common, question.digit, question.history)
        if question.digit
        else _Turn(*common, question.text, question.history)
    )
    return msgspec.json.encode(message) + b"\n"


def _decoded(line: bytes) -> _Reply | None:
    """A reply; None for a blank line.

    Raises:
        EngineError: a JSON object with a field of the wrong type.
    """
    text = line.strip()
    if not text:
        return None
    if not text.startswith(b"{"):
        return _Reply(text.decode(errors="replace"))
    try:
        return msgspec.json.decode(text, type=_Reply)
    except msgspec.ValidationError:
        raise EngineError(
            "the response command wrote JSON with a wrong field",
            stage="think",
            hint='Expected: {"text": "…", "final": true, "endCall": false}.',
        ) from None
    except msgspec.DecodeError:
        return _Reply(text.decode(errors="replace"))
