"""Azure's addresses: the current one and the old one, by the SDK and by our endpoint."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import AsyncAzureOpenAI
from testing_rig import sdk, with_fake
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from teamscall.config import Secret
from teamscall.engines.openai.endpoint import Endpoint
from teamscall.testing import FakeOpenAI, Settings

HELLO: Any = [{"role": "user", "content": "Hello"}]
DATED = "2025-04-01-preview"
MINE = Settings(models=("my-deployment",))


def test_the_sdk_comes_in_by_the_old_address() -> None:
    async def test(fake: FakeOpenAI) -> None:
        async with AsyncAzureOpenAI(
            azure_endpoint=fake.azure_endpoint,
            api_version=DATED,
            api_key=fake.api_key,
            websocket_base_url=fake.azure_endpoint.replace("http", "ws") + "/openai",
        ) as client:
            answer = await client.chat.completions.create(model="my-deployment", messages=HELLO)
            assert "Hello" in str(answer.choices[0].message.content)
            async with client.realtime.connect(model="my-deployment") as socket:
                assert (await socket.recv()).type == "session.created"
        asked, talked = fake.requests
        assert asked.path == "/openai/deployments/my-deployment/chat/completions"
        assert asked.query == {"api-version": DATED}
        assert talked.query == {"api-version": DATED, "deployment": "my-deployment"}
        assert "authorization" not in asked.headers

    with_fake(test, MINE)


@pytest.mark.parametrize("where", ["/openai/v1", f"/openai?api-version={DATED}"])
def test_our_endpoint_comes_in_by_both(where: str) -> None:
    async def test(fake: FakeOpenAI) -> None:
        endpoint = Endpoint(fake.azure_endpoint + where, Secret(fake.api_key))
        async with endpoint.client(5) as client:
            answer = await client.chat.completions.create(model="my-deployment", messages=HELLO)
            assert "Hello" in str(answer.choices[0].message.content)
        url = endpoint.realtime_url("my-deployment")
        async with connect(url, additional_headers=endpoint.headers()) as socket:
            assert b"session.created" in await socket.recv(decode=False)

    with_fake(test, MINE)


def test_a_deployment_that_is_not_there_is_404() -> None:
    async def test(fake: FakeOpenAI) -> None:
        options: Any = {
            "azure_endpoint": fake.azure_endpoint,
            "api_version": DATED,
            "max_retries": 0,
        }
        async with AsyncAzureOpenAI(api_key=fake.api_key, **options) as client:
            with pytest.raises(openai.NotFoundError):
                await client.chat.completions.create(model="another", messages=HELLO)
        async with AsyncAzureOpenAI(api_key="wrong", **options) as client:
            with pytest.raises(openai.AuthenticationError):
                await client.chat.completions.create(model="my-deployment", messages=HELLO)

    with_fake(test, MINE)


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/openai/realtime?deployment=my-deployment", "api-key", 404),  # no api-version
        (f"/openai/realtime?api-version={DATED}", "api-key", 400),  # no deployment
        # A bearer's token is Entra's there, which a key is not.
        (f"/openai/realtime?api-version={DATED}&deployment=my-deployment", "Authorization", 401),
        (f"/openai/live/sessions?api-version={DATED}", "api-key", 404),
        ("/v1/realtime?model=my-deployment", "api-key", 401),  # OpenAI wants a bearer
    ],
)
def test_the_wrong_door_is_refused(path: str, header: str, status: int) -> None:
    async def test(fake: FakeOpenAI) -> None:
        value = fake.api_key if header == "api-key" else f"Bearer {fake.api_key}"
        url = fake.azure_endpoint.replace("http", "ws") + path
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers={header: value}):
                pass
        assert refused.value.response.status_code == status

    with_fake(test, MINE)


def test_live_sessions_are_on_the_current_address() -> None:
    async def test(fake: FakeOpenAI) -> None:
        url = fake.azure_endpoint.replace("http", "ws") + "/openai/v1"
        async with sdk(fake, websocket_base_url=url) as client, client.live.connect() as socket:
            await socket.session.start(session={"model": "gpt-live-1"})
            assert (await socket.recv()).type == "session.started"

    with_fake(test)
