"""Which autocast concerns a tensor: what is to be computed in full precision is told to leave it."""

import torch


def autocast_of(x: torch.Tensor) -> str:
    """The type of device that autocast knows a tensor's by; of shapes alone, on the meta device, the CPU's."""
    return "cpu" if x.device.type == "meta" else x.device.type
