"""The same plan for another home: environment variables, and a systemd unit.

Owns their text. No secret is in it: each is named by a file. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from teamscall.config.options import options
from teamscall.setup.toml import toml_value

HOME = PurePosixPath("/etc/teamscall")


def environment(
    values: Mapping[str, object], secrets: tuple[str, ...], known: tuple[str, ...] = ()
) -> str:
    """``NAME=value`` lines, for a shell or an EnvironmentFile. ``known``: secrets that the other
    side has already, which must not be made anew."""
    lines = ["# Each key of teamscall.toml has a variable: teamscall config explain KEY"]
    for key, value in values.items():
        lines.append(f"{options()[key].env}={_quoted(value)}")
    for key in secrets:
        file = HOME / key
        if key in known:
            lines.append(f"# put the secret that you have into {file}, 0600")
        else:
            lines.append(f"# make it: umask 077; openssl rand -base64 32 > {file}")
        lines.append(f"{options()[f'{key}_file'].env}={file}")
    return "\n".join(lines) + "\n"


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        items = [str(one) for one in value]
        # A comma or a blank would be read as what stands between two items.
        plain = all(one and one == one.strip() and "," not in one for one in items)
        if plain and not (items and items[0].startswith("[")):
            return shlex.quote(",".join(items))
        return shlex.quote(toml_value(items).replace("\n", ""))
    return shlex.quote(str(value))


def systemd_unit(command: Sequence[str], config: str) -> str:
    """A hardened unit. ``command``: the teamscall that is run, in words; ``config``: its file."""
    start = " ".join(map(_unit_word, (*command, "serve", "--config", config)))
    folder = PurePosixPath(config).parent
    return f"""\
# /etc/systemd/system/teamscall.service
#
#   useradd --system --home-dir /var/lib/teamscall --shell /usr/sbin/nologin teamscall
#   install -d -o teamscall -g teamscall -m 0700 {shlex.quote(str(folder))}
#   sudo -u teamscall teamscall init -o {shlex.quote(config)}
#   systemctl daemon-reload && systemctl enable --now teamscall
#
# `systemctl reload teamscall` takes a changed configuration without dropping a call.
# To operate it: sudo teamscall status
[Unit]
Description=teamscall: an AI voice agent on Microsoft Teams calls
After=network-online.target
Wants=network-online.target

[Service]
# systemd older than 253: Type=notify, and ExecReload=/bin/kill -HUP $MAINPID
Type=notify-reload
ExecStart={start}
User=teamscall
Group=teamscall
StateDirectory=teamscall
RuntimeDirectory=teamscall
RuntimeDirectoryMode=0700
Environment=XDG_DATA_HOME=/var/lib
# OPENAI_API_KEY and the like, one to a line, 0600:
EnvironmentFile=-{HOME}/environment
Restart=on-failure
RestartSec=2
WatchdogSec=30
# longer than shutdown.drain_seconds, so that calls end with a goodbye
TimeoutStopSec=45
LimitNOFILE=65536

# It needs the network, its own folders and nothing else.
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
# hides /home and /root: install teamscall outside of them
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


def _unit_word(word: str) -> str:
    """A word of ExecStart: a blank, a quote, % and $ mean something to systemd."""
    text = word.replace("%", "%%").replace("$", "$$")
    if not any(char in " \t\"'\\;" for char in text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
