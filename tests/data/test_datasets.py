"""Every dataset of the registry, from its own layout to a corpus: one contract for all."""

import json
from pathlib import Path

import numpy as np
import pytest

from ecgscale import data
from ecgscale.data import corpus, split
from ecgscale.data.corpus import MISSING
from ecgscale.data.filters import RECIPES, conditioned
from ecgscale.data.quality import FLAWS
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS, TWELVE_FROM_EIGHT
from tests import layouts

_MADE: dict[str, tuple[Path, Path]] = {}


@pytest.fixture(scope="session", params=list(data.DATASETS))
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Path]:
    """Name, raw folder and home of a dataset that was prepared from a copy of its layout."""
    name = request.param
    if name not in _MADE:
        folder = tmp_path_factory.mktemp(name)
        layouts.LAYOUTS[name](folder / "raw")
        data.prepare(name, folder / "raw", folder / "home", workers=1, allow_missing=name == "mitbih")
        _MADE[name] = (folder / "raw", folder / "home")
    return name, *_MADE[name]


def test_a_layout_is_there_for_every_dataset() -> None:
    assert set(layouts.LAYOUTS) == set(data.DATASETS)


def test_becomes_a_corpus(prepared: tuple[str, Path, Path]) -> None:
    name, _, home = prepared
    opened = data.open_corpus(name, home)
    card = data.DATASETS[name].card
    n = len(opened.signal)
    assert opened.signal.dtype == np.int16
    assert opened.signal.shape[1:] == (len(opened.manifest.leads), 1000)
    assert {len(values) for values in (opened.peaks, opened.labels, opened.patient, opened.split, opened.quality)} == {
        n
    }
    assert set(np.unique(opened.labels)) <= {0, 1, MISSING}
    assert sum(len(classes) for classes in opened.manifest.label_sets.values()) == opened.labels.shape[1]
    assert {*opened.manifest.label_sets, *opened.manifest.number_sets} == set(card.label_sets)
    known = opened.manifest.known_label_sets
    assert all(len(classes) <= card.n_labels[label_set] for label_set, classes in known.items())
    split.assert_disjoint(np.asarray(opened.patient), np.asarray(opened.split))
    assert not opened.manifest.refused or name in ("heedb", "zzu-pecg")
    assert opened.manifest.scale_mv > 0
    assert np.all((opened.peaks >= 0).sum(axis=1) >= 4)
    leads = opened.manifest.leads
    assert tuple(leads) in (INDEPENDENT_LEADS, LEADS, ("I",)) or opened.beat_classes is not None


def test_is_outlined_before_it_is_prepared(prepared: tuple[str, Path, Path], tmp_path: Path) -> None:
    name, _, home = prepared
    before, after = data.corpus_size(name, tmp_path), data.corpus_size(name, home)
    assert (before.prepared, after.prepared) == (False, True)
    assert (before.n_samples, before.n_leads, before.twelve_leads) == (
        after.n_samples,
        after.n_leads,
        after.twelve_leads,
    )
    assert set(after.n_labels) <= set(before.n_labels)
    assert before.n_records[2] > 0
    assert (sum(before.n_records) == data.DATASETS[name].card.n_records) or data.DATASETS[name].card.splits


# Stored in mV without a change of size, and not cut from a longer record.
WHOLE = ("ptbxl", "chapman", "mimic")


@pytest.mark.parametrize("name", WHOLE)
def test_signals_are_those_of_the_files_in_mv(name: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path / "raw")
    opened = data.prepare(name, tmp_path / "raw", tmp_path / "home", workers=1)
    index = data.DATASETS[name].index(tmp_path / "raw")
    number = [int("".join(filter(str.isdigit, Path(where).stem))[-4:]) for where in index.where]
    first = 1 if name == "ptbxl" else 0
    for row, i in enumerate(number):
        expected = layouts.signals(40, 100)[i - first]
        found = np.asarray(opened.signal[row]) * opened.manifest.mv_per_unit
        if len(found) == 8:
            found = TWELVE_FROM_EIGHT @ found
        inner = slice(50, 950)
        error = np.sqrt(np.mean((found - expected)[:, inner] ** 2) / np.mean(expected[:, inner] ** 2))
        assert error < (0.06 if name != "mimic" or i != 2 else 0.3), (row, error)  # below 50 Hz; one record has a gap


