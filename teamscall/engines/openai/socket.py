"""One Realtime WebSocket that stays up: connect, configure, stream, and again when lost.

Owns the socket's life. Its owner is told when a configured session is there (``opened``,
in which it sends again what the last session did not finish) and gets the events. Refuses
to know audio and what the session is for.

Rule 1: nothing is streamed before ``session.updated``.
Rule 2: the end of the stream is a loss whatever the close code: the service ends an
expired session with 1001, which libraries take for a normal end.
Rule 3: what no retry mends (a refused key, model or session) is fatal and names the
setting; everything else is tried again, at once first, until ``patience_s`` passed
without a session that held.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from teamscall import __version__
from teamscall.engines.base import Stage
from teamscall.engines.openai.endpoint import CONNECT_S, Endpoint
from teamscall.engines.openai.messages import ServerEvent, Trouble, read
from teamscall.errors import EngineError
from teamscall.text import printable

log = logging.getLogger("teamscall.engines.openai")

CONFIGURE_S = 5.0  # session.update must be answered by then
WRITE_S = 5.0  # a socket that takes nothing for this long is stuck
CLOSE_S = 0.5
PING_S = 10.0  # a vanished peer is noticed after two of these at most
# A session that lasted this long was good: the next loss is a new one.
HEALTHY_S = 5.0
MAX_OUTBOX_BYTES = 8_000_000  # two minutes of audio: nobody waits for such a backlog
MAX_MESSAGE_BYTES = 4_000_000  # a second of audio is 64 kB
# The first attempt after a loss is immediate; the last repeats.
DELAYS_S = (0.0, 0.2, 0.5, 1.0, 2.0)
MAX_RETRY_AFTER_S = 10.0

_FATAL_STATUS = frozenset({400, 401, 403, 404, 405, 410, 426})
_FATAL_CODES = frozenset(
    {
        *("invalid_api_key", "account_deactivated", "billing_not_active", "insufficient_quota"),
        *("model_not_found", "unsupported_model", "beta_api_shape_disabled"),
    }
)
_KEY_CODES = frozenset({"invalid_api_key", "account_deactivated"})


class Purpose(msgspec.Struct, frozen=True):
    """What a socket is for, in words for errors and log lines."""

    stage: Stage
    what: str  # "the recogniser"
    model: str
    model_setting: str


class _Lost(Exception):
    """The session is over; ``wait_s``: the service asked to be left alone for so long."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


