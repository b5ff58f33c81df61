"""Published weights are imported by content, checked tensor by tensor, and are where a run that names them starts."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale.attempt import Place
from ecgscale.data.corpus import Slice
from ecgscale.models import Net1D
from ecgscale.objectives import Supervised
from ecgscale.pricing.obstacles import unlaunchable
from ecgscale.probing.reprobe import backbone_at
from ecgscale.records import load
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import weights
from ecgscale.trial import trial
from tests.descriptions import described
from tests.ecgfounder import N_LABELS, published
from tests.shell import Shell

SMALL = Net1D((16, 32), (2, 1), stem=16)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    scores = {"epoch": np.int64(3), "auroc": np.float64(0.9), "optimizer": {"step": torch.tensor(7.0)}}
    torch.save({**scores, "state_dict": published(SMALL)}, tmp_path / "founder.pth")
    return tmp_path / "founder.pth"


def test_a_run_starts_from_published_weights(file: Path, home: Path, tmp_path: Path) -> None:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    schedule, settings = Schedule(steps=2, batch_size=4), Evaluation(every=2, probe_epochs=2, probe_records=50)
    run = Run(SMALL, Supervised(), Slice("ludb-sample", 1.0, "rhythm"), schedule, settings, weights=digest)
    assert run.configuration == "ecgfounder-sl-tuned"
    assert described(run.description) == run
    sweep = Sweep("tuning", (run,), ("ludb-rhythm",))
    assert any("ecgscale weights import" in cause for cause in unlaunchable(sweep, home, tmp_path))
    with pytest.raises(weights.NotImported, match=digest[:12]):
        trial(run, sweep, Place(home, tmp_path))
    found, name = weights.adopt_file(file, home)
    assert (found.architecture, name) == (replace(SMALL, reads_hz=500), digest)
    assert unlaunchable(sweep, home, tmp_path) == []
    kept = weights.load(digest, home)
    for key, tensor in backbone_at(run, 0, home).state_dict().items():
        assert torch.equal(tensor, kept[key])
    assert trial(run, sweep, Place(home, tmp_path)) == "done"
    rows = load(tmp_path, ["tuning"]).rows
    measured = rows[(rows["step"] == 0) & (rows["target"] == "ludb-rhythm")]
    assert set(measured["metric"]) >= {"loss", "auroc"}


def test_a_run_starts_from_one_thing() -> None:
    part = Slice("ludb-sample", 1.0, "rhythm")
    first = Run(SMALL, Supervised(), part)
    assert first.configuration == "ecgfounder-sl"
    with pytest.raises(ValueError, match="not from both"):
        Run(SMALL, Supervised(), part, initial=first, weights="ab")


def test_what_is_no_ecgfounder_is_refused(file: Path, home: Path, tmp_path: Path) -> None:
    for content, reason in (
        ({"epoch": 3}, "no state dict"),
        ({"a": torch.zeros(2)}, "of no model that is known here"),
        ({k: v for k, v in published(SMALL).items() if "block_list.0.conv2" not in k}, "lacks"),
    ):
        torch.save(content, tmp_path / "other.pth")
        with pytest.raises(ValueError, match=reason):
            weights.adopt_file(tmp_path / "other.pth", home)
    torch.save({"state_dict": published(SMALL), "run": Path("rm")}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"^other\.pth is no checkpoint of tensors alone: it calls for pathlib\.(_local\.)?PosixPath$"
    ):
        weights.adopt_file(tmp_path / "other.pth", home)
    (tmp_path / "other.pth").write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"other\.pth is no checkpoint"):
        weights.adopt_file(tmp_path / "other.pth", home)
    with pytest.raises(FileNotFoundError):
        weights.adopt_file(tmp_path / "absent.pth", home)


def test_the_verb_says_what_a_sweep_writes(file: Path, tmp_path: Path, shell: Shell) -> None:
    said = shell.type("weights", "import", str(file))
    assert said.returncode == 0
    assert f"weights='{hashlib.sha256(file.read_bytes()).hexdigest()}'" in said.stderr
    assert "Net1D(channels=(16, 32), blocks=(2, 1)" in said.stderr
    assert "reads_hz=500" in said.stderr
    assert "licence of its weights: MIT" in said.stderr
    assert "left out: first_bn (5 tensors), stage_list.*.block_list.*.bn* (45 tensors); no feature" in said.stderr
    assert "its head of 150 labels is kept: their names are unknown" in said.stderr
    (tmp_path / "tasks.txt").write_text("".join(f"LABEL {i}\n" for i in range(150)))
    assert "LABEL 0, ... LABEL 149" in shell.type("weights", "import", str(file), "--labels", "tasks.txt").stderr
    (tmp_path / "tasks.txt").write_text("AF\nAF\n")
    refused = shell.type("weights", "import", str(file), "--labels", "tasks.txt")
    assert (refused.returncode, "its head has 150 labels, but 1 different names" in refused.stderr) == (2, True)


def test_a_published_head_is_kept_with_its_names(file: Path, home: Path) -> None:
    names = [f"LABEL {i}" for i in range(N_LABELS)]
    _, digest = weights.adopt_file(file, home, names)
    found = weights.head(digest, home)
    assert found is not None
    published_head = torch.load(file, weights_only=False)["state_dict"]
    assert torch.equal(found.weight, published_head["dense.weight"])
    assert torch.equal(found.bias, published_head["dense.bias"])
    assert found.names == tuple(names)


def test_a_block_that_cannot_be_is_refused_at_once(home: Path, tmp_path: Path) -> None:
    """A name is no count: of the blocks only those that are there are built."""
    tensors = published(SMALL)
    name = next(name for name in tensors if name.endswith("block_list.0.conv1.conv.weight"))
    for near, reason in (("block_list", "a block of stage 0"), ("stage_list", "a stage")):
        far = name.replace(f"{near}.0", f"{near}.99999999")
        torch.save({"state_dict": {**tensors, far: tensors[name]}}, tmp_path / "far.pth")
        with pytest.raises(
            ValueError, match=rf"^far\.pth: it has {reason} of number 99999999, and \d+ of them; they count from 0$"
        ):
            weights.adopt_file(tmp_path / "far.pth", home)
    torch.save({"state_dict": {**tensors, name: torch.zeros(1).expand(10**6, 10**6, 1)}}, tmp_path / "far.pth")
    with pytest.raises(ValueError, match=r"of shape \[1000000, 1000000, 1\], for which it does not hold the numbers"):
        weights.adopt_file(tmp_path / "far.pth", home)
