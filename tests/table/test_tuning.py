"""Settings that were tried in one cell: the best by validation stands for it, and an edge of those tried is said."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import records
from ecgscale.analysis.fitting.fit import fit
from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.observations import observations, trajectories
from ecgscale.analysis.planning.coverage import PLANTED
from ecgscale.analysis.table.build import exponents

RATES = {0.001: 1.3, 0.003: 1.1, 0.01: 1.0, 0.03: 1.6}  # learning rate and what it multiplies the loss by
CELLS = [(n, d) for n in (3e4, 2e5, 1e6, 5e6) for d in (2e3, 2e4, 2e5, 2e6)]


def write_cells(results: Path, rates: dict[float, float], seeds: int = 1) -> None:
    rng = np.random.default_rng(1)
    for n, d in CELLS:
        for rate, factor in rates.items():
            for seed in range(seeds):
                told = {"schedule": {"lr": rate, "steps": 400}, "size": int(n), "samples": int(d)}
                told |= {"seed": seed} if seed else {}
                description = records.canonical(told)
                run_id = records.run_id_of(description)
                # The rate that is too high does well on the test split alone: it must not be chosen by it.
                test = 0.5 if rate == max(rates) and len(rates) > 1 else 1.0
                loss = float(joint(n, d, **PLANTED)) * factor * math.exp(0.003 * rng.standard_normal())
                shared = {
                    "sweep": "tuned", "run_id": run_id, "configuration": "resnet-sl", "corpus": "code", "seed": seed,
                    "label_set": "all", "initial": "", "n_params": int(n), "n_samples": int(d), "batch_size": 64,
                    "macs_per_sample": int(30 * n), "metric": "loss", "fraction": d / 2e6,
                }  # fmt: skip
                rows = [
                    shared
                    | {"step": step, "flops": 1e3 * n * step, "target": target, "domain": domain, "split": split}
                    | {"value": loss * (3 if step == 0 else 1) * times * (test if split == "test" else 1.0)}
                    for step in (0, 400)
                    for target, domain, times in (("code", "ID", 1.0), ("cpsc2018", "OOD", 2.0))
                    for split in ("val", "test")
                ]
                records.write(records.path_of(results, "tuned", run_id), rows, description, {"status": "done"})


@pytest.fixture(scope="module")
def four_rates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_cells(folder, RATES)
    return folder


def test_four_learning_rates_a_cell_give_the_law_of_the_best(four_rates: Path, tmp_path: Path) -> None:
    found, best = observations(four_rates), tmp_path / "best"
    assert len(found) == 2 * len(CELLS)
    assert set(found["n_tried"]) == {4}
    assert set(found["at_edge"]) == {""}  # 0.01 lies between 0.003 and 0.03
    write_cells(best, {0.01: 1.0})
    alone = observations(best)
    assert set(alone["n_tried"]) == {1}
    one_rate = tmp_path / "one"
    write_cells(one_rate, {0.001: 1.3})
    laws = [fit("joint", p[p["target"] == "code"]) for p in (found, alone, observations(one_rate))]
    assert [law["E"] for law in laws] == pytest.approx([0.05, 0.05, 0.065], rel=0.05)
    assert laws[2].coefficients["E"].low > laws[0].coefficients["E"].high
    everything = trajectories(four_rates).query("step > 0 and target == 'code'")
    assert fit("joint", everything).health.rmse_log > 10 * laws[0].health.rmse_log  # a law of all four is nobody's


def test_the_best_at_the_edge_is_a_column_a_status_and_a_note(tmp_path: Path) -> None:
    write_cells(tmp_path, {rate: RATES[rate] for rate in (0.003, 0.01)}, seeds=2)
    found = observations(tmp_path)
    assert len(found) == 2 * 2 * len(CELLS)  # both seeds of the best
    assert set(found["n_tried"]) == {2}
    assert set(found["at_edge"]) == {"lr 0.01 is the largest of 2"}
    table = exponents(found)
    alpha = table[(table["law"] == "joint") & (table["coefficient"] == "alpha") & (table["target"] == "code")].iloc[0]
    assert alpha["status"] == "edge of tuning"
    assert "the best of up to 2 settings in 16 of 16 cells, in 16 at the edge" in alpha["note"]
    assert (alpha["n_tried"], alpha["at_edge"]) == (2, "16 of 16 cells: lr 0.01 is the largest of 2")
    kappa = table[(table["law"] == "transfer") & (table["coefficient"] == "kappa")].iloc[0]
    assert kappa["status"] == "edge of tuning"


def test_seeds_alone_are_replicates(tmp_path: Path) -> None:
    write_cells(tmp_path, {0.01: 1.0}, seeds=2)
    found = observations(tmp_path)
    assert len(found) == 2 * 2 * len(CELLS)
    assert set(found["n_tried"]) == {1}
    law = fit("joint", pd.DataFrame(found[found["target"] == "code"]))
    assert (law.health.n_points, law.health.n_cells) == (2 * len(CELLS), len(CELLS))
