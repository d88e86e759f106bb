"""What a call needs of the line once it is open: ping, audio in time, long messages, silence.

Speaks to the bridge's echo (``doctor-`` calls): whatever is sent comes back unchanged.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import statistics
import time
from collections.abc import AsyncIterator

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.knocking import AGENT, CONNECT_S, IDENTITY_HEADER, tls_context
from teamscall.doctor.line_reach import bridge, each
from teamscall.doctor.lines import Line, dialled
from teamscall.text import printable

ECHO_S = 3.0
# A second of a call, in its frames.
FRAMES, FRAME_S, FRAME_BYTES = 50, 0.02, 640
# What a proxy may add, there and back: beyond it two people talk over each other.
SLOW_MS, TOO_SLOW_MS = 300.0, 1000.0
# The largest message of the protocols is a picture of 1.4 MB, in base64.
LONG_BYTES = 2_000_000
SIZES = (1_000_000, 500_000, 100_000, 60_000)
LONG_S, SHORT_S = 4.0, 1.0
# The bridge pings after 20 s (serve.ping_interval_ms): what is cut before that is cut for good.
SILENCE_S, LONG_SILENCE_S = 11.0, 60.0


class _Echoed(msgspec.Struct, frozen=True):
    """A bridge that knows the doctor. ``identity``: it alone has it, as long as it runs."""

    took_ms: float
    identity: str


class NoEcho(Exception):
    """The bridge did not take this for a doctor's call."""


@contextlib.asynccontextmanager
async def dial(line: Line, *, direct: bool = False) -> AsyncIterator[ClientConnection]:
    """A doctor's call.

    Raises:
        OSError, TimeoutError, InvalidHandshake: it does not come about.
    """
    address, target, headers = dialled(line, direct=direct)
    url = f"{'wss' if address.tls else 'ws'}://{address.authority}{target}"
    async with connect(
        url,
        additional_headers=headers,
        user_agent_header=AGENT,
        compression=None,
        ssl=tls_context(address) if address.tls else None,
        proxy=None,
        open_timeout=CONNECT_S,
        close_timeout=1.0,
        ping_interval=None,
        max_size=4 * LONG_BYTES,
    ) as link:
        yield link


async def _echoes(site: Site, line: Line) -> _Echoed | None:
    """The ping of this line's bridge; None: it does not know a doctor's call."""

    async def make() -> _Echoed:
        async with dial(line) as link:
            began = time.monotonic()
            async with asyncio.timeout(ECHO_S):
                await (await link.ping())
                took_ms = (time.monotonic() - began) * 1000
            # To a bridge that does not know the doctor this is one more ping.
            text = '{"type":"ping","callId":"doctor-echo"}'
            await link.send(text)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ECHO_S):
                    if await link.recv() == text:
                        return _Echoed(took_ms, _identity(link))
            raise NoEcho
        raise AssertionError

    try:
        return await site.shared.once(f"echo-{line.dialect}", make)
    except NoEcho:
        return None


def _identity(link: ClientConnection) -> str:
    headers = link.response.headers if link.response is not None else {}
    return headers.get(IDENTITY_HEADER, "")


async def ping(site: Site) -> Finding:
    return await each(site, _ping)


async def _ping(site: Site, line: Line) -> Finding:
    try:
        echoed = await _echoes(site, line)
        if echoed is None:
            return skipped(
                "The WebSocket opens, and the bridge does not know the doctor: it is of another "
                "version, or a proxy changes User-Agent."
            )
    except TimeoutError:
        return failed(
            "The WebSocket opens, and no pong comes back.",
            "The proxy has to pass frames both ways at once: no buffering of requests or "
            "responses for this path.",
        )
    except (OSError, InvalidHandshake, ConnectionClosed) as error:
        return failed(
            f"The WebSocket opens and is closed at once ({_why(error)}).",
            "See the proxy's log: it may inspect WebSockets, or end them.",
        )
    return ok(f"A pong after {echoed.took_ms:.0f} ms.", tookMs=round(echoed.took_ms, 1))


async def same(site: Site) -> Finding:
    return await each(site, _same)


async def _same(site: Site, line: Line) -> Finding:
    """Callers must get to the bridge whose log, calls and configuration the operator looks at."""
    if not line.registered:
        return skipped("No address is registered.")
    if (await bridge(site)).facts.get("started"):
        return skipped("No bridge runs on this machine: the address may lead to one elsewhere.")
    try:
        echoed = await _echoes(site, line)
        async with dial(line, direct=True) as link:
            here = _identity(link)
    except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed):
        return skipped("One of the two does not answer: see TC-PING and TC-DIRECT.")
    if echoed is None or not echoed.identity or not here:
        return skipped("One of the two does not say which bridge it is: it is of another version.")
    if echoed.identity == here:
        return ok("The registered address leads to the bridge on this machine.")
    return warning(
        "The registered address leads to another bridge, which has the same secret.",
        "Calls arrive there, not here: correct the address (or the proxy's upstream), or end "
        "that bridge. Where several share the address, this is meant.",
    )


