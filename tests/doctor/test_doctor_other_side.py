"""The other side: a gateway, StandIn and Microsoft that are well, and with one fault each."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from doctor_far_rig import (
    PAGE,
    SECRET,
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
    Authorization,
    Bridge,
    Config,
    Graph,
    Inbound,
    Outbound,
    Secret,
    StandIn,
    Webhook,
)
from teamscall.doctor import other_side
from teamscall.doctor.checks import Finding
from teamscall.doctor.other_side_permissions import roles_of
from teamscall.wire.signature import verify_control

TENANT = "11111111-1111-4111-8111-111111111111"
CLIENT = "22222222-2222-4222-8222-222222222222"
CLIENT_SECRET = "Zx8~good-secret-of-the-bot"
OTHER = "T9uE4aGf3dJp7sHm2BcXk5LwYn1vZr8q"
EVERY = ("Calls.AccessMedia.All", "Calls.Initiate.All", "Calls.JoinGroupCall.All")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


def examine(answer: Callable[[Asked], Reply], make: Callable[[str], Config]) -> dict[str, Finding]:
    async def go() -> dict[str, Finding]:
        async with far_side(answer) as url:
            return await examined(other_side.CHECKS, make(url))

    return asyncio.run(go())


# --- the gateway ------------------------------------------------------------------------


def gateway(asked: Asked) -> Reply:
    if asked.headers.get("x-bridge-secret") != SECRET:
        return Reply(401)
    if asked.target == "/health":
        return as_json({"status": "healthy", "activeCalls": 2, "sdkVersion": "1.2.0"})
    if asked.target == "/control/hangup" and json.loads(asked.body)["callId"]:
        return as_json({"success": False}, 404)
    return Reply(404)


def at_gateway(url: str, secret: str = SECRET, previous: str = "") -> Config:
    bridge = Bridge(secret=Secret(secret), previous_secret=Secret(previous), control_url=url)
    return config(bridge=bridge)


def test_a_gateway_that_is_well_is_only_asked_what_does_no_harm() -> None:
    asked: list[Asked] = []

    def answer(one: Asked) -> Reply:
        asked.append(one)
        return gateway(one)

    found = examine(answer, at_gateway)
    assert bad(found) == {}
    assert found["TC-GATEWAY"].facts["sdkVersion"] == "1.2.0"
    assert found["TC-GATEWAY-CONTROL"].status == "ok"
    assert {(one.method, one.target) for one in asked} == {
        ("GET", "/health"),
        ("POST", "/control/hangup"),
    }


GATEWAY_FAULTS: dict[str, tuple[Callable[[Asked], Reply], Callable[[str], Config], str, str]] = {
    "the secret is wrong": (gateway, lambda url: at_gateway(url, OTHER), "", "bridge.secret"),
    "the gateway has the secret before": (
        gateway,
        lambda url: at_gateway(url, OTHER, SECRET),
        "",
        "new secret",
    ),
    "only the control plane wants a secret": (
        lambda asked: as_json({"status": "healthy"}) if asked.target == "/health" else Reply(401),
        at_gateway,
        "-CONTROL",
        "bridge.secret",
    ),
    "the path is one too far": (
        gateway,
        lambda url: at_gateway(f"{url}/control"),
        "",
        "without /control",
    ),
    "503": (lambda asked: Reply(503), at_gateway, "", "503"),
    "a web page": (lambda asked: PAGE, at_gateway, "", "web page"),
    "it is not well": (
        lambda asked: as_json({"status": "degraded"}) if asked.target == "/health" else Reply(404),
        at_gateway,
        "",
        "degraded",
    ),
    "a redirect": (
        lambda asked: Reply(308, b"", [("Location", "https://gw/health")]),
        at_gateway,
        "",
        "https://gw",
    ),
    "it is not there": (
        gateway,
        lambda url: at_gateway("http://127.0.0.1:9"),
        "",
        "nothing answers",
    ),
}


@pytest.mark.parametrize("name", GATEWAY_FAULTS)
def test_one_fault_of_the_gateway_is_named_once(name: str) -> None:
    answer, make, check, word = GATEWAY_FAULTS[name]
    found = bad(examine(answer, make))
    assert list(found) == [f"TC-GATEWAY{check}"]
    assert word in found[f"TC-GATEWAY{check}"]
    assert SECRET not in str(found)


# --- StandIn ----------------------------------------------------------------------------


class Standin:
    """Its control endpoint. ``takes``: which signatures. Nothing is ever placed."""

    def __init__(self, secret: str = SECRET, takes: str = "v2", off_s: float = 0.0) -> None:
        self.secret = secret
        self.takes = takes
        self.off_s = off_s
        self.placed = 0

    def __call__(self, asked: Asked) -> Reply:
        date = [("Date", email.utils.formatdate(time.time() + self.off_s, usegmt=True))]
        if not asked.target.startswith("/api/calls"):
            return Reply(404, b"", date)
        subject = asked.target.rpartition("/")[2]
        wanted = "x-standin-signature-v2" if self.takes == "v2" else "x-standin-signature"
        names = {"x-standin-timestamp", wanted}
        headers = {name: text for name, text in asked.headers.items() if name in names}
        verdict = verify_control(
            self.secret.encode(),
            headers,
            asked.method,
            asked.target,
            asked.body,
            subject,
            round((time.time() + self.off_s) * 1000),
            60_000,
        )
        if not verdict.ok:
            return Reply(401, b"", date)
        self.placed += asked.method == "POST"
        return Reply(404, b"", date)


def at_standin(url: str, **more: Any) -> Config:
    table = {"secret": Secret(SECRET), "enabled": True, "worker_base_url": url, **more}
    return config(standin=StandIn(**table), outbound=Outbound(allow_to=("user:*",)))


STANDIN_FAULTS: dict[str, tuple[Standin, Callable[[str], Config], str]] = {
    "the secrets differ": (Standin(OTHER), at_standin, "standin.secret"),
    "StandIn has the secret before": (
        Standin(OTHER),
        lambda url: at_standin(url, previous_secret=Secret(OTHER)),
        "new secret",
    ),
    "an older service": (Standin(takes="v1"), at_standin, 'outbound_signature = "v1"'),
    "its clock is wrong": (Standin(off_s=-300), at_standin, "clock is 300 s behind"),
    "the path is wrong": (Standin(), lambda url: at_standin(f"{url}/v9"), "worker_base_url"),
    "it is not there": (Standin(), lambda url: at_standin("http://127.0.0.1:9"), "nothing answers"),
}


@pytest.mark.parametrize("name", STANDIN_FAULTS)
def test_one_fault_of_standin_is_named(name: str) -> None:
    answer, make, word = STANDIN_FAULTS[name]
    found = bad(examine(answer, make))
    assert list(found) == ["TC-STANDIN-CONTROL"]
    assert word in found["TC-STANDIN-CONTROL"]
    assert answer.placed == 0


@pytest.mark.parametrize("takes", ["v1", "v2"])
def test_a_standin_that_is_well_places_nothing(takes: str) -> None:
    there = Standin(takes=takes)
    found = examine(there, lambda url: at_standin(url, outbound_signature=takes))
    assert bad(found) == {}
    assert found["TC-STANDIN-CONTROL"].status == "ok"
    assert there.placed == 0


def test_who_places_no_calls_needs_no_endpoint() -> None:
    hosted = config(standin=StandIn(enabled=True, secret=Secret(SECRET)))
    assert run(other_side.CHECKS, hosted)["TC-STANDIN-CONTROL"].status == "skipped"


# --- Microsoft --------------------------------------------------------------------------


def jwt(*roles: str) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"roles": roles}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


class Microsoft:
    """The token endpoint. ``error``: what it answers in place of a token."""

    def __init__(self, roles: tuple[str, ...] = EVERY, error: int = 0) -> None:
        self.roles = roles
        self.error = error
        self.assertions = 0

    def __call__(self, asked: Asked) -> Reply:
        base = f"https://{asked.headers['host']}/{TENANT}"
        if asked.target == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            return as_json(
                {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                }
            )
        if asked.target != f"/{TENANT}/oauth2/v2.0/token":
            return refused(90002)
        self.assertions += "client_assertion" in asked.form
        if self.error:
            return refused(self.error, 401)
        if asked.form["client_id"] != CLIENT:
            return refused(700016)
        if asked.form.get("client_secret", CLIENT_SECRET) != CLIENT_SECRET:
            return refused(7000215, 401)
        return as_json(
            {"token_type": "Bearer", "expires_in": 3599, "access_token": jwt(*self.roles)}
        )


def refused(number: int, status: int = 400) -> Reply:
    said = f"AADSTS{number}: words of Microsoft. Trace ID: 0 Correlation ID: 0"
    found = {"error": "invalid_client", "error_description": said, "error_codes": [number]}
    return as_json(found, status)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("tls") / "tls.pem", rsa_key=True)


@pytest.fixture
def trusted(pem: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return pem


def graph(**more: Any) -> Graph:
    given = {"tenant_id": TENANT, "client_id": CLIENT, "client_secret": Secret(CLIENT_SECRET)}
    return Graph(**{**given, **more})


def ask_microsoft(pem: Path, there: Microsoft, **more: Any) -> dict[str, Finding]:
    tables = {key: more.pop(key) for key in ("outbound", "inbound") if key in more} or {
        "outbound": Outbound(allow_to=("user:*",))
    }

    async def go() -> dict[str, Finding]:
        async with far_side(there, server_tls(pem)) as url:
            made = config(graph=graph(authority=url, **more), **tables)
            return await examined(other_side.CHECKS, made)

    return asyncio.run(go())


def test_a_bot_with_its_permissions_is_free_of_noise(trusted: Path) -> None:
    found = ask_microsoft(trusted, Microsoft())
    assert bad(found) == {}
    assert found["TC-GRAPH-PERMISSIONS"].status == "ok"
    assert "e30" not in str(found)


def test_a_certificate_is_as_good_as_a_secret(trusted: Path) -> None:
    there = Microsoft()
    found = ask_microsoft(trusted, there, client_secret=Secret(), certificate_file=str(trusted))
    assert bad(found) == {}
    assert there.assertions == 1


MICROSOFT_FAULTS: dict[str, tuple[Microsoft, dict[str, Any], str, str]] = {
    "the secret is another's": (
        Microsoft(),
        {"client_secret": Secret("wrong")},
        "-TOKEN",
        "AADSTS7000215",
    ),
    "the secret has expired": (Microsoft(error=7000222), {}, "-TOKEN", "Make a new one"),
    "the application is not there": (
        Microsoft(),
        {"client_id": TENANT.replace("1", "3")},
        "-TOKEN",
        "AADSTS700016",
    ),
    "the tenant is not there": (
        Microsoft(),
        {"tenant_id": TENANT.replace("1", "3")},
        "-TOKEN",
        "AADSTS90002",
    ),
    "a number that nobody knows": (Microsoft(error=9999999), {}, "-TOKEN", "error?code=9999999"),
    "a permission lacks": (
        Microsoft(EVERY[1:]),
        {},
        "-PERMISSIONS",
        "Calls.AccessMedia.All (the sound of every call). Add it",
    ),
    "placing calls is not granted": (
        Microsoft((EVERY[0], EVERY[2])),
        {},
        "-PERMISSIONS",
        f"/{TENANT}/adminconsent?client_id={CLIENT}",
    ),
    "meetings are not granted": (Microsoft(EVERY[:2]), {}, "-PERMISSIONS", "meetings"),
    "a permission of the operator's own list": (
        Microsoft(),
        {"permissions": ("CallRecords.Read.All",)},
        "-PERMISSIONS",
        "CallRecords.Read.All",
    ),
}


@pytest.mark.parametrize("name", MICROSOFT_FAULTS)
def test_one_fault_at_microsoft_is_named(name: str, trusted: Path) -> None:
    there, more, check, word = MICROSOFT_FAULTS[name]
    found = bad(ask_microsoft(trusted, there, **more))
    assert list(found) == [f"TC-GRAPH{check}"]
    assert word in found[f"TC-GRAPH{check}"]
    assert "words of Microsoft" not in str(found)


def test_a_certificate_that_is_not_uploaded_is_named_by_its_thumbprint(trusted: Path) -> None:
    found = ask_microsoft(
        trusted, Microsoft(error=700027), client_secret=Secret(), certificate_file=str(trusted)
    )
    thumbprint = str(found["TC-GRAPH"].facts["thumbprint"])
    assert thumbprint in bad(found)["TC-GRAPH-TOKEN"]


def test_what_is_not_used_needs_no_permission(trusted: Path) -> None:
    quiet = ask_microsoft(
        trusted, Microsoft(EVERY[:1]), outbound=Outbound(), inbound=Inbound(enabled=False)
    )
    assert bad(quiet) == {}


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"tenant_id": "my tenant"}, "no GUID and no domain"),
        ({"client_id": "my-bot"}, "graph.client_id"),
        ({"client_id": TENANT}, "are the same"),
        ({"client_secret": Secret()}, "graph.client_secret or graph.certificate_file"),
        ({"client_secret": Secret(f"{CLIENT_SECRET}\n")}, "line end"),
        ({"client_secret": Secret(TENANT.replace("1", "4"))}, "Secret ID"),
        ({"authority": "http://127.0.0.1:9"}, "https"),
        ({"certificate_file": "/no/such/file"}, "Keep one"),
    ],
)
def test_values_that_cannot_be_right_ask_nobody(given: dict[str, Any], word: str) -> None:
    found = bad(run(other_side.CHECKS, config(graph=graph(**given))))
    assert list(found) == ["TC-GRAPH"]
    assert word in found["TC-GRAPH"]


def test_a_certificate_file_is_looked_at_before_microsoft_is_asked(tmp_path: Path) -> None:
    def told(path: Path) -> str:
        given = graph(client_secret=Secret(), certificate_file=str(path))
        found = bad(run(other_side.CHECKS[3:4], config(graph=given)))
        assert list(found) == ["TC-GRAPH"]
        return found["TC-GRAPH"]

    one = certificate(tmp_path / "one.pem")
    other = certificate(tmp_path / "other.pem", key_too=False)
    assert "no private key" in told(other)
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(
        other.read_bytes() + one.read_bytes().split(b"-----END CERTIFICATE-----\n")[1]
    )
    assert "not that of its certificate" in told(mixed)
    pfx = tmp_path / "bot.pfx"
    pfx.write_bytes(b"\x30\x82\x0a")
    assert "openssl pkcs12" in told(pfx)
    assert "expired on" in told(certificate(tmp_path / "old.pem", days=-1))
    assert "expires on" in told(certificate(tmp_path / "soon.pem", days=9.5))
    one.chmod(0o644)
    assert "chmod 600" in told(one)
    assert "cannot be read" in told(tmp_path / "none.pem")


def test_without_a_registration_there_is_the_checklist() -> None:
    found = run(other_side.CHECKS, config(outbound=Outbound(allow_to=("user:*",))))
    assert found["TC-GRAPH"].status == "skipped"
    for name in EVERY:
        assert name in found["TC-GRAPH"].remedy
    assert bad(found) == {}


def test_microsoft_that_cannot_be_reached_is_no_fault_of_the_secret() -> None:
    made = config(graph=graph(authority="https://127.0.0.1:9"))
    found = bad(run(other_side.CHECKS, made))
    assert list(found) == ["TC-GRAPH-TOKEN"]
    assert "nothing answers" in found["TC-GRAPH-TOKEN"]


def test_roles_are_read_of_any_token_without_fault() -> None:
    assert roles_of(jwt("A", "B")) == ("A", "B")
    assert roles_of("opaque") is None
    assert roles_of("a.!!!.c") is None
    assert roles_of("a.W10.c") is None  # a list


# --- whom the bridge asks or tells ------------------------------------------------------


def test_hooks_are_reached_and_not_asked() -> None:
    asked: list[Asked] = []

    def answer(one: Asked) -> Reply:
        asked.append(one)
        return Reply(502 if one.target == "/down" else 405)

    def make(url: str) -> Config:
        return config(
            authorization=Authorization(mode="open", hook_url=f"{url}/hook"),
            webhooks=(Webhook(url=f"{url}/down"),),
            outbound=Outbound(resolver_url="http://127.0.0.1:9/who"),
        )

    found = examine(answer, make)
    assert found["TC-HOOK"].status == "ok"
    assert "502" in bad(found)["TC-WEBHOOKS"]
    assert "outbound.resolver_url" in bad(found)["TC-RESOLVER"]
    assert {one.method for one in asked} == {"HEAD"}
