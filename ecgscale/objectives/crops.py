"""Crops: the views of a recording that self-distillation compares, short or long, of some of its leads, noisy.

What is drawn is drawn on the CPU, by one generator, and copied without waiting for a GPU at work.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ecgscale.data.noise import Noise
from ecgscale.data.recording import ABSENT_LEAD

MIN_BLOCK, MAX_BLOCK = 2, 8  # patches hidden in a row
MOST_HIDDEN = 0.5  # of a crop's patches: DINOv3's highest ratio
_HIDDEN_LEAD = 0.1  # probability that a lead of a masked crop is hidden whole


@dataclass(frozen=True)
class Window:
    """What a kind of crop draws from: its length in seconds and its number of leads, ends included."""

    seconds: tuple[float, float]
    leads: tuple[int, int]


def shape_of(
    window: Window, n_leads: int, n_samples: int, patch: int, hz: int, draw: torch.Generator
) -> tuple[int, int]:
    """Length in samples, a multiple of ``patch``, and number of leads of a batch's crops of one kind."""
    shortest, longest = (max(1, min(round(s * hz), n_samples) // patch) for s in window.seconds)
    return _between(shortest, longest, draw) * patch, min(n_leads, _between(*window.leads, draw))


def crop(
    signal: torch.Tensor, leads: torch.Tensor, length: int, k: int, all_leads: float, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """A random stretch of random leads of each recording: signal [n, rows, length] and lead numbers [n, rows].

    ``signal`` [n, n_leads, n_samples], ``leads`` [n, n_leads]. Each recording has its own start and its own ``k``
    leads, or with probability ``all_leads`` all. Where it has fewer the other rows are absent.
    """
    n, n_leads, n_samples = signal.shape
    start = (torch.rand(n, generator=draw) * (n_samples - length + 1)).long().to(signal.device, non_blocking=True)
    order = torch.rand(n, n_leads, generator=draw).to(signal.device, non_blocking=True)
    order = (order + 2.0 * (leads == ABSENT_LEAD)).argsort(1)  # leads that are there come first
    everything = torch.rand(n, generator=draw) < all_leads
    kept = torch.where(everything, n_leads, k).to(signal.device, non_blocking=True)
    rows = n_leads if all_leads > 0 else k
    chosen = order[:, :rows]
    dropped = torch.arange(rows, device=signal.device) >= kept[:, None]
    numbers = leads.gather(1, chosen).masked_fill(dropped, ABSENT_LEAD)
    at = start[:, None] + torch.arange(length, device=signal.device)
    whole = signal.gather(1, chosen[..., None].expand(-1, -1, n_samples))
    cut = whole.gather(2, at[:, None].expand(-1, rows, -1))
    return cut * (numbers != ABSENT_LEAD)[..., None], numbers


def disturbed(
    signal: torch.Tensor,
    noise: Noise,
    kinds: Sequence[str],
    probability: float,
    snr_db: tuple[float, float],
    gain: tuple[float, float],
    draw: torch.Generator,
    hard: tuple[float, float] = (0.0, 0.0),
) -> torch.Tensor:
    """Crops [n, k, n_crop] with an amplitude drawn from ``gain`` and, with ``probability`` a recording, real noise.

    Each kind of noise has its own signal-to-noise ratio, uniform in ``snr_db`` (powers, means removed); with a
    probability it is another: ``hard``, the probability and that ratio.
    """
    n = len(signal)
    amplitude = gain[0] + (gain[1] - gain[0]) * torch.rand(n, 1, 1, generator=draw)
    signal = signal * amplitude.to(signal.device, non_blocking=True)
    clean = signal
    for kind in kinds:
        ratio = snr_db[0] + (snr_db[1] - snr_db[0]) * torch.rand(n, generator=draw)
        if hard[0]:
            ratio = torch.where(torch.rand(n, generator=draw) < hard[0], hard[1], ratio)
        noisy = torch.rand(n, generator=draw) < probability
        ratio = torch.where(noisy, ratio, torch.inf)
        signal = signal + noise.like(clean, kind, ratio.to(signal.device, non_blocking=True), draw)
    return signal


def hidden_patches(
    lead: torch.Tensor, n_patches: int, ratios: tuple[float, float], probability: float, draw: torch.Generator
) -> torch.Tensor:
    """Which patches the student does not see: bool [n, n_tokens] for tokens ``lead`` [n, n_rows * n_patches].

    With ``probability`` a crop is masked, at a ratio uniform in ``ratios``: blocks of MIN_BLOCK to MAX_BLOCK patches
    in a row begin at random so that the ratio is met on average, and a whole lead is hidden now and then. What is more
    than MOST_HIDDEN of a crop's patches is seen after all: those behind a random one.
    """
    n, n_tokens = lead.shape
    rows = n_tokens // n_patches
    masked = torch.rand(n, generator=draw) < probability
    ratio = ratios[0] + (ratios[1] - ratios[0]) * torch.rand(n, generator=draw)
    mean_block = (MIN_BLOCK + MAX_BLOCK) / 2
    begins = torch.rand(n, rows, n_patches, generator=draw) < (1 - (1 - ratio) ** (1 / mean_block))[:, None, None]
    length = torch.randint(MIN_BLOCK, MAX_BLOCK + 1, (n, rows, n_patches), generator=draw)
    hidden = torch.zeros(n, rows, n_patches, dtype=torch.bool)
    for later in range(min(MAX_BLOCK, n_patches)):
        hidden[..., later:] |= (begins & (length > later))[..., : n_patches - later]
    hidden |= torch.rand(n, rows, 1, generator=draw) < _HIDDEN_LEAD
    hidden &= masked[:, None, None]
    present = lead != ABSENT_LEAD
    hidden = hidden.flatten(1).to(lead.device, non_blocking=True) & present
    start = torch.randint(n_tokens, (n, 1), generator=draw).to(lead.device, non_blocking=True)
    behind = (torch.arange(n_tokens, device=lead.device) - start) % n_tokens  # patches from the random one on
    rank = behind.masked_fill(~hidden, n_tokens).argsort(1).argsort(1)
    return hidden & (rank < (MOST_HIDDEN * present.sum(1, keepdim=True)).floor())


def _between(low: int, high: int, draw: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=draw))
