"""A network with a node, a phone and another machine, a browser on each, and pages that are watched.

Network and browsers live as long as the session; each test has its own nodes, contexts and storage.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from tests.browser.chromium import Browsers, missing
from tests.browser.pages import Pages
from tests.browser.steps import SOON_MS
from tests.e2e.lab import Lab
from tests.e2e.machine import Machine

HOSTS = ("node", "phone", "other")


@pytest.fixture(scope="session")
def network() -> Iterator[Lab]:
    """Three hosts on one switch. Skipped where something is missing, failed there when CI=true."""
    why = missing()
    if why and os.environ.get("CI") == "true":
        pytest.fail(why)
    if why:
        pytest.skip(why)
    with Lab(HOSTS) as lab:
        yield lab


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browsers(network: Lab, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browsers]:
    """Chromium on every host, started when first used."""
    expect.set_options(timeout=SOON_MS)
    async with async_playwright() as playwright:
        running = Browsers(playwright, network, tmp_path_factory.mktemp("chromium"))
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pages(browsers: Browsers, machines: Callable[..., Machine]) -> AsyncIterator[Pages]:
    """Opens pages, and fails the test at its end for what any of them did wrong; ends before the machines do."""
    opened = Pages(browsers)
    yield opened
    await opened.close()
    assert opened.faults() == []


@pytest.fixture
def machines(network: Lab, tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """A machine by host and name, not yet started, ended after the test."""
    made: list[Machine] = []

    def make(host: str, name: str = "", *flags: str) -> Machine:
        folder = tmp_path / f"{len(made)}"
        made.append(Machine.in_lab(network, host, folder, name=name or f"{host}-host", flags=flags))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


@pytest.fixture
def node(machines: Callable[..., Machine]) -> Machine:
    """The node whose dashboard is looked at, running; it looks for no others by itself."""
    return machines("node", "kitchen", "--no-mdns").start()
