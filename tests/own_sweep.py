"""A stranger's folder: a sweep file, a model and an objective in a module beside it, and a task of their own."""

from pathlib import Path

MODEL = '''
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.models import Architecture, Backbone, Features
from ecgscale.objectives import UNTRAINED, Loss, Optimiser, Pretraining
from layers import KERNEL


@dataclass(frozen=True)
class PlainCNN(Architecture):
    """One convolution."""

    width: int
    kind: ClassVar[str] = "plaincnn"

    @property
    def size(self) -> str:
        return str(self.width)

    def build(self) -> Backbone:
        return Net(self.width)


class Net(Backbone):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.convolution = width, nn.Conv1d(12, width, KERNEL, 4)

    def inputs(self, batch):
        return (batch.signal,)

    def encode(self, signal):
        found = self.convolution(signal).relu()
        return Features(found.mean(-1), found.transpose(1, 2))


@dataclass(frozen=True)
class Amplitude:
    """Predicts how large a recording is."""

    scale: float = 1.0
    kind: ClassVar[str] = "amplitude"
    paradigm: ClassVar[str] = "ssl"
    inputs: ClassVar[tuple[str, ...]] = ("signal",)
    needs_labels: ClassVar[bool] = False
    cuts_batches: ClassVar[bool] = True
    codebook: ClassVar[None] = None
    optimiser: ClassVar[Optimiser] = Optimiser()

    def build(self, backbone, n_labels, inputs=UNTRAINED):
        return Predictor(backbone, self.scale)


class Predictor(Pretraining):
    def __init__(self, backbone, scale) -> None:
        super().__init__()
        self.backbone, self.head, self.scale = backbone, nn.Linear(backbone.width, 1), scale

    def forward(self, batch, draw) -> Loss:
        expected = batch.signal.std((1, 2)) * self.scale
        found = self.head(self.backbone(batch).pooled)[:, 0]
        return Loss(F.mse_loss(found, expected, reduction="sum"), torch.tensor(len(found)))
'''
SWEEP = """
from ecgscale.data.corpus import Slice
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule, Sweep, Task
from mymodel import Amplitude, PlainCNN

SCHEDULE, EVALUATION = Schedule(steps=4, batch_size=8, lr=1e-2), Evaluation(every=4, probe_epochs=2)
SWEEP = Sweep(
    "own",
    (
        Run(PlainCNN(4), Supervised(), Slice("ludb-sample", 0.3, "rhythm"), SCHEDULE, EVALUATION),
        Run(PlainCNN(4), Amplitude(), Slice("ludb-sample", 0.3), SCHEDULE, EVALUATION),
    ),
    tasks=("ludb-rhythm",),
    keep="best",
)
"""
WITH_TASK = SWEEP.replace('("ludb-rhythm",)', '("ludb-rhythm", Task("our-rhythm", "ludb-sample", "rhythm", "A"))')


def write(folder: Path, sweep: str = WITH_TASK) -> Path:
    """The sweep file in a folder, and what it imports beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "layers.py").write_text("KERNEL = 15\n")
    (folder / "mymodel.py").write_text(MODEL)
    (folder / "own.py").write_text(sweep)
    return folder / "own.py"
