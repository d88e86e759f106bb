"""What is measured of a capture's sound, and what is not because the capture does not know."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from teamscall.audio.waveform import Thresholds, measure
from teamscall.capture.believed import Believed, compared, file_of
from teamscall.capture.eliding import elide
from teamscall.capture.expect import Expectation
from teamscall.capture.expect_sound import broken_in_sound
from teamscall.capture.measured import measured, measured_again, side_measured
from teamscall.capture.naming import file_name
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import Dropped, Frame, Header, Record
from teamscall.capture.sound import tracks
from teamscall.cli.app import app
from teamscall.wire import standin
from teamscall.wire.events import AudioIn, AudioOut

CORPUS = Path(__file__).parents[1] / "corpus"
CALL = "call-1"
BEGAN = 500.0
WALL = 1_700_000_000_000


def sound(seconds: float, *spans: tuple[float, float]) -> list[bytes]:
    """20 ms frames with a tone from and to these seconds."""
    t = np.arange(round(seconds * 16_000)) / 16_000
    on = np.zeros(len(t), bool)
    for start, end in spans:
        on |= (t >= start) & (t < end)
    pcm = np.where(on, 5000 * np.cos(2 * np.pi * 300 * t), 0).astype("<i2").tobytes()
    return [pcm[at : at + 640] for at in range(0, len(pcm), 640)]


def said(at: float, number: int, pcm: bytes, *, left_out: bool = False) -> Frame:
    text = standin.encode_from_gateway(AudioIn(CALL, number, pcm))
    return frame(at, "in", text, left_out=left_out)


def answered(at: float, number: int, pcm: bytes, *, left_out: bool = False) -> Frame:
    text = standin.encode_to_gateway(AudioOut(CALL, number, pcm))
    return frame(at, "out", text, left_out=left_out)


def frame(at: float, way: str, text: bytes | str | None, *, left_out: bool) -> Frame:
    assert text is not None
    raw = text.encode() if isinstance(text, str) else text
    raw, elided = elide(raw) if left_out else (raw, 0)
    return Frame(BEGAN + at, "in" if way == "in" else "out", raw, elided, 0)


def capture(*records: Record, side: str = "bridge") -> Capture:
    header = Header(
        1, "1", "standin", CALL, "inbound", "bridge" if side == "bridge" else "emulator", "full",
        "", WALL, BEGAN,
    )  # fmt: skip
    ordered = sorted(records, key=lambda one: one.at if hasattr(one, "at") else 0.0)
    return Capture(Path("x.tcap"), header, tuple(ordered), None, 1, 1)


def call(*, left_out: range = range(0), lost: range = range(0)) -> list[Record]:
    """The caller from 1 to 2 s and from 5 to 6 s, answers at 2.6 and 6.7 s."""
    out: list[Record] = []
    for number, pcm in enumerate(sound(9, (1, 2), (5, 6))):
        if number not in lost:
            at = (number + 1) * 0.02
            out.append(said(at, number, pcm, left_out=number in left_out))
    for number, pcm in enumerate(sound(9, (2.6, 3.6), (6.7, 7.5))):
        if any(pcm):
            out.append(answered(number * 0.02, number, pcm))
    return out


def latencies(found: Capture) -> list[int]:
    measures = measured(found)
    assert measures is not None
    return [round(one.latency_ms) for one in measures.responses]


def test_a_call_is_measured() -> None:
    found = capture(*call())
    assert tracks(found).unknown == ()
    # A frame is heard when it has come: 20 ms after it was begun.
    assert latencies(found) == [580, 680]


def test_where_the_callers_audio_was_left_out_nothing_is_invented() -> None:
    """The second question is not in the capture: its answer is none to the first."""
    found = capture(*call(left_out=range(240, 310)))
    assert [one.side for one in tracks(found).unknown] == ["caller"]
    assert latencies(found) == [580]


def test_where_the_callers_frames_were_lost_nothing_is_invented() -> None:
    found = capture(*call(lost=range(240, 310)))
    (place,) = tracks(found).unknown
    assert (place.start_ms, place.end_ms) == pytest.approx((4820, 6220), abs=1)
    assert latencies(found) == [580]


def test_a_far_side_that_sends_no_silence_has_lost_nothing() -> None:
    """Between the questions no frame comes, and no number is missing."""
    records: list[Record] = []
    number = 0
    for index, pcm in enumerate(sound(9, (1, 2), (5, 6))):
        if any(pcm):
            records.append(said((index + 1) * 0.02, number, pcm))
            number += 1
    records += [one for one in call() if isinstance(one, Frame) and one.way == "out"]
    assert tracks(capture(*records)).unknown == ()
    assert latencies(capture(*records)) == [580, 680]


def test_where_records_were_dropped_nothing_is_invented() -> None:
    kept = [r for r in call() if isinstance(r, Frame) and not 502.3 < r.at < 502.5]
    found = capture(*kept, Dropped(BEGAN + 2.4, 10, "queue"))
    assert latencies(found) == [680]


def test_a_hole_of_lost_audio_of_the_bots_is_a_gap_and_left_out_audio_is_none() -> None:
    plain = [r for r in call() if isinstance(r, Frame) and r.way == "in"]
    bot = [(n, pcm) for n, pcm in enumerate(sound(9, (2.6, 3.6))) if any(pcm)]

    def gaps(*records: Record) -> list[int]:
        measures = measured(capture(*plain, *records))
        assert measures is not None
        return [round(one.length_ms) for one in measures.bot.gaps]

    whole = [answered(n * 0.02, n, pcm) for n, pcm in bot]
    assert gaps(*whole) == []
    assert gaps(*whole[:20], *whole[22:]) == [40]
    hidden = [answered(n * 0.02, n, pcm, left_out=True) for n, pcm in bot[20:22]]
    assert gaps(*whole[:20], *hidden, *whole[22:]) == []


def test_no_sound_is_no_figure() -> None:
    assert measured(capture(*call(left_out=range(450))[:450])) is None
    assert measured(capture()) is None


def test_of_a_merged_capture_the_emulators_side_is_measured() -> None:
    """It heard the bot 50 ms later than the bridge sent it, and spoke 10 ms earlier."""
    theirs = []
    for one in call():
        assert isinstance(one, Frame)
        shift = -0.01 if one.way == "in" else 0.05
        theirs.append(msgspec.structs.replace(one, at=one.at + shift, side="emulator"))
    found = capture(*call(), *theirs)
    assert side_measured(found) == "emulator"
    assert latencies(found) == [640, 740]
    assert latencies(capture(*call())) == [580, 680]


def test_a_replay_is_measured_by_what_it_returned() -> None:
    found = capture(*call())
    late = [
        (n * 0.02 + 0.4, AudioOut(CALL, n, pcm))
        for n, pcm in enumerate(sound(9, (2.6, 3.6)))
        if any(pcm)
    ]
    again = measured_again(found, late, Thresholds())
    assert again is not None
    assert [round(one.latency_ms) for one in again.responses] == [980]
    assert measured_again(capture(), late, Thresholds()) is None


@pytest.mark.parametrize(
    ("name", "waits", "stops"),
    [
        ("standin-question", [971], []),
        ("csharp-question", [983], []),
        ("barge-in", [850, 847], [59]),
        ("resume", [851], []),
    ],
)
def test_the_corpus_is_measured_as_it_sounds(name: str, waits: list[int], stops: list[int]) -> None:
    found = measured(read(CORPUS / f"{name}.tcap"))
    assert found is not None
    assert [one.latency_ms for one in found.responses] == pytest.approx(waits, abs=5)
    assert [one.stopped_after_ms for one in found.barge_ins] == pytest.approx(stops, abs=5)
    assert found.bot.gaps == ()


# --- what is asked of it ------------------------------------------------------------------


def judged(wanted: Expectation, found: Capture) -> list[str]:
    broken = broken_in_sound(wanted, lambda thresholds: measured(found, thresholds))
    return [f"{one.key}: {one.why}" for one in broken]


@pytest.mark.parametrize(
    "wanted",
    [
        Expectation(),
        Expectation(response_under_ms=690.0, no_gaps=True, no_clipping=True),
        Expectation(max_dead_air_ms=1450.0),
    ],
)
def test_what_holds_of_the_sound(wanted: Expectation) -> None:
    assert judged(wanted, capture(*call())) == []


def test_what_does_not_hold_of_the_sound_says_why() -> None:
    found = capture(*call())
    assert judged(Expectation(response_under_ms=600.0), found) == [
        "response_under_ms: 1 of 2 answers were heard after 600 ms or more, the slowest after "
        "680 ms, at 6.700 s"
    ]
    (why,) = judged(Expectation(max_dead_air_ms=1300.0), found)
    assert why.startswith("max_dead_air_ms: nobody spoke for 14")
    (why,) = judged(Expectation(silent_within_ms=300.0), found)
    assert why == "silent_within_ms: nobody was heard to begin while the bot spoke"


def test_a_barge_in_that_was_slow_or_not_heard_is_broken() -> None:
    quick = read(CORPUS / "barge-in.tcap")
    assert judged(Expectation(silent_within_ms=100.0), quick) == []
    (why,) = judged(Expectation(silent_within_ms=50.0), quick)
    assert "the bot was silent after 5" in why
    over = [said((n + 1) * 0.02, n, pcm) for n, pcm in enumerate(sound(6, (2, 2.3)))]
    bot = [answered(n * 0.02, n, pcm) for n, pcm in enumerate(sound(6, (1, 5))) if any(pcm)]
    (why,) = judged(Expectation(silent_within_ms=100.0), capture(*over, *bot))
    assert why.endswith("the bot spoke on")


def test_never_measured_does_not_hold() -> None:
    asked = Expectation(
        response_under_ms=9e9,
        silent_within_ms=9e9,
        no_gaps=True,
        no_clipping=True,
        max_dead_air_ms=9e9,
    )
    assert len(judged(asked, capture())) == 5
    nobody = capture(*(said((n + 1) * 0.02, n, pcm) for n, pcm in enumerate(sound(2))))
    assert len(judged(asked, nobody)) == 5


# --- beside what was believed -------------------------------------------------------------


def test_what_was_believed_stands_beside_what_was_heard() -> None:
    found = measured(capture(*call()))
    assert found is not None
    believed = [Believed(1, WALL + 2590, 400.0), Believed(3, WALL + 30_000, 500.0)]
    rows = compared(believed, found, WALL)
    assert [(r.turn, r.believed_ms, r.measured_ms and round(r.measured_ms)) for r in rows] == [
        (1, 400.0, 580),
        (None, None, 680),
        (3, 500.0, None),
    ]
    assert [row.differs for row in rows] == [True, False, False]


def test_a_calls_file_is_found_by_its_id_and_time(tmp_path: Path) -> None:
    for call_id, wall in ((CALL, WALL), (CALL, WALL + 60_000), ("other", WALL), ("a/b", WALL)):
        (tmp_path / file_name(call_id, wall)).touch()
    (tmp_path / f"nonsense-{CALL}.tcap").touch()
    assert file_of(tmp_path, CALL, WALL + 50_000) == tmp_path / file_name(CALL, WALL + 60_000)
    assert file_of(tmp_path, "a/b", WALL + 900) == tmp_path / file_name("a/b", WALL)
    assert file_of(tmp_path, CALL, WALL + 3_600_000) is None
    assert file_of(tmp_path, "nobody", WALL) is None


# --- the command --------------------------------------------------------------------------


def test_the_command_prints_a_table_and_an_object() -> None:
    path = str(CORPUS / "barge-in.tcap")
    done = CliRunner().invoke(app, ["capture", "measure", path, "--json"])
    body = json.loads(done.stdout)
    assert (body["version"], body["heardBy"]) == (1, "bridge")
    sides = tracks(read(Path(path)))
    direct = measure(sides.caller, sides.bot)
    assert [one["latencyMs"] for one in body["responses"]] == [
        round(one.latency_ms, 2) for one in direct.responses
    ]
    done = CliRunner().invoke(app, ["capture", "measure", path])
    assert done.exit_code == 0
    (barge_in,) = direct.barge_ins
    assert barge_in.stopped_after_ms is not None
    assert 40 < barge_in.stopped_after_ms < 80  # about three frames
    assert f"1, silent within {barge_in.stopped_after_ms:.0f} ms" in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
