"""PhysioNet/CinC Challenge 2020 and 2021: one layout (.hea with SNOMED codes, .mat), eight sources told by their names.

CPSC2018 and Chapman-Shaoxing-Ningbo are also published by their authors, in other folders; both are read here.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ecgscale.data import columns, matlab, tables, waveform
from ecgscale.data.columns import BLANK, MISSING
from ecgscale.data.dataset import Accounts, Card, Dataset, Index, accounted
from ecgscale.data.filters import Recipe
from ecgscale.data.folders import absent, inside, located, unique_records, walked
from ecgscale.data.recording import LEADS, Recording
from ecgscale.data.tables import UnreadableTable

# The 26 scored classes of the 2021 challenge; codes that it scores as one are one class.
SCORED: Mapping[str, tuple[str, ...]] = {
    "AF": ("164889003",),
    "AFL": ("164890007",),
    "BBB": ("6374002",),
    "Brady": ("426627000",),
    "LBBB": ("733534002", "164909002"),
    "RBBB": ("713427006", "59118001"),
    "IAVB": ("270492004",),
    "IRBBB": ("713426002",),
    "LAD": ("39732003",),
    "LAnFB": ("445118002",),
    "LPR": ("164947007",),
    "LQRSV": ("251146004",),
    "LQT": ("111975006",),
    "NSIVCB": ("698252002",),
    "NSR": ("426783006",),
    "PAC": ("284470004", "63593006"),
    "PR": ("10370003",),
    "PRWP": ("365413008",),
    "PVC": ("427172004", "17338001"),
    "QAb": ("164917005",),
    "RAD": ("47665007",),
    "SA": ("427393009",),
    "SB": ("426177001",),
    "STach": ("427084000",),
    "TAb": ("164934002",),
    "TInv": ("59931005",),
}
# CPSC2018's nine classes, in the order of REFERENCE.csv's numbers 1 to 9.
CPSC: Mapping[str, tuple[str, ...]] = {
    "NORM": ("426783006",),
    "AF": ("164889003",),
    "I-AVB": ("270492004",),
    "LBBB": ("164909002",),
    "RBBB": ("59118001",),
    "PAC": ("284470004",),
    "PVC": ("164884008", "427172004", "17338001"),
    "STD": ("429622005",),
    "STE": ("164931005",),
}
# The 38 conditions of Chapman-Shaoxing-Ningbo in HeartLang's protocol (also MERL's), by the dataset's own acronyms.
CSN38_STRICT: Mapping[str, tuple[str, ...]] = {
    "AQW": ("164917005",),
    "UW": ("164937009",),
    "SR": ("426783006",),
    "WPW": ("74390002",),
    "2AVB": ("195042002",),
    "AT": ("713422000",),
    "VB": ("11157007",),
    "ARS": ("47665007",),
    "STTC": ("428750005",),
    "SA": ("427393009",),
    "STE": ("164930006",),
    "VPB": ("17338001",),
    "TWO": ("59931005",),
    "STTU": ("164931005",),
    "ALS": ("39732003",),
    "APB": ("284470004",),
    "2AVB1": ("54016002",),
    "PRIE": ("164947007",),
    "CCR": ("251199005",),
    "CR": ("251198002",),
    "AF": ("164890007",),
    "AVB": ("233917008",),
    "QTIE": ("111975006",),
    "LBBB": ("164909002",),
    "VEB": ("75532003",),
    "SVT": ("426761007",),
    "RBBB": ("59118001",),
    "1AVB": ("270492004",),
    "STDD": ("429622005",),
    "MI": ("164865005",),
    "AFIB": ("164889003",),
    "TWC": ("164934002",),
    "PWC": ("164912004",),
    "ERV": ("428417006",),
    "RVH": ("89792004",),
    "LVH": ("164873001",),
    "ST": ("427084000",),
    "JEB": ("426995002",),
}
_AV_BLOCKS = ("233917008", "270492004", "195042002", "54016002", "28189009", "27885002")
# The same as their published table has them: a class is positive wherever its acronym is part of another's.
CSN38: Mapping[str, tuple[str, ...]] = {
    **CSN38_STRICT,
    "AF": ("164890007", "164889003"),  # also AFIB
    "ST": ("427084000", "428750005", "164931005", "164930006", "429622005"),  # also STTC, STTU, STE, STDD
    "SA": ("427393009", "251146004", "195101003"),  # also LVQRSAL, SAAWR
    "CR": ("251198002", "251199005"),  # also CCR
    "2AVB": ("195042002", "54016002", "28189009"),  # also 2AVB1, 2AVB2
    "AVB": _AV_BLOCKS,  # also 1AVB, 2AVB, 3AVB
    "VB": ("11157007", *_AV_BLOCKS),
}


def index(raw: Path, prefix: str, label_sets: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Index:
    """Every header below ``raw`` whose record name is ``prefix`` and digits, and the classes its "Dx" line names.

    One record a patient, as far as the challenge tells; one that lies there twice is used once. A header without "Dx",
    or with a word instead of a code, has missing labels. Raises UnreadableTable if no header has any.
    """
    headers = [name for name in walked(raw, ".hea") if _is_of(Path(name).stem, prefix)]
    used, refused = unique_records(raw, headers)
    classes = [codes for classes in label_sets.values() for codes in classes.values()]
    labels = np.full((len(used), len(classes)), MISSING, dtype=np.uint8)
    words: Counter[str] = Counter()
    n_unsaid = 0
    for row, name in zip(labels, used, strict=True):
        said, strange = statements(raw / name)
        words.update(strange)
        if said:
            row[:] = [any(code in said for code in codes) for codes in classes]
        n_unsaid += not said
    if used and n_unsaid == len(used) and label_sets:
        told = f"its words are {columns.named(words)}" if words else "they have no Dx line, or a blank one"
        raise UnreadableTable(
            f"none of {len(used):,} headers has a diagnosis (Dx): {told}; are these held-out records?"
        )
    notes = {"header without a diagnosis (Dx): labels missing": n_unsaid}
    if words:
        notes[f"Dx in words that are no codes ({columns.named(words)}): left out"] = words.total()
    return Index(
        where=tables.texts(used),
        patient=tables.texts([Path(name).stem for name in used]),
        label_sets={name: tuple(classes) for name, classes in label_sets.items()},
        labels=labels,
        missing=absent(raw, prefix),
        refused=refused,
        notes={note: count for note, count in notes.items() if count},
        accounts=Accounts("headers", len(headers), len(used)),
    )


def _is_of(stem: str, prefix: str) -> bool:
    return stem.startswith(prefix) and stem[len(prefix) :].isdigit()


def statements(path: Path) -> tuple[set[str], list[str]]:
    """SNOMED codes of a header's "Dx" comments, and other words there (as they may be said); none if it has none."""
    codes: set[str] = set()
    words: list[str] = []
    for comment in waveform.comments(path):
        key, _, value = comment.partition(":")
        if key.strip().lower() != "dx":
            continue
        for part in columns.codes(value):
            if part.removesuffix(".0").isdigit():
                codes.add(part.removesuffix(".0"))
            elif part.casefold() not in BLANK:
                words.append(columns.shown(part))
    return codes, words


