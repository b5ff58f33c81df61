"""Kept weights: backbones at a run's evaluations, from which other runs start and which can be probed again.

Filed by run under ``home/kept/RUN_ID``: one file a step, and an index that is written after it and names only what is
there whole.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ecgscale import records
from ecgscale.models import Backbone
from ecgscale.spec.run import Run
from ecgscale.training import checkpoint

_INDEX = "index.json"


@dataclass(frozen=True)
class Index:
    """What is kept of a run: the ID validation loss of each kept step, and whether the run has ended."""

    run: str  # its canonical JSON
    keep: str  # "best" or "all"
    inputs: Mapping[str, str]  # digests of corpus, codebook and initial weights
    losses: Mapping[int, float]
    complete: bool = False

    @property
    def best(self) -> int:
        """The step with the lowest ID validation loss; of equal ones the first."""
        return min(sorted(self.losses), key=lambda step: self.losses[step])


class NotKept(FileNotFoundError):
    """Weights that are not there."""


def index_of(run: Run, home: Path) -> Index | None:
    """What is kept of a run; None if nothing is, or if it cannot be believed."""
    try:
        return _read(run, home)
    except (FileNotFoundError, records.Damaged):
        return None


def _read(run: Run, home: Path) -> Index:
    """The index of a run, against its seal. Raises FileNotFoundError, or Damaged if it cannot be believed."""
    said, _ = records.read_document(_folder(run, home) / _INDEX)
    try:
        losses = {int(step): float(loss) for step, loss in said.pop("losses").items()}
        index = Index(**said, losses=losses)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise records.Damaged("it is no index") from None
    possible = isinstance(index.inputs, dict) and isinstance(index.complete, bool)
    possible &= all(0 < step <= run.schedule.steps and math.isfinite(loss) for step, loss in losses.items())
    if not possible or index.run != run.description or index.keep not in ("best", "all"):
        raise records.Damaged("it says what cannot be of this run")
    return index


def is_ready(run: Run, home: Path) -> bool:
    """Whether a run has ended and its best step is kept, so that others can start from it."""
    index = index_of(run, home)
    return index is not None and index.complete and bool(index.losses) and _path(run, home, index.best).is_file()


def begin(run: Run, home: Path, keep: str, inputs: Mapping[str, str], step: int | None) -> bool:
    """Make the index ready for a run that goes on behind ``step`` (None: begins); what was kept behind it is forgotten.

    False if what should have been kept until ``step`` is lost, so that the run has to begin anew. A run that another
    sweep has kept whole, and at least as much of, is left as it is.
    """
    index = index_of(run, home)
    if keep == "none" or _serves(index, keep, inputs):
        return True
    fresh = Index(run.description, keep, dict(inputs), {})
    goes_on = step is not None and index is not None and (index.keep, index.inputs) == (keep, fresh.inputs)
    if step is not None and index is not None and goes_on:
        fresh = replace(fresh, losses={kept: loss for kept, loss in index.losses.items() if kept <= step})
    _write(run, home, fresh)
    return goes_on or step is None


def put(run: Run, home: Path, step: int, loss: float, backbone: Backbone, head: nn.Module | None = None) -> None:
    """Keep a backbone whose ID validation loss is ``loss``: of a run that keeps the best, only if none was better.

    ``head``: the classifier of a supervised run, which is kept beside it.
    """
    index = index_of(run, home)
    if index is None or index.complete or step == 0 or not math.isfinite(loss):
        return
    others = {kept: other for kept, other in index.losses.items() if kept != step}
    if index.keep == "best" and min(others.values(), default=math.inf) <= loss:
        return
    path = _path(run, home, step)
    checkpoint.remove(path)
    parts = {"backbone": backbone} | ({"head": head} if head is not None else {})
    states = {name: {k: v.cpu() for k, v in part.state_dict().items()} for name, part in parts.items()}
    checkpoint.save(path, {"step": step} | states)
    _write(run, home, replace(index, losses={step: loss} if index.keep == "best" else others | {step: loss}))


def finish(run: Run, home: Path) -> None:
    """Say that a run has ended: from now on its best step stays the best."""
    index = index_of(run, home)
    if index is not None and index.losses:
        _write(run, home, replace(index, complete=True))


@dataclass(frozen=True)
class Kept:
    """Weights of one step; ``head`` is empty where none was kept. ``digest``: SHA-256 of what was stored."""

    step: int
    loss: float  # ID, on validation
    backbone: dict[str, torch.Tensor]
    head: dict[str, torch.Tensor]
    digest: str


def load(run: Run, home: Path, step: int | None = None) -> Kept:
    """The weights at ``step`` (None: the best of a run that has ended).

    Raises NotKept, in one sentence, if they are not there or damaged.
    """
    named = f"weights of run {run.run_id} ({run.name})"
    try:
        index = _read(run, home)
    except FileNotFoundError:
        raise NotKept(f"{named} are not kept here") from None
    except records.Damaged as error:
        again = f"remove kept/{run.run_id} from the home folder and launch its sweep again"
        raise NotKept(f"{named}: their {_INDEX} is damaged ({error}); {again}") from None
    if step is None and not (index.complete and index.losses):
        raise NotKept(f"{named} are not kept here")
    chosen = index.best if step is None else step
    if chosen not in index.losses:
        there = ", ".join(map(str, sorted(index.losses)))
        raise NotKept(f"{named} are not kept at step {chosen}; they are at {there}")
    found = checkpoint.load(_path(run, home, chosen))
    if found is None or found[0]["step"] != chosen:
        raise NotKept(f"{named} at step {chosen} are damaged or not there")
    state, digest = found
    return Kept(chosen, index.losses[chosen], state["backbone"], state.get("head", {}), digest)


def _serves(index: Index | None, keep: str, inputs: Mapping[str, str]) -> bool:
    enough = index is not None and index.complete and index.inputs == dict(inputs)
    return enough and index is not None and index.keep in (keep, "all")


def _folder(run: Run, home: Path) -> Path:
    return home / "kept" / run.run_id


def _path(run: Run, home: Path, step: int) -> Path:
    return _folder(run, home) / f"step-{step}.pt"


def _write(run: Run, home: Path, index: Index) -> None:
    """Replace the index, then remove the weights that it does not name."""
    said: dict[str, Any] = asdict(index) | {"losses": {str(k): v for k, v in sorted(index.losses.items())}}
    records.write_whole(_folder(run, home) / _INDEX, records.document(said, records.canonical))
    for path in _folder(run, home).glob("step-*.pt"):
        if path not in {_path(run, home, step) for step in index.losses}:
            path.unlink()
