"""Launching through Ray, and what killing it costs: nothing that was measured."""

import os
import signal
import subprocess
import time

import pandas as pd
import psutil
import pytest
import torch

from ecgscale import records
from ecgscale.sweep import load
from ecgscale.trial import trial
from tests.shell import Shell

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]  # one Ray at a time


def rows(shell: Shell, results: str = "results") -> pd.DataFrame:
    """All measured rows but the time they took."""
    loaded = records.load(shell.folder / results, ["mine"])
    assert loaded.bad == ()
    keys = ["run_id", "step", "target", "split", "metric"]
    assert not loaded.rows.duplicated(keys).any()
    return loaded.rows.drop(columns="seconds").sort_values(keys, ignore_index=True)


def unkilled(shell: Shell) -> pd.DataFrame:
    """The same sweep, run after run, without Ray."""
    torch.set_num_threads(1)
    sweep = load(str(shell.folder / "sweeps" / "mine.py"))
    for run in sweep.runs:
        assert trial(run, sweep, shell.home, shell.folder / "alone") == "done"
    return rows(shell, "alone")


def states(shell: Shell) -> list[str]:
    sweep, results = load(str(shell.folder / "sweeps" / "mine.py")), shell.folder / "results"
    return [records.state_of(records.path_of(results, sweep.name, run.run_id))[0] for run in sweep.runs]


def wait_until(launch: subprocess.Popen[str], shell: Shell, n_done: int = 0) -> None:
    """Until this launch has measured something of a run that it has not finished, and some others are done."""
    folder, since = shell.folder / "results" / "runs" / "mine", time.time()
    for _ in range(1200):
        fresh = [path for path in folder.glob("*.parquet") if path.stat().st_mtime > since]
        found = [records.state_of(path)[0] for path in fresh]
        if found.count("done") >= n_done and "running" in found:
            return
        assert launch.poll() is None, launch.communicate()
        time.sleep(0.05)
    raise AssertionError("the sweep did not get going")


def slower(shell: Shell) -> Shell:
    """The sweep with enough steps to be caught in the middle."""
    file = shell.folder / "sweeps" / "mine.py"
    file.write_text(file.read_text().replace("steps=4", "steps=240").replace("every=2", "every=60"))
    return shell


def test_a_launch_does_every_run_once_and_joins_the_rest(shell: Shell) -> None:
    first = shell.run("launch", "mine", "--workers", "2", "--only", "objective=cmsc")
    assert first.returncode == 0, first.stderr
    assert states(shell).count("done") == 2
    second = shell.run("launch", "mine", "--workers", "2")
    assert second.returncode == 0, second.stderr
    assert "2 of 4 runs are done, 2 to do" in second.stderr
    times = {path: path.stat().st_mtime_ns for path in (shell.folder / "results" / "runs" / "mine").glob("*.parquet")}
    third = shell.run("launch", "mine")
    assert third.returncode == 0, third.stderr
    assert "4 of 4 runs are done, 0 to do" in third.stderr
    assert times == {path: path.stat().st_mtime_ns for path in times}
    pd.testing.assert_frame_equal(rows(shell), unkilled(shell))


def test_killing_the_driver_costs_nothing_that_was_measured(shell: Shell) -> None:
    slower(shell)
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell, n_done=1)
    os.kill(launch.pid, signal.SIGKILL)
    launch.wait()
    n_before = states(shell).count("done")
    assert n_before < 4
    again = shell.run("launch", "mine", "--workers", "2")
    assert again.returncode == 0, again.stderr
    n_kept = int(again.stderr.partition("mine: ")[2].partition(" of 4 runs are done")[0])
    assert n_before <= n_kept  # a worker may outlive its driver for a moment, and finish
    pd.testing.assert_frame_equal(rows(shell), unkilled(shell))


def test_an_interrupt_ends_with_130_and_a_killed_worker_is_replaced(shell: Shell) -> None:
    slower(shell)
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    launch.send_signal(signal.SIGINT)
    _, said = launch.communicate(timeout=60)
    assert launch.returncode == 130, said
    assert "the same command goes on" in said

    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    workers = [p for p in psutil.Process(launch.pid).children(recursive=True) if "ray::" in " ".join(p.cmdline())]
    assert workers
    busy = max(workers, key=lambda p: p.cpu_times().user)
    busy.kill()
    _, said = launch.communicate(timeout=300)
    assert launch.returncode == 0, said
    assert states(shell) == ["done"] * 4
    pd.testing.assert_frame_equal(rows(shell), unkilled(shell))


def test_one_launch_at_a_time_and_a_damaged_file_is_done_again(shell: Shell) -> None:
    slower(shell)
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    second = shell.run("launch", "mine")  # meanwhile
    assert second.returncode == 3
    assert "another launch of mine is at work" in second.stderr
    assert launch.wait(timeout=300) == 0
    victim = sorted((shell.folder / "results" / "runs" / "mine").glob("*.parquet"))[0]
    whole = rows(shell)
    victim.write_bytes(victim.read_bytes()[:-100])
    again = shell.run("launch", "mine", "--workers", "2")
    assert again.returncode == 0
    assert "moved to quarantine/mine/, the run will be done again" in again.stderr
    assert (shell.folder / "results" / "quarantine" / "mine" / victim.name).is_file()
    pd.testing.assert_frame_equal(rows(shell), whole)