def diagnoses(path: Path) -> set[str]:
    """SNOMED codes of a header's "Dx" comment; none if it has none."""
    return statements(path)[0]


def load(raw: Path, where: str) -> Recording:
    return waveform.read(inside(raw, where))


def index_cpsc2018(raw: Path) -> Index:
    """CPSC2018 as the challenge has it, or, where there is a REFERENCE.csv, as its authors do.

    REFERENCE.csv: Recording, First_label, Second_label, Third_label (1 to 9, empty if none); MATLAB structs. Where both
    editions are there, the authors' is used.
    """
    names = [name for name in walked(raw, ".hea", ".mat") if _is_of(Path(name).stem, "A")]
    headers = {name.removesuffix(".hea") for name in names if name.endswith(".hea")}
    own = [name for name in names if name.endswith(".mat") and name.removesuffix(".mat") not in headers]
    try:
        place = located(raw, "REFERENCE.csv")
    except FileNotFoundError:
        if own and not headers:
            raise FileNotFoundError(
                "the authors' .mat files of CPSC2018 are there, but not REFERENCE.csv, their labels"
            ) from None
        return index(raw, "A", {"cpsc9": CPSC})
    if headers and not own:
        challenge = index(raw, "A", {"cpsc9": CPSC})
        return replace(challenge, notes={**challenge.notes, f"{place.name} has no .mat of its authors: not read": 1})
    columns_of = ["First_label", "Second_label", "Third_label"]
    table = columns.keyed(tables.read(place, ["Recording", *columns_of]), "Recording")
    numbers = np.stack([columns.numbers(table, column) for column in columns_of], axis=1)
    blank = np.stack([table.rows[column].str.casefold().isin(BLANK) for column in columns_of], axis=1)
    wrong = ~blank & ~np.isin(numbers, range(1, len(CPSC) + 1))
    table = table.having(at=np.arange(len(table)))
    table = table.keep(np.asarray(~wrong.any(axis=1)), f"label of {place.name} that is none of 1 to {len(CPSC)}")
    by_stem: dict[str, str] = {}
    for name in own:
        by_stem.setdefault(Path(name).stem, name)
    table, missing = columns.shelved(table, "Recording", by_stem)
    labels = np.zeros((len(table), len(CPSC)), dtype=np.uint8)
    for row, said in zip(labels, numbers[table.rows["at"].to_numpy(dtype=int)], strict=True):
        row[said[np.isfinite(said)].astype(int) - 1] = 1
    unsaid = labels.sum(axis=1) == 0
    labels[unsaid] = MISSING
    if len(labels) and unsaid.all():
        raise UnreadableTable(f"no row of {place.name} says anything known in column 'First_label'; correct it")
    notes = {
        f"row of {place.name} without any label: missing": int(unsaid.sum()),
        "both editions are there: the authors' .mat are read, headers of the challenge are not": len(headers),
        "recordings that lie there twice: each is used once": len(own) - len(by_stem),
    }
    return Index(
        where=tables.texts(table.rows["file"]),
        patient=tables.texts(table.rows["Recording"]),
        label_sets={"cpsc9": tuple(CPSC)},
        labels=labels,
        missing=missing,
        **accounted(table, notes),
    )


