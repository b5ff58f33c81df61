"""What every reader does with every trouble of its table: read, missing and counted, left out and counted, or said.

``pytest -s -k troubles_are`` prints the table: readers by troubles.
"""

import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data import preparation
from ecgscale.data.corpus import MISSING
from ecgscale.data.dataset import Index
from tests import layouts
from tests.shell import Shell

# Table, columns of the identity that is a patient's (or a record's) and of a label, words in the place of a label.
TABLES: dict[str, tuple[str, str, str]] = {
    "code": ("annotations.csv", "id_patient", "AF"),
    "code15": ("exams.csv", "patient_id", "AF"),
    "mimic-icd10": ("records_w_diag_icd10.csv", "subject_id", "all_diag_all"),
    "mimic": ("records_w_diag_icd10.csv", "subject_id", "all_diag_all"),
    "heedb": ("Metadata/demographics_ECG.csv", "BDSPPatientID", ""),
    "code-test": ("annotations/gold_standard.csv", "", "AF"),
    "ptbxl": ("ptbxl_database.csv", "patient_id", "scp_codes"),
    "echonext": ("EchoNext_metadata_100k.csv", "patient_key", "lvef_lte_45_flag"),
    "cinc2017": ("REFERENCE-v3.csv", "", "1"),
    "sph": ("metadata.csv", "Patient_ID", "AHA_Code"),
    "chapman": ("Diagnostics.csv", "FileName", "Rhythm"),
    "mimic-open": ("record_list.csv", "subject_id", ""),
    "zzu-pecg": ("AttributesDictionary.csv", "Patient_ID", "Gender"),
}
HEADERS = dict.fromkeys(("cpsc2018", "csn", "georgia", "cpsc2018-extra", "ptb", "ptbxl-challenge", "incart"), "#Dx: ")
HEADERS |= {"ludb": "#Rhythm: "}
BARE = ("icentia11k", "mitbih")  # neither a table nor labels in headers
FOLDS_OF_SIX = 14  # the first row of mimic's folds


def bad(name: str) -> int:
    """The row, from 1, that the trouble is put into: neither the first nor the last, and of a fold that is used."""
    return FOLDS_OF_SIX if name == "mimic" else 3


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def spoiled(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], header: bool) -> None:
    table = pd.read_csv(path, dtype=str, keep_default_na=False, header=0 if header else None)
    change(table).to_csv(path, index=False, header=header)


