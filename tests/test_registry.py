"""What installed packages add by entry points, without being imported before a name is wanted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.own_sweep import MODEL as MODEL_FILE
from tests.paths import HOUSE

MODULE = """
import numpy as np

from ecgscale.analysis.fitting.laws import Law
from ecgscale.spec.tasks import Task

TASK = Task("sex-of-others", "ptbxl-sample", "sex", "D")
LAW = Law("halving", lambda N, E, A: E + A * N**-0.5, ("N",), ("E", "A"))


def draw(points, table):
    return []
"""


def ask(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    path = f"import sys; sys.path[:0] = [{str(folder)!r}, {str(HOUSE)!r}]\n"
    return subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, cwd=folder)


def installed(folder: Path, package: str, points: str, module: str = MODULE) -> None:
    """A package as an installer leaves it: a module and what its entry points are."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{package}.py").write_text(module)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


def test_tasks_laws_and_figures_of_a_package_are_known_by_name(tmp_path: Path) -> None:
    points = "".join(
        f"[ecgscale.{kind}]\n{name} = theirs:{value}\n"
        for kind, name, value in (
            ("tasks", "sex-of-others", "TASK"),
            ("laws", "halving", "LAW"),
            ("figures", "mine", "draw"),
        )
    )
    installed(tmp_path, "theirs", points)
    said = ask(
        tmp_path,
        "from ecgscale.spec.tasks import TASKS, task_of; from ecgscale.analysis.fitting.laws import LAWS\n"
        "from ecgscale.analysis.figures import FIGURES\n"
        "TASKS['ptbxl-sex'], LAWS['joint'], FIGURES['scaling']\n"
        "print('theirs' in sys.modules, task_of('sex-of-others').label_set)\n"
        "print(LAWS['halving'].coefficients, 'mine' in FIGURES, len([*TASKS]) == len(TASKS))\n",
    )
    assert said.stderr == ""
    assert said.stdout.splitlines() == ["False sex", "('E', 'A') True True"]


def test_what_cannot_be_loaded_is_named_once_and_left_out(tmp_path: Path) -> None:
    installed(tmp_path, "theirs", "[ecgscale.tasks]\none = theirs:NOWHERE\ntwo = theirs:LAW\nthree = theirs:TASK\n")
    installed(tmp_path, "broken", "[ecgscale.tasks]\nfour = broken:X\n", "import nowhere_at_all")
    said = ask(
        tmp_path, "from ecgscale.spec.tasks import TASKS\nprint('one' in TASKS, 'four' in TASKS, len([*TASKS]) > 50)\n"
    )
    assert said.stdout.split() == ["False", "False", "True"]
    lines = said.stderr.splitlines()
    assert len(lines) == 4
    for sentence in (
        "ecgscale: broken's 'four' among tasks is left out: it cannot be loaded (ModuleNotFoundError: No module named "
        "'nowhere_at_all')",
        "ecgscale: theirs's 'one' among tasks is left out: it cannot be loaded (AttributeError: module 'theirs' has no "
        "attribute 'NOWHERE')",
        "ecgscale: theirs's 'two' among tasks is left out: it is no ecgscale.spec.Task",
        "ecgscale: theirs's 'three' among tasks is left out: its name is 'sex-of-others'",
    ):
        assert sentence in lines


@pytest.mark.parametrize("others", [False, True])
def test_a_name_that_is_taken_is_refused(tmp_path: Path, others: bool) -> None:
    name = "sex-of-others" if others else "ptbxl-sex"
    for package in ("one", "two")[: 1 + others]:
        installed(tmp_path, package, f"[ecgscale.tasks]\n{name} = {package}:TASK\n")
    said = ask(tmp_path, "from ecgscale.spec.tasks import TASKS\nTASKS['ptbxl-sex'], 'x' in TASKS\n")
    givers = "two and one" if others else "one and ecgscale"
    assert f"ValueError: {givers} both have tasks called {name!r}; uninstall one of them" in said.stderr


def test_help_asks_no_package(tmp_path: Path) -> None:
    installed(tmp_path, "theirs", "[ecgscale.tasks]\nx = theirs:TASK\n", "raise SystemExit('imported')")
    said = ask(tmp_path, "sys.argv = ['ecgscale', '--help']\nfrom ecgscale.cli import main\nmain()\n")
    assert said.returncode == 0
    assert "theirs" not in said.stderr


def test_models_objectives_and_datasets_of_a_package_are_known_by_name(tmp_path: Path) -> None:
    points = (
        "[ecgscale.architectures]\nplaincnn = theirs:PlainCNN\nother = theirs:PlainCNN\nnet = theirs:Net\n"
        "[ecgscale.objectives]\namplitude = theirs:Amplitude\n[ecgscale.datasets]\nours = theirs:DATASET\n"
    )
    dataset = "\nfrom dataclasses import replace\nfrom ecgscale.data import named\nDATASET = replace(named('ludb'))\n"
    installed(tmp_path, "theirs", points, MODEL_FILE.replace("from layers import KERNEL", "KERNEL = 15") + dataset)
    said = ask(
        tmp_path,
        "from ecgscale import data; from ecgscale.models import ARCHITECTURES\n"
        "from ecgscale.objectives import OBJECTIVES\n"
        "print(*(name for name, cls in ARCHITECTURES.items() if not cls.__module__.startswith('ecgscale')))\n"
        "print(OBJECTIVES['amplitude'].__name__, data.named('ours').card.title == data.named('ludb').card.title)\n"
        "from ecgscale.definitions import digest\nprint(len(digest(ARCHITECTURES['plaincnn'])))\n",
    )
    assert said.stdout.splitlines() == ["plaincnn", "Amplitude True", "16"], said.stderr
    assert said.stderr.splitlines() == [
        "ecgscale: theirs's 'net' among architectures is left out: it is no class that inherits "
        "ecgscale.models.Architecture",
        "ecgscale: theirs's 'other' among architectures is left out: its kind is 'plaincnn'",
    ]
