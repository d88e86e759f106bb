"""Writes captures from a thread of its own, so that audio never waits for a disk.

Owns the queue, the bounds of a file and what becomes of a disk's error: it costs the
capture, never the call. Refuses to know what is in a record.

Rules:

1. Nothing that the event loop calls here blocks or raises.
2. What does not fit is dropped, newest first, and its place is marked with ``Dropped``.
3. A file is only ever appended to, by whole blocks; after a failed write it is cut back to
   the last whole one.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from teamscall.capture.blocks import BLOCK_BYTES, PREAMBLE, encode_record, pack
from teamscall.capture.records import Closed, Dropped, DropWhy, Header, Record, moment
from teamscall.errors import CaptureError
from teamscall.text import printable

# What waits for the disk, of all calls and of one: ten seconds of a hundred calls, and a
# minute of one. Above it records are dropped.
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_WAITING_OF_ONE = 8 * 1024 * 1024
# A call is about 100 KB a second, an engine may give a minute of speech (3 MB) at once.
RATE_BYTES = 2 * 1024 * 1024
BURST_BYTES = 16 * 1024 * 1024
# How long a record waits at most before it is on its way to the disk.
BLOCK_S = 0.5
# The thread looks this often: waking it for every frame would cost the loop more.
LOOK_S = 0.1
# Beside its content, what a record weighs in the queue.
RECORD_BYTES = 200
MAX_SAME_NAME = 1000
# A value that msgpack has not (a lone surrogate, a 65-bit integer), or a class that is never
# in a capture: the others of its call go on.
_UNWRITABLE = (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError)
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class Lazy(Protocol):
    """A record that is made on the thread: taking structs apart costs more than a frame.

    May raise: the record is then dropped, as unwritable.
    """

    def __call__(self) -> Record: ...


class Counts(msgspec.Struct):
    """What a writer did, for metrics and ``doctor``."""

    files: int = 0
    failed: int = 0  # files that a disk's error ended
    records: int = 0
    dropped: int = 0
    bytes: int = 0


class Track:
    """One capture that is being written. Made by ``Writer.open``; used on the event loop."""

    def __init__(self, writer: Writer, path: Path, header: Header, limit: int) -> None:
        self.path = path  # what was asked for; a number is added where it is taken
        self.header = header
        self.limit = limit
        self._writer = writer
        self._rate = float(BURST_BYTES)
        self._rate_at = header.began
        self._missing = 0
        self._why: DropWhy = "queue"
        self.latest = header.began  # when its latest record happened
        self.over = False
        # Added by the loop, taken by the thread: no lock is needed.
        self.put_bytes = 0
        self.taken_bytes = 0
        # The thread's own.
        self.file: _File | None = None

    def put(self, at: float, item: Record | Lazy, size: int) -> None:
        """Append a record of about ``size`` bytes that happened at monotonic ``at``."""
        if self.over:
            return
        self.latest = at
        size += RECORD_BYTES
        self._rate = min(BURST_BYTES, self._rate + max(0.0, at - self._rate_at) * RATE_BYTES)
        self._rate_at = max(at, self._rate_at)
        waiting = self.put_bytes - self.taken_bytes
        if waiting + size > MAX_WAITING_OF_ONE or self._writer.waiting + size > MAX_WAITING_BYTES:
            self.skip("queue")
        elif self._rate < size:
            self.skip("rate")
        else:
            self._rate -= size
            self._mark(at)
            self._queue(item, size)

    def close(self, at: float, reason: str) -> None:
        """The last record. Idempotent."""
        if self.over:
            return
        self._mark(at)
        self._queue(Closed(at, reason), RECORD_BYTES)
        self.over = True

    def skip(self, why: DropWhy) -> None:
        """A record is missing here; the next one brings the mark."""
        if not self._missing:
            self._why = why
        self._missing += 1

    def _mark(self, at: float) -> None:
        if self._missing:
            self._queue(Dropped(at, self._missing, self._why), RECORD_BYTES)
            self._missing = 0

    def _queue(self, item: Record | Lazy, size: int) -> None:
        self.put_bytes += size
        self._writer.queue(self, item, size)


class Writer:
    """See the module. ``open`` and ``Track.put`` on one thread, ``stop`` once at the end.

    Args:
        warn: told of the first failure, with one sentence; called on the writer's thread.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.counts = Counts()
        self._warn = warn
        self._warned = False
        self._waiting: collections.deque[tuple[Track, Record | Lazy, int]] = collections.deque()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._open: list[_File] = []
        self._woken = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """Bytes that wait for the disk."""
        return self._put_bytes - self._taken_bytes

    def open(self, path: Path, header: Header, *, max_bytes: int, replace: bool = False) -> Track:
        """Begin a capture. Never raises: what the disk says comes to ``warn``.

        ``replace``: an older file of this name goes; else a number is added to the name.
        """
        track = Track(self, path, header, max_bytes)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
            self._thread.start()
        track.file = _File(track, self.counts, replace=replace)
        told = len(header.settings) + len(header.setup) + len(header.admissions)
        self.queue(track, header, RECORD_BYTES + told)
        return track

    def queue(self, track: Track, item: Record | Lazy, size: int) -> None:
        """For tracks."""
        self._put_bytes += size
        self._waiting.append((track, item, size))
        if self.waiting > MAX_WAITING_OF_ONE // 4:
            self._woken.set()

    def stop(self, timeout_s: float) -> bool:
        """Write what waits and end; False when that took longer than ``timeout_s``."""
        self._stopping = True
        self._woken.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # --- the thread -------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            stopping = self._stopping
            self._woken.clear()
            while self._waiting:
                track, item, size = self._waiting.popleft()
                try:
                    self._take(track, item)
                finally:
                    track.taken_bytes += size
                    self._taken_bytes += size
            for file in list(self._open):
                file.grow_old()
                if stopping:
                    self._guard(file, file.end)
                elif file.due:
                    self._guard(file, file.write)
            if stopping:
                return
            self._woken.wait(LOOK_S)

    def _take(self, track: Track, item: Record | Lazy) -> None:
        file = track.file
        assert file is not None  # open
        if not file.begun:
            file.begun = True
            self._open.append(file)
            self.counts.files += 1
            self._guard(file, file.create)
        if file.over:
            return
        try:
            record = item() if callable(item) else item
            data = encode_record(record)
        except _UNWRITABLE:
            file.missing("unwritable")
            return
        if isinstance(record, Dropped):
            self.counts.dropped += record.count
        self.counts.records += 1
        last = isinstance(record, Closed)
        self._guard(file, lambda: file.append(data, moment(record), last=last))

    def _guard(self, file: _File, work: Callable[[], int]) -> None:
        try:
            self.counts.bytes += work()
        except OSError as error:
            self.counts.failed += 1
            file.abandon()
            self._tell(f"{printable(str(file.path))}: {error.strerror or error}")
        if file.over:
            with contextlib.suppress(ValueError):
                self._open.remove(file)

    def _tell(self, detail: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(detail)


class _File:
    """The file of a track, on the writer's thread."""

    def __init__(self, track: Track, counts: Counts, *, replace: bool) -> None:
        self.path = track.path
        self.begun = False
        self.over = False
        self._track = track
        self._counts = counts
        self._replace = replace
        self._descriptor = -1
        self._size = 0  # of whole blocks
        self._block: list[bytes] = []
        self._block_bytes = 0
        self._looks = 0
        self._last_at = track.header.began
        self._missing = 0
        self._why: DropWhy = "size"
        self._full = False

    @property
    def due(self) -> bool:
        return bool(self._block) and self._looks * LOOK_S >= BLOCK_S

    def grow_old(self) -> None:
        self._looks += 1

    def create(self) -> int:
        self._descriptor, self.path = create(self.path, replace=self._replace)
        return self._write_all(PREAMBLE)

    def missing(self, why: DropWhy) -> None:
        """A record is left out; the next one that is not brings the mark."""
        if not self._missing:
            self._why = why
        self._missing += 1
        self._counts.dropped += 1

    def append(self, data: bytes, at: float | None, *, last: bool) -> int:
        """Put an encoded record into the block; bytes written."""
        if at is not None:
            self._last_at = at
        whole = self._size + self._block_bytes + len(data)
        if not last and (self._full or whole > self._track.limit):
            self.missing("size")
            if not self._full:
                self._full = True
                self._mark()  # at once: a kill must not hide it
            return 0
        self._mark()
        self._put(data)
        if last:
            return self.end()
        return self.write() if self._block_bytes >= BLOCK_BYTES else 0

    def _mark(self) -> None:
        if self._missing:
            self._put(encode_record(Dropped(self._last_at, self._missing, self._why)))
            self._missing = 0

    def _put(self, data: bytes) -> None:
        if not self._block:
            self._looks = 0
        self._block.append(data)
        self._block_bytes += len(data)

    def write(self) -> int:
        if not self._block:
            return 0
        block = pack(self._block)
        self._block, self._block_bytes = [], 0
        return self._write_all(block)

    def end(self) -> int:
        """Write what there is; without ``Closed`` where the writer stops before the call."""
        written = self.write()
        self.abandon()
        return written

    def abandon(self) -> None:
        """Let go of the file; what comes for it from now on is not even queued."""
        self.over = self._track.over = True
        self._block, self._block_bytes = [], 0
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write_all(self, data: bytes) -> int:
        """Raises OSError; the file then ends in its last whole block."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        return len(data)


# --- files ----------------------------------------------------------------------------


def create(path: Path, *, replace: bool = False) -> tuple[int, Path]:
    """A new file for this user alone, and its name; its folder is made where it is missing.

    Raises:
        OSError: it cannot be.
    """
    path.parent.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    if replace:
        descriptor = os.open(path, flags | os.O_TRUNC, FILE_MODE)
        return descriptor, path
    for number in range(MAX_SAME_NAME):
        name = path.with_stem(f"{path.stem}-{number + 1}") if number else path
        try:
            return os.open(name, flags | os.O_EXCL, FILE_MODE), name
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def write(path: Path, header: Header, records: Iterable[Record]) -> None:
    """A whole capture at once, replacing what is there only once it is complete.

    Raises:
        CaptureError: it cannot be written.
    """
    write_whole(path, itertools.chain([PREAMBLE], _blocks((header, *records))))


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """A file of these bytes, as ``write``.

    Raises:
        CaptureError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        descriptor, _ = create(partial, replace=True)
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        name = printable(str(path))
        raise CaptureError(f"{name} cannot be written: {error.strerror or error}.") from error


def _blocks(records: Sequence[Record]) -> Iterable[bytes]:
    block: list[bytes] = []
    size = 0
    for record in records:
        data = encode_record(record)
        block.append(data)
        size += len(data)
        if size >= BLOCK_BYTES:
            yield pack(block)
            block, size = [], 0
    if block:
        yield pack(block)
