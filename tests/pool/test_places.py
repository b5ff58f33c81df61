"""Faults of a place cost a place, not runs: given back, done elsewhere, and named."""

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from ecgscale import leases
from ecgscale.home import log_path
from ecgscale.place_faults import PlaceFault
from ecgscale.pool import health, places, slot
from ecgscale.pool.places import Faults, Location
from ecgscale.pool.slot import SlotJob
from tests.faults import Cellular, Many, serve_on_gpu, slot_job
from tests.soak import expected, files, measured

ECC = PlaceFault("an uncorrectable ECC error", "GPU", "CUDA error: uncorrectable ECC error encountered")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slot, "_HOLD_SECONDS", 0.1)


def serve_in_turn(number: str, job: SlotJob) -> None:
    """Serve as the slot on one GPU, in a process of its own, until that ends."""
    one = multiprocessing.get_context("fork").Process(target=serve_on_gpu, args=(number, job))
    one.start()
    one.join(120)
    assert one.exitcode == 0


@pytest.mark.parametrize("module", ["tests.faults", "tests.broken_start"])
def test_a_broken_gpu_costs_no_run(tmp_path: Path, module: str) -> None:
    """One fails at every step, or at the start of every worker; whatever it gives back another slot does."""
    sweep = Many("s", tuple(Cellular(n, "device 1" if module == "tests.faults" else "") for n in range(12)))
    job = slot_job(sweep, tmp_path)
    job = replace(job, setup=replace(job.setup, trial=f"{module}:trial"))
    folder = leases.folder_of(tmp_path, "s")
    for number in "101":  # when it comes back it is put out at once
        serve_in_turn(number, job)
    assert [file.status for file in files(sweep, tmp_path)] == ["done"] * 12, [
        file.facts["why"] for file in files(sweep, tmp_path)
    ]
    assert measured(sweep, tmp_path).equals(expected(sweep))
    what = "an uncorrectable ECC error" if module == "tests.faults" else "busy: another process has it in exclusive"
    (sentence,) = [str(place) for place in places.retired(folder, job.launch)]
    assert "GPU 1: " in sentence
    assert what in sentence
    assert not list(folder.glob("*.lease"))
    logs = [log_path(tmp_path / "home", "s", run.run_id) for run in sweep.runs]
    assert sum("given back" in log.read_text() for log in logs if log.is_file()) == 2


def test_the_same_fault_on_two_places_is_the_runs(tmp_path: Path) -> None:
    sweep = Many("s", (Cellular(1, "device 0 1"), Cellular(2), Cellular(3)))
    job = slot_job(sweep, tmp_path)
    for number in "01":
        serve_in_turn(number, job)
    bad, *good = files(sweep, tmp_path)
    assert bad.status == "failed"
    assert bad.facts["why"].startswith("an uncorrectable ECC error (RuntimeError: CUDA error: uncorrectable ECC")
    assert bad.facts["why"].endswith("in two places")
    assert [file.status for file in good] == ["done", "done"]
    assert places.retired(leases.folder_of(tmp_path, "s")) == []


def test_two_in_a_row_retire_a_place_and_a_run_between_them_does_not(tmp_path: Path) -> None:
    here, beside = (Faults(tmp_path, "launch", Location("node", f"GPU {n}")) for n in range(2))
    assert here.met("a", ECC)
    assert not here.retired
    here.ended_well()
    assert here.met("b", ECC)
    assert not here.retired
    assert here.met("c", ECC)
    assert here.retired
    assert not beside.retired
    here.ended_well()
    assert here.retired
    assert [place.name for place in places.retired(tmp_path)] == ["node, GPU 0"]


def test_a_fault_of_a_node_is_that_of_all_its_gpus(tmp_path: Path) -> None:
    full = PlaceFault("its disk for temporary files is full", "node", "OSError: No space left on device")
    here, beside, there = (
        Faults(tmp_path, "launch", Location(*at)) for at in (("a", "GPU 0"), ("a", "GPU 1"), ("b", "GPU 0"))
    )
    assert here.met("x", full)
    assert beside.met("x", full)  # the same node: no second place
    assert here.retired
    assert beside.retired
    assert not there.retired
    assert not there.met("x", full)


def test_what_a_test_finds_retires_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "tested", lambda device: "it computes wrong numbers")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    sweep = Many("s", (Cellular(1, "device 5"), Cellular(2)))
    job = slot_job(sweep, tmp_path)
    assert slot.serve(job, "0") == "retired"
    assert not list((tmp_path / "runs" / "s").glob("*.parquet"))
    (place,) = places.retired(leases.folder_of(tmp_path, "s"))
    assert "it computes wrong numbers" in str(place)
    leases.close_launch(leases.folder_of(tmp_path, "s"), job.launch)
    places.forget(leases.folder_of(tmp_path, "s"))
    assert places.retired(leases.folder_of(tmp_path, "s")) == []


def test_a_healthy_device_passes_in_a_fresh_process() -> None:
    assert health.tested("cpu") == ""
    assert health._compared("cpu") == ""
