"""WFDB headers, real, malformed, absurd or hostile: read where meaning is certain, else refused with a reason."""

import contextlib
import string
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecgscale.data import waveform
from ecgscale.data.recording import LEADS, MalformedRecordError
from tests.layouts import challenge_record, signals, wfdb_record
from tests.paths import FIXTURES

SIGNAL = signals(1, 500)[0]


def rewritten(folder: Path, old: str, new: str) -> Path:
    wfdb_record(folder, "r1", SIGNAL, 500, LEADS)
    path = folder / "r1.hea"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_format_16_equals_wfdb(tmp_path: Path) -> None:
    wfdb_record(tmp_path, "r1", SIGNAL, 500, LEADS)
    read = waveform.read(tmp_path / "r1.hea")
    assert np.allclose(read.signal, wfdb.rdrecord(str(tmp_path / "r1")).p_signal.T, atol=1e-6)
    assert (read.sampling_hz, read.leads, read.checksum) == (500, LEADS, True)


@pytest.mark.parametrize("fmt", ["80", "212", "24", "32", "516"])
def test_other_formats_equal_wfdb(tmp_path: Path, fmt: str) -> None:
    gain = 50.0 if fmt == "80" else 500.0
    wfdb.wrsamp(
        "r1",
        fs=360,
        units=["mV", "uV"],
        sig_name=["MLII", "V1"],
        p_signal=np.stack([SIGNAL[1, :3000], SIGNAL[6, :3000]], axis=1),
        fmt=[fmt, fmt],
        adc_gain=[gain, gain],
        baseline=[0, 5],
        write_dir=str(tmp_path),
    )
    expected = wfdb.rdrecord(str(tmp_path / "r1")).p_signal.T * [[1], [0.001]]
    assert np.allclose(waveform.read(tmp_path / "r1.hea").signal, expected, atol=1e-5)


def test_georgias_malformed_record_line_is_read(tmp_path: Path) -> None:
    challenge_record(tmp_path, "E07500", SIGNAL, 500, "426783006", suffix=".mat")
    with pytest.raises(Exception, match="record line"):
        wfdb.rdrecord(str(tmp_path / "E07500"))
    assert np.allclose(waveform.read(tmp_path / "E07500.hea").signal, SIGNAL, atol=6e-4)


