"""The certificate on file: ours with its key in one file, `tls.pem`, so that they can't come apart, or the owner's."""

from __future__ import annotations

import logging
import ssl
import stat
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meshnode.crypto.certificate import certificate_hash, make_certificate, read_facts
from meshnode.domain.errors import MeshError
from meshnode.domain.served_certificate import CertificateFacts, has_expired
from meshnode.store.atomic_file import set_aside, write_private

TLS_FILE: Final = "tls.pem"
CERTIFICATE: Final = "tls.certificate"
KEY: Final = "tls.key"
PEM_MAX_BYTES: Final = 1024 * 1024
_MISMATCHES: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})

log = logging.getLogger(__name__)

Stamp = tuple[tuple[int, int, int, int], ...]


class TlsIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate ready to serve: where it and its key are, and SHA-256 of its DER."""

    path: Path
    sha256: bytes
    facts: CertificateFacts
    key: Path | None = None  # the owner's; ours is in `path`
    key_mode: int = 0o600
    stamp: Stamp = ()


def load_or_make_tls(directory: Path, node_id: str, now: datetime) -> TlsIdentity:
    """The node's own certificate, made on the first start.

    A damaged file is set aside and replaced: peers pin what the signed announcement says, so it may change.
    """
    path = directory / TLS_FILE
    try:
        pem = path.read_bytes()
        _new_context().load_cert_chain(path)
        return TlsIdentity(path=path, sha256=certificate_hash(pem), facts=read_facts(path))
    except FileNotFoundError:
        pass
    except (ssl.SSLError, ValueError) as error:
        log.warning("%s is damaged (%s); kept as %s, a new one is made", path, error, set_aside(path))
    return make_tls(directory, node_id, now)


def make_tls(directory: Path, node_id: str, now: datetime) -> TlsIdentity:
    """Another certificate and key in the place of the former. Raises OSError; the former stands then."""
    path = directory / TLS_FILE
    certificate, key = make_certificate(node_id, now)
    write_private(path, key + certificate)
    return TlsIdentity(path=path, sha256=certificate_hash(certificate), facts=read_facts(path))


def load_own_tls(certificate: Path, key: Path, now: datetime) -> TlsIdentity:
    """The owner's certificate and key. Raises `bad_config` naming the setting, and what is wrong with it."""
    stamp = stamp_of(certificate, key)  # before the reading: what changes meanwhile is read again
    pem, key_pem = _read(CERTIFICATE, certificate), _read(KEY, key)
    try:
        sha256, facts = certificate_hash(pem), read_facts(certificate)
    except (ValueError, OSError) as error:
        raise _bad(CERTIFICATE, f"{certificate} does not begin with a PEM certificate") from error
    if has_expired(facts, now):
        raise _bad(CERTIFICATE, f"{certificate} ran out on {facts.not_after:%Y-%m-%d}; renew it")
    if b"PRIVATE KEY-----" not in key_pem:
        raise _bad(KEY, f"{key} holds no PEM private key")
    if b"ENCRYPTED" in key_pem:
        raise _bad(KEY, f"{key} is encrypted; store it without a passphrase: `openssl pkey -in {key.name} -out NEW`")
    try:
        _new_context().load_cert_chain(certificate, key, password="")  # else OpenSSL asks on the terminal
    except ssl.SSLError as error:
        if error.reason in _MISMATCHES:
            raise _bad(KEY, f"{key} is not the key of {certificate}") from error
        raise _bad(KEY, f"{key} with {certificate}: OpenSSL refuses them ({error.reason or 'malformed'})") from error
    except OSError as error:
        raise _bad(KEY, f"cannot read {key}: {error.strerror}") from error
    mode = stat.S_IMODE(key.stat().st_mode)
    if mode & 0o070:  # what everybody may read is told in `status` too
        log.warning("%s: the group of %s can read it (mode %o)", KEY, key, mode)
    return TlsIdentity(path=certificate, sha256=sha256, facts=facts, key=key, key_mode=mode, stamp=stamp)


def stamp_of(*paths: Path) -> Stamp:
    """What differs after a file was written, replaced or given another mode; links are followed."""
    stamps = []
    for path in paths:
        try:
            found = path.stat()
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode))
        except (OSError, ValueError):
            stamps.append((0, 0, 0, 0))
    return tuple(stamps)


def _new_context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _bad(setting: str, why: str) -> MeshError:
    return MeshError("bad_config", f"{setting}: {why}")


def _read(setting: str, path: Path) -> bytes:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > PEM_MAX_BYTES:  # a pipe would never end
            raise _bad(setting, f"{path} is no PEM file")
        return path.read_bytes()
    except OSError as error:
        raise _bad(setting, f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise _bad(setting, f"cannot read {str(path)!r}: {error}") from error
