"""The decisions before a call: in its capture, in its replay, and what must never be in them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from admitting_plants import (
    Plant,
    a_denied_call_keeps_its_slot,
    a_flood_grants,
    a_flood_is_borne,
    a_hook_that_fails_grants,
    a_refused_call_begins,
    addresses_do_not_count,
    an_empty_list_is_no_list,
    any_telephone,
    any_tenant,
    anybody_is_called_back,
    anybody_on_the_list,
    but,
    decisions_are_not_heeded,
    decisions_leave_no_record,
    disabled_is_open,
    every_grant_is_anybodys,
    no_gate,
    no_grant_is_needed,
    no_tenant_is_checked,
    nobody_may,
    nothing_against_it,
    nothing_is_folded,
    only_the_user_counts,
    the_gate_is_asked_once,
    the_hook_is_not_asked,
    the_hook_says_yes,
    the_hooks_settings_are_lost,
    the_rules_raise,
)
from replay_rig import BEGAN, CALL, Recorded, conversation
from switchboard_rig import ANN, BOB, rig
from typer.testing import CliRunner

from teamscall.calls.admission import Admission, Considering, Verdict
from teamscall.calls.conversation import Conversation
from teamscall.calls.deciding import Deciding
from teamscall.calls.events import Setup
from teamscall.calls.settings import CallSettings
from teamscall.calls.tasks import Tasks
from teamscall.capture import admitting, tape
from teamscall.capture.admitting import admissions_of, admit, packed
from teamscall.capture.cutting import merge, trim
from teamscall.capture.reader import Capture, read
from teamscall.capture.records import Closed, Header
from teamscall.capture.scrubbing import scrub
from teamscall.capture.suite import Task, captures_in, judge
from teamscall.capture.suite import Verdict as Judged
from teamscall.capture.tape import Taps, Wanted
from teamscall.capture.versions import migrate
from teamscall.capture.writer import Writer, write
from teamscall.cli.app import app
from teamscall.clock import ManualClock
from teamscall.config import Authorization
from teamscall.errors import CaptureError
from teamscall.policy import rules
from teamscall.policy.authorization import Decision, HookAnswer, Policy, PolicyRequest
from teamscall.wire.events import CallEnded, Caller

CORPUS = Path(__file__).resolve().parents[1] / "corpus"
DOORS = {n: p for n, p in captures_in([CORPUS]) if n.startswith("door")}
ADA = Caller(user_id="ada", tenant_id="here", display_name="Ada A.")
EVE = Caller(user_id="eve", tenant_id="here", display_name="Eve E.")
LIST = Authorization(
    mode="allowlist", allow_from=(" ADA", "bob", "carol@example.com"), allowed_tenants=("Here", "t")
)
NO = Decision(False, "capacity", "At capacity")


class Door:
    """Decides, and remembers."""

    def __init__(self, settings: Authorization = LIST, hook: Any = None) -> None:
        self.kept: list[Admission] = []
        self.tasks = Tasks()
        self.settings = settings
        clock = ManualClock(BEGAN - 1)
        policy = Policy(settings, hook)
        self.deciding = Deciding(settings, policy, clock, self.tasks, lambda record: None)
        self.deciding.remember = self.kept.append

    def ask(self, caller: Caller, gate: Callable[[], Decision | None] = nothing_against_it) -> None:
        request = PolicyRequest(CALL, "csharp", caller, "auth_request")
        self.deciding.ask(request, "", gate, lambda decision: None)

    def start(self, caller: Caller, granted: Caller | None) -> None:
        request = PolicyRequest(CALL, "csharp", caller, "session_start")
        self.deciding.redeem(request, "", nothing_against_it, granted)

    def asked_with_a_hook(self, *callers: Caller) -> None:
        async def whole() -> None:
            for caller in callers:
                self.ask(caller)
                await self.tasks.wait(5)

        asyncio.run(whole())


def some() -> list[Admission]:
    """A stranger, Ada in another tenant, no slot, no grant, another's grant, Ada."""
    door = Door()
    door.ask(EVE)
    door.ask(msgspec.structs.replace(ADA, tenant_id="elsewhere"))
    door.ask(ADA, lambda: NO)
    door.start(ADA, None)
    door.start(ADA, EVE)
    door.start(ADA, ADA)
    return door.kept


@pytest.fixture(scope="module")
def call() -> Recorded:
    return conversation()


def saved(call: Recorded, path: Path, admissions: list[Admission]) -> Path:
    header = msgspec.structs.replace(call.header, admissions=packed(admissions))
    write(path, header, [*call.records, Closed(call.now, "ended")])
    return path


