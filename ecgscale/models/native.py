"""What a model was trained on, and how any prepared recording is brought there: rate, length and amplitude."""

from functools import cache
from math import gcd

import scipy
import torch
from torch.nn import functional as F

from ecgscale.data.batches import Batch

_REACH = 20  # samples on each side that a resampled one depends on: passes 40 of 100 Hz, stops what mirrors it
_TINY = 1e-8

# How the numbers that a model reads follow from a recording.
AMPLITUDES = {
    "sd": "standard deviations of the corpus",
    "mv": "millivolts",
    "code": "twice the millivolts, as the CODE group's files have it",
    "z-score": "mean 0 and deviation 1 over all leads of a recording together",
    "min-max": "0 to 1 over all leads of a recording together",
    "min-max-lead": "-1 to 1 in every lead",
}

# What becomes of recordings that are longer or shorter than those that a model was trained on.
LENGTHS = {
    "any": "longer and shorter ones are read as they are",
    "longest": "longer ones are cut in their middle, shorter ones are read as they are",
    "fixed": "longer ones are cut in their middle, shorter ones padded with zeros on both sides",
    "segments": "features of longer ones are the mean over whole stretches of that length",
    "sentence": "beats that a sentence has no place for are left out",
}


def signal_at(batch: Batch, stored_hz: int, wanted_hz: int, amplitude: str) -> torch.Tensor:
    """Signal [n, n_leads, n_samples] of a batch stored at ``stored_hz``, at ``wanted_hz`` and in this amplitude."""
    return scaled(resampled(batch.signal, stored_hz, wanted_hz), amplitude, batch.mv)


def scaled(signal: torch.Tensor, amplitude: str, mv: torch.Tensor) -> torch.Tensor:
    """Signal [n, n_leads, n_samples] in one of ``AMPLITUDES``; ``mv`` [n]: millivolts of one of its units."""
    match amplitude:
        case "sd":
            return signal
        case "mv":
            return signal * mv[:, None, None]
        case "code":
            return signal * (2 * mv[:, None, None])
        case "z-score":
            mean, deviation = signal.mean((1, 2), keepdim=True), signal.std((1, 2), correction=0, keepdim=True)
            return (signal - mean) / (deviation + _TINY)
        case "min-max":
            low, high = signal.amin((1, 2), keepdim=True), signal.amax((1, 2), keepdim=True)
            return (signal - low) / (high - low + _TINY)
        case "min-max-lead":
            low, high = signal.amin(2, keepdim=True), signal.amax(2, keepdim=True)
            return 2 * (signal - low) / (high - low + _TINY) - 1
    raise ValueError(f"there is no amplitude {amplitude!r}; there are {', '.join(AMPLITUDES)}")


def resampled(signal: torch.Tensor, stored_hz: int, wanted_hz: int) -> torch.Tensor:
    """A signal [n, n_leads, n_samples] at another rate, band-limited and without shift: sample 0 stays sample 0.

    Zeros between the samples, a low-pass of linear phase (windowed sinc, Kaiser), and every so many of what comes out;
    beyond its ends the signal is taken to go on as its mirror image about the end point.
    """
    if stored_hz == wanted_hz:
        return signal
    common = gcd(stored_hz, wanted_hz)
    up, down = wanted_hz // common, stored_hz // common
    n, n_leads, n_samples = signal.shape
    reach = _REACH * max(up, down)  # samples of the fine grid
    margin = min(-(-reach // up), n_samples - 1)
    first, last = signal[..., :1], signal[..., -1:]
    before = 2 * first - signal[..., 1 : margin + 1].flip(-1)
    behind = 2 * last - signal[..., -margin - 1 : -1].flip(-1)
    longer = torch.cat([before, signal, behind], -1).view(n * n_leads, 1, -1)
    response = _low_pass(up, down, signal.device).to(signal.dtype)[None, None]
    fine = F.conv_transpose1d(longer, response, stride=up)
    begin = margin * up + reach
    return fine[..., begin : begin + up * n_samples : down].reshape(n, n_leads, -1)


def fitted(signal: torch.Tensor, n_samples: int, length: str) -> torch.Tensor:
    """A signal [n, n_leads, n] as long as a network reads it, by one of ``LENGTHS``: "any", "longest" or "fixed"."""
    missing = n_samples - signal.shape[-1]
    if length == "any" or missing == 0 or (length == "longest" and missing > 0):
        return signal
    return F.pad(signal, (missing // 2, missing - missing // 2))  # what is negative is cut


@cache
def _low_pass(up: int, down: int, device: torch.device) -> torch.Tensor:
    """Taps [2 x _REACH x max(up, down) + 1] of the low-pass between two rates; their sum is ``up``.

    Copied to a device once: a GPU would be waited for at every step.
    """
    widest = max(up, down)
    taps = scipy.signal.firwin(2 * _REACH * widest + 1, 1 / widest, window=("kaiser", 5.0))
    return torch.tensor(taps * up, dtype=torch.float32, device=device)
