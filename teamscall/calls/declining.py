"""Whether a C# gateway's error means that the callee declined.

The dialect has no word for it: a gateway says ``failed`` and, in ``error``, what Teams told
it. To an operator the two differ: somebody who declined was there, and need not be rung again.
Only texts that leave no doubt are read so; a request that Graph or a policy turned down is a
failure.
"""

from __future__ import annotations

import re

# SIP's 603 is "Decline"; Graph puts it before a #, as in "DiagCode: 603#540000.@".
_DECLINED = re.compile(
    r"""
    \s* (?:call[ _-]?)? (?:declined?|rejected) [\s.!]* \Z
    | .* \b (?:call|invitation|user|callee|participant|recipient|person)
      \ (?:(?:was|is|has)\ (?:been\ )?)? (?:declined|rejected) \b
    | .* \b (?:declined|rejected) \ by \ (?:the\ )?
      (?:user|callee|participant|recipient|person) \b
    | .* \b 603 (?:\# | \s* [-:]? \s* declined? \b)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# What was declined is then our request, not the call.
_OTHERWISE = re.compile(
    r"forbidden|unauthori[sz]ed|authori[sz]ation|permission|polic(?:y|ies)|licen[cs]e|quota"
    r"|throttl|invalid|not allowed|certificate|\b(?:400|401|403|404|429|5\d\d)\b",
    re.IGNORECASE,
)


def declined(error: str) -> bool:
    """Whether ``error`` says that the callee declined the call."""
    return _DECLINED.match(error) is not None and _OTHERWISE.search(error) is None
