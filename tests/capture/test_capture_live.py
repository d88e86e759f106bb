"""A recorded caller calls a live bridge again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from replay_rig import CALL, Recorded, voice
from typer.testing import CliRunner
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from teamscall.calls.events import EndRequested, LinkLost, LinkResumed
from teamscall.capture import live
from teamscall.capture.expect import Expectation
from teamscall.capture.live_line import Leg, Line, Message, line, with_call_id, with_last_seq
from teamscall.capture.live_play import Played, Player
from teamscall.capture.live_sides import Place, Side, facts_of, points, side
from teamscall.capture.reader import read
from teamscall.capture.records import Closed, Frame
from teamscall.capture.writer import write
from teamscall.cli import replay_live
from teamscall.cli.app import app
from teamscall.clock import SystemClock
from teamscall.emulator.plan import Dial
from teamscall.errors import CaptureError, ExitCode, InputError
from teamscall.wire import csharp, standin
from teamscall.wire import events as wire

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
SECRET = b"0123456789abcdef0123456789abcdef"
FRAME = bytes(wire.FRAME_BYTES)
ANN = wire.Caller(user_id="u", tenant_id="t", display_name="Ann")
cli = CliRunner()


def played_line(*legs: Leg, **changes: Any) -> Line:
    base = Line("csharp", CALL, legs, True, 7, 140, 0, 0)
    return msgspec.structs.replace(base, **changes)


def message(at_s: float, event: wire.FromGateway, **more: Any) -> Message:
    return Message(at_s, csharp.encode_from_gateway(event) or b"", **more)


def ended(at_s: float) -> Message:
    return message(at_s, wire.CallEnded(CALL, "hangup-user"))


# --- the caller's side of a capture -----------------------------------------------------


def test_all_that_the_gateway_said_is_there_as_it_was() -> None:
    capture = read(CORPUS / "hostile-gateway.tcap")
    story = line(capture)
    said = [frame.text for frame in capture.frames if frame.way == "in"]
    assert [m.text for leg in story.legs for m in leg.messages] == said
    assert b"not json" in said
    assert (story.hangs_up, story.bot_ends) == (True, False)
    assert [m.at_s for m in story.legs[0].messages[:1]] == [0.0]
    assert story.length_s == pytest.approx(3.5, abs=0.2)


def test_a_socket_that_broke_is_a_leg_and_the_resume_says_how_much_was_missing() -> None:
    capture = read(CORPUS / "resume.tcap")
    first, second = line(capture).legs
    assert first.cut_s is not None
    assert first.messages[-1].at_s <= first.cut_s < second.messages[0].at_s
    assert second.messages[0].behind == 5  # far_side.py: LOST_FRAMES
    assert second.cut_s is None
    assert [m.behind for m in first.messages] == [None] * len(first.messages)
    # What follows the answer to the auth_request waited for it.
    assert [m.answers for m in first.messages[:2]] == [0, 1]


def test_a_call_that_broke_off_is_broken_off_again(tmp_path: Path) -> None:
    call = Recorded()
    call.quiet(0.1)
    call.wait(0.2)
    call.connected = False
    call.shell(LinkLost())
    (leg,) = line(read(call.save(tmp_path / "call.tcap"))).legs
    assert leg.cut_s == pytest.approx(leg.messages[-1].at_s + 0.22, abs=0.001)
    assert not line(read(tmp_path / "call.tcap")).hangs_up


def test_the_answer_to_the_bots_hang_up_is_not_the_callers(tmp_path: Path) -> None:
    call = Recorded()
    call.quiet(0.1)
    call.shell(EndRequested("operator", "operator"))
    call.message(csharp.encode_from_gateway(wire.CallEnded(CALL, "hangup-bot")) or b"")
    story = line(read(call.save(tmp_path / "call.tcap")))
    assert (story.hangs_up, story.bot_ends) == (False, True)
    assert story.messages == 5


def test_what_was_left_out_is_silence_of_its_length(tmp_path: Path) -> None:
    call = Recorded(dialect="standin")
    call.speak(0.1)
    call.records = [
        msgspec.structs.replace(r, text=b'{"type":"audio.frame","seq":%d}' % r.index, elided=856)
        if isinstance(r, Frame) and r.way == "in"
        else r
        for r in call.records
    ]
    header = msgspec.structs.replace(call.header, content="timing")
    write(tmp_path / "t.tcap", header, [*call.records, Closed(call.now, "ended")])
    with pytest.raises(CaptureError, match="a live engine would hear silence"):
        line(read(tmp_path / "t.tcap"))


def test_silence_is_played_where_it_is_asked_for(tmp_path: Path) -> None:
    call = Recorded(dialect="standin")
    elided = b'{"type":"audio.frame","seq":4,"timestampMs":80,"payloadBase64":""}'
    call.records.append(Frame(call.now, "in", elided, 856, 99))
    header = msgspec.structs.replace(call.header, content="timing")
    write(tmp_path / "t.tcap", header, [*call.records, Closed(call.now, "ended")])
    story = line(read(tmp_path / "t.tcap"), silence=True)
    event = standin.decode_from_gateway(story.legs[0].messages[-1].text, call_id=CALL)
    assert event == wire.AudioIn(CALL, 4, bytes(640), 80)
    assert (story.silent, story.next_seq, story.next_ms) == (1, 5, 100)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"direction": "outbound"}, "that the bridge placed"),
        ({"side": "bridge"}, "the gateway says nothing"),
    ],
)
def test_what_no_caller_can_play_is_refused(
    tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    call = Recorded()
    header = msgspec.structs.replace(call.header, **change)
    write(tmp_path / "o.tcap", header, [*call.records, Closed(call.now, "ended")])
    with pytest.raises(CaptureError, match=says):
        line(read(tmp_path / "o.tcap"))


def test_only_the_call_id_and_the_last_frame_are_written_anew() -> None:
    text = b'{ "callId":"call-1", "data":"call-1x", "type":"ping" }'
    assert with_call_id(text, "call-1", 'a"b') == text.replace(b'"call-1"', b'"a\\"b"')
    assert with_last_seq(b'{"lastReceivedSeq" : -1 }', 41) == b'{"lastReceivedSeq" : 41 }'


# --- played to a socket -----------------------------------------------------------------

Serve = Callable[[ServerConnection], Awaitable[None]]


async def play(story: Line, far: Serve, **options: Any) -> Played:
    async with serve(far, "127.0.0.1", 0) as server:
        return await Player(story, dial(server), SystemClock(), **options).run()


def dial(server: Server, **changes: Any) -> Dial:
    host, port = server.sockets[0].getsockname()[:2]
    base = Dial(f"ws://{host}:{port}", SECRET, "csharp", call_id="call-2")
    return msgspec.structs.replace(base, **changes)


def run(story: Line, far: Serve, **options: Any) -> Played:
    return asyncio.run(play(story, far, **options))


async def all_of(socket: ServerConnection, into: list[str]) -> None:
    try:
        async for text in socket:
            into.append(str(text))
    except ConnectionClosed:
        into.append("cut")


def test_a_call_is_said_as_it_was_under_its_new_id() -> None:
    got: list[str] = []
    story = played_line(
        Leg(
            (
                message(0.0, wire.CallStarted(CALL, wire.Caller())),
                Message(0.05, b"not json"),
                ended(0.1),
            )
        )
    )
    came = run(story, lambda socket: all_of(socket, got))
    assert [json.loads(text)["callId"] for text in (got[0], got[2])] == ["call-2"] * 2
    assert got[1] == "not json"
    assert (came.outcome, came.sent, came.left, came.call_id) == ("played", 3, 0, "call-2")


def test_what_waited_for_an_authorization_waits_for_it_again() -> None:
    got: list[str] = []

    async def slow(socket: ServerConnection) -> None:
        got.append(str(await socket.recv()))
        await asyncio.sleep(0.15)
        got.append("answered")
        answer = wire.AuthAnswer("call-2", "c", True, "open", 0)
        await socket.send((csharp.encode_to_gateway(answer) or b"").decode())
        await all_of(socket, got)

    story = played_line(
        Leg(
            (
                message(0.0, wire.AuthRequested(CALL, "c", wire.Caller())),
                message(0.01, wire.CallStarted(CALL, wire.Caller()), answers=1),
                message(0.02, wire.CallEnded(CALL, "hangup-user"), answers=1),
            )
        )
    )
    came = run(story, slow)
    assert [text if text == "answered" else json.loads(text)["type"] for text in got] == [
        "auth_request",
        "answered",
        "session_start",
        "session_end",
    ]
    assert came.outcome == "played"


def test_a_denied_call_ends_there() -> None:
    async def deny(socket: ServerConnection) -> None:
        await socket.recv()
        answer = wire.AuthAnswer("call-2", "c", False, "list", 0, "not \x1b[31mallowed")
        await socket.send((csharp.encode_to_gateway(answer) or b"").decode())
        await all_of(socket, [])

    first = message(0.0, wire.AuthRequested(CALL, "c", wire.Caller()))
    came = run(played_line(Leg((first, ended(5.0)))), deny)
    assert (came.outcome, came.reason) == ("refused", "not authorized: not [31mallowed")
    assert came.left == 1


def test_a_broken_socket_breaks_again_and_the_resume_names_our_own_last_frame() -> None:
    calls: list[list[str]] = []

    async def far(socket: ServerConnection) -> None:
        calls.append([])
        for seq in range(10 if len(calls) == 1 else 0):
            frame = wire.AudioOut("call-2", seq, FRAME)
            await socket.send((csharp.encode_to_gateway(frame) or b"").decode())
        await all_of(socket, calls[-1])

    story = played_line(
        Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())),), cut_s=0.2),
        Leg((message(0.25, wire.CallResumed(CALL, 100), behind=3), ended(0.3))),
    )
    came = run(story, far)
    assert calls[0][-1] == "cut"
    assert json.loads(calls[1][0])["lastReceivedSeq"] == 9 - 3
    assert (came.outcome, came.resumes, came.sent) == ("played", 1, 3)


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_bot_that_hangs_up_ends_it_and_is_answered(hangs_up: bool) -> None:
    got: list[str] = []

    async def far(socket: ServerConnection) -> None:
        got.append(str(await socket.recv()))
        hang_up = csharp.encode_to_gateway(wire.HangUp("call-2", ""))
        await socket.send((hang_up or b"").decode())
        await all_of(socket, got)

    leg = Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())), ended(9.0)))
    story = played_line(leg, hangs_up=hangs_up)
    if not hangs_up:
        story = msgspec.structs.replace(story, legs=(Leg(leg.messages[:1]),), bot_ends=True)
    came = run(story, far)
    assert (came.outcome, came.reason) == ("ended-by-bot", "the bot hung up")
    assert json.loads(got[-1]) == {
        "type": "session_end",
        "callId": "call-2",
        "reason": "hangup-bot",
    }


def test_a_bridge_that_goes_away_is_lost() -> None:
    async def far(socket: ServerConnection) -> None:
        await socket.recv()
        socket.transport.abort()

    leg = Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())), ended(9.0)))
    came = run(played_line(leg), far)
    assert (came.outcome, came.reason, came.left) == ("lost", "the connection broke", 1)


def test_the_line_is_held_with_silence_before_the_hang_up() -> None:
    got: list[str] = []
    leg = Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())), ended(0.02)))
    came = run(played_line(leg), lambda socket: all_of(socket, got), hold_s=0.1)
    kinds = [json.loads(text)["type"] for text in got]
    assert kinds == ["session_start", *["audio_in"] * 5, "session_end"]
    assert [json.loads(text)["seq"] for text in got[1:6]] == [7, 8, 9, 10, 11]
    assert came.sent == 2


def test_a_recording_without_an_end_is_hung_up_at_its_own() -> None:
    got: list[str] = []
    leg = Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())),))
    came = run(played_line(leg, hangs_up=False), lambda socket: all_of(socket, got))
    assert [json.loads(text)["type"] for text in got] == ["session_start", "session_end"]
    assert came.outcome == "played"


def test_what_cannot_be_played_is_the_command_lines_fault() -> None:
    wanted = replay_live.Wanted([CORPUS / "outbound.tcap"], engine="echo")
    (verdict,), _ = replay_live.run(wanted, lambda _: None)
    assert (verdict.result, "placed" in verdict.error) == ("wrong", True)
    assert replay_live.exit_code([verdict]) == ExitCode.USAGE


def test_speed_divides_the_moments() -> None:
    leg = Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())), ended(100.0)))
    came = run(played_line(leg), lambda socket: all_of(socket, []), speed=1000.0)
    assert came.outcome == "played"
    assert came.length_s < 50


def test_it_can_be_stopped() -> None:
    got: list[str] = []
    heard = asyncio.Event()

    async def far(socket: ServerConnection) -> None:
        got.append(str(await socket.recv()))
        heard.set()
        await all_of(socket, got)

    async def scene() -> Played:
        async with serve(far, "127.0.0.1", 0) as server:
            leg = Leg((message(0.0, wire.CallStarted(CALL, wire.Caller())), ended(99.0)))
            player = Player(played_line(leg), dial(server), SystemClock())
            async with asyncio.TaskGroup() as group:
                task = group.create_task(player.run())
                await heard.wait()
                assert player.up
                player.stop()
            return task.result()

    came = asyncio.run(scene())
    assert came.outcome == "interrupted"
    assert json.loads(got[-1])["type"] == "session_end"


# --- what matters of a call -------------------------------------------------------------


def test_a_side_tells_what_was_heard_said_and_how_it_ended() -> None:
    found = side(read(CORPUS / "barge-in.tcap"))
    assert found.heard == ("Tell me all about it.", "Stop, what about Monday?")
    assert (found.turns, found.interruptions, found.flushes) == (2, 1, 1)
    assert (found.end_reason, found.ended_by, found.bot_hung_up) == ("hangup-user", "caller", False)
    assert [place.latency_ms is not None for place in found.places] == [False, True, True]
    assert side(read(CORPUS / "engine-dropped.tcap")).bot_hung_up


@pytest.mark.parametrize("name", ["barge-in", "digits", "resume", "engine-dropped"])
def test_facts_of_a_capture_are_those_of_its_replay(name: str) -> None:
    from teamscall.capture.expect import facts
    from teamscall.capture.recording import recording
    from teamscall.capture.replay import replay

    capture = read(CORPUS / f"{name}.tcap")
    came = replay(recording(capture))
    assert facts_of(capture) == facts((act.at_s, act.command) for act in came.acts)


def one_side(**changes: Any) -> Side:
    base = Side(
        length_s=4.0,
        places=(Place(0.0, None), Place(900.0, 500.0)),
        flushes=0,
        bot_hung_up=False,
        heard=("What time is it?",),
        said=("Noon.",),
        turns=1,
        interruptions=0,
        end_reason="hangup",
        ended_by="caller",
    )
    return msgspec.structs.replace(base, **changes)


@pytest.mark.parametrize(
    ("change", "key", "fails", "says"),
    [
        ({"places": (Place(0.0, None), Place(900.0, None))}, "spoke", True, "at all"),
        ({"places": (Place(0.0, 50.0), Place(900.0, 500.0))}, "spoke", False, "the bot spoke"),
        ({"places": (Place(0.0, 50.0), Place(900.0, None))}, "spoke", True, "after 500 ms"),
        ({"places": (Place(0.0, None), Place(900.0, 620.0))}, "latency", False, "620 ms"),
        ({"places": (Place(0.0, 9.0),)}, "utterances", False, "0 utterances"),
        ({"heard": ("What?",)}, "heard", False, "“What?”"),
        ({"said": ()}, "said", False, "said nothing"),
        ({"turns": 2}, "turns", False, "2 turns, recorded 1"),
        ({"flushes": 1}, "flushes", False, "1 flushes, recorded 0"),
        ({"bot_hung_up": True}, "ended", True, "the bot hung up after 4.0 s"),
        ({"end_reason": "time-limit"}, "end_reason", False, "time-limit by caller"),
    ],
)
def test_what_is_different_is_told_and_what_is_missing_fails(
    change: dict[str, Any], key: str, fails: bool, says: str
) -> None:
    point, *others = points(one_side(), one_side(**change))
    assert not any(other.fails for other in others)
    assert (point.key, point.fails) == (key, fails)
    assert says in point.text


def test_the_same_call_has_no_difference_and_speed_compares_no_moments() -> None:
    assert points(one_side(), one_side()) == ()
    late = one_side(places=(Place(0.0, 1.0), Place(900.0, 2500.0)))
    assert points(one_side(), late, speed=2.0) == ()
    assert points(one_side(bot_hung_up=True), one_side())[0].fails


def test_a_bridge_that_is_not_ours_is_not_asked_what_only_it_knows() -> None:
    live.check_askable(Expectation(no_audio_after_flush=True), "e.toml")
    with pytest.raises(InputError, match="asks for heard, turns, which only the bridge"):
        live.check_askable(msgspec.convert({"heard": ["x"], "turns": {}}, Expectation), "e.toml")


# --- the command ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short_call(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A caller who speaks for 0.3 s; an echo comes back."""
    call = Recorded()
    for event in (wire.AuthRequested(CALL, "c", ANN), wire.CallStarted(CALL, ANN)):
        call.message(csharp.encode_from_gateway(event) or b"")
    call.hear([FRAME] * 5)
    call.hear(voice(0.3))
    call.quiet(0.3)
    call.gateway(wire.CallEnded(CALL, "hangup-user"))
    return call.save(tmp_path_factory.mktemp("short") / "short.tcap")


