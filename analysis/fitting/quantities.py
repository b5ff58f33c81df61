"""What is asked of a fitted law: its parameters, formulas of them, any function of its coefficients."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecgscale.analysis.fitting.descent import SHARE
from ecgscale.analysis.fitting.laws import Law
from ecgscale.analysis.fitting.problem import Array, natural

Quantity = Callable[[Mapping[str, Any]], Any]  # of natural coefficients (floats or arrays, also complex)

STEP = 1e-30  # of the complex step: exact derivatives, there is no subtraction


@dataclass(frozen=True)
class Parameter:
    """A quantity that is one parameter of the law: a floor, an exponent, or the loss of a term at the centre."""

    name: str
    at_centre: Quantity | None = None

    def __call__(self, c: Mapping[str, Any]) -> Any:
        return c[self.name] if self.at_centre is None else self.at_centre(c)


@dataclass(frozen=True)
class Formula:
    """A quantity that is a compiled formula of two exponents u and v: ``kind`` SHARE or HARMONIC of ``descent``."""

    kind: int
    u: str
    v: str

    def __call__(self, c: Mapping[str, Any]) -> Any:
        u, v = c[self.u], c[self.v]
        return v / (u + v) if self.kind == SHARE else u * v / (u + v)


def value_and_gradient(law: Law, centre: Mapping[str, float], quantity: Quantity, theta: Array) -> tuple[Array, Array]:
    """A quantity and its gradient in theta, at theta [S, p], by complex steps."""
    p = theta.shape[1]
    steps = theta[:, None, :] + 1j * STEP * np.eye(p)
    found = np.asarray(quantity(natural(law, centre, steps)), complex)
    found = np.broadcast_to(found, steps.shape[:2])
    return found[:, 0].real, found.imag / STEP
