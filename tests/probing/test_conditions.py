"""Conditions change the test recordings and nothing else: power of noise, leads that are left, the probe that stays."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import Batch, Store
from ecgscale.data.corpus import Slice
from ecgscale.data.noise import KINDS
from ecgscale.data.recording import ABSENT_LEAD, lead_ids
from ecgscale.models import ResNet, ViT
from ecgscale.objectives import DINO, Supervised
from ecgscale.probing.conditions import change_of, fewer_leads
from ecgscale.probing.probe import Score, probe
from ecgscale.spec.run import Evaluation, Run
from ecgscale.spec.tasks import LEAD_SUBSETS, ROBUSTNESS_TASKS, SNR_DB, TASKS, measurable, robustness, why_not

BASE = "ptbxl-superdiagnostic"
SETTINGS = Evaluation(probe_epochs=3, probe_records=300, standardise=True, convex=True)


@pytest.fixture(scope="module")
def batch(home: Path) -> Batch:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("test")).batch(np.arange(6))


def test_families_are_complete() -> None:
    assert len(robustness(BASE)) == len(KINDS) * len(SNR_DB) + len(LEAD_SUBSETS)
    assert {TASKS[name].clean for name in robustness(BASE)} == {TASKS[BASE]}
    assert all(task.clean == TASKS[task.clean.name] for task in ROBUSTNESS_TASKS)
    assert TASKS[f"{BASE}+em-6dB"].snr_db == -6
    assert TASKS[f"{BASE}+1lead"].leads == ("I",)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_its_power_and_is_the_same_every_time(batch: Batch, kind: str) -> None:
    change = change_of(TASKS[f"{BASE}+{kind}6dB"], 100, any_leads=False)
    added = change(batch, 0).signal - batch.signal
    ratio = batch.signal.var(-1, correction=0) / added.var(-1, correction=0)
    torch.testing.assert_close(10 * ratio.log10(), torch.full(ratio.shape, 6.0), rtol=0, atol=0.01)
    assert torch.equal(change(batch, 0).signal - batch.signal, added)
    assert not torch.equal(change(batch, 256).signal - batch.signal, added)


def test_noise_is_refused_at_another_rate() -> None:
    with pytest.raises(ValueError, match="noise is at 100 Hz, corpus ptbxl-sample at 500 Hz"):
        change_of(TASKS[f"{BASE}+em6dB"], 500, any_leads=False)


def test_leads_are_absent_or_zero(batch: Batch) -> None:
    three = torch.from_numpy(lead_ids(("I", "II", "V2")))
    left = fewer_leads(batch, three, any_leads=True)
    assert left.leads.tolist() == [[1, 2, 8]] * 6
    assert torch.equal(left.signal, batch.signal[:, [0, 1, 7]])
    zeroed = fewer_leads(batch, three, any_leads=False)
    assert torch.equal(zeroed.signal[:, [0, 1, 7]], left.signal)
    assert zeroed.signal.abs().sum((0, 2)).count_nonzero() == 3


def test_rows_of_other_leads_become_absent(batch: Batch) -> None:
    mixed = batch._replace(leads=batch.leads.repeat(6, 1)[:6].clone())
    mixed.leads[3, :2] = ABSENT_LEAD
    with pytest.raises(ValueError, match="none of the leads"):
        fewer_leads(mixed, torch.tensor([1, 2]), any_leads=True)
    left = fewer_leads(mixed, torch.tensor([1, 2, 8]), any_leads=True)
    assert left.leads.tolist() == [[1, 2, 8]] * 3 + [[0, 0, 8]] + [[1, 2, 8]] * 2
    assert not left.signal[3, :2].any()


@pytest.mark.parametrize("architecture", [ResNet(3, 4), ViT(1, 16, 2, patch=100, layer_scale=0.5)], ids=["12", "any"])
def test_a_condition_shares_the_clean_probe(architecture: ResNet | ViT, home: Path) -> None:
    corpora = {"ptbxl-sample": data.open_corpus("ptbxl-sample", home)}
    torch.manual_seed(0)
    backbone, seen = architecture.build(), 0
    encode = backbone.encode

    def counting(*inputs: torch.Tensor) -> object:
        nonlocal seen
        seen += len(inputs[0])
        return encode(*inputs)

    backbone.encode = counting  # type: ignore[assignment,method-assign]
    names = (BASE, f"{BASE}+bw24dB", f"{BASE}+em-6dB", f"{BASE}+1lead")

    def scored(*names: str) -> dict[tuple[str, str, str], Score]:
        found = probe(backbone, [TASKS[name] for name in names], corpora, SETTINGS, seed=0)
        return {(s.task.name, s.split, s.metric): s for s in found}

    alone = scored(BASE)
    clean, seen = seen, 0
    together = scored(*names)
    assert seen == clean + 3 * len(corpora["ptbxl-sample"].rows("test"))
    assert {k: s.value for k, s in together.items() if k[0] == BASE} == {k: s.value for k, s in alone.items()}
    assert {name for name, _, _ in together} == set(names)
    for name in names[1:]:
        assert together[name, "val", "loss"].value == alone[BASE, "val", "loss"].value
        # The convex probe's: the other one may have found nothing that is better than prevalence.
        assert together[name, "test", "convex_loss"].value != alone[BASE, "test", "convex_loss"].value
    assert abs(together[names[1], "test", "auroc"].value - alone[BASE, "test", "auroc"].value) < 0.05
    only = scored(names[2])  # the clean task need not be asked for, nor the others
    assert only[names[2], "test", "loss"].value == together[names[2], "test", "loss"].value
    assert {name for name, _, _ in only} == {names[2]}


def test_beats_are_for_backbones_that_place_their_features() -> None:
    beats, part = TASKS["mitbih-beats"], Slice("ptbxl-sample", 1.0, "code6")
    vit, resnet = Run(ViT(1, 16, 2), DINO(), part), Run(ResNet(3, 4), Supervised(), part)
    assert why_not(beats, vit) == ""
    assert "of a resnet are not placed in time" in why_not(beats, resnet)
    assert "a dino run has no head" in why_not(TASKS["code-test-head"], vit)
    asked = ("mitbih-beats", BASE, "code-test-head")
    assert [task.name for task in measurable(asked, resnet)] == [BASE, "code-test-head"]
