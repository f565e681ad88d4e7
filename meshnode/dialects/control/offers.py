"""Offers on the owner's API: open, watch, list, cancel, whatever their dialect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from meshnode.dialects.control.codec import DECODERS, OpenOffer
from meshnode.dialects.qr_code import encode_qr_svg
from meshnode.domain.device_code import DeviceCode
from meshnode.domain.errors import MeshError, invalid
from meshnode.domain.pairing import Offer, OfferState
from meshnode.domain.principal import Action, ListenerName
from meshnode.domain.timestamps import format_time, parse_time
from meshnode.domain.untrusted_text import clean_text
from meshnode.node.expiries import Expiries
from meshnode.node.use_cases import UseCases
from meshnode.transport.http_server import Call, Route

BOTH: Final[frozenset[ListenerName]] = frozenset({"public", "control"})
PATH: Final = "/api/v1/pairing/offers"


def offer_routes(use: UseCases) -> Sequence[Route]:
    """The routes of offers."""

    async def opened(call: Call) -> dict[str, Any]:
        body: OpenOffer = call.body
        if body.dialect != "mesh":
            if body.dialect not in use.openers:
                there_are = ", ".join(("mesh", *use.openers))
                raise invalid(
                    "dialect",
                    f"{clean_text(body.dialect)!r} opens no offers here; {there_are} do "
                    "(a device that asks by itself: `meshnode requests list`)",
                )
            return await use.openers[body.dialect](body.expires_in, call.principal.node_id)
        offer = await use.offers.open(body.expires_in or use.offer_s, call.principal.node_id)
        return {
            "offer_id": offer.offer.id,
            "code": str(UUID(bytes=offer.code)),
            "pin": offer.pin,
            "url": use.invite_url(offer.code, None),
            "expires_at": format_time(offer.offer.expires_at),
        }

    async def open_offer(call: Call) -> Any:
        offer = await opened(call)
        if not call.body.qr_svg:
            return offer
        text = qr_text(offer)
        ends_s = (parse_time(offer["expires_at"]) - use.clock.now()).total_seconds()
        return {
            **offer,
            "expires_in": max(0.0, round(ends_s, 1)),  # the page's clock may be another
            "qr_svg": None if text is None else encode_qr_svg(text),
        }

    def expires_in(offer: Offer | DeviceCode) -> float:
        return max(0.0, round(_expiries(use, offer).left_s(offer), 1)) if offer.state is OfferState.OPEN else 0.0

    def state_of(offer: Offer | DeviceCode) -> str:
        is_over = offer.state is OfferState.OPEN and _expiries(use, offer).is_over(offer)
        return (OfferState.EXPIRED if is_over else offer.state).value

    def describe(offer: Offer | DeviceCode, activity: dict[str, Any]) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "offer_id": offer.id,
            "dialect": offer.dialect if isinstance(offer, DeviceCode) else "mesh",
            "state": state_of(offer),
            "expires_at": format_time(offer.expires_at),
            "expires_in": expires_in(offer),
        }
        if isinstance(offer, DeviceCode):
            shown["attempts"] = offer.attempts
        else:
            shown |= {"pin_attempts": offer.pin_attempts, "invite_attempts": offer.invite_attempts}
        return {**shown, "activity": activity}

    async def watch_offer(call: Call) -> Any:
        offer_id = call.request.match_info["offer_id"]
        known = use.codes.watched(offer_id)
        if known is not None and known.code.kind == "offer":
            return describe(known.code, known.activity)
        live = use.offers.watched(offer_id)
        if live is None:
            raise MeshError("offer_closed", "that offer is over")
        return describe(live.offer, live.activity)

    async def list_offers(_: Call) -> Any:
        live = use.offers.current
        offers = [] if live is None else [describe(live.offer, live.activity)]
        offers += [describe(known.code, known.activity) for known in use.codes.open_offers()]
        return {"offers": [offer for offer in offers if offer["state"] == OfferState.OPEN.value]}

    async def cancel_offer(call: Call) -> Any:
        offer_id = call.request.match_info["offer_id"]
        known = use.codes.watched(offer_id)
        if known is not None and known.code.kind == "offer":
            return {"cancelled": await use.codes.cancel(offer_id)}
        return {"cancelled": await use.offers.cancel(offer_id)}

    async def cancel_any_offer(_: Call) -> Any:
        of_mesh, of_others = await use.offers.cancel(None), await use.codes.cancel_all()
        return {"cancelled": of_mesh or of_others}

    def route(method: str, path: str, answer: Any, body: Any = None) -> Route:
        return Route(
            method=method, path=PATH + path, action=Action.OPEN_OFFER, answer=answer, body=body, listeners=BOTH
        )

    return (
        route("POST", "", open_offer, DECODERS[OpenOffer]),
        route("GET", "", list_offers),
        route("DELETE", "", cancel_any_offer),
        route("GET", "/{offer_id}", watch_offer),
        route("DELETE", "/{offer_id}", cancel_offer),
    )


def qr_text(offer: dict[str, Any]) -> str | None:
    """What the QR code of an offer says; None for one that is typed only."""
    if "qr" in offer:
        return json.dumps(offer["qr"], separators=(",", ":"))
    return offer.get("url")


def _expiries(use: UseCases, offer: Offer | DeviceCode) -> Expiries:
    return (use.codes if isinstance(offer, DeviceCode) else use.offers).expiries
