"""One run, the whole way: corpus, training, measurement, rows. Ray calls this; this never calls Ray."""

import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ecgscale import data, provenance, records
from ecgscale.leases import Lease, Lost
from ecgscale.objectives import Collapsed
from ecgscale.probing.measure import Measurement, Row, id_curve
from ecgscale.redact import placeless, sentence
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
from ecgscale.training import kept_weights, session
from ecgscale.training.inputs import opened
from ecgscale.training.train import Diverged, Snapshot


def trial(
    run: Run,
    sweep: Sweep,
    home: Path,
    results: Path,
    device: str = "cpu",
    *,
    lease: Lease | None = None,
    interruptions: Sequence[str] = (),
    micro_batch: int | None = None,
    processes: int = 1,
    pause: Callable[[], bool] = lambda: False,
    note: Callable[[str], None] = lambda line: None,
) -> str:
    """Train and measure one run; returns its final state, or "paused". One that is done already stays as it is.

    At every evaluation rows are written, then the weights to keep, then the checkpoint: a run that is cut off anywhere
    goes on behind its last evaluation, and one that is asked to ``pause`` stops at its next step. One that cannot go on
    ends as failed, diverged or oom, with the reason in its file. ``interruptions`` say why earlier attempts ended;
    ``note`` takes lines for a log. Several ``processes`` do it in step, led by this one (``training.lockstep``), and
    any number of them may go on with it.

    Raises Lost if another holds its lease by now, OSError if the disk is full: then nothing is final.
    """
    file = records.path_of(results, sweep.name, run.run_id)
    if records.state_of(file)[0] == "done":
        return "done"
    guard = lease.check if lease else records.unguarded
    journal = records.Journal(file, run.description, lease.token if lease else 0, guard)
    journal.rows = _measured(file)
    facts = {"attempt": str(len(interruptions) + 1), "processes": str(processes)}
    if interruptions:
        facts["interruptions"] = records.canonical(list(interruptions))
    if micro_batch:
        facts["micro_batch"] = str(micro_batch)

    def end(status: str, why: str) -> str:
        memory = str(provenance.peak_memory_bytes(device))
        journal.end(facts | {"status": status, "why": why, "peak_memory_bytes": memory})
        note(f"{status}: {why}")
        return status

    try:
        provenance.forget_peak_memory(device)
        facts |= provenance.facts(device)
        inputs = opened(run, home)
        facts |= inputs.digests
        measurement = Measurement(run, sweep, inputs.corpus, home, device, inputs.mixed)
        lacking = data.missing_parts([*run.slice.corpora, *measurement.corpora], home)
        facts["n_missing_parts"] = str(sum(len(parts) for parts in lacking.values()))
        resume = session.resumable(run, sweep.name, home, {row["step"] for row in journal.rows}, inputs.digests)
        if not kept_weights.begin(run, home, sweep.keep, inputs.digests, resume["measured"] if resume else None):
            resume = None
        measured = resume["measured"] if resume else 0
        rows = [row for row in journal.rows if row["step"] <= measured] if resume else []
        journal.begin(rows, facts)
        note(f"attempt {facts['attempt']}" + (f", from step {resume['step']}" if resume else ""))
        if not _stalled(run, journal.rows):
            with session.training(
                run,
                inputs,
                sweep.name,
                home,
                token=journal.token,
                guard=guard,
                processes=processes,
                device=device,
                resume=resume,
                micro_batch=micro_batch,
                pause=pause,
            ) as (snapshots, save):
                for snapshot in snapshots:
                    facts |= snapshot.execution.facts
                    if len(snapshot.unfinished):
                        save(snapshot, measured)
                        note(f"paused at step {snapshot.step}")
                        return "paused"
                    journal.add(measurement.rows(snapshot))
                    measured = snapshot.step
                    journal.sync()
                    if sweep.keep != "none":
                        loss = id_curve(journal.rows)[snapshot.step]
                        kept_weights.put(run, home, snapshot.step, loss, snapshot.module.probed)
                    save(snapshot, measured)
                    note(_progress(run, journal.rows, snapshot))
                    if _stalled(run, journal.rows):
                        break
                    if pause() and snapshot.step < run.schedule.steps:
                        note(f"paused at step {snapshot.step}")
                        return "paused"
        early = f"no better ID validation loss for {run.schedule.patience_epochs:g} epochs"
        if sweep.keep != "none":
            kept_weights.finish(run, home)
        state = end("done", early if _stalled(run, journal.rows) else "all steps taken")
        session.forget(run, sweep.name, home)
        return state
    except Lost:
        raise
    except (Diverged, Collapsed) as error:
        return end("diverged", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        facts["memory"] = "host" if isinstance(error, MemoryError) else "device"
        return end("oom", sentence(error, home, results))
    except Exception as error:
        if isinstance(error, OSError) and error.errno in records.FULL:
            note("the disk is full")
            raise
        for line in traceback.format_exception(error):
            note(placeless(line.rstrip(), home, results))
        end("failed", sentence(error, home, results))
        raise


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