def judged(name: str) -> Judged:
    return judge(Task(DOORS[name], name))


# --- planted regressions --------------------------------------------------------------


@pytest.mark.parametrize(
    ("plant", "found_in", "expected", "came"),
    [
        (any_tenant, "door", "Tenant not allowed", 'decision="granted: allowlist"'),
        (any_tenant, "door-standin", "No tenants configured", 'decision="granted: tenant-only"'),
        (any_telephone, "door", "PSTN calls not allowed", 'decision="granted: open"'),
        (disabled_is_open, "door", "Inbound calls disabled", 'decision="granted: open"'),
        (nobody_may, "door", "Invalid metadata", 'reason="Tenant not allowed"'),
        (addresses_do_not_count, "door", "granted: allowlist", 'reason="User not in allowlist"'),
        (an_empty_list_is_no_list, "door-standin", "No users configured", '"granted: open"'),
        (anybody_on_the_list, "door", "User not in allowlist", 'decision="granted: allowlist"'),
        (nothing_is_folded, "door", "User not in allowlist", 'reason="Tenant not allowed"'),
        (every_grant_is_anybodys, "door", "Identity differs from", '"granted: allowlist"'),
        (only_the_user_counts, "door", "Identity differs from", '"granted: allowlist"'),
        (no_grant_is_needed, "door", "No authorization request", '"granted: allowlist"'),
        (decisions_are_not_heeded, "door", '"answered: refused disabled', '"answered: granted dis'),
        (
            decisions_are_not_heeded,
            "door-standin",
            '"hung up: not-allowed"',
            '["begun", "slots: 1"]',
        ),
        (a_refused_call_begins, "door", "hung up: not-allowed", '"begun"'),
        (a_denied_call_keeps_its_slot, "door", "slots: 0", "slots: 1"),
        (no_gate, "door", "At capacity", 'decision="granted: allowlist"'),
        (no_gate, "door-standin", "Inbound calls disabled", "the hook would be asked"),
        (the_hook_is_not_asked, "door-standin", "Not today.", 'decision="granted: tenant-only"'),
        (the_hook_says_yes, "door-standin", "Not today.", 'decision="granted: tenant-only"'),
        (no_tenant_is_checked, "door-standin", "Tenant not allowed", "the hook would be asked"),
        (a_hook_that_fails_grants, "door-standin", "Authorization error", '"granted: tenant-only"'),
        (the_hooks_settings_are_lost, "door-standin", '["inbound.greeting"]', "caller-decided"),
        (the_gate_is_asked_once, "door", "At capacity", 'decision="granted: allowlist"'),
        (a_flood_grants, "door-flood", "Authorization error", 'decision="granted: allowlist"'),
        (a_flood_is_borne, "door-flood", "Authorization error", "the hook would be asked"),
        (anybody_is_called_back, "door", "No such call was placed", '"granted: outbound"'),
        (decisions_leave_no_record, "door", "caller-decided", "records=[]"),
        (the_rules_raise, "door", "Inbound calls disabled", "KeyError: 'mode'"),
    ],
)
def test_a_planted_regression_is_found_with_a_diff_that_points_at_the_decision(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, found_in: str, expected: str, came: str
) -> None:
    plant(monkeypatch)
    verdict = judged(found_in)
    assert verdict.result == "differs"
    lines = verdict.lines()
    text = "\n".join(lines)
    assert "before the call @@" in lines[0]
    assert [expected in line for line in lines if line.startswith("- ")] == [True], text
    assert [came in line for line in lines if line.startswith("+ ")] == [True], text


def test_the_diff_shows_who_asked_and_what_of_the_rules_there_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anybody_on_the_list(monkeypatch)
    verdict = judged("door")
    eve = next(
        line
        for line in verdict.lines()
        if "auth-request" in line and "eee" in line and "allow" in line
    )
    assert "eee" in eve
    assert 'listed="others"' in eve
    summary = verdict.summary()
    assert summary.endswith("the call is granted: allowlist, and was refused: allowlist"), summary


def test_the_first_difference_is_the_one_before_the_call(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Recorded
) -> None:
    path = saved(call, tmp_path / "c.tcap", some())
    before = path.read_bytes()
    any_tenant(monkeypatch)

    def wrong(self: Conversation, event: object, now: float) -> Any:
        raise KeyError("turn")

    monkeypatch.setattr(Conversation, "on", wrong)
    verdict = judge(Task(path, "c", update=True))
    assert verdict.difference is not None
    assert (verdict.difference.step, verdict.differing) == (admitting.BEFORE, 2)
    # Of a conversation that fails nothing is accepted.
    assert (verdict.result, path.read_bytes()) == ("differs", before)


