"""What this machine can do: processors, GPUs, memory, disk, limits, versions, datasets; and what to mend."""

import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ecgscale.pool import health

OLDEST_DRIVER = 525  # that CUDA 12 runs on
OPEN_FILES = 4096  # Ray opens some tens a worker
SHARED_MEMORY = 0.3  # of the memory: Ray's object store wants that much of /dev/shm
FREE_DISK = 5e9


class Fact(NamedTuple):
    """What was found, in words, and what to do about it; empty if it is fine."""

    name: str
    found: str
    advice: str = ""


def examine(home: Path, results: Path) -> dict[str, dict[str, str]]:
    """Facts by name, each with what was ``found`` and ``advice``. Starts nothing, opens no network."""
    facts = [*_machine(), *_limits(), *_disks(home, results), *_software(), *_stored(home)]
    return {fact.name: {"found": fact.found, "advice": fact.advice} for fact in facts}


def _machine() -> Iterator[Fact]:
    import psutil
    import torch

    allowed, cores = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    yield Fact("CPU cores", f"{allowed}" + (f" of {cores}" if allowed < cores else ""))
    memory = psutil.virtual_memory()
    yield Fact("memory", f"{memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} free")
    gpus = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    if gpus:
        for i, gpu in enumerate(gpus):
            yield Fact(f"GPU {i}", f"{gpu.name}, {gpu.total_memory / 1e9:.0f} GB", _bf16((gpu.major, gpu.minor)))
        yield from _around_gpus()
    else:
        built = torch.version.cuda
        advice = "" if built else "this torch has no CUDA; on a machine with a GPU install one that has"
        yield Fact("GPU", "none; runs train on CPU cores", advice)


def _bf16(capability: tuple[int, int]) -> str:
    if capability >= health.OLDEST_BF16:
        return ""
    return "it has no bfloat16, so that runs train in float32 on it, and more slowly"


def _around_gpus() -> Iterator[Fact]:
    """What runs on GPUs need beside them: driver, compute mode, C compiler, and MPS for small ones that share a GPU."""
    driver = health.driver()
    old = driver and int(driver.partition(".")[0]) < OLDEST_DRIVER
    yield Fact("NVIDIA driver", driver or "unknown", f"older than {OLDEST_DRIVER}: install a newer one" if old else "")
    modes = sorted(set(health.compute_modes()))
    shared = all(health.shares_gpus(mode) for mode in modes)
    advice = "" if shared else "runs cannot share a GPU in it: nvidia-smi -c DEFAULT"
    yield Fact("compute mode", ", ".join(modes) or "unknown", advice)
    found = health.compiler()
    advice = "" if found else "torch.compile needs one: install gcc, set CC, or launch with --no-compile"
    yield Fact("C compiler", Path(found).name if found else "none", advice)
    mps = health.mps_runs()
    advice = "" if mps else "small runs that share a GPU are faster with it: nvidia-cuda-mps-control -d"
    yield Fact("CUDA MPS", "up" if mps else "not up", advice)


def _limits() -> Iterator[Fact]:
    import psutil

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = soft != resource.RLIM_INFINITY and soft < OPEN_FILES
    yield Fact("open files (ulimit -n)", f"{soft} of {hard}", f"ulimit -n {OPEN_FILES} before a launch" if low else "")
    shm = Path("/dev/shm")
    if shm.is_dir():
        total, wanted = shutil.disk_usage(shm).total, SHARED_MEMORY * psutil.virtual_memory().total
        advice = f"{wanted / 1e9:.1f} GB suit Ray (docker run --shm-size); less is slower" if total < wanted else ""
        yield Fact("/dev/shm", f"{total / 1e9:.1f} GB", advice)


def _disks(home: Path, results: Path) -> Iterator[Fact]:
    for name, folder in (("disk for home", home), ("disk for results", results)):
        there = folder.resolve()
        while not there.exists():
            there = there.parent
        free = shutil.disk_usage(there).free
        yield Fact(name, f"{free / 1e9:.1f} GB free, {_writable(there)}", _disk_advice(there, free))


def _writable(folder: Path) -> str:
    """Whether a file can really be written there: permissions lie for root and on read-only mounts."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".ecgscale-"):
            return "writable"
    except OSError as error:
        return f"not writable ({error.strerror})"


def _disk_advice(folder: Path, free: float) -> str:
    if _writable(folder) != "writable":
        return "choose another with --home or --results"
    return f"less than {FREE_DISK / 1e9:.0f} GB: free some, or choose another" if free < FREE_DISK else ""


def _software() -> Iterator[Fact]:
    import platform

    yield Fact("Python", platform.python_version())
    for library in ("ecgscale", "torch", "ray", "pyarrow"):
        try:
            yield Fact(library, version(library).split("+")[0])
        except PackageNotFoundError:
            yield Fact(library, "not installed", f"pip install {library}")


def _stored(home: Path) -> Iterator[Fact]:
    from ecgscale.data import corpus, embedded
    from ecgscale.pricing import calibration

    kept = corpus.folder_of(home, "any").parent
    prepared = sorted(p.name for p in kept.iterdir() if corpus.is_prepared(home, p.name)) if kept.is_dir() else []
    yield Fact("datasets prepared", ", ".join(prepared) or "none", "" if prepared else "ecgscale data prepare NAME")
    yield Fact("datasets shipped", ", ".join(embedded.EMBEDDED))
    measured = [device.name for device in calibration.known(home).values()]
    advice = "" if measured else "ecgscale doctor --calibrate (or the first plan does it)"
    yield Fact("calibrated for plans", ", ".join(measured) or "nothing yet", advice)
