"""`tls.pem`: the certificate and its key in one file, so that the two can't come apart."""

from __future__ import annotations

import logging
import ssl
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from meshnode.crypto.certificate import certificate_hash, make_certificate
from meshnode.store.atomic_file import set_aside, write_private

TLS_FILE: Final = "tls.pem"

log = logging.getLogger(__name__)


class TlsIdentity(msgspec.Struct, frozen=True):
    """A certificate ready to serve: the file with it and its key, and SHA-256 of its DER."""

    path: Path
    sha256: bytes


def load_or_make_tls(directory: Path, node_id: str, now: datetime) -> TlsIdentity:
    """The node's certificate, made on the first start.

    A damaged file is set aside and replaced: peers pin what the signed announcement says, so it may change.
    """
    path = directory / TLS_FILE
    try:
        pem = path.read_bytes()
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
        return TlsIdentity(path, certificate_hash(pem))
    except FileNotFoundError:
        pass
    except (ssl.SSLError, ValueError, UnicodeDecodeError) as error:
        log.warning("%s is damaged (%s); kept as %s, a new one is made", path, error, set_aside(path))
    certificate, key = make_certificate(node_id, now)
    write_private(path, key + certificate)
    return TlsIdentity(path, certificate_hash(certificate))