# --- as a user sees it ----------------------------------------------------------------


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_json_junit_and_update_take_it_as_any_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Recorded
) -> None:
    path = saved(call, tmp_path / "c.tcap", some())
    with monkeypatch.context() as patch:
        any_tenant(patch)
        done = run("replay", path, "--json", "--junit", tmp_path / "j.xml")
        assert done.exit_code == 1
        (told,) = json.loads(done.stdout)["captures"]
        assert (told["result"], told["admissions"], told["differing"]) == ("differs", 6, 1)
        assert told["difference"]["fields"] == [
            {
                "path": "decision",
                "expected": '"refused: allowlist"',
                "came": '"granted: allowlist"',
            },
            {"path": "reason", "expected": '"Tenant not allowed"', "came": None},
        ]
        assert "Tenant not allowed" in (tmp_path / "j.xml").read_text()
        before = read(path)
        assert run("replay", path, "--update").exit_code == 0
        assert run("replay", path).exit_code == 0
    after = read(path)
    assert after.records == before.records
    decided = [one.decision for one in admissions_of(after.header)]
    assert decided[1] == Verdict(True, "allowlist")
    assert [decided[0], *decided[2:]] == [one.decision for one in (*some()[:1], *some()[2:])]
    assert run("replay", path).exit_code == 1


def test_info_and_frames_tell_of_them(tmp_path: Path, call: Recorded) -> None:
    path = saved(call, tmp_path / "c.tcap", some())
    assert "admitted  by 6 decisions, 5 refused" in run("capture", "info", path).stdout
    about = json.loads(run("capture", "info", path, "--json").stdout)
    assert (about["admissions"], about["refused"]) == (6, 5)
    lines = run("capture", "frames", path).stdout.splitlines()
    assert ["CallerDecided" in line for line in lines[:7]] == [True] * 6 + [False]
    assert "authorized=false strategy=allowlist reason=Tenant not allowed" in lines[1]
    told = json.loads(run("capture", "frames", path, "--json").stdout.splitlines()[0])
    assert told["at"] == -1
    assert told["fields"]["user"] == "eve"
    assert told["fields"]["listed"] == "others"


@pytest.mark.parametrize("kept", [b"\xc1", packed(some() * 50)], ids=["rubbish", "far too many"])
def test_what_cannot_be_read_is_said(tmp_path: Path, call: Recorded, kept: bytes) -> None:
    header = msgspec.structs.replace(call.header, admissions=kept)
    write(tmp_path / "c.tcap", header, [*call.records, Closed(call.now, "ended")])
    for verb in (["replay"], ["capture", "info"], ["capture", "frames"]):
        done = run(*verb, tmp_path / "c.tcap")
        assert done.exit_code != 0
        assert isinstance(done.exception, CaptureError | SystemExit)
        said = done.output + str(done.exception)
        assert "decisions before the call cannot be read" in said


# --- other captures, other versions ---------------------------------------------------


def test_a_capture_of_an_older_version_has_none_and_is_replayed(
    tmp_path: Path, call: Recorded
) -> None:
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(call.header))
    older = msgspec.msgpack.decode(msgspec.msgpack.encode(fields[:-1]), type=Header)
    assert older == call.header
    assert admissions_of(older) == ()
    verdict = judge(Task(call.save(tmp_path / "c.tcap"), "c"))
    assert (verdict.result, verdict.admissions) == ("same", 0)


def test_an_older_version_reads_a_capture_that_has_them(call: Recorded) -> None:
    names = Header.__struct_fields__
    assert names[-1] == "admissions"
    older = msgspec.defstruct(
        "Header", [(n, Any) for n in names[:-1]], array_like=True, tag="header"
    )
    header = msgspec.structs.replace(call.header, admissions=packed(some()))
    read_by_it = msgspec.msgpack.decode(msgspec.msgpack.encode(header), type=older)
    assert [getattr(read_by_it, n) for n in names[:-1]] == [getattr(header, n) for n in names[:-1]]


def test_trim_merge_and_migrate_keep_them(tmp_path: Path, call: Recorded) -> None:
    path = saved(call, tmp_path / "c.tcap", some())
    whole = read(path)
    first, rest = trim(whole, 0, 2), trim(whole, 2, 99)
    parts = [Capture(path, header, tuple(records), None, 0, 0) for header, records in (first, rest)]
    migrate(path, tmp_path / "d.tcap")
    for header in (first[0], rest[0], merge(*parts)[0], read(tmp_path / "d.tcap").header):
        assert admissions_of(header) == tuple(some())


