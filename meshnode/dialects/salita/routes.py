"""salita on our wire: decode, call a use case, encode."""

from __future__ import annotations

from meshnode.dialects.contract import Wire
from meshnode.dialects.salita.settings import SalitaSettings
from meshnode.node.use_cases import UseCases


def serve_salita(use: UseCases, settings: SalitaSettings) -> Wire:
    """What salita serves."""
    return Wire()
