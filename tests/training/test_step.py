"""How a step is computed changes its speed and memory, and nothing of what it computes."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgscale import data, records
from ecgscale.attempt import Place
from ecgscale.data.batches import Batch, Store
from ecgscale.models import Architecture, ResNet, Transformer
from ecgscale.models.cpu_conv import BatchNorm
from ecgscale.objectives import CMSC, Contrast, Loss, Optimiser, ParamGroup, Pretraining, Supervised
from ecgscale.spec.run import Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training.sharding import Processes
from ecgscale.training.step import (
    Execution,
    compute_gradients,
    execution,
    n_micro_batches,
    optimiser_of,
    optimiser_step,
    prepare_module,
    randomness,
)
from ecgscale.training.train import pretrain
from ecgscale.trial import trial

NETWORKS: dict[str, Architecture] = {
    "resnet": ResNet(4, 12),
    "transformer": Transformer(2, 16, 1, 32, n_tokens=64, leads="independent"),
}
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    corpus = data.open_corpus("ludb-sample", home)
    return Store(corpus, corpus.rows("train"), "rhythm")


def built(network: str, n_labels: int) -> Pretraining:
    torch.manual_seed(0)
    return Supervised().build(NETWORKS[network].build(), n_labels).train()


def after(module: Pretraining, batch: Batch, how: Execution, seed: int = 3) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss, gradients and buffers that a step leaves."""
    loss = float(compute_gradients(module, batch, randomness(seed, 0), how))
    slopes = {f"slope of {name}": p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}
    return loss, slopes | {name: buffer.clone() for name, buffer in module.named_buffers()}


