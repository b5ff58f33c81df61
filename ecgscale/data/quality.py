"""What is wrong with a recording: one bit a flaw, found on the signal as it was read."""

from collections.abc import Mapping

import numpy as np

FLAWS: Mapping[str, int] = {
    "not a number": 1,  # some samples were missing and were interpolated
    "flat lead": 2,
    "saturated lead": 4,
    "padded": 8,  # shorter than the stored window: zeros around it
    "cut": 16,  # longer than the stored window: only a part of it
    "no beat found": 32,
    "clipped": 64,  # beyond the stored integers
    "checksum": 128,  # differs from the one in its header
    "limb lead flat or missing": 256,  # Einthoven's law is then asked of the others
}

_FLAT_RANGE = 0.005  # mV
_SATURATED_SECONDS = 0.1  # at one extreme value ...
_SATURATED_SIZE = 1.5  # ... that is this far (mV) from the lead's median


def flaws_of(signal: np.ndarray, sampling_hz: float) -> tuple[int, np.ndarray, np.ndarray]:
    """Flaws of a raw recording [n_leads, n_samples] in mV as bits, and which leads (bool [n_leads]) are bad, flat.

    A lead without any value is flat; a bad one is flat or saturated.
    """
    missing = np.isnan(signal)
    found = FLAWS["not a number"] if missing.any() else 0
    filled = np.where(missing, 0, signal) if found else signal
    low, high = filled.min(axis=1), filled.max(axis=1)
    flat = (high - low < _FLAT_RANGE) | missing.all(axis=1)
    long_enough = _SATURATED_SECONDS * sampling_hz
    saturated = np.zeros(len(signal), dtype=bool)
    for extreme in (low, high):
        held = (filled == extreme[:, None]).sum(axis=1) >= long_enough
        for lead in np.flatnonzero(held & ~flat):
            saturated[lead] |= bool(abs(extreme[lead] - np.median(filled[lead])) > _SATURATED_SIZE)
    if flat.any():
        found |= FLAWS["flat lead"]
    if saturated.any():
        found |= FLAWS["saturated lead"]
    return found, flat | saturated, flat


def interpolated(signal: np.ndarray) -> np.ndarray:
    """Missing samples (NaN) of [n_leads, n_samples] by straight lines; a lead without any value becomes zero."""
    if not np.isnan(signal).any():
        return signal
    filled = signal.copy()
    at = np.arange(signal.shape[1])
    for lead in filled:
        missing = np.isnan(lead)
        if missing.all():
            lead[:] = 0
        elif missing.any():
            lead[missing] = np.interp(at[missing], at[~missing], lead[~missing])
    return filled


def counted(quality: np.ndarray) -> dict[str, int]:
    """How many recordings have each flaw."""
    wide = quality.astype(np.uint16)
    return {name: int(np.count_nonzero(wide & bit)) for name, bit in FLAWS.items()}


def narrowed(quality: np.ndarray) -> np.ndarray:
    """Flags in the smallest integers that hold them: uint8 wherever no flag above 128 is set."""
    return quality.astype(np.uint8) if not len(quality) or quality.max() < 256 else quality.astype(np.uint16)
