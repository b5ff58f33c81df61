"""What keeps a sweep from being launched: what it names and nobody knows, and what it needs and is not here.

Tasks may wait for their corpora, if one says so: what is left out is measured later (``probing.reprobe``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ecgscale import data, records
from ecgscale.data.label_sets import apart
from ecgscale.data.readers import SAME_PEOPLE
from ecgscale.phrases import did_you_mean
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep, defined
from ecgscale.spec.tasks import Task, task_of, why_not
from ecgscale.training import codebooks, kept_weights, weights

_SAID = 6  # tasks named in a sentence


def checked(sweep: Sweep, home: Path) -> dict[str, data.CorpusSize]:
    """Outlines of all corpora that a sweep names.

    Raises ValueError with every task, corpus and label set that does not exist, and the nearest that does.
    """
    tasks, wrong = _known(sweep)
    sizes: dict[str, data.CorpusSize] = {}
    for name in _corpora(sweep):
        try:
            sizes[name] = data.corpus_size(name, home)
        except ValueError as error:
            wrong.append(str(error))
    asked = {(name, run.slice.label_set) for run in sweep.runs if run.slice.label_set for name in run.slice.corpora}
    for name, label_set in sorted(asked):
        if name in sizes and (lacking := sizes[name].lacks(label_set)):
            wrong.append(f"corpus {name} has no label set {lacking!r}{did_you_mean(lacking, sizes[name].n_labels)}")
        wrong += data.without_outcomes(name, home, label_set, both=("train",), known=("val",))
    mixes = {(run.slice.corpora, run.slice.label_set) for run in sweep.runs if run.slice.mix and run.slice.label_set}
    if not wrong:
        wrong += [said for names, label_set in sorted(mixes) if (said := data.not_shared(names, home, label_set))]
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
        missing = [one for name in sweep.label_sets for one in apart(name, known_sets) if one not in known_sets]
        wrong += [f"no corpus of its runs has a label set {name!r}{did_you_mean(name, known_sets)}" for name in missing]
    for task in dict.fromkeys(task.clean for task in tasks):
        reasons = [why_unmeasured(task, run, sizes) for run in sweep.runs]
        size = sizes.get(task.corpus) if task.unit == "recording" else None
        if size is not None and size.n_labels and (lacks := size.lacks(task.label_set)):
            there = did_you_mean(lacks, size.n_labels)
            wrong.append(f"task {task.name}: corpus {task.corpus} has no label set {lacks!r}{there}")
        if reasons and all(reasons):
            wrong.append(f"none of its runs can be measured on {task.name}: {reasons[0]}")
        elif task.unit == "recording":
            asked_of = ("test",) if task.by == "head" else ("train", "test")
            also = () if task.by == "head" else ("val",)
            outcomes = data.without_outcomes(task.corpus, home, task.label_set, both=asked_of, known=also)
            wrong += [f"task {task.name}: {text}" for text in outcomes]
    if wrong:
        raise ValueError(f"sweep {sweep.name}: " + "; ".join(wrong))
    return sizes


def why_unmeasured(task: Task, run: Run, sizes: Mapping[str, data.CorpusSize]) -> str:
    """Why a run cannot be measured on a task, in words, by the leads of corpora of one's own too; empty if it can."""
    size = sizes.get(task.corpus)
    unread = size is not None and not size.twelve_leads and not run.architecture.any_leads
    of_leads = f"corpus {task.corpus} has not the twelve leads that this {run.architecture.kind} reads"
    return why_not(task, run) or (of_leads if unread else "")


