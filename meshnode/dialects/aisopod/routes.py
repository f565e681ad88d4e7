"""aisopod on our socket: its methods, and the sweep that ends what nobody decided."""

from __future__ import annotations

import logging

from meshnode.dialects.aisopod.codec import DIALECT
from meshnode.dialects.aisopod.methods import AskingSockets, aisopod_methods
from meshnode.dialects.aisopod.settings import AisopodSettings
from meshnode.dialects.contract import Service, Wire
from meshnode.node.use_cases import UseCases

log = logging.getLogger(__name__)


def serve_aisopod(use: UseCases, settings: AisopodSettings) -> Wire:
    """What aisopod serves."""
    asking = AskingSockets()
    use.bus.react(asking.react)
    if not settings.require_approval:
        warning = "aisopod.require_approval is off: any device on the local network pairs itself, nobody is asked"
        log.warning(warning)
        use.status.degrade("approval_off", warning)

    async def sweep() -> None:
        await use.codes.expire("request", DIALECT)
        use.counters.sweeps[DIALECT] += 1

    service = Service(name="aisopod sweep", interval_s=settings.pairing_cleanup_interval, work=sweep)
    return Wire(methods=aisopod_methods(use, settings, asking), services=(service,))
