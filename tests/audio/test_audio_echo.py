"""The bot's own voice is not the caller's: echoes of real speech, alone and under a caller.

The speech is that of the offline voice (its recordings are CC0); the caller is the same
voice with other words, faster and higher.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from teamscall.audio import echo_path
from teamscall.audio.echo import CallerVoice, EchoJudge, Verdict
from teamscall.audio.echo_path import Decimator, Timeline
from teamscall.audio.level import rms_dbfs
from teamscall.audio.vad import VoiceActivity
from teamscall.audio.wav import read_wav

RATE = 16_000
FRAME_S = 0.02
GOLDEN = Path(__file__).parent.parent / "golden"
Samples = np.ndarray[tuple[int], np.dtype[np.float64]]

# How far ahead of its playout a frame is told, as the pacer does.
LEAD = 8


def speech(name: str) -> Samples:
    return np.frombuffer(read_wav(GOLDEN / f"{name}.wav"), "<i2").astype(np.float64)


BOT = speech("speech_bot")
CALLER = speech("speech_caller")


def band(low: float, high: float, taps: int = 129) -> Samples:
    spectrum = np.fft.rfftfreq(4096, 1 / RATE)
    impulse = np.fft.irfft(((spectrum >= low) & (spectrum <= high)).astype(float))
    return np.asarray(np.roll(impulse, taps // 2)[:taps] * np.hanning(taps))


def room(rt60: float = 0.08) -> Samples:
    """Noise that falls by 60 dB in ``rt60`` seconds, without a direct path: the worst case."""
    t = np.arange(int(1.2 * rt60 * RATE)) / RATE
    impulse = np.random.default_rng(0).standard_normal(len(t)) * 10 ** (-3 * t / rt60)
    return np.asarray(impulse / np.sqrt(np.vdot(impulse, impulse)))


FILTERS = {
    "flat": np.ones(1),
    "telephone": band(300, 3400),
    "room": room(),
    "loudspeaker": np.convolve(band(200, 2500, 65), room(0.02)),
}
LEVELS = (0, -6, -12, -20, -30)
DELAYS = (0, 40, 120, 250, 400, 700)
# Every filter with every level, the delays in turn: each pair of values is met.
GRID = [
    (name, db, DELAYS[(n + n // 5) % 6])
    for n, (name, db) in enumerate(itertools.product(FILTERS, LEVELS))
]


def echo(name: str, db: float, delay_ms: int) -> Samples:
    back = np.convolve(BOT, FILTERS[name])[: len(BOT)] * 10 ** (db / 20)
    return np.concatenate([np.zeros(delay_ms * RATE // 1000), back])


def frames(samples: Samples) -> list[bytes]:
    pcm = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm) - 639, 640)]


LOUD = max(frames(BOT), key=rms_dbfs)


def hiss(samples: int, dbfs: float = -72.0) -> Samples:
    noise = np.random.default_rng(1).standard_normal(samples)
    return np.asarray(noise * 10 ** (dbfs / 20) * 32768)


def judged(
    microphone: Samples, *, jitter_s: float = 0.0, begin: float = 1000.0
) -> tuple[list[Verdict], EchoJudge]:
    """Verdicts on what the microphone sends while the bot speaks from ``begin`` on."""
    judge, rng = EchoJudge(), np.random.default_rng(5)
    bot = frames(BOT)
    verdicts: list[Verdict] = []
    for n, frame in enumerate(frames(microphone + hiss(len(microphone)))):
        for ahead in range(0 if n == 0 else n + LEAD, min(n + LEAD + 1, len(bot))):
            judge.played(bot[ahead], begin + ahead * FRAME_S)
        now = begin + (n + 1) * FRAME_S + rng.uniform(0.0, jitter_s)
        verdicts.append(judge.heard(frame, now))
    return verdicts, judge


def voiced(microphone: Samples) -> list[bool]:
    activity = VoiceActivity()
    return [activity.is_speech(frame) for frame in frames(microphone + hiss(len(microphone)))]


def longest_run(decisions: list[bool]) -> int:
    return max((sum(1 for _ in run) for yes, run in itertools.groupby(decisions) if yes), default=0)


def false_run(microphone: Samples, verdicts: list[Verdict]) -> int:
    """The longest run of voiced frames taken for the caller's."""
    pairs = zip(voiced(microphone), verdicts, strict=True)
    return longest_run([voice and verdict == "speech" for voice, verdict in pairs])


