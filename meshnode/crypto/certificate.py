"""The TLS certificate: ECDSA P-256, self-signed (browsers refuse Ed25519 leaves). Source: RFC 5280."""

from __future__ import annotations

import hashlib
import re
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import parsedate
from pathlib import Path
from typing import Any

from meshnode.domain.served_certificate import CertificateFacts
from meshnode.domain.untrusted_text import clean_text

try:  # OpenSSL's own decoder, private but old; x509 beside it would cost 4 MiB and 40 ms at every start
    from _ssl import _test_decode_cert as _decode  # type: ignore[attr-defined]
except ImportError:
    _decode = None

VALID_FOR = timedelta(days=3650)
CLOCK_SLACK = timedelta(days=1)  # a phone's clock may be behind ours


def make_certificate(node_id: str, now: datetime) -> tuple[bytes, bytes]:
    """(certificate, private key), both PEM, for a node."""
    # x509 costs 18 ms and 8 MiB: only the first start pays, and a renewal
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id[:64])])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + VALID_FOR)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(f"{node_id}.local")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def certificate_hash(pem: bytes) -> bytes:
    """SHA-256 of the leaf's DER, 32 bytes: `tls_sha256`. Raises ValueError if there is none."""
    first = _FIRST.search(pem.decode("ascii", "replace"))
    if first is None:
        raise ValueError("no PEM certificate")
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(first[0])).digest()


# "TRUSTED CERTIFICATE" too: OpenSSL would serve that one, and ssl refuses it here
_FIRST = re.compile(
    r"-----BEGIN (?P<form>(?:TRUSTED |X509 )?)CERTIFICATE-----[^-]*-----END (?P=form)CERTIFICATE-----", re.ASCII
)


def read_facts(path: Path) -> CertificateFacts:
    """Names and dates of the first certificate in a PEM file. Raises ValueError or OSError (ssl.SSLError is one)."""
    return facts_of_openssl(_decode(str(path))) if _decode is not None else facts_of_x509(path.read_bytes())


def facts_of_openssl(decoded: dict[str, Any]) -> CertificateFacts:
    """From what `getpeercert` and its kin return."""
    common = [value for rdn in decoded.get("subject", ()) for key, value in rdn if key == "commonName"]
    names = [value for _, value in decoded.get("subjectAltName", ()) if isinstance(value, str)]
    not_before, not_after = (_time_of(decoded[key]) for key in ("notBefore", "notAfter"))
    return CertificateFacts(names=_cleaned(names or common), not_before=not_before, not_after=not_after)


def facts_of_x509(pem: bytes) -> CertificateFacts:
    """The same by `cryptography`, where Python has no decoder."""
    from cryptography import x509

    found = x509.load_pem_x509_certificate(pem)
    names = [str(name.value) for name in found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    try:
        alternative = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = [str(name.value) for name in alternative] or names
    except x509.ExtensionNotFound:
        pass
    return CertificateFacts(
        names=_cleaned(names), not_before=found.not_valid_before_utc, not_after=found.not_valid_after_utc
    )


def _cleaned(names: list[str]) -> tuple[str, ...]:
    return tuple(clean_text(name) for name in names[:8])


def _time_of(text: str) -> datetime:
    """`Nov 19 04:37:23 2036 GMT`."""
    parsed = parsedate(text)
    if parsed is None:
        raise ValueError("a certificate without dates")
    year, month, day, hour, minute, second = parsed[:6]
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
