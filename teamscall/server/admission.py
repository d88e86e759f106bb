"""Who may come in: paths, methods, credentials, capacity, in that order.

Owns the answer to every request head, pure and synchronous, so that nothing can race
between a check and what it allows; and the operator's words for each refusal. Refuses
to know sockets and HTTP framing. What a peer reads in an answer depends on the status
alone: every reason for a 401 has the same body.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial

import msgspec

from teamscall import __version__
from teamscall.calls.link import Exchange
from teamscall.config import Config
from teamscall.server.credentials import PreviousUse, Secrets
from teamscall.server.echoing import AGENT, CALL_ID_PREFIX, MAX_ECHOES
from teamscall.server.head import Head, other_dialect
from teamscall.server.limits import FailedAttempts
from teamscall.server.refusals import BODIES, RETRY_AFTER_S, STATUS, Refusal, Refusals
from teamscall.server.scraping import PATH as METRICS_PATH
from teamscall.server.scraping import from_this_machine
from teamscall.wire.control import OUTCOME_SEGMENT, call_id_from_path, decode_outcome
from teamscall.wire.events import Dialect, Dropped
from teamscall.wire.signature import (
    BRIDGE_SECRET_HEADER,
    GENERATIONS,
    SIGNATURE_V2_HEADER,
    TODAY,
    ReplayGuard,
    Verdict,
    diagnose,
    diagnose_secret,
    verify_control,
    verify_v1,
)

_SIGNATURE_REFUSALS: dict[str, Refusal] = {
    "missing": "signature-missing",
    "malformed": "signature-malformed",
    "stale": "signature-stale",
    "mismatch": "signature-mismatch",
}


class Answer(msgspec.Struct, frozen=True):
    """A plain HTTP answer; the connection ends with it."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class Ticket(msgspec.Struct, frozen=True):
    """Credentials are right; nothing is spent or reserved before :meth:`Gate.claim`."""

    dialect: Dialect
    call_id: str | None = None
    stamps: frozenset[int] = frozenset()  # timestamps (ms) that verified, to be spent
    previous: bool = False  # it was made with the secret that is being replaced
    doctor: bool = False  # of ``teamscall doctor``: it is echoed and is no call


class OutcomeReport(msgspec.Struct, frozen=True):
    """A call outcome whose body has yet to come."""

    call_id: str


class Scrape(msgspec.Struct, frozen=True):
    """The metrics are asked for, by somebody who may have them; ``accept``: in which format."""

    accept: str


