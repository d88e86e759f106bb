"""What a bridge may ask of a far side over HTTP, in both dialects.

Owns the paths, who is let in, and the words of a refusal. Refuses to know sockets, clocks
(``now_ms`` is epoch milliseconds, an argument) and how a call is rung.
"""

from __future__ import annotations

import msgspec

from teamscall import __version__
from teamscall.emulator.door import Answer, Request
from teamscall.text import printable
from teamscall.wire import control, signature
from teamscall.wire.events import Dropped

# standin.md: either side of the signing time, inclusive.
WINDOW_MS = 60_000


class Place(msgspec.Struct, frozen=True):
    """Ring somebody."""

    target_type: str
    target: str
    tenant_id: str = ""
    message: str = ""


class Cancel(msgspec.Struct, frozen=True):
    """Stop ringing, or end the call."""

    call_id: str


class AskHealth(msgspec.Struct, frozen=True):
    """C#: how is the gateway?"""


class Refusal(msgspec.Struct, frozen=True):
    """``answer`` goes to the bridge; ``why`` is for the operator, printable, no secret."""

    answer: Answer
    why: str


Wish = Place | Cancel | AskHealth | Refusal


def read_standin(request: Request, secret: bytes, now_ms: int) -> Wish:
    """What a request to StandIn's control endpoint asks for."""
    path = request.target.partition("?")[0]
    if path == control.PLACE_PATH:
        if request.method != "POST":
            return _refused(405, "method", request, allow="POST")
        body = control.decode_placing(request.body)
        subject = "" if isinstance(body, Dropped) else body.user_object_id
        signed_v2 = signature.SIGNATURE_V2_HEADER.lower() in request.headers
        if isinstance(body, Dropped) and not signed_v2 and _is_signed(request):
            # What version 1 covers cannot be read, so nothing can be verified either.
            return _refused(400, body.detail or body.cause, request)
        if refusal := _unverified(request, secret, subject, now_ms):
            return refusal
        if isinstance(body, Dropped):
            return _refused(400, body.detail or body.cause, request)
        return Place("user", body.user_object_id.strip(), body.tenant_id.strip())
    call_id = control.call_id_from_path(path, [control.PLACE_PATH])
    if isinstance(call_id, control.PathRefusal):
        return _refused(call_id.status, call_id.reason, request)
    if request.method != "DELETE":
        return _refused(405, "method", request, allow="DELETE")
    return _unverified(request, secret, call_id, now_ms) or Cancel(call_id)


def read_csharp(request: Request, secret: bytes) -> Wish:
    """What a request to a C# gateway's control plane asks for."""
    path = request.target.partition("?")[0]
    methods = {
        control.INITIATE_PATH: "POST",
        control.HANG_UP_PATH: "POST",
        control.HEALTH_PATH: "GET",
    }
    if path not in methods:
        return _refused(404, "no such path", request)
    given = request.headers.get(signature.BRIDGE_SECRET_HEADER.lower())
    if not signature.secrets_match(given or b"", secret):
        return _refused(401, signature.diagnose_secret(given, secret), request)
    if request.method != methods[path]:
        return _refused(405, "method", request, allow=methods[path])
    if path == control.HEALTH_PATH:
        return AskHealth()
    if path == control.HANG_UP_PATH:
        call_id = control.decode_hang_up(request.body)
        if isinstance(call_id, Dropped):
            return _refused(400, call_id.detail or call_id.cause, request)
        return Cancel(call_id)
    body = control.decode_initiating(request.body)
    if isinstance(body, Dropped):
        return _refused(400, body.detail or body.cause, request)
    target = body.target
    if isinstance(target, control.UserTarget):
        return Place("user", target.user_id.strip(), message=body.message or "")
    return Place("phone", target.number.strip(), message=body.message or "")


def health(active_calls: int) -> Answer:
    """How a C# gateway says that it is well."""
    body = control.Health("healthy", active_calls, f"teamscall-emulator/{__version__}")
    return Answer(200, control.encode_health(body))


def _is_signed(request: Request) -> bool:
    names = (generation.signature_header.lower() for generation in signature.GENERATIONS)
    return any(name in request.headers for name in names)


def _unverified(request: Request, secret: bytes, subject: str, now_ms: int) -> Refusal | None:
    verdict = signature.verify_control(
        secret,
        request.headers,
        request.method,
        request.target,
        request.body,
        subject,
        now_ms,
        WINDOW_MS,
    )
    if verdict.ok:
        return None
    stamp = request.headers.get(signature.TODAY.timestamp_header.lower())
    why = signature.diagnose(secret, verdict, stamp, subject, WINDOW_MS)
    return _refused(401, why, request)


def _refused(status: int, why: str, request: Request, *, allow: str = "") -> Refusal:
    bodies = {400: b"bad request", 401: b"unauthorized", 404: b"not found"}
    body = bodies.get(status, b"method not allowed")
    headers = (("Allow", allow),) if allow else ()
    asked = f"{printable(request.method, 20)} {printable(request.target, 60)}"
    words = f"{asked} from {request.peer} was refused ({status}): {why}"
    return Refusal(Answer(status, body, headers), words)
