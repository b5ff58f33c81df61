"""Launching through Ray, and what killing it costs: nothing that was measured."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import psutil
import pytest
import torch

from ecgscale import records
from ecgscale.attempt import Place
from ecgscale.pool.shares import Needs, Pool
from ecgscale.pool.surroundings import Infeasible
from ecgscale.spec.sweep import load
from ecgscale.trial import trial
from tests.faults import STEPS, Cellular, Many
from tests.shell import Shell

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]  # one Ray at a time


def rows(shell: Shell, results: str = "results") -> pd.DataFrame:
    """All measured rows but the time they took."""
    loaded = records.load(shell.folder / results, ["mine"])
    assert loaded.bad == ()
    keys = ["run_id", "step", "target", "split", "metric"]
    assert not loaded.rows.duplicated(keys).any()
    return loaded.rows.drop(columns="seconds").sort_values(keys, ignore_index=True)


_UNKILLED: dict[str, pd.DataFrame] = {}  # by the sweep's file: tests ask for the same one


def unkilled(shell: Shell) -> pd.DataFrame:
    """The same sweep, run after run, without Ray."""
    file = shell.folder / "sweeps" / "mine.py"
    if file.read_text() not in _UNKILLED:
        torch.set_num_threads(1)
        sweep = load(str(file))
        for run in sweep.runs:
            assert trial(run, sweep, Place(shell.home, shell.folder / "alone")) == "done"
        _UNKILLED[file.read_text()] = rows(shell, "alone")
    return _UNKILLED[file.read_text()]


def states(shell: Shell) -> list[str]:
    sweep, results = load(str(shell.folder / "sweeps" / "mine.py")), shell.folder / "results"
    return [records.state_of(records.path_of(results, sweep.name, run.run_id))[0] for run in sweep.runs]


def wait_until(launch: subprocess.Popen[str], shell: Shell, n_done: int = 0) -> None:
    """Until this launch has measured something of a run that it has not finished, and some others are done."""
    folder, before = shell.folder / "results" / "runs" / "mine", counted(shell)
    for _ in range(2400):
        if states(shell).count("done") >= n_done:
            now = counted(shell)
            if any(size > before.get(name, 0) for name, size in now.items()):
                return
        assert launch.poll() is None, launch.communicate()
        time.sleep(0.05)
    raise AssertionError(f"the sweep did not get going: {list(folder.iterdir())}")


def counted(shell: Shell) -> dict[str, int]:
    """How much is in the journals of runs that go on."""
    folder = shell.folder / "results" / "runs" / "mine"
    return {file.name: file.stat().st_size for file in folder.glob(".*.journal") if len(file.read_bytes()) > 0}


def workers(launch: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that train."""
    children = psutil.Process(launch.pid).children(recursive=True)
    return [p for p in children if "ecgscale.pool.worker" in p.cmdline()]


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
    before = states(shell)
    assert before.count("done") < 4
    done = {file: file.stat().st_mtime_ns for file in (shell.folder / "results" / "runs" / "mine").glob("*.parquet")}
    again = shell.run("launch", "mine", "--workers", "2")
    assert again.returncode == 0, again.stderr
    assert done == {file: file.stat().st_mtime_ns for file in done}  # no finished run is repeated
    pd.testing.assert_frame_equal(rows(shell), unkilled(shell))


def test_a_signal_drains_and_the_same_command_goes_on(shell: Shell) -> None:
    """Then a worker killed by SIGKILL is replaced, and the file says what happened."""
    slower(shell)
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    launch.send_signal(signal.SIGTERM)
    _, said = launch.communicate(timeout=60)
    assert launch.returncode == 143, said
    assert "the same command goes on from there: ecgscale launch mine --workers 2" in said
    kept = list((shell.home / "checkpoints" / "mine").glob("*.pt"))
    assert kept
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    busy = max(workers(launch), key=lambda p: p.cpu_times().user)
    busy.kill()
    _, said = launch.communicate(timeout=300)
    assert launch.returncode == 0, said
    assert states(shell) == ["done"] * 4
    pd.testing.assert_frame_equal(rows(shell), unkilled(shell))
    facts = records.load(shell.folder / "results", ["mine"]).runs
    assert list(facts["interruptions"].dropna()) == ['["its worker was killed by SIGKILL"]']
    assert sorted(facts["attempt"]) == ["1", "1", "1", "2"]


def test_two_launches_share_the_runs_and_a_damaged_file_is_done_again(shell: Shell) -> None:
    slower(shell)
    both = [shell.start("launch", "mine", "--workers", "1") for _ in range(2)]
    for launch in both:
        _, said = launch.communicate(timeout=300)
        assert launch.returncode == 0, said
    whole = rows(shell)
    assert list(records.load(shell.folder / "results", ["mine"]).runs["lease"]) == ["1"] * 4  # each had one holder
    pd.testing.assert_frame_equal(whole, unkilled(shell))
    victim = sorted((shell.folder / "results" / "runs" / "mine").glob("*.parquet"))[0]
    victim.write_bytes(victim.read_bytes()[:-100])
    again = shell.run("launch", "mine", "--workers", "2")
    assert again.returncode == 0
    assert "moved to quarantine/mine/, the run will be done again" in again.stderr
    assert (shell.folder / "results" / "quarantine" / "mine" / victim.name).is_file()
    pd.testing.assert_frame_equal(rows(shell), whole)


