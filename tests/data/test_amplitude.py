"""QRS amplitudes tell a wrong gain, unit or scale before hours of work; the signals here are real ones."""

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ecgscale import data
from ecgscale.data import corpus, preparation, split
from ecgscale.data.amplitude import MILLIVOLTS, Measured, of_record, qrs_amplitudes, why_not_usual
from ecgscale.data.recording import LEADS
from tests import layouts
from tests.shell import Shell

REAL = layouts.signals(24, 500)


def prepared(name: str, folder: Path, **options: object) -> corpus.Corpus:
    return data.prepare(name, folder / "raw", folder / "home", workers=1, **options)  # type: ignore[arg-type]


def headers_say(raw: Path, old: str, new: str, every: int = 1) -> None:
    paths = sorted(raw.rglob("*.hea"))
    for path in paths[::every]:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


# ---- one recording ---------------------------------------------------------------------------------------------------


def test_the_amplitude_is_that_of_the_qrs_complex_whatever_the_baseline() -> None:
    at = np.arange(5000) / 500
    beats = sum(1.2 * np.exp(-0.5 * ((at - when) / 0.012) ** 2) for when in np.arange(0.5, 10, 0.8))
    wander = np.sin(2 * np.pi * 0.2 * at) + 40
    assert qrs_amplitudes(np.stack([beats, beats + wander, 0 * at]), 500) == pytest.approx([1.2, 1.2, 0], abs=0.2)


@pytest.mark.parametrize("hz", [100, 257, 1000])
def test_the_rate_does_not_matter(hz: int) -> None:
    for native, other in zip(layouts.signals(8, 500), layouts.signals(8, hz), strict=True):
        assert of_record(other, hz, np.zeros(12, bool)) == pytest.approx(
            of_record(native, 500, np.zeros(12, bool)), rel=0.15
        )


def test_padding_and_bad_leads_do_not_count() -> None:
    signal = np.concatenate([REAL[0], np.zeros((12, 20_000))], axis=1)
    bad = np.zeros(12, dtype=bool)
    usual = of_record(REAL[0], 500, bad)
    assert of_record(signal, 500, bad) == pytest.approx(usual, rel=0.2)
    signal[3:9] = 0
    bad[3:9] = True
    assert of_record(signal, 500, bad) > 0.3
    assert of_record(np.zeros((12, 5000)), 500, ~np.zeros(12, dtype=bool)) == 0


def test_a_dataset_is_refused_by_its_majority() -> None:
    gains = {"1/mV": 3, "1000/mV": 2}
    assert why_not_usual(Measured([1.0, 1.1, 900.0, 950.0], gains), MILLIVOLTS, "") is None
    said = why_not_usual(Measured([1.0, 900.0, 1000.0], gains), MILLIVOLTS, "")
    assert said is not None
    assert said.startswith(
        "2 of 3 records have QRS amplitudes outside the usual 0.3 to 5 mV: their median is 900 mV, about 1,000 times"
    )
    assert "gain of 1/mV" in said
    assert "reader takes the values so: microvolts" in str(why_not_usual(Measured([0.001]), MILLIVOLTS, "microvolts"))


# ---- whole datasets --------------------------------------------------------------------------------------------------

WRONG_GAINS = [
    ("1/mV", "about 1,000 times too large"),
    ("1000000/mV", "about 1,000 times too small"),
    ("1000/uV", "about 1,000 times too small"),
    ("1000/V", "about 1,000 times too large"),
    ("5/mV", "about 100 times too large"),  # the converter's units taken for millivolts
]


@pytest.mark.parametrize(("gain", "how"), WRONG_GAINS)
@pytest.mark.parametrize("name", ["georgia", "csn", "heedb"])
def test_a_wrong_gain_in_every_header_refuses_the_dataset(name: str, gain: str, how: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path / "raw")
    headers_say(tmp_path / "raw", "1000/mV", gain)
    with pytest.raises(
        ValueError, match=rf"QRS amplitudes outside the usual 0\.3 to 5 mV: .* gain of {gain}"
    ) as refused:
        prepared(name, tmp_path)
    assert how in str(refused.value)
    assert not list((tmp_path / "home" / "corpora").iterdir())  # nothing is left that mended headers would go on from
    headers_say(tmp_path / "raw", gain, "1000/mV")
    assert prepared(name, tmp_path).manifest.amplitude["median QRS amplitude (mV)"] == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize("name", ["code", "ptbxl", "mimic", "mimic-icd10", "mitbih", "icentia11k"])
