"""Raw folders in every dataset's own layout, written from the real recordings that ship with the package.

What cannot be had without an agreement (CODE, EchoNext, MIMIC-IV-ECG, HEEDB) or is large (Icentia11k) is written here
as its authors describe it: the same folders, file names, columns, formats and traps, other signals.
"""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import scipy.io
import wfdb
from scipy.signal import resample_poly

from ecgscale.data import embedded
from ecgscale.data.readers import echonext, mimic
from ecgscale.data.recording import LEADS, TWELVE_FROM_EIGHT
from tests.paths import FIXTURES

CODE_ORDER = ("DI", "DII", "DIII", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")
MIMIC_ORDER = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
_CODE6 = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")


def signals(n: int, hz: int, seconds: float = 10.0) -> np.ndarray:
    """Real twelve-lead recordings float64 [n, 12, n_samples] in mV, brought to another rate and length."""
    twelve = np.einsum("ld,ndt->nlt", TWELVE_FROM_EIGHT, _real()[:n] * 0.005).astype(np.float64)
    common = np.gcd(hz, 100)
    native = resample_poly(twelve, hz // common, 100 // common, axis=-1)
    n_samples = round(seconds * hz)
    while native.shape[-1] < n_samples:
        native = np.concatenate([native, native], axis=-1)
    return native[..., :n_samples]


@cache
def _real() -> np.ndarray:
    return embedded.decoded(embedded.arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz"))[:64]


def wfdb_record(
    folder: Path, name: str, signal: np.ndarray, hz: int, leads: Sequence[str], *, comments: Sequence[str] = ()
) -> None:
    """Format 16, 1000 units a mV; NaN becomes the format's mark of a missing sample."""
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name,
        fs=hz,
        units=["mV"] * len(leads),
        sig_name=list(leads),
        p_signal=signal.T,
        fmt=["16"] * len(leads),
        adc_gain=[1000.0] * len(leads),
        baseline=[0] * len(leads),
        comments=list(comments),
        write_dir=str(folder),
    )


def challenge_record(folder: Path, name: str, signal: np.ndarray, hz: int, dx: str, *, suffix: str = "") -> None:
    """A MATLAB v4 file under a header of format 16+24; ``suffix`` ".mat" writes Georgia's malformed record line."""
    folder.mkdir(parents=True, exist_ok=True)
    units = np.rint(signal * 1000).astype(np.int16)
    scipy.io.savemat(folder / f"{name}.mat", {"val": units}, format="4")
    lines = [f"{name}{suffix} {len(units)} {hz} {units.shape[1]} 05-May-2020 14:50:55"]
    for lead, row in zip(LEADS, units, strict=True):
        checksum = int(np.int16(np.uint16(row.sum(dtype=np.int64) % 65536)))
        lines.append(f"{name}.mat 16+24 1000/mV 16 0 {row[0]} {checksum} 0 {lead}")
    lines += ["#Age: 300", "#Sex: Female", f"#Dx: {dx}", "#Rx: Unknown"]
    (folder / f"{name}.hea").write_text("\n".join(lines) + "\n")


def code(raw: Path, n: int = 12, prefix: str = "") -> None:
    """WFDB/TNMG files, RECORDS.txt, annotations.csv; one exam with two tracings, one without any label."""
    names = []
    for i, signal in enumerate(signals(n, 400, 7.0)):
        hz = (300, 400, 600)[i % 3]
        native = signals(n, hz, (7, 8, 10)[i % 3])[i]
        name = f"TNMG{prefix}{1000 + i}_N1"
        wfdb_record(raw / "wfdb", name, native, hz, CODE_ORDER)
        names.append(name)
        if i == 0:
            wfdb_record(raw / "wfdb", f"TNMG{prefix}{1000 + i}_N2", signal * 0.5, 400, CODE_ORDER)
            names.insert(0, f"TNMG{prefix}{1000 + i}_N2")
    (raw / "wfdb" / "RECORDS.txt").write_text("\n".join(names) + "\n")
    table = pd.DataFrame({"id_exam": [f"{prefix}{1000 + i}" for i in range(n)]})
    table["id_patient"] = [f"{prefix}77{i // 2}" for i in range(n)]
    table["date_exam"], table["sex"], table["age"] = "2014-05-06", "F", 54
    for k, label in enumerate(("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")):  # an order of its own
        table[label] = [float((i + k) % 4 == 0) if i != 3 else np.nan for i in range(n)]
    table.to_csv(raw / "annotations.csv", index=False)


def code15(raw: Path, n: int = 12, prefix: int = 0) -> None:
    """exams.csv and two HDF5 parts: twice mV, zero-padded on both sides, out of order, a dummy row at the end."""
    raw.mkdir(parents=True, exist_ok=True)
    rows = []
    for part in range(2):
        tracings, ids = [], []
        for i in range(part, n, 2)[::-1] if part else range(0, n, 2):
            seconds = 7 if i % 2 else 10
            values = np.zeros((4096, 12), dtype=np.float32)
            signal = signals(n, 400, seconds)[i]
            first = (4096 - signal.shape[1]) // 2
            values[first : first + signal.shape[1]] = 2 * signal.T
            tracings.append(values)
            ids.append(prefix + 500 + i)
            labels = {name: (i + k) % 4 == 0 for k, name in enumerate(_CODE6)}
            exam: dict[str, object] = {
                "exam_id": ids[-1],
                "age": 50,
                "is_male": bool(i % 2),
                "nn_predicted_age": 51.2,
                **labels,
            }
            exam |= {"patient_id": prefix + 9000 + i // 2, "death": "", "timey": "", "normal_ecg": i % 5 == 0}
            rows.append(exam | {"trace_file": f"exams_part{part}.hdf5"})
        with h5py.File(raw / f"exams_part{part}.hdf5", "w") as file:
            file["tracings"] = np.stack([*tracings, np.zeros((4096, 12), dtype=np.float32)])
            file["exam_id"] = np.array([*ids, 0])
    pd.DataFrame(rows).to_csv(raw / "exams.csv", index=False)


def codetest(raw: Path, n: int = 8, prefix: str = "") -> None:
    """ecg_tracings.hdf5 in the order aVL, aVF, aVR, and the annotations."""
    (raw / "annotations").mkdir(parents=True, exist_ok=True)
    values = np.zeros((n, 4096, 12), dtype=np.float32)
    order = [0, 1, 2, 4, 5, 3, *range(6, 12)]
    values[:, 48:4048] = 2 * signals(n, 400)[:, order].transpose(0, 2, 1)
    with h5py.File(raw / "ecg_tracings.hdf5", "w") as file:
        file["tracings"] = values
    gold = pd.DataFrame({name: [int((i + k) % 3 == 0) for i in range(n)] for k, name in enumerate(_CODE6)})
    gold.to_csv(raw / "annotations" / "gold_standard.csv", index=False)
    attributes = pd.DataFrame({"age": 60, "sex": ["M", "F"] * (n // 2)})
    attributes.to_csv(raw / "annotations" / "attributes.csv", index=False)


def ptbxl(raw: Path, n: int = 12, prefix: int = 0) -> None:
    """ptbxl_database.csv, scp_statements.csv (the columns that matter) and 500 Hz records."""
    raw.mkdir(parents=True, exist_ok=True)
    arrays = embedded.arrays_of("ptbxl2550_100hz_8lead_delta5uV.npz")
    rows = []
    for i, signal in enumerate(signals(n, 500)):
        ecg_id = prefix + 1 + i
        folder = f"records500/{ecg_id // 1000 * 1000:05d}"
        wfdb_record(raw / folder, f"{ecg_id:05d}_hr", signal, 500, [lead.upper() for lead in LEADS])
        codes = str(arrays["scp_codes"][i]).replace('"', "'")
        row = {
            "ecg_id": ecg_id,
            "patient_id": f"{prefix + 15000 + i // 2}.0",
            "age": 300.0 if i == 0 else 40.0 + i % 40,
            "sex": i % 2,
        }
        row |= {"scp_codes": codes, "strat_fold": 1 + (i // 2) % 10}
        low = folder.replace("500", "100", 1)
        rows.append(row | {"filename_lr": f"{low}/{ecg_id:05d}_lr", "filename_hr": f"{folder}/{ecg_id:05d}_hr"})
    pd.DataFrame(rows).to_csv(raw / "ptbxl_database.csv", index=False)
    (raw / "scp_statements.csv").write_bytes((FIXTURES / "scp_statements.csv").read_bytes())


def _challenge(letter: str, folder: str, hz: int, seconds: float, malformed: bool = False) -> Callable[..., None]:
    def written(raw: Path, n: int = 8, prefix: str = "") -> None:
        for i, signal in enumerate(signals(n, hz, seconds)):
            name = f"{letter}{prefix}{i + 1:04d}"
            dx = "426783006,164889003" if i % 2 else "59118001"
            suffix = ".mat" if malformed and i % 2 else ""
            challenge_record(raw / "training" / folder / "g1", name, signal, hz, dx, suffix=suffix)

    return written


georgia = _challenge("E", "georgia", 500, 10, malformed=True)
cpsc2018 = _challenge("A", "cpsc_2018", 500, 15)
cpsc2018_extra = _challenge("Q", "cpsc_2018_extra", 500, 12)
csn = _challenge("JS", "WFDBRecords/01/010", 500, 10)
ptb = _challenge("S", "ptb", 1000, 40)
ptbxl_challenge = _challenge("HR", "ptb-xl", 500, 10)
incart = _challenge("I", "st_petersburg_incart", 257, 60)


def cpsc2018_original(raw: Path, n: int = 8, prefix: str = "") -> None:
    """The authors' MATLAB v5 structs and REFERENCE.csv."""
    raw.mkdir(parents=True, exist_ok=True)
    lines = ["Recording,First_label,Second_label,Third_label"]
    for i, signal in enumerate(signals(n, 500, 12)):
        name = f"A{prefix}{i + 1:04d}"
        scipy.io.savemat(raw / f"{name}.mat", {"ECG": {"sex": "Female", "age": 61, "data": signal}})
        lines.append(f"{name},{i % 9 + 1},{2 if i % 3 == 0 else ''},")
    (raw / "REFERENCE.csv").write_text("\n".join(lines) + "\n")


def chapman(raw: Path, n: int = 8, prefix: str = "") -> None:
    """ECGDataDenoised/*.csv without names, in microvolts, and Diagnostics as text."""
    (raw / "ECGDataDenoised").mkdir(parents=True, exist_ok=True)
    rows = []
    for i, signal in enumerate(signals(n, 500)):
        name = f"MUSE_{prefix}20180113_{i:06d}"
        np.savetxt(raw / "ECGDataDenoised" / f"{name}.csv", signal.T * 1000, fmt="%.0f", delimiter=",")
        rows.append(
            {
                "FileName": name,
                "Rhythm": ("SB", "AFIB")[i % 2],
                "PatientAge": 40 + i,
                "Gender": ("MALE", "FEMALE")[i % 2],
            }
        )
    pd.DataFrame(rows).to_csv(raw / "Diagnostics.csv", index=False)


def echonext_arrays(raw: Path, n: int = 16, prefix: str = "") -> None:
    """The metadata table and one z-scored array [n, 1, 2500, 12] a split, in the table's order."""
    raw.mkdir(parents=True, exist_ok=True)
    native = signals(n, 250)
    z = (native - native.mean(axis=-1, keepdims=True)) / (native.std(axis=-1, keepdims=True) + 1e-6)
    names = np.array(["train", "train", "val", "test", "train", "no_split"] * n)[:n]
    table = pd.DataFrame({"ecg_key": [f"{prefix}ecg{i}" for i in range(n)]})
    table["patient_key"], table["split"], table["sex"] = [f"{prefix}pat{i}" for i in range(n)], names, "Female"
    for k, finding in enumerate((*echonext.FINDINGS, "shd_moderate_or_greater")):
        table[f"{finding}_flag"] = [int((i + k) % 3 == 0) for i in range(n)]
    table.loc[1, "lvef_lte_45_flag"] = np.nan
    table.to_csv(raw / "EchoNext_metadata_100k.csv", index=False)
    for name in set(names):
        waveforms = z[names == name].transpose(0, 2, 1)[:, None].astype(np.float32)
        np.save(raw / f"EchoNext_{name}_waveforms.npy", waveforms)


def mimic_files(raw: Path, n: int = 28, prefix: str = "") -> None:
    """files/pNNNN/p.../s.../..., the ICD-10 table with Python lists, mds_ed.csv with -999; aVF before aVL."""
    raw.mkdir(parents=True, exist_ok=True)
    order = [LEADS.index(lead) for lead in MIMIC_ORDER]
    codes = ["['I10', 'E119']", "['I2510', 'I4891']", "['I10', 'I509']", "[]", "['I10', 'I129', 'I2510']"]
    rows = []
    for i, signal in enumerate(signals(min(n, 40), 500)):
        subject, study = f"{prefix}1000{i // 2:04d}", f"{prefix}4000{i:04d}"
        folder = f"files/p{subject[:4]}/p{subject}/s{study}"
        native = signal[order].copy()
        if i == 2:
            native[3, 100:140] = np.nan
        wfdb_record(raw / folder, study, native, 500, MIMIC_ORDER)
        name = f"mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0/{folder}/{study}"
        row: dict[str, object] = {
            "file_name": name,
            "study_id": study,
            "subject_id": subject,
            "ecg_time": "2180-05-06 12:00:00",
        }
        row |= {"all_diag_all": codes[i % 5], "all_diag_hosp": "[]", "gender": "FM"[i % 2], "age": 61.0, "dod": ""}
        rows.append(row | {"fold": i // 2 % 20, "strat_fold": i // 2 % 20})
    pd.DataFrame(rows).to_csv(raw / "records_w_diag_icd10.csv", index=False)
    acute = pd.DataFrame({"general_data": range(0, n, 2), "general_strat_fold": 0})
    for k, label in enumerate((*mimic.MORTALITY, *mimic.ICU)):
        acute[f"deterioration_{label}"] = [(-999, 0, 1)[(i + k) % 3] for i in range(len(acute))]
    acute.to_csv(raw / "mds_ed.csv", index=False)


# What carts say, line by line, and what they measure: rr_interval, p_onset, p_end, qrs_onset, qrs_end, t_end, axes.
CART_LINES = (
    ("Sinus rhythm", "Normal ECG"),
    ("Sinus bradycardia with borderline 1st degree A-V block", "Inferior infarct - age undetermined", "Abnormal ECG"),
    ("Atrial fibrillation with rapid ventricular response", "Right bundle branch block", "Abnormal ECG"),
    ("Demand pacing", "Pacemaker rhythm - no further analysis", "Abnormal ECG"),
    ("Sinus tachycardia", "Possible left ventricular hypertrophy", "Left bundle branch block"),
    ("Sinus rhythm with 1st degree A-V block", "Left axis deviation"),
)
CART_WAVES = (
    (800, 40, 150, 200, 290, 600, 45, -10, 60),
    (1200, 40, 150, 230, 320, 660, 50, 20, 40),
    (500, 29999, 29999, 170, 310, 540, 32767, 90, -20),
    (750, 29999, 29999, 180, 330, 600, -32768, -70, 100),
    (65535, 40, 140, 180, 320, 560, 60, -15, 140),
    (900, 20, 130, 260, 350, 680, 55, -45, 70),
)


def mimic_open(raw: Path, n: int = 48, prefix: str = "") -> None:
    """files/pNNNN/p.../s.../... with record_list.csv and machine_measurements.csv as the open module has them."""
    raw.mkdir(parents=True, exist_ok=True)
    order = [LEADS.index(lead) for lead in MIMIC_ORDER]
    records, carts = [], []
    waves = ("rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end", "p_axis", "qrs_axis", "t_axis")
    for i, signal in enumerate(signals(min(n, 64), 500)):
        subject, study = f"{prefix}1000{i // 2:04d}", f"{prefix}4000{i:04d}"
        folder = f"files/p{subject[:4]}/p{subject}/s{study}"
        wfdb_record(raw / folder, study, signal[order], 500, MIMIC_ORDER)
        row: dict[str, object] = {"subject_id": subject, "study_id": study}
        time = {"ecg_time": "2180-05-06 12:00:00"}
        records.append(row | {"file_name": study} | time | {"path": f"{folder}/{study}"})
        lines = CART_LINES[i // 2 % 6]
        said = {f"report_{line}": lines[line] if line < len(lines) else "" for line in range(18)}
        settings = {"bandwidth": "0.005-150 Hz", "filtering": "60 Hz notch Baseline filter"}
        carts.append(
            row | {"cart_id": 6848296} | time | said | settings | dict(zip(waves, CART_WAVES[i // 2 % 6], strict=True))
        )
    pd.DataFrame(records).to_csv(raw / "record_list.csv", index=False)
    pd.DataFrame(carts[::-1]).to_csv(raw / "machine_measurements.csv", index=False)


def zzu(raw: Path, n: int = 16, prefix: str = "") -> None:
    """Child_ecg/P00/P00001/P00001_E01, 5 to 30 s; every fifth record with nine leads; quoted lists, ages in days."""
    raw.mkdir(parents=True, exist_ok=True)
    nine, native = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V3", "V5"), signals(n, 500, 30)
    codes = ("'A1'", "'C21'", "'C22';'Left ventricular high voltage'", "'E50+Modifier362';'C21'")
    ills = ("'J18.9'", "'Q21.0'", "'(FO) Q21.1';'M30.3'", "")
    rows = []
    for i in range(n):
        seconds = (5, 10, 15, 30)[i % 4]
        signal = native[i, :, : 500 * seconds]
        leads = nine if i % 5 == 4 else LEADS
        patient = f"P{prefix}{i // 2:05d}"
        name = f"{patient}_E{1 + i % 2:02d}"
        places = [LEADS.index(lead) for lead in leads]
        wfdb_record(
            raw / "Child_ecg" / patient[:3] / patient, name, signal[places], 500, [lead.upper() for lead in leads]
        )
        row: dict[str, object] = {"Filename": f"{patient[:3]}/{patient}/{name}", "ECG_ID": name, "Patient_ID": patient}
        row |= {"Age": f"{30 + 300 * i}d", "Gender": f"'{('Male', 'Female')[i // 2 % 2]}'"}
        row |= {"Acquisition_date": "2017-11-22 10:46:08", "Sampling_point": 500 * seconds, "Lead": len(leads)}
        rows.append(row | {"AHA_code": codes[i % 4], "CHN_code": "'A1'", "ICD-10 code": ills[i % 4]})
    pd.DataFrame(rows).to_csv(raw / "AttributesDictionary.csv", index=False)
    kinds = {"Myocarditis": "(F) I40.0", "Cardiomyopathy": "I42.0", "Kawasaki disease": "M30.3"}
    kinds |= {"Congenital\nheart disease": "Q21.0", "Congenital heart disease": "(FO) Q21.1"}
    listed = [(kind, "one of them", code, "in words") for kind, code in kinds.items()]
    names = ["Disease Type", "Disease Category", "ICD-10 Code", "ICD-10 Description"]
    pd.DataFrame(listed, columns=names).to_csv(raw / "DiseaseCode.csv", index=False)


def heedb(raw: Path, n: int = 12, prefix: str = "") -> None:
    """ECG/WFDB/S000x/YYYY/..., demographics, interpretations and duplicates."""
    (raw / "Metadata").mkdir(parents=True, exist_ok=True)
    people, said = [], ["file_source|diagnostic_codes"]
    for i, signal in enumerate(signals(n, 500)):
        name = f"de_{prefix}{i:05d}"
        folder = f"WFDB/S000{1 + i % 2}/199{i % 3}/03"
        challenge_record(raw / "ECG" / folder, name, signal, 500, "")
        people.append({"FileName": f"{folder}/{name}.hea", "BDSPPatientID": f"{prefix}11{i // 2}", "SexDSC": "Female"})
        if i != 5:
            said.append(f"{name}|{19 + i % 3},{22}")
    pd.DataFrame(people).to_csv(raw / "Metadata" / "demographics_ECG.csv", index=False)
    (raw / "Metadata" / "ECG_Interpretations.psv").write_text("\n".join(said) + "\n")
    pd.DataFrame({"file_name": [people[-1]["FileName"]]}).to_csv(raw / "Metadata" / "duplicated.csv", index=False)


def icentia(raw: Path, n: int = 6, prefix: str = "") -> None:
    """p00/p00000/p00000_s00.{hea,dat,atr}: one lead called ECG, beats N, S, V and rhythm marks."""
    native = signals(n, 250, 120)
    for i in range(n):
        folder, name = raw / "p00" / f"p{prefix}{i // 2:05d}", f"p{prefix}{i // 2:05d}_s{i % 2:02d}"
        wfdb_record(folder, name, native[i, 1:2], 250, ("ECG",))
        at = np.arange(100, native.shape[-1] - 100, 200)
        symbols = ["+", *("NNNNSNNV" * len(at))[: len(at) - 1]]
        wfdb.wrann(name, "atr", at, symbols, aux_note=["(N"] + [""] * (len(at) - 1), fs=250, write_dir=str(folder))


def sph(raw: Path, n: int = 10, prefix: str = "") -> None:
    """metadata.csv and records/*.h5 in half precision; statements with modifiers."""
    (raw / "records").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for i, signal in enumerate(signals(n, 500, 12)):
        name = f"A{prefix}{i + 1:05d}"
        with h5py.File(raw / "records" / f"{name}.h5", "w") as file:
            file["ecg"] = signal.astype(np.float16)
        codes = ("1", "22;23", "60+310;50")[i % 3]
        rows.append({"ECG_ID": name, "AHA_Code": codes, "Patient_ID": f"S{prefix}{i // 2:05d}", "Sex": "MF"[i % 2]})
        rows[-1]["Age"] = str(50 + i)
    pd.DataFrame(rows).to_csv(raw / "metadata.csv", index=False)


def ludb(raw: Path, n: int = 20, prefix: str = "") -> None:
    """data/N.{hea,dat} with lower-case leads, gains that differ from lead to lead, and diagnoses in the comments."""
    (raw / "data").mkdir(parents=True, exist_ok=True)
    for i, signal in enumerate(signals(n, 500)):
        rhythm = ("Sinus rhythm", "Atrial fibrillation", "Sinus bradycardia")[i % 3]
        comments = ["<age>: 51", "<sex>: F", "<diagnoses>:", f"Rhythm: {rhythm}."]
        name = f"{prefix}{i + 1}"
        wfdb_record(raw / "data", name, signal, 500, [lead.lower() for lead in LEADS], comments=comments)
        path = raw / "data" / f"{name}.hea"
        lines = path.read_text().splitlines()
        for k in range(1, 13):
            lines[k] = lines[k].replace("1000.0(0)/mV", f"{700 + 100 * k}(3)/mV")
        path.write_text("\r\n".join(lines) + "\r\n")  # and the line ends of another system


def mitbih(raw: Path, n: int = 4, prefix: str = "") -> None:
    """Two-lead half-hours (here two minutes) with beats and other marks; 114 has its leads the other way round.

    Every second record fibrillates from 60.1 s on; from 85.1 s on all have a mark that names no rhythm.
    """
    del prefix  # the records' names are the dataset's own
    native = signals(4, 360, 120)
    for i, name in enumerate(("101", "114", "100", "202")[:n]):
        leads, order = (("V5", "MLII"), [10, 1]) if name == "114" else (("MLII", "V1"), [1, 6])
        wfdb_record(raw, name, native[i, order], 360, leads)
        at = np.arange(50, native.shape[-1] - 50, 300)
        symbols = ["+", *("NNLRAVF~" * len(at))[: len(at) - 1]]
        notes = ["(N"] + [""] * (len(at) - 1)
        for place, note in ((72, "(AFIB\0" if i % 2 else "(N"), (102, "(XYZ")):
            symbols[place], notes[place] = "+", note
        wfdb.wrann(name, "atr", at, symbols, aux_note=notes, fs=360, write_dir=str(raw))


def cinc2017(raw: Path, n: int = 24, prefix: str = "") -> None:
    """training2017/A00001.{mat,hea} of one lead, 9.05 to 61 s, checksums of 0; four versions of the labels.

    The final ones lie outside; the folder has earlier ones. Six of the training records are copied to validation/.
    """
    training, validation = raw / "training2017", raw / "validation"
    training.mkdir(parents=True, exist_ok=True)
    validation.mkdir(exist_ok=True)
    names = [f"A{prefix}{i + 1:05d}" for i in range(n)]
    native = np.rint(signals(n, 300, 61)[:, :1] * 1000).astype(np.int16)
    for i, name in enumerate(names):
        units = native[i, :, : round((30, 9.05, 12, 61)[i % 4] * 300)]
        line = f"{name}.mat 16+24 1000/mV 16 0 {units[0, 0]} 0 0 ECG "
        text = f"{name} 1 300 {units.shape[1]} 05:05:15 1/05/2000 \n{line}\n"
        for folder in (training, *([validation] if i < 6 else [])):
            scipy.io.savemat(folder / f"{name}.mat", {"val": units}, format="4")
            (folder / f"{name}.hea").write_text(text)
    final = [f"{name},{'NAO~'[i % 4]}" for i, name in enumerate(names)]
    earlier = [line.replace("~", "N") for line in final]
    for folder, some in ((training, n), (validation, 6)):
        (folder / "RECORDS").write_text("\n".join(names[:some]) + "\n")
        (folder / "REFERENCE.csv").write_text("\n".join(earlier[:some]) + "\n")
    (training / "REFERENCE-original.csv").write_text("\n".join(earlier) + "\n")
    for version, lines in enumerate((earlier, earlier, earlier, final)):
        (raw / f"REFERENCE-v{version}.csv").write_text("\n".join(lines) + "\n")


# Every dataset of the registry, by the writer of its layout.
LAYOUTS: dict[str, Callable[..., None]] = {
    "code": code,
    "code15": code15,
    "mimic-icd10": mimic_files,
    "heedb": heedb,
    "icentia11k": icentia,
    "code-test": codetest,
    "cpsc2018": cpsc2018,
    "csn": csn,
    "ptbxl": ptbxl,
    "echonext": echonext_arrays,
    "mimic": mimic_files,
    "mitbih": mitbih,
    "cinc2017": cinc2017,
    "ludb": ludb,
    "sph": sph,
    "georgia": georgia,
    "cpsc2018-extra": cpsc2018_extra,
    "ptb": ptb,
    "ptbxl-challenge": ptbxl_challenge,
    "incart": incart,
    "chapman": chapman,
    "mimic-open": mimic_open,
    "zzu-pecg": zzu,
}
