"""What a scripted caller of ``emulate`` speaks, hears and asks with: the offline engine's voice
and ear, and the bridge's own control plane.

Owns the lives of their processes. Refuses to know scripts.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing
from typing import TYPE_CHECKING, Self

from teamscall.audio.resample import resample_all
from teamscall.cli.asking import Door, where
from teamscall.control.client import connect
from teamscall.control.protocol import Subscribe
from teamscall.control.told import GAP
from teamscall.engines.clauses import cut, is_speakable
from teamscall.engines.offline import weights
from teamscall.engines.offline.engine import ear_worker, voice_worker
from teamscall.engines.offline.frames import Spoken, Synthesise, Transcribe
from teamscall.errors import InputError
from teamscall.wire.events import SAMPLE_RATE

if TYPE_CHECKING:
    from types import TracebackType

    from teamscall.engines.offline.worker import Worker

# As much of a bridge's memory as there is: a call's own events are few.
_REPLAY = 100_000
# One thread: what recognises during a call must leave the other core to its pacing.
_THREADS = 1


class Senses:
    """The offline voice and ear. Entered in a running loop; processes start when needed."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._voices: dict[str, Worker] = {}
        self._ear: Worker | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def speak(self, text: str, voice: str = "") -> bytes:
        """16 kHz s16le mono PCM.

        Raises:
            MissingPackageError, EngineError: it cannot be spoken.
            InputError: there is nothing to speak in the text.
        """
        clauses = [clause for clause in cut(text) if is_speakable(clause)]
        if not clauses:
            raise InputError("There is nothing to speak in a text of the script.")
        worker = self._voices.get(voice)
        if worker is None:
            weights.require("piper", "onnxruntime", *([] if voice else [weights.VOICE_PACKAGE]))
            worker = await self._started(voice_worker(voice))
            self._voices[voice] = worker
        pcm, rate = bytearray(), SAMPLE_RATE
        for clause in clauses:
            async with aclosing(worker.submit(Synthesise(0, clause)).replies()) as replies:
                async for reply in replies:
                    if isinstance(reply, Spoken):
                        pcm += reply.pcm
                        rate = reply.rate
        return resample_all(bytes(pcm), rate, SAMPLE_RATE)

    async def silence_voices(self) -> None:
        """Everything is spoken: end the processes, which a call may need the machine for."""
        while self._voices:
            await self._voices.popitem()[1].stop()

    async def listen(self) -> None:
        """Load the ear now, before a call.

        Raises:
            MissingPackageError, EngineError: it cannot hear.
        """
        if self._ear is None:
            weights.require("faster_whisper", weights.EAR_PACKAGE)
            self._ear = await self._started(ear_worker(threads=_THREADS))

    async def words(self, pcm: bytes) -> str:
        """Raises: EngineError."""
        await self.listen()
        assert self._ear is not None
        return (await self._ear.submit(Transcribe(0, pcm)).finished()).text

    async def _started(self, worker: Worker) -> Worker:
        self._stack.push_async_callback(worker.stop)
        await worker.start()
        return worker


class BridgeWitness:
    """Asks a running bridge what it heard, through its control plane."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def heard(self, call_id: str) -> tuple[str, ...]:
        """The final transcripts of a call, as far as the bridge remembers all of them.

        Raises:
            ConfigError, DialError, DeadlinePassed: it cannot be asked.
            ControlError: it refuses.
            InputError: it does not remember this call, or not all of it.
        """
        async with connect(
            where(self._door), timeout_s=self._door.timeout_s, name="emulate"
        ) as client:
            # Not its status: without a journal, a call that is over has none.
            wanted = Subscribe(events=("call-opened", "heard"), call_ids=(call_id,), replay=_REPLAY)
            texts: list[str] = []
            whole = False
            async with client.subscribed(wanted) as stream:
                left = stream.subscribed.replayed
                while left > 0:
                    event = (await anext(stream)).event
                    name = event.get("event")
                    left -= int(event.get("missed") or 0) if name == GAP else 1
                    whole = (whole or name == "call-opened") and name != GAP
                    if name == "heard" and event.get("final"):
                        texts.append(str(event.get("text") or ""))
        if not whole:
            raise InputError(
                "It does not remember this call from its beginning.",
                hint="Is it the bridge that was called? --control says where it is.",
            )
        return tuple(texts)
