"""Allocation: the closed form is the numerical optimum, and the published shares follow from the exponents."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from ecgscale.analysis.fitting.allocation import (
    Compute,
    allocate,
    compute_law,
    exponents_of,
    isoflop,
    log_optimum,
)
from ecgscale.analysis.fitting.fit import BadPoints, fit
from ecgscale.analysis.fitting.forecast import allocate_group, predict
from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.fitting.overfitting import collapse, extent, minimum_data
from ecgscale.analysis.planning.coverage import PLANTED
from tests.designs import designs


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    alpha=st.floats(0.1, 1.0),
    beta=st.floats(0.1, 1.0),
    s=st.floats(0.5, 2.0),
    t=st.floats(0.5, 2.0),
    budget=st.floats(1e12, 1e20),
)
def test_the_closed_form_is_the_numerical_optimum(alpha: float, beta: float, s: float, t: float, budget: float) -> None:
    c = {"E": 0.05, "A": 3.0, "alpha": alpha, "B": 20.0, "beta": beta}
    compute = Compute(kappa=50.0, s=s, t=t)

    def loss(log_n: float) -> float:
        return float(joint(math.exp(log_n), (budget / 50 / math.exp(s * log_n)) ** (1 / t), **c))

    log_n, log_d = log_optimum(c, budget, compute)
    assert s * log_n + t * log_d == pytest.approx(math.log(budget / 50))
    found = optimize.minimize_scalar(loss, bracket=(log_n - 1, log_n + 1), tol=1e-12)
    assert loss(log_n) <= found.fun * (1 + 1e-12)
    a, b, gamma = exponents_of(alpha, beta, compute)
    twice = log_optimum(c, 2 * budget, compute)
    assert twice[0] - log_n == pytest.approx(a * math.log(2))
    assert twice[1] - log_d == pytest.approx(b * math.log(2))
    excess = [joint(*map(math.exp, log_optimum(c, k * budget, compute)), **c) - 0.05 for k in (1, 2)]
    assert math.log(excess[0] / excess[1]) == pytest.approx(gamma * math.log(2), rel=1e-3)


def test_shares_of_the_paper() -> None:
    """alpha = 4 beta spends 80 % on data (B.4); 90 / 79 / 27 % are ratios of 9, 3.8, 0.37."""
    assert exponents_of(0.4, 0.1)[1] == pytest.approx(0.8)
    for ratio, share in ((9.0, 0.90), (3.8, 0.79), (0.37, 0.27)):
        assert exponents_of(ratio, 1.0)[1] == pytest.approx(share, abs=5e-3)


def observations(noise: float = 0.005) -> pd.DataFrame:
    grid = designs()["full"]
    rng = np.random.default_rng(0)
    loss = joint(grid["N"], grid["D"], **PLANTED) * np.exp(noise * rng.standard_normal(len(grid)))
    return grid.assign(loss=loss, C=6 * 30 * grid["N"] * grid["D"], configuration="resnet-sl", target="cpsc2018")


def test_allocate_gives_intervals_that_hold_the_planted_optimum() -> None:
    points = observations()
    compute = compute_law(points)
    assert compute.kappa == pytest.approx(180)
    table = allocate(fit("joint", points), 1e16, compute).set_index("quantity")
    log_n, log_d = log_optimum(PLANTED, 1e16, compute)
    for name, truth in (("N", math.exp(log_n)), ("D", math.exp(log_d)), ("data_share", 0.35 / 0.8)):
        assert table["low"][name] < truth < table["high"][name]
        assert table["low"][name] < table["value"][name] < table["high"][name]
    assert table["value"]["N"] * table["value"]["D"] * 180 == pytest.approx(1e16)
    far = allocate(fit("joint", points), 1e22, compute).set_index("quantity")
    assert "beyond the largest fitted N" in far["note"]["N"]
    again = allocate_group(points, "resnet-sl", "cpsc2018", 1e16)
    assert again["value"].tolist() == pytest.approx(table["value"].tolist())


def test_epochs_as_a_power_law_are_recovered() -> None:
    points = observations()
    compute = compute_law(points.assign(C=7 * points["N"] ** 1.2 * points["D"] ** 0.8), epochs=True)
    assert (compute.kappa, compute.s, compute.t) == pytest.approx((7, 1.2, 0.8))


def test_predict_and_names_that_are_not_there() -> None:
    row = predict(observations(), "resnet-sl", "cpsc2018", 1e9, 2e6).iloc[0]
    assert row["low"] < row["loss"] < row["high"]
    assert "extrapolates: N 10 times" in row["note"]
    with pytest.raises(BadPoints, match="did you mean 'cpsc2018'"):
        predict(observations(), "resnet-sl", "cpsc2017", 1e9, 2e6)
    with pytest.raises(BadPoints, match="positive"):
        allocate(fit("joint", observations()), -1)


def test_allocation_without_both_exponents_is_refused() -> None:
    points = observations()
    with pytest.raises(BadPoints, match="N takes one value"):
        allocate(fit("joint", points[points["N"] == points["N"].iloc[0]]), 1e15)


def test_isoflop_parabolas_agree_on_a_centred_symmetric_grid() -> None:
    c = {"E": 0.05, "A": 3.0, "alpha": 0.4, "B": 3.0, "beta": 0.4}
    rows = []
    for budget in np.geomspace(1e12, 1e15, 5):
        for tilt in np.linspace(-1.5, 1.5, 9):
            n = math.sqrt(budget / 6) * math.exp(tilt)
            rows.append((n, budget / 6 / n, budget))
    points = pd.DataFrame(rows, columns=["N", "D", "C"])
    found = isoflop(points.assign(loss=joint(points["N"], points["D"], **c)))
    assert found.a.value == pytest.approx(0.5, abs=1e-6)
    assert found.minima["inside"].all()
    skewed = isoflop(points.assign(loss=joint(points["N"], points["D"], **(c | {"beta": 0.3, "B": 3 * 3e6**-0.1}))))
    assert abs(skewed.a.value - 0.3 / 0.7) > 1e-3  # the bias that makes the joint fit the answer


def test_overfitting_collapses_and_names_the_data_it_needs() -> None:
    points = observations(noise=0.0)
    law = fit("joint", points)
    table = collapse(law, points)
    np.testing.assert_allclose(table["delta"], table["delta_law"], rtol=1e-6)
    assert table.attrs["r2"] == pytest.approx(1)
    need = minimum_data(fit("joint", observations()), 1e6)
    truth = (20 / (0.1 * (0.05 + 3 * 1e6**-0.35))) ** (1 / 0.45)
    assert need.low < truth < need.high
    assert extent(PLANTED, 1e6, truth) == pytest.approx(0.1)
    # Halving the irreducible loss multiplies the minimum data by 2^(1/beta).
    halved = {"E": 0.5, "B": 2.0, "beta": 0.5}
    d = (2 / 0.05) ** 2
    assert extent(halved, 1e6, d) == pytest.approx(0.1)
    assert extent(halved | {"E": 0.25}, 1e6, d * 4) == pytest.approx(0.1)


def test_losses_of_different_sweeps_are_not_pooled() -> None:
    points = pd.concat([observations().assign(sweep="a"), observations().assign(sweep="b")])
    with pytest.raises(BadPoints, match="different sweeps: a, b; name one sweep with --sweep"):
        predict(points, "resnet-sl", "cpsc2018", 1e6, 1e6)
