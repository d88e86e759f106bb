"""Whether a request for ``/metrics`` comes from this machine, and not through a proxy on it.

Pure. Refuses to know metrics and sockets.
"""

from __future__ import annotations

from collections.abc import Iterable

from teamscall.config.findings import is_loopback

PATH = "/metrics"

# What proxies and tunnels add. Any of them: somebody else is behind it.
_FORWARDED = frozenset(
    {
        *(b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-original-host"),
        *(b"true-client-ip", b"cf-connecting-ip", b"cf-ray", b"cdn-loop", b"tailscale-user-login"),
    }
)
_FORWARDED_PREFIX = b"x-forwarded"


def from_this_machine(host: str, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a peer at ``host`` (no port, no brackets) asks for itself. Header names are
    lower case."""
    # A listener on :: sees IPv4 peers like this.
    if not is_loopback(host.lower().removeprefix("::ffff:")):
        return False
    return not any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIX) for name, _ in headers)
