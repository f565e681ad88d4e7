"""The table of failures."""

import ast
from pathlib import Path

import pytest

from meshnode.domain.errors import CODES, NEVER_SENT, MeshError, invalid

PACKAGE = Path(__file__).parents[3] / "meshnode"


def raised_codes() -> dict[str, str]:
    """Every literal first argument of `MeshError(...)` in the package, and where it stands."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MeshError" and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant):
                    found[str(code.value)] = f"{path.name}:{node.lineno}"
    return found


def test_every_code_that_is_raised_is_in_the_table() -> None:
    """Else it would be a 500 without advice."""
    raised = raised_codes()
    assert len(raised) > 20
    assert {code: place for code, place in raised.items() if code not in CODES} == {}


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_status_an_exit_code_and_a_next_step(code: str) -> None:
    """Within what HTTP and sysexits know."""
    error = MeshError(code, "why")
    assert 400 <= error.status <= 599
    assert error.exit_code in {1, 2, 69, 75, 77, 78}
    assert error.next_step


def test_what_is_never_sent_is_in_the_table() -> None:
    """A misspelt name there would let a peer's lie through."""
    assert set(CODES) >= NEVER_SENT


def test_an_unknown_code_is_an_internal_error() -> None:
    """Never an exception while refusing."""
    error = MeshError("from_the_future", "why")
    assert (error.status, error.exit_code, error.next_step) == (500, 1, "")


def test_an_error_carries_what_the_answer_needs() -> None:
    """Detail as its text, members, seconds to wait."""
    error = MeshError("bad_pin", "wrong", retry_after_s=3, attempts_left=2)
    assert (str(error), error.retry_after_s, error.members) == ("wrong", 3, {"attempts_left": 2})
    assert invalid("pin", "six digits").members == {"field": "pin"}
