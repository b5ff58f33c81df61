"""Some raw records become finished rows of a corpus: read, check, name the leads, filter, resample, find the beats."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import amplitude, hdf5, quality
from ecgscale.data.amplitude import Measured
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Dataset
from ecgscale.data.filters import RECIPES, Recipe, conditioned
from ecgscale.data.peaks import DETECTORS, MAX_BEATS, NO_PEAK
from ecgscale.data.quality import FLAWS
from ecgscale.data.recording import (
    INDEPENDENT_LEADS,
    LEADS,
    LIMB_LEADS,
    MalformedRecordError,
    Recording,
    canonical,
    ordered,
    why_not_einthoven,
)

STORED_HZ = 100
WINDOW_SECONDS = 10
UNIT = 0.001  # int16 steps of a microvolt: no file of the study is finer, and +-32 mV hold
_BATCH = 32  # records filtered together: what a processor's cache likes
_MAX_MISSING = 0.2  # of a lead's samples
# What numpy, pandas and h5py raise for a damaged file.
UNREADABLE = (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError)
POLICIES = ("keep", "zero", "drop")


@dataclass(frozen=True)
class Options:
    """Everything that changes a corpus' content, besides the raw files."""

    name: str
    sampling_hz: int = STORED_HZ
    seconds: float = WINDOW_SECONDS
    detector: str = "slope-energy"
    flawed_leads: str = "keep"  # a flat, saturated or missing lead: keep, zero the lead, or drop the record
    recipe: str = ""  # of filters.RECIPES; empty: the dataset's own
    salt: str = ""  # of patient codes and splits; empty: the dataset's name, so that all sites split alike

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ValueError(f"no detector {self.detector!r}; there is {', '.join(DETECTORS)}")
        if self.flawed_leads not in POLICIES:
            raise ValueError(f"no policy {self.flawed_leads!r} for flawed leads; there is {', '.join(POLICIES)}")
        if self.recipe and self.recipe not in RECIPES:
            raise ValueError(f"no recipe {self.recipe!r}; there is {', '.join(RECIPES)}")
        if not 10 <= self.sampling_hz <= 1000:
            raise ValueError(f"sampling_hz={self.sampling_hz}: a corpus is stored at 10 to 1000 Hz")

    @property
    def corpus(self) -> str:
        """The corpus' name: the dataset's, with rate and recipe where they are not the usual ones ("ptbxl@500")."""
        unusual = [str(self.sampling_hz)] if self.sampling_hz != STORED_HZ else []
        unusual += [self.recipe] if self.recipe else []
        return "@".join([self.name, "-".join(unusual)]) if unusual else self.name

    def recipe_of(self, dataset: Dataset) -> Recipe:
        return RECIPES[self.recipe] if self.recipe else dataset.recipe

    @property
    def n_samples(self) -> int:
        return round(self.seconds * self.sampling_hz)


@dataclass(frozen=True)
class Rows:
    """Finished rows of some records; where ``reasons`` has one, the row is zero and the record is in no split.

    ``qrs`` float64 [n] is the QRS amplitude of the raw record, NaN where it cannot be read; ``gains`` are the headers'.
    """

    signal: np.ndarray
    peaks: np.ndarray
    quality: np.ndarray
    beat_classes: np.ndarray
    reasons: dict[int, str]
    qrs: np.ndarray
    native_hz: np.ndarray
    n_flat: np.ndarray
    n_clipped: np.ndarray
    gains: dict[int, str]

    @property
    def measured(self) -> Measured:
        used = np.isin(np.arange(len(self.signal)), list(self.reasons), invert=True)
        return Measured(
            qrs=[round(qrs, 6) for qrs in self.qrs[np.isfinite(self.qrs)].tolist()],
            gains=dict(Counter(gain for gain in self.gains.values() if gain)),
            native_hz=dict(Counter(f"{hz:g}" for hz in self.native_hz[used])),
            n_leads=int(used.sum()) * self.signal.shape[1],
            n_flat=int(self.n_flat[used].sum()),
            n_samples=int(used.sum()) * self.signal[0].size if len(self.signal) else 0,
            n_clipped=int(self.n_clipped[used].sum()),
        )


