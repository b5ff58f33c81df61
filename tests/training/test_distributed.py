"""A run by several processes: the losses of one, whatever dies, and goes on with another number of them."""

import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from ecgscale import records
from ecgscale import trial as trials
from ecgscale.attempt import Attempt, Place, Resources, Sparing
from ecgscale.data.corpus import Slice
from ecgscale.home import checkpoint_path, log_path, parts_path
from ecgscale.models import ViT
from ecgscale.objectives import DINO, Objective, Supervised, dino
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep, load
from ecgscale.training import distributed, session
from ecgscale.trial import trial
from tests.shell import Shell

RUN = Run(
    ViT(1, 12, 1, layer_scale=0.3),
    Supervised(),
    Slice("ludb-sample", 1.0, "rhythm"),
    Schedule(steps=6, batch_size=7, lr=1e-3),
    Evaluation(every=3, probe_epochs=3),
)
SWEEP = Sweep("mine", (RUN,), ("ludb-rhythm",))
KEYS = ["step", "target", "split", "metric"]
FILE = """
from ecgscale.data.corpus import Slice
from ecgscale.models import ViT
from ecgscale.objectives import Supervised
from ecgscale.spec import Evaluation, Run, Schedule
from ecgscale.spec import Sweep

run = Run(
    ViT(1, 12, 1, layer_scale=0.3),
    Supervised(),
    Slice("ludb-sample", 1.0, "rhythm"),
    Schedule(steps=200, batch_size=7, lr=1e-3),
    Evaluation(every=20, probe_epochs=3),
)
SWEEP = Sweep("mine", (run,), ("ludb-rhythm",))
"""


def rows(results: Path, run: Run = RUN) -> pd.DataFrame:
    found = records.read(records.path_of(results, "mine", run.run_id)).rows
    assert not found.duplicated(KEYS).any()
    return found.set_index(KEYS).sort_index()


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    assert list(found.index) == list(expected.index)
    is_loss = found.index.get_level_values("metric") == "loss"
    np.testing.assert_allclose(found["value"][is_loss], expected["value"][is_loss], rtol=1e-4, atol=1e-4)


@pytest.fixture
def between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wish to pause is asked for between steps alone, and not in evaluations."""
    monkeypatch.setattr(trials, "may_pause", lambda asked: nullcontext())


def asked(at: int) -> Callable[[], bool]:
    """A wish to pause from the time on that this is asked so often."""
    times = iter(range(1, 1000))
    return lambda: next(times) >= at


@pytest.mark.slow
@pytest.mark.usefixtures("between_steps")
def test_two_processes_have_the_losses_of_one_and_go_on_where_one_or_two_were_paused(
    home: Path, tmp_path: Path
) -> None:
    """Paused by two at step 2, which was not due, by one at step 4, and finished by two; then never paused, by one.

    The two that finish it accumulate gradients over micro-batches.
    """
    torch.set_num_threads(1)
    said: list[str] = []
    for processes, at, micro_batch in ((2, 3, None), (1, 2, None), (2, 100, 2)):
        state = trial(
            RUN,
            SWEEP,
            Place(home, tmp_path),
            Resources("cpu", processes, sparing=Sparing(micro_batch=micro_batch)),
            Attempt(pause=asked(at), note=said.append),
        )
        folder, whole = parts_path(home, "mine", RUN.run_id), checkpoint_path(home, "mine", RUN.run_id)
        assert (state, folder.exists(), whole.exists()) == (
            ("paused", processes > 1, processes == 1) if at < 100 else ("done", False, False)
        )
    assert [line for line in said if "paused" in line] == ["paused at step 2", "paused at step 4"]
    assert [line.partition(", ")[2] for line in said if "attempt" in line] == ["", "from step 2", "from step 4"]
    assert trial(RUN, SWEEP, Place(home, tmp_path / "alone")) == "done"
    same(rows(tmp_path), rows(tmp_path / "alone"))
    facts = records.read(records.path_of(tmp_path, "mine", RUN.run_id)).facts
    assert (facts["processes"], facts["micro_batch"]) == ("2", "2")


@pytest.mark.parametrize(
    ("objective", "micro_batch", "processes", "why"),
    [
        (DINO(n_prototypes=16, head_width=16, bottleneck=8, n_local=1), 2, 2, "DINOModule cannot be computed in micro"),
        (Supervised(), 1, 2, "a batch of 7 recordings leaves one of 2 processes with 3"),
        (Supervised(), None, 8, "a batch of 7 recordings leaves one of 8 processes with 0"),
    ],
)
def test_what_several_processes_cannot_compute_is_refused_before_they_are_started(
    objective: Objective,
    micro_batch: int | None,
    processes: int,
    why: str,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distributed, "start_followers", None)
    part = Slice("ludb-sample", 1.0, "rhythm" if objective.needs_labels else "")
    run = replace(RUN, objective=objective, slice=part)
    with pytest.raises(ValueError, match=why):
        trial(run, SWEEP, Place(home, tmp_path), Resources("cpu", processes, sparing=Sparing(micro_batch=micro_batch)))
    assert why in records.state_of(records.path_of(tmp_path, "mine", run.run_id))[1]


@pytest.mark.slow
@pytest.mark.usefixtures("between_steps")
def test_self_distillation_by_two_processes_is_paused_and_finished_by_one(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Student, teacher and the anchor of its patches: what was measured before stays, and what comes is a number."""
    torch.set_num_threads(1)
    said: list[str] = []
    monkeypatch.setattr(dino, "_COLLAPSED", 0.0)  # so few features tell next to nothing of a recording
    objective = DINO(n_prototypes=16, head_width=16, bottleneck=8, n_local=1, gram_from=0.2)
    run = replace(RUN, objective=objective, slice=Slice("ludb-sample"), schedule=replace(RUN.schedule, batch_size=8))
    for processes, at, expected in ((2, 5, "paused"), (1, 100, "done")):
        state = trial(
            run,
            SWEEP,
            Place(home, tmp_path),
            Resources(processes=processes),
            Attempt(pause=asked(at), note=said.append),
        )
        assert state == expected
        found = rows(tmp_path, run)
        if expected == "paused":
            before = found["value"]
    assert set(before.index.get_level_values("step")) == {0, 3}
    assert found["value"].reindex(before.index).equals(before)
    assert set(found.index.get_level_values("step")) == {0, 3, 6}
    assert np.isfinite(found["value"]).all()
    assert [line.partition(", ")[2] for line in said if "attempt" in line] == ["", "from step 4"]


