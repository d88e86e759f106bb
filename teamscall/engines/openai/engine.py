"""The OpenAI engine: a cascade per call over three endpoints that speak OpenAI's API.

Owns what the calls share (HTTP clients, the phrase cache) and how a session is put
together. Refuses to know the configuration's shape: it takes plain values.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, Unpack

import msgspec

from teamscall.config.models import Model
from teamscall.engines.base import CallBrief, Emit, EngineEvent, Phrase, TurnTaking
from teamscall.engines.cascade import CascadeSession, Deadlines, Manners
from teamscall.engines.home import Home
from teamscall.engines.openai import messages
from teamscall.engines.openai.dialling import Dialler, Purpose
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.messages import Detection, ServerEvent
from teamscall.engines.openai.mouth import SpeechMouth, Voice
from teamscall.engines.openai.reading import (
    DEFAULT_VOICE,
    SPEECH_ONLY_VOICES,
    ReadingMouth,
    readable_speed,
)
from teamscall.engines.openai.socket import Socket
from teamscall.engines.openai.warm import WarmHttp, WarmSessions
from teamscall.engines.parts import Ear, Mind, Mouth
from teamscall.engines.phrases import Phrases
from teamscall.engines.speakable import speakable as make_speakable
from teamscall.engines.tools import NoTools, Tools
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
    """Where and how is heard. ``language``: ISO 639-1, "" for any. ``detection``: who hears
    where a sentence ends, if the model can."""

    endpoint: Endpoint
    model: Model
    language: str = ""
    detection: Detection = Detection(kind="local")

    @property
    def detects(self) -> Literal["server", "semantic", "local"]:
        """Who does."""
        return self.detection.kind if self.model.server_vad else "local"


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
    """An :class:`teamscall.engines.base.Engine` that hears, thinks and speaks in turn.

    Args:
        hearing, thinking, speaking: where and how.
        tools: what the model may use; another mind has its own.
        speakable: text is made speakable before it is spoken.
        deadlines: of each stage's progress.
    """

    def __init__(
        self,
        hearing: Hearing,
        thinking: Thinking | OtherMind,
        speaking: Speaking,
        *,
        tools: Tools | None = None,
        speakable: bool = True,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._tools = tools or NoTools()
        self._speakable = speakable
        self._hearing = hearing
        self._thinking = thinking
        self._speaking = speaking
        self._deadlines = deadlines
        self._think_client: AsyncOpenAI | None = None
        self._speak_client: AsyncOpenAI | None = None
        self._mouth: Mouth | None = None  # the calls' one, or the phrases' one
        self._home = Home()
        self._hear_sessions = self._sessions_to_hear()
        self._read_sessions = self._sessions_to_read()
        self._think_warm, self._speak_warm = WarmHttp(self._home), WarmHttp(self._home)
        self._phrases = Phrases(self._any_mouth, self._readable)

    @property
    def name(self) -> str:
        return "openai"

    @property
    def turn_taking(self) -> TurnTaking:
        return "local" if self._hearing.detects == "local" else "engine"

    def describe(self) -> str:
        thinking = self._thinking
        mind = thinking.model.name if isinstance(thinking, Thinking) else thinking.name
        voice = self._speaking.voice
        at = self._hearing.endpoint
        where = "" if at.host == "api.openai.com" else f" at {at.host}"
        return (
            f"openai{where}: hears with {self._hearing.model.name}; thinks with {mind}; "
            f"speaks with {voice.model.name} ({self._voice_name()})"
        )

    async def start(self) -> None:
        """Import what a call needs and build the HTTP clients; the network is not asked,
        so a bridge starts (and says so) while the vendor is down."""
        from teamscall.engines.minds import chat
        from teamscall.engines.openai import ear, server_ear

        _ = ear, server_ear
        for endpoint in self._endpoints():
            if endpoint.host == "api.openai.com" and not endpoint.key:
                raise EngineError(
                    "there is no OpenAI key",
                    hint=f"Set OPENAI_API_KEY or {endpoint.key_setting}.",
                )
        self._warn()
        await self._home.open()
        chat.load()
        if isinstance(self._thinking, Thinking):
            self._think_client = await asyncio.to_thread(
                self._thinking.endpoint.client, self._thinking.timeout_s
            )
            _ = self._think_client.chat.completions
        if not self._speaking.voice.model.over_realtime:
            self._speak_client = await asyncio.to_thread(
                self._speaking.endpoint.client, SPEAK_TIMEOUT_S
            )
            _ = self._speak_client.audio.speech.with_streaming_response
            self._mouth = SpeechMouth(
                self._speak_client, self._speaking.endpoint, self._speaking.voice
            )

    async def stop(self) -> None:
        await self._home.close()
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
                **self._manners(),
            )
        return CascadeSession(
            call,
            emit,
            open_ear=self._open_ear,
            mind=self._open_mind(call),
            mouth=self._any_mouth(),
            **self._manners(),
        )

    @property
    def hear_dialler(self) -> Dialler:
        """Opens the sessions that hear, as a call's ear does."""
        return self._hear_sessions.dialler

    @property
    def read_dialler(self) -> Dialler | None:
        """Opens the sessions that speak; None: the voice has no session."""
        over_realtime = self._speaking.voice.model.over_realtime
        return self._read_sessions.dialler if over_realtime else None

    def _manners(self) -> Manners:
        return {
            "phrase": self.phrase,
            "speak_model": self._speaking.voice.model.name,
            "speakable": self._speakable,
            "language": self._hearing.language,
            "deadlines": self._deadlines,
        }

    def _readable(self, text: str) -> str:
        return make_speakable(text, self._hearing.language) if self._speakable else text

    def warm(self) -> None:
        self._hear_sessions.ahead.ask()
        if self._speaking.voice.model.over_realtime:
            self._read_sessions.ahead.ask()
        if self._think_client is not None:
            self._think_warm.ask(self._think_client)
        if self._speak_client is not None:
            self._speak_warm.ask(self._speak_client)

    async def prepare(self, texts: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(PREPARE_S), asyncio.TaskGroup() as group:
                if not self._speaking.voice.model.over_realtime:
                    # Two at a time: a voice on one's own machine would choke on all at once.
                    for share in (texts[::2], texts[1::2]):
                        group.create_task(self._phrases.prepare(share))
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

    def _warn(self) -> None:
        """Say once what is configured and cannot be had."""
        hearing, voice = self._hearing, self._speaking.voice
        if hearing.detects != hearing.detection.kind:
            log.warning(
                "streaming.turn_detection: the model detects no speech itself, so teamscall does",
                extra={"model": hearing.model.name},
            )
        if not voice.model.over_realtime:
            return
        if self._voice_name() != voice.voice:
            log.warning(
                "tts.voice: the model has no such voice, another one is used",
                extra={"model": voice.model.name, "voice": voice.voice, "instead": DEFAULT_VOICE},
            )
        if (speed := readable_speed(voice.speed)) != voice.speed:
            log.warning(
                "tts.speed: the model cannot speak so fast, a slower speed is used",
                extra={"model": voice.model.name, "speed": voice.speed, "instead": speed},
            )

    def _any_mouth(self) -> Mouth:
        if self._mouth is None:
            raise EngineError("the engine is not started", stage="speak")
        return self._mouth

    def _open_ear(self, emit: Emit) -> Ear:
        from teamscall.audio.vad import VoiceActivity
        from teamscall.engines.openai.ear import OpenAIEar
        from teamscall.engines.openai.server_ear import SEMANTIC_PAUSE_S, ServerEar

        hearing, opener = self._hearing, self._hear_sessions.open_socket
        is_speech, model = VoiceActivity().is_speech, hearing.model.name
        if hearing.detects == "local":
            streams = hearing.model.streams
            return OpenAIEar(opener, emit, is_speech=is_speech, model=model, streams=streams)
        pause_s = hearing.detection.silence_duration_ms / 1000
        if hearing.detects == "semantic":
            pause_s = SEMANTIC_PAUSE_S
        return ServerEar(opener, emit, is_speech=is_speech, model=model, pause_s=pause_s)

    def _voice_name(self) -> str:
        """The voice that is heard; not every model has every one."""
        voice = self._speaking.voice
        missing = voice.model.over_realtime and voice.voice in SPEECH_ONLY_VOICES
        return DEFAULT_VOICE if missing else voice.voice

    def _sessions_to_hear(self) -> _Sessions:
        hearing = self._hearing
        model, at = hearing.model, hearing.endpoint
        session = messages.transcription_session(
            model.name,
            language=hearing.language,
            language_list=model.language_list,
            detection=hearing.detection if hearing.detects != "local" else None,
        )
        purpose = Purpose("hear", "the recogniser", model.name, "streaming.stt_model")
        return _Sessions(at, at.transcription_url(model.name), session, purpose, self._home)

    def _sessions_to_read(self) -> _Sessions:
        at, voice = self._speaking.endpoint, self._speaking.voice
        session = messages.reading_session(
            self._voice_name(), readable_speed(voice.speed), voice.instructions
        )
        purpose = Purpose("speak", "the voice", voice.model.name, "tts.model")
        return _Sessions(at, at.realtime_url(voice.model.name), session, purpose, self._home)

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
            tools=self._tools,
            is_openai=thinking.endpoint.is_openai,
        )

    def _reader(self, emit: Emit) -> ReadingMouth:
        return ReadingMouth(self._read_sessions.open_socket, self._speaking.voice, emit)


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
        **manners: Unpack[Manners],
    ) -> None:
        super().__init__(
            call,
            emit,
            open_ear=open_ear,
            mind=mind,
            mouth=mouth,
            **manners,
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


class _Sessions:
    """Sessions of one kind: those opened ahead, and what makes a part's socket."""

    def __init__(
        self, endpoint: Endpoint, url: str, session: object, purpose: Purpose, home: Home
    ) -> None:
        self._what = (endpoint, url, messages.session_update(session), purpose)
        self.dialler = Dialler(*self._what)
        self.ahead = WarmSessions(self.dialler, home)

    def open_socket(
        self,
        opened: Callable[[], None],
        received: Callable[[ServerEvent], None],
        lost: Callable[[str], None],
    ) -> Socket:
        return Socket(
            *self._what,
            opened=opened,
            received=received,
            lost=lost,
            patience_s=PATIENCE_S,
            take=self.ahead.take,
        )


def _ignore(event: EngineEvent) -> None:
    """Phrases are prepared before there is a call to tell."""
