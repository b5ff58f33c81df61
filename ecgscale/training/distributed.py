"""Distributed training of one run: its processes share every batch (data parallel), each with its part of the weights.

They also share every evaluation, each with a whole copy of the module. The leader (rank 0) decides and writes; the
followers wait for its word.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from ecgscale.attempt import Resources
from ecgscale.data.mixture import stored
from ecgscale.objectives import Pretraining
from ecgscale.records import FULL, unguarded
from ecgscale.spec.run import Run
from ecgscale.training import sharded_checkpoint
from ecgscale.training.followers import Job, start_followers
from ecgscale.training.footprint import Memory, memory_of
from ecgscale.training.inputs import Inputs, opened
from ecgscale.training.sharding import Processes, fill, joined, shard
from ecgscale.training.step import (
    check_micro_batches,
    execution,
    n_micro_batches,
    optimiser_of,
    prepare_module,
)
from ecgscale.training.train import Diverged, Position, Snapshot, Training, build, train

State = dict[str, Any]
Measuring = Callable[[Inputs, str, Memory], Callable[[Snapshot, Processes], object]]  # on a device

_ON, _MEASURE = "on", "measure"  # what the leader says; every other word is the name of a checkpoint


@dataclass(frozen=True)
class Assignment:
    """What every process of a run is told of it; ``measuring`` makes what a follower takes part in evaluations by."""

    run: Run
    home: Path
    folder: Path  # of its sharded checkpoints
    resources: Resources
    measuring: Measuring


@dataclass(frozen=True)
class Led:
    """A run in training, in the hands of its leader.

    ``save`` keeps the last snapshot, with metadata, under a name that no other has, and behind a guard (see
    ``sharded_checkpoint.save``). ``share`` has the followers measure the last snapshot together with the leader.
    """

    snapshots: Iterator[Snapshot]
    save: Callable[[State, str, Callable[[], None]], None]
    share: Callable[[], Processes]


@contextmanager
def lead(
    assigned: Assignment,
    inputs: Inputs,
    *,
    resume: State | None = None,
    memory: Memory | None = None,
    pause: Callable[[], bool] = lambda: False,
) -> Iterator[Led]:
    """Train a run as the leader of its processes; what is saved lies in ``assigned.folder``.

    As ``train.pretrain``, but ``resume`` is an entry of ``sharded_checkpoint``. Modules of snapshots are whole; their
    gradients were those of whole batches. What is random is drawn by seed, step and rank,
    KoLeo and batch normalisation see a process' share. On GPUs each process has one. Raises
    ValueError, before any other process is started, for micro-batches that the run cannot be computed in.
    """
    run, resources = assigned.run, assigned.resources
    if run.schedule.budgets:
        raise ValueError(f"{run.name} has several budgets: one process does it, for its trunk is kept in memory")
    if n_micro_batches(run.schedule.batch_size, resources.sparing.micro_batch, Processes(0, resources.processes)) > 1:
        check_micro_batches(build(run, inputs.corpus, inputs.asked))
    with (
        start_followers(resources.processes, "ecgscale.training.distributed:follow", assigned) as followers,
        joined(0, resources.processes, followers.meeting, resources.device) as processes,
        followers.ending(),
    ):
        device = _device_of(resources.device, processes)
        memory = memory or memory_of(run, inputs.corpus, resources, device)
        training, whole = build_sharded(assigned, inputs, processes, memory)
        send(resume)
        last: list[Position] = []

        def snapshots() -> Iterator[Snapshot]:
            for at in _positions(training, assigned.folder, resume, pause):
                last[:] = [at]
                yield _snapshot(training, whole, at)
                send(_ON)

        def save(metadata: State, name: str, guard: Callable[[], None] = unguarded) -> None:
            send(name)
            said = {**metadata, **_plain(last[0])}
            sharded_checkpoint.save(assigned.folder, name, training.module, training.optimiser, said, guard)

        def share() -> Processes:
            send(_MEASURE)
            return processes

        yield Led(snapshots(), save, share)


def follow(job: Job) -> None:
    """Do a run at the word of the leader; for all ranks but 0."""
    assigned: Assignment = job.told
    run, resources = assigned.run, assigned.resources
    if resources.device == "cpu":
        torch.set_num_threads(1)
    inputs = opened(run, assigned.home, following=True)
    with joined(job.rank, job.size, job.meeting, resources.device) as processes, suppress(Diverged):
        device = _device_of(resources.device, processes)
        memory = memory_of(run, inputs.corpus, resources, device)
        measure = assigned.measuring(inputs, device, memory)
        training, whole = build_sharded(assigned, inputs, processes, memory)
        try:
            for at in _positions(training, assigned.folder, receive()):
                snapshot = _snapshot(training, whole, at)
                while (word := receive()) != _ON:
                    if word == _MEASURE:
                        with suppress(torch.OutOfMemoryError, MemoryError):  # of which all know, and the leader tells
                            measure(snapshot, processes)
                        continue
                    sharded_checkpoint.save(assigned.folder, word, training.module, training.optimiser, _plain(at))
        except OSError as error:
            if error.errno not in FULL:  # of a full disk the leader tells
                raise


def build_sharded(
    assigned: Assignment, inputs: Inputs, processes: Processes, memory: Memory
) -> tuple[Training, Pretraining]:
    """The untrained run, sharded over its processes, and a whole copy that is measured; the weights are the leader's.

    All processes call it.
    """
    run, resources = assigned.run, assigned.resources
    device = _device_of(resources.device, processes)
    whole, module = (build(run, inputs.corpus, inputs.asked.to(device) if inputs.asked else None) for _ in range(2))
    module.to(device)
    if inputs.initial is not None:
        module.backbone.load_state_dict(inputs.initial)
    for tensor in module.state_dict().values():
        distributed.broadcast(tensor, 0)
    share, micro_batch = -(-run.schedule.batch_size // processes.size), resources.sparing.micro_batch
    how = execution(
        device,
        run.schedule.precision,
        micro_batch=micro_batch,
        compile=resources.compile,
        recompute=memory.recompute,
    )
    prepare_module(whole.to(device), replace(how, recompute=False))
    prepare_module(module, how, by_block=True)
    shard(module, device, bf16=how.precision == "bf16", in_micro_batches=(micro_batch or share) < share)
    corpora, any_leads = (inputs.corpus, *inputs.mixed), module.backbone.any_leads
    store = stored(run.slice, corpora, "train", device, any_leads, memory.allowance, inputs.words)
    optimiser = optimiser_of(module.groups(), run.objective.optimiser)
    return Training(run, module, optimiser, store, how, processes), whole


def to_single(run: Run, inputs: Inputs, folder: Path, entry: State) -> State:
    """A sharded checkpoint as one process goes on from it (``train.pretrain``)."""
    module = build(run, inputs.corpus, inputs.asked)
    optimiser = optimiser_of(module.groups(), run.objective.optimiser)
    sharded_checkpoint.load(folder, entry["name"], module, optimiser)
    unfinished = {"unfinished": torch.tensor(entry["unfinished"])}
    return {**entry, **unfinished, "module": module.state_dict(), "optimiser": optimiser.state_dict()}


def to_sharded(run: Run, inputs: Inputs, folder: Path, state: State) -> sharded_checkpoint.Entry:
    """The checkpoint of a run that one process did, put where several processes go on from it; its entry."""
    module = build(run, inputs.corpus, inputs.asked)
    optimiser = optimiser_of(module.groups(), run.objective.optimiser)
    module.load_state_dict(state["module"])
    optimiser.load_state_dict(state["optimiser"])
    metadata = _plain(Position.of(state)) | {name: state[name] for name in ("inputs", "measured")}
    sharded_checkpoint.save(folder, f"step-{state['step']}.whole", module, optimiser, metadata)
    return next(sharded_checkpoint.intact(folder))


def send(word: Any) -> None:
    """Tell the followers; the leader alone calls it."""
    distributed.broadcast_object_list([word], 0, device=torch.device("cpu"))


def receive() -> Any:
    """What the leader tells."""
    word: list[Any] = [None]
    distributed.broadcast_object_list(word, 0, device=torch.device("cpu"))
    return word[0]


def _positions(
    training: Training, folder: Path, resume: State | None, pause: Callable[[], bool] = lambda: False
) -> Iterator[Position]:
    """Where training stands, from the beginning or from a sharded checkpoint on."""
    if resume is None:
        yield Position()
    else:
        sharded_checkpoint.load(folder, resume["name"], training.module, training.optimiser)
        if resume.get("again"):
            yield Position.of(resume)
    yield from train(training, Position.of(resume), pause)


def _snapshot(training: Training, whole: Pretraining, at: Position) -> Snapshot:
    """What all processes measure: the weights of a sharded module, in each one's whole copy."""
    whole.begin(max(0, at.step - 1), training.run.schedule.steps)
    fill(whole, training.module)
    return Snapshot(at.step, at.seconds, at.loss, whole, training.optimiser, at.losses, at.due, training.how, at.paused)


def _plain(at: Position) -> State:
    """Where training stands, as plain JSON."""
    return {"step": at.step, "seconds": at.seconds, "unfinished": at.losses.tolist(), "due": at.due}


def _device_of(device: str, processes: Processes) -> str:
    """The device of a process: of GPUs the one with its number."""
    if not device.startswith("cuda"):
        return device
    torch.cuda.set_device(processes.rank)
    return f"cuda:{processes.rank}"
