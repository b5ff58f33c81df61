"""What original networks compute under weights that a formula gives, and the names of their tensors."""

import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ecgscale.models.adoption import Adopted, adopted
from ecgscale.models.families import FAMILIES
from tests.paths import HOUSE

STORED = HOUSE / "tests" / "fixtures" / "originals"


def outputs(model: str) -> dict[str, np.ndarray]:
    return dict(np.load(STORED / f"{model}.npz"))


def said(model: str) -> dict[str, Any]:
    """``parameters`` of the original, ``rel`` (tolerance) and ``keys``: name, shape and kind of each tensor."""
    return json.loads((STORED / f"{model}.json").read_text())  # type: ignore[no-any-return]


def planted(name: str, shape: tuple[int, ...], kind: str = "general", size: float | None = None) -> np.ndarray:
    """The tensor of a name: a hash of place and name under a sine, as large as one of its fan-in should be."""
    if kind == "count":
        return np.zeros(shape, np.int64)
    n, code = int(np.prod(shape)), zlib.crc32(name.encode())
    x = np.arange(n, dtype=np.int64)
    place = (x * x % 1_000_003 * 370_003 + x * 101_027 + code % 1_000_003) % 1_000_003
    if size is None:
        size = 1 / np.sqrt(n / shape[0]) if len(shape) >= 2 else 0.1
    found = (np.sin(2 * np.pi * place / 1_000_003) * size).reshape(shape)
    return {"general": found, "norm": 1 + found, "var": 1 + np.abs(found), "wn": 1 + np.abs(found)}[kind].astype(
        np.float32
    )


def file_of(model: str, without: tuple[str, ...] = ()) -> dict[str, torch.Tensor]:
    """The state dict of an original, but for names that begin so."""
    return {
        name: torch.from_numpy(planted(name, tuple(shape), kind))
        for name, shape, kind in said(model)["keys"]
        if not name.startswith(without)
    }


def imported(tensors: Mapping[str, torch.Tensor]) -> tuple[Adopted, Any]:
    """A file as the product imports it, and the backbone that a run would start from, in evaluation mode."""
    found = adopted(tensors, FAMILIES)
    with torch.device("meta"):
        backbone = found.architecture.build()
    backbone.load_state_dict(found.backbone, assign=True)
    return found, backbone.eval()


def shown(n_leads: int, n_samples: int) -> torch.Tensor:
    b, lead, t = np.ogrid[0:2, 0:n_leads, 0:n_samples]
    signal = np.sin(0.013 * (lead + 1) * t + b) + 0.3 * np.sin(0.11 * t + lead)
    return torch.from_numpy((signal + 0.05 * ((t * (lead + 3) % 17) / 17 - 0.5)).astype(np.float32))


def alike(model: str, ours: Mapping[str, torch.Tensor], rel: float | None = None) -> None:
    """Assert that our outputs are the original's, within its tolerance."""
    stored, rel = outputs(model), said(model)["rel"] if rel is None else rel
    for name, tensor in ours.items():
        theirs, value = stored[name], tensor.detach().numpy()
        assert value.shape == theirs.shape, name
        assert np.abs(value - theirs).max() <= rel * np.abs(theirs).max(), name


class Heard:
    """What parts of a network put out, by a name; to be read after it has computed."""

    def __init__(self, **parts: torch.nn.Module) -> None:
        self.found: dict[str, torch.Tensor] = {}
        for name, part in parts.items():
            part.register_forward_hook(lambda _, __, out, name=name: self.found.__setitem__(name, out))

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.found[name]


class Encoding(torch.nn.Module):
    """A backbone as a function of its signal."""

    def __init__(self, backbone: torch.nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        return self.backbone.encode(signal).pooled  # type: ignore[no-any-return,operator]
