"""The stand-in itself: a port, its paths, and who may come in.

Owns what is behind each path, and the lives of connections. Beside the service's paths there
are ``POST /stand-in/fail`` (``{"failures": ["speak:stall:after=0.5:times=2"]}``), ``clear``,
``drop`` (``{"code": 1011}``) and ``expire``, for tests in other processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

import h11

from teamscall.clock import Clock, SystemClock
from teamscall.errors import ConfigError, ListenError
from teamscall.testing import catalogue, routes, shapes
from teamscall.testing.cloud import Cloud
from teamscall.testing.door import (
    MAX_HEAD_BYTES,
    Connection,
    Gone,
    Request,
    Socket,
    UpgradeAsked,
    refusal,
)
from teamscall.testing.failures import Drop, Failure, Plan, Refuse, Stage, Stall, parse_failure
from teamscall.testing.live import LiveSession
from teamscall.testing.routes import CONTROL, Route
from teamscall.testing.session import Session
from teamscall.testing.settings import Settings
from teamscall.testing.speech import speech
from teamscall.testing.strict import Wrong
from teamscall.testing.thinking import chat, responses
from teamscall.testing.visits import MAX_VISITS, Json, Visit
from teamscall.testing.voice import Workers

_log = logging.getLogger("teamscall.testing")

Endpoint = Callable[[Cloud, Request, Json, Failure | None], Awaitable[None]]
OpenSession = Callable[[Socket, Failure | None], Session | LiveSession]

_POSTS: dict[str, tuple[Stage, Endpoint]] = {
    "/audio/speech": ("speak", speech),
    "/chat/completions": ("think", chat),
    "/responses": ("think", responses),
}


class FakeOpenAI:
    """A strict stand-in for OpenAI's service, on a real port.

    Use it as an asynchronous context manager::

        async with FakeOpenAI(Settings(hear_ms=200)) as fake:
            client = AsyncOpenAI(api_key=fake.api_key, base_url=fake.base_url)
            fake.plan.fail("speak", Stall(after=0.5))

    Attributes:
        plan: what shall go wrong.
        requests: everything that came in, the oldest lost first; ``on_request`` is told
            of each as it comes.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        on_request: Callable[[Visit], None] = lambda visit: None,
    ) -> None:
        self._settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._on_request = on_request
        self._workers = Workers(self._settings)
        self._tasks = asyncio.TaskGroup()
        self._connections: set[asyncio.Task[None]] = set()
        self._sessions: set[Session | LiveSession] = set()
        self._closing = False
        self._server: asyncio.Server | None = None
        self._cloud: Cloud | None = None
        self.plan = Plan()
        self.requests: deque[Visit] = deque(maxlen=MAX_VISITS)

    async def __aenter__(self) -> FakeOpenAI:
        """Listen.

        Raises:
            ListenError: the port is taken.
            MissingPackageError: the offline voice or ear is wanted and not installed.
        """
        settings = self._settings
        await self._workers.start()
        self._cloud = Cloud(
            settings, self.plan, self._clock, self._workers.voice(), self._workers.open_ear()
        )
        await self._tasks.__aenter__()
        try:
            self._server = await asyncio.start_server(
                self._accept, settings.host, settings.port, limit=MAX_HEAD_BYTES
            )
        except OSError as error:
            await self._tasks.__aexit__(None, None, None)
            await self._workers.stop()
            raise ListenError(
                f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}.",
                hint="Choose another port; 0 takes a free one.",
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        if self._server is not None:
            await _stop_accepting(self._server)
        for task in self._connections:
            task.cancel()
        try:
            # The group needs to know of a cancellation, which may be its own doing; what the
            # user's code raises stays as it is, outside of any ExceptionGroup.
            if kind is not None and issubclass(kind, asyncio.CancelledError):
                await self._tasks.__aexit__(kind, error, trace)
            else:
                await self._tasks.__aexit__(None, None, None)
        finally:
            await self._workers.stop()

    # --- for those who use it ---------------------------------------------------------------

    @property
    def port(self) -> int:
        assert self._server is not None, "the stand-in does not listen yet"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def base_url(self) -> str:
        """For ``base_url`` of a client."""
        return f"http://{self._settings.host}:{self.port}/v1"

    @property
    def websocket_base_url(self) -> str:
        """For ``websocket_base_url`` of a client; it follows from ``base_url`` too."""
        return f"ws://{self._settings.host}:{self.port}/v1"

    @property
    def azure_endpoint(self) -> str:
        """For ``azure_endpoint`` of an Azure client."""
        return f"http://{self._settings.host}:{self.port}"

    @property
    def api_key(self) -> str:
        return self._settings.api_key or "any"

    def visits(self, path: str = "", method: str = "") -> list[Visit]:
        """What came in whose path ends in ``path``, oldest first."""
        return [
            visit
            for visit in self.requests
            if visit.path.endswith(path) and method in ("", visit.method)
        ]

    async def drop_sockets(self, code: int = 1006, reason: str = "") -> int:
        """Close every open socket with this code (1006: reset); how many there were."""
        sessions = tuple(self._sessions)
        for session in sessions:
            await session.close(code, reason)
        return len(sessions)

    async def expire_sessions(self) -> int:
        """End every open session as after its 60 minutes; how many there were."""
        sessions = tuple(self._sessions)
        for session in sessions:
            await session.expire()
        return len(sessions)

    # --- connections ------------------------------------------------------------------------

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closing:  # accepted by the loop before the server was closed
            writer.transport.abort()
            return
        task = self._tasks.create_task(self._converse(reader, writer), name="stand-in")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        # Not in the task: one that is cancelled before it begins never gets to a finally.
        task.add_done_callback(lambda task: _let_go(task, writer))

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._clock)
        try:
            while True:
                request = await connection.next()
                if request is None:
                    break
                self.requests.append(request.visit)
                self._on_request(request.visit)
                try:
                    if isinstance(request, UpgradeAsked):
                        await self._upgrade(request)
                        break
                    await self._answer(connection, request)
                except (Gone, ConnectionError):
                    request.visit.hung_up = True
                    break
                finally:
                    request.visit.ended.set()
        except (Gone, ConnectionError, h11.RemoteProtocolError) as error:
            _log.debug("A connection ended", extra={"reason": type(error).__name__})

    async def _answer(self, connection: Connection, request: Request) -> None:
        visit = request.visit
        try:
            data = await connection.body()
            route = routes.find(visit)
            path = route.path
            routes.admit(visit, route, self._settings.api_key)
            if visit.method == "GET" and (path == "/models" or path.startswith("/models/")):
                await self._models(request, path.removeprefix("/models").lstrip("/"))
                return
            if visit.method == "POST" and route.door == "control":
                await self._control(request, path.removeprefix(CONTROL), _json(data or b"{}"))
                return
            if path not in _POSTS or visit.method != "POST":
                raise Wrong(f"Invalid URL ({visit.method} {path})", status=404)
            stage, endpoint = _POSTS[path]
            visit.body = _json(data)
            if route.deployment:
                visit.body["model"] = route.deployment  # whatever the body says
            failure = self.plan.take(stage)
            if isinstance(failure, Refuse):
                await request.refuse(refusal(failure), failure.retry_after_s)
                return
            await endpoint(self._running(), request, visit.body, failure)
        except Wrong as wrong:
            await request.refuse(wrong)

    async def _models(self, request: Request, name: str) -> None:
        failure = self.plan.take("models")
        if isinstance(failure, Refuse):
            await request.refuse(refusal(failure), failure.retry_after_s)
            return
        if isinstance(failure, Stall):
            await request.stall()
        if isinstance(failure, Drop):
            request.abort()
        rows = {model.id: model.shutdown or None for model in catalogue.MODELS.values()}
        rows |= dict.fromkeys(self._settings.models)
        shown = {
            id_: {
                "id": id_,
                "object": "model",
                "created": 1_700_000_000,
                "owned_by": "system",
                "shutdown_date": shutdown,
            }
            for id_, shutdown in rows.items()
        }
        if not name:
            await request.json(200, {"object": "list", "data": list(shown.values())})
        elif name in shown:
            await request.json(200, shown[name])
        else:
            raise Wrong(f"The model '{name}' does not exist", code="model_not_found", status=404)

    async def _control(self, request: Request, verb: str, body: Json) -> None:
        """What other processes may tell the stand-in; it is no part of the service."""
        match verb:
            case "fail":
                shapes.CONTROL_FAIL(body, "")
                try:
                    failures = [parse_failure(text) for text in body["failures"]]
                except ConfigError as error:
                    raise Wrong(str(error), param="failures") from error
                for stage, failure, times in failures:
                    self.plan.fail(stage, failure, times=times)
                done = len(failures)
            case "clear":
                self.plan.clear()
                done = 0
            case "drop":
                shapes.CONTROL_DROP(body, "")
                done = await self.drop_sockets(body.get("code", 1006))
            case "expire":
                done = await self.expire_sessions()
            case _:
                raise Wrong("The stand-in knows fail, clear, drop and expire.", status=404)
        await request.json(200, {"v": 1, "done": done})

    async def _upgrade(self, asked: UpgradeAsked) -> None:
        visit = asked.visit
        try:
            route = routes.find(visit)
            routes.admit(visit, route, self._settings.api_key)
            open_session, stage = self._session(visit, route)
            failure = self.plan.take(stage, "connect")
            if isinstance(failure, Refuse):
                await asked.refuse(refusal(failure), failure.retry_after_s)
                return
        except Wrong as wrong:
            await asked.refuse(wrong)
            return
        if isinstance(failure, Stall) and not failure.headers:
            await asked.stall()
            return
        socket = await asked.accept()
        if visit.status != 101:
            return
        if "openai-beta" in visit.headers:
            message = "The Realtime Beta API is no longer supported. Please use /v1/realtime."
            error = Wrong(message, code="beta_api_shape_disabled").body()
            await socket.send("error", error=error)
            await socket.close(4000, "invalid_request_error.beta_api_shape_disabled")
            async for _ in socket.messages():
                pass  # until the peer has closed too
            return
        session = open_session(socket, failure)
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def _session(self, visit: Visit, route: Route) -> tuple[OpenSession, Stage]:
        """What opens the session that ``visit`` asks for, and its stage.

        Raises:
            Wrong: there is none, or not with this model.
        """
        cloud, query = self._running(), visit.query
        if route.path == "/live/sessions" and route.door != "old-azure":
            if "model" in query:
                raise Wrong("Unknown query parameter: 'model'.", code="unknown_parameter")
            return (lambda socket, failure: LiveSession(cloud, socket, failure)), "session"
        if route.path != "/realtime":
            raise Wrong(f"Invalid URL (GET {visit.path})", status=404)
        if query.get("intent") == "transcription":
            return (
                lambda socket, failure: Session(cloud, socket, "transcription", "", failure)
            ), "hear"
        model = query.get("deployment" if route.door == "old-azure" else "model", "")
        if not model:
            raise Wrong("You must provide a model parameter.", code="missing_model")
        cloud.check_model(model, "realtime", "/v1/realtime")
        return (
            lambda socket, failure: Session(cloud, socket, "realtime", model, failure)
        ), "session"

    def _running(self) -> Cloud:
        assert self._cloud is not None, "the stand-in does not listen yet"
        return self._cloud


async def _stop_accepting(server: asyncio.Server) -> None:
    """Close ``server``, once the connections that it has accepted are known to it: asyncio
    loses the others' sockets (an assertion in ``Server._attach``)."""
    loop = asyncio.get_running_loop()
    for listening in server.sockets:
        with contextlib.suppress(NotImplementedError):  # Windows: its loop has no readers
            loop.remove_reader(listening.fileno())
    await asyncio.sleep(0)
    server.close()


def _let_go(task: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
    if task.cancelled():
        writer.transport.abort()
    else:
        writer.close()


def _json(data: bytes) -> Json:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Wrong("We could not parse the JSON body of your request.")
    return body
