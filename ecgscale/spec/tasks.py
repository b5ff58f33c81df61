"""Out-of-distribution questions that frozen features are probed on, and the conditions they are asked again under."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from ecgscale.data.noise import KINDS
from ecgscale.data.readers import DATASETS
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS
from ecgscale.phrases import did_you_mean
from ecgscale.records import canonical
from ecgscale.registry import Registry
from ecgscale.spec.run import Run

DOMAINS = {
    "A": "adult ECG interpretation",
    "B": "cardiac structure and function",
    "C": "acute care",
    "D": "patient characteristics",
}


@dataclass(frozen=True)
class Task:
    """A label set of a corpus that pretraining did not see as labels, in one of the four clinical ``DOMAINS``.

    A sweep may hold tasks of its own, on any prepared corpus and label set, beside names of shipped ones (``TASKS``).

    ``unit`` is what has the labels: recordings, or annotated heartbeats (then the label set is "aami": N, S, V and F,
    each against the rest; Q has a dozen beats and is left out). A condition changes the test recordings alone:
    ``noise`` (a kind of ``noise.KINDS``, of the stretch that nothing is trained on) is added to them at ``snr_db``, a
    ratio of powers as the model sees them; of their leads only ``leads`` are kept. The probe is the one of the task
    without it. ``by`` "head" asks the run's own supervised head, with nothing fitted, about the labels that it shares
    with the task (see ``probing.external``).
    """

    name: str
    corpus: str
    label_set: str
    domain: str
    unit: str = "recording"
    noise: str = ""
    snr_db: float = math.inf
    leads: tuple[str, ...] = ()  # empty: all there are
    by: str = "probe"  # or "head"

    @property
    def clean(self) -> "Task":
        """The task without conditions, whose training and validation recordings and probe this one shares."""
        return replace(self, name=self.name.partition("+")[0], noise="", snr_db=math.inf, leads=())

    @property
    def condition(self) -> tuple[str, float, tuple[str, ...]]:
        """Noise, its ratio and leads: tasks of one corpus and condition see the same test recordings."""
        return self.noise, self.snr_db, self.leads


CLEAN = Task("", "", "", "").condition

# The eleven tasks of the scaling study (Tables S.1-S.3) under its own abbreviations; then those on the recordings that
# ship with the package; then heartbeats.
PAPER_TASKS = (
    Task("cpsc2018", "cpsc2018", "cpsc9", "A"),
    Task("csn", "csn", "csn38", "A"),
    Task("ptbxl-diag", "ptbxl", "diagnostic", "A"),
    Task("ptbxl-sub", "ptbxl", "subdiagnostic", "A"),
    Task("ptbxl-sup", "ptbxl", "superdiagnostic", "A"),
    Task("ptbxl-form", "ptbxl", "form", "A"),
    Task("ptbxl-rhythm", "ptbxl", "rhythm", "A"),
    Task("echonext", "echonext", "shd11", "B"),
    Task("mimic-icu", "mimic", "icu", "C"),
    Task("mimic-mortality", "mimic", "mortality", "C"),
    Task("mimic-sex", "mimic", "sex", "D"),
)
SAMPLE_TASKS = (
    Task("ptbxl-superdiagnostic", "ptbxl-sample", "superdiagnostic", "A"),
    Task("ptbxl-sex", "ptbxl-sample", "sex", "D"),
    Task("ludb-rhythm", "ludb-sample", "rhythm", "A"),
)
# On simulated hospitals other than the one that is pretrained on: what its labels do not say.
LABORATORY_TASKS = (
    Task("lab-infarction", "simulated-hospital-b-6000", "infarction", "A"),
    Task("lab-hypertrophy", "simulated-hospital-b-6000", "hypertrophy", "B"),
    Task("lab-potassium", "simulated-hospital-c-6000", "potassium", "C"),
    Task("lab-risk", "simulated-hospital-c-6000", "risk", "C"),
    Task("lab-sex", "simulated-hospital-d-6000", "sex", "D"),
    Task("lab-age", "simulated-hospital-d-6000", "age", "D"),
)
# Rhythm on the one lead of a hand-held device: ECGFounder's one-lead external evaluation.
SINGLE_LEAD_TASKS = (Task("cinc2017-rhythm", "cinc2017", "rhythm", "A"),)
# What a supervised model says by itself of other corpora: ECGFounder's external evaluations, and others' rhythms.
HEAD_TASKS = (
    Task("code-test-head", "code-test", "code6", "A", by="head"),
    Task("ptbxl-diag-head", "ptbxl", "diagnostic", "A", by="head"),
    Task("ptbxl-rhythm-head", "ptbxl", "rhythm", "A", by="head"),
    Task("cpsc2018-head", "cpsc2018", "cpsc9", "A", by="head"),
    Task("chapman-rhythm-head", "chapman", "rhythm", "A", by="head"),
    Task("heedb-12sl-head", "heedb", "12sl", "A", by="head"),
    Task("cinc2017-rhythm-head", "cinc2017", "rhythm", "A", by="head"),
    Task("mitbih-rhythm-head", "mitbih", "rhythm", "A", by="head"),
    Task("ludb-rhythm-head", "ludb-sample", "rhythm", "A", by="head"),
)
# The same recordings under the filters that ECGFounder was trained with.
ECGFOUNDER_TASKS = tuple(
    replace(task, name=f"{task.name}@ecgfounder", corpus=f"{task.corpus}@ecgfounder")
    for task in (*HEAD_TASKS[:-1], *(task for task in PAPER_TASKS if task.corpus == "ptbxl"), *SINGLE_LEAD_TASKS)
)
BEAT_TASKS = (Task("mitbih-beats", "mitbih", "aami", "A", unit="beat"),)

# Conditions. Ratios are those of NSTDB; subsets of leads are those of the PhysioNet Challenge 2021 (six, three, two),
# the eight that the others follow from, and lead I of a watch.
SNR_DB = (24, 18, 12, 6, 0, -6)
LEAD_SUBSETS: dict[str, tuple[str, ...]] = {
    "8leads": INDEPENDENT_LEADS,
    "6leads": LEADS[:6],
    "3leads": ("I", "II", "V2"),
    "2leads": ("I", "II"),
    "1lead": ("I",),
}


def noisy(task: Task) -> tuple[Task, ...]:
    """A task under every kind of noise at every ratio: ``NAME+em6dB`` and so on."""
    return tuple(
        replace(task, name=f"{task.name}+{kind}{snr}dB", noise=kind, snr_db=float(snr))
        for kind in KINDS
        for snr in SNR_DB
    )


def with_fewer_leads(task: Task) -> tuple[Task, ...]:
    """A task with fewer leads: ``NAME+3leads`` and so on; the task itself is the one with twelve.

    Backbones that read any leads do not get the others; those that read twelve get zeros for them.
    """
    return tuple(replace(task, name=f"{task.name}+{name}", leads=leads) for name, leads in LEAD_SUBSETS.items())


CONDITIONED = ("ptbxl-diag", "ptbxl-sup", "ptbxl-superdiagnostic")  # by noise and by leads; heartbeats by noise
_PLAIN = {
    task.name: task
    for task in (
        *PAPER_TASKS,
        *SAMPLE_TASKS,
        *LABORATORY_TASKS,
        *SINGLE_LEAD_TASKS,
        *HEAD_TASKS,
        *ECGFOUNDER_TASKS,
        *BEAT_TASKS,
    )
}
ROBUSTNESS_TASKS = (
    *(hard for name in CONDITIONED for hard in (*noisy(_PLAIN[name]), *with_fewer_leads(_PLAIN[name]))),
    *(hard for task in BEAT_TASKS for hard in noisy(task)),
)


def _problem(name: str, thing: Any) -> str:
    if not isinstance(thing, Task):
        return "it is no ecgscale.spec.Task"
    return "; ".join(_mistakes_of(thing)) or ("" if thing.name == name else f"its name is {thing.name!r}")


TASKS: Registry[Task] = Registry("tasks", _PLAIN | {task.name: task for task in ROBUSTNESS_TASKS}, _problem)


def robustness(name: str) -> tuple[str, ...]:
    """Names of a task under all its conditions."""
    return tuple(task.name for task in ROBUSTNESS_TASKS if task.clean.name == name)


def task_of(asked: str | Task, own: Mapping[str, Task] = MappingProxyType({})) -> Task:
    """A task, or the one of this name: one's own, or a shipped one. Raises ValueError with the nearest name."""
    if isinstance(asked, Task):
        return asked
    if asked in own:
        return own[asked]
    if asked not in TASKS:
        raise ValueError(f"there is no task {asked!r}{did_you_mean(asked, [*own, *TASKS])}")
    return TASKS[asked]


