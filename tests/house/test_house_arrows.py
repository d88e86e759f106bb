"""The rooms and the arrows between them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import teamscall

PACKAGE = Path(teamscall.__file__).parent

COMMON = {"clock", "errors", "scripts", "text"}
# What each room may import from the package, besides itself.
ARROWS: dict[str, set[str]] = {
    "wire": COMMON,
    "audio": COMMON | {"wire.events"},
    "config": COMMON,
    "engines": COMMON | {"asking", "config", "audio", "wire.events"},
    "policy": COMMON | {"asking", "config", "wire.events"},
    "journal": COMMON | {"config", "wire.events", "calls.records"},
    "calls": COMMON
    | {"config", "audio", "wire.events", "engines.base", "engines.spoken", "policy"},
    "outbound": COMMON | {"asking", "config", "calls", "journal", "policy", "wire"},
    "control": COMMON | {"config", "calls", "outbound", "journal", "wire.events"},
    "webhooks": COMMON | {"asking", "config", "calls.records", "journal", "wire.events"},
    "metrics": COMMON | {"config", "calls", "wire.events"},
    # A recorded caller dials as the emulated one does.
    "capture": COMMON
    | {"config", "wire", "audio", "calls", "engines.base", "emulator.dial", "emulator.plan"},
    "doctor": COMMON
    | {"asking", "config", "wire", "audio", "engines", "emulator", "journal", "control"},
    "server": COMMON
    | {"config", "wire", "calls", "engines", "policy", "journal"}
    | {"outbound", "control", "webhooks", "metrics", "capture"},
    "emulator": COMMON | {"audio", "wire"},
    "testing": COMMON | {"audio", "engines.offline"},
    # A shell beside the command line: a bridge and a caller in one test.
    "setup": COMMON | {"config"},
    "pytest_plugin": COMMON
    | {"config", "wire.events", "calls.records", "capture", "emulator", "server"}
    | {"engines.offline"},
    "cli": COMMON
    | {"config", "wire", "audio", "calls", "engines", "emulator", "server", "journal", "testing"}
    | {"control", "outbound", "capture", "doctor", "setup"},
}
OUTSIDE_PURE = {"asyncio", "socket", "logging", "time", "threading", "subprocess", "websockets"}


def modules(room: str) -> Iterator[Path]:
    folder = PACKAGE / room
    yield from folder.rglob("*.py")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            module = node.module or ""
            yield module
            if module.startswith("teamscall"):
                # "from teamscall.wire import events" is an arrow to wire.events
                yield from (f"{module}.{alias.name}" for alias in node.names)


def allowed(room: str, target: str) -> bool:
    inside = target.removeprefix("teamscall").lstrip(".")
    for place in ARROWS[room] | {room}:
        if inside == place or (place and inside.startswith(place + ".")):
            return True
        if place.startswith(inside + ".") and inside:
            return True  # the package on the way to an allowed module
    return inside in ("", "__version__")  # from teamscall import __version__


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_a_room_imports_only_what_its_arrows_allow(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} -> {name}"
        for path in modules(room)
        for name in imports(path)
        if name.startswith("teamscall") and not allowed(room, name)
    ]
    assert wrong == []


def test_every_room_has_arrows() -> None:
    rooms = {p.name for p in PACKAGE.iterdir() if (p / "__init__.py").exists()}
    assert rooms == set(ARROWS)


@pytest.mark.parametrize("room", ["wire", "audio"])
def test_the_pure_rooms_know_no_io_and_no_clock(room: str) -> None:
    wrong = [
        f"{path.name} -> {name}"
        for path in modules(room)
        for name in imports(path)
        if name.split(".")[0] in OUTSIDE_PURE
    ]
    assert wrong == []


def test_the_conversation_is_pure() -> None:
    pure = ("conversation", "speaking", "playout", "orders", "listening", "turns", "events")
    for name in (*pure, "bookings", "registry", "records"):
        found = {i.split(".")[0] for i in imports(PACKAGE / "calls" / f"{name}.py")}
        assert not found & OUTSIDE_PURE, name
