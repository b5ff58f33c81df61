"""How many bytes of its device's memory a process' data may fill: one value, that every store takes its part from."""

import psutil
import torch

# Of the free memory, what data may take where nobody has reckoned what a model needs beside them; a machine's memory is
# shared by many workers, and there the system's page cache serves them all with one copy.
SHARE = {"cuda": 0.6, "cpu": 0.1}


class Allowance:
    """``n_bytes`` that the data of a process may fill of its device's memory, and how many are ``taken`` of them."""

    def __init__(self, n_bytes: float) -> None:
        self.n_bytes = n_bytes
        self.taken = 0

    def take(self, n_bytes: int) -> bool:
        """Whether so many more bytes may stay; they are taken then, until they are given back."""
        fits = self.taken + n_bytes <= self.n_bytes
        self.taken += n_bytes if fits else 0
        return fits

    def close(self) -> None:
        """Let nothing more stay."""
        self.n_bytes = 0.0

    def give_back(self, n_bytes: int) -> None:
        self.taken -= n_bytes


def allowance_beside(device: str, limit: float | None = None, needed: float = 0.0) -> Allowance:
    """What data may fill of a device beside a model that needs so many bytes of the process' ``limit``.

    Without a limit it is SHARE of what is free now; and never more than is free.
    """
    if not device.startswith("cuda"):
        return Allowance(SHARE["cpu"] * psutil.virtual_memory().available)
    free = float(torch.cuda.mem_get_info(device)[0])
    return Allowance(SHARE["cuda"] * free if limit is None else max(0.0, min(limit, free) - needed))


def process_limit(device: str, fraction: float = 1.0) -> float:
    """Bytes that a process may take of its device: of a GPU a fraction of the total, less what torch holds there."""
    if not device.startswith("cuda"):
        return float(psutil.virtual_memory().total)
    total = torch.cuda.get_device_properties(device).total_memory
    return fraction * total - torch.cuda.memory_reserved(device)
