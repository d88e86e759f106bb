"""Asks the far sides to ring somebody, and to stop: StandIn and the C# gateway over HTTP.

Owns the requests, their deadlines and signatures, and the words for what went wrong. The
gateway's socket is the switchboard's. Refuses to know who may be called.

Rules:

1. No redirect is followed, an answer is bounded, every request has one deadline.
2. A request to this machine passes no proxy, whatever the environment says.
3. An answer that was lost, or names no call, may be a call that rings: ``Unanswered`` says so.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import ssl
from typing import TYPE_CHECKING, Literal

import msgspec

from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.config.findings import is_loopback
from teamscall.errors import PlacingError
from teamscall.outbound.target import Target
from teamscall.text import printable
from teamscall.wire import control
from teamscall.wire.signature import BRIDGE_SECRET_HEADER, control_headers

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger("teamscall.outbound")

# From the request to the whole answer: StandIn asks Microsoft before it answers.
ASK_S = 10.0
# A far side that cannot be told to stop is told again after these pauses.
TELL_AGAIN_S = (1.0, 3.0, 9.0)

Far = Literal["standin", "rest"]
_GONE = frozenset({404, 410})  # the call that was to be ended is not there: that is the aim


class Unanswered(PlacingError):
    """The far side was asked, and no answer named the call: it may be ringing."""


class Dialling:
    """The far sides that are asked over HTTP. ``config`` may be replaced while it runs."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.config = config
        self._clock = clock

    async def ring(self, far: Far, target: Target, tenant: str, message: str) -> str:
        """Ask for a call; the call id that the far side gave it.

        Raises:
            PlacingError: ``far-side-failed``.
            Unanswered: the same, and it may be ringing.
        """
        if far == "standin":
            placing = control.Placing(target.name, tenant)
            body, subject = control.encode_placing(placing), target.name
            answer = await self._standin("POST", control.PLACE_PATH, body, subject)
        else:
            whom = (
                control.UserTarget(target.name)
                if target.kind == "user"
                else control.PhoneTarget(target.name)
            )
            body = control.encode_initiating(control.Initiating(whom, message or None))
            answer = await self._gateway(control.INITIATE_PATH, body)
        placed = control.decode_placed(answer.status, answer.body, csharp=far == "rest")
        if isinstance(placed, control.Refused):
            raise self._refused(far, placed)
        return placed.call_id

    async def hang_up(self, far: Far, call_id: str) -> bool:
        """Tell the far side to ring no more, again where that fails; whether it was told.
        Never raises but ``CancelledError``."""
        told, trouble = False, "there was no time for it"
        try:
            for pause_s in (0.0, *TELL_AGAIN_S):
                await asyncio.sleep(pause_s)
                try:
                    answer = await self._end(far, call_id)
                except PlacingError as error:
                    trouble = error.message
                    continue
                told = 200 <= answer.status < 300 or answer.status in _GONE
                trouble = f"it answered with status {answer.status}"
                if told or answer.status < 500:  # asking the same again gives the same
                    break
        finally:
            if not told:
                log.error(
                    "The far side was not told to stop ringing",
                    extra={"callId": call_id, "far_side": _NAMES[far], "detail": trouble},
                )
        return told

    async def _end(self, far: Far, call_id: str) -> _Reply:
        if far == "rest":
            return await self._gateway(control.HANG_UP_PATH, control.encode_hang_up(call_id))
        path = control.call_path(control.PLACE_PATH, call_id)
        return await self._standin("DELETE", path, b"", call_id)

    async def _standin(self, method: str, path: str, body: bytes, subject: str) -> _Reply:
        standin = self.config.standin
        url = _joined(standin.worker_base_url, path)
        headers = control_headers(
            standin.secret.reveal().encode(),
            self._clock.wall_ms(),
            method,
            url.raw_path.decode("ascii"),  # what will stand on the request line
            body,
            subject,
            standin.outbound_signature,
        )
        return await _request("standin", method, url, headers, body)

    async def _gateway(self, path: str, body: bytes) -> _Reply:
        bridge = self.config.bridge
        url = _joined(bridge.control_url, path)
        headers = [(BRIDGE_SECRET_HEADER, bridge.secret.reveal())]
        return await _request("rest", "POST", url, headers, body)

    def _refused(self, far: Far, refused: control.Refused) -> PlacingError:
        status, words = refused.status, refused.words
        said = f": {words}" if words else ""
        if 200 <= status < 300:
            message = f"{_NAMES[far]} answered with status {status} and no call{said}."
        else:
            message = f"{_NAMES[far]} refused the call with status {status}{said}."
        # A success without a name rings, and a server's error may come after the ringing began.
        kind = Unanswered if status < 300 or status >= 500 else PlacingError
        return kind("far-side-failed", message, hint=_hint(far, status), status=status)


