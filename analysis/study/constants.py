"""What the study fixes: its configurations, domains, tasks, size bins, fractions, and where its printed tables lie."""

import re
from pathlib import Path

from ecgscale.analysis.naming import label

REFERENCE = Path(__file__).parent / "reference"
CONFIGURATIONS = ("transformer-sl", "resnet-sl", "transformer-ssl", "resnet-ssl")  # in the order of the tables
LABELS = {name: label(name) for name in CONFIGURATIONS}
TASKS = (  # the eleven, under the names that they have in results
    "cpsc2018",
    "csn",
    "ptbxl-diag",
    "ptbxl-sub",
    "ptbxl-sup",
    "ptbxl-form",
    "ptbxl-rhythm",
    "echonext",
    "mimic-icu",
    "mimic-mortality",
    "mimic-sex",
)
SIZE_EDGES = (1e5, 1e6, 1e7, 5e7)  # backbone parameters, between the size bins of Table S.4
SIZE_BINS = ("<100K", "100K–1M", "1M–10M", "10M–50M", ">50M")
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)  # of the training patients; not printed, these fit Table S.6 best
N_FULL = 2.09e6  # recordings of the full training corpus
LARGEST = 5.08e7  # backbone parameters of the largest model of Table S.4


def task_key(name: str) -> str:
    """A task's name without case and punctuation, so that ``PTB-XL(sub.)`` and ``ptbxl_subclass`` are one."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    family = next((f for f in ("ptbxl", "mimiciv", "mimic") if key.startswith(f)), None)
    return f"{family[:5]}-{key[len(family) :][:3]}" if family else key


_TASK_OF = {task_key(task): task for task in TASKS}


def task_named(printed: str) -> str:
    """The name in results of a task as the tables print it. Raises KeyError."""
    return _TASK_OF[task_key(printed)]