class TestEcho:
    @pytest.mark.parametrize(("name", "db", "delay_ms"), GRID)
    def test_it_is_never_speech_for_60_ms_from_the_first_word_on(
        self, name: str, db: int, delay_ms: int
    ) -> None:
        microphone = echo(name, db, delay_ms)
        verdicts, judge = judged(microphone)
        assert sum(voiced(microphone)) > 25  # or nothing would be shown
        assert false_run(microphone, verdicts) < 3
        assert judge.delay_ms is not None
        assert judge.delay_ms == pytest.approx(delay_ms, abs=25)

    def test_delivery_that_jitters_changes_nothing(self) -> None:
        microphone = echo("loudspeaker", -12, 250)
        verdicts, judge = judged(microphone, jitter_s=0.08)
        assert judge.delay_ms is not None
        assert false_run(microphone, verdicts) < 3

    @pytest.mark.parametrize("shift_ms", [-20, 0, 13, 20])
    def test_every_talk_spurt_may_have_a_delay_of_its_own(self, shift_ms: int) -> None:
        """The far side's buffer does not begin to play at the same point of its clock."""
        judge, begin = EchoJudge(), 1000.0
        bot = frames(BOT)[:100]
        pause = 40
        back = np.convolve(BOT[: 100 * 320], FILTERS["loudspeaker"]) * 10 ** (-12 / 20)
        first, second = (np.concatenate([np.zeros(ms * 16), back]) for ms in (160, 160 + shift_ms))
        spurt = 140 * 320
        microphone = np.concatenate([first, np.zeros(spurt)])[:spurt]
        microphone = np.concatenate([microphone, second, np.zeros(spurt)])[: 2 * spurt]
        verdicts: list[Verdict] = []
        for n, frame in enumerate(frames(microphone + hiss(len(microphone)))):
            for spurt_n in (0, 1):
                ahead = n - spurt_n * (100 + pause) + LEAD
                span = range(LEAD + 1) if ahead == LEAD else range(ahead, ahead + 1)
                for k in span if ahead >= LEAD else ():
                    if k < len(bot):
                        judge.played(bot[k], begin + (spurt_n * (100 + pause) + k) * FRAME_S)
            verdicts.append(judge.heard(frame, begin + (n + 1) * FRAME_S))
        assert false_run(microphone, verdicts) < 3

    def test_a_delay_that_changes_is_found_again(self) -> None:
        early, late = echo("flat", -12, 120), echo("flat", -12, 300)
        half = 2 * RATE
        verdicts, judge = judged(np.concatenate([early[:half], late[half:]]))
        assert judge.delay_ms == pytest.approx(300, abs=25)
        assert verdicts[-60:].count("speech") <= 2


