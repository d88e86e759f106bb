"""A worker process without a model, which does what the text of a request asks for."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from teamscall.engines.offline.child import Answer, serve
from teamscall.engines.offline.frames import Finished, Request, Spoken, Synthesise
from teamscall.errors import EngineError, MissingPackageError

MARKS = Path(sys.argv[1])


def load() -> tuple[Answer, str]:
    how = sys.argv[2]
    if how == "missing":
        raise MissingPackageError("a package is missing", hint="install it")
    if how == "weights":
        raise EngineError("the file is not the one")
    if how == "crash":
        sys.exit("cannot load: libmodel.so")
    if how == "crash-later":
        mark = MARKS / "started"
        if mark.exists():
            sys.exit("gone")
        mark.touch()
    print("a library prints to stdout", flush=True)

    def answer(request: Request) -> Iterator[Spoken | Finished]:
        assert isinstance(request, Synthesise)
        text = request.text
        if text == "die":
            os._exit(9)
        if text == "die-once" and not (mark := MARKS / "died").exists():
            mark.touch()
            os._exit(9)
        if text == "raise":
            raise ValueError("the caller's words")
        if text == "slow":
            time.sleep(0.2)
        yield Spoken(request.id, text.encode(), 16_000)
        if text == "die-midway":
            os._exit(9)
        if text == "hang":
            time.sleep(600)
        yield Finished(request.id, text)

    return answer, "a stub"


if __name__ == "__main__":
    sys.exit(serve(load))
