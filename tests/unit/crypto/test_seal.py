"""What travels sealed, what rests sealed, tokens."""

import pytest

from meshnode.crypto.seal import Vault, open_introduction, seal_introduction
from meshnode.crypto.token import is_same_token, make_token, token_digest
from meshnode.domain.base64url import decode_base64url
from meshnode.domain.errors import MeshError

KEY, SID, TAG, TEXT = bytes(range(64)), bytes(16), b"t" * 64, b'{"announcement":"a.b.c"}'


def test_a_sealed_introduction_opens_for_who_shares_the_key() -> None:
    """And the text doesn't show."""
    sealed = seal_introduction("joiner", KEY, SID, TAG, TEXT)
    assert open_introduction("joiner", KEY, SID, TAG, sealed) == TEXT
    assert TEXT not in sealed
    assert len(sealed) == len(TEXT) + 16


def test_sealing_is_the_construction_of_the_protocol() -> None:
    """A fixed vector: HKDF-SHA-256 and ChaCha20-Poly1305, computed here from the primitives."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    key = HKDF(algorithm=SHA256(), length=32, salt=SID, info=b"meshnode/1 seal host").derive(KEY)
    expected = ChaCha20Poly1305(key).encrypt(bytes(12), TEXT, SID + TAG)
    assert seal_introduction("host", KEY, SID, TAG, TEXT) == expected


@pytest.mark.parametrize(
    ("role", "key", "sid", "tag"),
    [
        ("host", KEY, SID, TAG),
        ("joiner", bytes(64), SID, TAG),
        ("joiner", KEY, b"\x01" * 16, TAG),
        ("joiner", KEY, SID, b"u" * 64),
    ],
)
def test_a_sealed_introduction_opens_for_nothing_else(role: str, key: bytes, sid: bytes, tag: bytes) -> None:
    """Role, key, session and tag are bound in: it can't be reflected."""
    sealed = seal_introduction("joiner", KEY, SID, TAG, TEXT)
    with pytest.raises(MeshError) as caught:
        open_introduction("host" if role == "host" else "joiner", key, sid, tag, sealed)
    assert caught.value.code == "invalid_params"


def test_a_changed_or_cut_introduction_is_refused() -> None:
    """Every bit counts, and so does the length."""
    sealed = seal_introduction("joiner", KEY, SID, TAG, TEXT)
    damaged = [bytes([*sealed[:n], sealed[n] ^ 1, *sealed[n + 1 :]]) for n in range(len(sealed))]
    for text in (*damaged, sealed[:-1], sealed + b"\x00", sealed[:15], b""):
        with pytest.raises(MeshError, match="sealed"):
            open_introduction("joiner", KEY, SID, TAG, text)


def test_the_vault_gives_back_what_rests_in_a_row() -> None:
    """Under the nonce it was given, which leads the ciphertext."""
    sealed = Vault(bytes(32)).seal("row", b"123456", b"n" * 12)
    assert Vault(bytes(32)).open("row", sealed) == b"123456"
    assert sealed.startswith(b"n" * 12)
    assert b"123456" not in sealed


def test_the_vault_binds_a_secret_to_its_row_and_identity() -> None:
    """Copied to another row, or opened under another identity, damaged or cut, it stays shut."""
    vault = Vault(bytes(32))
    sealed = vault.seal("row", b"123456", b"n" * 12)
    for other, row, text in (
        (vault, "row2", sealed),
        (Vault(b"\x01" * 32), "row", sealed),
        (vault, "row", sealed[:-1]),
        (vault, "row", b"m" + sealed[1:]),
        (vault, "row", sealed[:12]),
        (vault, "row", b""),
    ):
        with pytest.raises(ValueError, match=r"."):
            other.open(row, text)


def test_the_vaults_digest_needs_the_identity() -> None:
    """The same code under another identity digests otherwise: a stolen database can't be searched."""
    assert Vault(bytes(32)).digest(b"code") == Vault(bytes(32)).digest(b"code")
    assert Vault(bytes(32)).digest(b"code") != Vault(b"\x01" * 32).digest(b"code")
    assert Vault(bytes(32)).digest(b"code") != Vault(bytes(32)).digest(b"kode")
    assert len(Vault(bytes(32)).digest(b"")) == 32


def test_a_tokens_repr_shows_nothing() -> None:
    """256 bits of text, hidden from logs."""
    token = make_token(bytes(range(32)))
    assert decode_base64url(token) == bytes(range(32))
    assert str.__str__(token) not in repr(token)
    assert str.__str__(token) not in repr({"token": token})


@pytest.mark.parametrize("wrong", ["", "x", "\udc80", "é", "A" * 43])
def test_a_token_is_recognised_by_its_digest_alone(wrong: str) -> None:
    """Other text is not, and never raises."""
    token = make_token(bytes(range(32)))
    assert is_same_token(token, token_digest(token))
    assert not is_same_token(wrong, token_digest(token))
    assert not is_same_token(token, b"")
