"""The recordings that ship with the package: whole, in mV, and twelve leads wherever eight are stored."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale.data import embedded, library, split
from ecgscale.data.readers import ptbxl
from ecgscale.data.recording import TWELVE_FROM_EIGHT
from tests.paths import FIXTURES

STATEMENTS = FIXTURES / "scp_statements.csv"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_ptbxl_sample_is_what_its_card_says(home: Path) -> None:
    sample = library.open_corpus("ptbxl-sample", home)
    assert sample.signal.shape == (2550, 8, 1000)
    assert [len(sample.rows(part)) for part in ("train", "val", "test")] == [2010, 267, 273]
    assert len(np.unique(sample.patient)) == 2496
    counts = np.nansum(sample.targets("superdiagnostic", np.arange(2550)), axis=0)
    assert dict(zip(ptbxl.SUPERCLASSES, counts, strict=True)) == {
        "NORM": 1163,
        "MI": 599,
        "STTC": 622,
        "CD": 535,
        "HYP": 311,
    }
    assert np.isnan(sample.targets("superdiagnostic", np.arange(2550))).all(axis=1).sum() == 52


def test_shipped_superclasses_follow_from_the_statements() -> None:
    arrays = embedded.arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz")
    codes = [set(json.loads(text)) for text in arrays["scp_codes"]]
    sets, labels = ptbxl.label_table(codes, pd.read_csv(STATEMENTS, index_col=0))
    assert {name: len(classes) for name, classes in sets.items()} == {
        "diagnostic": 44,
        "subdiagnostic": 23,
        "superdiagnostic": 5,
        "form": 19,
        "rhythm": 12,
        "code6": 6,
    }
    ours = labels[:, 67:72]
    shipped = arrays["superclass"][:, [list(arrays["superclass_names"]).index(name) for name in ptbxl.SUPERCLASSES]]
    assert np.array_equal(ours == 1, shipped == 1)


def test_ludb_sample_is_in_one_unit_for_all_leads(home: Path) -> None:
    sample = library.open_corpus("ludb-sample", home)
    assert sample.signal.shape == (200, 8, 1000)
    assert np.bincount(sample.split, minlength=3).tolist() == [120, 30, 50]
    arrays = embedded.arrays_of("ludb200_100hz_8lead_delta5uV.npz")
    stated, taken_back = embedded.decoded(arrays)[0], embedded.ludb_units(arrays)[0]
    # Record 1: lead I was stored 1716, lead II 1206 units a mV.
    assert np.ptp(taken_back[0]) / np.ptp(stated[0]) == pytest.approx(1.716, rel=0.01)
    assert np.ptp(taken_back[1]) / np.ptp(stated[1]) == pytest.approx(1.206, rel=0.01)


def test_r_peaks_and_rates_are_a_hearts(home: Path) -> None:
    for name in embedded.EMBEDDED:
        beats = (library.open_corpus(name, home).peaks >= 0).sum(axis=1) * 6
        assert 60 < np.median(beats) < 80
        assert np.all((beats >= 20) & (beats <= 200))


def test_wander_is_gone_and_the_beats_are_not(home: Path) -> None:
    sample = library.open_corpus("ptbxl-sample", home)
    units = embedded.decoded(embedded.arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz"))[:50].astype(float)
    power = [np.abs(np.fft.rfft(x, axis=-1)) ** 2 for x in (units, np.asarray(sample.signal[:50], dtype=float))]
    hz = np.fft.rfftfreq(1000, 0.01)
    slow, beats = (hz > 0) & (hz < 0.25), (hz > 5) & (hz < 30)
    assert power[1][..., slow].sum() < 0.02 * power[0][..., slow].sum()
    assert power[1][..., beats].sum() == pytest.approx(power[0][..., beats].sum(), rel=0.08)


def test_a_damaged_embedded_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = "ludb200_100hz_8lead_delta5uV.npz"
    shutil.copy(embedded._FOLDER / file, tmp_path / file)
    data = bytearray((tmp_path / file).read_bytes())
    data[5000] ^= 1
    (tmp_path / file).write_bytes(bytes(data))
    monkeypatch.setattr(embedded, "_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"ludb200_100hz_8lead_delta5uV\.npz is damaged"):
        embedded.arrays_of(file)


def test_twelve_leads_are_given_back(home: Path) -> None:
    eight = np.asarray(library.open_corpus("ptbxl-sample", home).signal[:4], dtype=np.float32)
    twelve = np.einsum("ld,ndt->nlt", TWELVE_FROM_EIGHT, eight)
    assert np.allclose(twelve[:, 2], twelve[:, 1] - twelve[:, 0])
    assert np.allclose(twelve[:, 3:6].sum(axis=1), 0, atol=1e-3)
    assert split.SPLITS[:3] == ("train", "val", "test")
