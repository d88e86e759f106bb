"""The line, dialled for real: a bridge of the doctor's own behind fronts that spoil it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
from doctor_rig import PATH, SECRET, certificate, config, failures, front, line_of, site

from teamscall.cli.doctor_run import started
from teamscall.config import Config
from teamscall.doctor.checks import Finding

STANDIN_PATH = "/msteams/calling"


def behind(config_: Config, port: int, *, scheme: str = "ws", host: str = "127.0.0.1") -> Config:
    """The same with the front's address registered."""
    if config_.standin.enabled:
        url = f"{scheme}://{host}:{port}{STANDIN_PATH}"
        table = msgspec.structs.replace(config_.standin, public_url=url)
        return msgspec.structs.replace(config_, standin=table)
    url = f"{scheme}://{host}:{port}{PATH}"
    return msgspec.structs.replace(
        config_, serve=msgspec.structs.replace(config_.serve, public_url=url)
    )


def own_port(config_: Config) -> int:
    return config_.standin.port if config_.standin.enabled else config_.serve.port


def test_a_healthy_line_has_no_noise() -> None:
    async def main() -> None:
        plain = config(standin=True)
        async with front(own_port(plain)) as port:
            told = await line_of(behind(plain, port))
        assert failures(told) == []
        for name in ("TC-DIRECT", "TC-CREDENTIALS", "TC-PING", "TC-AUDIO", "TC-MESSAGE"):
            assert told[name].status == "ok", name
        assert SECRET not in str(told)

    asyncio.run(main())


def spoilt(told: dict[str, Finding], which: str) -> None:
    assert failures(told) == [which]
    assert told[which].remedy


def without(name: bytes, head: bytes) -> bytes:
    return re.sub(rb"(?i)\r\n" + name + rb":[^\r]*", b"", head)


def test_one_fault_of_a_proxy_fails_one_check() -> None:
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"

    async def one(which: str, *, standin: bool = False, **faults: Any) -> None:
        own = config(standin=standin)
        async with front(own_port(own), **faults) as port:
            spoilt(await line_of(behind(own, port)), which)

    async def capped() -> None:
        own = config()
        async with front(own_port(own), cap=1_000_000) as port:
            told = await line_of(behind(own, port), "TC-BRIDGE", "TC-MESSAGE")
        spoilt(told, "TC-MESSAGE")
        assert told["TC-MESSAGE"].facts["passes"] == 500_000

    async def slow() -> None:
        own = config()
        async with front(own_port(own), slow_s=0.12) as port:
            told = await line_of(behind(own, port), "TC-BRIDGE", "TC-AUDIO", "TC-MESSAGE")
        spoilt(told, "TC-AUDIO")  # its messages arrive late too, and nothing caps them
        assert told["TC-MESSAGE"].status == "skipped"

    async def main() -> None:
        async with asyncio.TaskGroup() as group:  # most of it is waiting
            for each in (
                one(
                    "TC-PATH", standin=True, change=lambda it: it.replace(b"/msteams/calling", b"")
                ),
                one("TC-UPGRADE", change=lambda head: without(b"upgrade", head)),
                one(
                    "TC-CREDENTIALS",
                    standin=True,
                    change=lambda head: without(rb"x-[a-z-]+signature", head),
                ),
                one("TC-HTTP", respond=lambda head: settings),
                capped(),
                slow(),
            ):
                group.create_task(each)

    asyncio.run(main())


def test_a_certificate_fails_by_what_is_wrong_with_it(tmp_path: Path) -> None:
    async def one(which: str, days: tuple[int, int], name: str) -> None:
        own = config()
        folder = tmp_path / which
        folder.mkdir()
        tls = certificate(folder, days=days, names=(name,))
        async with front(own_port(own), tls=tls) as port:
            secure = behind(own, port, scheme="wss", host="localhost")
            spoilt(await line_of(secure), which)
            if which == "TC-TLS-CHAIN":  # the remedy, followed
                assert failures(await line_of(secure, ca=str(tls[0]))) == []

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one("TC-TLS-EXPIRY", (-30, -1), "localhost"))
            group.create_task(one("TC-TLS-NAME", (-1, 30), "other.example"))
            group.create_task(one("TC-TLS-CHAIN", (-1, 30), "localhost"))

    asyncio.run(main())


def test_an_address_that_leads_to_another_bridge_is_told() -> None:
    async def main() -> None:
        here, other = config(standin=True), config(standin=True)
        async with started(other), front(own_port(other)) as port:
            async with started(here):
                told = await line_of(behind(here, port))
            spoilt(told, "TC-SAME-BRIDGE")
            assert "another bridge" in told["TC-SAME-BRIDGE"].what
            # From a machine without a bridge, every bridge is another one.
            told = await line_of(behind(here, port))
            assert (failures(told), told["TC-SAME-BRIDGE"].status) == ([], "skipped")
        async with started(here), front(own_port(here)) as port:
            told = await line_of(behind(here, port))
        assert told["TC-SAME-BRIDGE"].status == "ok"
        assert (await line_of(here))["TC-SAME-BRIDGE"].status == "skipped"

    asyncio.run(main())


def test_nothing_listens_and_no_such_name() -> None:
    async def main() -> None:
        plain = config()
        spoilt(await line_of(behind(plain, 9)), "TC-TCP")
        spoilt(await line_of(behind(plain, 80, host="no-such-host.invalid")), "TC-DNS")

    asyncio.run(main())


def test_a_bridge_that_cannot_start_is_told_once() -> None:
    async def main() -> None:
        told = await line_of(
            msgspec.structs.replace(
                config(), serve=msgspec.structs.replace(config().serve, bind="192.0.2.1")
            )
        )
        spoilt(told, "TC-BRIDGE")

    asyncio.run(main())


def test_a_site_knows_no_secret_by_its_print() -> None:
    assert SECRET not in repr(site(config()))
