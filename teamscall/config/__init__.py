"""The configuration: one frozen tree that can explain where each value came from.

Owns every key's name, default, range and one-line meaning (``tree``), the way from TOML,
environment and flags to that tree (``load``), what makes no sense together (``checks``)
and the type that hides secrets (``secret``). Refuses to know what the values are for.
"""

from teamscall.config.checks import AVAILABLE_ENGINES, resolved_engine
from teamscall.config.load import Loaded, default_paths, load_config
from teamscall.config.options import Option, iter_options
from teamscall.config.secret import Secret, encode_hook
from teamscall.config.tree import (
    Authorization,
    BargeIn,
    Bridge,
    Config,
    Goodbye,
    Inbound,
    JournalFile,
    Log,
    Offline,
    Outbound,
    Recording,
    Response,
    Scripted,
    Serve,
    Shutdown,
    StandIn,
    Streaming,
    Tts,
)

__all__ = [
    "AVAILABLE_ENGINES",
    "Authorization",
    "BargeIn",
    "Bridge",
    "Config",
    "Goodbye",
    "Inbound",
    "JournalFile",
    "Loaded",
    "Log",
    "Offline",
    "Option",
    "Outbound",
    "Recording",
    "Response",
    "Scripted",
    "Secret",
    "Serve",
    "Shutdown",
    "StandIn",
    "Streaming",
    "Tts",
    "default_paths",
    "encode_hook",
    "iter_options",
    "load_config",
    "resolved_engine",
]
