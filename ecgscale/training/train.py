"""The training loop, of one process or many (data parallel), as a generator: its caller measures, and may stop it."""

import copy
import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from ecgscale.attempt import Resources, Sparing
from ecgscale.data.batches import Store, order
from ecgscale.data.beats import Sentence
from ecgscale.data.corpus import Corpus
from ecgscale.data.mixture import Mixture, stored
from ecgscale.data.prefetch import batches_of
from ecgscale.models import Codebook, CodebookModule
from ecgscale.objectives import ObjectiveInputs, Optimiser, Pretraining, decayed_apart
from ecgscale.pausing import check_pause
from ecgscale.spec.run import Run
from ecgscale.training.footprint import Memory, memory_of
from ecgscale.training.rates import learning_rate, rate_of, weight_decay
from ecgscale.training.sharding import ALONE, Processes
from ecgscale.training.step import (
    Execution,
    compute_gradients,
    execution,
    optimiser_of,
    optimiser_step,
    prepare_module,
    randomness,
)

_FINITE_CHECKED = 250  # steps after which the losses are looked at: the one time that a GPU is waited for
ID_BATCH_SIZE = 128  # contrastive losses depend on it, so it is one for all evaluations


class Diverged(ArithmeticError):
    """The loss stopped being a number."""

    def __init__(self, step: int, lr: float) -> None:
        super().__init__(f"loss was not finite at step {step}, learning rate {lr:.3g}")


