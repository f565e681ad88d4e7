"""What a person is told about the platform: a refusal on Windows itself, advice where meshnode needs help."""

from __future__ import annotations

import subprocess
import sys

import pytest

from meshnode.cli.platforms import advice, refusal

ON_WINDOWS = "import sys; from meshnode.cli.main import main; sys.platform = 'win32'; main()"


@pytest.mark.parametrize("arguments", [["run"], ["status"], ["--help"], []])
def test_windows_itself_is_refused_in_a_sentence(arguments: list[str]) -> None:
    """Every command ends with 78 and says where it does run."""
    done = subprocess.run([sys.executable, "-c", ON_WINDOWS, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (78, "")
    assert "Run it inside WSL2" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("platform", ["linux", "darwin", "android", "freebsd14"])
def test_nothing_else_is_refused(platform: str) -> None:
    """Where it may work, it tries."""
    assert refusal(platform) is None


@pytest.mark.parametrize(
    ("platform", "release", "is_android", "word"),
    [
        ("android", "5.10", True, "termux-wake-lock"),
        ("linux", "5.10", True, "termux-wake-lock"),
        ("darwin", "24.1.0", False, "launchd"),
        ("linux", "5.15.153.1-microsoft-standard-WSL2", False, "mirrored"),
    ],
)
def test_the_start_says_what_the_platform_needs(platform: str, release: str, is_android: bool, word: str) -> None:
    """One sentence, where one is due."""
    said = advice(platform, release, is_android=is_android)
    assert said is not None
    assert word in said


def test_plain_linux_is_told_nothing() -> None:
    """Where all is tested there is nothing to say."""
    assert advice("linux", "6.1.0-37-amd64", is_android=False) is None
