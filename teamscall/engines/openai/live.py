"""Live mode: one full-duplex OpenAI session per call, at the call's own rate. Experimental.

Owns what the calls share (how a session is started, the phrase cache, sessions opened
ahead of need) and how a call's session is put together. Refuses to know the
configuration's shape: it takes plain values.

What the protocol does not offer: exact wording (``Say`` without a cached phrase is spoken
in the model's own words), and taking back what the caller did not hear (the model is told
so, and so is the next session).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from teamscall.engines.base import CallBrief, Emit, EngineSession, Line, Phrase, TurnTaking
from teamscall.engines.home import Home
from teamscall.engines.openai import live_messages
from teamscall.engines.openai.dialling import Dialler, Purpose
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.engines.openai.live_messages import Backend
from teamscall.engines.openai.messages import ServerEvent
from teamscall.engines.openai.socket import Socket
from teamscall.engines.openai.warm import WarmSessions
from teamscall.engines.parts import Mouth
from teamscall.engines.phrases import Phrases
from teamscall.engines.tools import NoTools, Tools
from teamscall.errors import EngineError

log = logging.getLogger("teamscall.engines.openai")

PREPARE_S = 8.0  # the port opens after this at the latest, whatever the network does
PATIENCE_S = 9.0  # as long as a call's start waits for its engine (``calls.settings``)
STARTED = "session.started"


class Manner(msgspec.Struct, frozen=True):
    """How the model talks.

    Attributes:
        model: of the session.
        voice: "" for the service's own.
        instructions: the system prompt; "" for the service's own.
        thinker: the text model that uses the tools; needed where there are any.
    """

    model: str
    voice: str = ""
    instructions: str = ""
    thinker: str = ""


class LiveEngine:
    """An :class:`teamscall.engines.base.Engine` of one Live session per call.

    Args:
        endpoint: where the service is.
        manner: see :class:`Manner`.
        tools: what the model may use, through ``manner.thinker``.
        mouth: synthesises fixed phrases ahead of need, in the voice of the session or
            close to it; None: they are asked of the model, in its own words.

    Raises:
        ValueError: there are tools, but no model to use them.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        manner: Manner,
        *,
        tools: Tools | None = None,
        mouth: Callable[[], Mouth] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._manner = manner
        self._tools = tools or NoTools()
        self._backend: Backend | None = None
        if self._tools.specs:
            if not manner.thinker:
                raise ValueError("tools need a model that uses them")
            self._backend = Backend(manner.thinker, manner.instructions, self._tools.specs)
        self._speaks_phrases = mouth is not None
        self._phrases = Phrases(mouth or _no_mouth)
        self._home = Home()
        self._url = live_messages.live_url(endpoint)
        self._purpose = Purpose("session", "the live session", manner.model, "live.model")
        self.dialler = Dialler(
            endpoint, self._url, self._start(()), self._purpose, configured=STARTED
        )
        self._ahead = WarmSessions(self.dialler, self._home)

    @property
    def name(self) -> str:
        return "openai"

    @property
    def turn_taking(self) -> TurnTaking:
        return "engine"

    def describe(self) -> str:
        at, manner = self._endpoint, self._manner
        where = "" if at.host == "api.openai.com" else f" at {at.host}"
        voice = f" ({manner.voice})" if manner.voice else ""
        tools = f"; tools by {manner.thinker}" if self._backend is not None else ""
        return f"openai{where}: live with {manner.model}{voice}, experimental{tools}"

    async def start(self) -> None:
        """Import what a call needs; the network is not asked, so a bridge starts (and says
        so) while the vendor is down."""
        from teamscall.engines.openai import live_session

        _ = live_session
        if self._endpoint.host == "api.openai.com" and not self._endpoint.key:
            raise EngineError(
                "there is no OpenAI key",
                hint=f"Set OPENAI_API_KEY or {self._endpoint.key_setting}.",
            )
        await self._home.open()

    async def stop(self) -> None:
        await self._home.close()

    def open(self, call: CallBrief, emit: Emit) -> EngineSession:
        from teamscall.engines.openai.live_session import LiveSession

        def open_socket(
            start: str,
            first: bool,
            opened: Callable[[], None],
            received: Callable[[ServerEvent], None],
            lost: Callable[[str], None],
        ) -> Socket:
            return Socket(
                self._endpoint,
                self._url,
                start,
                self._purpose,
                opened=opened,
                received=received,
                lost=lost,
                patience_s=PATIENCE_S,
                configured=STARTED,
                # One that was opened ahead knows of no history.
                take=self._ahead.take if first and not call.history else None,
            )

        return LiveSession(
            call,
            emit,
            open_socket=open_socket,
            start=self._start,
            model=self._manner.model,
            thinker=self._manner.thinker,
            tools=self._tools,
            phrase=self.phrase,
        )

    def warm(self) -> None:
        self._ahead.ask()

    async def prepare(self, texts: Sequence[str]) -> None:
        if not self._speaks_phrases:
            return
        try:
            async with asyncio.timeout(PREPARE_S):
                await self._phrases.prepare(texts)
        except TimeoutError:
            log.warning("Fixed phrases not synthesised in time", extra={"seconds": PREPARE_S})

    def phrase(self, text: str) -> Phrase | None:
        return self._phrases.get(text)

    def _start(self, history: Sequence[Line]) -> str:
        manner = self._manner
        return live_messages.start(
            manner.model,
            voice=manner.voice,
            instructions=manner.instructions,
            backend=self._backend,
            history=history,
        )


def _no_mouth() -> Mouth:
    raise EngineError("live mode has no voice for fixed phrases", stage="speak")