@dataclass(frozen=True)
class Snapshot:
    """Training at one step. ``train_loss`` is the mean since the snapshot before; ``seconds`` exclude evaluation.

    ``losses`` are those since the last step before this that was due for evaluation; ``due``: whether this one is, or
    it is only to be saved, or training ``paused`` before it. ``trunk`` is the state that the branch under way left (see
    Schedule), None on the trunk. ``execution`` is how the machine computes the steps; it belongs in a results file
    beside the numbers.
    """

    step: int
    seconds: float
    train_loss: float
    module: Pretraining
    optimiser: torch.optim.Optimizer
    losses: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    due: bool = True
    execution: Execution = field(default_factory=Execution)
    paused: bool = False
    trunk: Mapping[str, Any] | None = None

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here; randomness is a function of seed and step and needs no state."""
        return {
            "step": self.step,
            "seconds": self.seconds,
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "unfinished": self.losses,
            "due": self.due,
            "trunk": self.trunk,
        }


def build(run: Run, corpus: Corpus, codes: CodebookModule | None = None) -> Pretraining:
    """The untrained model of a run under its objective; the seed decides its weights.

    Raises ValueError for a corpus at a rate that its models do not read.
    """
    stored, read = corpus.manifest.sampling_hz, run.architecture.sampling_hz
    if stored != read:
        raise ValueError(f"corpus {corpus.name} is at {stored} Hz; this {run.architecture.kind} reads {read} Hz")
    torch.manual_seed(run.seed)
    backbone = run.architecture.build()
    labels = corpus.manifest.labels_of(run.slice.label_set)
    numbers = tuple(label.number is not None for label in labels)
    return run.objective.build(backbone, len(labels), ObjectiveInputs(codes, corpus.manifest.scale_mv, numbers))


@dataclass(frozen=True)
class Position:
    """Where training stands. ``losses``: of whole batches [n], float32, since the last step that was due."""

    step: int = 0
    seconds: float = 0.0  # without evaluation
    losses: torch.Tensor = field(default_factory=lambda: torch.empty(0))
    due: bool = True  # for evaluation
    paused: bool = False
    trunk: Mapping[str, Any] | None = None  # the state that the branch under way left

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> "Position":
        """The position that a checkpoint holds; the beginning, without one."""
        if state is None:
            return cls()
        losses = torch.as_tensor(state["unfinished"], dtype=torch.float32).cpu()
        due, trunk = state.get("due", not len(losses)), state.get("trunk")
        return cls(state["step"], state["seconds"], losses, due, trunk=trunk)

    @property
    def loss(self) -> float:
        """Mean training loss since the last step that was due; NaN at the beginning."""
        return float(self.losses.mean()) if len(self.losses) else math.nan

    @property
    def unfinished(self) -> torch.Tensor:
        """The losses that the next step that is due will count in; none where this one is."""
        return self.losses[:0] if self.due else self.losses


@dataclass(frozen=True)
class Training:
    """A run as one of its processes holds it: whole where it is alone, else its part of the module and optimiser."""

    run: Run
    module: Pretraining
    optimiser: torch.optim.Optimizer
    store: Store | Mixture
    how: Execution
    processes: Processes = ALONE


def train(training: Training, at: Position, pause: Callable[[], bool] = lambda: False) -> Iterator[Position]:
    """Take a run's steps from a position on; every process of a run calls it, and all yield the same positions.

    Yields where a step is due for evaluation, where one is to be saved, and where rank 0 is asked to ``pause``. For
    each of a schedule's budgets the trunk is left, and gone back to from the budget's end. Raises Diverged, in every
    process, when the loss is no longer finite.
    """
    run, module, schedule = training.run, training.module, training.run.schedule
    peak = schedule.peak_lr(sum(p.numel() for p in module.backbone.parameters()))
    left = at.trunk["step"] if at.trunk else at.step
    for budget in (b for b in schedule.lengths if b == schedule.steps or schedule.leaves(b) >= left):
        rate = partial(rate_of(schedule, run.objective.optimiser), budget, peak)
        if budget == schedule.steps:
            yield from _taken(training, at, budget, rate, pause, ends=True)
            return
        if at.trunk is None:
            at = yield from _taken(training, at, schedule.leaves(budget), rate, pause, ends=False)
            at = replace(at, trunk=_state(training, at), losses=at.losses[:0])
        at = yield from _taken(training, at, budget, rate, pause, ends=True)
        assert at.trunk is not None
        module.load_state_dict(at.trunk["module"])
        training.optimiser.load_state_dict(at.trunk["optimiser"])
        at = Position(at.trunk["step"], at.trunk["seconds"])


def _taken(
    training: Training,
    at: Position,
    goal: int,
    rate: Callable[[int], float],
    pause: Callable[[], bool],
    *,
    ends: bool,
) -> Generator[Position, None, Position]:
    """Take steps until ``goal``, where the run is measured if a budget ``ends`` there; returns the last position."""
    run, module, processes = training.run, training.module, training.processes
    schedule, settings, every = run.schedule, run.objective.optimiser, run.evaluation.every
    clip = settings.clip if schedule.clip is None else schedule.clip
    step, seconds, losses = at.step, at.seconds, at.unfinished
    drawn = (training.store.positions(schedule.batch_size, run.seed, nth) for nth in range(step, goal))
    batches = batches_of(training.store, map(processes.share, drawn))
    while step < goal:
        started = time.perf_counter()
        module.train()
        fresh: list[torch.Tensor] = []
        while True:
            module.begin(step, schedule.steps)
            draw = randomness(run.seed, step, processes.rank)
            batch = next(batches)
            fresh.append(compute_gradients(module, batch, draw, training.how, processes, schedule.batch_size))
            optimiser_step(training.optimiser, rate(step), clip, weight_decay(step, schedule.steps, settings))
            module.end()
            step += 1
            regular = step % every == 0
            due = (step == goal and ends) or (regular and schedule.decay == "cosine")
            told = due or regular or step == goal
            paused = not told and processes.agree(pause)
            if told or paused or len(fresh) == _FINITE_CHECKED:
                break
        losses = torch.cat([losses, processes.mean(torch.stack(fresh)).cpu()])
        seconds += time.perf_counter() - started
        if not losses.isfinite().all():
            n_taken = step - len(losses) + int(losses.isfinite().int().argmin())  # before the loss that is none
            raise Diverged(n_taken + 1, rate(n_taken))
        at = Position(step, seconds, losses, due, paused, at.trunk)
        if told or paused:
            yield at
        if due:
            losses = losses[:0]
    return at


def _state(training: Training, at: Position) -> dict[str, Any]:
    """A copy of all that training goes on with from here."""
    parts = {"module": training.module.state_dict(), "optimiser": training.optimiser.state_dict()}
    return {"step": at.step, "seconds": at.seconds, **copy.deepcopy(parts)}


def pretrain(
    run: Run,
    corpus: Corpus,
    *,
    mixed: Sequence[Corpus] = (),
    codes: CodebookModule | None = None,
    words: np.ndarray | None = None,
    initial: Mapping[str, torch.Tensor] | None = None,
    device: str = "cpu",
    resume: Mapping[str, Any] | None = None,
    micro_batch: int | None = None,
    compile: bool | None = None,
    recompute: bool | None = None,
    memory: Memory | None = None,
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[Snapshot]:
    """Train a run in this process, yielding at step 0 (the untrained twin), every ``run.evaluation.every``, at the end.

    With ``resume`` (a snapshot's state) it continues behind that step as if never interrupted: on a CPU, bit for bit;
    with ``again`` in it, it yields that step first, which was not measured.
    Where ``pause`` says so it yields at the next step, whatever that is. ``mixed``: the corpora of the slice's mix.
    ``micro_batch``, ``compile`` and ``recompute`` are placement: see Execution, and ``execution`` for what None means.
    ``memory``: what the process has of its device, all that there is if left out. ``codes``: the codebook of a run that
    predicts its words, or ``words``: what it calls those of the corpus (``codewords``). ``initial``: weights of the
    backbone that ``run.initial`` left, or the published ones. Raises Diverged when the loss is no longer finite,
    ValueError for a run without the weights that it starts from.
    """
    if (run.initial is None and not run.weights) != (initial is None):
        published = f"published weights {run.weights[:12]}" if run.weights else "random weights"
        raise ValueError(f"{run.name} starts from {run.initial.name if run.initial else published}: give it those")
    memory = memory or memory_of(run, corpus, Resources(device, sparing=Sparing(micro_batch=micro_batch)))
    module = build(run, corpus, codes.to(device) if codes and words is None else None).to(device)
    if initial is not None:
        module.backbone.load_state_dict(initial)
    how = execution(
        device,
        run.schedule.precision,
        micro_batch=micro_batch,
        compile=compile,
        recompute=memory.recompute if recompute is None else recompute,
    )
    prepare_module(module, how)
    store = stored(run.slice, (corpus, *mixed), "train", device, module.backbone.any_leads, memory.allowance, words)
    training = Training(run, module, optimiser_of(module.groups(), run.objective.optimiser), store, how)
    at = Position.of(resume)
    if resume is None:
        yield _snapshot(training, at)
    else:
        module.load_state_dict(resume["module"])
        training.optimiser.load_state_dict(resume["optimiser"])
        if resume.get("again"):
            yield _snapshot(training, at)
    for position in train(training, at, pause):
        yield _snapshot(training, position)


def _snapshot(training: Training, at: Position) -> Snapshot:
    parts = training.module, training.optimiser
    return Snapshot(at.step, at.seconds, at.loss, *parts, at.losses, at.due, training.how, at.paused, at.trunk)


@torch.no_grad()
def id_loss(module: Pretraining, store: Store | Mixture, processes: Processes = ALONE) -> tuple[float, int]:
    """In-distribution loss (nats a term) of a frozen model, and the recordings it was measured on.

    Order, masks and batches are the same at every call. Objectives whose loss depends on the batch size leave the
    last, incomplete batch out; a split smaller than a batch is one batch, and its loss no match for others.
    Of several ``processes``, which all call it, each computes its part of the batches, and the number is that of one.
    """
    module.eval()
    positions = store.evaluated()
    if module.fixed_batches:
        positions = positions[: max(1, len(positions) // ID_BATCH_SIZE) * ID_BATCH_SIZE]

    def losses(starts: Sequence[int]) -> list[tuple[float, float]]:
        batches = batches_of(store, (positions[start : start + ID_BATCH_SIZE] for start in starts))
        found = []
        for start, batch in zip(starts, batches, strict=True):
            check_pause()
            found.append(module(batch, randomness(0, start)))
        if not found:
            return []
        totals, n_terms = (torch.stack(part).tolist() for part in zip(*found, strict=True))  # a GPU is waited for here
        return list(zip(totals, n_terms, strict=True))

    found = processes.divided(range(0, len(positions), ID_BATCH_SIZE), losses)
    total, n_terms = (sum(part) for part in zip(*found, strict=True)) if found else (0.0, 0)
    return total / max(1, int(n_terms)), len(positions)


@dataclass(frozen=True)
class CodebookSnapshot:
    """A codebook in training after a step; ``error`` is that step's mean squared error of reconstruction, a scalar."""

    step: int
    error: torch.Tensor
    module: CodebookModule
    optimiser: torch.optim.Optimizer

    @property
    def reconstruction(self) -> float:
        """The error as a number, for which a GPU is waited for."""
        return float(self.error)

    def state(self) -> dict[str, Any]:
        return {"step": self.step, "module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}


def train_codebook(
    recipe: Codebook, corpus: Corpus, device: str = "cpu", resume: Mapping[str, Any] | None = None
) -> Iterator[CodebookSnapshot]:
    """Train a codebook on a corpus' training split (VQ-HBR), yielding after every step; ``resume`` as in ``pretrain``.

    HeartLang's AdamW: betas 0.9 and 0.99, weight decay 1e-4, learning rate down to 1e-5. Raises Diverged when the
    loss is no longer finite, which is looked at every 250 steps.
    """
    torch.manual_seed(recipe.seed)
    module = recipe.build().to(device).train()
    store = Store(corpus, corpus.rows("train"), device=device)
    settings = Optimiser("adamw", (0.9, 0.99), 1e-8, 1e-4, min_lr=1e-5)
    optimiser, start = optimiser_of(decayed_apart(module), settings), 0
    if resume is not None:
        module.load_state_dict(resume["module"])
        optimiser.load_state_dict(resume["optimiser"])
        start = resume["step"]
    n_warm = max(1, round(recipe.warmup * recipe.steps))
    errors: list[torch.Tensor] = []
    for step in range(start, recipe.steps):
        randomness(recipe.seed, step)
        batch = store.batch(order(len(store), recipe.batch_size, recipe.seed, step))
        made = module(Sentence(*module.encoder.inputs(batch)))
        lr = learning_rate(step, recipe.steps, recipe.lr, n_warm, settings.min_lr)
        module.zero_grad(set_to_none=True)
        made.loss.backward()
        optimiser_step(optimiser, lr, settings.clip, settings.weight_decay)
        errors.append(made.reconstruction.detach())
        if (step + 1) % _FINITE_CHECKED == 0 or step + 1 == recipe.steps:
            finite = torch.stack(errors).isfinite().tolist()
            if not all(finite):
                raise Diverged(step + 1 - len(finite) + finite.index(False), lr)
            errors = []
        yield CodebookSnapshot(step + 1, made.reconstruction.detach(), module, optimiser)