def load_cpsc2018(raw: Path, where: str) -> Recording:
    """A challenge record, or a MATLAB v5 struct ECG with ``data`` [12, n_samples] in mV at 500 Hz."""
    if where.endswith(".hea"):
        return load(raw, where)
    signal = matlab.matrix(inside(raw, where), len(LEADS), name="ECG.data")
    return Recording(np.ascontiguousarray(signal, dtype=np.float32), 500.0, LEADS)


_URL = "https://physionet.org/content/challenge-2021/1.0.3/"
_CITATION = 'Reyna et al., "Will Two Do? Varying Dimensions in Electrocardiography", Computing in Cardiology 48 (2021)'
_CPSC_CITATION = 'Liu et al., "An Open Access Database ...", J. Medical Imaging and Health Informatics 8 (2018)'


def _source(
    prefix: str,
    title: str,
    what: str,
    n_records: int,
    folder: str,
    gigabytes: float,  # from the lengths
    *,
    n_patients: int | None = None,
    hz: tuple[int, ...] = (500,),
    tested_on: str,
    citation: str = _CITATION,
    traps: tuple[str, ...] = (),
) -> Dataset:
    return Dataset(
        card=Card(
            title=title,
            what=what,
            n_records=n_records,
            n_patients=n_patients,
            sampling_hz=hz,
            licence="CC BY 4.0",
            access="open",
            url=_URL,
            doi="10.13026/34va-7q14",
            download=f"wget -r -N -c -np https://physionet.org/files/challenge-2021/1.0.3/training/{folder}/",
            gigabytes=gigabytes,
            units="mV by the headers' gains",
            lead_order="I, II, III, aVR, aVL, aVF, V1-V6",
            label_sets={"scored26": "26 SNOMED classes that the 2021 challenge scored, equivalent codes merged"},
            n_labels={"scored26": len(SCORED)},
            tested_on=tested_on,
            citation=citation,
            traps=("10 s are cut from the middle of longer records", *traps),
        ),
        index=partial(index, prefix=prefix, label_sets={"scored26": SCORED}),
        load=load,
        recipe=Recipe(highpass=True, notch_hz=60.0),
    )