def test_also_in_records_without_matlab_files(name: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path / "raw")
    headers_say(tmp_path / "raw", "1000.0(0)/mV", "1.0(0)/mV")
    with pytest.raises(ValueError, match=r"outside the usual 0\.3 to 5 mV: .* gain of 1/mV"):
        prepared(name, tmp_path, allow_missing=True)


@pytest.mark.parametrize("policy", ["keep", "zero", "drop"])
def test_leads_made_flat_by_a_gain_are_a_matter_of_the_gain(policy: str, tmp_path: Path) -> None:
    layouts.georgia(tmp_path / "raw")
    headers_say(tmp_path / "raw", "1000/mV", "1000000/mV")
    with pytest.raises(ValueError, match="gain of 1000000/mV"):
        prepared("georgia", tmp_path, flawed_leads=policy)


def _code15(raw: Path, factor: float) -> None:
    layouts.code15(raw)
    for path in raw.glob("*.hdf5"):
        with h5py.File(path, "r+") as file:
            file["tracings"][:] = file["tracings"][:] * factor


def _sph(raw: Path, factor: float) -> None:
    layouts.sph(raw)
    for path in raw.rglob("*.h5"):
        with h5py.File(path, "r+") as file:
            values = file["ecg"][:].astype(np.float32) * factor
            del file["ecg"]
            file["ecg"] = values


def _chapman(raw: Path, factor: float) -> None:
    layouts.chapman(raw)
    for path in (raw / "ECGDataDenoised").glob("*.csv"):
        np.savetxt(path, np.loadtxt(path, delimiter=",") * factor, fmt="%.6g", delimiter=",")


def _ludb(raw: Path, factor: float) -> None:
    layouts.ludb(raw)
    for path in raw.rglob("*.dat"):
        (np.fromfile(path, "<i2") * factor).clip(-32767, 32767).astype("<i2").tofile(path)


def _echonext(raw: Path, factor: float) -> None:
    layouts.echonext_arrays(raw)
    for path in raw.glob("*.npy"):
        np.save(path, np.load(path) * np.float32(factor))


@pytest.mark.parametrize(
    ("name", "write", "factor", "how"),
    [
        ("code15", _code15, 1000.0, "twice mV: divided by two"),
        ("code15", _code15, 0.001, "twice mV: divided by two"),
        ("sph", _sph, 1000.0, "mV, half precision"),
        ("chapman", _chapman, 0.001, "microvolts"),
        ("ludb", _ludb, 30.0, "taken as microvolts"),
        ("echonext", _echonext, 0.001, "z-scored"),
    ],
)
def test_files_in_another_unit_than_the_reader_takes_them_for(
    name: str, write: Callable[[Path, float], None], factor: float, how: str, tmp_path: Path
) -> None:
    write(tmp_path / "raw", factor)
    with pytest.raises(ValueError, match=f"outside the usual .* the reader takes the values so: .*{how}"):
        prepared(name, tmp_path)


def test_z_scores_are_amplitudes_of_their_own_unit(tmp_path: Path) -> None:
    layouts.echonext_arrays(tmp_path / "raw")
    amplitudes = prepared("echonext", tmp_path).manifest.amplitude
    assert amplitudes["records outside 1 to 25 standard deviations"] == 0


def test_single_records_are_put_aside_and_counted(tmp_path: Path) -> None:
    layouts.georgia(tmp_path / "raw", n=12)
    headers = sorted((tmp_path / "raw").rglob("*.hea"))
    headers[0].write_text(headers[0].read_text().replace("1000/mV", "1/mV"))
    headers[5].write_text(headers[5].read_text().replace("1000/mV", "1000000/mV"))
    opened = prepared("georgia", tmp_path)
    assert opened.manifest.refused == {
        "QRS amplitude above 20 mV: no heart's": 1,
        "QRS amplitude below 0.02 mV: no heart's": 1,
    }
    assert opened.split[0] == opened.split[5] == split.NONE
    assert not opened.signal[[0, 5]].any()
    assert opened.manifest.amplitude["records outside 0.3 to 5 mV"] == 2
    assert opened.manifest.amplitude["share of samples clipped"] == 0


