"""The TLS certificate."""

import hashlib
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meshnode.crypto import certificate as of_certificates
from meshnode.crypto.certificate import certificate_hash, facts_of_x509, make_certificate, read_facts
from meshnode.domain.untrusted_text import clean_text
from tests.fakes.clock import START
from tests.fakes.own_certificate import make_pems
from tests.unit.samples import ID


@pytest.fixture(scope="module")
def made() -> tuple[bytes, bytes]:
    return make_certificate(ID, START)


def test_the_certificate_is_a_self_signed_p256_leaf(made: tuple[bytes, bytes]) -> None:
    """Browsers refuse Ed25519 leaves."""
    certificate = x509.load_pem_x509_certificate(made[0])
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp256r1"
    certificate.verify_directly_issued_by(certificate)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_it_is_valid_from_a_day_ago_for_ten_years(made: tuple[bytes, bytes]) -> None:
    """A phone's clock may be behind."""
    certificate = x509.load_pem_x509_certificate(made[0])
    assert certificate.not_valid_before_utc <= START - timedelta(hours=23)
    assert certificate.not_valid_after_utc >= START + timedelta(days=3649)


def test_it_names_the_node(made: tuple[bytes, bytes]) -> None:
    """As its mDNS host name."""
    names = x509.load_pem_x509_certificate(made[0]).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [f"{ID}.local"]


@pytest.mark.parametrize("node_id", ["a", "x" * 128, "AB:cd_e.f"])
def test_any_node_id_gets_a_certificate(node_id: str) -> None:
    """Adopted ids are not ours to shape."""
    certificate, _ = make_certificate(node_id, START)
    assert len(certificate_hash(certificate)) == 32


def test_the_hash_is_of_the_leafs_der(made: tuple[bytes, bytes]) -> None:
    """Also out of a file that holds the key, before or behind."""
    der = ssl.PEM_cert_to_DER_cert(made[0].decode())
    expected = hashlib.sha256(der).digest()
    assert certificate_hash(made[0]) == expected
    assert certificate_hash(made[1] + made[0]) == expected
    assert certificate_hash(made[0] + made[1]) == expected
    assert certificate_hash(make_certificate(ID, START)[0]) != expected


def test_ssl_loads_it(made: tuple[bytes, bytes], tmp_path: Path) -> None:
    """Certificate and key belong together."""
    path = tmp_path / "tls.pem"
    path.write_bytes(made[1] + made[0])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    trusting = ssl.create_default_context(cadata=made[0].decode())
    assert trusting.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(
    "pem", [b"", b"\xff", b"-----BEGIN CERTIFICATE-----\n-----BEGIN", b"-----END CERTIFICATE-----"]
)
def test_text_that_holds_no_certificate_is_refused(pem: bytes) -> None:
    """With ValueError."""
    with pytest.raises(ValueError, match=r"."):
        certificate_hash(pem)


@pytest.mark.parametrize("names", [("tower.example",), ("a.example", "*.b.example"), ("Evil\u202e\x1b[2J.example",)])
def test_names_and_dates_are_read_by_either_decoder(tmp_path: Path, names: tuple[str, ...]) -> None:
    """The same from Python's own and from `cryptography`; text from outside is cleaned."""
    since = START.replace(microsecond=0)
    path = tmp_path / "own.pem"
    path.write_bytes(named(names, since) if len(names) == 1 else make_pems(names, since=since)[0])
    facts = read_facts(path)
    assert facts == facts_of_x509(path.read_bytes())
    assert facts.names == tuple(clean_text(name) for name in names)
    assert (facts.not_before, facts.not_after) == (since, since + timedelta(days=90))


def test_without_pythons_own_decoder_the_other_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is private to CPython."""
    path = tmp_path / "own.pem"
    path.write_bytes(make_pems()[0])
    expected = read_facts(path)
    monkeypatch.setattr(of_certificates, "_decode", None)
    assert read_facts(path) == expected


def named(names: tuple[str, ...], since: datetime) -> bytes:
    """A certificate with the old kind of name only."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(since).not_valid_after(since + timedelta(days=90))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
