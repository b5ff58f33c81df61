"""Tasks against the tables of the scaling study, and against what their datasets really have."""

from dataclasses import replace
from pathlib import Path

import pytest

from ecgscale import data
from ecgscale.data.corpus import Slice
from ecgscale.data.readers import DATASETS
from ecgscale.models import Architecture, Net1D, ResNet, Transformer, ViT
from ecgscale.objectives import DINO, Supervised
from ecgscale.pricing.obstacles import checked
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
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
    noisy,
    own_tasks,
    task_facts,
    why_not,
    with_fewer_leads,
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


OWN = Task("sex-of-ours", "ptbxl-sample", "sex", "D")
RUN = Run(ResNet(3, 4), Supervised(), Slice("ptbxl-sample", 0.5, "code6"))


def test_a_sweep_holds_tasks_of_its_own_beside_shipped_ones(home: Path) -> None:
    sweep = Sweep("mine", (RUN,), ("ludb-rhythm", OWN))
    assert [task.name for task in measurable(sweep.tasks, RUN)] == ["ludb-rhythm", "sex-of-ours"] == [*sweep.task_names]
    assert sweep.task("sex-of-ours") is OWN
    assert sweep.task("ptbxl-sex") is TASKS["ptbxl-sex"]
    assert set(checked(sweep, home)) == {"ptbxl-sample", "ludb-sample"}
    assert own_tasks(task_facts(sweep.tasks)["own_tasks"]) == {"sex-of-ours": OWN}
    assert task_facts(["ludb-rhythm", TASKS["ptbxl-sex"]]) == {}
    with pytest.raises(ValueError, match="there is no task 'sex-of-our'; did you mean 'sex-of-ours'"):
        sweep.task("sex-of-our")


def test_own_tasks_under_conditions_share_the_probe_of_the_clean_one() -> None:
    hard = (*noisy(OWN), *with_fewer_leads(OWN))
    assert {task.clean for task in hard} == {OWN}
    Sweep("mine", (RUN,), (OWN, *hard))
    assert own_tasks(task_facts(hard)["own_tasks"]) == {task.name: task for task in hard}


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (replace(OWN, name="ptbxl-sex", label_set="rhythm"), "its own task 'ptbxl-sex' is called like a shipped one"),
        (replace(OWN, name="ptbxl-sample"), "'ptbxl-sample' is called like a corpus that its runs train on"),
        (replace(OWN, label_set="superdiagnostic"), "two different tasks are called 'sex-of-ours'"),
        (replace(OWN, domain="sex"), "task 'sex-of-ours': domain='sex'"),
        (replace(OWN, unit="beats"), "task 'sex-of-ours': unit='beats'; did you mean 'beat'"),
        (replace(OWN, noise="em"), "noise='em' needs a ratio, snr_db"),
        (replace(OWN, name="a/b"), "a name is not empty and without / and :"),
        (replace(OWN, name="a+b"), "NAME\\+CONDITION is what a task is called under a condition"),
        (7, "Sweep.tasks holds 7, expected a text or a Task"),
    ],
)
def test_a_task_of_ones_own_that_cannot_be_is_one_sentence(task: Task, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        Sweep("mine", (RUN,), (OWN, task))
    assert "\n" not in str(raised.value)


def test_what_a_task_of_ones_own_asks_for_has_to_be_there(home: Path) -> None:
    sweep = Sweep("mine", (RUN,), (replace(OWN, label_set="sexx"), replace(OWN, name="b", corpus="ptbxl-smple")))
    with pytest.raises(ValueError, match="corpus ptbxl-sample has no label set 'sexx'; did you mean 'sex'") as raised:
        checked(sweep, home)
    assert "there is no corpus 'ptbxl-smple'; did you mean 'ptbxl-sample'" in str(raised.value)


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