async def audio(site: Site) -> Finding:
    return await each(site, _audio)


async def _audio(site: Site, line: Line) -> Finding:
    try:
        if not await _echoes(site, line):
            return skipped("The bridge does not echo.")
        there, past = await _seconds(site, line)
    except TimeoutError:
        return failed(
            "One second of audio does not come back.",
            "The proxy keeps it: no buffering for this path (nginx: proxy_buffering off).",
        )
    except (OSError, InvalidHandshake, ConnectionClosed) as error:
        return _limited(error) or failed(
            f"The call is cut in its first second ({_why(error)}).", "See TC-PING."
        )
    added = _added_ms(there, past)
    facts: dict[str, Fact] = {
        "medianMs": round(there.median_ms, 1),
        "p95Ms": round(there.late_ms, 1),
        "directMs": round(past.median_ms, 1),
        "addedMs": round(added, 1),
    }
    if added > SLOW_MS:
        found = failed if added > TOO_SLOW_MS else warning
        return found(
            f"The way through the registered address adds {added:.0f} ms, there and back.",
            "Have the proxy pass each frame at once (nginx: proxy_buffering off; no inspection), "
            "or choose a tunnel or a region that is nearer.",
            **facts,
        )
    return ok(
        f"One second there and back, {there.median_ms:.0f} ms each frame "
        f"({past.median_ms:.0f} ms directly).",
        **facts,
    )


class _Times(msgspec.Struct, frozen=True):
    median_ms: float
    late_ms: float  # one of twenty is later


async def _seconds(site: Site, line: Line) -> tuple[_Times, _Times]:
    """A second of audio as registered, and directly: whichever check asks first."""

    async def make() -> tuple[_Times, _Times]:
        if not line.registered:
            once = await _second(line)
            return once, once
        there, past = await asyncio.gather(_second(line), _second(line, direct=True))
        return there, past

    return await site.shared.once(f"seconds-{line.dialect}", make)


async def _is_slow(site: Site, line: Line) -> bool:
    try:
        return _added_ms(*await _seconds(site, line)) > SLOW_MS
    except TimeoutError:
        return True
    except (OSError, InvalidHandshake, ConnectionClosed):
        return False


def _added_ms(there: _Times, past: _Times) -> float:
    return max(0.0, there.median_ms - past.median_ms)


