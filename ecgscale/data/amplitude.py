"""Is it a heart's? The size of QRS complexes tells a wrong gain, unit or scale, which no other check sees."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

_BLOCK_SECONDS = 2.0  # holds a beat of any rate above 30 a minute
_QRS_SECONDS = 0.12
_SLOPE_SECONDS = 0.02


@dataclass(frozen=True)
class Plausible:
    """QRS amplitudes (peak to peak, median over leads) of a reader's signals, in ``unit``.

    Of the real records of nine datasets the medians of a dataset lie between 0.87 and 1.5 mV, single records between
    0.10 and 3.8 mV. More than half of a dataset outside ``usual`` refuses it; a record outside ``possible`` is put
    aside.
    """

    usual: tuple[float, float]
    possible: tuple[float, float]
    unit: str


MILLIVOLTS = Plausible((0.3, 5.0), (0.02, 20.0), "mV")
STANDARD_DEVIATIONS = Plausible((1.0, 25.0), (0.1, 100.0), "standard deviations")


@dataclass(frozen=True)
class Measured:
    """What was seen of some records as they were read: each chunk's, then their sum."""

    qrs: Sequence[float] = ()  # amplitude of each record that could be read
    gains: Mapping[str, int] = field(default_factory=dict)  # of the headers, in words -> records
    native_hz: Mapping[str, int] = field(default_factory=dict)  # rate as text -> records that are used
    n_leads: int = 0  # stored, of the records that are used
    n_flat: int = 0  # of these
    n_samples: int = 0  # stored, of the records that are used
    n_clipped: int = 0  # of these, beyond the stored integers

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(
            [*self.qrs, *other.qrs],
            dict(Counter(self.gains) + Counter(other.gains)),
            dict(Counter(self.native_hz) + Counter(other.native_hz)),
            self.n_leads + other.n_leads,
            self.n_flat + other.n_flat,
            self.n_samples + other.n_samples,
            self.n_clipped + other.n_clipped,
        )

    def n_upsampled(self, stored_hz: float) -> int:
        """Records of which the files hold less than is stored."""
        return sum(n for hz, n in self.native_hz.items() if float(hz) < stored_hz)

    def said(self, plausible: Plausible) -> dict[str, float]:
        """What a corpus keeps of it, in words: nothing that is of one record."""
        qrs = np.array(self.qrs)
        low, high = plausible.usual
        return {
            f"median QRS amplitude ({plausible.unit})": float(f"{np.median(qrs):.3g}") if len(qrs) else 0.0,
            f"records outside {low:g} to {high:g} {plausible.unit}": int(np.sum((qrs < low) | (qrs > high))),
            "share of leads flat": round(self.n_flat / max(1, self.n_leads), 6),
            "share of samples clipped": round(self.n_clipped / max(1, self.n_samples), 6),
        }


def qrs_amplitudes(signal: np.ndarray, sampling_hz: float) -> np.ndarray:
    """QRS amplitude [n_leads] of a raw recording [n_leads, n_samples] without gaps, peak to peak in its own unit.

    Of every two seconds the 120 ms around the steepest point of all leads together, and of these the median: no
    baseline enters, no filter and no detector's threshold. Without a beat it is the size of what is there instead.
    """
    lag, half = (max(1, round(seconds * sampling_hz)) for seconds in (_SLOPE_SECONDS, _QRS_SECONDS / 2))
    n_samples = signal.shape[1]
    block = max(1, min(n_samples - lag, round(_BLOCK_SECONDS * sampling_hz)))
    n_blocks = max(0, n_samples - lag) // block
    slopes = np.abs(signal[:, lag:] - signal[:, :-lag]).sum(axis=0)[: n_blocks * block].reshape(n_blocks, block)
    alive = np.flatnonzero(slopes.max(axis=1, initial=0) > 0)  # not the padding of a short record
    if not len(alive):
        return np.zeros(len(signal))
    steepest = slopes[alive].argmax(axis=1) + alive * block + lag // 2
    at = np.clip(steepest[:, None] + np.arange(-half, half + 1), 0, n_samples - 1)
    around = signal[:, at]
    return np.median(around.max(axis=-1) - around.min(axis=-1), axis=1)


def of_record(signal: np.ndarray, sampling_hz: float, bad: np.ndarray) -> float:
    """One recording's QRS amplitude: the median over its leads, without the ``bad`` ones (bool [n_leads]) if it can."""
    sizes = qrs_amplitudes(signal, sampling_hz)
    return float(np.median(sizes if bad.all() else sizes[~bad]))


def why_not_possible(qrs: float, plausible: Plausible) -> str | None:
    """None, or the reason why a record is put aside; the same words for all such records, so that they are counted."""
    low, high = plausible.possible
    if low <= qrs <= high:
        return None
    return f"QRS amplitude {f'below {low:g}' if qrs < low else f'above {high:g}'} {plausible.unit}: no heart's"


def why_not_usual(measured: Measured, plausible: Plausible, units: str) -> str | None:
    """None, or one sentence, if more than half of the records are outside what is usual: gain, amplitude, what to do.

    ``units``: how the reader takes the files' values, for files without a gain.
    """
    qrs, (low, high) = np.array(measured.qrs), plausible.usual
    n_out = int(np.sum((qrs < low) | (qrs > high)))
    if 2 * n_out <= len(qrs):
        return None
    typical = float(np.median(qrs))
    off = typical / np.sqrt(low * high)
    times = f"about {_power(off)} times too large" if off > 1 else f"about {_power(1 / off)} times too small"
    if measured.gains:
        gain = Counter(measured.gains).most_common(1)[0][0]
        source = f"the headers give a gain of {gain}; mend gain or unit there, or take the provider's own files"
    else:
        source = f"the reader takes the values so: {units}; are these the provider's own files?"
    return (
        f"{n_out:,} of {len(qrs):,} records have QRS amplitudes outside the usual {low:g} to {high:g} "
        f"{plausible.unit}: their median is {_number(typical)} {plausible.unit}, {times}; {source}"
    )


def _power(factor: float) -> str:
    """The power of ten that a mistake of units makes of a number; small factors as they are."""
    return f"{10 ** round(np.log10(factor)):,}" if factor > 30 else f"{factor:.2g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