def test_units_and_leads_of_code_and_code15_agree(tmp_path: Path) -> None:
    """CODE-15% is twice the WFDB millivolts and CODE-test permuted; prepared, the same tracing is the same."""
    for name in ("code", "code15", "code-test"):
        layouts.LAYOUTS[name](tmp_path / name)
    code, code15, test = (
        data.prepare(name, tmp_path / name, tmp_path / "home", workers=1) for name in ("code", "code15", "code-test")
    )
    # Tracing 2 is 10 s long in each (CODE: at 600 Hz).
    at15 = data.DATASETS["code15"].index(tmp_path / "code15").where.tolist().index("exams_part0.hdf5#1")
    a, b, c = code.signal[2] * 0.001, code15.signal[at15] * 0.001, test.signal[2] * 0.001
    inner = slice(100, 900)
    assert np.sqrt(np.mean((a - b)[:, inner] ** 2)) < 0.03 * a.std()
    assert np.sqrt(np.mean((c - b)[:, inner] ** 2)) < 0.03 * a.std()


def test_labels_are_by_name_and_masked_where_missing(tmp_path: Path) -> None:
    layouts.code(tmp_path / "raw")
    opened = data.prepare("code", tmp_path / "raw", tmp_path / "home", workers=1)
    targets = opened.targets("code6", np.arange(12))
    assert np.isnan(targets[3]).all()  # not annotated
    # annotations.csv has ST before AF: label k of the writer's order is positive where (row + k) % 4 == 0.
    writers = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")
    for column, label in enumerate(opened.label_names("code6")):
        expected = [float((row + writers.index(label)) % 4 == 0) for row in range(12) if row != 3]
        assert np.delete(targets[:, column], 3).tolist() == expected


def test_the_first_of_several_tracings_is_taken(tmp_path: Path) -> None:
    layouts.code(tmp_path)
    index = data.DATASETS["code"].index(tmp_path)
    assert len(index.where) == 12
    assert all(where.endswith("_N1.hea") for where in index.where)


def test_mimic_pretraining_and_probing_share_no_patient_and_mask_what_is_unknown(tmp_path: Path) -> None:
    layouts.mimic_files(tmp_path)
    pretrain, probe = (data.DATASETS[name].index(tmp_path) for name in ("mimic-icd10", "mimic"))
    assert not set(pretrain.patient) & set(probe.patient)
    assert pretrain.label_sets == probe.label_sets
    assert pretrain.label_sets["icd10"] == ("I10", "I2510", "I4891", "I509", "I129")
    assert pretrain.label_subsets["icd10/dominant"] == ("I10",)
    acute = probe.labels[:, 5:13]
    assert set(np.unique(acute)) == {0, 1, MISSING}


def test_label_scaling_has_the_studys_sizes_and_nests() -> None:
    from ecgscale.data.readers import mimic

    rng = np.random.default_rng(0)
    names = [f"I{i:03d}" for i in range(927)]
    chance = 0.2 / np.arange(1, 928)
    records = [{name for name, hit in zip(names, rng.random(927) < chance, strict=True) if hit} for _ in range(4000)]
    records.append(set(names))
    order, subsets = mimic.label_scaling(records)
    assert len(order) == 927
    assert [len(subsets[f"icd10/{name}"]) for name in ("dominant", "dominant-30.0", "dominant-50.0")] == [93, 278, 464]
    for draw in range(3):
        small, middle = set(subsets[f"icd10/dominant-30.{draw}"]), set(subsets[f"icd10/dominant-50.{draw}"])
        assert set(subsets["icd10/dominant"]) < small < middle
    assert subsets["icd10/dominant-30.0"] != subsets["icd10/dominant-30.1"]
    counts = {name: sum(name in record for record in records) for name in subsets["icd10/tail"]}
    assert min(counts.values()) >= 10


