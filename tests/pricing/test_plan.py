"""What a sweep costs before it is paid: measured speeds, memory and disk against what there is, shares of a GPU."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ecgscale import records
from ecgscale.models import ResNet
from ecgscale.pricing import calibration
from ecgscale.pricing.calibration import PRINTED, Device
from ecgscale.pricing.plan import gpu_share, plan
from ecgscale.spec.sweep import Sweep
from tests.shell import Shell

GPU = Device("a GPU", True, 80e9, {"resnet": ((1e6, 1e12), (1e8, 1e14))})


def test_speed_between_sizes_is_a_power_law_and_flat_beyond() -> None:
    assert GPU.speed("resnet", 1e7) == pytest.approx(1e13)
    assert GPU.speed("transformer", 1e7) == pytest.approx(1e13)  # not measured: the first kind stands in
    assert GPU.speed("resnet", 1e3) == pytest.approx(1e12)
    assert GPU.speed("resnet", 1e9) == pytest.approx(1e14)
    assert GPU.fastest("resnet") == 1e14


def test_a_machine_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def measured(architecture: object, device: str) -> tuple[float, float]:
        asked.append(architecture)
        return float(len(asked)), 1e9

    monkeypatch.setattr(calibration, "measured", measured)
    first = calibration.here(tmp_path)
    times = len(asked)
    assert times
    assert calibration.here(tmp_path) == first
    assert len(asked) == times
    (tmp_path / "calibration.json").write_text("{")
    assert calibration.known(tmp_path) == {}
    calibration.here(tmp_path)  # measured anew
    assert len(asked) == 2 * times
    other = replace(GPU, name="another")
    (tmp_path / "calibration.json").write_text(json.dumps({"another, torch 1": other.__dict__}))
    assert calibration.named("another", tmp_path) == other


def test_speed_is_measured_on_real_steps() -> None:
    macs, speed = calibration.measured(ResNet(3, 6), "cpu", seconds=0.01)
    assert 1e4 < macs < 1e7
    assert 1e6 < speed < 1e13


def test_a_run_is_infeasible_with_the_reason_until_it_fits(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    fits = plan(tiny_sweep, home, tmp_path, PRINTED["h100"])
    assert set(fits["state"]) == {"pending"}
    assert (fits["infeasible"] == "").all()
    # On a device of no memory recordings stay on disk: what is left is what a run cannot do without.
    need = plan(tiny_sweep, home, tmp_path, replace(GPU, memory_bytes=1.0))["memory_gb"].max() * 1e9
    assert need < fits["memory_gb"].max() * 1e9
    small = plan(tiny_sweep, home, tmp_path, replace(GPU, memory_bytes=0.99 * need))
    lost = small[small["memory_gb"] == small["memory_gb"].max()].iloc[0]
    assert lost["state"] == "infeasible"
    assert "GB of memory and a GPU has" in lost["infeasible"]
    # What is done needs nothing any more.
    done = next(run for run in tiny_sweep.runs if run.run_id == lost["run_id"])
    records.write(records.path_of(tmp_path, tiny_sweep.name, done.run_id), [], done.description, {"status": "done"})
    again = plan(tiny_sweep, home, tmp_path, replace(GPU, memory_bytes=0.99 * need)).set_index("run_id")
    assert again.loc[done.run_id, "state"] == "done"
    assert again.loc[done.run_id, "infeasible"] == ""


def test_a_full_disk_is_seen_before_it_is_full(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecgscale.pricing.plan._free_bytes", lambda folder: 1e3)
    priced = plan(tiny_sweep, home, tmp_path, PRINTED["h100"])
    assert set(priced["state"]) == {"infeasible"}
    assert "GB of disk" in priced["infeasible"].iloc[0]


def test_shares_of_a_gpu() -> None:
    assert gpu_share(1e9, 0.01, GPU) == 1 / 8
    assert gpu_share(30e9, 0.01, GPU) == 3 / 8  # its memory decides
    assert gpu_share(1e9, 0.3, GPU) == 3 / 8  # its work decides
    assert gpu_share(1e9, 0.6, GPU) == 1.0  # keeps the GPU busy by itself
    assert gpu_share(200e9, 0.1, GPU) == 1.0
    assert gpu_share(1e9, 0.6, replace(GPU, gpu=False)) == 0.0


def test_plan_shows_what_runs_get_and_what_they_cost(shell: Shell) -> None:
    here = shell.type("plan", "mine")
    assert "core hours" in here.stderr
    assert "measured here, one core a run" in here.stderr
    gpu = shell.type("plan", "mine", "--device", "a100")
    assert gpu.stdout.splitlines()[0].split("\t")[-3:] == ["disk GB", "of a GPU", "state"]
    assert "reckoned as 30 %" in gpu.stderr
    runs = json.loads(shell.type("plan", "mine", "--device", "a100", "--json").stdout)
    assert {run["gpu_share"] for run in runs} == {1 / 8}
    assert all(0 < run["evaluation_share"] < 1 for run in runs)


def test_doctor_says_what_is_here_without_starting_anything(shell: Shell) -> None:
    told = shell.type("doctor", "--json")
    assert told.returncode == 0
    facts = json.loads(told.stdout)
    assert {"CPU cores", "memory", "torch", "ray", "disk for home", "open files (ulimit -n)"} <= set(facts)
    assert facts["datasets shipped"]["found"] == "ptbxl-sample, ludb-sample"
    assert facts["calibrated for plans"]["found"] == "a test's"
    assert "+" not in facts["torch"]["found"]
    assert str(shell.home) not in told.stdout
    assert shell.type("doctor").returncode == 0


def test_doctor_names_what_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecgscale.pricing import doctor

    monkeypatch.setattr(doctor.resource, "getrlimit", lambda kind: (256, 1024))
    monkeypatch.setattr(doctor, "FREE_DISK", 1e18)
    facts = doctor.examine(tmp_path / "home", tmp_path)
    assert facts["open files (ulimit -n)"]["advice"] == "ulimit -n 4096 before a launch"
    assert facts["disk for results"]["advice"].startswith("less than")
    assert facts["calibrated for plans"]["advice"]


def test_a_run_too_large_for_one_gpu_is_given_as_many_as_it_needs(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = plan(tiny_sweep, home, tmp_path, GPU)
    assert set(alone["processes"]) == {1}
    most = max(alone.to_dict("records"), key=lambda line: line["memory_gb"])
    small = replace(GPU, memory_bytes=0.4e9 * most["memory_gb"])  # data that do not fit stay on disk: weights do not
    assert "infeasible" in set(plan(tiny_sweep, home, tmp_path, small)["state"])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    (shared,) = (r for r in plan(tiny_sweep, home, tmp_path, small).to_dict("records") if r["run_id"] == most["run_id"])
    assert shared["state"] == "pending"
    assert 1 < shared["processes"] == shared["gpu_share"] <= 4
    assert shared["memory_gb"] < 0.9 * most["memory_gb"]
    assert set(plan(tiny_sweep, home, tmp_path, processes=3)["processes"]) == {3}
    assert set(plan(tiny_sweep, home, tmp_path)["processes"]) == {1}  # a CPU's memory is not added up
