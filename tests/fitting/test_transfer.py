"""Transfer between losses: the published kappa, honest intervals when floors are uncertain, the paper's bound hits."""

import numpy as np
import pandas as pd
import pytest

from analysis.fitting.fit import BadPoints, fit
from analysis.fitting.laws import joint
from analysis.fitting.transfer import bound_hits, loss_to_loss
from analysis.planning.coverage import designs
from analysis.table.build import summary
from analysis.table.query import REFERENCE
from tests.paths import FIXTURES

LAWS = FIXTURES / "laws"


def published() -> tuple[pd.DataFrame, pd.Series]:
    """Losses of the two corpora at equal D, as the published pairing has it, and the published answer."""
    reference = pd.read_csv(LAWS / "loss2loss_kappa_ref.csv").iloc[0]
    sweep = pd.read_csv(LAWS / "loss2loss_sweep.csv")
    inside = sweep[sweep["data"] == reference["data0"]][["N", "D", "val_loss"]].rename(columns={"val_loss": "loss_id"})
    outside = sweep[sweep["data"] == reference["data1"]][["D", "val_loss"]].rename(columns={"val_loss": "loss_ood"})
    return inside.merge(outside, on="D"), reference


def test_the_published_kappa_with_its_floors_given() -> None:
    both, reference = published()
    found = loss_to_loss(both, reference["E0"], reference["E1"])
    assert found["kappa"] == pytest.approx(reference["kappa"], abs=1e-9)
    assert found["K"] == pytest.approx(reference["K"], abs=1e-9)
    assert found.interval == "t, floors given"


def test_floors_refitted_give_an_honest_wider_interval() -> None:
    both, reference = published()
    given = loss_to_loss(both, reference["E0"], reference["E1"]).coefficients["kappa"]
    refitted = loss_to_loss(both, bootstrap=400).coefficients["kappa"]
    assert 3 < (refitted.high - refitted.low) / (given.high - given.low) < 9
    assert refitted.low < reference["kappa"] < refitted.high


def test_losses_below_a_floor_are_left_out_and_counted() -> None:
    both, reference = published()
    floor = float(np.sort(both["loss_id"])[2])
    found = loss_to_loss(both, floor, reference["E1"])
    assert found.health.excluded == {"loss at or below a floor": 3}
    assert "3 with a loss at or below a floor" in found.note
    with pytest.raises(BadPoints, match="0 of"):
        loss_to_loss(both, 100.0, 0.0)
    clipped = loss_to_loss(both, floor, reference["E1"], clip=1e-6)
    assert clipped.health.excluded == {}


def test_a_planted_kappa_is_recovered_with_its_floors() -> None:
    grid = designs()["full"]
    loss_id = joint(grid["N"], grid["D"], E=0.05, A=3.0, alpha=0.35, B=20.0, beta=0.45)
    both = grid.assign(loss_id=loss_id, loss_ood=0.1 + 0.5 * (loss_id - 0.05))
    found = loss_to_loss(both, bootstrap=50)
    assert found["kappa"] == pytest.approx(1.0, rel=1e-5)
    assert found["E_ood"] == pytest.approx(0.1, rel=1e-5)
    free = fit(
        "transfer", pd.DataFrame({"loss_id": loss_id, "loss_ood": 0.1 + 0.5 * (loss_id - 0.05) ** 0.6}), bootstrap=20
    )
    assert free["kappa"] == pytest.approx(0.6, rel=1e-4)
    assert free["E_id"] == pytest.approx(0.05, rel=1e-3)


def test_a_flat_transfer_is_a_bound_hit() -> None:
    rng = np.random.default_rng(0)
    x = np.geomspace(0.06, 0.4, 20)
    both = pd.DataFrame({"loss_id": x, "loss_ood": 0.3 + 0.01 * rng.uniform(size=20)})
    found = loss_to_loss(both, 0.05, 0.1)
    assert found["kappa"] == 0.05
    assert found.coefficients["kappa"].at_bound == "low"
    assert found.status == "bound"


def test_table_s7_its_means_and_its_bound_hits() -> None:
    table = pd.read_csv(REFERENCE / "table_s7.csv")
    assert bound_hits(table["kappa"].to_numpy()).sum() == 8
    assert table.groupby("configuration")["kappa"].apply(lambda k: bound_hits(k.to_numpy()).sum()).tolist() == [2] * 4
    hit = bound_hits(table["kappa"].to_numpy())
    long = table.assign(coefficient="kappa", value=table["kappa"], at_bound=np.where(hit, "low", ""))
    means = summary(long).set_index(["configuration", "rows"])
    printed = {
        "transformer-sl": (0.128, 0.118),
        "resnet-sl": (0.133, 0.056),
        "transformer-ssl": (0.466, 0.405),
        "resnet-ssl": (0.270, 0.143),
    }
    for configuration, (mean, std) in printed.items():
        assert means.loc[(configuration, "all"), "mean"] == pytest.approx(mean, abs=6e-4)
        assert means.loc[(configuration, "all"), "std"] == pytest.approx(std, abs=6e-4)
        assert means.loc[(configuration, "off the bounds"), "n"] == 9


def test_kappa_is_not_known_where_its_floors_are_not() -> None:
    """Two sizes and two data sizes tell no floor, however well a line fits."""
    points = pd.DataFrame({"N": [1e5, 1e6, 1e5, 1e6], "D": [1e3, 1e3, 1e4, 1e4]})
    points["loss_id"] = 0.1 + 2 * points["N"] ** -0.3 + 3 * points["D"] ** -0.4
    points["loss_ood"] = 0.2 + 0.5 * (points["loss_id"] - 0.1) ** 0.4
    found = loss_to_loss(points, bootstrap=20)
    assert found.status == "unidentified"
    assert found.note
