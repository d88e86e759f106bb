"""``teamscall fake-openai``: a stand-in for OpenAI's service, for tests without a key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from teamscall.testing import FakeOpenAI, Visit

PORT = 4010


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fake-openai")(fake_openai)


def fake_openai(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.")] = PORT,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    key: Annotated[
        str, typer.Option(help="The only API key that is taken; empty takes any.")
    ] = "sk-stand-in",
    script: Annotated[
        Path | None,
        typer.Option(help="TOML file: hears, otherwise, and tables named answer."),
    ] = None,
    voice: Annotated[
        Literal["tone", "offline"],
        typer.Option(help="tone: one sound per word; offline: the offline voice."),
    ] = "tone",
    ear: Annotated[
        Literal["script", "offline"],
        typer.Option(help="script: its lines, in order; offline: real recognition."),
    ] = "script",
    hear_ms: Annotated[float, typer.Option(min=0, help="To the final transcript.")] = 200,
    think_ms: Annotated[float, typer.Option(min=0, help="To the first token.")] = 300,
    speak_ms: Annotated[float, typer.Option(min=0, help="To the first byte of speech.")] = 250,
    speed: Annotated[
        float, typer.Option(min=0, help="Speech comes so many times faster; 0: at once.")
    ] = 4,
    fail: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE:KIND[:KEY=VALUE...]",
            help="What goes wrong, such as speak:stall:after=0.5:times=2 or "
            "think:refuse:status=429:retry_after_s=1. Stages: hear, think, speak, session, "
            "models. Kinds: refuse, stall, empty, drop, report. Repeatable.",
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per request.")] = False,
) -> None:
    """Stand in for OpenAI: Realtime, Live, speech, chat, responses and models, without a key.

    It is as strict as the real service, and fails as told. Point a client's base URL at what
    it prints. Ctrl-C ends it.
    """
    import asyncio

    from teamscall.testing import Script, Settings, load_script, parse_failure

    settings = Settings(
        port=port,
        host=bind,
        api_key=key,
        script=load_script(script) if script else Script(),
        voice=voice,
        ear=ear,
        hear_ms=hear_ms,
        think_ms=think_ms,
        speak_first_byte_ms=speak_ms,
        speak_speed=speed,
    )
    failures = [parse_failure(text) for text in fail or ()]

    async def serve() -> None:
        from teamscall.testing import FakeOpenAI

        def show(visit: Visit) -> None:
            _show(visit, json_)

        async with FakeOpenAI(settings, on_request=show) as fake:
            for stage, failure, times in failures:
                fake.plan.fail(stage, failure, times=times)
            _introduce(fake, json_)
            await asyncio.Event().wait()

    asyncio.run(serve())


def _introduce(fake: FakeOpenAI, json_: bool) -> None:
    import json

    if json_:
        about = {"v": 1, "event": "listening", "baseUrl": fake.base_url, "port": fake.port}
        typer.echo(json.dumps(about))
        return
    typer.echo(
        f"A stand-in for OpenAI listens. It understands nothing and costs nothing.\n"
        f"  OPENAI_BASE_URL={fake.base_url}\n"
        f"  OPENAI_API_KEY={fake.api_key}",
        err=True,
    )


def _show(visit: Visit, json_: bool) -> None:
    """One request as it came in. Never its headers (a key) nor its body (words)."""
    import json

    from teamscall.text import printable

    path = printable(visit.path, 100)
    if json_:
        row = {"v": 1, "event": "request", "method": visit.method, "path": path}
        typer.echo(json.dumps({**row, "requestId": visit.request_id}))
    else:
        typer.echo(f"{visit.method:<5} {path}")
