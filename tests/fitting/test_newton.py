"""The batched solver: exact derivatives, exact inner solutions, global optima, and the algebra of its answers."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import optimize

from ecgscale.analysis.fitting.amplitudes import subsets
from ecgscale.analysis.fitting.descent import HARMONIC, SHARE
from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.laws import LAWS, joint
from ecgscale.analysis.fitting.newton import derivatives, minimise, solve
from ecgscale.analysis.fitting.problem import Array, Penalty, Pull, centred, natural, problems_of, terms_of
from ecgscale.analysis.fitting.quantities import Formula, value_and_gradient
from ecgscale.analysis.fitting.resampling import resample_counts
from ecgscale.analysis.fitting.starts import best_of, projected_starts, refit, solve_globally
from tests.designs import TRUTHS, designs
from tests.planted import planted_grid

SUMS = [law for law in LAWS.values() if law.terms]


@pytest.mark.parametrize("law", SUMS, ids=lambda law: law.name)
def test_terms_and_function_of_a_law_agree(law) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    x = {v: rng.uniform(2, 50, 7) for v in law.variables}
    values = {c: rng.uniform(0.1, 0.9) for c in law.coefficients}
    posed = problems_of(law, x, np.ones(7))
    theta = centred(law, posed.design.centre, {k: np.array([v]) for k, v in values.items()})
    again = natural(law, posed.design.centre, theta)
    assert {k: float(v[0]) for k, v in again.items()} == pytest.approx(values, rel=1e-12)
    predicted = terms_of(posed.design, posed.design.features, theta)[1][0] * np.exp(posed.design.centre["loss"])
    np.testing.assert_allclose(predicted, law(values, **x), rtol=1e-12)
    np.testing.assert_allclose(derivatives(posed, theta)[0], 0.5 * (np.log(law(values, **x)) ** 2).sum(), rtol=1e-12)


@pytest.mark.parametrize("delta", [np.inf, 5e-3])
@pytest.mark.parametrize("name", ["joint", "interaction", "tied"])
def test_gradient_and_hessian_are_those_of_the_objective(name: str, delta: float) -> None:
    points = planted_grid(0.01, 0)
    law = LAWS[name]
    weights = np.random.default_rng(1).integers(0, 3, len(points))
    posed = problems_of(law, {"N": points["N"], "D": points["D"]}, points["loss"], weights, delta)
    theta = solve_globally(posed)[0].theta + 0.03
    _, gradient, hessian = derivatives(posed, theta)
    step = 1e-6 * np.eye(theta.shape[1])
    for i, s in enumerate(step):
        up, down = derivatives(posed, theta + s), derivatives(posed, theta - s)
        assert gradient[0, i] == pytest.approx((up[0][0] - down[0][0]) / 2e-6, rel=1e-5, abs=1e-8)
        np.testing.assert_allclose(hessian[0, i], (up[1][0] - down[1][0]) / 2e-6, rtol=1e-4, atol=1e-6)


def test_elimination_solves_and_recognises_what_is_not_positive() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((50, 5, 5))
    matrix = root @ np.swapaxes(root, 1, 2) + 0.1 * np.eye(5)
    matrix[7, 2, 2] = -1
    right = rng.standard_normal((50, 5))
    kept = matrix.copy(), right.copy()
    answer, positive = solve(matrix, right)
    assert not positive[7]
    assert positive.sum() == 49
    good = positive
    np.testing.assert_allclose(np.einsum("spq,sq->sp", matrix[good], answer[good]), right[good], rtol=1e-8, atol=1e-8)
    for one in (slice(0, 1), slice(0, 50)):
        solve(matrix[one], right[one])
    assert np.array_equal(kept[0], matrix)
    assert np.array_equal(kept[1], right)


def test_non_negative_least_squares_are_scipys() -> None:
    rng = np.random.default_rng(0)
    design, target = rng.uniform(size=(30, 8, 3)), rng.standard_normal((30, 8))
    found, rss = subsets(
        np.einsum("sni,snj->sij", design, design), np.einsum("sni,sn->si", design, target), (target**2).sum(1)
    )
    for i in range(30):
        expected, norm = optimize.nnls(design[i], target[i])
        np.testing.assert_allclose(found[i], expected, atol=1e-9)
        assert rss[i] == pytest.approx(norm**2, rel=1e-9)


@pytest.mark.parametrize("exponents", [(0.3, 0.4), (1.2, 0.05), (2.5, 2.5)])
def test_amplitudes_for_given_exponents_are_the_least_squares_of_logs(exponents: tuple[float, float]) -> None:
    points = planted_grid(0.05, 3)
    posed = problems_of(LAWS["joint"], {"N": points["N"], "D": points["D"]}, points["loss"])
    low, high = posed.low.copy(), posed.high.copy()
    low[[2, 4]] = high[[2, 4]] = exponents
    found = minimise(replace(posed, low=low, high=high), np.array([[0.5, -1.0, exponents[0], -1.0, exponents[1]]]))
    z = np.log(points[["N", "D"]].to_numpy())
    z, y = z - z.mean(0), np.log(points["loss"].to_numpy())
    basis = np.column_stack([np.ones(len(y)), np.exp(-exponents[0] * z[:, 0]), np.exp(-exponents[1] * z[:, 1])])

    def residual(amplitudes: Array) -> Array:
        return np.asarray(np.log(basis @ amplitudes) - y)

    start, bounds = [0.1, 0.1, 0.1], (0, np.inf)
    expected = optimize.least_squares(residual, start, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert found.converged[0]
    assert found.objective[0] <= expected.cost * (1 + 1e-8)
    assert found.objective[0] >= expected.cost * (1 - 1e-5)


def test_resamples_of_nine_cells_end_at_their_optimum() -> None:
    grid = designs()["demo"]
    rng = np.random.default_rng(5)
    loss = joint(grid["N"], grid["D"], E=0.08, A=3.0, alpha=0.35, B=5.0, beta=0.4) * np.exp(0.04 * rng.normal(size=9))
    posed = problems_of(LAWS["joint"], {"N": grid["N"], "D": grid["D"]}, loss)
    resampled = replace(posed, weights=resample_counts(grid[["N", "D"]], 200), patience=60)
    found = refit(resampled, solve_globally(posed)[0].theta[0])
    deep, _ = best_of(replace(resampled, patience=2000), projected_starts(resampled, 6))
    least = np.minimum(found.objective, deep.objective)
    assert found.converged.mean() > 0.95
    assert (found.objective <= least * (1 + 1e-6) + 1e-18).mean() > 0.95


def scipy_optimum(points: pd.DataFrame, n_starts: int = 40) -> float:
    """The lowest of many tight least-squares descents from random starts."""
    z = np.log(points[["N", "D"]].to_numpy())
    z, y = z - z.mean(0), np.log(points["loss"].to_numpy())

    def residual(t: Array) -> Array:
        return np.log(t[0] + np.exp(t[1] - t[2] * z[:, 0]) + np.exp(t[3] - t[4] * z[:, 1])) - y

    rng = np.random.default_rng(0)
    low, high = [0, -40, 0.005, -40, 0.005], [2, 5, 3, 5, 3]
    best = math.inf
    for _ in range(n_starts):
        start = [
            rng.uniform(0, 0.3),
            rng.uniform(-6, 0),
            rng.uniform(0.02, 1.5),
            rng.uniform(-6, 0),
            rng.uniform(0.02, 1.5),
        ]
        best = min(
            best, optimize.least_squares(residual, start, bounds=(low, high), xtol=1e-15, ftol=1e-15, gtol=1e-15).cost
        )
    return best


@pytest.mark.slow
@pytest.mark.parametrize("truth", list(TRUTHS))
def test_small_noisy_grids_are_fitted_at_the_global_optimum(truth: str) -> None:
    for seed in range(2):
        points = planted_grid(0.01, seed, truth=truth)
        posed = problems_of(LAWS["joint"], {"N": points["N"], "D": points["D"]}, points["loss"])
        found, _ = solve_globally(posed)
        assert found.objective[0] <= scipy_optimum(points) * (1 + 1e-8)


def test_resamples_are_at_their_optimum() -> None:
    """Every resample, fitted in one batch, is as low as each fitted alone from more starts."""
    points = planted_grid(0.01, 3)
    rng = np.random.default_rng(0)
    counts = rng.multinomial(len(points), np.full(len(points), 1 / len(points)), 60).astype(float)
    x = {"N": points["N"].to_numpy(), "D": points["D"].to_numpy()}
    for delta in (np.inf, 1e-3):
        posed = problems_of(LAWS["joint"], x, points["loss"].to_numpy(), counts, delta)
        found, _ = solve_globally(posed)
        many, _ = solve_globally(posed, 16)
        assert found.converged.mean() > 0.98
        worse = found.objective > many.objective * (1 + 1e-8) + 1e-20
        assert worse.mean() <= 0.02


def test_starts_differ_and_include_the_face_without_a_floor() -> None:
    points = planted_grid(0.01, 0)
    posed = problems_of(LAWS["joint"], {"N": points["N"], "D": points["D"]}, points["loss"])
    starts = projected_starts(posed, 4)[0]
    assert len(np.unique(starts, axis=0)) == 4
    assert starts[-1, 0] == 0


def test_a_pulled_parameter_comes_to_rest_on_the_profile_of_the_held_one() -> None:
    points = planted_grid(0.01, 0)
    posed = problems_of(LAWS["joint"], {"N": points["N"], "D": points["D"]}, points["loss"])
    found, _ = solve_globally(posed)
    alpha = posed.design.names.index("alpha")
    target, weight = found.theta[0, alpha] + np.linspace(-0.1, 0.1, 9), np.full(9, 50.0)

    def quantity(theta: Array, which: NDArray[np.intp]) -> tuple[Array, Array]:
        return theta[:, alpha], np.broadcast_to(np.eye(5)[alpha], theta.shape)

    starts = np.repeat(found.theta, 9, 0)
    weights = np.repeat(posed.weights, 9, 0)
    pulled = minimise(replace(posed, weights=weights, penalty=Penalty(target, weight, quantity)), starts)
    starts[:, alpha] = pulled.theta[:, alpha]
    held = minimise(replace(posed, weights=weights, held=np.full(9, alpha)), starts)
    assert pulled.converged.all()
    assert held.converged.all()
    np.testing.assert_array_equal(held.theta[:, alpha], pulled.theta[:, alpha])
    penalty = 0.5 * weight * (pulled.theta[:, alpha] - target) ** 2
    np.testing.assert_allclose(pulled.objective - penalty, held.objective, rtol=1e-9)


@pytest.mark.parametrize("kind", [SHARE, HARMONIC])
def test_a_compiled_formula_is_pulled_to_where_any_other_quantity_is(kind: int) -> None:
    points = planted_grid(0.01, 0)
    posed = problems_of(LAWS["joint"], {"N": points["N"], "D": points["D"]}, points["loss"])
    found, _ = solve_globally(posed)
    quantity, names = Formula(kind, "alpha", "beta"), posed.design.names
    here = partial(value_and_gradient, LAWS["joint"], posed.design.centre, quantity)
    target, weight = here(found.theta)[0] * np.linspace(0.8, 1.2, 5), np.full(5, 50.0)
    posed, starts = replace(posed, weights=np.repeat(posed.weights, 5, 0)), np.repeat(found.theta, 5, 0)
    pair = np.tile(np.array([names.index("alpha"), names.index("beta")]), (5, 1))
    one = minimise(replace(posed, penalty=Pull(np.full(5, kind), pair, target, weight)), starts)
    other = minimise(replace(posed, penalty=Penalty(target, weight, lambda theta, which: here(theta))), starts)
    assert one.converged.all()
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)
    np.testing.assert_allclose(here(one.theta)[0], here(other.theta)[0], rtol=1e-6)


coefficients = st.fixed_dictionaries(
    {
        "E": st.floats(0.01, 0.3),
        "A": st.floats(1.0, 10.0),
        "alpha": st.floats(0.2, 0.7),
        "B": st.floats(2.0, 30.0),
        "beta": st.floats(0.2, 0.6),
    }
)
properties = settings(max_examples=15, deadline=None, derandomize=True)


@properties
@given(truth=coefficients)
def test_any_planted_law_is_recovered(truth: dict[str, float]) -> None:
    grid = designs()["full"]
    found = fit("joint", grid.assign(loss=joint(grid["N"], grid["D"], **truth)), intervals=False)
    for name, value in truth.items():
        assert found[name] == pytest.approx(value, rel=1e-5)


@properties
@given(seed=st.integers(0, 10**6), n=st.floats(1e-3, 1e6), d=st.floats(1e-3, 1e6), loss=st.floats(1e-3, 1e3))
def test_units_change_the_answer_as_the_algebra_says(seed: int, n: float, d: float, loss: float) -> None:
    points = planted_grid(0.01, seed)
    scaled = points.assign(N=points["N"] * n, D=points["D"] * d, loss=points["loss"] * loss)
    one, other = fit("joint", points, intervals=False), fit("joint", scaled, intervals=False)
    assert other["alpha"] == pytest.approx(one["alpha"], rel=1e-5)
    assert other["beta"] == pytest.approx(one["beta"], rel=1e-5)
    assert other["E"] == pytest.approx(one["E"] * loss, rel=1e-5, abs=1e-7 * loss)
    assert other["A"] == pytest.approx(one["A"] * loss * n ** one["alpha"], rel=1e-3)
    assert other["B"] == pytest.approx(one["B"] * loss * d ** one["beta"], rel=1e-3)
    assert other.health.objective_value == pytest.approx(one.health.objective_value, rel=1e-9)


@properties
@given(seed=st.integers(0, 10**6), objective=st.sampled_from(["log-ls", "huber"]))
def test_order_is_nothing_a_weight_counts_and_an_exact_copy_does_not(seed: int, objective: str) -> None:
    points = planted_grid(0.01, seed)
    options = {"objective": objective, "intervals": False, "bootstrap": 0}
    one = fit("joint", points, **options)  # type: ignore[arg-type]
    shuffled = fit("joint", points.sample(frac=1, random_state=seed), **options)  # type: ignore[arg-type]
    twice = fit("joint", pd.concat([points, points]), **options)  # type: ignore[arg-type]
    weighted = fit("joint", points.assign(weight=2.0), **options)  # type: ignore[arg-type]
    assert shuffled.health.objective_value == pytest.approx(one.health.objective_value, rel=1e-8)
    for other, times in ((twice, 1), (weighted, 2)):
        assert other.health.objective_value == pytest.approx(times * one.health.objective_value, rel=1e-8)
        assert other["alpha"] == pytest.approx(one["alpha"], rel=1e-3)