GEORGIA = _source(
    "E",
    "Georgia 12-lead ECG Challenge Database",
    "records of a hospital in the south-east of the United States",
    10_344,
    "georgia",
    1.2,
    tested_on="44 real records, 34 with a malformed record line",
    traps=('many headers name the record "E07500.mat", which wfdb refuses; they are read', "5 and 10 s"),
)
CPSC2018_EXTRA = _source(
    "Q", "CPSC2018 extra", "unused records of CPSC2018", 3_453, "cpsc_2018_extra", 0.7, tested_on="10 real records"
)
PTB = _source(
    "S",
    "PTB Diagnostic ECG Database",
    "records of 38 to 115 s at 1000 Hz",
    516,
    "ptb",
    1.4,
    n_patients=290,
    hz=(1000,),
    tested_on="a copy of the layout",
    traps=("records of one patient are not told apart in the challenge's files",),
)
INCART = _source(
    "I",
    "St Petersburg INCART 12-lead Arrhythmia Database",
    "half-hour records at 257 Hz",
    74,
    "st_petersburg_incart",
    0.8,
    n_patients=32,
    hz=(257,),
    tested_on="a copy of the layout",
    traps=("records of one patient are not told apart in the challenge's files",),
)
PTBXL = _source(
    "HR",
    "PTB-XL, Challenge edition",
    "the 500 Hz records of PTB-XL with SNOMED codes instead of its statements",
    21_837,
    "ptb-xl",
    2.6,
    tested_on="4 real records",
    traps=(
        "HR00001 is PTB-XL's ecg_id 1: never pretrain on one edition and test on the other",
        "records of one patient are not told apart in the challenge's files",
    ),
)
CPSC2018 = Dataset(
    card=Card(
        title="CPSC2018",
        what="records of 6 to 60 s of eleven Chinese hospitals, nine rhythm and morphology classes",
        n_records=6_877,
        n_patients=6_877,
        sampling_hz=(500,),
        licence="CC BY 4.0",
        access="open",
        url=_URL,
        doi="10.1166/jmihi.2018.2442",
        download="wget -r -N -c -np https://physionet.org/files/challenge-2021/1.0.3/training/cpsc_2018/",
        gigabytes=1.4,  # from the lengths
        units="mV by the headers' gains; the authors' .mat are in mV",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6; without names in the authors' .mat, checked with Einthoven's law",
        label_sets={"cpsc9": "9: " + ", ".join(CPSC) + "; 477 records have several"},
        n_labels={"cpsc9": len(CPSC)},
        tested_on="14 real records of the challenge's edition, 4 of the authors'",
        citation=_CPSC_CITATION,
        traps=("10 s are cut from the middle of longer records", "not single-label, as some papers say"),
    ),
    index=index_cpsc2018,
    load=load_cpsc2018,
    recipe=Recipe(),  # standardised by one global deviation: Corpus.manifest.scale_mv
)
CSN = Dataset(
    card=Card(
        title="Chapman-Shaoxing-Ningbo",
        what="records of 10 s of two Chinese hospitals, one a patient",
        n_records=45_152,
        n_patients=45_152,
        sampling_hz=(500,),
        licence="CC BY 4.0",
        access="open",
        url="https://physionet.org/content/ecg-arrhythmia/1.0.0/",
        doi="10.13026/wgex-er52",
        download="aws s3 sync --no-sign-request s3://physionet-open/ecg-arrhythmia/1.0.0/ DIR",
        gigabytes=5.5,  # 5.1 GiB
        units="mV by the headers' gains; stored in the published normalisation, each record's range to +-3",
        lead_order="I, II, III, aVR, aVL, aVF, V1-V6",
        label_sets={
            "csn38": "38 conditions of HeartLang's protocol, as its published table has them",
            "csn38-strict": "the same 38 by their own codes alone",
            "scored26": "26 challenge classes",
        },
        n_labels={"csn38": len(CSN38), "csn38-strict": len(CSN38_STRICT), "scored26": len(SCORED)},
        tested_on="39 real records of both hospitals",
        citation='Zheng et al., "Optimal Multi-Stage Arrhythmia Classification Approach", Scientific Reports 10 (2020)',
        traps=(
            "HeartLang trained on 16,546 of the records; here all are used, as in the scaling study",
            "the published table marks a class wherever its acronym is part of another's: AF in AFIB, ST in STTC, "
            "VB in AVB; csn38 follows it, csn38-strict does not",
        ),
    ),
    index=partial(index, prefix="JS", label_sets={"csn38": CSN38, "csn38-strict": CSN38_STRICT, "scored26": SCORED}),
    load=load,
    recipe=Recipe(range_to=3.0, band_hz=(0.67, 40.0)),
    units="thirds of half the record's range",
)