def test_a_recorded_caller_is_answered_by_a_live_engine(short_call: Path, tmp_path: Path) -> None:
    kept = tmp_path / "now.tcap"
    (tmp_path / "e.toml").write_text('end_reason = "hangup-user"\nheard = ["noon"]\n')
    wanted = replay_live.Wanted(
        [short_call], engine="echo", capture=kept, expect=tmp_path / "e.toml"
    )
    talk: list[str] = []
    (verdict,), left = replay_live.run(wanted, talk.append)
    assert (verdict.result, left) == ("broken", 0)
    assert [one.key for one in verdict.broken] == ["heard"]
    assert verdict.played is not None
    assert verdict.played.outcome == "played"
    assert verdict.now is not None
    assert verdict.now.answers == 1  # the echo
    now = read(kept)
    assert (now.damage, now.header.engine, now.header.side) == (None, "echo", "bridge")
    assert talk == ["short: calling engine echo"]
    assert replay_live.exit_code([verdict]) == ExitCode.FAILED


def test_nobody_there_is_said_with_its_exit_code(short_call: Path) -> None:
    result = cli.invoke(
        app,
        ["replay", str(short_call), "--against", "127.0.0.1:1", "--json"],
        env={"TEAMSCALL_EMULATE_SECRET": "x" * 32},
    )
    assert result.exit_code == ExitCode.UNAVAILABLE, result.output
    (one,) = json.loads(result.stdout)["captures"]
    assert (one["result"], one["now"]) == ("wrong", None)
    assert "Nothing can be reached" in one["error"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "echo", "--against", "x"], "exclude each other"),
        (["--engine", "echo", "--update"], "--update goes without"),
        (["--engine", "echo", "--jobs", "2"], "--jobs goes without"),
        (["--hold", "3"], "--hold goes with --engine or"),
        (["--against", "x", "--set", "engine=echo"], "--set goes with --engine"),
        (["--engine", "echo", "--secret", "x"], "--secret goes with --against"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    short_call: Path, options: list[str], says: str
) -> None:
    result = cli.invoke(app, ["replay", str(short_call), *options], env={"COLUMNS": "200"})
    assert result.exit_code == ExitCode.USAGE
    assert says in " ".join(result.output.split())


def test_one_file_keeps_one_call(short_call: Path) -> None:
    wanted = replay_live.Wanted([CORPUS], engine="echo", capture=Path("x.tcap"))
    with pytest.raises(InputError, match="keeps one call"):
        replay_live.run(wanted, lambda _: None)


def test_a_resumed_call_of_the_rig_has_two_legs(tmp_path: Path) -> None:
    call = Recorded()
    call.quiet(0.1)
    call.shell(LinkLost())
    call.wait(0.3)
    call.message(csharp.encode_from_gateway(wire.CallResumed(CALL, -1)) or b"")
    call.shell(LinkResumed(-1))
    call.quiet(0.1)
    first, second = line(read(call.save(tmp_path / "call.tcap"))).legs
    assert (len(first.messages), len(second.messages)) == (5, 6)
    assert second.messages[0].behind == 0