# --- nobody's name --------------------------------------------------------------------


def test_nobody_elses_identifier_is_remembered() -> None:
    for admission in some():
        assert admission.caller.user_id in ("ada", "eve")
    whole = packed(some()).lower()
    for other in (b"bob", b"carol", b"example.com"):
        assert other not in whole
    eve, ada = some()[0].rules, some()[-1].rules
    assert (eve.allow_from, eve.others_allowed) == ((), True)
    assert (ada.allow_from, ada.others_allowed) == ((" ADA",), True)
    assert (ada.allowed_tenants, ada.other_tenants) == (("Here",), True)


def test_an_own_name_that_is_like_the_placeholder_is_on_no_list() -> None:
    """Others on a list stand as somebody that this caller is not."""
    odd = msgspec.structs.replace(EVE, user_id="Somebody Else", display_name="somebody else else")
    door = Door()
    door.ask(odd)
    (admission,) = door.kept
    assert admission.decision == Verdict(False, "allowlist", "User not in allowlist")
    assert admit([admission], BEGAN).difference is None


def test_what_a_hook_gives_is_remembered_by_its_keys_alone() -> None:
    async def hook(request: PolicyRequest) -> HookAnswer:
        if request.caller == EVE:
            return HookAnswer(False, "Eve owes us money.")
        return HookAnswer(True, "", {"inbound.greeting": "Hello Ada", "mode": "live"})

    door = Door(hook=hook)
    door.asked_with_a_hook(ADA, EVE, msgspec.structs.replace(EVE, user_id="ada"))
    granted, refused, _ = door.kept
    assert granted.decision == Verdict(True, "allowlist", "", ("inbound.greeting", "mode"))
    assert granted.gates == (None, None)
    assert b"Hello" not in packed(door.kept)
    assert not refused.hook  # the rules have said no: it was not asked
    assert admit(door.kept, BEGAN).differing == 0


def test_a_scrubbed_capture_decides_as_before_and_knows_nobody(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Recorded
) -> None:
    async def hook(request: PolicyRequest) -> HookAnswer:
        return HookAnswer(False, "Ada owes us money.", {"secret key!": 1, "mode": 1})

    door = Door(hook=hook)
    door.asked_with_a_hook(ADA)
    admissions = [*some(), *door.kept]
    left = scrub(read(saved(call, tmp_path / "c.tcap", admissions)))[0]
    raw = packed(admissions_of(left)).lower()
    for name in (b"ada", b"eve", b"here", b"elsewhere", b"owes", b"secret"):
        assert name in packed(admissions).lower()
        assert name not in raw, name
    again = admit(admissions_of(left), left.began)
    assert again.difference is None
    assert [one.decision.authorized for one in again.admissions] == [
        one.decision.authorized for one in admissions
    ]
    # What differed in case or blanks alone still does: so a regression is found in it too.
    nothing_is_folded(monkeypatch)
    assert admit(admissions_of(left), left.began).differing > 0
    for path in DOORS.values():
        monkeypatch.undo()
        header = scrub(read(path))[0]
        assert admissions_of(header)
        assert admit(admissions_of(header), header.began).difference is None
        assert scrub(Capture(path, header, (), None, 0, 0))[0].admissions


# --- what is kept until the call begins -----------------------------------------------


