"""What a sweep costs before it is paid: measured speeds, memory and disk against what there is, shares of a GPU."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from ecgscale import compute, data, records
from ecgscale.compute import Cost
from ecgscale.data import Slice
from ecgscale.data.recording import LEADS
from ecgscale.models import Architecture, ResNet, ViT
from ecgscale.objectives import DINO, Supervised
from ecgscale.pool.shares import gpu_share
from ecgscale.pricing import calibration, counts
from ecgscale.pricing.calibration import PRINTED, Device
from ecgscale.pricing.hours import wall_hours
from ecgscale.pricing.plan import plan, shared_parts, shares
from ecgscale.spec.run import Run, Schedule
from ecgscale.spec.sweep import Sweep, load
from ecgscale.training import footprint
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

    def measured(architecture: object, device: str, **_: object) -> tuple[float, float]:
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


def test_models_are_counted_once_a_home(tiny_sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And anew by other code, or if the file is not what was written."""
    own = tmp_path / "home"
    counted: list[object] = []

    def count(architecture: Architecture, *asked: Any) -> Cost:
        counted.append(architecture)
        return counting(architecture, *asked)

    counting = compute._cost
    monkeypatch.setattr(compute, "_cost", count)

    def planned() -> tuple[pd.DataFrame, int]:
        monkeypatch.setattr(compute, "KNOWN", {})  # as in another process
        compute.cost.cache_clear()
        counted.clear()
        return plan(tiny_sweep, own, tmp_path, PRINTED["h100"]), len(counted)

    first, n_first = planned()
    again, n_again = planned()
    pd.testing.assert_frame_equal(first, again)
    assert n_first > n_again == 0
    file, whole = own / "costs.json", (own / "costs.json").read_bytes()
    file.write_bytes(whole.replace(b"0", b"1", 1))
    assert planned()[1] == n_first
    assert file.read_bytes() == whole
    monkeypatch.setattr(counts, "code_digest", lambda: "of other code")
    assert planned()[1] == n_first
    assert planned()[1] == 0


def test_every_dataset_is_priced_with_every_label_set_before_anybody_has_it(tmp_path: Path) -> None:
    assert len(data.DATASETS) == 23
    runs = []
    for name, dataset in data.DATASETS.items():
        backbone = ResNet(3, 4) if dataset.leads == LEADS else ViT(2, 64, 2)
        label_sets = tuple(dataset.card.n_labels)
        assert set(dataset.card.label_sets) <= set(label_sets)
        runs += [Run(backbone, Supervised(), Slice(name, 1.0, label_set)) for label_set in label_sets]
        runs += [] if label_sets else [Run(backbone, DINO(), Slice(name))]
    priced = plan(Sweep("all", tuple(runs), tasks=()), tmp_path, tmp_path, PRINTED["h100"])
    assert len(priced) == len(runs) > 60
    assert (priced[["flops", "device_hours", "memory_gb"]] > 0).all(axis=None)
    assert priced["infeasible"].str.contains("prepared").all()  # nothing else stands in the way
    trained = dict(zip((run.slice.corpus for run in runs), priced["n_samples"], strict=True))
    assert trained["sph"] == 20_616  # 25,770 by shares of 0.8, 0.1, 0.1
    assert trained["mimic"] == 200_000  # as the study split it
    labelled = Sweep("none", (Run(ViT(2, 64, 2), Supervised(), Slice("icentia11k", 1.0, "rhythm")),), tasks=())
    with pytest.raises(ValueError, match="corpus icentia11k has no label set 'rhythm'; there are none"):
        plan(labelled, tmp_path, tmp_path, PRINTED["h100"])


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
    assert gpu_share(1e9, None, 80e9) == 1 / 8
    assert gpu_share(1e9, 0.01, 80e9) == 1 / 8
    assert gpu_share(20e9, 0.01, 80e9) == 1 / 3  # its memory decides, and a quarter more
    assert gpu_share(1e9, 0.3, 80e9) == 1 / 3  # its work decides
    assert gpu_share(1e9, 0.5, 80e9) == 1 / 2
    assert gpu_share(1e9, 0.6, 80e9) == 1.0  # keeps the GPU busy by itself
    assert gpu_share(200e9, 0.1, 80e9) == 1.0
    for n in range(1, 9):
        assert gpu_share(80e9 / 1.25 / n, None, 80e9) == 1 / n


