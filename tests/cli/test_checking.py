"""`ecgscale check`: the contracts of models and objectives, on a stranger's own."""

from pathlib import Path

import pytest

from tests import own_sweep
from tests.shell import Shell

N_CONTRACTS = 9


def test_a_sound_sweep_keeps_all_contracts(shell: Shell, tmp_path: Path) -> None:
    ended = shell.type("check", str(own_sweep.write(tmp_path / "theirs")))
    assert ended.returncode == 0, ended.stdout
    lines = ended.stdout.splitlines()
    assert len(lines) == 2 * N_CONTRACTS
    assert lines[0] == "ok      PlainCNN under Supervised: Features have their shapes"
    assert all(line.startswith("ok      PlainCNN under ") for line in lines)


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [
        ("found.mean(-1), found.t", "found.mean(1), found.t", "Features have their shapes: pooled is [5, "),
        ("(signal).relu()", "(signal - signal.mean(0)).relu()", "A recording has the same features in any batch: feat"),
        ("self.convolution(signal)", "self.convolution(signal).detach()", "Gradients reach every parameter: no gradi"),
        ("expected = batch.signal", "expected = torch.rand(1) + batch.signal", "The loss is a function of batch and "),
        ("return Net(self.width)", "return Net(self.widht)", "object has no attribute 'widht' (mymodel.py line "),
        ("reduction=", "reduktion=", "mse_loss has no argument 'reduktion'; did you mean 'reduction'? (mymodel.py"),
    ],
)
def test_what_is_broken_is_one_sentence(shell: Shell, tmp_path: Path, was: str, becomes: str, sentence: str) -> None:
    file = own_sweep.write(tmp_path / "theirs")
    assert was in own_sweep.MODEL
    (file.parent / "mymodel.py").write_text(own_sweep.MODEL.replace(was, becomes))
    ended = shell.type("check", str(file))
    assert ended.returncode == 1
    broken = [line for line in ended.stdout.splitlines() if line.startswith("broken")]
    assert any(sentence in line for line in broken), ended.stdout
    assert "are broken" in ended.stderr


def test_a_file_without_a_sweep_is_checked_by_its_values_and_defaults(shell: Shell, tmp_path: Path) -> None:
    file = own_sweep.write(tmp_path / "theirs").with_name("mymodel.py")
    refused = shell.type("check", str(file))
    assert refused.returncode == 2
    assert "mymodel.py: PlainCNN has fields without defaults; assign a small one to any name" in refused.stderr
    file.write_text(own_sweep.MODEL + "\n\nSMALL = PlainCNN(4)\n")
    ended = shell.type("check", str(file))
    assert ended.returncode == 0, ended.stdout
    assert len(ended.stdout.splitlines()) == N_CONTRACTS  # the objective has defaults: they are a pair
    nothing = shell.type("check", str(shell.folder / "sweeps" / "mine.py"))
    assert nothing.returncode == 2
    assert "mine.py defines no architecture and no objective of its own" in nothing.stderr
