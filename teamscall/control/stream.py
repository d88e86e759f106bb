"""What goes on, for those who watch: a short memory, and a queue for each subscription.

Owns cursors, replay, filters and how much is kept. Memory only: nothing of it is written
anywhere. Refuses to know sockets; a subscription is asked for its next message.

Rules:

1. ``record`` never blocks, never raises and encodes nothing: it runs in the calls' own turn.
2. An event is encoded when the first subscription sends it, and once for all of them.
3. A slow subscription loses its oldest events and is told how many, by a ``gap`` event.
"""

from __future__ import annotations

import asyncio
import collections
import secrets
from collections.abc import Callable, Iterable
from typing import Any, get_args

import msgspec

from teamscall.calls.records import (
    AudioLevels,
    CallRecord,
    Heard,
    OutboundProgress,
    Said,
    TurnEnded,
)
from teamscall.clock import Clock
from teamscall.control.protocol import EVENT_METHOD, ErrorCode, Subscribe, Subscribed
from teamscall.control.refusing import refusal
from teamscall.text import harmless, kebab, printable

# Half an hour of one busy call, with every partial.
MEMORY_EVENTS = 5000
MEMORY_BYTES = 4_000_000
# For a subscription; at a busy bridge's rate some seconds.
QUEUE_EVENTS = 1000

# An estimate of what a record takes besides its words: rule 1 forbids to encode it.
_RECORD_BYTES = 600
_MAX_TEXT_CHARS = 20_000

LEVELS = kebab(AudioLevels.__name__)
NAMES: dict[type, str] = {kind: kebab(kind.__name__) for kind in get_args(CallRecord)}
_KNOWN = frozenset(NAMES.values()) | {"gap"}


class _Told:
    """One event that was told."""

    __slots__ = ("_json", "attempt", "call_id", "name", "record", "seq", "size", "wall_ms")

    def __init__(self, seq: int, record: CallRecord) -> None:
        self.seq = seq
        self.record = record
        self.name = NAMES[type(record)]
        self.call_id = record.call_id
        self.wall_ms = record.wall_ms
        self.attempt = record.attempt if isinstance(record, OutboundProgress) else ""
        self.size = _RECORD_BYTES + _chars(record)
        self._json: bytes | None = None

    @property
    def json(self) -> bytes:
        if self._json is None:
            fields = msgspec.to_builtins(self.record)
            fields.pop("type")
            head = {"event": self.name, "callId": fields.pop("call_id")}
            self._json = msgspec.json.encode(_safe(head | fields))
        return self._json


class Subscription:
    """One watcher's queue. ``message`` waits for the next one to send."""

    def __init__(self, stream: Stream, name: str, wanted: Subscribe) -> None:
        self.name = name
        self._stream = stream
        self._names = frozenset(wanted.events)
        self._ids = set(wanted.call_ids)
        self._any_call = not wanted.call_ids
        self._replay: collections.deque[_Told] = collections.deque()
        self._queue: collections.deque[_Told] = collections.deque()
        self._missed = 0
        self._gap = ""
        self._news = asyncio.Event()
        self.dropped = 0

    @property
    def levels(self) -> bool:
        """Whether it wants what costs something to measure."""
        return LEVELS in self._names

    async def message(self) -> bytes:
        """The next notification, as JSON text. Waits for it; cancel to give up."""
        while True:
            if (gap := self._take_gap()) is not None:
                return gap
            if told := self._replay or self._queue:
                one = told.popleft()
                return self._notification(one.seq, one.json)
            self._news.clear()
            await self._news.wait()

    def offer(self, told: _Told) -> None:
        """An event happened."""
        if not self._wants(told):
            return
        if len(self._queue) >= QUEUE_EVENTS:
            self._queue.popleft()
            self._missed += 1
            self.dropped += 1
        self._queue.append(told)
        self._news.set()

    def begin(self, remembered: Iterable[_Told], last: int | None, gap: str) -> None:
        """Events of before, at most ``last`` of them. ``gap``: why some may be missing."""
        self._gap = gap
        wanted = [told for told in remembered if self._wants(told)]
        self._replay.extend(wanted if last is None else wanted[-last:])

    @property
    def replayed(self) -> int:
        """How many events of before are still to be sent."""
        return len(self._replay)

    def _wants(self, told: _Told) -> bool:
        if told.name not in self._names if self._names else told.name == LEVELS:
            return False
        if self._any_call or told.call_id in self._ids:
            return True
        if told.attempt and told.attempt in self._ids:
            if told.call_id:  # from here on it has this name
                self._ids.add(told.call_id)
            return True
        return False

    def _take_gap(self) -> bytes | None:
        if not self._gap and (not self._missed or self._replay):
            return None
        missed, why = (0, self._gap) if self._gap else (self._missed, "slow")
        if self._gap:
            self._gap = ""
        else:
            self._missed = 0
        following = self._replay or self._queue
        seq = following[0].seq - 1 if following else self._stream.seq
        fields = {
            "event": "gap",
            "callId": "",
            "wallMs": self._stream.wall_ms(),
            "missed": missed,
            "why": why,
        }
        return self._notification(seq, msgspec.json.encode(fields))

    def _notification(self, seq: int, event: bytes) -> bytes:
        # Put together by hand, so that the event's own JSON is shared: nothing here needs
        # escaping.
        head = (
            f'{{"jsonrpc":"2.0","method":"{EVENT_METHOD}","params":{{"subscription":'
            f'"{self.name}","cursor":"{self._stream.boot}:{seq}","event":'
        )
        return head.encode() + event + b"}}"


