"""The configuration: one frozen tree that can explain where each value came from.

Owns every key's name, default, range and one-line meaning (``tree``, ``talk``,
``entries``), the way from TOML, environment and flags to that tree (``load``), what makes
no sense together (``checks``), how two trees differ (``differing``), the table of OpenAI's
models (``models``) and the type that hides secrets (``secret``). Refuses to know what the
values are for.
"""

from teamscall.config.checks import openai_key, resolved_engine, resolved_mode
from teamscall.config.differing import differing, stamps, with_values_of
from teamscall.config.entries import HEADERS, Price, Tool, Webhook, listed
from teamscall.config.load import Loaded, default_paths, load_config
from teamscall.config.operate import Capture, Control, Graph, JournalFile, Metrics, Outbound
from teamscall.config.options import Option, entry_options, iter_options
from teamscall.config.percall import for_one_call
from teamscall.config.resolved import resolved_models
from teamscall.config.secret import Secret, encode_hook
from teamscall.config.talk import (
    BargeIn,
    Endpointing,
    Filler,
    Idle,
    Live,
    Offline,
    OpenAI,
    Realtime,
    Response,
    Scripted,
    Streaming,
    Tts,
)
from teamscall.config.tree import (
    Authorization,
    Bridge,
    Config,
    Goodbye,
    Inbound,
    Log,
    Recording,
    Serve,
    Shutdown,
    StandIn,
)

__all__ = [
    "HEADERS",
    "Authorization",
    "BargeIn",
    "Bridge",
    "Capture",
    "Config",
    "Control",
    "Endpointing",
    "Filler",
    "Goodbye",
    "Graph",
    "Idle",
    "Inbound",
    "JournalFile",
    "Live",
    "Loaded",
    "Log",
    "Metrics",
    "Offline",
    "OpenAI",
    "Option",
    "Outbound",
    "Price",
    "Realtime",
    "Recording",
    "Response",
    "Scripted",
    "Secret",
    "Serve",
    "Shutdown",
    "StandIn",
    "Streaming",
    "Tool",
    "Tts",
    "Webhook",
    "default_paths",
    "differing",
    "encode_hook",
    "entry_options",
    "for_one_call",
    "iter_options",
    "listed",
    "load_config",
    "openai_key",
    "resolved_engine",
    "resolved_mode",
    "resolved_models",
    "stamps",
    "with_values_of",
]
