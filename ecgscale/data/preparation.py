"""From a raw folder to a corpus: read, check, name the leads, filter, resample, find the beats; once, and resumable.

Work is cut into chunks of records. Each chunk's rows go straight into the memory maps of a hidden folder beside the
corpus, then a small marker says that they are there; the same command continues after the last marker. Nothing that
identifies a record or a patient leaves this module: patients become salted codes, refused records become counts.
"""

import hashlib
import json
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from ecgscale.data import corpus, quality, split
from ecgscale.data.corpus import MISSING, Corpus
from ecgscale.data.dataset import Dataset, Index
from ecgscale.data.filters import conditioned
from ecgscale.data.peaks import DETECTORS, MAX_BEATS, NO_PEAK
from ecgscale.data.quality import FLAWS
from ecgscale.data.recording import (
    INDEPENDENT_LEADS,
    LEADS,
    MalformedRecordError,
    Recording,
    ordered,
    why_not_einthoven,
)

STORED_HZ = 100
WINDOW_SECONDS = 10
_UNIT = 0.001  # int16 steps of a microvolt: no file of the study is finer, and +-32 mV hold
_CHUNK = 256  # records a marker
_BATCH = 32  # records filtered together: what a processor's cache likes
_MAX_MISSING = 0.2  # of a lead's samples
POLICIES = ("keep", "zero", "drop")


@dataclass(frozen=True)
class Progress:
    """How far a preparation is."""

    n_done: int
    n_records: int
    records_per_second: float
    seconds_left: float


@dataclass(frozen=True)
class Price:
    """What a preparation will cost, from a timed sample of its own records."""

    n_records: int
    n_timed: int
    records_per_second: float  # with all workers
    seconds: float
    disk_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Options:
    """Everything that changes a corpus' content, besides the raw files."""

    name: str
    sampling_hz: int = STORED_HZ
    seconds: float = WINDOW_SECONDS
    detector: str = "slope-energy"
    flawed_leads: str = "keep"  # a flat, saturated or missing lead: keep, zero the lead, or drop the record
    salt: str = ""  # of patient codes and splits; empty: the dataset's name, so that all sites split alike

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ValueError(f"no detector {self.detector!r}; there is {', '.join(DETECTORS)}")
        if self.flawed_leads not in POLICIES:
            raise ValueError(f"no policy {self.flawed_leads!r} for flawed leads; there is {', '.join(POLICIES)}")
        if not 10 <= self.sampling_hz <= 1000:
            raise ValueError(f"sampling_hz={self.sampling_hz}: a corpus is stored at 10 to 1000 Hz")

    @property
    def corpus(self) -> str:
        """The corpus' name: the dataset's, with the rate where it is not the usual one."""
        return self.name if self.sampling_hz == STORED_HZ else f"{self.name}@{self.sampling_hz}"

    @property
    def n_samples(self) -> int:
        return round(self.seconds * self.sampling_hz)


