"""``python -m teamscall`` and the ``teamscall`` command."""

from __future__ import annotations

import sys

from teamscall.errors import ConfigError, ExitCode, OutputLost, TeamscallError


def main() -> None:
    """Run the command line; turn every deliberate error into one sentence and an exit code."""
    try:
        from teamscall.cli import streams
        from teamscall.cli.app import app

        streams.set_up()
        try:
            app(prog_name="teamscall")
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


if __name__ == "__main__":
    main()
