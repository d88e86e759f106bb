"""A connection until it is answered or becomes a WebSocket.

Owns one accepted socket from its first byte: the head's caps and deadline, plain HTTP
(h11), the body of a call outcome, and the hand-over of an upgrade to websockets'
sans-I/O protocol. Refuses to know who may come in (``admission``) and what a WebSocket
says (``link``).

One request per connection: every answer ends it. websockets' own server would close on a
POST, and StandIn posts call outcomes to the same port; so h11 sees every head first.
"""

from __future__ import annotations

import asyncio
import email.utils
import http
import logging
from typing import Protocol

import h11
from websockets.http11 import Request
from websockets.server import ServerProtocol

from teamscall.clock import Clock
from teamscall.server.admission import (
    Answer,
    Gate,
    OutcomeReport,
    Scrape,
    Ticket,
)
from teamscall.server.echoing import IDENTITY_HEADER
from teamscall.server.head import Head
from teamscall.server.link import server_protocol
from teamscall.server.listener import Arrival, end_writing
from teamscall.server.refusals import Refusal
from teamscall.wire.control import MAX_OUTCOME_BYTES
from teamscall.wire.events import Dialect

# A gateway's upgrade is about 1 KiB; proxies add a few headers.
MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 8 * 1024
MAX_HEADERS = 128

# After an answer the peer may still be sending; closing at once would reset the
# connection and could destroy the answer before it is read.
LINGER_S = 2.0


class Host(Protocol):
    """What an opening connection needs of the bridge."""

    gate: Gate
    clock: Clock
    log: logging.Logger
    open_timeout_s: float
    identity: str  # told to the doctor

    def max_message_bytes(self, dialect: Dialect) -> int:
        """The dialect's cap of one message."""
        ...

    def admit(
        self,
        opening: Opening,
        transport: asyncio.Transport,
        protocol: ServerProtocol,
        ticket: Ticket,
    ) -> asyncio.Protocol:
        """The upgrade was answered: what has taken the socket over."""
        ...

    def queue(self, opening: Opening) -> None:
        """``opening`` has something to look at: give it its turn."""
        ...

    def scrape(self, opening: Opening, accept: str) -> None:
        """The metrics are asked for: ``opening.give`` them, a little later."""
        ...

    def leave(self, opening: Opening) -> None:
        """The socket is gone, or no longer this object's."""
        ...