def with_cell(name: str, column: str, cell: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[table.index[bad(name) - 1], int(column) if column.isdigit() else column] = cell
        return table

    return change


def in_header(raw: Path, mark: str, word: str | None) -> None:
    """Another word after the mark of one header, or none."""
    path = sorted(raw.rglob("*.hea"), key=lambda path: (len(path.name), path.name))[3]
    lines = [
        line for line in lines_of(path) if word is not None or not line.startswith((mark, mark.replace("#", "# ")))
    ]
    said = [re.sub(rf"^(# ?{mark[1:]}).*", rf"\g<1>{word}", line) for line in lines]
    path.write_text("\n".join(said) + "\n")


def blank_id(name: str, raw: Path) -> bool:
    path, column, _ = TABLES.get(name, ("", "", ""))
    if column:
        spoiled(raw / path, with_cell(name, column, ""), header=True)
    return bool(column)


def labelled(word: str) -> Callable[[str, Path], bool]:
    def change(name: str, raw: Path) -> bool:
        path, _, column = TABLES.get(name, ("", "", ""))
        if column:
            spoiled(raw / path, with_cell(name, column, word), header=name != "cinc2017")
        elif name == "heedb":
            psv = raw / "Metadata" / "ECG_Interpretations.psv"
            lines = lines_of(psv)
            lines[bad(name)] = f"{lines[bad(name)].partition('|')[0]}|{word}"
            psv.write_text("\n".join(lines))
        elif name in HEADERS:
            in_header(raw, HEADERS[name], word or None)
        return name not in (*BARE, "mimic-open")  # of whose carts a line may say anything, or nothing

    return change


def duplicate_row(name: str, raw: Path) -> bool:
    if name in TABLES:
        path = raw / TABLES[name][0]
        lines = lines_of(path)
        path.write_text("\n".join([*lines, lines[bad(name)]]) + "\n")
    else:
        for folder in [path for path in raw.iterdir() if path.is_dir()] or [raw]:
            copy = raw.with_name("copied")
            shutil.copytree(folder, copy / folder.name)
            shutil.move(copy, raw / "a copy")
    return True


def bad_row(name: str, raw: Path) -> bool:
    """A row that is cut off in the middle of it, or a header that is."""
    if name in TABLES:
        path = raw / TABLES[name][0]
        lines = lines_of(path)
        at = bad(name) - (name == "cinc2017")
        lines[at] = lines[at].partition(",")[0][:2] if name != "heedb" else lines[at].partition(",")[0]
        path.write_text("\n".join(lines) + "\n")
    else:
        path = sorted(raw.rglob("*.hea"), key=lambda path: (len(path.name), path.name))[3]
        path.write_text(path.read_text()[:3])
    return True


def resaved(write: Callable[[str], bytes]) -> Callable[[str, Path], bool]:
    def change(name: str, raw: Path) -> bool:
        if name not in TABLES:
            return False
        path = raw / TABLES[name][0]
        path.write_bytes(write(path.read_text()))
        return True

    return change


def semicolons(name: str, raw: Path) -> bool:
    if name not in TABLES:
        return False
    header = None if name == "cinc2017" else 0
    path = raw / TABLES[name][0]
    table = pd.read_csv(path, dtype=str, keep_default_na=False, header=header)
    table.to_csv(path, sep=";", index=False, header=header is not None)
    return True


def linked(name: str, raw: Path) -> bool:
    """The data lie elsewhere, file by file in one folder, and folder by folder in the others."""
    store = raw.with_name("store")
    raw.rename(store)
    raw.mkdir()
    for path in store.iterdir():
        (raw / path.name).symlink_to(path)
    return True


TROUBLES: dict[str, Callable[[str, Path], bool]] = {
    "blank id": blank_id,
    "blank label": labelled(""),
    "unknown word": labelled("perhaps"),
    "duplicate row": duplicate_row,
    "bad row": bad_row,
    "BOM": resaved(lambda text: text.encode("utf-8-sig")),
    "UTF-16": resaved(lambda text: text.encode("utf-16")),
    "semicolons": semicolons,
    "link": linked,
}


@cache
def sound(name: str, folder: Path) -> Index:
    layouts.LAYOUTS[name](folder / "raw")
    return preparation.indexed(data.DATASETS[name], folder / "raw")


def records(index: Index) -> dict[str, tuple[str, dict[str, int]]]:
    """Patient and labels by name of each record, by its own name: not by its folder."""
    names = [Path(where).name for where in index.where]
    labels = [f"{label_set}/{label}" for label_set, classes in index.label_sets.items() for label in classes]
    return {
        name: (str(patient), dict(zip(labels, row, strict=True)))
        for name, patient, row in zip(names, index.patient, index.labels.tolist(), strict=True)
    }


def what_became(name: str, before: Index, raw: Path) -> str:
    """A word for what a reader did; raises AssertionError where it was silently wrong."""
    try:
        after = preparation.indexed(data.DATASETS[name], raw)
    except (ValueError, OSError) as error:
        said = str(error)
        assert len(said) < 500
        assert "\n" not in said
        assert re.search(r"line|column|row|\.csv|\.psv|header", said), said
        return "said"
    assert after.accounts is not None
    n_parts = after.accounts.used + sum(after.refused.values()) + after.accounts.absent + after.accounts.elsewhere
    assert n_parts == after.accounts.total
    old, new = records(before), records(after)
    assert set(new) <= set(old)
    assert len(after.where) == len(new)
    lost = set(old) - set(new)
    counted = sum(after.refused.values()) - sum(before.refused.values())
    noted = {what: n for what, n in after.notes.items() if before.notes.get(what) != n}
    if lost:
        assert counted >= 1 or after.missing, (lost, after.refused)
    changed = {key for key in new if any(old[key][1][label] != value for label, value in new[key][1].items())}
    for key in changed:  # what a label was is now missing, never another
        assert all(value in (old[key][1][label], MISSING) for label, value in new[key][1].items()), key
    if changed:
        assert noted, changed
    people = {key for key in new if new[key][0] != old[key][0]}
    assert all(new[key][0].startswith("recording ") for key in people)
    assert len(people) <= 1
    if people:
        assert noted
    words = (
        ["left out, counted"] * bool(lost) + ["missing, counted"] * bool(changed) + ["its own, counted"] * bool(people)
    )
    if not words and counted:
        words = ["once, counted"]
    return ", ".join(words) or "read"


EXPECTED = {
    "blank id": {"its own, counted", "left out, counted", "-"},
    "blank label": {"missing, counted", "-"},
    "unknown word": {"missing, counted", "-"},
    "duplicate row": {"once, counted", "read", "said"},
    "bad row": {"left out, counted", "missing, counted", "said"},
    "BOM": {"read", "-"},
    "UTF-16": {"read", "-"},
    "semicolons": {"read", "-"},
    "link": {"read"},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", list(data.DATASETS))
def test_troubles_are_read_counted_or_said(name: str, tmp_path: Path) -> None:
    before = sound(name, tmp_path / "sound")
    became = {}
    for trouble, make in TROUBLES.items():
        folder = tmp_path / trouble.replace(" ", "-")
        folder.mkdir()
        shutil.copytree(tmp_path / "sound" / "raw", folder / "raw")
        became[trouble] = what_became(name, before, folder / "raw") if make(name, folder / "raw") else "-"
        assert became[trouble] in EXPECTED[trouble], (trouble, became[trouble])
    print(f"\n{name:16}", " | ".join(f"{trouble}: {word}" for trouble, word in became.items()))


def test_every_dataset_has_its_table_or_headers() -> None:
    assert {*TABLES, *HEADERS, *BARE} == set(data.DATASETS)
    assert np.all([name in layouts.LAYOUTS for name in TABLES])


# ---- a large table of which one row in a hundred is spoiled, in mixed ways -------------------------------------------


def code15_of(raw: Path, n: int) -> list[list[str]]:
    """exams.csv of many exams, and a part with short tracings that take little room; the rows, header first."""
    raw.mkdir()
    with h5py.File(raw / "exams_part0.hdf5", "w") as file:
        file.create_dataset("tracings", data=np.zeros((n, 16, 12), np.float32), chunks=(n, 16, 12), compression="gzip")
        file["exam_id"] = np.arange(500, 500 + n)
    head = "exam_id,age,is_male,1dAVb,RBBB,LBBB,SB,ST,AF,patient_id,normal_ecg,trace_file".split(",")
    flags = [["True", "False"][(i + 1) % 3 > 0] for i in range(3)]
    rows = [
        [str(500 + i), "50", flags[i % 3], *[flags[(i + k) % 3] for k in range(6)], str(9000 + i // 2)]
        + [flags[i % 3], "exams_part0.hdf5"]
        for i in range(n)
    ]
    return [head, *rows]


SPOILED: dict[str, Callable[[list[str]], list[str]]] = {
    "fewer cells": lambda row: row[:5],
    "more cells": lambda row: [*row, "x"],
    "blank row": lambda row: [""] * len(row),
    "blank exam_id": lambda row: ["", *row[1:]],
    "NUL bytes": lambda row: [row[0] + "\0", *row[1:]],
    "a quote that is not closed": lambda row: [row[0], '"50', *row[2:]],
    "blank trace_file": lambda row: [*row[:-1], ""],
    "rounded by a spreadsheet": lambda row: [*row[:-3], "1.2E+10", *row[-2:]],
}


@pytest.mark.slow
def test_every_spoiled_row_of_ten_thousand_is_accounted_for_by_reason(tmp_path: Path) -> None:
    rows = code15_of(tmp_path / "raw", 10_000)
    kinds = [*SPOILED]
    for k in range(80):  # ten of each kind, spread over the table
        rows[100 + 120 * k] = SPOILED[kinds[k % len(kinds)]](rows[100 + 120 * k])
    rows += [rows[7], rows[8], [*rows[9][:8], "True" if rows[9][8] == "False" else "False", *rows[9][9:]]]
    for at in range(11, 21):  # ten patients blank, and ten labels
        rows[at] = [*rows[at][:9], "", *rows[at][10:]]
        rows[at + 20] = [*rows[at + 20][:8], "perhaps", *rows[at + 20][9:]]
    (tmp_path / "raw" / "exams.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    index = preparation.indexed(data.DATASETS["code15"], tmp_path / "raw")
    for kind in kinds:
        assert sum(n for reason, n in index.refused.items() if kind in reason) == 10, (kind, index.refused)
    assert sum(n for reason, n in index.refused.items() if "stands there twice" in reason) == 2
    assert (
        sum(n for reason, n in index.refused.items() if "contradicts another of the same exam_id in AF" in reason) == 2
    )
    assert sum(index.refused.values()) == 84
    assert index.accounts is not None
    assert (index.accounts.total, index.accounts.used, index.accounts.absent) == (10_003, 9_919, 0)
    assert sum(n for note, n in index.notes.items() if "person of its own" in note) == 10
    assert sum(n for note, n in index.notes.items() if note.startswith("AF ") and "perhaps" in note) == 10
    assert int((index.labels[:, 4] == MISSING).sum()) == 10
    assert len(np.unique(index.patient)) >= 4_950


# ---- identities, labels and paths as people write them ---------------------------------------------------------------


def exams(tmp_path: Path, **columns: list[str]) -> Index:
    layouts.code15(tmp_path / "raw", n=12)
    path = tmp_path / "raw" / "exams.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False).sort_values("exam_id")
    for column, cells in columns.items():
        table.loc[table.index[: len(cells)], column] = cells
    table.to_csv(path, index=False)
    index = preparation.indexed(data.DATASETS["code15"], tmp_path / "raw")
    by_exam = [int(where.partition("#")[2]) * 2 + ("part1" in where) for where in index.where]
    assert len(by_exam) == 12
    return index


def test_one_patient_is_one_however_a_number_is_written(tmp_path: Path) -> None:
    index = exams(tmp_path, patient_id=["77", "77.0", "77 ", "0077", "'77'", "77,0"])
    assert np.sum(index.patient == "77") == 6
    assert len(np.unique(index.patient)) == 4


def test_what_may_be_one_patient_or_two_is_refused_by_line(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"column 'patient_id' of exams\.csv spells what may be one .*lines \d+ and \d+"
    ):
        exams(tmp_path, patient_id=["ab1", "AB1"])


@pytest.mark.parametrize(
    ("yes", "no"),
    [("VERDADEIRO", "FALSO"), ("Sim", "Não"), ("y", "n"), ("T", "F"), ("'1'", "0.0"), ("1,0", "0,0"), ("Yes ", " NO")],
)
def test_labels_are_read_as_people_write_them(tmp_path: Path, yes: str, no: str) -> None:
    index = exams(tmp_path, AF=[yes, no] * 6)
    assert sorted(index.labels[:, 4].tolist()) == [0] * 6 + [1] * 6


def test_a_column_of_which_nothing_is_known_stops_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"no row of exams\.csv says anything known in column 'AF': its words are 'quizas'"
    ):
        exams(tmp_path, AF=["quizas"] * 12)


def test_a_patient_in_two_folds_is_named_with_the_column_before_any_work(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    spoiled(
        tmp_path / "raw" / "ptbxl_database.csv", lambda table: table.assign(strat_fold=["10", "1"] * 6), header=True
    )
    with pytest.raises(
        ValueError, match=r"by strat_fold of ptbxl_database\.csv, 6 patients are in more than one split"
    ):
        preparation.indexed(data.DATASETS["ptbxl"], tmp_path / "raw")


def test_folds_that_are_none_are_counted(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    change = lambda table: table.assign(strat_fold=["", "11", *table.strat_fold[2:]])  # noqa: E731
    spoiled(tmp_path / "raw" / "ptbxl_database.csv", change, header=True)
    index = preparation.indexed(data.DATASETS["ptbxl"], tmp_path / "raw")
    assert index.refused == {"strat_fold of ptbxl_database.csv is none of 1 to 10 (first: line 2)": 2}


def test_backslashes_and_another_case_are_read(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    before = preparation.indexed(data.DATASETS["ptbxl"], tmp_path / "raw")
    change = lambda table: table.assign(  # noqa: E731
        filename_hr=[".\\" + name.replace("/", "\\").replace("records", "Records") for name in table.filename_hr]
    )
    spoiled(tmp_path / "raw" / "ptbxl_database.csv", change, header=True)
    after = preparation.indexed(data.DATASETS["ptbxl"], tmp_path / "raw")
    assert after.where.tolist() == before.where.tolist()


def test_labels_of_cpsc2018_that_are_none_are_counted_and_both_editions_are_said(tmp_path: Path) -> None:
    layouts.cpsc2018_original(tmp_path / "raw")
    layouts.cpsc2018(tmp_path / "raw")
    path = tmp_path / "raw" / "REFERENCE.csv"
    path.write_text(path.read_text().replace("A0001,1", "A0001,10").replace("A0003,3", "A0003,0"))
    index = preparation.indexed(data.DATASETS["cpsc2018"], tmp_path / "raw")
    assert index.refused == {"label of REFERENCE.csv that is none of 1 to 9 (first: line 2)": 2}
    assert len(index.where) == 6
    assert sum("both editions" in note for note in index.notes) == 1


def test_codes_with_dots_are_those_without(tmp_path: Path) -> None:
    layouts.mimic_files(tmp_path / "raw")
    before = preparation.indexed(data.DATASETS["mimic"], tmp_path / "raw")
    path = tmp_path / "raw" / "records_w_diag_icd10.csv"
    path.write_text(path.read_text().replace("I2510", "i25.10").replace("I4891", "I48.91"))
    after = preparation.indexed(data.DATASETS["mimic"], tmp_path / "raw")
    assert after.label_sets == before.label_sets
    assert np.array_equal(after.labels, before.labels)


def test_a_label_set_without_both_outcomes_is_refused_before_a_launch(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw", n=40)
    spoiled(tmp_path / "raw" / "exams.csv", lambda table: table.assign(is_male="True"), header=True)
    data.prepare("code15", tmp_path / "raw", tmp_path / "home", workers=1)
    (said,) = data.without_outcomes("code15", tmp_path / "home", "sex", both=("train",), known=("val",))
    assert said.startswith(
        "corpus code15 cannot teach or test the labels 'sex': each of them is always there or never there in train"
    )
    assert data.without_outcomes("code15", tmp_path / "home", "code6", both=("train", "test")) == []


ONE_SIDED = """
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import Supervised
from ecgscale.spec import Run, Sweep

SWEEP = Sweep("onesided", (Run(ResNet(3, 4), Supervised(), Slice("code15", 1.0, "{label_set}")),), tasks=({tasks}))
"""


@pytest.mark.parametrize(
    ("label_set", "tasks", "said"),
    [
        ("sex", "", "corpus code15 cannot teach or test the labels 'sex'"),
        ("code6", "'mimic-sex',", "task mimic-sex: corpus mimic cannot teach or test the labels 'sex'"),
    ],
)
def test_plan_refuses_what_has_not_both_outcomes(label_set: str, tasks: str, said: str, shell: Shell) -> None:
    layouts.code15(shell.folder / "raw", n=40)
    spoiled(shell.folder / "raw" / "exams.csv", lambda table: table.assign(is_male="True"), header=True)
    data.prepare("code15", shell.folder / "raw", shell.folder / "own", workers=1)
    if tasks:
        layouts.mimic_files(shell.folder / "mimic")
        path = shell.folder / "mimic" / "records_w_diag_icd10.csv"
        spoiled(path, lambda table: table.assign(gender="M"), header=True)
        data.prepare("mimic", shell.folder / "mimic", shell.folder / "own", workers=1)
    (shell.folder / "sweeps" / "onesided.py").write_text(ONE_SIDED.format(label_set=label_set, tasks=tasks))
    planned = shell.type("plan", "onesided", "--home", "own")
    assert planned.returncode == 2
    assert said in " ".join(planned.stderr.split())
