"""The contract of the control plane: methods, their parameters and results, and errors.

JSON-RPC 2.0, one object per WebSocket text message, keys in camelCase. Parameters are by
name. Unknown parameters are refused with ``INVALID_PARAMS``: a typing error must not place a
call that nobody meant. Results and events may grow by fields; a client ignores what it does
not know. The schema that ``teamscall control schema`` prints is made from these structs.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from teamscall.calls.records import CallMode, OutboundOutcome, OutboundState
from teamscall.errors import ExitCode
from teamscall.wire.events import Dialect, Direction, RecordingStatus

VERSION = 1  # of this contract; told by ``teamscall.status``
EVENT_METHOD = "teamscall.event"  # the notification of a subscription

MAX_REQUEST_BYTES = 65_536  # MAX_TEXT_CHARS fit, however they are escaped
MAX_TEXT_CHARS = 4000  # to be said in one go: several minutes of speech
MAX_UNSAID = 32  # messages that wait to be said in a call
MAX_ID_CHARS = 256
MIN_PREFIX_CHARS = 4  # of an abbreviated call id
MAX_DRAIN_S = 3600.0  # as shutdown.drain_seconds
MAX_CALLS = 1000  # of the history, in one answer
MAX_WALL_MS = 2**53 - 1  # what JSON's readers agree on; beyond 2**63 SQLite refuses


class ErrorCode(enum.IntEnum):
    """Every error that the door answers with. Codes are stable; below -32000 are JSON-RPC's."""

    PARSE_ERROR = -32700
    INVALID_REQUEST = -32600
    METHOD_NOT_FOUND = -32601
    INVALID_PARAMS = -32602
    INTERNAL_ERROR = -32603
    CALL_NOT_FOUND = -32001
    CALL_AMBIGUOUS = -32002  # the abbreviated id fits several; data.callIds
    CALL_NOT_LISTENING = -32003  # it still rings, or says goodbye already
    REFUSED = -32004  # a gate refuses the call; data.gate, data.gates
    NO_FAR_SIDE = -32005  # no gateway came within the ring timeout
    FAR_SIDE_FAILED = -32006  # it answered, but not with a call; data.status
    DRAINING = -32007
    RELOAD_FAILED = -32008  # data.problems; nothing was changed
    UNAUTHORIZED = -32009
    TOO_MUCH = -32010  # too many subscriptions or requests on a connection, or words to be said
    JOURNAL = -32011  # the records cannot be read
    CURSOR_LOST = -32012  # not raised: told as a ``gap`` event; reserved

    @property
    def word(self) -> str:
        """The name that ``error.data.name`` carries: ``call-not-found``."""
        return self.name.lower().replace("_", "-")


EXIT_CODES: dict[ErrorCode, ExitCode] = {
    ErrorCode.INVALID_PARAMS: ExitCode.USAGE,
    ErrorCode.CALL_NOT_FOUND: ExitCode.USAGE,
    ErrorCode.CALL_AMBIGUOUS: ExitCode.USAGE,
    ErrorCode.REFUSED: ExitCode.REFUSED,
    ErrorCode.NO_FAR_SIDE: ExitCode.UNAVAILABLE,
    ErrorCode.DRAINING: ExitCode.REFUSED,
    ErrorCode.RELOAD_FAILED: ExitCode.CONFIG,
    ErrorCode.UNAUTHORIZED: ExitCode.REFUSED,
}
"""What a command that gets this error exits with; FAILED where it is not listed."""


