"""MATLAB files by whatever saved them: one signal, every version, name, orientation, byte order and type."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from ecgscale import data
from ecgscale.data import hdf5, matlab, waveform
from ecgscale.data.readers import challenge, chapman
from ecgscale.data.recording import LEADS, MalformedRecordError
from tests import layouts

SIGNAL = layouts.signals(1, 500)[0]
UNITS = np.rint(SIGNAL * 1000).astype(np.int16)


def v73(path: Path, name: str, values: np.ndarray, **options: object) -> None:
    """As MATLAB saves with -v7.3: 512 bytes of its own, then HDF5 with the columns as rows."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset(name, data=values.T, **options).attrs["MATLAB_class"] = np.bytes_(values.dtype.name)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


def big_endian_v4(path: Path, name: str, values: np.ndarray) -> None:
    head = np.array([1030, *values.shape, 0, len(name) + 1], dtype=">i4")
    path.write_bytes(head.tobytes() + name.encode() + b"\0" + values.astype(">i2").tobytes(order="F"))


SAVED: dict[str, Callable[[Path], object]] = {
    "version 4": lambda path: scipy.io.savemat(path, {"val": UNITS}, format="4"),
    "version 4, another name": lambda path: scipy.io.savemat(path, {"signal": UNITS}, format="4"),
    "version 4, transposed": lambda path: scipy.io.savemat(path, {"val": UNITS.T}, format="4"),
    "version 4, double": lambda path: scipy.io.savemat(path, {"val": UNITS.astype(float)}, format="4"),
    "version 4, big-endian": lambda path: big_endian_v4(path, "val", UNITS),
    "version 5": lambda path: scipy.io.savemat(path, {"val": UNITS}),
    "version 5, compressed": lambda path: scipy.io.savemat(path, {"val": UNITS}, do_compression=True),
    "version 5, another name": lambda path: scipy.io.savemat(path, {"ecg": UNITS, "fs": 500}, do_compression=True),
    "version 5, transposed": lambda path: scipy.io.savemat(path, {"val": UNITS.T}, do_compression=True),
    "version 5, double": lambda path: scipy.io.savemat(path, {"val": UNITS.astype(float)}),
    "version 5, int32": lambda path: scipy.io.savemat(path, {"val": UNITS.astype(np.int32)}),
    "version 7.3": lambda path: v73(path, "val", UNITS),
    "version 7.3, compressed": lambda path: v73(path, "val", UNITS, compression="gzip", shuffle=True),
    "version 7.3, another name": lambda path: v73(path, "data", UNITS),
    "version 7.3, transposed": lambda path: v73(path, "val", UNITS.T),
    "version 7.3, double": lambda path: v73(path, "val", UNITS.astype(float)),
}


@pytest.mark.parametrize("how", SAVED)
def test_a_challenge_record_is_the_same_however_it_was_saved(how: str, tmp_path: Path) -> None:
    layouts.challenge_record(tmp_path, "E0001", SIGNAL, 500, "426783006")
    expected = waveform.read(tmp_path / "E0001.hea")
    SAVED[how](tmp_path / "E0001.mat")
    read = waveform.read(tmp_path / "E0001.hea")
    assert np.array_equal(read.signal, expected.signal)
    assert read.signal.dtype == np.float32
    assert read.checksum


def test_missing_samples_and_damage_show_in_saved_again_files(tmp_path: Path) -> None:
    layouts.challenge_record(tmp_path, "E0001", SIGNAL, 500, "426783006")
    holed = UNITS.astype(float)
    holed[3, 40:60] = np.nan
    scipy.io.savemat(tmp_path / "E0001.mat", {"val": holed})
    read = waveform.read(tmp_path / "E0001.hea")
    assert np.array_equal(np.isnan(read.signal), np.isnan(holed))
    marked = UNITS.copy()
    marked[3, 40:60] = -32768
    scipy.io.savemat(tmp_path / "E0001.mat", {"val": marked})
    assert np.isnan(waveform.read(tmp_path / "E0001.hea").signal).sum() == 20
    scipy.io.savemat(tmp_path / "E0001.mat", {"val": UNITS + np.eye(12, 5000, dtype=np.int16)})
    assert not waveform.read(tmp_path / "E0001.hea").checksum


