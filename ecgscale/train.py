"""Training as a generator of snapshots: the caller measures what it likes, and stops by leaving the loop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from ecgscale.data.batches import Store, order
from ecgscale.data.beats import Sentence
from ecgscale.data.corpus import Corpus
from ecgscale.models import Codebook, VectorQuantisedBeats
from ecgscale.models.transformer import MODEL_HZ
from ecgscale.objectives import Masked, Optimiser, Pretraining
from ecgscale.spec import Run

ID_BATCH_SIZE = 128  # contrastive losses depend on it, so it is one for all evaluations


class Diverged(ArithmeticError):
    """The loss stopped being a number."""

    def __init__(self, step: int, lr: float) -> None:
        super().__init__(f"loss was not finite at step {step}, learning rate {lr:.3g}")


@dataclass(frozen=True)
class Snapshot:
    """Training at one step. ``train_loss`` is the mean since the snapshot before; ``seconds`` exclude evaluation.

    ``unfinished`` holds the losses since the last step that was due for evaluation, where training paused before the
    next; empty at a step that is due.
    """

    step: int
    seconds: float
    train_loss: float
    module: Pretraining
    optimiser: torch.optim.Optimizer
    unfinished: torch.Tensor = field(default_factory=lambda: torch.empty(0))

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here; randomness is a function of seed and step and needs no state."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "unfinished": self.unfinished,
        }


def build(run: Run, corpus: Corpus, codes: VectorQuantisedBeats | None = None) -> Pretraining:
    """The untrained model of a run under its objective; the seed decides its weights.

    Raises ValueError for a corpus at a rate that its models do not read.
    """
    if corpus.manifest.sampling_hz != MODEL_HZ:
        raise ValueError(f"corpus {corpus.name} is at {corpus.manifest.sampling_hz} Hz; models read {MODEL_HZ} Hz")
    torch.manual_seed(run.seed)
    backbone = run.architecture.build()
    n_labels = len(corpus.label_names(run.slice.label_set))
    if isinstance(run.objective, Masked):
        return run.objective.build(backbone, n_labels, codes)
    return run.objective.build(backbone, n_labels)


def pretrain(
    run: Run,
    corpus: Corpus,
    *,
    codes: VectorQuantisedBeats | None = None,
    device: str = "cpu",
    resume: Mapping[str, Any] | None = None,
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[Snapshot]:
    """Train a run, yielding at step 0 (the untrained twin), every ``run.evaluation.every`` steps, and at the end.

    With ``resume`` (a snapshot's state) it continues behind that step as if never interrupted: on a CPU, bit for bit.
    Where ``pause`` says so it yields at the next step, whatever that is.
    Raises Diverged when the loss is no longer finite.
    """
    store = Store(corpus, corpus.rows("train", run.slice.fraction), run.slice.label_set, device)
    module = build(run, corpus, codes.to(device) if codes else None).to(device)
    n_params = sum(p.numel() for p in module.backbone.parameters())
    settings, steps = run.objective.optimiser, run.schedule.steps
    peak = run.schedule.peak_lr(n_params)
    optimiser = _optimiser(module, settings)
    step, seconds = 0, 0.0
    if resume is None:
        yield Snapshot(step, seconds, math.nan, module, optimiser)
    else:
        module.load_state_dict(resume["module"])
        optimiser.load_state_dict(resume["optimiser"])
        step, seconds = resume["step"], resume["seconds"]

    losses: list[torch.Tensor] = list(resume["unfinished"].to(device)) if resume else []
    while step < steps:
        started = time.perf_counter()
        module.train()
        while True:
            draw = _randomness(run.seed, step)
            lr = learning_rate(step, steps, peak, run.schedule.warmup, settings.min_lr)
            batch = store.batch(order(len(store), run.schedule.batch_size, run.seed, step))
            loss = module(batch, draw).mean
            _step(module, optimiser, loss, lr, settings.clip)
            losses.append(loss.detach())
            step += 1
            due = step % run.evaluation.every == 0 or step == steps
            if due or pause():
                break
        curve = torch.stack(losses).cpu()
        if due:
            losses.clear()
        seconds += time.perf_counter() - started
        if not curve.isfinite().all():
            at = step - len(curve) + int(curve.isfinite().int().argmin())  # steps taken before the loss that is none
            raise Diverged(at + 1, learning_rate(at, steps, peak, run.schedule.warmup, settings.min_lr))
        yield Snapshot(step, seconds, float(curve.mean()), module, optimiser, curve[:0] if due else curve)


@torch.no_grad()
def id_loss(module: Pretraining, store: Store) -> tuple[float, int]:
    """In-distribution loss (nats a term) of a frozen model, and the recordings it was measured on.

    Order, masks and batches are the same at every call. Objectives whose loss depends on the batch size leave the
    last, incomplete batch out.
    """
    module.eval()
    positions = np.random.default_rng(0).permutation(len(store))
    if module.fixed_batches:
        positions = positions[: max(1, len(positions) // ID_BATCH_SIZE) * ID_BATCH_SIZE]
    total, n_terms = 0.0, 0
    for start in range(0, len(positions), ID_BATCH_SIZE):
        loss = module(store.batch(positions[start : start + ID_BATCH_SIZE]), _randomness(0, start))
        total, n_terms = total + float(loss.total), n_terms + int(loss.n_terms)
    return total / max(1, n_terms), len(positions)


def learning_rate(step: int, steps: int, peak: float, warmup: float, min_lr: float) -> float:
    """Linear warm-up over the first share of the steps, then a cosine to ``min_lr`` (or the peak, if that is lower)."""
    n_warm = max(1, round(warmup * steps))
    if step < n_warm:
        return peak * (step + 1) / n_warm
    low = min(min_lr, peak)
    progress = (step - n_warm) / max(1, steps - n_warm)
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * progress))


def train_codebook(
    recipe: Codebook, corpus: Corpus, device: str = "cpu"
) -> Iterator[tuple[int, float, VectorQuantisedBeats]]:
    """Train a codebook on a corpus' training split (VQ-HBR), yielding step, reconstruction error and codebook.

    HeartLang's AdamW: betas 0.9 and 0.99, weight decay 1e-4. Raises Diverged when the loss is no longer finite.
    """
    torch.manual_seed(recipe.seed)
    module = recipe.build().to(device).train()
    store = Store(corpus, corpus.rows("train"), device=device)
    settings = Optimiser("adamw", (0.9, 0.99), 1e-8, 1e-4)
    optimiser = _optimiser(module, settings)
    for step in range(recipe.steps):
        _randomness(recipe.seed, step)
        batch = store.batch(order(len(store), recipe.batch_size, recipe.seed, step))
        made = module(Sentence(*module.encoder.inputs(batch)))
        lr = learning_rate(step, recipe.steps, recipe.lr, recipe.warmup, settings.min_lr)
        _step(module, optimiser, made.loss, lr, settings.clip)
        reconstruction = float(made.reconstruction.detach())
        if not math.isfinite(reconstruction):
            raise Diverged(step, lr)
        yield step + 1, reconstruction, module


def _optimiser(module: nn.Module, settings: Optimiser) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    parameters = [p for p in module.parameters() if p.requires_grad]
    return kind(parameters, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay, fused=True)


def _step(
    module: nn.Module, optimiser: torch.optim.Optimizer, loss: torch.Tensor, lr: float, clip: float | None
) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()


def _randomness(seed: int, step: int) -> torch.Generator:
    """Seed everything random in a step (dropout, masks) by seed and step alone."""
    mixed = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.manual_seed(mixed)
    return torch.Generator().manual_seed(mixed)
