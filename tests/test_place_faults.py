"""Errors that tell of a place, in the exact words of those who raise them; and errors that do not."""

import errno
from pathlib import Path

import pytest
import torch

from ecgscale import place_faults
from ecgscale.place_faults import fault_in, fault_of

_ASYNC = (
    "\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
    "incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable "
    "device-side assertions.\n"
)
OF_GPU = [
    f"CUDA error: uncorrectable ECC error encountered{_ASYNC}",
    f"CUDA error: unspecified launch failure{_ASYNC}",
    f"CUDA error: an illegal memory access was encountered{_ASYNC}",
    f"CUDA error: the launch timed out and was terminated{_ASYNC}",
    f"CUDA error: CUDA-capable device(s) is/are busy or unavailable{_ASYNC}",
    f"CUDA error: all CUDA-capable devices are busy or unavailable{_ASYNC}",
    f"CUDA error: no kernel image is available for execution on the device{_ASYNC}",
    f"CUDA error: hardware stack error{_ASYNC}",
    f"CUDA error: Invalid access of peer GPU memory over nvlink or a hardware error{_ASYNC}",
    f"CUDA error: CUDA driver version is insufficient for CUDA runtime version{_ASYNC}",
    f"CUDA error: MPS client failed to connect to the MPS control daemon or the MPS server{_ASYNC}",
    f"CUDA error: invalid device ordinal{_ASYNC}",
    "No CUDA GPUs are available",
    "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver from "
    "http://www.nvidia.com/Download/index.aspx",
    "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading "
    "and installing a new version from the URL: http://www.nvidia.com/Download/index.aspx",
    "CUDA unknown error - this may be due to an incorrectly set up environment, e.g. changing env variable "
    "CUDA_VISIBLE_DEVICES after program start. Setting the available devices to be zero.",
    "Unexpected error from cudaGetDeviceCount(). Did you run some cuda functions before calling NumCudaDevices() that "
    "might have already set an error? Error 802: system not yet initialized",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k, &alpha, a, lda)`",
    "NCCL error in: ../torch/csrc/distributed/c10d/ProcessGroupNCCL.cpp:1275, unhandled system error (run with "
    "NCCL_DEBUG=INFO for details), NCCL version 2.18.1\nncclSystemError: System call (e.g. socket, malloc) or external "
    "library call failed or device error.",
    "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE) ran for 600000 "
    "milliseconds before timing out. ProcessGroupNCCL",
    "NVML: GPU is lost",
]
OF_NODE = [
    "Failed to find C compiler. Please specify via CC environment variable or set triton.knobs.build.impl.",
    "backend='inductor' raised:\nRuntimeError: Failed to find C compiler. Please specify via CC environment variable.",
    "No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, 'g++')",
    "libcuda.so cannot found!",
    "Cannot find a working triton installation. Either the package is not installed or it is too old.",
    "unable to write to file </torch_2143_88_0>: No space left on device (28)",
]


@pytest.mark.parametrize(("of", "text"), [*(("GPU", t) for t in OF_GPU), *(("node", t) for t in OF_NODE)])
def test_errors_of_a_place_are_told_by_their_words(of: str, text: str) -> None:
    for error in (RuntimeError(text), torch.AcceleratorError(text), AssertionError(text)):
        found = fault_of(error)
        assert found is not None
        assert found.of == of
        assert found.what
        assert "\n" not in str(found)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(f"CUDA error: device-side assert triggered{_ASYNC}"),
        torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 39.56 GiB"
        ),
        MemoryError(),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (128x256 and 512x6)"),
        RuntimeError("cannot read rec.npy"),
        ValueError("a ratio of 1/2 is fine"),
        FileNotFoundError(2, "No such file or directory"),
        RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
        IndexError("index 7 is out of bounds"),
    ],
)
def test_errors_of_a_run_are_not_the_places(error: Exception) -> None:
    assert fault_of(error) is None


def test_the_error_that_another_was_raised_from_tells() -> None:
    try:
        try:
            raise OSError(errno.ESTALE, "Stale file handle")
        except OSError as stale:
            raise ValueError("the corpus cannot be read") from stale
    except ValueError as error:
        found = fault_of(error)
    assert found is not None
    assert (found.of, found.what) == ("node", "a file handle of the shared storage is stale")


def test_a_full_disk_is_the_places_if_it_is_not_the_shared_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shared = OSError(errno.ENOSPC, "No space left on device", str(home / "checkpoints" / "x.pt"))
    own = OSError(errno.ENOSPC, "No space left on device", "/var/tmp/kernels/x.so")
    nameless = OSError(errno.ENOSPC, "No space left on device")
    assert fault_of(shared, home) is None
    found = fault_of(own, home)
    assert found is not None
    assert found.what == "its disk for temporary files is full"
    assert "/var" not in str(found)
    assert fault_of(nameless, home) is None  # the folder for temporary files takes more
    takes = place_faults._takes
    monkeypatch.setattr(place_faults, "_takes", lambda folder: folder == home and takes(folder))
    assert fault_of(nameless, home) is not None


def test_last_words_of_a_process_name_the_line_that_tells() -> None:
    words = f"Traceback (most recent call last):\n  File x\ntorch.AcceleratorError: {OF_GPU[0]}"
    found = fault_in(words)
    assert found is not None
    assert found.said == "torch.AcceleratorError: CUDA error: uncorrectable ECC error encountered"
    assert fault_in("KeyError: 'x'") is None
