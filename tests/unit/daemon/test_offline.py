"""Who a data directory belongs to: the identity rules, with the files left as they were found."""

import json
import stat
from pathlib import Path

import pytest

from meshnode.daemon.offline import DATABASE_FILE, open_data_directory
from meshnode.domain.base64url import encode_base64url
from meshnode.domain.errors import MeshError
from meshnode.domain.identity import is_node_id
from meshnode.store.data_lock import DataLock
from meshnode.store.identity_file import IDENTITY_FILE
from tests.fakes.clock import START, ManualClock, SeededEntropy
from tests.unit.daemon.directories import opened, own_rows, put_identity, put_row
from tests.unit.samples import ID, KEY, OTHER_ID, OTHER_KEY

KEYLESS = {"id": ID, "name": "salita desk", "created_at": "2025-01-02T03:04:05.000006Z"}
WHOLE = {**KEYLESS, "private_key": encode_base64url(KEY.private_bytes)}


def refused(path: Path, code: str = "bad_identity") -> str:
    """Refused with exit 78, the identity file byte for byte as before, and the lock let go."""
    file = path / IDENTITY_FILE
    before = file.read_bytes() if file.exists() else None
    with pytest.raises(MeshError) as caught:
        opened(path)
    assert (caught.value.code, caught.value.exit_code) == (code, 78)
    assert (file.read_bytes() if file.exists() else None) == before
    DataLock(path).release()
    return caught.value.detail


def test_a_fresh_directory_gets_a_new_identity(path: Path) -> None:
    """Private to us, and the same at the next start."""
    first = opened(path)
    assert first.is_new
    assert is_node_id(first.identity.id)
    assert first.identity.created_at == START
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / IDENTITY_FILE).stat().st_mode) == 0o600
    content = (path / IDENTITY_FILE).read_bytes()
    second = opened(path)
    assert not second.is_new
    assert second.identity == first.identity
    assert (path / IDENTITY_FILE).read_bytes() == content


def test_an_open_directory_is_narrowed(path: Path) -> None:
    """Mode 0700."""
    path.mkdir(mode=0o755)
    opened(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_keyless_file_is_adopted_where_nobody_knows_another_key(path: Path) -> None:
    """The key is added; id, name and birth are kept; the next start finds the same key."""
    put_identity(path, KEYLESS)
    data = opened(path)
    assert (data.identity.id, data.identity.name) == (ID, "salita desk")
    written = json.loads((path / IDENTITY_FILE).read_bytes())
    assert {name: written[name] for name in KEYLESS} == KEYLESS
    assert opened(path).identity.public_key == data.identity.public_key


def test_adopting_drops_the_former_own_row(path: Path) -> None:
    """Salita's file moved in beside a fresh database of ours."""
    put_row(path, OTHER_ID, OTHER_KEY.public_key, own=True)
    put_identity(path, KEYLESS)
    assert opened(path).identity.id == ID
    assert own_rows(path) == []


def test_adopting_over_its_own_keyless_row_is_allowed(path: Path) -> None:
    """A start that was cut before the key was written."""
    put_row(path, ID, None, own=True)
    put_identity(path, KEYLESS)
    assert opened(path).identity.id == ID


@pytest.mark.parametrize(
    ("node_id", "key", "own"),
    [(ID, KEY.public_key, True), (OTHER_ID, OTHER_KEY.public_key, False), (OTHER_ID, None, False)],
    ids=["its own key is known", "a peer", "a thin client"],
)
def test_a_keyless_file_is_refused_where_a_key_may_be_known(path: Path, node_id: str, key: bytes, own: bool) -> None:
    """Somebody cut the key out, or put an old file back."""
    put_row(path, node_id, key, own=own)
    put_identity(path, KEYLESS)
    assert IDENTITY_FILE in refused(path)


def test_a_missing_file_beside_a_database_with_an_identity_is_refused(path: Path) -> None:
    """Never regenerated."""
    put_row(path, ID, KEY.public_key, own=True)
    assert ID in refused(path)
    assert not (path / IDENTITY_FILE).exists()


@pytest.mark.parametrize(
    ("node_id", "key"), [(OTHER_ID, KEY.public_key), (ID, OTHER_KEY.public_key), (OTHER_ID, OTHER_KEY.public_key)]
)
def test_a_file_that_is_not_the_databases_is_refused(path: Path, node_id: str, key: bytes) -> None:
    """Another id, another key, or both."""
    put_row(path, node_id, key, own=True)
    put_identity(path, WHOLE)
    assert "belong together" in refused(path)


def test_a_file_that_is_the_databases_opens(path: Path) -> None:
    """With peers and all."""
    put_row(path, ID, KEY.public_key, own=True)
    put_row(path, OTHER_ID, OTHER_KEY.public_key, own=False)
    put_identity(path, WHOLE)
    data = opened(path)
    assert (data.identity.id, data.identity.public_key, data.is_new) == (ID, KEY.public_key, False)


@pytest.mark.parametrize("content", [b"", b"{", json.dumps(WHOLE).encode()[:-40], b"\x00" * 300])
def test_a_damaged_file_is_refused_with_and_without_a_database(path: Path, content: bytes) -> None:
    """And nothing else is made of it."""
    put_identity(path, content)
    refused(path)
    put_identity(path, WHOLE)
    opened(path)
    put_identity(path, content)
    refused(path)


@pytest.mark.parametrize("content", [b"no database" * 500, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_damaged_database_is_refused_untouched(path: Path, content: bytes) -> None:
    """The identity beside it stays too."""
    put_identity(path, WHOLE)
    (path / DATABASE_FILE).write_bytes(content)
    refused(path, "bad_database")
    assert (path / DATABASE_FILE).read_bytes() == content


def test_only_one_daemon_opens_a_directory(path: Path) -> None:
    """Exit 75."""
    data = open_data_directory(path, ManualClock(), SeededEntropy())
    with pytest.raises(MeshError) as caught:
        opened(path)
    assert (caught.value.code, caught.value.exit_code) == ("identity_locked", 75)
    data.close()
    assert opened(path).identity == data.identity


def test_a_path_that_can_be_no_directory_is_a_configuration_error(path: Path) -> None:
    """Exit 78, naming it."""
    path.write_text("a file")
    with pytest.raises(MeshError, match=str(path)) as caught:
        opened(path)
    assert caught.value.code == "bad_config"