def rows_of(dataset: Dataset, raw: Path, where: Sequence[str] | np.ndarray, options: Options) -> Rows:
    n, stored = len(where), stored_leads(dataset)
    rows = Rows(
        np.zeros((n, len(stored), options.n_samples), dtype=np.int16),
        np.full((n, MAX_BEATS), NO_PEAK, dtype=np.int16),
        np.zeros(n, dtype=np.uint16),
        np.full((n, MAX_BEATS), MISSING, dtype=np.uint8),
        reasons={},
        qrs=np.full(n, np.nan),
        native_hz=np.zeros(n),
        n_flat=np.zeros(n, dtype=np.int64),
        n_clipped=np.zeros(n, dtype=np.int64),
        gains={},
    )
    stored_rows = [dataset.leads.index(lead) for lead in stored]
    for first in range(0, n, _BATCH):
        alike = defaultdict(list)  # records of one rate and length are filtered together
        for row in range(first, min(first + _BATCH, n)):
            try:
                read = raw_record(dataset, raw, str(where[row]))
                rows.qrs[row], rows.gains[row] = read.qrs, read.recording.gain
                signal, rows.quality[row] = checked(dataset, read, options)
            except MalformedRecordError as reason:
                rows.reasons[row] = str(reason)
            except hdf5.Locked:
                raise
            except UNREADABLE as error:  # the file is there in the index, and does not give this record
                rows.reasons[row] = f"file cannot be read ({type(error).__name__})"
            else:
                hz = read.recording.sampling_hz
                rows.native_hz[row], rows.n_flat[row] = hz, read.flat[stored_rows].sum()
                alike[int(hz), signal.shape[1]].append((row, read.recording, signal))
        for (hz, _), group in alike.items():
            _fill(dataset, options, rows, hz, group)
    return rows


@dataclass(frozen=True)
class RawRecord:
    """One recording, its signal with canonical leads [n_leads, n_samples] without gaps, and what is wrong with it."""

    recording: Recording
    signal: np.ndarray
    flaws: int
    bad: np.ndarray  # bool [n_leads]: flat, saturated or missing
    flat: np.ndarray  # bool [n_leads]: flat or missing
    missing: np.ndarray  # share of each lead's samples
    qrs: float


def raw_record(dataset: Dataset, raw: Path, where: str) -> RawRecord:
    """Read one record and look at it. Raises MalformedRecordError for what is none, and what a damaged file raises."""
    recording = dataset.load(raw, where)
    if recording.sampling_hz not in dataset.card.sampling_hz:
        raise MalformedRecordError(f"sampling rate {recording.sampling_hz:g} Hz is not that of the dataset's card")
    signal = _in_order(dataset, recording)
    if signal.shape[1] < recording.sampling_hz:
        raise MalformedRecordError("shorter than a second")
    if np.isinf(signal).any():
        raise MalformedRecordError("infinite values")
    if not np.any(np.nan_to_num(signal)):
        raise MalformedRecordError("all leads are zero or missing")
    flaws, bad, flat = quality.flaws_of(signal, recording.sampling_hz)
    flaws |= FLAWS["checksum"] * (not recording.checksum)
    if any(lead in LIMB_LEADS for lead in np.array(dataset.leads)[flat]):
        flaws |= FLAWS["limb lead flat or missing"]
    missing = np.isnan(signal).mean(axis=1)
    signal = quality.interpolated(signal)
    return RawRecord(
        recording, signal, flaws, bad, flat, missing, amplitude.of_record(signal, recording.sampling_hz, bad)
    )


def _in_order(dataset: Dataset, recording: Recording) -> np.ndarray:
    """The recording's leads in the dataset's order; those that follow from I and II may be lacking: NaN."""
    names = {canonical(lead) for lead in recording.leads}
    absent = [lead for lead in dataset.leads if lead not in names and lead not in stored_leads(dataset)]
    if not absent:
        return ordered(recording.signal, recording.leads, dataset.leads)
    nothing = np.full((len(absent), recording.signal.shape[1]), np.nan, dtype=np.float32)
    return ordered(np.concatenate([recording.signal, nothing]), (*recording.leads, *absent), dataset.leads)


def checked(dataset: Dataset, read: RawRecord, options: Options) -> tuple[np.ndarray, int]:
    """The signal as it is to be filtered, and all of its flaws. Raises MalformedRecordError for one not to be used."""
    reason = amplitude.why_not_possible(read.qrs, dataset.amplitude)
    if reason:
        raise MalformedRecordError(reason)
    if read.bad.any() and options.flawed_leads == "drop":
        raise MalformedRecordError("flat, saturated or missing lead (dropped as asked)")
    if (read.missing[~read.bad] > _MAX_MISSING).any():
        raise MalformedRecordError("more than a fifth of a lead is missing")
    signal, hz = read.signal, read.recording.sampling_hz
    if dataset.einthoven is not None:
        reason = why_not_einthoven(_limb(signal, hz), dataset.einthoven, read.flat[:6])
        if reason:
            raise MalformedRecordError(reason)
    if read.bad.any() and options.flawed_leads == "zero":
        signal = np.where(read.bad[:, None], 0, signal).astype(np.float32)
    length = signal.shape[1] - options.seconds * hz
    return signal, read.flaws | FLAWS["padded"] * bool(length < -1) | FLAWS["cut"] * bool(length > 1)


