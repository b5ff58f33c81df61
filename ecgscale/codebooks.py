"""Trained codebooks, kept by recipe: what was trained once serves every masked run that names it."""

from collections.abc import Callable
from pathlib import Path

from ecgscale import checkpoint, data
from ecgscale.models import Codebook, VectorQuantisedBeats
from ecgscale.records import canonical, run_id_of
from ecgscale.spec import to_json
from ecgscale.train import train_codebook


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


def train(recipe: Codebook, home: Path, progress: Callable[[int, float], None], device: str = "cpu") -> str:
    """Train a codebook and keep it; returns its digest. ``progress`` hears step and reconstruction error."""
    corpus = data.open_corpus(recipe.corpus, home)
    for step, error, module in train_codebook(recipe, corpus, device):
        progress(step, error)
        if step == recipe.steps:
            checkpoint.save(path_of(recipe, home), {"module": module.cpu().state_dict()})
    return read(recipe, home)[1]


def read(recipe: Codebook, home: Path) -> tuple[VectorQuantisedBeats, str]:
    """The trained codebook of a recipe, frozen, and its digest.

    Raises FileNotFoundError, with the command to type, if it was never trained, is damaged, or is of another version.
    """
    found, module = checkpoint.load(path_of(recipe, home)), recipe.build()
    if found is not None and found[0]["module"].keys() == module.state_dict().keys():
        module.load_state_dict(found[0]["module"])
        return module.eval().requires_grad_(False), found[1]
    raise FileNotFoundError(
        f"the codebook of {recipe.n_codes} codes on {recipe.corpus} is not trained here; "
        "run: ecgscale codebook train --sweep SWEEP"
    )
