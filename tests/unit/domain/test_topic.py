"""Topics: spelling, what a pattern covers, who may read and publish."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnode.domain.errors import MeshError
from meshnode.domain.principal import ANONYMOUS, OWNER, Principal, Role
from meshnode.domain.topic import TOPIC_MAX, check_reader, level_to_read, parse_app_topic, parse_pattern, patterns_of

LEVEL_1 = Principal(Role.DEVICE, "phone", 1)
LEVEL_2 = Principal(Role.PEER, "server", 2)


@pytest.mark.parametrize("text", ["app.x", "app.*", "mesh.*", "mesh.node.online", "app.a-b_c.0.*", "app." + "x" * 124])
def test_well_formed_patterns_are_taken_as_they_are(text: str) -> None:
    """Lower case, digits, dash, underscore, dots between, `.*` at the end."""
    assert parse_pattern("topics", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "app",
        "mesh",
        "app.",
        ".app.x",
        "app..x",
        "app.*.x",
        "app.x*",
        "App.x",
        "app.x\n",
        "app.é",
        "other.x",
        "app.x ",
        "app.**",
        "app." + "x" * 125,
    ],
)
def test_anything_else_is_refused_naming_the_field(text: str) -> None:
    """Too long a topic as well; nothing is tidied up."""
    with pytest.raises(MeshError) as refusal:
        parse_pattern("topics", text)
    assert refusal.value.code == "invalid_params"
    assert refusal.value.members == {"field": "topics"}


def test_a_pattern_covers_what_lies_below_it() -> None:
    """And not the topic it is named after, nor one that only begins alike."""
    assert patterns_of("app.a.b") == ["app.a.b", "app.*", "app.a.*"]
    assert "app.a.*" not in patterns_of("app.a")
    assert "app.a.*" not in patterns_of("app.ab.c")


@pytest.mark.parametrize(
    ("pattern", "level"),
    [
        ("app.x", 1), ("app.*", 1), ("mesh.node.online", 1), ("mesh.node.*", 1),
        ("mesh.*", 2), ("mesh.pairing.opened", 2), ("mesh.pairing.*", 2), ("mesh.database_restored", 2),
        ("mesh.node", 2), ("mesh.nodes.x", 2),
    ],
)  # fmt: skip
def test_who_may_read_what(pattern: str, level: int) -> None:
    """Applications' topics and those about nodes: any paired one; all else, and what covers it, an operator."""
    assert level_to_read(pattern) == level
    check_reader(OWNER, pattern)
    check_reader(LEVEL_2, pattern)
    if level == 1:
        check_reader(LEVEL_1, pattern)
    else:
        with pytest.raises(MeshError, match="not readable"):
            check_reader(LEVEL_1, pattern)
    with pytest.raises(MeshError, match="not readable"):
        check_reader(ANONYMOUS, pattern)


@given(st.lists(st.sampled_from(["node", "pairing", "app", "mesh", "x"]), min_size=1, max_size=4))
def test_no_pattern_covers_more_than_its_level_may_read(parts: list[str]) -> None:
    """Whoever may hold a pattern may read every topic it covers."""
    topic = ".".join(["mesh", *parts])
    for pattern in patterns_of(topic):
        assert level_to_read(pattern) >= level_to_read(topic)


@pytest.mark.parametrize(
    ("topic", "code"), [("mesh.node.paired", "not_permitted"), ("app.*", "invalid_params"), ("x", "invalid_params")]
)
def test_only_application_topics_can_be_published(topic: str, code: str) -> None:
    """One topic, not a pattern, and never one of the node's."""
    with pytest.raises(MeshError) as refusal:
        parse_app_topic("topic", topic)
    assert refusal.value.code == code
    assert parse_app_topic("topic", "app.voice.state") == "app.voice.state"
    assert len("app.voice.state") <= TOPIC_MAX
