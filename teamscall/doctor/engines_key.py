"""OpenAI's key as a text: what a copy has done to it, and whose it is. Nobody is asked.

Owns the words; never gives back any part of a key but its length.
"""

from __future__ import annotations

import re

from teamscall.config import Config, openai_key, resolved_engine
from teamscall.doctor import findings
from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped, warning
from teamscall.doctor.engines_places import OPENAI_HOST, key_setting, places, wants_openai

KEYS_PAGE = "https://platform.openai.com/api-keys"
NOT_USED = "This configuration asks no OpenAI-compatible service."

# Whose key it is, by how it begins.
_VENDORS = (
    ("sk-ant-", "Anthropic"),
    ("sk-or-", "OpenRouter"),
    ("gsk_", "Groq"),
    ("AIza", "Google"),
    ("xai-", "xAI"),
    ("pplx-", "Perplexity"),
    ("hf_", "Hugging Face"),
    ("nvapi-", "NVIDIA"),
    ("r8_", "Replicate"),
    ("AKIA", "Amazon"),
    ("ghp_", "GitHub"),
    ("xoxb-", "Slack"),
    ("dg-", "Deepgram"),
)
_SHORTEST = 20


async def key(site: Site) -> Finding:
    """What the key's own text tells, before anybody is asked."""
    config = site.config
    told = [*findings.of("TC-OPENAI-KEY", site.problems)]
    if told:
        return failed(findings.sentence(told[0]), _get_one(config))
    found = openai_key(config).reveal()
    used = [each for each in places(config) if each.at.key_setting != "response.api_key"]
    if not used:
        if not found and resolved_engine(config) == "offline" and wants_openai(config):
            return failed(
                "OpenAI's models are configured and there is no key: the offline engine answers.",
                _get_one(config),
            )
        return skipped(NOT_USED)
    theirs = [each for each in used if each.at.is_openai]
    origin = site.origins.get(key_setting(config), "")
    where = f"The key ({origin})" if origin not in ("", "default") else "The key"
    if not found:
        if theirs:
            return failed("There is no OpenAI key.", _get_one(config))
        return ok("There is no key, and the server of your own may need none.")
    at_openai = any(each.at.host == OPENAI_HOST for each in used)
    what, remedy = key_damage(found, config, at_openai=at_openai)
    if what:
        return failed(f"{where} {what}.", remedy, characters=len(found), origin=origin)
    if warned := findings.of("TC-OPENAI-KEY", site.warnings):
        return warning(findings.sentence(warned[0]), "Correct it; see `teamscall config check`.")
    if at_openai and not found.startswith("sk-"):
        return warning(
            "The key does not begin with sk-, as OpenAI's do.",
            f"Compare it with {KEYS_PAGE}.",
            characters=len(found),
        )
    return ok(f"A key of {len(found)} characters.", characters=len(found), origin=origin)


def key_damage(found: str, config: Config, *, at_openai: bool) -> tuple[str, str]:
    """What is wrong with a key's text, and what to do; blanks: nothing that can be seen."""
    setting = key_setting(config)
    bare = found.strip(" \t\r\n\"'`")
    again = f"Copy it again from {KEYS_PAGE} into {setting} or OPENAI_API_KEY."
    if not bare:
        return "is blank", _get_one(config)
    if "\n" in found or "\r" in found:
        return "has a line break in it", "Write it on one line, without a line end after it."
    if found[0] in "\"'`" or found[-1] in "\"'`":
        return "stands in quotes that are part of it", "Take the inner quotes off."
    if found != found.strip():
        place_ = "ends" if found == found.lstrip() else "begins"
        return f"{place_} with a blank", "Take the blank off."
    if found.lower().startswith("bearer "):
        return 'begins with "Bearer"', "Take that word off: teamscall writes it itself."
    if re.match(r"[A-Z_]{3,}=", found):
        return "begins with the name of a variable", "Keep only what stands after the =."
    if not found.isascii() or not found.isprintable():
        return "has an invisible or foreign character in it", again
    if " " in found or "\t" in found:
        return "has a blank in the middle", again
    if re.search(r"\.\.\.|<|>|your|xxxx|change-?me|placeholder", found, re.IGNORECASE):
        return "is a placeholder", _get_one(config)
    if not at_openai:
        return "", ""
    for begin, vendor in _VENDORS:
        if found.startswith(begin):
            return (
                f"is one of {vendor}'s, and api.openai.com is asked",
                f"Put an OpenAI key there ({KEYS_PAGE}), or set openai.base_url to the "
                "OpenAI-compatible address of that vendor.",
            )
    if found.startswith("sk-admin-"):
        return "is an admin key, which may use no model", f"Make a project key: {KEYS_PAGE}."
    if re.fullmatch(r"[0-9a-f]{32}|[A-Za-z0-9]{84}", found):
        return (
            "looks like Azure's, and api.openai.com is asked",
            "Set openai.base_url to https://RESOURCE.openai.azure.com/openai/v1.",
        )
    if len(found) < _SHORTEST and found.startswith("sk-"):
        return f"has {len(found)} characters: it was cut off", again
    return "", ""


def _get_one(config: Config) -> str:
    return (
        f"Make a key at {KEYS_PAGE} and set OPENAI_API_KEY or {key_setting(config)}; or set "
        'engine = "offline", which needs none.'
    )


CHECKS: tuple[Check, ...] = (
    Check(
        "TC-OPENAI-KEY",
        "engines",
        "OpenAI's key",
        key,
        "Looks at the key's own text where one is needed: that it is there, and what a copy may "
        "have left on it (blanks, quotes, a line end, `Bearer`), that it is no placeholder and "
        "not another vendor's. Nobody is asked, nothing is spent.",
        "Set OPENAI_API_KEY, streaming.openai_api_key_file or streaming.openai_api_key_env to a "
        "project key.",
        after=("TC-CONFIG",),
    ),
)
