"""Whole calls over real sockets, against a bridge that shares no code with ours."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import Any

import msgspec
import pytest
from emulator_rig import SECRET, Bridge, tone
from websockets.asyncio.server import ServerConnection

from teamscall.clock import SystemClock
from teamscall.emulator import happenings as seen
from teamscall.emulator.call import run_call
from teamscall.emulator.controls import Controls
from teamscall.emulator.plan import Dial, Plan, Press
from teamscall.emulator.report import Report
from teamscall.emulator.sources import Pcm, Silence, Source, after_lead_in
from teamscall.emulator.tracks import Tracks
from teamscall.errors import HandshakeRefused
from teamscall.wire.events import Caller, Dialect

DIALECTS: tuple[Dialect, ...] = ("standin", "csharp")


class Ran:
    """A call that has been played."""

    def __init__(self, bridge: Bridge, report: Report, tracks: Tracks) -> None:
        self.bridge, self.report, self.tracks = bridge, report, tracks
        self.events: list[seen.EmulatorEvent] = []


def play(
    bridge: Bridge,
    source: Source | None = None,
    *,
    controls: Controls | None = None,
    **plan: Any,
) -> Ran:
    async def main() -> Ran:
        tracks = Tracks()
        events: list[seen.EmulatorEvent] = []
        async with bridge.listening():
            dialect: Dialect = "csharp" if bridge.dialect == "csharp" else "standin"
            report = await run_call(
                Plan(Dial(bridge.url, SECRET, dialect), **{"duration_s": 5.0, **plan}),
                source or Silence(),
                clock=SystemClock(),
                on_event=events.append,
                controls=controls,
                tracks=tracks,
            )
            for _ in range(100):  # the bridge's side of the close
                if len(bridge.closes) == 1:
                    break
                await asyncio.sleep(0.01)
            others = asyncio.all_tasks() - {asyncio.current_task()}
            assert not [t for t in others if "teamscall" in repr(t.get_coro())]
        ran = Ran(bridge, report, tracks)
        ran.events = events
        return ran

    ran = asyncio.run(main())
    gc.collect()  # an unclosed socket warns when it is collected, and a warning is an error
    return ran


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_echo_comes_back_frame_for_frame(dialect: Dialect) -> None:
    speech = tone(600)
    ran = play(Bridge(dialect), after_lead_in(Pcm(speech), lead_in_ms=200), silence_s=0.3)
    report = ran.report
    assert (report.outcome, report.exit_code) == ("completed", 0)
    assert report.spoke
    assert b"".join(pcm for _, pcm in ran.bridge.audio) == ran.tracks.caller
    assert speech in ran.tracks.bot
    assert speech in ran.tracks.reply
    assert [seq for seq, _ in ran.bridge.audio] == list(range(report.sent.frames))
    assert report.received.odd_sizes == report.received.seq_gaps == 0
    assert ran.bridge.binary == 0
    assert ran.bridge.closes == [1000]
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_standin_says_what_a_service_says() -> None:
    ran = play(
        Bridge("standin"),
        caller=Caller("u1", "t1", "Ada"),
        thread_id="19:meeting",
        presses=(Press(0.1, "1"), Press(0.2, "#")),
        ping_interval_s=0.2,
        duration_s=0.7,
    )
    bridge = ran.bridge
    assert bridge.types()[:3] == ["session.start", "recording.status", "participants"]
    start = bridge.messages[0]
    assert bridge.paths == [f"/msteams/calling/{start['callId']}"]
    assert start["caller"] == {"aadId": "u1", "tenantId": "t1", "displayName": "Ada"}
    assert (start["threadId"], start["recordingStatus"]) == ("19:meeting", "active")
    assert [m["digit"] for m in bridge.messages if m["type"] == "dtmf"] == ["1", "#"]
    assert bridge.types()[-1] == "session.end"
    assert ran.report.pings.answered == ran.report.pings.sent >= 2
    sent = bridge.headers[0]
    assert "Sec-WebSocket-Extensions" not in sent
    assert "Sec-WebSocket-Protocol" not in sent
    assert sent["X-StandIn-Signature"] == sent["X-OpenClawTeamsBridge-Signature"]


def test_csharp_says_what_a_gateway_says() -> None:
    caller = Caller("u1", "t1", "Ada", "ada@x.example", "+1", "teams")
    ran = play(Bridge("csharp"), caller=caller, ping_interval_s=0.2, duration_s=0.5)
    assert ran.bridge.types()[:2] == ["auth_request", "session_start"]
    for message in ran.bridge.messages[:2]:
        assert message["metadata"]["tenantId"] == "t1"
        assert message["metadata"]["userPrincipalName"] == "ada@x.example"
    assert ran.bridge.messages[-1]["reason"] == "hangup-user"
    assert ran.report.auth is not None
    assert ran.report.auth.authorized
    assert ran.report.pings.answered == ran.report.pings.sent >= 1


def test_pacing_neither_drifts_nor_bursts() -> None:
    began = time.monotonic()
    ran = play(Bridge("standin", echo=False), duration_s=1.5)
    took = time.monotonic() - began
    # Absolute deadlines: the count follows the clock, however late single frames were.
    assert abs(ran.report.sent.frames - ran.report.duration_ms / 20) <= 2
    assert ran.report.sent.frames <= took / 0.02 + 2
    assert ran.report.sent.lateness.count == ran.report.sent.frames


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_flush_stops_what_is_playing(dialect: Dialect) -> None:
    async def burst(bridge: Bridge, socket: ServerConnection, message: dict[str, Any]) -> None:
        if len(bridge.audio) == 5 and not bridge.seq:
            for _ in range(100):
                await bridge.send_audio(socket, tone(20))
        if len(bridge.audio) == 20:
            bridge.quirks["on_message"] = None
            if dialect == "csharp":
                call_id = bridge.messages[0]["callId"]
                await bridge.send(socket, type="audio_flush", callId=call_id, timestamp=1)
            else:
                await bridge.send(socket, type="assistant.cancel", turnId=1)

    ran = play(Bridge(dialect, echo=False, on_message=burst), duration_s=1.2)
    assert ran.report.received.frames == 100
    assert ran.report.received.flushes == 1
    assert 0 < ran.report.heard.speech_ms < 1500
    assert ran.report.received.flushed_ms + ran.report.heard.speech_ms == 2000
    assert any(isinstance(e, seen.Flushed) for e in ran.events)


def test_a_refused_upgrade_says_so() -> None:
    async def main() -> None:
        async with Bridge("standin").listening() as bridge:
            with pytest.raises(HandshakeRefused) as caught:
                await run_call(Plan(Dial(bridge.url, b"wrong")), Silence(), clock=SystemClock())
            assert caught.value.status == 401

    asyncio.run(main())


def test_a_denied_call_ends_without_a_session() -> None:
    ran = play(Bridge("csharp", authorize=False))
    assert (ran.report.outcome, ran.report.exit_code) == ("refused", 5)
    assert ran.bridge.types() == ["auth_request"]
    assert "Inbound calls disabled" in ran.report.reason


def test_no_answer_to_auth_is_given_up() -> None:
    ran = play(Bridge("csharp", mute_auth=True), auth_timeout_s=0.2)
    assert ran.report.exit_code == 6
    assert ran.bridge.audio == []


def test_a_skewed_clock_is_measured() -> None:
    ran = play(Bridge("csharp", skew_ms=60_000), duration_s=0.1)
    assert ran.report.auth is not None
    assert 59_000 < ran.report.auth.skew_ms < 61_000
    assert ran.report.warnings


@pytest.mark.parametrize(
    ("dialect", "message", "outcome"),
    [
        ("standin", {"type": "session.end", "reason": "not-allowed"}, "refused"),
        ("standin", {"type": "session.end", "reason": "time-limit"}, "ended-by-bot"),
        ("csharp", {"type": "hangup"}, "ended-by-bot"),
    ],
)
def test_the_bot_hangs_up(dialect: Dialect, message: dict[str, Any], outcome: str) -> None:
    async def end(bridge: Bridge, socket: ServerConnection, got: dict[str, Any]) -> None:
        if len(bridge.audio) == 10:
            own = {"callId": bridge.messages[0]["callId"]} if dialect == "csharp" else {}
            await bridge.send(socket, **message, **own)

    ran = play(Bridge(dialect, on_message=end))
    assert ran.report.outcome == outcome
    if dialect == "csharp":
        assert ran.bridge.messages[-1]["reason"] == "hangup-bot"
    else:
        assert "session.end" not in ran.bridge.types()


def test_a_close_is_reported_with_code_and_reason() -> None:
    async def close(bridge: Bridge, socket: ServerConnection, got: dict[str, Any]) -> None:
        if len(bridge.audio) == 10:
            await socket.close(1011, "too slow")

    ran = play(Bridge("standin", on_message=close))
    assert (ran.report.outcome, ran.report.exit_code) == ("lost", 4)
    assert (ran.report.close_code, ran.report.close_reason) == (1011, "too slow")


def test_garbage_is_ignored_counted_and_never_answered() -> None:
    async def babble(bridge: Bridge, socket: ServerConnection, got: dict[str, Any]) -> None:
        if len(bridge.audio) == 3:
            for text in ("{", "[]", '{"type":"surprise"}', '{"type":7}'):
                await socket.send(text)
            await socket.send(b"\x00\x01")

    ran = play(Bridge("standin", echo=False, on_message=babble), duration_s=0.5)
    assert ran.report.outcome == "completed"
    assert sum(ran.report.received.dropped.values()) == 5
    assert set(ran.bridge.types()) <= {
        "session.start",
        "recording.status",
        "participants",
        "session.end",
    }


def test_a_dropped_csharp_link_is_resumed_on_a_new_socket() -> None:
    controls = Controls()

    async def drop(bridge: Bridge, socket: ServerConnection, got: dict[str, Any]) -> None:
        if len(bridge.audio) == 10:
            controls.drop_link(0.2)

    ran = play(Bridge("csharp", on_message=drop), controls=controls, duration_s=1.0)
    assert ran.report.outcome == "completed"
    assert ran.report.resumes == 1
    resume = next(m for m in ran.bridge.messages if m["type"] == "session_resume")
    assert resume["lastReceivedSeq"] >= 0
    assert len(ran.bridge.paths) == 2
    assert ran.report.sent.unsent_frames > 0
    kinds = [type(e) for e in ran.events]
    assert kinds.index(seen.LinkLost) < kinds.index(seen.LinkResumed)


def test_a_dropped_standin_link_is_the_end() -> None:
    controls = Controls()
    controls.drop_link(0.1)
    ran = play(Bridge("standin"), controls=controls)
    assert ran.report.outcome == "lost"
    assert len(ran.bridge.paths) == 1
