"""Heads scored on chosen labels: the columns of those labels and no others, however many more were trained."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_auroc

from ecgscale import data, records, trial
from ecgscale.attempt import Place
from ecgscale.data.batches import Store
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import Supervised
from ecgscale.probing.heads import columns, head_scores
from ecgscale.spec.finetune import TUNINGS, from_scratch, tuned
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep, load
from ecgscale.spec.tasks import TASKS
from ecgscale.training import kept_weights
from tests import layouts


def binary_losses(logits: torch.Tensor, y: torch.Tensor, gamma: float) -> torch.Tensor:
    """Focal cross-entropy of every label by its definition, probability by probability."""
    p = torch.sigmoid(logits.double()).where(y == 1, 1 - torch.sigmoid(logits.double()))
    return -((1 - p) ** gamma) * p.log()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_a_head_is_scored_on_the_columns_of_the_chosen_labels(gamma: float, home: Path) -> None:
    corpus = data.open_corpus("ptbxl-sample", home)
    stores = {split: Store(corpus, corpus.rows(split)[:150], "code6") for split in ("val", "test")}
    objective, chosen = Supervised(focal_gamma=gamma), [4, 1]
    torch.manual_seed(0)
    module = objective.build(ResNet(3, 6).build(), 6).eval()
    found = {(s.split, s.metric): s for s in head_scores(module, objective, {"two": chosen}, stores)}
    test = stores["test"]
    with torch.no_grad():
        logits = module.head(module.backbone(test.batch(np.arange(150))).pooled)[:, chosen]
    y = test.labels[:, chosen]
    assert found["test", "loss"].value == pytest.approx(float(binary_losses(logits, y, gamma).mean()), rel=1e-5)
    if not gamma:
        assert found["test", "loss"].value == pytest.approx(float(F.binary_cross_entropy_with_logits(logits, y)))
    both = [c for c in range(2) if 0 < y[:, c].sum() < 150]
    assert found["test", "auroc"].n_classes == len(both) > 0
    aurocs = [float(binary_auroc(logits[:, c], y[:, c].int())) for c in both]
    assert found["test", "auroc"].value == pytest.approx(np.mean(aurocs), abs=1e-6)
    assert 0 < found["test", "f1"].value <= 1
    assert set(found) == {("val", "loss"), ("test", "loss"), ("test", "auroc"), ("test", "f1")}


def test_the_loss_on_all_labels_is_the_runs_own(home: Path) -> None:
    from ecgscale.training.train import id_loss

    corpus = data.open_corpus("ptbxl-sample", home)
    store = Store(corpus, corpus.rows("test"), "code6")
    module = Supervised().build(ResNet(3, 6).build(), 6)
    (loss, *_) = head_scores(module, Supervised(), {"all": list(range(6))}, {"test": store, "val": store})
    assert loss.value == pytest.approx(id_loss(module, store)[0], rel=1e-5)


def test_recordings_without_a_known_label_are_left_out(home: Path) -> None:
    corpus = data.open_corpus("ptbxl-sample", home)
    every, known = corpus.rows("train"), corpus.rows("train", label_set="superdiagnostic")
    assert 0 < len(known) < len(every)
    left_out = np.setdiff1d(every, known)
    assert np.isnan(corpus.targets("superdiagnostic", left_out)).all()
    small = corpus.rows("train", 0.1, "superdiagnostic")
    assert set(small) == set(corpus.rows("train", 0.1)) & set(known)


def test_label_scaling_has_the_studys_label_sets_and_scores_all_on_the_same() -> None:
    sweep = load("label_scaling")
    assert sweep.label_sets == ("icd10/dominant", "icd10/tail")
    supervised = [run for run in sweep.runs if run.objective.paradigm == "sl"]
    assert all(run.objective == Supervised(focal_gamma=2.0) for run in supervised)
    assert {run.schedule.steps for run in sweep.runs} == {62_500}
    assert {round((run.schedule.warmup or 0) * run.schedule.steps) for run in sweep.runs} == {1250}
    from ecgscale.data.readers import DATASETS

    known = DATASETS["mimic-icd10"].card.n_labels
    sizes = sorted({known[run.slice.label_set] for run in supervised})
    assert sizes == [9, 93, 278, 464, 927]
    draws = {run.slice.label_set for run in supervised if known[run.slice.label_set] == 278}
    assert len(draws) == 6
    assert {run.configuration for run in sweep.runs} == {
        "resnet-sl",
        "transformer-sl",
        "resnet-ssl",
        "transformer-ssl",
    }


@pytest.mark.parametrize(("name", "n_tasks"), [("fewshot", 6), ("finetune", 10)])
def test_tuned_runs_have_twins_from_random_weights_and_initial_runs_in_the_grid(name: str, n_tasks: int) -> None:
    sweep, grid = load(name), set(load("code_grid").runs)
    assert load("code_grid").keep == "all"
    tuned_runs = [run for run in sweep.runs if run.initial is not None]
    assert {run.initial for run in tuned_runs} <= grid
    assert {from_scratch(run) for run in tuned_runs} == {run for run in sweep.runs if run.initial is None}
    assert len({(run.slice.corpus, run.slice.label_set) for run in sweep.runs}) == n_tasks
    assert all(run.schedule.lr == TUNINGS[run.architecture.kind].lr for run in sweep.runs)


@pytest.mark.slow
def test_labels_scale_on_a_miniature_of_mimic(tmp_path: Path) -> None:
    """The layout's writer, prepared, trained on ever more labels: the fixed sets are measured wherever they can be."""
    torch.set_num_threads(1)
    layouts.mimic_files(tmp_path / "raw", n=40)
    corpus = data.prepare("mimic-icd10", tmp_path / "raw", tmp_path / "home", workers=1, allow_missing=True)
    assert columns(corpus, "icd10", "icd10/dominant") == [0]
    assert columns(corpus, "icd10/dominant", "icd10/tail") == []
    assert columns(corpus, "icd10", "sex") == []
    sets = ("icd10/dominant", "icd10/dominant-30.0", "icd10/tail", "icd10")
    runs = tuple(
        Run(
            ResNet(3, 4),
            Supervised(focal_gamma=2.0),
            Slice("mimic-icd10", 1.0, labels),
            Schedule(steps=2, batch_size=8, lr=1e-2),
            Evaluation(every=2),
        )
        for labels in sets
    )
    sweep = Sweep("labels", runs, (), label_sets=("icd10/dominant", "icd10/tail"))
    found = {}
    for run in runs:
        assert trial.trial(run, sweep, Place(tmp_path / "home", tmp_path)) == "done"
        rows = records.read(records.path_of(tmp_path, "labels", run.run_id)).rows
        inside = rows[(rows["split"] == "test") & (rows["metric"] == "loss") & (rows["step"] == 2)]
        found[run.slice.label_set] = set(inside["target"])
        assert set(rows["n_labels"]) == {len(corpus.label_names(run.slice.label_set))}
    dominant, tail = "mimic-icd10:icd10/dominant", "mimic-icd10:icd10/tail"
    assert found["icd10/dominant"] == {"mimic-icd10", dominant}
    assert found["icd10/dominant-30.0"] >= {"mimic-icd10", dominant}
    assert found["icd10/tail"] == {"mimic-icd10", tail}
    assert found["icd10"] == {"mimic-icd10", dominant, tail}