class _Connect(connect):
    """Follows no redirect: the key is for the configured host only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Socket:
    """See the module.

    Args:
        endpoint, url: where; the url is one of ``endpoint.realtime_url``.
        session_update: the message that configures a session.
        purpose: for errors.
        opened: a configured session is there; ``send`` works from inside.
        received: takes every event after ``configured``.
        lost: told why a session was lost, before the next attempt.
        patience_s: see rule 3.
        configured: the event that says that ``session_update`` was taken.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        url: str,
        session_update: str,
        purpose: Purpose,
        *,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None] = lambda reason: None,
        patience_s: float = 8.0,
        configured: str = "session.updated",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._url = url
        self._session_update = session_update
        self._purpose = purpose
        self._opened = opened
        self._received = received
        self._lost = lost
        self._patience_s = patience_s
        self._configured = configured
        self._now = now
        self._outbox: deque[str] = deque()
        self._outbox_bytes = 0
        self._news = asyncio.Event()  # for the writer
        self._restart_reason = ""
        self.ready = False
        self.opened_at = 0.0
        self.sessions = 0
        self.unreadable = 0  # messages that were no events

    def send(self, message: str) -> bool:
        """Queue a message; False when there is no session to send it to. Never blocks."""
        if not self.ready:
            return False
        self._outbox.append(message)
        self._outbox_bytes += len(message)
        if self._outbox_bytes > MAX_OUTBOX_BYTES:
            self.restart("it takes no audio")
            return False
        self._news.set()
        return True

    def restart(self, reason: str) -> None:
        """Give this session up and open another."""
        if self.ready:
            self.ready = False
            self._restart_reason = reason
            self._news.set()

    async def run(self) -> None:
        """Keep a session up until cancelled.

        Raises:
            EngineError: not to be mended, or out of patience.
        """
        delays = self._delays()
        good_until = self._now()
        while True:
            try:
                await self._session()
            except _Lost as loss:
                self._lost(loss.reason)
                log.warning(
                    "The socket to OpenAI was lost",
                    extra={"stage": self._purpose.stage, "reason": loss.reason},
                )
                if self.opened_at > good_until and self._now() - self.opened_at > HEALTHY_S:
                    good_until, delays = self._now(), self._delays()
                wait = max(next(delays), loss.wait_s)
                if self._now() + wait - good_until > self._patience_s:
                    raise self._error(loss.reason, "", retryable=True) from None
                await asyncio.sleep(wait)

    # --- one session -----------------------------------------------------------------------

    async def _session(self) -> None:
        """Raises _Lost, or EngineError for good."""
        connection = await self._connect()
        try:
            await self._configure(connection)
            self._outbox.clear()
            self._outbox_bytes = 0
            self._restart_reason = ""
            self.ready = True
            self.opened_at = self._now()
            self.sessions += 1
            self._opened()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(connection), name="realtime reader")
                group.create_task(self._write(connection), name="realtime writer")
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            self.ready = False
            # Bounded by CLOSE_S; a socket that is closed already returns at once.
            await connection.close()

    async def _connect(self) -> ClientConnection:
        try:
            return await _Connect(
                self._url,
                additional_headers=self._endpoint.headers(),
                user_agent_header=f"teamscall/{__version__}",
                compression=None,
                open_timeout=CONNECT_S,
                close_timeout=CLOSE_S,
                ping_interval=PING_S,
                ping_timeout=PING_S,
                max_size=MAX_MESSAGE_BYTES,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            if status in _FATAL_STATUS:
                what, hint = self._endpoint.refusal(
                    status, self._purpose.model, self._purpose.model_setting
                )
                raise self._error(what, hint) from None
            header = refused.response.headers.get("Retry-After", "")
            raise _Lost(f"the service answered {status}", _seconds(header)) from None
        except InvalidURI:
            raise self._error(
                "its address is no URL", f"Look at {self._endpoint.setting}."
            ) from None
        except TimeoutError:
            raise _Lost(f"no connection within {CONNECT_S:g} s") from None
        except (OSError, WebSocketException) as error:
            raise _Lost(f"no connection ({type(error).__name__})") from None

    async def _configure(self, connection: ClientConnection) -> None:
        try:
            async with asyncio.timeout(CONFIGURE_S):
                await connection.send(self._session_update)
                while True:
                    event = read(await connection.recv())
                    if event is None:
                        self.unreadable += 1
                    elif event.type == self._configured:
                        return
                    elif event.type == "error":
                        self._refused(event.error or Trouble())
        except TimeoutError:
            raise _Lost(f"the session was not ready within {CONFIGURE_S:g} s") from None
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    def _refused(self, trouble: Trouble) -> None:
        """An error before the session is ready: of the session, so no retry mends it."""
        self._note(trouble)
        if trouble.type == "server_error" or trouble.name.startswith("rate_limit"):
            raise _Lost(f"the session was refused ({trouble.name})")
        raise self._fatal(trouble)

    async def _read(self, connection: ClientConnection) -> None:
        try:
            while True:
                event = read(await connection.recv())
                if event is None:
                    self.unreadable += 1
                    continue
                if event.type == "error" and event.error is not None:
                    self._note(event.error)
                    if event.error.name in _FATAL_CODES:
                        raise self._fatal(event.error)
                if self.ready:
                    self._received(event)
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    async def _write(self, connection: ClientConnection) -> None:
        try:
            while True:
                while self._outbox and not self._restart_reason:
                    message = self._outbox.popleft()
                    self._outbox_bytes -= len(message)
                    async with asyncio.timeout(WRITE_S):
                        await connection.send(message)
                if self._restart_reason:
                    raise _Lost(self._restart_reason)
                self._news.clear()
                await self._news.wait()
        except TimeoutError:
            raise _Lost("it takes no audio") from None
        except ConnectionClosed as closed:
            raise self._closed(closed) from None

    # --- words -----------------------------------------------------------------------------

    def _closed(self, closed: ConnectionClosed) -> Exception:
        # The reason is the peer's text and may quote anything: only the code is told.
        code = closed.rcvd.code if closed.rcvd is not None else 1006
        if code == 4000:
            return self._error("the service wants another version of its API (4000)", "")
        return _Lost(f"closed with {code}")

    def _note(self, trouble: Trouble) -> None:
        log.warning(
            "OpenAI reported an error",
            extra={
                "stage": self._purpose.stage,
                "code": trouble.name,
                "param": printable(trouble.param or "", 80),
            },
        )

    def _fatal(self, trouble: Trouble) -> EngineError:
        setting = self._purpose.model_setting
        if trouble.name in _KEY_CODES:
            setting = self._endpoint.key_setting
        return self._error(f"the service refused ({trouble.name})", f"Look at {setting}.")

    def _error(self, what: str, hint: str, *, retryable: bool = False) -> EngineError:
        return EngineError(
            f"{self._purpose.what}: {what}. {hint}".rstrip(". ") + ".",
            stage=self._purpose.stage,
            retryable=retryable,
        )

    def _delays(self) -> Iterator[float]:
        yield DELAYS_S[0]
        for delay in DELAYS_S[1:]:
            # Many calls lose their sockets at once: they must not come back at once.
            yield delay * random.uniform(0.8, 1.2)
        while True:
            yield DELAYS_S[-1]


def _seconds(retry_after: str) -> float:
    """``Retry-After`` in seconds; its other form, a date, is not worth reading here."""
    try:
        return min(max(float(retry_after), 0.0), MAX_RETRY_AFTER_S)
    except ValueError:
        return 0.0


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one failure that matters: for good before for now, anything else before both."""
    flat: list[BaseException] = []
    for failure in failures.exceptions:
        flat.append(_first(failure) if isinstance(failure, BaseExceptionGroup) else failure)
    return min(flat, key=lambda e: 2 if isinstance(e, _Lost) else isinstance(e, EngineError))
