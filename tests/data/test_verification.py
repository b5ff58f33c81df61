"""Verification: every kind of damage to a prepared corpus, or change of its raw folder, is one row that is not ok."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data import corpus, split, waveform
from tests import layouts


@pytest.fixture
def home(tmp_path: Path) -> Path:
    layouts.code15(tmp_path / "raw")
    data.prepare("code15", tmp_path / "raw", tmp_path / "home", workers=1)
    return tmp_path / "home"


def wrong(home: Path) -> dict[str, str]:
    checks = data.verify("code15", home, home.parent / "raw")
    bad = checks[~checks["ok"]]
    return dict(zip(bad["item"], bad["found"], strict=True))


def test_nothing_is_wrong_with_a_new_corpus(home: Path) -> None:
    assert wrong(home) == {}


@pytest.mark.parametrize("array", corpus.ARRAYS)
def test_a_flipped_bit_in_any_array_is_found(home: Path, array: str) -> None:
    path = corpus.folder_of(home, "code15") / f"{array}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert f"{array}.npy" in wrong(home)


def test_truncated_and_missing_arrays_are_found(home: Path) -> None:
    folder = corpus.folder_of(home, "code15")
    signal = (folder / "signal.npy").read_bytes()
    (folder / "signal.npy").write_bytes(signal[: len(signal) // 2])
    (folder / "peaks.npy").unlink()
    found = wrong(home)
    assert "bytes" in found["signal.npy"]
    assert found["peaks.npy"] == "missing"


def test_a_patient_in_two_splits_is_found(home: Path) -> None:
    path = corpus.folder_of(home, "code15") / "split.npy"
    codes = np.load(path)
    codes[0] = split.TEST if codes[0] != split.TEST else split.TRAIN
    np.save(path, codes)
    assert "more than one split" in wrong(home)["patients"]


def test_labels_that_changed_in_the_raw_folder_are_found(home: Path) -> None:
    path = home.parent / "raw" / "exams.csv"
    table = pd.read_csv(path)
    table.loc[0, "AF"] = not table.loc[0, "AF"]
    table.to_csv(path, index=False)
    assert wrong(home) == {"labels": "others"}


def test_files_that_are_not_those_of_the_providers_list_are_counted(home: Path) -> None:
    raw = home.parent / "raw"
    files = sorted(path for path in raw.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()} {path.relative_to(raw)}" for path in files]
    (raw / "SHA256SUMS.txt").write_text("\n".join([*lines, f"{'0' * 64} LICENSE.txt"]))
    assert wrong(home) == {}
    part = bytearray((raw / "exams_part0.hdf5").read_bytes())
    part[-1] ^= 1
    (raw / "exams_part0.hdf5").write_bytes(part)
    found = wrong(home)["files of SHA256SUMS.txt"]
    assert found.startswith(f"1 of {len(files)} differ")
    assert "part0" not in found  # of WFDB records the names are identities


def test_amplitudes_that_changed_in_the_raw_folder_are_found(home: Path) -> None:
    for part in (0, 1):
        path = home.parent / "raw" / f"exams_part{part}.hdf5"
        changed = path.with_suffix(".new")
        changed.write_bytes(path.read_bytes())
        with h5py.File(changed, "r+") as file:
            file["tracings"][:] = file["tracings"][:] * 1000
        changed.rename(path)
    found = wrong(home)
    assert found["stored QRS amplitude over that of the raw record"] == "0.00"
    typical = found["median QRS amplitude of 12 records read again"]
    assert 300 < float(typical.removesuffix(" mV")) < 5000


def test_a_reader_that_takes_another_scale_is_found_by_another_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.ptbxl(tmp_path / "raw")
    monkeypatch.setitem(waveform._MV_PER, "mv", 2.0)
    data.prepare("ptbxl", tmp_path / "raw", tmp_path / "home", workers=1)
    checks = data.verify("ptbxl", tmp_path / "home", tmp_path / "raw").set_index("item")
    row = checks.loc["millivolts of 12 records by the wfdb package"]
    assert (row["found"], row["ok"]) == ("12 of 12 differ", False)


def test_records_that_are_empty_now_are_counted(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    data.prepare("ptbxl", tmp_path / "raw", tmp_path / "home", workers=1)
    path = sorted((tmp_path / "raw").rglob("*.hea"))[3]
    path.write_text("")
    checks = data.verify("ptbxl", tmp_path / "home", tmp_path / "raw").set_index("item")
    row = checks.loc["files of the records"]
    assert (row["expected"], row["found"], row["ok"]) == ("12", "11 with something in them", False)
    assert "00004" not in checks.to_csv()


def test_what_was_never_prepared_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ecgscale data prepare code15 --raw DIR"):
        data.verify("code15", tmp_path)
