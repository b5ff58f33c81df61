"""One electrocardiogram in canonical form: which leads there are, and how twelve follow from eight."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")

# Einthoven and Goldberger: III = II - I, aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2.
TWELVE_FROM_EIGHT = np.zeros((12, 8), dtype=np.float32)
TWELVE_FROM_EIGHT[:6, :2] = np.array([[1, 0], [0, 1], [-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]])
TWELVE_FROM_EIGHT[6:, 2:] = np.eye(6)


@dataclass(frozen=True)
class Recording:
    """One ECG as a reader yields it, before any filtering.

    ``signal`` is float32 [n_leads, n_samples] in mV at ``sampling_hz``, one row a name in ``leads``.
    ``labels`` holds 1.0, 0.0 or NaN (missing) by label name. ``patient`` and ``record`` never leave preparation.
    """

    record: str
    patient: str
    signal: np.ndarray
    sampling_hz: float
    leads: tuple[str, ...]
    labels: Mapping[str, float] = field(default_factory=dict)
    split: str | None = None