class Opening(Arrival):
    """One socket before its upgrade. ``dialects``: those of the listener it came from."""

    def __init__(self, host: Host, address: str, dialects: frozenset[Dialect]) -> None:
        self.address = address
        self._host = host
        self._dialects = dialects
        self._transport: asyncio.Transport | None = None
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._head: Head | None = None
        self._raw = bytearray()  # the head as it came: websockets parses it again
        self._unread = bytearray()
        self._queued = False
        self._scraped = False  # the answer is being made
        self._outcome: OutcomeReport | None = None
        self._body = bytearray()
        self.answered = False
        self.since = host.clock.now()
        self._deadline = self.since + host.open_timeout_s

    @property
    def _spoke(self) -> bool:
        return bool(self._raw or self._unread)

    # --- for the bridge ---------------------------------------------------------------

    def evict(self) -> None:
        """Give the socket up at once."""
        if self.handshake is not None:
            self.handshake.cancel()
        elif self._transport is not None:
            self._transport.abort()
        else:
            self._host.leave(self)

    def failed(self) -> None:
        """TLS failed, or the peer went before anything began."""
        self._host.gate.note_tls(self.address, self._host.clock.now())
        self._host.leave(self)

    def tick(self, now: float) -> None:
        """Look at the deadline; called a few times per second."""
        if now < self._deadline or self._transport is None:
            return
        if self.answered or not self._spoke:
            self._transport.abort()  # answered long ago, or a probe that never spoke
        else:
            self._refuse("open-timeout")

    def shut(self) -> None:
        """The bridge stops: what has not been answered yet is told so."""
        if self._transport is None or not self._spoke:
            self.evict()
        elif not self.answered:
            self._refuse("draining")

    def give(self, answer: Answer) -> None:
        """Answer what took a while, unless it is too late."""
        if self._transport is not None and not (self.answered or self._transport.is_closing()):
            self._answer(answer)

    # --- asyncio.Protocol -------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self.answered or self._transport is None:
            return
        self._unread += data
        if not self._queued:
            self._queued = True
            self._transport.pause_reading()  # until its turn: what is unread stays bounded
            self._host.queue(self)

    def turn(self) -> None:
        """Its turn has come: look at what was read."""
        self._queued = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        data = bytes(self._unread)
        self._unread.clear()
        try:
            if not self.answered:  # its deadline may have passed while it waited
                self._feed(data)
        except h11.RemoteProtocolError as error:
            hint = error.error_status_hint
            self._refuse("head-too-large" if hint == 431 else "malformed")
        except Exception:
            self._host.log.exception("A request failed", extra={"address": self.address})
            transport.abort()
        transport.resume_reading()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.leave(self)

    # --- HTTP -------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        if self._head is None:
            self._raw += data
        self._http.receive_data(data)
        while not self.answered:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._begin(event)
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_OUTCOME_BYTES:
                    self._refuse("body-too-large")
            elif isinstance(event, h11.EndOfMessage):
                if not self._scraped:
                    self._finish()
            else:
                return  # needs more, or the peer has begun another request

    def _begin(self, request: h11.Request) -> None:
        """The head is complete."""
        trailing = self._http.trailing_data[0]
        del self._raw[len(self._raw) - len(trailing) :]
        head = Head(
            request.method.decode("ascii"),
            request.target.decode("ascii"),
            tuple((bytes(name), bytes(value)) for name, value in request.headers),
        )
        self._head = head
        if request.http_version not in (b"1.0", b"1.1"):
            self._refuse("http-version")
            return
        if (
            len(self._raw) > MAX_HEAD_BYTES
            or len(head.headers) > MAX_HEADERS
            or len(head.target) > MAX_LINE_BYTES
            or any(len(name) + len(value) + 2 > MAX_LINE_BYTES for name, value in head.headers)
        ):
            self._refuse("head-too-large")
            return
        clock = self._host.clock
        verdict = self._host.gate.examine(
            head, self.address, self._dialects, clock.now(), clock.wall_ms()
        )
        if isinstance(verdict, Answer):
            self._answer(verdict)
        elif isinstance(verdict, Ticket):
            self._upgrade(verdict, trailing)
        elif isinstance(verdict, Scrape):
            self._scraped = True
            self._host.scrape(self, verdict.accept)
        else:
            self._outcome = verdict
            if _length(head) > MAX_OUTCOME_BYTES:
                self._refuse("body-too-large")
            elif self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))

    def _finish(self) -> None:
        """The body is complete."""
        assert self._head is not None
        assert self._outcome is not None  # everything else was answered at its head
        clock = self._host.clock
        self._answer(
            self._host.gate.report(
                self._outcome,
                self._head,
                bytes(self._body),
                self.address,
                clock.now(),
                clock.wall_ms(),
            )
        )

    def _refuse(self, reason: Refusal) -> None:
        self._answer(self._host.gate.refuse(reason, self.address, self._host.clock.now()))

    def _answer(self, answer: Answer) -> None:
        """Send ``answer`` and end the connection."""
        transport = self._transport
        assert transport is not None
        self.answered = True
        now = self._host.clock.now()
        self._deadline = now + LINGER_S
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [
                ("Date", email.utils.formatdate(usegmt=True)),
                ("Content-Type", answer.content_type),
                ("Content-Length", str(len(answer.body))),
                ("Connection", "close"),
                *answer.headers,
            ]
            self._send(
                h11.Response(
                    status_code=answer.status,
                    headers=headers,
                    reason=http.HTTPStatus(answer.status).phrase,
                )
            )
            if self._head is None or self._head.method != "HEAD":
                self._send(h11.Data(data=answer.body))
            self._send(h11.EndOfMessage())
        end_writing(transport)

    def _send(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data and self._transport is not None:
            self._transport.write(data)

    # --- WebSocket --------------------------------------------------------------------

    def _upgrade(self, ticket: Ticket, trailing: bytes) -> None:
        """Credentials are right: check the handshake, spend them, answer 101."""
        host, transport = self._host, self._transport
        assert transport is not None
        protocol = server_protocol(host.max_message_bytes(ticket.dialect))
        protocol.receive_data(bytes(self._raw))
        events = protocol.events_received()
        response = protocol.accept(events[0]) if events and type(events[0]) is Request else None
        if response is None or response.status_code != 101:
            self._refuse("bad-upgrade")
            return
        clock = host.clock
        refused = host.gate.claim(ticket, self.address, clock.now(), clock.wall_ms())
        if refused is not None:
            self._answer(refused)
            return
        self.answered = True
        if ticket.doctor:
            response.headers[IDENTITY_HEADER] = host.identity
        protocol.send_response(response)
        for data in protocol.data_to_send():
            transport.write(data)
        link = host.admit(self, transport, protocol, ticket)
        if trailing:
            link.data_received(trailing)


def _length(head: Head) -> int:
    # h11 has refused whatever is not one decimal number.
    return int(head.header("content-length") or "0")
