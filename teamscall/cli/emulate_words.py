"""What ``emulate`` says of an event and of a report, in words.

Owns the wording. Refuses to know where it is printed.
"""

from __future__ import annotations

from collections.abc import Mapping

from teamscall.cli.measures_view import brief
from teamscall.emulator import happenings as seen
from teamscall.emulator.report import Report
from teamscall.text import printable


def words(event: seen.EmulatorEvent) -> str:
    """One line for a human, or "" for what is not worth one."""
    match event:
        case seen.Connected():
            where = printable(event.url)
            return f"connected to {where} in {event.handshake_ms:.0f} ms"
        case seen.Authorized(authorized=True):
            return f"authorized ({event.strategy}) after {event.latency_ms:.0f} ms"
        case seen.Authorized():
            return f"not authorized: {event.reason} ({event.strategy})"
        case seen.Waiting():
            return _waiting(event)
        case seen.Ringing():
            tenant = f" of tenant {event.tenant_id}" if event.tenant_id else ""
            told = f", with the message “{event.message}”" if event.message else ""
            return f"{event.target_type} {event.target}{tenant} is rung{told}"
        case seen.RingStopped():
            return f"not answered after {event.rang_ms / 1000:.1f} s: {event.reason} ({event.by})"
        case seen.PickedUp():
            late = ", too late on purpose" if event.late else ""
            return f"picked up after {event.rang_ms / 1000:.1f} s{late}"
        case seen.OutcomeTold(status=0):
            return f"outcome {event.outcome} could not be told: the bridge does not answer"
        case seen.OutcomeTold():
            refused = "" if event.status == 200 else ": not taken"
            return f"outcome {event.outcome} told to the bridge ({event.status}){refused}"
        case seen.Started():
            return "session started"
        case seen.CallerSpoke():
            return "caller speaks" if event.speaking else "caller silent"
        case seen.BotSpoke(speaking=True, latency_ms=None):
            return "bot speaks"
        case seen.BotSpoke(speaking=True):
            return f"bot speaks, {event.latency_ms:.0f} ms after the caller"
        case seen.BotSpoke():
            return "bot silent"
        case seen.Flushed():
            return f"flush: {event.dropped_ms} ms dropped"
        case seen.Pressed():
            return f"pressed {event.digit}"
        case seen.Switched():
            return _switches(event)
        case seen.Expressed():
            return f"expression {printable(event.emotion)}"
        case seen.Shown():
            caption = f", “{event.caption}”" if event.caption else ""
            return f"picture {event.mime}, {event.bytes:,} bytes{caption}"
        case seen.InputEnded():
            return "input ended"
        case seen.LinkLost():
            return "link lost"
        case seen.LinkResumed():
            return f"resumed after seq {event.last_received_seq}"
        case seen.Warned():
            return f"warning: {printable(event.text, 300)}"
        case seen.Ended():
            return f"ended: {event.outcome}, {event.reason}"
    return ""