def _limb(signal: np.ndarray, sampling_hz: float) -> np.ndarray:
    """Limb leads without their baselines, quick and linear: differences over 20 ms, then averages over 20 ms."""
    lag = max(1, round(0.02 * sampling_hz))
    slope = signal[:6, lag:] - signal[:6, :-lag]
    n = slope.shape[1] // lag * lag
    return slope[:, :n].reshape(6, -1, lag).mean(axis=2)


def _fill(dataset: Dataset, options: Options, rows: Rows, hz: int, group: list[Any]) -> None:
    """Filter, resample, cut to the window, find the beats and round: from a group of raw signals to stored rows."""
    stored = stored_leads(dataset)
    at = np.array([row for row, _, _ in group])
    kept = [dataset.leads.index(lead) for lead in stored]
    recipe = options.recipe_of(dataset)
    if recipe.range_to:  # the range of a record is that of all its leads
        whole = np.stack([signal for _, _, signal in group])
        clean = conditioned(whole, hz, options.sampling_hz, recipe)[:, kept]
    else:
        signals = np.stack([signal[kept] for _, _, signal in group])
        clean = conditioned(signals, hz, options.sampling_hz, recipe)
    window, shift = _window(clean, options.n_samples, dataset.window)
    if dataset.beat_classes:
        for row, recording, _ in group:
            _annotated(rows, row, recording, options, shift)
    else:
        rows.peaks[at] = DETECTORS[options.detector](window, options.sampling_hz)
    units = np.rint(window / UNIT)
    limit = np.iinfo(np.int16).max
    rows.n_clipped[at] = (np.abs(units) > limit).sum(axis=(1, 2))
    rows.quality[at] |= FLAWS["clipped"] * (rows.n_clipped[at] > 0).astype(np.uint16)
    rows.quality[at] |= FLAWS["no beat found"] * (rows.peaks[at, 0] == NO_PEAK).astype(np.uint16)
    rows.signal[at] = np.clip(units, -limit, limit).astype(np.int16)


def _window(signals: np.ndarray, n_samples: int, where: str) -> tuple[np.ndarray, int]:
    """Cut or zero-pad [..., t] to n_samples, in the middle or from the start; and what to add to a sample's index."""
    extra = signals.shape[-1] - n_samples
    first = extra // 2 if where == "centre" else min(extra, 0) // 2 if extra < 0 else 0
    if extra >= 0:
        return signals[..., first : first + n_samples], -first
    padded = np.zeros((*signals.shape[:-1], n_samples), dtype=signals.dtype)
    padded[..., -first : -first + signals.shape[-1]] = signals
    return padded, -first


def _annotated(rows: Rows, row: int, recording: Recording, options: Options, shift: int) -> None:
    if recording.beats is None or recording.beat_classes is None:
        return
    at = np.rint(recording.beats * options.sampling_hz / recording.sampling_hz).astype(int) + shift
    inside = (at >= 0) & (at < options.n_samples)
    at, classes = at[inside][:MAX_BEATS], recording.beat_classes[inside][:MAX_BEATS]
    rows.peaks[row, : len(at)] = at
    rows.beat_classes[row, : len(at)] = classes


def stored_leads(dataset: Dataset) -> tuple[str, ...]:
    return INDEPENDENT_LEADS if dataset.einthoven is not None and dataset.leads == LEADS else dataset.leads


def row_bytes(dataset: Dataset, options: Options, label_bytes: int) -> int:
    beats = MAX_BEATS * (3 if dataset.beat_classes else 2)
    return len(stored_leads(dataset)) * options.n_samples * 2 + beats + label_bytes + 7


def in_words(dataset: Dataset, options: Options) -> str:
    beats = "annotated beats" if dataset.beat_classes else f"R peaks by {options.detector}"
    return (
        f"{options.recipe_of(dataset)}; resampled to {options.sampling_hz} Hz; "
        f"{options.seconds:g} s from the {dataset.window}; "
        f"int16 steps of {UNIT:g} {dataset.units}; flawed leads: {options.flawed_leads}; {beats}"
    )
