"""WFDB records read with limits: a header is believed only where its meaning is certain and its file can hold it.

The common layout (format 16, one file, also "16+24" inside a MATLAB v4 file) is read here, other MATLAB files by their
own header; every other format goes to the wfdb package once the header has passed.
"""

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from ecgscale.data import matlab
from ecgscale.data.recording import MalformedRecordError, Recording

MAX_LEADS = 64
MIN_HZ, MAX_HZ = 10, 10_000
_MAX_HEADER_BYTES = 1_000_000
_NOT_A_SAMPLE = -32768  # format 16
_MV_PER = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "v": 1e3}
# Bits a sample of the formats of the WFDB applications guide; the FLAC formats (5xx) compress, so have no such bound.
_BITS = {"8": 8, "16": 16, "24": 24, "32": 32, "61": 16, "80": 8, "160": 16, "212": 12, "310": 32 / 3, "311": 32 / 3}

_RECORD_LINE = re.compile(
    r"(?P<name>\S+?)(?P<segments>/\d+)?\s+(?P<n_leads>\d+)"
    r"(?:\s+(?P<hz>[\d.]+(?:[eE][-+]?\d+)?)(?:/\S+)?(?:\s+(?P<n_samples>\d+))?)?(?:\s+\S.*)?$"
)
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+(?P<format>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?"
    r"(?:\s+(?P<gain>[-+\d.eE]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<units>\S+))?"
    r"(?:\s+(?P<bits>-?\d+)(?:\s+(?P<zero>-?\d+)(?:\s+(?P<first>-?\d+)(?:\s+(?P<checksum>-?\d+)"
    r"(?:\s+(?P<block>\d+)(?:\s+(?P<lead>.*))?)?)?)?)?)?)?$"
)


@dataclass(frozen=True)
class Lead:
    """One signal line of a header."""

    name: str
    file: str
    format: str
    offset: int
    per_frame: int
    skew: int
    gain: float  # file units per physical unit
    baseline: int
    units: str
    checksum: int | None


@dataclass(frozen=True)
class Header:
    """A header that has passed: rate and lengths are present and within limits."""

    sampling_hz: float
    n_samples: int
    leads: tuple[Lead, ...]


