"""What pretraining is worth: planted transfer is found again, and what cannot be known is not claimed."""

import numpy as np
import pandas as pd
import pytest

from ecgscale.analysis.fitting.effective_data import by_task, curve, effective_data, replaced, replaced_data, task_name
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.table.build import exponents
from tests.planted import A_T, B_T, K, fewshot_points, planted_transfer


def test_planted_transfer_is_found_again() -> None:
    found, pairs = replaced_data(*planted_transfer(17))
    assert found["a_T"] == pytest.approx(A_T, abs=0.02)
    assert found["b_T"] == pytest.approx(B_T, abs=0.02)
    assert found["k"] == pytest.approx(K, rel=0.15)
    assert (pairs["D_T"] > 0).all()
    assert found.status == "ok"


def test_intervals_hold_the_truth_under_noise_and_know_how_little_was_measured() -> None:
    found, _ = replaced_data(*planted_transfer(9, noise=0.003))
    dense, _ = replaced_data(*planted_transfer(9, noise=0.003), n_samples=400)
    for name, truth in (("a_T", A_T), ("b_T", B_T)):
        c = found.coefficients[name]
        assert c.low < truth < c.high
        assert dense.coefficients[name].high - dense.coefficients[name].low == pytest.approx(c.high - c.low, rel=0.15)
    assert found.health.n_points <= 3 * 9


def test_one_size_tells_nothing_of_b_and_few_pairs_nothing_at_all() -> None:
    tuned, scratch = planted_transfer(9, sizes=(1e6,))
    found, _ = replaced_data(tuned, scratch)
    assert found.coefficients["b_T"].status == "unidentified"
    assert found.status == "unidentified"
    with pytest.raises(BadPoints, match="40 censored, 0 above, 0 no gain"):
        replaced_data(tuned.assign(loss=0.05), scratch)
    with pytest.raises(BadPoints, match="0 censored, 40 above"):
        replaced_data(tuned.assign(loss=9.0), scratch)


def test_pairs_say_why_they_cannot_be_counted() -> None:
    scratch = pd.DataFrame({"D": [100.0, 1000.0, 10000.0], "loss": [0.5, 0.3, 0.2]})
    tuned = pd.DataFrame({"D": [10.0, 100.0, 1000.0, 10000.0], "loss": [0.6, 0.4, 0.3, 0.1]})
    found = effective_data(curve(tuned), curve(scratch), tuned["D"].to_numpy())
    assert list(found["state"]) == ["above", "ok", "no gain", "censored"]
    assert 100 < found["D_E"].iloc[1] < 1000


def test_a_curve_is_made_monotone_and_averages_seeds() -> None:
    noisy = pd.DataFrame({"D": [10.0, 10.0, 100.0, 1000.0, 10000.0], "loss": [0.5, 0.7, 0.3, 0.34, 0.2]})
    smooth = curve(noisy)
    assert smooth.loss(10.0) == pytest.approx(0.6)
    assert smooth.loss(100.0) == pytest.approx(0.32)
    assert smooth.loss(1000.0) == pytest.approx(0.32)
    dense = smooth.loss(np.geomspace(10, 10000, 200)[1:-1])
    assert (np.diff(dense) <= 1e-12).all()
    assert smooth.data(0.32) == pytest.approx(100.0)  # the fewest that reach it
    assert smooth.data(float(smooth.loss(50.0))) == pytest.approx(50.0, rel=0.05)
    assert np.isnan(smooth.data(0.1))


def test_every_task_has_its_own_fit() -> None:
    found = {facts["target"]: attempt() for facts, attempt in replaced(fewshot_points(9))}
    assert set(found) == {"ptbxl-form", "ptbxl-rhythm", "echonext"}
    assert all(fit["b_T"] < 0 < fit["a_T"] for fit in found.values())
    assert task_name("mimic", "sex") == "mimic-sex"


def test_the_exponents_table_holds_them_and_mixes_no_start() -> None:
    table = exponents(fewshot_points().query("corpus == 'echonext'"), bootstrap=5)
    rows = table[table["law"] == "replaced"].set_index("coefficient")
    assert set(rows.index) == {"k", "a_T", "b_T"}
    assert set(rows["target"]) == {"echonext"}
    assert set(rows["configuration"]) == {"transformer-sl-tuned"}
    joint = table[table["law"] == "joint"].drop_duplicates("configuration").set_index("configuration")["n_points"]
    assert set(joint.index) == {"transformer-sl", "transformer-sl-tuned"}


def test_two_pretrained_runs_of_one_size_are_not_one_curve() -> None:
    mixed = fewshot_points().query("corpus == 'echonext'")
    mixed.loc[mixed.index[:2], "initial"] = "another"
    ((_, attempt),) = replaced(mixed)
    with pytest.raises(BadPoints, match="start from 2 different runs"):
        attempt()


def test_points_without_fine_tuning_have_no_tasks() -> None:
    assert list(by_task(fewshot_points().drop(columns="initial"))) == []
    assert list(by_task(fewshot_points().query("initial == ''"))) == []
