"""Intervals: exact ends of the likelihood region, lmfit as the cross-check, and coverage that was measured."""

import math

import lmfit
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.intervals import profile
from ecgscale.analysis.fitting.laws import LAWS, joint
from ecgscale.analysis.fitting.problem import problems_of
from ecgscale.analysis.fitting.resampling import resample_counts
from ecgscale.analysis.planning.coverage import PLANTED, simulate
from tests.designs import coverage, designs
from tests.planted import planted_grid

FAR = ("predict_1x", "predict_10x", "predict_100x")


def test_an_end_of_the_interval_is_where_the_f_test_rejects() -> None:
    points = planted_grid(0.01, 0)
    found = fit("joint", points)
    n, p = len(points), 5
    critical = found.health.objective_value * (1 + stats.f.ppf(0.95, 1, n - p) / (n - p))
    from dataclasses import replace

    from ecgscale.analysis.fitting.starts import solve_globally

    assert found.posed is not None
    alpha = found.posed.design.names.index("alpha")
    for end in (found.coefficients["alpha"].low, found.coefficients["alpha"].high):
        low, high = found.posed.low.copy(), found.posed.high.copy()
        low[alpha] = high[alpha] = end
        held, _ = solve_globally(replace(found.posed, low=low, high=high))
        assert held.objective[0] == pytest.approx(critical, rel=2e-3)


def test_lmfit_agrees_on_values_and_profile_intervals() -> None:
    points = planted_grid(0.01, 1, design="full")
    found = fit("joint", points)
    z = np.log(points[["N", "D"]].to_numpy())
    y = np.log(points["loss"].to_numpy())
    centre = z.mean(0)

    def residual(p: lmfit.Parameters) -> np.ndarray:
        a, b = p["A_centre"].value, p["B_centre"].value
        terms = a * np.exp(-p["alpha"] * (z[:, 0] - centre[0])) + b * np.exp(-p["beta"] * (z[:, 1] - centre[1]))
        return np.log(np.maximum(p["E"] + terms, 1e-12)) - y

    start = lmfit.Parameters()
    for name in ("E", "alpha", "beta"):
        start.add(name, found[name] * 1.05)
    for name in ("A_centre", "B_centre"):
        start.add(name, found.derived[name].value * 1.05)
    minimiser = lmfit.Minimizer(residual, start)
    result = minimiser.minimize("leastsq", ftol=1e-14, xtol=1e-14)
    intervals = lmfit.conf_interval(minimiser, result, p_names=["alpha", "beta"], sigmas=[0.95])
    for name in ("E", "alpha", "beta"):
        assert result.params[name].value == pytest.approx(found[name], rel=1e-5)
        assert result.params[name].stderr == pytest.approx(found.parameters()[name].stderr, rel=0.05)
    for name in ("alpha", "beta"):
        low, _, high = (value for _, value in intervals[name])
        assert found.coefficients[name].low == pytest.approx(low, rel=5e-3)
        assert found.coefficients[name].high == pytest.approx(high, rel=5e-3)


def test_allocation_exponents_have_the_ends_of_any_quantity() -> None:
    found = fit("joint", planted_grid(0.04, 0))
    assert found.solved_law is not None
    assert found.posed is not None
    assert found.solution is not None
    asked = {
        "a": lambda c: c["beta"] / (c["alpha"] + c["beta"]),
        "b": lambda c: c["alpha"] / (c["alpha"] + c["beta"]),
        "gamma": lambda c: c["alpha"] * c["beta"] / (c["alpha"] + c["beta"]),
    }
    ends = profile(found.solved_law, found.posed, found.solution, list(asked.values()))
    for i, name in enumerate(asked):
        one = found.derived[name]
        assert (one.low, one.high) == pytest.approx((ends.low[i, 0], ends.high[i, 0]), rel=1e-4)
        assert (one.low_end, one.high_end) == (ends.low_end[i, 0], ends.high_end[i, 0])


def test_a_fit_is_familiar_to_lmfit() -> None:
    parameters = fit("joint", planted_grid(0.01, 0)).parameters()
    assert set(parameters) == set(LAWS["joint"].coefficients)
    assert parameters["alpha"].min == LAWS["joint"].bound("alpha")[0]
    assert 0 < parameters["alpha"].stderr < 0.1
    assert parameters["A"].stderr is None


