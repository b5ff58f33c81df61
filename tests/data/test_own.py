"""Anyone's folder: from any kind of file the same recordings become the same corpus, or a sentence says why not."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import data
from ecgscale.data import alike, corpus, preparation, tables
from ecgscale.data.filters import Recipe
from ecgscale.data.own import edf
from ecgscale.data.own.said import millivolts
from ecgscale.data.peaks import DETECTORS
from ecgscale.data.readers import ludb
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS, TWELVE_FROM_EIGHT, Recording
from ecgscale.data.sizes import corpus_size
from ecgscale.models import ResNet, ViT
from ecgscale.objectives import Supervised
from ecgscale.pricing.obstacles import checked
from ecgscale.pricing.plan import _not_measured
from ecgscale.spec import Run, Sweep, Task
from tests import strangers
from tests.paths import NO_RAW, RAW

N = 12
TWELVE = ",".join(LEADS)
SAID = {"npy": data.Said(units="mV", hz=100, leads=TWELVE), "csv": data.Said(units="mV", hz=100)}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    """Real ones, twelve leads at 100 Hz."""
    sample = data.open_corpus("ludb-sample", tmp_path_factory.mktemp("home"))
    millivolts = np.asarray(sample.signal[:N]) * np.float32(sample.manifest.mv_per_unit)
    steps = np.rint(np.einsum("ij,njt->nit", TWELVE_FROM_EIGHT, millivolts) / strangers.STEP)
    return [Recording((one * strangers.STEP).astype(np.float32), 100.0, LEADS) for one in steps]


@pytest.fixture
def table() -> pd.DataFrame:
    names = [f"rec{at:03}" for at in range(N)]
    af = ["1", "0", "", "yes", "no", "1", "0", "0", "1", "0", "0", "1"]
    sex = ["M", "F"] * (N // 2)
    said = {"record": names, "patient": [f"CANARY{at // 2}" for at in range(N)], "af": af, "sex": sex}
    return pd.DataFrame(said | {"age": [str(40 + at) for at in range(N)]})


def prepared(raw: Path, home: Path, said: data.Said | None = None, **options: object) -> data.Corpus:
    chosen = {"reader": "table", "said": said, "workers": 1, **options}
    return data.prepare("mine", raw, home, **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", strangers.EACH)
def test_a_recording_is_the_same_from_every_kind_of_file(
    kind: str, recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    raw = strangers.written(tmp_path / "raw", kind, recordings, table)
    opened = prepared(raw, tmp_path / "home", SAID.get(kind))
    eight = np.stack([one.signal[[0, 1, *range(6, 12)]] for one in recordings])
    assert np.abs(opened.signal * opened.manifest.mv_per_unit - eight).max() <= 1.5 * strangers.STEP
    assert np.array_equal(opened.peaks, DETECTORS["slope-energy"](eight, 100))
    assert (opened.peaks >= 0).sum() > 4 * N
    assert opened.manifest.refused == {}
    assert opened.manifest.label_sets == {"labels": ["af"], "sex": ["male"]}
    assert opened.labels[:, 0].tolist() == [1, 0, 255, 1, 0, 1, 0, 0, 1, 0, 0, 1]
    assert opened.labels[:, 1].tolist() == [1, 0] * (N // 2)
    assert len(np.unique(opened.patient)) == N // 2
    assert opened.numbers is not None
    assert opened.numbers[:, 0].tolist() == list(range(40, 40 + N))
    assert opened.manifest.number_sets["age"]["age"]["unit"] == "years"


def test_rows_of_one_array(recordings: list[Recording], table: pd.DataFrame, tmp_path: Path) -> None:
    """NumPy in microvolts with numbers of rows, and HDF5 that says what it holds, its table in Parquet, by order."""
    one, other = tmp_path / "npy", tmp_path / "hdf5"
    one.mkdir()
    other.mkdir()
    strangers.as_one_npy(one, recordings)
    table.drop(columns="record").assign(row=range(N)).iloc[::-1].to_csv(one / "labels.csv", index=False)
    strangers.as_one_hdf5(other, recordings)
    table.drop(columns="record").to_parquet(other / "labels.parquet")
    said = data.Said(units="uV", hz=100, leads=TWELVE, signals="signals.npy")
    by_number = prepared(one, tmp_path / "a", said)
    by_order = prepared(other, tmp_path / "b", data.Said(leads=TWELVE, signals="signals.h5", record="order"))
    assert np.array_equal(by_number.signal[::-1], by_order.signal)
    assert np.array_equal(by_number.labels[::-1], by_order.labels)


@pytest.mark.skipif(not (RAW / "ecg").is_dir(), reason=f"the authors' files: {NO_RAW}")
@pytest.mark.parametrize("kind", ["wfdb", "edf", "hdf5"])
def test_beats_and_amplitudes_are_those_of_the_public_reader(kind: str, tmp_path: Path) -> None:
    files = RAW / "ecg" / "ludb"
    real = [ludb.load(files, f"data/{at}.hea") for at in range(1, 7)]
    table = pd.DataFrame({"record": [f"a{at}" for at in range(6)], "patient": range(6)})
    opened = prepared(strangers.written(tmp_path / "raw", kind, real, table), tmp_path / "home")
    public = replace(data.DATASETS["ludb"], recipe=Recipe())  # its filters are the study's
    names = np.array([f"data/{at}.hea" for at in range(1, 7)])
    rows = data.preparation.rows_of(public, files, names, data.Options("ludb"))
    assert np.array_equal(opened.peaks, rows.peaks)
    assert np.abs(opened.signal.astype(int) - rows.signal).max() <= 1


def test_edf_is_what_another_reader_reads(recordings: list[Recording], tmp_path: Path) -> None:
    pyedflib = pytest.importorskip("pyedflib", reason="a check against pyedflib, which is not needed otherwise")
    strangers.as_edf(tmp_path, "one", recordings[0])
    ours = edf.read(tmp_path / "one.edf")
    with pyedflib.EdfReader(str(tmp_path / "one.edf")) as theirs:
        assert ours.sampling_hz == theirs.getSampleFrequency(0) == 100
        assert ours.labels == tuple(theirs.getSignalLabels())
        values = np.stack([theirs.readSignal(at) for at in range(12)])
    assert np.abs(ours.values - values).max() < 1e-3


@pytest.mark.parametrize(
    ("at", "text", "sentence"),
    [
        (0, "1", "no EDF"),
        (192, "EDF+D", "interrupted"),
        (236, "99      ", "shorter than its header says"),
        (252, "x   ", "no number"),
        (256 + 12 * (16 + 80 + 8), "32767   ", "not calibrated"),
    ],
)
def test_an_edf_that_cannot_be_what_it_says(
    at: int, text: str, sentence: str, recordings: list[Recording], tmp_path: Path
) -> None:
    strangers.as_edf(tmp_path, "one", recordings[0])
    whole = bytearray((tmp_path / "one.edf").read_bytes())
    whole[at : at + len(text)] = text.encode()
    (tmp_path / "one.edf").write_bytes(whole)
    with pytest.raises(data.MalformedRecordError, match=sentence):
        edf.read(tmp_path / "one.edf")


def renamed(old: str, new: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.rename(columns={old: new})


def cell(row: int, column: str, value: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def changed(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        table.loc[row, column] = value
        return table

    return changed


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"units": "mv", "hz": 100}, "the files do not name their leads: say them in their order"),
        ({"units": "mV", "leads": TWELVE}, "the files do not say their sampling rate: say it with --hz"),
        ({"hz": 100, "leads": TWELVE}, "the files do not say their unit: say it with --units"),
        ({"units": "uV", "hz": 100, "leads": TWELVE}, "about 1,000 times too small; .* uV as --units says"),
        ({"units": "mV", "hz": 50, "leads": TWELVE}, "at --hz 50 the hearts of 10 records beat"),
        ({"units": "mV", "hz": 25, "leads": TWELVE}, "at --hz 25 the waves of 10 records are too slow for hearts"),
        ({"units": "mV", "hz": 100, "leads": "I,II"}, r"array of 1000 x 12 numbers: --leads or the file names 2"),
        (
            {"units": "mV", "hz": 100, "leads": TWELVE, "patient": "pateint"},
            "no column 'pateint'; did you mean 'patient'",
        ),
        ({"units": "mV", "hz": 100, "leads": TWELVE, "labels": "lables.csv"}, "no table 'lables.csv'; did you mean"),
        ({"units": "mV", "hz": 100, "leads": TWELVE, "label_columns": "aff"}, "no column 'aff'; did you mean 'af'"),
    ],
)
def test_what_is_said_wrongly_gets_a_sentence(
    said: dict[str, object], sentence: str, recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    raw = strangers.written(tmp_path / "raw", "npy", recordings, table)
    with pytest.raises((ValueError, OSError), match=sentence):
        prepared(raw, tmp_path / "home", data.Said(**said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"units": "mW"}, "no unit 'mW'; did you mean 'mV'"),
        ({"leads": "I,II,VI"}, "no lead 'VI'; did you mean"),
        ({"leads": "I,I"}, "a lead twice"),
        ({"hz": 5}, "10 to 10,000 Hz"),
    ],
)
def test_options_are_checked_before_anything_is_read(said: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        data.Said(**said)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (renamed("patient", "who"), "no column called patient: say it with --patient COLUMN, or '--patient none'"),
        (renamed("record", "what"), "no column called record: say it with --record COLUMN"),
        (cell(5, "af", "perhaps"), r"labels.csv, line 7, column 'af': 'perhaps' is neither 0, 1 nor blank"),
        (
            lambda table: table.assign(split="trian"),
            r"line 2, column 'split': 'trian' is no split; did you mean 'train'",
        ),
        (lambda table: table.assign(split=["train", "test"] * 6), "by split of labels.csv, 6 patients"),
        (lambda table: table.assign(record="../x"), "line 2, column 'record': a path of a table leaves the raw folder"),
        (cell(3, "record", "rec999"), "lacks 1 of 12 records of labels.csv.*say --allow-missing"),
    ],
)
def test_a_wrong_table_gets_a_sentence_without_any_identity(
    change: Callable[[pd.DataFrame], pd.DataFrame],
    sentence: str,
    recordings: list[Recording],
    table: pd.DataFrame,
    tmp_path: Path,
) -> None:
    raw = strangers.written(tmp_path / "raw", "hdf5", recordings, table)
    change(table).to_csv(raw / "labels.csv", index=False)
    with pytest.raises((ValueError, OSError), match=sentence) as raised:
        prepared(raw, tmp_path / "home")
    assert "CANARY" not in str(raised.value)
    assert "rec0" not in str(raised.value)


def test_rows_that_cannot_be_used_are_counted(recordings: list[Recording], table: pd.DataFrame, tmp_path: Path) -> None:
    raw = strangers.written(tmp_path / "raw", "hdf5", recordings, table)
    wrong = table.iloc[[0, 1, 2]].copy()
    wrong.loc[0, "record"] = ""  # blank
    wrong.loc[1, "af"] = "1"  # contradicts the first row of its record; the last is the same again
    blank = cell(4, "patient", "")(table)
    pd.concat([blank, wrong]).to_csv(raw / "labels.csv", index=False)
    opened = prepared(raw, tmp_path / "home")
    assert opened.manifest.refused == {
        "blank record in labels.csv (first: line 14)": 1,
        "row of labels.csv that contradicts another of the same file in af (first: line 3)": 2,
        "row of labels.csv that stands there twice (first: line 16)": 1,
    }
    assert sum(list(opened.manifest.accounts.values())[1:]) == opened.manifest.accounts["rows of labels.csv"] == 15
    assert opened.manifest.notes["recordings without a patient: each is taken as a person of its own"] == 1


def test_a_dry_run_says_which_rows_cannot_be_used(
    recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    """What preparing would refuse and what it would take for missing, before anything is prepared."""
    raw = strangers.written(tmp_path / "raw", "hdf5", recordings, table)
    pd.concat([cell(4, "age", "old")(table), table.iloc[[1]].assign(af="1")]).to_csv(raw / "labels.csv", index=False)
    priced = data.price("mine", raw, tmp_path / "home", workers=1, reader="table", said=data.Said())
    reason = "row of labels.csv that contradicts another of the same file in af (first: line 3)"
    assert priced.refused == {reason: 2}
    assert priced.notes["age of labels.csv that is no number ('old'): missing"] == 1


def test_a_column_called_row_keeps_its_name(recordings: list[Recording], table: pd.DataFrame, tmp_path: Path) -> None:
    raw = strangers.written(tmp_path / "raw", "npy", recordings, table)
    table.rename(columns={"record": "row"}).to_csv(raw / "labels.csv", index=False)
    assert data.taken_for(raw, data.Said())["row"] == "the record"
    table.assign(record=range(N)).rename(columns={"record": "row"}).to_csv(raw / "labels.csv", index=False)
    with pytest.raises(FileNotFoundError, match="names in column 'row' is in the raw folder"):
        prepared(raw, tmp_path / "home")


def test_a_file_that_contradicts_what_is_said_is_refused(
    recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    raw = strangers.written(tmp_path / "raw", "hdf5", recordings, table)
    with pytest.raises(ValueError, match=r"none of 10 records .* can be read: the file says 100 Hz, and --hz 250"):
        prepared(raw, tmp_path / "home", data.Said(hz=250))
    with pytest.raises(ValueError, match="the file says mV, and --units uV"):
        prepared(raw, tmp_path / "home", data.Said(units="uV"))


def test_leads_are_chosen_by_the_files_names_for_them(
    recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    own = [replace(one, signal=one.signal[:2], leads=("CH1", "CH2")) for one in recordings]
    raw = strangers.written(tmp_path / "raw", "hdf5", own, table)
    with pytest.raises(ValueError, match=r"no lead is called as leads are \(CH1, CH2\): say which is which"):
        prepared(raw, tmp_path / "home")
    opened = prepared(raw, tmp_path / "home", data.Said(leads="CH2=II"))
    assert opened.manifest.leads == ["II"]
    run = Run(ResNet(3, 2), Supervised(), corpus.Slice("ludb-sample", 1.0, "rhythm"))
    with pytest.raises(
        ValueError, match="can be measured on one: corpus mine has not the twelve leads that this resnet"
    ):
        checked(Sweep("s", (run,), (Task("one", "mine", "labels", "A"),)), tmp_path / "home")
    any_leads = replace(run, architecture=ViT(1, 4, 1, 8))
    some = Sweep("s", (run, any_leads), (Task("one", "mine", "labels", "A"),))
    sizes = checked(some, tmp_path / "home")
    reason = "one: corpus mine has not the twelve leads that this resnet reads"
    assert [_not_measured(some, one, sizes) for one in some.runs] == [[reason], []]
    assert np.abs(opened.signal[0, 0] * 0.001 - recordings[0].signal[1]).max() <= 1.5 * strangers.STEP


def test_eight_leads_are_twelve(recordings: list[Recording], table: pd.DataFrame, tmp_path: Path) -> None:
    """As carts export them: what follows from I and II is not missing, so no lead is flagged."""
    at = [LEADS.index(lead) for lead in INDEPENDENT_LEADS]
    eight = [replace(one, signal=one.signal[at], leads=INDEPENDENT_LEADS) for one in recordings]
    opened = prepared(strangers.written(tmp_path / "raw", "hdf5", eight, table), tmp_path / "home", flawed_leads="drop")
    assert opened.manifest.refused == {}
    assert not any(opened.manifest.flaws.values())
    ages = table.assign(age=["41", ">89", "50", "42"] * (N // 4))
    ages.to_csv(tmp_path / "raw" / "labels.csv", index=False)
    again = prepared(tmp_path / "raw", tmp_path / "other")
    assert again.manifest.notes["age of labels.csv that is no number ('>89'): missing"] == N // 4


def test_the_corpus_is_known_by_what_was_said_and_says_who_nobody_is(
    recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    raw, home = strangers.written(tmp_path / "raw", "csv", recordings, table), tmp_path / "home"
    opened = prepared(raw, home, SAID["csv"])
    other = prepared(raw, tmp_path / "other", data.Said(units="mV", hz=100, split="", label_columns="af"))
    assert opened.manifest.files["signal"] == other.manifest.files["signal"]
    assert opened.manifest.digest != other.manifest.digest
    assert corpus.digest_of({"a": "1"}) == corpus.digest_of({"a": "1"}, {}) != corpus.digest_of({"a": "1"}, {"b": 1})
    with pytest.raises(ValueError, match=r"prepared already, in another way .*'units': '1000 uV'"):
        prepared(raw, home, data.Said(units="1000 uV", hz=100))
    assert prepared(raw, home, SAID["csv"]).manifest == opened.manifest
    assert data.verify("mine", home, raw)["ok"].all()
    coded = table.assign(age=["1", "2"] * (N // 2))  # as prepared before numbers were labels, and now in doubt
    coded.to_csv(raw / "labels.csv", index=False)
    before = replace(
        opened.manifest, number_sets={}, files={k: v for k, v in opened.manifest.files.items() if k != "numbers"}
    )
    corpus.write_manifest(corpus.folder_of(home, "mine"), before)
    assert data.verify("mine", home, raw)["ok"].all()
    corpus.write_manifest(corpus.folder_of(home, "mine"), opened.manifest)
    assert corpus_size("mine", home).n_labels == {"labels": 1, "sex": 1, "age": 1}
    how = alike.preprocessing_of(opened)
    assert (how.leads, how.einthoven, how.window) == (LEADS, 0.05, "centre")
    listed = data.listing(home).set_index("name")
    assert listed.loc["mine", "n_prepared"] == N
    card = json.dumps(data.card("mine", home))
    assert "said once: units mV" in card
    everything = (
        card + json.dumps(opened.manifest.reader) + (corpus.folder_of(home, "mine") / "manifest.json").read_text()
    )
    assert not any(name in everything for name in ("CANARY", "rec0", str(tmp_path)))


COLUMNS = {
    "Potassium (mmol/L)": ["4.1", "3,9", "", "unknown", *["5.0"] * (N - 4)],
    "qt_ms": [str(380 + at) for at in range(N)],
    "nyha": ["1", "2", "3"] * (N // 3),
    "ecg_id": [str(9100000 + at) for at in range(N)],
    "report": ["sinus"] * N,
}


def test_columns_of_a_table_are_taken_for_what_they_hold(
    recordings: list[Recording], table: pd.DataFrame, tmp_path: Path
) -> None:
    raw = strangers.written(tmp_path / "raw", "hdf5", recordings[:N], table.assign(**COLUMNS))
    with pytest.raises(ValueError, match=r"'nyha' holds nothing but 1, 2, 3, codes or numbers.*--leave-out nyha"):
        data.taken_for(raw, data.Said())
    taken = data.taken_for(raw, data.Said(leave_out="nyha"))
    assert taken["af"] == "a label (0, 1 or missing) of the set 'labels'"
    assert taken["age"] == "a number in years: the set 'age'"
    assert taken["Potassium (mmol/L)"] == "a number in mmol/L: the set 'Potassium'"
    assert taken["qt_ms"] == "a number in ms: the set 'qt_ms'"
    assert "identifiers" in taken["ecg_id"]
    assert taken["report"] == "no label: it holds words"
    assert data.taken_for(raw, data.Said(numbers="nyha=class"))["nyha"] == "a number in class: the set 'nyha'"
    index = preparation.indexed(data.own("mine", raw, "table", data.Said(leave_out="nyha")), raw)
    assert index.number_units["Potassium"] == {"Potassium": "mmol/L"}
    assert index.numbers is not None
    column = list(index.number_units).index("Potassium")
    assert index.numbers[:4, column].tolist() == pytest.approx([4.1, 3.9, np.nan, np.nan], nan_ok=True)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("age", "300", "line 7, column 'age': a number is no age in years .0 to 125.: mend it, leave it blank"),
        ("age", "inf", "line 7, column 'age': 'inf' is no measurement"),
        ("qt", "0.39", r"line 7, column 'qt': '0.39' is no qt in ms .50 to 2000.*say its unit \(--numbers qt=UNIT\)"),
        ("qt_ms", "-9", "line 7, column 'qt_ms': '-9' seems to stand for missing"),
        ("af", "inf", "line 7, column 'af': 'inf' is neither 0, 1 nor blank"),
    ],
)
def test_numbers_that_nobody_has_are_refused(
    column: str, value: str, sentence: str, table: pd.DataFrame, tmp_path: Path
) -> None:
    with_intervals = table.assign(qt_ms=COLUMNS["qt_ms"], qt=COLUMNS["qt_ms"])
    cell(5, column, value)(with_intervals).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(tables.UnreadableTable, match=sentence):
        data.taken_for(tmp_path, data.Said())


@pytest.mark.parametrize("name", ["ptbxl", "simulated-100", "Mine", "a+b"])
def test_a_name_that_is_taken_or_cannot_be(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"call your own another|cannot be a corpus' name"):
        data.prepare(name, tmp_path, tmp_path, reader="table")


SCRIPT = """
import csv
import numpy as np
from ecgscale.data import Index, Recording

