"""The owner's certificate and key: what is taken, and what each refusal names."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from meshnode.domain.errors import MeshError
from meshnode.store.tls_files import load_own_tls, stamp_of
from tests.fakes.own_certificate import NAME, OwnFiles, make_pems, write_own


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("is_rsa", [False, True])
def test_a_certificate_with_its_chain_is_taken(tmp_path: Path, is_rsa: bool) -> None:
    """The first in the file is the one that is pinned and told of; elliptic or RSA."""
    files = write_own(tmp_path, make_pems((NAME, "second.example"), is_rsa=is_rsa))
    found = load_own_tls(files.certificate, files.key, now())
    assert (found.path, found.key, found.sha256) == files
    assert found.facts.names == (NAME, "second.example")
    assert timedelta(days=89) < found.facts.not_after - now() < timedelta(days=90)


def test_one_file_may_hold_both_behind_any_text(tmp_path: Path) -> None:
    """As some tools write it, with words in between that are no ASCII."""
    certificate, key = make_pems()
    both = tmp_path / "both.pem"
    both.write_bytes("subject=/CN=Zoë\n".encode() + key + b"issuer=x\n" + certificate)
    both.chmod(0o600)
    assert load_own_tls(both, both, now()).facts.names == (NAME,)


def remove(which: int) -> Callable[[OwnFiles], None]:
    return lambda files: files[which].unlink()  # type: ignore[union-attr]


def put(which: int, content: bytes) -> Callable[[OwnFiles], None]:
    return lambda files: files[which].write_bytes(content) and None  # type: ignore[union-attr]


def into_folder(which: int) -> Callable[[OwnFiles], None]:
    def change(files: OwnFiles) -> None:
        files[which].unlink()  # type: ignore[union-attr]
        files[which].mkdir()  # type: ignore[union-attr]

    return change


def into_pipe(files: OwnFiles) -> None:
    files.key.unlink()
    os.mkfifo(files.key)


def trusted_form(files: OwnFiles) -> None:
    """OpenSSL would serve this first one, and only the second can be hashed."""
    text = files.certificate.read_bytes()
    for word in (b"BEGIN ", b"END "):
        text = text.replace(word + b"CERT", word + b"TRUSTED CERT")
    files.certificate.write_bytes(text + make_pems()[0])


GARBLED = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
GARBLED_KEY = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("change", "setting", "why"),
    [
        (remove(0), "tls.certificate", "cannot read .*: No such file"),
        (remove(1), "tls.key", "cannot read .*: No such file"),
        (into_folder(0), "tls.certificate", "no PEM file"),
        (into_pipe, "tls.key", "no PEM file"),
        (put(0, b"x" * (1024 * 1024 + 1)), "tls.certificate", "no PEM file"),
        (put(0, b""), "tls.certificate", "does not begin with a PEM certificate"),
        (put(0, b"\xff\x00"), "tls.certificate", "does not begin with a PEM certificate"),
        (put(0, GARBLED), "tls.certificate", "does not begin with a PEM certificate"),
        (trusted_form, "tls.certificate", "does not begin with a PEM certificate"),
        (put(1, b""), "tls.key", "holds no PEM private key"),
        (put(1, GARBLED), "tls.key", "holds no PEM private key"),
        (put(1, GARBLED_KEY), "tls.key", "OpenSSL refuses"),
        (put(1, make_pems()[1]), "tls.key", "is not the key of"),
        (put(1, make_pems(is_rsa=True)[1]), "tls.key", "is not the key of"),
        (put(1, make_pems(passphrase=b"secret")[1]), "tls.key", "is encrypted; .*openssl pkey"),
        (
            put(1, make_pems(passphrase=b"secret", key_format=PrivateFormat.TraditionalOpenSSL)[1]),
            "tls.key",
            "is encrypted",
        ),
    ],
)
def test_what_cannot_be_served_is_named(
    tmp_path: Path, change: Callable[[OwnFiles], None], setting: str, why: str
) -> None:
    """Exit 78, the setting and the reason."""
    files = write_own(tmp_path)
    change(files)
    with pytest.raises(MeshError, match=rf"^{setting}: .*{why}") as caught:
        load_own_tls(files.certificate, files.key, now())
    assert (caught.value.code, caught.value.exit_code) == ("bad_config", 78)


def test_a_path_that_is_none_is_named(tmp_path: Path) -> None:
    """A NUL can stand in the configuration's file."""
    files = write_own(tmp_path)
    with pytest.raises(MeshError, match=r"^tls\.key: "):
        load_own_tls(files.certificate, Path("/x\0y"), now())


def test_an_unreadable_key_is_named(tmp_path: Path) -> None:
    """Another user's, say root's where the node isn't root."""
    files = write_own(tmp_path)
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    files.key.chmod(0)
    with pytest.raises(MeshError, match=r"^tls\.key: cannot read .*: Permission denied"):
        load_own_tls(files.certificate, files.key, now())


def test_an_expired_certificate_is_refused_by_a_clock_that_can_be_right(tmp_path: Path) -> None:
    """A machine without a battery that wakes up in 1970 or 2099 starts all the same."""
    files = write_own(tmp_path)
    with pytest.raises(MeshError, match=r"^tls\.certificate: .* ran out on \d{4}-\d\d-\d\d; renew it") as caught:
        load_own_tls(files.certificate, files.key, now() + timedelta(days=91))
    assert caught.value.exit_code == 78
    for when in (datetime(1970, 1, 2, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)):
        assert load_own_tls(files.certificate, files.key, when).sha256 == files.sha256


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True)])
def test_a_key_that_the_group_may_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, told: bool
) -> None:
    """A warning, since a service's user may need it so."""
    files = write_own(tmp_path)
    files.key.chmod(mode)
    assert load_own_tls(files.certificate, files.key, now()).key_mode == mode
    assert [f"mode {mode:o}" in record.message for record in caplog.records] == [True] * told


def test_the_stamp_tells_every_change(tmp_path: Path) -> None:
    """Written, replaced, another mode, gone; through links, as ACME clients keep them."""
    files = write_own(tmp_path / "real")
    link = tmp_path / "link"
    link.symlink_to(files.certificate)
    stamps = {stamp_of(link, files.key)}
    files.key.chmod(0o640)
    stamps.add(stamp_of(link, files.key))
    write_own(tmp_path / "real")
    stamps.add(stamp_of(link, files.key))
    os.utime(files.certificate, ns=(1, 1))
    stamps.add(stamp_of(link, files.key))
    link.unlink()
    stamps.add(stamp_of(link, files.key))
    assert len(stamps) == 5
    assert stamp_of(link, files.key) in stamps
