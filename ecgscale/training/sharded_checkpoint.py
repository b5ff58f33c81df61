"""Sharded checkpoints (DCP): every process of a run writes what it holds, and any number of processes resumes from it.

A folder a step, and an index that is written last: it names the newest step and the one before, with the SHA-256 of
their files, each in a line behind its own checksum. What it does not name is not there. The files are those of
torch.distributed.checkpoint.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import distributed, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load as load_state
from torch.distributed.checkpoint.state_dict_saver import save as save_state

from ecgscale.records import canonical, unguarded, write_whole

INDEX = "latest"
_ROOM = 1_000_000  # bytes that a disk has which is not full

Entry = dict[str, Any]  # one step of the index: the name of its folder, what was said of it, and its files' SHA-256


def save(
    folder: Path,
    name: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    metadata: Mapping[str, Any],
    guard: Callable[[], None] = unguarded,
) -> None:
    """Save module and optimiser as ``name``, with ``metadata`` of them (plain JSON).

    All processes call it, or one that is alone. The checkpoint before it is kept, what is older is removed. ``guard``
    is that of ``write_whole``; the leader asks it. Raises OSError, in all of them, if the disk is full.
    """
    target = folder / name
    several = distributed.is_initialized()
    leads = not several or distributed.get_rank() == 0
    if leads:
        shutil.rmtree(target, ignore_errors=True)  # what an attempt left that did not get so far
    if several:
        distributed.barrier()
    try:
        with _alone():
            save_state(_state(module, optimiser), checkpoint_id=str(target))
    except CheckpointException:
        write_whole(folder / "room", bytes(_ROOM))  # torch does not say whether the disk is full, but this does
        (folder / "room").unlink(missing_ok=True)
        raise
    if leads:
        entry = {**metadata, "name": name, "files": {part.name: _digest(part) for part in sorted(target.iterdir())}}
        kept = [entry, *(older for older in _index(folder) if older["name"] != name)][:2]
        write_whole(folder / INDEX, "".join(map(_line, kept)).encode(), guard)
        for other in folder.iterdir():
            if other.is_dir() and other.name not in {one["name"] for one in kept}:
                shutil.rmtree(other, ignore_errors=True)
    if several:
        distributed.barrier()


def intact(folder: Path) -> Iterator[Entry]:
    """The checkpoints that are what was written, the newest first: the last one and the one before it."""
    for entry in _index(folder):
        try:
            if all(_digest(folder / entry["name"] / file) == digest for file, digest in entry["files"].items()):
                yield entry
        except OSError:
            continue


def load(folder: Path, name: str, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Load a checkpoint into a module and its optimiser: sharded over any number of processes, or whole in one."""
    source = str(folder / name)
    state: dict[str, Any] = {"module": get_model_state_dict(module)}
    state["optimiser"] = get_optimizer_state_dict(module, optimiser)
    with _alone():
        load_state(state, checkpoint_id=source, planner=DefaultLoadPlanner(allow_partial_load=True))
    set_model_state_dict(module, state["module"])
    set_optimizer_state_dict(module, optimiser, state["optimiser"])
    written = FileSystemReader(source).read_metadata().state_dict_metadata
    for weight, parameter in module.named_parameters():
        if f"optimiser.state.{weight}.step" not in written:
            optimiser.state.pop(parameter, None)  # it had no gradient yet, and so has no moments


def remove(folder: Path) -> None:
    """Remove all of them."""
    if folder.is_dir():
        (folder / INDEX).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _state(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    state = {"module": get_model_state_dict(module)}
    # Asked about an optimiser that has taken no step, torch takes one (of length 0, but Adam counts it).
    return state | ({"optimiser": get_optimizer_state_dict(module, optimiser)} if optimiser.state else {})


@contextmanager
def _alone() -> Iterator[None]:
    """Without a warning where there is one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _index(folder: Path) -> list[Entry]:
    """What the index says, without the lines that are not what was written."""
    try:
        lines = (folder / INDEX).read_text(errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    said = [(line, line.partition(" ")[2]) for line in lines]
    return [json.loads(text) for line, text in said if line == _sealed(text)]


def _line(entry: Entry) -> str:
    return _sealed(f"{canonical(entry)}\n")


def _sealed(text: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()} {text}"


def _digest(file: Path) -> str:
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
