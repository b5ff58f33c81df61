"""One run, the whole way: corpus, training, measurement, rows. Ray calls this; this never calls Ray."""

import re
from pathlib import Path
from typing import Any

import torch

from ecgscale import checkpoint, codebooks, data, provenance, records
from ecgscale.measure import Measurement, Row
from ecgscale.objectives import Masked
from ecgscale.spec import Run
from ecgscale.sweep import Sweep
from ecgscale.train import Diverged, pretrain


def trial(run: Run, sweep: Sweep, home: Path, results: Path, device: str = "cpu") -> str:
    """Train and measure one run; returns its final state. One that is done already stays as it is.

    At every evaluation the rows are written whole, then the checkpoint: a run that is cut off anywhere goes on behind
    its last evaluation. One that cannot go on ends as failed, diverged or oom, with the reason in its file.
    """
    file, saved = records.path_of(results, sweep.name, run.run_id), checkpoint_path(run, sweep, home)
    if records.state_of(file)[0] == "done":
        return "done"
    rows: list[Row] = []
    facts: dict[str, str] = {}

    def write(status: str, why: str = "") -> str:
        memory = str(provenance.peak_memory_bytes(device))
        records.write(file, rows, run.description, facts | {"status": status, "why": why, "peak_memory_bytes": memory})
        return status

    try:
        provenance.forget_peak_memory(device)
        facts |= provenance.facts(device)
        corpus, codes = data.open_corpus(run.slice.corpus, home), None
        inputs = {"corpus_digest": corpus.manifest.digest}
        if isinstance(run.objective, Masked):
            codes, inputs["codebook_digest"] = codebooks.read(run.objective.codebook, home)
        facts |= inputs
        measurement = Measurement(run, sweep, corpus, home, device)
        resume, rows = _resumable(saved, file, inputs)
        write("running")
        if not _stalled(run, rows):
            for snapshot in pretrain(run, corpus, codes=codes, device=device, resume=resume):
                facts |= snapshot.execution.facts
                rows += measurement.rows(snapshot)
                write("running")
                checkpoint.save(saved, snapshot.state() | {"inputs": inputs})
                if _stalled(run, rows):
                    break
        early = f"no better ID validation loss for {run.schedule.patience_epochs:g} epochs"
        state = write("done", early if _stalled(run, rows) else "all steps taken")
        checkpoint.remove(saved)
        return state
    except Diverged as error:
        return write("diverged", str(error))
    except (MemoryError, torch.OutOfMemoryError) as error:
        return write("oom", _sentence(error, home, results))
    except Exception as error:
        write("failed", _sentence(error, home, results))
        raise


def give_up(run: Run, sweep: Sweep, results: Path, why: str) -> None:
    """Record as failed a run that ended without a word; what it measured is kept."""
    file = records.path_of(results, sweep.name, run.run_id)
    try:
        left = records.read(file)
        rows, facts = records.as_rows(left.rows), dict(left.facts)
    except (FileNotFoundError, records.BadResults):
        rows, facts = [], {}
    records.write(file, rows, run.description, facts | {"status": "failed", "why": why})


def checkpoint_path(run: Run, sweep: Sweep, home: Path) -> Path:
    """Where the checkpoint of an unfinished run lives."""
    return home / "checkpoints" / sweep.name / f"{run.run_id}.pt"


def _resumable(saved: Path, file: Path, inputs: dict[str, str]) -> tuple[dict[str, Any] | None, list[Row]]:
    """The state to go on from and the rows measured until there; nothing if either is lost or the inputs changed."""
    found = checkpoint.load(saved)
    if found is None or found[0]["inputs"] != inputs:
        return None, []
    state = found[0]
    try:
        rows = records.read(file).rows
    except (FileNotFoundError, records.BadResults):
        return None, []
    if state["step"] not in set(rows["step"]):
        return None, []
    return state, records.as_rows(rows[rows["step"] <= state["step"]])


def _stalled(run: Run, rows: list[Row]) -> bool:
    """Whether the ID validation loss has not improved for the schedule's patience."""
    curve = {r["step"]: r["value"] for r in rows if (r["domain"], r["split"], r["metric"]) == ("ID", "val", "loss")}
    if not curve:
        return False
    best = min(curve, key=lambda step: curve[step])
    epochs = (max(curve) - best) * run.schedule.batch_size / rows[0]["n_samples"]
    return max(curve) > best and epochs >= run.schedule.patience_epochs


def _sentence(error: BaseException, *roots: Path) -> str:
    """An error as it may be saved: one line, and of a path only its last part."""
    if isinstance(error, OSError) and error.strerror:
        name = f": {Path(str(error.filename)).name}" if error.filename else ""
        return f"{type(error).__name__}: {error.strerror}{name}"
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
    for root in (*roots, Path.cwd(), Path.home()):
        text = text.replace(f"{root.resolve()}/", "")
    text = re.sub(r"""(['"])/(?:[^'"]*/)?([^/'"]*)\1""", r"\1\2\1", text)  # quoted: spaces are part of a path
    return re.sub(r"(?<![\w.])/(?:[^\s'\":,;/]+/)*([^\s'\":,;/]+)", r"\1", text)
