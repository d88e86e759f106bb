"""`teamscall calls show`: what the sound of a captured call says, beside what was believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from teamscall.calls.records import (
    CallClosed,
    CallCounters,
    CallOpened,
    TurnBegan,
    TurnEnded,
    TurnLatency,
)
from teamscall.capture.naming import file_name
from teamscall.capture.records import Closed, Frame, Header, Record
from teamscall.capture.writer import write
from teamscall.cli.app import app
from teamscall.clock import ManualClock
from teamscall.errors import InputError
from teamscall.journal.store import Journal
from teamscall.wire import standin
from teamscall.wire.events import AudioIn, AudioOut, Caller

CALL = "7c1e2f60-aaaa"
WALL = 1_790_000_000_000
BEGAN = 50.0
COLUMNS = {"COLUMNS": "100"}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """One call whose answer was heard from 2.5 to 3.5 s, as the bridge believes 300 ms after
    the caller."""
    path = tmp_path / "journal.sqlite3"
    kept = Journal(path, ManualClock(), transcripts="on")
    kept.open()
    latency = TurnLatency(100.0, 120.0, 150.0, 200.0, 300.0)
    for record in (
        CallOpened(CALL, WALL, "standin", "inbound", Caller("u", "t"), "192.0.2.1:5", "offline"),
        TurnBegan(CALL, WALL + 2400, 1, "answer"),
        TurnEnded(
            CALL, WALL + 3500, 1, "answer", "completed", "Noon.", "Noon.", 1000, 1000, latency
        ),
        CallClosed(CALL, WALL + 5000, "hangup", "caller", 5000, CallCounters(turns=1), "", ()),
    ):
        kept.record(record)
    assert kept.close(10)
    return path


def captured(path: Path, call_id: str = CALL) -> Path:
    """The caller from 1 to 2 s, the bot from 2.5 to 3.5 s."""
    t = np.arange(80_000) / 16_000
    tone = 5000 * np.cos(2 * np.pi * 300 * t)
    records: list[Record] = []
    for number in range(250):
        at, part = number * 0.02, slice(number * 320, number * 320 + 320)
        pcm = np.where((t >= 1) & (t < 2), tone, 0)[part].astype("<i2").tobytes()
        text = standin.encode_from_gateway(AudioIn(call_id, number, pcm))
        assert text is not None
        records.append(Frame(BEGAN + at + 0.02, "in", text, 0, 2 * number))
        if 2.5 <= at < 3.5:
            text = standin.encode_to_gateway(
                AudioOut(call_id, number, tone[part].astype("<i2").tobytes())
            )
            assert text is not None
            records.append(Frame(BEGAN + at, "out", text, 0, 2 * number + 1))
    records.sort(key=lambda one: one.at if isinstance(one, Frame) else 0.0)
    header = Header(
        1, "1", "standin", call_id, "inbound", "bridge", "full", "asked for", WALL, BEGAN
    )
    write(path, header, [*records, Closed(BEGAN + 5, "hangup")])
    return path


def show(journal: Path, *arguments: str) -> str:
    done = CliRunner().invoke(
        app, ["calls", "show", CALL, "--journal", str(journal), *arguments],
        env=COLUMNS, catch_exceptions=False,
    )  # fmt: skip
    assert done.exit_code == 0
    return done.stdout


def test_the_sound_stands_beside_what_was_believed(journal: Path, tmp_path: Path) -> None:
    folder = tmp_path / "captures"
    folder.mkdir()
    captured(folder / file_name(CALL, WALL))
    config = tmp_path / "teamscall.toml"
    config.write_text(f'[capture]\ndir = "{folder}"\n')
    text = show(journal, "--config", str(config))
    assert "1, after 480 ms" in text
    assert "300 ms    480 ms  differ by more than 100 ms" in text
    sound = json.loads(show(journal, "--config", str(config), "--json"))["sound"]
    (answer,) = sound["answers"]
    assert (answer["turn"], answer["believedMs"], answer["differs"]) == (1, 300.0, True)
    assert answer["measuredMs"] == pytest.approx(480, abs=2)
    assert sound["responses"][0]["latencyMs"] == answer["measuredMs"]


def test_a_file_can_be_named(journal: Path, tmp_path: Path) -> None:
    path = captured(tmp_path / "mine.tcap")
    assert "1, after 480 ms" in show(journal, "--capture", str(path))
    other = captured(tmp_path / "other.tcap", "another")
    with pytest.raises(InputError, match="of another call"):
        show(journal, "--capture", str(other))


def test_without_a_capture_one_line_says_how_to_get_one(journal: Path, tmp_path: Path) -> None:
    config = tmp_path / "teamscall.toml"
    config.write_text(f'[capture]\ndir = "{tmp_path / "none"}"\n')
    # However it is broken into lines.
    text = " ".join(show(journal, "--config", str(config)).split())
    assert "cannot be read" in text
    (tmp_path / "none").mkdir()
    text = " ".join(show(journal, "--config", str(config)).split())
    assert "teamscall serve --capture DIR" in text
    body = json.loads(show(journal, "--config", str(config), "--json"))
    assert body["sound"] is None
    assert "no capture" in body["soundMissing"]
