"""End what a restored database holds open: it may have been used, cancelled or revoked since the backup was made."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from meshnode.domain.pairing import OfferState
from meshnode.node.tables import Transaction


async def end_restored(tx: Transaction, now: datetime) -> None:
    """Close every offer, code and request, and revoke every token. Before any of them is read into memory."""
    await end_offer(tx)
    for stored in await tx.device_codes.open():
        await tx.device_codes.save(replace(stored.code, state=OfferState.CANCELLED))
    await tx.tokens.revoke_every(now)


async def end_offer(tx: Transaction) -> bool:
    """Close the open offer, as `end_restored` does, or since its invite names another certificate; if there was one."""
    stored = await tx.codes.open_offer("mesh")
    if stored is None:
        return False
    await tx.codes.save_offer(replace(stored.offer, state=OfferState.CANCELLED))
    return True
