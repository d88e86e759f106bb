"""Lines that the configuration's loader wrote, sorted to the check that each belongs to.

Owns the sorting only, so that one mistake fails one check. Refuses to know what is right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

CONFIG = "TC-CONFIG"
# What to do about a line of the loader's.
CHECK = "Correct it; `teamscall config check` lists every problem."

_SORTED: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), name)
    for pattern, name in (
        # What the secrets' own values tell is looked at by their checks.
        (
            r"(bridge|standin)\.(previous_)?secret_file: .*can be read by other users",
            "TC-SECRET-FILE",
        ),
        (r"(bridge|standin)\.(previous_)?secret_file: ", "TC-SECRET-FILE"),
        (r"(bridge|standin)\.(previous_)?secret (is missing|begins or ends|has|is)\b", ""),
        (r"(bridge|standin)\.(previous_)?secret", "TC-SECRET"),
        (r".* holds .* and can be read by other users", "TC-CONFIG-MODE"),
        (r"environment \S+ is no option", "TC-ENVIRONMENT"),
        (r"(serve|standin)\.tls_(cert|key)\b", "TC-CERTIFICATE"),
        (r"(serve|standin)\.public_url\b", "TC-URL"),
        # Meant that way: the operator has written it down.
        (r"authorization\.mode is open: ", ""),
        (r".*\(acknowledged by serve\.insecure\)", ""),
        (r"recording\.require is false: ", ""),
        (r"engine is openai and there is no key", "TC-OPENAI-KEY"),
        (r"(openai\.api_key|streaming\.openai_api_key)", "TC-OPENAI-KEY"),
        (r"\S+: OpenAI switche", "TC-OPENAI-MODELS"),
        (r"(openai\.\w*|response\.)base_url", "TC-OPENAI-URL"),
        (r"bridge\.control_url", "TC-GATEWAY"),
        (r"standin\.worker_base_url", "TC-STANDIN-CONTROL"),
        (r"graph\.", "TC-GRAPH"),
        (r"authorization\.", "TC-CALLERS"),
        (r"capture\.", "TC-CAPTURE"),
    )
)


def belongs(line: str) -> str:
    """The id of the check that tells of this line; blank for one that looks for itself."""
    return next((name for pattern, name in _SORTED if pattern.match(line)), CONFIG)


def of(name: str, lines: Sequence[str]) -> list[str]:
    """The lines that belong to the check ``name``."""
    return [line for line in lines if belongs(line) == name]


def sentence(line: str) -> str:
    """A line as the beginning of a finding."""
    return line if line.endswith((".", "!", "?")) else f"{line}."
