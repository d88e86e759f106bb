"""Run a bridge and knock at it until it lets somebody in: ``door.py WHAT -- COMMAND...``.

``flood``: a C# gateway that asks about more calls at once than hooks may be asked about.
``csharp``: a C# gateway that asks about one call as many that may not call, starts it without
being granted and as another than was granted, and at last as Ada, who may. ``standin``: a
StandIn whose every socket is refused but the last. Meanwhile the rules change: they are in
``door.toml``, which the bridge is given here. ``COMMAND`` is a `teamscall serve`.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

sys.path.insert(0, str(Path(__file__).parent))
from far_side import DOOR, SECRET, bridge, say, signed

from teamscall.wire import csharp, standin
from teamscall.wire import events as wire
from teamscall.wire.events import Caller
from teamscall.wire.signature import BRIDGE_SECRET_HEADER

RULES = Path("door.toml")
HOOK = Path("hook.py")
HERE, OTHER, ELSEWHERE = (f"00000000-0000-4000-8000-0000000000{n}" for n in ("aa", "bb", "cc"))
ADA = Caller(
    user_id="00000000-0000-4000-8000-000000000ada",
    tenant_id=HERE,
    display_name="Ada",
    user_principal_name="ada@example.com",
)
EVE = Caller(user_id="00000000-0000-4000-8000-000000000eee", tenant_id=HERE, display_name="Eve")
BEA = Caller(
    user_id="00000000-0000-4000-8000-000000000bea",
    tenant_id=HERE,
    user_principal_name=" Bea@Example.com",
)
# Identifiers are compared trimmed, and in any case.
LIST = [f" {ADA.user_id.upper()}", "bea@example.COM", "carl@example.com"]
TENANTS = [HERE.upper(), OTHER]
# Says no to Mallory, and nothing that it should about Slow.
ANSWERS = """
import json, sys
name = json.load(sys.stdin)["caller"]["displayName"]
if name == "Slow":
    sys.exit(1)
own = {"inbound.greeting": "Well."}
print(json.dumps({"authorized": name != "Mallory", "reason": "Not today.", "settings": own}))
"""


def like(caller: Caller, **other: str) -> Caller:
    """The same but for this."""
    return msgspec.structs.replace(caller, **other)


def rules(more: str = "", /, **authorization: object) -> None:
    """What is in force from now on, see ``serve --config``."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in authorization.items()]
    RULES.write_text("\n".join(["[authorization]", *lines, more]) + "\n")


def change(more: str = "", /, **authorization: object) -> None:
    """The operator changes them, and has the bridge read them."""
    from teamscall.cli.app import app

    rules(more, **authorization)
    with contextlib.suppress(SystemExit):
        app(["reload", "--socket", DOOR], standalone_mode=False)


# --- a C# gateway ---------------------------------------------------------------------

CALL = "corpus-door"


def ask(socket: ClientConnection, caller: Caller, call_id: str = CALL) -> None:
    """An ``auth_request`` and its answer."""
    say(socket, wire.AuthRequested(call_id, "corpus", caller))
    socket.recv(timeout=10)


def begin(socket: ClientConnection, caller: Caller, direction: wire.Direction = "inbound") -> None:
    """A ``session_start`` that is refused."""
    say(socket, wire.CallStarted(CALL, caller, direction))
    assert isinstance(csharp.decode_to_gateway(socket.recv(timeout=10)), wire.HangUp)


def knock_csharp(url: str) -> None:
    """All on one socket."""
    with connect(url, additional_headers={BRIDGE_SECRET_HEADER: SECRET}) as socket:
        ask(socket, ADA)
        change(mode="open")
        ask(socket, like(ADA, phone_number="+491710000000"))
        ask(socket, EVE)
        change(mode="allowlist", allow_from=LIST, allowed_tenants=TENANTS)
        ask(socket, EVE)
        ask(socket, like(ADA, tenant_id=ELSEWHERE))
        ask(socket, like(ADA, tenant_id=" "))
        ask(socket, like(ADA, user_id=""))
        begin(socket, ADA)
        begin(socket, ADA, "outbound")
        # The only slot is another call's for a moment.
        ask(socket, ADA, "corpus-another")
        ask(socket, ADA)
        say(socket, wire.CallEnded("corpus-another", "hangup-user"))
        ask(socket, BEA)
        begin(socket, ADA)
        ask(socket, ADA)
        begin(socket, like(ADA, tenant_id=OTHER))
        ask(socket, like(ADA, phone_number=" "))
        say(socket, wire.CallStarted(CALL, like(ADA, user_id=ADA.user_id.upper())))
        time.sleep(0.5)
        say(socket, wire.CallEnded(CALL, "hangup-user"))
        time.sleep(0.2)


