"""A flat or missing limb lead is flagged and treated as asked; Einthoven's law is asked of the other limb leads."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecgscale import data
from ecgscale.data import corpus, split
from ecgscale.data.quality import FLAWS, counted, narrowed
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS
from tests import layouts

LIMB_FLAG = FLAWS["limb lead flat or missing"]
Spoil = Callable[[np.ndarray, int], np.ndarray]


def _zero(signal: np.ndarray, lead: int) -> np.ndarray:
    signal[lead] = 0
    return signal


def _held(signal: np.ndarray, lead: int) -> np.ndarray:
    signal[lead] = 0.4
    return signal


def _nan(signal: np.ndarray, lead: int) -> np.ndarray:
    signal[lead] = np.nan
    return signal


def ptbxl(raw: Path, spoil: Spoil, lead: int, absent: bool = False) -> None:
    layouts.ptbxl(raw)
    signal, names = spoil(layouts.signals(1, 500)[0].copy(), lead), [name.upper() for name in LEADS]
    if absent:
        signal = np.delete(signal, lead, axis=0)
        del names[lead]
    layouts.wfdb_record(raw / "records500/00000", "00001_hr", signal, 500, names)


def georgia(raw: Path, spoil: Spoil, lead: int) -> None:
    layouts.georgia(raw)
    where = raw / "training/georgia/g1"
    layouts.challenge_record(
        where, "E0001", np.nan_to_num(spoil(layouts.signals(1, 500)[0].copy(), lead)), 500, "59118001"
    )


def code15(raw: Path, spoil: Spoil, lead: int) -> None:
    layouts.code15(raw)
    with h5py.File(raw / "exams_part0.hdf5", "r+") as file:
        tracing = file["tracings"][0]
        tracing[:, lead] = spoil(tracing.T.copy(), lead)[lead]
        file["tracings"][0] = tracing


def mimic(raw: Path, spoil: Spoil, lead: int) -> None:
    layouts.mimic_files(raw)
    path = sorted(raw.rglob("*.hea"))[0]
    native = spoil(layouts.signals(1, 500)[0].copy(), lead)[[LEADS.index(name) for name in layouts.MIMIC_ORDER]]
    layouts.wfdb_record(path.parent, path.stem, native, 500, layouts.MIMIC_ORDER)


def prepared(name: str, folder: Path, policy: str) -> corpus.Corpus:
    return data.prepare(name, folder / "raw", folder / policy, workers=1, allow_missing=True, flawed_leads=policy)


@pytest.mark.parametrize("lead", range(6))
@pytest.mark.parametrize("spoil", [_zero, _held, _nan])
def test_a_flat_or_missing_limb_lead_is_kept_zeroed_or_dropped(spoil: Spoil, lead: int, tmp_path: Path) -> None:
    ptbxl(tmp_path / "raw", spoil, lead)
    kept = prepared("ptbxl", tmp_path, "keep")
    assert kept.manifest.refused == {}
    assert kept.manifest.flaws["limb lead flat or missing"] == kept.manifest.flaws["flat lead"] == 1
    assert kept.quality.dtype == np.uint16
    assert kept.quality[0] & LIMB_FLAG
    assert not np.any(kept.quality[1:] & LIMB_FLAG)
    zeroed = prepared("ptbxl", tmp_path, "zero")
    for row, name in enumerate(INDEPENDENT_LEADS):
        assert np.any(zeroed.signal[0, row]) == (name != LEADS[lead])
    dropped = prepared("ptbxl", tmp_path, "drop")
    assert dropped.manifest.refused == {"flat, saturated or missing lead (dropped as asked)": 1}
    assert dropped.split[0] == split.NONE


@pytest.mark.parametrize(("name", "write"), [("georgia", georgia), ("code15", code15), ("mimic-icd10", mimic)])
@pytest.mark.parametrize("lead", [1, 2, 3])
def test_in_every_kind_of_file(name: str, write: Callable[..., None], lead: int, tmp_path: Path) -> None:
    write(tmp_path / "raw", _nan if write is mimic else _zero, lead)
    opened = prepared(name, tmp_path, "keep")
    assert not any("permuted" in reason or "Einthoven" in reason for reason in opened.manifest.refused)
    assert opened.manifest.flaws["limb lead flat or missing"] == 1


@pytest.mark.parametrize("lead", [2, 3, 4, 5])
def test_a_header_without_a_lead_that_is_not_stored(lead: int, tmp_path: Path) -> None:
    ptbxl(tmp_path / "raw", lambda signal, _: signal, lead, absent=True)
    layouts.ptbxl(tmp_path / "whole" / "raw")
    opened, whole = prepared("ptbxl", tmp_path, "keep"), prepared("ptbxl", tmp_path / "whole", "keep")
    assert opened.manifest.flaws["limb lead flat or missing"] == 1
    assert np.array_equal(opened.signal, whole.signal)
    assert prepared("ptbxl", tmp_path, "drop").split[0] == split.NONE


@pytest.mark.parametrize("lead", [0, 1, 6, 11])
def test_a_header_without_a_lead_that_is_stored(lead: int, tmp_path: Path) -> None:
    ptbxl(tmp_path / "raw", lambda signal, _: signal, lead, absent=True)
    assert prepared("ptbxl", tmp_path, "keep").manifest.refused == {f"leads missing: {LEADS[lead]}": 1}


def test_permuted_others_are_still_refused(tmp_path: Path) -> None:
    def swapped(signal: np.ndarray, lead: int) -> np.ndarray:
        return _zero(signal[[1, 0, *range(2, 12)]], lead)

    ptbxl(tmp_path / "raw", swapped, 3)
    (reason,) = prepared("ptbxl", tmp_path, "keep").manifest.refused
    assert "without aVR (flat or missing)" in reason


def test_a_flat_lead_hides_no_hole_in_another(tmp_path: Path) -> None:
    def holed(signal: np.ndarray, lead: int) -> np.ndarray:
        signal[7, 1000:3000] = np.nan
        return _zero(signal, lead)

    ptbxl(tmp_path / "raw", holed, 2)
    assert prepared("ptbxl", tmp_path, "keep").manifest.refused == {"more than a fifth of a lead is missing": 1}


def test_sound_records_keep_flags_of_eight_bits(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    assert prepared("ptbxl", tmp_path, "keep").quality.dtype == np.uint8
    assert narrowed(np.array([0, 255], dtype=np.uint16)).dtype == np.uint8
    assert narrowed(np.array([256], dtype=np.uint16)).dtype == np.uint16
    assert counted(np.array([2, 3], dtype=np.uint8))["flat lead"] == 2
    assert counted(np.array([258], dtype=np.uint16))["limb lead flat or missing"] == 1
