"""What a sweep costs before it is paid: size, data, compute and time of every run."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from ecgscale import data, records
from ecgscale.compute import Cost, cost
from ecgscale.data.allowance import SHARE, Allowance
from ecgscale.data.batches import bytes_of
from ecgscale.definitions import code_facts
from ecgscale.phrases import did_you_mean
from ecgscale.pool.shares import gpu_share, limit_of
from ecgscale.pool.states import measured_memory, outstanding, states
from ecgscale.pricing import calibration
from ecgscale.pricing.calibration import Device
from ecgscale.pricing.counts import remembered
from ecgscale.pricing.hours import run_hours, shared_hours
from ecgscale.pricing.obstacles import checked, why_unmeasured
from ecgscale.spec.run import Run, parts_of
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import Task, measurable, task_of
from ecgscale.training.footprint import needed_bytes, working_bytes

_MOST_GPUS = 16  # of a machine
_BYTES_KEPT = 12.0  # of a parameter in a checkpoint: the weight and both moments
_BYTES_A_ROW, _ROWS_A_TARGET = 30, 10  # of a results file, compressed; numbers on one target at one evaluation


def plan(
    sweep: Sweep, home: Path, results: Path, device: str | Device = "here", processes: int | None = None
) -> pd.DataFrame:
    """One line a run: what it is, N, D, MACs and FLOPs, hours on one device, memory and disk, and its state.

    ``device``: "here" (measured once, then kept in home), one of ``calibration.PRINTED``, the name of a device that was
    calibrated into this home, or a Device. ``n_samples`` of a corpus that is not prepared is reckoned from its
    published size. Of a run that is done with a class of one's own, N and MACs are those it was done with, whatever the
    class has become. ``state`` is the run's (``pool.states``), or "infeasible" if it is to be done and cannot be, for
    the reason that ``infeasible`` says in words; ``not_measured`` says why its backbone is measured on all tasks but
    some, ``tasks_left`` which of them wait for their corpora (``launch --tasks-available``). ``device_hours`` is the
    sum of ``training_hours``, ``evaluation_hours`` and ``probe_hours`` (see ``hours``), without what masked runs share
    (``shared_parts``); ``clock_hours`` how long its ``processes`` take together, which share training and evaluations;
    ``evaluation_share`` the part of it spent on measuring;
    ``gpu_share`` the part of a GPU that a launch gives the run (``pool.shares``), or how many, 0 on CPUs; ``gpu_busy``
    the part of the GPU's fastest speed at which the run trains, where that was measured. ``processes`` do each run,
    with a device each; if left out one does, or as many as a run needs that is too large for one GPU and not for all of
    them here.
    """
    sizes = checked(sweep, home)
    on = device if isinstance(device, Device) else device_named(device, home)
    state = states(sweep, results).set_index("run_id")["state"]
    missing = [name for name, size in sizes.items() if not size.prepared]
    free, measured, counted = _free_bytes(home), measured_memory(results), _counted(sweep, results)
    left = outstanding(sweep, results)

    def line(run: Run) -> dict[str, Any]:
        size, parts = sizes[run.slice.corpus], [sizes[name] for name in run.slice.corpora]
        spent = _cost(run, size)
        if state[run.run_id] == "done" and run.run_id in counted:
            n_params, n_params_head, macs = counted[run.run_id]
            spent = spent._replace(n_params=n_params, n_params_head=n_params_head, macs_per_sample=macs)
        flops = spent.flops(run.schedule.batch_size, run.schedule.n_taken)
        n_evaluations = 1 + len(run.schedule.measured(run.evaluation.every))
        tasks = measurable(sweep.tasks, run)
        hours = run_hours(run, spent, tasks, sizes, on)
        kind, macs = run.architecture.kind, spent.macs_per_sample
        stores = stores_of(run, tasks, sizes)
        n = processes or _processes(run, spent, stores, on)
        memory = _memory_bytes(run, spent, stores, on, n)
        busy = on.speed(kind, macs) / on.fastest(kind) if on.gpu and on.measured else None
        checkpoints = 2 * _BYTES_KEPT * (spent.n_params + spent.n_params_head)
        disk = checkpoints + n_evaluations * (1 + len(tasks)) * _ROWS_A_TARGET * _BYTES_A_ROW
        to_do = state[run.run_id] not in ("done", "running")
        obstacle = _obstacle(missing, memory, on, disk, free) if to_do else ""
        return {
            "run_id": run.run_id,
            "name": sweep.names[run.run_id],
            "configuration": run.configuration,
            "architecture": kind,
            "size": run.architecture.size,
            "objective": run.objective.kind,
            "fraction": run.slice.fraction,
            "seed": run.seed,
            "n_params": spent.n_params,
            "n_samples": round(sum(part.n_records[0] for part in parts) * run.slice.fraction),
            "macs_per_sample": macs,
            "counted_by": spent.counted_by,
            "flops": flops,
            "evaluation_share": 1 - hours.training / hours.total,
            "device_hours": hours.total,
            "clock_hours": hours.clock(n),
            "training_hours": hours.training,
            "evaluation_hours": hours.evaluation,
            "probe_hours": hours.probes,
            "processes": n,
            "memory_gb": memory / 1e9,  # of each process
            "kept_gb": 4e-9 * spent.n_params * {"none": 0, "best": 1, "all": n_evaluations - 1}[sweep.keep],
            "disk_gb": disk / 1e9,  # two checkpoints while it runs, and its rows
            "gpu_share": _gpu_share(n, measured(run) or memory, busy, on),
            "gpu_busy": busy,
            "state": "infeasible" if obstacle else state[run.run_id],
            "infeasible": obstacle,
            "not_measured": "; ".join(_not_measured(sweep, run, sizes)),
            "tasks_left": _left(sweep, run, left.get(run.run_id, ()), done=not to_do),
        }

    with remembered(home):
        return pd.DataFrame([line(run) for run in sweep.runs])


def _counted(sweep: Sweep, results: Path) -> dict[str, tuple[int, int, int]]:
    """N, the head's parameters and MACs of runs with classes of one's own, as counted then: code may have changed."""
    if not any(code_facts(parts_of(run)) for run in sweep.runs):
        return {}
    columns = ["run_id", "n_params", "n_params_head", "macs_per_sample"]
    rows = records.load(results, [sweep.name], columns=columns).rows.drop_duplicates("run_id")
    return {str(run_id): (int(n), int(head), int(macs)) for run_id, n, head, macs in rows[columns].to_numpy()}


def _not_measured(sweep: Sweep, run: Run, sizes: Mapping[str, data.CorpusSize]) -> list[str]:
    """Why a run is not measured on some tasks of its sweep, one sentence a reason; of a task's conditions the task."""
    reasons: dict[str, list[str]] = {}
    for task in dict.fromkeys(task_of(one).clean for one in sweep.tasks):
        if reason := why_unmeasured(task, run, sizes):
            reasons.setdefault(reason, []).append(task.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _left(sweep: Sweep, run: Run, outstanding: Sequence[str], done: bool) -> str:
    """Names of the tasks that a run was begun without, and, if it is to be done, of those that it will be."""
    planned = () if done else [task.name for task in measurable(sweep.left_out, run)]
    return ", ".join(dict.fromkeys([*outstanding, *planned]))


def shared_parts(sweep: Sweep, home: Path, on: Device) -> dict[str, float]:
    """Hours that the masked runs of a sweep share: labelling corpora with codes, and training the codebook."""
    with remembered(home):
        return shared_hours(sweep, checked(sweep, home), on, home)


def device_named(name: str, home: Path) -> Device:
    """A device to plan for. Raises ValueError with the nearest name for one that nobody knows."""
    found = calibration.named(name, home)
    if found is None:
        names = ["here", *calibration.PRINTED, *(d.name for d in calibration.known(home).values())]
        raise ValueError(f"no device {name!r}{did_you_mean(name, dict.fromkeys(names))}")
    return found


def shares(sweep: Sweep, priced: pd.DataFrame, home: Path, results: Path) -> Callable[[Run, float], float]:
    """The part that each run of a plan gets of a GPU of so many bytes, or how many of them it needs.

    Whatever device the plan is for; of that one it is what the plan says.
    """
    sizes, measured = checked(sweep, home), measured_memory(results)
    busy = {line["run_id"]: line["gpu_busy"] for line in priced.dropna(subset="gpu_busy").to_dict("records")}

    def share(run: Run, gpu_bytes: float) -> float:
        spent = _cost(run, sizes[run.slice.corpus])
        stores = stores_of(run, measurable(sweep.tasks, run), sizes)
        card = Device("a GPU", True, gpu_bytes, {})
        enough = (n for n in range(1, _MOST_GPUS + 1) if _memory_bytes(run, spent, stores, card, n) <= gpu_bytes)
        n = next(enough, 1)
        memory = measured(run) or _memory_bytes(run, spent, stores, card)
        return float(n) if n > 1 else gpu_share(memory, busy.get(run.run_id), gpu_bytes)

    return share


def _cost(run: Run, size: data.CorpusSize) -> Cost:
    return cost(run.architecture, run.objective, size.n_labels_of(run.slice.label_set), size.n_samples)


def _gpu_share(processes: int, memory: float, busy: float | None, on: Device) -> float:
    if not on.gpu:
        return 0.0
    return float(processes) if processes > 1 else gpu_share(memory, busy, on.memory_bytes)


def _obstacle(missing: Sequence[str], memory: float, on: Device, disk: float, free: float) -> str:
    """Why a run cannot be done, in words; empty if it can."""
    if missing:
        return f"corpus {missing[0]} is not prepared"
    if memory > on.memory_bytes:
        return f"it needs about {memory / 1e9:.3g} GB of memory and {on.name} has {on.memory_bytes / 1e9:.3g}"
    if disk > free:
        return f"it needs about {disk / 1e9:.3g} GB of disk and {free / 1e9:.3g} are free"
    return ""


def _free_bytes(home: Path) -> float:
    """Free disk where checkpoints go: of the nearest folder that exists."""
    folder = home.resolve()
    while not folder.exists():
        folder = folder.parent
    return float(shutil.disk_usage(folder).free)


def _processes(run: Run, spent: Cost, stores: "_Stores", on: Device) -> int:
    """How many GPUs of this machine a run needs; 1 if one is enough or all are too few."""
    there = torch.cuda.device_count() if on.gpu else 1
    enough = (n for n in range(1, there + 1) if _memory_bytes(run, spent, stores, on, n) <= on.memory_bytes)
    return next(enough, 1)


class _Stores(NamedTuple):
    """Bytes of the recordings that a run holds, split by split of its corpora, and of what each probe asks for."""

    held: tuple[int, ...]
    probed: tuple[int, ...]


def stores_of(run: Run, tasks: Sequence[Task], sizes: Mapping[str, data.CorpusSize]) -> _Stores:
    """The stores of a run, from the sizes of its corpora: the order in which they take from an allowance."""
    parts, labels = [sizes[name] for name in run.slice.corpora], run.slice.label_set

    def n_bytes(part: data.CorpusSize, n_records: float, label_bytes: int) -> int:
        return sum(bytes_of(round(n_records), part.n_leads, part.n_samples, label_bytes))

    def trained(part: data.CorpusSize, n_records: float) -> int:
        book = run.objective.codebook
        return n_bytes(part, n_records, 2 * book.n_tokens if book else 4 * part.n_labels_of(labels))

    held = [trained(part, part.n_records[split]) for split in (1, 2) for part in parts]
    held += [trained(part, part.n_records[0] * run.slice.fraction) for part in parts]
    asked = dict.fromkeys((task.corpus, task.label_set if task.by == "head" else "") for task in tasks)
    probed = [
        n_bytes(sizes[name], sum(sizes[name].n_records), 4 * sizes[name].n_labels_of(label_set))
        for name, label_set in asked
    ]
    return _Stores(tuple(held), tuple(probed))


def _memory_bytes(run: Run, spent: Cost, stores: _Stores, on: Device, processes: int = 1) -> float:
    """What a process takes at most: its model at work, and the data that stay beside it, those of a probe included."""
    share = -(-run.schedule.batch_size // processes)
    limit = limit_of(1.0, on.memory_bytes) if on.gpu else on.memory_bytes
    working = needed_bytes(spent, share, limit, processes) if on.gpu else working_bytes(spent, share, processes)
    room = min(SHARE["cuda"] * on.memory_bytes, limit - working) if on.gpu else SHARE["cpu"] * on.memory_bytes
    return working + resident_bytes(stores.held, stores.probed, Allowance(room))


def resident_bytes(held: Sequence[int], probed: Sequence[int], allowance: Allowance) -> int:
    """What stays of stores at most: of those held as long as the run, and of those of probes one at a time."""
    for n_bytes in held:
        allowance.take(n_bytes)
    most = allowance.taken
    for n_bytes in probed:
        if allowance.take(n_bytes):
            most = max(most, allowance.taken)
            allowance.give_back(n_bytes)
    return most