@pytest.mark.parametrize("gigabytes", [24, 36, 40, 80])
@pytest.mark.parametrize("speed", [1e12, 3e13, 6e13])
def test_a_launch_gives_what_the_plan_says(
    gigabytes: int, speed: float, tiny_sweep: Sweep, home: Path, tmp_path: Path
) -> None:
    """On GPUs of several sizes, that small models keep busy more or less; also by what a finished run took."""
    points = ((1e4, speed), (1e12, 1e14))
    on = replace(GPU, memory_bytes=1e9 * gigabytes, speeds={"resnet": points, "transformer": points})
    first = tiny_sweep.runs[0]
    taken = {"status": "done", "processes": "1", "device": "a GPU", "peak_memory_bytes": str(0.3e9 * gigabytes)}
    records.write(records.path_of(tmp_path, tiny_sweep.name, first.run_id), [], first.description, taken)
    priced = plan(tiny_sweep, home, tmp_path, on)
    share = shares(tiny_sweep, priced, home, tmp_path)
    said = dict(zip(priced["run_id"], priced["gpu_share"], strict=True))
    assert {run.run_id: share(run, on.memory_bytes) for run in tiny_sweep.runs} == said
    busy = float(priced["gpu_busy"].max())
    assert set(said.values()) <= {1 / n for n in range(1, 9)}
    assert said[first.run_id] == (1.0 if busy > 0.5 else 1 / 2)
    assert min(said.values()) == gpu_share(0.0, float(priced["gpu_busy"].min()), on.memory_bytes)
    assert share(tiny_sweep.runs[1], 1.0) == 1.0  # of a GPU that is not the plan's


