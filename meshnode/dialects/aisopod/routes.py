"""aisopod on our wire: decode, call a use case, encode."""

from __future__ import annotations

from meshnode.dialects.aisopod.settings import AisopodSettings
from meshnode.dialects.contract import Wire
from meshnode.node.use_cases import UseCases


def serve_aisopod(use: UseCases, settings: AisopodSettings) -> Wire:
    """What aisopod serves."""
    return Wire()
