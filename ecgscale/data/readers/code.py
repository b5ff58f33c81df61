"""CODE: 2.3 million exams of the Telehealth Network of Minas Gerais, as WFDB tracings and annotations.csv."""

import re
from pathlib import Path

from ecgscale.data import columns, tables, waveform
from ecgscale.data.columns import ABSENT
from ecgscale.data.dataset import Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import found, inside, located, plain, walked
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
    place = located(raw, "annotations.csv")
    table = tables.read(place, ["id_exam", "id_patient", *LABELS])
    table = columns.keyed(columns.people(table, "id_patient"), "id_exam")
    first, n_foreign = _first_tracings(raw, place.base)
    exams = table.rows["id_exam"]
    where = exams.map(first).fillna("").astype(str)
    n_unknown = len(set(first) - set(exams))
    table = table.having(file=where).keep(where != "", ABSENT)
    n_absent = table.aside.get(ABSENT, 0)
    table = table.sorted_by("id_exam", number=True)
    labels, notes = columns.labels(table, LABELS)
    notes |= {
        "tracing whose name is not TNMG<exam>_N<tracing>: left out": n_foreign,
        f"tracing of an exam that {place.name} lacks: left out": n_unknown,
    }
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["id_patient"]),
        label_sets={"code6": LABELS},
        labels=labels,
        missing=[f"{n_absent} exams of {place.name} without a tracing"] if n_absent else [],
        **accounted(table, notes),
    )


def _first_tracings(raw: Path, base: str) -> tuple[dict[str, str], int]:
    """The header of each exam's first tracing, and how many tracings have a name of another kind.

    They are those of RECORDS.txt, or, where there is none, those below the folder.
    """
    listed = found(raw, f"{base}wfdb/RECORDS.txt") or found(raw, f"{base}wfdb/RECORDS")
    if listed:
        lines = (raw / listed).read_text(encoding="utf-8-sig", errors="replace").split()
        stems = [plain(line).removesuffix(".hea").removesuffix(".dat") for line in lines]
        folder = listed.rpartition("/")[0]
        headers = [f"{folder}/{stem.removeprefix('wfdb/')}.hea" for stem in stems]
    else:
        headers = [*walked(raw, ".hea")]
    first: dict[str, tuple[int, str]] = {}
    n_foreign = 0
    for header in headers:
        name = re.fullmatch(r"TNMG0*(\d+)_N(\d+)\.hea", header.rpartition("/")[2])
        if name is None:
            n_foreign += 1
        elif name[1] not in first or int(name[2]) < first[name[1]][0]:
            first[name[1]] = int(name[2]), header
    return {exam: header for exam, (_, header) in first.items()}, n_foreign


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
