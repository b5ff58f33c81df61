"""A hybrid is the weighted sum of its two parts on one backbone."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from ecgscale import data, records
from ecgscale.attempt import Place
from ecgscale.compute import cost
from ecgscale.data.batches import Store
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet, ViT
from ecgscale.models.resnet import ResNetBackbone
from ecgscale.objectives import CMSC, CPC, DINO, JEPA, Hybrid, Objective, Supervised
from ecgscale.objectives.hybrid import HybridModule
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import kept_weights
from ecgscale.trial import trial

NET = ResNet(3, 6, dropout=0.0)
LABELLED = Slice("ptbxl-sample", label_set="code6")


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:64], "code6")


def built(description: Hybrid) -> HybridModule:
    torch.manual_seed(0)
    module = description.build(NET.build(), 6)
    assert isinstance(module, HybridModule)
    return module.eval()


@pytest.mark.parametrize("other", [CMSC(), CPC(windows=5, steps=2), CPC(windows=5, steps=2, negatives="batch")])
def test_the_loss_is_the_weighted_sum(other: Objective, store: Store) -> None:
    """Also its gradient, label by label that is known; and it counts one term a recording."""
    module, batch = built(Hybrid(other=other, weight=0.3)), store.batch(np.arange(8))
    labels = batch.labels.clone()
    labels[:3, 1] = torch.nan
    batch = batch._replace(labels=labels)
    weights = cast(ResNetBackbone, module.backbone).stem.weight
    loss = module(batch, torch.Generator().manual_seed(1))
    (slope,) = torch.autograd.grad(loss.mean, weights)
    logits = module.supervised.head(module.backbone(batch).pooled).double()
    terms = []
    for i in range(8):
        for k in range(6):
            if not torch.isnan(labels[i, k]):
                p = 1 / (1 + (-logits[i, k]).exp())
                terms.append(-(p if labels[i, k] == 1 else 1 - p).log())
    alone = module.other(batch, torch.Generator().manual_seed(1)).mean
    slow = 0.7 * sum(terms) / len(terms) + 0.3 * alone
    assert int(loss.n_terms) == 8
    assert float(loss.mean.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    torch.testing.assert_close(slope, torch.autograd.grad(slow, weights)[0], rtol=1e-4, atol=1e-6)


def test_weights_are_once_in_its_state_and_all_are_trained() -> None:
    module = built(Hybrid())
    places = [tensor.data_ptr() for tensor in module.state_dict().values() if tensor.numel() > 1]
    assert len(places) == len(set(places))
    trained = {id(p) for group in module.groups() for p in group.parameters}
    assert trained == {id(p) for p in module.parameters()}
    assert module.probed is module.backbone is module.supervised.backbone is module.other.backbone


def test_health_says_each_part(store: Store) -> None:
    module, batch = built(Hybrid(other=CPC(windows=5, steps=2))), store.batch(np.arange(8))
    found = module.health(batch)
    assert {"supervised_loss", "cpc_loss", "feature_rank"} <= found.keys()
    assert found["supervised_loss"] == pytest.approx(float(module.supervised(batch, torch.Generator()).mean.detach()))


def test_both_parts_are_counted() -> None:
    hybrid, supervised, contrast = (cost(NET, what, 6, 1000) for what in (Hybrid(), Supervised(), CMSC()))
    assert hybrid.macs_per_sample == supervised.macs_per_sample + contrast.macs_per_sample
    assert hybrid.n_params_head == supervised.n_params_head + contrast.n_params_head


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Hybrid(weight=1.0), "above 0 and below 1"),
        (lambda: Hybrid(CMSC()), "first part is Supervised"),  # type: ignore[arg-type]
        (lambda: Hybrid(other=Supervised()), "supervised is none"),
        (lambda: Hybrid(other=DINO()), "dino is none"),
        (lambda: Run(NET, Hybrid(), Slice("ptbxl-sample")), "hybrid needs labels"),
        (lambda: Run(ViT(1, 12, 1), Hybrid(other=JEPA()), LABELLED), "pooling='mean'"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_configuration_is_named_after_its_other_part() -> None:
    run = Run(NET, Hybrid(), LABELLED)
    assert (run.configuration, run.objective.paradigm) == ("resnet-hybrid-cmsc", "hybrid")
    assert Run(NET, Hybrid(other=CPC()), LABELLED).configuration == "resnet-hybrid-cpc"


def test_a_run_says_each_part_and_keeps_the_supervised_head(home: Path, tmp_path: Path) -> None:
    """Its rows have the sum, each part and the head's scores; what is kept is the backbone and that head."""
    schedule, evaluation = Schedule(steps=2, batch_size=8, lr=1e-3), Evaluation(every=2)
    part = Slice("ludb-sample", label_set="rhythm")
    run = Run(NET, Hybrid(other=CPC(windows=5, steps=2), weight=0.25), part, schedule, evaluation)
    sweep = Sweep("both", (run,), (), label_sets=("rhythm",), keep="best")
    assert trial(run, sweep, Place(home, tmp_path)) == "done"
    rows = records.read(records.path_of(tmp_path, "both", run.run_id)).rows
    assert set(rows["paradigm"]) == {"hybrid"}
    last = rows[(rows["step"] == 2) & (rows["split"] == "val")].set_index("metric")["value"]
    parts = 0.75 * last["supervised_loss"] + 0.25 * last["cpc_loss"]
    assert last["loss"] == pytest.approx(parts, rel=1e-5)  # of so few recordings all are examined
    assert "auroc" in set(rows["metric"])
    kept = kept_weights.load(run, home)
    assert kept.head.keys() == {"weight", "bias"}
    NET.build().load_state_dict(kept.backbone)
