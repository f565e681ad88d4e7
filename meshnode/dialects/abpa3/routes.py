"""abpa3 on our wire: decode, call a use case, encode."""

from __future__ import annotations

from meshnode.dialects.abpa3.settings import Abpa3Settings
from meshnode.dialects.contract import Wire
from meshnode.node.use_cases import UseCases


def serve_abpa3(use: UseCases, settings: Abpa3Settings) -> Wire:
    """What abpa3 serves."""
    return Wire()