async def _second(line: Line, *, direct: bool = False) -> _Times:
    """Fifty frames at their times, each timed until it is back."""
    sent: dict[str, float] = {}
    took: list[float] = []

    async with dial(line, direct=direct) as link:

        async def listen() -> None:
            while len(took) < FRAMES:
                text = await link.recv()
                if isinstance(text, str) and text in sent:
                    took.append((time.monotonic() - sent.pop(text)) * 1000)

        async with asyncio.timeout(FRAMES * FRAME_S + ECHO_S), asyncio.TaskGroup() as group:
            listener = group.create_task(listen())
            began = time.monotonic()
            for number in range(FRAMES):
                pcm = base64.b64encode(os.urandom(FRAME_BYTES)).decode()
                text = f'{{"type":"audio","sequence":{number},"data":"{pcm}"}}'
                await asyncio.sleep(max(0.0, began + number * FRAME_S - time.monotonic()))
                sent[text] = time.monotonic()
                await link.send(text)
            await listener
    ordered = sorted(took)
    return _Times(statistics.median(ordered), ordered[len(ordered) * 95 // 100])


async def long(site: Site) -> Finding:
    return await each(site, _long)


async def _long(site: Site, line: Line) -> Finding:
    try:
        if not await _echoes(site, line):
            return skipped("The bridge does not echo.")
    except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
        return _not_opened(error)
    size = min(LONG_BYTES, line.max_message_bytes - 1024)
    why = await _passes(line, size)
    if not why:
        return ok(f"A message of {_mb(size)} arrives whole.", bytes=size)
    if why == _late(LONG_S) and await _is_slow(site, line):
        return skipped("The line is too slow for it to arrive in time: see TC-AUDIO.")
    if line.registered and (past := await _passes(line, size, direct=True)):
        return failed(
            f"The bridge does not take a message of {_mb(size)} ({past}).",
            "Restart it: it was started with a smaller max_message_bytes.",
            bytes=size,
        )
    most = 0
    for smaller in (each_ for each_ in SIZES if each_ < size):
        if not await _passes(line, smaller, within_s=SHORT_S):
            most = smaller
            break
    passes = f"one of {_mb(most)} passes" if most else "even one of 60 KB does not pass"
    return failed(
        f"A message of {_mb(size)} does not arrive ({why}); {passes}: the proxy caps messages.",
        "Raise its limit for WebSocket messages (or requests) to 4 MB, or take the inspection "
        "of WebSockets off; pictures are up to 2 MB.",
        bytes=size,
        passes=most,
    )


async def _passes(line: Line, size: int, *, direct: bool = False, within_s: float = LONG_S) -> str:
    """Why a message of this size does not come back; blank where it does."""
    text = "x" * size
    try:
        async with dial(line, direct=direct) as link, asyncio.timeout(within_s):
            await link.send(text)
            return "" if await link.recv() == text else "it comes back changed"
    except TimeoutError:
        return _late(within_s)
    except (OSError, InvalidHandshake, ConnectionClosed) as error:
        return _why(error)


def _late(within_s: float) -> str:
    return f"nothing within {within_s:g} s"


async def silence(site: Site) -> Finding:
    if not site.thorough and not any(True for _ in _registered(site)):
        return skipped("No proxy is registered; --thorough tests a minute of silence.")
    return await each(site, _silent)


def _registered(site: Site) -> list[Line]:
    from teamscall.doctor.lines import lines

    return [line for line in lines(site) if line.registered]


async def _silent(site: Site, line: Line) -> Finding:
    wait = began = 0.0
    try:
        if (echoed := await _echoes(site, line)) is None:
            return skipped("The bridge does not echo.")
        async with dial(line) as link:
            # There and back at the end takes what it took before; so does the goodbye.
            last_s = max(ECHO_S / 2, min(ECHO_S, 2 * echoed.took_ms / 1000) + 1.0)
            left_s = site.shared.left_s() - last_s
            wait = LONG_SILENCE_S if site.thorough else max(1.0, min(SILENCE_S, left_s))
            began = time.monotonic()
            closed = asyncio.timeout(wait)
            with contextlib.suppress(TimeoutError):
                async with closed:
                    await link.wait_closed()
            if not closed.expired():
                raise ConnectionResetError
            async with asyncio.timeout(ECHO_S):
                await link.send("still there?")
                await link.recv()
    except (OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
        if not began:
            return _not_opened(error)
        lasted = time.monotonic() - began
        return failed(
            f"A call in which nothing is said is cut after {lasted:.0f} s: the proxy gives up on "
            "silence.",
            "Raise its timeout for WebSockets to an hour (nginx: proxy_read_timeout 3600s; "
            "proxy_send_timeout 3600s; HAProxy: timeout tunnel 1h).",
            lastedS=round(lasted, 1),
        )
    return ok(f"{wait:.0f} s of silence do not end a call.", silenceS=round(wait, 1))


def _limited(error: Exception) -> Finding | None:
    """A second call at a time is refused: the first one, TC-PING's, came through."""
    if not isinstance(error, InvalidStatus):
        return None
    status = error.response.status_code
    return failed(
        f"One call comes through, and another at the same time is refused ({status}): the proxy "
        "limits connections or requests.",
        "Take the limit off for this path, or raise it above max_concurrent_calls (nginx: "
        "limit_conn, limit_req; HAProxy: rules that deny by rate): all calls come from one "
        "address.",
        status=status,
    )


def _not_opened(error: Exception) -> Finding:
    if (found := _limited(error)) is not None:
        return found
    return failed(
        f"No call can be opened ({_why(error)}).",
        "Run `teamscall doctor --only line`: an earlier check tells why.",
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.3g} MB" if size >= 100_000 else f"{size // 1000} KB"


def _why(error: Exception) -> str:
    if isinstance(error, ConnectionClosed):
        code = error.rcvd.code if error.rcvd else 0
        said = printable(error.rcvd.reason, 60) if error.rcvd else ""
        return f"closed with {code} {said}".rstrip() if code else "the connection was cut"
    return printable(getattr(error, "strerror", None) or type(error).__name__, 80)


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-PING",
        "line",
        "A ping",
        ping,
        "Opens a call of the doctor's own through the registered address and pings.",
        "Let the proxy pass WebSocket frames both ways at once.",
        after=("TC-CREDENTIALS",),
    ),
    Check(
        "TC-SAME-BRIDGE",
        "line",
        "Where the address leads",
        same,
        "Compares who answers at the registered address with who answers at the configured "
        "port: an old bridge on another machine, or a proxy's wrong upstream, takes the calls "
        "when it has the same secret.",
        "Correct the registered address or the proxy's upstream.",
        after=("TC-PING", "TC-DIRECT"),
    ),
    Check(
        "TC-AUDIO",
        "line",
        "A second of audio",
        audio,
        "Sends fifty frames of 20 ms and times each until it is back, through the registered "
        "address and directly. What the way adds is what callers wait longer for every answer.",
        "No buffering in the proxy, a nearer tunnel.",
        after=("TC-PING",),
    ),
    Check(
        "TC-MESSAGE",
        "line",
        "A message of 2 MB",
        long,
        "StandIn sends pictures as messages of up to 2 MB. A proxy that inspects WebSockets may "
        "cap them, and cuts the call with the first picture.",
        "Raise the proxy's limit to 4 MB.",
        after=("TC-AUDIO",),
        timeout_s=12.0,
    ),
    Check(
        "TC-IDLE",
        "line",
        "Silence on the line",
        silence,
        "Keeps a call open without a word: 11 s where an address is registered, 60 s with "
        "--thorough. The bridge pings every 20 s; a proxy that gives up before cuts calls in "
        "which nobody speaks.",
        "Raise the proxy's timeout for WebSockets to an hour.",
        after=("TC-PING",),
        timeout_s=75.0,
    ),
)
