"""What a passphrase seals opens under it only, and only whole."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshnode.crypto.passphrase import MAGIC, open_with_passphrase, seal_with_passphrase
from meshnode.domain.errors import MeshError

TEXT = b"a node"
HEAD_BYTES = len(MAGIC) + 28


def refusal(passphrase: bytes, sealed: bytes) -> MeshError:
    with pytest.raises(MeshError) as caught:
        open_with_passphrase(passphrase, sealed)
    return caught.value


def test_what_is_sealed_opens() -> None:
    """Twice the same text is never twice the same file, and neither shows the text."""
    one, two = (seal_with_passphrase(b"correct horse", TEXT) for _ in range(2))
    assert open_with_passphrase(b"correct horse", one) == open_with_passphrase(b"correct horse", two) == TEXT
    assert one[len(MAGIC) :] != two[len(MAGIC) :]
    assert TEXT not in one


def test_the_format_is_the_documented_one() -> None:
    """Opened without our code, by hashlib's scrypt: N = 65536, r = 8, p = 2."""
    sealed = seal_with_passphrase(b"correct horse", TEXT)
    head, body = sealed[:HEAD_BYTES], sealed[HEAD_BYTES:]
    key = hashlib.scrypt(b"correct horse", salt=head[-28:-12], n=65536, r=8, p=2, maxmem=1 << 28, dklen=32)
    assert AESGCM(key).decrypt(head[-12:], body, head) == TEXT


@pytest.mark.parametrize("at", [len(MAGIC), HEAD_BYTES - 1, HEAD_BYTES, -1], ids=["salt", "nonce", "text", "tag"])
def test_one_other_bit_does_not_open(at: int) -> None:
    """Wherever it is."""
    spoilt = bytearray(seal_with_passphrase(b"correct horse", TEXT))
    spoilt[at] ^= 1
    assert refusal(b"correct horse", bytes(spoilt)).code == "bad_passphrase"


def test_another_passphrase_does_not_open() -> None:
    """Exit 77, and the error does not repeat it."""
    error = refusal(b"wrong pony", seal_with_passphrase(b"correct horse", TEXT))
    assert (error.code, error.exit_code) == ("bad_passphrase", 77)
    assert "wrong pony" not in error.detail


@pytest.mark.parametrize("sealed", [b"", b"SQLite format 3\x00" * 9, MAGIC, MAGIC + bytes(43)])
def test_what_is_no_backup_is_named_so(sealed: bytes) -> None:
    """Exit 78, before any key is made."""
    assert refusal(b"correct horse", sealed).code == "bad_backup"
