"""A bridge that shares no code with ours: stdlib json and websockets' own server."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import math
import struct
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

SECRET = b"a-secret-of-thirty-two-characters"


def tone(ms: int, hz: float = 440.0, amplitude: int = 12_000) -> bytes:
    """16 kHz s16le mono."""
    return b"".join(
        struct.pack("<h", round(amplitude * math.sin(2 * math.pi * hz * n / 16_000)))
        for n in range(ms * 16)
    )


class Bridge:
    """What the bridge saw, and what it does. Subclass or set ``on_message``."""

    def __init__(self, dialect: str, *, authorize: bool = True, **quirks: Any) -> None:
        self.dialect = dialect
        self.authorize = authorize
        self.quirks = quirks
        self.paths: list[str] = []
        self.headers: list[Headers] = []
        self.messages: list[dict[str, Any]] = []
        self.audio: list[tuple[int, bytes]] = []
        self.closes: list[int | None] = []
        self.binary = 0
        self.port = 0
        self.seq = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def types(self) -> list[str]:
        return [m["type"] for m in self.messages]

    def refuse(self, connection: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.headers.append(request.headers)
        if "refuse" in self.quirks:
            status = self.quirks["refuse"]
            reply = connection.respond(status, self.quirks.get("words", "no"))
            reply.headers["Retry-After"] = "7"
            if "location" in self.quirks:
                reply.headers["Location"] = self.quirks["location"]
            return reply
        if self.dialect == "csharp":
            if request.headers.get("X-Bridge-Secret", "").encode("latin-1") != SECRET:
                return connection.respond(401, "unauthorized")
            return None
        call_id = unquote(request.path.rpartition("/")[2])
        for prefix in ("X-StandIn", "X-OpenClawTeamsBridge"):
            stamp = request.headers.get(f"{prefix}-Timestamp")
            if stamp is None:
                continue
            text = f"{stamp}.{call_id}".encode()
            if (
                request.headers[f"{prefix}-Signature"]
                != hmac.new(SECRET, text, hashlib.sha256).hexdigest()
            ):
                return connection.respond(401, "unauthorized")
        return None

    async def send(self, socket: ServerConnection, **message: Any) -> None:
        await socket.send(json.dumps(message))

    async def send_audio(self, socket: ServerConnection, pcm: bytes) -> None:
        data = base64.b64encode(pcm).decode()
        call_id = self.messages[0].get("callId", "")
        if self.dialect == "csharp":
            await self.send(socket, type="audio_out", callId=call_id, seq=self.seq, data=data)
        else:
            await self.send(
                socket,
                type="audio.frame",
                seq=self.seq,
                timestampMs=self.seq * 20,
                payloadBase64=data,
            )
        self.seq += 1

    async def handle(self, socket: ServerConnection) -> None:
        try:
            async for data in socket:
                if isinstance(data, bytes):
                    self.binary += 1
                    continue
                message = json.loads(data)
                if message["type"] in ("audio.frame", "audio_in"):
                    pcm = base64.b64decode(message.get("payloadBase64") or message["data"])
                    self.audio.append((message["seq"], pcm))
                else:
                    self.messages.append(message)
                await self.on_message(socket, message)
        except ConnectionClosed:
            pass
        self.closes.append(socket.close_code)

    async def on_message(self, socket: ServerConnection, message: dict[str, Any]) -> None:
        kind, call_id = message["type"], message.get("callId", "")
        if kind == "auth_request" and not self.quirks.get("mute_auth"):
            import time

            await self.send(
                socket,
                type="auth_response",
                callId=call_id,
                correlationId=message["correlationId"],
                authorized=self.authorize,
                strategy="open" if self.authorize else "disabled",
                reason=None if self.authorize else "Inbound calls disabled",
                timestamp=int(time.time() * 1000) + self.quirks.get("skew_ms", 0),
            )
        elif kind == "ping" and not self.quirks.get("mute_pong"):
            answer: dict[str, Any] = {"type": "pong"}
            answer |= {"callId": call_id} if self.dialect == "csharp" else {"ts": message["ts"]}
            await self.send(socket, **answer)
        elif kind in ("audio.frame", "audio_in") and self.quirks.get("echo", True):
            await self.send_audio(socket, self.audio[-1][1])
        scripted = self.quirks.get("on_message")
        if scripted is not None:
            await scripted(self, socket, message)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Bridge]:
        async with serve(
            self.handle, "127.0.0.1", 0, process_request=self.refuse, compression=None
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            yield self
