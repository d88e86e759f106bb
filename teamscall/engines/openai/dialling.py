"""How a session of the Realtime API is opened: connect, configure, and it may be used.

Owns the handshake and what its failures mean. Refuses to know what is done with a session
and whether another one is opened when it is lost.

Rule 1: a session is handed over when the service has said that it took its configuration.
Rule 2: what no retry mends (a refused key, model or session) is an ``EngineError`` that
names the setting; everything else is ``Lost``.
"""

from __future__ import annotations

import asyncio
import logging

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from teamscall import __version__
from teamscall.engines.base import Stage
from teamscall.engines.openai.endpoint import CONNECT_S, Endpoint
from teamscall.engines.openai.messages import Trouble, read
from teamscall.engines.requests import request_id
from teamscall.errors import EngineError
from teamscall.text import printable

log = logging.getLogger("teamscall.engines.openai")

CONFIGURE_S = 5.0  # session.update must be answered by then
CLOSE_S = 0.5
PING_S = 10.0  # a vanished peer is noticed after two of these at most
MAX_MESSAGE_BYTES = 4_000_000  # a second of audio is 64 kB
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


class Lost(Exception):
    """The session is over; ``wait_s``: the service asked to be left alone for so long;
    ``status``: of its answer to the upgrade, 0 without one."""

    def __init__(self, reason: str, wait_s: float = 0.0, status: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s
        self.status = status


class Refusal(EngineError):
    """The service does not want this session, and no retry mends that.

    Attributes:
        status: of its answer to the upgrade; 0: the session was up.
        trouble: what it says is wrong, as far as it does.
    """

    def __init__(
        self, message: str, *, stage: Stage, status: int = 0, trouble: Trouble | None = None
    ) -> None:
        super().__init__(message, stage=stage)
        self.status = status
        self.trouble = trouble or Trouble()


class _Connect(connect):
    """Follows no redirect: the key is for the configured host only."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Dialler:
    """Opens sessions of one kind, any number of them.

    Args:
        endpoint, url: where; the url is one of ``endpoint.realtime_url``.
        session_update: the message that configures a session.
        purpose: for errors.
        configured: the event that says that ``session_update`` was taken.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        url: str,
        session_update: str,
        purpose: Purpose,
        *,
        configured: str = "session.updated",
    ) -> None:
        self._endpoint = endpoint
        self._url = url
        self._session_update = session_update
        self._configured = configured
        self.purpose = purpose

    async def open(self) -> ClientConnection:
        """A session that is configured; whoever takes it closes it.

        Raises:
            Lost: another attempt may succeed.
            EngineError: none will.
        """
        connection = await self._connect()
        try:
            await self._configure(connection)
        except BaseException:
            # Bounded by CLOSE_S.
            await connection.close()
            raise
        return connection

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
            asked = {"status": status, "request": request_id(refused.response.headers)}
            log.warning("OpenAI refused a session", extra={"stage": self.purpose.stage, **asked})
            trouble = _trouble(refused.response.body)
            if status in _FATAL_STATUS:
                what, hint = self._endpoint.refusal(
                    status, self.purpose.model, self.purpose.model_setting
                )
                raise self._refusal(what, hint, status, trouble) from None
            if trouble.name in _FATAL_CODES:  # as 429 is, where nothing is left to spend
                raise self._fatal(trouble, status) from None
            header = refused.response.headers.get("Retry-After", "")
            raise Lost(f"the service answered {status}", _seconds(header), status) from None
        except InvalidURI:
            raise self.error(
                "its address is no URL", f"Look at {self._endpoint.setting}."
            ) from None
        except TimeoutError:
            raise Lost(f"no connection within {CONNECT_S:g} s") from None
        except (OSError, WebSocketException) as error:
            raise Lost(f"no connection ({type(error).__name__})") from None

    async def _configure(self, connection: ClientConnection) -> None:
        try:
            async with asyncio.timeout(CONFIGURE_S):
                await connection.send(self._session_update)
                while True:
                    event = read(await connection.recv())
                    if event is None:
                        continue
                    if event.type == self._configured:
                        return
                    if event.type == "error":
                        self._refused(event.error or Trouble())
        except TimeoutError:
            raise Lost(f"the session was not ready within {CONFIGURE_S:g} s") from None
        except ConnectionClosed as closed:
            raise self.closed(closed) from None

    def _refused(self, trouble: Trouble) -> None:
        """An error before the session is ready: of the session, so no retry mends it."""
        self.note(trouble)
        if trouble.type == "server_error" or trouble.name.startswith("rate_limit"):
            raise Lost(f"the session was refused ({trouble.name})")
        raise self._fatal(trouble)

    # --- words -----------------------------------------------------------------------------

    def closed(self, closed: ConnectionClosed) -> Exception:
        """What a close means."""
        # The reason is the peer's text and may quote anything: only the code is told.
        code = closed.rcvd.code if closed.rcvd is not None else 1006
        if code == 4000:
            return self.error("the service wants another version of its API (4000)", "")
        return Lost(f"closed with {code}")

    def note(self, trouble: Trouble) -> None:
        """Log what the service says went wrong."""
        log.warning(
            "OpenAI reported an error",
            extra={
                "stage": self.purpose.stage,
                "code": trouble.name,
                "param": printable(trouble.param or "", 80),
            },
        )

    def fatal(self, trouble: Trouble) -> EngineError | None:
        """What to raise for an error of a session that is up, if it is the end of all."""
        return self._fatal(trouble) if trouble.name in _FATAL_CODES else None

    def _fatal(self, trouble: Trouble, status: int = 0) -> EngineError:
        setting = self.purpose.model_setting
        if trouble.name in _KEY_CODES:
            setting = self._endpoint.key_setting
        what = f"the service refused ({trouble.name})"
        return self._refusal(what, f"Look at {setting}.", status, trouble)

    def _refusal(self, what: str, hint: str, status: int, trouble: Trouble) -> Refusal:
        message = self.error(what, hint).message
        return Refusal(message, stage=self.purpose.stage, status=status, trouble=trouble)

    def error(self, what: str, hint: str = "", *, retryable: bool = False) -> EngineError:
        """An error of this socket, in its words."""
        return EngineError(
            f"{self.purpose.what}: {what}. {hint}".rstrip(". ") + ".",
            stage=self.purpose.stage,
            retryable=retryable,
        )


class _Body(msgspec.Struct):
    error: Trouble = msgspec.field(default_factory=Trouble)


def _trouble(body: bytes | bytearray | None) -> Trouble:
    """What the answer to a refused upgrade says; nothing, where it is no JSON of the API."""
    try:
        return msgspec.json.decode(body or b"{}", type=_Body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Trouble()


def _seconds(retry_after: str) -> float:
    """``Retry-After`` in seconds; its other form, a date, is not worth reading here."""
    try:
        return min(max(float(retry_after), 0.0), MAX_RETRY_AFTER_S)
    except ValueError:
        return 0.0