def _linked(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["val"] = h5py.ExternalLink("elsewhere.h5", "val")


def _absurd(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("val", (10**12, 12), "i2", chunks=(1000, 12))


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "millivolts": (lambda path: scipy.io.savemat(path, {"val": SIGNAL}), "fractions, and its header's gain"),
    "too few leads": (
        lambda path: scipy.io.savemat(path, {"val": UNITS[:11]}),
        "matrix is 11 x 5000, not 12 leads by 5000",
    ),
    "too short": (
        lambda path: scipy.io.savemat(path, {"val": UNITS[:, :4000]}),
        "12 x 4000, not 12 leads by 5000 samples",
    ),
    "two matrices": (
        lambda path: scipy.io.savemat(path, {"a": UNITS, "b": UNITS}),
        "2 matrices of 12 leads, none called val",
    ),
    "none": (lambda path: scipy.io.savemat(path, {"a": "words"}), "no matrices of 12 leads"),
    "complex": (lambda path: scipy.io.savemat(path, {"val": UNITS * 1j}), "something else than real numbers"),
    "text": (lambda path: path.write_text("not MATLAB at all" * 20), "unreadable"),
    "nothing": (lambda path: path.write_bytes(b""), "unreadable"),
    "a link elsewhere": (_linked, "no matrices of 12 leads"),
    "absurd HDF5": (_absurd, "unreadable"),
    "absurd version 4": (
        lambda path: path.write_bytes(np.array([0, 2**30, 2**30, 0, 4], "<i4").tobytes() + b"val\0" + bytes(64)),
        "claims a matrix that it cannot hold|unreadable",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_no_such_matrix_is_refused_with_a_reason(how: str, tmp_path: Path) -> None:
    layouts.challenge_record(tmp_path, "E0001", SIGNAL, 500, "426783006")
    write, reason = REFUSED[how]
    write(tmp_path / "E0001.mat")
    with pytest.raises(MalformedRecordError, match=reason) as refused:
        waveform.read(tmp_path / "E0001.hea")
    assert "E0001" not in str(refused.value)


@pytest.mark.parametrize("how", ["version 4", "version 5, compressed", "version 7.3, compressed"])
def test_any_truncation_is_refused_or_the_whole_signal(how: str, tmp_path: Path) -> None:
    layouts.challenge_record(tmp_path, "E0001", SIGNAL, 500, "426783006")
    SAVED[how](tmp_path / "E0001.mat")
    whole = (tmp_path / "E0001.mat").read_bytes()
    for at in (10, 100, 300, 600, 1000, len(whole) // 2, len(whole) - 100):
        (tmp_path / "E0001.mat").write_bytes(whole[:at])
        with pytest.raises(MalformedRecordError):
            waveform.read(tmp_path / "E0001.hea")


def test_the_authors_editions_however_they_were_saved(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"ECG": {"sex": "F", "age": 61, "data": SIGNAL}})
    scipy.io.savemat(tmp_path / "b.mat", {"ECG": {"data": SIGNAL.T}}, do_compression=True)
    with h5py.File(tmp_path / "c.mat", "w", userblock_size=512) as file:
        file["ECG/data"], file["ECG/age"] = SIGNAL.T, np.array([[61.0]])
    scipy.io.savemat(tmp_path / "d.mat", {"data": SIGNAL})
    for name in "abcd":
        read = challenge.load_cpsc2018(tmp_path, f"{name}.mat")
        assert np.array_equal(read.signal, SIGNAL.astype(np.float32)), name
    microvolts = SIGNAL.T * 1000
    scipy.io.savemat(tmp_path / "val.mat", {"val": microvolts})
    scipy.io.savemat(tmp_path / "other.mat", {"ecg": microvolts.T}, do_compression=True)
    v73(tmp_path / "hdf5.mat", "val", microvolts)
    for name in ("val", "other", "hdf5"):
        read = chapman.load(tmp_path, f"{name}.mat")
        assert (read.signal.shape, read.leads) == ((12, 5000), LEADS)
        assert np.allclose(read.signal, SIGNAL, atol=1e-5), name


@pytest.mark.parametrize("name", ["georgia", "csn", "heedb", "cinc2017", "ptb"])
def test_a_dataset_saved_again_becomes_the_same_corpus(name: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path / "raw")
    expected = data.prepare(name, tmp_path / "raw", tmp_path / "home", workers=1)
    for i, path in enumerate(sorted((tmp_path / "raw").rglob("*.mat"))):
        values = scipy.io.loadmat(path)["val"]
        (scipy.io.savemat(path, {"val": values.T}, do_compression=True) if i % 2 else v73(path, "x", values))
    again = data.prepare(name, tmp_path / "raw", tmp_path / "again", workers=1)
    before, after = (dict(corpus.manifest.files) for corpus in (expected, again))
    assert before.pop("patient") != after.pop("patient")  # hashed under another home's secret
    assert after == before


def test_a_locked_file_is_no_damaged_one(tmp_path: Path) -> None:
    import fcntl

    layouts.challenge_record(tmp_path, "E0001", SIGNAL, 500, "426783006")
    v73(tmp_path / "E0001.mat", "val", UNITS)
    with (tmp_path / "E0001.mat").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(hdf5.Locked, match=r"E0001\.mat cannot be locked"):
            matlab.matrix(tmp_path / "E0001.mat", 12)
