"""A slot and its worker: whatever ends the worker, the run ends in one state, and the others are done."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from ecgscale import leases, records
from ecgscale.home import log_path
from ecgscale.pool import slot
from tests.faults import Cellular, Many, fill, served, slot_job
from tests.soak import expected, files, measured, soak


def test_a_killed_worker_is_replaced_and_the_run_goes_on_from_its_rows(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "killed once"), Cellular(2), Cellular(3, "exit")))
    assert served(sweep, tmp_path) == "empty"
    killed, plain, ended = files(sweep, tmp_path)
    assert [f.status for f in (killed, plain, ended)] == ["done"] * 3
    assert killed.facts["causes"] == "its worker was killed by SIGKILL"
    assert ended.facts["causes"] == "its worker ended with exit code 7"
    assert [f.facts["attempt"] for f in (killed, plain, ended)] == ["2", "1", "2"]
    pd.testing.assert_frame_equal(measured(sweep, tmp_path), expected(sweep))


@pytest.mark.slow
def test_a_run_that_kills_every_worker_is_failed_once_and_keeps_its_rows(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "killed"), Cellular(2)))
    assert served(sweep, tmp_path) == "empty"
    bad, good = files(sweep, tmp_path)
    assert (bad.status, good.status) == ("failed", "done")
    assert bad.facts["why"] == "its worker was killed by SIGKILL, at attempt 3"
    assert bad.facts["interruptions"].count("SIGKILL") == 1 + slot.RETRIES
    assert len(bad.rows) == 1
    assert "killed by SIGKILL" in log_path(tmp_path / "home", "s", sweep.runs[0].run_id).read_text()


@pytest.mark.slow
def test_want_of_host_memory_is_oom_for_that_run_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker really holds 0.4 GB; what counts as the machine's limit is what our largest process may hold."""
    host = psutil.virtual_memory()
    monkeypatch.setattr(slot, "MEMORY_LIMIT", 0.0)
    monkeypatch.setattr(slot, "memory_used", lambda: float(_largest() > 350_000_000))
    monkeypatch.setattr(slot, "RETRIES", 0)
    monkeypatch.setattr(os, "getppid", os.getpid)  # count the workers of this process alone
    sweep = Many("s", (Cellular(1, "hungry"), Cellular(2)))
    assert served(sweep, tmp_path) == "empty"
    hungry, other = files(sweep, tmp_path)
    assert (hungry.status, other.status) == ("oom", "done")
    assert "want of host memory" in hungry.facts["why"]
    assert 350_000_000 < int(hungry.facts["peak_memory_bytes"]) < host.total


def _largest() -> int:
    children = psutil.Process().children(recursive=True)
    return max((p.memory_info().rss for p in children if p.status() != psutil.STATUS_ZOMBIE), default=0)


def test_only_workers_under_the_same_parent_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another launch's worker, however large, does not keep a slot from stopping its own."""
    code = "import time; time.sleep(60)"
    ours, parent = (subprocess.Popen([sys.executable, "-c", code, "ecgscale.pool.worker"]) for _ in range(2))
    try:
        assert slot.memory_of_workers().keys() >= {ours.pid}
        monkeypatch.setattr(os, "getppid", lambda: parent.pid)
        assert slot.memory_of_workers() == {}
    finally:
        for process in (ours, parent):
            process.kill()
            process.wait()


def test_used_memory_is_a_share() -> None:
    assert 0 < slot.memory_used() < 1


def test_a_run_that_raises_without_a_word_is_failed_all_the_same(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "raises"), Cellular(2)))
    assert served(sweep, tmp_path) == "empty"
    silent, other = files(sweep, tmp_path)
    assert (silent.status, other.status) == ("failed", "done")
    assert len(silent.rows) == 1


def test_a_full_disk_stops_the_handing_out(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1), Cellular(2, "full"), Cellular(3)))
    assert served(sweep, tmp_path) == "full"
    states = [records.state_of(records.path_of(tmp_path, "s", run.run_id))[0] for run in sweep.runs]
    assert states == ["done", "running", "pending"]


@pytest.mark.slow
def test_on_a_disk_that_is_really_full_nothing_is_lost(small_disk: Path) -> None:
    sweep = Many("s", tuple(Cellular(n) for n in range(4)))
    first = Many("s", sweep.runs[:2])
    assert served(first, small_disk) == "empty"
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left") as full:
        fill(ballast)
    assert full.value.errno == errno.ENOSPC
    announced = slot_job(sweep, small_disk)
    assert slot.serve(announced, "0") == "full"
    assert not leases.is_open(leases.folder_of(small_disk, "s"), announced.launch)
    pd.testing.assert_frame_equal(measured(first, small_disk), expected(first))
    ballast.unlink()
    assert served(sweep, small_disk) == "empty"
    pd.testing.assert_frame_equal(measured(sweep, small_disk), expected(sweep))
    assert not list(small_disk.rglob("*.partial"))


def test_a_closed_launch_pauses_its_workers_and_another_goes_on(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "long"), Cellular(2)))
    announced = slot_job(sweep, tmp_path)
    said: list[str] = []
    thread = threading.Thread(target=lambda: said.append(slot.serve(announced, "0")))
    thread.start()
    folder = tmp_path / "runs" / "s"
    while not any(file.stat().st_size for file in folder.glob(".*.journal")):
        time.sleep(0.01)
    leases.close_launch(leases.folder_of(tmp_path, "s"), announced.launch)
    thread.join(slot.GRACE_SECONDS)
    assert said == ["closed"]
    assert not list((tmp_path / "leases" / "s").glob("*.lease"))
    assert records.state_of(records.path_of(tmp_path, "s", sweep.runs[1].run_id))[0] == "pending"


@pytest.mark.slow
def test_what_failed_in_this_launch_is_not_tried_again_in_it_but_in_the_next(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "killed"),))
    announced = slot_job(sweep, tmp_path)
    assert slot.serve(announced, "0") == "empty"
    before = files(sweep, tmp_path)[0].facts["lease"]
    assert slot.serve(announced, "1") == "empty"
    assert files(sweep, tmp_path)[0].facts["lease"] == before
    assert served(sweep, tmp_path) == "empty"
    assert files(sweep, tmp_path)[0].facts["lease"] != before


@pytest.mark.slow
def test_tiny_runs_under_random_kills_are_each_done_once(tmp_path: Path) -> None:
    assert soak(tmp_path, n_runs=24, n_slots=2, seconds_between=2.0) > 0


def test_a_worker_ends_with_its_keeper(tmp_path: Path) -> None:
    """The keeper is a process that is killed while its worker is busy."""
    sweep = Many("s", (Cellular(1, "long"),))
    child = os.fork()
    if not child:
        slot.serve(slot_job(sweep, tmp_path), "0")
        os._exit(0)
    keeper = psutil.Process(child)
    while not keeper.children() or not list((tmp_path / "runs" / "s").glob(".*.journal")):
        time.sleep(0.01)
    worker = keeper.children()[0]
    keeper.kill()
    os.waitpid(child, 0)
    psutil.wait_procs([worker], timeout=20)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
