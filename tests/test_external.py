"""A head is asked about the labels that it shares with another corpus, each under its own name."""

from pathlib import Path

import pytest
import torch

from ecgscale import data
from ecgscale.data.concepts import CONCEPTS, VOCABULARIES, matched, vocabulary
from ecgscale.data.corpus import Slice
from ecgscale.data.readers import chapman, code, ludb
from ecgscale.models import Net1D, ResNet
from ecgscale.objectives import Supervised
from ecgscale.pricing.plan import checked
from ecgscale.probing.external import external_scores
from ecgscale.probing.measure import Measurement
from ecgscale.probing.scores import label_aurocs
from ecgscale.spec import Run, Schedule
from ecgscale.sweep import Sweep
from ecgscale.tasks import TASKS
from ecgscale.training.train import build, pretrain

LUDB = TASKS["ludb-rhythm-head"]


def test_every_name_of_the_table_is_one_of_its_dataset() -> None:
    known = {
        "code": set(code.LABELS),
        "chapman": set(chapman.RHYTHMS),
        "ludb": set(ludb.RHYTHMS),
        "cpsc": set(data.readers.challenge.CPSC),
        "challenge": set(data.readers.challenge.SCORED),
    }
    statements = Path(__file__).parent / "data" / "scp_statements.csv"
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
