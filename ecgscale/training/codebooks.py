"""Codebooks, kept by recipe: what was trained or imported once serves every masked run that names it."""

import argparse
import hashlib
import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import torch

from ecgscale import data
from ecgscale.models import Codebook, CodebookModule
from ecgscale.models.published import adopt
from ecgscale.records import canonical, run_id_of
from ecgscale.spec.run import to_json
from ecgscale.training import checkpoint
from ecgscale.training.train import CodebookSnapshot, train_codebook

_SAVED_EVERY = 1_000  # steps


def path_of(recipe: Codebook, home: Path) -> Path:
    """Where the codebook of a recipe lives."""
    return home / "codebooks" / f"{recipe.corpus}-{run_id_of(canonical(to_json(recipe)))}.pt"


def is_trained(recipe: Codebook, home: Path) -> bool:
    """Whether an intact codebook of this recipe is there."""
    try:
        read(recipe, home)
    except FileNotFoundError:
        return False
    return True


def train(recipe: Codebook, home: Path, progress: Callable[[CodebookSnapshot], None], device: str = "cpu") -> str:
    """Train a codebook and keep it; returns its digest. ``progress`` is called after every step.

    Cut off, it goes on behind its last thousandth step. Raises ValueError for a recipe that names an imported one.
    """
    if recipe.imported:
        raise ValueError(f"{_name(recipe)} is imported, not trained; {remedy(recipe)}")
    corpus, path = data.open_corpus(recipe.corpus, home), path_of(recipe, home)
    saved = path.with_suffix(".unfinished.pt")
    found, inputs = checkpoint.load(saved), {"corpus_digest": corpus.manifest.digest}
    resume = found[0] if found is not None and found[0]["inputs"] == inputs else None
    for snapshot in train_codebook(recipe, corpus, device, resume):
        progress(snapshot)
        if snapshot.step == recipe.steps:
            checkpoint.save(path, {"module": snapshot.module.cpu().state_dict()})
        elif snapshot.step % _SAVED_EVERY == 0:
            checkpoint.save(saved, snapshot.state() | {"inputs": inputs})
    checkpoint.remove(saved)
    return read(recipe, home)[1]


def adopt_file(file: Path, home: Path, corpus: str = "mimic") -> Codebook:
    """Keep HeartLang's published codebook from its checkpoint; returns the recipe that sweeps name it by.

    Nothing but tensors and plain values is read from the file. Raises FileNotFoundError, or ValueError in one sentence
    that names the file, for one that is not a VQ-HBR checkpoint.
    """
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file.name}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # HeartLang saves its arguments beside the weights
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{file.name} is no checkpoint of tensors alone: {what}") from None
    tensors = content
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            tensors = content[key]
            break
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise ValueError(f"{file.name} holds no state dict, at its top or under 'model' or 'state_dict'")
    try:
        checkpoint.limited(tensors)
        recipe, state = adopt(tensors, corpus, digest)
    except ValueError as error:
        raise ValueError(f"{file.name} {error}") from None
    checkpoint.save(path_of(recipe, home), {"module": state})
    return recipe


def read(recipe: Codebook, home: Path) -> tuple[CodebookModule, str]:
    """The codebook of a recipe, frozen, and its digest.

    Raises FileNotFoundError, with the command to type, if it was never made, is damaged, or is of another version.
    """
    if (found := checkpoint.load(path_of(recipe, home))) is not None:
        (state, digest), module = found, recipe.build()
        if state["module"].keys() == module.state_dict().keys():
            module.load_state_dict(state["module"])
            return module.eval().requires_grad_(False), digest
    how = "is damaged or of another version" if path_of(recipe, home).is_file() else "is not here"
    raise FileNotFoundError(f"{_name(recipe)} {how}; {remedy(recipe)}")


def remedy(recipe: Codebook, sweep: str = "SWEEP") -> str:
    """The command that makes a codebook."""
    if recipe.imported:
        return f"run: ecgscale codebook import FILE, with the file of SHA-256 {recipe.imported[:12]}..."
    return f"run: ecgscale codebook train --sweep {sweep}"


def as_typed(recipe: Codebook) -> str:
    """A recipe as a sweep file writes it: what is not at its default."""
    said = [(f.name, getattr(recipe, f.name)) for f in fields(recipe) if getattr(recipe, f.name) != f.default]
    return f"Codebook({', '.join(f'{name}={value!r}' for name, value in said)})"


def _name(recipe: Codebook) -> str:
    return f"the codebook of {recipe.n_codes} codes on {recipe.corpus}"
