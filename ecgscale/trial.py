"""One run, the whole way: corpus, training, measurement, rows. Ray calls this; this never calls Ray."""

import traceback
from pathlib import Path

import torch

from ecgscale import data, provenance, records
from ecgscale.attempt import ONE_CPU, UNLEASED, Attempt, Place, Resources
from ecgscale.leases import Lost
from ecgscale.objectives import Collapsed
from ecgscale.probing.measure import Measurement, Row, id_curve
from ecgscale.redact import describe_error, without_paths
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
from ecgscale.training import kept_weights, session
from ecgscale.training.inputs import opened
from ecgscale.training.train import Diverged, Snapshot


def trial(run: Run, sweep: Sweep, place: Place, resources: Resources = ONE_CPU, attempt: Attempt = UNLEASED) -> str:
    """Train and measure one run; returns its final state, or "paused". One that is done already stays as it is.

    At every evaluation rows are written, then the weights to keep, then the checkpoint: a run that is cut off anywhere
    goes on behind its last evaluation, and one that is asked to pause stops at its next step. One that cannot go on
    ends as failed, diverged or oom, with the reason in its file. Of several ``resources.processes`` this one leads
    (``training.distributed``), and any number of them may go on with the run.

    Raises Lost if another holds its lease by now, OSError if the disk is full: then nothing is final.
    """
    file = records.path_of(place.results, sweep.name, run.run_id)
    if records.state_of(file)[0] == "done":
        return "done"
    lease, device = attempt.lease, resources.device
    journal = records.Journal(
        file, run.description, lease.token if lease else 0, lease.check if lease else records.unguarded
    )
    journal.rows = _measured(file)
    facts = _facts(resources, attempt)

    def end(status: str, why: str) -> str:
        memory = str(provenance.peak_memory_bytes(device))
        journal.end(facts | {"status": status, "why": why, "peak_memory_bytes": memory})
        attempt.note(f"{status}: {why}")
        return status

    try:
        provenance.forget_peak_memory(device)
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
        return end("oom", describe_error(error, place.home, place.results))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in records.FULL:
            attempt.note("the disk is full")
            raise
        for line in traceback.format_exception(error):
            attempt.note(without_paths(line.rstrip(), place.home, place.results))
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
    inputs = opened(run, home)
    facts |= inputs.digests
    measurement = Measurement(run, sweep, inputs.corpus, home, resources.device, inputs.mixed)
    lacking = data.missing_parts([*run.slice.corpora, *measurement.corpora], home)
    facts["n_missing_parts"] = str(sum(len(parts) for parts in lacking.values()))
    resume = session.resumable(run, sweep.name, home, {row["step"] for row in journal.rows}, inputs.digests)
    if not kept_weights.begin(run, home, sweep.keep, inputs.digests, resume["measured"] if resume else None):
        resume = None
    measured = resume["measured"] if resume else 0
    journal.begin([row for row in journal.rows if row["step"] <= measured] if resume else [], facts)
    attempt.note(f"attempt {facts['attempt']}" + (f", from step {resume['step']}" if resume else ""))
    if _stalled(run, journal.rows):
        return True
    with session.start(run, inputs, sweep.name, home, resources, attempt, resume) as (snapshots, save):
        for snapshot in snapshots:
            facts |= snapshot.execution.facts
            if len(snapshot.unfinished):
                save(snapshot, measured)
                attempt.note(f"paused at step {snapshot.step}")
                return False
            journal.add(measurement.rows(snapshot))
            measured = snapshot.step
            journal.sync()
            if sweep.keep != "none":
                loss = id_curve(journal.rows)[snapshot.step]
                module = snapshot.module
                head = module.head if run.objective.needs_labels else None
                kept_weights.put(run, home, snapshot.step, loss, module.probed, head)
            save(snapshot, measured)
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
    if resources.micro_batch:
        facts["micro_batch"] = str(resources.micro_batch)
    return facts


def _measured(file: Path) -> list[Row]:
    """The rows that earlier attempts measured, if they can be believed."""
    try:
        return records.as_rows(records.read(file).rows)
    except (FileNotFoundError, records.BadResults):
        return []


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
