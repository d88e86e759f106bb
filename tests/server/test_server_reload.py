"""The configuration is read again by a bridge that takes calls: what changes, when, and what
of a bad one does not."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from bridge_rig import BRIDGE_SECRET, STANDIN_SECRET
from faults_rig import Caller, Probe, Site, calling, until
from server_rig import descriptors, run
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import teamscall
from teamscall.calls.records import Audited, CallOpened, Decided, Said
from teamscall.config import Config, Loaded, load_config
from teamscall.engines.scripted import ScriptedEngine
from teamscall.errors import ConfigError, EngineError
from teamscall.server import reload, voice
from teamscall.server.reload import ENGINE, Source
from teamscall.server.run import running

SCRIPT = """
word_ms = 40
pause_ms = 20
[[line]]
heard = "hello"
answer = "{answer}"
"""
BEFORE = "the-secret-before-0123456789abcdef"


class Files:
    """A configuration file and a script, written anew for each change."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "teamscall.toml"
        self.script = folder / "script.toml"
        self.loads = 0
        self._folder = folder
        self.answer("one")

    def answer(self, words: str) -> None:
        self.script.write_text(SCRIPT.format(answer=words))

    def write(self, *, tables: str = "", engine: str = "scripted", **values: object) -> None:
        """``serve__port=0`` is a key; the usual ones can be given anew, None takes one out."""
        usual: dict[str, object] = {
            "engine": engine,
            "authorization__mode": "allowlist",
            "authorization__allow_from": ["u"],
            "bridge__secret": BRIDGE_SECRET,
            "standin__secret": STANDIN_SECRET,
            "standin__enabled": True,
            "standin__port": 0,
            "serve__port": 0,
            "serve__close_timeout_ms": 1000,
            "journal__path": str(self._folder / "journal.sqlite3"),
            "scripted__path": str(self.script),
        } | values
        lines = [
            f"{key.replace('__', '.')} = {json.dumps(value)}"
            for key, value in usual.items()
            if value is not None
        ]
        self.path.write_text("\n".join(lines) + "\n" + tables)

    def load(self) -> Loaded:
        self.loads += 1
        return load_config(self.path, env={})


class Up(Site):
    """A running bridge whose configuration can be read again."""

    files: Files

    async def reload(self, **values: Any) -> Any:
        """With these keys in the file."""
        self.files.write(**values)
        assert self.up.reloading is not None
        return await self.up.reloading.reload()

    async def refused(self, **values: Any) -> ConfigError:
        """The reload fails, and nothing at all has changed."""
        before = self.inside()
        with pytest.raises(ConfigError) as caught:
            await self.reload(**values)
        assert caught.value.problems
        assert self.inside() == before
        return caught.value

    def inside(self) -> list[object]:
        """Everything that a reload may change, by identity where it has one."""
        desk, gate = self.up.switchboard._desk, self.up.bridge.gate
        parts = [self.up.config, self.up.engine, desk.config, desk.voices.current, gate._config]
        parts += [desk.deciding._policy, desk.settings["csharp"], gate._bridge, gate._standin]
        return [*map(id, parts), desk.slots.limit]

    def said(self, call_id: str) -> str:
        """What the bot said in a call."""
        return "".join(said.delta for said in self.of(Said) if said.call_id == call_id)

    async def csharp(self, secret: str) -> int:
        """The status of an upgrade."""
        headers = {"X-Bridge-Secret": secret}
        try:
            async with connect(self.url("csharp"), additional_headers=headers, proxy=None):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    async def answered(self, call_id: str, user: str = "u") -> bool:
        """Whether a call of this user is let in."""
        who = {"aadId": user, "tenantId": "t"}
        async with calling(self.url(), call_id, caller=who):
            [decided] = await self.record(Decided, call_id)
        return decided.authorized


@pytest.fixture
def files(tmp_path: Path) -> Files:
    made = Files(tmp_path)
    made.write()
    return made


