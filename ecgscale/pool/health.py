"""Whether a node and its GPU can do work: what is missing there, and a test of the GPU in a fresh process.

A fresh process, because a CUDA context does not get over a fault, and because the one that asks keeps none.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ecgscale.processes import Child, Parent

_TEST_SECONDS = 180.0
_COMPILERS = ("cc", "gcc", "clang")  # as Triton looks for them
_ROOM = 50_000_000  # bytes that compiled kernels may take for a start
OLDEST_BF16 = (8, 0)  # compute capability from which tensor cores know bfloat16
NO_COMPILER = "there is no C compiler, which torch.compile needs"
_MODES = ("Exclusive_Process", "Prohibited")  # compute modes in which runs cannot share a GPU


def tested(device: str) -> str:
    """What a test of this node and device finds wrong, in words; empty if nothing.

    On a GPU a fresh process multiplies matrices and convolves, and compares the result with the CPU's.
    """
    if wrong := "; ".join(problems_of_node()):
        return wrong
    if not device.startswith("cuda"):
        return ""
    child = Child("ecgscale.pool.health", device)
    try:
        said = child.said(_TEST_SECONDS)
        return f"it did not answer within {_TEST_SECONDS:g} s" if said is None else str(said)
    except EOFError:
        return f"the process {child.cause()}"
    finally:
        child.stop()


def problems_of_node() -> Iterator[str]:
    """What a node lacks for any run."""
    folder = Path(tempfile.gettempdir())
    try:
        tempfile.TemporaryFile(dir=folder).close()
        if shutil.disk_usage(folder).free < _ROOM:
            yield "its folder for temporary files is full (set TMPDIR to another)"
    except OSError as error:
        yield f"its folder for temporary files cannot be written: {error.strerror} (set TMPDIR to another)"


def compiler() -> str:
    """The C compiler that Triton would take; empty if there is none."""
    named = os.environ.get("CC")
    return next((found for name in ([named] if named else _COMPILERS) if (found := shutil.which(name))), "")


def compute_modes() -> list[str]:
    """The compute mode of each GPU, as nvidia-smi says; empty if it cannot be asked."""
    return _smi("compute_mode")


def driver() -> str:
    """The version of the NVIDIA driver; empty if it cannot be asked."""
    return next(iter(_smi("driver_version")), "")


def shares_gpus(mode: str) -> bool:
    """Whether several processes may use a GPU in this compute mode."""
    return mode not in _MODES


def mps_runs() -> bool:
    """Whether the CUDA Multi-Process Service is up on this machine, by its pipe."""
    return (Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")) / "control").exists()


def gpu_names() -> list[str]:
    """What makers call the GPUs of this machine, without starting CUDA, which would keep memory of one."""
    return _smi("name")


def _smi(what: str) -> list[str]:
    command = ["nvidia-smi", f"--query-gpu={what}", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.splitlines() if line.strip()]


def main() -> None:
    """Test the device that the parent names, and answer what is wrong with it."""
    parent = Parent()
    device: str = parent.heard()
    parent.answer(_compared(device))


def _compared(device: str) -> str:
    import torch

    torch.manual_seed(0)
    signal, filters, matrix = torch.randn(8, 12, 1000), torch.randn(64, 12, 7), torch.randn(256, 256)
    try:
        there = [part.to(device) for part in (signal, filters, matrix)]
        found = torch.nn.functional.conv1d(there[0], there[1]).double().sum() + (there[2] @ there[2]).double().sum()
        total = float(found)
    except (RuntimeError, AssertionError) as error:
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
    expected = float(torch.nn.functional.conv1d(signal, filters).double().sum() + (matrix @ matrix).double().sum())
    return "" if abs(total - expected) < 1e-2 * (1 + abs(expected)) else "it computes wrong numbers"


if __name__ == "__main__":
    main()
