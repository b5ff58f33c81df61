"""What needs no agreement: MIMIC-IV-ECG's open module by its carts' words and numbers, and ZZU's children."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data import concepts
from ecgscale.data.corpus import MISSING
from ecgscale.data.readers import cart
from ecgscale.data.tables import UnreadableTable
from tests import layouts

MIMIC = data.DATASETS["mimic-open"]


@pytest.mark.parametrize(
    ("statement", "there", "in_doubt"),
    [
        ("Sinus rhythm with PAC(s).", {"sinus rhythm", "premature atrial beats"}, set()),
        ("Sinus rhythm with borderline 1st degree A-V block", {"sinus rhythm"}, {"first-degree AV block"}),
        ("- First degree A-V block", {"first-degree AV block"}, set()),
        ("Atrial fibrillation with rapid ventricular response", {"atrial fibrillation"}, set()),
        ("Atrial fibrillation or flutter", set(), {"atrial fibrillation", "atrial flutter"}),
        (
            "RBBB with left anterior fascicular block",
            {"right bundle branch block", "left anterior fascicular block"},
            set(),
        ),
        ("Incomplete right bundle branch block", set(), set()),
        ("Supraventricular premature complexes", set(), set()),
        ("Inferior infarct - age undetermined", {"infarct"}, set()),
        ("*** CONSIDER ACUTE ST ELEVATION MI ***", set(), {"infarct"}),
        ("No evidence of inferior infarct", set(), set()),
        (
            "QRS changes may be due to LVH but cannot rule out septal infarct",
            set(),
            {"infarct", "left ventricular hypertrophy"},
        ),
        ("Normal ECG", {"normal ECG"}, set()),
        ("Normal ECG except for rate", set(), set()),
        ("Abnormal ECG", set(), set()),
    ],
)
def test_a_statement_says_what_is_there_and_what_may_be(statement: str, there: set[str], in_doubt: set[str]) -> None:
    said = dict(zip(cart.FINDINGS, cart.meant(statement).tolist(), strict=True))
    assert {finding for finding, value in said.items() if value == 2} == there
    assert {finding for finding, value in said.items() if value == 1} == in_doubt


def test_the_words_of_carts_line_up_with_the_other_vocabularies() -> None:
    shared = {said["cart"] for said in concepts.CONCEPTS.values()}
    assert shared == set(concepts.CONCEPTS)
    assert shared <= set(cart.FINDINGS)
    pairs = concepts.matched(tuple(cart.FINDINGS), concepts.vocabulary("mimic-open", "cart"), ("AFIB", "SR"), "scp")
    assert [list(cart.FINDINGS)[mine] for mine, _ in pairs] == ["atrial fibrillation", "sinus rhythm"]
    assert concepts.vocabulary("mimic-open", "code6") == concepts.vocabulary("code15", "code6")


def test_labels_and_numbers_are_those_of_the_same_study(tmp_path: Path) -> None:
    """The two tables are in opposite orders."""
    layouts.mimic_open(tmp_path, n=12)
    index = MIMIC.index(tmp_path)
    labels = pd.DataFrame(index.labels[:, : len(cart.FINDINGS)], columns=list(cart.FINDINGS))
    patients = np.arange(12) // 2  # each has two recordings with the same lines
    assert labels["sinus rhythm"].tolist() == [(1, 0, 0, MISSING, 0, 1)[k] for k in patients]
    assert labels["infarct"].tolist() == [(0, 1, 0, MISSING, 0, 0)[k] for k in patients]
    assert labels["paced rhythm"].tolist() == [(0, 0, 0, 1, 0, 0)[k] for k in patients]
    assert labels["first-degree AV block"].tolist() == [(0, MISSING, 0, MISSING, 0, 1)[k] for k in patients]
    assert labels["left ventricular hypertrophy"].tolist() == [(0, 0, 0, MISSING, MISSING, 0)[k] for k in patients]
    code6 = pd.DataFrame(index.labels[:, len(cart.FINDINGS) :], columns=list(cart.CODE6))
    assert code6["AF"].tolist() == [(0, 0, 1, MISSING, 0, 0)[k] for k in patients]
    assert index.numbers is not None
    names = list(index.number_units["measurements"])
    numbers = pd.DataFrame(index.numbers[::2], columns=names)
    assert np.allclose(numbers["heart_rate"], [75, 50, 120, 80, np.nan, 66.667], equal_nan=True, atol=1e-3)
    assert np.allclose(numbers["pr"], [160, 190, np.nan, np.nan, 140, 240], equal_nan=True)
    assert np.allclose(numbers["qrs"], [90, 90, 140, 150, 140, 90])
    assert np.allclose(numbers["qtc"], [400 / 0.8**0.5, 430 / 1.2**0.5, 370 / 0.5**0.5, 420 / 0.75**0.5, np.nan,
                                        420 / 0.9**0.5], equal_nan=True)  # fmt: skip
    assert np.isnan(numbers["p_axis"][[2, 3]]).all()
    assert numbers["qrs_axis"].tolist() == [-10, 20, 90, -70, -15, -45]
    notes = " ".join(index.notes)
    assert "could not measure" in notes
    assert "did not analyse further" in notes
    assert "in doubt" in notes


def test_a_study_that_the_carts_table_lacks_has_missing_labels(tmp_path: Path) -> None:
    layouts.mimic_open(tmp_path, n=12)
    carts = pd.read_csv(tmp_path / "machine_measurements.csv", dtype=str)
    carts.iloc[:-2].to_csv(tmp_path / "machine_measurements.csv", index=False)
    index = MIMIC.index(tmp_path)
    assert (index.labels[:2] == MISSING).all()
    assert not (index.labels[2:] == MISSING).all()
    assert index.numbers is not None
    assert np.isnan(index.numbers[:2]).all()
    assert any("without a row in machine_measurements.csv" in note and n == 2 for note, n in index.notes.items())


def test_each_wrong_input_has_its_sentence(tmp_path: Path) -> None:
    raw = tmp_path / "physionet.org" / "files" / "mimic-iv-ecg" / "1.0"
    layouts.mimic_open(raw, n=12)
    assert len(MIMIC.index(tmp_path).where) == 12  # levels above, as wget -r leaves them
    with pytest.raises(FileNotFoundError, match=r"record_list\.csv.*"):
        MIMIC.index(raw / "files")
    carts = pd.read_csv(raw / "machine_measurements.csv", dtype=str)
    carts.rename(columns={"rr_interval": "rr_intervall"}).to_csv(raw / "machine_measurements.csv", index=False)
    with pytest.raises(UnreadableTable, match="lacks 'rr_interval'; did you mean 'rr_intervall'"):
        MIMIC.index(raw)
    empty = carts.assign(**{f"report_{line}": "" for line in range(18)})
    empty.to_csv(raw / "machine_measurements.csv", index=False)
    with pytest.raises(UnreadableTable, match=r"no row of .*machine_measurements\.csv says anything in columns"):
        MIMIC.index(raw)
    (raw / "machine_measurements.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"machine_measurements\.csv"):
        MIMIC.index(raw)


def test_a_damaged_record_is_refused_with_a_reason_and_the_rest_is_prepared(tmp_path: Path) -> None:
    layouts.mimic_open(tmp_path / "raw", n=40)
    file = sorted((tmp_path / "raw").rglob("*.dat"))[3]
    file.write_bytes(file.read_bytes()[:1000])
    prepared = data.prepare("mimic-open", tmp_path / "raw", tmp_path / "home", workers=1)
    assert sum(prepared.manifest.refused.values()) == 1
    assert prepared.manifest.number_sets["measurements"]["qrs"]["unit"] == "ms"
    assert not any(character.isdigit() for reason in prepared.manifest.refused for character in reason.split(":")[0])


def test_children_with_nine_leads_are_refused_and_their_diagnoses_read(tmp_path: Path) -> None:
    layouts.zzu(tmp_path)
    index = data.DATASETS["zzu-pecg"].index(tmp_path)
    kept = [i for i in range(16) if i % 5 != 4]
    assert len(index.where) == len(kept)
    assert sum(index.refused.values()) == 3
    assert index.label_sets["aha"] == ("A1", "C21", "C22", "E50")
    aha = dict(zip(index.label_sets["aha"], index.labels.T, strict=False))
    assert aha["C21"].tolist() == [int(i % 4 in (1, 3)) for i in kept]
    ill = dict(zip(index.label_sets["disease4"], index.labels[:, 4:8].T, strict=True))
    assert ill["Congenital heart disease"].tolist() == [(0, 1, 1, MISSING)[i % 4] for i in kept]
    assert ill["Kawasaki disease"].tolist() == [(0, 0, 1, MISSING)[i % 4] for i in kept]
    assert index.numbers is not None
    assert np.allclose(index.numbers[:, 0], [(30 + 300 * i) / 365.25 for i in kept])
    assert any("AHA has no code for ('Left ventricular" in note for note in index.notes)
    (tmp_path / "DiseaseCode.csv").write_text("Disease Type,Disease Category,ICD-10 Code,x\nMyocarditis,a,I40.0,b\n")
    with pytest.raises(UnreadableTable, match="has no code of Cardiomyopathy"):
        data.DATASETS["zzu-pecg"].index(tmp_path)
