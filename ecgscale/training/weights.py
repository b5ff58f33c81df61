"""Published weights, kept by their file's SHA-256: what was imported once serves every run that names it.

A run that names them starts from them; its measurement at step 0 is that of the published model.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ecgscale.models.adoption import Adopted, adopted
from ecgscale.models.families import FAMILIES
from ecgscale.training import checkpoint


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


def adopt_file(file: Path, home: Path, names: Sequence[str] = ()) -> tuple[Adopted, str]:
    """Keep a published model from its file; returns what it is and the name that runs call it by.

    Its head is kept too, with the ``names`` of its labels (of ECGFounder the lines of the tasks.txt that its authors
    publish beside the weights). Nothing but tensors, numbers and text is read from the file; every tensor is checked by
    name and shape, so their count is the architecture's. Raises FileNotFoundError, or ValueError in one sentence that
    names the file.
    """
    from ecgscale.training.published_files import tensors_of  # imports h5py, of which no run has need

    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file.name}")
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        tensors = tensors_of(file)
    except ValueError as error:
        raise ValueError(f"{file.name} {error}") from None
    try:
        checkpoint.limited(tensors)
        found = adopted(tensors, FAMILIES)
        n_labels = len(found.head.get("bias", ()))
        if names and (len(set(names)) != len(names) or len(names) != n_labels):
            raise ValueError(f"its head has {n_labels} labels, but {len(set(names))} different names were given")
    except ValueError as error:
        raise ValueError(f"{file.name}: {error}") from None
    known = found.family.labels if len(found.family.labels) == n_labels else ()
    kept = {"backbone": found.backbone, "head": found.head, "names": list(names or known)}
    checkpoint.save(_path(digest, home), kept)
    return found, digest


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
