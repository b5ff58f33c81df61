"""Preparation under faults: what is broken, permuted, missing, malformed or killed, and what comes out of it."""

import dataclasses
import json
import os
import random
import signal as signals_of_the_system
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil
import pytest

from ecgscale import data, leases
from ecgscale.data import chunks, corpus, preparation, pricing, pseudonyms, split
from ecgscale.data.quality import FLAWS
from ecgscale.data.recording import LEADS, Recording
from tests import layouts
from tests.paths import HOUSE
from tests.shell import Shell

CANARY = 913_377_000  # a number that is in every identity of a raw folder below


def prepared(name: str, folder: Path, **options: object) -> corpus.Corpus:
    return data.prepare(name, folder / "raw", folder / "home", workers=1, **options)  # type: ignore[arg-type]


def knowing(other: Path, home: Path) -> Path:
    """A home that gives patients the same codes as another."""
    pseudonyms.secret(other)
    home.mkdir(parents=True, exist_ok=True)
    (home / pseudonyms.FILE).write_bytes((other / pseudonyms.FILE).read_bytes())
    return home


def one_lead_changed(raw: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Rewrite the first ptbxl record with its twelve leads changed."""
    changed = change(layouts.signals(1, 500)[0].copy())
    layouts.wfdb_record(raw / "records500/00000", "00001_hr", changed, 500, [lead.upper() for lead in LEADS])


# ---- resumable, parallel, priced -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_processes_make_the_same_corpus_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.ludb(tmp_path / "raw")
    monkeypatch.setattr(preparation, "_CHUNK", 4)
    seen: list[data.Progress] = []
    one = data.prepare("ludb", tmp_path / "raw", tmp_path / "one", workers=1, progress=seen.append)
    two = data.prepare("ludb", tmp_path / "raw", knowing(tmp_path / "one", tmp_path / "two"), workers=2)
    assert one.manifest == two.manifest
    assert [step.n_done for step in seen] == [4, 8, 12, 16, 20]
    assert all(step.n_records == 20 and step.records_per_second > 0 for step in seen)
    assert seen[-1].seconds_left == 0


def test_continues_where_it_was_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.ludb(tmp_path / "raw")
    monkeypatch.setattr(preparation, "_CHUNK", 4)
    whole = data.prepare("ludb", tmp_path / "raw", tmp_path / "whole", workers=1)

    def stop(step: data.Progress) -> None:
        if step.n_done == 12:
            raise KeyboardInterrupt

    knowing(tmp_path / "whole", tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        data.prepare("ludb", tmp_path / "raw", tmp_path / "home", workers=1, progress=stop)
    assert not corpus.is_prepared(tmp_path / "home", "ludb")
    seen: list[data.Progress] = []
    resumed = data.prepare("ludb", tmp_path / "raw", tmp_path / "home", workers=1, progress=seen.append)
    assert [step.n_done for step in seen] == [16, 20]
    assert resumed.manifest == whole.manifest
    assert [path.name for path in (tmp_path / "home" / "corpora").iterdir()] == ["ludb"]


def test_no_flipped_bit_of_a_preparation_goes_unnoticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """200 bits of each file: its part is done again, or all of it, and the corpus is what it would have been."""
    layouts.ludb(tmp_path / "raw")
    monkeypatch.setattr(preparation, "_CHUNK", 4)
    whole = data.prepare("ludb", tmp_path / "raw", tmp_path / "whole", workers=1)

    def stop(step: data.Progress) -> None:
        if step.n_done == 12:
            raise KeyboardInterrupt

    home = knowing(tmp_path / "whole", tmp_path / "home")
    with pytest.raises(KeyboardInterrupt):
        data.prepare("ludb", tmp_path / "raw", home, workers=1, progress=stop)
    partial = home / "corpora" / ".ludb.partial"
    dataset, options = data.DATASETS["ludb"], data.Options("ludb")
    index = preparation.indexed(dataset, tmp_path / "raw")
    begun = [chunk for chunk in chunks.chunks_of(20, 4) if chunks.is_marked(partial, chunk)]
    assert len(begun) == len([*(partial / "done").iterdir()]) == 3
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        name: (array.shape, array.dtype.type)
        for name in ("signal", "peaks", "quality")
        if (array := chunks.array_of(partial, name)) is not None
    }
    draw, said = random.Random(0), [chunks.said_of(partial, chunk) for chunk in begun]
    for path in sorted(path for path in partial.rglob("*.*") if path.is_file()):
        sound = path.read_bytes()
        for _ in range(200):
            damaged = bytearray(sound)
            at = draw.randrange(len(sound) if path.suffix == ".json" else 128)
            if path.suffix == ".npy" and draw.random() < 0.7:  # in the rows of a chunk that is done
                first, last = begun[draw.randrange(3)]
                n_bytes = (len(sound) - 128) // 20
                at = 128 + draw.randrange(first * n_bytes, last * n_bytes)
            damaged[at] ^= 1 << draw.randrange(8)
            path.write_bytes(damaged)
            if path.name == "plan.json":
                assert path.read_bytes() != sound  # which is compared byte for byte
                continue
            there = chunks.is_open(partial, shapes) and all(chunks.is_there(partial, chunk) for chunk in begun)
            assert not there or said == [chunks.said_of(partial, chunk) for chunk in begun], (path.name, at)
            if there:
                assert path.suffix == ".npy"
                assert at < 128  # a blank of the header
        path.write_bytes(sound)
    marker, signal = partial / "done" / f"{begun[0][0]:09d}.json", partial / "corpus" / "signal.npy"
    for path, at in ((marker, 40), (signal, 128 + begun[1][0] * 16_000)):
        damaged = bytearray(path.read_bytes())
        damaged[at] ^= 4
        path.write_bytes(damaged)
    assert preparation.workplace(dataset, index, home, options) == partial
    seen: list[data.Progress] = []
    resumed = data.prepare("ludb", tmp_path / "raw", home, workers=1, progress=seen.append)
    assert [step.n_done for step in seen] == [8, 12, 16, 20]
    assert resumed.manifest == whole.manifest


@pytest.mark.slow
def test_continues_after_kill_9(tmp_path: Path) -> None:
    layouts.ludb(tmp_path / "raw", n=60)
    program = (
        "from pathlib import Path; from ecgscale import data; from ecgscale.data import preparation; import time\n"
        "preparation._CHUNK = 4\n"
        f"data.prepare('ludb', Path({str(tmp_path / 'raw')!r}), Path({str(tmp_path / 'home')!r}), workers=1,"
        " progress=lambda step: (print(step.n_done, flush=True), time.sleep(0.2)))\n"
    )
    root = HOUSE
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 16:
            break
    child.send_signal(signals_of_the_system.SIGKILL)
    child.wait()
    time.sleep(0.1)
    done = list((tmp_path / "home" / "corpora" / ".ludb.partial" / "done").glob("*.json"))
    assert len(done) >= 4
    before = preparation._CHUNK
    preparation._CHUNK = 4
    try:
        resumed = prepared("ludb", tmp_path)
    finally:
        preparation._CHUNK = before
    whole = data.prepare("ludb", tmp_path / "raw", knowing(tmp_path / "home", tmp_path / "new"), workers=1)
    assert resumed.manifest.digest == whole.manifest.digest


PREPARING = """
from pathlib import Path
from ecgscale import data, leases
from ecgscale.data import preparation
leases.HEARTBEAT_SECONDS, preparation._CHUNK = 0.05, 4
raw, home = Path({raw!r}), Path({home!r})
data.prepare("ludb", raw, home, workers={workers}, progress=lambda step: (print(step.n_done, flush=True), input()))
"""


def preparing(folder: Path, workers: int) -> subprocess.Popen[str]:
    """A process that has done one chunk of ludb and waits for a word."""
    layouts.ludb(folder / "raw")
    program = PREPARING.format(raw=str(folder / "raw"), home=str(folder / "home"), workers=workers)
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(HOUSE)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "4\n"
    return child


def test_a_corpus_is_prepared_by_one_process_and_after_its_death_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_CHUNK", 4)
    monkeypatch.setattr(leases, "LOOK_SECONDS", 0.5)
    child = preparing(tmp_path, workers=1)
    try:
        command = ("data", "prepare", "ludb", "--raw", str(tmp_path / "raw"), "--home", str(tmp_path / "home"))
        shell_folder = tmp_path / "shell"
        shell_folder.mkdir()
        refused = Shell(shell_folder, tmp_path / "home").type(*command)
        assert refused.returncode == 3
        assert "refused: another process is preparing ludb in this home" in " ".join(refused.stderr.split())
        assert not corpus.is_prepared(tmp_path / "home", "ludb")
    finally:
        child.kill()
        child.communicate()
    seen: list[data.Progress] = []
    resumed = data.prepare("ludb", tmp_path / "raw", tmp_path / "home", workers=1, progress=seen.append)
    assert [step.n_done for step in seen] == [8, 12, 16, 20]
    new = knowing(tmp_path / "home", tmp_path / "new")
    assert resumed.manifest == data.prepare("ludb", tmp_path / "raw", new, workers=1).manifest
    assert not list((tmp_path / "home" / "leases").iterdir())


def test_who_stood_still_until_another_took_over_writes_no_corpus(tmp_path: Path) -> None:
    layouts.ludb(tmp_path / "raw")

    def lose(_: data.Progress) -> None:
        (lease,) = (tmp_path / "home" / "leases").iterdir()
        lease.rename(lease.with_name("ludb.000002.lease"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "_CHUNK", 4)
        with pytest.raises(data.Busy, match="another process is preparing ludb"):
            data.prepare("ludb", tmp_path / "raw", tmp_path / "home", workers=1, progress=lose)
    assert not corpus.is_prepared(tmp_path / "home", "ludb")


@pytest.mark.slow
def test_processes_of_a_killed_preparation_end_with_it(tmp_path: Path) -> None:
    child = preparing(tmp_path, workers=2)
    workers = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.communicate()
    assert len(workers) >= 2
    assert not psutil.wait_procs(workers, timeout=60)[1]


def killed(raw: Path, where: str) -> Recording:
    os.kill(os.getpid(), signals_of_the_system.SIGKILL)
    raise AssertionError


@pytest.mark.slow
def test_a_killed_process_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.ludb(tmp_path / "raw")
    monkeypatch.setattr(preparation, "_CHUNK", 4)
    dataset = dataclasses.replace(data.DATASETS["ludb"], load=killed)
    with pytest.raises(OSError, match="was killed, perhaps for want of memory; the same command goes on"):
        preparation.prepare(dataset, tmp_path / "raw", tmp_path / "home", data.Options("ludb"), workers=2)
    assert len(prepared("ludb", tmp_path).signal) == 20


def test_another_preparation_does_not_take_up_the_half_done_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layouts.ludb(tmp_path / "raw")
    monkeypatch.setattr(preparation, "_CHUNK", 4)

    def stop(step: data.Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.prepare("ludb", tmp_path / "raw", tmp_path / "home", workers=1, progress=stop)
    seen: list[data.Progress] = []
    data.prepare("ludb", tmp_path / "raw", tmp_path / "home", workers=1, salt="another", progress=seen.append)
    assert [step.n_done for step in seen] == [4, 8, 12, 16, 20]


def test_a_disk_that_is_too_small_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layouts.ludb(tmp_path / "raw")
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 1000})())
    with pytest.raises(OSError, match=r"ludb needs 0.000\d+ GB and the disk of home has 1e-06 GB free"):
        prepared("ludb", tmp_path)


def test_a_price_is_measured_on_a_real_preparation_and_nothing_is_left(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    (tmp_path / "raw" / "exams_part1.hdf5").unlink()
    price = data.price("code15", tmp_path / "raw", tmp_path / "home", workers=1, n_records=350_000)
    assert (price.n_records, price.n_timed, price.n_processes) == (350_000, 128, 1)
    assert price.seconds > 350_000 / price.records_per_second  # starting and checksums are paid, too
    assert price.missing == ("exams_part1.hdf5 (expected with 6 exams)",)
    assert not (tmp_path / "home").exists()
    opened = prepared("code15", tmp_path, allow_missing=True)
    folder = corpus.folder_of(tmp_path / "home", "code15")
    measured = sum(file.stat().st_size for file in folder.glob("*.npy")) / len(opened.signal) * 350_000
    assert price.disk_bytes == pytest.approx(measured, rel=0.04)


def test_native_rate_is_an_option_with_a_name_of_its_own(tmp_path: Path) -> None:
    layouts.ludb(tmp_path / "raw")
    native = prepared("ludb", tmp_path, sampling_hz=500)
    usual = prepared("ludb", tmp_path)
    assert native.name == "ludb@500"
    assert native.signal.shape == (20, 8, 5000)
    assert native.manifest.sampling_hz == 500
    at_100 = np.asarray(native.signal[0, :, ::5], dtype=float)
    assert np.corrcoef(at_100.ravel(), np.asarray(usual.signal[0], dtype=float).ravel())[0, 1] > 0.98
    found, expected = native.peaks[0][native.peaks[0] >= 0], usual.peaks[0][usual.peaks[0] >= 0]
    assert len(found) == len(expected)
    assert np.abs(found / 5 - expected).max() <= 4


def test_a_corpus_that_was_prepared_otherwise_is_not_given_for_what_was_asked(tmp_path: Path) -> None:
    layouts.ludb(tmp_path / "raw")
    usual = prepared("ludb", tmp_path)
    assert prepared("ludb", tmp_path).manifest == usual.manifest
    with pytest.raises(ValueError, match="R peaks by slope-energy, not R peaks by xqrs"):
        prepared("ludb", tmp_path, detector="xqrs")
    with pytest.raises(ValueError, match="flawed leads: keep, not flawed leads: zero"):
        prepared("ludb", tmp_path, flawed_leads="zero")


def test_windows_of_one_long_record_are_priced_as_they_are_read() -> None:
    """A sample scattered over half-hour records would read one of them for every window."""
    rows = pricing._spread(7_920, 160)  # MIT-BIH: 44 records of 180 windows
    assert (len(rows), rows.min(), rows.max()) == (160, 0, 7_919)
    assert np.sum(np.diff(rows // 180) != 0) <= 2 * 160 / pricing._CHUNK
    assert pricing._spread(10, 160).tolist() == [row % 10 for row in range(32)] * 5


def test_wrong_options_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'ptbxl'\?"):
        data.prepare("ptblx", tmp_path, tmp_path)
    with pytest.raises(ValueError, match="no detector 'pan'"):
        data.prepare("ptbxl", tmp_path, tmp_path, detector="pan")
    with pytest.raises(ValueError, match="no policy 'ignore'"):
        data.prepare("ptbxl", tmp_path, tmp_path, flawed_leads="ignore")
    with pytest.raises(ValueError, match="ships with ecgscale"):
        data.prepare("ptbxl-sample", tmp_path, tmp_path)
    with pytest.raises(NotADirectoryError, match="no raw folder 'nowhere'"):
        data.prepare("ptbxl", tmp_path / "nowhere", tmp_path)


# ---- promise 11: truncated HDF5, missing part ------------------------------------------------------------------------


def test_a_missing_part_stops_preparation_unless_told_and_is_then_counted(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    (tmp_path / "raw" / "exams_part1.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match=r"exams_part1\.hdf5 \(expected with 6 exams\)"):
        prepared("code15", tmp_path)
    told = prepared("code15", tmp_path, allow_missing=True)
    assert len(told.signal) == 6
    assert list(told.manifest.missing) == ["exams_part1.hdf5 (expected with 6 exams)"]
    checks = data.verify("code15", tmp_path / "home", tmp_path / "raw")
    assert "exams_part1.hdf5 (expected with 6 exams)" in checks[~checks["ok"]]["found"].tolist()


def test_a_truncated_part_is_named(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    prepared("code15", tmp_path)
    part = tmp_path / "raw" / "exams_part0.hdf5"
    part.write_bytes(part.read_bytes()[:100_000])
    checks = data.verify("code15", tmp_path / "home", tmp_path / "raw")
    (found,) = checks[~checks["ok"]]["found"]
    assert "exams_part0.hdf5 is not a complete HDF5 file (100,000 bytes)" in found


def test_a_part_that_lacks_exams_of_the_table_says_how_many(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    with h5py.File(tmp_path / "raw" / "exams_part0.hdf5", "r+") as file:
        file["exam_id"][2] = 0
    with pytest.raises(FileNotFoundError, match=r"1 of 6 exams of exams_part0\.hdf5"):
        prepared("code15", tmp_path)


# ---- promise 12: hostile files ---------------------------------------------------------------------------------------


def test_no_path_of_a_table_leaves_the_raw_folder(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    table = pd.read_csv(tmp_path / "raw" / "exams.csv")
    table.loc[0, "trace_file"] = "../../etc/passwd"
    table.to_csv(tmp_path / "raw" / "exams.csv", index=False)
    with pytest.raises(PermissionError, match="leaves the raw folder"):
        prepared("code15", tmp_path)
    layouts.ptbxl(tmp_path / "ptbxl")
    rows = pd.read_csv(tmp_path / "ptbxl" / "ptbxl_database.csv")
    rows.loc[0, "filename_hr"] = "/etc/hostname"
    rows.to_csv(tmp_path / "ptbxl" / "ptbxl_database.csv", index=False)
    with pytest.raises(PermissionError, match="leaves the raw folder"):
        data.prepare("ptbxl", tmp_path / "ptbxl", tmp_path / "home", workers=1)


def test_links_are_followed_as_people_lay_out_data(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    part = tmp_path / "raw" / "exams_part0.hdf5"
    part.rename(tmp_path / "outside.hdf5")
    part.symlink_to(tmp_path / "outside.hdf5")
    (tmp_path / "raw").rename(tmp_path / "store")
    (tmp_path / "raw").symlink_to(tmp_path / "store")
    assert len(prepared("code15", tmp_path).signal) == 12


def test_no_array_is_unpickled(tmp_path: Path) -> None:
    layouts.echonext_arrays(tmp_path / "raw")
    np.save(tmp_path / "raw" / "EchoNext_val_waveforms.npy", np.array([{"a": 1}] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        prepared("echonext", tmp_path)


# ---- promise 18: missing or wrong sampling rate ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("00001_hr 12", "sampling rate missing from the header"),
        ("00001_hr 12 250 5000", "sampling rate 250 Hz is not that of the dataset's card"),
        ("00001_hr 12 99 5000", "sampling rate 99 Hz is not that of the dataset's card"),
        ("00001_hr 12 500.5 5000", "sampling rate 500.5 Hz is not that of the dataset's card"),
    ],
)
def test_a_wrong_rate_puts_the_record_aside(tmp_path: Path, said: str, reason: str) -> None:
    layouts.ptbxl(tmp_path / "raw")
    header = tmp_path / "raw" / "records500/00000/00001_hr.hea"
    header.write_text(header.read_text().replace("00001_hr 12 500 5000", said))
    opened = prepared("ptbxl", tmp_path)
    assert opened.manifest.refused == {reason: 1}
    assert opened.split[0] == split.NONE
    assert not opened.signal[0].any()
    assert sum(len(opened.rows(part)) for part in ("train", "val", "test")) == 11


# ---- promise 19: flat, zero, saturated, missing ----------------------------------------------------------------------


def flat(x: np.ndarray) -> np.ndarray:
    x[6] = 0.2
    return x


def saturated(x: np.ndarray) -> np.ndarray:
    x[7] = np.clip(x[7] * 20, -3, 3)
    return x


def holed(x: np.ndarray) -> np.ndarray:
    x[8, 1000:1500] = np.nan
    return x


@pytest.mark.parametrize(
    ("change", "flag", "lead"), [(flat, "flat lead", 2), (saturated, "saturated lead", 3), (holed, "not a number", 4)]
)
def test_flaws_are_flagged_and_treated_as_asked(tmp_path: Path, change, flag: str, lead: int) -> None:  # type: ignore[no-untyped-def]
    layouts.ptbxl(tmp_path / "raw")
    one_lead_changed(tmp_path / "raw", change)
    kept = prepared("ptbxl", tmp_path)
    assert kept.quality[0] == FLAWS[flag]
    assert kept.manifest.flaws[flag] == 1
    assert not kept.manifest.refused
    if flag == "not a number":
        assert kept.signal[0, lead, 250:275].any()
        return
    zero = data.prepare("ptbxl", tmp_path / "raw", tmp_path / "zero", workers=1, flawed_leads="zero")
    assert not zero.signal[0, lead].any()
    assert zero.signal[0, 0].any()
    dropped = data.prepare("ptbxl", tmp_path / "raw", tmp_path / "drop", workers=1, flawed_leads="drop")
    assert dropped.split[0] == split.NONE
    assert sum(dropped.manifest.refused.values()) == 1


def test_what_has_no_signal_at_all_is_put_aside(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    with h5py.File(tmp_path / "raw" / "exams_part0.hdf5", "r+") as file:
        file["tracings"][1] = 0
        file["tracings"][2, 1000, 3] = np.inf
        file["tracings"][3] = np.nan
    opened = prepared("code15", tmp_path)
    assert opened.manifest.refused == {"all leads are zero or missing": 2, "infinite values": 1}


def test_padding_is_stripped_before_filtering(tmp_path: Path) -> None:
    """A seven-second tracing with an offset: had the zeros around it been filtered, its ends would ring."""
    layouts.code15(tmp_path / "raw")
    with h5py.File(tmp_path / "raw" / "exams_part1.hdf5", "r+") as file:
        tracings = file["tracings"][:]
        real = np.any(tracings != 0, axis=2)
        tracings[real] += np.tile([1.0, 2.0, 1.0, -1.5, 0.0, 1.5, 3, 3, 3, 3, 3, 3], (int(real.sum()), 1))
        file["tracings"][:] = tracings
    offset = prepared("code15", tmp_path)
    padded = np.flatnonzero(offset.quality & FLAWS["padded"])
    assert len(padded) == 6
    for row in padded:
        assert not offset.signal[row, :, :149].any()
        assert not offset.signal[row, :, 851:].any()
        assert offset.signal[row, :, 150:850].any(axis=1).all()
        assert np.abs(offset.signal[row, :, 150:200]).max() < 3 * np.abs(offset.signal[row, :, 400:600]).max()


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("code", "*.dat"),
        ("ptbxl", "*_hr.dat"),
        ("mimic", "*.dat"),
        ("ludb", "*.dat"),
        ("icentia11k", "*.dat"),
        ("georgia", "*.mat"),
    ],
)
def test_a_flipped_bit_of_a_signal_file_is_flagged(name: str, pattern: str, tmp_path: Path) -> None:
    layouts.LAYOUTS[name](tmp_path / "raw")
    for path in (tmp_path / "raw").rglob(pattern):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    opened = prepared(name, tmp_path)
    assert opened.manifest.flaws["checksum"] == np.sum(opened.quality & FLAWS["checksum"] > 0) > 0


def test_a_range_is_that_of_all_twelve_leads(tmp_path: Path) -> None:
    """Chapman-Shaoxing-Ningbo: min-max of each record. Here its largest lead is III, which is not stored."""
    layouts.csn(tmp_path / "raw")
    path = next(iter((tmp_path / "raw").rglob("JS*.hea")))
    signal = layouts.signals(1, 500)[0]
    signal[1] = -signal[0]  # II = -I: III = -2 I, aVL = 1.5 I
    signal[2:6] = signal[0] * np.array([[-2.0], [0.0], [1.5], [-1.5]])
    signal[6:] *= 0.01
    layouts.wfdb_record(path.parent, path.stem, signal, 500, LEADS)
    opened = prepared("csn", tmp_path)
    row = data.DATASETS["csn"].index(tmp_path / "raw").where.tolist().index(str(path.relative_to(tmp_path / "raw")))
    assert opened.split[row] != split.NONE
    stored = np.asarray(opened.signal[row]) * opened.manifest.mv_per_unit
    assert 2 < np.ptp(stored[0]) < 3.3  # of a range of 6, lead I has the half


# ---- promise 20: lead order and units --------------------------------------------------------------------------------


def test_a_permuted_record_is_put_aside(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    one_lead_changed(tmp_path / "raw", lambda x: x[[0, 1, 2, 3, 5, 4, *range(6, 12)]])
    opened = prepared("ptbxl", tmp_path)
    (reason,) = opened.manifest.refused
    assert reason.endswith("what is called I, II, III, aVR, aVL, aVF is I, II, III, aVR, aVF, aVL")
    assert opened.split[0] == split.NONE


def test_a_permuted_dataset_is_refused_whole(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw")
    for part in (0, 1):
        with h5py.File(tmp_path / "raw" / f"exams_part{part}.hdf5", "r+") as file:
            file["tracings"][:] = file["tracings"][:][:, :, [1, 0, *range(2, 12)]]
    with pytest.raises(ValueError, match=r"code15: 12 of 12 records refused: 12 x leads are permuted"):
        prepared("code15", tmp_path)


def test_leads_are_taken_by_name(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    expected = prepared("ptbxl", tmp_path)
    order = list(range(12))[::-1]
    names = [LEADS[i] for i in order]
    layouts.wfdb_record(tmp_path / "raw/records500/00000", "00001_hr", layouts.signals(1, 500)[0][order], 500, names)
    again = data.prepare("ptbxl", tmp_path / "raw", tmp_path / "again", workers=1)
    assert np.array_equal(again.signal[0], expected.signal[0])


def test_microvolts_and_volts_become_millivolts(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    expected = prepared("ptbxl", tmp_path)
    header = tmp_path / "raw" / "records500/00000/00001_hr.hea"
    header.write_text(header.read_text().replace("1000.0(0)/mV", "1.0(0)/uV"))
    again = data.prepare("ptbxl", tmp_path / "raw", tmp_path / "again", workers=1)
    assert np.abs(again.signal[0].astype(int) - expected.signal[0]).max() <= 1


# ---- promise 23: a patient in two splits -----------------------------------------------------------------------------


def test_folds_that_part_a_patient_are_refused(tmp_path: Path) -> None:
    layouts.ptbxl(tmp_path / "raw")
    table = pd.read_csv(tmp_path / "raw" / "ptbxl_database.csv")
    table.loc[1, "strat_fold"] = 10  # the first record of this patient is in fold 1
    table.to_csv(tmp_path / "raw" / "ptbxl_database.csv", index=False)
    with pytest.raises(ValueError, match="1 patients are in more than one split"):
        prepared("ptbxl", tmp_path)


def test_splits_depend_on_the_patients_and_the_salt_alone(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw", n=40)
    one = prepared("code15", tmp_path)
    other = data.prepare("code15", tmp_path / "raw", tmp_path / "other", workers=1, salt="another")
    assert not np.array_equal(one.split, other.split)
    assert not np.array_equal(one.patient, other.patient)
    same = one.patient[:, None] == one.patient
    assert np.array_equal(same, other.patient[:, None] == other.patient)
    layouts.code15(tmp_path / "less", n=20)  # the first patients alone are split otherwise only by rank, never torn
    less = data.prepare("code15", tmp_path / "less", tmp_path / "third", workers=1)
    split.assert_disjoint(np.asarray(less.patient), np.asarray(less.split))


def test_codes_take_a_secret_of_home_and_splits_do_not(tmp_path: Path) -> None:
    layouts.code15(tmp_path / "raw", n=40)
    one, other = (data.prepare("code15", tmp_path / "raw", tmp_path / home, workers=1) for home in ("home", "other"))
    assert np.array_equal(one.split, other.split)
    assert not np.array_equal(one.patient, other.patient)
    assert (tmp_path / "home" / pseudonyms.FILE).stat().st_mode & 0o777 == 0o600
    assert not np.array_equal(one.rows("train", 0.5), other.rows("train", 0.5))
    assert one.manifest.digest != other.manifest.digest
    third = data.prepare("code15", tmp_path / "raw", knowing(tmp_path / "home", tmp_path / "third"), workers=1)
    assert np.array_equal(one.rows("train", 0.5), third.rows("train", 0.5))
    assert one.manifest.digest == third.manifest.digest
    (tmp_path / "fourth").mkdir()
    (tmp_path / "fourth" / pseudonyms.FILE).write_text("\n")
    with pytest.raises(ValueError, match=r"patients\.salt in the home folder holds no secret"):
        data.prepare("code15", tmp_path / "raw", tmp_path / "fourth", workers=1)


# ---- promise 25: privacy ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["code", "code15", "ptbxl", "mimic", "heedb", "echonext", "georgia", "sph", "ludb", "cinc2017"]
)
def test_planted_identities_are_in_no_output(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    numeric = name in ("code15", "ptbxl")
    layouts.LAYOUTS[name](tmp_path / "raw", prefix=CANARY if numeric else str(CANARY))
    canary = str(CANARY // 1000).encode()
    raw_files = b"".join(
        path.read_bytes() + path.name.encode() for path in (tmp_path / "raw").rglob("*") if path.is_file()
    )
    assert canary in raw_files
    damaged = next((path for path in sorted((tmp_path / "raw").rglob("*.hea"))), None)
    if damaged is not None:
        damaged.write_text("damaged")
    opened = data.prepare(name, tmp_path / "raw", tmp_path / "home", workers=1, allow_missing=True)
    said = json.dumps(data.card(name, tmp_path / "home")) + data.listing(tmp_path / "home").to_csv()
    said += (
        data.verify(name, tmp_path / "home", tmp_path / "raw").to_csv()
        + "".join(capfd.readouterr())
        + repr(opened.manifest)
    )
    assert canary.decode() not in said
    for file in (tmp_path / "home").rglob("*"):
        assert canary.decode() not in file.name
        if file.is_file():
            content = file.read_bytes()
            assert canary not in content
    codes = np.unique(opened.patient)
    assert codes.tolist() == list(range(len(codes)))  # ranks: they hold nothing of an id


# ---- promise 27: malformed but real ----------------------------------------------------------------------------------


def test_malformed_headers_are_read_and_impossible_ones_counted(tmp_path: Path) -> None:
    layouts.georgia(tmp_path / "raw", n=8)
    headers = sorted((tmp_path / "raw").rglob("*.hea"))
    headers[0].write_text(headers[0].read_text().replace("\n", "\r\n"))
    headers[2].write_text("")
    headers[4].write_text(headers[4].read_text().replace(" 12 500 5000", " 12 500 99999999999"))
    next(iter((tmp_path / "raw").rglob("E0007.mat"))).unlink()
    opened = prepared("georgia", tmp_path)
    assert opened.manifest.refused == {
        "record line of the header is unreadable": 1,
        "signal file is shorter than its header says": 1,
        "signal file missing": 1,
    }
    assert sum(len(opened.rows(part)) for part in ("train", "val", "test")) == 5


def test_a_damaged_header_of_a_long_record_does_not_stop_the_others(tmp_path: Path) -> None:
    layouts.mitbih(tmp_path / "raw")
    header = sorted((tmp_path / "raw").glob("*.hea"))[0]
    header.write_text("")
    opened = prepared("mitbih", tmp_path, allow_missing=True)
    assert opened.manifest.refused == {"record line of the header is unreadable": 1}
    assert len(opened.signal)


def test_the_authors_files_of_cpsc2018_without_their_table_say_so(tmp_path: Path) -> None:
    layouts.cpsc2018_original(tmp_path / "raw")
    next((tmp_path / "raw").rglob("REFERENCE.csv")).unlink()
    with pytest.raises(FileNotFoundError, match=r"not REFERENCE\.csv"):
        prepared("cpsc2018", tmp_path)


def test_a_record_of_other_kind_is_counted_and_the_rest_is_prepared(tmp_path: Path) -> None:
    layouts.sph(tmp_path / "raw")
    records = sorted((tmp_path / "raw" / "records").glob("*.h5"))
    records[0].write_bytes(b"not HDF5")
    with h5py.File(records[1], "w") as file:
        file["something"] = np.zeros(3)
    with h5py.File(records[2], "w") as file:
        file["ecg"] = np.zeros((11, 5000), dtype=np.float16)
    opened = prepared("sph", tmp_path)
    assert sum(opened.manifest.refused.values()) == 3
    assert opened.manifest.refused["file cannot be read (OSError)"] == 1
    assert opened.manifest.refused["file cannot be read (KeyError)"] == 1
