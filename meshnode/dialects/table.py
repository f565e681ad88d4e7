"""The dialects we speak. Adding one = a folder and a row (and a section of the configuration, if it has settings)."""

from __future__ import annotations

from typing import Final

from meshnode.dialects.abpa3.routes import serve_abpa3
from meshnode.dialects.aisopod.routes import serve_aisopod
from meshnode.dialects.contract import Dialect
from meshnode.dialects.control.routes import serve_control
from meshnode.dialects.mesh.routes import serve_mesh
from meshnode.dialects.mylzip.routes import serve_mylzip
from meshnode.dialects.salita.routes import serve_salita

DIALECTS: Final = (
    Dialect(name="mesh", serve=serve_mesh, can_be_switched_off=False),
    Dialect(name="control", serve=serve_control, can_be_switched_off=False),
    Dialect(name="salita", serve=serve_salita),
    Dialect(name="aisopod", serve=serve_aisopod),
    Dialect(name="mylzip", serve=serve_mylzip),
    Dialect(name="abpa3", serve=serve_abpa3),
)