def prepare(
    dataset: Dataset,
    raw: Path,
    home: Path,
    options: Options,
    *,
    workers: int | None = None,
    allow_missing: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Corpus:
    """Prepare ``dataset`` from its raw folder, or open it if that was done; the same call continues a broken one.

    ``workers`` processes (default: one a core; 1: this process). Raises FileNotFoundError if files that the
    dataset's tables promise are not there and ``allow_missing`` is false, OSError if the disk is too small,
    ValueError if no record is usable or if nearly all break Einthoven's law.
    """
    if corpus.is_prepared(home, options.corpus):
        return corpus.read(home, options.corpus)
    index = indexed(dataset, raw)
    if index.missing and not allow_missing:
        raise FileNotFoundError(
            f"{options.name}: {len(index.missing)} missing: {'; '.join(index.missing[:5])}. "
            "Complete the raw folder, or allow missing files: what is missing is then counted in the corpus"
        )
    partial = _workplace(dataset, index, home, options)
    chunks = [(first, min(first + _CHUNK, len(index.where))) for first in range(0, len(index.where), _CHUNK)]
    waiting = [chunk for chunk in chunks if not _marker(partial, chunk[0]).exists()]
    began, n_done = time.monotonic(), len(index.where) - sum(last - first for first, last in waiting)
    n_before = n_done
    for first, last in _worked(dataset, raw, partial, index, options, waiting, workers or os.cpu_count() or 1):
        n_done += last - first
        rate = (n_done - n_before) / max(time.monotonic() - began, 1e-9)
        progress(Progress(n_done, len(index.where), rate, (len(index.where) - n_done) / rate))
    return _finished(dataset, partial, home, index, options, [first for first, _ in chunks])


def price(
    dataset: Dataset,
    raw: Path,
    home: Path,
    options: Options,
    *,
    workers: int | None = None,
    n_records: int | None = None,
    n_timed: int = 128,
) -> Price:
    """Time a spread sample of the records and say what all (or ``n_records``) will take; writes nothing."""
    index = indexed(dataset, raw)
    n = n_records or len(index.where)
    chosen = np.unique(np.linspace(0, len(index.where) - 1, n_timed).astype(int))
    _rows(dataset, raw, index.where[chosen[:4]], options)  # imports and caches are not paid per record
    began = time.perf_counter()
    _rows(dataset, raw, index.where[chosen], options)
    rate = len(chosen) / (time.perf_counter() - began) * (workers or os.cpu_count() or 1)
    folder = next(parent for parent in (home, *home.absolute().parents) if parent.exists())
    size = n * _row_bytes(dataset, options, index.labels.shape[1])
    return Price(n, len(chosen), rate, n / rate, size, shutil.disk_usage(folder).free)


def indexed(dataset: Dataset, raw: Path) -> Index:
    """The dataset's index of a raw folder, checked. Raises ValueError or OSError in one sentence."""
    if not raw.is_dir():
        raise NotADirectoryError(f"no raw folder {raw.name!r}; --raw is where the dataset's files lie")
    index = dataset.index(raw)
    n_labels = sum(len(classes) for classes in index.label_sets.values())
    if not len(index.where):
        raise ValueError(f"no record of {dataset.card.title} in the raw folder; is it the right one?")
    if index.labels.shape != (len(index.where), n_labels) or len(index.patient) != len(index.where):
        raise ValueError(f"index of {dataset.card.title}: arrays of different lengths")
    return index


def patient_codes(patients: np.ndarray, salt: str) -> np.ndarray:
    """Int32 codes [n]: ranks of salted hashes, so that a code says nothing of who it is or when they came."""
    distinct, inverse = np.unique(patients, return_inverse=True)
    return split.shuffled_ranks(distinct, f"patient/{salt}").astype(np.int32)[inverse]


# ---- one chunk -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """Finished rows of some records; where ``reasons`` has one, the row is zero and the record is in no split."""

    signal: np.ndarray
    peaks: np.ndarray
    quality: np.ndarray
    beat_classes: np.ndarray
    reasons: dict[int, str]


def _rows(dataset: Dataset, raw: Path, where: Sequence[str] | np.ndarray, options: Options) -> _Rows:
    n, stored = len(where), _stored_leads(dataset)
    rows = _Rows(
        np.zeros((n, len(stored), options.n_samples), dtype=np.int16),
        np.full((n, MAX_BEATS), NO_PEAK, dtype=np.int16),
        np.zeros(n, dtype=np.uint8),
        np.full((n, MAX_BEATS), MISSING, dtype=np.uint8),
        {},
    )
    for first in range(0, n, _BATCH):
        alike = defaultdict(list)  # records of one rate and length are filtered together
        for row in range(first, min(first + _BATCH, n)):
            try:
                recording, signal, flaws = _read(dataset, raw, str(where[row]), options)
            except MalformedRecordError as reason:
                rows.reasons[row] = str(reason)
            except (OSError, KeyError) as error:  # the file is there in the index, and does not give this record
                rows.reasons[row] = f"file cannot be read ({type(error).__name__})"
            else:
                rows.quality[row] = flaws
                alike[int(recording.sampling_hz), signal.shape[1]].append((row, recording, signal))
        for (hz, _), group in alike.items():
            _fill(dataset, options, rows, hz, group)
    return rows


def _read(dataset: Dataset, raw: Path, where: str, options: Options) -> tuple[Recording, np.ndarray, int]:
    """One recording, its signal with canonical leads [n_leads, n_samples] without gaps, and its flaws."""
    recording = dataset.load(raw, where)
    if recording.sampling_hz not in dataset.card.sampling_hz:
        raise MalformedRecordError(f"sampling rate {recording.sampling_hz:g} Hz is not that of the dataset's card")
    signal = ordered(recording.signal, recording.leads, dataset.leads)
    if signal.shape[1] < recording.sampling_hz:
        raise MalformedRecordError("shorter than a second")
    if np.isinf(signal).any():
        raise MalformedRecordError("infinite values")
    if not np.any(np.nan_to_num(signal)):
        raise MalformedRecordError("all leads are zero or missing")
    flaws, bad = quality.flaws_of(signal, recording.sampling_hz)
    flaws |= FLAWS["checksum"] * (not recording.checksum)
    if bad.any() and options.flawed_leads == "drop":
        raise MalformedRecordError("flat, saturated or missing lead (dropped as asked)")
    if (np.isnan(signal).mean(axis=1) > _MAX_MISSING).any() and not bad.any():
        raise MalformedRecordError("more than a fifth of a lead is missing")
    signal = quality.interpolated(signal)
    if dataset.einthoven is not None:
        reason = why_not_einthoven(_limb(signal, recording.sampling_hz), dataset.einthoven)
        if reason:
            raise MalformedRecordError(reason)
    if bad.any() and options.flawed_leads == "zero":
        signal = np.where(bad[:, None], 0, signal).astype(np.float32)
    length = signal.shape[1] - options.seconds * recording.sampling_hz
    flaws |= FLAWS["padded"] * bool(length < -1) | FLAWS["cut"] * bool(length > 1)
    return recording, signal, flaws


def _limb(signal: np.ndarray, sampling_hz: float) -> np.ndarray:
    """Limb leads without their baselines, quick and linear: differences over 20 ms, then averages over 20 ms."""
    lag = max(1, round(0.02 * sampling_hz))
    slope = signal[:6, lag:] - signal[:6, :-lag]
    n = slope.shape[1] // lag * lag
    return slope[:, :n].reshape(6, -1, lag).mean(axis=2)


def _fill(dataset: Dataset, options: Options, rows: _Rows, hz: int, group: list) -> None:
    """Filter, resample, cut to the window, find the beats and round: from a group of raw signals to stored rows."""
    stored = _stored_leads(dataset)
    at = np.array([row for row, _, _ in group])
    kept = [dataset.leads.index(lead) for lead in stored]
    signals = np.stack([signal[kept] for _, _, signal in group])
    clean = conditioned(signals, hz, options.sampling_hz, dataset.recipe)
    window, shift = _window(clean, options.n_samples, dataset.window)
    if dataset.beat_classes:
        for row, recording, _ in group:
            _annotated(rows, row, recording, options, shift)
    else:
        rows.peaks[at] = DETECTORS[options.detector](window, options.sampling_hz)
    units = np.rint(window / _UNIT)
    limit = np.iinfo(np.int16).max
    rows.quality[at] |= FLAWS["clipped"] * (np.abs(units).max(axis=(1, 2)) > limit).astype(np.uint8)
    rows.quality[at] |= FLAWS["no beat found"] * (rows.peaks[at, 0] == NO_PEAK).astype(np.uint8)
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


def _annotated(rows: _Rows, row: int, recording: Recording, options: Options, shift: int) -> None:
    if recording.beats is None or recording.beat_classes is None:
        return
    at = np.rint(recording.beats * options.sampling_hz / recording.sampling_hz).astype(int) + shift
    inside = (at >= 0) & (at < options.n_samples)
    at, classes = at[inside][:MAX_BEATS], recording.beat_classes[inside][:MAX_BEATS]
    rows.peaks[row, : len(at)] = at
    rows.beat_classes[row, : len(at)] = classes


def _stored_leads(dataset: Dataset) -> tuple[str, ...]:
    return INDEPENDENT_LEADS if dataset.einthoven is not None and dataset.leads == LEADS else dataset.leads


# ---- all chunks ------------------------------------------------------------------------------------------------------


def _worked(
    dataset: Dataset,
    raw: Path,
    partial: Path,
    index: Index,
    options: Options,
    waiting: list[tuple[int, int]],
    workers: int,
) -> Iterator[tuple[int, int]]:
    """Do the waiting chunks, in this process or several; yields each as it is finished."""
    if workers == 1 or len(waiting) <= 1:
        for first, last in waiting:
            _work(dataset, raw, partial, index.where[first:last], options, first)
            yield first, last
        return
    with ProcessPoolExecutor(min(workers, len(waiting)), mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(_work, dataset, raw, partial, index.where[first:last], options, first): (first, last)
            for first, last in waiting
        }
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs.pop(job)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _work(dataset: Dataset, raw: Path, partial: Path, where: np.ndarray, options: Options, first: int) -> None:
    rows = _rows(dataset, raw, where, options)
    for array in ("signal", "peaks", "quality", *([corpus.BEAT_CLASSES] if dataset.beat_classes else [])):
        stored = np.load(partial / "corpus" / f"{array}.npy", mmap_mode="r+")
        stored[first : first + len(where)] = getattr(rows, array)
        stored.flush()
    marker = _marker(partial, first)
    marker.with_suffix(".tmp").write_text(json.dumps({"reasons": rows.reasons}))
    os.replace(marker.with_suffix(".tmp"), marker)


def _marker(partial: Path, first: int) -> Path:
    return partial / "done" / f"{first:09d}.json"


def _workplace(dataset: Dataset, index: Index, home: Path, options: Options) -> Path:
    """The hidden folder with its empty arrays; one left by the same preparation is taken up, another is thrown away.

    Raises OSError if the disk cannot hold the corpus.
    """
    folder = corpus.folder_of(home, options.corpus)
    partial = folder.with_name(f".{options.corpus}.partial")
    plan = json.dumps({**asdict(options), "recipe": str(dataset.recipe), "index": _digest(index)})
    if (partial / "plan.json").is_file() and (partial / "plan.json").read_text() == plan:
        return partial
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "done").mkdir(parents=True)
    (partial / "corpus").mkdir()
    n, n_leads = len(index.where), len(_stored_leads(dataset))
    needed = n * _row_bytes(dataset, options, index.labels.shape[1])
    free = shutil.disk_usage(partial).free
    if needed > free:
        raise OSError(f"{options.corpus} needs {needed / 1e9:.1f} GB and the disk of home has {free / 1e9:.1f} GB free")
    arrays: dict[str, tuple[tuple[int, ...], type]] = {
        "signal": ((n, n_leads, options.n_samples), np.int16),
        "peaks": ((n, MAX_BEATS), np.int16),
    }
    arrays |= {"quality": ((n,), np.uint8)}
    if dataset.beat_classes:
        arrays |= {corpus.BEAT_CLASSES: ((n, MAX_BEATS), np.uint8)}
    for array, (shape, dtype) in arrays.items():
        np.lib.format.open_memmap(partial / "corpus" / f"{array}.npy", mode="w+", dtype=dtype, shape=shape).flush()
    (partial / "plan.json").write_text(plan)
    return partial


