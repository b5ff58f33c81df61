"""What a sweep costs before it is paid: size, data, compute and time of every run."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from ecgscale import codebooks, data
from ecgscale.compute import Cost, cost
from ecgscale.data.batches import Batch
from ecgscale.data.peaks import MAX_BEATS
from ecgscale.models import ResNet
from ecgscale.objectives import Masked, Supervised
from ecgscale.spec import Run, did_you_mean
from ecgscale.states import states
from ecgscale.sweep import Sweep
from ecgscale.tasks import TASKS

# Sustained training speed in FLOP/s. GPUs: 30 % of the dense bf16 peak that their makers print; a reckoning, not a
# measurement. "here" is measured on one core of this machine.
DEVICES = {"a100": 0.3 * 312e12, "h100": 0.3 * 989e12, "here": None}
_BYTES_A_PARAMETER = 16  # weight, gradient and two moments of Adam, float32
_EVALUATED = 1 / 3  # a forward pass costs a third of a training step on the same recording


def plan(sweep: Sweep, home: Path, results: Path, device: str = "here") -> pd.DataFrame:
    """One line a run: what it is, N, D, MACs and FLOPs, hours on one device, memory and disk, and its state.

    ``n_samples`` of a corpus that is not prepared is reckoned from its published size. ``infeasible`` says in words why
    a run cannot be launched here; empty if it can. ``evaluation_share`` is the part of the compute spent on measuring.
    """
    outlines = checked(sweep, home)
    speed = DEVICES[device] or measured_flops()
    state = states(sweep, results).set_index("run_id")["state"]
    evaluated = {name: sum(outlines[name].n_records) for name in {TASKS[t].corpus for t in sweep.tasks}}
    missing = [name for name, outline in outlines.items() if not outline.prepared]
    lines: list[dict[str, Any]] = []
    for run in sweep.runs:
        outline = outlines[run.slice.corpus]
        n_labels = outline.n_labels.get(run.slice.label_set, 0)
        spent = cost(run.architecture, run.objective, n_labels, outline.n_samples)
        flops = spent.flops(run.schedule.batch_size, run.schedule.steps)
        n_evaluations = 1 + -(-run.schedule.steps // run.evaluation.every)
        forwards = n_evaluations * (sum(evaluated.values()) + sum(outline.n_records[1:]))
        measuring = spent.flops(1, 1) * _EVALUATED * forwards
        lines.append(
            {
                "run_id": run.run_id,
                "name": run.name,
                "configuration": run.configuration,
                "architecture": run.architecture.kind,
                "size": run.architecture.size,
                "objective": run.objective.kind,
                "fraction": run.slice.fraction,
                "seed": run.seed,
                "n_params": spent.n_params,
                "n_samples": round(outline.n_records[0] * run.slice.fraction),
                "macs_per_sample": spent.macs_per_sample,
                "flops": flops,
                "evaluation_share": measuring / (measuring + flops),
                "device_hours": (flops + measuring) / speed / 3600,
                "memory_gb": _memory_bytes(run, spent, outline) / 1e9,
                "disk_gb": 2 * 12e-9 * (spent.n_params + spent.n_params_head),  # two checkpoints while it runs
                "state": state[run.run_id],
                "infeasible": f"corpus {missing[0]} is not prepared" if missing else "",
            }
        )
    return pd.DataFrame(lines)


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


def checked(sweep: Sweep, home: Path) -> dict[str, data.Outline]:
    """Outlines of all corpora that a sweep names.

    Raises ValueError with every task, corpus and label set that does not exist, and the nearest that does.
    """
    wrong = [f"there is no task {name!r}{did_you_mean(name, TASKS)}" for name in sweep.tasks if name not in TASKS]
    outlines: dict[str, data.Outline] = {}
    for name in _corpora(sweep):
        try:
            outlines[name] = data.outline(name, home)
        except ValueError as error:
            wrong.append(str(error))
    asked = {(run.slice.corpus, run.slice.label_set) for run in sweep.runs if run.slice.label_set}
    for name, label_set in sorted(asked):
        known = outlines[name].n_labels if name in outlines else {}
        if known and label_set not in known:
            wrong.append(f"corpus {name} has no label set {label_set!r}{did_you_mean(label_set, known)}")
    if wrong:
        raise ValueError(f"sweep {sweep.name}: " + "; ".join(wrong))
    return outlines


def unlaunchable(sweep: Sweep, home: Path) -> list[str]:
    """Why a sweep cannot be launched here, one sentence a cause with the command that mends it; empty if it can.

    Raises as ``checked``.
    """
    causes = [
        f"corpus {name} is not prepared here; run: ecgscale data prepare {name} --raw DIR"
        for name, outline in checked(sweep, home).items()
        if not outline.prepared
    ]
    books = dict.fromkeys(run.objective.codebook for run in sweep.runs if isinstance(run.objective, Masked))
    remedies = [codebooks.remedy(book, sweep.name) for book in books if not codebooks.is_trained(book, home)]
    return causes + [f"its codebook is not here; {remedy}" for remedy in dict.fromkeys(remedies)]


def measured_flops(seconds: float = 0.5) -> float:
    """Training speed of one core of this machine in FLOP/s, on a small ResNet."""
    module = Supervised().build(ResNet(3, 24).build(), 6).train()
    spent = cost(ResNet(3, 24), Supervised(), 6, 1000)
    n = 32
    batch = Batch(torch.randn(n, 12, 1000), torch.full((n, MAX_BEATS), -1), torch.zeros(n, 6), torch.arange(n))
    draw, threads, done = torch.Generator(), torch.get_num_threads(), 0
    torch.set_num_threads(1)
    try:
        module(batch, draw).mean.backward()
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            module(batch, draw).mean.backward()
            done += 1
        return spent.flops(n, done) / (time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)


def _corpora(sweep: Sweep) -> list[str]:
    trained_on = [run.slice.corpus for run in sweep.runs]
    return list(dict.fromkeys(trained_on + [TASKS[name].corpus for name in sweep.tasks if name in TASKS]))


def _memory_bytes(run: Run, spent: Cost, outline: data.Outline) -> float:
    """Weights with optimiser; activations, about three tensors for each that a product puts out; resident data."""
    weights = _BYTES_A_PARAMETER * (spent.n_params + spent.n_params_head)
    activations = 4 * 3 * spent.n_activations * run.schedule.batch_size
    n_train, n_val, n_test = outline.n_records
    resident = 2 * 8 * outline.n_samples * (n_train * run.slice.fraction + n_val + n_test)
    return weights + activations + resident
