"""Run a bridge for one call and play what no command plays: ``far_side.py WHAT -- COMMAND...``.

``resume``: a C# gateway whose socket breaks in the middle of the answer, and that goes on
with another one; ``lost``: one that does not; ``dead``: its socket stays, and nothing comes any
more; ``flood``: its audio comes faster than time. ``hostile``: a StandIn that sends everything
that a bridge must survive. ``broken``: a C# gateway whose socket breaks thrice: in the answer,
while that is sent again, and after the caller has spoken over it.
``play CALL_ID PART...``: a C# gateway whose caller makes these sounds (see ``caller.py``) and is
muted for so long by ``m2.5``: no frame comes then.
``signs``: a StandIn that sends no audio, and something else a second.
``emulate ARGS``: `teamscall emulate ARGS` against it; ``+ SECOND VERB ARGS`` after these is a
command of the operator's in that second of it. ``COMMAND`` is a `teamscall serve`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from socket import SHUT_RDWR

from websockets.exceptions import ConnectionClosed, ConnectionClosedOK
from websockets.sync.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parent))
from caller import sound

from teamscall.wire import csharp
from teamscall.wire import events as wire
from teamscall.wire.events import FRAME_BYTES, FRAME_MS, Caller
from teamscall.wire.signature import BRIDGE_SECRET_HEADER, sign_v1

SECRET = "corpus-secret-0123456789abcdef0123456789"
CALLER = Caller(
    user_id="00000000-0000-4000-8000-000000000001",
    tenant_id="00000000-0000-4000-8000-00000000000a",
    display_name="Emulated Caller",
)
FRAME_S = FRAME_MS / 1000
TEAMSCALL = [sys.executable, "-m", "teamscall"]
DOOR = "door"  # the socket of the operator's commands
LOST_FRAMES = 5  # that were on their way when the socket broke
URL = re.compile(r"wss?://127\.0\.0\.1:\d+\S*")


def say(socket: ClientConnection, event: wire.FromGateway) -> None:
    """One message of a C# gateway."""
    socket.send((csharp.encode_from_gateway(event) or b"").decode())


def frames_of(parts: list[str]) -> list[bytes]:
    """A caller's sound, see ``caller.py``."""
    pcm = sound(parts)
    return [pcm[at : at + FRAME_BYTES] for at in range(0, len(pcm), FRAME_BYTES)]


def speak(socket: ClientConnection, call_id: str, frames: list[bytes], numbers: range) -> int:
    """Each frame in its time; the last of the bot's that came meanwhile."""
    last = -1
    began = time.monotonic() - numbers.start * FRAME_S
    for number in numbers:
        say(socket, wire.AudioIn(call_id, number, frames[number]))
        left = began + (number + 1) * FRAME_S - time.monotonic()
        with contextlib.suppress(TimeoutError):
            while left > 0:
                message = csharp.decode_to_gateway(socket.recv(timeout=left))
                last = message.seq if isinstance(message, wire.AudioOut) else last
                left = began + (number + 1) * FRAME_S - time.monotonic()
    return last


def begin(socket: ClientConnection, call_id: str) -> None:
    """Until the caller may speak."""
    say(socket, wire.AuthRequested(call_id, "corpus", CALLER))
    socket.recv(timeout=10)
    say(socket, wire.CallStarted(call_id, CALLER))


def resume(url: str) -> None:
    """The socket breaks in the middle of the answer; the gateway has not got its last frames."""
    call_id = "corpus-resume"
    headers = {BRIDGE_SECRET_HEADER: SECRET}
    frames = frames_of(["s0.3", "v0.6", "s4"])
    with connect(url, additional_headers=headers, close_timeout=0.1) as socket:
        begin(socket, call_id)
        last = speak(socket, call_id, frames, range(110))
        assert last > LOST_FRAMES, "the answer has not begun"
        socket.socket.shutdown(SHUT_RDWR)
    time.sleep(0.6)
    with connect(url, additional_headers=headers) as again:
        say(again, wire.CallResumed(call_id, last - LOST_FRAMES))
        speak(again, call_id, frames, range(140, len(frames)))
        say(again, wire.CallEnded(call_id, "hangup-user"))
        time.sleep(0.2)


def broken(url: str) -> None:
    """Each time the gateway wants more again than it has been sent since."""
    call_id = "corpus-broken"
    frames = frames_of(["s0.3", "v0.6", "s1.3", "v0.5", "s1.5"])
    last = -1
    parts = [(range(105), 0), (range(105, 110), 20), (range(110, 136), 15)]
    for numbers, back in [*parts, (range(136, len(frames)), 40)]:
        headers = {BRIDGE_SECRET_HEADER: SECRET}
        with connect(url, additional_headers=headers, close_timeout=0.1) as socket:
            if numbers.start == 0:
                begin(socket, call_id)
            else:
                say(socket, wire.CallResumed(call_id, max(-1, last - back)))
            last = max(last, speak(socket, call_id, frames, numbers))
            if numbers.stop == len(frames):
                say(socket, wire.CallEnded(call_id, "hangup-user"))
                time.sleep(0.2)
            else:
                socket.socket.shutdown(SHUT_RDWR)
        time.sleep(0.3)