class _Camel(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Camel-case keys; every field that has a default may be left out."""


class _Params(_Camel, frozen=True, forbid_unknown_fields=True):
    """Parameters of a method."""


CallName = Annotated[
    str,
    Meta(
        description="The callId, or the attempt of a call that rings; a unique beginning of at "
        f"least {MIN_PREFIX_CHARS} characters will do."
    ),
]
CallState = Literal["requested", "waiting", "ringing", "talking", "goodbye", "lost", "ended"]

# --- calls ------------------------------------------------------------------------------


class Who(_Camel, frozen=True):
    """The other party, as the far side names them; printable."""

    user_id: str = ""
    tenant_id: str = ""
    display_name: str = ""
    user_principal_name: str = ""
    phone_number: str = ""


class CallStatus(_Camel, frozen=True):
    """One call, running or being placed.

    ``state``: ``requested`` and ``waiting`` (for a gateway) and ``ringing`` before anybody
    listens, ``talking``, ``goodbye`` while the last words are spoken, ``lost`` while its
    socket is gone and may come back, ``ended``.
    """

    call_id: str
    state: CallState
    direction: Direction
    dialect: Dialect
    who: Who
    started_ms: int
    duration_ms: int
    attempt: str = ""  # of a call that we place
    target: str = ""
    mode: CallMode | None = None
    outcome: OutboundOutcome | None = None
    engine: str = ""
    engine_ready: bool = False
    recording: RecordingStatus | None = None
    hears: bool = False  # the recording gate lets the caller's media in
    address: str = ""
    turns: int = 0
    interruptions: int = 0
    frames_in: int = 0
    frames_out: int = 0
    reason: str = ""  # of an ended one
    ended_by: str = ""
    detail: str = ""


class Gate(_Camel, frozen=True):
    """One gate's word on a call to be placed."""

    gate: str
    passed: bool
    detail: str


# --- methods ----------------------------------------------------------------------------


class Initiate(_Params, frozen=True):
    """Place a call. The answer comes while it rings; subscribe to ``outbound-progress`` and
    ``call-closed``, or ask ``teamscall.status``, to know what comes of it."""

    to: Annotated[str, Meta(description="user:OBJECT-ID, phone:+NUMBER, or an e-mail address.")]
    message: Annotated[
        str, Meta(description=f"Said once it is answered; at most {MAX_TEXT_CHARS} characters.")
    ] = ""
    mode: Annotated[
        CallMode | None,
        Meta(description="notify: say it and hang up. null: outbound.default_mode."),
    ] = None
    tenant: Annotated[str, Meta(description="Of the user. Blank: outbound.tenant.")] = ""
    via: Annotated[
        Literal["auto", "csharp", "standin"], Meta(description="auto: outbound.via.")
    ] = "auto"
    dry_run: Annotated[
        bool, Meta(description="Place nothing; the result's gates tell what would refuse it.")
    ] = False


class Initiated(_Camel, frozen=True):
    """The call rings, or (``dryRun``) would or would not. ``callId`` is blank in a dry run,
    and while a gateway is waited for whose REST API names calls."""

    attempt: str
    call_id: str
    state: OutboundState
    target: str
    mode: CallMode
    via: Dialect | None
    would_place: bool = True
    gates: tuple[Gate, ...] = ()


class Speak(_Params, frozen=True):
    """Say exactly this in a call: after what was asked for before, instead of all else."""

    call_id: CallName
    message: Annotated[
        str, Meta(description=f"Not blank; at most {MAX_TEXT_CHARS} characters. No markup.")
    ]


class End(_Params, frozen=True):
    """End a call, or stop one that rings."""

    call_id: CallName
    after_speech: Annotated[
        bool, Meta(description="Let the bot finish what it is saying first.")
    ] = False


class Done(_Camel, frozen=True):
    """It was done. ``callId`` in full, however it was abbreviated."""

    call_id: str
    ok: bool = True


class StatusOf(_Params, frozen=True):
    """The bridge, or one call. With a callId the result is a CallStatus, without one a
    Status."""

    call_id: Annotated[str, Meta(description="As of speak; blank: the bridge.")] = ""


class Listens(_Camel, frozen=True):
    """One open port."""

    dialects: tuple[Dialect, ...]
    urls: tuple[str, ...]


class OutboundStatus(_Camel, frozen=True):
    """Whether calls can be placed, and how many were."""

    enabled: bool  # outbound.enabled
    switched_on: bool  # teamscall outbound on / off
    ringing: int
    last_hour: int
    max_per_hour: int
    kept: bool | None = None  # of a switch that was just turned: whether a restart keeps it


class JournalStatus(_Camel, frozen=True):
    """How the records fare."""

    path: str = ""  # blank: none are kept
    failing: bool = False
    written: int = 0
    lost: int = 0


class Failure(_Camel, frozen=True):
    """Somebody who was turned away, ``times`` for the same reason; not the doctor."""

    at_ms: int
    reason: str  # as in ``refusals``
    address: str
    call_id: str
    detail: str
    times: int


class Status(_Camel, frozen=True):
    """The bridge as a whole, and its calls."""

    version: str
    protocol: int
    pid: int
    started_ms: int
    uptime_s: float
    ready: bool
    draining: bool
    engine: str
    slots_free: int
    slots: int
    gateways: int  # open sockets of C# gateways
    listening: tuple[Listens, ...]
    outbound: OutboundStatus
    journal: JournalStatus
    drops: dict[str, int]
    refusals: dict[str, int]
    config_path: str
    calls: tuple[CallStatus, ...]
    failures: tuple[Failure, ...] = ()  # the last ones, newest first
    taken_ms: dict[str, int] = {}  # by dialect, when somebody was last let in


class CallsOf(_Params, frozen=True):
    """The history, newest first; running calls are in it."""

    since_ms: Annotated[
        int, Meta(description="Those that began since; epoch milliseconds. 0: any.")
    ] = 0
    limit: Annotated[int, Meta(description=f"At most; 1 to {MAX_CALLS}.")] = 100


class Calls(_Camel, frozen=True):
    """Calls as the journal has them."""

    calls: tuple[dict[str, Any], ...]


class Subscribe(_Params, frozen=True):
    """Events from now on, after those since ``cursor`` or of the last ``replayMs`` or the
    last ``replay`` ones that the bridge still remembers.

    ``events``: names, empty for all but ``audio-levels``; ``callIds``: in full, empty for
    all; that of an attempt (``out-...``) goes on with the call that comes of it.
    """

    events: Annotated[tuple[str, ...], Meta(description="Names, as turn-ended.")] = ()
    call_ids: Annotated[tuple[str, ...], Meta(description="Ids in full, or attempts.")] = ()
    cursor: Annotated[
        str, Meta(description="Of the last event that was seen; beats the other two.")
    ] = ""
    replay_ms: Annotated[int, Meta(description="Milliseconds before now.")] = 0
    replay: Annotated[int, Meta(description="So many events before now.")] = 0


class Subscribed(_Camel, frozen=True):
    """``cursor`` is where the stream stands. ``gap``: the one that was asked for is
    forgotten, or of another run of the bridge; events may be missing. ``replayed`` events of
    before come first."""

    subscription: str
    cursor: str
    gap: bool = False
    replayed: int = 0


class Unsubscribe(_Params, frozen=True):
    """End a subscription of this connection."""

    subscription: Annotated[str, Meta(description="As teamscall.subscribe gave it.")]


class Ended(_Camel, frozen=True):
    """The subscription is over."""

    subscription: str


class Nothing(_Params, frozen=True):
    """No parameters."""


class Reloaded(_Camel, frozen=True):
    """What changed at once, and what only a restart would change; keys by path."""

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    warnings: tuple[str, ...] = ()


class Drain(_Params, frozen=True):
    """Take no more calls and let the running ones end; the process stays."""

    seconds: Annotated[
        float | None,
        Meta(
            description=f"They may go on for this long, at most {MAX_DRAIN_S:g}; then they are "
            "ended. null: shutdown.drain_seconds."
        ),
    ] = None


class Draining(_Camel, frozen=True):
    """How many calls are left."""

    calls: int


class OutboundSwitch(_Params, frozen=True):
    """Stop placing calls now, or allow it again; null only asks. Outlives a restart."""

    on: Annotated[
        bool | None, Meta(description="false: also stops those that ring. null: only ask.")
    ] = None
    hang_up: Annotated[
        bool, Meta(description="With on false: also the calls that were answered.")
    ] = False


# --- the stream -------------------------------------------------------------------------


class Event(_Camel, frozen=True):
    """The parameters of ``teamscall.event``.

    ``event`` has ``event`` (a name such as ``turn-ended``), ``callId``, ``wallMs`` and the
    fields of its kind. ``cursor`` resumes after it. A ``gap`` event says that events are
    missing, and ``why``: ``slow``, ``missed`` of them did not fit the connection's queue;
    ``forgotten`` or ``restarted``, the bridge has not all of them since the cursor.
    """

    subscription: str
    cursor: str
    event: dict[str, Any]


class Method(msgspec.Struct, frozen=True):
    """One method: what it takes, what it gives, what it is for."""

    params: type[msgspec.Struct]
    result: Any
    doc: str


METHODS: dict[str, Method] = {
    "teamscall.initiate": Method(Initiate, Initiated, "Place a call."),
    "teamscall.speak": Method(Speak, Done, "Say exactly this in a call."),
    "teamscall.end": Method(End, Done, "End a call, or stop one that rings."),
    "teamscall.status": Method(StatusOf, Status | CallStatus, "The bridge, or one call."),
    "teamscall.calls": Method(CallsOf, Calls, "The history, newest first."),
    "teamscall.subscribe": Method(Subscribe, Subscribed, "Live events."),
    "teamscall.unsubscribe": Method(Unsubscribe, Ended, "End a subscription."),
    "teamscall.reload": Method(Nothing, Reloaded, "Read the configuration again."),
    "teamscall.drain": Method(Drain, Draining, "Take no more calls."),
    "teamscall.outbound": Method(OutboundSwitch, OutboundStatus, "Allow or stop placing calls."),
}
