"""Checkpoints in parts: what was written or nothing, and training that is not touched by them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ecgscale.objectives import Group, Optimiser
from ecgscale.training import sharded_checkpoint
from ecgscale.training.step import descend, optimiser_of


def stepped(n_steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    module = nn.Linear(4, 3)
    weight, bias = module.parameters()
    optimiser = optimiser_of([Group([weight], 0.5, clipped_with="all"), Group([bias])], Optimiser())
    for step in range(n_steps):
        module.zero_grad()
        module(torch.ones(2, 4) * step).square().sum().backward()
        descend(optimiser, 1e-2, 1.0)
    return module, optimiser


def saved(folder: Path) -> list[int]:
    return [entry["step"] for entry in sharded_checkpoint.intact(folder)]


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_damaged_checkpoint_falls_back_one(tmp_path: Path) -> None:
    for step in range(3):
        sharded_checkpoint.save(tmp_path, f"step-{step}.1", *stepped(step), {"step": step})
    assert saved(tmp_path) == [2, 1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [sharded_checkpoint.INDEX, "step-1.1", "step-2.1"]
    draw = np.random.default_rng(0)
    newest = [*(tmp_path / "step-2.1").iterdir()]
    assert len(newest) == 2
    for path in [*newest, tmp_path / sharded_checkpoint.INDEX]:
        whole = path.read_bytes()
        for _ in range(20):
            damaged = bytearray(whole)
            damaged[draw.integers(whole.find(b"\n") if path.name == sharded_checkpoint.INDEX else len(whole))] ^= (
                1 << draw.integers(8)
            )
            path.write_bytes(damaged)
            assert saved(tmp_path) == [1]
        path.write_bytes(whole[: len(whole) // 4])
        assert saved(tmp_path) in ([1], [])  # of an index that is cut short nothing may be left
        path.write_bytes(whole)
    newest[0].unlink()
    assert saved(tmp_path) == [1]
    sharded_checkpoint.remove(tmp_path)
    assert saved(tmp_path) == []


def test_what_is_loaded_goes_on_as_if_it_had_not_been_saved(tmp_path: Path) -> None:
    """Also from step 0, where an optimiser knows nothing yet."""
    for n_steps in (0, 2):
        module, optimiser = stepped(n_steps)
        sharded_checkpoint.save(tmp_path, "it", module, optimiser, {"step": n_steps})
        assert len(optimiser.state) == (2 if n_steps else 0)
        other, moved = stepped(1)
        sharded_checkpoint.load(tmp_path, "it", other, moved)
        expected, found = ((m.state_dict(), o.state_dict()["state"]) for m, o in ((module, optimiser), (other, moved)))
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
        assert [group["clipped_with"] for group in moved.param_groups] == ["all", ""]


def test_a_late_checkpoint_is_not_named(tmp_path: Path) -> None:
    def lost() -> None:
        raise RuntimeError("held by another")

    sharded_checkpoint.save(tmp_path, "mine", *stepped(1), {"step": 1})
    with pytest.raises(RuntimeError, match="held by another"):
        sharded_checkpoint.save(tmp_path, "late", *stepped(2), {"step": 2}, lost)
    assert saved(tmp_path) == [1]
    sharded_checkpoint.save(tmp_path, "next", *stepped(3), {"step": 3})
    assert not (tmp_path / "late").exists()


def test_a_full_disk_is_called_so_and_leaves_the_checkpoint_before(small_disk: Path) -> None:
    sharded_checkpoint.save(small_disk, "small", *stepped(1), {"step": 1})
    large = nn.Linear(300, 300)
    with pytest.raises(OSError, match="No space left"):
        sharded_checkpoint.save(small_disk, "large", large, torch.optim.Adam(large.parameters()), {"step": 2})
    assert saved(small_disk) == [1]
