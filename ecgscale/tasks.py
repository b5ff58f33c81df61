"""Out-of-distribution questions that frozen features are probed on."""

from dataclasses import dataclass

DOMAINS = {
    "A": "adult ECG interpretation",
    "B": "cardiac structure and function",
    "C": "acute care",
    "D": "patient characteristics",
}


@dataclass(frozen=True)
class Task:
    """A label set of a corpus that pretraining did not see as labels, in one of the four clinical ``DOMAINS``."""

    name: str
    corpus: str
    label_set: str
    domain: str


# The eleven tasks of the scaling study (Tables S.1-S.3) under its own abbreviations; then those on the recordings that
# ship with the package.
PAPER_TASKS = (
    Task("cpsc2018", "cpsc2018", "cpsc9", "A"),
    Task("csn", "csn", "csn38", "A"),
    Task("ptbxl-diag", "ptbxl", "diagnostic", "A"),
    Task("ptbxl-sub", "ptbxl", "subdiagnostic", "A"),
    Task("ptbxl-sup", "ptbxl", "superdiagnostic", "A"),
    Task("ptbxl-form", "ptbxl", "form", "A"),
    Task("ptbxl-rhythm", "ptbxl", "rhythm", "A"),
    Task("echonext", "echonext", "shd11", "B"),
    Task("mimic-icu", "mimic", "icu", "C"),
    Task("mimic-mortality", "mimic", "mortality", "C"),
    Task("mimic-sex", "mimic", "sex", "D"),
)
SAMPLE_TASKS = (
    Task("ptbxl-superdiagnostic", "ptbxl-sample", "superdiagnostic", "A"),
    Task("ptbxl-sex", "ptbxl-sample", "sex", "D"),
    Task("ludb-rhythm", "ludb-sample", "rhythm", "A"),
)
TASKS: dict[str, Task] = {task.name: task for task in (*PAPER_TASKS, *SAMPLE_TASKS)}