def test_on_cpus_there_is_no_share_of_a_gpu(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    assert set(plan(tiny_sweep, home, tmp_path, replace(GPU, gpu=False))["gpu_share"]) == {0.0}


def test_plan_shows_what_runs_get_and_what_they_cost(shell: Shell) -> None:
    here = shell.type("plan", "mine")
    assert "core hours" in here.stderr
    assert "measured here, one core a run" in here.stderr
    gpu = shell.type("plan", "mine", "--device", "a100")
    assert gpu.stdout.splitlines()[0].split("\t")[-3:] == ["disk GB", "of a GPU", "state"]
    assert "reckoned as 30 %" in gpu.stderr
    assert "on the clock: " in gpu.stderr
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
    monkeypatch.setattr(footprint, "_EVALUATED", 1)  # what a step needs decides, not what an evaluation does
    assert set(plan(tiny_sweep, home, tmp_path, GPU)["processes"]) == {1}
    bare = plan(tiny_sweep, home, tmp_path, replace(GPU, memory_bytes=1.0))  # its data stay on disk
    most = max(bare.to_dict("records"), key=lambda line: line["memory_gb"])
    small = replace(GPU, memory_bytes=0.4e9 * most["memory_gb"])  # data that do not fit stay on disk: weights do not
    assert "infeasible" in set(plan(tiny_sweep, home, tmp_path, small)["state"])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    (shared,) = (r for r in plan(tiny_sweep, home, tmp_path, small).to_dict("records") if r["run_id"] == most["run_id"])
    assert shared["state"] == "pending"
    assert 1 < shared["processes"] == shared["gpu_share"] <= 4
    assert shared["memory_gb"] < 0.9 * most["memory_gb"]
    three = plan(tiny_sweep, home, tmp_path, processes=3)
    assert set(three["processes"]) == {3}
    divided = (three["training_hours"] + three["evaluation_hours"]) / 3
    assert three["clock_hours"].to_list() == pytest.approx((divided + three["probe_hours"]).to_list())  # of one task
    assert set(plan(tiny_sweep, home, tmp_path)["processes"]) == {1}  # a CPU's memory is not added up


def test_a_flipped_bit_in_a_calibration_is_measured_anew_and_never_reckoned_with(tmp_path: Path) -> None:
    kept = calibration.keep(Device("a GPU", True, 8e9, {"resnet": ((1e6, 1e12), (1e9, 1e14))}), tmp_path)
    path, draw = tmp_path / "calibration.json", random.Random(0)
    assert list(calibration.known(tmp_path).values()) == [kept]
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        assert calibration.known(tmp_path) == {}


def test_a_gpu_is_measured_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the process that is started measures the CPU; what it answers is kept."""
    monkeypatch.setattr(calibration, "device_here", lambda: "cpu:0")
    found = calibration.calibrate(tmp_path)
    assert not found.gpu
    assert set(found.speeds) == set(found.forward) == {"resnet", "transformer"}
    assert all(1e6 < speed < 1e13 for points in found.forward.values() for _, speed in points)
    assert list(calibration.known(tmp_path).values()) == [found]
    monkeypatch.setattr(calibration, "device_here", lambda: "cuda:99")
    with pytest.raises(RuntimeError, match="the GPU could not be measured: the process ended with exit code 1"):
        calibration.calibrate(tmp_path)


@pytest.mark.slow
def test_the_parts_of_the_papers_grid_add_up_to_a_count_by_hand(tmp_path: Path) -> None:
    """On an A100 at 30 % of 312 TFLOP/s: 100,000 steps of 128 recordings, 21 evaluations, the paper's eleven tasks."""
    grid, a100 = load("code_grid"), PRINTED["a100"]
    priced, once = plan(grid, tmp_path, tmp_path, a100), shared_parts(grid, tmp_path, a100)
    speed, steps, batch = 0.3 * 312e12, 100_000, 128
    sizes = priced.set_index(["configuration", "size"])["macs_per_sample"].to_dict()
    trained = sum(max(6 * macs * batch / speed, 0.002) * steps for macs in priced["macs_per_sample"])
    asked = 6_877 + 45_152 + 21_799 + 82_543 + 320_000  # recordings of CPSC, CSN, PTB-XL, EchoNext and MIMIC
    own = 104_513 + 232_251  # of CODE to validate and test on
    evaluated = 0.0
    for line in priced.to_dict("records"):
        whole = sizes[line["configuration"].replace("ssl", "sl"), line["size"]]
        evaluated += 21 * 2 * (asked * whole + own * line["macs_per_sample"]) / speed
    # Six layers of 768, two heads of 64, 2048 between, 256 tokens: products of weights, attention; 8,192 codes of 128.
    layer = 4 * 768 * 128 + 2 * 768 * 2048 + 2 * 256 * 128
    book = 6 * 256 * (6 * layer + 8192 * 128 + 2 * 768**2) * 512 * 25_000 / (0.6 * 19.5e12)
    hours = {"training": trained, "evaluation": evaluated, "codebook": book}
    found = {"training": priced["training_hours"].sum(), "evaluation": priced["evaluation_hours"].sum(), **once}
    for part, seconds in hours.items():
        assert found[part] == pytest.approx(seconds / 3600, rel=0.15), part
    labelled = 2 * 2_322_513 * 256 * (4 * layer + 8192 * 128 + 768**2) / speed / 3600  # CODE once, by the encoder alone
    assert found["codes"] == pytest.approx(labelled, rel=0.15)
    # 11 linear probes of at most 50 epochs; their rows over batches of 256 are steps of at least 0.2 ms.
    rows = 5_501 + 36_122 + 5 * 17_418 + 72_475 + 3 * 200_000
    least = 120 * 21 * 50 * rows / 256 * 2e-4 / 3600
    assert least < priced["probe_hours"].sum() < 3 * least
    total = priced["device_hours"].sum() + sum(once.values())
    assert total == pytest.approx(sum(found.values()) + priced["probe_hours"].sum())
    assert wall_hours(priced, 1) <= priced["device_hours"].sum()
    assert wall_hours(priced, 10_000) == pytest.approx(priced["device_hours"].max())


def test_the_smallest_models_take_the_time_of_their_launches(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    run = replace(tiny_sweep.runs[0], schedule=Schedule(steps=100_000, batch_size=8, lr=1e-3))
    for name in ("a100", "h100", "v100", "l40s", "a40"):
        (line,) = plan(Sweep("one", (run,), ()), home, tmp_path, PRINTED[name]).to_dict("records")
        assert line["training_hours"] == pytest.approx(100_000 * 2e-3 / 3600)
