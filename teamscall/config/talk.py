"""The keys of the conversation: who hears, thinks and speaks, and its manners."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import field

from teamscall.config.keys import LONGEST_MS, SET, key, url
from teamscall.config.secret import Secret

# Ways to say "go on": whoever says one of these alone does not want the turn.
_BACKCHANNELS = (
    *("mhm", "mm", "hm", "hmm", "mm hmm", "uh huh", "aha", "ah", "oh", "uh", "um", "yeah", "yes"),
    *("yep", "yup", "okay", "ok", "right", "all right", "alright", "i see", "got it", "sure"),
    *("go on", "ja", "genau", "oui"),
)


class OpenAI(msgspec.Struct, frozen=True):
    """Where OpenAI is, or what speaks its API: Azure, or a server of one's own."""

    base_url: Annotated[
        str,
        url("Up to and with /v1; empty: OpenAI's own. Else $OPENAI_BASE_URL."),
    ] = ""
    hear_base_url: Annotated[
        str,
        url("The same, for hearing only."),
    ] = ""
    think_base_url: Annotated[
        str,
        url("The same, for thinking only."),
    ] = ""
    speak_base_url: Annotated[
        str,
        url("The same, for speaking only."),
    ] = ""
    api_key: Annotated[Secret, key("Another name of streaming.openai_api_key.")] = field(
        default_factory=Secret
    )
    api_key_file: Annotated[str, key("File that holds the key.", kind="path")] = ""
    api_key_env: Annotated[str, key("Environment variable that holds the key.")] = ""


class Tts(msgspec.Struct, frozen=True):
    """OpenAI's voice."""

    model: Annotated[str, key("TTS model; empty: the best current one.")] = ""
    voice: Annotated[str, key("TTS voice.", pattern=SET, allowed="the name of a voice")] = "coral"
    speed: Annotated[float, key("Speech speed.", ge=0.25, le=4.0)] = 1.0
    instructions: Annotated[str, key("Style instructions for the voice.")] = ""
    speakable: Annotated[
        bool, key("Make text speakable first: markup, links, emoji, code, numbers, times.")
    ] = True
    sample_rate: Annotated[
        int,
        key(
            "Rate of the raw PCM of a server that is not OpenAI; 0 asks it for WAV.",
            unit="Hz",
            ge=0,
            le=48_000,
        ),
    ] = 0


class Streaming(msgspec.Struct, frozen=True):
    """OpenAI's ears, and how long a pause ends a sentence."""

    openai_api_key: Annotated[Secret, key("OpenAI API key; else $OPENAI_API_KEY.")] = field(
        default_factory=Secret
    )
    openai_api_key_file: Annotated[str, key("File that holds the key.", kind="path")] = ""
    openai_api_key_env: Annotated[str, key("Environment variable that holds the key.")] = ""
    stt_model: Annotated[str, key("STT model; empty: the best current one.")] = ""
    language: Annotated[
        str,
        key(
            "Language that callers speak; empty: any.",
            pattern=r"^\Z|^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*\Z",
            allowed="a language code such as en, or empty",
        ),
    ] = ""
    silence_duration_ms: Annotated[
        int, key("Silence that ends the caller's turn.", unit="ms", ge=100, le=10_000)
    ] = 800
    vad_threshold: Annotated[float, key("How sure voice activity must be.", ge=0.0, le=1.0)] = 0.5
    turn_detection: Annotated[
        Literal["local", "server", "semantic"],
        key("Who hears where a sentence ends: teamscall, or OpenAI where the model can."),
    ] = "local"


class Realtime(msgspec.Struct, frozen=True):
    """One OpenAI model that hears, thinks and speaks (mode = "realtime")."""

    model: Annotated[str, key("Speech-to-speech model; empty: the best current one.")] = ""
    voice: Annotated[str, key("Voice.", pattern=SET, allowed="the name of a voice")] = "marin"
    speed: Annotated[float, key("Speech speed.", ge=0.25, le=1.5)] = 1.0
    turn_detection: Annotated[
        Literal["server", "semantic", "local"],
        key("Who hears where a sentence ends: OpenAI by pause or by meaning, or teamscall."),
    ] = "server"
    eagerness: Annotated[
        Literal["auto", "low", "medium", "high"],
        key("How soon the semantic detection takes a sentence for complete."),
    ] = "auto"
    noise_reduction: Annotated[
        Literal["off", "near_field", "far_field"], key("Noise reduction at OpenAI.")
    ] = "off"
    transcription_model: Annotated[
        str, key("Model that transcribes callers for the record; empty: the best current one.")
    ] = ""
    reasoning: Annotated[
        Literal["default", "minimal", "low", "medium", "high", "xhigh"],
        key("How long the model may think, where it can."),
    ] = "default"
    renew_after_minutes: Annotated[
        float,
        key("A session is renewed in a pause after this long.", unit="minutes", ge=0.01, le=58),
    ] = 50.0


