"""OpenAI's address and models, or those of a server that speaks its API.

Owns what can be told for nothing: proxies, the way there, and the list of models. What a
model answers is ``engines_turns``'.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shlex
import ssl
import sys
from urllib.parse import urlsplit

from teamscall.config import Config
from teamscall.config.models import MODELS, Role
from teamscall.doctor import engines_key, findings
from teamscall.doctor.checks import Check, Fact, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_asking import (
    Answer,
    Silent,
    ask,
    distrusted,
    local,
    place,
    proxy_for,
    raw_proxy_for,
)
from teamscall.doctor.engines_key import KEYS_PAGE, NOT_USED
from teamscall.doctor.engines_places import (
    OPENAI_HOST,
    Place,
    Uses,
    hearing,
    places,
    speaking,
    thinking,
    today,
    uses,
)
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.text import printable

_CONNECT_S = 3.0


# --- the way there ----------------------------------------------------------------------


async def trust(site: Site) -> Finding:
    """Whether the CAs that the environment names can be loaded."""
    name = next((each for each in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(each)), "")
    if not name:
        return ok("The system's own.")
    path = printable(os.environ[name], 120)
    if name == "SSL_CERT_DIR":
        return ok(f"Those in {path} (SSL_CERT_DIR).")
    try:
        context = await asyncio.to_thread(ssl.create_default_context, cafile=os.environ[name])
        count = len(context.get_ca_certs())
        if not count:
            raise ssl.SSLError("no CA")
    except OSError as error:
        silent = distrusted(error)
        return failed(f"{silent.what}.", silent.remedy)
    return ok(f"{count} in {path} (SSL_CERT_FILE), and no others.", certificates=count)


async def proxy(site: Site) -> Finding:
    """Whether the proxies that requests would take are there."""
    config = site.config
    urls = [url for each in places(config) for url in _urls(each)]
    urls += [
        *(url for url in (config.bridge.control_url,) if not local(url)),
        config.authorization.hook_url,
        *(each.url for each in config.webhooks),
        *(each.url for each in config.tools),
    ]
    if config.graph.tenant_id:
        urls.append(config.graph.authority)
    found = {raw_proxy_for(url): url for url in urls if url and raw_proxy_for(url)}
    if not found:
        return ok("No request passes a proxy.")
    for raw, url in found.items():
        written = raw if "://" in raw else f"http://{raw}"
        if (unusable := _unusable(raw, written)) is not None:
            return unusable
        parts = urlsplit(written)
        port = parts.port or {"https": 443, "socks5": 1080, "socks5h": 1080}.get(parts.scheme, 80)
        host = printable(parts.hostname or "", 100)
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(parts.hostname, port)
            writer.transport.abort()
        except (OSError, TimeoutError, ValueError):
            target = printable(urlsplit(url).hostname or "", 100)
            return failed(
                f"The environment names the proxy {place(written)}, and nothing answers there.",
                "Correct HTTPS_PROXY (HTTP_PROXY, ALL_PROXY) or unset it; to go past it: "
                f"NO_PROXY={target}.",
                proxy=f"{host}:{port}",
                target=target,
            )
    shown = ", ".join(place(each if "://" in each else f"http://{each}") for each in found)
    return ok(f"{shown} answers.", proxies=len(found))


def _unusable(raw: str, written: str) -> Finding | None:
    """A proxy that the clients here cannot go through, whether it is there or not."""
    if "://" not in raw:
        return failed(
            f"The environment names the proxy {place(written)[7:]} without a scheme.",
            "Write http:// before it: sessions are WebSockets, whose client wants it.",
        )
    needs = ("socksio", "python_socks")
    if raw.startswith("socks") and any(importlib.util.find_spec(each) is None for each in needs):
        return failed(
            f"The environment names the SOCKS proxy {place(written)}.",
            f"{shlex.quote(sys.executable)} -m pip install socksio python-socks; or name an HTTP "
            "proxy.",
        )
    return None


def _urls(each: Place) -> list[str]:
    return [each.http_url, *([each.socket_url] if each.sockets else [])]


async def listed(site: Site, each: Place) -> Answer:
    """``GET /models`` there, asked once in a run. Raises: Silent."""
    key_ = f"models {each.at.base_url} {hash(each.at.key)}"
    return await site.shared.once(
        key_, lambda: ask("GET", each.http_url, each.at.setting, headers=each.at.headers())
    )


async def address(site: Site) -> Finding:
    """Whether the API is where the configuration says."""
    if told := findings.of("TC-OPENAI-URL", site.problems):
        return failed(findings.sentence(told[0]), findings.CHECK)
    used = places(site.config)
    if not used:
        return skipped(NOT_USED)
    found = await asyncio.gather(*(_address(site, each) for each in used))
    wrong = next((one for one in found if one is not None), None)
    if wrong is not None:
        return wrong
    if told := findings.of("TC-OPENAI-URL", site.warnings):
        return warning(findings.sentence(told[0]), "Write https:// there.")
    return ok(f"{', '.join(place(each.at.base_url) for each in used)} answers.", services=len(used))


async def _address(site: Site, each: Place) -> Finding | None:
    at = each.at
    shown = printable(at.base_url.partition("?")[0], 120)
    try:
        answer = await listed(site, each)
    except Silent as silent:
        return failed(
            f"{shown}: {silent.what}.", silent.remedy, url=shown, proxy=proxy_for(each.http_url)
        )
    status = answer.status
    facts: dict[str, Fact] = {"url": shown, "status": status}
    if 300 <= status < 400:
        return failed(
            f"{shown} answers with a redirect ({status}).",
            f"Redirects are not followed: set {at.setting} to where it leads"
            + (
                f": {answer.location.partition('?')[0].removesuffix('/models')}"
                * bool(answer.location)
            )
            + ".",
            **facts,
        )
    if status == 407:
        return failed(
            f"The proxy {proxy_for(each.http_url)} wants a password (407).",
            "Write it into the proxy's URL: http://USER:PASSWORD@HOST:PORT.",
            **facts,
        )
    if status == 400 and b"HTTPS port" in answer.body:
        return failed(
            f"{shown} is asked in plain HTTP and speaks TLS.",
            f"Write https:// in {at.setting}.",
            **facts,
        )
    if status >= 500:
        return failed(
            f"{shown} answered {status}: the service is down, or what stands before it is.",
            "Wait and try again; for OpenAI see https://status.openai.com.",
            **facts,
        )
    if answer.is_html or status in (404, 405):
        return await _elsewhere(each, answer, shown, facts)
    if status == 200 and _names(answer) is None:
        return failed(
            f"{shown} answers, and not as OpenAI's API does.",
            f"Set {at.setting} to the address of the API, up to and with /v1.",
            **facts,
        )
    return None


async def _elsewhere(
    each: Place, answer: Answer, shown: str, facts: dict[str, Fact]
) -> Finding | None:
    """There is no list of models: is the API somewhere else on that server?"""
    at, base = each.at, urlsplit(each.at.base_url)
    path = base.path.rstrip("/")
    for other in dict.fromkeys((f"{path}/v1", "/v1")):
        if (path.endswith("/v1") and other == f"{path}/v1") or other == path:
            continue
        there = base._replace(path=other).geturl()
        found = await _status(there, "models", at)
        if found in (200, 401, 403):
            return failed(
                f"{shown} is not where the API is.",
                f"Set {at.setting} to {printable(there, 120)}.",
                **facts,
            )
    # A server of one's own need not have the list, but something of the API. Sessions alone
    # cannot be looked for so: many answer plain HTTP at their address with 404.
    parts = ("chat/completions", "audio/speech")
    if not (answer.is_html or at.is_openai):
        if not each.requests:
            return None
        statuses = await asyncio.gather(*(_status(at.base_url, part, at) for part in parts))
        if any(status not in (0, 404, 405) for status in statuses):
            return None
    kind = "with a web page" if answer.is_html else f"{answer.status}"
    return failed(
        f"{shown} answers {kind}: that is not the API.",
        f"Set {at.setting} to the address of the API, up to and with /v1; empty is OpenAI's own.",
        **facts,
    )


async def _status(base: str, part: str, at: Endpoint) -> int:
    """What an empty question there is answered with, which no server does anything for; 0:
    with nothing, or with a web page."""
    parts = urlsplit(base)
    url = parts._replace(path=f"{parts.path.rstrip('/')}/{part}").geturl()
    method = "GET" if part == "models" else "POST"
    headers = {**at.headers(), "Content-Type": "application/json"}
    body = b"{}" if method == "POST" else b""
    try:
        answer = await ask(
            method, url, at.setting, headers=headers, body=body, timeout_s=_CONNECT_S
        )
    except Silent:
        return 0
    return 0 if answer.is_html else answer.status


def _names(answer: Answer) -> list[str] | None:
    """The models' names; None where it is no list of models."""
    found = answer.json()
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, list):
        return None
    return [str(one.get("id", "")) for one in data if isinstance(one, dict)]