def test_mitbih_windows_carry_beats_and_aami_classes(tmp_path: Path) -> None:
    layouts.mitbih(tmp_path / "raw")
    opened = data.prepare("mitbih", tmp_path / "raw", tmp_path / "home", workers=1, allow_missing=True)
    assert opened.manifest.beat_classes == ["N", "S", "V", "F", "Q"] or tuple(opened.manifest.beat_classes) == tuple(
        "NSVFQ"
    )
    assert opened.beat_classes is not None
    assert np.array_equal(opened.beat_classes != MISSING, opened.peaks >= 0)
    # The writer's beats: a beat each 300 samples at 360 Hz from 50, the first mark is no beat.
    first_window = opened.peaks[0][opened.peaks[0] >= 0]
    expected = np.rint((50 + 300 * np.arange(1, 12)) / 3.6)
    assert set(first_window.tolist()) <= set(expected.tolist())


def test_a_window_of_mitbih_has_a_rhythm_if_all_of_it_is_in_one(tmp_path: Path) -> None:
    layouts.mitbih(tmp_path)
    index = data.DATASETS["mitbih"].index(tmp_path)
    said = {name: index.labels[index.patient == name] for name in ("100", "202")}
    assert [row.tolist() for row in said["100"][:8]] == [[1, *[0] * 13]] * 8  # marked again at 60.1 s, and the same
    assert (said["100"][8:] == MISSING).all()  # from 85.1 s on a mark that names no rhythm
    assert said["202"][:, 0].tolist() == [1] * 6 + [MISSING] + [0] + [MISSING] * 4
    assert said["202"][:, 2].tolist() == [0] * 6 + [MISSING] + [1] + [MISSING] * 4
    (tmp_path / "202.atr").unlink()
    without = data.DATASETS["mitbih"].index(tmp_path)
    assert without.refused == {"annotations are unreadable (FileNotFoundError)": 1}
    assert len(without.where) == len(index.where) - 12