class Stream:
    """See the module. ``measure`` is told whether anybody watches audio levels."""

    def __init__(
        self,
        clock: Clock,
        measure: Callable[[bool], None] | None = None,
        *,
        memory_events: int = MEMORY_EVENTS,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.boot = secrets.token_hex(4)  # a cursor of another run fits nowhere
        self.seq = 0
        self._clock = clock
        self._measure = measure or (lambda _: None)
        self._measuring = False
        self._memory: collections.deque[_Told] = collections.deque()
        self._memory_events = memory_events
        self._memory_bytes = memory_bytes
        self._bytes = 0
        self._forgotten = 0  # the newest event that is not remembered any more
        self._numbers = 0
        self._subscriptions: dict[str, Subscription] = {}

    def __len__(self) -> int:
        """Subscriptions."""
        return len(self._subscriptions)

    def wall_ms(self) -> int:
        return self._clock.wall_ms()

    def record(self, record: CallRecord) -> None:
        """Something happened. See rule 1."""
        self.seq += 1
        told = _Told(self.seq, record)
        if told.name != LEVELS:  # five a second for each call would push out all the rest
            self._memory.append(told)
            self._bytes += told.size
            while len(self._memory) > self._memory_events or self._bytes > self._memory_bytes:
                oldest = self._memory.popleft()
                self._bytes -= oldest.size
                self._forgotten = oldest.seq
        for subscription in self._subscriptions.values():
            subscription.offer(told)

    def subscribe(self, wanted: Subscribe) -> tuple[Subscription, Subscribed]:
        """A new subscription; ``end`` it.

        Raises:
            ControlError: there is no event of this name, or the cursor is none.
        """
        for name in wanted.events:
            if name not in _KNOWN:
                raise refusal(
                    ErrorCode.INVALID_PARAMS,
                    f"There is no event {printable(name, 60)!r}.",
                    hint=f"Events: {', '.join(sorted(_KNOWN))}.",
                )
        after, gap, last = self._start(wanted)
        self._numbers += 1
        subscription = Subscription(self, f"sub-{self._numbers}", wanted)
        subscription.begin((told for told in self._memory if told.seq > after), last, gap)
        self._subscriptions[subscription.name] = subscription
        self._measure_levels()
        answer = Subscribed(
            subscription=subscription.name,
            cursor=f"{self.boot}:{self.seq}",
            gap=bool(gap),
            replayed=subscription.replayed,
        )
        return subscription, answer

    def end(self, subscription: Subscription) -> None:
        """No more events for it. Idempotent."""
        self._subscriptions.pop(subscription.name, None)
        self._measure_levels()

    def _start(self, wanted: Subscribe) -> tuple[int, str, int | None]:
        """After which event it begins, why some may be missing, and how many at most."""
        if wanted.cursor:
            boot, colon, digits = wanted.cursor.partition(":")
            if not colon or not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
                raise refusal(
                    ErrorCode.INVALID_PARAMS,
                    "The cursor is none that a bridge gave.",
                    hint="Use the cursor of an event as it is.",
                )
            if boot != self.boot:
                return 0, "restarted", None
            after = int(digits)
            return after, "forgotten" if after < self._forgotten else "", None
        if wanted.replay_ms > 0:
            since = self.wall_ms() - wanted.replay_ms
            older = [told.seq for told in self._memory if told.wall_ms < since]
            return max(older, default=0), "", None
        if wanted.replay > 0:
            return 0, "", wanted.replay
        return self.seq, "", None

    def _measure_levels(self) -> None:
        wanted = any(one.levels for one in self._subscriptions.values())
        if wanted != self._measuring:
            self._measuring = wanted
            self._measure(wanted)


def _chars(record: CallRecord) -> int:
    match record:
        case Heard():
            return len(record.text)
        case Said():
            return len(record.delta)
        case TurnEnded():
            return len(record.said_text) + len(record.heard_text)
        case _:
            return 0


def _safe(value: Any) -> Any:
    """Keys in camel case, and words without anything that a terminal would obey."""
    if isinstance(value, dict):
        return {_camel(key): _safe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_safe(one) for one in value]
    return harmless(value, _MAX_TEXT_CHARS) if isinstance(value, str) else value


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
