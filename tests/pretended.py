"""A GPU that is only pretended: computed on the CPU, while every storage keeps the device that the code believes in.

Counts what a GPU would be waited for (values read on the host, sizes that depend on values, copies that block) and
operations that mix devices, which CUDA refuses.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
_WAITED = {"_local_scalar_dense", "nonzero", "masked_select", "unique", "_unique2", "bincount", "equal", "is_nonzero"}
_COPIES = {"copy_", "_to_copy", "set_"}
_INDEXING = {"index", "index_put", "_index_put_impl", "_unsafe_index"}


@dataclass
class Pretence:
    """What was counted: waits and mixed devices, by the name of the operation."""

    waits: Counter[str] = field(default_factory=Counter)
    mixed: Counter[str] = field(default_factory=Counter)
    _cuda: dict[int, torch.UntypedStorage] = field(default_factory=dict, repr=False)  # kept: none is reused

    def put(self, tensor: torch.Tensor) -> torch.Tensor:
        """Pretend that a tensor lies on the GPU."""
        storage = tensor.untyped_storage()
        self._cuda[storage._cdata] = storage
        return tensor

    def there(self, tensor: torch.Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._cuda

    def forget(self) -> None:
        self.waits.clear()
        self.mixed.clear()


@contextmanager
def pretended_cuda() -> Iterator[Pretence]:
    """In here modules and tensors go "to cuda" and stay where they are."""
    told = Pretence()

    def module_to(module: torch.nn.Module, device: str) -> torch.nn.Module:
        for tensor in (*module.parameters(), *module.buffers()):
            told.put(tensor.data)
        return module

    with patch.object(torch.nn.Module, "to", module_to), _Functions(told), _Operations(told):
        yield told


class _Operations(TorchDispatchMode):
    """Every operation, backward passes included: a result lies where its inputs do."""

    def __init__(self, told: Pretence) -> None:
        super().__init__()
        self.told = told

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        told, name = self.told, func._schema.name.split("::")[1]
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        there = [tensor for tensor in given if told.there(tensor)]
        base = name.rstrip("_")
        if there and name not in _COPIES:
            lone = [tensor for tensor in given if tensor.ndim and not told.there(tensor)]
            if base in _INDEXING:
                lone = [tensor for tensor in lone if tensor is args[0]]
                if any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]):
                    told.waits[f"{name} by a mask"] += 1
                if any(i is not None and i.ndim and not told.there(i) for i in args[1]):
                    told.waits[f"{name} by an index of the CPU"] += 1
            if lone:
                told.mixed[name] += 1
        if there and (name in _WAITED or (name == "repeat_interleave" and (kwargs or {}).get("output_size") is None)):
            told.waits[name] += 1
        out = func(*args, **(kwargs or {}))
        if there:
            known = {tensor.untyped_storage()._cdata for tensor in given}
            for value in tree_leaves(out):
                if isinstance(value, torch.Tensor) and value.untyped_storage()._cdata not in known:
                    told.put(value)
        return out


class _Functions(TorchFunctionMode):
    """What the code asks of tensors: where they are, and to be elsewhere."""

    def __init__(self, told: Pretence) -> None:
        super().__init__()
        self.told = told

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        told, options = self.told, dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if func == torch.Tensor.device.__get__:  # type: ignore[attr-defined]
            return CUDA if told.there(args[0]) else CPU
        if name in ("to", "cpu") and isinstance(args[0], torch.Tensor):
            return self._moved(args[0], CPU if name == "cpu" else None, list(args[1:]), options)
        if options.get("device") is not None and torch.device(options["device"]).type == "cuda":
            made = func(*args, **options | {"device": CPU})
            if name == "tensor":
                told.waits["a copy that blocks"] += 1
            return told.put(made)
        return func(*args, **options)

    def _moved(self, tensor: torch.Tensor, to: torch.device | None, asked: list[Any], options: dict[str, Any]) -> Any:
        for place in [value for value in (*asked, options.pop("device", None)) if _names_device(value)]:
            to = torch.device(place)
        asked = [value for value in asked if isinstance(value, torch.dtype)]
        queued = options.pop("non_blocking", False)
        found = tensor.to(*asked, **options) if asked or options else tensor
        if to is None or (to.type == "cuda") == self.told.there(tensor):
            return found
        if not queued or to.type == "cpu":
            self.told.waits["a copy that blocks"] += 1
        moved = found.clone() if found is tensor else found
        self.told._cuda.pop(moved.untyped_storage()._cdata, None)
        return self.told.put(moved) if to.type == "cuda" else moved


def _names_device(value: Any) -> bool:
    return isinstance(value, str | torch.device)
