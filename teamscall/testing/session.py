"""One realtime session, of either kind: client events in, server events out.

Owns the session's configuration, its conversation and its turns. Refuses to know sockets
(:mod:`teamscall.testing.door`) and how a response is given
(:mod:`teamscall.testing.answering`).

With the offline ear, nothing else is read while it decodes a turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from teamscall.testing import shapes, transcribing
from teamscall.testing.answering import Response, StopReason, read_aloud, reworded
from teamscall.testing.cloud import Cloud, new_id
from teamscall.testing.configuration import Kind, check_reasoning, initial, updated
from teamscall.testing.conversation import Conversation
from teamscall.testing.door import Socket, refusal
from teamscall.testing.events import audio_of, event_id_of, read_event, shown
from teamscall.testing.failures import Drop, Failure, Refuse, Report, Stall
from teamscall.testing.formats import Inward
from teamscall.testing.hearing import MIN_COMMIT_MS, InputBuffer, Started
from teamscall.testing.settings import Answer, choose
from teamscall.testing.strict import Wrong, one_of
from teamscall.testing.visits import Json

EXPIRED = "Your session hit the maximum duration of {minutes:g} minutes."


class Session:
    """Serves one socket.

    Args:
        model: of the query; a transcription session has none there.
        failure: what this socket suffers from its beginning.
    """

    def __init__(
        self, cloud: Cloud, socket: Socket, kind: Kind, model: str, failure: Failure | None
    ) -> None:
        self._cloud = cloud
        self._socket = socket
        self._kind = kind
        self._failure = failure
        expires_at = cloud.clock.wall_ms() // 1000 + int(cloud.settings.session_s)
        self._session = initial(kind, model, expires_at)
        self._conversation = Conversation()
        self._inward = Inward(self._input["format"])
        self._buffer = InputBuffer()
        self._buffer.detect(self._input["turn_detection"])
        self._transcribing = transcribing.Transcribing(cloud, socket)
        self._turn_item = new_id("item")  # of the audio that is being appended
        self._active: Response | None = None  # of the conversation
        self._quiet_from_ms: int | None = None  # since an answer was played, without speech
        self._answers: dict[str, Response] = {}  # by their item
        self._spoken = False  # the voice is frozen then
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._handlers = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._create_item,
            "conversation.item.retrieve": self._retrieve_item,
            "conversation.item.delete": self._delete_item,
            "conversation.item.truncate": self._truncate_item,
            "response.create": self._create_response,
            "response.cancel": self._cancel_response,
        }

    async def run(self) -> None:
        """Serve until either side closes."""
        async with self._tasks:
            self._spawn(self._expire())
            try:
                await self._serve()
            finally:
                for task in self._running:
                    task.cancel()

    async def expire(self) -> None:
        """The session has lasted too long: say so and close, as the real one does."""
        message = EXPIRED.format(minutes=self._cloud.settings.session_s / 60)
        error = Wrong(message, code="session_expired").body()
        await self._socket.send("error", error=error)
        await self._socket.close(1001, message)

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket now; 1006 resets it."""
        await self._socket.close(code, reason)

    async def _expire(self) -> None:
        await asyncio.sleep(self._cloud.settings.session_s)
        await self.expire()

    async def _serve(self) -> None:
        await self._socket.send("session.created", session=self._session)
        self._socket.muted = isinstance(self._failure, Stall)
        if isinstance(self._failure, Drop):
            await self._socket.close(self._failure.code, self._failure.reason)
        async for message in self._socket.messages():
            try:
                await self._take(message)
            except Wrong as wrong:
                error = {**wrong.body(), "event_id": event_id_of(message)}
                await self._socket.send("error", error=error)

    async def _take(self, message: str | bytes) -> None:
        event = read_event(message)
        self._socket.visit.events.append(shown(event, self._cloud.clock.now()))
        type_ = event["type"]
        known = self._handlers if self._kind == "realtime" else shapes.TRANSCRIPTION_EVENTS
        one_of(*sorted(known))(type_, "type")
        shapes.CLIENT_EVENTS[type_](event, "")
        await self._handlers[type_](event)

    # --- the session ----------------------------------------------------------------------

    @property
    def _input(self) -> Json:
        found: Json = self._session["audio"]["input"]
        return found

    @property
    def _model(self) -> str:
        """Of the transcripts; "" without."""
        return str((self._input["transcription"] or {}).get("model", ""))

    async def _update(self, event: Json) -> None:
        before, format_ = self._input["turn_detection"], self._input["format"]
        self._session = updated(
            self._cloud, self._kind, self._session, event["session"], spoken=self._spoken
        )
        if self._input["turn_detection"] != before:
            self._buffer.detect(self._input["turn_detection"])
        if self._input["format"] != format_:
            self._inward = Inward(self._input["format"])
        muted, self._socket.muted = self._socket.muted, False
        await self._socket.send("session.updated", session=self._session)
        self._socket.muted = muted

    # --- hearing --------------------------------------------------------------------------

    async def _append(self, event: Json) -> None:
        await self._listen(self._inward.push(audio_of(event)))

    async def _listen(self, pcm: bytes) -> None:
        for found in self._buffer.append(pcm):
            if isinstance(found, Started):
                self._quiet_from_ms = None
                await self._socket.send(
                    "input_audio_buffer.speech_started",
                    audio_start_ms=found.ms,
                    item_id=self._turn_item,
                )
                if self._kind == "realtime" and self._detection("interrupt_response"):
                    self._stop_active("turn_detected")
                continue
            await self._socket.send(
                "input_audio_buffer.speech_stopped",
                audio_end_ms=found.ms,
                item_id=self._turn_item,
            )
            answer = self._kind == "realtime" and self._detection("create_response")
            await self._turn(found.pcm, found.voiced_ms)
            if answer:
                self._respond({})
        await self._transcribing.early(self._model, self._turn_item, self._buffer.voiced_ms)
        await self._prompt_the_silent()

    async def _prompt_the_silent(self) -> None:
        """Answer silence that lasts too long; it is measured in audio, as it is told."""
        limit = (self._input["turn_detection"] or {}).get("idle_timeout_ms")
        now, since = self._buffer.position_ms, self._quiet_from_ms
        if limit is None or since is None or now - since < limit:
            return
        self._quiet_from_ms = None
        await self._socket.send(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=since,
            audio_end_ms=now,
            item_id=self._turn_item,
        )
        await self._turn(self._buffer.commit(), 0)
        self._respond({})

    async def _give(self, response: Response) -> None:
        """Give an answer of the conversation; silence counts from when it has been played."""
        self._quiet_from_ms = None
        begun_ms = self._buffer.position_ms
        await response.run(self._conversation)
        if response is self._active and not self._buffer.speaking:
            played_ms = begun_ms + int(response.audio_ms)
            self._quiet_from_ms = max(self._buffer.position_ms, played_ms)

    def _detection(self, name: str) -> bool:
        return bool((self._input["turn_detection"] or {}).get(name, True))

    async def _commit(self, event: Json) -> None:
        await self._listen(self._inward.flush())
        held = self._buffer.held_ms
        if held < MIN_COMMIT_MS:
            raise Wrong(
                "Error committing input audio buffer: buffer too small. Expected at least "
                f"{MIN_COMMIT_MS}ms of audio, but buffer only has {held:.2f}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        voiced = self._buffer.voiced_ms
        await self._turn(self._buffer.commit(), voiced)

    async def _clear(self, event: Json) -> None:
        self._buffer.clear()
        self._transcribing.forget()
        await self._socket.send("input_audio_buffer.cleared")

    async def _turn(self, pcm: bytes, voiced_ms: int) -> None:
        """The caller's turn is complete: it becomes an item, and is transcribed."""
        item_id, self._turn_item = self._turn_item, new_id("item")
        part: Json = {"type": "input_audio", "transcript": None}
        item: Json = {
            "id": item_id,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [part],
        }
        before = self._conversation.add(item)
        place = {"item_id": item_id, "previous_item_id": before}
        await self._socket.send("input_audio_buffer.committed", **place)
        for type_ in ("conversation.item.added", "conversation.item.done"):
            await self._socket.send(type_, item=item, previous_item_id=before)
        early = self._transcribing.forget()
        text = await self._transcribing.understand(pcm, voiced_ms)
        self._conversation.hear(item_id, text)
        if self._input["transcription"] is not None:
            failure = self._cloud.plan.take("hear", "answer")
            self._spawn(self._transcribing.tell(self._model, item, text, pcm, early, failure))

    # --- the conversation -------------------------------------------------------------------

    async def _create_item(self, event: Json) -> None:
        item: Json = {"object": "realtime.item", "status": "completed", **event["item"]}
        item.setdefault("id", new_id("item"))
        if item["type"] == "function_call":
            item.setdefault("call_id", new_id("call"))
        elif item["type"] == "item_reference":
            raise Wrong("An item reference is not an item.", code="invalid_value", param="item")
        before = self._conversation.add(item, event.get("previous_item_id"))
        for type_ in ("conversation.item.added", "conversation.item.done"):
            await self._socket.send(type_, item=item, previous_item_id=before)

    async def _retrieve_item(self, event: Json) -> None:
        item = self._conversation.get(event["item_id"])
        await self._socket.send("conversation.item.retrieved", item=item)

    async def _delete_item(self, event: Json) -> None:
        self._conversation.delete(event["item_id"])
        await self._socket.send("conversation.item.deleted", item_id=event["item_id"])

    async def _truncate_item(self, event: Json) -> None:
        item_id, end_ms = event["item_id"], event["audio_end_ms"]
        answer = self._answers.get(item_id)
        length = answer.audio_ms if answer else 0.0
        self._conversation.truncate(item_id, event["content_index"], end_ms, length)
        if answer is not None:
            answer.truncate(end_ms)
        await self._socket.send(
            "conversation.item.truncated",
            item_id=item_id,
            content_index=event["content_index"],
            audio_end_ms=end_ms,
        )

    # --- responses --------------------------------------------------------------------------

    async def _create_response(self, event: Json) -> None:
        wanted = event.get("response") or {}
        check_reasoning(self._session["model"], wanted, "response")
        self._respond(wanted)

    async def _cancel_response(self, event: Json) -> None:
        wanted = event.get("response_id")
        found = [
            answer
            for answer in self._answers.values()
            if answer.running and (answer.id == wanted or (not wanted and answer.in_band))
        ]
        if not found:
            raise Wrong(
                "Cancellation failed: no active response found",
                code="response_cancel_not_active",
            )
        for answer in found:
            answer.stop("client_cancelled")

    def _respond(self, wanted: Json) -> None:
        """Begin a response: of the conversation, or beside it."""
        in_band = wanted.get("conversation", "auto") == "auto"
        if in_band and self._active is not None and self._active.running:
            raise Wrong(
                "Conversation already has an active response in progress: "
                f"{self._active.id}. Wait until the response is finished before creating a new "
                "one.",
                code="conversation_already_has_active_response",
            )
        settings = self._cloud.settings
        text = self._to_read(wanted)
        if text is None:
            answer = self._choose(wanted)
        else:
            answer = Answer(say=reworded(text, settings.reword))
        output = self._session["audio"]["output"] | wanted.get("audio", {}).get("output", {})
        modality = (wanted.get("output_modalities") or self._session["output_modalities"])[0]
        reading = text is not None and not in_band
        failure = self._failure_of(reading)
        wait_ms = settings.speak_first_byte_ms + (0 if reading else settings.think_ms)
        response = Response(
            self._cloud,
            self._socket,
            answer,
            about={
                "conversation_id": "conv_stand_in" if in_band else None,
                "output_modalities": [modality],
                "audio": {"output": {"format": output["format"], "voice": output["voice"]}},
                "max_output_tokens": wanted.get("max_output_tokens", "inf"),
                "metadata": wanted.get("metadata"),
            },
            modality=modality,
            in_band=in_band,
            wait_s=wait_ms / 1000,
            speed=self._session["audio"]["output"]["speed"],
            failure=failure,
        )
        if in_band:
            self._active = response
        self._spoken = self._spoken or modality == "audio"
        self._answers[response.item["id"]] = response
        self._spawn(self._give(response) if in_band else response.run(self._conversation))

    def _to_read(self, wanted: Json) -> str | None:
        """The text that this response is to read out, if it is."""
        default = self._session["instructions"] if wanted.get("input") else ""
        instructions: str = wanted.get("instructions") or default
        text = read_aloud(instructions)
        return self._conversation.question(wanted.get("input"))[0] if text == "" else text

    def _failure_of(self, reading: bool) -> Failure | None:
        if not reading:
            return self._cloud.plan.take("session", "answer")
        failure = self._cloud.plan.take("speak")
        if not isinstance(failure, Refuse):
            return failure
        wrong = refusal(failure)
        return Report(code=wrong.code or wrong.type, message=wrong.message)

    def _choose(self, wanted: Json) -> Answer:
        heard, result = self._conversation.question(wanted.get("input"))
        answer = choose(self._cloud.settings.script, heard, result)
        tools: list[Json] = wanted["tools"] if "tools" in wanted else self._session["tools"]
        if answer.tool and answer.tool not in [tool.get("name") for tool in tools]:
            return Answer(say=f"I would call {answer.tool}, but was not given it.")
        return answer

    def _stop_active(self, reason: StopReason) -> None:
        if self._active is not None:
            self._active.stop(reason)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
