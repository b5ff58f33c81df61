"""A moving heart dipole and the leads that see it: waves of beats drawn into signals, many recordings at once.

Every beat is a sum of Gaussian dipoles (McSharry et al. 2003, in three dimensions as Sameni et al. 2007) projected by
Dower's matrix.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ecgscale.data.peaks import MAX_BEATS, NO_PEAK

SAMPLING_HZ, SECONDS = 100, 10
N_SAMPLES = SECONDS * SAMPLING_HZ
UNIT_MV = 0.001  # of a stored number

# Dower, Machado and Osborne (1980): leads I, II, V1-V6 from a dipole (x to the left, y down, z to the back).
DOWER = np.array(
    [
        [0.632, -0.235, 0.059],
        [0.235, 1.066, -0.132],
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
_REACH = 50  # samples on each side of a wave's middle that are drawn


class Waves(NamedTuple):
    """The beats of one recording as waves: ``middles`` and ``widths`` [n_beats, n_waves] s, ``dipoles`` [..., 3] mV."""

    middles: np.ndarray
    widths: np.ndarray
    dipoles: np.ndarray


def drawn(recordings: Sequence[Waves]) -> np.ndarray:
    """Signals float32 [n, 8, N_SAMPLES] in mV (leads I, II, V1-V6): every wave of every beat of all recordings."""
    padded = N_SAMPLES + 2 * _REACH
    owner = np.repeat(np.arange(len(recordings)), [waves.middles.size for waves in recordings])
    middle = np.concatenate([waves.middles.ravel() for waves in recordings]) * SAMPLING_HZ
    width = np.concatenate([waves.widths.ravel() for waves in recordings]).astype(np.float32) * SAMPLING_HZ
    dipole = np.concatenate([waves.dipoles.reshape(-1, 3) for waves in recordings]).astype(np.float32)
    nearest = np.rint(middle).astype(np.int64)
    seen = (nearest > -_REACH) & (nearest < N_SAMPLES + _REACH) & np.any(dipole != 0, axis=1)
    owner, middle, width, dipole, nearest = (values[seen] for values in (owner, middle, width, dipole, nearest))
    steps = np.arange(-_REACH, _REACH, dtype=np.float32)
    bell = np.exp(-0.5 * ((steps - (middle - nearest).astype(np.float32)[:, None]) / width[:, None]) ** 2)
    vector = np.zeros((3, len(recordings), padded + _REACH), dtype=np.float32)
    # Waves of a recording overlap, so they are added one rank (its n-th wave) after another, all recordings at once.
    rank = np.arange(len(owner)) - np.searchsorted(owner, owner)
    for wave in range(int(rank.max(initial=-1)) + 1):
        chosen = np.flatnonzero(rank == wave)
        at = nearest[chosen][:, None] + np.arange(2 * _REACH)
        vector[:, owner[chosen][:, None], at] += dipole[chosen].T[:, :, None] * bell[chosen]
    return np.einsum("ld,dnt->nlt", DOWER.astype(np.float32), vector[:, :, _REACH : _REACH + N_SAMPLES])


def samples_of(r_peaks: Sequence[np.ndarray]) -> np.ndarray:
    """R peaks int16 [n, MAX_BEATS] in samples, NO_PEAK behind the last, from those of each recording in seconds."""
    peaks = np.full((len(r_peaks), MAX_BEATS), NO_PEAK, dtype=np.int16)
    for row, seconds in zip(peaks, r_peaks, strict=True):
        at = np.rint(seconds * SAMPLING_HZ).astype(int)
        at = at[(at >= 0) & (at < N_SAMPLES)][:MAX_BEATS]
        row[: len(at)] = at
    return peaks
