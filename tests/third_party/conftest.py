"""The servers as fixtures: one process per test module, skipped where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "engines"))

from third_party_rig import Absent, Package, Server, installed
from third_party_servers import (
    AIMOCK,
    LITELLM,
    LLAMA,
    LOCAL_TTS,
    Aimock,
    aimock,
    litellm,
    llama,
    local_tts,
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "third_party: servers that others wrote; naming it installs the large ones too"
    )


def _home(package: Package, request: pytest.FixtureRequest) -> Path:
    chosen = str(request.config.getoption("markexpr"))
    wanted = "third_party" in chosen and "not third_party" not in chosen
    return installed(package, wanted=wanted)


@pytest.fixture(scope="module", name="aimock")
def _aimock(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Aimock]:
    try:
        with aimock(_home(AIMOCK, request), tmp_path_factory.mktemp("aimock")) as server:
            yield server
    except Absent as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module", name="llama")
def _llama(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    try:
        with llama(_home(LLAMA, request), tmp_path_factory.mktemp("llama")) as server:
            yield server
    except Absent as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module", name="local_tts")
def _local_tts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    try:
        with local_tts(_home(LOCAL_TTS, request), tmp_path_factory.mktemp("tts")) as server:
            yield server
    except Absent as why:
        pytest.skip(str(why))


@pytest.fixture(scope="module", name="litellm")
def _litellm(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, aimock: Aimock
) -> Iterator[Server]:
    try:
        folder = tmp_path_factory.mktemp("litellm")
        with litellm(_home(LITELLM, request), folder, f"{aimock.server.url}/v1") as server:
            yield server
    except Absent as why:
        pytest.skip(str(why))
