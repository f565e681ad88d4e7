"""End what a restored database holds open: it may have been used, cancelled or revoked since the backup was made."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from meshnode.domain.pairing import OfferState
from meshnode.node.tables import Transaction


async def end_restored(tx: Transaction, now: datetime) -> None:
    """Close every offer, code and request, and revoke every token. Before any of them is read into memory."""
    offer = await tx.codes.open_offer("mesh")
    if offer is not None:
        await tx.codes.save_offer(replace(offer.offer, state=OfferState.CANCELLED))
    for stored in await tx.device_codes.open():
        await tx.device_codes.save(replace(stored.code, state=OfferState.CANCELLED))
    await tx.tokens.revoke_every(now)
