"""Where an OpenAI-compatible service is, and how it is asked: URLs, headers, HTTP clients.

Owns the difference between api.openai.com, Azure (its current and its old routes) and a
server of one's own. Refuses to know what is asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from teamscall import __version__
from teamscall.config import Secret

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"

# A handshake takes three round trips; seven seconds of that is a network to give up on.
CONNECT_S = 7.0
# Turns of a conversation are seconds apart: the default of five would have every answer
# wait for a new TLS handshake.
KEEP_IDLE_S = 120.0
# Local servers often ask for no key, but the SDK wants one.
NO_KEY = "none"


class Endpoint(msgspec.Struct, frozen=True):
    """A service. ``base_url``: up to and with ``/v1``; it may carry a query, as Azure's
    ``?api-version=`` does. ``setting`` and ``key_setting`` are named in errors."""

    base_url: str = OPENAI_URL
    key: Secret = msgspec.field(default_factory=Secret)
    setting: str = "openai.base_url"
    key_setting: str = "streaming.openai_api_key"

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    @property
    def is_openai(self) -> bool:
        """OpenAI itself or Azure: models, formats and rates are as OpenAI documents them."""
        return self.host == "api.openai.com" or self.host.endswith((".azure.com", ".azure.us"))

    @property
    def is_old_azure(self) -> bool:
        """Azure's routes with a dated ``api-version`` and the deployment in the URL."""
        parts = urlsplit(self.base_url)
        return "api-version" in parse_qs(parts.query) and not parts.path.rstrip("/").endswith("/v1")

    def transcription_url(self, model: str) -> str:
        """The address of a transcription session. OpenAI reads the model in the session;
        old Azure routes by it, and so do routers in front of other servers."""
        by_session = self.is_openai and not self.is_old_azure
        return self._realtime("transcription", "" if by_session else model)

    def realtime_url(self, model: str) -> str:
        """The address of a voice session."""
        return self._realtime("", model)

    def _realtime(self, intent: str, model: str) -> str:
        parts = urlsplit(self.base_url)
        scheme = "wss" if parts.scheme == "https" else "ws"
        query = [
            (name, value) for name, values in parse_qs(parts.query).items() for value in values
        ]
        named = {name for name, _ in query}
        if intent and "intent" not in named:
            query.append(("intent", intent))
        name = "deployment" if self.is_old_azure else "model"
        if model and name not in named:  # the operator's own word stands
            query.append((name, model))
        return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/realtime?{urlencode(query)}"

    def headers(self) -> dict[str, str]:
        """What proves the key. Contains it: never log this."""
        if not self.key:
            return {}
        if self.is_old_azure:
            return {"api-key": self.key.reveal()}
        return {"Authorization": f"Bearer {self.key.reveal()}"}

    def refusal(self, status: int, model: str, model_setting: str) -> tuple[str, str]:
        """What an HTTP status that no retry mends means, and what to do about it."""
        match status:
            case 401:
                return "the key was refused (401)", f"Look at {self.key_setting}."
            case 403:
                return (
                    "the key may not do this (403)",
                    f"Look at the rights of {self.key_setting}'s project, and at {model_setting}.",
                )
            case 404:
                return (
                    f"there is no model {model} or no such address (404)",
                    f"Look at {model_setting} and {self.setting}.",
                )
            case _:
                return f"the service answered {status}", f"Look at {self.setting}."

    def client(
        self,
        timeout_s: float,
        answered: Callable[[httpx2.Response], Awaitable[None]] | None = None,
    ) -> AsyncOpenAI:
        """An HTTP client, for several calls at once. Building one costs tens of
        milliseconds (certificates): in a thread where calls go on. ``answered`` is shown
        every answer, before its body is read."""
        import httpx2
        from openai import AsyncAzureOpenAI, AsyncOpenAI, DefaultAsyncHttpxClient

        http = DefaultAsyncHttpxClient(
            limits=httpx2.Limits(
                max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEP_IDLE_S
            ),
            timeout=httpx2.Timeout(timeout_s, connect=CONNECT_S),
            event_hooks={"response": [answered] if answered is not None else []},
        )
        key = self.key.reveal() or NO_KEY
        parts = urlsplit(self.base_url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        base = parts._replace(query="").geturl()
        # One retry, before the first byte only: somebody is waiting on the phone.
        if self.is_old_azure:
            return AsyncAzureOpenAI(
                base_url=base,
                api_version=query["api-version"],
                api_key=key,
                http_client=http,
                max_retries=1,
            )
        return AsyncOpenAI(
            base_url=base,
            api_key=key,
            http_client=http,
            max_retries=1,
            default_query=query or None,
            default_headers={"User-Agent": f"teamscall/{__version__}"},
        )
