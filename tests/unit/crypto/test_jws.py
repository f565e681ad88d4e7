"""Compact JWS, with PyJWT as an independent oracle."""

import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from meshnode.crypto.jws import sign_jws, verify_jws
from meshnode.crypto.key_pair import KeyPair
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from tests.unit.samples import KEY, OTHER_KEY

TYP = "meshnode-test+jws"
PAYLOAD = b'{"id":"node-1"}'
JWS = sign_jws(KEY, TYP, PAYLOAD)
HEADER, BODY, SIGNATURE = JWS.split(".")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def resign(header: bytes, payload: bytes = PAYLOAD) -> str:
    """Well signed, whatever the header says."""
    signed = f"{b64(header)}.{b64(payload)}"
    return f"{signed}.{b64(KEY.sign(signed.encode()))}"


def refused(jws: str, key: bytes = KEY.public_key, typ: str = TYP) -> str:
    with pytest.raises(MeshError) as caught:
        verify_jws(key, typ, jws, "proof")
    assert caught.value.members == {"field": "proof"}
    return caught.value.code


def test_what_we_sign_the_oracle_verifies() -> None:
    """PyJWT sees EdDSA, our type and our payload."""
    key = Ed25519PublicKey.from_public_bytes(KEY.public_key)
    decoded = jwt.api_jws.decode_complete(JWS, key, algorithms=["EdDSA"])
    assert decoded["payload"] == PAYLOAD
    assert decoded["header"] == {"alg": "EdDSA", "typ": TYP}


def test_what_the_oracle_signs_we_verify() -> None:
    """If it spells the header as the protocol does."""
    key = Ed25519PrivateKey.from_private_bytes(KEY.private_bytes)
    jws = jwt.api_jws.encode(PAYLOAD, key, algorithm="EdDSA", headers={"alg": "EdDSA", "typ": TYP}, sort_headers=True)
    assert verify_jws(KEY.public_key, TYP, jws) == PAYLOAD
    assert jws == JWS


def test_the_header_is_the_exact_bytes_of_the_protocol() -> None:
    """No blank, this order."""
    assert base64.urlsafe_b64decode(HEADER + "==") == b'{"alg":"EdDSA","typ":"meshnode-test+jws"}'
    assert verify_jws(KEY.public_key, TYP, resign(b'{"alg":"EdDSA","typ":"meshnode-test+jws"}')) == PAYLOAD


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"EdDSA","typ":"meshnode-other+jws"}',
        b'{"typ":"meshnode-test+jws","alg":"EdDSA"}',
        b'{"alg": "EdDSA","typ":"meshnode-test+jws"}',
        b'{"alg":"eddsa","typ":"meshnode-test+jws"}',
        b'{"alg":"none","typ":"meshnode-test+jws"}',
        b'{"alg":"HS256","typ":"meshnode-test+jws"}',
        b'{"alg":"Ed25519","typ":"meshnode-test+jws"}',
        b'{"alg":"EdDSA","typ":"MESHNODE-TEST+JWS"}',
        b'{"alg":"EdDSA","typ":"meshnode-test+jws","kid":"1"}',
        b'{"alg":"EdDSA","typ":"meshnode-test+jws","crit":["exp"]}',
        b'{"alg":"EdDSA","typ":"meshnode-test+jws"}\n',
        b'{"alg":"EdDSA"}',
        b"{}",
        b"",
    ],
)
def test_another_header_is_refused_however_well_signed(header: bytes) -> None:
    """No algorithm is negotiated, no spelling is tolerated."""
    assert refused(resign(header)) == "invalid_params"


def test_a_signature_does_not_serve_for_another_purpose() -> None:
    """The type is part of what is checked."""
    assert refused(JWS, typ="meshnode-session+jws") == "invalid_params"


