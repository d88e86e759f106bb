"""What an answer to the upgrade means: whose it is, and which check tells of it."""

from __future__ import annotations

import pytest
from doctor_rig import PATH, SECRET, config, site

from teamscall.doctor.knocking import Answer, read_answer
from teamscall.doctor.line_answers import Seen, diagnose
from teamscall.doctor.line_reach import look_at
from teamscall.doctor.lines import Line, dialled, lines

URL = f"wss://bot.example.com{PATH}"
FINE = Answer(101, (("upgrade", "websocket"),))


def line(standin: bool = False, url: str = URL) -> Line:
    return lines(site(config(standin=standin, public_url=url)))[0]


def ours(status: int, word: str) -> Answer:
    return Answer(status, (("content-type", "application/json"),), f'{{"error":"{word}"}}'.encode())


def proxy(status: int, *headers: tuple[str, str], body: bytes = b"<html>") -> Answer:
    return Answer(status, (("server", "nginx"), *headers), body)


@pytest.mark.parametrize(
    ("answer", "which", "words"),
    [
        (FINE, "", ""),
        (Answer(101), "TC-UPGRADE", "101"),
        (Answer(trouble="http2"), "TC-HTTP", "HTTP/2 alone"),
        (Answer(trouble="closed"), "TC-HTTP", "closes"),
        (Answer(trouble="timeout"), "TC-HTTP", "does not answer"),
        (
            Answer(trouble="tls", detail="TLSV13_ALERT_CERTIFICATE_REQUIRED"),
            "TC-HTTP",
            "certificate of the client",
        ),
        (Answer(trouble="not-http", detail="SSH-2.0"), "TC-HTTP", "SSH-2.0"),
        (proxy(301, ("location", f"https://bot.example.com{PATH}")), "TC-HTTP", "redirects"),
        (proxy(302, ("location", "https://login.example.com/oauth2")), "TC-HTTP", "login page"),
        (proxy(401, ("www-authenticate", 'Basic realm="x"')), "TC-HTTP", "401 Basic"),
        (proxy(403), "TC-HTTP", "forbids"),
        (proxy(502), "TC-HTTP", "does not reach the bridge"),
        (proxy(503), "TC-HTTP", "by itself (503)"),
        (proxy(429), "TC-HTTP", "by itself (429)"),
        (Answer(503, (), b"<html>"), "TC-HTTP", "does not reach the bridge"),
        (proxy(400, body=b"No required SSL certificate was sent"), "TC-HTTP", "of the client"),
        (proxy(504), "TC-HTTP", "does not reach the bridge"),
        (proxy(200, ("content-type", "text/html")), "TC-HTTP", "web page"),
        (proxy(404), "TC-PATH", "proxy has nothing"),
        (proxy(400), "TC-UPGRADE", "does not pass the upgrade"),
        (proxy(418), "TC-HTTP", "418"),
        (ours(404, "not found"), "TC-PATH", "drops or rewrites"),
        (ours(426, "websocket upgrade required"), "TC-UPGRADE", "do not arrive"),
        (ours(401, "unauthorized"), "TC-CREDENTIALS", "X-Bridge-Secret"),
        (ours(429, "too many attempts"), "TC-CREDENTIALS", "X-Bridge-Secret"),
        (ours(431, "request head too large"), "TC-HTTP", "431"),
    ],
)
def test_an_answer_through_the_proxy(answer: Answer, which: str, words: str) -> None:
    kind, found = diagnose(line(), Seen(answer, FINE, Answer()))
    assert kind == which
    assert words in found.what
    assert bool(found.remedy) == bool(which)
    assert SECRET not in str(found)


def test_a_bad_request_of_standin_is_the_paths() -> None:
    kind, _ = diagnose(line(True), Seen(ours(400, "bad request"), FINE, Answer()))
    assert kind == "TC-PATH"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ours(401, "unauthorized"), "another one"),
        (ours(404, "not found"), "no path"),
        (ours(503, "unavailable"), "several doctors"),
        (Answer(trouble="closed"), "does not answer"),
    ],
)
def test_what_goes_wrong_without_a_proxy_is_told_first(answer: Answer, words: str) -> None:
    kind, found = diagnose(line(), Seen(proxy(502), answer, Answer()))
    assert kind == "TC-DIRECT"
    assert words in found.what


