"""Loops that numpy and torch have no word for, compiled once a machine.

Importing numba costs a fifth of a second beside torch: whoever needs a compiled loop imports its module where it is
called. None of them runs on several threads, so that they may be called in processes that were forked.
"""

from collections.abc import Callable
from typing import Any

import numba
from numba import types
from numba.extending import intrinsic


def compiled(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: ``numba.njit`` for these types only, when its module is imported; gives up the interpreter's lock.

    The machine code is kept beside the module or, where nothing may be written there, in the user's cache folder
    (elsewhere with $NUMBA_CACHE_DIR). Where it cannot be kept at all, each process compiles for itself. Functions that
    only compiled ones call are decorated with ``numba.njit`` alone.
    """

    def decorated(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(signature, cache=True, nogil=True)(function)
        except Exception:  # no folder can be written, its disk is full, or what lies in it is damaged
            return numba.njit(signature, nogil=True)(function)

    return decorated


@intrinsic
def fma(typing: Any, x: types.Type, y: types.Type, z: types.Type) -> Any:
    """x * y + z in float32, rounded once, as matrix products do it."""
    signature = types.float32(types.float32, types.float32, types.float32)
    return signature, lambda context, builder, _, arguments: builder.fma(*arguments)
