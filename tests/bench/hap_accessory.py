"""A HomeKit accessory (HAP-python) that waits to be paired. Runs in an environment of its own."""

import logging
import sys
from typing import Any

import pyhap.accessory
import pyhap.accessory_driver
import pyhap.const

PIN = b"031-45-154"


class Lamp(pyhap.accessory.Accessory):  # type: ignore[misc]
    """The least that can be paired."""

    category = pyhap.const.CATEGORY_LIGHTBULB

    def __init__(self, driver: Any, name: str) -> None:
        super().__init__(driver, name)
        self.add_preload_service("Lightbulb")

    def setup_message(self) -> None:
        """Nobody reads it here."""


logging.disable(logging.CRITICAL)
made = pyhap.accessory_driver.AccessoryDriver(
    address="127.0.0.1", port=int(sys.argv[1]), persist_file=sys.argv[2], pincode=PIN
)
made.add_accessory(Lamp(made, "Lamp"))
made.start()
