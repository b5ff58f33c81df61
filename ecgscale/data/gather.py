"""Recordings of an int16 array as float32 leads: gathered, made float and derived in one pass over memory."""

import numpy as np

from ecgscale.data.compiling import compiled, fma


def gathered(units: np.ndarray, rows: np.ndarray, given: np.ndarray) -> np.ndarray:
    """``given`` [n_leads, n_stored] times each of these rows of ``units`` int16 [n_recordings, n_stored, n_samples].

    Returns float32 [n_rows, n_leads, n_samples], with the bits of a matrix product that adds up in order. ``rows``
    must lie within ``units``: nobody checks them.
    """
    signal = np.empty((len(rows), len(given), units.shape[2]), dtype=np.float32)
    _gather(np.asarray(units), np.ascontiguousarray(rows, dtype=np.int64), given, signal)
    return signal


@compiled("void(Array(int16, 3, 'C', readonly=True), int64[::1], float32[:, ::1], float32[:, :, ::1])")
def _gather(units: np.ndarray, rows: np.ndarray, given: np.ndarray, signal: np.ndarray) -> None:
    zero = np.float32(0)
    n_leads, n_stored = given.shape
    for place, row in enumerate(rows):
        for lead in range(n_leads):
            ours, first = signal[place, lead], 0
            while given[lead, first] == 0 and first < n_stored - 1:  # most leads are given by one or two
                first += 1
            theirs, times = units[row, first], given[lead, first]
            for sample in range(len(ours)):
                ours[sample] = fma(times, np.float32(theirs[sample]), zero)
            for stored in range(first + 1, n_stored):
                theirs, times = units[row, stored], given[lead, stored]
                if times != 0:
                    for sample in range(len(ours)):
                        ours[sample] = fma(times, np.float32(theirs[sample]), ours[sample])
