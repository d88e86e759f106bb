"""Whom the bridge asks and tells about calls: the hook, webhooks, the resolver.

A command is looked at and not run, a URL is reached with HEAD: nobody is asked or told.
"""

from __future__ import annotations

from teamscall.doctor.checks import Check, Finding, Site, skipped
from teamscall.doctor.engines_tools import reach


async def hook(site: Site) -> Finding:
    """The authorization hook."""
    rules = site.config.authorization
    if not (rules.hook_url or rules.hook_command):
        return skipped("There is no authorization hook.")
    commands = [("authorization.hook_command", rules.hook_command)] if rules.hook_command else []
    urls = [("authorization.hook_url", rules.hook_url)] if rules.hook_url else []
    return await reach(commands, urls, "The authorization hook is there.")


async def webhooks(site: Site) -> Finding:
    """Who is told of calls."""
    config = site.config
    commands = [
        (f"webhooks[{number}].command", each.command)
        for number, each in enumerate(config.webhooks)
        if each.command
    ]
    urls = [(f"webhooks[{n}].url", each.url) for n, each in enumerate(config.webhooks) if each.url]
    if config.outbound.undelivered_command:
        commands.append(("outbound.undelivered_command", config.outbound.undelivered_command))
    if config.outbound.undelivered_url:
        urls.append(("outbound.undelivered_url", config.outbound.undelivered_url))
    if not (commands or urls):
        return skipped("Nobody is told of calls.")
    return await reach(commands, urls, f"{len(commands) + len(urls)} are there to be told.")


async def resolver(site: Site) -> Finding:
    """What turns an address into an object id."""
    outbound = site.config.outbound
    if not (outbound.resolver_command or outbound.resolver_url):
        return skipped("Addresses are not resolved.")
    commands = (
        [("outbound.resolver_command", outbound.resolver_command)]
        if outbound.resolver_command
        else []
    )
    urls = [("outbound.resolver_url", outbound.resolver_url)] if outbound.resolver_url else []
    return await reach(commands, urls, "The resolver of addresses is there.")


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-HOOK",
        "other-side",
        "The authorization hook",
        hook,
        "Looks whether authorization.hook_command can be run, or reaches authorization.hook_url "
        "with HEAD. A hook that does not answer denies every call.",
        "Start what serves it, or correct the URL or the path.",
        after=("TC-CONFIG", "TC-PROXY"),
        timeout_s=13.0,
    ),
    Check(
        "TC-WEBHOOKS",
        "other-side",
        "Who is told of calls",
        webhooks,
        "Looks whether the commands of webhooks and outbound.undelivered_command can be run, and "
        "reaches their URLs with HEAD. Nothing is delivered.",
        "Start what serves it, or correct the URL or the path; deliveries wait and are tried "
        "again meanwhile.",
        after=("TC-CONFIG", "TC-PROXY"),
        timeout_s=13.0,
    ),
    Check(
        "TC-RESOLVER",
        "other-side",
        "The resolver of addresses",
        resolver,
        "Looks whether outbound.resolver_command can be run, or reaches outbound.resolver_url "
        "with HEAD. Without it nobody can be called by an e-mail address.",
        "Start what serves it, or correct the URL or the path.",
        after=("TC-CONFIG", "TC-PROXY"),
        timeout_s=13.0,
    ),
)
