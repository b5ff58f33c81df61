"""Training: the same bits every time, also after a resume; schedules; divergence."""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import order
from ecgscale.objectives import DINO, Masked, Optimiser
from ecgscale.spec.run import Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import checkpoint, codebooks
from ecgscale.training.rates import learning_rate, rate_of, weight_decay
from ecgscale.training.train import CodebookSnapshot, Diverged, Snapshot, id_loss, pretrain, train_codebook
from tests.runs import TINY_CODEBOOK


def codes_of(run: Run, home: Path) -> codebooks.CodebookModule | None:
    if not isinstance(run.objective, Masked):
        return None
    if not codebooks.is_trained(run.objective.codebook, home):
        codebooks.train(run.objective.codebook, home, lambda at: None)
    return codebooks.read(run.objective.codebook, home)[0]


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in module.state_dict().values()]


@pytest.mark.parametrize("index", range(4))
def test_a_resumed_run_has_the_same_bits(index: int, tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    run = tiny_sweep.runs[index]
    corpus, codes = data.open_corpus(run.slice.corpus, home), codes_of(run, home)
    whole = [(s.step, s.train_loss, weights(s.module)) for s in pretrain(run, corpus, codes=codes)]
    assert [step for step, _, _ in whole] == [0, 3, 6]
    for snapshot in islice(pretrain(run, corpus, codes=codes), 2):
        checkpoint.save(tmp_path / "c.pt", snapshot.state())
    found = checkpoint.load(tmp_path / "c.pt")
    assert found is not None
    resume = found[0]
    rest = [(s.step, s.train_loss, weights(s.module)) for s in pretrain(run, corpus, codes=codes, resume=resume)]
    assert [step for step, _, _ in rest] == [6]
    assert rest[0][1] == whole[2][1]
    assert all(torch.equal(a, b) for a, b in zip(rest[0][2], whole[2][2], strict=True))


@pytest.mark.parametrize("index", range(4))
def test_whole_paused_at_every_step_and_in_one_micro_batch_have_the_same_bits(
    index: int, tiny_sweep: Sweep, home: Path
) -> None:
    """SHA-256 over the training loss and all weights at every evaluation, by three ways of taking the same steps."""
    run = tiny_sweep.runs[index]
    corpus, codes = data.open_corpus(run.slice.corpus, home), codes_of(run, home)

    def digest(snapshots: Iterable[Snapshot]) -> str:
        found = hashlib.sha256()
        for snapshot in snapshots:
            found.update(f"{snapshot.step} {snapshot.train_loss.hex()}".encode())
            for tensor in snapshot.module.state_dict().values():
                found.update(tensor.numpy().tobytes())
        return found.hexdigest()

    def paused() -> Iterator[Snapshot]:
        resume = None
        while resume is None or resume["step"] < run.schedule.steps:
            last = next(pretrain(run, corpus, codes=codes, resume=resume, pause=lambda: True))
            resume = last.state()
            if last.due:
                yield last

    whole = digest(pretrain(run, corpus, codes=codes))
    assert digest(pretrain(run, corpus, codes=codes, micro_batch=run.schedule.batch_size)) == whole
    assert digest(paused()) == whole


def test_the_seed_changes_the_run(tiny_sweep: Sweep, home: Path) -> None:
    run = tiny_sweep.runs[0]
    corpus = data.open_corpus(run.slice.corpus, home)
    first, second = (next(pretrain(replace(run, seed=seed), corpus)).module for seed in (0, 1))
    assert not torch.equal(first.head.weight, second.head.weight)  # type: ignore[arg-type]


def test_a_loss_that_is_no_number_is_divergence(tiny_sweep: Sweep, home: Path) -> None:
    run = replace(tiny_sweep.runs[0], schedule=Schedule(steps=6, batch_size=8, lr=1e30))
    with pytest.raises(Diverged, match=r"at step [23], learning rate 1e\+30"):
        list(pretrain(run, data.open_corpus(run.slice.corpus, home)))


def test_id_loss_is_the_same_at_every_call(tiny_sweep: Sweep, home: Path) -> None:
    from ecgscale.data.batches import Store

    for run in tiny_sweep.runs:
        corpus = data.open_corpus(run.slice.corpus, home)
        module = next(pretrain(run, corpus, codes=codes_of(run, home))).module
        store = Store(corpus, corpus.rows("test"), run.slice.label_set)
        assert id_loss(module, store) == id_loss(module, store)


def test_order_goes_through_every_recording_once_an_epoch() -> None:
    seen = np.concatenate([order(10, 4, seed=0, step=s) for s in range(5)])
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert list(seen[:10]) != list(seen[10:])
    assert sorted(order(3, 8, seed=0, step=0)) == [0, 0, 0, 1, 1, 1, 2, 2] or len(order(3, 8, 0, 0)) == 8


def test_learning_rate_warms_up_and_ends_low() -> None:
    rates = [learning_rate(s, 100, 1e-3, 5, 1e-5) for s in range(100)]
    assert rates[0] == pytest.approx(2e-4)
    assert max(rates) == pytest.approx(1e-3)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(1e-5, rel=0.1)
    assert Schedule().peak_lr(9_999_999) == 1e-3
    assert Schedule().peak_lr(10_000_000) == 1e-4


def test_a_stable_rate_falls_where_each_budget_ends() -> None:
    """Flat after the warm-up, which is the first budget's share, and 1 - sqrt over the last fifth of every budget."""
    schedule = Schedule(steps=100, decay="wsd", warmup=0.1, budgets=(20, 50))
    assert [schedule.leaves(budget) for budget in schedule.lengths] == [16, 40, 80]
    assert (schedule.n_taken, schedule.measured(7)) == (100 + 4 + 10, (20, 50, 100))
    rate = rate_of(schedule, Optimiser(min_lr=0.0))
    assert [rate(20, 1.0, step) for step in (0, 1, 2, 15, 16)] == pytest.approx([0.5, 1, 1, 1, 1])
    assert [rate(50, 1.0, step) for step in (39, 40, 45, 49)] == pytest.approx([1, 1, 1 - 0.5**0.5, 1 - 0.9**0.5])
    assert [rate(100, 1.0, step) for step in (16, 40, 79)] == [1, 1, 1]
    assert Schedule(steps=10).measured(4) == (4, 8, 10)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"budgets": (5,)}, "needs decay 'wsd'"),
        ({"decay": "wsd", "budgets": (60, 50)}, "budgets rise"),
        ({"decay": "wsd", "budgets": (100,)}, "budgets rise"),
        ({"decay": "wsd", "budgets": (1, 50)}, "budgets rise"),
        ({"decay": "wsd", "cooldown": 0.6, "warmup": 0.5}, "the warm-up ends before it"),
        ({"decay": "linear"}, "Schedule.decay is 'linear'"),
    ],
)
def test_impossible_schedules_are_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Schedule(steps=100, **changes)