def test_crlf_and_comments(tmp_path: Path) -> None:
    path = rewritten(tmp_path, "\n", "\r\n")
    path.write_text(path.read_text() + "#Age: 300\r\n# Dx: 1\r\n")
    assert waveform.comments(path) == ("Age: 300", "Dx: 1")
    assert waveform.read(path).signal.shape == (12, 5000)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("r1 12 500 5000", "r1 12", "sampling rate missing"),
        ("r1 12 500 5000", "r1 12 0 5000", "outside 10 to 10000 Hz"),
        ("r1 12 500 5000", "r1 12 1e9 5000", "outside 10 to 10000 Hz"),
        ("r1 12 500 5000", "r1 12 500 50000000000", "shorter than its header"),
        ("r1 12 500 5000", "r1 65 500 5000", "leads outside 1 to 64"),
        ("r1 12 500 5000", "r1 0 500 5000", "leads outside 1 to 64"),
        ("r1 12 500 5000", "r1/4 12 500 5000", "several segments"),
        ("r1 12 500 5000", "what is this", "record line"),
        ("r1.dat 16 1000.0(0)/mV", "../r1.dat 16 1000.0(0)/mV", "outside the record's folder"),
        ("r1.dat 16 1000.0(0)/mV", "/etc/passwd 16 1000.0(0)/mV", "outside the record's folder"),
        ("r1.dat 16 1000.0(0)/mV", "gone.dat 16 1000.0(0)/mV", "signal file missing"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16 0(0)/mV", "not calibrated"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16 1000.0(0)/mmHg", "not one of voltage"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 516 1000.0(0)/mV", "wfdb cannot read"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat sixteen", "signal line"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(tmp_path: Path, old: str, new: str, reason: str) -> None:
    path = rewritten(tmp_path, old, new)
    with pytest.raises(MalformedRecordError, match=reason) as refused:
        waveform.read(path)
    assert "r1" not in str(refused.value)  # a reason says nothing of who it was


def test_a_truncated_signal_file_is_refused(tmp_path: Path) -> None:
    path = rewritten(tmp_path, "r1 12", "r1 12")
    data = (tmp_path / "r1.dat").read_bytes()
    (tmp_path / "r1.dat").write_bytes(data[: len(data) // 2])
    with pytest.raises(MalformedRecordError, match="shorter"):
        waveform.read(path)


def test_a_flipped_bit_shows_in_the_checksum(tmp_path: Path) -> None:
    path = rewritten(tmp_path, "r1 12", "r1 12")
    data = bytearray((tmp_path / "r1.dat").read_bytes())
    data[1001] ^= 4
    (tmp_path / "r1.dat").write_bytes(bytes(data))
    assert not waveform.read(path).checksum


def test_missing_samples_become_nan(tmp_path: Path) -> None:
    holed = SIGNAL.copy()
    holed[3, 40:60] = np.nan
    wfdb_record(tmp_path, "r1", holed, 500, LEADS)
    read = waveform.read(tmp_path / "r1.hea").signal
    assert np.array_equal(np.isnan(read), np.isnan(holed))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.text(alphabet=string.printable, max_size=300))
def test_any_text_is_a_header_or_a_reason(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.hea"
    path.write_text(text)
    with contextlib.suppress(MalformedRecordError):
        waveform.read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(st.integers(0, 700), st.text(alphabet="0123456789 ./()+-\nxmVe", min_size=1, max_size=6))
def test_any_damage_to_a_real_header_is_read_or_refused(tmp_path: Path, at: int, what: str) -> None:
    path = tmp_path / "r1.hea"
    if not path.exists():
        wfdb_record(tmp_path, "r1", SIGNAL[:, :500], 500, LEADS)
        (tmp_path / "whole").write_text(path.read_text())
    text = (tmp_path / "whole").read_text()
    path.write_text(text[:at] + what + text[at + len(what) :])
    with contextlib.suppress(MalformedRecordError):
        assert waveform.read(path).signal.shape[0] <= 64


REAL = FIXTURES / "wfdb"  # sample data of wfdb-python


@pytest.mark.parametrize("name", ["100_3chan", "310derive", "311derive", "binformats"])
def test_real_records_of_every_format_equal_wfdb_and_obey_their_sums(name: str) -> None:
    read = waveform.read(REAL / f"{name}.hea")
    expected = wfdb.rdrecord(str(REAL / name)).p_signal.T
    assert np.allclose(read.signal, expected, rtol=1e-5, atol=1e-5, equal_nan=True)
    assert read.checksum


@pytest.mark.parametrize("name", ["100_3chan", "310derive", "311derive"])
def test_a_flipped_bit_shows_in_the_sums_of_packed_formats(name: str, tmp_path: Path) -> None:
    for kind in ("hea", "dat"):
        (tmp_path / f"{name}.{kind}").write_bytes((REAL / f"{name}.{kind}").read_bytes())
    content = bytearray((tmp_path / f"{name}.dat").read_bytes())
    content[600] ^= 8
    (tmp_path / f"{name}.dat").write_bytes(bytes(content))
    assert not waveform.read(tmp_path / f"{name}.hea").checksum


def test_leads_of_several_rates_come_at_the_lowest(tmp_path: Path) -> None:
    values = np.empty((1000, 3), dtype="<i2")
    values[:, 0], values[:, 1], values[:, 2] = np.arange(1000), np.arange(0, 2000, 2), np.arange(1, 2001, 2)
    values.tofile(tmp_path / "r1.dat")
    lines = ["r1 2 500 1000", "r1.dat 16 1000/mV 16 0 0 0 0 I", "r1.dat 16x2 1000/mV 16 0 0 0 0 II"]
    (tmp_path / "r1.hea").write_text("\n".join(lines) + "\n")
    read = waveform.read(tmp_path / "r1.hea")
    assert (read.signal.shape, read.sampling_hz, read.checksum) == ((2, 1000), 500, True)
    assert np.allclose(read.signal[1], np.arange(1000) * 0.002 + 0.0005, atol=6e-4)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("r1 12 500 5000", "r1 " + "9" * 5000 + " 500 5000", "absurd numbers"),
        ("r1 12 500 5000", "r1 12 500 " + "9" * 5000, "absurd numbers"),
        ("r1 12 500 5000", "r1 12 500 999999999999999", "shorter than its header"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16 1000.0(" + "9" * 400 + ")/mV", "beyond 32 bits"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16x99999999 1000.0(0)/mV", "shorter than its header"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16+99999999 1000.0(0)/mV", "shorter than its header"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16 1e999(0)/mV", "gain is not finite"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 16 1.2.3(0)/mV", "gain is not a number"),
        ("r1.dat 16 1000.0(0)/mV", "~/r1.dat 16 1000.0(0)/mV", "outside the record's folder"),
        ("r1.dat 16 1000.0(0)/mV", "sub/r1.dat 16 1000.0(0)/mV", "outside the record's folder"),
        ("r1.dat 16 1000.0(0)/mV", ".. 16 1000.0(0)/mV", "signal file missing|outside the record's folder"),
        ("r1.dat 16 1000.0(0)/mV", "r1.dat 99 1000.0(0)/mV", "wfdb cannot read"),
    ],
)
def test_absurd_numbers_are_refused_before_anything_is_allocated(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    with pytest.raises(MalformedRecordError, match=reason):
        waveform.read(rewritten(tmp_path, old, new))


def test_the_gain_stands_as_in_the_header(tmp_path: Path) -> None:
    assert waveform.read(rewritten(tmp_path, "1000.0(0)/mV", "1000000(0)/uV")).gain == "1000000/uV"
    assert waveform.read(tmp_path / "r1.hea", gains=False).gain == ""
