"""What a copy does to a secret is seen, and never a part of the secret shown."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest
from doctor_rig import SECRET, config, findings, site
from hypothesis import given
from hypothesis import strategies as st

from teamscall.doctor.checks import Finding
from teamscall.doctor.here_secrets import CHECKS
from teamscall.doctor.loading import load
from teamscall.doctor.running import examine
from teamscall.doctor.secrets import damage, fingerprint, weakness

HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (SECRET + "\n", "line break"),
        (SECRET + "\r\n", "Windows line end"),
        ("\n" + SECRET, "line break"),
        (SECRET[:20] + "\n" + SECRET[20:], "in the middle"),
        (SECRET + " ", "ends with a blank"),
        (" " + SECRET, "begins with a blank"),
        (SECRET + "\t", "ends with a blank"),
        (SECRET[:20] + " " + SECRET[20:], "blank in the middle"),
        (f'"{SECRET}"', "quotes"),
        (f"'{SECRET}'", "quotes"),
        (f"`{SECRET}`", "quotes"),
        (f'"{SECRET}', "quote at one end"),
        (f"“{SECRET}”", "curly quote"),
        (SECRET.replace("+", "–"), "dash"),
        ("\ufeff" + SECRET, "byte order mark"),
        (SECRET[:9] + "\u200b" + SECRET[9:], "invisible"),
        (SECRET[:9] + "\u00a0" + SECRET[9:], "invisible"),
        (SECRET[:9] + "ä" + SECRET[9:], "not ASCII"),
        (SECRET.replace("=", "%3D"), "URL-encoded"),
        (SECRET.replace("+", "%2b"), "URL-encoded"),
        (SECRET.rstrip("="), "lost its padding (=)".replace("(=)", "(= at the end)")),
        (SECRET[:41], "cut off"),
        (SECRET[:-4] + "==", "wrong padding"),
        (HEX[:-1], "odd number"),
    ],
)
def test_damage_is_named(secret: str, words: str) -> None:
    found = damage(secret)
    assert found is not None
    assert words in found.what
    assert found.remedy
    assert SECRET[3:12] not in found.what + found.remedy


@pytest.mark.parametrize(
    "secret",
    [
        SECRET,
        HEX,
        HEX.upper(),
        HEX[:32],
        base64.b64encode(bytes(range(3, 36))).decode(),
        "correct-horse-battery-staple-and-then-some",
        "Xk_-9bT2mQ7vW4yZ1pL8sN3dF6gH0jRcAeUiOoSt",  # URL-safe, without padding by design
        "",
    ],
)
def test_a_whole_secret_is_left_alone(secret: str) -> None:
    assert damage(secret) is None


@given(st.binary(min_size=24, max_size=64))
def test_what_the_manual_says_to_make_is_never_complained_of(data: bytes) -> None:
    for secret in (base64.b64encode(data).decode(), data.hex()):
        found = damage(secret)
        assert found is None or not found.certain


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    damage(text)
    weakness(text)
    assert len(fingerprint(text)) == 8


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("short", "5 characters"),
        ("changeme" * 5, "placeholder"),
        ("your-secret-here-your-secret-here-1234", "placeholder"),
        ("<paste the secret of the gateway here>", "placeholder"),
        ("${TEAMS_BRIDGE_SECRET_FROM_THE_VAULT}", "placeholder"),
        ("a" * 40, "can be guessed"),
        ("abc123" * 8, "can be guessed"),
        ("0123456789abcdef0123456789abcdef", "can be guessed"),
    ],
)
def test_weakness_is_named(secret: str, words: str) -> None:
    found = weakness(secret)
    assert found is not None
    assert words in found.what


def test_a_random_secret_is_not_weak() -> None:
    assert weakness(SECRET) is None
    assert weakness(HEX) is None


def test_fingerprints_tell_secrets_apart_and_show_nothing() -> None:
    assert fingerprint(SECRET) == fingerprint(SECRET)
    assert fingerprint(SECRET) != fingerprint(SECRET + "\n")
    assert fingerprint(SECRET) not in SECRET


def looked(folder: Path, text: str, *, mode: int = 0o600, **env: str) -> dict[str, Finding]:
    path = folder / "teamscall.toml"
    path.write_text(text, "utf-8")
    path.chmod(mode)
    seen = load(path, env=env, flags={})
    where = site(
        seen.config,
        config_path=seen.path,
        env=env,
        origins=seen.origins,
        problems=seen.problems,
        warnings=seen.warnings,
    )
    return findings(asyncio.run(examine(CHECKS, where, total_s=30)))


@pytest.mark.parametrize(
    ("content", "mode", "which", "words"),
    [
        (None, 0o600, "TC-SECRET-FILE", "cannot be read"),
        (b"\n", 0o600, "TC-SECRET-FILE", "empty"),
        (b"\xff\xfe\x00", 0o600, "TC-SECRET-FILE", "UTF-8"),
        (f"{SECRET}\n{HEX}\n".encode(), 0o600, "TC-SECRET-FILE", "2 lines"),
        (f"{SECRET}\n".encode(), 0o644, "TC-SECRET-FILE", "read by other users"),
        (f"{SECRET}\n".encode(), 0o660, "TC-SECRET-FILE", "written by other users"),
        (f"{SECRET}\n\n".encode(), 0o600, "TC-SECRET-COPY", "line break"),
        (f"\ufeff{SECRET}".encode(), 0o600, "TC-SECRET-COPY", "byte order mark"),
        (f"{SECRET} \r\n".encode(), 0o600, "TC-SECRET-COPY", "blank"),
        (f"{SECRET}\r\n".encode(), 0o600, "", ""),
        (SECRET.encode(), 0o600, "", ""),
    ],
)
def test_a_secret_file_fails_exactly_one_check(
    tmp_path: Path, content: bytes | None, mode: int, which: str, words: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    found = looked(tmp_path, f'[bridge]\nsecret_file = "{path}"\n')
    failed = [name for name, one in found.items() if one.status in ("failed", "warning")]
    assert failed == ([which] if which else [])
    if which:
        assert words in found[which].what
        assert found[which].remedy
    assert SECRET not in str(found)


@pytest.mark.parametrize(
    ("text", "which"),
    [
        ("[bridge]\n", "TC-SECRET"),
        ('[bridge]\nsecret_env = "NO_SUCH"\n', "TC-SECRET"),
        (f'[bridge]\nsecret = "{SECRET}"\nsecret_env = "HOME"\n', "TC-SECRET"),
        ('[bridge]\nsecret = "changeme-changeme-changeme-changeme"\n', "TC-SECRET-STRENGTH"),
        (f'[bridge]\nsecret = "{SECRET}"\nprevious_secret = "{SECRET}"\n', "TC-SECRET-ROTATION"),
        (
            f'[bridge]\nsecret = "{SECRET}"\n[standin]\nenabled = true\nsecret = "{SECRET}"\n',
            "TC-SECRET-SHARED",
        ),
        (f'[bridge]\nsecret = "{SECRET}"\nprevious_secret = "{HEX}"\n', ""),
    ],
)
def test_each_fault_of_a_secret_has_its_own_check(tmp_path: Path, text: str, which: str) -> None:
    found = looked(tmp_path, text)
    failed = [name for name, one in found.items() if one.status in ("failed", "warning")]
    assert failed == ([which] if which else [])


def test_a_sound_configuration_tells_lengths_and_fingerprints_alone() -> None:
    where = site(config())
    found = findings(asyncio.run(examine(CHECKS, where, total_s=30)))
    assert found["TC-SECRET"].facts["bridge.secret.length"] == len(SECRET)
    assert found["TC-SECRET"].facts["bridge.secret.fingerprint"] == fingerprint(SECRET)
    assert SECRET not in str(found)
