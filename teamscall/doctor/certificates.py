"""What a certificate says of itself: whose it is, until when, who signed it.

Pure but for parsing; whether it is trusted is OpenSSL's business (``line_tls``).
"""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from teamscall.doctor.checks import Fact, Finding, failed, ok, warning
from teamscall.text import printable

SOON_DAYS = 14


def read_der(data: bytes) -> x509.Certificate:
    """Raises: ValueError, it is no certificate."""
    return x509.load_der_x509_certificate(data)


def read_pem(data: bytes) -> x509.Certificate:
    """The first one of a file. Raises: ValueError."""
    return x509.load_pem_x509_certificate(data)


def expiry(cert: x509.Certificate, now: datetime.datetime, what: str) -> Finding:
    """Whether it is valid at ``now``. ``what``: whose it is, printable."""
    until, since = cert.not_valid_after_utc, cert.not_valid_before_utc
    days = (until - now).total_seconds() / 86_400
    facts: dict[str, Fact] = {"notAfter": until.isoformat(), "daysLeft": round(days, 1)}
    if now < since:
        return failed(
            f"The certificate of {what} is valid from {since:%Y-%m-%d %H:%M} UTC only.",
            "Wait until then, or set the clock if it is wrong.",
            **facts,
        )
    if days < 0:
        return failed(
            f"The certificate of {what} expired on {until:%Y-%m-%d %H:%M} UTC.",
            "Renew it (certbot renew, or whoever issued it) and reload what presents it.",
            **facts,
        )
    if days < SOON_DAYS:
        return warning(
            f"The certificate of {what} expires in {days:.0f} days, on {until:%Y-%m-%d}.",
            "Renew it now: a renewal that runs by itself would have done so.",
            **facts,
        )
    return ok(f"The certificate of {what} is valid until {until:%Y-%m-%d}.", **facts)


def names(cert: x509.Certificate) -> list[str]:
    """The names and addresses that it is for. A common name counts no more (RFC 6125)."""
    try:
        found = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(each) for each in found.get_values_for_type(x509.DNSName)] + [
        str(each) for each in found.get_values_for_type(x509.IPAddress)
    ]


def is_for(cert: x509.Certificate, host: str) -> bool:
    """Whether ``host`` is one of its names."""
    wanted = host.rstrip(".").lower()
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return str(address) in names(cert)
    for name in (each.rstrip(".").lower() for each in names(cert)):
        if name == wanted:
            return True
        head, _, rest = wanted.partition(".")
        if name.startswith("*.") and name[2:] == rest and head and "." in rest:
            return True
    return False


def subject(cert: x509.Certificate) -> str:
    """A name for people."""
    return _common(cert.subject)


def issuer(cert: x509.Certificate) -> str:
    """Who signed it, for people."""
    return _common(cert.issuer)


def is_self_signed(cert: x509.Certificate) -> bool:
    return cert.subject == cert.issuer


def issuer_url(cert: x509.Certificate) -> str:
    """Where its issuer's certificate can be fetched; blank where it does not say."""
    try:
        found = cert.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except (x509.ExtensionNotFound, ValueError):
        return ""
    for each in found:
        if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS:
            return printable(str(each.access_location.value))
    return ""


def _common(name: x509.Name) -> str:
    for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        if found := name.get_attributes_for_oid(oid):
            return printable(str(found[0].value), 80)
    return printable(name.rfc4514_string(), 80)
