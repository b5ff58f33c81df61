"""Bands around a law, likelihood profiles, and runs held out: each against a law that the test planted."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgscale.analysis.fitting import bands


def noisy_grid() -> pd.DataFrame:
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e4, 1e8, 6), np.geomspace(1e3, 1e6, 5)))
    loss = 0.1 + 3 * n**-0.3 + 5 * d**-0.4
    return pd.DataFrame(
        {"N": n, "D": d, "loss": loss * np.exp(0.01 * np.random.default_rng(1).standard_normal(len(n)))}
    )


def test_a_band_holds_the_law_and_widens_where_it_extrapolates() -> None:
    rng = np.random.default_rng(0)
    n = np.geomspace(1e4, 1e7, 10)
    points = pd.DataFrame({"N": n, "loss": (0.3 + 12 * n**-0.35) * np.exp(0.01 * rng.standard_normal(10))})
    band = bands.band("size", points, N=np.geomspace(1e4, 1e8, 20))
    assert band is not None
    assert (band.low < band.loss).all()
    assert (band.loss < band.high).all()
    truth = 0.3 + 12 * band.x**-0.35
    assert ((band.low < truth) & (truth < band.high)).mean() > 0.9
    width = np.log(band.high / band.low)
    assert width[-1] > 1.5 * width[10]


def loss_at(c: Any, N: float, D: float) -> Any:
    return c["E"] + c["A"] * N ** -c["alpha"] + c["B"] * D ** -c["beta"]


def test_the_band_of_a_slice_is_the_interval_of_the_loss_there() -> None:
    points, sizes = noisy_grid(), np.geomspace(1e4, 1e8, 3)
    band, law = bands.band("joint", points, N=sizes, D=1e6), bands.fitted("joint", points)
    assert band is not None
    assert law is not None
    for k, n in enumerate(sizes):
        there = law.quantity(partial(loss_at, N=float(n), D=1e6))
        np.testing.assert_allclose(
            [band.low[k], band.loss[k], band.high[k]], [there.low, there.value, there.high], rtol=1e-3
        )
    assert np.log(band.high / band.low).max() < 0.06  # five coefficients of 30 points with 1 % noise


def test_a_profile_crosses_its_limit_at_the_ends_of_the_interval() -> None:
    points = noisy_grid()
    law = bands.fitted("joint", points)
    found = bands.likelihood("joint", points, "alpha")
    assert law is not None
    assert found is not None
    interval = law.quantity(lambda c: c["alpha"])
    at_ends = np.interp([interval.low, interval.high], found.values, found.excess)
    np.testing.assert_allclose(at_ends, 1, atol=0.15)
    assert found.excess.min() < 0.02


def test_held_out_runs_are_the_largest_and_are_predicted() -> None:
    found = bands.predict_holdout(noisy_grid().assign(C=lambda t: 6 * t["N"] * t["D"]))
    assert found is not None
    table = found[0]
    assert table.loc[table["held"], "C"].min() >= table.loc[~table["held"], "C"].max()
    assert table["held"].mean() == pytest.approx(bands.HELD, abs=0.03)
    assert table["error"].abs().max() < 0.05