@pytest.mark.slow
def test_a_pretrained_backbone_is_tuned_on_another_corpus_from_end_to_end(home: Path, tmp_path: Path) -> None:
    """Pretrain on PTB-XL's sample, fine-tune on LUDB and train its twin from random weights: rows with all metrics."""
    torch.set_num_threads(1)
    evaluation = Evaluation(every=5, probe_epochs=2)
    first = Run(
        ResNet(3, 6),
        Supervised(),
        Slice("ptbxl-sample", 0.2, "code6"),
        Schedule(steps=10, batch_size=16, lr=1e-2),
        evaluation,
    )
    schedule = Schedule(steps=10, batch_size=16, patience_epochs=99.0)
    second = tuned(first, TASKS["ludb-rhythm"], schedule, evaluation, fraction=0.5)
    assert second.schedule.lr == 1e-3
    sweep = Sweep("tune", (first, second, from_scratch(second)), (), label_sets=("rhythm",), keep="best")
    for run in sweep.runs:
        assert trial.trial(run, sweep, Place(home, tmp_path)) == "done"
    assert kept_weights.is_ready(second, home)
    rows = records.load(tmp_path, ["tune"]).rows
    scored = rows[rows["metric"].isin(["auroc", "f1"])]
    assert set(scored["run_id"]) == {second.run_id, from_scratch(second).run_id}
    assert set(scored["metric"]) == {"auroc", "f1"}
    assert set(scored["target"]) == {"ludb-sample"}
    assert not rows.duplicated(["run_id", "step", "target", "split", "metric"]).any()
    losses = rows[(rows["target"] == rows["corpus"]) & (rows["metric"] == "loss")]
    for run in sweep.runs:  # what figures of overfitting need: training and validation loss at every evaluation
        mine = losses[losses["run_id"] == run.run_id]
        assert set(mine.loc[mine["split"] == "train", "step"]) == {5, 10}
        assert set(mine.loc[mine["split"] == "val", "step"]) == {0, 5, 10}
    at_start = losses[(losses["step"] == 0) & (losses["split"] == "test")].set_index("run_id")["value"]
    assert at_start[second.run_id] != at_start[from_scratch(second).run_id]


def test_an_architecture_without_a_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Run(ResNet(3, 6), Supervised(), Slice("ptbxl-sample", 0.2, "code6"))
    monkeypatch.delitem(TUNINGS, "resnet")
    with pytest.raises(ValueError, match="how a resnet is fine-tuned; there are transformer"):
        tuned(first, TASKS["ludb-rhythm"], replace(first.schedule), first.evaluation)
