"""Tensors of published files: torch's checkpoints, safetensors and Keras' HDF5. Nothing but data is read from them."""

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

_KEYS = ("state_dict", "model", "model_state_dict")  # where training loops put the weights

# What training loops leave beside the weights - scores, arrays, arguments - and how pickles spell it: data, no code.
_SCALAR: Any = np.float64(0).__reduce__()[0]
_ARRAY: Any = np.zeros(1).__reduce__()[0]
_BUFFER: Any = np.zeros(1).__reduce_ex__(5)[0]
_BESIDE: list[Any] = [
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *((_ARRAY, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_BUFFER, f"numpy.{core}.numeric._frombuffer") for core in ("core", "_core")),
    *(np.ndarray, np.dtype, *{type(np.dtype(kind)) for kind in ("f8", "f4", "f2", "i8", "i4", "u1", "?")}),
    argparse.Namespace,
]
_MOST = 100  # times that a compressed file may be what it holds
_KERAS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def tensors_of(file: Path) -> dict[str, torch.Tensor]:
    """The named tensors of a file, at its top or under "state_dict" or "model"; of Keras by torch's names and axes.

    Raises ValueError, in one sentence without the file's name, for what is no file of tensors.
    """
    with file.open("rb") as stream:
        start = stream.read(9)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        found = _of_keras(file)
    elif start[8:] == b"{":
        try:
            found = load_file(file)
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(f"is no whole safetensors file: {_line(error)}") from None
    else:
        found = _of_torch(file)
    return found


def _of_torch(file: Path) -> dict[str, torch.Tensor]:
    try:
        with torch.serialization.safe_globals(_BESIDE):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        raise ValueError(
            f"is no checkpoint of tensors alone: {f'it calls for {code[1]}' if code else _line(error)}"
            + (_RESAVE if code and code[1].startswith(("omegaconf", "fairseq")) else "")
        ) from None
    inner = [content.get(key) for key in _KEYS] if isinstance(content, Mapping) else []
    for tensors in (*inner, content):
        if isinstance(tensors, Mapping) and tensors and all(isinstance(t, torch.Tensor) for t in tensors.values()):
            return dict(tensors)
    raise ValueError("holds no state dict, at its top or under 'state_dict' or 'model'")


_RESAVE = (
    "; where you trust the file, keep its tensors alone: python -c "
    "\"import torch; f = torch.load('FILE', weights_only=False); torch.save({'model': f['model']}, 'tensors.pt')\""
)


def _of_keras(file: Path) -> dict[str, torch.Tensor]:
    """``model_weights/{layer}/{layer}/kernel:0`` as ``{layer}.weight``, the axes of kernels as torch has them."""
    found: dict[str, torch.Tensor] = {}
    size = file.stat().st_size

    def keep(path: str, node: object) -> None:
        parts = path.split("/")
        name = _KERAS.get(parts[-1].removesuffix(":0"))
        if not isinstance(node, h5py.Dataset) or name is None or len(parts) < 2 or node.dtype.kind != "f":
            return
        if node.is_virtual or node.external or node.nbytes > _MOST * size:
            raise ValueError(f"its weights {path} do not lie in the file")
        values = np.asarray(node[()], np.float32)
        if parts[-1].startswith("kernel"):
            values = values.T  # [taps, in, out] and [in, out]
        found[f"{parts[-2]}.{name}"] = torch.from_numpy(np.array(values, order="C"))

    try:
        with h5py.File(file, "r") as content:
            weights = content.get("model_weights", content)
            if not isinstance(weights, h5py.Group):
                raise ValueError("holds no group model_weights")
            weights.visititems(keep)
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"is no whole HDF5 file: {_line(error)}") from None
    if not found:
        raise ValueError("holds no weights as Keras writes them (model_weights/LAYER/LAYER/kernel:0)")
    return found


def _line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
