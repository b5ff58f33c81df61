"""MIMIC-IV-ECG's open module alone: waveforms, what the ECG carts said of them, and what they measured.

No credentialed table is read. ``record_list.csv`` and ``machine_measurements.csv`` are part of the open module
(PhysioNet, mimic-iv-ecg 1.0, and https://mimic.mit.edu/docs/IV/modules/ecg/). What a cart says of a recording is the
reading of a program, which no cardiologist has confirmed: see ``cart``.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ecgscale.data import columns, tables
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import located
from ecgscale.data.readers import cart
from ecgscale.data.readers.mimic import load
from ecgscale.data.tables import Table

REPORTS = tuple(f"report_{line}" for line in range(18))
# What stands where a cart could measure no wave, no axis, or no RR interval.
_NOT_MEASURED = (29999, 32767, -32768, 65535)
# Columns of machine_measurements.csv, in ms or degrees.
_WAVES = ("rr_interval", "p_onset", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis")
# What is derived of them: unit, and what a human heart can have; what lies outside is missing.
MEASUREMENTS = {
    "heart_rate": ("bpm", 20.0, 300.0),
    "pr": ("ms", 40.0, 600.0),
    "qrs": ("ms", 30.0, 300.0),
    "qt": ("ms", 150.0, 800.0),
    "qtc": ("ms", 150.0, 800.0),
    "p_axis": ("degrees", -180.0, 360.0),
    "qrs_axis": ("degrees", -180.0, 360.0),
    "t_axis": ("degrees", -180.0, 360.0),
}


def index(raw: Path) -> Index:
    """Records of ``record_list.csv``, with labels and numbers of the row of the same study in the carts' table.

    A record without such a row, or without a word from its cart, has missing labels and numbers.
    """
    place = located(raw, "record_list.csv", hint="of the open module of MIMIC-IV-ECG 1.0,")
    names = ["subject_id", "study_id", "path"]
    table = columns.keyed(columns.people(tables.read(place, names), "subject_id"), "study_id")
    table, missing = columns.files(table, ["path"], place, _header)
    beside = located(
        place.file.parent, "machine_measurements.csv", hint="which the open module has beside record_list.csv,"
    )
    carts = columns.keyed(tables.read(beside, ["study_id", *REPORTS, *_WAVES]), "study_id")
    at = pd.Index(carts.rows["study_id"]).get_indexer(pd.Index(table.rows["study_id"]))
    found, of_reports = cart.read(carts, REPORTS)
    findings = list(cart.FINDINGS)
    labels = np.full((len(table), found.shape[1]), columns.MISSING, dtype=np.uint8)
    labels[at >= 0] = found[at[at >= 0]]
    measured, of_numbers = _measured(carts)
    numbers = np.full((len(table), len(MEASUREMENTS)), np.nan)
    numbers[at >= 0] = measured[at[at >= 0]]
    notes = {f"record of {place.name} without a row in {carts.name}: labels and numbers missing": int((at < 0).sum())}
    notes |= {f"{carts.name}: {reason}, left out": n for reason, n in carts.refused.items()}
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["subject_id"]),
        label_sets={"cart": tuple(findings), "code6": tuple(cart.CODE6)},
        labels=np.concatenate([labels, labels[:, [findings.index(name) for name in cart.CODE6.values()]]], axis=1),
        number_units={"measurements": {name: unit for name, (unit, _, _) in MEASUREMENTS.items()}},
        numbers=numbers,
        missing=missing,
        **accounted(table, of_reports, of_numbers, notes),
    )


def _header(name: str) -> str:
    return f"{name.removesuffix('.hea').removesuffix('.dat')}.hea"


def _measured(table: Table) -> tuple[np.ndarray, dict[str, int]]:
    """Numbers float [n_rows, n_measurements] of ``MEASUREMENTS``, NaN where missing; and how often they are, and why.

    QTc is Bazett's: QT / sqrt(RR), with RR in seconds.
    """
    waves = {name: columns.numbers(table, name) for name in _WAVES}
    notes = {}
    for name, values in waves.items():
        none = np.isin(values, _NOT_MEASURED) | (values == 0 if name == "rr_interval" else False)
        notes[f"{name} of {table.name} that the cart could not measure: missing"] = int(none.sum())
        values[none] = np.nan
    rr, qt = waves["rr_interval"], waves["t_end"] - waves["qrs_onset"]
    derived = {
        "heart_rate": 60_000 / rr,
        "pr": waves["qrs_onset"] - waves["p_onset"],
        "qrs": waves["qrs_end"] - waves["qrs_onset"],
        "qt": qt,
        "qtc": qt / np.sqrt(np.abs(rr) / 1000),
        **{name: waves[name] for name in ("p_axis", "qrs_axis", "t_axis")},
    }
    numbers = np.stack([derived[name] for name in MEASUREMENTS], axis=1)
    for at, (name, (unit, low, high)) in enumerate(MEASUREMENTS.items()):
        beyond = (numbers[:, at] < low) | (numbers[:, at] > high)
        notes[f"{name} of {table.name} beyond {low:g} to {high:g} {unit}: missing"] = int(beyond.sum())
        numbers[beyond, at] = np.nan
    return numbers, notes


DATASET = Dataset(
    card=Card(
        title="MIMIC-IV-ECG 1.0, the open module",
        what="diagnostic ECGs of Beth Israel Deaconess Medical Center with what the carts said and measured",
        n_records=800_035,
        n_patients=161_352,
        sampling_hz=(500,),
        licence="ODbL 1.0 by PhysioNet's page of the module: check it there before use",
        access="open",
        url="https://physionet.org/content/mimic-iv-ecg/1.0/",
        doi="10.13026/4nqg-sb35",
        download="aws s3 sync --no-sign-request s3://physionet-open/mimic-iv-ecg/1.0/ DIR (if that is empty: wget -r "
        "-N -c -np https://physionet.org/files/mimic-iv-ecg/1.0/)",
        gigabytes=97.0,  # 90.4 GiB by the provider's page
        units="mV by the headers' gains",
        lead_order="I, II, III, aVR, aVF, aVL, V1-V6 (aVF before aVL): taken by name",
        label_sets={
            "cart": f"{len(cart.FINDINGS)} findings of the cart's statements: a program's reading, confirmed by nobody",
            "code6": "6, CODE's labels by the cart's statements",
            "measurements": f"{len(MEASUREMENTS)} numbers of the cart: {', '.join(MEASUREMENTS)}",
        },
        n_labels={
            "cart": len(cart.FINDINGS),
            "code6": len(cart.CODE6),
            "measurements": len(MEASUREMENTS),
            **{f"measurements/{name}": 1 for name in MEASUREMENTS},
        },
        tested_on="a copy of the layout, written from real signals; not the original files",
        citation="Gow et al., MIMIC-IV-ECG: Diagnostic Electrocardiogram Matched Subset 1.0, PhysioNet (2023)",
        traps=(
            "open are waveforms, record_list.csv and machine_measurements.csv; diagnoses, age and sex are credentialed",
            "labels are a machine's reading, with its mistakes: a model that learns them learns the program",
            "what the cart says in doubt (possible, probable, consider, borderline) is missing, not there nor absent",
            "a paced rhythm is not analysed further: all else that is not said of it is missing",
            "29999, 32767, -32768 and 65535 mean that nothing was measured: missing; axes are angles, -180 is near 180",
            "the patients of mimic and mimic-icd10: who trains on this may not probe on those",
            "missing samples are interpolated",
        ),
    ),
    index=index,
    load=load,
    recipe=Recipe(highpass=True, notch_hz=60.0),
    shares=(0.95, 0.025, 0.025),
)
