"""The checks that rest on one small turn with each model; ``engines_turns`` has the turns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from teamscall.doctor.checks import Check, Finding, Site, failed, ok, skipped
from teamscall.doctor.engines_places import uses
from teamscall.doctor.engines_turns import SENTENCE, THOROUGH_S, trials

_BEFORE = ("TC-OPENAI-KEY", "TC-OPENAI-URL", "TC-OPENAI-ACCESS", "TC-OPENAI-MODELS")


async def quota(site: Site) -> Finding:
    """Whether anything is left to spend."""
    found = await trials(site)
    if not found:
        return skipped("This configuration asks no OpenAI-compatible service.")
    if empty := next((one for one in found.values() if one.no_quota), None):
        finding = empty.finding
        return failed(finding.what, finding.remedy, **finding.facts)
    return ok("The service works for this key.", turns=len(found))


def _of(name: str, unused: str) -> Callable[[Site], Awaitable[Finding]]:
    async def run(site: Site) -> Finding:
        found = (await trials(site)).get(name)
        return found.finding if found is not None else skipped(unused)

    return run


async def command(site: Site) -> Finding:
    """The operator's own mind."""
    found = uses(site.config)
    if found.mind == "response.command":
        import shutil

        program = site.config.response.command[0]
        if shutil.which(program) is None:
            return failed(
                "response.command names no program that can be run.",
                "Write its full path, and make it executable (chmod +x).",
            )
        return ok("response.command can be run; it is not asked anything here.")
    trial = (await trials(site)).get("TC-MIND")
    return trial.finding if trial is not None else skipped("No mind of your own is configured.")


# The turns have their own limits: this is for --thorough.
_TURNS_S = THOROUGH_S + 2
_STREAMING = 'Only mode = "streaming" does that, or a fallback to it.'

CHECKS: tuple[Check, ...] = (
    Check(
        "TC-OPENAI-QUOTA",
        "engines",
        "Something is left to spend",
        quota,
        "Has every configured model do one small turn, all at the same time: a spoken sentence "
        f'("{SENTENCE}") is heard, a word is thought of, a sentence is spoken. That spends less '
        "than a US cent in all; `--skip engines` spends nothing. This check fails when the "
        "service says that there is no quota or credit.",
        "Add credit or raise the project's limit at OpenAI (organization, billing).",
        after=_BEFORE,
        timeout_s=_TURNS_S,
    ),
    Check(
        "TC-OPENAI-HEAR",
        "engines",
        "A recogniser hears",
        _of("TC-OPENAI-HEAR", _STREAMING),
        "Opens a transcription session as a call does, says a sentence and compares the words "
        "that come back. Less than half of them heard is a warning, none a failure.",
        "Set streaming.stt_model to a transcription model, or leave it empty; look at "
        "streaming.language. Sessions are WebSockets: a proxy has to let them through.",
        after=("TC-OPENAI-QUOTA",),
        timeout_s=_TURNS_S,
    ),
    Check(
        "TC-OPENAI-THINK",
        "engines",
        "A model thinks",
        _of("TC-OPENAI-THINK", _STREAMING),
        "Asks the model for one word as a call does, with the configured prompt and tools (none "
        "of which is used), and takes the time to its first word.",
        "Set response_model to a chat model, or leave it empty.",
        after=("TC-OPENAI-QUOTA",),
        timeout_s=_TURNS_S,
    ),
    Check(
        "TC-OPENAI-SPEAK",
        "engines",
        "A voice speaks",
        _of("TC-OPENAI-SPEAK", _STREAMING),
        "Has the voice speak a sentence as a call does, takes the time to the first sound, and "
        "looks at length and loudness: a status 200 without speech is a failure.",
        "Set tts.model and tts.voice to ones that there are, or leave them out.",
        after=("TC-OPENAI-QUOTA",),
        timeout_s=_TURNS_S,
    ),
    Check(
        "TC-OPENAI-REALTIME",
        "engines",
        "A realtime session opens",
        _of("TC-OPENAI-REALTIME", 'Only mode = "realtime" has one.'),
        "Opens a session exactly as configured (voice, speed, turn detection, noise reduction, "
        "transcription, tools), which the service refuses as a whole for one wrong value, and "
        "has it read a sentence aloud.",
        "Correct the named key of [realtime], or leave it out.",
        after=("TC-OPENAI-QUOTA",),
        timeout_s=_TURNS_S,
    ),
    Check(
        "TC-OPENAI-LIVE",
        "engines",
        "A live session opens",
        _of("TC-OPENAI-LIVE", 'Only mode = "live" has one.'),
        "Opens a Live session exactly as configured, and closes it again.",
        'Correct live.model and live.voice, or set mode = "realtime": Live is experimental.',
        after=("TC-OPENAI-QUOTA",),
        timeout_s=_TURNS_S,
    ),
    Check(
        "TC-MIND",
        "engines",
        "A mind of your own",
        command,
        "Asks response.base_url for one word with response.model, or looks whether "
        "response.command can be run. A command is not asked: it may act.",
        "Set response.model to one that the endpoint serves, response.api_key to its key.",
        after=("TC-OPENAI-QUOTA",),
        timeout_s=_TURNS_S,
    ),
)
