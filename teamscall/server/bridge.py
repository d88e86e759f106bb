"""The server as a whole: opens its listeners, keeps its sockets, stops in bounded time.

Owns the tables of opening and open sockets, the one ticker that looks at every deadline,
and the watchdog. Refuses to know who may come in (``admission``), frames (``link``) and
calls (behind ``Exchange``).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import ssl
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping

import msgspec
from websockets.server import ServerProtocol

from teamscall.calls.link import Exchange
from teamscall.calls.tape import Tapes
from teamscall.clock import Clock
from teamscall.config import Config
from teamscall.errors import ListenError
from teamscall.server.admission import Answer, Gate, Ticket
from teamscall.server.echoing import Echo
from teamscall.server.link import TICK_S, LinkLimits, SocketLink
from teamscall.server.listener import accept_forever, open_sockets, tls_context
from teamscall.server.opening import Opening
from teamscall.server.refusals import Refusals
from teamscall.server.scraping import PATH as METRICS_PATH
from teamscall.server.watchdog import Watchdog
from teamscall.wire.events import Dialect

# Sockets before their upgrade. When there are as many, the oldest goes, if it has had its
# chance (a slow-loris loses its place; a gateway's upgrade takes one round trip); else the
# next ones wait in the kernel's queue, as in a burst of a thousand at once.
MAX_OPENING = 512
CHANCE_S = 1.0
_FULL_S = 0.02  # until the table is looked at again

# A handshake costs about 0.4 ms. Hundreds of heads that arrive at once must not hold up
# the calls' audio: so many are looked at per turn of the loop.
HEADS_PER_TURN = 16

# After the sockets were aborted: the loop's turns until they are gone.
_ABORT_S = 1.0


class Listening(msgspec.Struct, frozen=True):
    """One open port. ``urls`` has one WebSocket URL per path that is served."""

    urls: tuple[str, ...]
    dialects: tuple[Dialect, ...]
    host: str
    port: int
    tls: bool


Files = tuple[str, str]  # of a certificate chain and its key, PEM; both blank: no TLS
Certificates = Mapping[Files, ssl.SSLContext | None]


class _Plan(msgspec.Struct, frozen=True):
    """A listener to open."""

    dialects: tuple[Dialect, ...]
    bind: str
    port: int
    tls: Files


Render = Callable[[str], Awaitable[tuple[bytes, str]]]


class Bridge:
    """The listeners of both dialects in front of one exchange.

    Everything goes to ``log``, as static messages with structured fields. :meth:`start` and
    :meth:`stop` once each, on one event loop.
    """

    def __init__(
        self,
        config: Config,
        exchange: Exchange,
        clock: Clock,
        log: logging.Logger = logging.getLogger("teamscall.server"),  # noqa: B008
    ) -> None:
        self.exchange = exchange
        self.clock = clock
        self.identity = secrets.token_hex(8)  # as long as it runs
        self.log = log
        self.refused = Refusals(log)
        self._echoes: set[Echo] = set()  # the doctor's
        self.gate = Gate(config, exchange, self.refused, self.count, lambda: len(self._echoes))
        self.watchdog = Watchdog(log, beat_s=TICK_S)
        self._plans: list[_Plan] = []
        self._certificates: Certificates = {}
        self._configure(config)
        self._opening: dict[Opening, None] = {}  # in the order of arrival
        self._links: set[SocketLink] = set()
        self._waiting: deque[Opening] = deque()  # each at most once
        self._empty = asyncio.Event()  # no socket is left
        self._sockets: list[socket.socket] = []
        self._accepting: list[asyncio.Task[None]] = []
        self._run: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._render: Render | None = None
        self._tapes: Tapes | None = None
        self.metrics_url = ""  # of the port for metrics

    def expose(self, render: Render) -> None:
        """From now on ``/metrics`` is there; ``render`` makes its text and content type."""
        self._render = render
        self.gate.has_metrics = True

    def record(self, tapes: Tapes) -> None:
        """Record what is said on the sockets that open from now on."""
        self._tapes = tapes

    @property
    def refusals(self) -> Counter[str]:
        """Refused requests since the start, by reason."""
        return self.refused.counts

    @property
    def open_links(self) -> int:
        """WebSockets that are open now."""
        return len(self._links)

    def count(self, dialect: Dialect, host: str | None) -> int:
        """Open WebSockets of one dialect, of one peer host or (None) of all."""
        return sum(
            link.dialect == dialect and (host is None or link.host == host) for link in self._links
        )

    def read_certificates(self) -> Certificates:
        """The certificates of the open listeners, from their files as they are now. Blocks.

        Raises:
            ListenError: a file is missing or bad.
        """
        return {plan.tls: tls_context(*plan.tls) for plan in self._plans}

    def reconfigure(self, config: Config, certificates: Certificates) -> None:
        """What requests and sockets get from now on. Listeners stay as they were opened, but
        for their certificates, and open sockets as they are."""
        self._configure(config)
        self._certificates = certificates
        self.gate.reconfigure(config)

    def _configure(self, config: Config) -> None:
        self._config = config
        self.open_timeout_s = config.serve.open_timeout_ms / 1000
        self._close_timeout_s = config.serve.close_timeout_ms / 1000

    async def start(self) -> tuple[Listening, ...]:
        """Open every enabled listener.

        Raises:
            ListenError: a port is taken, a certificate is bad, a secret is missing; nothing
                is left open then.
        """
        listening: list[Listening] = []
        accepting: list[tuple[socket.socket, _Plan]] = []
        try:
            self._plans = self._planned()
            self._certificates = self.read_certificates()
            for plan in self._plans:
                sockets = await open_sockets(plan.bind, plan.port)
                self._sockets += sockets
                accepting += [(sock, plan) for sock in sockets]
                if plan.dialects:
                    listening.append(self._describe(plan, sockets[0].getsockname()[1]))
                else:
                    self.metrics_url = f"http://{_bracketed(plan.bind)}:{plan.port}{METRICS_PATH}"
        except ListenError:
            self._close_sockets()
            raise
        self.watchdog.start()
        # The root of everything that runs here; stop() ends and awaits it.
        self._run = asyncio.get_running_loop().create_task(
            self._serve(accepting), name="teamscall-server"
        )
        self._run.add_done_callback(self._fell)
        return tuple(listening)

    async def stop(self, *, code: int = 1001, reason: str = "server-shutdown") -> None:
        """Stop accepting, close every WebSocket with ``code``, cut what does not close.

        Returns after at most ``serve.close_timeout_ms`` plus a second.
        """
        self.gate.draining = True
        if self._run is None:
            return
        run, self._run = self._run, None
        for task in self._accepting:
            task.cancel()
        if self._accepting:
            await asyncio.wait(self._accepting)
        self._close_sockets()
        for opening in list(self._opening):
            opening.shut()
        for link in list(self._links):
            link.close(code, reason)
        for echo in list(self._echoes):
            echo.close(code, reason)
        if not await self._emptied(self._close_timeout_s):
            for opening in list(self._opening):
                opening.evict()
            for link in list(self._links):
                link.abort(reason)
            for echo in list(self._echoes):
                echo.abort()
            if not await self._emptied(_ABORT_S):
                self.log.error("Sockets are left open", extra={"count": len(self._links)})
        run.cancel()
        await asyncio.wait([run])
        self.watchdog.stop()

    # --- for links and openings -------------------------------------------------------

    def max_message_bytes(self, dialect: Dialect) -> int:
        """The dialect's cap of one message."""
        if dialect == "csharp":
            return self._config.serve.max_message_bytes
        return self._config.standin.max_message_bytes

    def admit(
        self,
        opening: Opening,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        ticket: Ticket,
    ) -> asyncio.Protocol:
        """The upgrade was answered: what has taken the socket over."""
        serve = self._config.serve
        self._opening.pop(opening, None)
        if ticket.doctor:
            now, interval_s = self.clock.now(), serve.ping_interval_ms / 1000
            echo = Echo(self, transport, protocol, now, interval_s)
            transport.set_protocol(echo)
            self._echoes.add(echo)
            self._empty.clear()
            return echo
        limits = LinkLimits(
            serve.ping_interval_ms / 1000, serve.ping_timeout_ms / 1000, self._close_timeout_s
        )
        link = SocketLink(
            self,
            transport,
            protocol,
            ticket.dialect,
            ticket.call_id,
            opening.address,
            limits,
            self._tapes,
        )
        transport.set_protocol(link)
        self._links.add(link)
        self._empty.clear()
        link.begin()
        return link

    def queue(self, opening: Opening) -> None:
        """``opening`` has something to look at: give it its turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next_turns)
        self._waiting.append(opening)

    def scrape(self, opening: Opening, accept: str) -> None:
        """The metrics are asked for: give them, a little later."""
        if self._tasks is not None and self._render is not None:
            self._tasks.create_task(self._scrape(opening, accept, self._render), name="scrape")

    async def _scrape(self, opening: Opening, accept: str, render: Render) -> None:
        try:
            body, content_type = await render(accept)
        except Exception:  # the calls go on without metrics
            self.log.exception("The metrics cannot be told")
            opening.give(Answer(500, b'{"error":"internal error"}'))
        else:
            opening.give(Answer(200, body, content_type=content_type))

    def leave(self, opening: Opening) -> None:
        """The opening's socket is gone, or no longer its own."""
        self._opening.pop(opening, None)
        self._note_empty()

    def forget(self, link: SocketLink) -> None:
        """The link's socket is closed for good."""
        self._links.discard(link)
        self._note_empty()

    def end_echo(self, echo: Echo) -> None:
        """A call of the doctor is over."""
        self._echoes.discard(echo)
        self._note_empty()

    # --- inside -----------------------------------------------------------------------

    def _planned(self) -> list[_Plan]:
        serve, standin = self._config.serve, self._config.standin
        if serve.enabled and not self._config.bridge.secret:
            raise ListenError(
                "The listener for C# gateways has no secret.", hint="Set bridge.secret."
            )
        if standin.enabled and not standin.secret:
            raise ListenError("The StandIn listener has no secret.", hint="Set standin.secret.")
        own = (serve.tls_cert, serve.tls_key)
        theirs = (standin.tls_cert, standin.tls_key) if standin.tls_cert else own
        shared = (
            serve.enabled
            and standin.enabled
            and serve.port == standin.port != 0
            and serve.bind == standin.bind
        )
        if shared and own != theirs:
            raise ListenError(
                f"Both listeners share port {serve.port} but have different certificates.",
                hint="Leave out standin.tls_cert and standin.tls_key, or use another port.",
            )
        metrics = self._config.metrics
        plans = [_Plan((), metrics.bind, metrics.port, ("", ""))] if metrics.port else []
        if shared:
            return [_Plan(("csharp", "standin"), serve.bind, serve.port, own), *plans]
        if serve.enabled:
            plans.append(_Plan(("csharp",), serve.bind, serve.port, own))
        if standin.enabled:
            plans.append(_Plan(("standin",), standin.bind, standin.port, theirs))
        return plans

    def _describe(self, plan: _Plan, port: int) -> Listening:
        paths = [self._config.serve.path] if "csharp" in plan.dialects else []
        if "standin" in plan.dialects:
            paths += self._config.standin.paths
        scheme = "wss" if any(plan.tls) else "ws"
        host = _bracketed(plan.bind)
        return Listening(
            urls=tuple(f"{scheme}://{host}:{port}{path}" for path in paths),
            dialects=plan.dialects,
            host=plan.bind,
            port=port,
            tls=any(plan.tls),
        )

    async def _serve(self, accepting: list[tuple[socket.socket, _Plan]]) -> None:
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._tick_forever(), name="ticker")
            for sock, plan in accepting:
                accept = self._accept(sock, plan, tasks)
                self._accepting.append(tasks.create_task(accept, name="accept"))

    async def _accept(self, sock: socket.socket, plan: _Plan, tasks: asyncio.TaskGroup) -> None:
        dialects = frozenset(plan.dialects)

        def arrive(address: str) -> Opening:
            opening = Opening(self, address, dialects)
            self._opening[opening] = None
            self._empty.clear()
            return opening

        await accept_forever(
            sock,
            self._room,
            arrive,
            tasks,
            lambda: self._certificates[plan.tls],
            lambda: self.open_timeout_s,
            self.log,
        )

    def _next_turns(self) -> None:
        for _ in range(min(HEADS_PER_TURN, len(self._waiting))):
            self._waiting.popleft().turn()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next_turns)

    async def _room(self) -> None:
        """Wait until the table of opening sockets has room for one more."""
        while len(self._opening) >= MAX_OPENING:
            oldest, now = next(iter(self._opening)), self.clock.now()
            if now - oldest.since >= CHANCE_S:
                if not oldest.answered:
                    self.refused.note("evicted", oldest.address, now)
                self._opening.pop(oldest)
                oldest.evict()
            else:
                await asyncio.sleep(_FULL_S)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.watchdog.beat()
            now = self.clock.now()
            for opening in list(self._opening):
                opening.tick(now)
            for link in list(self._links):
                link.tick(now)
            for echo in list(self._echoes):
                echo.tick(now)
            self.refused.tick(now)
            self.gate.attempts.prune(now)

    async def _emptied(self, timeout_s: float) -> bool:
        """Whether every socket was gone within ``timeout_s``."""
        self._note_empty()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _note_empty(self) -> None:
        if not self._opening and not self._links and not self._echoes:
            self._empty.set()

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _fell(self, run: asyncio.Task[None]) -> None:
        if not run.cancelled() and run.exception() is not None:
            self.log.critical("The server has stopped listening", exc_info=run.exception())


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