class _Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes


_NAMES: dict[Far, str] = {"standin": "StandIn", "rest": "The C# gateway"}
_URL_KEYS: dict[Far, str] = {"standin": "standin.worker_base_url", "rest": "bridge.control_url"}


def _hint(far: Far, status: int) -> str:
    key = _URL_KEYS[far]
    if 300 <= status < 400:
        return f"Redirects are not followed: set {key} to where it leads."
    if status in (401, 403) and far == "standin":
        return (
            "The two sides' secrets differ (standin.secret), or their clocks; an older service "
            'wants standin.outbound_signature = "v1" or "both".'
        )
    if status in (401, 403):
        return "The two sides' secrets differ: bridge.secret."
    if status == 404:
        return f"There is no such endpoint: check {key}."
    if status == 400 and far == "standin":
        return "It may not know this user, or not in this tenant: check the ids."
    if status == 400:
        return "It does not take this target."
    return ""


async def _request(
    far: Far, method: str, url: httpx2.URL, headers: list[tuple[str, str]], body: bytes
) -> _Reply:
    import httpx2  # heavy: only where somebody is asked

    sent = [*headers, ("Accept", "application/json"), ("Accept-Encoding", "identity")]
    if body:
        sent.append(("Content-Type", "application/json"))
    answer = bytearray()
    try:
        async with (
            asyncio.timeout(ASK_S),
            httpx2.AsyncClient(
                verify=_tls_context(),
                timeout=None,  # ASK_S is the one that counts
                follow_redirects=False,
                trust_env=not is_loopback(url.host),
            ) as http,
            http.stream(method, url, content=body, headers=sent) as response,
        ):
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > control.MAX_BODY_BYTES:
                    break  # whoever reads it says that it is none
            return _Reply(response.status_code, bytes(answer))
    except TimeoutError as error:
        raise Unanswered(
            "far-side-failed",
            f"{_NAMES[far]} did not answer within {ASK_S:g} s.",
            hint=f"Is {_URL_KEYS[far]} the right address?",
        ) from error
    except (httpx2.ConnectError, httpx2.UnsupportedProtocol, httpx2.InvalidURL) as error:
        raise PlacingError(
            "far-side-failed",
            f"{_NAMES[far]} cannot be reached at {_shown(url)} ({_why(error)}).",
            hint=f"Is it running, and is {_URL_KEYS[far]} its address?",
        ) from error
    except (httpx2.HTTPError, httpx2.StreamError, ValueError) as error:
        raise Unanswered(
            "far-side-failed", f"{_NAMES[far]} broke the request off ({_why(error)})."
        ) from error


def _joined(base: str, path: str) -> httpx2.URL:
    import httpx2

    try:
        return httpx2.URL(base.rstrip("/") + path)
    except httpx2.InvalidURL as error:
        raise PlacingError("far-side-failed", f"It cannot be asked: {error}.") from error


def _shown(url: httpx2.URL) -> str:
    return printable(f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}", 120)


def _why(error: Exception) -> str:
    return printable(str(error), 120) or type(error).__name__


@functools.cache
def _tls_context() -> ssl.SSLContext:
    """Loading the trust store takes tens of milliseconds: once."""
    import httpx2

    return httpx2.create_ssl_context()
