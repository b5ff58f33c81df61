"""Tasks against the tables of the scaling study, and against what their datasets really have."""

from pathlib import Path

import pytest

from ecgscale import data
from ecgscale.data.outline import PUBLISHED
from ecgscale.tasks import (
    BEAT_TASKS,
    DOMAINS,
    ECGFOUNDER_TASKS,
    HEAD_TASKS,
    PAPER_TASKS,
    ROBUSTNESS_TASKS,
    SAMPLE_TASKS,
    TASKS,
    Task,
)

# Dataset, domain (Table S.3) and number of labels (Table S.1) of all eleven.
STUDY = (
    ("cpsc2018", "A", 9),
    ("csn", "A", 38),
    ("ptbxl", "A", 44),
    ("ptbxl", "A", 23),
    ("ptbxl", "A", 5),
    ("ptbxl", "A", 19),
    ("ptbxl", "A", 12),
    ("echonext", "B", 11),
    ("mimic", "C", 2),
    ("mimic", "C", 6),
    ("mimic", "D", 1),
)


def test_the_eleven_tasks_of_the_study_are_there() -> None:
    found = tuple((t.corpus, t.domain, PUBLISHED[t.corpus].n_labels[t.label_set]) for t in PAPER_TASKS)
    assert found == STUDY
    assert len({t.label_set for t in PAPER_TASKS}) == 11
    assert set(DOMAINS) == {"A", "B", "C", "D"}


@pytest.mark.parametrize("task", PAPER_TASKS, ids=lambda task: task.name)
def test_datasets_have_the_label_sets_that_tasks_name(task: Task) -> None:
    assert task.label_set in data.DATASETS[task.corpus].card.label_sets


def test_shipped_corpora_have_the_label_sets_that_tasks_name(home: Path) -> None:
    for task in SAMPLE_TASKS:
        assert data.open_corpus(task.corpus, home).label_names(task.label_set)


def test_tasks_are_found_by_their_names() -> None:
    assert all(TASKS[name].name == name for name in TASKS)
    families = (PAPER_TASKS, SAMPLE_TASKS, HEAD_TASKS, ECGFOUNDER_TASKS, BEAT_TASKS, ROBUSTNESS_TASKS)
    assert len(TASKS) == sum(map(len, families))
    assert all(task.domain in DOMAINS for task in TASKS.values())
