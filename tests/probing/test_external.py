"""A head is asked about the labels that it shares with another corpus, each under its own name."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from ecgscale import data
from ecgscale.data.batches import Store
from ecgscale.data.concepts import CONCEPTS, VOCABULARIES, matched, vocabulary
from ecgscale.data.corpus import Slice
from ecgscale.data.readers import cart, chapman, cinc2017, code, ludb, mitbih
from ecgscale.data.recording import LEADS
from ecgscale.models import Net1D, ResNet, ViT
from ecgscale.objectives import Supervised
from ecgscale.pricing.obstacles import checked
from ecgscale.probing.external import external_scores, pairs
from ecgscale.probing.measure import Measurement
from ecgscale.probing.scores import label_aurocs
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import TASKS, Task
from ecgscale.training.train import build, pretrain
from tests import layouts
from tests.paths import FIXTURES

LUDB = TASKS["ludb-rhythm-head"]


def test_every_name_of_the_table_is_one_of_its_dataset() -> None:
    known = {
        "code": set(code.LABELS),
        "chapman": set(chapman.RHYTHMS),
        "ludb": set(ludb.RHYTHMS),
        "cinc2017": set(cinc2017.RHYTHMS.values()),
        "mitbih": set(mitbih.RHYTHMS),
        "cart": set(cart.FINDINGS),
        "cpsc": set(data.readers.challenge.CPSC),
        "challenge": set(data.readers.challenge.SCORED),
    }
    statements = FIXTURES / "scp_statements.csv"
    known["scp"] = {line.partition(",")[0] for line in statements.read_text().splitlines()}
    for concept, said in CONCEPTS.items():
        for vocabulary_name, name in said.items():
            assert name in known[vocabulary_name], f"{concept}: {name} is not a label of {vocabulary_name}"
    assert set(known) < set(VOCABULARIES.values())


def test_labels_match_by_meaning() -> None:
    assert vocabulary("ptbxl@ecgfounder", "rhythm") == vocabulary("ptbxl", "diagnostic") == "scp"
    assert vocabulary("ludb-sample", "rhythm") == "ludb"
    assert vocabulary("mimic", "sex") == "mimic:sex"
    asked = ("AF", "AFIB", "ST")  # of Chapman: flutter, fibrillation, tachycardia
    assert matched(code.LABELS, "code", asked, "chapman") == [
        (code.LABELS.index("AF"), 1),
        (code.LABELS.index("ST"), 2),
    ]
    assert matched(("a", "b"), "mine", ("b", "c"), "mine") == [(1, 0)]
    assert matched(("a",), "mine", ("a",), "yours") == []


@pytest.mark.parametrize("architecture", [ResNet(3, 4), Net1D((16,), (1,), leads=1, stem=16)], ids=["12", "1"])
def test_a_head_is_scored_on_what_it_shares(architecture: ResNet | Net1D, home: Path) -> None:
    run = Run(architecture, Supervised(), Slice("ptbxl-sample", 1.0, "code6"))
    trained, asked = (data.open_corpus(name, home) for name in ("ptbxl-sample", "ludb-sample"))
    module = build(run, trained)
    scored = list(external_scores(module, trained, "code6", [LUDB], {"ludb-sample": asked}))
    by_key = {(s.target, s.metric): s for s in scored}
    assert {target for target, _ in by_key} == {
        "ludb-rhythm-head",
        *(f"ludb-rhythm-head/{name}" for name in ("sinus bradycardia", "sinus tachycardia", "atrial fibrillation")),
    }
    mean = by_key["ludb-rhythm-head", "auroc"]
    assert (mean.n_evaluated, mean.n_classes) == (len(asked.rows("test")), 3)
    each = [s.value for (target, metric), s in by_key.items() if "/" in target and metric == "auroc"]
    assert mean.value == pytest.approx(sum(each) / 3)
    assert by_key["ludb-rhythm-head", "auroc_low"].value <= mean.value <= by_key["ludb-rhythm-head", "auroc_high"].value
    assert not list(external_scores(module, trained, "sex", [LUDB], {"ludb-sample": asked}))


def test_findings_of_two_corpora_of_ones_own_match_by_name(home: Path) -> None:
    sample = data.open_corpus("ludb-sample", home)
    own = [replace(sample, manifest=replace(sample.manifest, name=name, reader={"reader": "table"})) for name in "ab"]
    task = Task("b-head", "b", "rhythm", "A", by="head")
    n_labels = len(sample.label_names("rhythm"))
    assert pairs(own[0], "rhythm", task, own[1]) == [(i, i) for i in range(n_labels)]
    assert not pairs(sample, "rhythm", task, own[1])  # a public one's names are its own


def test_a_sweep_measures_heads(home: Path) -> None:
    run = Run(ResNet(3, 4), Supervised(), Slice("ptbxl-sample", 0.1, "code6"), Schedule(steps=1, batch_size=4))
    sweep = Sweep("heads", (run,), ("ludb-rhythm-head",))
    assert "ludb-sample" in checked(sweep, home)
    corpus = data.open_corpus("ptbxl-sample", home)
    rows = Measurement(run, sweep, corpus, home, "cpu").rows(next(pretrain(run, corpus)))
    found = [row for row in rows if row["target"] == "ludb-rhythm-head"]
    assert {row["metric"] for row in found} == {"auroc", "auroc_low", "auroc_high"}
    assert {(row["domain"], row["split"]) for row in found} == {("OOD", "test")}
    assert label_aurocs(torch.zeros(0, 2), torch.zeros(0, 2)).value.shape == (2,)


def test_one_lead_trained_on_codes_labels_is_asked_about_a_hand_held_device(tmp_path: Path) -> None:
    """From raw folders to rows: Net1D on lead I of CODE, its head and a probe on the challenge of 2017."""
    layouts.code(tmp_path / "code", n=24)
    layouts.cinc2017(tmp_path / "cinc2017", n=48)
    for name in ("code", "cinc2017"):
        data.prepare(name, tmp_path / name, tmp_path / "home", workers=1, recipe="ecgfounder")
    part = Slice("code@ecgfounder", label_set="code6")
    schedule = Schedule(steps=4, batch_size=8, lr=3e-3)
    evaluation = Evaluation(every=4, probe_epochs=3)
    run = Run(Net1D((16, 32), (1, 1), leads=1, stem=16), Supervised(), part, schedule, evaluation)
    twelve = replace(run, architecture=Net1D((16, 32), (1, 1), stem=16))
    tasks = ("cinc2017-rhythm-head@ecgfounder", "cinc2017-rhythm@ecgfounder")
    sweep = Sweep("hand-held", (run, twelve), tasks)
    assert set(checked(sweep, tmp_path / "home")) == {"code@ecgfounder", "cinc2017@ecgfounder"}
    corpus, asked = (data.open_corpus(name, tmp_path / "home") for name in ("code@ecgfounder", "cinc2017@ecgfounder"))

    *_, last = pretrain(run, corpus)
    assert last.step == 4
    rows = Measurement(run, sweep, corpus, tmp_path / "home", "cpu").rows(last)
    found = {(row["target"], row["metric"]): row for row in rows if row["target"].startswith("cinc2017")}
    head, label = "cinc2017-rhythm-head@ecgfounder", "cinc2017-rhythm-head@ecgfounder/atrial fibrillation"
    assert {target for target, _ in found} == {head, label, "cinc2017-rhythm@ecgfounder"}
    assert found["cinc2017-rhythm@ecgfounder", "auroc"]["n_classes_scored"] == 4
    low, value, high = (found[label, metric]["value"] for metric in ("auroc_low", "auroc", "auroc_high"))
    assert 0 <= low <= value <= high <= 1
    assert low < high
    assert found[head, "auroc"]["value"] == value  # the only label that both know

    # The same by hand: the head's logit for AF on the first lead of the test recordings, ranked.
    tested = asked.rows("test")
    module = last.module.eval()
    batch = Store(asked, tested, any_leads=True).batch(np.arange(len(tested)))
    assert batch.signal.shape[1] == 1
    with torch.no_grad():
        logits = cast(nn.Linear, module.head)(module.backbone(batch).pooled)
    af, truth = logits[:, code.LABELS.index("AF")], asked.targets("rhythm", tested)[:, 1] == 1
    assert found[label, "auroc"]["n_evaluated"] == len(tested)
    assert 0 < truth.sum() < len(tested)
    ahead = (af[truth][:, None] > af[~truth]).float() + 0.5 * (af[truth][:, None] == af[~truth])
    assert value == pytest.approx(float(ahead.mean()))

    # A ViT reads the lead as lead I. One that reads twelve leads is measured on CODE and not asked.
    assert batch.leads.tolist() == [[LEADS.index("I") + 1]] * len(tested)
    vit = replace(run, architecture=ViT(1, 16, 2, patch=100))
    for other, targets in ((vit, {head, label, "cinc2017-rhythm@ecgfounder"}), (twelve, set())):
        rows = Measurement(other, sweep, corpus, tmp_path / "home", "cpu").rows(next(pretrain(other, corpus)))
        assert {row["target"] for row in rows if row["target"].startswith("cinc2017")} == targets


@pytest.mark.slow
def test_the_150_most_frequent_statements_train_a_head_with_a_long_tail(tmp_path: Path) -> None:
    """170 statements, the k-th in about n / k recordings: most have no positive where they are scored."""
    raw, n = tmp_path / "heedb", 60
    layouts.heedb(raw, n)
    said = [f"de_{i:05d}|" + ",".join(f"{k}" for k in range(1, 171) if (i + 7 * k) % min(k, n) == 0) for i in range(n)]
    (raw / "Metadata" / "ECG_Interpretations.psv").write_text("file_source|diagnostic_codes\n" + "\n".join(said) + "\n")
    data.prepare("heedb", raw, tmp_path / "home", workers=1, recipe="ecgfounder")
    corpus = data.open_corpus("heedb@ecgfounder", tmp_path / "home")
    names = corpus.label_names("12sl")
    assert len(names) == 150
    assert names[:3] == ("1", "2", "3")

    schedule = Schedule(steps=3, batch_size=8, lr=1e-3)
    part = Slice("heedb@ecgfounder", label_set="12sl")
    run = Run(Net1D((16, 32), (1, 1), stem=16), Supervised(), part, schedule, Evaluation(every=3, probe_epochs=2))
    sweep = Sweep("tail", (run,), ("heedb-12sl-head@ecgfounder",), label_sets=("12sl",))
    *_, last = pretrain(run, corpus)
    rows = Measurement(run, sweep, corpus, tmp_path / "home", "cpu").rows(last)
    assert all(np.isfinite(row["value"]) for row in rows)
    truth = corpus.targets("12sl", corpus.rows("test"))
    both = [name for name, y in zip(names, truth.T, strict=True) if 0 < y.sum() < len(y)]
    assert 3 < len(both) < 100
    head = "heedb-12sl-head@ecgfounder"
    each = {row["target"].partition("/")[2]: row for row in rows if "/" in row["target"] and row["metric"] == "auroc"}
    assert set(each) == set(both)
    (mean,) = [row for row in rows if (row["target"], row["metric"]) == (head, "auroc")]
    assert mean["n_classes_scored"] == len(both)
    assert mean["value"] == pytest.approx(np.mean([row["value"] for row in each.values()]))


def test_a_recording_of_one_lead_trains_who_reads_one(tmp_path: Path) -> None:
    part = Slice("cinc2017", label_set="rhythm")
    assert checked(Sweep("one", (Run(Net1D(leads=1), Supervised(), part),), ()), tmp_path)["cinc2017"].n_leads == 1
    with pytest.raises(ValueError, match="cinc2017 has not twelve leads, and a net1d reads no others"):
        checked(Sweep("twelve", (Run(Net1D(), Supervised(), part),), ()), tmp_path)
