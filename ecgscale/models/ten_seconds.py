"""Networks made for the samples of ten seconds at 100 Hz: what they read, and how their positions are pooled."""

import torch

from ecgscale.data.batches import Batch
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import Backbone
from ecgscale.models.native import fitted

LEADS, SAMPLES = 12, 1000


class TenSeconds(Architecture):
    """``pooling`` "flatten" puts all positions one behind the other, as many as ten seconds have; "mean" is over them.

    Longer recordings are cut in their middle; where positions are flattened, shorter ones are padded on both sides.
    """

    pooling: str

    @property
    def native_samples(self) -> int:
        return SAMPLES

    @property
    def length(self) -> str:
        return "fixed" if self.pooling == "flatten" else "longest"


class TenSecondsBackbone(Backbone):
    """Signals [n, 12, n_samples] to features of ``n_positions``, each of some ``width``, where they are flattened."""

    def __init__(self, description: TenSeconds, width: int, n_positions: int = SAMPLES) -> None:
        super().__init__()
        self.flat = description.pooling == "flatten"
        self.width = width * (n_positions if self.flat else 1)
        self.fit = (description.native_samples, description.length)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor]:
        return (fitted(batch.signal, *self.fit),)

    def pooled(self, local: torch.Tensor, ordered: torch.Tensor | None = None) -> torch.Tensor:
        """Positions ``local`` [n, n_positions, width], flattened in another order where ``ordered`` gives one."""
        if not self.flat:
            return local.mean(1)
        return (local if ordered is None else ordered).flatten(1)
