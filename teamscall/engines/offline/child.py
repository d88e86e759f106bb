"""The inside of a worker process: answer requests from stdin until stdin ends.

Owns the loop, the niceness and the pipes. Refuses to know what is loaded: the two worker
modules pass a function that loads it.

A worker never outlives its parent: a parent that is gone, however it went, ends stdin.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from teamscall.engines.offline.frames import (
    Fault,
    Finished,
    Ready,
    Refused,
    Reply,
    Request,
    Spoken,
    encode,
    read_request,
)
from teamscall.errors import EngineError, MissingPackageError

# Below the bridge: a model may take every idle cycle, never one that a frame needs.
NICENESS = 5

Answer = Callable[[Request], Iterator[Spoken | Finished]]


def serve(load: Callable[[], tuple[Answer, str]]) -> int:
    """Load, say so, and answer until the parent is gone; return the exit code.

    ``load`` returns what answers a request, and a line about the model.
    """
    pipe = _take_stdout()
    # Ctrl-C on the terminal is for the bridge, which drains and then ends us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "nice"):
        os.nice(NICENESS)
    began = time.monotonic()
    try:
        try:
            answer, about = load()
        except MissingPackageError as error:
            _send(pipe, Refused("missing-package", error.message, error.hint))
            return 1
        except EngineError as error:
            _send(pipe, Refused("weights", error.message, error.hint))
            return 1
        _send(pipe, Ready(about, int((time.monotonic() - began) * 1000)))
        while (request := read_request(sys.stdin.buffer)) is not None:
            try:
                for reply in answer(request):
                    _send(pipe, reply)
            except OSError:
                raise
            except Exception as error:  # noqa: BLE001 - a model may raise anything
                # The type only: an error's text may quote what was said.
                _send(pipe, Fault(request.id, type(error).__name__))
    except BrokenPipeError:
        return 0
    return 0


def _take_stdout() -> BinaryIO:
    """Keep stdout for frames; whatever a library prints goes to stderr instead."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return pipe


def _send(pipe: BinaryIO, reply: Reply) -> None:
    data = memoryview(encode(reply))
    while data:  # a raw pipe may take less than all
        data = data[pipe.write(data) :]
