"""What an answer to the upgrade means: a proxy's or the bridge's own, and which check tells.

Pure: answers in, a check's id and its finding out. Refuses to know how they were fetched.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from teamscall.doctor.checks import Fact, Finding, failed, ok
from teamscall.doctor.knocking import Answer
from teamscall.doctor.lines import Line
from teamscall.text import printable

Kind = Literal["", "TC-DIRECT", "TC-HTTP", "TC-UPGRADE", "TC-PATH", "TC-CREDENTIALS"]

_OURS = frozenset(
    {
        "bad request",
        "unauthorized",
        "not found",
        "method not allowed",
        "request timeout",
        "call is live",
        "body too large",
        "websocket upgrade required",
        "too many attempts",
        "request head too large",
        "unavailable",
        "http version not supported",
    }
)
_LOGIN = ("login", "signin", "sign-in", "oauth", "saml", "auth", "sso", "cdn-cgi/access")


class Seen(msgspec.Struct, frozen=True):
    """One line's upgrades: through the registered address, past it, and a plain GET."""

    public: Answer
    direct: Answer
    plain: Answer


def ours(answer: Answer) -> bool:
    """Whether a bridge wrote this, and not a proxy."""
    try:
        said = msgspec.json.decode(answer.body, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError):
        return False
    return set(said) == {"error"} and said["error"] in _OURS


# --- what it means ------------------------------------------------------------------------


def diagnose(line: Line, seen: Seen) -> tuple[Kind, Finding]:
    """Which check tells of it, and what it tells; blank where the upgrade works."""
    if (found := _of_direct(line, seen.direct)) is not None:
        return "TC-DIRECT", found
    answer = seen.public
    if answer.status == 101:
        if "websocket" not in answer.header("upgrade").lower():
            return "TC-UPGRADE", failed(
                "The proxy answers 101 without saying to what it switches.",
                "Let it pass the Upgrade and Connection headers of the answer too.",
            )
        return "", ok("")
    if answer.status == 0:
        return "TC-HTTP", _no_http(line, answer)
    if ours(answer):
        if answer.status == 400 and seen.plain.status == 400 and ours(seen.plain):
            return "TC-HTTP", _not_http_to_us(line)
        return _by_the_bridge(line, answer)
    return _by_a_proxy(line, seen)


def _not_http_to_us(line: Line) -> Finding:
    return failed(
        "What the proxy sends to the bridge does not begin as a request of HTTP (400): most "
        "likely it puts the PROXY protocol before it.",
        "Take it off (HAProxy: no send-proxy on the server's line; nginx: no proxy_protocol on; "
        f"in the stream block), and let the upstream {line.own.port} have plain HTTP/1.1.",
        status=400,
    )


def _of_direct(line: Line, answer: Answer) -> Finding | None:
    key = "standin.secret" if line.dialect == "standin" else "bridge.secret"
    again = "`teamscall reload`, or restart the bridge"
    if answer.status == 101:
        return None
    if answer.status in (401, 429) and ours(answer):
        return failed(
            f"The running bridge does not accept {key}: it was started with another one"
            f"{', or clocks differ' if line.dialect == 'standin' else ''}.",
            f"{again}: then it has the secret of this configuration. If that one is wrong, put "
            "the right one in first.",
            status=answer.status,
        )
    if answer.status == 404 and ours(answer):
        return failed(
            f"The running bridge has no path {line.own_path}.",
            "Restart the bridge: it was started with another configuration.",
            status=404,
        )
    if answer.status == 503 and ours(answer):
        return failed(
            "The running bridge takes no test call now: several doctors at once.",
            "Run it again in two minutes.",
            status=503,
        )
    if answer.status == 426 or answer.status == 400:
        return failed(
            f"What runs on port {line.own.port} refuses the upgrade ({answer.status}).",
            "Restart the bridge with this version of teamscall.",
            status=answer.status,
        )
    what = f"answers {answer.status}" if answer.status else f"does not answer ({answer.trouble})"
    return failed(
        f"The bridge's own address, {printable(line.own.authority)}, {what}.",
        "Look at its log; restart it if the configuration was changed since it was started.",
        status=answer.status,
    )


