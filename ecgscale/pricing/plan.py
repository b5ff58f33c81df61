"""What a sweep costs before it is paid: size, data, compute and time of every run."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ecgscale import data, records
from ecgscale.compute import Cost, cost
from ecgscale.data.batches import SHARE
from ecgscale.data.mixture import n_evaluated
from ecgscale.phrases import did_you_mean
from ecgscale.pool.shares import gpu_share
from ecgscale.pool.states import measured_memory, states
from ecgscale.pricing import calibration
from ecgscale.pricing.calibration import Device
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep, defined
from ecgscale.spec.tasks import TASKS, Task, measurable, why_not
from ecgscale.training import codebooks, kept_weights, weights

_BYTES_A_PARAMETER = 16  # weight, gradient and two moments of Adam, float32
_EVALUATED = 1 / 3  # a forward pass costs a third of a training step on the same recording
_BYTES_KEPT = 12.0  # of a parameter in a checkpoint: the weight and both moments
_BYTES_A_ROW, _ROWS_A_TARGET = 30, 10  # of a results file, compressed; numbers on one target at one evaluation


def plan(
    sweep: Sweep, home: Path, results: Path, device: str | Device = "here", processes: int | None = None
) -> pd.DataFrame:
    """One line a run: what it is, N, D, MACs and FLOPs, hours on one device, memory and disk, and its state.

    ``device``: "here" (measured once, then kept in home), one of ``calibration.PRINTED``, the name of a device that was
    calibrated into this home, or a Device. ``n_samples`` of a corpus that is not prepared is reckoned from its
    published size. ``state`` is the run's (``pool.states``), or "infeasible" if it is to be done and cannot be, for the
    reason that ``infeasible`` says in words; ``not_measured`` says why its backbone is measured on all tasks but some.
    ``evaluation_share`` is the part of the compute spent on measuring; ``gpu_share`` the part of a GPU that a launch
    gives the run (``pool.shares``), or how many, 0 on CPUs; ``gpu_busy`` the part of the GPU's fastest speed at which
    the run trains, where that was measured. ``processes`` do each run, with a device each; if left out one does, or as
    many as a run needs that is too large for one GPU and not for all of them here.
    """
    sizes = checked(sweep, home)
    on = device if isinstance(device, Device) else device_named(device, home)
    state = states(sweep, results).set_index("run_id")["state"]
    missing = [name for name, size in sizes.items() if not size.prepared]
    free, measured = _free_bytes(home), measured_memory(results)
    lines: list[dict[str, Any]] = []
    for run in sweep.runs:
        size, parts = sizes[run.slice.corpus], [sizes[name] for name in run.slice.corpora]
        n_labels = size.n_labels.get(run.slice.label_set, 0)
        spent = cost(run.architecture, run.objective, n_labels, size.n_samples)
        flops = spent.flops(run.schedule.batch_size, run.schedule.steps)
        n_evaluations = 1 + -(-run.schedule.steps // run.evaluation.every)
        tasks = measurable(sweep.tasks, run)
        forwards = n_evaluations * (_probed(tasks, sizes) + _examined(run, parts))
        measuring = spent.flops(1, 1) * _EVALUATED * forwards
        kind, macs = run.architecture.kind, spent.macs_per_sample
        n = processes or _processes(run, spent, parts, on)
        memory = _memory_bytes(run, spent, parts, on, n)
        busy = on.speed(kind, macs) / on.fastest(kind) if on.gpu and on.measured else None
        checkpoints = 2 * _BYTES_KEPT * (spent.n_params + spent.n_params_head)
        disk = checkpoints + n_evaluations * (1 + len(tasks)) * _ROWS_A_TARGET * _BYTES_A_ROW
        to_do = state[run.run_id] not in ("done", "running")
        obstacle = _obstacle(missing, memory, on, disk, free) if to_do else ""
        lines.append(
            {
                "run_id": run.run_id,
                "name": run.name,
                "configuration": run.configuration,
                "architecture": kind,
                "size": run.architecture.size,
                "objective": run.objective.kind,
                "fraction": run.slice.fraction,
                "seed": run.seed,
                "n_params": spent.n_params,
                "n_samples": round(sum(part.n_records[0] for part in parts) * run.slice.fraction),
                "macs_per_sample": macs,
                "flops": flops,
                "evaluation_share": measuring / (measuring + flops),
                "device_hours": (flops + measuring) / on.speed(kind, macs) / 3600,
                "processes": n,
                "memory_gb": memory / 1e9,  # of each process
                "kept_gb": 4e-9 * spent.n_params * {"none": 0, "best": 1, "all": n_evaluations - 1}[sweep.keep],
                "disk_gb": disk / 1e9,  # two checkpoints while it runs, and its rows
                "gpu_share": _gpu_share(n, measured(run) or memory, busy, on),
                "gpu_busy": busy,
                "state": "infeasible" if obstacle else state[run.run_id],
                "infeasible": obstacle,
                "not_measured": "; ".join(_not_measured(sweep, run)),
            }
        )
    return pd.DataFrame(lines)


def _not_measured(sweep: Sweep, run: Run) -> list[str]:
    """Why a run is not measured on some tasks of its sweep, one sentence a reason; of a task's conditions the task."""
    reasons: dict[str, list[str]] = {}
    for task in dict.fromkeys(TASKS[name].clean for name in sweep.tasks):
        if reason := why_not(task, run):
            reasons.setdefault(reason, []).append(task.name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _probed(tasks: Sequence[Task], sizes: Mapping[str, data.CorpusSize]) -> int:
    """Recordings that probes compute: every corpus once a unit, its test recordings again under each condition.

    A head computes test recordings alone.
    """
    whole = {(task.corpus, task.unit) for task in tasks if task.by == "probe"}
    again = {
        (task.corpus, task.unit, task.condition, task.by) for task in tasks if task != task.clean or task.by == "head"
    }
    n_tested = sum(sizes[corpus].n_records[2] for corpus, *_ in again)
    return n_tested + sum(sum(sizes[corpus].n_records) for corpus, _ in whole)


def _examined(run: Run, parts: Sequence[data.CorpusSize]) -> int:
    """Recordings of val and test that the loss in distribution is measured on."""
    shares = (1.0, *(share for _, share in run.slice.mix))
    return sum(n_evaluated([part.n_records[split] for part in parts], shares) for split in (1, 2))


def device_named(name: str, home: Path) -> Device:
    """A device to plan for. Raises ValueError with the nearest name for one that nobody knows."""
    found = calibration.named(name, home)
    if found is None:
        names = ["here", *calibration.PRINTED, *(d.name for d in calibration.known(home).values())]
        raise ValueError(f"no device {name!r}{did_you_mean(name, dict.fromkeys(names))}")
    return found


def shares(priced: pd.DataFrame, results: Path) -> Callable[[Run, float], float]:
    """The part that each run of a plan gets of a GPU of so many bytes; of the plan's own device, what the plan says."""
    measured = measured_memory(results)
    reckoned = {line["run_id"]: 1e9 * line["memory_gb"] for line in priced.to_dict("records")}
    busy = {line["run_id"]: line["gpu_busy"] for line in priced.dropna(subset="gpu_busy").to_dict("records")}
    return lambda run, gpu_bytes: gpu_share(measured(run) or reckoned[run.run_id], busy.get(run.run_id), gpu_bytes)


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


def select(priced: pd.DataFrame, only: Sequence[str]) -> pd.DataFrame:
    """Lines of a plan that meet every FIELD=VALUE. Raises ValueError naming a field or value that no line has."""
    for condition in only:
        field, equals, value = condition.partition("=")
        if not equals:
            raise ValueError(f"--only {condition!r}: write FIELD=VALUE, for example configuration=resnet-sl")
        if field not in priced.columns:
            raise ValueError(f"--only {condition!r}: runs have no field {field!r}{did_you_mean(field, priced.columns)}")
        column = priced[field]
        known = column.astype(str) if not pd.api.types.is_numeric_dtype(column) else column
        try:
            met = known == (value if known is not column else float(value))
        except ValueError:
            raise ValueError(f"--only {condition!r}: {field} is a number") from None
        if not met.any():
            raise ValueError(f"--only {condition!r}: no run has it{did_you_mean(value, sorted(set(map(str, known))))}")
        priced = priced[met]
    return priced


def checked(sweep: Sweep, home: Path) -> dict[str, data.CorpusSize]:
    """Outlines of all corpora that a sweep names.

    Raises ValueError with every task, corpus and label set that does not exist, and the nearest that does.
    """
    wrong = [f"there is no task {name!r}{did_you_mean(name, TASKS)}" for name in sweep.tasks if name not in TASKS]
    sizes: dict[str, data.CorpusSize] = {}
    for name in _corpora(sweep):
        try:
            sizes[name] = data.corpus_size(name, home)
        except ValueError as error:
            wrong.append(str(error))
    asked = {(run.slice.corpus, run.slice.label_set) for run in sweep.runs if run.slice.label_set}
    for name, label_set in sorted(asked):
        if name in sizes and label_set not in (known := sizes[name].n_labels):
            wrong.append(f"corpus {name} has no label set {label_set!r}{did_you_mean(label_set, known)}")
        wrong += data.without_outcomes(name, home, label_set, both=("train",), known=("val",))
    for name, kind in dict.fromkeys(
        (name, run.architecture.kind)
        for run in sweep.runs
        if not run.architecture.any_leads
        for name in run.slice.corpora
        if name in sizes and not sizes[name].twelve_leads
    ):
        wrong.append(f"corpus {name} has not twelve leads, and a {kind} reads no others")
    known_sets = {name: 0 for size in sizes.values() for name in size.n_labels}
    if known_sets:
        missing = [name for name in sweep.label_sets if name not in known_sets]
        wrong += [f"no corpus of its runs has a label set {name!r}{did_you_mean(name, known_sets)}" for name in missing]
    for task in dict.fromkeys(TASKS[name].clean for name in sweep.tasks if name in TASKS):
        reasons = [why_not(task, run) for run in sweep.runs]
        if reasons and all(reasons):
            wrong.append(f"none of its runs can be measured on {task.name}: {reasons[0]}")
        elif task.unit == "recording":
            asked_of = ("test",) if task.by == "head" else ("train", "test")
            also = () if task.by == "head" else ("val",)
            lacking = data.without_outcomes(task.corpus, home, task.label_set, both=asked_of, known=also)
            wrong += [f"task {task.name}: {text}" for text in lacking]
    if wrong:
        raise ValueError(f"sweep {sweep.name}: " + "; ".join(wrong))
    return sizes


def unlaunchable(
    sweep: Sweep, home: Path, results: Path, runs: Sequence[Run] | None = None, *, allow_missing: bool = False
) -> list[str]:
    """Why a sweep (or only these runs of it) cannot be launched here; empty if it can.

    One sentence a cause, with the command that mends it. A corpus whose raw folder lacked parts is a cause unless
    ``allow_missing``. Raises as ``checked``.
    """
    chosen = sweep if runs is None else replace(sweep, runs=tuple(runs))
    causes = [
        f"corpus {name} is not prepared here; run: {data.corpus.command_for(name)}"
        for name, size in checked(chosen, home).items()
        if not size.prepared
    ]
    lacking = {} if allow_missing else data.missing_parts(_corpora(chosen), home)
    causes += [
        f"corpus {name} was prepared without {'; '.join(parts[:3])}{' ...' if len(parts) > 3 else ''}: "
        "complete its raw folder and prepare it anew, or say --allow-missing"
        for name, parts in lacking.items()
    ]
    remedies = [codebooks.remedy(book, sweep.name) for book in chosen.codebooks if not codebooks.is_trained(book, home)]
    causes += [f"its codebook is not here; {remedy}" for remedy in dict.fromkeys(remedies)]
    lost = [digest for digest in dict.fromkeys(run.weights for run in chosen.runs) if digest]
    causes += [
        f"published weights {digest[:12]} are not here; {weights.remedy(digest)}"
        for digest in lost
        if not weights.is_imported(digest, home)
    ]
    return causes + _without_weights(sweep, chosen.runs, home, results)


def _without_weights(sweep: Sweep, chosen: Sequence[Run], home: Path, results: Path) -> list[str]:
    """Initial runs whose weights are not kept here and that are not chosen themselves, by what trains them."""
    mine = {run.run_id for run in chosen}
    initial = {run.initial.run_id: run.initial for run in chosen if run.initial is not None}
    wanted = [run for run_id, run in initial.items() if not kept_weights.is_ready(run, home)]
    causes: dict[str, list[Run]] = {}
    for run in wanted:
        holder = next((s for s in (sweep, *defined()) if s.keep != "none" and run in s.runs), None)
        done = holder is not None and records.state_of(records.path_of(results, holder.name, run.run_id))[0] == "done"
        if run.run_id in mine and not done:
            continue
        if holder is None:
            remedy = 'put them into a sweep with keep="best" and launch it'
        elif done:
            remedy = f"they are done without them; delete their files in runs/{holder.name} and launch it again"
        else:
            remedy = f"run: ecgscale launch {holder.name}"
        causes.setdefault(remedy, []).append(run)
    return [
        f"{len(runs)} initial runs have no kept weights here ({runs[0].run_id} {runs[0].name}, ...); {remedy}"
        if len(runs) > 1
        else f"initial run {runs[0].run_id} ({runs[0].name}) has no kept weights here; {remedy}"
        for remedy, runs in causes.items()
    ]


def _corpora(sweep: Sweep) -> list[str]:
    trained_on = [name for run in sweep.runs for name in run.slice.corpora]
    return list(dict.fromkeys(trained_on + [TASKS[name].corpus for name in sweep.tasks if name in TASKS]))


def _processes(run: Run, spent: Cost, parts: Sequence[data.CorpusSize], on: Device) -> int:
    """How many GPUs of this machine a run needs; 1 if one is enough or all are too few."""
    there = torch.cuda.device_count() if on.gpu else 1
    enough = (n for n in range(1, there + 1) if _memory_bytes(run, spent, parts, on, n) <= on.memory_bytes)
    return next(enough, 1)


def _memory_bytes(run: Run, spent: Cost, parts: Sequence[data.CorpusSize], on: Device, processes: int = 1) -> float:
    """Weights with optimiser; activations, about three tensors for each that a product puts out; resident data.

    Of several processes each has its part of all but the data, and the leader a whole copy of the weights.
    """
    n_params = spent.n_params + spent.n_params_head
    weights = _BYTES_A_PARAMETER * n_params / processes + (4 * n_params if processes > 1 else 0)
    activations = 4 * 3 * spent.n_activations * run.schedule.batch_size / processes
    resident, share = 0.0, SHARE["cuda" if on.gpu else "cpu"] * on.memory_bytes
    for part in parts:
        n_train, n_val, n_test = part.n_records
        for n_records in (n_train * run.slice.fraction, n_val, n_test):
            n_bytes = 2.0 * part.n_leads * part.n_samples * n_records
            resident += n_bytes if resident + n_bytes <= share else 0.0  # others stay on disk (see data.batches)
    return weights + activations + resident
