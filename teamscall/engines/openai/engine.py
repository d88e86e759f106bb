"""The OpenAI engine: a cascade per call over three endpoints that speak OpenAI's API.

Owns what the calls share (HTTP clients, the phrase cache) and how a session is put
together. Refuses to know the configuration's shape: it takes plain values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from teamscall.config.models import Model
from teamscall.engines.base import CallBrief, Emit, EngineEvent, Phrase, TurnTaking
from teamscall.engines.cascade import CascadeSession, Deadlines
from teamscall.engines.openai import messages
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.mouth import SpeechMouth, Voice
from teamscall.engines.openai.reading import SPEEDS, ReadingMouth
from teamscall.engines.openai.socket import Purpose, Socket
from teamscall.engines.parts import Ear, Mind, Mouth
from teamscall.engines.phrases import Phrases
from teamscall.errors import EngineError

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger("teamscall.engines.openai")

# The port opens after this at the latest, whatever the network does.
PREPARE_S = 8.0
SPEAK_TIMEOUT_S = 15.0  # between bytes; the cascade's own deadlines are shorter
# How long a call goes on without one of its sockets before that part of it has failed: a
# call's start waits 10 s for its engine (``calls.settings``).
PATIENCE_S = 9.0


class Hearing(msgspec.Struct, frozen=True):
    """Where and how is heard. ``language``: ISO 639-1, "" for any."""

    endpoint: Endpoint
    model: Model
    language: str = ""


class Thinking(msgspec.Struct, frozen=True):
    """Where and how is thought. ``system_prompt``: "" takes the mind's own."""

    endpoint: Endpoint
    model: Model
    system_prompt: str = ""
    timeout_s: float = 30.0


class OtherMind(msgspec.Struct, frozen=True):
    """A mind that is not OpenAI's: what opens it, and its name for the banner."""

    open: Callable[[CallBrief], Mind]
    name: str


class Speaking(msgspec.Struct, frozen=True):
    """Where and how is spoken."""

    endpoint: Endpoint
    voice: Voice


