"""Published weights, kept by their file's SHA-256: what was imported once serves every run that names it.

A run that names them starts from them; its measurement at step 0 is that of the published model.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ecgscale import records
from ecgscale.home import chosen
from ecgscale.models import Architecture
from ecgscale.models.adoption import Adopted, adopted
from ecgscale.models.families import FAMILIES
from ecgscale.phrases import did_you_mean
from ecgscale.spec.run import to_json
from ecgscale.training import checkpoint

_OF_A_RUN = ("reads_hz", "frozen")  # what a run chooses of an architecture, whatever the weights


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
    tell(digest, found.family.name, found.architecture, home)
    return found, digest


def tell(digest: str, family: str, architecture: Architecture, home: Path) -> None:
    """Write whose weights lie under a name, beside them."""
    said = {"family": family, "architecture": _described(architecture)}
    records.write_whole(_told(digest, home), records.document(said, records.canonical))


def of_family(family: str, architecture: Architecture, home: Path | None = None) -> str:
    """What a run names the weights of a published model by: of the file that was imported here, else the family's name.

    A run that names a family cannot be launched; ``missing`` says which file is missing. ``architecture`` tells apart
    what a family has published in several sizes; the rate of its corpora, and what of it moves, are the run's own.
    ``home``: as ``ecgscale.home.chosen``. Raises ValueError for a family that is not known, and where several files of
    one model are imported.
    """
    if family not in {one.name for one in FAMILIES}:
        raise ValueError(f"there is no published model {family!r}{did_you_mean(family, [f.name for f in FAMILIES])}")
    folder = (home or chosen()) / "weights"
    wanted = {"family": family, "architecture": _described(architecture)}
    found = sorted(path.stem for path in folder.glob("*.json") if _said(path) == wanted)
    if len(found) > 1:
        several = ", ".join(digest[:12] for digest in found)
        raise ValueError(
            f"{len(found)} files of {family} are imported here ({several}); remove all but one of weights/"
        )
    return found[0] if found else family


def is_imported(digest: str, home: Path) -> bool:
    return checkpoint.load(_path(digest, home)) is not None


def load(digest: str, home: Path) -> dict[str, torch.Tensor]:
    """The backbone's weights. Raises NotImported, with the command to type, if they are not there or damaged."""
    found = checkpoint.load(_path(digest, home))
    if found is None:
        raise NotImported(missing(digest))
    return found[0]["backbone"]


def head(digest: str, home: Path) -> Head | None:
    """The published model's own head; None where its file had none. Raises as ``load``."""
    load(digest, home)
    found = checkpoint.load(_path(digest, home))
    if found is None or not found[0].get("head"):
        return None
    layer = found[0]["head"]
    return Head(layer["weight"], layer["bias"], tuple(found[0]["names"]))


def missing(name: str) -> str:
    """That published weights are not here, and the command that brings them; by their file's digest, or a family."""
    family = next((one for one in FAMILIES if one.name == name), None)
    if family is not None:
        return f"published weights of {name} are not here; run: ecgscale weights import FILE, with {family.file}"
    file = f"the file of SHA-256 {name[:12]}..."
    return f"published weights {name[:12]} are not here; run: ecgscale weights import FILE, with {file}"


def _path(digest: str, home: Path) -> Path:
    return home / "weights" / f"{digest}.pt"


def _told(digest: str, home: Path) -> Path:
    """Whose weights they are, beside them: read at every loading of a sweep, so no tensors."""
    return _path(digest, home).with_suffix(".json")


def _described(architecture: Architecture) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(records.canonical(to_json(architecture)))
    return {name: value for name, value in said.items() if name not in _OF_A_RUN}


def _said(path: Path) -> dict[str, Any] | None:
    """What is told of imported weights; None where that cannot be believed."""
    try:
        return records.read_document(path)[0]
    except (OSError, records.Damaged):
        return None
