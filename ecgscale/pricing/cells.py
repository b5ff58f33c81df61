"""Cells that a sweep could grow by: its sizes and the ladder's around them, at its fractions and those between."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

import numpy as np

from ecgscale import beside
from ecgscale.compute import Cost, cost
from ecgscale.data import CorpusSize
from ecgscale.models import RESNET_200M, RESNETS, TRANSFORMER_200M, TRANSFORMERS, Architecture
from ecgscale.spec.run import Run, to_json
from ecgscale.spec.sweep import Sweep

FRACTIONS = 13  # from the least of the sweep to all, evenly in logarithms
BEYOND = 4.0  # times the sweep's largest size: a law is not trusted further out than that before it is measured there
_LADDERS: tuple[tuple[Architecture, ...], ...] = ((*RESNETS, RESNET_200M), (*TRANSFORMERS, TRANSFORMER_200M))


@dataclass(frozen=True)
class Cell:
    """One size at one fraction: its run with seed 0, N, D, and the training FLOP of one run."""

    run: Run
    n_params: int
    n_samples: int
    flops: float

    @property
    def group(self) -> tuple[str, str, str]:
        """What one law may run through: configuration, corpus, label set."""
        return group(self.run)


def group(run: Run) -> tuple[str, str, str]:
    return run.configuration, run.slice.name, run.slice.label_set


def cells(sweep: Sweep, sizes: dict[str, CorpusSize]) -> list[Cell]:
    """Every cell that a sweep could hold, by configuration, corpus and label set.

    Sizes: those of the sweep, and the rungs of the paper's ladder of the same architecture up to ``BEYOND`` times the
    largest, with all that is not size as in the sweep. A cell of the sweep keeps its schedule; another takes that of
    the sweep's first run of its group.
    """
    found = []
    for _, members in groupby(sorted(sweep.runs, key=group), key=group):
        runs = list(members)
        size = sizes[runs[0].slice.corpus]
        n_train = sum(sizes[name].n_records[0] for name in runs[0].slice.corpora)
        n_labels = size.n_labels_of(runs[0].slice.label_set)
        own: dict[Architecture, Run] = {}
        for run in runs:
            own.setdefault(run.architecture, run)

        def price(
            architecture: Architecture, run: Run = runs[0], n_labels: int = n_labels, width: int = size.n_samples
        ) -> Cost:
            return cost(architecture, run.objective, n_labels, width)

        largest = max(price(architecture).n_params for architecture in own)
        ladder = dict(own)
        for rung in _rungs(runs[0].architecture):
            if price(rung).n_params > BEYOND * largest:
                break
            ladder.setdefault(rung, replace(runs[0], architecture=rung))
        fractions = _fractions([run.slice.fraction for run in runs])
        for architecture, run in ladder.items():
            spent = price(architecture)
            flops = spent.flops(run.schedule.batch_size, run.schedule.steps)
            for fraction in fractions:
                planned = replace(run, slice=replace(run.slice, fraction=fraction), seed=0)
                found.append(Cell(planned, spent.n_params, round(n_train * fraction), flops))
    return found


def seeds(run: Run, count: int) -> list[Run]:
    """The runs of a cell with its first seeds."""
    return [replace(run, seed=seed) for seed in range(count)]


def as_code(sweep: Sweep, runs: Sequence[Run]) -> str:
    """Python that, at the end of the sweep's file, adds runs to its SWEEP."""
    modules: dict[str, set[str]] = {"ecgscale.spec.sweep": {"Sweep"}}
    lines = [f"        {_spelt(run, modules)},\n" for run in runs]
    modules.pop(beside.name_of(sweep.name), None)  # what the sweep's own file defines
    imports = [f"from {module} import {', '.join(sorted(names))}\n" for module, names in sorted(modules.items())]
    opening, closing = "SWEEP = Sweep(\n    SWEEP.name,\n    (\n        *SWEEP.runs,\n", "    ),\n    SWEEP.tasks,\n)\n"
    head = f"\n# {len(runs)} runs that `ecgscale suggest {sweep.name}` proposed.\n"
    return "".join([head, *imports, opening, *lines, closing])


def _spelt(value: Any, modules: dict[str, set[str]]) -> str:
    """The expression that builds a description, without what is at its default; notes what it needs imported."""
    if not hasattr(value, "__dataclass_fields__"):
        return repr(value)
    modules.setdefault(type(value).__module__, set()).add(type(value).__name__)
    told = [f.name for f in fields(value) if f.name in to_json(value)]
    return f"{type(value).__name__}({', '.join(f'{n}={_spelt(getattr(value, n), modules)}' for n in told)})"


def _rungs(like: Architecture) -> Iterator[Architecture]:
    """The paper's ladder of an architecture, smallest first; what does not change along it is taken from ``like``."""
    for ladder in _LADDERS:
        if type(ladder[0]) is type(like):
            size = [f.name for f in fields(like) if len({getattr(rung, f.name) for rung in ladder}) > 1]
            for rung in ladder:
                yield replace(like, **{name: getattr(rung, name) for name in size})


def _fractions(own: Sequence[float]) -> list[float]:
    between = np.geomspace(min(own), 1.0, FRACTIONS) if min(own) < 1 else [1.0]
    rounded = {float(f"{f:.2g}") for f in between}
    near = {f for f in rounded if any(abs(np.log(f / o)) < 0.1 for o in own)}  # the sweep's own stand for these
    return sorted((rounded - near) | set(own))