def assert_same(first: tuple[float, dict[str, torch.Tensor]], second: tuple[float, dict[str, torch.Tensor]]) -> None:
    assert first[0] == pytest.approx(second[0], rel=1e-6)
    assert first[1].keys() == second[1].keys()
    for name, tensor in first[1].items():
        torch.testing.assert_close(tensor, second[1][name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("network", NETWORKS)
def test_recomputation_changes_nothing(network: str, store: Store) -> None:
    """Loss, gradients, and the statistics that BatchNorm keeps: with dropout, twice in a row."""
    batch = store.batch(np.arange(12))
    found = []
    for recompute in (False, True):
        module = built(network, store.labels.shape[1])
        names = list(module.state_dict())
        prepare_module(module, Execution(recompute=recompute))
        assert list(module.state_dict()) == names
        found.append([after(module, batch, Execution(), seed) for seed in (3, 4)])
    for plain, recomputed in zip(*found, strict=True):
        assert_same(recomputed, plain)


def test_recomputation_keeps_less(store: Store) -> None:
    """What the forward pass holds for the backward pass, in bytes of distinct tensors."""
    batch, held = store.batch(np.arange(12)), {}
    for recompute in (False, True):
        module = built("resnet", store.labels.shape[1])
        seen: dict[int, int] = {}
        prepare_module(module, Execution(recompute=recompute))

        def keep(tensor: torch.Tensor, seen: dict[int, int] = seen) -> torch.Tensor:
            seen[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            module(batch, randomness(0, 0))
        held[recompute] = sum(seen.values())
    assert held[True] < 0.5 * held[False]


@pytest.mark.parametrize("micro_batch", [1, 5, 12])
def test_a_contrast_of_micro_batches_compares_the_whole_batch(micro_batch: int, store: Store) -> None:
    """Against one graph that embeds the same micro-batches from the same seeds: BatchNorm and dropout at work."""
    batch = store.batch(np.arange(12))
    batch = batch._replace(patient=batch.patient // 2)
    torch.manual_seed(0)
    ours, reference = (CMSC().build(ResNet(3, 8).build(), 0).train() for _ in range(2))
    reference.load_state_dict(ours.state_dict())
    found = after(ours, batch, Execution(micro_batch=micro_batch))
    assert isinstance(reference, Contrast)
    n_parts, draw, embedded = -(-12 // micro_batch), randomness(3, 0), []
    for k, rows in enumerate(torch.arange(12).tensor_split(n_parts)):
        if n_parts > 1:  # a batch that is not cut goes on from the step's own seed
            torch.manual_seed(draw.initial_seed() + k)
        embedded.append(reference.embed(Batch(*(tensor[rows] for tensor in batch)), draw))
    loss = reference.contrast(torch.cat(embedded), batch.patient)
    assert int(loss.n_terms) == 24
    loss.mean.backward()
    expected = {f"slope of {name}": p.grad for name, p in reference.named_parameters() if p.grad is not None}
    assert_same(found, (float(loss.mean.detach()), expected | dict(reference.named_buffers())))


def test_a_contrast_of_micro_batches_is_not_that_of_each(store: Store) -> None:
    """More candidates, higher loss: ln(2 x 12 - 1), not ln(2 x 4 - 1)."""
    torch.manual_seed(0)
    module = CMSC(temperature=100.0).build(ResNet(3, 8).build(), 0).train()
    loss, _ = after(module, store.batch(np.arange(12)), Execution(micro_batch=4))
    assert loss == pytest.approx(math.log(23), abs=0.02)


def test_a_loss_that_cannot_be_cut_is_not(store: Store) -> None:
    class Uncut(Pretraining):
        fixed_batches = True

        def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
            raise AssertionError

    with pytest.raises(ValueError, match="Uncut cannot be computed in micro-batches"):
        compute_gradients(Uncut(), store.batch(np.arange(4)), randomness(0, 0), Execution(micro_batch=2))


def test_every_process_cuts_its_share_into_as_many_micro_batches() -> None:
    """Shares of 4 and 3 recordings; no process may be left without a recording in one of them."""
    assert [n_micro_batches(7, size) for size in (None, 7, 4, 3, 1)] == [1, 1, 2, 3, 7]
    two = Processes(1, 2)
    assert [n_micro_batches(7, size, two) for size in (None, 4, 3, 2)] == [1, 1, 2, 2]
    with pytest.raises(ValueError, match="leaves one of 2 processes with 3, and each is to compute 4 micro-batches"):
        n_micro_batches(7, 1, two)
    assert n_micro_batches(8, 1, two) == 4
    with pytest.raises(ValueError, match="leaves one of 4 processes with 0"):
        n_micro_batches(3, None, Processes(0, 4))


@pytest.mark.parametrize("index", range(4))
def test_a_resumed_run_in_micro_batches_has_the_same_bits(index: int, tiny_sweep: Sweep, home: Path) -> None:
    run = replace(tiny_sweep.runs[index], schedule=Schedule(steps=6, batch_size=8, lr=1e-2, clip=0.5))
    corpus, codes = data.open_corpus(run.slice.corpus, home), None
    if index == 3:
        codes = run.objective.codebook.build()  # type: ignore[union-attr]
    whole = [snapshot.state() for snapshot in pretrain(run, corpus, codes=codes, micro_batch=3)]
    first = next(s for s in pretrain(run, corpus, codes=codes, micro_batch=3) if s.step == 3)
    (rest,) = (s.state() for s in pretrain(run, corpus, codes=codes, micro_batch=3, resume=first.state()))
    assert all(torch.equal(a, b) for a, b in zip(rest["module"].values(), whole[-1]["module"].values(), strict=True))


def test_what_is_not_said_follows_the_device() -> None:
    assert execution("cpu") == Execution("fp32", None, False, False)
    assert execution("cpu", "bf16", micro_batch=4, recompute=True) == Execution("bf16", 4, False, True)
    with pytest.raises(ValueError, match="at least 1 recording"):
        execution("cpu", micro_batch=0)
    with pytest.raises(ValueError, match="did you mean 'bf16'"):
        Schedule(precision="bf61")
    with pytest.raises(ValueError, match="clip is above 0"):
        Schedule(clip=0)


def test_a_results_file_says_how_its_steps_were_computed(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    run = replace(tiny_sweep.runs[0], schedule=Schedule(steps=3, batch_size=8, precision="bf16"))
    assert run.run_id != tiny_sweep.runs[0].run_id
    assert trial(run, Sweep("tiny", (run,), ()), Place(home, tmp_path)) == "done"
    facts = records.read(records.path_of(tmp_path, "tiny", run.run_id)).facts
    assert (facts["precision"], facts["compiled"], facts["recomputed"], facts["micro_batch"]) == (
        *("bf16", "false", "false", ""),
    )


def test_gradients_are_cut_to_a_norm(store: Store) -> None:
    module = built("resnet", store.labels.shape[1])
    optimiser = optimiser_of(module.groups(), Supervised.optimiser)
    for clip in (None, 1e-3):
        compute_gradients(module, store.batch(np.arange(8)), randomness(0, 0), Execution())
        before = float(torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm())
        optimiser_step(optimiser, 1e-3, clip)
        norm = float(torch.stack([p.grad.norm() for p in module.parameters() if p.grad is not None]).norm())
        assert norm == pytest.approx(before if clip is None else clip, rel=1e-3)


def test_groups_are_cut_each_to_its_own_norm_and_move_at_their_own_rate() -> None:
    small, large, pair = (torch.nn.Parameter(torch.ones(4)) for _ in range(3))
    groups = [
        ParamGroup([small], clipped_with="a"),
        ParamGroup([large], 0.5, 0.0, "b"),
        ParamGroup([pair], 1.0, 1.0, "b"),
    ]
    optimiser = optimiser_of(groups, Optimiser("adamw"))
    small.grad, large.grad, pair.grad = torch.full((4,), 0.1), torch.full((4,), 30.0), torch.full((4,), 40.0)
    optimiser_step(optimiser, 0.1, 3.0, 0.2)
    assert float(small.grad.norm()) == pytest.approx(0.2)  # below the limit, whatever the others are
    assert float(torch.cat([large.grad, pair.grad]).norm()) == pytest.approx(3.0)
    assert float(pair.grad.norm() / large.grad.norm()) == pytest.approx(4 / 3)
    # Adam's first step is as long as the rate; decay takes rate times decay off before.
    assert small[0].item() == pytest.approx(1 - 0.1 * 0.2 - 0.1, abs=1e-5)
    assert large[0].item() == pytest.approx(1 - 0.1 * 0.5, abs=1e-5)


def test_a_run_can_be_clipped(tiny_sweep: Sweep, home: Path) -> None:
    run = tiny_sweep.runs[0]
    corpus = data.open_corpus(run.slice.corpus, home)
    weights = []
    for clip in (None, 1e9, 1e-9):
        *_, last = pretrain(replace(run, schedule=replace(run.schedule, clip=clip)), corpus)
        weights.append(last.module.head.weight.detach().clone())  # type: ignore[union-attr,operator]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_seeds_are_torchs() -> None:
    drawn = randomness(5, 6)
    ours = torch.rand(3)
    torch.manual_seed(drawn.initial_seed())
    assert torch.equal(ours, torch.rand(3))
    assert randomness(5, 7).initial_seed() != drawn.initial_seed()


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """torch.compile without the minutes of generating code: traced and differentiated, then run by torch itself."""
    names: list[str] = []
    compile_ = partial(torch.compile, backend="aot_eager")

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        inner = compile_(function)

        def run(*inputs: Any, **options: Any) -> Any:
            names.append(function.__qualname__)  # type: ignore[attr-defined]
            return inner(*inputs, **options)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_compilation_changes_nothing(network: str, recompute: bool, store: Store, traced: list[str]) -> None:
    batch = store.batch(np.arange(6))
    plain, fast = built(network, store.labels.shape[1]), built(network, store.labels.shape[1])
    for module in (plain, fast):
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0  # compiled code draws other numbers
            elif isinstance(part, BatchNorm):
                part.dropout = 0.0
    prepare_module(fast, Execution(compile=True, recompute=recompute))
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert_same(after(fast, batch, Execution()), after(plain, batch, Execution()))
    assert traced
    traced.clear()
    fast.eval()
    with torch.no_grad():
        torch.testing.assert_close(fast.backbone(batch).pooled, plain.eval().backbone(batch).pooled)
    assert bool(traced) != recompute  # blocks are compiled in training


@pytest.mark.slow
def test_a_compiled_run_trains(tiny_sweep: Sweep, home: Path, traced: list[str]) -> None:
    for index in (1, 3):
        run = tiny_sweep.runs[index]
        corpus, codes = data.open_corpus(run.slice.corpus, home), None
        if index == 3:
            codes = run.objective.codebook.build()  # type: ignore[union-attr]
        *_, last = pretrain(run, corpus, codes=codes, compile=True, micro_batch=4)
        assert last.execution.compile
        assert math.isfinite(last.train_loss)
    assert len({*traced}) == 2


@cuda
def test_a_gpu_computes_in_bf16_and_compiled(tiny_sweep: Sweep, home: Path) -> None:
    run = tiny_sweep.runs[0]
    corpus = data.open_corpus(run.slice.corpus, home)
    *_, last = pretrain(run, corpus, device="cuda")
    assert last.execution.compile
    assert last.execution.precision == ("bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32")
    *_, exact = pretrain(replace(run, schedule=replace(run.schedule, precision="fp32")), corpus, device="cuda")
    *_, on_cpu = pretrain(run, corpus)
    assert last.train_loss == pytest.approx(exact.train_loss, rel=0.05)
    assert exact.train_loss == pytest.approx(on_cpu.train_loss, rel=0.05)


@cuda
def test_a_gpu_out_of_memory_goes_on_in_micro_batches(tiny_sweep: Sweep, home: Path) -> None:
    run: Run = replace(tiny_sweep.runs[1], schedule=Schedule(steps=3, batch_size=8))
    corpus = data.open_corpus(run.slice.corpus, home)
    losses = []
    for micro_batch in (None, 2):
        torch.cuda.reset_peak_memory_stats()
        *_, last = pretrain(run, corpus, device="cuda", micro_batch=micro_batch, recompute=True)
        losses.append(last.train_loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
