"""Published weights, kept by their file's SHA-256: what was imported once serves every run that names it.

A run that names them starts from them; its measurement at step 0 is that of the published model.
"""

import hashlib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecgscale.models import Net1D
from ecgscale.models.net1d import from_published, head_of
from ecgscale.training import checkpoint

_STEM = "first_conv.conv.weight"
_CONV = re.compile(r"stage_list\.(\d+)\.block_list\.(\d+)\.conv1\.conv\.weight$")

# numpy's scalars, which training loops leave beside the weights (a score, an epoch): data, no code.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_NUMBERS: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(np.dtype, *{type(np.dtype(kind)) for kind in ("f8", "f4", "i8", "i4", "?")}),
]


class NotImported(FileNotFoundError):
    """Published weights that are not there."""


@dataclass(frozen=True)
class Head:
    """The linear layer that a published model was trained with: ``weight`` [n_labels, width], ``bias`` [n_labels].

    ``names`` of its labels, as many; empty where nobody has said them (see ``adopt_file``).
    """

    weight: torch.Tensor
    bias: torch.Tensor
    names: tuple[str, ...]


def adopt_file(file: Path, home: Path, names: Sequence[str] = ()) -> tuple[Net1D, str]:
    """Keep a published ECGFounder from its checkpoint; returns its architecture and the name that runs call it by.

    Its head is kept too, with the ``names`` of its labels (the lines of the tasks.txt that its authors publish beside
    the weights). The architecture reads 500 Hz, as it was trained. Nothing but tensors, numbers and text is read from
    the file; every tensor is checked by name and shape, so their count is the architecture's. Raises FileNotFoundError,
    or ValueError in one sentence that names the file.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file.name}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        what = f"it calls for {code[1]}" if code else first
        raise ValueError(f"{file.name} is no checkpoint of tensors alone: {what}") from None
    inner = content.get("state_dict") if isinstance(content, dict) else None
    tensors = inner if isinstance(inner, dict) else content
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise ValueError(f"{file.name} holds no state dict, at its top or under 'state_dict'")
    try:
        checkpoint.limited(tensors)
        architecture = described(tensors)
        state = from_published(tensors, architecture)
        head = head_of(tensors, architecture.channels[-1])
        n_labels = len(head.get("bias", ()))
        if names and (len(set(names)) != len(names) or len(names) != n_labels):
            raise ValueError(f"its head has {n_labels} labels, but {len(set(names))} different names were given")
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from None
    checkpoint.save(_path(digest, home), {"backbone": state, "head": head, "names": list(names)})
    return architecture, digest


def described(tensors: Mapping[str, torch.Tensor]) -> Net1D:
    """The architecture that a published ECGFounder's tensors are of. Raises ValueError for tensors of another model."""
    named = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    if _STEM not in named or named[_STEM].ndim != 3:
        raise ValueError(f"it has no {_STEM}, so it is no ECGFounder")
    channels: dict[int, int] = {}
    blocks: dict[int, set[int]] = {}
    for name, tensor in named.items():
        found = _CONV.match(name)
        if found:
            stage, block = int(found[1]), int(found[2])
            channels[stage] = len(tensor)
            blocks.setdefault(stage, set()).add(block)
    stem, leads, kernel = named[_STEM].shape
    order = sorted(channels)
    counted = {"stage": set(order)} | {f"block of stage {s}": blocks[s] for s in order}
    for what, numbers in counted.items():
        if numbers and max(numbers) >= len(numbers):
            raise ValueError(f"it has a {what} of number {max(numbers)}, and {len(numbers)} of them; they count from 0")
    widths, depths = tuple(channels[s] for s in order), tuple(len(blocks[s]) for s in order)
    return Net1D(widths, depths, leads, stem, kernel, reads_hz=500)


def is_imported(digest: str, home: Path) -> bool:
    return checkpoint.load(_path(digest, home)) is not None


def load(digest: str, home: Path) -> dict[str, torch.Tensor]:
    """The backbone's weights. Raises NotImported, with the command to type, if they are not there or damaged."""
    found = checkpoint.load(_path(digest, home))
    if found is None:
        raise NotImported(f"published weights {digest[:12]} are not here; {remedy(digest)}")
    return found[0]["backbone"]


def head(digest: str, home: Path) -> Head | None:
    """The published model's own head; None where its file had none. Raises as ``load``."""
    load(digest, home)
    found = checkpoint.load(_path(digest, home))
    if found is None or not found[0].get("head"):
        return None
    layer = found[0]["head"]
    return Head(layer["weight"], layer["bias"], tuple(found[0]["names"]))


def remedy(digest: str) -> str:
    """The command that brings published weights."""
    return f"run: ecgscale weights import FILE, with the file of SHA-256 {digest[:12]}..."


def _path(digest: str, home: Path) -> Path:
    return home / "weights" / f"{digest}.pt"
