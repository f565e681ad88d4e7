"""mylzip on our wire: decode, call a use case, encode."""

from __future__ import annotations

from meshnode.dialects.contract import Wire
from meshnode.dialects.mylzip.settings import MylzipSettings
from meshnode.node.use_cases import UseCases


def serve_mylzip(use: UseCases, settings: MylzipSettings) -> Wire:
    """What mylzip serves."""
    return Wire()
