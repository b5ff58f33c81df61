"""A model's computation as a program that torch runs without its code (torch.export)."""

import io
import warnings

import numpy as np
import torch
from torch import nn

from ecgscale.data.batches import Batch
from ecgscale.models import Backbone

_N = 3  # recordings that it is traced with; it takes any number


class _Asked(nn.Module):
    """From what a backbone computes on to features, and to logits where there is a head."""

    def __init__(self, backbone: Backbone, head: nn.Linear | None) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        pooled = self.backbone.encode(*inputs).pooled
        return (pooled,) if self.head is None else (pooled, self.head(pooled))


def program(backbone: Backbone, head: nn.Linear | None, batch: Batch) -> bytes:
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
    return buffer.getvalue()