# --- may we -----------------------------------------------------------------------------


async def access(site: Site) -> Finding:
    """Whether the key opens it."""
    used = places(site.config)
    if not used:
        return skipped(NOT_USED)
    for each in used:
        at = each.at
        try:
            answer = await listed(site, each)
        except Silent as silent:
            return failed(f"{place(at.base_url)}: {silent.what}.", silent.remedy)
        facts: dict[str, Fact] = {"status": answer.status, "code": answer.code}
        if answer.status == 401:
            keyless = not at.key
            return failed(
                f"{place(at.base_url)} "
                + (
                    "wants a key, and there is none (401)." if keyless else "refuses the key (401)."
                ),
                f"Set {at.key_setting}."
                if keyless
                else f"Is it revoked, or another service's? Put a valid key into {at.key_setting}"
                + (f" ({KEYS_PAGE})." if at.is_openai else "."),
                **facts,
            )
        if answer.status == 403 and b"scope" not in answer.body:
            region = "region" in answer.code or "country" in answer.code
            return failed(
                f"{place(at.base_url)} refuses this "
                + ("country or region (403)." if region else "key or this network (403)."),
                "Ask from a country that the service supports."
                if region
                else f"Look at the rights and the allowed addresses of {at.key_setting}'s project.",
                **facts,
            )
    return ok("The key is accepted.", services=len(used))


