"""The hook: an organisation's own answer, from a command or a URL, by a deadline.

Rule 1: a hook has one deadline for everything, from its start to its whole answer.
Rule 2: whatever is not a well-formed answer in time is a ``PolicyError``, never a grant.
Rule 3: a command's whole process group is killed and reaped, however it ended.

The request is one JSON object (``version``, ``callId``, ``dialect``, ``on``, ``caller``);
the answer is one JSON object, ``{"authorized": bool, "reason"?: string}``. A command
gets it on stdin, answers on stdout and exits with 0; a URL gets a POST and answers 200.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import ssl

import msgspec

from teamscall.errors import PolicyError
from teamscall.policy.rules import PolicyRequest
from teamscall.text import printable
from teamscall.wire.events import Caller

# An answer is a boolean and a sentence; more is a mistake, or an attempt on our memory.
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
# because a gateway waits for our answer; the event loop's child watcher reaps it anyway.
_REAP_S = 0.1

# Output of a command that has exited is in the pipe already; only a stray grandchild
# outside its process group can keep the pipe open.
_DRAIN_S = 0.1


class HookSettings(msgspec.Struct, frozen=True):
    """Which hook, if any, and how long it may take. At most one of command and url."""

    command: tuple[str, ...] = ()
    url: str = ""
    timeout_s: float = 1.5


class HookAnswer(msgspec.Struct, frozen=True):
    """What a hook said. ``reason`` is its own text: make it printable before use."""

    authorized: bool
    reason: str = ""


class _Answer(msgspec.Struct):
    authorized: bool
    reason: str | None = None


class _Caller(msgspec.Struct, rename="camel"):
    user_id: str
    tenant_id: str
    display_name: str
    user_principal_name: str
    phone_number: str
    teams_call_id: str


class _Request(msgspec.Struct, rename="camel"):
    call_id: str
    dialect: str
    on: str
    caller: _Caller
    version: int = 1


def prepare_hook(settings: HookSettings) -> None:
    """Import and load what the hook needs now, not while a call is ringing."""
    if settings.url:
        _tls_context()


async def run_hook(settings: HookSettings, request: PolicyRequest) -> HookAnswer:
    """Ask the hook.

    Raises:
        PolicyError: there is no well-formed answer within ``settings.timeout_s``. The
            message is printable and safe to log.
    """
    body = _request_body(request)
    try:
        async with asyncio.timeout(settings.timeout_s):
            if settings.command:
                return await _ask_command(settings.command, body)
            return await _ask_url(settings.url, body)
    except TimeoutError as error:
        raise PolicyError(
            f"no answer within authorization.hook_timeout_ms ({settings.timeout_s * 1000:.0f} ms)"
        ) from error


def _request_body(request: PolicyRequest) -> bytes:
    caller: Caller = request.caller
    return msgspec.json.encode(
        _Request(
            call_id=request.call_id,
            dialect=request.dialect,
            on=request.on,
            caller=_Caller(
                user_id=caller.user_id,
                tenant_id=caller.tenant_id,
                display_name=caller.display_name,
                user_principal_name=caller.user_principal_name,
                phone_number=caller.phone_number,
                teams_call_id=caller.teams_call_id,
            ),
        )
    )


def _decode(body: bytes) -> HookAnswer:
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        # The decoder's words quote field names and types, never values.
        raise PolicyError(f"its answer is malformed: {printable(str(error))}") from error
    return HookAnswer(answer.authorized, answer.reason or "")


# --- a command --------------------------------------------------------------------


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


async def _ask_command(command: tuple[str, ...], body: bytes) -> HookAnswer:
    loop = asyncio.get_running_loop()
    try:
        # A session of its own, so that what it starts can be killed with it.
        transport, child = await loop.subprocess_exec(_Child, *command, start_new_session=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
        reason = getattr(error, "strerror", None) or "not a command"
        raise PolicyError(f"the command cannot be run: {reason}") from error
    try:
        stdin = transport.get_pipe_transport(0)
        if isinstance(stdin, asyncio.WriteTransport):
            stdin.write(body + b"\n")
            stdin.close()
        await asyncio.wait({child.exited, child.flooded}, return_when=asyncio.FIRST_COMPLETED)
        if child.exited.done():
            await asyncio.wait(
                {child.drained, child.flooded},
                timeout=_DRAIN_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
        if child.flooded.done():
            raise PolicyError(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        if (status := transport.get_returncode()) != 0:
            said = printable(child.errors.decode("utf-8", "replace"))
            raise PolicyError(
                f"the command ended with status {status}" + (f": {said}" if said else "")
            )
        return _decode(bytes(child.output))
    finally:
        child.kill_group()
        transport.close()
        if not child.exited.done():
            await asyncio.wait({child.exited}, timeout=_REAP_S)


# --- a URL ------------------------------------------------------------------------


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Loading the trust store takes tens of milliseconds: once, and before any call."""
    import httpx2  # heavy: only where a URL is asked

    return httpx2.create_ssl_context()


async def _ask_url(url: str, body: bytes) -> HookAnswer:
    import httpx2

    answer = bytearray()
    try:
        async with (
            # Our deadline is the one that counts; redirects could lead anywhere.
            httpx2.AsyncClient(verify=_tls_context(), timeout=None, follow_redirects=False) as http,
            http.stream(
                "POST",
                url,
                content=body,
                headers=_HEADERS,
            ) as response,
        ):
            if response.status_code != 200:
                raise PolicyError(f"the URL answered with status {response.status_code}")
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    raise PolicyError(f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
        raise PolicyError(f"the URL cannot be asked: {type(error).__name__}") from error
    return _decode(bytes(answer))
