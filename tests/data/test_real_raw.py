"""Readers on the authors' own files, where a folder of them lies beside the repository (../shared/ecg)."""

import ast
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data import split, waveform
from ecgscale.data.corpus import MISSING
from ecgscale.data.readers import challenge
from ecgscale.data.recording import MalformedRecordError
from tests.paths import NO_RAW, RAW

ECG = RAW / "ecg"
pytestmark = pytest.mark.skipif(not ECG.is_dir(), reason=f"the authors' files: {NO_RAW}")


def prepared(name: str, folder: str, home: Path, **options: object) -> data.Corpus:
    return data.prepare(name, ECG / folder, home, workers=1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "folder", "n"),
    [
        ("georgia", "cinc2021_mix", 44),
        ("cpsc2018", "cinc2021_mix", 14),
        ("cpsc2018-extra", "cinc2021_mix", 10),
        ("csn", "cinc2021_mix", 39),
        ("ptbxl-challenge", "cinc2021_mix", 4),
        ("code15", "code15_sample", 10),
        ("sph", "sph_sample", 9),
        ("ludb", "ludb", 200),
    ],
)
def test_every_record_is_read(name: str, folder: str, n: int, tmp_path: Path) -> None:
    opened = prepared(name, folder, tmp_path)
    assert opened.signal.shape == (n, 8, 1000)
    assert opened.manifest.refused == {}
    assert opened.manifest.flaws["checksum"] == 0
    assert opened.manifest.flaws["no beat found"] == 0
    beats = (opened.peaks >= 0).sum(axis=1)
    assert np.all((beats >= 4) & (beats <= 40))


def test_georgias_34_malformed_headers_are_read() -> None:
    headers = sorted((ECG / "cinc2021_mix" / "georgia").glob("*.hea"))
    malformed = [path for path in headers if path.read_text().split(maxsplit=1)[0].endswith(".mat")]
    assert (len(headers), len(malformed)) == (44, 34)
    for path in malformed:
        assert waveform.read(path).signal.shape[0] == 12


def test_challenge_labels_are_those_of_the_table() -> None:
    table = pd.read_csv(ECG / "cinc2021_mix" / "records.csv", dtype=str).set_index("record")
    for path in (ECG / "cinc2021_mix").rglob("*.hea"):
        assert challenge.diagnoses(path) == set(str(table.loc[path.stem, "dx"]).split(","))


def test_csn_labels_agree_with_heartlangs_table() -> None:
    table = pd.read_csv(ECG / "metadata" / "chapman_shaoxing_ningbo_labels.csv")
    table.index = pd.Index([Path(path).stem for path in table["ecg_path"]])
    index = data.DATASETS["csn"].index(ECG / "cinc2021_mix")
    shared = [(row, name) for row, name in enumerate(index.patient) if name in table.index]
    assert len(shared) == 18
    theirs = table[list(challenge.CSN38)]
    others = [name for row, name in shared if index.labels[row, :38].tolist() != theirs.loc[name].tolist()]
    assert others == ["JS00005"]  # the challenge's header has one code more (first-degree block) than the table


def test_csn_classes_explain_heartlangs_table_on_all_its_rows() -> None:
    """23,026 rows: the acronyms of "diagnose" as codes, the codes as classes."""
    table = pd.read_csv(ECG / "metadata" / "chapman_shaoxing_ningbo_labels.csv")
    code_of = {name: codes[0] for name, codes in challenge.CSN38_STRICT.items()}
    code_of |= {"LVQRSAL": "251146004", "SAAWR": "195101003", "3AVB": "27885002", "2AVB2": "28189009"}
    said = [{code_of.get(name, name) for name in text.split(",")} for text in table["diagnose"]]
    for name, codes in challenge.CSN38.items():
        assert [int(any(code in record for code in codes)) for record in said] == table[name].tolist(), name


def test_cpsc2018_labels_agree_with_heartlangs_table() -> None:
    table = pd.read_csv(ECG / "metadata" / "cpsc2018_labels.csv").set_index("filename")
    theirs = ["NORM", "AFIB", "1AVB", "CLBBB", "CRBBB", "PAC", "VPC", "STD", "STE"]
    index = data.DATASETS["cpsc2018"].index(ECG / "cinc2021_mix")
    for row, name in zip(index.labels, index.patient, strict=True):
        assert row.tolist() == table.loc[name, theirs].tolist()


