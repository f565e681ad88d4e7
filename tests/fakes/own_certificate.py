"""A certificate as an owner may bring it: of a test authority, with its chain, for chosen names and dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from meshnode.crypto.certificate import certificate_hash

NAME = "tower.example"


class OwnFiles(NamedTuple):
    """Where they are, and what is in the certificate."""

    certificate: Path
    key: Path
    sha256: bytes


def make_pems(
    names: tuple[str, ...] = (NAME,),
    *,
    since: datetime | None = None,
    lasts: timedelta = timedelta(days=90),
    is_rsa: bool = False,
    passphrase: bytes | None = None,
    key_format: PrivateFormat = PrivateFormat.PKCS8,
) -> tuple[bytes, bytes]:
    """(leaf and the authority's certificate, key), PEM."""
    since = since or datetime.now(UTC) - timedelta(hours=1)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = rsa.generate_private_key(65537, 2048) if is_rsa else ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test authority")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])

    def build(name: x509.Name, of: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority)
            .public_key(of.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(since + lasts)
        )

    root = build(authority, authority_key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    leaf = build(subject, key).add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), False)
    chain = [builder.sign(authority_key, hashes.SHA256()).public_bytes(Encoding.PEM) for builder in (leaf, root)]
    encryption: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return b"".join(chain), key.private_bytes(Encoding.PEM, key_format, encryption)


def write_own(folder: Path, pems: tuple[bytes, bytes] | None = None) -> OwnFiles:
    """Put them where the owner would, each replaced whole, the key 0600."""
    folder.mkdir(exist_ok=True)
    certificate, key = pems or make_pems()
    files = folder / "own.pem", folder / "own.key"
    for path, content in zip(files, (certificate, key), strict=True):
        fresh = path.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.chmod(0o600)
        fresh.rename(path)
    return OwnFiles(*files, certificate_hash(certificate))
