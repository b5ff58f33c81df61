"""NSTDB's noise: three kinds, two parts without overlap, mixed at a stated ratio of powers."""

import numpy as np
import pytest

from ecgscale.data import noise
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
    clean = signals(4, 100)
    noisy = noise.mixed(clean, noise.recorded("em"), snr, np.random.default_rng(0))
    ratio = 10 * np.log10(clean.var(axis=-1) / (noisy - clean).var(axis=-1))
    assert np.allclose(ratio, snr, atol=0.01)
    again = noise.mixed(clean, noise.recorded("em"), snr, np.random.default_rng(0))
    assert np.array_equal(noisy, again)


def test_a_silent_lead_stays_silent() -> None:
    assert not noise.mixed(np.zeros((2, 500)), noise.recorded("ma"), 0.0, np.random.default_rng(0)).any()


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(ValueError, match="there is bw, em, ma"):
        noise.recorded("hum")


@pytest.mark.skipif(not NSTDB.is_dir(), reason=f"the noise records: {NO_RAW}")
@pytest.mark.parametrize("kind", noise.KINDS)
def test_shipped_noise_is_the_databases(kind: str) -> None:
    whole = noise.read(NSTDB, kind)
    shipped = noise.recorded(kind)
    inner = slice(1000, 100_000)
    assert np.sqrt(np.mean((whole[:, inner] - shipped[:, inner]) ** 2)) < 0.02 * shipped[:, inner].std() + 0.003
