"""Which call an id means, however it was abbreviated: like a git hash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from teamscall.calls.call import LiveCall
from teamscall.control.protocol import MAX_ID_CHARS, MIN_PREFIX_CHARS, ErrorCode
from teamscall.control.refusing import refusal
from teamscall.errors import ControlError
from teamscall.outbound.orders import Attempt
from teamscall.text import printable

_MAX_LISTED = 20


class Known(msgspec.Struct, frozen=True):
    """A call that runs, or is being placed, or both."""

    call_id: str  # blank until the far side named it
    call: LiveCall | None
    attempt: Attempt | None

    @property
    def name(self) -> str:
        """What it is called now."""
        return self.call_id or (self.attempt.attempt if self.attempt else "")

    @property
    def names(self) -> tuple[str, ...]:
        """All that it answers to."""
        attempt = self.attempt.attempt if self.attempt else ""
        attempt = attempt or (self.call.setup.attempt if self.call else "")
        return tuple(name for name in (self.call_id, attempt) if name)


def pick(wanted: str, known: Sequence[Known]) -> Known:
    """The one call that ``wanted`` means: exactly, or as the beginning of its id.

    Raises:
        ControlError: none, or several.
    """
    fits = [one for one in known if wanted in one.names]
    if not fits and abbreviates(wanted):
        fits = [one for one in known if any(name.startswith(wanted) for name in one.names)]
    if not fits:
        raise not_found(wanted)
    if len(fits) > 1:
        raise ambiguous(wanted, (one.name for one in fits))
    return fits[0]


def abbreviates(wanted: str) -> bool:
    """Whether this is long enough to be looked for as a beginning.

    Raises:
        ControlError: it is no id.
    """
    if not wanted:
        raise refusal(ErrorCode.INVALID_PARAMS, "callId is blank.")
    check_id("callId", wanted)
    return len(wanted) >= MIN_PREFIX_CHARS


def check_id(what: str, text: str) -> None:
    """Raises: ControlError, it is longer than any id is."""
    if len(text) > MAX_ID_CHARS:
        raise refusal(ErrorCode.INVALID_PARAMS, f"{what} has more than {MAX_ID_CHARS} characters.")


def not_found(wanted: str) -> ControlError:
    """Nothing is called so."""
    short = len(wanted) < MIN_PREFIX_CHARS
    return refusal(
        ErrorCode.CALL_NOT_FOUND,
        f"There is no call {printable(wanted, 80)}.",
        hint=f"An abbreviated id has at least {MIN_PREFIX_CHARS} characters."
        if short
        else "`teamscall status` lists the calls that are running.",
    )


def ambiguous(wanted: str, names: Iterable[str]) -> ControlError:
    """Several are."""
    listed = [printable(name, MAX_ID_CHARS) for name in sorted(names)]
    return refusal(
        ErrorCode.CALL_AMBIGUOUS,
        f"{len(listed)} calls begin with {printable(wanted, 80)}.",
        hint=f"Give more of it: {', '.join(listed[:_MAX_LISTED])}.",
        data={"callIds": listed[:_MAX_LISTED]},
    )
