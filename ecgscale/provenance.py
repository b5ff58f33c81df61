"""Where a number comes from: code, libraries, device and memory, with nothing that names a person or a machine."""

import platform
import resource
import subprocess
import sys
from functools import cache
from importlib.metadata import version
from pathlib import Path

import torch

from ecgscale.records import canonical

_LIBRARIES = ("ecgscale", "torch", "numpy", "scipy", "pyarrow", "fvcore")


@cache
def facts(device: str) -> dict[str, str]:
    """Commit, library versions and kind of device, as strings for a file's metadata."""
    return {
        "commit": _commit(),
        "versions": canonical(
            {name: version(name).split("+")[0] for name in _LIBRARIES} | {"python": platform.python_version()}
        ),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else f"{platform.machine()} CPU",
    }


def begin_on(device: str) -> None:
    """Make a GPU this process' own, and count its peak of memory anew; a process' resident peak cannot be reset."""
    if device.startswith("cuda"):
        torch.cuda.init()  # without CUDA there are no statistics to reset, of any device
        torch.cuda.set_device(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_bytes(device: str) -> int:
    """Most memory held: on the GPU since it was last forgotten, else by this process since it began."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _commit() -> str:
    """The commit that the code came from, with a + if files differ from it; empty outside a checkout."""
    house = Path(__file__).parent.parent
    try:
        git = ["git", "-C", str(house), "describe", "--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
        return subprocess.run(git, capture_output=True, text=True, timeout=5, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
