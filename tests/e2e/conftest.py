"""The `lab` fixture: three hosts on one network, fresh for each test; `machine` makes nodes on this host."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.lab import Lab, refusal
from tests.e2e.machine import Machine


@pytest.fixture(scope="session")
def lab_refusal() -> str | None:
    """Why this machine gives no lab, asked once."""
    return refusal()


@pytest.fixture
def lab(lab_refusal: str | None) -> Iterator[Lab]:
    """Hosts a, b, c. Skipped where the kernel or the rights are missing; failed there when CI=true."""
    if lab_refusal and os.environ.get("CI") == "true":
        pytest.fail(f"no network lab: {lab_refusal}")
    if lab_refusal:
        pytest.skip(f"no network lab: {lab_refusal}")
    with Lab() as lab:
        yield lab


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[[str], Machine]]:
    """Machines by name, on loopback, not yet started; ended after the test."""
    made: list[Machine] = []

    def make(name: str) -> Machine:
        made.append(Machine(tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def hosts(lab: Lab, tmp_path: Path) -> Iterator[dict[str, Machine]]:
    """The lab's machines by host, not yet started, ended after the test."""
    machines = {host: Machine.in_lab(lab, host, tmp_path) for host in lab.hosts}
    yield machines
    for one in machines.values():
        one.close()
