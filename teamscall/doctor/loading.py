"""The configuration for checks: as much of it as can be read, and what is wrong with the rest.

Owns going on without a file that cannot be read; what a mistake is, is ``config``'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from teamscall.config import Config, default_paths
from teamscall.config.load import CONFIG_VARIABLE, Examined, examine
from teamscall.config.told import Told
from teamscall.errors import ConfigError


def load(path: Path | None, *, env: Mapping[str, str], flags: Mapping[str, object]) -> Examined:
    """Load the configuration as ``serve`` does. Raises nothing: problems are told."""
    names = {key: f"--set {key}" for key in flags}
    try:
        return examine(path, env=env, flags=flags, flag_names=names)
    except ConfigError as error:  # the file itself cannot be read
        problems = error.problems or (error.message,)
    named = Path(env[CONFIG_VARIABLE]) if env.get(CONFIG_VARIABLE) else None
    found = path or named or next((each for each in default_paths() if each.exists()), None)
    return Examined(
        config=Config(),
        origins={},
        problems=tuple(Told(line) for line in problems),
        warnings=(),
        path=found,
    )