def test_both_editions_of_cpsc2018_are_read(tmp_path: Path) -> None:
    layouts.cpsc2018_original(tmp_path / "raw")
    opened = data.prepare("cpsc2018", tmp_path / "raw", tmp_path / "home", workers=1)
    assert len(opened.signal) == 8
    labels = opened.targets("cpsc9", np.arange(8))
    assert labels[:, 0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    assert labels[:, 1].tolist() == [1, 1, 0, 1, 0, 0, 1, 0]  # the second label of every third record


def test_the_final_labels_of_the_2017_challenge_win_and_copies_are_left_out(tmp_path: Path) -> None:
    layouts.cinc2017(tmp_path)
    index = data.DATASETS["cinc2017"].index(tmp_path)
    assert len(index.where) == 24  # six of them lie in validation too
    assert all(where.startswith("training2017/") for where in index.where)
    assert index.labels.argmax(axis=1).tolist() == [0, 1, 2, 3] * 6
    assert index.labels.sum(axis=1).tolist() == [1] * 24
    assert not index.missing
    (tmp_path / "training2017" / "A00003.hea").unlink()
    assert data.DATASETS["cinc2017"].index(tmp_path).missing == []  # its copy is there
    (tmp_path / "REFERENCE-v3.csv").unlink()
    earlier = data.DATASETS["cinc2017"].index(tmp_path)
    assert earlier.labels.argmax(axis=1).tolist() == [0, 1, 2, 0] * 6
    assert earlier.missing == ["REFERENCE-v3.csv, the final labels (REFERENCE.csv may hold earlier ones)"]


def test_a_table_of_the_2017_challenge_is_needed_and_what_contradicts_in_it_is_left_out(tmp_path: Path) -> None:
    layouts.cinc2017(tmp_path, n=8)
    table = tmp_path / "REFERENCE-v3.csv"
    table.write_text("A00001,N\nA00002,O\nA00001,A\n")
    torn = data.DATASETS["cinc2017"].index(tmp_path)
    assert torn.labels.tolist() == [[0, 0, 1, 0]]
    reason = "row of REFERENCE-v3.csv that contradicts another of the same record in rhythm (first: line 1)"
    assert torn.refused == {reason: 2}
    table.write_text("A00001,N\nA00002,?\nA00009,A\n\n")
    index = data.DATASETS["cinc2017"].index(tmp_path)
    assert index.labels.tolist() == [[1, 0, 0, 0], [MISSING] * 4]
    assert index.missing == ["1 of 3 records of REFERENCE-v3.csv"]
    for path in tmp_path.rglob("REFERENCE*.csv"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="the labels of the challenge of 2017"):
        data.DATASETS["cinc2017"].index(tmp_path)


@pytest.mark.parametrize("recipe", ["", "ecgfounder"])
def test_the_middle_of_a_lead_is_kept_and_what_is_shorter_is_padded(recipe: str, tmp_path: Path) -> None:
    layouts.cinc2017(tmp_path / "raw", n=4)  # 30, 9.05, 12 and 61 s
    opened = data.prepare("cinc2017", tmp_path / "raw", tmp_path / "home", workers=1, recipe=recipe)
    assert opened.name == ("cinc2017@ecgfounder" if recipe else "cinc2017")
    assert tuple(opened.manifest.leads) == ("I",)
    assert opened.manifest.flaws["checksum"] == 0  # the headers' zeros are none
    assert [bool(q & FLAWS["cut"]) for q in opened.quality] == [True, False, True, True]
    assert [bool(q & FLAWS["padded"]) for q in opened.quality] == [False, True, False, False]
    filters = RECIPES[recipe] if recipe else data.DATASETS["cinc2017"].recipe
    native = layouts.signals(4, 300, 61)[:, :1]
    for row, (seconds, first) in enumerate(((30, 1000), (9.05, -48), (12, 100), (61, 2550))):
        clean = conditioned(native[row : row + 1, :, : round(seconds * 300)], 300, 100, filters)[0, 0]
        around = np.pad(clean, 48)
        expected = around[48 + first : 48 + first + 1000]
        found = np.asarray(opened.signal[row, 0]) * opened.manifest.mv_per_unit
        assert np.abs(found[: len(expected)] - expected).max() < 0.003
        assert expected.std() > 0.03


def test_a_checksum_of_the_2017_challenge_counts_where_there_is_one(tmp_path: Path) -> None:
    layouts.cinc2017(tmp_path / "raw", n=4)
    header = tmp_path / "raw" / "training2017" / "A00001.hea"
    header.write_text(header.read_text().replace(" 0 0 ECG", " 77 0 ECG"))
    assert not data.DATASETS["cinc2017"].load(tmp_path / "raw", "training2017/A00001.hea").checksum
    assert data.DATASETS["cinc2017"].load(tmp_path / "raw", "training2017/A00002.hea").checksum


def test_verify_finds_nothing_wrong(prepared: tuple[str, Path, Path]) -> None:
    name, raw, home = prepared
    checks = data.verify(name, home, raw)
    wrong = checks[~checks["ok"]]
    assert wrong["item"].tolist() == (["raw folder at preparation", "raw folder"] if name == "mitbih" else [])


def test_card_is_croissant_and_holds_no_identity(prepared: tuple[str, Path, Path]) -> None:
    name, raw, home = prepared
    document = data.card(name, home)
    assert document["@type"] == "sc:Dataset"
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert {file["@id"] for file in document["distribution"]} >= {"signal.npy", "labels.npy", "patient.npy"}
    counts = {row["splits/split"]: row["splits/recordings"] for row in document["recordSet"][0]["data"]}
    assert sum(counts.values()) == len(data.open_corpus(name, home).signal)
    assert all(table["data"] for table in document["recordSet"])
    text = json.dumps(document)
    index = data.DATASETS[name].index(raw)
    for identity in {*index.patient, *index.where}:
        assert len(identity) < 5 or identity not in text
    assert str(raw) not in text


def test_listing_says_what_is_prepared_and_where_to_ask(prepared: tuple[str, Path, Path]) -> None:
    name, _, home = prepared
    rows = {row["name"]: row for row in data.listing(home).to_dict("records")}
    assert set(data.DATASETS) <= set(rows)
    assert rows[name]["prepared"] == name
    assert rows[name]["n_prepared"] > 0
    assert min(len(row["download"]) for row in rows.values()) > 10
    assert "--user" in rows["echonext"]["download"]


def test_reads_back_after_a_move(prepared: tuple[str, Path, Path], tmp_path: Path) -> None:
    """Nothing in a corpus says where it was made."""
    name, raw, home = prepared
    for file in corpus.folder_of(home, name).iterdir():
        content = file.read_bytes()
        assert str(raw).encode() not in content
        assert str(home).encode() not in content