@pytest.mark.parametrize(
    "jws",
    [
        "",
        ".",
        "..",
        HEADER,
        f"{HEADER}.",
        f"{HEADER}.{BODY}",
        f"{HEADER}.{BODY}.",
        f"{HEADER}..{SIGNATURE}",
        f"{JWS}.",
        f"{JWS}.{SIGNATURE}",
        f"{JWS}=",
        f"{JWS}==",
        f"{JWS}\n",
        f" {JWS}",
        f"{HEADER}.{BODY}=.{SIGNATURE}",
        f"{HEADER}=.{BODY}.{SIGNATURE}",
        f"{HEADER}.{BODY}.{SIGNATURE[:-1]}",
        f"{HEADER}.{BODY}.{SIGNATURE[:-2]}",
        f"{HEADER}.{BODY}.{encode_base64url(bytes(64))}",
        f"{HEADER}.{BODY}.{encode_base64url(bytes(65))}",
        f"{HEADER}.{BODY}ä.{SIGNATURE}",
        f"{HEADER}.{BODY}.\ud800",
        f"{HEADER}.{encode_base64url(PAYLOAD + b' ')}.{SIGNATURE}",
        JWS.replace("-", "+").replace("_", "/") + "+",
    ],
)
def test_anything_but_the_one_spelling_is_refused(jws: str) -> None:
    """Missing and added parts, padding, blanks, other bytes."""
    assert refused(jws) == "invalid_params"


def test_a_signature_with_its_unused_bits_set_is_refused() -> None:
    """The same 64 bytes spelled another way: the JWS would have two digests."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    twin = JWS[:-1] + alphabet[alphabet.index(JWS[-1]) + 1]
    assert base64.urlsafe_b64decode(twin.split(".")[2] + "==") == base64.urlsafe_b64decode(SIGNATURE + "==")
    assert refused(twin) == "invalid_params"


def test_one_flipped_bit_of_payload_or_signature_is_refused() -> None:
    """Anywhere."""
    body, signature = bytearray(PAYLOAD), bytearray(KEY.sign(f"{HEADER}.{BODY}".encode()))
    for part in (body, signature):
        for position in range(len(part)):
            part[position] ^= 1
            refused(f"{HEADER}.{b64(bytes(body))}.{b64(bytes(signature))}")
            part[position] ^= 1
    assert verify_jws(KEY.public_key, TYP, f"{HEADER}.{b64(bytes(body))}.{b64(bytes(signature))}") == PAYLOAD


@pytest.mark.parametrize(
    "key",
    [
        b"",
        bytes(31),
        bytes(33),
        KEY.public_key[:31],
        KEY.public_key + b"\x00",
        OTHER_KEY.public_key,
        b"\xff" * 32,  # no point on the curve
        KEY.private_bytes,
        ed448.Ed448PrivateKey.generate().public_key().public_bytes_raw(),
        rsa.generate_private_key(65537, 1024).public_key().public_numbers().n.to_bytes(128, "big"),
    ],
    ids=["none", "31", "33", "cut", "long", "another", "off-curve", "private", "ed448", "rsa"],
)
def test_another_key_or_another_type_of_key_is_refused(key: bytes) -> None:
    """By length or by signature, always with the same error."""
    assert refused(JWS, key=key) == "invalid_params"


@pytest.mark.parametrize("sign_bit", [0, 0x80])
@pytest.mark.parametrize("y", ["00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f", "ee" + "ff" * 30 + "7f"])
def test_a_key_of_small_order_verifies_nothing(y: str, sign_bit: int) -> None:
    """Anybody could sign for it: for y = 1, R = 1 and S = 0 fit every message."""
    key = bytearray.fromhex(y)
    key[31] |= sign_bit
    for signature in (bytes([1, *bytes(63)]), bytes(64), bytes(key) + bytes(32)):
        refused(f"{HEADER}.{BODY}.{b64(signature)}", key=bytes(key))
    assert len(key) == 32


def test_any_payload_comes_back() -> None:
    """Empty and binary too; the payload is not looked at."""
    for payload in (b"", b"\x00\xff", json.dumps({"a": 1}).encode(), bytes(5000)):
        assert verify_jws(KEY.public_key, TYP, sign_jws(KEY, TYP, payload)) == payload


def test_a_key_pair_shows_no_secret_and_comes_back_from_its_bytes() -> None:
    """What the identity file needs, and nothing in a log."""
    key = KeyPair.generate()
    again = KeyPair(key.private_bytes)
    assert again.public_key == key.public_key != KEY.public_key
    assert key.private_bytes.hex() not in repr(key)
    assert str(key.private_bytes) not in repr(key)
