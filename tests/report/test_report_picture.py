"""What a picture has of a call."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import msgspec
import numpy as np
import PIL.Image
import pytest
from report_rig import capture, hostile, made

from teamscall.calls.records import TurnLatency
from teamscall.capture.reader import read
from teamscall.capture.records import Did, Dropped, Frame, Record, Step
from teamscall.capture.report.figures import inaudible
from teamscall.capture.report.flow import BotFlow, CallerFlow, losses
from teamscall.capture.report.parts import Picture
from teamscall.capture.report.peaks import mulaw, track
from teamscall.capture.report.picture import picture
from teamscall.capture.report.story import story
from teamscall.capture.report.thumbnails import MAX_PIXELS, thumbnail
from teamscall.capture.report.turns import stages
from teamscall.capture.scrubbing import scrub


def test_what_was_said_and_cut_is_told_where_it_was_heard() -> None:
    drawn = picture(capture("barge-in"))
    assert [one.text for one in drawn.utterances] == [
        "Tell me all about it.",
        "Stop, what about Monday?",
    ]
    assert drawn.utterances[1].partials[0].text == "Stop, what"
    first, second = drawn.turns
    assert (first.status, first.heard.split()) == ("interrupted", ["Well"] + ["well"] * 7)
    assert first.cut.split() == ["well"] * 15 + ["well."]
    # The flush ends what is heard of it, long before the turn is over.
    (mark,) = (mark for mark in drawn.marks if mark.kind == "barge-in")
    assert first.audible[-1].end == pytest.approx(mark.at, abs=0.01)
    assert first.ended is not None
    assert first.ended > mark.at + 1
    assert (second.heard, second.cut) == ("Closed.", "")
    lines = [(line.who, line.text) for line in story(drawn) if line.who != "event"]
    assert [who for who, _ in lines] == ["caller", "bot", "caller", "bot"]


def test_a_wait_has_its_stages_in_the_order_they_ended_in() -> None:
    told = stages(TurnLatency(endpoint_ms=800, first_text_ms=465, first_audio_ms=594))
    assert [(one.name, one.from_ms, one.to_ms) for one in told] == [
        ("first_text", 0, 465),
        ("first_audio", 465, 594),
        ("endpoint", 594, 800),
    ]
    turn = picture(capture("standin-question")).turns[0]
    assert turn.asked is not None
    assert turn.first_frame == pytest.approx(turn.asked + turn.stages[-1].to_ms / 1000)
    # What the bridge believes and what is in its sound are about the same.
    assert turn.measured_ms == pytest.approx(turn.stages[-1].to_ms, abs=60)


def test_a_speech_that_was_stopped_by_a_mhm_has_two_parts() -> None:
    drawn = picture(capture("backchannel"))
    assert [mark.kind for mark in drawn.marks if mark.kind in ("barge-in", "carried-on")] == [
        "barge-in",
        "carried-on",
    ]
    stopped, went_on = drawn.turns[0].audible
    assert went_on.start - stopped.end > 1
    assert drawn.losses == ()
    assert drawn.turns[0].cut == ""


def test_sound_is_of_the_turn_whose_it_is_not_of_the_latest(tmp_path: Path) -> None:
    """A key is pressed while an answer is thought of: the answer is heard first."""
    one = capture("standin-question")
    began = next(
        index for index, r in enumerate(one.records) if isinstance(r, Did) and r.name == "TurnBegan"
    )
    key = {"call_id": "x", "wall_ms": 1, "turn": 2}
    records: list[Record] = [
        *one.records[: began + 1],
        Did("TurnBegan", {**key, "kind": "digit"}),
        *one.records[began + 1 : -1],
        Did("TurnEnded", {**key, "kind": "digit", "status": "cancelled", "said_ms": 0}),
        one.records[-1],
    ]
    (alone,) = picture(one).turns
    answer, pressed = picture(made(tmp_path / "key.tcap", one.header, records)).turns
    assert answer == alone
    assert answer.measured_ms is not None
    assert (pressed.audible, pressed.first_frame) == ((), None)


def test_a_barge_in_that_nobody_can_hear_is_told_apart() -> None:
    """Into a pause of the bot: it was stopped before its next sound, so nothing overlaps."""
    drawn = picture(capture("barge-in"))
    assert len(drawn.stopped) == 1
    assert inaudible(drawn) == ()
    unheard = msgspec.structs.replace(drawn, stopped=(*drawn.stopped, 4.6))
    assert inaudible(unheard) == (4.6,)
    assert inaudible(msgspec.structs.replace(unheard, measures=None)) == ()


def test_keys_gates_and_what_was_not_captured_are_told() -> None:
    drawn = picture(capture("digits"))
    assert [mark.label for mark in drawn.marks if mark.kind == "digit"] == ["1", "2", "#"]
    assert [gate.open for gate in drawn.gates] == [False, True]
    assert drawn.gates[0].end == pytest.approx(0.298, abs=0.001)
    assert any("without their audio" in note for note in drawn.notes)


def test_a_lost_socket_an_engines_trouble_and_refused_messages_are_marks() -> None:
    resumed = picture(capture("resume"))
    links = [mark.label for mark in resumed.marks if mark.kind == "link"]
    assert links == ["socket lost", "socket back"]
    assert any(mark.kind == "trouble" for mark in picture(capture("engine-dropped")).marks)
    refused = [
        loss for loss in picture(capture("hostile-gateway")).losses if loss.kind == "refused"
    ]
    assert sum(loss.count for loss in refused) > 20


def test_a_capture_of_timing_alone_is_drawn_without_words_or_sound(tmp_path: Path) -> None:
    drawn = picture(made(tmp_path / "timing.tcap", *scrub(capture("barge-in"))))
    assert drawn.tracks == ()
    assert "There is no sound in it" in " ".join(drawn.notes)
    assert drawn.spoken
    assert not any(turn.said for turn in drawn.turns)
    assert [turn.status for turn in drawn.turns] == ["interrupted", "completed"]
    assert drawn.turns[0].stages
    assert [line.note for line in story(drawn) if line.who == "caller"] == [
        "no words in the capture"
    ] * 2
    keys = picture(made(tmp_path / "keys.tcap", *scrub(capture("digits"))))
    assert [mark.label for mark in keys.marks if mark.kind == "digit"] == ["•"] * 3


def test_an_emulators_side_has_its_sound_and_says_what_is_missing(tmp_path: Path) -> None:
    one = capture("standin-question")
    header = msgspec.structs.replace(one.header, side="emulator", setup=b"", settings=b"")
    drawn = picture(
        made(tmp_path / "e.tcap", header, [r for r in one.records if isinstance(r, Frame)])
    )
    assert (drawn.turns, drawn.utterances) == ((), ())
    assert drawn.measures is not None
    assert len(drawn.measures.responses) == 1
    assert any("Made by an emulator" in note for note in drawn.notes)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_capture_that_was_cut_short_is_drawn_as_far_as_it_goes(
    tmp_path: Path, share: float
) -> None:
    whole = capture("barge-in")
    data = whole.path.read_bytes()
    torn = tmp_path / "torn.tcap"
    torn.write_bytes(data[: int(len(data) * share)])
    drawn = picture(read(torn))
    assert drawn.notes[0].startswith("The capture is damaged")
    assert 0 < drawn.length < picture(whole).length
    assert not any(mark.kind == "end" for mark in drawn.marks)


def test_records_that_are_missing_are_marked(tmp_path: Path) -> None:
    one = capture("barge-in")
    records: list[Record] = list(one.records)
    records.insert(100, Dropped(one.header.began + 1, 7, "queue"))
    drawn = picture(made(tmp_path / "d.tcap", one.header, records))
    assert [mark.text for mark in drawn.marks if mark.kind == "missing"] == [
        "7 records are missing from the capture (queue)"
    ]


def test_many_pieces_of_an_answer_are_one_decision_and_frames_are_none() -> None:
    drawn = picture(capture("barge-in"))
    said = [one for one in drawn.decisions if one.name == "said"]
    assert [one.text.split(" ", 1)[0] for one in said] == ["turn=1", "turn=2"]
    assert said[1].text.endswith("Closed.")
    assert not {one.name for one in drawn.decisions} & {"hear", "audio-out", "audio_in"}


def test_whatever_a_peer_said_is_one_printable_line(tmp_path: Path) -> None:
    drawn = picture(hostile(tmp_path / "h.tcap"))
    text = json.dumps(msgspec.to_builtins(drawn), ensure_ascii=False)
    for bad in "\u2028\u2029\u202e\x00\x1b":
        assert bad not in text
    assert max(len(one.text) for one in drawn.decisions) <= 400
    assert len(drawn.turns[0].said) <= 8000


def test_the_same_capture_gives_the_same_picture() -> None:
    first, second = (picture(capture("backchannel")) for _ in range(2))
    assert msgspec.msgpack.encode(first) == msgspec.msgpack.encode(second)
    assert isinstance(first, Picture)


# --- the parts ------------------------------------------------------------------------------


def test_mu_law_is_as_near_as_it_should_be() -> None:
    samples = np.arange(-32768, 32768, dtype=np.int16)
    coded = mulaw(samples)
    value = ~coded.astype(np.int32) & 0xFF
    size = (((value & 0x0F) << 3) + 132 << ((value >> 4) & 7)) - 132
    decoded = np.where(value & 0x80, -size, size)
    error = np.abs(decoded - np.clip(samples.astype(np.int32), -32635, 32635))
    # Half a step, and a step is a sixteenth of its segment. What is louder than any is clipped.
    assert (error <= (np.abs(samples.astype(np.int32)) + 132) / 32 + 1).all()
    assert coded[32768] == 0xFF  # silence


def test_digital_silence_is_left_out_and_the_rest_is_where_it_was() -> None:
    pcm = np.zeros(16_000 * 4, "<i2")
    pcm[16_000:24_000] = 8000
    pcm[60_000:60_100] = -8000
    drawn = track("bot", pcm.tobytes(), length=4.0, audio=True)
    assert [(piece.sample, len(piece.mulaw)) for piece in drawn.pieces] == [
        (16_000, 8000),
        (59_840, 320),
    ]
    assert drawn.peaks[199] == 0
    assert drawn.peaks[200] == drawn.powers[200] == round((8000 / 32768) ** 0.5 * 255)
    assert track("bot", pcm.tobytes(), length=4.0, audio=False).pieces == ()


def test_frames_that_are_late_or_lost_are_found_and_those_that_are_not_are_not() -> None:
    flow = CallerFlow()
    for seq in range(100):
        late = 0.2 if 40 <= seq < 43 else 0.0
        if seq not in (70, 71):
            flow.frame(seq * 0.02 + late, 0.02, seq)
    assert [(one.kind, one.count) for one in losses(flow.troubles)] == [("late", 3), ("lost", 2)]
    slow = CallerFlow()
    for seq in range(5000):  # a clock that drifts by 100 ppm is no lateness
        slow.frame(seq * 0.020002, 0.02, seq)
    assert slow.troubles == []


def test_a_bot_that_stalls_is_found_and_a_flush_is_no_stall() -> None:
    bot = BotFlow()
    for at in (0.0, 0.0, 0.02, 0.3, 0.32):
        bot.frame(at, 1)
    assert [(one.kind, round(one.ms)) for one in bot.troubles] == [("dry", 240)]
    bot.frame(0.32, 1)
    bot.flush(0.33)
    assert bot.heard()[-1].span.end == 0.33
    bot.frame(0.8, 1)  # it goes on where it was stopped
    bot.frame(2.0, 2)
    assert len(bot.troubles) == 1
    starts = [(one.turn, one.span.start) for one in bot.heard()]
    assert starts == [(1, 0.0), (1, 0.3), (1, 0.8), (2, 2.0)]


def _encoded(image: PIL.Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def test_a_thumbnail_is_drawn_anew_and_small() -> None:
    data = _encoded(PIL.Image.new("RGBA", (1920, 1080), "red"), "PNG") + b"<script>"
    small = thumbnail(data)
    with PIL.Image.open(io.BytesIO(small)) as image:
        assert (image.format, image.size) == ("JPEG", (200, 113))
    assert b"<script>" not in small


def test_what_is_no_picture_or_a_bomb_has_none() -> None:
    whole = _encoded(PIL.Image.new("RGB", (64, 64)), "PNG")
    bomb = bytearray(whole)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    assert MAX_PIXELS < 60_000**2
    for data in (b"", b"GIF89a", whole[:60], bytes(bomb)):
        assert thumbnail(data) == b""


def test_pictures_of_a_call_are_in_it_with_their_captions(tmp_path: Path) -> None:
    one = capture("standin-question")
    data = base64.b64encode(_encoded(PIL.Image.new("RGB", (320, 180), "blue"), "JPEG")).decode()
    began = one.header.began
    seen = {"type": "video.frame", "source": "camera", "ts": 1, "width": 320, "height": 180,
            "mime": "image/jpeg", "dataBase64": data, "participantName": "Ann"}  # fmt: skip
    shown = {"type": "display.image", "dataBase64": data, "mime": "image/jpeg",
             "caption": "A plan", "mode": "overlay", "durationMs": 4000}  # fmt: skip
    frames: list[Record] = [
        Frame(began + 0.5, "in", json.dumps(seen).encode(), 0, 9000),
        Frame(began + 0.6, "in", json.dumps(seen).encode(), 0, 9001),
        Frame(began + 0.7, "out", json.dumps(shown).encode(), 0, 9002),
    ]
    drawn = picture(made(tmp_path / "p.tcap", one.header, [*frames, *one.records]))
    assert [(image.way, image.title) for image in drawn.images] == [
        ("seen", "camera of Ann"),
        ("shown", "A plan"),
    ]
    assert all(image.thumbnail.startswith(b"\xff\xd8") for image in drawn.images)
    assert "Left out, of pictures: 1" in drawn.more


def test_nonsense_in_records_is_no_crash(tmp_path: Path) -> None:
    one = capture("standin-question")
    odd: list[Record] = [Step(one.header.began - 1e9, "shell", -1, None)]
    for name in ("Heard", "TurnBegan", "Said", "TurnEnded", "Interrupted", "CarriedOn",
                 "EngineTrouble", "GateChanged", "BeginUtterance"):  # fmt: skip
        odd += [Did(name, {}), Did(name, {"turn": [], "utterance": "x", "open": 5, "text": None}),
                Did(name, {"turn": 9, "utterance": 9, "latency": {"first_frame_ms": "x"}}),
                ]  # fmt: skip
    drawn = picture(made(tmp_path / "odd.tcap", one.header, [*odd, *one.records]))
    assert any(turn.number == 9 for turn in drawn.turns)
    assert drawn.length < 24 * 3600
