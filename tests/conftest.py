"""Shared by all tests: one home with the shipped corpora, and the smallest sweep that has all four configurations."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, Supervised
from ecgscale.pricing import calibration
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from tests.runs import TINY_CODEBOOK
from tests.shell import Shell

hypothesis.settings.register_profile("untimed", deadline=None)  # other work on the machine fails no test
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that the whole session shares; shipped corpora are decoded into it on first use.

    Its machine counts as calibrated, at a speed that was not measured: seconds saved in every process of tests.
    """
    folder = tmp_path_factory.mktemp("home")
    calibration.keep(calibration.Device("a test's", False, 64e9, {"resnet": ((1e6, 1e10),)}), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_sweep() -> Sweep:
    """Four runs of seconds on LUDB, one a configuration, measured at steps 0, 3 and 6."""
    transformer = Transformer(1, 4, 1, 8, n_tokens=64, leads="independent")
    cells = (
        (ResNet(3, 4), Supervised(), "rhythm"),
        (ResNet(3, 4), CMSC(), ""),
        (transformer, Supervised(), "rhythm"),
        (transformer, Masked(TINY_CODEBOOK), ""),
    )
    return Sweep(
        "tiny",
        tuple(
            Run(
                architecture,
                objective,
                Slice("ludb-sample", 0.5, labels),
                Schedule(steps=6, batch_size=8, lr=1e-2),
                Evaluation(every=3, probe_epochs=5, standardise=True),
            )
            for architecture, objective, labels in cells
        ),
        tasks=("ludb-rhythm",),
    )


@pytest.fixture
def disk_of(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a real file system of a size ("128k"), once a test."""
    folder = tmp_path / "disk"

    def mounted(size: str) -> Path:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            folder.rmdir()
            pytest.skip("this user may not mount a small disk")
        return folder

    yield mounted
    if folder.exists():
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk(disk_of: Callable[[str], Path]) -> Path:
    """A real file system of 128 KiB."""
    return disk_of("128k")


@pytest.fixture
def shell(tmp_path: Path, home: Path) -> Iterator[Shell]:
    """A user's shell in a folder of its own that holds sweeps/mine.py."""
    opened = Shell(tmp_path, home)
    yield opened
    opened.close()
