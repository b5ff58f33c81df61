"""Noise of real electrodes, to be added to recordings: wander, electrode motion and muscle, of the MIT-BIH NSTDB."""

import numpy as np
import torch

from ecgscale.data import embedded

KINDS = {"bw": "baseline wander", "em": "electrode motion", "ma": "muscle"}
SAMPLING_HZ = 100
_TRAIN_SHARE = 0.8  # of the half hour; the rest is for evaluation, so that no noise is seen twice
_MV_PER_UNIT = 0.005


def recorded(kind: str, part: str = "train") -> np.ndarray:
    """Shipped noise of a kind (bw, em, ma), float32 [2, n_samples] in mV at 100 Hz: the first 80 % or the last 20 %.

    Raises ValueError for another kind or part.
    """
    if kind not in KINDS or part not in ("train", "eval"):
        raise ValueError(f"no noise {kind!r}, {part!r}; there is {', '.join(KINDS)}, each train or eval")
    units = embedded.arrays_of("nstdb_noise_100hz_int16.npz")[kind]
    border = round(_TRAIN_SHARE * units.shape[1])
    return (units[:, :border] if part == "train" else units[:, border:]).astype(np.float32) * np.float32(_MV_PER_UNIT)


class Noise:
    """Recorded noise, to be mixed into batches: the part for training, or the part for evaluation."""

    def __init__(self, part: str = "train") -> None:
        self.recorded = {kind: torch.from_numpy(recorded(kind, part)) for kind in KINDS}

    def like(self, signal: torch.Tensor, kind: str, snr_power_db: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """Noise [n, n_leads, n_samples] to add to ``signal`` of that shape at a ratio of powers [n] over the recording.

        Each lead gets a random stretch of a random channel: a n with a = sqrt(P_x / P_n 10^(-SNR / 10)), its mean
        removed (a ratio of powers, not NSTDB's own QRS-amplitude ratio). A silent lead stays silent; an infinite ratio
        is no noise. Raises KeyError for another kind.
        """
        source = self.recorded[kind] = self.recorded[kind].to(signal.device)
        n, n_leads, n_samples = signal.shape
        shape = (n, n_leads, 1)
        channel = torch.randint(len(source), shape, generator=draw).to(signal.device, non_blocking=True)
        start = torch.randint(source.shape[1] - n_samples + 1, shape, generator=draw).to(
            signal.device, non_blocking=True
        )
        at = start + torch.arange(n_samples, device=signal.device)
        stretch = source[channel, at]
        stretch = stretch - stretch.mean(-1, keepdim=True)
        power = signal.var(-1, correction=0) / stretch.var(-1, correction=0).clamp(min=1e-12)  # [n, n_leads]
        scale = (power * 10 ** (-snr_power_db[:, None] / 10)).sqrt()
        return scale[..., None] * stretch