def summary(report: Report, files: Mapping[str, str]) -> list[str]:
    """The report for a human."""
    sent, got, heard = report.sent, report.received, report.heard
    lines = [f"outcome   {report.outcome}: {report.reason}", *_rung(report)]
    if report.rung is not None and not report.rung.picked_up:
        return [*lines, *(f"warning   {printable(text, 300)}" for text in report.warnings)]
    lines += [
        f"call      {printable(report.call_id)}, {report.dialect}, "
        f"{report.duration_ms / 1000:.1f} s",
        f"sent      {sent.frames} frames, lateness p95 {sent.lateness.p95:.1f} ms, "
        f"max {sent.lateness.max:.1f} ms",
        f"received  {got.frames} frames, interval p50 {got.interval.p50:.1f} "
        f"p95 {got.interval.p95:.1f} max {got.interval.max:.1f} ms",
        f"buffered  up to {got.buffered.max:.0f} ms",
        f"heard     {heard.speech_ms / 1000:.1f} s of speech, {heard.gaps} gaps",
    ]
    faults = {
        "missing": got.seq_gaps,
        "out of order": got.seq_backwards,
        "odd-sized": got.odd_sizes,
        "late": heard.late_frames,
        "too far ahead": heard.overflow_frames,
    }
    bad = ", ".join(f"{count} {name}" for name, count in faults.items() if count)
    if bad:
        lines.append(f"faults    {bad}")
    if report.impaired is not None:
        for way, hit in (
            ("to", report.impaired.to_bridge),
            ("from", report.impaired.from_bridge),
        ):
            if not hit.frames:
                continue  # this way was left as it is
            lines.append(
                f"impaired  {way} the bridge: of {hit.frames} frames {hit.lost} lost, "
                f"{hit.late} late, {hit.duplicated} twice, {hit.reordered} out of order"
            )
    if got.flushes:
        lines.append(f"flushed   {got.flushes} times, {got.frames_after_flush} frames afterwards")
    for reply in report.replies[:5]:
        if reply.latency_ms is not None:
            lines.append(
                f"reply     at {reply.at_ms / 1000:.1f} s, {reply.latency_ms:.0f} ms after the "
                f"caller's last sound"
            )
    if report.measures is not None:
        lines += [f"{label:<9} {text}" for label, text in brief(report.measures)]
        if report.tracks_truncated:
            kept = report.measures.length_ms / 60_000
            lines.append(f"measured  the first {kept:.0f} min of the call")
    if report.close_code is not None:
        reason = f" ({report.close_reason})" if report.close_reason else ""
        lines.append(f"closed    {report.close_code}{reason}")
    lines += [f"warning   {printable(text, 300)}" for text in report.warnings]
    lines += [f"wrote     {printable(name)}" for name in files.values()]
    return lines


def numbers(levels: seen.Levels, latency_ms: float | None) -> str:
    parts = [
        f"out {levels.sent_frames}",
        f"in {levels.received_frames}",
        f"buffer {levels.buffered_ms} ms",
        f"late {levels.late_max_ms:.0f} ms",
        f"gaps {levels.gaps}",
    ]
    if latency_ms is not None:
        parts.append(f"reply {latency_ms:.0f} ms")
    return " · ".join(parts)


def gate(levels: seen.Levels | None) -> str:
    if levels is None:
        return ""
    parts = []
    if levels.recording is not None:
        parts.append(f"recording {levels.recording}")
    if levels.participants is not None:
        parts.append(f"{levels.participants} in call")
    return " · ".join(parts)


def _switches(event: seen.Switched) -> str:
    parts = ["muted" if event.muted else "not muted"]
    if event.recording is not None:
        parts.append(f"recording {event.recording}")
    if event.participants is not None:
        parts.append(f"{event.participants} participants")
    return ", ".join(parts)


def _rung(report: Report) -> list[str]:
    """Of a call that the bridge placed."""
    rung = report.rung
    if rung is None:
        return []
    tenant = f", tenant {rung.tenant_id}" if rung.tenant_id else ""
    what = "picked up late" if rung.late else "picked up" if rung.picked_up else "not answered"
    lines = [
        f"rung      {rung.target_type} {rung.target}{tenant}",
        f"rang      {rung.rang_ms / 1000:.1f} s, {what}; ended by the {rung.ended_by or 'link'}",
    ]
    if rung.message:
        lines.append(f"message   {rung.message}")
    if rung.picked_up:
        first = report.first_audio_ms
        spoke = "never" if first is None else f"{first:.0f} ms after the pick-up"
        lines.append(f"bot       first audio {spoke}")
    if rung.outcome:
        answer = rung.outcome_status or "no answer"
        lines.append(f"told      outcome {rung.outcome} ({answer})")
    return lines


def _waiting(event: seen.Waiting) -> str:
    ways = []
    if event.listening:
        standin = event.dialect == "standin"
        key = "standin.worker_base_url" if standin else "bridge.control_url"
        ways.append(f"at {event.listening} ({key})")
    if event.socket:
        ways.append(f"on the socket to {printable(event.socket)}")
    return f"waiting for a call {' and '.join(ways)}"
