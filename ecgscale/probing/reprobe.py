"""More tasks for runs that are done: their kept weights are probed, and nothing is trained."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ecgscale import data, records
from ecgscale.data.allowance import allowance_beside
from ecgscale.models import Backbone
from ecgscale.probing.measure import Row, computing_in, labels_asked, number_facts, probe_rows, reads
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import Task, left_out_facts, measurable, own_tasks, task_facts, told_left_out
from ecgscale.training import kept_weights
from ecgscale.training.inputs import initial_weights


def lacking(run: Run, sweep: Sweep, results: Path, tasks: Sequence[str | Task]) -> list[str]:
    """Names of those tasks on which a finished run was never measured and could be."""
    file = records.read(records.path_of(results, sweep.name, run.run_id))
    measured = set(file.rows["target"]) - set(told_left_out(file.facts))
    return [task.name for task in _probed(tasks, run) if task.name not in measured]


def reprobe(
    run: Run,
    sweep: Sweep,
    tasks: Sequence[str | Task],
    home: Path,
    results: Path,
    device: str = "cpu",
    *,
    guard: Callable[[], None] = records.unguarded,
) -> list[int]:
    """Probe a finished run's kept steps, and the network before training, on tasks; returns the steps.

    The run's file is replaced once, whole: rows of these tasks at these steps are new, all others stay. A number is
    what it would have been if the run had had the task from the start; tasks whose leads its network does not read are
    no longer left out. Raises kept_weights.NotKept, in one sentence, if
    nothing is kept of the run; ``guard`` is that of ``records.write``.
    """
    path = records.path_of(results, sweep.name, run.run_id)
    file = records.read(path)
    index = kept_weights.index_of(run, home)
    if index is None or not index.complete:
        raise kept_weights.NotKept(f"weights of run {run.run_id} ({run.name}) are not kept here")
    before = {int(row["step"]): row for row in records.as_rows(file.rows.drop_duplicates("step"))}
    steps = [step for step in (0, *sorted(index.losses)) if step in before]
    able = _probed(tasks, run)
    corpora = {task.corpus: data.open_corpus(task.corpus, home) for task in able}
    asked = [task for task in able if reads(run, corpora[task.corpus])]
    new: list[Row] = []
    precision = str(file.facts.get("evaluation_precision", "fp32"))  # of files from before it was said
    allowance = allowance_beside(device)
    for step in steps:
        backbone = backbone_at(run, step, home).to(device)
        with computing_in(precision, device):
            new += probe_rows(before[step], backbone, asked, corpora, run, device, allowance)
    replaced = file.rows["target"].isin([task.name for task in asked]) & file.rows["step"].isin(steps)
    known = own_tasks(file.facts.get("own_tasks", "")) | {task.name: task for task in asked}
    still = [name for name in told_left_out(file.facts) if name not in {task.name for task in able}]
    facts = {fact: told for fact, told in file.facts.items() if fact != "tasks_left_out"}
    facts |= task_facts([*known.values()]) | left_out_facts(still)
    said = json.loads(facts.get("numbers", "{}")) | json.loads(
        number_facts(labels_asked(asked, corpora)).get("numbers", "{}")
    )
    facts |= {"numbers": records.canonical(said)} if said else {}
    records.write(path, records.as_rows(file.rows[~replaced]) + new, file.description, facts, guard)
    return steps


def _probed(tasks: Sequence[str | Task], run: Run) -> list[Task]:
    """Those of the tasks that need the backbone alone: heads are not kept."""
    return [task for task in measurable(tasks, run) if task.by == "probe"]


def backbone_at(run: Run, step: int, home: Path) -> Backbone:
    """A run's backbone after so many steps; that of step 0 is made again. Raises kept_weights.NotKept."""
    torch.manual_seed(run.seed)
    backbone = run.architecture.build()
    if step:
        backbone.load_state_dict(kept_weights.load(run, home, step).backbone)
    elif found := initial_weights(run, home):
        backbone.load_state_dict(found[0])
    return backbone
