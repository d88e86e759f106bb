"""teamscall: an AI voice agent on Microsoft Teams calls, and the tools to run it.

The command line (``teamscall.cli``) is a thin wrapper: everything it does can be
imported. ``teamscall.server`` answers gateways, ``teamscall.calls`` holds the
conversation, ``teamscall.emulator`` plays the other side.
"""

__version__ = "0.1.0"
