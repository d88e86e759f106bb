"""``python -m teamscall`` and the ``teamscall`` command."""

from __future__ import annotations

import os
import sys

from teamscall.errors import ConfigError, ExitCode, OutputLost, TeamscallError

# These carry audio in real time. Whatever else is run beside them gives way: twenty commands
# that started at once on two cores took the processor from a bridge's audio for seconds, and
# with this niceness for a tenth of one, while their interpreters start.
KEEP_TIME = frozenset({"serve", "emulate", "demo", "fake-openai"})
GIVE_WAY_NICENESS = 10


def main() -> None:
    """The process of a command: below a bridge's, where it may be, then ``command``."""
    _give_way(sys.argv[1:])
    command()


def command() -> None:
    """Run the command line; turn every deliberate error into one sentence and an exit code.

    For whoever calls it within a process of their own, whose priority is theirs.
    """
    try:
        from teamscall.cli import streams
        from teamscall.cli.tree import tree

        streams.set_up()
        try:
            tree(sys.argv[1:])(prog_name="teamscall")
        finally:
            sys.stdout.flush()  # here a failure is a sentence; at the exit it is a traceback
    except TeamscallError as error:
        if isinstance(error, OutputLost) and error.silent:
            sys.exit(error.exit_code)
        for problem in error.problems if isinstance(error, ConfigError) else ():
            print(f"  - {problem}", file=sys.stderr)
        print(f"teamscall: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


def _give_way(words: list[str]) -> None:
    """Before the imports, which are most of a command's work."""
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb not in KEEP_TIME and hasattr(os, "nice"):
        os.nice(GIVE_WAY_NICENESS)


if __name__ == "__main__":
    main()