def lost(url: str) -> None:
    """The caller mutes at the last word, so no frame comes any more; the socket breaks in the
    middle of the answer and never comes back."""
    frames = frames_of(["s0.3", "v0.6", "s0.1"])
    headers = {BRIDGE_SECRET_HEADER: SECRET}
    with connect(url, additional_headers=headers, close_timeout=0.1) as socket:
        begin(socket, "corpus-lost")
        speak(socket, "corpus-lost", frames, range(len(frames)))
        time.sleep(1.9)
        socket.socket.shutdown(SHUT_RDWR)
    time.sleep(1.5)


def dead(url: str) -> None:
    """The gateway hangs after the question: no frame, no ping, and its socket stays open."""
    frames = frames_of(["s0.3", "v0.6", "s0.6"])
    with connect(
        url, additional_headers={BRIDGE_SECRET_HEADER: SECRET}, close_timeout=0.1
    ) as socket:
        begin(socket, "corpus-dead")
        speak(socket, "corpus-dead", frames, range(len(frames)))
        with contextlib.suppress(TimeoutError):
            while True:
                socket.recv(timeout=3)


def flood(url: str) -> None:
    """Twenty seconds of silence at once, then a question in its time."""
    frames = frames_of(["s20", "v0.6", "s2"])
    with connect(url, additional_headers={BRIDGE_SECRET_HEADER: SECRET}) as socket:
        begin(socket, "corpus-flood")
        for number in range(1000):
            say(socket, wire.AudioIn("corpus-flood", number, frames[number]))
        speak(socket, "corpus-flood", frames, range(1000, len(frames)))
        say(socket, wire.CallEnded("corpus-flood", "hangup-user"))
        time.sleep(0.2)


def play(url: str, call_id: str, parts: list[str]) -> None:
    """The caller's sounds in their time; until the bridge hangs up, or they are over."""
    headers = {BRIDGE_SECRET_HEADER: SECRET}
    with (
        connect(url, additional_headers=headers, close_timeout=0.1) as socket,
        contextlib.suppress(ConnectionClosed),
    ):
        begin(socket, call_id)
        frames: list[bytes] = []
        for part in parts:
            first = len(frames)
            if part.startswith("m"):
                until = time.monotonic() + float(part[1:])
                with contextlib.suppress(TimeoutError):
                    while (left := until - time.monotonic()) > 0:
                        hung_up(socket.recv(timeout=left))
            else:
                frames += frames_of([part])
                speak(socket, call_id, frames, range(first, len(frames)))
        say(socket, wire.CallEnded(call_id, "hangup-user"))
        time.sleep(0.2)


def hung_up(message: str | bytes) -> None:
    """Leave when the bridge hangs up, as a gateway does."""
    if isinstance(csharp.decode_to_gateway(message), wire.HangUp):
        raise ConnectionClosedOK(None, None)