BRANCHED = Schedule(steps=20, batch_size=8, lr=1e-2, decay="wsd", cooldown=0.25, warmup=0.25, budgets=(8, 12))


@pytest.mark.parametrize("index", [0, 3])
def test_a_branch_is_the_run_of_its_own_length(index: int, tiny_sweep: Sweep, home: Path) -> None:
    """Each budget ends with the bits of the run that was made for it alone; so a trunk serves them all."""
    run = replace(tiny_sweep.runs[index], schedule=BRANCHED)
    corpus, codes = data.open_corpus(run.slice.corpus, home), codes_of(run, home)
    measured = {s.step: weights(s.module) for s in pretrain(run, corpus, codes=codes) if s.due}
    assert list(measured) == [0, 8, 12, 20]
    for budget in (8, 12, 20):
        alone = replace(BRANCHED, steps=budget, budgets=(), warmup=2 / budget)
        *_, last = pretrain(replace(run, schedule=alone), corpus, codes=codes)
        assert all(torch.equal(a, b) for a, b in zip(weights(last.module), measured[budget], strict=True))


def test_a_branched_run_that_is_killed_anywhere_goes_on_with_the_same_bits(
    tiny_sweep: Sweep, home: Path, tmp_path: Path
) -> None:
    """From each of its checkpoints, on the trunk and in branches, and paused at every step."""
    run = replace(tiny_sweep.runs[0], schedule=BRANCHED)
    corpus = data.open_corpus(run.slice.corpus, home)

    def told(snapshots: Iterable[Snapshot]) -> list[tuple[int, str]]:
        return [(s.step, digest_of(s)) for s in snapshots if s.due]

    whole = told(pretrain(run, corpus))
    n_saved = 0
    for n_saved, snapshot in enumerate(pretrain(run, corpus), 1):
        checkpoint.save(tmp_path / f"{n_saved}.pt", snapshot.state())
    assert n_saved == 10  # by the end, every third step, and where the trunk is left
    for number in range(1, n_saved + 1):
        found = checkpoint.load(tmp_path / f"{number}.pt")
        assert found is not None
        rest = told(pretrain(run, corpus, resume=found[0]))
        assert rest == whole[len(whole) - len(rest) :]
        assert rest or number == n_saved
    steps, resume = 0, None
    seen: list[tuple[int, str]] = []
    while len(seen) < len(whole):
        last = next(pretrain(run, corpus, resume=resume, pause=lambda: True))
        resume, steps = last.state(), steps + 1
        seen += told([last])
    assert seen == whole
    assert steps == 1 + BRANCHED.n_taken