class OpenAIEngine:
    """An :class:`teamscall.engines.base.Engine` that hears, thinks and speaks in turn."""

    def __init__(
        self,
        hearing: Hearing,
        thinking: Thinking | OtherMind,
        speaking: Speaking,
        *,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._hearing = hearing
        self._thinking = thinking
        self._speaking = speaking
        self._deadlines = deadlines
        self._think_client: AsyncOpenAI | None = None
        self._speak_client: AsyncOpenAI | None = None
        self._mouth: Mouth | None = None  # the calls' one, or the phrases' one
        self._phrases = Phrases(self._any_mouth)

    @property
    def name(self) -> str:
        return "openai"

    @property
    def turn_taking(self) -> TurnTaking:
        return "local"

    def describe(self) -> str:
        thinking = self._thinking
        mind = thinking.model.name if isinstance(thinking, Thinking) else thinking.name
        voice = self._speaking.voice
        at = self._hearing.endpoint
        where = "" if at.host == "api.openai.com" else f" at {at.host}"
        return (
            f"openai{where}: hears with {self._hearing.model.name}; thinks with {mind}; "
            f"speaks with {voice.model.name} ({voice.voice})"
        )

    async def start(self) -> None:
        """Import what a call needs and build the HTTP clients; the network is not asked,
        so a bridge starts (and says so) while the vendor is down."""
        from teamscall.engines.minds import chat
        from teamscall.engines.openai import ear

        _ = ear
        for endpoint in self._endpoints():
            if endpoint.host == "api.openai.com" and not endpoint.key:
                raise EngineError(
                    "there is no OpenAI key",
                    hint=f"Set OPENAI_API_KEY or {endpoint.key_setting}.",
                )
        chat.load()
        if isinstance(self._thinking, Thinking):
            self._think_client = self._thinking.endpoint.client(self._thinking.timeout_s)
            _ = self._think_client.chat.completions
        if not self._speaking.voice.model.over_realtime:
            self._speak_client = self._speaking.endpoint.client(SPEAK_TIMEOUT_S)
            _ = self._speak_client.audio.speech.with_streaming_response
            self._mouth = SpeechMouth(
                self._speak_client, self._speaking.endpoint, self._speaking.voice
            )

    async def stop(self) -> None:
        clients = (self._think_client, self._speak_client)
        self._think_client = self._speak_client = self._mouth = None
        for client in clients:
            if client is not None:
                await client.close()

    def open(self, call: CallBrief, emit: Emit) -> CascadeSession:
        if self._speaking.voice.model.over_realtime:
            reader = self._reader(emit)
            return _ReadingSession(
                reader,
                call,
                emit,
                open_ear=self._open_ear,
                mind=self._open_mind(call),
                mouth=reader,
                phrase=self.phrase,
                deadlines=self._deadlines,
            )
        return CascadeSession(
            call,
            emit,
            open_ear=self._open_ear,
            mind=self._open_mind(call),
            mouth=self._any_mouth(),
            phrase=self.phrase,
            deadlines=self._deadlines,
        )

    def warm(self) -> None:
        """Sockets are opened with the session."""

    async def prepare(self, texts: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(PREPARE_S), asyncio.TaskGroup() as group:
                if not self._speaking.voice.model.over_realtime:
                    for text in texts:
                        group.create_task(self._phrases.prepare([text]))
                    return
                reader = self._reader(_ignore)
                self._mouth = reader
                session = group.create_task(reader.run(), name="phrases' session")
                await self._phrases.prepare(texts)
                session.cancel()
        except TimeoutError:
            log.warning("Fixed phrases not synthesised in time", extra={"seconds": PREPARE_S})

    def phrase(self, text: str) -> Phrase | None:
        return self._phrases.get(text)

    # --- parts -----------------------------------------------------------------------------

    def _endpoints(self) -> list[Endpoint]:
        thinking = self._thinking
        return [
            self._hearing.endpoint,
            *([thinking.endpoint] if isinstance(thinking, Thinking) else []),
            self._speaking.endpoint,
        ]

    def _any_mouth(self) -> Mouth:
        if self._mouth is None:
            raise EngineError("the engine is not started", stage="speak")
        return self._mouth

    def _open_ear(self, emit: Emit) -> Ear:
        from teamscall.audio.vad import VoiceActivity
        from teamscall.engines.openai.ear import OpenAIEar

        hearing = self._hearing
        session = messages.transcription_session(
            hearing.model.name,
            language=hearing.language,
            language_list=hearing.model.language_list,
        )
        purpose = Purpose("hear", "the recogniser", hearing.model.name, "streaming.stt_model")
        at = hearing.endpoint
        # Old Azure routes carry the deployment in the address; all others only the intent.
        url = at.realtime_url(hearing.model.name if at.is_old_azure else "")
        return OpenAIEar(
            _opener(at, url, session, purpose),
            emit,
            is_speech=VoiceActivity().is_speech,
            model=hearing.model.name,
        )

    def _open_mind(self, call: CallBrief) -> Mind:
        from teamscall.engines.minds.chat import ChatMind

        thinking = self._thinking
        if isinstance(thinking, OtherMind):
            return thinking.open(call)
        return ChatMind(
            model=thinking.model.name,
            system_prompt=thinking.system_prompt,
            client=self._think_client,
            setting=thinking.endpoint.setting,
            explain=lambda status: thinking.endpoint.refusal(
                status, thinking.model.name, "response_model"
            ),
        )

    def _reader(self, emit: Emit) -> ReadingMouth:
        at, voice = self._speaking.endpoint, self._speaking.voice
        slowest, fastest = SPEEDS
        session = messages.reading_session(
            voice.voice, min(max(voice.speed, slowest), fastest), voice.instructions
        )
        purpose = Purpose("speak", "the voice", voice.model.name, "tts.model")
        url = at.realtime_url(voice.model.name)
        return ReadingMouth(_opener(at, url, session, purpose), voice, emit)


class _ReadingSession(CascadeSession):
    """A cascade whose mouth has a session of its own, up for as long as the call is."""

    def __init__(
        self,
        reader: ReadingMouth,
        call: CallBrief,
        emit: Emit,
        *,
        open_ear: Callable[[Emit], Ear],
        mind: Mind,
        mouth: Mouth,
        phrase: Callable[[str], Phrase | None],
        deadlines: Deadlines | None,
    ) -> None:
        super().__init__(
            call,
            emit,
            open_ear=open_ear,
            mind=mind,
            mouth=mouth,
            phrase=phrase,
            deadlines=deadlines,
        )
        self._reader = reader

    async def run(self) -> None:
        failure: EngineError | None = None
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._reader.run(), name="voice session")
            try:
                await super().run()
            except EngineError as error:
                failure = error
            finally:
                reading.cancel()
        if failure is not None:
            raise failure


def _opener(
    endpoint: Endpoint, url: str, session: object, purpose: Purpose
) -> Callable[[Callable[[], None], Callable[[ServerEvent], None], Callable[[str], None]], Socket]:
    """What makes a part's socket, given the part's callbacks."""
    update = messages.session_update(session)

    def open_socket(
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None],
    ) -> Socket:
        return Socket(
            endpoint,
            url,
            update,
            purpose,
            opened=opened,
            received=received,
            lost=lost,
            patience_s=PATIENCE_S,
        )

    return open_socket


def _ignore(event: EngineEvent) -> None:
    """Phrases are prepared before there is a call to tell."""
