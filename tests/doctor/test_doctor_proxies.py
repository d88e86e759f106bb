"""The line behind the proxies that people run. On demand: each is a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest
from doctor_rig import PATH, config, failures, free_port, line_of

pytestmark = pytest.mark.load

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
UPGRADE = (
    "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    'proxy_set_header Connection "upgrade"; proxy_read_timeout 3600s;'
)


@contextlib.contextmanager
def running(*command: str, port: int) -> Iterator[None]:
    """A process until the end, once it listens."""
    import socket

    process = subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
    try:
        until = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < until, "it does not listen"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def nginx(folder: Path, port: int, server: str) -> AbstractContextManager[None]:
    found = shutil.which("nginx", path=SBIN)
    if found is None:
        pytest.skip("nginx is not installed")
    temp = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/log; events {{}}\n"
        f"http {{ access_log off; {temp} server {{ listen 127.0.0.1:{port}; {server} }} }}\n"
    )
    return running(found, "-p", str(folder), "-c", str(path), "-e", str(folder / "log"), port=port)


def haproxy(folder: Path, port: int, front: str, to: int) -> AbstractContextManager[None]:
    found = shutil.which("haproxy", path=SBIN)
    if found is None:
        pytest.skip("haproxy is not installed")
    path = folder / "haproxy.cfg"
    path.write_text(
        "defaults\n  mode http\n  timeout connect 3s\n  timeout client 30s\n  timeout server 30s\n"
        f"  timeout tunnel 1h\nfrontend f\n  bind 127.0.0.1:{port} {front}\n  default_backend b\n"
        f"backend b\n  server a 127.0.0.1:{to}\n"
    )
    return running(found, "-db", "-f", str(path), port=port)


@pytest.mark.parametrize(
    ("location", "which"),
    [
        (UPGRADE, ""),
        ("", "TC-UPGRADE"),
        (f"rewrite ^ / break; {UPGRADE}", "TC-PATH"),
        (f'{UPGRADE} proxy_set_header X-Bridge-Secret "";', "TC-CREDENTIALS"),
        ("return 301 https://localhost$request_uri;", "TC-HTTP"),
        ("deny all;", "TC-HTTP"),
        ("return 404;", "TC-PATH"),
    ],
)
def test_nginx(tmp_path: Path, location: str, which: str) -> None:
    plain, port = config(), free_port()
    url = f"ws://127.0.0.1:{port}{PATH}"
    public = msgspec.structs.replace(
        plain, serve=msgspec.structs.replace(plain.serve, public_url=url)
    )
    to = f"proxy_pass http://127.0.0.1:{plain.serve.port};"
    with nginx(tmp_path, port, f"location / {{ {to} {location} }}"):
        assert failures(asyncio.run(line_of(public))) == ([which] if which else [])


@pytest.mark.parametrize(
    ("front", "which"),
    [
        ("", ""),
        ("proto h2", "TC-HTTP"),
        ("\n  http-request set-path /", "TC-PATH"),
        ("\n  http-request del-header Upgrade", "TC-UPGRADE"),
        ("\n  http-request auth realm x", "TC-HTTP"),
    ],
)
def test_haproxy(tmp_path: Path, front: str, which: str) -> None:
    plain, port = config(), free_port()
    url = f"ws://127.0.0.1:{port}{PATH}"
    public = msgspec.structs.replace(
        plain, serve=msgspec.structs.replace(plain.serve, public_url=url)
    )
    with haproxy(tmp_path, port, front, plain.serve.port):
        assert failures(asyncio.run(line_of(public))) == ([which] if which else [])
