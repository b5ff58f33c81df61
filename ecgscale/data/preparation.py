"""From a raw folder to a corpus: read, check, name the leads, filter, resample, find the beats; once, and resumable.

Work is cut into chunks of records. Each chunk's rows go straight into the memory maps of a hidden folder beside the
corpus, then a small marker says that they are there; the same command continues after the last marker. Whoever prepares
a corpus holds a lease on it, so that nobody else does meanwhile. Nothing that identifies a record or a patient leaves
this module: patients become salted codes, refused records become counts.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import corpus, pseudonyms, split
from ecgscale.data.amplitude import Measured, why_not_usual
from ecgscale.data.chunks import chunks_of, is_marked, is_open, missing_of, said_of, write
from ecgscale.data.corpus import Corpus
from ecgscale.data.dataset import Dataset, Index
from ecgscale.data.label_sets import why_absurd
from ecgscale.data.lock import alone
from ecgscale.data.peaks import MAX_BEATS
from ecgscale.data.prepare_rows import UNIT, Options, in_words, row_bytes, rows_of, stored_leads
from ecgscale.data.quality import narrowed
from ecgscale.data.tables import UnreadableTable
from ecgscale.records import write_whole

_CHUNK = 256  # records a marker
_FIRST_CHUNKS = 4  # spread over all records: their amplitudes are judged before the others are read


@dataclass(frozen=True)
class Progress:
    """How far a preparation is."""

    n_done: int
    n_records: int
    records_per_second: float
    seconds_left: float
    disk_bytes: int  # of the finished corpus


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
    ValueError if no record is usable, if nearly all break Einthoven's law, or if the corpus is there but was prepared
    with other options, Busy while another process of this home prepares it.
    """
    if corpus.is_prepared(home, options.corpus):
        return _opened(dataset, home, options)
    with alone(home, options.corpus) as check:
        if corpus.is_prepared(home, options.corpus):  # by whoever was at it until now
            return _opened(dataset, home, options)
        index = indexed(dataset, raw)
        if index.missing and not allow_missing:
            raise FileNotFoundError(
                f"{options.name}: the raw folder lacks {'; '.join(index.missing[:5])}"
                f"{' and more' if len(index.missing) > 5 else ''}. "
                "Complete it, or say --allow-missing: what is missing is then written into the corpus"
            )
        partial = workplace(dataset, index, home, options)
        chunks = chunks_of(len(index.where), _CHUNK)
        first_chunks = list(dict.fromkeys(chunks[i * len(chunks) // _FIRST_CHUNKS] for i in range(_FIRST_CHUNKS)))
        in_turn = [*first_chunks, *(chunk for chunk in chunks if chunk not in first_chunks)]
        waiting = missing_of(partial, in_turn)
        began, n_done = time.monotonic(), len(index.where) - sum(last - first for first, last in waiting)
        n_before = n_done
        disk_bytes = len(index.where) * row_bytes(dataset, options, index.label_bytes)
        for first, last in worked(dataset, raw, partial, index, options, waiting, workers or os.cpu_count() or 1):
            check()
            n_done += last - first
            if (first, last) in first_chunks and all(is_marked(partial, chunk) for chunk in first_chunks):
                _refuse_implausible(dataset, partial, options, first_chunks)
            rate = (n_done - n_before) / max(time.monotonic() - began, 1e-9)
            progress(Progress(n_done, len(index.where), rate, (len(index.where) - n_done) / rate, disk_bytes))
        return _finished(dataset, partial, home, index, options, chunks)


def _opened(dataset: Dataset, home: Path, options: Options) -> Corpus:
    """The corpus that is there. Raises ValueError if it was prepared with other options."""
    manifest = corpus.manifest_of(home, options.corpus)
    there, asked = manifest.preparation, in_words(dataset, options)
    if there == asked and json.dumps(manifest.reader, sort_keys=True) != json.dumps(dataset.reader, sort_keys=True):
        there, asked = _told_apart(manifest.reader, dataset.reader)
    if there != asked:
        raise ValueError(
            f"{options.corpus} is prepared already, in another way ({_differing(there, asked)}); a corpus never "
            f"changes: prepare this one in another --home, or remove corpora/{options.corpus} from this one first"
        )
    return corpus.read(home, options.corpus)


def _differing(there: str, asked: str) -> str:
    """The steps of two preparations, in words, that are not the same: "A, not B"."""
    both = [(a, b) for a, b in zip(there.split("; "), asked.split("; "), strict=False) if a != b]
    return "; ".join(f"{a}, not {b}" for a, b in both) or f"{there}, not {asked}"


def _told_apart(there: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[str, str]:
    """What differs in what two readers of one's own were told, in words."""
    keys = [key for key in sorted({*there, *asked}) if there.get(key) != asked.get(key)]
    said = [
        ", ".join("another table or reader" if key == "sha256" else f"{key} {one.get(key, 'none')}" for key in keys)
        for one in (there, asked)
    ]
    return said[0], said[1] if said[0] != said[1] else "this one"


def indexed(dataset: Dataset, raw: Path) -> Index:
    """The dataset's index of a raw folder, checked. Raises ValueError or OSError in one sentence."""
    if not raw.is_dir():
        raise NotADirectoryError(f"no raw folder {raw.name!r}; --raw is where the dataset's files lie")
    title = dataset.card.title
    try:
        index = dataset.index(raw)
    except UnreadableTable as error:
        raise ValueError(f"{title}: {error}") from None
    except (ArithmeticError, AttributeError, IndexError, KeyError, SyntaxError, TypeError, ValueError) as error:
        said = str(error).partition("\n")[0][:200]
        raise ValueError(f"a table of {title} cannot be read ({type(error).__name__}): {said}") from None
    n_labels = sum(len(classes) for classes in index.label_sets.values())
    if not len(index.where):
        raise ValueError(f"no record of {title} in the raw folder; is it the right one?")
    if index.labels.shape != (len(index.where), n_labels) or len(index.patient) != len(index.where):
        raise ValueError(f"index of {title}: arrays of different lengths")
    index = _numbers_checked(title, index)
    _check_accounts(title, index)
    index = _each_its_own(index)
    _check_splits(title, index, dataset.shares)
    return index


def _check_accounts(title: str, index: Index) -> None:
    """Every row of the table is used, refused for a reason, or absent; else the reader has lost some."""
    if index.accounts is None:
        return
    parts = index.accounts.used + sum(index.refused.values()) + index.accounts.absent + index.accounts.elsewhere
    if parts != index.accounts.total:
        raise ValueError(f"index of {title}: {parts:,} of {index.accounts.total:,} {index.accounts.of} accounted for")


def _numbers_checked(title: str, index: Index) -> Index:
    """The index with its numbers in float32. Raises ValueError for one that is none, or that nobody can have."""
    names = [(name, label, unit) for name, some in index.number_units.items() for label, unit in some.items()]
    numbers = np.zeros((len(index.where), 0)) if index.numbers is None else np.asarray(index.numbers)
    if numbers.shape != (len(index.where), len(names)) or (names and numbers.dtype.kind != "f"):
        raise ValueError(
            f"index of {title}: its numbers are {numbers.dtype} {list(numbers.shape)}, not float "
            f"[{len(index.where)}, {len(names)}] as number_units names them"
        )
    for name in index.number_units:
        if name in {**index.label_sets, **index.label_subsets}:
            raise ValueError(f"index of {title}: {name!r} is a set of labels and one of numbers; call one another name")
    for at, (_, label, unit) in enumerate(names):
        values, places = np.unique(numbers[:, at], return_index=True)
        for value, row in zip(values.tolist(), places.tolist(), strict=True):
            if why := why_absurd(label, unit, value):
                raise ValueError(
                    f"{title}: {label} of record {row + 1:,} {why}; mend it, or leave it blank if it is unknown"
                )
    return replace(index, numbers=numbers.astype(np.float32) if names else None)


def _each_its_own(index: Index) -> Index:
    """Recordings of nobody become people of their own."""
    nobody = np.asarray(index.patient == "", dtype=bool)
    if not nobody.any():
        return index
    patient = index.patient.copy()
    patient[nobody] = [f"recording {where}" for where in index.where[nobody]]
    said = "recordings without a patient: each is taken as a person of its own"
    return replace(index, patient=patient, notes={**index.notes, said: int(nobody.sum())})


def _check_splits(title: str, index: Index, shares: Sequence[float]) -> None:
    """Nobody is in two splits, and where patients are split here none is empty. Raises ValueError."""
    if index.split is None:
        n_patients = len(split.distinct(index.patient)[0])
        if n_patients < len(split.SPLITS) - 1 and min(shares) > 0:
            raise ValueError(
                f"{title}: {n_patients} patient{'s' * (n_patients > 1)} cannot be parted into train, val and test; is "
                "the raw folder whole, and does its table say who is who?"
            )
        return
    try:
        split.assert_disjoint(split.distinct(index.patient)[1], index.split)
    except ValueError as error:
        raise ValueError(f"{title}: by {index.split_column or 'its own split'}, {error}") from None


def worked(
    dataset: Dataset,
    raw: Path,
    partial: Path,
    index: Index,
    options: Options,
    waiting: list[tuple[int, int]],
    workers: int,
) -> Iterator[tuple[int, int]]:
    """Do the waiting chunks, in this process or several; yields each as it is finished.

    Raises OSError if one of several is killed.
    """
    if workers == 1 or len(waiting) <= 1:
        for first, last in waiting:
            _work(dataset, raw, partial, index.where[first:last], options, first)
            yield first, last
        return
    n_processes, spawn = min(workers, len(waiting)), get_context("spawn")
    with ProcessPoolExecutor(n_processes, mp_context=spawn, initializer=_end_with_parent) as pool:
        jobs = {
            pool.submit(_work, dataset, raw, partial, index.where[first:last], options, first): (first, last)
            for first, last in waiting
        }
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs.pop(job)
        except BrokenProcessPool:
            raise OSError(
                "a process of the preparation was killed, perhaps for want of memory; the same command goes on where "
                "it stopped, and with fewer --workers it needs less memory"
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let this process write nothing more once its parent was killed: another may hold the corpus then."""

    def follow() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="follows its parent", daemon=True).start()


def _work(dataset: Dataset, raw: Path, partial: Path, where: np.ndarray, options: Options, first: int) -> None:
    rows = rows_of(dataset, raw, where, options)
    names = ("signal", "peaks", "quality", *([corpus.BEAT_CLASSES] if dataset.beat_classes else []))
    said = {"reasons": rows.reasons, "measured": asdict(rows.measured)}
    write(partial, first, {array: getattr(rows, array) for array in names}, said)


def workplace(dataset: Dataset, index: Index, home: Path, options: Options) -> Path:
    """The hidden folder with its empty arrays; one left by the same preparation is taken up, another is thrown away.

    Raises OSError if the disk cannot hold the corpus.
    """
    folder = corpus.folder_of(home, options.corpus)
    partial = folder.with_name(f".{options.corpus}.partial")
    told = {"reader": dataset.reader} if dataset.reader else {}
    plan = json.dumps(
        {**asdict(options), "recipe": str(options.recipe_of(dataset)), "index": _digest(index), "edition": 3, **told}
    )
    n, n_leads = len(index.where), len(stored_leads(dataset))
    arrays: dict[str, tuple[tuple[int, ...], type]] = {
        "signal": ((n, n_leads, options.n_samples), np.int16),
        "peaks": ((n, MAX_BEATS), np.int16),
        "quality": ((n,), np.uint16),
    }
    if dataset.beat_classes:
        arrays |= {corpus.BEAT_CLASSES: ((n, MAX_BEATS), np.uint8)}
    planned = partial / "plan.json"
    if planned.is_file() and planned.read_bytes() == plan.encode() and is_open(partial, arrays):
        return partial
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "done").mkdir(parents=True)
    (partial / "corpus").mkdir()
    needed = n * row_bytes(dataset, options, index.label_bytes)
    free = shutil.disk_usage(partial).free
    if needed > free:
        raise OSError(f"{options.corpus} needs {needed / 1e9:.3g} GB and the disk of home has {free / 1e9:.3g} GB free")
    try:
        for array, (shape, dtype) in arrays.items():
            corpus.allocated(partial / "corpus" / f"{array}.npy", dtype, shape)
        write_whole(planned, plan.encode())
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)  # it takes the room that is lacking
        raise
    return partial


def _digest(index: Index) -> str:
    digest = hashlib.sha256()
    for column in (index.where, index.patient):
        for first in range(0, len(column), _CHUNK):
            digest.update("\n".join([*column[first : first + _CHUNK], ""]).encode())
    digest.update(np.ascontiguousarray(index.labels).data)
    for array in (index.split, index.numbers):
        if array is not None:
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _measured(partial: Path, chunks: Sequence[tuple[int, int]]) -> Measured:
    return sum((Measured(**said_of(partial, chunk)["measured"]) for chunk in chunks), Measured())


def _refuse_implausible(
    dataset: Dataset, partial: Path, options: Options, chunks: Sequence[tuple[int, int]]
) -> Measured:
    """What was measured of these chunks. Raises ValueError, and forgets them, if they cannot be of hearts in mV."""
    measured = _measured(partial, chunks)
    reason = why_not_usual(measured, dataset.amplitude, dataset.card.units)
    if reason:
        _forget(partial)
        raise ValueError(f"{options.corpus}: {reason}")
    return measured


def _forget(partial: Path) -> None:
    """Let nothing of a refused preparation be taken up: the raw files will be others then."""
    (partial / "plan.json").unlink()
    shutil.rmtree(partial, ignore_errors=True)  # others may still be writing


def _finished(
    dataset: Dataset, partial: Path, home: Path, index: Index, options: Options, chunks: Sequence[tuple[int, int]]
) -> Corpus:
    measured = _refuse_implausible(dataset, partial, options, chunks)
    salt = options.salt or options.name
    codes = pseudonyms.codes(index.patient, salt, pseudonyms.secret(home))
    splits = split.by_hash(index.patient, salt, dataset.shares) if index.split is None else index.split.copy()
    reasons: Counter[str] = Counter(index.refused)
    for chunk in chunks:
        for row, reason in said_of(partial, chunk)["reasons"].items():
            splits[chunk[0] + int(row)] = split.NONE
            reasons[reason] += 1
    n_refused = sum(reasons.values()) - sum(index.refused.values())
    lawless = sum(count for reason, count in reasons.items() if "permuted" in reason or "Einthoven" in reason)
    if n_refused == len(index.where) or lawless > max(2, 0.5 * len(index.where)):
        worst = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
        _forget(partial)
        raise ValueError(f"{options.corpus}: {n_refused} of {len(index.where)} records refused: {worst}")
    _check_filled(options, index, splits)
    whole = partial / "corpus"
    flags = narrowed(np.load(whole / "quality.npy"))
    for array, values in (
        ("quality", flags),
        ("labels", index.labels),
        ("patient", codes),
        ("split", splits.astype(np.uint8)),
        *([(corpus.NUMBERS, index.numbers)] if index.numbers is not None else []),
    ):
        corpus.stored(whole / f"{array}.npy", values)
    prepared = corpus.seal(
        whole,
        home,
        options.corpus,
        label_sets=index.label_sets,
        label_subsets=index.label_subsets,
        number_units=index.number_units,
        sampling_hz=options.sampling_hz,
        mv_per_unit=UNIT,
        units=dataset.units,
        leads=stored_leads(dataset),
        beat_classes=dataset.beat_classes,
        refused=dict(reasons.most_common()),
        missing=tuple(index.missing),
        notes=dict(index.notes),
        accounts=_sums(index, splits, n_refused),
        preparation=in_words(dataset, options),
        native_hz=dict(sorted(measured.native_hz.items(), key=lambda item: float(item[0]))),
        n_upsampled=measured.n_upsampled(options.sampling_hz),
        amplitude=measured.said(dataset.amplitude),
        reader=dict(dataset.reader),
    )
    shutil.rmtree(partial)
    return prepared


def _check_filled(options: Options, index: Index, splits: np.ndarray) -> None:
    """Refused recordings have not emptied what the corpus is for. Raises ValueError."""
    wanted = split.TEST if index.split is not None and not np.any(index.split == split.TRAIN) else split.TRAIN
    if not np.any(splits == wanted):
        raise ValueError(f"{options.corpus}: no recording is left in {split.SPLITS[wanted]}; all of them were refused")


def _sums(index: Index, splits: np.ndarray, n_refused: int) -> dict[str, int]:
    """Where every row of the table went, in words: the first is the sum of the others."""
    if index.accounts is None:
        return {}
    sums = {index.accounts.of: index.accounts.total}
    if index.accounts.used == len(index.where):
        sums |= {f"in {name}": int(np.sum(splits == code)) for code, name in enumerate(split.SPLITS[:3])}
        sums["left out by the dataset's own split"] = int(np.sum(splits == split.NONE)) - n_refused
        sums["refused, signal"] = n_refused
    else:
        sums["used, in windows"] = index.accounts.used
    sums |= {"refused": sum(index.refused.values()), "absent": index.accounts.absent}
    sums |= {"of another dataset's folds": index.accounts.elsewhere}
    return {what: count for at, (what, count) in enumerate(sums.items()) if count or at == 0}
