"""Some records of a raw folder read again, to tell whether corpus, reader and headers mean the same millivolts."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ecgscale.data import hdf5
from ecgscale.data.amplitude import qrs_amplitudes
from ecgscale.data.corpus import Manifest
from ecgscale.data.dataset import Dataset, Index
from ecgscale.data.folders import inside
from ecgscale.data.prepare_rows import UNREADABLE, RawRecord, raw_record, stored_leads
from ecgscale.data.recording import MalformedRecordError
from ecgscale.data.split import NONE

_RUNS, _RUN = 8, 4  # records of a sample: neighbours, as windows of one long record are read together
_STORED = (0.4, 1.6)  # of the raw QRS amplitude: what filters and a lower rate leave
_SAME = 0.02  # relative: two readings of one file

Check = tuple[str, str, str, bool]


def against_records(
    dataset: Dataset, raw: Path, index: Index, arrays: dict[str, np.ndarray], manifest: Manifest
) -> list[Check]:
    """Rows (item, expected, found, ok): files that are there, amplitudes read again, stored, and by another reader."""
    checks: list[Check] = []
    if not str(dataset.reader.get("reader", "")).endswith(".py"):  # where such a reader's records lie, it alone knows
        files = np.unique([name.partition("#")[0] for name in index.where])
        n_there = sum(_holds_something(inside(raw, name)) for name in files)
        found = f"{n_there:,} with something in them"
        checks.append(("files of the records", f"{len(files):,}", found, n_there == len(files)))
    read = list(_sample(dataset, raw, index))
    if not read:
        return [*checks, ("records read again", "some", "none can be read", False)]
    (low, high), unit = dataset.amplitude.usual, dataset.amplitude.unit
    typical = float(np.median([record.qrs for _, record in read]))
    item = f"median QRS amplitude of {len(read)} records read again"
    checks.append((item, f"{low:g} to {high:g} {unit}", f"{typical:.3g} {unit}", low <= typical <= high))
    checks += _stored(dataset, index, arrays, manifest, read)
    return checks + _by_wfdb(raw, index, read)


def _holds_something(file: Path) -> bool:
    return file.is_file() and file.stat().st_size > 0


def _sample(dataset: Dataset, raw: Path, index: Index) -> Iterator[tuple[int, RawRecord]]:
    """Row and record of a sample that is spread over the whole index; records that cannot be read are left out."""
    firsts = np.linspace(0, max(0, len(index.where) - _RUN), _RUNS).astype(int)
    for row in np.unique(firsts[:, None] + np.arange(_RUN)):
        if row < len(index.where):
            try:
                yield int(row), raw_record(dataset, raw, str(index.where[row]))
            except hdf5.Locked:
                raise
            except UNREADABLE:  # MalformedRecordError is one: the preparation has counted it
                continue


def _stored(
    dataset: Dataset,
    index: Index,
    arrays: dict[str, np.ndarray],
    manifest: Manifest,
    read: list[tuple[int, RawRecord]],
) -> list[Check]:
    """Do the stored signals have the size of the raw ones? (Not where a record is mapped to a range of its own.)"""
    if manifest.units != dataset.amplitude.unit or not {"signal", "split"} <= set(arrays):
        return []
    if len(arrays["signal"]) != len(index.where) or len(arrays["split"]) != len(index.where):
        return []
    kept = [dataset.leads.index(lead) for lead in stored_leads(dataset)]
    shares = []
    for row, record in read:
        if arrays["split"][row] == NONE or record.bad.any():
            continue
        signal = np.asarray(arrays["signal"][row], dtype=np.float32) * manifest.mv_per_unit
        native = np.median(qrs_amplitudes(record.signal[kept], record.recording.sampling_hz))
        shares.append(np.median(qrs_amplitudes(signal, manifest.sampling_hz)) / max(float(native), 1e-9))
    if not shares:
        return []
    typical = float(np.median(shares))
    expected = "about 1, less what filters take"
    return [("stored QRS amplitude over that of the raw record", expected, f"{typical:.2f}", _near(typical))]


def _near(share: float) -> bool:
    return _STORED[0] <= share <= _STORED[1]


def _by_wfdb(raw: Path, index: Index, read: list[tuple[int, RawRecord]]) -> list[Check]:
    """Records whose headers' gains are believed, read by the wfdb package, which shares no line with the reader."""
    n_read = n_other = 0
    for row, record in read:
        name, _, first = str(index.where[row]).partition("#")
        if not name.endswith(".hea") or not record.recording.gain:
            continue
        try:
            other = _millivolts(inside(raw, name), int(first or 0), record.recording.signal.shape[1])
        except Exception:  # many kinds: wfdb reads less than the reader does (Georgia's headers, re-saved files)
            continue
        n_read += 1
        ours = np.sort(qrs_amplitudes(np.nan_to_num(record.recording.signal), record.recording.sampling_hz))
        theirs = np.sort(qrs_amplitudes(np.nan_to_num(other), record.recording.sampling_hz))
        n_other += ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=_SAME, atol=1e-3)
    if not n_read:
        return []
    found = f"{n_other} of {n_read} differ" if n_other else "the same"
    return [(f"millivolts of {n_read} records by the wfdb package", "the same", found, n_other == 0)]


def _millivolts(header: Path, first: int, n_samples: int) -> np.ndarray:
    import wfdb

    record = wfdb.rdrecord(str(header.with_suffix("")), sampfrom=first, sampto=first + n_samples)
    per_mv = {"mv": 1.0, "uv": 1e-3, "v": 1e3}
    scale = [per_mv[unit.lower()] for unit in record.units]
    if not np.isfinite(record.p_signal).any():
        raise MalformedRecordError("no samples")
    return record.p_signal.T * np.array(scale)[:, None]