@pytest.mark.parametrize("service", ["raylet", "gcs_server"])
def test_when_ray_dies_the_launch_ends_with_the_reason(shell: Shell, service: str) -> None:
    slower(shell)
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    for process in psutil.Process(launch.pid).children(recursive=True):
        if service in process.name():
            process.kill()
    _, said = launch.communicate(timeout=60)
    assert launch.returncode == 1, said
    assert "does not answer any more" in said
    assert "the same command goes on from there: ecgscale launch mine --workers 2" in said


def test_stop_drains_a_launch_from_another_shell(shell: Shell) -> None:
    slower(shell)
    launch = shell.start("launch", "mine", "--workers", "2")
    wait_until(launch, shell)
    assert "told 1 launch" in shell.type("stop", "mine").stderr
    _, said = launch.communicate(timeout=60)
    assert launch.returncode == 130
    assert "stopped by ecgscale stop" in said


@pytest.fixture
def cluster() -> Iterator["Cluster"]:
    """A real Ray cluster on this machine: a head without GPUs, and two nodes that say they have one each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "num_gpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


def test_a_node_is_killed_and_the_sweep_ends_complete(
    cluster: "Cluster", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three runs a GPU on two nodes; one dies in the middle of it. A token nobody asks for is no hindrance."""
    from ecgscale.pool.launch import launch as schedule

    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    nodes = [cluster.add_node(num_cpus=4, num_gpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    sweep = Many("s", tuple(Cellular(n, "slow") for n in range(60)))
    paths = [records.path_of(tmp_path, "s", run.run_id) for run in sweep.runs]
    killed: list[int] = []

    def watch() -> None:
        n_done = sum(path.is_file() for path in paths)
        if n_done >= 10 and not killed:
            cluster.remove_node(nodes[0], allow_graceful=False)
            killed.append(n_done)

    schedule(
        sweep,  # type: ignore[arg-type]
        sweep.runs,  # type: ignore[arg-type]
        Place(tmp_path / "home", tmp_path),
        Pool(address=cluster.address),
        Needs(share=lambda run, gpu_bytes: 1 / 3),
        device="cpu",
        watch=watch,
        trial="tests.faults:trial",
    )
    assert killed
    assert killed[0] < len(paths)
    loaded = records.load(tmp_path, ["s"])
    assert list(loaded.runs["status"]) == ["done"] * len(paths)
    assert len(loaded.rows) == STEPS * len(paths)
    assert not loaded.rows.duplicated(["run_id", "step"]).any()


def test_a_node_that_is_lost_while_it_looks_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray import exceptions

    from ecgscale.pool import launch

    said: dict[str, Exception] = {
        "lost": exceptions.TaskUnschedulableError("The node specified doesn't exist any more"),
        "without our code": exceptions.RuntimeEnvSetupError("No module named 'ecgscale'"),
    }

    def answer(sent: str, timeout: float) -> None:
        raise said[sent]

    monkeypatch.setattr(launch.ray, "get", answer)
    assert launch._report("n2", "lost") is None
    found = launch._report("n2", "without our code")
    assert found is not None
    assert "No module named 'ecgscale'" in found["problems"][0]


def test_gpus_that_are_not_there_are_refused_with_what_is(cluster: "Cluster", tmp_path: Path) -> None:
    from ecgscale.pool.launch import launch as schedule

    sweep = Many("s", (Cellular(0),))
    with pytest.raises(Infeasible, match="1 GPUs are asked for, the pool has 0"):
        schedule(sweep, sweep.runs, Place(tmp_path, tmp_path), Pool(gpus=1, address=cluster.address))  # type: ignore[arg-type]


def test_a_broken_gpu_of_a_cluster_costs_no_run_and_is_named(cluster: "Cluster", tmp_path: Path) -> None:
    """Of two GPUs one fails at every step; then both do, and the launch ends with the reason."""
    from ecgscale.pool.launch import launch as schedule
    from ecgscale.pool.states import NoPlaceLeft

    cluster.add_node(num_cpus=4, num_gpus=2)
    cluster.wait_for_nodes()
    said: list[str] = []

    def launched(sweep: Many) -> None:
        place, pool = Place(tmp_path / "home", tmp_path), Pool(address=cluster.address)
        schedule(
            sweep,  # type: ignore[arg-type]
            sweep.runs,  # type: ignore[arg-type]
            place,
            pool,
            device="cpu",
            say=said.append,
            trial="tests.faults:trial",
        )

    launched(Many("s", tuple(Cellular(n, "device 1") for n in range(12))))
    assert list(records.load(tmp_path, ["s"]).runs["status"]) == ["done"] * 12
    said.clear()
    with pytest.raises(NoPlaceLeft, match=r"no place is left that works \(.*, GPU 0, .*, GPU 1\): \d runs are to do"):
        launched(Many("t", tuple(Cellular(n, "device 0 1") for n in range(8))))
    assert sum("an uncorrectable ECC error" in sentence for sentence in said) == 2
