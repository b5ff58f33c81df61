"""Figures draw what is there, say what is not, and come out the same twice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.figures import FIGURES, NoSuchFigure, across, draw, save
from analysis.figures.fitted import find, number_of
from tests import drawn
from tests.drawn import TWO, words
from tests.planted import DATA, JOINT, NO_POINTS, NO_TABLE, SIZES, planted_points, planted_table


@pytest.mark.parametrize("name", FIGURES)
def test_a_whole_sweep_draws_without_warnings_and_says_its_scale(name: str) -> None:
    drawn.check_whole_sweep(name, draw)


@pytest.mark.parametrize("case", drawn.CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_partial_sweep_draws_and_says_what_is_missing(name: str, case: str) -> None:
    drawn.check_partial_sweep(name, draw, case)


def test_the_same_input_gives_the_same_bytes_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn.check_twice("transfer", save, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FIGURES if n != "transfer"])
def test_every_other_figure_comes_out_the_same_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn.check_twice(name, save, tmp_path, monkeypatch)


def test_the_data_beside_a_figure_are_the_points_and_lines_that_it_shows() -> None:
    points = planted_points(("resnet-sl",))
    plate = draw("scaling", points, planted_table())
    assert "α = 0.45 [0.36, 0.54] · n 11 · R² 0.97" in words(plate)
    table = plate.data()
    runs = table.query("panel == 'R-SL, ID against N' and kind == 'run'")
    assert sorted(runs["x"]) == sorted(SIZES)
    full = points.query("domain == 'ID' and step > 0 and D == 2010").groupby("N")["loss"].min()
    np.testing.assert_allclose(runs.sort_values("x")["y"], full, rtol=1e-6)
    law = table.query("panel == 'R-SL, ID against N' and kind == 'law'")
    np.testing.assert_allclose(law["y"], 0.3 + 2.1 * 2010**-0.5 + 8.4 * law["x"] ** -0.45, rtol=1e-6)


def test_a_bound_is_marked_and_never_drawn_as_a_result() -> None:
    points, table = planted_points(), planted_table()
    joint = draw("compute", points, table)
    text = words(joint)
    assert "β at its lower bound" in text
    assert "of marginal compute to data" in text
    assert any("R-SSL" in m for m in joint.missing)
    panels = set(joint.data().query("kind == 'optimal size'")["panel"])
    assert "R-SSL" not in panels
    assert "R-SL" in panels


def test_the_optimal_size_on_the_plane_follows_the_closed_form() -> None:
    shown = (
        draw("compute", planted_points(), planted_table()).data().query("kind == 'optimal size' and panel == 'R-SL'")
    )
    slope = np.polyfit(np.log(shown["x"]), np.log(shown["y"]), 1)[0]
    assert slope == pytest.approx(JOINT["beta"] / (JOINT["alpha"] + JOINT["beta"]), rel=1e-6)


def test_an_interval_as_wide_as_allowed_reads_as_not_identified() -> None:
    row = {"coefficient": "alpha", "value": 0.4, "low": 0.005, "high": 3.0, "at_bound": "", "status": "ok", "note": ""}
    assert not number_of("size", row).known
    assert "not identified" in number_of("size", row).text()
    narrow = number_of("size", row | {"low": 0.3, "high": 0.5})
    assert narrow.text() == "α = 0.40 [0.30, 0.50]"
    assert number_of("size", row | {"low": 0.3}).text() == "α = 0.40 [0.30, ≥3.00]"


def test_failed_fits_are_not_found() -> None:
    table = planted_table()
    table["coefficient"] = ""
    assert find(table, "joint", "resnet-sl", "ptbxl-sex") == []


def test_two_sweeps_stand_beside_each_other(tmp_path: Path) -> None:
    worse = planted_points().assign(
        sweep="other", loss=lambda t: 1.1 * t["loss"], loss_val=lambda t: 1.1 * t["loss_val"]
    )
    points = pd.concat([planted_points(), worse])
    table = pd.concat([planted_table(), planted_table().assign(sweep="other")])
    plate = across("comparison", points, table, ["demo", "other"])
    ratios = plate.data().query("panel == 'ratio'")["y"]
    np.testing.assert_allclose(ratios, 1.1)
    assert "intervals overlap" in words(plate)
    with pytest.raises(NoSuchFigure, match="takes two sweeps"):
        save("comparison", planted_points(), table, tmp_path)


def test_failed_runs_are_marked_where_they_lie() -> None:
    points = planted_points(("resnet-sl",))
    points.attrs["lost"] = [
        {"sweep": "demo", "configuration": "resnet-sl", "N": 1e5, "D": DATA[-1], "status": "oom"},
        {"sweep": "another", "configuration": "resnet-sl", "N": 3e4, "D": DATA[-1], "status": "oom"},
    ]
    shown = draw("scaling", points, planted_table()).data().query("kind == 'lost run'")
    assert set(shown.query("panel == 'R-SL, ID against N'")["x"]) == {1e5}
    assert set(shown["note"]) == {"oom"}


def test_a_line_never_runs_through_two_label_sets() -> None:
    points = planted_points(("resnet-sl",)).assign(label_set="code6")
    other = points[points["D"] == DATA[-1]].assign(label_set="icd927", run_id="other", loss=9.0)
    table = pd.concat([planted_table(("resnet-sl",)).assign(label_set=s) for s in ("icd927", "code6")])
    plate = draw("scaling", pd.concat([points, other]), table)
    assert (plate.data()["y"].dropna() < 5).all()
    assert "resnet-sl pretrained on ptbxl-sample icd927 (1 runs)" in plate.missing


def test_several_sweeps_make_a_folder_each(tmp_path: Path) -> None:
    points = pd.concat([planted_points(("resnet-sl",)).assign(sweep=s) for s in ("demo", "other")])
    paths = save("learning", points, planted_table(), tmp_path)
    assert {p.parent.name for p in paths} == {"demo", "other"}


def test_a_mistyped_name_or_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(NoSuchFigure, match="did you mean 'scaling'"):
        draw("scalling", NO_POINTS, NO_TABLE)
    with pytest.raises(NoSuchFigure, match="did you mean 'png'"):
        save("scaling", NO_POINTS, NO_TABLE, Path("unused"), ["pngs"])


def test_drawing_leaves_the_users_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw("learning", planted_points(("resnet-sl",)), NO_TABLE)
    assert dict(matplotlib.rcParams) == before


def test_models_of_other_kinds_are_drawn_where_the_papers_four_were_not_measured() -> None:
    points = planted_points(TWO).replace({"configuration": dict(zip(TWO, ("vit-ssl", "net1d-sl"), strict=True))})
    plate = draw("scaling", points, NO_TABLE)
    assert {"vit-ssl, ID against N", "net1d-sl, ID against N"} <= set(plate.data()["panel"])
