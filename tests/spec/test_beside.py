"""Modules beside a sweep file: imported from its folder alone, and known to processes that lack the files."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ecgscale import beside
from ecgscale.pricing.cells import as_code, seeds
from ecgscale.spec.sweep import Sweep, load

MODEL = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from ecgscale.models import Architecture, Backbone, Features


@dataclass(frozen=True)
class Plain(Architecture):
    width: int
    rate: float = 0.5
    kind: ClassVar[str] = "plain"

    @property
    def size(self) -> str:
        return str(self.width)

    def build(self) -> Backbone:
        from nets.plain import Net

        return Net(self.width)
"""
NET = """
import torch
from torch import nn

from ecgscale.models import Backbone, Features
from nets import KERNEL


class Net(Backbone):
    def __init__(self, width):
        super().__init__()
        self.width, self.convolution = width, nn.Conv1d(12, width, KERNEL, 4)

    def inputs(self, batch):
        return (batch.signal,)

    def encode(self, signal):
        found = self.convolution(signal).relu()
        return Features(found.mean(-1), found.transpose(1, 2))
"""
SWEEP = """
from mymodel import Plain
from ecgscale.data.corpus import Slice
from ecgscale.objectives import Supervised
from ecgscale.spec import Run, Sweep

SWEEP = Sweep(
    "own", tuple(Run(Plain(width, rate=1), Supervised(), Slice("ptbxl-sample", 0.1, "code6")) for width in (3, 4)), ()
)
"""


def written(folder: Path, kernel: int = 15) -> str:
    (folder / "nets").mkdir(parents=True, exist_ok=True)
    for name, text in (("own", SWEEP), ("mymodel", MODEL), ("nets/plain", NET), ("nets/__init__", f"KERNEL={kernel}")):
        (folder / f"{name}.py").write_text(text)
    return str(folder / "own.py")


def kernel(sweep: Sweep) -> int:
    return int(sweep.runs[0].architecture.build().convolution.kernel_size[0])  # type: ignore[union-attr, index]


def test_folders_with_modules_of_one_name_do_not_mix(tmp_path: Path) -> None:
    first, second = load(written(tmp_path / "a", 5)), load(written(tmp_path / "b", 7))
    assert kernel(second) == 7
    assert load(str(tmp_path / "a" / "own.py")).runs == first.runs  # the same classes
    assert kernel(first) == 5
    assert set(first.sources) == {"sweep_own", "mymodel", "nets", "nets.plain"}
    assert first.sources["nets"].text == "KERNEL=5"
    assert second.sources["nets"].text == "KERNEL=7"
    assert [run.run_id for run in first.runs] == [run.run_id for run in second.runs]
    assert sys.modules["nets"].KERNEL == 7


def test_what_changed_beside_is_read_again(tmp_path: Path) -> None:
    before = load(written(tmp_path, 5))
    assert kernel(before) == 5
    assert kernel(load(written(tmp_path, 9))) == 9


def test_a_process_without_the_files_knows_the_classes(tmp_path: Path) -> None:
    sweep = load(written(tmp_path / "a", 5))
    sent = pickle.dumps(sweep.sources) + pickle.dumps(sweep)
    shutil.rmtree(tmp_path / "a")
    code = (
        "import pickle, sys; from ecgscale import beside; beside.receive(pickle.load(sys.stdin.buffer))\n"
        "sweep = pickle.load(sys.stdin.buffer)\n"
        "print(*[run.run_id for run in sweep.runs], sweep.runs[0].architecture.build().convolution.kernel_size[0])\n"
        "print(*sorted(sweep.sources))"
    )
    ended = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, cwd=tmp_path, check=True)
    ids, known = ended.stdout.decode().splitlines()
    assert ids.split() == [*(run.run_id for run in sweep.runs), "5"]
    assert known.split() == sorted(sweep.sources)


def test_numbers_are_told_alike_where_annotations_are_put_off(tmp_path: Path) -> None:
    sweep = load(written(tmp_path))
    assert '"rate":1.0' in sweep.runs[0].description


def test_modules_that_somebody_else_imported_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = type(sys)("mymodel")
    monkeypatch.setitem(sys.modules, "mymodel", other)
    load(written(tmp_path))
    assert sys.modules["mymodel"] is not other
    beside._show(None)
    assert sys.modules["mymodel"] is other


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("mymodel", "x = 1\n\nnonsense(3)", "own.py, line 2, mymodel.py line 3: name 'nonsense' is not defined"),
        ("mymodel", "x = 1\ndef", "own.py, line 2, mymodel.py line 2: invalid syntax"),
        ("mymodel", "from helpers import x", "own.py, line 2, mymodel.py line 1: No module named 'helpers'"),
        ("mymodel", "import random", "mymodel.py imports random in line 1, which is a module of Python or ecgscale"),
    ],
)
def test_a_mistake_beside_is_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    sweep = written(tmp_path)
    (tmp_path / "random.py").write_text("def random():\n    return 4")
    (tmp_path / f"{name}.py").write_text(text)
    with pytest.raises(ValueError, match=sentence) as raised:
        load(sweep)
    assert str(tmp_path) not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("was", "becomes", "sentence"),
    [
        ('"plain"', '"resnet"', "Plain calls itself 'resnet', as ResNet of ecgscale.models.resnet does"),
        ("import nn", "import nnn", "cannot import name 'nnn' from 'torch'"),
    ],
)
def test_a_kind_is_one_class(tmp_path: Path, was: str, becomes: str, sentence: str) -> None:
    sweep = written(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL.replace(was, becomes))
    with pytest.raises(ValueError, match=sentence):
        load(sweep)


def test_a_class_of_ones_own_may_be_called_like_one_of_ours(tmp_path: Path) -> None:
    sweep = written(tmp_path)
    for name in ("own", "mymodel"):
        file = tmp_path / f"{name}.py"
        file.write_text(file.read_text().replace("Plain", "ResNet"))
    assert load(sweep).runs[0].architecture.kind == "plain"


def test_runs_that_are_proposed_are_spelt_in_the_words_of_the_sweep_file(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    written(tmp_path)
    file.write_text((MODEL + SWEEP).replace("from mymodel import Plain\n", ""))
    sweep = load(str(file))
    code = as_code(sweep, seeds(sweep.runs[0], 2)[1:])
    assert "sweep_own" not in code
    file.write_text(file.read_text() + code)
    assert len(load(str(file)).runs) == 3