def _row_bytes(dataset: Dataset, options: Options, n_labels: int) -> int:
    beats = MAX_BEATS * (3 if dataset.beat_classes else 2)
    return len(_stored_leads(dataset)) * options.n_samples * 2 + beats + n_labels + 6


def _digest(index: Index) -> str:
    digest = hashlib.sha256("\n".join(index.where).encode())
    digest.update("\n".join(index.patient).encode())
    digest.update(np.ascontiguousarray(index.labels).data)
    if index.split is not None:
        digest.update(np.ascontiguousarray(index.split).data)
    return digest.hexdigest()


def _finished(
    dataset: Dataset, partial: Path, home: Path, index: Index, options: Options, firsts: Sequence[int]
) -> Corpus:
    salt = options.salt or options.name
    codes = patient_codes(index.patient, salt)
    splits = split.by_hash(index.patient, salt, dataset.shares) if index.split is None else index.split.copy()
    reasons: Counter[str] = Counter(index.refused)
    for first in firsts:
        for row, reason in json.loads(_marker(partial, first).read_text())["reasons"].items():
            splits[first + int(row)] = split.NONE
            reasons[reason] += 1
    n_refused = sum(reasons.values()) - sum(index.refused.values())
    lawless = sum(count for reason, count in reasons.items() if "permuted" in reason or "Einthoven" in reason)
    if n_refused == len(index.where) or lawless > max(2, 0.5 * len(index.where)):
        worst = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        raise ValueError(f"{options.corpus}: {n_refused} of {len(index.where)} records refused: {worst}")
    whole = partial / "corpus"
    for array, values in (("labels", index.labels), ("patient", codes), ("split", splits.astype(np.uint8))):
        np.save(whole / f"{array}.npy", values)
    prepared = corpus.seal(
        whole,
        home,
        options.corpus,
        label_sets=index.label_sets,
        label_subsets=index.label_subsets,
        sampling_hz=options.sampling_hz,
        mv_per_unit=_UNIT,
        units=dataset.units,
        leads=_stored_leads(dataset),
        beat_classes=dataset.beat_classes,
        refused=dict(reasons.most_common()),
        missing=tuple(index.missing),
        preparation=_in_words(dataset, options),
    )
    shutil.rmtree(partial)
    return prepared


def _in_words(dataset: Dataset, options: Options) -> str:
    beats = "annotated beats" if dataset.beat_classes else f"R peaks by {options.detector}"
    return (
        f"{dataset.recipe}; resampled to {options.sampling_hz} Hz; {options.seconds:g} s from the {dataset.window}; "
        f"int16 steps of {_UNIT:g} {dataset.units}; flawed leads: {options.flawed_leads}; {beats}"
    )
