"""Guard rails in a running bridge, what is kept of an order, and who is told of it."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from outbound_rig import PATIENCE_S, FarSide, configured, far_side, site, until

from teamscall.calls.records import OutboundProgress
from teamscall.clock import SystemClock
from teamscall.errors import PlacingError
from teamscall.journal.kept import Kept, Undelivered
from teamscall.journal.store import Journal
from teamscall.outbound.orders import Order
from teamscall.outbound.placing import Outbound
from teamscall.outbound.telling import Telling


def rows(tmp_path: Path) -> list[dict[str, Any]]:
    """The attempts on the disk, oldest first."""
    connection = sqlite3.connect(tmp_path / "journal.sqlite3")
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM attempts ORDER BY rowid")]
    finally:
        connection.close()


class Told:
    """Somebody who is told of what nobody heard, and refuses it so often first."""

    def __init__(self, refuse: int = 0) -> None:
        self.refuse = refuse
        self.asked = 0
        self.told: list[Undelivered] = []

    async def __call__(self, undelivered: Undelivered) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if self.refuse:
            self.refuse -= 1
            if self.refuse % 2:
                raise OSError("no route")
            return False
        self.told.append(undelivered)
        return True


def refused(error: PlacingError) -> list[str]:
    return [name for name, passed, _ in error.gates if not passed]


class TestGuardRails:
    def test_two_orders_for_one_target_at_once_give_one_call(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                orders = [place.place(to) for to in ("user:ann", "user:ANN", "user:ann")]
                results = await asyncio.gather(*orders, return_exceptions=True)
                errors = [r for r in results if isinstance(r, PlacingError)]
                assert len(errors) == 2
                assert all(refused(error) == ["already-ringing"] for error in errors)
                assert all(error.why == "refused" for error in errors)
                assert far.placed == 1

        asyncio.run(run())

    def test_the_last_slot_goes_to_one(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                config = msgspec.structs.replace(configured(tmp_path, far), max_concurrent_calls=1)
                async with site(config) as place:
                    orders = [place.place(f"user:u{n}") for n in range(3)]
                    results = await asyncio.gather(*orders, return_exceptions=True)
                    errors = [r for r in results if isinstance(r, PlacingError)]
                    assert [refused(error) for error in errors] == [["capacity"]] * 2

        asyncio.run(run())

    def test_what_is_refused_leaves_a_record_and_counts_for_nothing(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                async with site(configured(tmp_path, far, allow_to=("user:bob",))) as place:
                    weighed = await place.outbound.weigh(Order("user:ann"))
                    assert not weighed.passed
                    assert place.records == []
                    with pytest.raises(PlacingError, match="may not be called") as raised:
                        await place.place("user:ann")
                    assert refused(raised.value) == ["allowed"]
                    [record] = place.records
                    assert isinstance(record, OutboundProgress)
                    assert (record.state, record.outcome) == ("ended", "refused")
                    assert record.target == "user:ann"
                    assert place.outbound.last_hour == 0
                    assert far.requests == []
                assert rows(tmp_path) == []

        asyncio.run(run())

    def test_a_dry_run_says_through_whom_and_rings_nobody(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                weighed = await place.outbound.weigh(Order("user:ann", mode="notify"))
                assert weighed.passed
                assert (weighed.target, weighed.via) == ("user:ann", "standin")
                assert weighed.mode == "notify"
                assert far.requests == []
                unread = await place.outbound.weigh(Order("+49 30 123456"))
                assert unread.target == "+49 30 123456"
                assert not unread.passed

        asyncio.run(run())

    def test_caps_survive_a_restart(self, tmp_path: Path) -> None:
        async def run() -> None:
            limits = {"max_per_hour": 3, "max_per_target_per_hour": 2}
            async with far_side() as far:
                for _ in range(2):
                    async with site(configured(tmp_path, far, **limits)) as place:
                        attempt = await place.place("user:ann")
                        await place.outcome(attempt.call_id, "busy")
                        await place.over(attempt.attempt)
                async with site(configured(tmp_path, far, **limits)) as place:
                    assert place.outbound.last_hour == 2
                    with pytest.raises(PlacingError) as raised:
                        await place.place("user:Ann")
                    assert refused(raised.value) == ["target-cap"]
                    await place.place("user:bob")
                    with pytest.raises(PlacingError) as raised:
                        await place.place("user:eve")
                    assert refused(raised.value) == ["hourly-cap"]

        asyncio.run(run())

    def test_an_address_is_resolved_and_its_tenant_is_used(self, tmp_path: Path) -> None:
        script = tmp_path / "resolver.py"
        script.write_text('print(\'{"userObjectId": "u-1", "tenantId": "t-9"}\')')
        command = (sys.executable, str(script))

        async def run() -> None:
            given = {"resolver_command": command}
            async with far_side() as far, site(configured(tmp_path, far, **given)) as place:
                attempt = await place.place("ann@example.com")
                assert attempt.target == "user:u-1"
                assert far.requests[0].json == {"userObjectId": "u-1", "tenantId": "t-9"}

        asyncio.run(run())

    def test_new_lists_and_limits_count_at_once(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                attempt = await place.place("user:ann")
                place.outbound.reconfigure(configured(tmp_path, far, allow_to=("user:bob",)))
                assert [one.attempt for one in place.outbound.attempts()] == [attempt.attempt]
                with pytest.raises(PlacingError):
                    await place.place("user:eve")
                place.outbound.reconfigure(
                    configured(tmp_path, far, allow_to=("user:bob",), max_per_hour=1)
                )
                with pytest.raises(PlacingError) as raised:
                    await place.place("user:bob")
                assert refused(raised.value) == ["hourly-cap"]

        asyncio.run(run())


class TestTheSwitch:
    def test_stops_all_that_rings_and_stays_off(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                async with site(configured(tmp_path, far)) as place:
                    ringing = await place.place("user:ann")
                    waiting = await place.place("user:bob", via="csharp")
                    talking = await place.place("user:eve")
                    await place.standin(talking.call_id, "active")
                    await until(lambda: place.states(talking.attempt)[-1] == "answered")
                    assert place.outbound.ringing == 2
                    assert await place.outbound.switch(False)
                    for attempt in (ringing, waiting):
                        assert (await place.over(attempt.attempt))[0] == "cancelled"
                    await until(lambda: far.hung_up() == [ringing.call_id])
                    assert [a.attempt for a in place.outbound.attempts()] == [talking.attempt]
                async with site(configured(tmp_path, far)) as place:
                    assert not place.outbound.switched_on
                    with pytest.raises(PlacingError) as raised:
                        await place.place("user:zoe")
                    assert refused(raised.value) == ["switch"]
                    assert await place.outbound.switch(True)
                    assert (await place.place("user:zoe")).state == "ringing"

        asyncio.run(run())

    def test_is_off_while_the_journal_does_not_say_how_it_is(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("teamscall.journal.store.RETRY_S", 0.05)

        async def run() -> None:
            path = tmp_path / "journal.sqlite3"
            async with far_side() as far:
                async with site(configured(tmp_path, far)) as place:
                    await place.place("user:ann")
                for name in ("journal.sqlite3-wal", "journal.sqlite3-shm"):
                    (tmp_path / name).unlink(missing_ok=True)
                path.rename(tmp_path / "away")
                path.mkdir()  # it cannot be opened, whoever asks
                async with site(configured(tmp_path, far, max_per_target_per_hour=1)) as place:
                    assert not place.outbound.switched_on
                    with pytest.raises(PlacingError, match="journal cannot be read") as raised:
                        await place.place("user:bob")
                    assert refused(raised.value) == ["switch"]
                    path.rmdir()
                    (tmp_path / "away").rename(path)
                    async with asyncio.timeout(PATIENCE_S):
                        while True:  # the journal is opened again by and by
                            weighed = await place.outbound.weigh(Order("user:bob"))
                            if weighed.passed:
                                break
                            await asyncio.sleep(0.02)
                    with pytest.raises(PlacingError) as raised:
                        await place.place("user:ann")
                    assert refused(raised.value) == ["target-cap"]

        asyncio.run(run())

    def test_that_cannot_be_read_is_the_operators_all_the_same(self, tmp_path: Path) -> None:
        async def run() -> None:
            (tmp_path / "journal.sqlite3").mkdir()
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                assert not await place.outbound.switch(True)
                assert (await place.place()).state == "ringing"

        asyncio.run(run())

    def test_is_on_where_there_never_was_a_journal(self, tmp_path: Path) -> None:
        async def run() -> None:
            (tmp_path / "file").touch()
            config = configured(tmp_path / "file", None)
            async with far_side() as far:
                far_url = msgspec.structs.replace(config.standin, worker_base_url=far.url)
                config = msgspec.structs.replace(config, standin=far_url)
                async with site(config) as place:
                    assert (await place.place()).state == "ringing"

        asyncio.run(run())

    def test_says_that_nothing_keeps_it(self) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(None, far)) as place:
                assert not await place.outbound.switch(False)
                assert not place.outbound.switched_on

        asyncio.run(run())


class TestTheDisk:
    def test_has_the_message_before_the_far_side_is_asked_and_not_after(
        self, tmp_path: Path
    ) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                seen: list[dict[str, Any]] = []

                async def look(call_id: str) -> None:
                    seen.extend(await asyncio.to_thread(rows, tmp_path))

                far.before_answer = look
                attempt = await place.place(message="Soup is on.", by="test")
                [row] = seen
                assert (row["message"], row["call_id"]) == ("Soup is on.", "")
                assert row["asked_by"] == "test"
                await until(lambda: rows(tmp_path)[0]["call_id"] == attempt.call_id)
                await place.outcome(attempt.call_id, "busy")
                await place.over(attempt.attempt)
                [row] = rows(tmp_path)
                assert (row["outcome"], row["message"], row["state"]) == ("busy", "", "ended")
                assert row["ended_ms"]

        asyncio.run(run())

    def test_that_is_not_there_costs_no_call(self) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(None, far)) as place:
                attempt = await place.place(mode="notify")
                await place.standin(attempt.call_id, "active")
                assert (await place.over(attempt.attempt))[0] == "answered"

        asyncio.run(run())

    def test_that_hangs_costs_no_call(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("teamscall.outbound.ringing.KEEP_S", 0.1)

        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                lock = sqlite3.connect(tmp_path / "journal.sqlite3", isolation_level=None)
                lock.execute("BEGIN IMMEDIATE")
                attempt = await place.place(mode="notify")
                await place.standin(attempt.call_id, "active")
                assert (await place.over(attempt.attempt))[0] == "answered"
                lock.execute("ROLLBACK")
                lock.close()

        asyncio.run(run())


class TestWhoIsTold:
    async def with_teller(
        self,
        tmp_path: Path | None,
        teller: Told,
        then: Callable[[Any, FarSide], Awaitable[None]],
        **outbound: Any,
    ) -> None:
        given = {"undelivered_command": ("true",)} | outbound
        async with far_side() as far, site(configured(tmp_path, far, **given)) as place:
            place.outbound.tell_undelivered = teller
            await then(place, far)

    def test_of_a_message_that_nobody_heard_once(self, tmp_path: Path) -> None:
        async def busy(place: Any, far: FarSide) -> None:
            attempt = await place.place(message="Soup is on.", by="test")
            await place.outcome(attempt.call_id, "busy")
            await until(lambda: teller.told)
            [told] = teller.told
            assert (told.attempt, told.message) == (attempt.attempt, "Soup is on.")
            assert (told.outcome, told.target) == ("busy", "user:ann-1")
            assert (told.call_id, told.asked_by) == (attempt.call_id, "test")
            await until(lambda: rows(tmp_path)[0]["tell"] == 2)
            assert rows(tmp_path)[0]["message"] == ""

        async def again(place: Any, far: FarSide) -> None:
            await asyncio.sleep(0.1)

        teller = Told()
        asyncio.run(self.with_teller(tmp_path, teller, busy))
        asyncio.run(self.with_teller(tmp_path, teller, again))
        assert teller.asked == 1

    def test_once_though_the_disk_names_it_too(self) -> None:
        async def run() -> None:
            telling = Telling(Kept(None), teller, (0.01,))
            one = Undelivered(
                "out-1", "", "user:ann", "notify", "test", 0, 1, "busy", "", "Soup is on."
            )
            telling.add(one)
            telling.add_all([one])
            await until(lambda: teller.told)
            telling.add(one)
            await telling.stop(PATIENCE_S)
            assert teller.asked == 1

        teller = Told()
        asyncio.run(run())

    def test_nobody_of_one_that_was_answered_or_that_said_nothing(self, tmp_path: Path) -> None:
        async def run(place: Any, far: FarSide) -> None:
            first = await place.place("user:ann", mode="conversation")
            leg = await place.standin(first.call_id, "active")
            await until(lambda: place.states(first.attempt)[-1] == "answered")
            await leg.send(type="session.end", reason="hangup-user")
            assert (await place.over(first.attempt))[0] == "answered"
            silent = await place.place("user:bob", message="")
            await place.outcome(silent.call_id, "busy")
            await place.over(silent.attempt)
            await asyncio.sleep(0.05)
            assert teller.asked == 0

        teller = Told()
        asyncio.run(self.with_teller(tmp_path, teller, run))

    def test_again_until_it_is_taken(self, tmp_path: Path) -> None:
        async def run() -> None:
            config = configured(tmp_path, undelivered_command=("true",))
            journal = Journal(tmp_path / "journal.sqlite3", SystemClock())
            journal.open()
            async with far_side() as far, site(configured(None, far)) as place:
                outbound = Outbound(
                    msgspec.structs.replace(config, standin=configured(None, far).standin),
                    place.board,
                    Kept(journal),
                    SystemClock(),
                    teller,
                    pauses_s=(0.01,) * 4,
                )
                await outbound.start()
                attempt = await outbound.place(Order("user:ann", "Soup is on."))
                await outbound.cancel(attempt.attempt)
                await until(lambda: teller.told)
                await until(lambda: rows(tmp_path)[0]["tell"] == 2)
                assert teller.asked == 4
                await outbound.stop()
            journal.close()

        teller = Told(refuse=3)
        asyncio.run(run())

    def test_at_the_next_start_where_it_was_not_taken(self, tmp_path: Path) -> None:
        async def fails(place: Any, far: FarSide) -> None:
            attempt = await place.place(message="Soup is on.")
            await place.outcome(attempt.call_id, "declined")
            await until(lambda: never.asked)

        async def run() -> None:
            given = {"undelivered_command": ("true",)}
            async with far_side() as far, site(configured(None, far)) as place:
                journal = Journal(tmp_path / "journal.sqlite3", SystemClock())
                journal.open()
                outbound = Outbound(
                    configured(None, far, **given), place.board, Kept(journal), SystemClock(), then
                )
                await outbound.start()
                await until(lambda: then.told)
                assert then.told[0].message == "Soup is on."
                await until(lambda: rows(tmp_path)[0]["tell"] == 2)
                await outbound.stop()
                journal.close()

        never, then = Told(refuse=1000), Told()
        asyncio.run(self.with_teller(tmp_path, never, fails))
        assert rows(tmp_path)[0]["tell"] == 1
        assert rows(tmp_path)[0]["message"] == "Soup is on."
        asyncio.run(run())


class TestShutdown:
    def test_hangs_up_what_rings_and_tells_of_it(self, tmp_path: Path) -> None:
        async def run() -> None:
            given = {"undelivered_command": ("true",)}
            async with far_side() as far:
                async with site(configured(tmp_path, far, **given)) as place:
                    place.outbound.tell_undelivered = teller
                    ringing = await place.place("user:ann")
                    talking = await place.place("user:bob", mode="conversation")
                    await place.standin(talking.call_id, "active")
                    await until(lambda: place.states(talking.attempt)[-1] == "answered")
                    await place.outbound.stop()
                    assert far.hung_up() == [ringing.call_id]
                    assert place.states(talking.attempt)[-1] == "answered"
                    with pytest.raises(PlacingError) as raised:
                        await place.place("user:eve")
                    assert refused(raised.value) == ["draining"]
                [first, second] = rows(tmp_path)
                assert (first["outcome"], first["detail"]) == (
                    "failed",
                    "The bridge was shut down.",
                )
                assert second["outcome"] == "answered"
                assert [told.attempt for told in teller.told] == [ringing.attempt]

        teller = Told()
        asyncio.run(run())
