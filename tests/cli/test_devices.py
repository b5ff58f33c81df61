"""The device that is there is taken and said aloud; one that is not is refused; a retired place is named."""

from pathlib import Path

import pytest
import torch

from ecgscale import provenance
from ecgscale.cli import devices
from ecgscale.cli.door import Refused
from ecgscale.place_faults import PlaceFault
from ecgscale.pool.places import Faults, Location
from tests.shell import Shell


def test_a_gpu_that_is_there_is_taken_and_said_aloud(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.chosen(None) == "cuda"
    assert "on cuda (--device cpu for the processor)" in capsys.readouterr().err
    assert devices.chosen("cuda:1") == "cuda:1"
    assert devices.chosen("cpu") == "cpu"
    assert capsys.readouterr().err == ""
    with pytest.raises(Refused, match="--device cuda:2: there is 2 that torch"):
        devices.chosen("cuda:2")


def test_without_a_gpu_the_processor_is_taken_and_a_gpu_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.chosen(None) == "cpu"
    assert "on cpu: torch finds no GPU here" in capsys.readouterr().err
    with pytest.raises(Refused, match="--device cuda: there is no GPU here that torch"):
        devices.chosen("cuda")


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_is_woken_before_its_statistics_are_reset(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch has none of any device before; and what has no device in it goes to the one that was asked for."""
    called: list[tuple[str, ...]] = []
    for name in ("init", "set_device", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda *given, name=name: called.append((name, *given)))
    provenance.begin_on(device)
    woken = [("init",), ("set_device", device)]
    assert called == [*woken, ("empty_cache",), ("reset_peak_memory_stats", device)]
    provenance.begin_on("cpu")
    assert len(called) == 4


def test_status_and_failures_name_a_retired_place(shell: Shell) -> None:
    results = shell.folder / "results"
    faults = Faults(results / "leases" / "mine", "launch", Location("node-7", "GPU 3"))
    fault = PlaceFault("an uncorrectable ECC error", "GPU", "RuntimeError: CUDA error: uncorrectable ECC error")
    assert faults.met("a", fault)
    (results / "runs" / "mine").mkdir(parents=True)
    assert "node-7" not in shell.type("failures", "mine").stderr
    assert faults.met("b", fault)
    for verb in ("failures", "status"):
        said = shell.type(verb, "mine").stderr
        assert "mine: node-7, GPU 3: an uncorrectable ECC error (RuntimeError" in said
        assert said.count("node-7") == 1


def test_doctor_says_what_gpus_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecgscale.pricing import doctor

    monkeypatch.setattr(doctor.health, "driver", lambda: "470.82.01")
    monkeypatch.setattr(doctor.health, "compute_modes", lambda: ["Exclusive_Process"])
    monkeypatch.setattr(doctor.health, "compiler", lambda: "")
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    advice = {fact.name: fact.advice for fact in doctor._around_gpus()}
    assert advice["NVIDIA driver"].startswith("older than 525")
    assert "nvidia-smi -c DEFAULT" in advice["compute mode"]
    assert "--no-compile" in advice["C compiler"]
    assert "nvidia-cuda-mps-control" in advice["CUDA MPS"]
    (tmp_path / "control").touch()
    monkeypatch.setattr(doctor.health, "driver", lambda: "550.54.14")
    monkeypatch.setattr(doctor.health, "compute_modes", lambda: ["Default"])
    monkeypatch.setattr(doctor.health, "compiler", lambda: "/usr/bin/gcc")
    assert not any(fact.advice for fact in doctor._around_gpus())
    assert doctor._bf16((7, 0))
    assert not doctor._bf16((8, 0))
