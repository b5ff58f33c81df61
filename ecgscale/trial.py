"""One run, the whole way: corpus, training, measurement, rows. Ray calls this; this never calls Ray."""

import re
from pathlib import Path

import torch

from ecgscale import checkpoint, codebooks, data, provenance, records
from ecgscale.measure import Measurement, Row
from ecgscale.objectives import Masked
from ecgscale.spec import Run
from ecgscale.sweep import Sweep
from ecgscale.train import Diverged, pretrain


def trial(run: Run, sweep: Sweep, home: Path, results: Path, device: str = "cpu") -> str:
    """Train and measure one run; returns its final state.

    At every evaluation the rows are written whole, then the checkpoint: a run that is cut off anywhere goes on behind
    its last evaluation. One that cannot go on ends as failed, diverged or oom, with the reason in its file.
    """
    file, saved = records.path_of(results, sweep.name, run.run_id), checkpoint_path(run, sweep, home)
    resume = checkpoint.load(saved)
    rows = _rows_until(file, resume["step"]) if resume else []
    resume = resume if rows else None
    facts = dict(provenance.facts(device))

    def write(status: str, why: str = "") -> str:
        memory = str(provenance.peak_memory_bytes(device))
        ending = {"status": status, "why": why, "peak_memory_bytes": memory}
        records.write(file, rows, run.description, facts | ending)
        return status

    try:
        corpus, codes = data.open_corpus(run.slice.corpus, home), None
        facts["corpus_digest"] = corpus.manifest.digest
        if isinstance(run.objective, Masked):
            codes, facts["codebook_digest"] = codebooks.read(run.objective.codebook, home)
        measurement = Measurement(run, sweep, corpus, home, device)
        write("running")
        why = "all steps taken"
        for snapshot in pretrain(run, corpus, codes=codes, device=device, resume=resume):
            rows += measurement.rows(snapshot)
            write("running")
            checkpoint.save(saved, snapshot.state())
            if _stalled(run, rows):
                why = f"no better ID validation loss for {run.schedule.patience_epochs:g} epochs"
                break
        checkpoint.remove(saved)
        return write("done", why)
    except Diverged as error:
        return write("diverged", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return write("oom", _sentence(error))
    except Exception as error:
        write("failed", _sentence(error))
        raise


def checkpoint_path(run: Run, sweep: Sweep, home: Path) -> Path:
    """Where the checkpoint of an unfinished run lives."""
    return home / "checkpoints" / sweep.name / f"{run.run_id}.pt"


def _rows_until(file: Path, step: int) -> list[Row]:
    """Rows already measured, up to the step that the checkpoint continues from; none if any of them were lost."""
    try:
        rows = records.read(file).rows
    except (FileNotFoundError, records.BadResults):
        return []
    return records.as_rows(rows[rows["step"] <= step]) if step in set(rows["step"]) else []


def _stalled(run: Run, rows: list[Row]) -> bool:
    """Whether the ID validation loss has not improved for the schedule's patience."""
    curve = {r["step"]: r["value"] for r in rows if (r["domain"], r["split"], r["metric"]) == ("ID", "val", "loss")}
    best = min(curve, key=lambda step: curve[step])
    epochs = (max(curve) - best) * run.schedule.batch_size / rows[0]["n_samples"]
    return max(curve) > best and epochs >= run.schedule.patience_epochs


def _sentence(error: BaseException) -> str:
    """An error as it may be saved: one line, no absolute path."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    return re.sub(r"(?<![\w.])/(?:[^\s'\":,;/]+/)*([^\s'\":,;/]+)", r"\1", text)