def test_a_wider_level_is_a_wider_interval() -> None:
    points = planted_grid(0.01, 0)
    narrow, wide = fit("joint", points, level=0.8), fit("joint", points, level=0.99)
    for name in ("E", "alpha", "beta"):
        one, other = narrow.coefficients[name], wide.coefficients[name]
        assert other.low < one.low < one.value < one.high < other.high


def test_resamples_keep_every_factor_and_draw_seeds_within_cells() -> None:
    grid = designs()["ragged"].iloc[:-1]
    counts = resample_counts(grid, 500, seed=0)
    levels = grid["N"].factorize()[0]
    kept = np.stack([counts[:, levels == v].any(1) for v in range(levels.max() + 1)], 1).sum(1)
    assert kept.min() >= 3
    single = grid.drop_duplicates()
    np.testing.assert_array_equal(resample_counts(single, 50).sum(1), len(single))
    seeds = pd.concat([single] * 3, ignore_index=True)
    three = resample_counts(seeds, 50)
    np.testing.assert_array_equal(three.sum(1), len(seeds))
    cell = np.tile(np.arange(len(single)), 3)
    totals = np.stack([three[:, cell == c].sum(1) for c in range(len(single))], 1)
    assert (totals % 3 == 0).all()


def test_the_bootstrap_stands_beside_the_profile() -> None:
    found = fit("joint", planted_grid(0.01, 0, design="full"), bootstrap=300)
    c = found.coefficients["alpha"]
    assert found.interval == "profile"
    assert c.bootstrap_low < c.value < c.bootstrap_high
    assert 0.5 < (c.bootstrap_high - c.bootstrap_low) / (c.high - c.low) < 2


def test_simultaneous_bands_are_wider_than_pointwise_ones() -> None:
    found = fit("joint", planted_grid(0.01, 0))
    x = pd.DataFrame({"N": [1e5, 1e7], "D": [2.09e6, 2.09e6]})
    band = found.band(x)
    for i in range(2):
        point = found.predict(N=x["N"][i], D=x["D"][i])
        assert band["low"][i] < point.low < band["loss"][i] < point.high < band["high"][i]
        assert band["loss"][i] == pytest.approx(point.value)


def test_simulate_says_what_a_grid_identifies() -> None:
    table = simulate(designs()["ragged"], noise=0.005, n_sweeps=60).set_index("quantity")
    assert set(table.index) == {"alpha", "beta", "E", "allocation", "N_best", *FAR}
    assert table["truth"]["predict_10x"] == pytest.approx(math.log(joint(1e9, 2.09e7, **PLANTED)))
    assert table["width"]["alpha"] < 0.1
    no_data = simulate(designs()["ragged"].assign(D=2.09e6).iloc[:10], PLANTED, law="size", noise=0.005, n_sweeps=20)
    assert "beta" not in set(no_data["quantity"])


@pytest.mark.slow
def test_default_intervals_cover() -> None:
    """0.95, give or take the noise of 250 simulated sweeps; results/LOG.md has every design and 400 a row."""
    table = coverage(n_sweeps=25, seed=1000, design=("ragged", "distinct"), noise=(0.01,))
    asked = table[table["quantity"].isin(["alpha", "beta", "allocation", "N_best", *FAR])]
    assert asked["coverage"].mean() == pytest.approx(0.95, abs=0.03)
    assert asked["coverage"].between(0.75, 1.0).all()


def test_runs_of_one_cell_that_have_something_in_common_are_not_counted_twice() -> None:
    grid = designs()["distinct"]
    twice = pd.concat([grid] * 2, ignore_index=True)
    table = simulate(twice, noise=0.01, n_sweeps=100, seed=3, cell_noise=0.01).set_index("quantity")
    assert table.loc[["alpha", "beta", "allocation", *FAR], "coverage"].mean() > 0.915  # of all runs alike: 0.83


def test_a_term_that_vanished_makes_no_replicates_of_what_it_read() -> None:
    grid = designs()["full"]
    x = {v: np.tile(grid[v].to_numpy(float), 2) for v in ("N", "D")}
    posed = problems_of(LAWS["joint"].without("B"), x, np.ones(2 * len(grid)))
    assert posed.cells is not None
    assert posed.cells.max() + 1 == len(grid)
