"""A training step keeps a GPU at work: nothing in it waits for a result, and nothing mixes devices."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data import batches, beats
from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Batch, Store
from ecgscale.models import native, transformer
from ecgscale.objectives import ObjectiveInputs
from ecgscale.probing import probe as probing
from ecgscale.probing.convex import fit_convex
from ecgscale.probing.probe import fit_linear
from ecgscale.spec.run import Evaluation
from ecgscale.training.step import Execution, compute_gradients, optimiser_of, optimiser_step, randomness
from ecgscale.training.train import train_codebook
from tests.pretended import pretended_cuda
from tests.small import CODEBOOK, MADE, SMALL

CASES = [("resnet", "supervised", 0), ("resnet", "cmsc", 0), ("resnet", "cmsc-clocs", 0), ("net1d", "supervised", 0)]
CASES += [
    ("transformer", "supervised", 0),
    ("transformer", "focal", 0),
    ("transformer", "masked", 0),
    ("vit", "dino", 4),
]


@pytest.mark.parametrize(("architecture", "objective", "most"), CASES)
def test_a_step_waits_for_nothing(architecture: str, objective: str, most: int, home: Path) -> None:
    """The second step, batch, update and the end of the step included; of two micro-batches too."""
    corpus, made = data.open_corpus("ptbxl-sample", home), MADE[objective]
    words = np.zeros((len(corpus.split), CODEBOOK.n_tokens), np.int16) if objective == "masked" else None
    torch.manual_seed(0)
    module = made.build(SMALL[architecture].build(), 6, ObjectiveInputs())
    for kept in (transformer._rows, native._low_pass, beats._inside):
        kept.cache_clear()  # what another pretence left there
    with pretended_cuda() as told:
        rows = corpus.rows("train")[:32]
        store = Store(corpus, rows, "code6", "cuda", Allowance(1e9), words=words)
        assert store.is_resident
        module.to("cuda").train()
        optimiser = optimiser_of(module.groups(), made.optimiser)
        for micro_batch in (None, 6) if made.cuts_batches else (None,):
            for step in range(2):
                told.forget()
                module.begin(step, 10)
                batch = store.batch(store.positions(12, 0, step))
                loss = compute_gradients(module, batch, randomness(0, step), Execution(micro_batch=micro_batch))
                optimiser_step(optimiser, 1e-3, None)  # torch's clipping, which waits for nothing, sees the pretence
                module.end()
            assert all(told.there(tensor) for tensor in Batch(*batch))
            assert told.there(loss) or objective == "dino"
            assert sum(told.waits.values()) <= most, dict(told.waits)
            assert not told.mixed


def test_a_step_of_a_codebook_waits_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For how many words a batch has, behind the first step, in which codes are started."""
    monkeypatch.setattr(batches, "allowance_beside", lambda device: Allowance(1e9))
    corpus, recipe = data.open_corpus("ptbxl-sample", home), replace(CODEBOOK, steps=4, batch_size=12)
    for kept in (transformer._rows, beats._inside):
        kept.cache_clear()
    with pretended_cuda() as told:
        waits = []
        for snapshot in train_codebook(recipe, corpus, "cuda"):
            waits.append(sum(told.waits.values()))
            assert told.there(snapshot.error)
            told.forget()
        assert waits[1:] == [1, 1, 1]
        assert not told.mixed


def test_a_probe_is_fitted_on_a_gpu_without_waits_and_is_what_a_cpu_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 6, generator=draw), (torch.rand(200, 3, generator=draw) > 0.7).float()
    train = torch.arange(200) < 128
    settings = Evaluation(probe_epochs=2, probe_batch_size=16)
    here = fit_linear(x, y, train, ~train, settings, np.random.default_rng(0))
    convex = fit_convex(x, y, train, ~train)
    with pretended_cuda() as told:
        waits: list[int] = []
        monkeypatch.setattr(probing, "check_pause", lambda: waits.append(sum(told.waits.values())))
        x, y, train, val = (told.put(tensor.clone()) for tensor in (x, y, train, ~train))
        there = fit_linear(x, y, train, val, settings, np.random.default_rng(0))
        assert told.there(there)
        for epoch in (waits[:8], waits[8:]):
            assert len(set(epoch)) == 1  # nothing is waited for between the steps of an epoch
        also = fit_convex(x, y, train, val)
        assert told.there(also)
        assert not told.mixed
    assert torch.equal(here, there)
    assert torch.equal(convex, also)


def test_what_makes_a_gpu_wait_is_caught() -> None:
    with pretended_cuda() as told:
        x = torch.arange(4.0).to("cuda", non_blocking=True)
        assert not told.waits
        faults = {
            "item": lambda: x.sum().item(),
            "bool": lambda: bool(x[0] > 0),
            "mask": lambda: x[x > 1],
            "nonzero": lambda: (x > 1).nonzero(),
            "repeat": lambda: x.repeat_interleave((x > 1).int()),
            "to the GPU": lambda: torch.ones(3).to("cuda"),
            "from the GPU": lambda: x.cpu(),
            "made of a list": lambda: torch.tensor([1, 2], device="cuda"),
        }
        for name, fault in faults.items():
            told.forget()
            fault()
            assert sum(told.waits.values()) == 1, name
        told.forget()
        _ = x + torch.ones(4)
        assert told.mixed
        assert not told.waits
