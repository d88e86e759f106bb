"""Tells systemd that the bridge is up, reloading, draining, and alive.

Owns the ``sd_notify`` datagram (see sd_notify(3)); does nothing where nobody asks for it.
"""

from __future__ import annotations

import logging
import os
import socket
import time

log = logging.getLogger("teamscall.server")


def notify(state: str) -> bool:
    """Send ``state`` (``READY=1``, ``STOPPING=1``, …) to the service manager, if any.

    Returns whether it was sent. A manager that does not listen is logged, never fatal.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address or not hasattr(socket, "AF_UNIX"):
        return False
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            datagram.connect(address)
            datagram.sendall(state.encode())
    except OSError as error:
        log.warning("Cannot tell systemd", extra={"state": state, "error": error.strerror})
        return False
    return True


def notify_reloading() -> bool:
    """Say that the configuration is being read again; ``READY=1`` must follow. With
    ``Type=notify-reload`` systemd waits for that (systemd.service(5))."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_interval_s() -> float | None:
    """Half of what systemd's WatchdogSec allows, in seconds; None when it does not watch us."""
    usec = os.environ.get("WATCHDOG_USEC", "")
    pid = os.environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2_000_000
