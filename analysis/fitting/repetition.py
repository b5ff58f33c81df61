"""What data is worth that is seen more than once: effective data, effective size, and the cost of repeating it.

U are unique recordings, seen ``epochs`` times; ``R = epochs - 1`` is how often they are repeated (see ``laws``).
"""

from typing import Any

import numpy as np


def worth(unique: Any, repeats: Any, half: Any) -> Any:
    """``U + U R* (1 - exp(-R/R*))``: the first repeats count in full, all of them no more than R* more copies."""
    return unique + unique * half * -np.expm1(-repeats / half)


def repeated(N: Any, U: Any, epochs: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any, R: Any) -> Any:
    """Eq. 1 at the effective data of repeated data (Muennighoff et al. 2023, Eq. 5; R is their R*_D)."""
    return E + A * N**-alpha + B * worth(*_seen(U, epochs), R) ** -beta


def repeated_excess(
    N: Any, U: Any, epochs: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any, R: Any, R_N: Any, ratio: Any
) -> Any:
    """``repeated`` with the same for sizes: parameters beyond ``ratio * U`` are worth less and less (R_N: R*_N).

    Muennighoff et al. 2023 (Eq. 6) derive the size that U can fill from A, B, alpha and beta; here it is fitted, as a
    ratio of parameters to recordings.
    """
    filled = ratio * U
    fits = np.real(filled) >= N
    base = np.where(fits, N, filled)
    excess = np.where(fits, 0.0, N / filled - 1)
    return E + A * worth(base, excess, R_N) ** -alpha + B * worth(*_seen(U, epochs), R) ** -beta


def overfitting(N: Any, U: Any, epochs: Any, E: Any, A: Any, alpha: Any, B: Any, beta: Any, G: Any, delta: Any) -> Any:
    """Eq. 1 at all data seen, and ``G (R N/U)^delta`` for what repeating it costs a model of that size.

    After the additive penalty of Lovelace et al. 2026, with one exponent for repeats and for parameters a recording.
    """
    repeats = np.maximum(epochs - 1, 0.0)
    crowding = np.where(repeats > 0, repeats, 1.0) * N / U
    return E + A * N**-alpha + B * (U * epochs) ** -beta + G * np.where(repeats > 0, crowding**delta, 0.0)


def _seen(U: Any, epochs: Any) -> tuple[Any, Any]:
    """Unique recordings that were seen, and how often they were repeated; of less than one epoch, its share of U."""
    return U * np.minimum(epochs, 1.0), np.maximum(epochs - 1, 0.0)
