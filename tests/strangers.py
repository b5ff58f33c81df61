"""A stranger's folder: recordings in whatever files they have, and a table of labels."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import wfdb

from ecgscale.data.recording import Recording

# mV -> the integers of a file, as converters have them: steps of a microvolt hold +-32 mV.
STEP = 0.001


def as_wfdb(folder: Path, name: str, recording: Recording) -> None:
    wfdb.wrsamp(
        name,
        fs=recording.sampling_hz,
        units=["mV"] * len(recording.leads),
        sig_name=list(recording.leads),
        d_signal=np.rint(recording.signal.T / STEP).astype(np.int64),
        fmt=["16"] * len(recording.leads),
        adc_gain=[1 / STEP] * len(recording.leads),
        baseline=[0] * len(recording.leads),
        write_dir=str(folder),
    )


def as_npy(folder: Path, name: str, recording: Recording) -> None:
    np.save(folder / f"{name}.npy", recording.signal.T.astype(np.float32))


def as_npz(folder: Path, name: str, recording: Recording) -> None:
    np.savez_compressed(
        folder / f"{name}.npz",
        signal=(1000 * recording.signal).astype(np.float32),
        fs=np.array(recording.sampling_hz),
        units=np.array("uV"),
        leads=np.array(recording.leads),
    )


def as_hdf5(folder: Path, name: str, recording: Recording) -> None:
    with h5py.File(folder / f"{name}.h5", "w") as file:
        ecg = file.create_dataset("ecg", data=recording.signal.astype(np.float32))
        ecg.attrs.update({"sampling_rate": recording.sampling_hz, "units": "mV", "leads": list(recording.leads)})


def as_csv(folder: Path, name: str, recording: Recording) -> None:
    table = pd.DataFrame(recording.signal.T, columns=list(recording.leads))
    table.insert(0, "time", np.arange(len(table)) / recording.sampling_hz)
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.4f")


def as_edf(folder: Path, name: str, recording: Recording, dimension: str = "uV") -> None:
    """As the standard has it: text headers, then records of a second with the samples of each signal."""
    n_leads, hz = len(recording.leads), round(recording.sampling_hz)
    n_records = recording.signal.shape[1] // hz
    fields: Sequence[tuple[Callable[[int], object], int]] = (
        (lambda at: f"ECG {recording.leads[at]}", 16),
        (lambda at: "AgCl", 80),
        (lambda at: dimension, 8),
        (lambda at: -32768, 8),
        (lambda at: 32767, 8),
        (lambda at: -32768, 8),
        (lambda at: 32767, 8),
        (lambda at: "", 80),
        (lambda at: hz, 8),
        (lambda at: "", 32),
    )
    head = f"{'0':8}{'X':80}{'X':80}{'01.01.20':8}{'00.00.00':8}{256 * (n_leads + 1):<8}{'':44}"
    head += f"{n_records:<8}{1:<8}{n_leads:<4}"
    head += "".join(f"{said(at)!s:{width}}" for said, width in fields for at in range(n_leads))
    steps = np.rint(recording.signal[:, : n_records * hz] / STEP).astype("<i2")
    body = steps.reshape(n_leads, n_records, hz).transpose(1, 0, 2)
    (folder / f"{name}.edf").write_bytes(head.encode("ascii") + np.ascontiguousarray(body).tobytes())


EACH: Mapping[str, Callable[[Path, str, Recording], None]] = {
    "wfdb": as_wfdb,
    "npy": as_npy,
    "npz": as_npz,
    "hdf5": as_hdf5,
    "csv": as_csv,
    "edf": as_edf,
}


def as_one_npy(folder: Path, recordings: Sequence[Recording]) -> None:
    """All of them in one array [n, n_leads, n_samples] of microvolts."""
    np.save(folder / "signals.npy", np.stack([1000 * one.signal for one in recordings]).astype(np.float32))


def as_one_hdf5(folder: Path, recordings: Sequence[Recording]) -> None:
    """All of them in one array [n, n_samples, n_leads], with what it is beside it."""
    with h5py.File(folder / "signals.h5", "w") as file:
        tracings = file.create_dataset("tracings", data=np.stack([one.signal.T for one in recordings]))
        tracings.attrs.update({"fs": recordings[0].sampling_hz, "units": "mV"})
        file["exam_id"] = np.arange(len(recordings))


def written(folder: Path, kind: str, recordings: Sequence[Recording], table: pd.DataFrame) -> Path:
    """A folder of recordings of one kind, called as column "record" of the table, which lies beside them."""
    folder.mkdir(parents=True)
    for name, recording in zip(table["record"], recordings, strict=True):
        EACH[kind](folder, str(name), recording)
    table.to_csv(folder / "labels.csv", index=False)
    return folder