def mistakes_in(tasks: Sequence[str | Task], corpora: Sequence[str] = ()) -> list[str]:
    """What is wrong with tasks of one's own, one sentence each; ``corpora`` are those whose names are taken."""
    found: list[str] = []
    own: dict[str, Task] = {}
    for task in tasks:
        if isinstance(task, str):
            continue
        if not isinstance(task, Task):
            found.append(f"{task!r:.60} among its tasks is neither a Task nor the name of one")
            continue
        if known := TASKS.get(task.name):
            if known != task:
                found.append(f"its own task {task.name!r} is called like a shipped one that asks something else")
        elif task.name in corpora:
            found.append(f"its own task {task.name!r} is called like a corpus that its runs train on")
        elif own.setdefault(task.name, task) != task:
            found.append(f"two different tasks are called {task.name!r}")
        found += [f"task {task.name!r}: {what}" for what in _mistakes_of(task)]
    return list(dict.fromkeys(found))


def _mistakes_of(task: Task) -> list[str]:
    choices: tuple[tuple[str, str, Collection[str]], ...] = (
        ("domain", task.domain, DOMAINS),
        ("unit", task.unit, ("recording", "beat")),
        ("by", task.by, ("probe", "head")),
        ("noise", task.noise, ("", *KINDS)),
        *(("leads", lead, LEADS) for lead in task.leads),
    )
    wrong = [f"{field}={value!r}{did_you_mean(value, known)}" for field, value, known in choices if value not in known]
    if not task.clean.name or any(character in task.name for character in "/:"):
        wrong.append("a name is not empty and without / and :")
    if (task.name == task.clean.name) != (task.condition == CLEAN):
        wrong.append("NAME+CONDITION is what a task is called under a condition, and no other")
    if task.noise and not math.isfinite(task.snr_db):
        wrong.append(f"noise={task.noise!r} needs a ratio, snr_db")
    return wrong


