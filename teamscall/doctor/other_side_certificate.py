"""The certificate that proves the bot to Microsoft: one PEM file, looked at here alone."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from teamscall.config.secret_sources import open_to_others
from teamscall.text import printable

if TYPE_CHECKING:
    from cryptography import x509

# A new certificate has to be made, uploaded and rolled out.
SOON_DAYS = 30
_MAX_BYTES = 1_000_000


class Pair(msgspec.Struct, frozen=True):
    """A certificate and its key, as PEM. ``thumbprint``: SHA-1 in hex, as Entra shows it."""

    certificate: str
    key: str
    thumbprint: str
    ends: datetime.datetime
    open_to_others: bool = False  # the file is

    def days_left(self, now: datetime.datetime) -> float:
        return (self.ends - now).total_seconds() / 86_400


class Unusable(Exception):
    """The file cannot be used: what, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def read_pair(path: Path) -> Pair:
    """The certificate in ``path`` and the private key that belongs to it.

    Raises:
        Unusable: it is not there, or lacks one of the two.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    shown = printable(str(path), 120)
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
            mode = os.fstat(file.fileno()).st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no such path"
        raise Unusable(f"{shown} cannot be read: {reason}", "Correct the path.") from None
    if b"-----BEGIN" not in data:
        raise Unusable(
            f"{shown} is no PEM file",
            f"Convert a PFX: openssl pkcs12 -in {shown} -out bot.pem -nodes; then name bot.pem.",
        )
    if b"PRIVATE KEY-----" not in data:
        raise Unusable(
            f"{shown} has a certificate and no private key",
            "Put the PEM of its private key into the same file, and chmod 600 it.",
        )
    try:
        key = serialization.load_pem_private_key(_key_part(data), password=None)
    except TypeError:
        raise Unusable(
            f"the private key in {shown} has a passphrase",
            f"Take it off: openssl pkey -in {shown} -out key.pem; the file's mode protects it.",
        ) from None
    except Exception:  # noqa: BLE001 - the library raises several kinds for a broken key
        raise Unusable(
            f"the private key in {shown} cannot be read",
            "Copy it again, with its BEGIN and END lines.",
        ) from None
    try:
        found = x509.load_pem_x509_certificates(data)
    except ValueError:
        raise Unusable(
            f"{shown} has no certificate that can be read",
            "Put the PEM of the certificate that was uploaded to Entra into the same file.",
        ) from None
    public = key.public_key()
    mine = next((one for one in found if one.public_key() == public), None)
    if mine is None:
        raise Unusable(
            f"the private key in {shown} is not that of its certificate",
            "Put the key and the certificate that were made together into it.",
        )
    return Pair(
        _pem(mine),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode(),
        mine.fingerprint(hashes.SHA1()).hex().upper(),
        mine.not_valid_after_utc,
        open_to_others(mode),
    )


def _key_part(data: bytes) -> bytes:
    start = data.rfind(b"-----BEGIN", 0, data.index(b"PRIVATE KEY-----"))
    return data[start:]


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()