class TestDoubleTalk:
    @pytest.mark.parametrize(
        "name",
        [pytest.param(n, marks=[] if n == "room" else [pytest.mark.load]) for n in FILTERS],
    )
    def test_the_caller_is_speech_within_80_ms(self, name: str) -> None:
        late = []
        for over_db, at in itertools.product((0, 6, 12, 20), range(2 * RATE, 3 * RATE, RATE // 5)):
            microphone = echo(name, -20, 120)
            level = np.sqrt(np.mean(microphone[2 * RATE :] ** 2) / np.mean(CALLER**2))
            caller = np.zeros(len(microphone))
            caller[at : at + len(CALLER)] += CALLER * level * 10 ** (over_db / 20)
            alone = voiced(caller)
            onset = next(n for n in range(len(alone)) if all(alone[n : n + 3]))
            verdicts, _ = judged(microphone + caller)
            late.append("speech" not in verdicts[onset : onset + 4])
        assert sum(late) <= 0.05 * len(late)

    def test_without_an_echo_every_frame_of_the_caller_is_speech(self) -> None:
        at = 2 * RATE
        microphone = np.zeros(len(BOT))
        microphone[at : at + len(CALLER)] += CALLER
        verdicts, judge = judged(microphone)
        spoken = [v for v, yes in zip(verdicts, voiced(microphone), strict=True) if yes]
        assert len(spoken) > 30
        assert set(spoken) == {"speech"}
        assert judge.delay_ms is None

    def test_a_caller_who_interrupts_the_very_first_word_is_heard_soon(self) -> None:
        microphone = np.zeros(len(BOT))
        microphone[: len(CALLER)] += CALLER
        verdicts, _ = judged(microphone)
        assert verdicts.index("speech") < 30


class TestClear:
    def test_without_playout_nothing_is_judged(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(*_: object) -> None:
            raise AssertionError("work was done")

        monkeypatch.setattr(Decimator, "push", never)
        judge = EchoJudge()
        for n, frame in enumerate(frames(CALLER)):
            assert judge.heard(frame, n * FRAME_S) == "clear"

    def test_it_is_clear_again_when_the_last_echo_has_died(self) -> None:
        judge = EchoJudge()
        judge.played(LOUD, 10.0)
        verdicts = [judge.heard(bytes(640), 10.0 + n * FRAME_S) for n in range(80)]
        assert verdicts[0] != "clear"
        assert verdicts[30] != "clear"
        assert verdicts[60:] == ["clear"] * 20

    def test_what_was_flushed_was_never_played(self) -> None:
        flushed, other = EchoJudge(), EchoJudge()
        for judge in (flushed, other):
            for n in range(40):
                judge.played(LOUD, 10.0 + n * FRAME_S)
        flushed.flushed(10.1)
        assert flushed.heard(bytes(640), 11.5) == "clear"
        assert other.heard(bytes(640), 11.5) != "clear"

    def test_a_path_is_soon_found_again_in_the_next_answer(self) -> None:
        _, judge = judged(echo("room", -12, 120))
        bot = frames(BOT)
        back = frames(echo("room", -12, 120))
        began = 1000.0 + 600 * FRAME_S
        for n in range(len(back), 600):
            judge.heard(bytes(640), 1000.0 + (n + 1) * FRAME_S)
        verdicts = []
        for n in range(100):
            judge.played(bot[n], began + n * FRAME_S)
            verdicts.append(judge.heard(back[n], began + (n + 1) * FRAME_S))
        assert false_run(echo("room", -12, 120)[: 100 * 320], verdicts) < 3
        assert judge.delay_ms is not None


class TestCallerVoice:
    def test_it_hears_the_caller_and_not_the_bot(self) -> None:
        microphone = echo("room", -12, 120)
        at = 3 * RATE
        microphone[at : at + len(CALLER)] += CALLER
        voice, bot = CallerVoice(), frames(BOT)
        decisions = []
        for n, frame in enumerate(frames(microphone + hiss(len(microphone)))):
            if n < len(bot):
                voice.played(bot[n], 5.0 + n * FRAME_S)
            decisions.append(voice.frame(frame, 5.0 + (n + 1) * FRAME_S))
        assert longest_run(decisions[:150]) < 3
        assert sum(decisions[150:210]) > 25

    def test_in_the_clear_it_is_voice_activity(self) -> None:
        voice = CallerVoice()
        decisions = [voice.frame(frame, n * FRAME_S) for n, frame in enumerate(frames(CALLER))]
        activity = VoiceActivity()
        assert decisions == [activity.is_speech(frame) for frame in frames(CALLER)]

    def test_another_size_is_refused(self) -> None:
        with pytest.raises(ValueError, match="640"):
            CallerVoice().frame(bytes(320), 0.0)


class TestTimeline:
    def test_it_reads_what_was_written_and_silence_elsewhere(self) -> None:
        timeline = Timeline()
        timeline.write(100, np.ones(10))
        timeline.write(120, np.full(10, 2.0))
        assert timeline.read(98, 132).tolist() == [0, 0, *[1] * 10, *[0] * 10, *[2] * 10, 0, 0]

    def test_what_is_written_again_replaces_the_rest(self) -> None:
        timeline = Timeline()
        timeline.write(0, np.ones(20))
        timeline.write(5, np.full(3, 2.0))
        assert timeline.read(0, 20).tolist() == [1] * 5 + [2] * 3 + [0] * 12

    def test_it_keeps_the_last_seconds_of_an_hour_in_the_same_memory(self) -> None:
        timeline = Timeline()
        size = timeline._samples.size
        for n in range(0, 3600 * echo_path.RATE, echo_path.RATE):
            timeline.write(n, np.full(echo_path.RATE, float(n)))
        assert timeline._samples.size == size
        assert timeline.read(n - 2 * echo_path.RATE, n + echo_path.RATE).tolist() == [
            *[float(n - 2 * echo_path.RATE)] * echo_path.RATE,
            *[float(n - echo_path.RATE)] * echo_path.RATE,
            *[float(n)] * echo_path.RATE,
        ]
