"""The processes of a run end together, whichever of them dies."""

import os
import time
from pathlib import Path

import psutil
import pytest

from ecgscale import records
from ecgscale.training import followers
from tests.faults import STEPS, Cellular, Many, served


def test_a_run_is_started_anew_when_one_of_its_processes_dies(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "deserted"), Cellular(2)))
    assert served(sweep, tmp_path) == "empty"
    deserted, other = (records.read(records.path_of(tmp_path, "s", run.run_id)) for run in sweep.runs)
    assert (deserted.status, other.status) == ("done", "done")
    said = "its worker ended with exit code 1 (process 2 of 2 was killed by SIGKILL)"
    assert (deserted.facts["causes"], deserted.facts["attempt"]) == (said, "2")
    assert len(deserted.rows) == STEPS


def test_the_others_end_when_the_leading_one_is_killed(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        with followers.following(2, "tests.faults:wait", tmp_path):
            time.sleep(60)
        os._exit(0)
    leader = psutil.Process(child)
    until_there(tmp_path, 1)
    (follower,) = leader.children()
    leader.kill()
    os.waitpid(child, 0)
    psutil.wait_procs([follower], timeout=20)
    assert not follower.is_running() or follower.status() == psutil.STATUS_ZOMBIE


def test_the_others_end_when_the_leading_one_is_through_or_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers, "_GRACE_SECONDS", 0.1)
    with followers.following(2, "tests.faults:wait", tmp_path):
        until_there(tmp_path, 1)
    with pytest.raises(FileNotFoundError), followers.following(3, "tests.faults:wait", tmp_path):
        until_there(tmp_path / "nowhere", 2)
    assert not [child for child in psutil.Process().children() if "ecgscale.training.followers" in child.cmdline()]


def test_what_one_of_them_could_not_do_is_said_by_the_leading_one(capfd: pytest.CaptureFixture[str]) -> None:
    child = os.fork()
    if not child:
        with followers.following(2, "time:sleep", None):
            time.sleep(60)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    assert "process 2 of 2 ended with exit code 1: TypeError: 'Call' object" in capfd.readouterr().err


def until_there(folder: Path, n_files: int) -> None:
    while len(list(folder.iterdir())) < n_files:
        time.sleep(0.01)
