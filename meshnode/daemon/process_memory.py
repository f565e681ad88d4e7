"""Keep the process small: what a start leaves behind, and what threads would take for themselves."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

_ARENA_MAX: Final = -8  # M_ARENA_MAX of malloc.h


def share_one_arena() -> None:
    """Before the first thread: glibc would give each a heap of its own, which nothing but SQLite would use."""
    with suppress(OSError, AttributeError):  # glibc only
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def settle_memory() -> None:
    """Collect what the start left; what it made lives as long as the process, so never look through it again."""
    gc.collect()
    gc.freeze()
    gc.enable()
    with suppress(OSError, AttributeError):  # glibc only: give back what the imports freed
        ctypes.CDLL(None).malloc_trim(0)