def knock_flood(url: str) -> None:
    """The call of which it is told is one too many; it is asked for again when the hooks have
    answered."""
    with connect(url, additional_headers={BRIDGE_SECRET_HEADER: SECRET}) as socket:
        others = [f"corpus-other-{number}" for number in range(64)]
        for call_id in others:
            say(socket, wire.AuthRequested(call_id, "corpus", ADA))
        for call_id in (CALL, *others):
            if call_id == CALL:
                say(socket, wire.AuthRequested(CALL, "corpus", ADA))
            answer = csharp.decode_to_gateway(socket.recv(timeout=10))
            assert isinstance(answer, wire.AuthAnswer)
            assert answer.authorized == (answer.call_id != CALL)
        for call_id in others:
            say(socket, wire.CallEnded(call_id, "hangup-user"))
        ask(socket, ADA)
        say(socket, wire.CallStarted(CALL, ADA))
        time.sleep(0.5)
        say(socket, wire.CallEnded(CALL, "hangup-user"))
        time.sleep(0.2)


# --- StandIn --------------------------------------------------------------------------


def knock(url: str, caller: Caller, seconds: float = 5.0) -> None:
    """A socket of its own, until the bridge closes it or the caller hangs up."""
    start = wire.CallStarted(CALL, caller, recording="active")
    end = wire.CallEnded(CALL, "hangup-user")
    until = time.monotonic() + seconds
    with (
        contextlib.suppress(ConnectionClosed),
        connect(f"{url.rstrip('/')}/{CALL}", additional_headers=signed(CALL)) as socket,
    ):
        socket.send((standin.encode_from_gateway(start) or b"").decode())
        with contextlib.suppress(TimeoutError):
            while (left := until - time.monotonic()) > 0:
                socket.recv(timeout=left)
        socket.send((standin.encode_from_gateway(end) or b"").decode())
        time.sleep(0.2)


def knock_standin(url: str) -> None:
    """Each on its own socket, all with the same call's id."""
    HOOK.write_text(ANSWERS)
    knock(url, ADA)
    change(mode="tenant-only")
    knock(url, ADA)
    asked: dict[str, object] = {"mode": "tenant-only", "allowed_tenants": TENANTS}
    asked["hook_command"] = [sys.executable, str(HOOK.resolve())]
    change(**asked)
    knock(url, like(ADA, tenant_id=ELSEWHERE))
    knock(url, like(ADA, tenant_id=""))
    knock(url, like(ADA, display_name="Mallory"))
    knock(url, like(ADA, display_name="Slow"))
    change("[inbound]\nenabled = false", **asked)
    knock(url, ADA)
    change(**asked)
    knock(url, like(ADA, user_id=""), 0.5)


def main() -> None:
    split = sys.argv.index("--")
    (what,), command = sys.argv[1:split], sys.argv[split + 1 :]
    slow = ["/bin/sh", "-c", "sleep 1; echo '{\"authorized\": true}'"]
    first: dict[str, dict[str, object]] = {
        "csharp": {"mode": "disabled"},
        "standin": {"mode": "allowlist"},
        "flood": {"mode": "allowlist", "allow_from": LIST, "hook_command": slow},
    }
    rules(**first[what])
    command += ["--config", str(RULES)]
    with bridge(command) as (urls, _):
        if what == "csharp":
            knock_csharp(urls[False])
        elif what == "flood":
            knock_flood(urls[False])
        else:
            knock_standin(urls[True])


if __name__ == "__main__":
    main()
