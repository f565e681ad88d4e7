"""`[tls]`: from file and environment, both or neither, whole paths."""

from pathlib import Path

import pytest

from meshnode.config import load_config
from meshnode.domain.errors import MeshError


def load(file: Path, **environment: str) -> tuple[str | None, str | None]:
    found = load_config({}, {"MESHNODE_CONFIG": str(file), **environment}).config.tls
    return found.certificate, found.key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch()
    return path


def test_without_it_the_node_makes_its_own(file: Path) -> None:
    """Neither is set."""
    assert load(file) == (None, None)


def test_file_and_environment_say_where(file: Path) -> None:
    """The environment wins."""
    file.write_text('[tls]\ncertificate = "/a/c.pem"\nkey = "~/k.pem"\n')
    assert load(file) == ("/a/c.pem", "~/k.pem")
    assert load(file, MESHNODE_TLS__KEY="/b/k.pem") == ("/a/c.pem", "/b/k.pem")
    file.write_text("")
    both = {"MESHNODE_TLS__CERTIFICATE": "/e/c.pem", "MESHNODE_TLS__KEY": "/e/k.pem"}
    assert load(file, **both) == ("/e/c.pem", "/e/k.pem")


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MESHNODE_TLS__CERTIFICATE": "/c"}, "tls.key: is missing; it goes with tls.certificate"),
        ({"MESHNODE_TLS__KEY": "/k"}, "tls.certificate: is missing; it goes with tls.key"),
        ({"MESHNODE_TLS__CERTIFICATE": "c.pem", "MESHNODE_TLS__KEY": "/k"}, "tls.certificate: must be an absolute"),
        ({"MESHNODE_TLS__CERTIFICATE": "/c", "MESHNODE_TLS__KEY": "./k"}, "tls.key: must be an absolute"),
        ({"MESHNODE_TLS__CERTIFICATE": "/c", "MESHNODE_TLS__KEY": "~nobody-of-that-name/k"}, "tls.key: must be"),
        ({"MESHNODE_TLS__CERTIFICATE": "/c", "MESHNODE_TLS__KEY": ""}, "tls.key: "),
    ],
)
def test_half_a_pair_or_half_a_path_is_named(file: Path, environment: dict[str, str], named: str) -> None:
    """Exit 78."""
    with pytest.raises(MeshError) as caught:
        load(file, **environment)
    assert caught.value.detail.startswith(named)
    assert caught.value.exit_code == 78


def test_another_key_in_the_section_is_refused(file: Path) -> None:
    """As in every section."""
    file.write_text('[tls]\ncert = "/a"\n')
    with pytest.raises(MeshError, match="cert"):
        load(file)
