"""The name of a call's file. A call id is the peer's word: nothing of it leaves the folder."""

from __future__ import annotations

import datetime
import hashlib
import re

SUFFIX = ".tcap"
_SHOWN = 64  # characters of a call id; with the rest it stays far below 255 bytes
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+", re.ASCII)


def file_name(call_id: str, wall_ms: int) -> str:
    """``20261121T115400Z-CALLID.tcap``; of an id that is no safe name, what is safe of it
    and a hash, so that two stay two."""
    began = datetime.datetime.fromtimestamp(wall_ms // 1000, datetime.UTC)
    safe = _UNSAFE.sub("_", call_id[: 4 * _SHOWN])[:_SHOWN].lstrip("-")
    if safe != call_id or not safe:
        whole = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()
        safe = f"{safe or '_'}-{whole[:12]}"
    return f"{began:%Y%m%dT%H%M%SZ}-{safe}{SUFFIX}"