class Live(msgspec.Struct, frozen=True):
    """OpenAI's full-duplex session (mode = "live"). Experimental."""

    model: Annotated[str, key("Live model; empty: the best current one.")] = ""
    voice: Annotated[str, key("Voice; empty: the model's own.")] = ""


class Response(msgspec.Struct, frozen=True):
    """The mind behind the offline engine: built in, a command, or a chat endpoint."""

    command: Annotated[
        tuple[str, ...],
        key("Process that gets turns as JSON lines and answers with text.", kind="command"),
    ] = ()
    base_url: Annotated[
        str,
        url("Base URL of an OpenAI-compatible chat endpoint."),
    ] = ""
    api_key: Annotated[Secret, key("API key of that endpoint.")] = field(default_factory=Secret)
    api_key_file: Annotated[str, key("File that holds response.api_key.", kind="path")] = ""
    api_key_env: Annotated[str, key("Environment variable that holds response.api_key.")] = ""
    model: Annotated[str, key("Model asked for at that endpoint.")] = ""


class Offline(msgspec.Struct, frozen=True):
    """Ears and voice that need no key."""

    stt_model: Annotated[
        str, key("Directory of another speech recogniser; empty: the packaged one.", kind="path")
    ] = ""
    tts_voice: Annotated[
        str, key("File of another voice; empty: the packaged one.", kind="path")
    ] = ""
    language: Annotated[
        str,
        key(
            "Language spoken.",
            pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*\Z",
            allowed="a language code such as en",
        ),
    ] = "en"
    beam_size: Annotated[int, key("Beams of the recogniser's search.", ge=1, le=10)] = 1
    threads: Annotated[int, key("CPU threads of the recogniser.", ge=1, le=64)] = 2


class Scripted(msgspec.Struct, frozen=True):
    """The engine that follows a script."""

    path: Annotated[str, key("The script.", kind="path")] = ""


class BargeIn(msgspec.Struct, frozen=True):
    """The caller speaks over the bot."""

    enabled: Annotated[bool, key("Speech of the caller stops the bot's.")] = True
    pause_ms: Annotated[
        int, key("Voice of this length pauses the bot's speech.", unit="ms", ge=20, le=5000)
    ] = 40
    min_speech_ms: Annotated[
        int, key("Speech shorter than this does not interrupt.", unit="ms", ge=20, le=5000)
    ] = 60
    min_words: Annotated[
        int, key("Fewer recognised words do not interrupt; 0: do not wait for words.", ge=0, le=20)
    ] = 0
    backchannels: Annotated[
        tuple[str, ...],
        key("What callers say to show that they listen; it does not interrupt."),
    ] = _BACKCHANNELS
    echo_immunity: Annotated[
        bool, key("The bot's own voice, coming back from a loudspeaker, does not interrupt.")
    ] = True


class Endpointing(msgspec.Struct, frozen=True):
    """When the caller is taken to have finished."""

    adaptive: Annotated[bool, key("Learn from this caller's own pauses.")] = True
    shortest_ms: Annotated[
        int,
        key(
            "The pause is never learnt to be shorter; 0: streaming.silence_duration_ms.",
            unit="ms",
            ge=0,
            le=10_000,
        ),
    ] = 0
    longest_ms: Annotated[
        int, key("The pause is never learnt to be longer.", unit="ms", ge=100, le=10_000)
    ] = 1600
    speculate_after_ms: Annotated[
        int,
        key(
            "Begin to think of an answer after a pause of this length, unheard; 0: never.",
            unit="ms",
            ge=0,
            le=10_000,
        ),
    ] = 300


class Idle(msgspec.Struct, frozen=True):
    """Nobody says anything."""

    reprompt_after_ms: Annotated[
        int, key("Ask after this much silence; 0: never.", unit="ms", ge=0, le=LONGEST_MS)
    ] = 20_000
    reprompt: Annotated[str, key("What is asked; empty: nothing.")] = "Are you still there?"
    hangup_after_ms: Annotated[
        int, key("Hang up after this much silence; 0: never.", unit="ms", ge=0, le=LONGEST_MS)
    ] = 60_000
    goodbye: Annotated[str, key("Said before; empty: nothing.")] = (
        "I cannot hear you, so I will hang up now. Goodbye."
    )


class Filler(msgspec.Struct, frozen=True):
    """What fills the silence while an answer is thought of."""

    after_ms: Annotated[
        int, key("Fill when thinking takes longer; 0: never.", unit="ms", ge=0, le=60_000)
    ] = 1000
    words: Annotated[tuple[str, ...], key("Said in turn; empty: nothing.")] = (
        "One moment, please.",
        "Let me see.",
    )
    sound: Annotated[
        str, key("WAV file played instead of words, until the answer begins.", kind="path")
    ] = ""
