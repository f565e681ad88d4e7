"""Which certificate a new connection gets, and how long a former one is remembered."""

from pathlib import Path

import pytest

from meshnode.transport.tls_listener import TlsContexts
from tests.fakes.own_certificate import OwnFiles, make_pems, write_own


def swap(contexts: TlsContexts, files: OwnFiles) -> None:
    contexts.swap(files.certificate, files.sha256, files.key)


def test_former_contexts_are_forgotten_with_their_connections(tmp_path: Path) -> None:
    """A node that runs for years renews often."""
    files = write_own(tmp_path)
    contexts = TlsContexts(files.certificate, files.sha256, files.key)
    in_use = contexts.current
    for _ in range(4):
        files = write_own(tmp_path)
        swap(contexts, files)
        assert contexts.sha256 == files.sha256
    assert len(contexts._hashes) == 2
    assert contexts.current is not in_use
    del in_use
    assert len(contexts._hashes) == 1


def test_what_cannot_be_loaded_leaves_the_former(tmp_path: Path) -> None:
    """Another key, or a file that was replaced between reading and loading."""
    files = write_own(tmp_path)
    contexts = TlsContexts(files.certificate, files.sha256, files.key)
    before = contexts.current
    files.key.write_bytes(make_pems()[1])
    with pytest.raises(OSError, match="KEY_VALUES_MISMATCH"):
        swap(contexts, files)
    other = write_own(tmp_path)
    with pytest.raises(OSError, match="changed while it was read"):
        swap(contexts, files)
    assert (contexts.current, contexts.sha256) == (before, files.sha256)
    swap(contexts, other)
    assert contexts.sha256 == other.sha256
