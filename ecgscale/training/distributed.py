"""Training in step: several processes do one run, each with its part of the weights and its share of every batch.

The leading process measures, on a whole copy of the module, and decides; the others wait for its word.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from ecgscale.data.batches import Batch, Store
from ecgscale.data.mixture import Mixture, stored
from ecgscale.objectives import Pretraining
from ecgscale.records import FULL, unguarded
from ecgscale.spec.run import Run
from ecgscale.training import followers, sharded_checkpoint
from ecgscale.training.followers import Call
from ecgscale.training.inputs import Inputs, opened
from ecgscale.training.sharding import Group, joined, mean_over, shard, whole_state
from ecgscale.training.step import Execution, descend, equip, execution, optimiser_of, randomness
from ecgscale.training.train import Diverged, Snapshot, activation_bytes, build, learning_rate, weight_decay

State = dict[str, Any]


@dataclass(frozen=True)
class Following:
    """What a following process has to know of a run."""

    run: Run
    home: Path
    folder: Path  # of its checkpoints in parts
    device: str


@dataclass(frozen=True)
class Part:
    """A run as one of its processes holds it."""

    run: Run
    group: Group
    module: Pretraining  # sharded
    optimiser: torch.optim.Optimizer
    store: Store | Mixture
    peak_lr: float
    how: Execution
    folder: Path


@contextmanager
def led(
    run: Run,
    inputs: Inputs,
    home: Path,
    folder: Path,
    processes: int,
    *,
    device: str = "cpu",
    resume: State | None = None,
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Iterator[Snapshot], Callable[..., None]]]:
    """Train a run over processes that this one leads: its snapshots, and what saves the last one in ``folder``.

    As ``train.pretrain``, but ``resume`` is an entry of ``parts``. Modules of snapshots are whole, and in this process
    alone; their gradients were those of whole batches. What is random is drawn by seed, step and process, KoLeo and
    batch normalisation see a process' share. What saves takes facts that are kept with the checkpoint, a name that no
    other has, and a guard (see ``parts.save``). On GPUs each process has one.
    """
    told = Following(run, home, folder, device)
    with (
        followers.following(processes, "ecgscale.training.distributed:follow", told) as meeting,
        joined(0, processes, meeting, device) as group,
    ):
        on = _device_of(device, group)
        part = divided(run, inputs, group, folder, on)
        _tell(resume)
        last: list[State] = []

        def snapshots() -> Iterator[Snapshot]:
            whole = build(run, inputs.corpus, inputs.codes).to(on)
            for state in steps(part, resume, pause):
                last[:] = [state]
                whole.begin(max(0, state["step"] - 1), run.schedule.steps)
                whole.load_state_dict(whole_state(part.module))
                loss = float(np.mean(state["curve"])) if state["curve"] else math.nan
                unfinished = torch.tensor(state["unfinished"])
                yield Snapshot(
                    state["step"], state["seconds"], loss, whole, part.optimiser, unfinished, execution=part.how
                )
                _tell("on")

        def save(about: State, name: str, guard: Callable[[], None] = unguarded) -> None:
            _tell(name)
            sharded_checkpoint.save(folder, name, part.module, part.optimiser, {**about, **_position(last[0])}, guard)

        yield snapshots(), save


def follow(call: Call) -> None:
    """Do a run at the word of the leading process; for all processes but that."""
    told: Following = call.told
    if told.device == "cpu":
        torch.set_num_threads(1)
    inputs = opened(told.run, told.home, following=True)
    with joined(call.rank, call.size, call.meeting, told.device) as group, suppress(Diverged):
        on = _device_of(told.device, group)
        part = divided(told.run, inputs, group, told.folder, on)
        try:
            for state in steps(part, _heard()):
                whole_state(part.module)
                while (word := _heard()) != "on":
                    sharded_checkpoint.save(told.folder, word, part.module, part.optimiser, _position(state))
        except OSError as error:
            if error.errno not in FULL:  # of a full disk the leading process tells
                raise


def divided(run: Run, inputs: Inputs, group: Group, folder: Path, device: str) -> Part:
    """The untrained run, divided over the processes of a group; all call it, and the weights are the leading one's."""
    module = build(run, inputs.corpus, inputs.codes.to(device) if inputs.codes else None).to(device)
    if inputs.initial is not None:
        module.backbone.load_state_dict(inputs.initial)
    for tensor in module.state_dict().values():
        distributed.broadcast(tensor, 0)
    n_params = sum(p.numel() for p in module.backbone.parameters())
    share = -(-run.schedule.batch_size // group.size)
    needs = lambda: activation_bytes(run, inputs.corpus, share)  # noqa: E731
    how = execution(device, run.schedule.precision, compile=False, activation_bytes=needs)
    equip(module, how)
    shard(module, device, bf16=how.precision == "bf16")
    store = stored(run.slice, (inputs.corpus, *inputs.mixed), "train", device, module.backbone.any_leads)
    optimiser = optimiser_of(module.groups(), run.objective.optimiser)
    return Part(run, group, module, optimiser, store, run.schedule.peak_lr(n_params), how, folder)


def steps(part: Part, resume: State | None, pause: Callable[[], bool] = lambda: False) -> Iterator[State]:
    """Take a run's steps together, yielding in every process where training stands; ``pause`` is the leading one's.

    Yields step, seconds, ``curve`` (losses of whole batches since the last step that was due) and ``unfinished`` (the
    same, where the step is not due). Raises Diverged in every process.
    """
    run, group, module, schedule = part.run, part.group, part.module, part.run.schedule
    settings, clip = run.objective.optimiser, run.schedule.clip or run.objective.optimiser.clip
    step, seconds = 0, 0.0
    if resume is None:
        yield {"step": 0, "seconds": 0.0, "curve": [], "unfinished": []}
    else:
        sharded_checkpoint.load(part.folder, resume["name"], module, part.optimiser)
        step, seconds = resume["step"], resume["seconds"]
    curve: list[float] = list(resume["unfinished"]) if resume else []
    while step < schedule.steps:
        started = time.perf_counter()
        module.train()
        losses: list[torch.Tensor] = []
        while True:
            batch = part.store.batch(group.share(part.store.positions(schedule.batch_size, run.seed, step)))
            module.begin(step, schedule.steps)
            losses.append(_gradients(part, batch, randomness(run.seed, step, group.rank)))
            lr = learning_rate(step, schedule.steps, part.peak_lr, schedule.warmup, settings.min_lr)
            descend(part.optimiser, lr, clip, weight_decay(step, schedule.steps, settings))
            module.end()
            step += 1
            due = step % run.evaluation.every == 0 or step == schedule.steps
            if due or _shared(pause()):
                break
        mean = torch.stack(losses)
        distributed.all_reduce(mean)
        curve += (mean / group.size).tolist()
        seconds += time.perf_counter() - started
        if not np.isfinite(curve).all():
            at = step - len(curve) + int(np.isfinite(curve).argmin())
            raise Diverged(at + 1, learning_rate(at, schedule.steps, part.peak_lr, schedule.warmup, settings.min_lr))
        yield {"step": step, "seconds": seconds, "curve": curve, "unfinished": [] if due else curve}
        if due:
            curve = []


def whole(run: Run, inputs: Inputs, folder: Path, entry: State) -> State:
    """A checkpoint in parts as one process goes on from it (``train.pretrain``)."""
    module = build(run, inputs.corpus, inputs.codes)
    optimiser = optimiser_of(module.groups(), run.objective.optimiser)
    sharded_checkpoint.load(folder, entry["name"], module, optimiser)
    position = {"unfinished": torch.tensor(entry["unfinished"])}
    return {**entry, **position, "module": module.state_dict(), "optimiser": optimiser.state_dict()}


def in_parts(run: Run, inputs: Inputs, folder: Path, state: State) -> sharded_checkpoint.Entry:
    """The checkpoint of a run that one process did, put where several processes go on from it; its entry."""
    module = build(run, inputs.corpus, inputs.codes)
    optimiser = optimiser_of(module.groups(), run.objective.optimiser)
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    about = _position(state) | {name: state[name] for name in ("inputs", "measured")}
    sharded_checkpoint.save(folder, f"step-{state['step']}.whole", module, optimiser, about)
    return next(sharded_checkpoint.intact(folder))


def _gradients(part: Part, batch: Batch, draw: torch.Generator) -> torch.Tensor:
    """Set the gradients to those of the whole batch's mean loss; this process' part of ``size`` times that loss."""
    part.module.zero_grad(set_to_none=True)
    with torch.autocast(batch.signal.device.type, torch.bfloat16, enabled=part.how.precision == "bf16"):
        loss = mean_over(part.module(batch, draw), part.group)
    loss.backward()
    return loss.detach()


def _position(state: State) -> dict[str, Any]:
    """Where training stands, as plain JSON."""
    unfinished = torch.as_tensor(state["unfinished"]).tolist()
    return {"step": state["step"], "seconds": state["seconds"], "unfinished": unfinished}


def _device_of(device: str, group: Group) -> str:
    """The device of a process: of GPUs the one with its number."""
    if not device.startswith("cuda"):
        return device
    torch.cuda.set_device(group.rank)
    return f"cuda:{group.rank}"


def _tell(word: Any) -> None:
    distributed.broadcast_object_list([word], 0, device=torch.device("cpu"))


def _heard() -> Any:
    word: list[Any] = [None]
    distributed.broadcast_object_list(word, 0, device=torch.device("cpu"))
    return word[0]


def _shared(wish: bool) -> bool:
    """What the leading process wishes, in every process."""
    said = torch.tensor([wish])
    distributed.broadcast(said, 0)
    return bool(said)