def test_code15_is_in_millivolts(tmp_path: Path) -> None:
    opened = prepared("code15", "code15_sample", tmp_path)
    lead_ii = np.asarray(opened.signal[:, 1]) * opened.manifest.mv_per_unit
    r_amplitudes = [np.median(row[peaks[peaks >= 0]]) for row, peaks in zip(lead_ii, opened.peaks, strict=True)]
    assert 0.3 < np.median(np.abs(r_amplitudes)) < 1.3
    assert (opened.targets("code6", np.arange(10)) == 1).sum(axis=0).tolist() == [3, 3, 0, 2, 0, 2]


@pytest.mark.slow
def test_ptbxl_labels_agree_with_the_published_table(tmp_path: Path) -> None:
    """All 2,550 rows: superclasses and folds; the 800 records that are there: signals."""
    truth = pd.read_csv(ECG / "metadata" / "ptbxl_superclass_all.csv").set_index("ecg_id")
    table = pd.read_csv(ECG / "ptbxl" / "ptbxl_database.csv", index_col="ecg_id")
    statements = pd.read_csv(ECG / "ptbxl" / "scp_statements.csv", index_col=0)
    from ecgscale.data.readers import ptbxl

    codes = [set(ast.literal_eval(text)) for text in table["scp_codes"]]
    _, labels = ptbxl.label_table(codes, statements)
    assert len(table) == 2550
    assert np.array_equal(labels[:, 67:72] == 1, truth.loc[table.index, list(ptbxl.SUPERCLASSES)].to_numpy() == 1)
    opened = prepared("ptbxl", "ptbxl", tmp_path, allow_missing=True)
    assert opened.signal.shape == (800, 8, 1000)
    assert opened.manifest.refused == {}
    there = [number for number in table.index if (ECG / "ptbxl" / f"{table.loc[number, 'filename_lr']}.hea").is_file()]
    parts = truth.loc[there, "split"].map({"train": 0, "val": 1, "test": 2})
    assert np.array_equal(opened.split, parts)


def test_mitbih_counts_are_those_of_the_annotations() -> None:
    index = data.DATASETS["mitbih"].index(ECG / "mitdb")
    assert len(index.where) == 44 * 180
    assert len(np.unique(index.patient)) == 43


def test_mitbih_rhythms_are_those_of_every_sample() -> None:
    """Beside a slow reading: the rhythm of each sample, and of a window where all of its samples have one."""
    wfdb = pytest.importorskip("wfdb")
    index = data.DATASETS["mitbih"].index(ECG / "mitdb")
    names = index.label_sets["rhythm"]
    found = {}
    for where, labels in zip(index.where, index.labels, strict=True):
        assert labels.sum() == 1 or set(labels) == {MISSING}
        found[where] = names[labels.argmax()] if labels.max() == 1 else ""
    for record in dict.fromkeys(where.partition(".")[0] for where in index.where):
        marks = wfdb.rdann(str(ECG / "mitdb" / record), "atr")
        notes = [
            (at, note) for at, kind, note in zip(marks.sample, marks.symbol, marks.aux_note, strict=True) if kind == "+"
        ]
        rhythm = np.zeros(650_000, dtype=np.uint8)  # place of the mark; what comes before the first is of the first
        for place, (at, _) in enumerate(notes):
            rhythm[at:] = place
        for first in range(0, 648_000, 3600):
            inside = {notes[place][1].strip("(\0") for place in np.unique(rhythm[first : first + 3600])}
            assert found[f"{record}.hea#{first}"] == (inside.pop() if len(inside) == 1 else ""), (record, first)
    assert index.split is not None
    tested = [found[where] for where in index.where[index.split == split.TEST]]
    assert Counter(found.values())[""] == 737
    assert Counter(tested) == {
        "N": 2749,
        "AFIB": 523,
        "": 353,
        "SBR": 180,
        "BII": 65,
        "B": 61,
        "AFL": 20,
        "AB": 6,
        "SVTA": 2,
        "NOD": 1,
    }


def test_headers_of_every_wfdb_format_are_read_or_refused_with_a_reason() -> None:
    reasons = {}
    for path in (ECG / "wfdb_formats").glob("*.hea"):
        try:
            assert waveform.read(path).signal.ndim == 2
        except MalformedRecordError as reason:
            reasons[path.stem] = str(reason)
    assert set(reasons.values()) <= {"unit 'NU' is not one of voltage"}


def test_original_editions_are_read(tmp_path: Path) -> None:
    chapman = prepared("chapman", "chapman_denoised35", tmp_path, allow_missing=True)
    assert chapman.signal.shape == (6, 12, 1000)
    for path in (ECG / "cpsc2018_raw_sample").glob("*.mat"):
        read = challenge.load_cpsc2018(ECG / "cpsc2018_raw_sample", path.name)
        assert read.signal.shape[0] == 12
        assert 0.1 < read.signal.std() < 1