def unlaunchable(
    sweep: Sweep, home: Path, results: Path, runs: Sequence[Run] | None = None, *, allow_missing: bool = False
) -> list[str]:
    """Why a sweep (or only these runs of it) cannot be launched here; empty if it can.

    One sentence a cause, with the command that mends it. A corpus whose raw folder lacked parts is a cause unless
    ``allow_missing``. Raises as ``checked``.
    """
    chosen = sweep if runs is None else replace(sweep, runs=tuple(runs))
    absent = [name for name, size in checked(chosen, home).items() if not size.prepared]
    causes = [f"corpus {name} is not prepared here; run: {data.corpus.command_for(name)}" for name in absent]
    if waiting := _asked_of(chosen, absent):
        causes.append(
            f"{_named(waiting)} can be left for later: --tasks-available begins without, and when the corpora are "
            f"there: ecgscale reprobe {sweep.name}"
        )
    lacking = {} if allow_missing else data.missing_parts(_corpora(chosen), home)
    causes += [
        f"corpus {name} was prepared without {'; '.join(parts[:3])}{' ...' if len(parts) > 3 else ''}: "
        "complete its raw folder and prepare it anew, or say --allow-missing"
        for name, parts in lacking.items()
    ]
    remedies = [codebooks.remedy(book, sweep.name) for book in chosen.codebooks if not codebooks.is_trained(book, home)]
    causes += [f"its codebook is not here; {remedy}" for remedy in dict.fromkeys(remedies)]
    named = [name for name in dict.fromkeys(run.weights for run in chosen.runs) if name]
    causes += [weights.missing(name) for name in named if not weights.is_imported(name, home)]
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


def begun_without(sweep: Sweep, home: Path) -> Sweep:
    """The sweep with only those tasks whose corpora are prepared here; the others are in its ``left_out``.

    No run's identity changes: tasks are no part of it. Raises as ``checked``, of all its tasks.
    """
    absent = {name for name, size in checked(sweep, home).items() if not size.prepared}
    left = tuple(task for task in sweep.tasks if task_of(task).corpus in absent)
    here = tuple(task for task in sweep.tasks if task not in left)
    return replace(sweep, tasks=here, left_out=(*sweep.left_out, *left))


def left_in_words(sweep: Sweep) -> list[str]:
    """What a sweep that is begun without some of its tasks leaves out, how it comes in later, and what never can."""
    by_corpus: dict[str, list[Task]] = {}
    for task in map(task_of, sweep.left_out):
        by_corpus.setdefault(task.corpus, []).append(task)
    said = [
        f"left for later: {_named(tasks)}, as corpus {name} is not prepared here; run: "
        f"{data.corpus.command_for(name)}, and then: ecgscale reprobe {sweep.name}"
        for name, tasks in by_corpus.items()
    ]
    lost = [task for task in map(task_of, sweep.left_out) if sweep.keep == "none" or task.by == "head"]
    if lost:
        why = (
            'the sweep keeps no weights (give it keep="best" or "all")'
            if sweep.keep == "none"
            else "heads are gone then"
        )
        said.append(f"reprobe can add nothing on {_named(lost)}: {why}")
    return said


def same_people_in_words(sweep: Sweep) -> list[str]:
    """What is to be known of a sweep that is measured on people whom its runs may have been trained on."""
    said = []
    for trained in dict.fromkeys(name.partition("@")[0] for run in sweep.runs for name in run.slice.corpora):
        tasks = [
            task for task in _known(sweep)[0] if frozenset((trained, task.corpus.partition("@")[0])) in SAME_PEOPLE
        ]
        by_corpus = {task.corpus: [one for one in tasks if one.corpus == task.corpus] for task in tasks}
        said += [
            f"{_named(some)}: {name} holds patients of {trained}, on which runs are trained; what is measured there is "
            "no transfer to other people"
            for name, some in by_corpus.items()
        ]
    return said


def _asked_of(sweep: Sweep, corpora: Sequence[str]) -> list[Task]:
    """The tasks of a sweep on these corpora, but for those that its runs train on, too."""
    trained_on = {name for run in sweep.runs for name in run.slice.corpora}
    return [task for task in _known(sweep)[0] if task.corpus in corpora and task.corpus not in trained_on]


def _named(tasks: Sequence[Task]) -> str:
    names = list(dict.fromkeys(task.clean.name for task in tasks))
    shown = ", ".join(names[:_SAID]) + (f" and {len(names) - _SAID} more" if len(names) > _SAID else "")
    return f"{'task' if len(names) == 1 else 'tasks'} {shown}"


def _corpora(sweep: Sweep) -> list[str]:
    trained_on = [name for run in sweep.runs for name in run.slice.corpora]
    return list(dict.fromkeys(trained_on + [task.corpus for task in _known(sweep)[0]]))


def _known(sweep: Sweep) -> tuple[list[Task], list[str]]:
    """The tasks that a sweep asks for, and a sentence about each name that no task has."""
    known, wrong = [], []
    for asked in sweep.tasks:
        try:
            known.append(task_of(asked))
        except ValueError as error:
            wrong.append(str(error))
    return known, wrong