def _no_http(line: Line, answer: Answer) -> Finding:
    where = printable(line.address.authority)
    facts: dict[str, Fact] = {"trouble": str(answer.trouble)}
    if answer.trouble == "http2":
        return failed(
            f"{where} speaks HTTP/2 alone, and a WebSocket call begins in HTTP/1.1.",
            "Let it take HTTP/1.1 on this port too (HAProxy: no `proto h2` on the bind, and `alpn "
            "h2,http/1.1`; nginx: `http2 off;`).",
            **facts,
        )
    if answer.trouble == "tls" and "CERTIFICATE_REQUIRED" in answer.detail:
        return failed(
            f"{where} asks for a certificate of the client: no gateway has one.",
            f"Take that off for {line.own_path} (HAProxy: no verify required on the bind; nginx: "
            "ssl_verify_client off): the bridge's secret is the proof.",
            **facts,
        )
    if answer.trouble == "tls" and "PROTOCOL" in answer.detail:
        return failed(
            f"{where} takes no client that does not speak HTTP/2.",
            "Offer http/1.1 there too (HAProxy: alpn h2,http/1.1).",
            **facts,
        )
    if answer.trouble == "timeout":
        return failed(
            f"{where} takes the connection and does not answer.",
            "See where the proxy or tunnel sends it: the upstream must be the bridge's port, "
            f"{line.own.port}, and no rule may hold it up (HAProxy: silent-drop, tarpit).",
            **facts,
        )
    if answer.trouble == "closed":
        return failed(
            f"{where} closes the connection without an answer.",
            f"Let {line.own_path} through (HAProxy: http-request reject or silent-drop; nginx: "
            f"return 444), to the bridge's port, {line.own.port}, "
            f"{'with' if line.own.tls else 'without'} TLS; see the proxy's or tunnel's log.",
            **facts,
        )
    if answer.trouble == "not-http":
        return failed(
            f"{where} does not speak HTTP: it says “{answer.detail}”.",
            "Correct the port of the registered address, or what the proxy forwards it to.",
            **facts,
        )
    return failed(
        f"{where} cannot be asked ({answer.trouble}{' ' + answer.detail if answer.detail else ''})"
        ".",
        "See TC-TCP and TC-TLS.",
        **facts,
    )


def _by_the_bridge(line: Line, answer: Answer) -> tuple[Kind, Finding]:
    """The bridge was reached, and refuses what it takes when it is dialled directly."""
    status = answer.status
    if status in (401, 429):
        header = "X-Bridge-Secret" if line.dialect == "csharp" else "X-StandIn-*"
        return "TC-CREDENTIALS", failed(
            f"Through the registered address the bridge refuses what it accepts directly ({status})"
            f": the {header} headers do not arrive, or were changed; or the address leads to "
            "another bridge.",
            f"Let the proxy pass {header} as it is (no request header is to be deleted or set"
            f"{'; the call id in the path is signed too' if line.dialect == 'standin' else ''}), "
            f"and see that its upstream is port {line.own.port} of this machine.",
            status=status,
        )
    if status == 404 or (status == 400 and line.dialect == "standin"):
        return "TC-PATH", _path(line, status, by="bridge")
    if status in (426, 400, 405, 505):
        return "TC-UPGRADE", _no_upgrade(status)
    if status == 503:
        return "TC-HTTP", failed(
            "The bridge behind the registered address takes no test call now (503).",
            "Run it again in two minutes; if it stays so, the address leads to another bridge.",
            status=status,
        )
    return "TC-HTTP", failed(
        f"The bridge refuses what the proxy makes of the request ({status}).",
        "Let the proxy add fewer headers; a bridge takes 64 KiB of them.",
        status=status,
    )


def _path(line: Line, status: int, *, by: str, elsewhere: bool = False) -> Finding:
    """``elsewhere``: the proxy does lead to a bridge, under another path."""
    wanted = f"{line.own_path}/{{callId}}" if line.dialect == "standin" else line.own_path
    asked = line.parts.path
    if by == "bridge":
        if asked.rstrip("/") == line.own_path:
            why = f"the proxy drops or rewrites {wanted}"
        else:
            why = f"the registered one, {printable(asked)}, is not the bridge's, {line.own_path}"
        return failed(
            f"The bridge is reached under another path ({status}): {why}.",
            f"Pass the path as it is (nginx: no URI after proxy_pass's port, as in proxy_pass "
            f"http://127.0.0.1:{line.own.port}; HAProxy: no set-path or replace-path), and "
            f"register {line.own_path}.",
            status=status,
            path=printable(asked),
        )
    return failed(
        f"The proxy has nothing under {printable(asked)} ({status}): the request does not reach "
        f"the bridge{', though /healthz does' if elsewhere else ''}.",
        f"Route {line.own_path} and all below it to port {line.own.port} (nginx: location "
        f"{line.own_path} {{ ... }}), or register the path that it does route.",
        status=status,
        path=printable(asked),
    )