class Gate:
    """Decides about every request head.

    ``open_sockets(dialect, host)`` counts this dialect's open sockets, of one host or
    (``host`` None) of all; ``open_echoes()`` the doctor's. ``has_metrics``: there are some
    to be asked for. ``taken``: when somebody of a dialect was last let in.
    """

    def __init__(
        self,
        config: Config,
        exchange: Exchange,
        refusals: Refusals,
        open_sockets: Callable[[Dialect, str | None], int],
        open_echoes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._exchange = exchange
        self._refusals = refusals
        self._open = open_sockets
        self._open_echoes = open_echoes
        self._doctor = False  # whose head is being examined
        self.taken: dict[Dialect, float] = {}
        self._replays = ReplayGuard(config.standin.hmac_window_ms)
        self.attempts = FailedAttempts(
            config.bridge.max_failed_attempts, config.bridge.failed_attempts_window_ms / 1000
        )
        self.previous = PreviousUse(refusals.log)
        self.draining = False
        self.has_metrics = False
        self.reconfigure(config)

    def reconfigure(self, config: Config) -> None:
        """Decide by this from now on. What was spent stays spent, failures stay counted."""
        self._config = config
        self._bridge = Secrets(config.bridge.secret, config.bridge.previous_secret)
        self._standin = Secrets(config.standin.secret, config.standin.previous_secret)
        self._window_ms = config.standin.hmac_window_ms
        self._outcome_paths = [path + OUTCOME_SEGMENT for path in config.standin.paths]
        self._replays.resize(self._window_ms)
        self.attempts.resize(
            config.bridge.max_failed_attempts, config.bridge.failed_attempts_window_ms / 1000
        )

    def examine(
        self, head: Head, address: str, dialects: Container[Dialect], now: float, wall_ms: int
    ) -> Answer | Ticket | OutcomeReport | Scrape:
        """Everything that can be decided from the head alone.

        ``address`` is the peer's ``host:port``; ``dialects`` are those of the listener, none
        of them on the port for metrics; ``now`` monotonic seconds; ``wall_ms`` epoch
        milliseconds. Spends nothing.
        """
        self._doctor = (head.header("user-agent") or "").startswith(AGENT)
        try:
            return self._examine(head, address, dialects, now, wall_ms)
        finally:
            self._doctor = False

    def _examine(
        self, head: Head, address: str, dialects: Container[Dialect], now: float, wall_ms: int
    ) -> Answer | Ticket | OutcomeReport | Scrape:
        path = head.path
        if path in ("/healthz", "/readyz"):
            return self._health(head, address, now)
        if "csharp" in dialects and path == self._config.serve.path:
            return self._examine_csharp(head, address, now)
        if "standin" in dialects:
            verdict = self._examine_standin(head, address, now, wall_ms)
            if verdict is not None:
                return verdict
        if path == METRICS_PATH and self._may_scrape(head, address, dialects):
            if head.method not in ("GET", "HEAD"):
                return self.refuse("wrong-method", address, now, allow="GET, HEAD")
            return Scrape(head.header("accept") or "")
        return self.refuse("wrong-path", address, now, detail=self._path_words(head, dialects))

    def claim(self, ticket: Ticket, address: str, now: float, wall_ms: int) -> Answer | None:
        """Spend the ticket's handshake and reserve the call; None when it may come in."""
        if ticket.doctor and self._open_echoes() >= MAX_ECHOES:
            return self.refuse("capacity", address, now, detail="several doctors at once")
        if ticket.call_id is None:
            self._let_in(ticket, address, now)
            return None
        call_id = ticket.call_id
        # Every pair that verified is spent, or the other one would admit a second socket. Its
        # timestamp is, not its signature: the same moment signed with the other secret is the
        # same handshake.
        fresh = [
            self._replays.spend(call_id, stamp, "", wall_ms) for stamp in sorted(ticket.stamps)
        ]
        if not all(fresh):
            return self.refuse(
                "replayed",
                address,
                now,
                call_id=call_id,
                detail="this signature was used before: a replay, or a retry that was not signed "
                "anew",
            )
        if not ticket.doctor and not self._exchange.reserve(call_id, _host(address)):
            return self.refuse("duplicate-call", address, now, call_id=call_id)
        self._let_in(ticket, address, now)
        return None

    def _let_in(self, ticket: Ticket, address: str, now: float) -> None:
        if ticket.doctor:
            return
        self.taken[ticket.dialect] = now
        if ticket.previous:
            self.previous.note("standin" if ticket.call_id else "bridge", address, now)

    def report(
        self,
        pending: OutcomeReport,
        head: Head,
        body: bytes,
        address: str,
        now: float,
        wall_ms: int,
    ) -> Answer:
        """A call outcome with its whole body: verify, then tell the calls."""
        call_id = pending.call_id
        verdict, previous = self._standin.verify(
            lambda secret: verify_control(
                secret,
                head.texts(),
                head.method,
                head.path,
                body,
                call_id,
                wall_ms,
                self._window_ms,
            )
        )
        if not verdict.ok:
            v2 = head.header(SIGNATURE_V2_HEADER) is not None
            return self._refuse_signature(verdict, head, call_id, address, now, v2=v2)
        if previous:
            self.previous.note("standin", address, now)
        outcome = decode_outcome(body)
        if isinstance(outcome, Dropped):
            return self.refuse("bad-outcome", address, now, call_id=call_id, detail=outcome.cause)
        if outcome is not None:
            self._exchange.outcome(call_id, outcome)
        return Answer(200, b'{"ok":true}')

    def refuse(
        self,
        reason: Refusal,
        address: str,
        now: float,
        *,
        call_id: str = "",
        detail: str = "",
        retry_after_s: int = 0,
        allow: str = "GET",
    ) -> Answer:
        """Count and log one refusal; its answer."""
        status = STATUS[reason]
        self._refusals.note(
            reason,
            address,
            now,
            status=status,
            call_id=call_id,
            detail=detail,
            doctor=self._doctor,
        )
        headers: tuple[tuple[str, str], ...] = ()
        if retry_after_s or reason in RETRY_AFTER_S:
            headers = (("Retry-After", str(retry_after_s or RETRY_AFTER_S[reason])),)
        elif status == 405:
            headers = (("Allow", allow),)
        elif status == 426:
            headers = (("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"))
        return Answer(status, msgspec.json.encode({"error": BODIES[status]}), headers)

    def note_tls(self, address: str, now: float) -> None:
        """A TLS handshake failed; there is nobody to answer."""
        detail = "the peer does not speak TLS, or does not trust our certificate"
        self._refusals.note("tls-handshake", address, now, detail=detail)

    # --- the C# gateway ---------------------------------------------------------------

    def _examine_csharp(self, head: Head, address: str, now: float) -> Answer | Ticket:
        if head.method != "GET" or not head.upgrades:
            return self.refuse("plain-http", address, now)
        given = head.raw(BRIDGE_SECRET_HEADER)
        fits, previous = self._bridge.match(given or b"")
        # The secret first: a right one passes whoever else failed from the same address.
        if not fits:
            wait_s = self.attempts.fail(_host(address), now)
            if wait_s:
                return self.refuse("too-many-attempts", address, now, retry_after_s=wait_s)
            return self.refuse(
                "secret-mismatch" if given else "secret-missing",
                address,
                now,
                detail=self._bridge.explain(lambda secret: diagnose_secret(given, secret))
                + other_dialect(head, "csharp"),
            )
        if self._doctor:
            return Ticket("csharp", doctor=True)
        if self._is_draining():
            return self.refuse("draining", address, now)
        if self._open("csharp", None) >= self._config.serve.max_connections:
            return self.refuse("capacity", address, now, detail="serve.max_connections is reached")
        return Ticket("csharp", previous=previous)

    # --- StandIn ----------------------------------------------------------------------

    def _examine_standin(
        self, head: Head, address: str, now: float, wall_ms: int
    ) -> Answer | Ticket | OutcomeReport | None:
        """None: this path is none of StandIn's."""
        outcome_id = call_id_from_path(head.target, self._outcome_paths)
        if isinstance(outcome_id, str):
            if head.method == "POST":
                return OutcomeReport(outcome_id)
            return self.refuse("wrong-method", address, now, call_id=outcome_id, allow="POST")
        call_id = call_id_from_path(head.target, self._config.standin.paths)
        if not isinstance(call_id, str):
            bad = next((path for path in (outcome_id, call_id) if path.status == 400), None)
            if bad is None:
                return None
            return self.refuse("bad-call-id", address, now, detail=bad.reason)
        if head.method != "GET":
            return self.refuse("wrong-method", address, now, call_id=call_id)
        if not head.upgrades:
            return self.refuse("plain-http", address, now, call_id=call_id)
        doctor = call_id.startswith(CALL_ID_PREFIX)
        self._doctor |= doctor
        full = None if doctor else self._standin_full(address)
        if full is not None:
            return self.refuse(full[0], address, now, call_id=call_id, detail=full[1])
        verified = self._verify_v1(head, call_id, wall_ms)
        if isinstance(verified, Verdict):
            return self._refuse_signature(verified, head, call_id, address, now)
        return msgspec.structs.replace(verified, doctor=True) if doctor else verified

    def _standin_full(self, address: str) -> tuple[Refusal, str] | None:
        if self._is_draining():
            return "draining", ""
        limits = self._config.standin
        if self._open("standin", None) >= limits.max_connections:
            return "capacity", "standin.max_connections is reached"
        if self._open("standin", _host(address)) >= limits.max_connections_per_address:
            return "address-capacity", "standin.max_connections_per_address is reached"
        unavailable = self._exchange.unavailable("standin", _host(address))
        return None if unavailable is None else (unavailable, "")

    def _verify_v1(self, head: Head, call_id: str, wall_ms: int) -> Ticket | Verdict:
        """A ticket for every header pair that verifies; if none does, the verdict on the
        newest sent."""
        stamps: set[int] = set()
        failed: Verdict | None = None
        old: list[bool] = []
        for names in GENERATIONS:
            verdict, previous = self._standin.verify(
                partial(
                    verify_v1,
                    timestamp_header=head.header(names.timestamp_header),
                    subject=call_id,
                    signature_header=head.header(names.signature_header),
                    now_ms=wall_ms,
                    window_ms=self._window_ms,
                )
            )
            if verdict.ok:
                stamps.add(verdict.timestamp_ms)
                old.append(previous)
            elif failed is None or failed.reason == "missing":
                failed = verdict
        if stamps or failed is None:
            return Ticket("standin", call_id, frozenset(stamps), previous=all(old))
        return failed

    def _refuse_signature(
        self,
        verdict: Verdict,
        head: Head,
        call_id: str,
        address: str,
        now: float,
        *,
        v2: bool = False,
    ) -> Answer:
        stamp = head.header(TODAY.timestamp_header) or head.header(GENERATIONS[-1].timestamp_header)
        if v2 and verdict.reason == "mismatch":
            detail = "wrong secret, or the path or body was changed on the way"
        else:
            detail = self._standin.explain(
                lambda secret: diagnose(secret, verdict, stamp, call_id, self._window_ms)
            ) + other_dialect(head, "standin")
        return self.refuse(
            _SIGNATURE_REFUSALS[verdict.reason], address, now, call_id=call_id, detail=detail
        )

    # --- both -------------------------------------------------------------------------

    def _is_draining(self) -> bool:
        return self.draining or self._exchange.readiness().draining

    def _may_scrape(self, head: Head, address: str, dialects: Container[Dialect]) -> bool:
        if not self.has_metrics:
            return False
        if "csharp" not in dialects and "standin" not in dialects:
            return True  # whoever opened that port meant it
        return self._config.metrics.enabled and from_this_machine(_host(address), head.headers)

    def _health(self, head: Head, address: str, now: float) -> Answer:
        if head.method not in ("GET", "HEAD"):
            return self.refuse("wrong-method", address, now, allow="GET, HEAD")
        if head.path == "/healthz":
            return _json(200, {"status": "alive", "version": __version__})
        state = self._exchange.readiness()
        draining = state.draining or self.draining
        ready = state.ready and not draining
        word = "ready" if ready else "draining" if draining else "full"
        return _json(
            200 if ready else 503,
            {
                "status": word,
                "draining": draining,
                "activeCalls": state.active_calls,
                "slotsFree": state.slots_free,
            },
        )

    def _path_words(self, head: Head, dialects: Container[Dialect]) -> str:
        expected = [self._config.serve.path] if "csharp" in dialects else []
        if "standin" in dialects:
            expected += [f"{prefix}/{{callId}}" for prefix in self._config.standin.paths]
        return f"asked for {head.path[:120]!a}; this listener has {', '.join(expected)}"


def _json(status: int, body: dict[str, object]) -> Answer:
    return Answer(status, msgspec.json.encode(body))


def _host(address: str) -> str:
    """``host:port`` without the port and an IPv6 address's brackets."""
    return address.rpartition(":")[0].strip("[]")
