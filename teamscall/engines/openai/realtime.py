"""Realtime mode: one OpenAI session per call that hears, thinks and speaks.

Owns what the calls share (the session's configuration, the phrase cache, a session opened
ahead of need) and how a call's session is put together. Refuses to know the
configuration's shape: it takes plain values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from teamscall.config.models import Model
from teamscall.engines.base import CallBrief, Emit, EngineSession, Phrase, TurnTaking
from teamscall.engines.home import Home
from teamscall.engines.openai import messages
from teamscall.engines.openai.dialling import Dialler
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import Detection, ServerEvent
from teamscall.engines.openai.realtime_line import Link, OpenSocket
from teamscall.engines.openai.realtime_waits import THOUGHTFUL, Waits
from teamscall.engines.openai.socket import Purpose, Socket
from teamscall.engines.openai.warm import WarmSessions
from teamscall.engines.parts import Mouth
from teamscall.engines.phrases import Phrases
from teamscall.engines.tools import NoTools, Tools
from teamscall.errors import EngineError

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

log = logging.getLogger("teamscall.engines.openai")

PREPARE_S = 8.0  # the port opens after this at the latest, whatever the network does
PATIENCE_S = 9.0  # as long as a call's start waits for its engine (``calls.settings``)


class Talking(msgspec.Struct, frozen=True):
    """How the session hears, thinks and speaks.

    Attributes:
        voice, speed: 0.25 to 1.5 times the voice's own.
        instructions: the system prompt; "" for the service's own.
        detection: who hears where a sentence ends.
        noise_reduction: "off", "near_field" or "far_field".
        transcriber: transcribes callers for the record; None: nobody does. With turn
            detection by the service it must have voice activity detection of its own.
        language: that callers speak, for the transcriber; "" for any.
        reasoning: its effort; "" or "default" for the model's own.
        renew_after_s: how old a session may be before it is renewed in a pause.
    """

    voice: str = "marin"
    speed: float = 1.0
    instructions: str = ""
    detection: Detection = Detection()
    noise_reduction: str = "off"
    transcriber: Model | None = None
    language: str = ""
    reasoning: str = ""
    renew_after_s: float = 3_000.0


class RealtimeEngine:
    """An :class:`teamscall.engines.base.Engine` of one realtime session per call.

    Args:
        endpoint: where the service is.
        model: of the session.
        talking: see :class:`Talking`.
        tools: what the model may use.
        waits: how long it may go without progress.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        model: Model,
        talking: Talking | None = None,
        *,
        tools: Tools | None = None,
        waits: Waits | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._model = model
        self._talking = talking = talking or Talking()
        self._tools = tools or NoTools()
        ponders = talking.reasoning in ("medium", "high", "xhigh")
        self._waits = waits or (THOUGHTFUL if ponders else Waits())
        self._detection = messages.turn_detection(talking.detection)
        reasoning = "" if talking.reasoning == "default" else talking.reasoning
        session = messages.voice_session(
            instructions=talking.instructions,
            voice=talking.voice,
            speed=talking.speed,
            detection=talking.detection,
            noise_reduction=talking.noise_reduction,
            transcription=self._transcription(),
            reasoning=reasoning,
            tools=[
                messages.function(spec.name, spec.description, spec.parameters)
                for spec in self._tools.specs
            ],
        )
        self._update = messages.session_update(session)
        self._reader: Mouth | None = None  # while phrases are prepared
        self._phrases = Phrases(self._any_mouth)
        self._purpose = Purpose("session", "the voice session", model.name, "realtime.model")
        self._url = endpoint.realtime_url(model.name)
        self._home = Home()
        self.dialler = Dialler(endpoint, self._url, self._update, self._purpose)
        self._ahead = WarmSessions(self.dialler, self._home)

    @property
    def name(self) -> str:
        return "openai"

    @property
    def turn_taking(self) -> TurnTaking:
        return "local" if self._detection is None else "engine"

    def describe(self) -> str:
        at, talking = self._endpoint, self._talking
        where = "" if at.host == "api.openai.com" else f" at {at.host}"
        turns = "teamscall" if self._detection is None else f"{talking.detection.kind} detection"
        return f"openai{where}: talks with {self._model.name} ({talking.voice}); turns by {turns}"

    async def start(self) -> None:
        """Import what a call needs; the network is not asked, so a bridge starts (and says
        so) while the vendor is down."""
        from teamscall.audio import vad
        from teamscall.engines.openai import realtime_session

        _ = vad, realtime_session
        if self._endpoint.host == "api.openai.com" and not self._endpoint.key:
            raise EngineError(
                "there is no OpenAI key",
                hint=f"Set OPENAI_API_KEY or {self._endpoint.key_setting}.",
            )
        await self._home.open()

    async def stop(self) -> None:
        await self._home.close()

    def open(self, call: CallBrief, emit: Emit) -> EngineSession:
        from teamscall.audio.vad import VoiceActivity
        from teamscall.engines.openai.realtime_session import RealtimeSession

        talking = self._talking
        return RealtimeSession(
            call,
            emit,
            open_link=self._link,
            turn_detection=self._detection,
            model=self._model.name,
            transcriber=talking.transcriber.name if talking.transcriber is not None else "",
            speed=talking.speed,
            tools=self._tools,
            phrase=self.phrase,
            is_speech=VoiceActivity().is_speech,
            renew_after_s=talking.renew_after_s,
            waits=self._waits,
        )

    def warm(self) -> None:
        self._ahead.ask()

    async def prepare(self, texts: Sequence[str]) -> None:
        from teamscall.engines.openai.mouth import Voice
        from teamscall.engines.openai.reading import ReadingMouth

        talking = self._talking
        session = messages.reading_session(talking.voice, talking.speed, "")
        voice = Voice(self._model, talking.voice, talking.speed)
        try:
            async with asyncio.timeout(PREPARE_S), asyncio.TaskGroup() as group:
                reader = ReadingMouth(self._opener(messages.session_update(session)), voice)
                self._reader = reader
                reading = group.create_task(reader.run(), name="phrases' session")
                await self._phrases.prepare(texts)
                reading.cancel()
        except TimeoutError:
            log.warning("Fixed phrases not synthesised in time", extra={"seconds": PREPARE_S})
        finally:
            self._reader = None

    def phrase(self, text: str) -> Phrase | None:
        return self._phrases.get(text)

    # --- parts -----------------------------------------------------------------------------

    def _transcription(self) -> object:
        model = self._talking.transcriber
        if model is None:
            return None
        return messages.transcriber(
            model.name, language=self._talking.language, language_list=model.language_list
        )

    def _any_mouth(self) -> Mouth:
        if self._reader is None:
            raise EngineError("no phrases are being prepared", stage="speak")
        return self._reader

    def _link(self) -> Link:
        return Link(self._opener(self._update, self._ahead.take))

    def _opener(
        self,
        session_update: str,
        take: Callable[[], Awaitable[ClientConnection | None]] | None = None,
    ) -> OpenSocket:
        """What makes a socket, given who is told. ``take``: gives one opened ahead."""

        def open_socket(
            opened: Callable[[], None],
            received: Callable[[ServerEvent], None],
            lost: Callable[[str], None],
        ) -> Socket:
            return Socket(
                self._endpoint,
                self._url,
                session_update,
                self._purpose,
                opened=opened,
                received=received,
                lost=lost,
                patience_s=PATIENCE_S,
                take=take,
            )

        return open_socket
