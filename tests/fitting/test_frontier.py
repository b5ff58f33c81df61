"""The compute frontier: intervals that say how the fits of other sweeps scatter, and what luck does to a front."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from ecgscale.analysis.fitting.frontier import _fronts, _luck, frontier, pareto
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.run_noise import noise_of, unit_noise
from tests.benchmarks.coverage.frontier import PLANTED, sweep


def test_the_pareto_front() -> None:
    flops, loss = np.array([1.0, 2.0, 2.0, 3.0, 4.0]), np.array([5.0, 4.0, 3.0, 3.5, 1.0])
    assert pareto(flops, loss).tolist() == [True, False, True, False, True]
    rng = np.random.default_rng(0)
    flops, many = np.round(rng.uniform(1, 9, 40)), rng.standard_normal((30, 40))
    np.testing.assert_array_equal(_fronts(flops, many), [pareto(flops, row) for row in many])


def test_a_planted_frontier_is_recovered_and_a_short_one_is_flagged() -> None:
    flops = np.geomspace(1e12, 1e18, 18)
    table = pd.DataFrame({"C": flops, "loss": 0.05 + 300 * (flops + 1e13) ** -0.2})
    found = frontier(table, bootstrap=20)
    assert found["gamma"] == pytest.approx(0.2, rel=1e-5)
    assert found["E"] == pytest.approx(0.05, rel=1e-5)
    assert found["C0"] == pytest.approx(1e13, rel=1e-4)
    short = pd.DataFrame({"C": [1e12, 2e12, 4e12, 8e12, 1.6e13], "loss": [0.5, 0.45, 0.405, 0.3645, 0.32805]})
    assert frontier(short, bootstrap=0).status == "bound"
    with pytest.raises(BadPoints, match="needs five"):
        frontier(short.iloc[:3])


def test_resamples_scatter_as_other_sweeps_do() -> None:
    """One run alone, the smallest, shows the offset: resamples of runs, which lose it, scattered ten times as much."""
    rng = np.random.default_rng(3)
    sweeps = [sweep(20, 0.01, rng) for _ in range(24)]
    fitted = [frontier(one, bootstrap=0) for one in sweeps]
    drawn = [frontier(one, bootstrap=60).draws for one in sweeps[:6]]
    for name in ("E", "gamma"):
        scatter = np.std([f[name] for f in fitted])
        resampled = np.sqrt(np.mean([np.var(d[name]) for d in drawn if d is not None]))
        assert 0.6 < resampled / scatter < 1.7, name


def test_a_front_of_equals_is_chosen_by_luck() -> None:
    """Runs on one law, their compute so near that noise decides: those on the front are quiet and lie below it."""
    rng = np.random.default_rng(5)
    run = np.arange(30)
    flops = np.geomspace(1e12, 1e13, 30)
    base = np.log(PLANTED["E"] + PLANTED["k"] * flops**-0.2)
    noise = noise_of(0.02 * rng.standard_normal(30), np.ones((30, 1)), run)
    louder, luck = _luck(base, flops, run, noise, rng)
    assert louder > 1.1
    assert luck[1:].max() < -0.1
    apart, none = _luck(np.linspace(0, -30, 30), flops, run, noise, rng)
    assert apart == pytest.approx(1.0, abs=0.02)
    assert np.abs(none).max() < 0.25


def test_what_runs_share_is_told_from_their_points() -> None:
    rng = np.random.default_rng(1)
    run, jacobian = np.repeat(np.arange(15), 4), rng.standard_normal((60, 3))
    for shared in (0.0, 0.9):
        told, variances = [], []
        for _ in range(30):
            noise = 0.02 * unit_noise(np.array([shared]), run, rng)[0]
            found = noise_of(noise - jacobian @ np.linalg.lstsq(jacobian, noise, rcond=None)[0], jacobian, run)
            told.append(found.shares @ found.probabilities)
            variances.append(found.variance)
        assert np.mean(told) == pytest.approx(shared, abs=0.1)
        assert np.mean(variances) == pytest.approx(0.02**2, rel=0.15)


def test_points_of_one_run_count_as_independent() -> None:
    rng = np.random.default_rng(4)
    residual = rng.standard_normal(12)
    found = noise_of(residual - residual.mean(), np.ones((12, 1)), np.zeros(12, np.intp))
    assert found.shares.tolist() == [0.0]
    assert found.variance == pytest.approx(residual.var(ddof=1))


def test_percentiles_of_a_mean_are_students() -> None:
    """Six numbers, of which nothing but noise is known: the interval of their mean is the t interval."""
    rng = np.random.default_rng(2)
    x, run = np.array([0.3, -0.1, 0.2, 0.05, -0.25, -0.2]), np.arange(6)
    which, scale = (noise := noise_of(x, np.ones((6, 1)), run)).drawn(40_000, rng)
    means = (scale[:, None] * unit_noise(noise.shares[which], run, rng)).mean(1)
    half = special.stdtrit(5, 0.975) * x.std(ddof=1) / np.sqrt(6)
    assert np.quantile(means, [0.025, 0.975]) == pytest.approx([-half, half], rel=0.04)


def test_noise_that_a_law_takes_up_is_not_believed_to_be_without_end() -> None:
    run = np.array([0, 0, 0, 1, 2, 3])
    rng = np.random.default_rng(0)
    jacobian = (run[:, None] == np.arange(4)) + 0.01 * rng.standard_normal((6, 4))  # nearly a level for every run
    residual = 0.01 * rng.standard_normal(6)
    found = noise_of(residual, jacobian, run)
    assert np.sqrt(found.variance) < 0.05
    assert np.sqrt(found.squares.max() / found.freedom) < 1
