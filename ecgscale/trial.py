"""One run, the whole way: corpus, training, measurement, rows. Ray calls this; this never calls Ray."""

import traceback
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from ecgscale import data, provenance, records
from ecgscale.attempt import ONE_CPU, UNLEASED, Attempt, Place, Resources
from ecgscale.definitions import code_facts
from ecgscale.leases import Lost
from ecgscale.objectives import Collapsed
from ecgscale.pausing import Paused, may_pause
from ecgscale.place_faults import fault_of
from ecgscale.probing.measure import EvaluationFull, Measurement, Row, id_curve, taking_part
from ecgscale.redact import describe_error, without_paths
from ecgscale.spec.run import Run, parts_of
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import left_out_facts, measurable, task_facts, task_of, told_left_out
from ecgscale.training import kept_weights, session
from ecgscale.training.codewords import Interrupted
from ecgscale.training.footprint import memory_of
from ecgscale.training.inputs import opened
from ecgscale.training.train import Diverged, Snapshot


def trial(run: Run, sweep: Sweep, place: Place, resources: Resources = ONE_CPU, attempt: Attempt = UNLEASED) -> str:
    """Train and measure one run; returns its final state, or "paused". One that is done already stays as it is.

    At every evaluation the checkpoint is written, then rows, then the weights to keep: a run that is cut off anywhere
    goes on from its last evaluation, and one that is asked to pause stops at its next step, or within an evaluation at
    its next batch; then that evaluation alone is done again. One that cannot go on
    ends as failed, diverged or oom, with the reason in its file. Of several ``resources.processes`` this one leads
    (``training.distributed``), and any number of them may go on with the run.

    Raises Lost if another holds its lease by now, OSError if the disk is full, and what tells of a fault of this place
    (``place_faults``): then nothing is final.
    """
    file = records.path_of(place.results, sweep.name, run.run_id)
    if records.state_of(file)[0] == "done":
        return "done"
    lease, device = attempt.lease, resources.device
    journal = records.Journal(
        file, run.description, lease.token if lease else 0, lease.check if lease else records.unguarded
    )
    journal.rows = _measured(file)
    facts = _facts(resources, attempt) | left_out_facts(told_left_out(records.facts(file)))

    def end(status: str, why: str) -> str:
        memory = str(provenance.peak_memory_bytes(device))
        journal.end(facts | {"status": status, "why": why, "peak_memory_bytes": memory})
        attempt.note(f"{status}: {why}")
        return status

    try:
        provenance.begin_on(device)
        facts |= provenance.facts(device)
        if not _take(run, sweep, place.home, resources, attempt, journal, facts):
            return "paused"
        if sweep.keep != "none":
            kept_weights.finish(run, place.home)
        early = f"no better ID validation loss for {run.schedule.patience_epochs:g} epochs"
        state = end("done", early if _stalled(run, journal.rows) else "all steps taken")
        session.forget(run, sweep.name, place.home)
        return state
    except Lost:
        raise
    except (Diverged, Collapsed) as error:
        return end("diverged", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        facts["memory"] = "host" if isinstance(error, MemoryError) else "device"
        facts["ran_out_in"] = "evaluation" if isinstance(error, EvaluationFull) else "training"
        return end("oom", describe_error(error, place.home, place.results))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in records.FULL:
            attempt.note("the disk is full")
            raise
        for line in traceback.format_exception(error):
            attempt.note(without_paths(line.rstrip(), place.home, place.results))
        if fault := fault_of(error, place.home, place.results):
            attempt.note(f"a fault of this place, so the run is given back: {fault.what}")
            raise
        end("failed", describe_error(error, place.home, place.results))
        raise


def _take(
    run: Run,
    sweep: Sweep,
    home: Path,
    resources: Resources,
    attempt: Attempt,
    journal: records.Journal,
    facts: dict[str, str],
) -> bool:
    """Take the steps of a run and write down what is measured, from its last checkpoint on; false if it was paused.

    ``facts`` is given what becomes known of the run.
    """
    try:
        inputs = opened(run, home, resources.device, pause=attempt.pause)
    except Interrupted:
        attempt.note("paused while the words of its corpus were labelled")
        return False
    resume = session.resumable(run, sweep.name, home, {row["step"] for row in journal.rows}, inputs.digests)
    measured = _measured_last(journal.rows, resume)
    if not kept_weights.begin(run, home, sweep.keep, inputs.digests, measured):
        resume = measured = None
    sweep = _as_begun(sweep, facts) if measured is not None else sweep
    facts.pop("tasks_left_out", None)
    facts |= {**inputs.digests, **task_facts(sweep.tasks), **code_facts(parts_of(run))}
    facts |= left_out_facts([task.name for task in measurable(sweep.left_out, run)])
    memory = memory_of(run, inputs.corpus, resources)
    measurement = Measurement(
        run, sweep, inputs.corpus, home, resources.device, inputs.mixed, memory.allowance, inputs.words
    )
    facts["evaluation_precision"] = measurement.precision
    facts |= measurement.number_facts
    lacking = data.missing_parts([*run.slice.corpora, *measurement.corpora], home)
    facts["n_missing_parts"] = str(sum(len(parts) for parts in lacking.values()))
    journal.begin([row for row in journal.rows if row["step"] <= measured] if measured is not None else [], facts)
    attempt.note(f"attempt {facts['attempt']}" + (f", from step {resume['step']}" if resume else ""))
    if _stalled(run, journal.rows):
        return True
    again = bool(resume and resume["again"])  # the first snapshot is the one that was saved
    measuring = partial(taking_part, run, sweep, home)
    with session.start(run, inputs, sweep.name, home, resources, attempt, measuring, resume, memory) as training:
        for snapshot in training.snapshots:
            facts |= snapshot.execution.facts
            if not again:
                training.save(snapshot, measured)
            again = False
            if not snapshot.due:
                if not snapshot.paused:
                    continue
                attempt.note(f"paused at step {snapshot.step}")
                return False
            if snapshot.step != measured:
                try:
                    with may_pause(attempt.pause):
                        rows = measurement.rows_or_streamed(snapshot, training.share(), attempt.note)
                except Paused:
                    attempt.note(f"paused in the evaluation of step {snapshot.step}, which will be done again")
                    return False
                journal.add(rows)
                measured = snapshot.step
                journal.sync()
            if sweep.keep != "none":
                loss = id_curve(journal.rows)[snapshot.step]
                module = snapshot.module
                head = module.head if run.objective.needs_labels else None
                kept_weights.put(run, home, snapshot.step, loss, module.probed, head)
            attempt.note(_progress(run, journal.rows, snapshot))
            if _stalled(run, journal.rows):
                break
            if attempt.pause() and snapshot.step < run.schedule.steps:
                attempt.note(f"paused at step {snapshot.step}")
                return False
    return True


def _facts(resources: Resources, attempt: Attempt) -> dict[str, str]:
    """What a results file says of an attempt from its beginning."""
    facts = {"attempt": str(len(attempt.interruptions) + 1), "processes": str(resources.processes)}
    if attempt.interruptions:
        facts["interruptions"] = records.canonical(list(attempt.interruptions))
    if resources.sparing.micro_batch:
        facts["micro_batch"] = str(resources.sparing.micro_batch)
    return facts


def _measured(file: Path) -> list[Row]:
    """The rows that earlier attempts measured, if they can be believed."""
    try:
        return records.as_rows(records.read(file).rows)
    except (FileNotFoundError, records.BadResults):
        return []


def _measured_last(rows: list[Row], resume: session.State | None) -> int | None:
    """The last step that counts as measured of a run that goes on from a state; None if it begins."""
    if resume is None:
        return None
    own = resume["again"] and any(row["step"] == resume["step"] for row in rows)
    return resume["step"] if own else resume["measured"]


def _as_begun(sweep: Sweep, facts: Mapping[str, str]) -> Sweep:
    """The sweep without the tasks that a run was begun without: it has a task at all its steps, or later by reprobe."""
    left = told_left_out(facts)
    late = tuple(task for task in sweep.tasks if task_of(task).name in left)
    return replace(
        sweep, tasks=tuple(task for task in sweep.tasks if task not in late), left_out=(*sweep.left_out, *late)
    )


def _progress(run: Run, rows: list[Row], snapshot: Snapshot) -> str:
    """A line for the log: where the run is and how it does."""
    found = [r["value"] for r in rows if (r["step"], r["domain"], r["split"]) == (snapshot.step, "ID", "val")]
    loss = f"ID validation loss {found[0]:.4f}" if found else ""
    return f"step {snapshot.step} of {run.schedule.steps}: {loss}, train loss {snapshot.train_loss:.4f}"


def _stalled(run: Run, rows: list[Row]) -> bool:
    """Whether the ID validation loss has not improved for the schedule's patience."""
    curve = id_curve(rows)
    if not curve:
        return False
    best = min(curve, key=lambda step: curve[step])
    epochs = (max(curve) - best) * run.schedule.batch_size / rows[0]["n_samples"]
    return max(curve) > best and epochs >= run.schedule.patience_epochs