async def models(site: Site) -> Finding:
    """Whether the configured models exist and are for what they are configured for."""
    config = site.config
    found = uses(config)
    if not found.openai:
        return skipped(NOT_USED)
    wanted = wanted_models(config, found)
    for setting, name, role, _ in wanted:
        roles = {each.role for each in MODELS if each.name == name}
        if roles and role not in roles and not (role == "speak" and "realtime" in roles):
            return failed(
                f"{setting} is {name}, which {_DOES[next(iter(sorted(roles)))]}; "
                f"it is to be one that {_DOES[role]}.",
                f"Leave {setting} empty for the best current one, or set another model.",
                model=name,
                setting=setting,
            )
    for setting, name, _, each in wanted:
        if each.at.host != OPENAI_HOST:
            continue  # Azure names deployments, and other servers load models when asked
        names = _names(await listed(site, each))
        if names is not None and name not in names:
            return failed(
                f"{setting} is {printable(name, 80)}, and this key's project has no such model.",
                f"Leave {setting} empty, correct its spelling, or allow the model to the project "
                "(platform.openai.com, project, limits).",
                model=printable(name, 80),
                setting=setting,
            )
    if told := findings.of("TC-OPENAI-MODELS", site.warnings):
        return warning(findings.sentence(told[0]), "Take the model that is named there.")
    named = ", ".join(dict.fromkeys(printable(name, 60) for _, name, _, _ in wanted))
    return ok(f"{named}.", models=len(wanted))


