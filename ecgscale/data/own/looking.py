"""Ten records of a raw folder as they are read, before anything is prepared: for a table and a picture."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Dataset, Index
from ecgscale.data.filters import Recipe, conditioned
from ecgscale.data.own.described import looked_at
from ecgscale.data.peaks import DETECTORS
from ecgscale.data.prepare_rows import STORED_HZ, UNREADABLE, Options, checked, raw_record
from ecgscale.data.recording import MalformedRecordError

_USUAL_RATE = (40.0, 140.0)  # beats a minute: the median of a folder's records
_USUAL = Options("recordings")
_LEAST_SLOPE_HZ = 6.0  # of 2,550 records of PTB-XL and 200 of LUDB the medians of tens are 14 to 20
_LEAST = 5  # records that a median is of


@dataclass(frozen=True)
class Looked:
    """One record as it is read; nothing of it says whose it is.

    ``signal`` is float32 [n_leads, n_samples] in mV at ``sampling_hz``, unfiltered; ``problem``: why it cannot be used.
    """

    place: int  # in the index, from 1
    kind: str  # of file
    leads: tuple[str, ...]
    sampling_hz: float
    signal: np.ndarray
    qrs_mv: float
    beats_per_minute: float
    labels: tuple[str, ...]  # that are 1, and numbers with what they are: "age 63"
    n_unknown: int  # labels that are missing
    problem: str = ""

    @property
    def seconds(self) -> float:
        return self.signal.shape[1] / self.sampling_hz if self.sampling_hz else 0.0


def look(dataset: Dataset, raw: Path, index: Index) -> list[Looked]:
    """Up to ten records that are spread over the index, as ``raw_record`` reads them."""
    names = np.array([name for classes in index.label_sets.values() for name in classes], dtype=object)
    found = []
    for row in looked_at(index).tolist():
        where = str(index.where[row])
        labels, (numbers, n_without) = index.labels[row], _numbers(index, row)
        known = (*names[labels == 1].tolist(), *numbers), int(np.sum(labels == MISSING)) + n_without
        kind = Path(where.partition("#")[0]).suffix.removeprefix(".")
        try:
            read = raw_record(dataset, raw, where)
        except MalformedRecordError as error:
            found.append(_unread(row, kind, known, str(error)))
        except UNREADABLE as error:
            found.append(_unread(row, kind, known, f"file cannot be read ({type(error).__name__})"))
        else:
            hz = read.recording.sampling_hz
            rate = _beats_per_minute(read.signal, hz)
            try:
                checked(dataset, read, _USUAL)
                problem = ""
            except MalformedRecordError as error:
                problem = str(error)
            found.append(Looked(row + 1, kind, dataset.leads, hz, read.signal, read.qrs, rate, *known, problem))
    return found


def _numbers(index: Index, row: int) -> tuple[list[str], int]:
    """A record's numbers in words, and how many are missing."""
    if index.numbers is None:
        return [], 0
    names = [(label, unit) for some in index.number_units.values() for label, unit in some.items()]
    pairs = list(zip(names, index.numbers[row].tolist(), strict=True))
    said = [f"{label} {value:g} {unit}".strip() for (label, unit), value in pairs if np.isfinite(value)]
    return said, len(pairs) - len(said)


def _unread(row: int, kind: str, known: tuple[tuple[str, ...], int], problem: str) -> Looked:
    return Looked(row + 1, kind, (), 0.0, np.zeros((0, 0), dtype=np.float32), np.nan, np.nan, *known, problem)


def _beats_per_minute(signal: np.ndarray, sampling_hz: float) -> float:
    """From the median distance of R peaks; NaN with fewer than two."""
    clean = conditioned(signal[None], round(sampling_hz), STORED_HZ, Recipe())
    peaks = DETECTORS["slope-energy"](clean, STORED_HZ)[0]
    peaks = peaks[peaks >= 0]
    return float(60 * STORED_HZ / np.median(np.diff(peaks))) if len(peaks) > 1 else float("nan")


def _slope_hz(one: Looked) -> float:
    """The frequency below which half of the power of a record's slopes lies, of 0.5 to 40 Hz: about that of its QRS."""
    slopes = np.diff(np.nan_to_num(one.signal.astype(np.float64)), axis=1)
    frequencies = np.fft.rfftfreq(slopes.shape[1], 1 / one.sampling_hz)
    band = (frequencies >= 0.5) & (frequencies <= 40)
    power = np.cumsum((np.abs(np.fft.rfft(slopes, axis=1)) ** 2).sum(axis=0)[band])
    return float(frequencies[band][np.searchsorted(power, power[-1] / 2)]) if len(power) else float("nan")


def why_not_usual(looked: list[Looked], said_hz: float) -> str:
    """What to say where hearts beat too fast or too slowly for the rate that was said, or their waves are; or ""."""
    slow = [_slope_hz(one) for one in looked if one.leads]
    if said_hz and len(slow) >= _LEAST and np.median(slow) < _LEAST_SLOPE_HZ:
        return (
            f"at --hz {said_hz:g} the waves of {len(slow)} records are too slow for hearts: half of the power of their "
            f"slopes lies below {np.median(slow):.1f} Hz (median), and usual is 12 to 22: say the rate that the files "
            "were sampled at"
        )
    rates = [one.beats_per_minute for one in looked if np.isfinite(one.beats_per_minute)]
    if not said_hz or len(rates) < _LEAST or _USUAL_RATE[0] <= np.median(rates) <= _USUAL_RATE[1]:
        return ""
    return (
        f"at --hz {said_hz:g} the hearts of {len(rates)} records beat {np.median(rates):.0f} times a minute (median), "
        f"and usual is {_USUAL_RATE[0]:.0f} to {_USUAL_RATE[1]:.0f}: say the rate that the files were sampled at"
    )