@asynccontextmanager
async def bridge(files: Files) -> AsyncIterator[Up]:
    source = Source.read(files.load)
    async with running(source.loaded.config, source=source) as up:
        site = Up(up)
        site.files = files
        yield site
        await site.quiet()


# --- what changes -----------------------------------------------------------------------


def test_changed_keys_are_named_and_new_calls_follow_them(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            assert not await site.answered("before", "v")
            assert (await site.reload()).changed == ()
            told = await site.reload(
                authorization__allow_from=["v"],
                inbound__greeting="Welcome.",
                max_concurrent_calls=7,
                bridge__previous_secret=BEFORE,
                tables='[[tools]]\nname = "t"\ndescription = "d"\ncommand = "true"\n',
            )
            assert told.changed == (
                "max_concurrent_calls",
                "bridge.previous_secret",
                "authorization.allow_from",
                "inbound.greeting",
                "tools",
            )
            assert told.needs_restart == ()
            assert [w for w in told.warnings if "tools have no effect" in w]
            assert b"tools have no effect" in msgspec.json.encode(told)  # as it is answered
            assert await site.answered("after", "v")
            assert not await site.answered("other", "u")
            assert site.said("after") == "Welcome."
            assert site.up.config.max_concurrent_calls == 7
            assert site.up.switchboard.readiness().slots_free == 7
            assert [await site.csharp(s) for s in (BRIDGE_SECRET, BEFORE)] == [101, 101]

    caplog.set_level(logging.DEBUG, "teamscall")
    run(test)
    whole = " ".join(str(record.__dict__) for record in caplog.records)
    assert "bridge.previous_secret, authorization.allow_from" in whole
    assert not [s for s in (BRIDGE_SECRET, STANDIN_SECRET, BEFORE, "Welcome") if s in whole]


def test_a_call_keeps_what_it_began_with(files: Files) -> None:
    """P5: its engine, its manners, its place; and a caller who is on the list no more."""

    async def test() -> None:
        async with bridge(files) as site:
            await site.reload(engine="echo", max_concurrent_calls=2)
            echo = site.up.engine
            async with calling(site.url(), "old") as old:
                await old.count(5)
                told = await site.reload(authorization__allow_from=["v"], max_concurrent_calls=1)
                assert told.changed[0] == "engine"
                assert site.up.engine.name == "scripted"
                assert site.up.switchboard._desk.voices.current is not echo
                await old.count(20)
                await old.all_back()
                with pytest.raises(InvalidStatus):  # the one place is taken
                    await site.answered("new", "v")
            await site.quiet()
            assert await site.answered("new", "v")
            [was, is_] = site.of(CallOpened)
            assert (was.engine, is_.engine) == ("echo", "scripted")

    run(test)


def test_fewer_places_than_calls_drop_nobody(files: Files) -> None:
    async def test() -> None:
        files.write(engine="echo")
        async with bridge(files) as site:
            calls = [calling(site.url(), f"c{number}") for number in range(3)]
            callers = [await call.__aenter__() for call in calls]
            await site.record(CallOpened, count=3)
            assert (await site.reload(engine="echo", max_concurrent_calls=2)).changed
            assert site.up.switchboard.readiness().slots_free == 0
            for call, caller in zip(calls, callers, strict=True):
                with pytest.raises(InvalidStatus):
                    await site.answered("more")
                await caller.count(5)
                await caller.all_back()
                await call.__aexit__(None, None, None)
                await until(lambda: site.up.switchboard.active < 3)
                if caller is callers[0]:
                    await until(lambda: site.up.switchboard.active == 2)
                else:
                    break
            await until(lambda: site.up.switchboard.active == 1)
            async with calling(site.url(), "fits"):
                await site.record(CallOpened, "fits")
            await calls[2].__aexit__(None, None, None)

    run(test)


def test_what_needs_a_restart_is_named_until_then(files: Files) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            changes = {
                "serve__port": 4001,
                "standin__paths": ["/other"],
                "journal__enabled": False,
                "control__token": "t" * 40,
                "metrics__port": 4002,
                "log__format": "json",
            }
            for count in range(2):
                told = await site.reload(**changes, inbound__greeting=f"Hello {count}.")
                assert told.changed == ("inbound.greeting",)
                assert set(told.needs_restart) == {k.replace("__", ".") for k in changes}
            assert site.up.config.serve.port == 0
            assert site.up.config.standin.paths[0] == "/msteams/calling"
            assert await site.answered("still")
            assert (await site.reload()).needs_restart == ()

    run(test)


def test_what_fits_only_after_a_restart_is_refused_until_then(files: Files) -> None:
    """Without its secret the listener that is still open would let nobody in."""

    async def test() -> None:
        async with bridge(files) as site:
            error = await site.refused(serve__enabled=False, bridge__secret=None)
            assert "only after a restart" in error.message
            assert "serve.enabled" in error.hint
            assert await site.csharp(BRIDGE_SECRET) == 101

    run(test)


def test_those_who_have_settings_get_the_new_ones(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            seen: list[Config] = []

            def broken(config: Config) -> None:
                raise RuntimeError("a bug")

            assert site.up.reloading is not None
            site.up.reloading.follow(broken)
            site.up.reloading.follow(seen.append)
            await site.reload(outbound__max_per_hour=1)
            assert [config.outbound.max_per_hour for config in seen] == [1]
            assert site.up.config is seen[0]
            await site.refused(outbound__max_per_hour=-1)
            assert len(seen) == 1

    run(test)
    assert "A part did not take the configuration" in caplog.text


def test_the_journal_follows(files: Files) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            journal = site.up.journal
            assert journal is not None

            def kept() -> str:
                return journal._words.keep

            assert kept() == "off"
            told = await site.reload(journal__transcripts="on", journal__retention_days=3)
            assert told.changed == ("journal.retention_days", "journal.transcripts")
            assert kept() == "on"

    run(test)


# --- what does not ----------------------------------------------------------------------


def vanish(files: Files) -> None:
    files.path.unlink()


def become_a_folder(files: Files) -> None:
    files.path.unlink()
    files.path.mkdir()


def hold_bytes(files: Files) -> None:
    files.path.write_bytes(b"\xff\xfe" + os.urandom(100))


def break_off(files: Files) -> None:
    files.path.write_text(files.path.read_text() + '[[webhooks]\nurl = "')


def name_nobody(files: Files) -> None:
    """H13: the allow-list is a word, and would be open to nobody or to anybody."""
    files.path.write_text(files.path.read_text().replace('["u"]', '"*"'))


def be_empty(files: Files) -> None:
    files.path.write_text("")


def lose_its_script(files: Files) -> None:
    files.script.unlink()


def have_no_script(files: Files) -> None:
    files.script.write_text("[[line]]\nheard = 5\n")


@pytest.mark.parametrize(
    "spoil",
    [
        *(vanish, become_a_folder, hold_bytes, break_off, name_nobody, be_empty),
        *(lose_its_script, have_no_script),
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_a_bad_configuration_changes_nothing_and_says_why(
    files: Files, spoil: Callable[[Files], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            before = site.inside()
            files.write(inbound__enabled=False)
            spoil(files)
            assert site.up.reloading is not None
            for _ in range(2):
                with pytest.raises(ConfigError) as caught:
                    await site.up.reloading.reload()
                assert caught.value.problems
                assert site.inside() == before
            assert await site.answered("yes", "u")
            assert not await site.answered("no", "v")
            if files.path.is_dir():
                files.path.rmdir()
            files.answer("two")
            assert "inbound.enabled" in (await site.reload(inbound__enabled=False)).changed

    caplog.set_level(logging.INFO, "teamscall")
    run(test)
    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("The configuration is as it was") == 2
    assert "Configuration problem" in lines


def test_a_default_file_that_is_gone_is_not_read_as_the_defaults(
    files: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Found where it is looked for, not named: without it there would be another one."""
    found = [files.path, tmp_path / "system" / "teamscall.toml"]
    monkeypatch.setattr("teamscall.config.load.default_paths", lambda: found)
    files.load = lambda: load_config(None, env={})  # type: ignore[method-assign]

    async def test() -> None:
        async with bridge(files) as site:
            assert site.up.reloading is not None
            text = files.path.read_text()
            files.path.unlink()
            with pytest.raises(ConfigError) as caught:
                await site.up.reloading.reload()
            assert caught.value.problems == (f"{files.path} is gone",)
            found[1].parent.mkdir()
            found[1].write_text(text.replace("allowlist", "open"))
            with pytest.raises(ConfigError, match="not there any more"):
                await site.up.reloading.reload()
            found[0] = found[1]
            files.path.write_text(text)
            with pytest.raises(ConfigError) as caught:
                await site.up.reloading.reload()
            assert f"{found[1]} would be read instead" in caught.value.problems[0]
            assert site.up.config.authorization.mode == "allowlist"

    run(test)


def test_a_disk_that_hangs_holds_up_no_reload_for_good(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reload, "READ_S", 0.2)
    hang, load = threading.Event(), files.load

    def slow() -> Loaded:
        if files.loads == 1:
            hang.wait(30)
        return load()

    files.load = slow  # type: ignore[method-assign]

    async def test() -> None:
        async with bridge(files) as site:
            error = await site.refused(inbound__enabled=False)
            assert "could not be read within" in error.message
            hang.set()
            await until(lambda: files.loads == 2)
            assert (await site.reload(inbound__enabled=False)).changed == ("inbound.enabled",)

    asyncio.run(test())


def test_a_bug_in_loading_ends_neither_the_bridge_nor_the_signal(files: Files) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            load, hup = files.load, asyncio.Event()
            assert site.up.reloading is not None

            def broken() -> Loaded:
                files.load = load  # type: ignore[method-assign]
                raise RuntimeError("a bug")

            site.up.reloading._source = reload.Source(
                lambda: files.load(), *_rest(site.up.reloading._source)
            )
            files.load = broken  # type: ignore[method-assign]
            async with asyncio.TaskGroup() as group:
                following = group.create_task(site.up.reloading.reload_on(hup))
                hup.set()
                await site.record(Audited, count=1)
                files.write(inbound__greeting="Hello.")
                hup.set()
                await site.record(Audited, count=2)
                files.path.unlink()
                hup.set()
                results = [r.result for r in await site.record(Audited, count=3)]
                following.cancel()
            assert results == ["error", "ok", "reload-failed"]
            assert site.of(Audited)[1].detail == "inbound.greeting"

    run(test)


def _rest(source: Source) -> tuple[Any, Any]:
    return source.loaded, source.stamps


# --- the engine -------------------------------------------------------------------------


class Tracked(ScriptedEngine):
    """Remembers its life; may refuse to start, or never be done with it."""

    made: ClassVar[list[Tracked]]
    broken = ""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.life: list[str] = []

    async def start(self) -> None:
        self.life.append("started")
        if self.broken == "raises":
            raise EngineError("there is no such voice", hint="Install one.")
        if self.broken == "hangs":
            await asyncio.Event().wait()

    async def stop(self) -> None:
        self.life.append("stopped")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Tracked]]:
    class Fresh(Tracked):
        made: ClassVar[list[Tracked]] = []

    def build(config: Config) -> Tracked:
        Fresh.made.append(Fresh(config.scripted.path))
        return Fresh.made[-1]

    monkeypatch.setattr("teamscall.server.run.build_engine", build)
    monkeypatch.setattr(voice, "build_engine", build)
    yield Fresh
    assert all(engine.life == ["started", "stopped"] for engine in Fresh.made)


async def ask(caller: Caller) -> None:
    """Say something: half a second of a tone, then silence."""
    tone = b"".join(
        (9000 * (1 if n // 40 % 2 else -1)).to_bytes(2, "little", signed=True) for n in range(320)
    )
    await caller.talk([tone] * 25 + [bytes(640)] * 60)


def test_another_engine_takes_new_calls_and_the_old_one_ends_with_its_last(
    files: Files, engines: type[Tracked]
) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            first = engines.made[0]
            async with calling(site.url(), "old") as old:
                await site.record(CallOpened, "old")
                files.answer("two")
                assert (await site.reload()).changed == ("scripted.path",)
                assert site.up.engine is engines.made[1]
                async with calling(site.url(), "new") as new:
                    await asyncio.gather(ask(old), ask(new))
                    await until(lambda: (site.said("old"), site.said("new")) == ("one", "two"))
                    assert first.life == ["started"]
            await until(lambda: first.life == ["started", "stopped"])
            assert engines.made[1].life == ["started"]

    run(test)


@pytest.mark.parametrize("broken", ["raises", "hangs"])
def test_an_engine_that_cannot_start_changes_nothing(
    files: Files, engines: type[Tracked], broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice, "ENGINE_START_S", 0.2)

    async def test() -> None:
        async with bridge(files) as site:
            async with calling(site.url(), "old") as old:
                await site.record(CallOpened, "old")
                engines.broken = broken
                files.answer("two")
                error = await site.refused(inbound__enabled=False)
                assert "no such voice" in error.message or "did not start" in error.message
                engines.broken = ""
                await ask(old)
                await until(lambda: site.said("old") == "one")
            assert (await site.reload()).changed == ("scripted.path",)

    run(test)


def test_a_stop_during_a_reload_leaves_no_engine(files: Files, engines: type[Tracked]) -> None:
    async def test() -> None:
        async with asyncio.TaskGroup() as group, bridge(files) as site:
            engines.broken = "hangs"
            files.answer("two")
            slow = group.create_task(site.reload())
            await until(lambda: len(engines.made) == 2)
            await until(lambda: engines.made[1].life == ["started"])
            slow.cancel()

    run(test)


def test_a_stop_ends_engines_that_wait_for_their_last_call(
    files: Files, engines: type[Tracked]
) -> None:
    async def test() -> None:
        async with bridge(files) as site, calling(site.url(), "old"):
            await site.record(CallOpened, "old")
            for words in ("two", "three"):
                files.answer(words)
                await site.reload()
            await until(lambda: engines.made[1].life == ["started", "stopped"])
            assert engines.made[0].life == ["started"]
            await site.up.switchboard.drain(0.0)

    run(test)


def test_what_concerns_no_engine_leaves_it_alone(files: Files, engines: type[Tracked]) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            told = await site.reload(
                inbound__greeting="Welcome to this bridge.",
                streaming__silence_duration_ms=600,
                response_system_prompt="Be short.",
                idle__reprompt="Hello?",
            )
            assert len(told.changed) == 4
            assert len(engines.made) == 1
            for text in ("Welcome to this bridge.", "Hello?"):
                assert engines.made[0].phrase(text), "it is said from the cache"

    run(test)


def test_fixed_phrases_find_room_however_often_they_change(
    files: Files, engines: type[Tracked]
) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            for number in range(40):
                await site.reload(inbound__greeting=f"Welcome {number}.")
            assert engines.made[0].phrase("Welcome 39.")
            assert engines.made[0].phrase(site.up.config.goodbye.apology)

    run(test)


def test_every_key_that_an_engine_reads_makes_another_one() -> None:
    """Whoever lets an engine read one more key must say so here."""
    folder = Path(teamscall.__file__).parent / "engines"
    sources = [folder / "select.py", *sorted((folder / "openai").glob("*.py"))]
    text = "\n".join(path.read_text() for path in sources)
    read = set(re.findall(r"\bconfig\.([a-z_]+(?:\.[a-z_]+)?)", text))
    read -= {"engine", "scripted", "scripted.path", "models"}  # told apart elsewhere
    known = ENGINE["openai"]
    tables = {name.rstrip(".") for name in known if name.endswith(".")}
    missing = {key for key in read if key not in known and key.split(".")[0] not in tables}
    assert missing == set()
    assert set(ENGINE) == {"echo", "scripted", "offline", "openai"}
    assert set(ENGINE["offline"]) <= set(known)


# --- one after the other, at the same time, many -----------------------------------------


def test_reloads_come_one_after_the_other(files: Files) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            assert site.up.reloading is not None
            files.write(inbound__greeting="Hello.")
            told = await asyncio.gather(*(site.up.reloading.reload() for _ in range(5)))
            assert [one.changed for one in told] == [("inbound.greeting",)] + [()] * 4

    run(test)


def test_fifty_reloads_leave_nothing(files: Files) -> None:
    """Of tasks, threads and descriptors, with a call on; every other one is a bad one."""

    async def test() -> None:
        files.write(engine="echo")
        async with bridge(files) as site:
            assert site.up.reloading is not None
            async with calling(site.url(), "on") as caller:
                await caller.count(2)
                for engine in ("scripted", "echo"):  # the call's own engine waits for it then
                    await site.reload(engine=engine)
                fds, tasks, threads = measured()
                for number in range(25):
                    engine = ("scripted", "echo")[number % 2]
                    assert (await site.reload(engine=engine)).changed == ("engine",)
                    await site.refused(engine="nonsense")
                    await caller.count(1)
                await until(lambda: len(asyncio.all_tasks()) <= tasks)
                assert descriptors() <= fds
                # asyncio's own pool has at most 32 of them, whatever there is to do.
                assert threading.active_count() <= max(threads, 40)
                await caller.all_back()

    def measured() -> tuple[int, int, int]:
        return descriptors(), len(asyncio.all_tasks()), threading.active_count()

    run(test)


# --- decisions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "granted"),
    [
        ({"authorization__allow_from": ["v"]}, False),
        ({"authorization__mode": "disabled"}, False),
        ({"inbound__enabled": False}, False),
        ({"authorization__hook_command": ["false"]}, False),
        ({"inbound__greeting": "Hello."}, True),
        ({"authorization__allow_from": ["u", "v"]}, True),
    ],
)
def test_a_decision_that_was_under_way_grants_only_what_the_new_rules_do(
    files: Files, tmp_path: Path, change: dict[str, Any], granted: bool
) -> None:
    """H13: the hook had been asked by the old ones."""
    asked, go = tmp_path / "asked", tmp_path / "go"
    script = (
        f"touch {asked}; while [ ! -e {go} ]; do sleep 0.01; done; echo '{{\"authorized\":true}}'"
    )
    hook: dict[str, Any] = {"authorization__hook_command": ["sh", "-c", script]}

    async def test() -> None:
        files.write(**hook, authorization__hook_timeout_ms=1900)
        async with bridge(files) as site:
            headers = {"X-Bridge-Secret": BRIDGE_SECRET}
            async with connect(
                site.url("csharp"), additional_headers=headers, proxy=None
            ) as socket_:
                who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
                request = {"type": "auth_request", "callId": "c", "correlationId": "k"}
                await socket_.send(json.dumps({**request, "metadata": who}))
                await until(asked.exists)
                await site.reload(**{**hook, "authorization__hook_timeout_ms": 1900, **change})
                go.touch()
                answer = json.loads(await socket_.recv())
                end = {"type": "session_end", "callId": "c", "reason": "hangup-user"}
                await socket_.send(json.dumps(end))
                await until(lambda: site.up.switchboard.readiness().slots_free == 5)
            assert answer["authorized"] is granted, answer
            [decided] = site.of(Decided)
            assert decided.authorized is granted

    run(test)


def test_what_was_granted_before_is_worth_what_the_new_rules_say(files: Files) -> None:
    async def test() -> None:
        async with bridge(files) as site:
            headers = {"X-Bridge-Secret": BRIDGE_SECRET}
            url = site.url("csharp")
            async with connect(url, additional_headers=headers, proxy=None) as socket_:
                who = {"tenantId": "t", "userId": "u", "teamsCallId": "x"}
                ask = {"type": "auth_request", "callId": "c", "correlationId": "k"}
                await socket_.send(json.dumps({**ask, "metadata": who}))
                assert json.loads(await socket_.recv())["authorized"] is True
                await site.reload(authorization__allow_from=["v"])
                start = {"type": "session_start", "callId": "c", "direction": "inbound"}
                await socket_.send(json.dumps({**start, "metadata": who}))
                answer = json.loads(await socket_.recv())
                assert (answer["type"], answer["callId"]) == ("hangup", "c")
            assert [decided.authorized for decided in site.of(Decided)] == [True, False]

    run(test)


# --- certificates -----------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_a_renewed_certificate_is_shown_to_the_next_one(files: Files, tmp_path: Path) -> None:
    cert, key = tmp_path / "c.pem", tmp_path / "k.pem"

    def renew(name: str) -> None:
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-days", "2", "-nodes"),
                *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", f"/CN={name}"),
                *("-keyout", str(key), "-out", str(cert)),
            ],
            check=True,
            capture_output=True,
        )

    async def shown(site: Up) -> bytes:
        listening = next(one for one in site.up.listening if "csharp" in one.dialects)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port, ssl=context)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return bytes(found)

    async def test() -> None:
        renew("one")
        tls = {"serve__tls_cert": str(cert), "serve__tls_key": str(key)}
        files.write(**tls, engine="echo")
        async with bridge(files) as site:
            first = await shown(site)
            assert first in base64.b64decode("".join(cert.read_text().splitlines()[1:-1]))
            renew("two")
            assert await shown(site) == first
            told = await site.reload(**tls, engine="echo")
            assert told.changed == ("serve.tls_cert", "serve.tls_key")
            second = await shown(site)
            assert second != first
            cert.write_text("not PEM")
            error = await site.refused(**tls, engine="echo")
            assert "cannot be loaded" in error.message
            assert await shown(site) == second
            other = {"serve__tls_cert": str(tmp_path / "other.pem"), "serve__tls_key": str(key)}
            shutil.copy(key, tmp_path / "other.pem")
            renew("three")
            told = await site.reload(**other, engine="echo")
            assert told.needs_restart == ("serve.tls_cert",)
            assert await shown(site) not in (first, second)

    asyncio.run(test())


# --- systemd ----------------------------------------------------------------------------


def test_systemd_is_told_when_it_begins_and_when_it_is_over(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sd_notify(3), Type=notify-reload; also of a reload that fails."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))

        async def test() -> None:
            async with bridge(files) as site:
                await site.reload()
                await site.refused(engine="nonsense")
                await site.up.switchboard.drain(0.0)
                await site.reload()

        asyncio.run(test())
        said = []
        while True:
            try:
                said.append(manager.recv(200).decode())
            except BlockingIOError:
                break
    kinds = [message.partition("=")[0] for message in said]
    assert kinds == ["RELOADING", "READY", "RELOADING", "READY", "RELOADING"]
    assert all(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[0-9]+", one) for one in said[::2])


def test_a_bridge_that_was_given_its_configuration_has_nothing_to_read_again(
    files: Files,
) -> None:
    async def test() -> None:
        async with running(files.load().config, engine=Probe()) as up:
            assert up.reloading is None

    run(test)
