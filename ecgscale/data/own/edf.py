"""EDF and EDF+ files (Kemp et al. 1992; Kemp and Olivan 2003) read with limits: nothing beyond the file is believed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecgscale.data.recording import MalformedRecordError

_FIXED, _PER_SIGNAL = 256, 256  # bytes
_MOST_SIGNALS = 512
# Fields of a signal's header in the order of the standard, each of which is listed for all signals before the next.
_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("dimension", 8),
    ("physical_min", 8),
    ("physical_max", 8),
    ("digital_min", 8),
    ("digital_max", 8),
    ("prefiltering", 80),
    ("n_samples", 8),
    ("reserved", 32),
)


@dataclass(frozen=True)
class Signals:
    """Ordinary signals of one rate: physical values float32 [n_signals, n_samples] and what the header says of each."""

    values: np.ndarray
    sampling_hz: float
    labels: tuple[str, ...]
    dimensions: tuple[str, ...]  # units as they stand there; "" where none does


def read(path: Path) -> Signals:
    """The signals of a file but for its annotations; where they have several rates, those with the rate of the ECG's.

    Raises MalformedRecordError for what is no EDF, is interrupted, shorter than its header says or not calibrated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_FIXED).decode("latin-1")
        if len(head) < _FIXED or head[:8].strip() != "0":
            raise MalformedRecordError("file is no EDF")
        if head[192:197] == "EDF+D":
            raise MalformedRecordError("EDF+ file is interrupted: its pieces are not one recording")
        n_signals = _whole(head[252:256])
        if not 1 <= n_signals <= _MOST_SIGNALS or size < _FIXED + n_signals * _PER_SIGNAL:
            raise MalformedRecordError("EDF header has an absurd number of signals")
        fields = _fields(file.read(n_signals * _PER_SIGNAL).decode("latin-1"), n_signals)
    n_samples = np.array([_whole(text) for text in fields["n_samples"]])
    seconds = _number(head[244:252])
    width = int(n_samples.sum())
    if seconds <= 0 or (n_samples < 0).any() or not 0 < width < 2**31:
        raise MalformedRecordError("EDF header has absurd lengths")
    start = _FIXED + n_signals * _PER_SIGNAL
    n_there, n_said = (size - start) // (2 * width), _whole(head[236:244])
    if n_said > n_there or n_there == 0:
        raise MalformedRecordError("EDF file is shorter than its header says")
    n_records = n_said if n_said > 0 else n_there
    chosen = _of_one_rate(fields["label"], n_samples)
    raw = np.memmap(path, dtype="<i2", mode="r", offset=start, shape=(n_records, width))
    firsts = np.concatenate([[0], np.cumsum(n_samples)])
    values = np.stack([raw[:, firsts[at] : firsts[at + 1]].reshape(-1) for at in chosen]).astype(np.float64)
    low, high, d_low, d_high = (
        np.array([_number(fields[name][at]) for at in chosen])[:, None]
        for name in ("physical_min", "physical_max", "digital_min", "digital_max")
    )
    if (d_high == d_low).any() or (high == low).any():
        raise MalformedRecordError("EDF signal is not calibrated")
    physical = (values - d_low) * (high - low) / (d_high - d_low) + low
    labels, dimensions = (tuple(fields[name][at].strip() for at in chosen) for name in ("label", "dimension"))
    return Signals(physical.astype(np.float32), float(n_samples[chosen[0]] / seconds), labels, dimensions)


def _fields(text: str, n_signals: int) -> dict[str, list[str]]:
    found, at = {}, 0
    for name, width in _FIELDS:
        found[name] = [text[at + i * width : at + (i + 1) * width] for i in range(n_signals)]
        at += n_signals * width
    return found


def _of_one_rate(labels: list[str], n_samples: np.ndarray) -> list[int]:
    """The ordinary signals; where their rates differ, those that are called ECG or EKG, if these have one rate."""
    ordinary = [at for at, label in enumerate(labels) if "annotations" not in label.casefold() and n_samples[at]]
    hearts = [at for at in ordinary if labels[at].strip()[:3].upper() in ("ECG", "EKG")]
    for some in (ordinary, hearts):
        if some and len({int(n_samples[at]) for at in some}) == 1:
            return some
    raise MalformedRecordError("EDF file has signals of several rates" if ordinary else "EDF file has no signal")


def _whole(text: str) -> int:
    return int(_number(text))


def _number(text: str) -> float:
    try:
        value = float(text.strip())
    except ValueError:
        raise MalformedRecordError("EDF header has a field that is no number") from None
    if not np.isfinite(value):
        raise MalformedRecordError("EDF header has a number that is not finite")
    return value
