"""Requests that wait for the owner: seen at once, told apart, decided one by one."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.apps import WaitingApp
from tests.browser.pages import Pages
from tests.browser.steps import AT_ONCE_MS, content, go, rows, seen
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHER_ID = "0a7d33a4-52f4-4f0e-8f5c-7c1f4f6f5d20"


async def test_a_request_is_approved_from_the_dashboard(pages: Pages, node: Machine, network: Lab) -> None:
    """It comes up by itself with name, type, address and code; approving gives exactly that app its token."""
    dashboard = await pages.dashboard(node)
    await expect(content(dashboard).get_by_role("heading", name="Nodes", level=1)).to_be_visible()
    with WaitingApp(network, "phone", "Mina’s iPhone") as app:
        await seen(content(dashboard).get_by_text("A device asks to pair."), AT_ONCE_MS)
        await go(dashboard, "Requests")
        for fact in ("Mina’s iPhone", "iPhone or iPad", network.address("phone"), app.code):
            await expect(content(dashboard)).to_contain_text(fact)
        await expect(dashboard).to_have_title("(1) Requests · kitchen · meshnode")
        await content(dashboard).get_by_role("button", name=f"Approve Mina’s iPhone, code {app.code}").click()
        assert app.token()
        await go(dashboard, "Nodes")
        await seen(rows(dashboard).get_by_role("link", name="Mina’s iPhone"), AT_ONCE_MS)
    assert len(node.rows("id")) == 2


@pytest.mark.parametrize("chosen", [0, 1])
async def test_of_two_with_the_same_name_the_right_one(pages: Pages, node: Machine, network: Lab, chosen: int) -> None:
    """Told apart by the code on the device's screen; the other gets nothing."""
    dashboard = await pages.dashboard(node)
    await go(dashboard, "Requests")
    with WaitingApp(network, "phone", "Phone") as one, WaitingApp(network, "other", "Phone", OTHER_ID) as two:
        right, other = (one, two) if chosen == 0 else (two, one)
        await expect(content(dashboard).get_by_role("button", name="Approve Phone")).to_have_count(2)
        await content(dashboard).get_by_role("button", name=f"Approve Phone, code {right.code}").click()
        assert right.token()
        assert other.refusal() == "approval_pending"
        await content(dashboard).get_by_role("button", name=f"Reject Phone, code {other.code}").click()
        await empty(dashboard)
        assert other.refusal() != "approval_pending"
    assert sorted(node.rows("id, trust")) == sorted([(node.id, "self"), (right.device_id, "paired")])


async def test_two_that_claim_one_id_are_marked(pages: Pages, node: Machine, network: Lab) -> None:
    """Both say that one of them is somebody else; approving one rejects the other."""
    dashboard = await pages.dashboard(node)
    await go(dashboard, "Requests")
    with WaitingApp(network, "phone", "Phone") as one, WaitingApp(network, "other", "Phone") as two:
        await expect(content(dashboard).get_by_text("One of the two is somebody else")).to_have_count(2)
        await content(dashboard).get_by_role("button", name=f"Approve Phone, code {two.code}").click()
        assert two.token()
        await empty(dashboard)
        assert one.refusal() != "approval_pending"


async def empty(dashboard: Page) -> None:
    """No request is left to decide."""
    await expect(content(dashboard).get_by_role("button", name="Approve")).to_have_count(0)