def test_what_lies_beyond_the_stored_integers_is_a_share(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    signal = layouts.signals(1, 500)[0]
    signal[10, 1000:1500] = 30  # an electrode off, and twice that by the gain below
    layouts.wfdb_record(tmp_path / "raw/records500/00000", "00001_hr", signal, 500, [lead.upper() for lead in LEADS])
    header = tmp_path / "raw/records500/00000/00001_hr.hea"
    header.write_text(header.read_text().replace("1000.0(0)/mV", "500.0(0)/mV"))
    manifest = prepared("ptbxl", tmp_path).manifest
    assert manifest.flaws["clipped"] == 1
    assert manifest.amplitude["share of samples clipped"] == pytest.approx(100 / (12 * 8 * 1000), rel=0.1)


def test_a_wrong_gain_is_said_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.ludb(tmp_path / "raw", n=40)
    for path in (tmp_path / "raw").rglob("*.dat"):
        (np.fromfile(path, "<i2") // 500).astype("<i2").tofile(path)
    monkeypatch.setattr(preparation, "_CHUNK", 2)
    seen: list[int] = []
    with pytest.raises(ValueError, match=r"8 of 8 records have QRS amplitudes outside"):
        data.prepare(
            "ludb", tmp_path / "raw", tmp_path / "home", workers=1, progress=lambda step: seen.append(step.n_done)
        )
    assert seen == [2, 4, 6]


def test_a_first_part_in_another_unit_does_not_speak_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.georgia(tmp_path / "raw", n=24)
    monkeypatch.setattr(preparation, "_CHUNK", 2)
    for path in sorted((tmp_path / "raw").rglob("*.hea"))[:6]:
        path.write_text(path.read_text().replace("1000/mV", "1/mV"))
    assert prepared("georgia", tmp_path).manifest.refused == {"QRS amplitude above 20 mV: no heart's": 6}


def test_the_command_says_gain_and_amplitude_in_one_sentence(tmp_path: Path) -> None:
    layouts.georgia(tmp_path / "raw")
    headers_say(tmp_path / "raw", "1000/mV", "1/mV")
    (tmp_path / "shell").mkdir()
    shell = Shell(tmp_path / "shell", tmp_path / "home")
    typed = (
        "data",
        "prepare",
        "georgia",
        "--raw",
        str(tmp_path / "raw"),
        "--home",
        str(tmp_path / "home"),
        "--workers",
        "1",
    )
    done = shell.type(*typed)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "gain of 1/mV" in done.stderr
    assert "Traceback" not in done.stderr


# ---- native rates ----------------------------------------------------------------------------------------------------


def test_mixed_and_raised_rates_are_in_the_manifest_and_said(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    low = tmp_path / "raw" / "records100/00000"
    for i in range(4):  # of four records the files at 100 Hz alone are there
        layouts.wfdb_record(low, f"{i + 1:05d}_lr", layouts.signals(4, 100)[i], 100, [lead.upper() for lead in LEADS])
        (tmp_path / "raw" / "records500/00000" / f"{i + 1:05d}_hr.hea").unlink()
    usual = prepared("ptbxl", tmp_path)
    assert (usual.manifest.native_hz, usual.manifest.n_upsampled) == ({"100": 4, "500": 8}, 0)
    raised = prepared("ptbxl", tmp_path, sampling_hz=250)
    assert (raised.manifest.native_hz, raised.manifest.n_upsampled) == ({"100": 4, "500": 8}, 4)
    said = json.dumps(data.card("ptbxl@250", tmp_path / "home"))
    assert "native rates differ: 4 recordings at 100 Hz, 8 recordings at 500 Hz" in said
    assert "4 of 12 recordings were resampled upwards to 250 Hz" in said
    listed = data.listing(tmp_path / "home").set_index("name")
    assert listed.loc["ptbxl", "n_upsampled"] == 4
    (tmp_path / "shell").mkdir()
    shell = Shell(tmp_path / "shell", tmp_path / "home")
    typed = ["data", "prepare", "ptbxl", "--raw", str(tmp_path / "raw"), "--home", str(tmp_path / "other")]
    done = shell.type(*typed, "--sampling-hz", "500", "--workers", "1")
    assert "4 of 12 recordings were resampled upwards to 500 Hz" in done.stderr
    assert "median QRS amplitude (mV)" in done.stderr


def test_a_corpus_of_before_opens_without_what_it_never_measured(tmp_path: Path) -> None:
    layouts.ludb(tmp_path / "raw")
    prepared("ludb", tmp_path)
    path = corpus.folder_of(tmp_path / "home", "ludb") / "manifest.json"
    said = json.loads(path.read_text())
    for field in ("native_hz", "n_upsampled", "amplitude", "seal"):
        del said[field]
    path.write_text(json.dumps(said))
    assert corpus.read(tmp_path / "home", "ludb").manifest.n_upsampled == 0
    listed = data.listing(tmp_path / "home").set_index("name")
    assert listed.loc["ludb", "n_upsampled"] == 0
