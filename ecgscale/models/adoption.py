"""Published weights by the names of their tensors: whose they are, what ours are called, and what is left out."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from ecgscale.models.architecture import Architecture

Tensors = Mapping[str, torch.Tensor]
_WRAPPED = "module."  # what torch's data parallel training puts before every name


@dataclass(frozen=True)
class Family:
    """A published model: how its files are recognised, and what of them is ours.

    ``mark`` is a tensor that only its files have, behind any prefix. ``names`` are patterns of a whole name and what
    the tensor is called here; ``idle`` patterns of what no feature depends on. ``heads``: linear layers behind the
    features, by name; ``labels`` those of the published one, where they are known. ``describe`` reads the architecture
    from the tensors, or raises ValueError; ``licence`` is that of the weights, which ``file`` has. ``when`` tells
    apart what has one mark.
    ``pretraining``: of what is idle, heads that pretraining went by. They are not kept: what HeartLang's tells, for
    example, are the codes of the codebook it was trained with, and a masked run here names a codebook of its own.
    """

    name: str
    licence: str
    file: str
    mark: str
    names: tuple[tuple[str, str], ...]
    describe: Callable[[Tensors], Architecture]
    idle: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    when: Callable[[Tensors], bool] = lambda _: True
    pretraining: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adopted:
    """A published model as it is kept here; ``head`` has ``weight`` and ``bias``, or is empty; ``dropped``: names."""

    family: Family
    architecture: Architecture
    backbone: dict[str, torch.Tensor]
    head: dict[str, torch.Tensor]
    dropped: tuple[str, ...]


def adopted(tensors: Tensors, families: tuple[Family, ...]) -> Adopted:
    """What a file's tensors are, by our names, float32.

    A prefix that all of the model's tensors have is taken off, and what does not have it is of another model that lies
    in the same file. Raises ValueError, in one sentence, for a model that is not known and for the first tensor that is
    missing, superfluous, of another shape or holds what is no number.
    """
    named = {name.removeprefix(_WRAPPED): tensor for name, tensor in tensors.items()}
    family, prefix = _recognised(named, families)
    own = {name.removeprefix(prefix): tensor for name, tensor in named.items() if name.startswith(prefix)}
    beside = {name: tensor for name, tensor in named.items() if not name.startswith(prefix)}
    architecture = family.describe(own)
    with torch.device("meta"):
        model = architecture.build()
    expected, found, dropped = model.state_dict(), {}, []
    for name, tensor in own.items():
        called = _called(name, family)
        if called is None:
            if not _is_head(name, family) and not any(re.fullmatch(pattern, name) for pattern in family.idle):
                what = f"{family.name} of size {architecture.size}"
                raise ValueError(f"checkpoint has a tensor {name} that a {what} has not")
            dropped += [] if _is_head(name, family) else [name]
        elif called not in expected:
            raise ValueError(f"checkpoint has a tensor {name} that a {family.name} of size {architecture.size} has not")
        else:
            found[called] = _fitted(name, tensor, expected[called])
    counts = {name: torch.zeros_like(e, device="cpu") for name, e in expected.items() if name.endswith("_tracked")}
    found = counts | found
    missing = sorted(set(expected) - set(found))
    if missing:
        raise ValueError(f"checkpoint lacks {len(missing)} of {len(expected)} tensors, the first is {missing[0]}")
    head = _head(beside | own, family, model.width)
    return Adopted(family, architecture, found, head, (*dropped, *(n for n in beside if not _is_head(n, family))))


def depth(tensors: Tensors, pattern: str, what: str) -> int:
    """How many there are of what ``pattern`` counts by its first group. Raises ValueError if a number is left out."""
    numbers = {int(found[1]) for name in tensors if (found := re.match(pattern, name))}
    if numbers and max(numbers) >= len(numbers):
        raise ValueError(f"it has a {what} of number {max(numbers)}, and {len(numbers)} of them; they count from 0")
    return len(numbers)


def _recognised(tensors: Tensors, families: tuple[Family, ...]) -> tuple[Family, str]:
    """The family of a file, and the prefix of its tensors' names."""
    found = [
        (family, name.removesuffix(family.mark))
        for family in families
        for name in tensors
        if (name == family.mark or name.endswith(f".{family.mark}")) and family.when(tensors)
    ]
    if not found:
        known = ", ".join(family.name for family in families)
        raise ValueError(f"its tensors are of no model that is known here; there are {known}")
    if len(found) > 1:
        both = f"{found[0][1]}{found[0][0].mark} and {found[1][1]}{found[1][0].mark}"
        codes = "; HeartLang's codebook comes by: ecgscale codebook import FILE" if "decoder." in both else ""
        raise ValueError(f"it holds more than one model: it has {both}{codes}")
    return found[0]


def _called(name: str, family: Family) -> str | None:
    for theirs, ours in family.names:
        if found := re.fullmatch(theirs, name):
            return found.expand(ours)
    return None


def _fitted(name: str, tensor: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """A tensor in our shape, which may have axes of length 1 that theirs has not, or the other way round."""
    theirs, ours = ([n for n in shape if n != 1] for shape in (tensor.shape, expected.shape))
    if theirs != ours:
        raise ValueError(
            f"checkpoint's {name} is of shape {tuple(tensor.shape)}, expected {tuple(n for n in expected.shape)}"
        )
    if not tensor.isfinite().all():
        raise ValueError(f"checkpoint's {name} holds what is no number")
    return tensor.to(expected.dtype).reshape(expected.shape).contiguous()


def _is_head(name: str, family: Family) -> bool:
    return any(name in (f"{head}.weight", f"{head}.bias") for head in family.heads)


def _head(tensors: Tensors, family: Family, width: int) -> dict[str, torch.Tensor]:
    for layer in family.heads:
        parts = {part: tensors[f"{layer}.{part}"] for part in ("weight", "bias") if f"{layer}.{part}" in tensors}
        if not parts:
            continue
        if parts.keys() != {"weight", "bias"} or parts["weight"].shape != (len(parts["bias"]), width):
            raise ValueError(f"checkpoint's head {layer} is no linear layer of {width} features")
        if not all(tensor.isfinite().all() for tensor in parts.values()):
            raise ValueError(f"checkpoint's head {layer} holds what is no number")
        return {part: tensor.float() for part, tensor in parts.items()}
    return {}
