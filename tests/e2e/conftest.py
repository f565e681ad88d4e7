"""The `lab` fixture: three hosts on one network, fresh for each test."""

import os
from collections.abc import Iterator

import pytest

from tests.e2e.lab import Lab, refusal


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
