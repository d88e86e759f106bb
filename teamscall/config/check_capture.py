"""What makes no sense in captures: findings on ``capture``."""

from __future__ import annotations

from collections.abc import Iterator

from teamscall.config.findings import Finding, warning
from teamscall.config.operate import Capture


def check_capture(capture: Capture) -> Iterator[Finding]:
    """Everything that makes no sense in ``capture``."""
    if capture.content == "full" and not capture.dir:
        yield warning(
            "capture.content has no effect without capture.dir", "capture.content", "capture.dir"
        )
    if capture.without_status and capture.content != "full":
        yield warning(
            "capture.without_status has no effect while capture.content is timing",
            "capture.without_status",
            "capture.content",
        )
