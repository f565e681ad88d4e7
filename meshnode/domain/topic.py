"""Topics of events: how they are written, what a pattern covers, and who may read and publish them."""

from __future__ import annotations

import re
from typing import Final

from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.principal import Principal

TOPIC_MAX: Final = 128  # characters
TOPICS_MAX: Final = 64  # patterns a socket may hold
APP: Final = "app."
MESH: Final = "mesh."
PAIRED: Final = 1  # levels of `Principal`
OPERATOR: Final = 2
_PATTERN: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?:\.\*)?")


def parse_pattern(field: str, text: str) -> str:
    """A topic, or with `.*` at its end all topics below it. Raises `invalid_params` naming the field."""
    if len(text) > TOPIC_MAX or _PATTERN.fullmatch(text) is None:
        raise invalid(field, f"a topic is at most {TOPIC_MAX} of a-z, 0-9, _ and -, in parts set apart by dots")
    if not text.startswith((APP, MESH)):
        raise invalid(field, "topics begin with `app.` or `mesh.`")
    return text


def parse_app_topic(field: str, text: str) -> str:
    """A topic that others than the node may publish. Raises `invalid_params` or `not_permitted`."""
    parse_pattern(field, text)
    if text.endswith(".*"):
        raise invalid(field, "an event has one topic")
    if not text.startswith(APP):
        raise MeshError("not_permitted", "only the node itself publishes mesh topics")
    return text


def level_to_read(pattern: str) -> int:
    """The trust level that may read all that `pattern` covers."""
    return PAIRED if pattern.startswith((APP, "mesh.node.")) else OPERATOR


def check_reader(principal: Principal, pattern: str) -> None:
    """Return if the caller may read all that `pattern` covers. Raises `not_permitted`."""
    if principal.level < level_to_read(pattern):
        raise MeshError("not_permitted", f"{pattern} is not readable at trust level {principal.level}")


def patterns_of(topic: str) -> list[str]:
    """Every pattern that covers a topic: itself, and one for each topic above it."""
    parts = topic.split(".")
    return [topic, *(".".join(parts[:end]) + ".*" for end in range(1, len(parts)))]