def test_a_redirect_to_https_says_what_to_register() -> None:
    where = line(url=f"ws://bot.example.com{PATH}")
    answer = proxy(301, ("location", f"https://bot.example.com{PATH}"))
    _, found = diagnose(where, Seen(answer, FINE, Answer()))
    assert f"Register wss://bot.example.com{PATH}" in found.remedy


def test_a_redirect_to_a_slash_is_not_answered_with_what_is_registered() -> None:
    _, found = diagnose(
        line(), Seen(proxy(301, ("location", f"https://bot.example.com{PATH}/")), FINE, Answer())
    )
    assert "Register" not in found.remedy
    assert "ake the redirect off" in found.remedy


def test_what_the_bridge_cannot_read_at_all_is_no_missing_header() -> None:
    bad = ours(400, "bad request")
    kind, found = diagnose(line(), Seen(bad, FINE, bad))
    assert kind == "TC-HTTP"
    assert "send-proxy" in found.remedy


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"", Answer(trouble="closed")),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00rest", Answer(trouble="http2")),
        (b"SSH-2.0-OpenSSH\r\n", Answer(trouble="not-http", detail="SSH-2.0-OpenSSH")),
        (b"HTTP/1.1 204 No\r\nA: b\r\n\r\n", Answer(204, (("a", "b"),))),
        (b"HTTP/1.0 502\r\n\r\nx", Answer(502, (), b"x")),
        (b"HTTP/1.1 abc\r\n\r\n", Answer(trouble="not-http", detail="HTTP/1.1 abc")),
    ],
)
def test_bytes_become_an_answer(data: bytes, answer: Answer) -> None:
    assert read_answer(data) == answer


@pytest.mark.parametrize(
    ("url", "status", "words"),
    [
        (URL, "ok", ""),
        (f"https://bot.example.com{PATH}", "ok", ""),
        (f"ws://127.0.0.1:8080{PATH}", "ok", "of this machine"),
        ("wss://bot.example.com", "failed", "has no path"),
        ("wss://bot.example.com/", "failed", "has no path"),
        (f"{URL}/", "failed", "slash"),
        (f"{URL}?x=1", "failed", "query"),
        (f"{URL}/{{callId}}", "failed", "placeholder"),
        (f"wss://bot.example.com/{PATH}", "failed", "double slash"),
        (f"ftp://bot.example.com{PATH}", "failed", "scheme ftp"),
        (f"wss://u:hunter2@bot.example.com{PATH}", "failed", "credentials"),
        (f"wss://{PATH}", "failed", "no host"),
        (f"wss://bot.example.com:99999{PATH}", "failed", "no URL"),
        (f"wss://0.0.0.0:3335{PATH}", "failed", "no address"),
        (f"ws://bot.example.com{PATH}", "warning", "not encrypted"),
    ],
)
def test_an_address_is_looked_at_before_it_is_dialled(url: str, status: str, words: str) -> None:
    where = site(config(public_url=url))
    found = look_at(lines(where)[0], where)
    assert found.status == status
    assert words in found.what
    assert "hunter2" not in str(found)


def test_both_dialects_have_a_line_of_their_own_path() -> None:
    import msgspec

    base = config(public_url=URL)
    both = msgspec.structs.replace(base, standin=config(standin=True).standin)
    told = {one.dialect: one.url for one in lines(site(both))}
    assert told == {"csharp": URL, "standin": "wss://bot.example.com/msteams/calling"}


def test_each_upgrade_is_signed_anew_and_the_secret_stays() -> None:
    _, first, headers = dialled(line(True))
    _, second, _ = dialled(line(True))
    assert first != second
    assert "/msteams/calling/" not in first  # the registered path is kept as it is
    assert SECRET not in str(headers)
