"""One question to what an operator runs, and its whole answer: a command or a URL.

Owns how a process is run, bounded and killed, and how a URL is asked. Refuses to know what
is asked; the deadline is the asker's (``asyncio.timeout`` around the question).

Rule 1: a command's whole process group is killed and reaped, however it ended, also when
the asker is cancelled.
Rule 2: an answer longer than ``MAX_ANSWER_BYTES`` is none.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import ssl
from collections.abc import Container, Mapping, Sequence

from teamscall.errors import AskError
from teamscall.text import printable

# An answer is a few hundred bytes; more is a mistake, or an attempt on our memory.
MAX_ANSWER_BYTES = 65_536

# What is kept of a command's stderr to say why it failed.
_KEPT_STDERR_BYTES = 2048

# identity: a compressed answer could unfold to any size.
_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}

# A process killed with SIGKILL is gone within milliseconds. Not waited for any longer,
# because somebody waits for our answer; the event loop's child watcher reaps it anyway.
_REAP_S = 0.1

# Output of a command that has exited is in the pipe already; only a stray grandchild
# outside its process group can keep the pipe open.
_DRAIN_S = 0.1


async def ask_command(
    command: Sequence[str], question: bytes, *, env: Mapping[str, str] | None = None
) -> bytes:
    """Run ``command`` without a shell; ``question`` and a newline go to its stdin.

    Args:
        env: its environment; None is our own.

    Returns:
        what it wrote to stdout until it exited with 0.

    Raises:
        AskError: it cannot be run, failed, or wrote too much.
    """
    loop = asyncio.get_running_loop()
    try:
        # A session of its own, so that what it starts can be killed with it.
        transport, child = await loop.subprocess_exec(
            _Child, *command, env=env, start_new_session=True
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        reason = getattr(error, "strerror", None) or "not a command"
        raise AskError(f"the command cannot be run: {reason}") from error
    try:
        stdin = transport.get_pipe_transport(0)
        if isinstance(stdin, asyncio.WriteTransport):
            stdin.write(question + b"\n")
            stdin.close()
        await asyncio.wait({child.exited, child.flooded}, return_when=asyncio.FIRST_COMPLETED)
        if child.exited.done():
            await asyncio.wait(
                {child.drained, child.flooded},
                timeout=_DRAIN_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        if child.flooded.done():
            raise _too_long()
        if (status := transport.get_returncode()) != 0:
            raise AskError(
                f"the command ended with status {status}",
                said=printable(child.errors.decode("utf-8", "replace")),
            )
        return bytes(child.output)
    finally:
        child.kill_group()
        transport.close()
        if not child.exited.done():
            await asyncio.wait({child.exited}, timeout=_REAP_S)


async def ask_url(
    url: str,
    question: bytes,
    *,
    statuses: Container[int] = range(200, 300),
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """POST ``question``, which is JSON. Redirects are not followed: they lead anywhere.

    Args:
        headers: sent beside our own.

    Returns:
        the body of an answer with one of ``statuses``.

    Raises:
        AskError: it cannot be asked, answers with another status, or too much.
    """
    import httpx2

    answer = bytearray()
    try:
        async with (
            # The asker's deadline is the one that counts.
            httpx2.AsyncClient(verify=_tls_context(), timeout=None, follow_redirects=False) as http,
            http.stream(
                "POST", url, content=question, headers=_HEADERS | dict(headers or {})
            ) as response,
        ):
            status = response.status_code
            if status not in statuses:
                raise AskError(
                    f"the URL answered with status {status}",
                    status=status,
                    retry_after=response.headers.get("retry-after", ""),
                )
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise _too_long(status)
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise AskError(f"the URL cannot be asked: {_why(error)}") from error
    return bytes(answer)


def _why(error: BaseException) -> str:
    """The kind of an error, not its text: that may have a token of the URL's in it. What is
    wrong with a certificate is said, as no guess leads there."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is refused ({printable(cause.verify_message, 200)})"
        cause = cause.__cause__ or cause.__context__
    return type(error).__name__


def outside_environment() -> dict[str, str]:
    """Ours without the bridge's own secrets, which are no command's business."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TEAMSCALL_")}


def prepare_url() -> None:
    """Import and load what ``ask_url`` needs now, not while somebody waits."""
    _tls_context()


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Loading the trust store takes tens of milliseconds: once, and before any call."""
    import httpx2  # heavy: only where a URL is asked

    return httpx2.create_ssl_context()


def _too_long(status: int = 0) -> AskError:
    return AskError(f"its answer is longer than {MAX_ANSWER_BYTES} bytes", status=status)


class _Child(asyncio.SubprocessProtocol):
    """One run of the command: what it wrote, bounded, and when it was over."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.output = bytearray()
        self.errors = bytearray()
        self.exited: asyncio.Future[None] = loop.create_future()
        self.drained: asyncio.Future[None] = loop.create_future()
        self.flooded: asyncio.Future[None] = loop.create_future()
        self._pid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.SubprocessTransport):
            self._pid = transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self.errors += data
            del self.errors[:-_KEPT_STDERR_BYTES]
        elif len(self.output) + len(data) <= MAX_ANSWER_BYTES:
            self.output += data
        else:
            _settle(self.flooded)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == 1:
            _settle(self.drained)

    def process_exited(self) -> None:
        self.kill_group()  # what it started and left behind
        _settle(self.exited)

    def kill_group(self) -> None:
        """Kill the command and what it started; quiet when all of it is gone already."""
        if self.exited.done():
            return  # its number may be another process's by now
        try:
            if hasattr(os, "killpg"):
                os.killpg(self._pid, signal.SIGKILL)
            else:
                os.kill(self._pid, signal.SIGTERM)  # Windows: TerminateProcess
        except (ProcessLookupError, PermissionError):
            # macOS answers EPERM for a group that has only zombies left.
            return


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
