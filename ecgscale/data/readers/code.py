"""CODE: 2.3 million exams of the Telehealth Network of Minas Gerais, as WFDB tracings and annotations.csv."""

from pathlib import Path

import pandas as pd

from ecgscale.data import waveform
from ecgscale.data.dataset import Card, Dataset, Index, inside, labels_of
from ecgscale.data.filters import Recipe
from ecgscale.data.recording import Recording

LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
CITATION = (
    'Ribeiro et al., "Automatic diagnosis of the 12-lead ECG using a deep neural network", '
    "Nature Communications 11:1760 (2020)"
)
RECIPE = Recipe(highpass=True, notch_hz=60.0)


def index(raw: Path) -> Index:
    """One record an exam: of several tracings (N1, N2, ...) of an exam, the first.

    Files are ``wfdb/TNMG{id_exam}_N{id_record}.hea`` as ``wfdb/RECORDS.txt`` lists them; ``annotations.csv`` has
    id_exam, id_patient and the six labels, empty where an exam is not annotated.
    """
    table = pd.read_csv(raw / "annotations.csv", index_col="id_exam", dtype={"id_patient": str}, low_memory=False)
    lines = (raw / "wfdb" / "RECORDS.txt").read_text().split()
    names = pd.Series([line.removesuffix(".hea").removesuffix(".dat").rpartition("/")[2] for line in lines], dtype=str)
    parts = names.str.extract(r"^TNMG(?P<exam>\d+)_N(?P<tracing>\d+)$")
    tracings = pd.DataFrame({"where": [f"wfdb/{line.removesuffix('.hea').removesuffix('.dat')}.hea" for line in lines]})
    tracings["exam"] = pd.to_numeric(parts["exam"])
    tracings["tracing"] = pd.to_numeric(parts["tracing"])
    foreign = int(tracings["exam"].isna().sum())
    first = tracings.dropna().sort_values(["exam", "tracing"]).drop_duplicates("exam").set_index("exam")
    table = table[~table.index.duplicated()]
    both = first.join(table, how="inner").sort_index()
    refused = {
        "tracing whose name is not TNMG<exam>_N<tracing>": foreign,
        "tracing of an exam that annotations.csv lacks": len(first) - len(both),
    }
    absent = len(table) - len(both)
    return Index(
        where=both["where"].to_numpy(dtype=str),
        patient=both["id_patient"].fillna("").to_numpy(dtype=str),
        label_sets={"code6": LABELS},
        labels=labels_of(both[list(LABELS)].to_numpy(dtype=object)),
        missing=[f"{absent} exams of annotations.csv without a tracing"] if absent else [],
        refused={reason: count for reason, count in refused.items() if count},
    )


def load(raw: Path, where: str) -> Recording:
    return waveform.read(inside(raw, where))


DATASET = Dataset(
    card=Card(
        title="CODE",
        what="12-lead exams of primary care in Minas Gerais, Brazil, 2010-2017, with six annotated abnormalities",
        n_records=2_322_513,
        n_patients=1_676_384,
        sampling_hz=range(300, 601),
        licence="research use under agreement",
        access="on request",
        url="https://doi.org/10.17044/scilifelab.15169716",
        doi="10.17044/scilifelab.15169716",
        download="ask for access at https://doi.org/10.17044/scilifelab.15169716, then unpack beside annotations.csv",
        units="mV by the headers' gains",
        lead_order="by name; DI, DII, DIII, AVR, AVL, AVF, V1-V6",
        label_sets={"code6": "6: " + ", ".join(LABELS) + "; missing where an exam is not annotated"},
        n_labels={"code6": len(LABELS)},
        tested_on="a copy of the layout, written from real signals; not the original files",
        citation=CITATION,
        traps=(
            "several tracings an exam: the first is taken",
            "7 to 10 s at 300 to 600 Hz: shorter ones are zero-padded in the middle after filtering",
        ),
    ),
    index=index,
    load=load,
    recipe=RECIPE,
    shares=(0.855, 0.045, 0.1),  # a tenth is the ID test; of the rest a twentieth for early stopping
)
