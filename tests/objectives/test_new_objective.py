"""A new objective is one file and one line in the registry, also one that reads a codebook."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ecgscale import records
from ecgscale.attempt import Place
from ecgscale.data.batches import Batch
from ecgscale.data.beats import Sentence
from ecgscale.data.corpus import Slice
from ecgscale.models import Backbone, Codebook, CodebookModule, ResNet
from ecgscale.objectives import OBJECTIVES, UNTRAINED, Loss, ObjectiveInputs, Optimiser, Pretraining
from ecgscale.pool import preflight
from ecgscale.pricing.obstacles import unlaunchable
from ecgscale.pricing.plan import plan
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import codebooks
from ecgscale.trial import trial
from tests.conftest import TINY_CODEBOOK
from tests.descriptions import described


@dataclass(frozen=True)
class Counted:
    """Tell from a whole recording how often each code of the codebook occurs in it."""

    codebook: Codebook
    smoothing: float = 0.0

    kind: ClassVar[str] = "counted"
    paradigm: ClassVar[str] = "ssl"
    inputs: ClassVar[tuple[str, ...]] = ("signal",)
    cuts_batches: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    optimiser: ClassVar[Optimiser] = Optimiser()

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return CountedModule(backbone, self, inputs.codes)


class CountedModule(Pretraining):
    def __init__(self, backbone: Backbone, description: Counted, codes: CodebookModule | None) -> None:
        super().__init__()
        self.backbone, self.description = backbone, description
        self.head = nn.Linear(backbone.width, description.codebook.n_codes)
        self._codes: tuple[CodebookModule, ...] = (codes,) if codes else ()

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        codes = self._codes[0].label(Sentence(*self._codes[0].encoder.inputs(batch)), True)
        often = F.one_hot(codes, self.description.codebook.n_codes).float().mean(1)
        terms = F.cross_entropy(self.head(self.backbone(batch).pooled).float(), often, reduction="none")
        return Loss(terms.sum(), torch.tensor(len(terms)))


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setitem(OBJECTIVES, "counted", Counted)
    schedule, evaluation = Schedule(steps=4, batch_size=8, lr=1e-2), Evaluation(every=2, probe_epochs=2)
    return Run(ResNet(3, 8), Counted(TINY_CODEBOOK), Slice(TINY_CODEBOOK.corpus), schedule, evaluation)


def test_it_has_an_identity_a_price_and_rows(run: Run, tmp_path: Path) -> None:
    """From its description to its rows: everything asks it what it needs, and nobody which class it is."""
    torch.set_num_threads(1)
    assert described(run.description) == run
    assert '"kind":"counted"' in run.description
    home, sweep = tmp_path / "home", Sweep("s", (run,), ("ludb-rhythm",))
    assert sweep.codebooks == (TINY_CODEBOOK,)
    assert plan(sweep, home, tmp_path)["objective"].to_list() == ["counted"]
    (cause,) = [cause for cause in unlaunchable(sweep, home, tmp_path) if "codebook" in cause]
    assert "ecgscale codebook train --sweep s" in cause
    codebooks.train(TINY_CODEBOOK, home, lambda at: None)
    assert not [cause for cause in unlaunchable(sweep, home, tmp_path) if "codebook" in cause]
    with preflight.expecting(sweep, home, tmp_path) as expected:
        assert len(expected.codebooks) == 1
    assert trial(run, sweep, Place(home, tmp_path)) == "done"
    found = records.read(records.path_of(tmp_path, "s", run.run_id))
    assert found.facts["codebook_digest"] == codebooks.read(TINY_CODEBOOK, home)[1]
    losses = found.rows[(found.rows["domain"] == "ID") & (found.rows["split"] == "val")].set_index("step")["value"]
    assert set(losses.index) == {0, 2, 4}
    assert losses.notna().all()
    assert losses.nunique() == 3


def test_a_codebook_reads_one_corpus(run: Run) -> None:
    with pytest.raises(ValueError, match="a counted run reads one corpus"):
        Run(run.architecture, run.objective, Slice("ludb-sample", mix=(("ptbxl-sample", 1.0),)))