def signed(call_id: str) -> dict[str, str]:
    """What StandIn signs its socket with."""
    now = str(time.time_ns() // 1_000_000)
    return {
        "X-StandIn-Timestamp": now,
        "X-StandIn-Signature": sign_v1(SECRET.encode(), now, call_id),
    }


def signs(url: str) -> None:
    """Everything but audio keeps the call from being idle; in the end nothing comes."""
    call_id = "corpus-signs"
    picture = base64.b64encode(b"picture").decode()
    start = {"type": "session.start", "callId": call_id, "recordingStatus": "active"}
    video = {"type": "video.frame", "source": "camera", "ts": 1, "width": 1, "height": 1}
    messages: list[dict[str, object]] = [
        {**start, "caller": {"aadId": CALLER.user_id, "tenantId": CALLER.tenant_id}},
        {"type": "ping", "ts": 1},
        {"type": "dtmf", "digit": "7"},
        {"type": "participants", "count": 2},
        {**video, "mime": "image/jpeg", "dataBase64": picture},
        {"type": "recording.status", "status": "inactive"},
        {**video, "mime": "image/jpeg", "dataBase64": picture},
        {"type": "assistant.say", "text": "Well."},
    ]
    with (
        connect(f"{url.rstrip('/')}/{call_id}", additional_headers=signed(call_id)) as socket,
        contextlib.suppress(ConnectionClosed),
    ):
        for message in messages:
            socket.send(json.dumps(message))
            time.sleep(1)
        while True:
            socket.recv(timeout=5)


def hostile(url: str) -> None:
    """Noise before, between and after the frames of an ordinary question."""
    call_id = "corpus-hostile"
    start = {"type": "session.start", "callId": call_id, "recordingStatus": "active"}
    start["caller"] = {"aadId": CALLER.user_id, "tenantId": CALLER.tenant_id}  # type: ignore[assignment]
    rubbish = [
        "not json", "[]", "{}", '{"type":5}', '{"type":"nonsense","callId":"x"}', "null",
        '{"type":"audio.frame","seq":-1,"payloadBase64":"AAAA"}',
        '{"type":"audio.frame","seq":9007199254740993,"payloadBase64":"AAA="}',
        '{"type":"audio.frame","seq":1,"payloadBase64":"AA=="}',
        '{"type":"audio.frame","seq":1,"payloadBase64":"!!!!"}',
        '{"type":"audio.frame","seq":"1","payloadBase64":"AAAA"}',
        '{"type":"dtmf","digit":"12"}', '{"type":"dtmf","digit":""}',
        '{"type":"participants","count":-3}', '{"type":"recording.status","status":7}',
        '{"type":"assistant.say","text":"   "}', '{"type":"ping","ts":{"a":[1]}}',
        '{"type":"video.frame","source":"thermal","ts":1,"width":1,"height":1,"dataBase64":""}',
        json.dumps({"type": "session.start", "callId": "\u202e\x1b[31m", "direction": "up"}),
        '{"type":"dtmf","digit":"\\u001b[2J"}', "[" * 2000,
    ]  # fmt: skip
    with connect(f"{url.rstrip('/')}/{call_id}", additional_headers=signed(call_id)) as socket:
        for text in rubbish[:6]:
            socket.send(text)
        socket.send(json.dumps(start))
        socket.send(b"\x00\xff" * 8)
        pcm = sound(["s0.3", "v0.6", "s2.6"])
        began = time.monotonic()
        for index in range(0, len(pcm), FRAME_BYTES):
            number = index // FRAME_BYTES
            frame = {
                "type": "audio.frame",
                # Now and then twice, now and then one is lost.
                "seq": number + number // 50 - (number % 25 == 7),
                "timestampMs": number * FRAME_MS,
                "payloadBase64": base64.b64encode(pcm[index : index + FRAME_BYTES]).decode(),
            }
            socket.send(json.dumps(frame))
            if number % 5 == 0:
                socket.send(rubbish[number // 5 % len(rubbish)])
            time.sleep(max(0.0, began + (number + 1) * FRAME_MS / 1000 - time.monotonic()))
        end = {"type": "session.end", "reason": "\x1b]0;owned\x07 " + "x" * 5000}
        socket.send(json.dumps(end))
        with contextlib.suppress(Exception):
            while True:
                socket.recv(timeout=5)


def split_at(words: list[str], mark: str) -> list[list[str]]:
    """The words before, between and after the marks."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == mark:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def give(orders: list[list[str]]) -> None:
    """The operator's commands, in this process: another one takes its time to start. Seconds
    are those of the call, or of the bridge where the order is what begins one."""
    from teamscall.cli.app import app

    calls = not any("call" in order for order in orders)
    while calls and not list(Path("captures").glob("*.tcap")):
        time.sleep(0.01)
    began = time.monotonic()
    for second, *verb in orders:
        time.sleep(max(0.0, began + float(second) - time.monotonic()))
        with contextlib.suppress(SystemExit):
            app([*verb, "--socket", DOOR], standalone_mode=False)


@contextlib.contextmanager
def bridge(
    command: list[str], standin: bool | None = None
) -> Iterator[tuple[dict[bool, str], dict[str, str]]]:
    """This command's bridge until the end: its addresses (of StandIn, of a C# gateway) and the
    environment with its secrets. Up once it has told ``standin``'s; None: all of them."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("TEAMSCALL_")}
    env |= {"TEAMSCALL_BRIDGE_SECRET": SECRET, "TEAMSCALL_STANDIN_SECRET": SECRET}
    env |= {"TEAMSCALL_EMULATE_SECRET": SECRET}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env)
    assert process.stderr is not None
    urls: dict[bool, str] = {}
    for line in process.stderr:
        if ("gateway" in line or "StandIn" in line) and (found := URL.search(line)):
            urls["StandIn" in line] = found.group(0)
        if line.strip().startswith("control") or standin in urls:
            break
    try:
        yield urls, env
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def main() -> None:
    split = sys.argv.index("--")
    (what, *rest), command = sys.argv[1:split], sys.argv[split + 1 :]
    standin = what in ("hostile", "signs") or (what == "emulate" and "csharp" not in rest)
    with bridge(command, standin) as (urls, env):
        happen(what, rest, urls[standin], env)


def happen(what: str, rest: list[str], url: str, env: dict[str, str]) -> None:
    """What is to be played, against the bridge at ``url``."""
    if what == "resume":
        resume(url)
    elif what == "broken":
        broken(url)
    elif what == "lost":
        lost(url)
    elif what == "dead":
        dead(url)
    elif what == "flood":
        flood(url)
    elif what == "signs":
        signs(url)
    elif what == "play":
        play(url, rest[0], rest[1:])
    elif what == "hostile":
        hostile(url)
    else:
        first, *orders = split_at(rest, "+")
        far = subprocess.Popen([*TEAMSCALL, "emulate", "--url", url, *first], env=env)
        if orders:
            give(orders)
        far.wait(timeout=60)


if __name__ == "__main__":
    main()
