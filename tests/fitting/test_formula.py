"""Laws from formulas: what is read, what is refused and how, and that their fits are those of the registry."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy import special

from ecgscale.analysis.fitting.allocation import allocate
from ecgscale.analysis.fitting.allocation import log_optimum as closed
from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.formula import law_of
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import LAWS, joint
from ecgscale.analysis.fitting.nonlinear_ends import Entry
from ecgscale.analysis.fitting.optimum import Compute, log_optimum
from tests.paths import FIXTURES

COLUMNS = {"N": "N", "D": "D", "loss": "loss", "params": "N", "tokens": "D"}
GENERAL = "E + A*N**(-1*alpha) + B*D**-beta"  # Eq. 1, as the batched solver does not know it


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("E + A*N**-alpha + B*D**-beta", "joint"),
        ("B/D^beta + E + A/N^alpha", "joint"),
        ("L(N, D) = E + A*params**(-alpha) + B*tokens**-beta", "joint"),
        ("E + A*n**-gamma + B*d**-gamma", "tied"),
        ("E + A*N**-alpha + B*D**-beta + G*N**-alpha*D**-beta", "interaction"),
        ("A*N**-alpha", "pure_size"),
        ("pure-size", "pure_size"),
    ],
)
def test_a_formula_that_is_a_law_of_the_registry_is_that_law(formula: str, name: str) -> None:
    found = law_of(formula, COLUMNS)
    assert replace(found, written="") == LAWS[name]
    assert found.shown == (formula.split("= ")[-1].replace("^", "**") if "*" in formula or "/" in formula else name)


def test_roles_of_coefficients() -> None:
    sums = law_of("c + a*N**-b", COLUMNS)
    assert [t.amplitude for t in sums.terms] == ["c", "a"]
    kaplan = law_of("E + ((A/N)**(alpha/beta) + B/D)**beta", COLUMNS)
    assert (kaplan.linear, kaplan.powers, dict(kaplan.scales)) == (("E",), ("alpha", "beta"), {"A": "N", "B": "D"})
    assert kaplan.bound("alpha") == LAWS["kaplan"].bound("alpha")
    line = law_of("a + b*log(N)", COLUMNS)
    assert line.signed == ("a", "b")
    rises = law_of("E + A*N**alpha", COLUMNS).up_to(2.0)
    assert rises.bound("alpha") == (-2.0, 2.0)
    shifted = law_of("E + k*(N + N0)**-g", COLUMNS)
    assert (shifted.linear, shifted.powers, dict(shifted.scales)) == (("E", "k"), ("g",), {"N0": "N"})


@pytest.mark.parametrize(
    ("formula", "sentence"),
    [
        ("E + A*N**-", "cannot be read at character 11, its end"),
        ("E + (A*N", "cannot be read at character 5"),
        ("E + A*prams**-alpha", "'prams' (character 7) is no column of the points; did you mean 'params'?"),
        ("E + A*N**-alpha + B*DD**-beta", "'B*DD**-beta' (character 19) holds no column, so B, DD, beta can't be told"),
        ("E + A*N**-alpha + B*DD**-beta", "did you mean 'D' by 'DD'?"),
        ("E + A*U**-x", "reads 'U' (character 7), and the points have no such column"),
        ("E + A*lgo(N)", "'lgo' (character 7) is no function that a formula may call; did you mean 'log'?"),
        ("__import__('os').system('true')*N", "is no function that a formula may call; a formula holds numbers"),
        ("A*N.real", "'N.real' (character 3) has no place in a formula"),
        ("[A for A in N]", "has no place in a formula"),
        ("A*N + 'x'", "is no number"),
        ("log + A*N", "'log' (character 1) is a function and needs an argument"),
        ("exp(N, 2)*A", "exp takes one argument"),
        ("A*N == 3", "has no place in a formula"),
        ("A + loss*N", "'loss' (character 5) is what the law explains"),
        ("E + A", "reads no column of the points"),
        ("2*N", "has no coefficient to fit"),
        ("jiont", "no law is called 'jiont'; did you mean 'joint'?"),
        ("(" * 300 + "N*A", "cannot be read"),
        ("A*N" + " + A*N" * 200, "characters; 500 are the most"),
    ],
)
def test_a_bad_formula_is_one_sentence(formula: str, sentence: str) -> None:
    with pytest.raises(BadPoints) as refused:
        law_of(formula, COLUMNS)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_reckoned_has_no_loss() -> None:
    points = pd.DataFrame({"N": [1e3, 1e4, 1e5], "loss": [3.0, 2.0, 1.5]})
    with pytest.raises(BadPoints, match="has no positive loss"):
        fit(law_of("9**9**9**9*A*N", COLUMNS), points)


@pytest.mark.parametrize(("objective", "optimum"), [("log-ls", None), ("huber", 0.0010182740178)])
def test_any_form_reaches_the_registry_s_optimum_on_published_points(objective: str, optimum: float | None) -> None:
    table = pd.read_csv(FIXTURES / "laws" / "chinchilla_epoch.csv").rename(columns={"L": "loss"})
    points = table[table["used240"] == 1]
    known = fit("joint", points, objective=objective, bootstrap=0, intervals=False)
    for formula in (GENERAL, "1.0*E + A*exp(-alpha*log(N)) + B*D**-beta"):
        found = fit(law_of(formula, COLUMNS), points, objective=objective, bootstrap=0, intervals=False)
        assert found.health.objective_value <= known.health.objective_value * (1 + 1e-10)
        for name, value in known.values().items():
            assert found[name] == pytest.approx(value, rel=1e-6)
    assert optimum is None or known.health.objective_value == pytest.approx(optimum, rel=1e-8)


def noisy(seed: int, noise: float) -> pd.DataFrame:
    """The ragged grid of nine cells, with a law of its own."""
    rng = np.random.default_rng(seed)
    cells = [(n, 2010.0) for n in np.geomspace(2e3, 4e5, 5)] + [(n, d) for n in (7e3, 2.8e4) for d in (200.0, 440.0)]
    N, D = (np.array(v) for v in zip(*cells, strict=True))
    loss = joint(N, D, E=0.3 * rng.random(), A=12, alpha=rng.uniform(0.15, 0.5), B=3, beta=rng.uniform(0.2, 0.6))
    return pd.DataFrame({"N": N, "D": D, "loss": loss * np.exp(noise * rng.standard_normal(len(N)))})


@pytest.mark.parametrize("seed", range(3))
def test_ends_of_intervals_and_their_kinds_are_those_of_the_batched_solver(seed: int) -> None:
    points = noisy(seed, 0.03)
    one, other = fit("joint", points), fit(law_of(GENERAL, COLUMNS), points)
    assert other.status == one.status
    for name in ("E", "alpha", "beta", "A_centre", "B_centre"):
        a, b = (f.coefficients.get(name) or f.derived[name] for f in (one, other))
        assert (b.low_end, b.high_end, b.status) == (a.low_end, a.high_end, a.status)
        assert (b.low, b.high) == pytest.approx((a.low, a.high), rel=2e-3, abs=1e-4, nan_ok=True)
    a, b = (f.predict(N=4e6, D=2e4) for f in (one, other))
    assert (b.low, b.high) == pytest.approx((a.low, a.high), rel=2e-3)


@pytest.mark.parametrize(
    ("name", "planted"),
    [
        ("repeated", {"R": 15.0}),
        ("repeated_excess", {"R": 15.0, "R_N": 5.3, "ratio": 0.5}),
        ("overfitting", {"G": 0.02, "delta": 0.4}),
    ],
)
def test_laws_of_repeated_data_come_back(name: str, planted: dict[str, float]) -> None:
    planted = {"E": 1.7, "A": 200.0, "alpha": 0.35, "B": 800.0, "beta": 0.38} | planted
    cells = [(n, u, e) for n in np.geomspace(1e6, 1e9, 5) for u in (1e7, 1e8, 1e9) for e in (1.0, 3.0, 10.0, 40.0)]
    N, U, epochs = (np.array(v, float) for v in zip(*cells, strict=True))
    law = LAWS[name]
    points = pd.DataFrame({"N": N, "U": U, "epochs": epochs, "loss": law(planted, N=N, U=U, epochs=epochs)})
    exact = fit(law, points, intervals=False)
    for coefficient, value in planted.items():
        assert exact[coefficient] == pytest.approx(value, rel=1e-6)
    once = law(planted, N=N, U=U, epochs=np.ones(len(N)))
    usual = {k: planted[k] for k in ("E", "A", "alpha", "B", "beta")}
    if name != "repeated_excess":  # data seen once is data
        assert once == pytest.approx(joint(N, U, **usual))


def test_an_interval_of_repeated_data_s_worth_holds_the_truth() -> None:
    planted = {"E": 1.7, "A": 200.0, "alpha": 0.35, "B": 800.0, "beta": 0.38, "R": 15.0}
    cells = [(n, u, e) for n in np.geomspace(1e6, 1e9, 5) for u in (1e7, 1e9) for e in (1.0, 4.0, 16.0, 40.0)]
    N, U, epochs = (np.array(v, float) for v in zip(*cells, strict=True))
    noise = np.exp(0.005 * np.random.default_rng(1).standard_normal(len(N)))
    loss = LAWS["repeated"](planted, N=N, U=U, epochs=epochs) * noise
    found = fit("repeated", pd.DataFrame({"N": N, "U": U, "epochs": epochs, "loss": loss}))
    assert found.status == "ok"
    for name in ("E", "alpha", "beta", "R"):
        c = found.coefficients[name]
        assert c.low < planted[name] < c.high
        assert c.high < 1.5 * c.low


def test_an_optimum_and_an_interval_that_end_at_a_knee() -> None:
    """Sizes are worth less from ``ratio * U`` on: the sum of squares has a knee at every ratio N/U of the points."""
    planted = {"E": 0.2, "A": 40.0, "alpha": 0.35, "B": 60.0, "beta": 0.4, "R": 8.0, "R_N": 5.0, "ratio": 2.0}
    cells = [(n * u, u, e) for n in (0.5, 2.0, 8.0, 32.0) for u in (1e4, 1e5, 1e6) for e in (1.0, 4.0, 16.0)]
    N, U, epochs = (np.array(v, float) for v in zip(*cells, strict=True))
    law = LAWS["repeated_excess"]
    points = pd.DataFrame({"N": N, "U": U, "epochs": epochs, "loss": law(planted, N=N, U=U, epochs=epochs)})
    assert fit(law, points, intervals=False)["ratio"] == pytest.approx(2.0, rel=1e-6)  # which is N/U of many points
    points["loss"] *= np.exp(0.02 * np.random.default_rng(0).standard_normal(len(points)))
    found = fit(law, points, intervals=False)
    assert isinstance(found.profiled, partial)
    place = found.profiled.args[0].names.index("ratio")
    ends = found.profiled([Entry(place, lambda c: c["ratio"])], 0.95)
    low, high, freedom = float(ends.low[0, 0]), float(ends.high[0, 0]), len(points) - len(planted)
    reach = 1 + float(special.stdtrit(freedom, 0.975)) ** 2 / freedom

    def least(ratio: float) -> float:  # of all laws with this ratio, in units of the optimum
        coefficients = tuple(name for name in law.coefficients if name != "ratio")
        scales = {name: unit for name, unit in law.scales.items() if name != "ratio"}
        function = partial(law.function, ratio=ratio)
        held = replace(law, name="held", function=function, coefficients=coefficients, scales=scales)
        return fit(held, points, intervals=False).health.objective_value / found.health.objective_value

    assert low < 2.0 < high
    for end in (low, high):
        assert least(end) == pytest.approx(reach, rel=2e-3)


def test_coefficients_that_points_cannot_tell_apart_say_so() -> None:
    points = noisy(0, 0.01)
    found = fit(law_of("E + A*(N/N0)**-alpha", COLUMNS), points)
    assert found.status == "unidentified"
    assert "N0 can't be known: no loss changes with it" in found.note
    assert found.coefficients["A"].note == "A can't be told from N0"
    assert found.derived["A_centre"].status != "unidentified"
    constant = points.assign(N=1e4)
    one_size = fit(law_of(GENERAL, COLUMNS), constant)
    assert one_size.coefficients["alpha"].status == "unidentified"
    assert one_size.predict(N=1e4, D=1e3).status != "unidentified"
    elsewhere = one_size.predict(N=1e6, D=1e3)
    assert (elsewhere.status, math.isnan(elsewhere.low)) == ("unidentified", True)
    assert "N takes one value in the points" in elsewhere.note


def test_the_numerical_optimum_is_the_closed_one() -> None:
    c = {"E": 0.3, "A": 12.0, "alpha": 0.35, "B": 3.0, "beta": 0.45}
    compute = Compute(180.0)
    at = log_optimum(LAWS["joint"], c, math.log(1e16), compute, (1e4, 1e8))
    assert at == pytest.approx(float(closed(c, 1e16, compute)[0]), abs=1e-9)
    step = log_optimum(LAWS["joint"], c | {"beta": 0.45 + 1e-30j}, math.log(1e16), compute, (1e4, 1e8))
    exact = closed(c | {"beta": 0.45 + 1e-30j}, 1e16, compute)[0]
    assert step.imag == pytest.approx(exact.imag, rel=1e-6)
    points = noisy(1, 0.005)
    one, other = fit("joint", points), fit(law_of("F + a*N**-x + b*D**-y", COLUMNS), points)
    tables = [allocate(found, 1e9).set_index("quantity") for found in (one, other)]
    for end in ("value", "low", "high"):
        assert tables[1][end].tolist() == pytest.approx(tables[0][end].tolist(), rel=5e-3)
    with pytest.raises(BadPoints, match="needs a law of N and D"):
        allocate(fit("size", points), 1e9)