@pytest.mark.slow
def test_a_pause_in_an_evaluation_ends_all_processes(home: Path, tmp_path: Path) -> None:
    """Nothing of it counts, the checkpoint before it is there, and no process is left."""
    torch.set_num_threads(1)
    said: list[str] = []
    attempt = Attempt(pause=asked(2), note=said.append)
    assert trial(RUN, SWEEP, Place(home, tmp_path), Resources("cpu", 2), attempt) == "paused"
    assert said[-1] == "paused in the evaluation of step 0, which will be done again"
    assert records.read(records.path_of(tmp_path, "mine", RUN.run_id)).rows.empty
    assert parts_path(home, "mine", RUN.run_id).exists()
    assert not [child for child in psutil.Process().children() if "ecgscale.training.followers" in child.cmdline()]
    session.forget(RUN, "mine", home)


def evaluations(shell: Shell) -> int:
    """How often the run has been measured until now."""
    (run,) = load(str(shell.folder / "sweeps" / "mine.py")).runs
    try:
        file = records.read(records.path_of(shell.folder / "results", "mine", run.run_id))
    except FileNotFoundError:
        return 0
    return file.rows["step"].nunique()


def wait_until(shell: Shell, launch: subprocess.Popen[str], n: int) -> None:
    for _ in range(6000):
        if evaluations(shell) >= n:
            return
        assert launch.poll() is None, launch.communicate()
        time.sleep(0.05)
    raise AssertionError(f"measured {evaluations(shell)} times")


def processes_of(launch: subprocess.Popen[str], module: str) -> list[psutil.Process]:
    return [p for p in psutil.Process(launch.pid).children(recursive=True) if module in p.cmdline()]


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cell_of_a_sweep_is_done_by_two_processes_killed_and_finished_by_one(shell: Shell) -> None:
    """Through Ray, until one of the two is killed and then the launch; behind their last evaluation one goes on."""
    (shell.folder / "sweeps" / "mine.py").write_text(FILE)
    launch = shell.start("launch", "mine", "--workers", "2", "--processes", "2")
    wait_until(shell, launch, 3)  # then the second is behind a checkpoint
    (follower,) = processes_of(launch, "ecgscale.training.followers")
    (leader,) = processes_of(launch, "ecgscale.pool.worker")
    follower.kill()
    launch.kill()
    launch.communicate()
    psutil.wait_procs([leader], timeout=20)
    assert not leader.is_running()
    (run,) = load(str(shell.folder / "sweeps" / "mine.py")).runs
    file = records.read(records.path_of(shell.folder / "results", "mine", run.run_id))
    assert (file.status, file.facts["processes"]) == ("running", "2")
    done = shell.run("run", "mine", run.run_id, "--processes", "1")
    assert done.returncode == 0, done.stderr
    log = log_path(shell.home, "mine", run.run_id).read_text().splitlines()
    (continued,) = [line for line in log if "attempt 1, from step" in line]
    assert int(continued.split()[-1]) >= 20
    torch.set_num_threads(1)
    sweep = load(str(shell.folder / "sweeps" / "mine.py"))
    assert trial(run, sweep, Place(shell.home, shell.folder / "alone")) == "done"
    same(rows(shell.folder / "results", run), rows(shell.folder / "alone", run))
