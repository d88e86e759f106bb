"""One Live session: full duplex, without turns in its protocol.

Owns the session's configuration, what it hears and when it speaks. The model's own turn
taking is played by voice activity detection: what was said is answered after a pause, and
speech over an answer ends it. Refuses to know sockets (:mod:`teamscall.testing.door`) and
the backend that tasks are delegated to (:mod:`teamscall.testing.delegating`).

What the SDK leaves open is guessed at the strict side: nothing is said before
``session.started``, nothing after ``session.closed``.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Coroutine
from typing import Any, Literal

from teamscall.testing import formats, live_shapes
from teamscall.testing.answering import reworded
from teamscall.testing.cloud import Cloud, new_id
from teamscall.testing.delegating import Backend
from teamscall.testing.door import Socket, refusal
from teamscall.testing.events import audio_of, event_id_of, read_event, shown
from teamscall.testing.failures import Drop, Empty, Failure, Refuse, Report, Stall, spare
from teamscall.testing.hearing import InputBuffer, Started, Stopped
from teamscall.testing.settings import choose
from teamscall.testing.strict import Wrong, one_of
from teamscall.testing.thinking import tokens
from teamscall.testing.transcribing import Transcribing
from teamscall.testing.visits import Json
from teamscall.testing.voice import BYTES_PER_MS

CloseReason = Literal["close_requested", "expired", "content", "remote_hangup", "connection_lost"]

_DEFAULT_FORMAT: Json = {"type": "audio/pcm", "rate": 24_000}
_PAUSE: Json = {"type": "server_vad", "silence_duration_ms": 500}
_CLOSE_REASONS: dict[str, CloseReason] = {
    "content": "content",
    "remote_hangup": "remote_hangup",
    "connection_lost": "connection_lost",
}


class LiveSession:
    """Serves one socket.

    Args:
        failure: what this socket suffers from its beginning.
    """

    def __init__(self, cloud: Cloud, socket: Socket, failure: Failure | None) -> None:
        self._cloud = cloud
        self._socket = socket
        self._failure = failure
        self._session: Json = {}  # empty until it was started
        self._started_at = 0.0
        self._inward = formats.Inward(_DEFAULT_FORMAT)
        self._buffer = InputBuffer()
        self._buffer.detect(_PAUSE)
        self._hearing = Transcribing(cloud, socket)
        self._muted = False
        self._heard_bytes = 0  # at 24 kHz
        self._backend = Backend(cloud)
        self._client_tasks: set[str] = set()  # delegations that the client works on
        self._mouth = asyncio.Lock()  # one thing is said at a time
        self._speaking: set[asyncio.Event] = set()  # what is said, or will be: set to stop it
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._handlers = {
            "session.start": self._start,
            "session.update": self._update,
            "session.close": self._close_asked,
            "session.input_audio.append": self._append_audio,
            "session.input_audio.mute": self._mute,
            "session.input_audio.unmute": self._mute,
            "session.instructions.append": self._append_context,
            "session.thinking.append": self._append_context,
            "session.commentary.append": self._append_context,
            "response.item.create": self._create_item,
            "response.create": self._create_response,
        }

    async def run(self) -> None:
        """Serve until either side closes."""
        async with self._tasks:
            try:
                await self._serve()
            finally:
                for task in self._running:
                    task.cancel()

    async def expire(self) -> None:
        """The session has lasted too long: say so and close, as the real one does."""
        await self._end("expired", 1000)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket now; 1006 resets it."""
        await self._socket.close(code, reason)

    async def _serve(self) -> None:
        if isinstance(self._failure, Drop):
            await self._socket.close(self._failure.code, self._failure.reason)
        async for message in self._socket.messages():
            try:
                await self._take(message)
            except Wrong as wrong:
                await self._error(wrong, event_id_of(message))

    async def _take(self, message: str | bytes) -> None:
        event = read_event(message)
        self._socket.visit.events.append(shown(event, self._cloud.clock.now()))
        type_ = event["type"]
        one_of(*sorted(self._handlers))(type_, "type")
        live_shapes.CLIENT_EVENTS[type_](event, "")
        if (type_ == "session.start") == bool(self._session):
            raise Wrong(
                "The session has been started already."
                if self._session
                else "The first event must be session.start.",
                code="session_already_started" if self._session else "session_not_started",
                param="type",
            )
        await self._handlers[type_](event)

    # --- the session ----------------------------------------------------------------------

    async def _start(self, event: Json) -> None:
        wanted = event["session"]
        self._cloud.check_model(wanted["model"], "live", "/v1/live/sessions")
        self._backend.configure(wanted.get("delegation"))
        settings, clock = self._cloud.settings, self._cloud.clock
        audio = {"format": _DEFAULT_FORMAT, **wanted.get("audio", {})}
        audio["output"] = {"voice": "marin", **audio.get("output", {})}
        self._session = {
            **copy.deepcopy(wanted),
            "id": new_id("live"),
            "status": "active",
            "expires_at": clock.wall_ms() // 1000 + int(settings.session_s),
            "audio": audio,
        }
        self._inward = formats.Inward(audio["format"])
        self._started_at = clock.now()
        await self._socket.send("session.started", session=self._session, **_answers(event))
        self._socket.muted = isinstance(self._failure, Stall)
        self._spawn(self._expire())
        if settings.live_silence:
            self._spawn(self._be_silent())

    async def _update(self, event: Json) -> None:
        delegation = event["session"].get("delegation")
        if delegation is not None:
            self._backend.update(delegation)
            now = self._session.get("delegation") or {}
            backend = {**now.get("responses", {}), **delegation.get("responses", {})}
            extra = {"responses": backend} if backend else {}
            self._session["delegation"] = {**now, **delegation, **extra}
        await self._socket.send("session.updated", session=self._session, **_answers(event))

    async def _close_asked(self, event: Json) -> None:
        await self._end("close_requested", 1000, **_answers(event))

    async def _end(self, reason: CloseReason, code: int, **fields: object) -> None:
        if self._session:
            self._stop_speaking()
            about = {"session": self._session, "usage": self._usage, **fields}
            await self._socket.send("session.closed", reason=reason, **about)
        await self._socket.close(code, reason)

    async def _expire(self) -> None:
        await asyncio.sleep(self._cloud.settings.session_s)
        await self.expire()

    @property
    def _usage(self) -> Json:
        return {"seconds": round(self._heard_bytes / BYTES_PER_MS / 1000, 3)}

    @property
    def _now_ms(self) -> int:
        """On the session's timeline."""
        return int((self._cloud.clock.now() - self._started_at) * 1000)

    async def _error(self, wrong: Wrong, event_id: str | None = None) -> None:
        error = {**wrong.body(), "code": wrong.code or wrong.type, "client_event_id": event_id}
        await self._socket.send("error", error=error)

    # --- hearing --------------------------------------------------------------------------

    async def _append_audio(self, event: Json) -> None:
        pcm = self._inward.push(audio_of(event))
        self._heard_bytes += len(pcm)
        for found in self._buffer.append(bytes(len(pcm)) if self._muted else pcm):
            if isinstance(found, Started):
                self._stop_speaking()
            else:
                await self._hear(found)

    async def _mute(self, event: Json) -> None:
        self._muted = event["type"].endswith(".mute")
        done = "session.input_audio.muted" if self._muted else "session.input_audio.unmuted"
        await self._socket.send(done, **_answers(event))

    async def _hear(self, turn: Stopped) -> None:
        text = await self._hearing.understand(turn.pcm, turn.voiced_ms)
        self._spawn(self._transcribe(text, turn))
        if not text:
            return
        settings = self._cloud.settings
        wait_s = (settings.think_ms + settings.speak_first_byte_ms) / 1000
        answer = choose(settings.script, text, None)
        failure = self._cloud.plan.take("session", "answer")
        if not answer.tool:
            self._speak(answer.say, wait_s, failure)
        elif self._backend.target == "client":
            self._spawn(self._delegate_to_client(wait_s))
        else:
            self._spawn(self._delegate(text, wait_s, failure))

    async def _transcribe(self, text: str, turn: Stopped) -> None:
        """Send the fragments of what the caller said, when it is time."""
        failure = self._cloud.plan.take("hear", "answer")
        await asyncio.sleep(self._cloud.settings.hear_ms / 1000)
        words = [] if isinstance(failure, Empty) else tokens(text)
        begin, length = turn.ms - len(turn.pcm) // BYTES_PER_MS, len(turn.pcm) // BYTES_PER_MS
        for index, word in enumerate(words[: spare(len(words), failure)]):
            await self._socket.send(
                "session.input_transcript.delta",
                delta=word,
                start_ms=begin + length * index // len(words),
                end_ms=begin + length * (index + 1) // len(words),
            )
        await self._fail(failure)

    # --- speaking -------------------------------------------------------------------------

    def _stop_speaking(self) -> None:
        for stop in self._speaking:
            stop.set()

    def _speak(self, text: str, wait_s: float, failure: Failure | None) -> None:
        """Say ``text`` after ``wait_s`` and after what is being said, unless interrupted."""
        stop = asyncio.Event()
        self._speaking.add(stop)
        self._spawn(self._say(text, wait_s, failure, stop))

    async def _say(
        self, text: str, wait_s: float, failure: Failure | None, stop: asyncio.Event
    ) -> None:
        try:
            async with self._mouth:
                text = "" if isinstance(failure, Empty) else text
                asked = self._cloud.clock.now()
                # Made while the first byte is waited for: it adds nothing to the wait.
                pcm = await self._cloud.voice.speak(text) if text else b""
                if await _waited(wait_s - self._cloud.clock.now() + asked, stop):
                    await self._voice(text, pcm, failure, stop)
        finally:
            self._speaking.discard(stop)

    async def _voice(
        self, text: str, pcm: bytes, failure: Failure | None, stop: asyncio.Event
    ) -> None:
        settings, format_ = self._cloud.settings, self._session["audio"]["format"]
        audio, per_ms = formats.outward(pcm, format_), formats.bytes_per_ms(format_)
        size = settings.delta_ms * per_ms
        chunks = [audio[at : at + size] for at in range(0, len(audio), size)]
        words, said = tokens(text), 0
        begun, begun_ms = self._cloud.clock.now(), self._now_ms
        for index, chunk in enumerate(chunks[: spare(len(chunks), failure)]):
            at_ms = index * settings.delta_ms
            due = begun + at_ms / 1000 / settings.speak_speed if settings.speak_speed else 0.0
            if not await _waited(due - self._cloud.clock.now(), stop):
                break
            until = -(-len(words) * (index + 1) // len(chunks))
            if until > said:
                await self._socket.send(
                    "session.output_transcript.delta",
                    delta="".join(words[said:until]),
                    start_ms=begun_ms + at_ms,
                    end_ms=begun_ms + at_ms + len(chunk) // per_ms,
                )
                said = until
            delta = base64.b64encode(chunk).decode()
            await self._socket.send("session.output_audio.delta", delta=delta)
        await self._socket.send(
            "session.usage.updated", usage=self._usage, context_window={"usage_ratio": 0.01}
        )
        await self._fail(failure)

    async def _be_silent(self) -> None:
        """Between answers, output goes on: silence, in real time."""
        format_ = self._session["audio"]["format"]
        if format_["type"] != "audio/pcm":
            return
        delta_ms = self._cloud.settings.delta_ms
        delta = base64.b64encode(bytes(delta_ms * formats.bytes_per_ms(format_))).decode()
        while True:
            await asyncio.sleep(delta_ms / 1000)
            if not self._mouth.locked():
                await self._socket.send("session.output_audio.delta", delta=delta)

    async def _fail(self, failure: Failure | None) -> None:
        """What is left of a failure once the words before it have come."""
        match failure:
            case Drop(code=code, reason=reason):
                if reason in _CLOSE_REASONS:
                    await self._end(_CLOSE_REASONS[reason], code)
                await self._socket.close(code, reason)
            case Report(code=code, message=message):
                await self._error(Wrong(message, code=code, type_="server_error"))

    # --- context and delegation -------------------------------------------------------------

    async def _append_context(self, event: Json) -> None:
        task = event["delegation_id"]
        if task is not None and task not in self._client_tasks:
            raise Wrong("No such client delegation.", code="invalid_value", param="delegation_id")
        now = {"start_ms": self._now_ms, "end_ms": self._now_ms}
        await self._socket.send(f"{event['type']}ed", **now, **_answers(event))
        if event["type"] == "session.commentary.append":
            settings = self._cloud.settings
            failure = self._cloud.plan.take("speak")
            if isinstance(failure, Refuse):
                wrong = refusal(failure)
                failure = Report(code=wrong.code or wrong.type, message=wrong.message)
            said = reworded(event["content"], settings.reword)
            self._speak(said, settings.speak_first_byte_ms / 1000, failure)

    async def _delegate_to_client(self, wait_s: float) -> None:
        await asyncio.sleep(wait_s)
        task = new_id("deleg")
        self._client_tasks.add(task)
        about = {"id": task, "type": "delegation", "target": "client"}
        at = self._now_ms
        await self._socket.send("session.delegation.created", delegation=about, offset_ms=at)

    async def _delegate(self, heard: str, wait_s: float, failure: Failure | None) -> None:
        await asyncio.sleep(wait_s)
        task = self._backend.delegate(heard)
        about = {"type": "delegation", "target": "responses"}
        about |= {"id": task.id, "response_id": task.response_id}
        at = self._now_ms
        await self._socket.send("session.delegation.created", delegation=about, offset_ms=at)
        await self._work(failure)

    async def _create_item(self, event: Json) -> None:
        self._backend.add(event["item"])

    async def _create_response(self, event: Json) -> None:
        self._backend.proceed()
        self._spawn(self._work(None))

    async def _work(self, failure: Failure | None) -> None:
        """Show what the backend does, and say what came of it."""
        task, events, said = self._backend.work()
        for event in events:
            await self._socket.send("response.event", delegation_id=task.id, event=event)
        if said:
            self._speak(said, self._cloud.settings.speak_first_byte_ms / 1000, failure)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _answers(event: Json) -> Json:
    """Which of the client's events an acknowledgement is for."""
    return {"client_event_id": event["event_id"]} if "event_id" in event else {}


async def _waited(seconds: float, stop: asyncio.Event) -> bool:
    """Wait; False as soon as ``stop`` is set."""
    if seconds <= 0:
        await asyncio.sleep(0)  # the reader has its turn
        return not stop.is_set()
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return True
    return False