def header(path: Path) -> Header:
    """Read ``path`` (.hea). Line ends may be CRLF, and the record name may wrongly end in ".mat" (Georgia).

    Raises MalformedRecordError with the reason: no rate, absurd numbers, several segments, unreadable lines.
    """
    if not path.is_file():
        raise MalformedRecordError("header file missing")
    if path.stat().st_size > _MAX_HEADER_BYTES:
        raise MalformedRecordError("header is larger than a header can be")
    lines = path.read_bytes().decode("utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    record = _RECORD_LINE.match(said[0]) if said else None
    if record is None:
        raise MalformedRecordError("record line of the header is unreadable")
    if record["segments"]:
        raise MalformedRecordError("record has several segments")
    if len(record["n_leads"]) > 9 or len(record["n_samples"] or "") > 15:
        raise MalformedRecordError("record line of the header has absurd numbers")
    n_leads = int(record["n_leads"])
    if not 1 <= n_leads <= MAX_LEADS:
        raise MalformedRecordError(f"header has a number of leads outside 1 to {MAX_LEADS}")
    if record["hz"] is None:
        raise MalformedRecordError("sampling rate missing from the header")  # wfdb would silently assume 250 Hz
    sampling_hz = _number(record["hz"], "sampling rate")
    if not MIN_HZ <= sampling_hz <= MAX_HZ:
        raise MalformedRecordError(f"sampling rate outside {MIN_HZ} to {MAX_HZ} Hz")
    if len(said) - 1 < n_leads:
        raise MalformedRecordError("header has fewer signal lines than leads")
    leads = tuple(_lead(line) for line in said[1 : 1 + n_leads])
    return Header(sampling_hz, int(record["n_samples"] or 0), leads)


def comments(path: Path) -> tuple[str, ...]:
    """Comment lines of any header, also of one that would be refused."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return tuple(line.lstrip("#").strip() for line in lines if line.startswith("#"))


def read(path: Path, *, gains: bool = True) -> Recording:
    """Read the record of header ``path``: float32 mV with NaN for missing samples.

    With ``gains=False`` the headers' gains are not believed and file units are returned.
    Raises MalformedRecordError for a header or signal file that cannot be what it says.
    """
    head = header(path)
    units, agree = _file_units(path, head)
    names = tuple(lead.name for lead in head.leads)
    if not gains:
        return Recording(units, head.sampling_hz, names, checksum=agree)
    scale, offset = np.empty((2, len(head.leads), 1), dtype=np.float32)
    for i, lead in enumerate(head.leads):
        if lead.units.lower() not in _MV_PER:
            raise MalformedRecordError(f"unit {lead.units[:10]!r} is not one of voltage")
        if lead.gain == 0:
            raise MalformedRecordError("lead is not calibrated (gain 0)")
        scale[i], offset[i] = _MV_PER[lead.units.lower()] / lead.gain, lead.baseline
    millivolts = (units - offset) * scale
    gain = f"{head.leads[0].gain:.10g}/{head.leads[0].units}"
    return Recording(millivolts, head.sampling_hz, names, checksum=agree, gain=gain)


def _lead(line: str) -> Lead:
    match = _SIGNAL_LINE.match(line)
    if match is None:
        raise MalformedRecordError("signal line of the header is unreadable")
    zero = _whole(match["zero"] or "0")
    return Lead(
        name=(match["lead"] or "").strip(),
        file=match["file"],
        format=match["format"],
        offset=_whole(match["offset"] or "0"),
        per_frame=_whole(match["per_frame"] or "1"),
        skew=_whole(match["skew"] or "0"),
        gain=_number(match["gain"], "gain") if match["gain"] else 0.0,
        baseline=_whole(match["baseline"]) if match["baseline"] else zero,
        units=match["units"] or "mV",
        checksum=_whole(match["checksum"]) if match["checksum"] else None,
    )


def _whole(text: str) -> int:
    if len(text) > 11:  # no field of a signal line has more than 32 bits
        raise MalformedRecordError("signal line of the header has a number beyond 32 bits")
    return int(text)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise MalformedRecordError(f"{what} is not a number") from None
    if not np.isfinite(value):
        raise MalformedRecordError(f"{what} is not finite")
    return value


def _file_units(path: Path, head: Header) -> tuple[np.ndarray, bool]:
    """Samples in file units, float32 [n_leads, n_samples]; NaN where the file marks a missing sample."""
    first = head.leads[0]
    simple = {(lead.file, lead.format, lead.offset, lead.per_frame, lead.skew) for lead in head.leads}
    plain = len(simple) == 1 and first.format == "16" and (first.per_frame, first.skew) == (1, 0)
    for file in {lead.file for lead in head.leads}:
        if Path(file).name != file:  # also "..", an absolute path, or "~"
            raise MalformedRecordError("signal file is outside the record's folder")
        if not (path.parent / file).is_file():
            raise MalformedRecordError("signal file missing")
        if plain and _saved_again(path.parent / file, head):
            return _with_missing(matlab.file_units(path.parent / file, len(head.leads), head.n_samples), head)
        _check_size(path.parent / file, head, [lead for lead in head.leads if lead.file == file])
    if plain:
        return _with_missing(_format_16(path.parent / first.file, head), head)
    return _by_wfdb(path, head)


def _saved_again(file: Path, head: Header) -> bool:
    """A MATLAB file that is not as PhysioNet writes it: an offset into it says nothing."""
    return file.suffix.lower() == ".mat" and not matlab.is_plain(file, len(head.leads), head.leads[0].offset)


def _with_missing(samples: np.ndarray, head: Header) -> tuple[np.ndarray, bool]:
    """File units float32 with NaN, and whether the header's checksums agree."""
    units = samples.astype(np.float32)
    if samples.dtype == np.int16:
        units[samples == _NOT_A_SAMPLE] = np.nan
    return units, samples.dtype == np.float32 or _agree(samples, head)


def _agree(samples: np.ndarray, head: Header) -> bool:
    """Do the sums of whole numbers [n_leads, n_samples] agree with the header's, where it has them for all leads?"""
    sums = [lead.checksum for lead in head.leads]
    if any(value is None for value in sums):
        return True
    return np.array_equal(samples.sum(axis=1, dtype=np.int64) % 65536, np.array(sums, dtype=np.int64) % 65536)


def _check_size(file: Path, head: Header, leads: list[Lead]) -> None:
    """Refuse a length that the file cannot hold, before anything of that size is allocated."""
    present = file.stat().st_size
    if all(lead.format in _BITS for lead in leads):
        bits = sum(_BITS[lead.format] * lead.per_frame for lead in leads) * head.n_samples
        if leads[0].offset + bits / 8 > present + 4:  # the packed formats end in a partly used group
            raise MalformedRecordError("signal file is shorter than its header says")
    elif prod((len(leads), head.n_samples)) > 1000 * present:  # FLAC never compresses a signal a thousandfold
        raise MalformedRecordError("signal file is shorter than its header says")


def _format_16(file: Path, head: Header) -> np.ndarray:
    n_leads, offset = len(head.leads), head.leads[0].offset
    count = head.n_samples * n_leads if head.n_samples else -1
    values = np.fromfile(file, dtype="<i2", count=count, offset=offset)
    if not len(values) or len(values) % n_leads:
        raise MalformedRecordError("signal file does not hold whole samples of all leads")
    return values.reshape(-1, n_leads).T


def _by_wfdb(path: Path, head: Header) -> tuple[np.ndarray, bool]:
    """As ``_with_missing``. With leads of several rates (brought to the lowest) or a skew, sums say nothing."""
    import wfdb

    try:
        record = wfdb.rdrecord(str(path.with_suffix("")), physical=False, smooth_frames=True)
        physical = record.dac()  # NaN where the format marks a missing sample
    except Exception as error:
        raise MalformedRecordError(f"wfdb cannot read the record ({type(error).__name__})") from None
    gains = np.array([lead.gain or 200.0 for lead in head.leads])
    units = (physical * gains + [lead.baseline for lead in head.leads]).T.astype(np.float32)
    in_order = all((lead.per_frame, lead.skew) == (1, 0) for lead in head.leads)
    return units, not in_order or _agree(record.d_signal.T, head)