_DOES: dict[str, str] = {
    "hear": "transcribes",
    "think": "answers in text",
    "speak": "speaks a text",
    "realtime": "talks in a realtime session",
    "live": "talks in a live session",
}


def wanted_models(config: Config, found: Uses) -> list[tuple[str, str, Role, Place]]:
    """(setting, model, role, where) of every model that a call may meet."""
    from teamscall.config.models import resolve
    from teamscall.engines.openai import configured

    wanted: list[tuple[str, str, Role, Place]] = []
    if found.streaming:
        hears, speaks = hearing(config), speaking(config)
        wanted.append(("streaming.stt_model", hears.model.name, "hear", Place(hears.endpoint)))
        if not found.mind:
            thinks = thinking(config)
            wanted.append(("response_model", thinks.model.name, "think", Place(thinks.endpoint)))
        wanted.append(("tts.model", speaks.voice.model.name, "speak", Place(speaks.endpoint)))
    main = Place(configured.endpoint(config))
    if found.realtime:
        name = resolve("realtime", config.realtime.model, today()).name
        wanted.append(("realtime.model", name, "realtime", main))
        if config.realtime.transcription_model:
            ear = resolve("hear", config.realtime.transcription_model, today()).name
            wanted.append(("realtime.transcription_model", ear, "hear", main))
    if found.live:
        name = resolve("live", config.live.model, today()).name
        wanted.append(("live.model", name, "live", main))
    return wanted


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-TRUST",
        "engines",
        "Who is trusted",
        trust,
        "Looks at SSL_CERT_FILE and SSL_CERT_DIR, which replace the system's CAs for every "
        "request of teamscall: a file that is not there or holds no certificate has all fail.",
        "Unset the variable, or have it name a PEM file with every CA that is needed, the "
        "system's own included.",
    ),
    Check(
        "TC-PROXY",
        "engines",
        "Proxies",
        proxy,
        "Looks at HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY as the engines and the "
        "webhooks do, and connects to each proxy that a configured address would take. Requests "
        "to the gateway or StandIn on this machine pass none.",
        "Correct or unset the variable; NO_PROXY lists hosts that are reached directly.",
        after=("TC-CONFIG", "TC-TRUST"),
    ),
    *engines_key.CHECKS,
    Check(
        "TC-OPENAI-URL",
        "engines",
        "The way to the service",
        address,
        "Asks each configured service (openai.base_url and its like, response.base_url) for "
        "its list of models: name, port, TLS and its certificate, proxy, redirects, and whether "
        "what answers is the API. Nothing is spent.",
        "Set the named key to the address of the API, up to and with /v1. For a network that "
        "looks into TLS, add its CA to the system or name it with SSL_CERT_FILE.",
        after=("TC-CONFIG", "TC-OPENAI-KEY", "TC-PROXY"),
        timeout_s=13.0,
    ),
    Check(
        "TC-OPENAI-ACCESS",
        "engines",
        "The key is accepted",
        access,
        "Looks at what the same request said of the key: 401 is a key that is refused, 403 one "
        "that may not, or a country or network that may not.",
        "Put a valid key of the right project there.",
        after=("TC-OPENAI-URL",),
    ),
    Check(
        "TC-OPENAI-MODELS",
        "engines",
        "The models",
        models,
        "Compares the configured models with what each is for, with OpenAI's list for this key, "
        "and with the days on which models are switched off. Other servers' lists are not gone "
        "by: they load models when they are asked.",
        "Leave the key empty: then the best current model is used, and renewed with teamscall.",
        after=("TC-OPENAI-ACCESS",),
    ),
)
