"""Tasks against the tables of the scaling study, and against what their datasets really have."""

from pathlib import Path

import pytest

from ecgscale import data
from ecgscale.data.corpus import Slice
from ecgscale.data.readers import DATASETS
from ecgscale.models import Architecture, Net1D, ResNet, Transformer, ViT
from ecgscale.objectives import DINO, Supervised
from ecgscale.spec.run import Run
from ecgscale.spec.tasks import (
    BEAT_TASKS,
    DOMAINS,
    ECGFOUNDER_TASKS,
    HEAD_TASKS,
    LABORATORY_TASKS,
    PAPER_TASKS,
    ROBUSTNESS_TASKS,
    SAMPLE_TASKS,
    SINGLE_LEAD_TASKS,
    TASKS,
    Task,
    measurable,
    why_not,
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
    found = tuple((t.corpus, t.domain, DATASETS[t.corpus].card.n_labels[t.label_set]) for t in PAPER_TASKS)
    assert found == STUDY
    assert len({t.label_set for t in PAPER_TASKS}) == 11
    assert set(DOMAINS) == {"A", "B", "C", "D"}


@pytest.mark.parametrize("task", [*PAPER_TASKS, *SINGLE_LEAD_TASKS], ids=lambda task: task.name)
def test_datasets_have_the_label_sets_that_tasks_name(task: Task) -> None:
    assert task.label_set in data.DATASETS[task.corpus].card.label_sets


def test_shipped_corpora_have_the_label_sets_that_tasks_name(home: Path) -> None:
    for task in SAMPLE_TASKS:
        assert data.open_corpus(task.corpus, home).label_names(task.label_set)


def test_tasks_are_found_by_their_names() -> None:
    assert all(TASKS[name].name == name for name in TASKS)
    families = (
        PAPER_TASKS,
        SAMPLE_TASKS,
        LABORATORY_TASKS,
        SINGLE_LEAD_TASKS,
        HEAD_TASKS,
        ECGFOUNDER_TASKS,
        BEAT_TASKS,
        ROBUSTNESS_TASKS,
    )
    assert len(TASKS) == sum(map(len, families))
    assert all(task.domain in DOMAINS for task in TASKS.values())


@pytest.mark.parametrize("name", ["cinc2017-rhythm", "cinc2017-rhythm@ecgfounder", "cinc2017-rhythm-head@ecgfounder"])
@pytest.mark.parametrize(
    "architecture", [ResNet(3, 4), Net1D((16,), (1,)), Transformer(1, 4, 1, 8)], ids=lambda one: one.kind
)
def test_who_reads_twelve_leads_is_not_asked_about_one(architecture: Architecture, name: str) -> None:
    run = Run(architecture, Supervised(), Slice("code", label_set="code6"))
    assert why_not(TASKS[name], run) == f"cinc2017 has not the twelve leads that this {architecture.kind} reads"
    assert not measurable([name], run)


def test_who_reads_one_lead_or_any_is_asked_about_one() -> None:
    one = Run(Net1D((16,), (1,), leads=1), Supervised(), Slice("code", label_set="code6"))
    names = ["cinc2017-rhythm", "cinc2017-rhythm-head", "ptbxl-diag"]
    assert [task.name for task in measurable(names, one)] == names
    vit = Run(ViT(1, 16, 2), DINO(), Slice("code"))
    assert [task.name for task in measurable(names, vit)] == ["cinc2017-rhythm", "ptbxl-diag"]
