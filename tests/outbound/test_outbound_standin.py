"""Calls through StandIn: what it is asked, and what becomes of what it says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from outbound_rig import STANDIN_SECRET, configured, far_side, site, until

from teamscall.clock import ManualClock
from teamscall.errors import PlacingError
from teamscall.outbound.dialling import Dialling
from teamscall.outbound.target import Target
from teamscall.wire.signature import sign_v1, sign_v2


def with_(config: Any, table: str, **changes: Any) -> Any:
    part = msgspec.structs.replace(getattr(config, table), **changes)
    return msgspec.structs.replace(config, **{table: part})


class TestItAsks:
    @pytest.mark.parametrize("which", ["v2", "v1", "both"])
    def test_with_the_signatures_that_are_configured(self, which: str) -> None:
        async def run() -> None:
            async with far_side() as far:
                config = with_(configured(None, far), "standin", outbound_signature=which)
                dialling = Dialling(config, ManualClock(wall_ms=1_700_000_000_000))
                call_id = await dialling.ring("standin", Target("user", "u1"), "tenant-A", "Hi")
                assert await dialling.hang_up("standin", call_id)
                ask, end = far.requests
                assert (ask.method, ask.target) == ("POST", "/api/calls")
                assert ask.json == {"userObjectId": "u1", "tenantId": "tenant-A"}
                assert (end.method, end.target) == ("DELETE", f"/api/calls/{call_id}")
                secret, stamp = STANDIN_SECRET.encode(), "1700000000000"
                for request, subject in ((ask, "u1"), (end, call_id)):
                    assert request.headers["x-standin-timestamp"] == stamp
                    v1 = sign_v1(secret, stamp, subject)
                    v2 = sign_v2(secret, stamp, request.method, request.target, request.body)
                    expected = (None if which == "v2" else v1, None if which == "v1" else v2)
                    sent = request.headers
                    assert expected == (
                        sent.get("x-standin-signature"),
                        sent.get("x-standin-signature-v2"),
                    )

        asyncio.run(run())

    def test_under_a_path_of_its_own_and_for_ids_of_any_sign(self) -> None:
        async def run() -> None:
            async with far_side() as far:
                config = with_(configured(None, far), "standin", worker_base_url=far.url + "/w/")
                dialling = Dialling(config, ManualClock())
                far.answers = [(200, '{"callId": "a b~ü?#%"}'.encode())]
                call_id = await dialling.ring("standin", Target("user", "u1"), "t", "")
                assert call_id == "a b~ü?#%"
                assert await dialling.hang_up("standin", call_id)
                ask, end = far.requests
                assert ask.target == "/w/api/calls"
                assert end.target.startswith("/w/api/calls/a%20b")
                assert far.hung_up() == ["a b~ü?#%"]
                assert ask.signed("u1")
                assert end.signed(call_id)

        asyncio.run(run())

    def test_and_no_proxy_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

        async def run() -> None:
            async with far_side() as far:
                dialling = Dialling(configured(None, far), ManualClock())
                assert await dialling.ring("standin", Target("user", "u1"), "t", "") == "far-1"

        asyncio.run(run())

    @pytest.mark.parametrize(
        ("status", "body", "message", "hint"),
        [
            (401, b"no", "refused the call with status 401: no", "standin.secret"),
            (400, b"who\x1b[31m?", "status 400: who [31m?", "this user"),
            (302, b"", "status 302", "standin.worker_base_url"),
            (500, b"oops", "status 500: oops", ""),
            (200, b"<html>", "status 200 and no call", ""),
            (202, b'{"callId": ""}', "status 202 and no call", ""),
            (200, b"x" * 200_000, "status 200 and no call", ""),
        ],
    )
    def test_and_says_what_is_wrong(
        self, status: int, body: bytes, message: str, hint: str, tmp_path: Path
    ) -> None:
        async def run() -> None:
            async with far_side() as far:
                far.answers = [(status, body)]
                far.headers = [("Location", far.url + "/elsewhere")]
                async with site(configured(tmp_path, far)) as place:
                    with pytest.raises(PlacingError) as raised:
                        await place.place()
                    error = raised.value
                    assert error.why == "far-side-failed"
                    assert error.status == status
                    assert message in error.message
                    assert hint in error.hint
                    assert "\x1b" not in str(error)
                    [attempt] = {r.attempt for r in place.records if hasattr(r, "attempt")}
                    outcome, detail = await place.over(attempt)
                    assert outcome == ("refused" if status in (400, 401) else "failed")
                    assert message in detail
                    assert len(far.requests) == 1, "a redirect was followed, or a hang-up sent"
                    assert place.outbound.last_hour == 1

        asyncio.run(run())

    def test_where_nobody_is(self) -> None:
        async def run() -> None:
            async with site(configured(None)) as place:
                with pytest.raises(PlacingError, match="cannot be reached at http://127") as error:
                    await place.place()
                assert "standin.worker_base_url" in error.value.hint
                assert error.value.status == 0

        asyncio.run(run())


class TestACall:
    def test_is_answered_says_its_message_and_hangs_up(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                attempt = await place.place(mode="notify")
                assert (attempt.state, attempt.call_id) == ("ringing", "far-1")
                assert far.requests[0].json["tenantId"] == "t-1"
                leg = await place.standin("far-1")
                await until(lambda: place.board.calls)
                assert place.outbound.ringing == 1
                await leg.send(type="recording.status", status="active")
                outcome, detail = await place.over(attempt.attempt)
                assert (outcome, detail) == ("answered", "hangup-bot")
                assert place.heard() == ["Hello."]
                assert place.states(attempt.attempt) == [
                    "requested",
                    "ringing",
                    "answered",
                    "ended",
                ]
                await leg.closed.wait()
                assert leg.frames() > 0
                assert far.hung_up() == []

        asyncio.run(run())

    @pytest.mark.parametrize("word", ["no-answer", "busy", "declined", "failed"])
    @pytest.mark.parametrize("leg", [False, True])
    def test_ends_as_its_outcome_says(self, word: str, leg: bool, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                attempt = await place.place()
                if leg:
                    await place.standin("far-1")
                    await until(lambda: place.board.calls)
                assert await place.outcome("far-1", word) == 200
                assert (await place.over(attempt.attempt))[0] == word
                assert far.hung_up() == []
                assert await place.outcome("far-1", "failed") == 200  # too late for anything
                assert (await place.over(attempt.attempt))[0] == word

        asyncio.run(run())

    @pytest.mark.parametrize("direction", [None, "join"])
    def test_is_known_by_its_id_whatever_direction_its_leg_names(
        self, direction: str | None, tmp_path: Path
    ) -> None:
        async def run() -> None:
            config = with_(configured(tmp_path), "authorization", mode="disabled")
            async with far_side() as far:
                config = with_(config, "standin", worker_base_url=far.url)
                async with site(config) as place:
                    attempt = await place.place(mode="notify")
                    await place.standin("far-1", "active", direction=direction)
                    assert (await place.over(attempt.attempt))[0] == "answered"
                    assert place.heard() == ["Hello."]

        asyncio.run(run())

    @pytest.mark.parametrize("leg", [False, True])
    def test_ends_as_its_outcome_says_though_that_overtakes_the_answer(
        self, leg: bool, tmp_path: Path
    ) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:

                async def busy_first(call_id: str) -> None:
                    if leg:
                        legs.append(await place.standin(call_id))
                    for word in ("answered", "busy", "failed"):
                        assert await place.outcome(call_id, word) == 200
                    assert await place.outcome("nobody", "declined") == 200

                legs: list[Any] = []
                far.before_answer = busy_first
                attempt = await place.place()
                assert (await place.over(attempt.attempt))[0] == "busy"
                if leg:
                    await legs[0].closed.wait()
                    assert legs[0].frames() == 0
                assert far.hung_up() == []

        asyncio.run(run())

    @pytest.mark.parametrize("answer", [(204, b""), (200, b'{"callId": ".."}'), (504, b"")])
    def test_that_was_not_named_is_hung_up_when_its_leg_comes(
        self, answer: tuple[int, bytes], tmp_path: Path
    ) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                far.answers = [answer]
                with pytest.raises(PlacingError):
                    await place.place()
                leg = await place.standin("its-name", "active")
                await leg.closed.wait()
                assert leg.frames() == 0
                await until(lambda: far.hung_up() == ["its-name"])

        asyncio.run(run())

    def test_says_why_its_leg_went_even_after_it_went(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                attempt = await place.place()
                leg = await place.standin("far-1")
                await until(lambda: place.board.calls)
                await leg.socket.close()
                await until(place.closed)
                assert place.outbound.attempts()
                await place.outcome("far-1", "declined")
                assert (await place.over(attempt.attempt))[0] == "declined"

        asyncio.run(run())

    def test_that_loses_its_leg_without_a_word_has_failed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("teamscall.outbound.ringing.OUTCOME_GRACE_S", 0.05)

        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                attempt = await place.place()
                leg = await place.standin("far-1")
                await until(lambda: place.board.calls)
                await leg.send(type="session.end", reason="gone-away")
                outcome, detail = await place.over(attempt.attempt)
                assert outcome == "failed"
                assert "gone-away" in detail
                await until(lambda: far.hung_up() == ["far-1"])

        asyncio.run(run())

    @pytest.mark.parametrize("leg", [False, True])
    def test_that_nobody_answers_is_hung_up(self, leg: bool, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                far.refuse_hang_up = 1  # it is told again
                async with site(configured(tmp_path, far, ring_timeout_ms=600)) as place:
                    attempt = await place.place()
                    if leg:
                        ringing = await place.standin("far-1")
                    outcome, detail = await place.over(attempt.attempt)
                    assert outcome == "no-answer"
                    assert "0.6 s" in detail
                    await until(lambda: far.hung_up() == ["far-1", "far-1"])
                    if leg:
                        await ringing.closed.wait()
                        assert ringing.of("session.end")[0]["reason"] == "no-answer"

        asyncio.run(run())

    def test_that_answers_late_is_hung_up_again(self, tmp_path: Path) -> None:
        async def run() -> None:
            brief = {"ring_timeout_ms": 200}
            async with far_side() as far, site(configured(tmp_path, far, **brief)) as place:
                attempt = await place.place()
                await place.over(attempt.attempt)
                await until(lambda: far.hung_up() == ["far-1"])
                leg = await place.standin("far-1", "active")
                await leg.closed.wait()
                assert leg.of("session.end")[0]["reason"] == "not-allowed"
                assert leg.frames() == 0
                await until(lambda: far.hung_up() == ["far-1", "far-1"])

        asyncio.run(run())

    def test_is_cancelled(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                attempt = await place.place()
                leg = await place.standin("far-1")
                await until(lambda: place.board.calls)
                assert await place.outbound.cancel("far-1")
                assert not await place.outbound.cancel(attempt.attempt)
                assert (await place.over(attempt.attempt))[0] == "cancelled"
                await leg.closed.wait()
                await until(lambda: far.hung_up() == ["far-1"])
                assert not await place.outbound.cancel("no-such")

        asyncio.run(run())


class TestTheAnswerAndTheLegRace:
    @pytest.mark.parametrize("slots", [1, 2])
    def test_a_leg_before_the_answer_gets_its_message(self, slots: int, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                config = msgspec.structs.replace(
                    configured(tmp_path, far), max_concurrent_calls=slots
                )
                async with site(config) as place:

                    async def leg_first(call_id: str) -> None:
                        await place.standin(call_id, "active")
                        await asyncio.sleep(0.1)  # it waits for its name
                        assert place.board.calls == ()

                    far.before_answer = leg_first
                    attempt = await place.place(mode="notify")
                    assert attempt.call_id == "far-1"
                    assert (await place.over(attempt.attempt))[0] == "answered"
                    assert place.heard() == ["Hello."]
                    assert "capacity" not in place.bridge.bridge.refusals

        asyncio.run(run())

    def test_a_stranger_is_refused_and_ours_is_not(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                config = msgspec.structs.replace(configured(tmp_path, far), max_concurrent_calls=1)
                async with site(config) as place:

                    async def stranger_first(call_id: str) -> None:
                        strangers.append(await place.standin("stranger", "active"))
                        await asyncio.sleep(0.1)

                    strangers: list[Any] = []
                    far.before_answer = stranger_first
                    attempt = await place.place(mode="notify")
                    await strangers[0].closed.wait()
                    assert strangers[0].of("session.end")[0]["reason"] == "not-allowed"
                    await place.standin(attempt.call_id, "active")
                    assert (await place.over(attempt.attempt))[0] == "answered"
                    assert place.heard() == ["Hello."]

        asyncio.run(run())

    @pytest.mark.parametrize("how", ["cancelled", "no-answer"])
    def test_an_answer_that_comes_too_late_is_hung_up(self, how: str, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                far.hold = asyncio.Event()
                async with site(configured(tmp_path, far, ring_timeout_ms=400)) as place:
                    async with asyncio.TaskGroup() as tasks:
                        placing = tasks.create_task(place.place())
                        await until(far.placings)
                        [one] = place.outbound.attempts()
                        if how == "cancelled":
                            assert await place.outbound.cancel(one.attempt)
                    assert placing.result().outcome == how
                    assert far.hung_up() == []
                    far.hold.set()
                    await until(lambda: far.hung_up() == ["far-1"])

        asyncio.run(run())

    def test_an_id_that_is_in_use_harms_nobody(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                far.answers = [(202, b'{"callId": "same"}'), (202, b'{"callId": "same"}')]
                first = await place.place()
                leg = await place.standin("same", "active")
                await until(lambda: place.states(first.attempt)[-1] == "answered")
                second = await place.place("user:bob")
                assert second.outcome == "failed"
                assert far.hung_up() == []
                await leg.send(type="session.end", reason="hangup-user")
                assert (await place.over(first.attempt))[0] == "answered"

        asyncio.run(run())

    def test_nor_does_the_id_of_a_caller_who_is_talking(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far, site(configured(tmp_path, far)) as place:
                caller = {"aadId": "bob", "tenantId": "t-1"}
                await place.standin("same", "active", direction="inbound", caller=caller)
                await until(lambda: place.board.calls)
                far.answers = [(202, b'{"callId": "same"}')]
                attempt = await place.place()
                outcome, detail = await place.over(attempt.attempt)
                assert outcome == "failed"
                assert "in use" in detail
                assert place.closed() == []
                assert len(place.board.calls) == 1
                assert far.hung_up() == []

        asyncio.run(run())

    def test_whoever_placed_it_may_go_away(self, tmp_path: Path) -> None:
        async def run() -> None:
            async with far_side() as far:
                far.hold = asyncio.Event()
                async with site(configured(tmp_path, far)) as place:
                    async with asyncio.TaskGroup() as tasks:
                        placing = tasks.create_task(place.place())
                        await until(far.placings)
                        placing.cancel()
                    far.hold.set()
                    [one] = place.outbound.attempts()
                    await until(lambda: place.states(one.attempt)[-1] == "ringing")
                    await place.standin("far-1", "active")
                    await until(lambda: place.states(one.attempt)[-1] == "answered")

        asyncio.run(run())
