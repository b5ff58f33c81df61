"""Faults of a place: errors that tell of the node or GPU on which a run was, not of the run.

Told apart by the words of CUDA, cuDNN, cuBLAS, NCCL, Triton and the system, so that nothing here loads torch. A run
that meets one is given back as it is; the same fault on two places is the run's own after all (see ``pool.places``).
"""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ecgscale.records import FULL
from ecgscale.redact import without_paths

# The words of an error, and what they tell of the GPU: NVIDIA's CUDA Runtime API (cudaError_t), cuDNN, cuBLAS and NCCL
# references, and PyTorch's and Triton's sources. The first that is found counts. An assertion in a kernel is not among
# them: it tells of the data of a run. Nor is a want of GPU memory, which has a policy of its own.
_OF_GPU = {
    r"uncorrectable ECC error": "an uncorrectable ECC error",
    r"\bXid\b|GPU is lost|fallen off the bus": "the GPU is lost",
    r"busy or unavailable|CUDA_ERROR_DEVICE_UNAVAILABLE": ("the GPU is busy: another process has it in exclusive mode"),
    r"exclusive[- ](process|thread)": "the GPU is in exclusive mode",
    r"no CUDA-capable device|No CUDA GPUs are available|invalid device ordinal": "the GPU is not there",
    r"driver version is insufficient|NVIDIA driver on your system is too old|unsupported display driver": (
        "the NVIDIA driver is too old for this torch"
    ),
    r"no NVIDIA driver|CUDA driver initialization failed|CUDA unknown error|CUDA error: initialization error": (
        "CUDA does not start"
    ),
    r"system not yet initialized": "the NVSwitch fabric manager is not up",
    r"no kernel image is available": "this torch was not built for the GPU",
    r"\bMPS (client|server|RPC)": "the CUDA MPS server does not answer",
    r"CUDNN_STATUS_(ALLOC_FAILED|NOT_INITIALIZED|INTERNAL_ERROR\w*|EXECUTION_FAILED\w*)": "cuDNN failed",
    r"CUBLAS_STATUS_(ALLOC_FAILED|NOT_INITIALIZED|INTERNAL_ERROR|EXECUTION_FAILED)": "cuBLAS failed",
    r"CUSOLVER_STATUS_(ALLOC_FAILED|NOT_INITIALIZED|INTERNAL_ERROR)": "cuSOLVER failed",
    r"\bNCCL (error|WARN)|\bnccl(System|Internal|Remote|UnhandledCuda)Error|ProcessGroupNCCL|NCCL communicator": (
        "NCCL failed"
    ),
    r"unspecified launch failure|launch timed out|illegal memory access|illegal instruction|misaligned address": (
        "a kernel was aborted"
    ),
    r"hardware stack error|over nvlink|hardware error|invalid program counter": "the GPU reports a hardware error",
}
_OF_NODE = {
    r"Failed to find C compiler|No working C\+\+ compiler|InvalidCxxCompiler": "there is no C compiler for Triton",
    r"libcuda\.so cannot found|Cannot find a working triton": "Triton does not work",
    r"unable to (write|open|mmap|resize).*(shared memory|/torch_)": "/dev/shm is full",
    r"No space left on device|Disk quota exceeded": "its disk for temporary files is full",
    r"Stale file handle": "a file handle of the shared storage is stale",
    r"Transport endpoint is not connected": "the shared storage is not connected",
    r"Too many open files in system|Too many open files": "too many files are open",
    r"Input/output error|Remote I/O error": "its storage has input and output errors",
}
_ERRNO_OF_NODE = (
    errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.EREMOTEIO, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE
)  # fmt: skip
_WORDS = 200  # kept of an error
_NODE = "node"
_GPU = "GPU"


@dataclass(frozen=True)
class PlaceFault:
    """What is wrong with a place, in words; ``of`` is "GPU" or "node"; ``said``: the error's own words, redacted."""

    what: str
    of: str
    said: str

    def __str__(self) -> str:
        return f"{self.what} ({self.said})"


def fault_of(error: BaseException, home: Path | None = None, results: Path | None = None) -> PlaceFault | None:
    """The fault of this place that an error tells of, or one that it was raised from; None if it is the run's own.

    A full disk is the place's if it is not that of ``home`` or ``results``, which all places share.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno is not None:
            if one.errno in FULL and not _is_local(one, [folder for folder in (home, results) if folder]):
                return None
            if one.errno in (*FULL, *_ERRNO_OF_NODE):
                said = f"{type(one).__name__}: {one.strerror}"
                return PlaceFault(_of_errno(one.errno), _NODE, said)
        elif isinstance(one, MemoryError) or "OutOfMemory" in type(one).__name__:
            return None
        elif _may_tell(one) and (fault := fault_in(f"{type(one).__name__}: {one}")):
            return fault
    return None


def fault_in(text: str) -> PlaceFault | None:
    """The fault of a place that a process' last words tell of; None if they tell of none."""
    for of, known in ((_GPU, _OF_GPU), (_NODE, _OF_NODE)):
        for words, what in known.items():
            if found := re.search(words, text):
                start = text.rfind("\n", 0, found.start()) + 1
                line = text[start:].splitlines()[0].strip()
                return PlaceFault(what, of, without_paths(line[:_WORDS]))
    return None


def _of_errno(number: int) -> str:
    found = fault_in(os.strerror(number))
    return found.what if found else "its storage does not answer"


def _may_tell(error: BaseException) -> bool:
    """Whether an error is of the kinds that libraries of devices raise, torch's and Triton's own among them."""
    return isinstance(error, RuntimeError | AssertionError | OSError) or type(error).__module__.partition(".")[0] in (
        "torch",
        "triton",
    )


def _is_local(error: OSError, shared: list[Path]) -> bool:
    """Whether the disk that is full is this node's own: by the file's name, else by trying which takes no more."""
    if isinstance(error.filename, str | bytes | os.PathLike):
        path = Path(os.fsdecode(error.filename)).absolute()
        return not any(path.is_relative_to(folder.absolute()) for folder in shared)
    return not _takes(Path(tempfile.gettempdir())) and all(_takes(folder) for folder in shared)


def _takes(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 100_000)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it was raised from; torch.compile keeps the first in ``inner_exception``."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            context = None if one.__suppress_context__ else one.__context__
            left += [getattr(one, "inner_exception", None), one.__cause__, context]
