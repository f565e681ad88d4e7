"""The dialects we speak. Adding one = a folder and a row."""

from __future__ import annotations

from typing import Final

from meshnode.dialects.contract import Dialect
from meshnode.dialects.control.routes import control_routes
from meshnode.dialects.mesh.routes import mesh_routes

DIALECTS: Final = (
    Dialect(name="mesh", routes=mesh_routes, can_be_switched_off=False),
    Dialect(name="control", routes=control_routes, can_be_switched_off=False),
)
