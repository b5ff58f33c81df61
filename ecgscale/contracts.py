"""What every architecture and objective keeps, ours and anybody's, as checks that say in a sentence what is broken.

They read real recordings that ship with the package, with labels of CODE.
"""

import pickle
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ecgscale import data
from ecgscale.compute import cost
from ecgscale.data.batches import Store
from ecgscale.data.corpus import Slice
from ecgscale.models import Architecture, Backbone, ResNet, Transformer, ViT
from ecgscale.objectives import Objective, ObjectiveInputs, Pretraining, Supervised
from ecgscale.spec.run import Run

CORPUS, LABELS, N_LABELS = "ptbxl-sample", "code6", 6
PARTNERS: dict[str, Architecture] = {  # small ones of ours for an objective, by what they read
    "signal": ResNet(3, 12),
    "beats": Transformer(2, 16, 1, 32, n_tokens=96, leads="independent"),
    "patches": ViT(2, 24, 2, patch=50, layer_scale=0.1),
}
_N, _STEPS = 256, 30
_FALLS_TO = 0.98  # of the first steps' loss: a small model learns slowly


class Broken(Exception):
    """A contract is not kept: how."""


def recordings(home: Path) -> Store:
    """The recordings that contracts are checked on."""
    corpus = data.open_corpus(CORPUS, home)
    return Store(corpus, corpus.rows("train")[:_N], LABELS)


def built(architecture: Architecture, objective: Objective) -> Pretraining:
    """The module of a pair, with weights of seed 0; of a codebook with untrained codes."""
    torch.manual_seed(0)
    codes = objective.codebook.build() if objective.codebook else None
    return objective.build(architecture.build(), N_LABELS, ObjectiveInputs(codes))


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shapes(architecture: Architecture, objective: Objective, store: Store) -> None:
    """Features have their shapes."""
    backbone = architecture.build().eval()
    found = backbone(store.batch(np.arange(5)))
    _expect(isinstance(backbone, Backbone), f"build() gives a {type(backbone).__name__}, no Backbone")
    _expect(found.pooled.shape == (5, backbone.width), f"pooled is {[*found.pooled.shape]}, not [5, {backbone.width}]")
    read = architecture.localised or architecture.input != "signal"  # others are pooled alone
    _expect(
        found.local.ndim == 3 and len(found.local) == 5 and (not read or found.local.shape[2] == backbone.width),
        f"local is {[*found.local.shape]}, not [5, positions, {backbone.width if read else 'channels'}]",
    )
    _expect(bool(found.pooled.isfinite().all()), "features are not finite")
    _expect(
        backbone.any_leads == architecture.any_leads, "the backbone and its architecture do not agree about any_leads"
    )


def alone(architecture: Architecture, objective: Objective, store: Store) -> None:
    """A recording has the same features in any batch."""
    backbone = architecture.build().eval()
    together = backbone(store.batch(np.arange(6))).pooled[3]
    by_itself = backbone(store.batch(np.array([3]))).pooled[0]
    same = torch.allclose(together, by_itself, rtol=1e-4, atol=1e-5)
    _expect(same, "features of a recording depend on the others of its batch, with eval()")


def same_build(architecture: Architecture, objective: Objective, store: Store) -> None:
    """A seed gives the same weights."""
    first, second = (built(architecture, objective).state_dict() for _ in range(2))
    other = [name for name in first if not torch.equal(first[name], second[name])]
    _expect(not other, f"under one seed of torch {_named(other)} is another each time it is built")


def gradients(architecture: Architecture, objective: Objective, store: Store) -> None:
    """Gradients reach every parameter."""
    module = built(architecture, objective).train()
    module(store.batch(np.arange(32)), draw()).mean.backward()
    trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    without = {name for name, p in trained if p.grad is None or not p.grad.abs().sum() > 0}
    masking = ("masked", "dino", "jepa") if architecture.input == "beats" else ("masked", "dino")
    if getattr(objective, "other", objective).kind not in masking:  # a mask token is of those alone that mask
        without = {name for name in without if not name.endswith("backbone.mask_token")}
    _expect(not without, f"no gradient reaches {_named(sorted(without))}")


