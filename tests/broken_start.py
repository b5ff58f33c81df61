"""A trial whose worker cannot start on GPU 1, as with one in exclusive mode that another process has."""

import os

from tests.faults import trial

if os.environ.get("CUDA_VISIBLE_DEVICES") == "1":
    raise RuntimeError(
        "CUDA error: CUDA-capable device(s) is/are busy or unavailable\n"
        "CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be "
        "incorrect.\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.\n"
    )

__all__ = ["trial"]
