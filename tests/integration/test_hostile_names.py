"""Names that would deceive a reader or a terminal: stored without what deceives, or refused."""

from __future__ import annotations

import pytest

from tests.fakes.joiner import Answer, Joiner
from tests.fakes.local_node import LocalNode


def _pair_named(host: LocalNode, name: str) -> tuple[Joiner, Answer]:
    joiner = Joiner(host.port, name=name)
    offer = host.offer()
    assert joiner.begin(offer.code).status == 200
    assert joiner.exchange(offer.pin).status == 200
    return joiner, joiner.finish()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("desk\x1b[2Jtop\x07", "desk[2Jtop"),
        ("\u202etxt.exe\u2066", "txt.exe"),
        ("a\r\nb\u2028c\u0085d", "a b c d"),
        ("x" * 256, "x" * 64),
        ("\u0000\u200b\u202e", None),
        ("\ud83d\ude00", None),
    ],
    ids=["escape", "bidi", "lines", "long", "nothing left", "lone surrogates"],
)
def test_a_name_is_stored_without_what_could_deceive(host: LocalNode, name: str, shown: str | None) -> None:
    """Controls, line breaks and bidi marks are stripped; a name of which nothing is left becomes the id."""
    joiner, answer = _pair_named(host, name)
    if answer.status != 200:
        assert (answer.code, host.trust(joiner.id)) == ("invalid_params", None)
        return
    assert joiner.ack().status == 200
    stored = host.row(joiner.id)["name"]
    assert stored == (shown if shown is not None else stored)
    assert stored.isprintable()


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_a_name_of_no_or_enormous_length_is_refused(host: LocalNode, name: str) -> None:
    """Refused in step 3, nothing stored."""
    joiner, answer = _pair_named(host, name)
    assert (answer.status, answer.code) == (400, "invalid_params")
    assert host.trust(joiner.id) is None
