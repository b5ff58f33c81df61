"""How fast a device trains: measured once on models small and large, kept in home, read by every plan after that."""

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from ecgscale.compute import FLOPS_PER_MAC_TRAINED, cost
from ecgscale.data.batches import Batch
from ecgscale.data.peaks import MAX_BEATS
from ecgscale.models import RESNETS, TRANSFORMERS, Architecture
from ecgscale.objectives import Supervised
from ecgscale.pool.health import gpu_names
from ecgscale.processes import Child, Parent
from ecgscale.records import document, read_document, write_whole
from ecgscale.training.step import compute_gradients, execution, prepare_module

_SAMPLES, _LABELS = 1000, 6
_CALIBRATION_SECONDS = 900.0  # that a GPU's may take, most of them for compiling
_OF_PEAK, _OF_FP32_PEAK = 0.3, 0.6  # of what is printed, reached in training
_LAUNCHES = 2e-3  # seconds of a training step's launches on a printed device
_LADDERS: dict[str, tuple[Architecture, ...]] = {"resnet": RESNETS, "transformer": TRANSFORMERS}
# Rungs that are timed, and the batch. On a CPU a batch of 8 is about as fast as one of 128, and sooner done.
_RUNGS, _BATCH = {"cpu": (0, 2), "cuda": (0, 3, 6, 8)}, {"cpu": 8, "cuda": 128}


@dataclass(frozen=True)
class Device:
    """What a plan reckons with: memory in bytes, whether it is a GPU (else one CPU core), and training speed.

    ``speeds`` holds for each kind of architecture points (MACs a recording, FLOP/s), smallest model first; a kind that
    was not measured goes by the first that was. ``measured`` is false for speeds that makers print. ``step_seconds``:
    what launching the kernels of a training step takes at least. ``fp32``: the part of a speed that float32 has.
    ``forward``: as ``speeds``, of a forward pass in an evaluation; empty where that was not measured.
    """

    name: str
    gpu: bool
    memory_bytes: float
    speeds: Mapping[str, Sequence[tuple[float, float]]]
    measured: bool = True
    step_seconds: float = 0.0
    fp32: float = 1.0
    forward: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)

    def speed(self, kind: str, macs: float) -> float:
        """Training FLOP/s at a size: between the sizes measured as a power law, beyond them as the nearest."""
        return _between(self.speeds.get(kind) or next(iter(self.speeds.values())), macs)

    def speed_forward(self, kind: str, macs: float) -> float:
        """The same of a forward pass; that of training, where it was not measured."""
        return _between(self.forward[kind], macs) if self.forward.get(kind) else self.speed(kind, macs)

    def speed_fp32(self, kind: str, macs: float) -> float:
        """The same in float32."""
        return self.fp32 * self.speed(kind, macs)

    def fastest(self, kind: str) -> float:
        """Training FLOP/s of the size that keeps the device busiest."""
        return max(speed for _, speed in self.speeds.get(kind) or next(iter(self.speeds.values())))


def _between(points: Sequence[tuple[float, float]], macs: float) -> float:
    sizes, speeds = np.log(np.array(points)).T
    return float(np.exp(np.interp(math.log(macs), sizes, speeds)))


def _printed(name: str, peak: float, memory: float, fp32: float) -> Device:
    """30 % of the dense peak in 16 bits that makers print, and 60 % of that in float32; a reckoning, not a measurement.

    Below a million parameters a step is its launches: 1.5 to 3 ms, 2 ms here.
    """
    speeds = {"resnet": ((1.0, _OF_PEAK * peak),)}
    return Device(name, True, memory, speeds, False, _LAUNCHES, _OF_FP32_PEAK * fp32 / (_OF_PEAK * peak))


# From makers' data sheets: dense FLOP/s in bfloat16 (float16 where there is none) and in float32, and memory.
PRINTED = {
    name: _printed(name, peak, memory, fp32)
    for name, peak, memory, fp32 in (
        ("a100", 312e12, 40e9, 19.5e12),
        ("a100-80", 312e12, 80e9, 19.5e12),
        ("h100", 989e12, 80e9, 67e12),
        ("h200", 989e12, 141e9, 67e12),
        ("l40s", 362e12, 48e9, 91.6e12),
        ("l4", 121e12, 24e9, 30.3e12),
        ("a40", 149.7e12, 48e9, 37.4e12),
        ("a10", 125e12, 24e9, 31.2e12),
        ("a30", 165e12, 24e9, 10.3e12),
        ("rtx4090", 165e12, 24e9, 82.6e12),
        ("rtx3090", 71e12, 24e9, 35.6e12),
        ("v100", 125e12, 32e9, 15.7e12),
        ("t4", 65e12, 16e9, 8.1e12),
    )
}


def device_here() -> str:
    """Where runs train on this machine: "cuda" if torch finds a GPU, else "cpu"."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def name_of(device: str) -> str:
    """What makers call a device: the GPU's or the processor's name."""
    if device.startswith("cuda"):
        return (gpu_names() or [torch.cuda.get_device_name(device)])[0]
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "CPU")


def here(home: Path) -> Device:
    """This machine's device as it was calibrated; the first time, it is measured and kept."""
    return known(home).get(_key(device_here())) or calibrate(home)


def named(name: str, home: Path) -> Device | None:
    """A device by the name that a plan is asked for: here, one of PRINTED, or one calibrated into this home."""
    if name == "here":
        return here(home)
    return PRINTED.get(name) or next((d for d in known(home).values() if d.name == name), None)