def digest_of(snapshot: Snapshot) -> str:
    parts = [tensor.numpy().tobytes() for tensor in snapshot.module.state_dict().values()]
    return hashlib.sha256(b"".join([snapshot.train_loss.hex().encode(), *parts])).hexdigest()


def test_weight_decay_goes_on_a_cosine_to_its_end() -> None:
    decays = [weight_decay(step, 100, DINO.optimiser) for step in (0, 50, 100)]
    assert decays == pytest.approx([0.04, 0.22, 0.4])
    assert weight_decay(99, 100, Optimiser(weight_decay=0.1)) == 0.1


def test_a_damaged_checkpoint_falls_back_one(tmp_path: Path) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"step": 1})
    checkpoint.save(path, {"step": 2})

    def step() -> int | None:
        found = checkpoint.load(path)
        return found[0]["step"] if found else None

    assert step() == 2
    silent = 0
    original = path.read_bytes()
    draw = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(original)
        damaged[draw.integers(len(damaged))] ^= 1 << draw.integers(8)
        path.write_bytes(damaged)
        silent += step() != 1
    assert silent == 0
    path.write_bytes(original[: len(original) // 2])
    assert step() == 1
    checkpoint.remove(path)
    assert checkpoint.load(path) is None


def test_a_codebook_uses_its_codes(home: Path, tiny_sweep: Sweep) -> None:
    book = codes_of(tiny_sweep.runs[3], home)
    assert book is not None
    from ecgscale.data.batches import Store
    from ecgscale.data.beats import Sentence

    corpus = data.open_corpus("ludb-sample", home)
    batch = Store(corpus, corpus.rows("val")).batch(np.arange(20))
    sentence = Sentence(*book.encoder.inputs(batch))
    codes = book.label(sentence)
    assert codes.shape == sentence.lead.shape
    assert len(codes[sentence.lead > 0].unique()) > 2
    assert len(codes[sentence.lead == 0].unique()) == 1
    norms = book.get_buffer("codes").norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
    assert math.isfinite(float(book(sentence).loss.detach()))


def test_a_codebook_whose_training_is_cut_off_has_the_same_bits(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codebooks, "_SAVED_EVERY", 2)
    recipe = replace(TINY_CODEBOOK, steps=5)
    corpus = data.open_corpus(recipe.corpus, home)
    *_, whole = train_codebook(recipe, corpus)
    monkeypatch.setattr(data, "open_corpus", lambda name, home: corpus)
    steps: list[int] = []

    def progress(at: CodebookSnapshot) -> None:
        steps.append(at.step)
        if steps == [1, 2, 3]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        codebooks.train(recipe, tmp_path, progress)
    assert not codebooks.is_trained(recipe, tmp_path)
    codebooks.train(recipe, tmp_path, progress)
    assert steps == [1, 2, 3, 3, 4, 5]
    book = codebooks.read(recipe, tmp_path)[0]
    assert all(torch.equal(a, b) for a, b in zip(weights(book), weights(whole.module), strict=True))
    assert len(list((tmp_path / "codebooks").iterdir())) == 1


def test_a_damaged_codebook_is_trained_again(home: Path, tiny_sweep: Sweep) -> None:
    codes_of(tiny_sweep.runs[3], home)
    objective = tiny_sweep.runs[3].objective
    assert isinstance(objective, Masked)
    path = codebooks.path_of(objective.codebook, home)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    try:
        assert not codebooks.is_trained(objective.codebook, home)
        with pytest.raises(FileNotFoundError, match="ecgscale codebook train"):
            codebooks.read(objective.codebook, home)
    finally:
        path.write_bytes(whole)
