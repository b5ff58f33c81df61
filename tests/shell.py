"""A user's shell for tests: a folder with a small sweep in it, and the command line run in a process of its own."""

import io
import os
import re
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from ecgscale.cli import main
from tests.paths import HOUSE

SWEEP = """
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import CMSC, Supervised
from ecgscale.spec import Evaluation, Run, Schedule
from ecgscale.spec import Sweep

def cell(fraction, objective, labels=""):
    schedule, evaluation = Schedule(steps=4, batch_size=8, lr=1e-2), Evaluation(every=2, probe_epochs=3)
    return Run(ResNet(3, 4), objective, Slice("ludb-sample", fraction, labels), schedule, evaluation)

SWEEP = Sweep("mine", tuple(cell(f, o, l) for o, l in ((Supervised(), "rhythm"), (CMSC(), "")) for f in (0.3, 1.0)),
              tasks=("ludb-rhythm",))
"""
# What is said only where the machine is slow: no test is about whether it was.
_NOTICES = re.compile(r"^(reading|counting) .* \.\.\.\n", re.MULTILINE)


class Shell:
    """A user's shell in a folder that holds sweeps/mine.py."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder, home
        self.started: list[subprocess.Popen[str]] = []
        own = {"ECGSCALE_HOME": str(home), "PYTHONPATH": str(HOUSE)}
        self.environment = {**os.environ, **own, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        (folder / "sweeps").mkdir()
        (folder / "sweeps" / "mine.py").write_text(SWEEP)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ecgscale", *arguments]
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        ended.stderr = _NOTICES.sub("", ended.stderr)
        return ended

    def type(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """As ``run``, in this process: without the seconds that importing torch takes."""
        out, err = io.StringIO(), io.StringIO()
        argv, environment = ["ecgscale", *arguments], mock.patch.dict(os.environ, self.environment)
        as_typed = mock.patch.object(sys, "argv", argv)
        with chdir(self.folder), environment, as_typed, redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = int(ended.code or 0)
        return subprocess.CompletedProcess(argv, code, out.getvalue(), _NOTICES.sub("", err.getvalue()))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        started = subprocess.Popen(
            [sys.executable, "-m", "ecgscale", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(started)
        return started

    def close(self) -> None:
        """End what was started and still runs: a test that failed leaves nothing behind that takes others' time."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()