def known(home: Path) -> dict[str, Device]:
    """Devices that were calibrated into this home; a damaged file counts for nothing and is written anew."""
    try:
        found, _ = read_document(_file(home))
        return {key: _read(facts) for key, facts in found.items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _read(facts: dict[str, Any]) -> Device:
    points = {
        name: {kind: tuple((m, s) for m, s in points) for kind, points in facts.get(name, {}).items()}
        for name in ("speeds", "forward")
    }
    return Device(**facts | points)


def calibrate(home: Path) -> Device:
    """Measure this machine's device, and keep what was found in home: seconds on a CPU, a minute or two on a GPU.

    A GPU is measured in a process of its own, so that this one keeps none of its memory. Raises RuntimeError if that
    fails.
    """
    device = device_here()
    if device == "cpu":
        return keep(_measure(device), home)
    child = Child("ecgscale.pricing.calibration", device)
    try:
        said = child.said(_CALIBRATION_SECONDS)
    except EOFError:
        raise RuntimeError(f"the GPU could not be measured: the process {child.cause(home)}") from None
    finally:
        child.stop()
    if said is None:
        raise RuntimeError(f"the GPU could not be measured within {_CALIBRATION_SECONDS:g} s")
    return keep(_read(said), home)


def main() -> None:
    """Measure the device that the parent names, and answer with what was found."""
    parent = Parent()
    parent.answer(asdict(_measure(parent.heard())))


def _measure(device: str) -> Device:
    """A device as training steps and evaluations on it are timed here and now."""
    kind = device.partition(":")[0]
    speeds, forward = (
        {name: tuple(timed(ladder[rung], device) for rung in _RUNGS[kind]) for name, ladder in _LADDERS.items()}
        for timed in (measured, evaluated)
    )
    if kind == "cpu":
        return Device(name_of(device), False, float(psutil.virtual_memory().total), speeds, forward=forward)
    memory = float(torch.cuda.get_device_properties(device).total_memory)
    largest = TRANSFORMERS[_RUNGS[kind][-1]]
    fp32 = measured(largest, device, precision="fp32")[1] / speeds["transformer"][-1][1]
    macs, speed = speeds["resnet"][0]  # so small that launches are all that its step takes
    step = FLOPS_PER_MAC_TRAINED * macs * _BATCH[kind] / speed
    return Device(name_of(device), True, memory, speeds, True, step, fp32, forward)


def keep(device: Device, home: Path) -> Device:
    """Store a device as this machine's."""
    home.mkdir(parents=True, exist_ok=True)
    every = known(home) | {_key(device_here()): device}
    said = {key: asdict(d) for key, d in every.items()}
    write_whole(_file(home), document(said, lambda value: json.dumps(value, indent=1)))
    return device


def measured(
    architecture: Architecture, device: str, seconds: float = 0.15, precision: str = "auto"
) -> tuple[float, float]:
    """MACs of a recording, and training FLOP/s of real steps on a GPU or one CPU core.

    They are computed as a run's are there: in its precision, compiled where runs are, with a fused optimiser.
    """
    module, batch = Supervised().build(architecture.build(), _LABELS).to(device).train(), _batch(device)
    how, draw = execution(device, precision), torch.Generator()
    prepare_module(module, how)
    optimiser = torch.optim.Adam(module.parameters(), fused=True)

    def step() -> None:
        compute_gradients(module, batch, draw, how)
        optimiser.step()

    spent, n = cost(architecture, Supervised(), _LABELS, _SAMPLES), len(batch.signal)
    return float(spent.macs_per_sample), spent.flops(n, 1) / _timed(step, device, seconds)


@torch.no_grad()
def evaluated(architecture: Architecture, device: str, seconds: float = 0.15) -> tuple[float, float]:
    """MACs of a recording, and FLOP/s of a forward pass as an evaluation takes it, 2 FLOP a MAC."""
    backbone, batch = architecture.build().to(device).eval(), _batch(device)
    low = execution(device, compile=False).precision == "bf16"

    def look() -> None:
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=low):
            backbone(batch)

    macs = float(cost(architecture, Supervised(), _LABELS, _SAMPLES).macs_per_sample)
    return macs, 2 * macs * len(batch.signal) / _timed(look, device, seconds)


def _batch(device: str) -> Batch:
    """Recordings of noise with a regular rhythm."""
    n = _BATCH[device.partition(":")[0]]
    peaks = torch.arange(50, _SAMPLES, 100).repeat(n, 1)
    peaks = torch.nn.functional.pad(peaks, (0, MAX_BEATS - peaks.shape[1]), value=-1)
    parts = torch.randn(n, 12, _SAMPLES), peaks, torch.zeros(n, _LABELS), torch.arange(n)
    return Batch(*(part.to(device) for part in parts))


def _timed(work: Callable[[], None], device: str, seconds: float) -> float:
    """Median of the seconds that ``work`` takes on one CPU thread, or a GPU, once it is warm."""
    threads = torch.get_num_threads()

    def wait() -> None:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)

    try:
        torch.set_num_threads(1)
        for _ in range(1 if device == "cpu" else 5):
            work()
        wait()
        took: list[float] = []
        while sum(took) < seconds:
            started = time.perf_counter()
            work()
            wait()
            took.append(time.perf_counter() - started)
        return statistics.median(took)
    finally:
        torch.set_num_threads(threads)


def _key(device: str) -> str:
    """Speeds hold for a device under a version of torch."""
    return f"{name_of(device)}, torch {torch.__version__.split('+')[0]}"


def _file(home: Path) -> Path:
    return home / "calibration.json"


if __name__ == "__main__":
    main()
