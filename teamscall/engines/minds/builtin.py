"""The built-in responder: small, offline, and honest about it.

Owns a handful of rules over what was understood. It greets, tells the time and the date,
says what it can do and what it is, reacts to keys, ends the call on "goodbye", and repeats
everything else. Refuses to pretend that it understands more.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable
from datetime import datetime

from teamscall.engines.parts import Question, Thought

MAX_REPEATED_CHARS = 200  # of the caller's words; a minute of repetition helps nobody

ABILITIES = (
    "I can repeat what you say, tell you the time or the date, "
    "and react to the keys of your phone. Say goodbye to hang up."
)
IDENTITY = (
    "I am teamscall's built-in responder. "
    "I follow a few simple rules and work without a network; I am not a language model."
)
UNCLEAR = "Sorry, I did not understand that. Could you say it again?"
FAREWELL = "Goodbye!"
_DIGIT_NAMES = {
    **dict(
        zip(
            "0123456789",
            ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
            strict=True,
        )
    ),
    "*": "star",
    "#": "hash",
}
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_PARTS_OF_DAY = (
    (5, "at night"),
    (12, "in the morning"),
    (18, "in the afternoon"),
    (22, "in the evening"),
    (24, "at night"),
)
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

_GREETING = re.compile(r"\b(?:hello|hi|hey|good (?:morning|afternoon|evening))\b")
_GOODBYE = re.compile(r"\b(?:good ?bye|bye(?: bye)?|hang up|end the call|see you)\b")
_TIME = re.compile(r"\b(?:what time|the time|what's the time|time is it|o'?clock)\b")
_DATE = re.compile(r"\b(?:what day|which day|the date|what date|today's date|day is it)\b")
_ABILITIES = re.compile(
    r"\b(?:what (?:can|could) you do|what you (?:can|could) do|what do you do|"
    r"can you help|help me|help)\b"
)
_IDENTITY = re.compile(
    r"\b(?:who are you|what are you|your name|"
    r"are you (?:an? )?(?:robot|human|bot|ai|real|person|machine))\b"
)
_THANKS = re.compile(r"\b(?:thank you|thanks)\b")
# Greetings and thanks alone; with more in the sentence, that more is answered.
_FILLER = re.compile(
    r"\b(?:hello|hi|hey|there|good|morning|afternoon|evening|thank you|thanks|very much|so|a lot)\b"
)


class BuiltinMind:
    """Rules; remembers nothing but the keys pressed. ``now`` is the local wall clock."""

    def __init__(self, now: Callable[[], datetime] = datetime.now) -> None:
        self._now = now

    async def reply(self, question: Question) -> AsyncGenerator[Thought]:
        if question.digit:
            name = _DIGIT_NAMES.get(question.digit, "a key")
            yield Thought(f"You pressed {name}.")
            return
        text, end_call = self.answer(question.text, question.call.caller_name)
        yield Thought(text, end_call=end_call)

    async def close(self) -> None:
        return

    def answer(self, heard: str, caller_name: str = "") -> tuple[str, bool]:
        """The answer to what was heard, and whether the call ends with it."""
        said = " ".join(re.sub(r"[^a-z0-9' ]", " ", heard.lower().replace("’", "'")).split())
        if not said:
            return UNCLEAR, False
        if _GOODBYE.search(said):
            return FAREWELL, True
        parts = []
        if _GREETING.search(said):
            name = caller_name.split()[0] if caller_name.split() else ""
            parts.append(f"Hello {name}!" if name else "Hello!")
        if _IDENTITY.search(said):
            parts.append(IDENTITY)
        if _ABILITIES.search(said):
            parts.append(ABILITIES)
        if _TIME.search(said):
            parts.append(f"It is {spoken_time(self._now())}.")
        if _DATE.search(said):
            parts.append(f"Today is {spoken_date(self._now())}.")
        if not parts and _THANKS.search(said):
            parts.append("You are welcome.")
        only_greeted = len(parts) == 1 and parts[0].startswith("Hello")
        if only_greeted and not _FILLER.sub("", said).strip():
            parts.append("What can I do for you?")
        elif not parts or only_greeted:
            parts.append(f"I heard you say: {_repeatable(heard)}")
        return " ".join(parts), False


def spoken_time(now: datetime) -> str:
    """``now`` as one says it: "10:05 AM" -> "5 minutes past 10 in the morning"."""
    hour = now.hour % 12 or 12
    part = next(name for end, name in _PARTS_OF_DAY if now.hour < end)
    if now.minute == 0:
        return f"{hour} o'clock {part}"
    unit = "minute" if now.minute == 1 else "minutes"
    return f"{now.minute} {unit} past {hour} {part}"


def spoken_date(now: datetime) -> str:
    """``now`` as one says it, in English whatever the locale."""
    return f"{_WEEKDAYS[now.weekday()]}, {_MONTHS[now.month - 1]} {now.day}, {now.year}"


def _repeatable(heard: str) -> str:
    text = " ".join(heard.split())
    if len(text) > MAX_REPEATED_CHARS:
        text = text[:MAX_REPEATED_CHARS].rsplit(" ", 1)[0] + ", and so on."
    return text if text[-1] in ".!?" else text + "."
