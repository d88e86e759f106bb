"""One turn of a realtime session on its way. Data only;
:mod:`teamscall.engines.openai.realtime_answers` decides.
"""

from __future__ import annotations

from teamscall.engines.base import PressDigit, Respond, Say
from teamscall.engines.openai.realtime_tools import Uses
from teamscall.engines.openai.realtime_words import Words

FAR_FUTURE = float("inf")


class Answer:
    """One turn on its way."""

    def __init__(self, command: Respond | PressDigit | Say, speed: float) -> None:
        self.command = command
        self.speed = speed
        self.turn = command.turn
        self.reading = command.text if isinstance(command, Say) else ""
        self.deadline = FAR_FUTURE
        self.asks = 0  # of the current response
        self.rounds = 0  # of tools
        self.spoke = False  # any audio of the turn
        self.end_call = False
        self.error = ""  # of the last attempt
        self.busy_since = 0.0
        self.fresh("")

    def fresh(self, name: str) -> None:
        """A response is asked for under this name; "": none is."""
        self.name = name
        self.response = ""
        self.begun = False  # its audio
        self.done = False
        self.items: set[str] = set()  # whose audio came
        self.words = Words(self.speed)
        self.uses: Uses | None = None  # of tools