def task_facts(tasks: Sequence[str | Task]) -> dict[str, str]:
    """What a results file says of tasks that are not shipped, by their names; nothing if there are none."""
    own = {task.name: _described(task) for task in tasks if isinstance(task, Task) and task.name not in TASKS}
    return {"own_tasks": canonical(own)} if own else {}


def left_out_facts(names: Sequence[str]) -> dict[str, str]:
    """What a results file says of tasks that its run is still to be measured on; nothing if there are none.

    >>> told_left_out(left_out_facts(["csn"])), told_left_out({})
    (('csn',), ())
    """
    return {"tasks_left_out": canonical(list(names))} if names else {}


def told_left_out(facts: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the tasks that a results file tells of by ``left_out_facts``."""
    said = facts.get("tasks_left_out")
    return tuple(json.loads(said)) if isinstance(said, str) else ()


def own_tasks(said: str) -> dict[str, Task]:
    """The tasks that ``task_facts`` told of; none of an empty text."""
    told = json.loads(said) if said else {}
    return {name: Task(**(task | {"leads": tuple(task.get("leads", ()))})) for name, task in told.items()}


def _described(task: Task) -> dict[str, Any]:
    """A task as plain JSON, without what is at its default."""
    return {f.name: value for f in fields(task) if (value := getattr(task, f.name)) != f.default}


def why_not(task: Task, run: Run) -> str:
    """Why a run cannot be measured on a task, in words; empty if it can."""
    kind = run.architecture.kind
    if task.unit == "beat" and not run.architecture.localised:
        return f"local features of a {kind} are not placed in time"
    base = task.corpus.partition("@")[0]
    if not run.architecture.any_leads and base in DATASETS and DATASETS[base].leads != LEADS:
        return f"{base} has not the twelve leads that this {kind} reads"
    if task.by == "head" and not run.objective.needs_labels:
        return f"a {run.objective.kind} run has no head that names labels"
    return ""


def measurable(tasks: Sequence[str | Task], run: Run) -> list[Task]:
    """Those of the tasks that a run can be measured on."""
    return [task for task in map(task_of, tasks) if not why_not(task, run)]
