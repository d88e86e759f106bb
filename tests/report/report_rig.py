"""A browser for the pages, over its own protocol, and captures to draw.

One Chromium for all tests of a module, without a sandbox (tests may run as root) and without
a network: a page that asks for anything is caught asking.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from teamscall.capture.reader import Capture, read
from teamscall.capture.records import Did, Frame, Header, Record, Step
from teamscall.capture.writer import write

CORPUS = Path(__file__).parent.parent / "corpus"
NAMES = ("chromium", "chromium-browser", "google-chrome")
# Everything of a browser may take this long on a busy machine.
PATIENCE_S = 60.0
POLL_S = 0.02

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'{{7*7}}"
HOSTILE += "\u2028\u2029\x00\u202e\x1b[2J\ud7ff javascript:window.pwned=1 ]]>--><!--"


def capture(name: str) -> Capture:
    """One of the corpus."""
    return read(CORPUS / f"{name}.tcap")


def made(path: Path, header: Header, records: Sequence[Record]) -> Capture:
    """A capture of its own."""
    write(path, header, records)
    return read(path)


def hostile(path: Path) -> Capture:
    """A call in which every text that a peer can choose wants to be run."""
    one = capture("standin-question")
    began = one.header.began
    long = HOSTILE + "A" * 300_000

    def message(at: float, way: str, index: int, **fields: Any) -> Frame:
        text = json.dumps(fields).encode()
        return Frame(began + at, "in" if way == "in" else "out", text, 0, index)

    caller = {"aadId": HOSTILE, "displayName": HOSTILE, "tenantId": HOSTILE}
    picture = {"ts": 1, "width": 8, "height": 8, "mime": "image/png", "dataBase64": "AAAA"}
    call = {"call_id": HOSTILE, "wall_ms": 1}
    records: list[Record] = [
        message(0, "in", 0, type="session.start", callId="x", caller=caller),
        Step(began, "shell", -1, None),
        Did("CallOpened", {**call, "address": HOSTILE, "engine": HOSTILE}),
        Did("Heard", {**call, "utterance": 1, "text": HOSTILE, "final": False}),
        Did("Heard", {**call, "utterance": 1, "text": long, "final": True}),
        Did("TurnBegan", {**call, "turn": 1, "kind": HOSTILE}),
        Did("Said", {**call, "turn": 1, "delta": long}),
        Did("Interrupted", {**call, "turn": 1, "by": HOSTILE, "why": HOSTILE, "heard_ms": "1"}),
        Did("EngineTrouble", {**call, "stage": HOSTILE, "detail": long, "fatal": True}),
        Did("TurnEnded", {**call, "turn": 1, "kind": HOSTILE, "status": HOSTILE,
                          "said_text": long, "heard_text": "", "latency": HOSTILE}),
        Did(HOSTILE, {HOSTILE: HOSTILE, "list": [HOSTILE] * 50}),
        message(0.5, "in", 1, type="video.frame", source="camera", participantName=HOSTILE,
                participantId=HOSTILE, **picture),
        message(0.6, "in", 2, type=HOSTILE, text=long),
        message(0.7, "out", 3, type="display.image", mime="image/png", dataBase64="AAAA",
                caption=HOSTILE),
        Frame(began + 0.8, "in", b"\xff\xfe" + HOSTILE.encode(), 0, 4),
        *(r for r in one.records if isinstance(r, Frame) and r.at > began + 0.01),
    ]  # fmt: skip
    replaced = {"call_id": HOSTILE, "teamscall": HOSTILE, "engine": HOSTILE, "why": HOSTILE}
    header = Header(**{name: getattr(one.header, name) for name in Header.__struct_fields__}
                    | replaced)  # fmt: skip
    return made(path, header, records)


# --- a browser ----------------------------------------------------------------------------


def found_browser() -> str | None:
    """The first that is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running Chromium and its socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, session: str = "", **parameters: Any) -> dict[str, Any]:
        """Ask, and wait for the answer; events that come in between are kept."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked | ({"sessionId": session} if session else {})))
        while True:
            message = self._receive()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result

    def wait_for(self, method: str, session: str) -> None:
        """Until such an event was seen."""
        while not any(self._is(one, method, session) for one in self.events):
            self._receive()

    def _is(self, event: dict[str, Any], method: str, session: str) -> bool:
        return event["method"] == method and event.get("sessionId") == session

    def _receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._socket.recv(timeout=PATIENCE_S))
        if "method" in message:
            self.events.append(message)
        return message


class Page:
    """One tab."""

    def __init__(self, browser: Browser, width: int = 1280) -> None:
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session: str = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900,
                 deviceScaleFactor=1, mobile=False)  # fmt: skip

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(method, self._session, **parameters)

    def open(self, path: Path) -> None:
        self.ask("Page.navigate", url=path.as_uri())
        self._browser.wait_for("Page.loadEventFired", self._session)
        # What is drawn, is drawn in the next frame.
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.ask(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until it is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"never true: {script}"
            time.sleep(POLL_S)
        return value

    def click(self, selector: str, *, x: float = 0.5, y: float = 0.5) -> None:
        """As a person does: a press and a release at a place of what is there."""
        box = self.run(
            f"(() => {{const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height];})()"
        )
        place = {"x": box[0] + x * box[2], "y": box[1] + y * box[3]}
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def key(self, key: str) -> None:
        text = {"text": key} if len(key) == 1 else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def complaints(self) -> list[str]:
        """What the page said, failed at, or asked of a network since it was opened."""
        out = []
        for event in self._browser.events:
            if event.get("sessionId") != self._session:
                continue
            said = event.get("params", {})
            match event["method"]:
                case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded":
                    out.append(json.dumps(said)[:600])
                case "Network.requestWillBeSent":
                    url = str(said["request"]["url"])
                    if not url.startswith(("file:", "data:", "blob:", "about:")):
                        out.append(url)
                case "Page.javascriptDialogOpening":
                    out.append(f"a dialog: {said['message']}")
                case _:
                    pass
        return out

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)


@contextlib.contextmanager
def running(program: str, profile: Path) -> Iterator[Browser]:
    """A browser until the block is over."""
    process = subprocess.Popen(
        [program, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-extensions", "--disable-dev-shm-usage", "--remote-debugging-port=0",
         f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        port, path = _door(process, profile / "DevToolsActivePort")
        url = f"ws://127.0.0.1:{port}{path}"
        with connect(url, max_size=None, compression=None, proxy=None) as socket:
            browser = Browser(socket)
            yield browser
            with contextlib.suppress(Exception):
                browser.call("Browser.close")
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE_S)


def _door(process: subprocess.Popen[bytes], file: Path) -> tuple[str, str]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert process.poll() is None, "the browser ended"
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return lines[0], lines[1]
        time.sleep(POLL_S)
    raise AssertionError("the browser never opened its door")
