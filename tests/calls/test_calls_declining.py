"""What a C# gateway's error says of the callee, in the words that gateways use."""

from __future__ import annotations

import pytest

from teamscall.calls.declining import declined


@pytest.mark.parametrize(
    "error",
    [
        "declined", "Declined.", "rejected", "callDeclined", "call-rejected", "User declined",
        "Call declined by the callee", "The call was declined", "The call has been declined.",
        "The user rejected the call. DiagCode: 603#540000.@", "603 Decline",
        "Rejected: 603 Decline", "DiagCode: 603#10037.@",
    ],
)  # fmt: skip
def test_it_was_the_callee(error: str) -> None:
    assert declined(error)


@pytest.mark.parametrize(
    "error",
    [
        "", "failed", "the call failed", "not yet declined by anybody", "request rejected",
        "Call rejected: 403 Forbidden", "The call was rejected by policy", "603", "port 6030",
        "The call was declined: insufficient permissions", "DiagCode: 480#5.@",
        "Call was declined due to a missing licence", "the peer rejected the user's certificate",
    ],
)  # fmt: skip
def test_it_was_something_else(error: str) -> None:
    assert not declined(error)
