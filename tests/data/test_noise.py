"""NSTDB's noise: three kinds, two parts without overlap, mixed at a stated ratio of powers."""

import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from ecgscale.data import noise, waveform
from tests.layouts import signals
from tests.paths import NO_RAW, RAW

NSTDB = RAW / "ecg" / "nstdb"


@pytest.mark.parametrize("kind", noise.KINDS)
def test_parts_do_not_overlap_and_are_noise(kind: str) -> None:
    train, held = noise.recorded(kind), noise.recorded(kind, "eval")
    assert train.shape[0] == held.shape[0] == 2
    assert train.shape[1] + held.shape[1] == 180_556
    assert train.shape[1] == pytest.approx(4 * held.shape[1], abs=4)
    assert 0.01 < train.std() < 3


@pytest.mark.parametrize("snr", [24.0, 6.0, -6.0])
def test_mixes_at_the_stated_ratio(snr: float) -> None:
    clean, ratio = torch.from_numpy(signals(4, 100)), torch.full((4,), snr)
    added = noise.Noise().like(clean, "em", ratio, torch.Generator().manual_seed(0))
    powers = clean.var(-1, correction=0) / added.var(-1, correction=0)
    torch.testing.assert_close(10 * powers.log10(), torch.full_like(powers, snr), atol=0.01, rtol=0)
    again = noise.Noise().like(clean, "em", ratio, torch.Generator().manual_seed(0))
    assert torch.equal(added, again)


def test_a_silent_lead_stays_silent() -> None:
    assert not noise.Noise().like(torch.zeros(2, 1, 500), "ma", torch.zeros(2), torch.Generator()).any()


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="there is bw, em, ma"):
        noise.recorded("hum")


@pytest.mark.skipif(not NSTDB.is_dir(), reason=f"the noise records: {NO_RAW}")
@pytest.mark.parametrize("kind", noise.KINDS)
def test_shipped_noise_is_the_databases(kind: str) -> None:
    native = waveform.read(NSTDB / f"{kind}.hea", gains=False).signal / 200.0  # no gain is stated: WFDB's default
    whole = resample_poly(native, 5, 18, axis=1).astype(np.float32)  # 360 to 100 Hz
    shipped = noise.recorded(kind)
    inner = slice(1000, 100_000)
    assert np.sqrt(np.mean((whole[:, inner] - shipped[:, inner]) ** 2)) < 0.02 * shipped[:, inner].std() + 0.003
