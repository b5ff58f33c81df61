"""Adaptive design: what a run would teach is reckoned rightly, and buying by it saves compute on planted laws."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecgscale import records
from ecgscale.analysis.figures.design import draw
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import LAWS
from ecgscale.analysis.planning import adaptive
from ecgscale.analysis.planning.adaptive import centre_of, exchanged, known, propose, suggest
from ecgscale.analysis.planning.adaptive_vs_grid import DESIGNS, compare_designs, planted_laws, reached
from ecgscale.analysis.planning.coverage import PLANTED, simulate
from ecgscale.analysis.study.constants import N_FULL
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import load
from tests.paths import HOUSE
from tests.shell import Shell

SIZES = np.geomspace(25e3, 100e6, 10)
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
COST = 1e11  # FLOP a parameter


def table(cells: list[tuple[float, float]]) -> pd.DataFrame:
    frame = pd.DataFrame(cells, columns=["N", "D"]).assign(D=lambda t: t["D"] * N_FULL)
    return frame.assign(flops=frame["N"] * COST, left=adaptive.SEEDS)


CANDIDATES = table([(n, float(f)) for n in SIZES for f in np.geomspace(0.01, 1, 13)])
# The paper's grid: all sizes at all the data, some at every fraction.
GRID = table([(n, 1.0) for n in SIZES] + [(n, f) for n in SIZES[[1, 3, 5, 7]] for f in FRACTIONS[:-1]])


def losses_of(cells: pd.DataFrame, noise: float = 0.01, seed: int = 0) -> pd.DataFrame:
    clean = LAWS["joint"](PLANTED, N=cells["N"], D=cells["D"])
    return cells.assign(loss=clean * np.exp(noise * np.random.default_rng(seed).standard_normal(len(cells))))


def test_sensitivities_are_derivatives() -> None:
    phi, n, d = adaptive.PRIOR_MEAN, np.array([-3.0, 0.0, 2.0]), np.array([1.0, -2.0, 0.5])
    exact = adaptive._sensitivity(phi, n, d)
    for i, step in enumerate(1e-6 * np.eye(5)):
        numeric = (adaptive._log_loss(phi + step, n, d) - adaptive._log_loss(phi - step, n, d)) / 2e-6
        np.testing.assert_allclose(exact[:, i], numeric, rtol=1e-6, atol=1e-9)


def test_a_quantity_s_gradient_is_its_derivative() -> None:
    c = np.array([0.1, 0.2, 0.4, 0.3, 0.25])
    for quantity in adaptive.QUANTITIES.values():
        for i, step in enumerate(1e-6 * np.eye(5)):
            numeric = (quantity.value(c * np.exp(step)) - quantity.value(c * np.exp(-step))) / 2e-6
            assert quantity.gradient(c)[i] == pytest.approx(numeric, abs=1e-8)


def test_what_is_known_after_buying_is_what_all_runs_say_together() -> None:
    before = known(losses_of(GRID), centre_of(CANDIDATES))
    bought, after = propose(CANDIDATES, before, 3e18)
    n, d = (np.log(bought[v].to_numpy()) - c for v, c in zip(("N", "D"), before.centre, strict=True))
    new = adaptive._sensitivity(np.log(before.c), n, d)
    whole = np.linalg.inv(np.linalg.inv(before.covariance) + new.T @ new / before.noise**2)
    np.testing.assert_allclose(after.covariance, whole, rtol=1e-6)
    assert after.n_runs == len(GRID) + len(bought)
    assert bought["alpha_high"].iloc[-1] == pytest.approx(after.interval("alpha")[1])


def test_budget_seeds_and_number_of_runs_are_kept_to() -> None:
    nothing = known(pd.DataFrame(columns=["N", "D", "loss"], dtype=float), centre_of(CANDIDATES))
    bought, _ = propose(CANDIDATES, nothing, 1e18)
    assert bought["flops"].sum() <= 1e18
    assert bought.groupby(["N", "D"]).size().max() <= adaptive.SEEDS
    few, _ = propose(CANDIDATES, nothing, 1e18, n_runs=7)
    assert len(few) == 7
    assert few["flops"].sum() <= 1e18
    assert few["flops"].mean() > bought["flops"].mean()  # where runs are scarce they may be larger
    with pytest.raises(BadPoints, match="buys no run: the cheapest costs"):
        propose(CANDIDATES, nothing, 1e12)
    with pytest.raises(BadPoints, match="no design for 'alhpa'; did you mean 'alpha'"):
        propose(CANDIDATES, nothing, 1e18, ["alhpa"])


def test_exchanging_runs_narrows_what_is_wanted_within_the_budget() -> None:
    narrower = []
    for seed in range(5):
        before = known(losses_of(GRID, seed=seed).sample(6 + seed, random_state=seed), centre_of(CANDIDATES))
        greedy, first = propose(CANDIDATES, before, 1e18)
        better, after = exchanged(CANDIDATES, before, greedy, 1e18)
        assert better["flops"].sum() <= 1e18
        assert len(better) == len(greedy)
        assert better.groupby(["N", "D"]).size().max() <= adaptive.SEEDS
        narrower.append(np.prod([after.spread(q) / first.spread(q) for q in adaptive.WANTED]))
    assert max(narrower) <= 1 + 1e-9
    assert min(narrower) < 0.999


def narrowest(cells: pd.DataFrame, before: adaptive.Knowledge, size: int) -> float:
    """Product of the wanted standard deviations after the best of all sets of so many cells."""
    n, d = (np.log(cells[v].to_numpy(float)) - c for v, c in zip(("N", "D"), before.centre, strict=True))
    spoken = adaptive._sensitivity(np.log(before.c), n, d) / before.noise
    sets = np.array(list(itertools.combinations(range(len(cells)), size)))
    each = np.einsum("skp,skq->spq", spoken[sets], spoken[sets])
    return float(deviations(before.c, np.linalg.inv(np.linalg.inv(before.covariance) + each)).min())


def deviations(c: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    gradients = np.array([adaptive.QUANTITIES[q].gradient(c) for q in adaptive.WANTED])
    return np.sqrt(np.einsum("qp,...pr,qr->...q", gradients, covariance, gradients).prod(-1))


def test_exchanged_runs_are_as_good_as_the_best_of_all_sets() -> None:
    """Four of 19 cells, after three or six runs: all 3876 sets against greedy buying and the exchanges after it."""
    cells = CANDIDATES.iloc[::7].assign(left=1, flops=1.0).reset_index(drop=True)
    wider = []
    for n_runs, seed in itertools.product((3, 6), range(3)):
        done = losses_of(GRID, noise=0.02, seed=seed).sample(n_runs, random_state=seed)
        before = known(done, centre_of(CANDIDATES))
        greedy, first = propose(cells, before, 1e3, n_runs=4)
        _, after = exchanged(cells, before, greedy, 1e3)
        best = narrowest(cells, before, 4)
        wider.append([float(deviations(k.c, k.covariance)) / best - 1 for k in (first, after)])
    bought, swapped = np.array(wider).T
    assert swapped.min() > -1e-9
    assert swapped.max() < 0.01
    assert bought.max() > 0.1


def test_expected_intervals_are_those_that_fits_have() -> None:
    widths = simulate(GRID, PLANTED, n_sweeps=60).set_index("quantity")["width"]
    ratios = []
    for seed in range(8):
        knowledge = known(losses_of(GRID, seed=seed), centre_of(GRID))
        for name in adaptive.QUANTITIES:
            low, high = knowledge.interval(name)
            ratios.append((high - low) / widths[name])
    assert 0.8 < np.median(ratios) < 1.2


def test_nothing_known_then_much_known() -> None:
    none = pd.DataFrame(columns=["N", "D", "loss"], dtype=float)
    bought, intervals = suggest(none, CANDIDATES, 1e19, ["alpha", "allocation"], 20)
    assert intervals["measured_low"].isna().all()
    assert intervals["now_low"].isna().all()
    assert bought["N"].nunique() >= 3
    assert bought["D"].nunique() >= 3
    _, later = suggest(losses_of(bought), CANDIDATES, 1e19, ["alpha", "allocation"], 20)
    now = later.set_index("quantity").loc["alpha"]
    assert now["measured_low"] < PLANTED["alpha"] < now["measured_high"]
    assert now["after_high"] - now["after_low"] < now["now_high"] - now["now_low"]


def test_planted_laws_are_in_range_and_repeat() -> None:
    laws = planted_laws(GRID, 30)
    assert laws == planted_laws(GRID, 30)
    assert all(0.15 <= law[name] <= 0.8 for law in laws for name in ("alpha", "beta"))


@pytest.mark.slow
def test_adaptive_design_needs_half_of_the_grid_s_compute_at_most() -> None:
    compared = compare_designs(GRID, CANDIDATES, n_laws=3)
    arrived = reached(compared)
    median = arrived.groupby("design")["flops"].median()
    assert median[DESIGNS[1]] <= 0.25
    assert median[DESIGNS[2]] <= 0.5
    limited = compared[compared["design"] == DESIGNS[2]]
    assert limited["n_runs"].max() <= len(GRID)
    whole = compared[(compared["design"] == DESIGNS[0]) & (compared["n_runs"] == len(GRID))]
    assert whole["flops"].to_numpy() == pytest.approx(1.0)
    assert whole["alpha"].median() == pytest.approx(1.0, abs=0.15)  # the same grid, drawn anew
    assert compared["alpha_covered"].mean() > 0.8
    page = draw(compared, "test")
    shown = page.data()
    assert set(shown["panel"]) == {"alpha", "beta", "arrival"}
    assert any("Simulated" in text.get_text() for text in page.texts)


def test_suggested_runs_can_be_pasted_into_the_sweep(shell: Shell) -> None:
    asked = ("suggest", "mine", "--budget", "1e12", "--configuration", "R-SL", "--runs", "4")
    answered = shell.type(*asked, "--json")
    assert answered.returncode == 0, answered.stderr
    document = json.loads(answered.stdout)
    assert {row["quantity"] for row in document["intervals"]} == {"alpha", "beta"}
    assert len(document["runs"]) == 4
    assert sum(row["flops"] for row in document["runs"]) <= 1e12
    shown = shell.type(*asked)
    assert "nothing is measured yet, so the prior stands in" in shown.stderr
    assert "--code >> sweeps/mine.py" in shown.stderr.replace("\n", "")
    file = shell.folder / "sweeps" / "mine.py"
    before = load(str(file))
    file.write_text(file.read_text() + shell.type(*asked, "--code").stdout)
    after = load(str(file))
    assert after.runs[: len(before.runs)] == before.runs
    assert {row["run_id"] for row in document["runs"]} <= {run.run_id for run in after.runs}
    new = [row for row in document["runs"] if not row["in_sweep"]]
    assert len(after.runs) == len(before.runs) + len(new) > len(before.runs)


def test_what_is_done_counts_and_is_not_proposed_again(shell: Shell) -> None:
    file = shell.folder / "sweeps" / "mine.py"
    asked = ("suggest", str(file), "--budget", "1e12", "--configuration", "resnet-sl", "--json")
    first = json.loads(shell.type(*asked).stdout)
    done = [run for run in load(str(file)).runs if run.configuration == "resnet-sl"]
    assert {run.run_id for run in done} <= {row["run_id"] for row in first["runs"]}
    for run in done:
        measure(run, shell.folder / "results")
    second = json.loads(shell.type(*asked).stdout)
    assert [row["n_runs"] for row in second["intervals"]] == [2, 2]
    assert not {run.run_id for run in done} & {row["run_id"] for row in second["runs"]}
    shown = shell.type(*asked[:-1])
    assert "alpha not known from 2 runs; then expected:" in " ".join(shown.stderr.split())
    assert "the prior stands in" not in shown.stderr


def measure(run: Run, results: Path) -> None:
    """A results file as a run leaves it: in-distribution losses at one step."""
    identity: dict[str, Any] = dict.fromkeys(records.SCHEMA.names)
    identity |= {"sweep": "mine", "run_id": run.run_id, "configuration": run.configuration, "corpus": run.slice.corpus}
    identity |= {"fraction": run.slice.fraction, "label_set": run.slice.label_set, "n_labels": 1, "seed": run.seed}
    identity |= {"n_params": 1000, "n_samples": round(100 * run.slice.fraction), "macs_per_sample": 1, "batch_size": 8}
    at = identity | {"step": 4, "flops": 1e9, "target": run.slice.corpus, "domain": "ID", "metric": "loss"}
    rows = [at | {"split": split, "value": 0.5 + 0.1 / run.slice.fraction} for split in ("val", "test")]
    records.write(records.path_of(results, "mine", run.run_id), rows, run.description, {"status": "done"})


def test_a_race_in_which_nobody_arrives_is_drawn() -> None:
    looks = [(design, share, 2.0, 3.0) for design in DESIGNS for share in (0.1, 0.5, 1.0)]
    race = pd.DataFrame(looks, columns=["design", "flops", "alpha", "beta"]).assign(law=0, n_runs=9)
    assert np.isinf(reached(race)["flops"]).all()
    page = draw(race, "a grid")
    assert page.axes[2].get_xlim()[1] >= 1.35  # the mark of those that did not arrive


@pytest.mark.slow
def test_the_race_of_a_sweep_is_run_and_drawn(shell: Shell) -> None:
    demo = str(HOUSE / "sweeps" / "demo.py")
    asked = ("simulate", demo, "--adaptive", "--laws", "1", "--configuration", "R-SL", "--figure", "drawn")
    ended = shell.type(*asked)
    assert ended.returncode == 0, ended.stderr
    assert "drawn/design.png" in ended.stdout
    assert (shell.folder / "drawn" / "design.csv").stat().st_size > 1000
    assert "nothing of this enters results" in ended.stderr
    assert not (shell.folder / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--budget", "1e12", "--for", "gama"], "no design for 'gama'; there are alpha"),
        (["--budget", "1e12", "--target", "ludb-rythm"], "did you mean 'ludb-rhythm'?"),
        (["--budget", "1"], "FLOP buys no run: the cheapest costs"),
        (["--budget", "1e12", "--configuration", "resnet-ls"], "did you mean 'resnet-sl'?"),
    ],
)
def test_a_question_that_makes_no_sense_is_one_sentence(shell: Shell, arguments: list[str], sentence: str) -> None:
    ended = shell.type("suggest", "mine", *arguments)
    assert ended.returncode == 2
    assert sentence in " ".join(ended.stderr.split())
