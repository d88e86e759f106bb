"""How checks are run: side by side, in order where it matters, and none ends the run."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from doctor_rig import check, config, findings

from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.registry import CHECKS
from teamscall.doctor.running import Outcome, examine, find, select, worst
from teamscall.errors import InputError


def told(*checks: Check, total_s: float = 30.0) -> dict[str, Finding]:
    async def main() -> dict[str, Finding]:
        return findings(await examine(checks, Site(config=config()), total_s=total_s))

    return asyncio.run(main())


def test_one_failure_is_not_repeated_by_what_rests_on_it() -> None:
    found = told(
        check("TC-A", lambda site: failed("broken", "mend it")),
        check("TC-B", after=("TC-A",)),
        check("TC-C", after=("TC-B",)),
        check("TC-D"),
    )
    assert [one.status for one in found.values()] == ["failed", "skipped", "skipped", "ok"]
    assert found["TC-C"].what == "TC-A is in the way."


@pytest.mark.parametrize("first", [warning("hm", "see"), skipped("does not apply")])
def test_a_warning_or_a_check_that_does_not_apply_is_in_nobodys_way(first: Finding) -> None:
    found = told(check("TC-A", lambda site: first), check("TC-B", after=("TC-A",)))
    assert found["TC-B"].status == "ok"


def test_a_check_that_was_not_chosen_is_not_waited_for() -> None:
    assert told(check("TC-B", after=("TC-A",)))["TC-B"].status == "ok"


def test_a_check_that_hangs_fails_alone() -> None:
    async def hang(site: Site) -> Finding:
        await asyncio.Event().wait()
        return ok("never")

    found = told(check("TC-A", hang, timeout_s=0.05), check("TC-B"))
    assert found["TC-A"].status == "failed"
    assert "0.05 s" in found["TC-A"].what
    assert found["TC-B"].status == "ok"


def test_the_whole_run_ends_whatever_hangs() -> None:
    async def hang(site: Site) -> Finding:
        await asyncio.Event().wait()
        return ok("never")

    found = told(check("TC-A", hang), check("TC-B", after=("TC-A",)), check("TC-C"), total_s=0.2)
    assert {name: one.status for name, one in found.items()} == {
        "TC-A": "failed",
        "TC-B": "skipped",
        "TC-C": "ok",
    }
    assert "TC-A" in found["TC-B"].what


def test_what_a_check_raises_is_told_without_its_words() -> None:
    async def raises(site: Site) -> Finding:
        raise RuntimeError("hunter2 is the secret")

    found = told(check("TC-A", raises), check("TC-B"))
    assert found["TC-A"].status == "failed"
    assert "RuntimeError" in found["TC-A"].what
    assert "hunter2" not in str(found)
    assert found["TC-B"].status == "ok"


def test_a_timeout_of_the_checks_own_is_a_fault_of_the_check() -> None:
    async def raises(site: Site) -> Finding:
        raise TimeoutError

    assert "TimeoutError" in told(check("TC-A", raises))["TC-A"].what


def test_what_several_look_at_is_fetched_once_and_left_at_the_end() -> None:
    log: list[str] = []

    @contextlib.asynccontextmanager
    async def bridge() -> AsyncIterator[int]:
        log.append("up")
        yield 7
        log.append("down")

    async def fetch() -> int:
        log.append("fetched")
        await asyncio.sleep(0)
        return 3

    async def look(site: Site) -> Finding:
        number = await site.shared.once("number", fetch)
        held = await site.shared.hold("bridge", bridge)
        assert "down" not in log
        return ok(f"{number + held}")

    found = told(*(check(f"TC-{letter}", look) for letter in "ABC"))
    assert {one.what for one in found.values()} == {"10"}
    assert sorted(log) == ["down", "fetched", "up"]


def test_one_who_gives_up_does_not_spoil_it_for_the_others() -> None:
    async def slow() -> int:
        await asyncio.sleep(0.2)
        return 3

    async def look(site: Site) -> Finding:
        return ok(str(await site.shared.once("number", slow)))

    found = told(check("TC-A", look, timeout_s=0.02), check("TC-B", look))
    assert found["TC-A"].status == "failed"
    assert found["TC-B"].what == "3"


def test_a_thing_that_cannot_be_had_fails_who_asks_and_nobody_else() -> None:
    async def never() -> int:
        raise OSError

    async def look(site: Site) -> Finding:
        try:
            await site.shared.once("number", never)
        except OSError:
            return failed("no number", "find one")
        return ok("a number")

    assert told(check("TC-A", look), check("TC-B"))["TC-A"].what == "no number"


def test_progress_is_told_as_it_comes() -> None:
    seen: list[tuple[str, str]] = []

    def on_progress(which: Check, outcome: Outcome | None) -> None:
        seen.append((which.id, outcome.finding.status if outcome else "begins"))

    async def main() -> None:
        await examine([check("TC-A")], Site(config=config()), total_s=5, on_progress=on_progress)

    asyncio.run(main())
    assert seen == [("TC-A", "begins"), ("TC-A", "ok")]


def test_checks_are_chosen_by_id_and_by_group_in_any_case() -> None:
    checks = [check("TC-A"), check("TC-B", group="line"), check("TC-C", group="line")]
    assert [one.id for one in select(checks, ["line"])] == ["TC-B", "TC-C"]
    assert [one.id for one in select(checks, ["tc-a,LINE"], ["TC-B"])] == ["TC-A", "TC-C"]
    assert [one.id for one in select(checks, [], ["here"])] == ["TC-B", "TC-C"]


def test_a_name_that_is_none_is_refused_with_what_was_meant() -> None:
    with pytest.raises(InputError, match="Did you mean TC-CLOCK"):
        find(CHECKS, "TC-CLOKC")
    with pytest.raises(InputError, match="no check or group"):
        select(CHECKS, ["everything"])


def test_the_catalogue_is_whole() -> None:
    ids = [one.id for one in CHECKS]
    assert len(ids) == len(set(ids))
    for number, one in enumerate(CHECKS):
        assert one.id.startswith("TC-")
        assert one.id == one.id.upper()
        assert one.title
        assert one.about.endswith("."), one.id
        # What is to come first is listed first, so nobody waits for themselves.
        assert set(one.after) <= set(ids[:number]), one.id


def test_outcomes_are_counted() -> None:
    found = [
        Outcome(check("TC-A"), ok("fine")),
        Outcome(check("TC-B"), failed("broken", "mend it")),
    ]
    assert worst(found) == {"ok": 1, "warning": 0, "failed": 1, "skipped": 0}