def falling(architecture: Architecture, objective: Objective, store: Store, to: float = _FALLS_TO) -> None:
    """The loss falls on real recordings."""
    module = built(architecture, objective).train()
    optimiser, losses = torch.optim.Adam(module.parameters(), 3e-3), []
    for step in range(_STEPS):
        loss = module(store.batch(np.arange(16) + 16 * (step % 2)), draw(step)).mean
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    first, last = np.mean(losses[:3]), np.mean(losses[-5:])
    _expect(bool(last < to * first), f"from {first:.4g} it comes to {last:.4g} in {_STEPS} steps of Adam")


def repeatable(architecture: Architecture, objective: Objective, store: Store) -> None:
    """The loss is a function of batch and draw."""
    module = built(architecture, objective).eval()
    batch = store.batch(np.arange(16))
    first, second = (module(batch, draw(7)) for _ in range(2))
    a, b = float(first.total.detach()), float(second.total.detach())
    _expect(a == b, f"with one draw it is {a:.6g}, then {b:.6g}; draw what is random from the generator that is given")
    _expect(int(first.n_terms) > 0, "the loss has no terms")


def counted(architecture: Architecture, objective: Objective, store: Store) -> None:
    """Its cost is counted."""
    module, found = built(architecture, objective), cost(architecture, objective, N_LABELS, 1000)
    n_params = sum(p.numel() for p in module.backbone.parameters())
    _expect(found.n_params == n_params, f"{found.n_params:,} parameters are counted, {n_params:,} are built")
    heads = nn.ModuleList(head for _, head, _ in module.heads(store.batch(np.arange(1))))
    _expect(found.n_params_head == sum(p.numel() for p in heads.parameters()), "its head is counted otherwise")
    _expect(found.macs_per_sample > 0, "no multiply-accumulates are counted")


def identity(architecture: Architecture, objective: Objective, store: Store) -> None:
    """Its identity is stable."""
    run = Run(architecture, objective, Slice(CORPUS, 0.5, LABELS), seed=3)
    copy = Run(_again(architecture), _again(objective), run.slice, seed=3)
    _expect(copy == run and hash(copy) == hash(run), "two descriptions with the same fields are not equal")
    _expect(copy.run_id == run.run_id, "two descriptions with the same fields have two run ids")


def pickled(architecture: Architecture, objective: Objective, store: Store) -> None:
    """It travels to other processes."""
    pair = (architecture, objective)
    _expect(pickle.loads(pickle.dumps(pair)) == pair, "what is pickled comes back as something else")


CONTRACTS: tuple[Callable[[Architecture, Objective, Store], None], ...] = (
    shapes,
    alone,
    same_build,
    gradients,
    falling,
    repeatable,
    counted,
    identity,
    pickled,
)


def pairs_of(architectures: Iterable[Architecture], objectives: Iterable[Objective]) -> list[tuple[Any, Any]]:
    """Each architecture and objective with a partner that it fits, of these or else of ours."""
    architectures, objectives = list(architectures), list(objectives)
    found: list[tuple[Any, Any]] = []
    for architecture in architectures:
        own = (one for one in objectives if _fit(architecture, one))
        found.append((architecture, next(own, Supervised())))
    for objective in objectives:
        fit = [one for one in architectures if _fit(one, objective)]
        ours = [PARTNERS[name] for name in objective.inputs if name in PARTNERS]
        found += [(one, objective) for one in (fit or ours)[:1]]
    return list(dict.fromkeys(found))


def _fit(architecture: Architecture, objective: Objective) -> bool:
    misfit = getattr(objective, "misfit", None)
    return architecture.input in objective.inputs and not (misfit and misfit(architecture))


def _again(description: Any) -> Any:
    return replace(description)


def _expect(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(otherwise)


def _named(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
