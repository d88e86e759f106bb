"""``python -m teamscall`` and the ``teamscall`` command."""

from __future__ import annotations

import sys

from teamscall.errors import ConfigError, ExitCode, TeamscallError


def main() -> None:
    """Run the command line; turn every deliberate error into one sentence and an exit code."""
    from teamscall.cli.app import app

    try:
        app(prog_name="teamscall")
    except TeamscallError as error:
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
