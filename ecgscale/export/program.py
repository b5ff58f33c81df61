"""A model's computation as a program that torch runs without its code (torch.export)."""

import inspect
import io
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone

_N = 3  # recordings that it is traced with; it takes any number


class Program(NamedTuple):
    """A program as bytes, and what it takes and gives in their order: name, shape (the first is n) and type of each."""

    code: bytes
    inputs: list[dict[str, str | list[str | int]]]
    outputs: list[dict[str, str | list[str | int]]]


class _Asked(nn.Module):
    """From what a backbone computes on to features, and to logits where there is a head."""

    def __init__(self, backbone: Backbone, head: nn.Linear | None) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pooled = self.backbone.encode(*inputs).pooled
        return (pooled,) if self.head is None else (pooled, self.head(pooled))


def program(backbone: Backbone, head: nn.Linear | None, batch: Batch) -> Program:
    """An exported program from ``backbone.inputs(batch)`` to features [n, width] (and logits [n, n_labels]), for any n.

    Read by ``torch.export.load``; for CPUs. Raises ValueError, in one sentence, for a model whose graph torch does not
    export, or whose program answers other than the model does.
    """
    asked = _Asked(backbone.eval(), head).eval()
    inputs = backbone.inputs(
        batch._replace(**{name: getattr(batch, name)[:_N] for name in ("signal", "peaks", "labels", "patient")})
    )
    n = torch.export.Dim("n")
    try:
        with torch.no_grad(), warnings.catch_warnings(action="ignore"):
            graph = torch.export.export(asked, inputs, dynamic_shapes=(tuple({0: n} for _ in inputs),))
            own = [node.target for node in graph.graph.nodes if getattr(node.target, "namespace", "") == "ecgscale"]
            if own:
                raise ValueError(f"only ecgscale knows its operator {own[0]}")
            torch.export.save(graph, buffer := io.BytesIO())
            several = backbone.inputs(batch)
            pairs = list(zip(graph.module()(*several), asked(*several), strict=True))
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"torch cannot export this model's graph ({why}); without --format its weights can be"
        ) from None
    if not all(np.allclose(found, meant, atol=1e-6) for found, meant in pairs):
        raise ValueError(
            "the graph that torch exports answers other than the model; without --format its weights can be"
        )
    given = [found for found, _ in pairs]
    return Program(buffer.getvalue(), _told(_names(backbone, several), several), _told(("features", "logits"), given))


def _names(backbone: Backbone, inputs: tuple[torch.Tensor, ...]) -> Sequence[str]:
    """What a backbone calls its inputs: fields of a named tuple, or arguments of ``encode``; a signal if it is one."""
    arguments = inspect.signature(backbone.encode).parameters.values()
    named = getattr(inputs, "_fields", [one.name for one in arguments if one.kind is one.POSITIONAL_OR_KEYWORD])
    if len(named) == len(inputs):
        return named
    return ["signal"] if len(inputs) == 1 else [f"input_{i}" for i in range(len(inputs))]


def _told(names: Sequence[str], tensors: Sequence[torch.Tensor]) -> list[dict[str, str | list[str | int]]]:
    return [
        {"name": name, "shape": ["n", *tensor.shape[1:]], "type": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in zip(names, tensors, strict=False)
    ]
