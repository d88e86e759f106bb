"""Whether what a script expects does hold, and what was measured of it.

Owns the verdict on one expectation, from what the call's sound and messages were. Pure.
Refuses to know how they came about. What was never measured does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from teamscall.audio.measures import Measures, Span
from teamscall.emulator.report import Outcome, Report
from teamscall.emulator.scenario.performance import Noted
from teamscall.emulator.scenario.steps import EndedBy, Expectation
from teamscall.emulator.scenario.values import contains, words_of
from teamscall.text import printable
from teamscall.wire.events import FRAME_MS

_SHOWN = 120

_ENDED_BY: dict[Outcome, EndedBy] = {
    "completed": "caller",
    "interrupted": "caller",
    "ended-by-bot": "bot",
    "refused": "bot",
    "auth-timeout": "caller",
    "no-speech": "caller",
    "lost": "link",
    "failed": "link",
}


class Window(msgspec.Struct, frozen=True):
    """A stretch of the tracks; ``end_ms`` None: to the end of the call."""

    start_ms: float = 0.0
    end_ms: float | None = None

    def has(self, at_ms: float) -> bool:
        return self.start_ms <= at_ms and (self.end_ms is None or at_ms < self.end_ms)

    def meets(self, span: Span) -> bool:
        return span.end_ms > self.start_ms and (self.end_ms is None or span.start_ms < self.end_ms)


class Facts(msgspec.Struct, frozen=True):
    """What is known of a call. ``heard`` None: the bridge was not asked, for ``unasked``."""

    report: Report
    measures: Measures | None
    noted: Sequence[Noted] = ()
    heard: tuple[str, ...] | None = None
    unasked: str = ""


class Recognised(msgspec.Struct, frozen=True):
    """What the ears made of the bot in a window, or why they made nothing."""

    text: str = ""
    why_not: str = ""


class Judgement(msgspec.Struct, frozen=True):
    """``problems``: what does not hold; ``measured``: figures for people; both printable."""

    problems: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()


def judge(wanted: Expectation, facts: Facts, window: Window, said: Recognised | None) -> Judgement:
    """One expectation about ``window`` (``heard`` and the end: about the whole call)."""
    case = _Case(facts, window)
    if wanted.said or wanted.not_said:
        case.words(wanted, said or Recognised(why_not="there are no ears"))
    if wanted.heard or wanted.not_heard:
        case.heard(wanted)
    if wanted.latency_under_ms is not None:
        case.latency(wanted.latency_under_ms)
    if wanted.flush_within_ms is not None:
        case.flush(wanted.flush_within_ms)
    if wanted.silent_for_s is not None:
        case.measured.append(f"asked for {wanted.silent_for_s:g} s of silence")
    if wanted.spoke is not None:
        case.spoke(wanted.spoke)
    if wanted.ended_by is not None:
        case.ended_by(wanted.ended_by)
    if wanted.end_reason is not None and wanted.end_reason != facts.report.reason:
        reason = printable(facts.report.reason, _SHOWN)
        case.problems.append(
            f"end_reason: expected “{printable(wanted.end_reason)}”, was “{reason}”"
        )
    if wanted.image is not None:
        case.came("image", "", wanted.image)
    if wanted.expression is not None:
        case.came("express", wanted.expression, True)
    if wanted.max_gaps is not None:
        case.gaps(wanted.max_gaps)
    return Judgement(tuple(case.problems), tuple(case.measured))


def ended_by(report: Report) -> EndedBy:
    """Who ended this call."""
    return _ENDED_BY.get(report.outcome, "link")


class _Case:
    def __init__(self, facts: Facts, window: Window) -> None:
        self.problems: list[str] = []
        self.measured: list[str] = []
        self._facts = facts
        self._window = window

    def words(self, wanted: Expectation, said: Recognised) -> None:
        if said.why_not:
            self.problems.append(f"said: not measured, {said.why_not}")
            return
        text = printable(said.text, _SHOWN)
        self.measured.append(f"said “{text}”" if text else "said nothing")
        for words in wanted.said:
            if not contains(said.text, words_of(words)):
                was = f"the ears heard “{text}”" if text else "the ears heard nothing"
                self.problems.append(f"said: “{printable(words)}” was not said; {was}")
        for words in wanted.not_said:
            if contains(said.text, words_of(words)):
                self.problems.append(f"not_said: “{printable(words)}” was said: “{text}”")

    def heard(self, wanted: Expectation) -> None:
        heard = self._facts.heard
        if heard is None:
            why = self._facts.unasked or "the bridge was not asked"
            self.problems.append(f"heard: not measured, {why}")
            return
        shown = ", ".join(f"“{printable(one, 60)}”" for one in heard[:5]) or "nothing"
        self.measured.append(f"heard {shown}")
        for words in wanted.heard:
            if not any(contains(one, words_of(words)) for one in heard):
                self.problems.append(
                    f"heard: “{printable(words)}” was not heard; the bridge heard {shown}"
                )
        for words in wanted.not_heard:
            for one in heard:
                if contains(one, words_of(words)):
                    self.problems.append(
                        f"not_heard: “{printable(words)}” was heard: “{printable(one, _SHOWN)}”"
                    )
                    break

    def latency(self, limit_ms: float) -> None:
        measures = self._measures("latency_under_ms")
        if measures is None:
            return
        found = [r.latency_ms for r in measures.responses if self._window.has(r.asked_ms)]
        if not found:
            self.problems.append("latency_under_ms: never measured, no answer followed the caller")
            return
        self.measured.append(f"answered after {_listed(found)}")
        slow = [one for one in found if one >= limit_ms]
        if slow:
            many = f"{len(slow)} of {len(found)} answers" if len(found) > 1 else "the answer"
            self.problems.append(
                f"latency_under_ms: {many} took {max(slow):.0f} ms, not under {limit_ms:g}"
            )

    def flush(self, limit_ms: float) -> None:
        measures = self._measures("flush_within_ms")
        if measures is None:
            return
        found = [b for b in measures.barge_ins if self._window.has(b.onset_ms)]
        if not found:
            self.problems.append(
                "flush_within_ms: never measured, the caller did not speak over the bot"
            )
            return
        stopped = [b.stopped_after_ms for b in found if b.stopped_after_ms is not None]
        if stopped:
            self.measured.append(f"silent after {_listed(stopped)}")
        if len(stopped) < len(found):
            self.problems.append("flush_within_ms: the bot spoke on")
        if stopped and max(stopped) > limit_ms:
            self.problems.append(
                f"flush_within_ms: it took {max(stopped):.0f} ms, not within {limit_ms:g}"
            )

    def spoke(self, wanted: bool) -> None:
        measures = self._measures("spoke")
        if measures is None:
            return
        # What began before is the end of an earlier answer.
        spoke = any(self._window.has(span.start_ms) for span in measures.bot.utterances)
        self.measured.append("the bot spoke" if spoke else "the bot was silent")
        if spoke != wanted:
            self.problems.append(
                "spoke: the bot spoke" if spoke else "spoke: the bot did not speak"
            )

    def ended_by(self, wanted: EndedBy) -> None:
        report = self._facts.report
        was = ended_by(report)
        self.measured.append(f"ended by the {was}")
        if was != wanted:
            reason = printable(report.reason, _SHOWN)
            self.problems.append(f"ended_by: expected {wanted}, it was the {was} ({reason})")

    def came(self, event: str, detail: str, wanted: bool) -> None:
        found = [
            one
            for one in self._facts.noted
            if one.event == event
            and self._window.has(one.slot * FRAME_MS)
            and detail in ("", one.detail)
        ]
        name = "image" if event == "image" else f"expression {detail}"
        if found:
            self.measured.append(f"{name} at {found[0].slot * FRAME_MS / 1000:.1f} s")
        if bool(found) != wanted:
            self.problems.append(f"{name}: {'none came' if wanted else 'one came'}")

    def gaps(self, limit: int) -> None:
        measures = self._measures("max_gaps")
        if measures is None:
            return
        count = sum(self._window.meets(gap) for gap in measures.bot.gaps)
        self.measured.append("1 gap" if count == 1 else f"{count} gaps")
        if count > limit:
            self.problems.append(f"max_gaps: {count} holes in the bot's speech, more than {limit}")

    def _measures(self, key: str) -> Measures | None:
        if self._facts.measures is None:
            self.problems.append(f"{key}: never measured, there was no sound")
        return self._facts.measures


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"{one:.0f}" for one in values[:6])
    return f"{shown}{', …' if len(values) > 6 else ''} ms"