def index(raw):
    rows = list(csv.DictReader((raw / "labels.csv").open()))
    return Index(
        where=np.array([row["record"] for row in rows], dtype=np.dtypes.StringDType()),
        patient=np.array([row["patient"] for row in rows], dtype=np.dtypes.StringDType()),
        label_sets={"sex": ("male",)},
        labels=np.array([[row["sex"] == "M"] for row in rows], dtype=np.uint8),
    )

def load(raw, where):
    signal = np.load(raw / f"{where}.npy").T
    return Recording(signal, 100.0, ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"))
"""


def test_a_reader_of_ones_own_is_a_file(recordings: list[Recording], table: pd.DataFrame, tmp_path: Path) -> None:
    raw, file = strangers.written(tmp_path / "raw", "npy", recordings, table), tmp_path / "mine.py"
    file.write_text(SCRIPT)
    opened = data.prepare("mine", raw, tmp_path / "home", reader=str(file), workers=1)
    by_table = prepared(raw, tmp_path / "other", SAID["npy"])
    assert opened.manifest.files["signal"] == by_table.manifest.files["signal"]
    assert alike.preprocessing_of(opened).leads == LEADS
    assert "mine.py" in json.dumps(data.card("mine", tmp_path / "home"))
    assert data.verify("mine", tmp_path / "home", raw, str(file))["ok"].all()
    with pytest.raises(ValueError, match=r"read by mine.py: say where that file is, unchanged, with --reader"):
        data.verify("mine", tmp_path / "home", raw)
    file.write_text(SCRIPT.replace("def load", "def read"))
    with pytest.raises(ValueError, match="is not the file that the corpus was read by"):
        data.verify("mine", tmp_path / "home", raw, str(file))
    with pytest.raises(ValueError, match=r"mine.py has no function load\(\)"):
        data.prepare("mine", raw, tmp_path / "third", reader=str(file))
    with pytest.raises(ValueError, match="no reader 'tabel'; did you mean 'table'"):
        data.prepare("mine", raw, tmp_path / "third", reader="tabel")


def test_units_as_people_write_them() -> None:
    assert [millivolts(unit) for unit in ("mV", "uV", "µV", "V", "4.88 uV", "200/mV", "1000 /mV")] == pytest.approx(
        [1, 1e-3, 1e-3, 1e3, 4.88e-3, 5e-3, 1e-3]
    )


@pytest.mark.skipif(importlib.util.find_spec("ecgdatakit") is not None, reason="the extra is installed")
def test_clinical_exports_ask_for_the_extra(recordings: list[Recording], table: pd.DataFrame, tmp_path: Path) -> None:
    raw = strangers.written(tmp_path / "raw", "hdf5", recordings, table)
    for name in table["record"]:
        (raw / f"{name}.h5").unlink()
        (raw / f"{name}.xml").write_text("<RestingECG/>")
    with pytest.raises(
        ValueError, match=r".xml files are read by ecgdatakit, an extra; run: pip install 'ecgscale\[cl"
    ):
        prepared(raw, tmp_path / "home")