def _no_upgrade(status: int) -> Finding:
    return failed(
        f"The proxy does not pass the upgrade to a WebSocket ({status}): the Upgrade and "
        "Connection headers do not arrive.",
        "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
        'proxy_set_header Connection "upgrade"; — HAProxy: mode http, no del-header Upgrade; — '
        "Apache: ProxyPass ... upgrade=websocket.",
        status=status,
    )


def _by_a_proxy(line: Line, seen: Seen) -> tuple[Kind, Finding]:
    answer = seen.public
    status, server = answer.status, answer.header("server")
    who = f"{server}, a proxy," if server else "A proxy"
    facts: dict[str, Fact] = {"status": status, "server": server}
    page = "text/html" in answer.header("content-type").lower()
    if status in (400, 495, 496) and b"SSL certificate" in answer.body:
        return "TC-HTTP", failed(
            f"{who} asks for a certificate of the client ({status}): no gateway has one.",
            f"Take that off for {line.own_path} (nginx: ssl_verify_client off; HAProxy: no verify "
            "required on the bind): the bridge's secret is the proof.",
            **facts,
        )
    if 300 <= status < 400:
        to = answer.header("location")
        if _leads_to_login(to):
            return "TC-HTTP", failed(
                f"{who} sends the call to a login page ({status}).",
                f"Let {line.own_path} through without a login: the secret is the proof.",
                location=to,
                **facts,
            )
        return "TC-HTTP", failed(
            f"{who} redirects ({status}) to {to or 'nowhere'}: no gateway follows that.",
            f"{_of_redirect(line, to)}ake the redirect off for {line.own_path}.",
            location=to,
            **facts,
        )
    if status in (401, 407) or answer.header("www-authenticate"):
        kind = answer.header("www-authenticate").partition(" ")[0]
        return "TC-HTTP", failed(
            f"{who} asks for a login of its own ({status} {kind}".rstrip() + ").",
            f"Take it off for {line.own_path} (nginx: auth_basic off; HAProxy: no http-request "
            "auth there): the bridge's secret is the proof.",
            **facts,
        )
    if status == 403:
        return "TC-HTTP", failed(
            f"{who} forbids it (403).",
            "Allow the other side's addresses and WebSockets there (nginx: deny; HAProxy: "
            "http-request deny; a firewall for web applications, a tunnel's access policy).",
            **facts,
        )
    if status == 429 or (status == 503 and "nginx" in server.lower()):
        # An upstream that is away is 502 or 504 there.
        return "TC-HTTP", failed(
            f"{who} turns the call away by itself ({status}): a limit, or a page for maintenance.",
            f"Take it off for {line.own_path} (nginx: limit_req, limit_conn, return 503; HAProxy: "
            "http-request deny or return): one machine may make many calls.",
            **facts,
        )
    if status in (502, 503, 504):
        return "TC-HTTP", failed(
            f"{who} does not reach the bridge ({status}).",
            f"Its upstream has to be 127.0.0.1:{line.own.port} "
            f"{'with' if line.own.tls else 'without'} TLS, where the bridge listens; see the "
            "proxy's error log.",
            **facts,
        )
    if status == 404 or (status == 410):
        elsewhere = seen.plain.status == 200 and b'"alive"' in seen.plain.body
        return "TC-PATH", _path(line, status, by="proxy", elsewhere=elsewhere)
    if 200 <= status < 300:
        kind_of = "a web page" if page else "an ordinary answer"
        return "TC-HTTP", failed(
            f"{who} gives {kind_of} ({status}) in place of a WebSocket: the address leads to "
            "another program, or to a login or warning page.",
            f"Route {line.own_path} to the bridge's port {line.own.port}, without any page in "
            "between.",
            **facts,
        )
    if status in (400, 405, 426, 501, 505):
        return "TC-UPGRADE", _no_upgrade(status)
    return "TC-HTTP", failed(
        f"{who} answers {status} in place of a WebSocket.",
        "See the proxy's error log.",
        **facts,
    )


def _leads_to_login(location: str) -> bool:
    return any(word in location.lower().partition("?")[0] for word in _LOGIN)


def _of_redirect(line: Line, location: str) -> str:
    """What to register, where the redirect changes the scheme or the host alone; the beginning
    of a sentence that goes on with taking it off."""
    if location.startswith(("https://", "http://")):
        place = location.removesuffix("/").partition("?")[0]
        head = place.partition(line.parts.path)[0] if line.parts.path in place else ""
        if head:
            scheme = "wss" if head.startswith("https") else "ws"
            better = f"{scheme}{head[head.index(':') :]}{line.parts.path}"
            if (
                better != f"{scheme}{line.url[line.url.index(':') :]}"
                or (scheme == "wss") != line.address.tls
            ):
                return f"Register {printable(better)}, or t"
    return "T"