class Taped:
    """Taps whose files are written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer = Writer(lambda warning: None)
        self.taps = Taps(folder, self.writer, Wanted("timing", 1_000_000))

    def began(self, setup: Setup) -> None:
        """A call begins and ends."""
        opened = self.taps.tape(setup, CallSettings(), BEGAN)
        assert opened is not None
        opened.opened(BEGAN)
        self.taps.decided(but(some()[0], call_id=setup.call_id))  # of a call that runs: nothing
        opened.close(BEGAN, "ended")


def test_bounds_hold_and_the_oldest_is_forgotten(tmp_path: Path, call: Recorded) -> None:
    taped = Taped(tmp_path)
    one = some()[0]
    for number in range(tape.ADMISSION_CALLS + 1):
        for at in range(tape.ADMISSIONS + 2):
            taped.taps.decided(but(one, call_id=f"call-{number}", at=float(at)))
    taped.taps.decided(but(one, call_id="loud", caller=but(EVE, display_name="x" * 3000)))
    for call_id in ("call-0", "call-1", "loud", f"call-{tape.ADMISSION_CALLS}", "call-1"):
        taped.began(but(call.setup, call_id=call_id))
    taped.writer.stop(5)
    found = sorted(
        (read(path).header for path in tmp_path.glob("*.tcap")),
        key=lambda h: (h.call_id, h.admissions),
    )
    kept = [(header.call_id, [one.at for one in admissions_of(header)]) for header in found]
    last = [float(at) for at in range(2, tape.ADMISSIONS + 2)]
    assert kept == [
        ("call-0", []),
        ("call-1", []),  # one begins with them, the next of its name without
        ("call-1", last),
        (f"call-{tape.ADMISSION_CALLS}", last),
        ("loud", []),
    ]


def test_rules_that_change_while_the_hook_is_asked_are_said_to(call: Recorded) -> None:
    """The new ones count; how often the bridge itself was asked is then not compared."""
    asked: list[str] = []
    door = Door()

    async def hook(request: PolicyRequest) -> HookAnswer:
        asked.append(request.call_id)
        if len(asked) == 1:
            door.deciding.reconfigure(LIST, Policy(Authorization(mode="tenant-only")))
        return HookAnswer(True)

    door.deciding.reconfigure(LIST, Policy(LIST, hook))
    door.asked_with_a_hook(ADA)
    (admission,) = door.kept
    assert admission.reloaded
    assert admission.decision == Verdict(False, "tenant-only", "No tenants configured")
    assert admit([admission], BEGAN).difference is None


@pytest.mark.parametrize("field", ["gates", "rules", "granted", "road"])
def test_what_is_remembered_otherwise_is_a_difference(
    monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    story = Considering.admission

    def forgetful(self: Considering, *given: Any, **more: Any) -> Admission:
        wrong = {"gates": (None, None, None), "rules": rules.RulesFor(), "granted": ("a", "b")}
        return but(story(self, *given, **more), **{field: wrong.get(field, "placed")})

    monkeypatch.setattr(Considering, "admission", forgetful)
    verdict = judged("door")
    assert verdict.difference is not None
    assert f'taken_from=["{field}"]' in "\n".join(verdict.lines())


def test_a_decision_that_is_not_heeded_is_never_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, call: Recorded
) -> None:
    path = saved(call, tmp_path / "c.tcap", some())
    before = path.read_bytes()
    decisions_are_not_heeded(monkeypatch)
    verdict = judge(Task(path, "c", update=True))
    assert (verdict.result, path.read_bytes()) == ("differs", before)
    assert '"answered: granted allowlist' in "\n".join(verdict.lines())


def test_what_a_hook_says_is_cut() -> None:
    async def hook(request: PolicyRequest) -> HookAnswer:
        names = {f"key{number}": 1 for number in range(500)}
        return HookAnswer(request.caller == ADA, "no " * 5000, names)

    door = Door(Authorization(mode="open"), hook)
    door.asked_with_a_hook(ADA, EVE)
    assert len(packed(door.kept)) < 6000
    assert [one.decision.authorized for one in door.kept] == [True, False]
    assert admit(door.kept, BEGAN).difference is None


def test_a_bridge_keeps_what_was_decided_before_each_call(tmp_path: Path) -> None:
    lists = Authorization(mode="allowlist", allow_from=("U-Ann", "u-carol"))
    taped = Taped(tmp_path)

    async def whole() -> None:
        async with rig(authorization=lists) as site:
            site.ask(site.csharp(), "before")  # nothing is captured yet
            site.board.record(taped.taps)
            link = site.csharp()
            for who in (BOB, ANN):
                site.ask(link, "c1", who)
            site.start(link, "c1", ANN)
            site.ask(link, "c1", BOB)  # it has begun: that is of no call
            site.board.received(link, CallEnded("c1", "ended"))
            await site.until(lambda: not site.live())
            site.ask(link, "c1")
            site.start(link, "c1")
            site.start(link, "nobody-asked", ANN, direction="outbound")
            for who in (BOB, ANN):
                site.start(site.standin("s1"), "s1", who)
            site.start(link, "before", ANN)

    asyncio.run(whole())
    taped.writer.stop(5)
    kept = sorted(
        (header.call_id, header.wall_ms, [one.decision.authorized for one in admissions_of(header)])
        for header in (read(path).header for path in tmp_path.glob("*.tcap"))
    )
    assert [(call_id, decided) for call_id, _, decided in kept] == [
        ("before", [True]),
        ("c1", [False, True, True]),
        ("c1", [True, True]),
        ("s1", [False, True]),
    ]
    for path in tmp_path.glob("*.tcap"):
        header = read(path).header
        assert admit(admissions_of(header), header.began).difference is None
        assert b"carol" not in packed(admissions_of(header))
