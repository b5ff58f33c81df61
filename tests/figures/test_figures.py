"""Figures draw what is there, say what is not, and come out the same twice."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from ecgscale.analysis.figures import FIGURES, SPECIAL, NoSuchFigure, across, draw, save
from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.figures.fitted import find, number_of
from ecgscale.analysis.figures.style import in_emptiest_corner
from tests import drawn
from tests.drawn import OWN, PARTIAL, TWO, WHY, words
from tests.planted import CONFIGURATIONS, DATA, JOINT, NO_POINTS, NO_TABLE, SIZES, planted_points, planted_table

OF_ANY_SWEEP = [name for name in FIGURES if name not in SPECIAL]
QUICK = ("scaling", "kappas", "learning", "contours", "exponents", "trajectories")
QUICK_FIRST = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in OF_ANY_SWEEP]


@pytest.fixture
def unlaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a figure shows does not hang on its layout, which takes most of the time."""
    monkeypatch.setattr(Page, "fix_layout", lambda page: None)


@pytest.mark.parametrize("name", OF_ANY_SWEEP)
def test_a_whole_sweep_draws_without_warnings_and_says_its_scale(name: str) -> None:
    drawn.check_whole_sweep(name, draw)


@pytest.mark.parametrize("case", drawn.CASES)
@pytest.mark.usefixtures("unlaid")
@pytest.mark.parametrize("name", OF_ANY_SWEEP)
def test_a_partial_sweep_is_drawn_without_what_it_lacks_or_says_why_not(name: str, case: str) -> None:
    drawn.check_partial_sweep(name, draw, case)


@pytest.mark.usefixtures("unlaid")
@pytest.mark.parametrize("name", QUICK_FIRST)
def test_every_configuration_is_in_every_figure(name: str) -> None:
    drawn.check_every_configuration(name, draw)


@pytest.mark.usefixtures("unlaid")
@pytest.mark.parametrize("name", QUICK_FIRST)
def test_one_configuration_alone_leaves_no_panel_empty(name: str) -> None:
    drawn.check_one_configuration_alone(name, draw)


@pytest.mark.parametrize(
    ("name", "case"),
    [("kappas", "no fits"), ("overlay", "no probes"), ("isoflop", "one size"), ("exponents", "no fits")],
)
def test_a_figure_with_nothing_to_show_is_not_drawn_and_says_why(name: str, case: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.png").write_bytes(b"of runs that are gone")
    points, table = PARTIAL[case]()
    assert save(name, points, table, tmp_path) == ([], [f"{name} is not drawn: {WHY[name, case]}"])
    assert not list(tmp_path.iterdir())


def test_the_pages_of_a_figure_are_files_of_their_own(tmp_path: Path) -> None:
    every = (*CONFIGURATIONS, *OWN)
    paths, lines = save("contours", planted_points(every), planted_table(every), tmp_path)
    assert [p.name for p in paths] == [f"contours{k}.{s}" for k in ("", "-2", "-3") for s in ("png", "csv")]
    assert lines == []
    save("contours", planted_points(), planted_table(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["contours.csv", "contours.png"]


def test_a_configuration_whose_runs_all_failed_is_named() -> None:
    points = planted_points(("resnet-sl",))
    points.attrs["lost"] = [{"sweep": "demo", "configuration": "gru-sl", "N": 1e5, "D": DATA[-1], "status": "oom"}]
    (page,) = draw("learning", points, NO_TABLE)
    assert "gru-sl: no finished runs" in page.missing


def test_the_same_input_gives_the_same_bytes_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn.check_every_format("transfer", save, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in OF_ANY_SWEEP if n != "transfer"])
def test_every_other_figure_comes_out_the_same_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn.check_twice(name, save, tmp_path, monkeypatch, ["png"])


def test_the_data_beside_a_figure_are_the_points_and_lines_that_it_shows() -> None:
    points = planted_points(("resnet-sl",))
    (page,) = draw("scaling", points, planted_table())
    assert "α = 0.45 [0.36, 0.54] · n 11 · R² 0.97" in words(page)
    table = page.data()
    runs = table.query("panel == 'R-SL, ID against N' and kind == 'run'")
    assert sorted(runs["x"]) == sorted(SIZES)
    full = points.query("domain == 'ID' and step > 0 and D == 2010").groupby("N")["loss"].min()
    np.testing.assert_allclose(runs.sort_values("x")["y"], full, rtol=1e-6)
    law = table.query("panel == 'R-SL, ID against N' and kind == 'law'")
    np.testing.assert_allclose(law["y"], 0.3 + 2.1 * 2010**-0.5 + 8.4 * law["x"] ** -0.45, rtol=1e-6)


def test_where_few_runs_leave_an_exponent_open_slices_of_the_joint_law_are_drawn() -> None:
    table = planted_table(("resnet-sl",))
    table = table[~((table["law"].isin(["size", "data"])) & (table["target"] == "ptbxl-sample"))]
    (page,) = draw("scaling", planted_points(("resnet-sl",), ragged=False), table)
    assert "joint α = 0.45 [0.36, 0.54]" in words(page)
    assert "joint β = 0.50 [0.40, 0.60]" in words(page)
    assert "slice of the joint law (Eq. 1)" in words(page)
    shown = page.data()
    for variable, (n, d) in {"N": (None, DATA[-1]), "D": (SIZES[-1], None)}.items():
        panel = shown.query(f"panel == 'R-SL, ID against {variable}'")
        line = panel.query("kind == 'slice of the joint law'").head(80)  # of the largest size
        N, D = (line["x"] if v is None else v for v in (n, d))
        np.testing.assert_allclose(line["y"], 0.3 + 8.4 * N**-0.45 + 2.1 * D**-0.5, rtol=1e-6)
        assert (panel["kind"] == "floor").sum() == 0


def test_a_bound_is_marked_and_never_drawn_as_a_result() -> None:
    points, table = planted_points(), planted_table()
    (joint,) = draw("compute", points, table)
    text = words(joint)
    assert "β at its lower bound" in text
    assert "of marginal compute to data" in text
    assert any("R-SSL" in m for m in joint.missing)
    panels = set(joint.data().query("kind == 'optimal size'")["panel"])
    assert "R-SSL" not in panels
    assert "R-SL" in panels


def test_where_no_law_of_the_task_is_known_the_plane_shows_the_one_in_distribution() -> None:
    points, table = planted_points(), planted_table()
    points.loc[points["target"] == "ptbxl-sample", "domain"] = "ID"
    outside = (table["law"] == "joint") & (table["target"] != "ptbxl-sample")
    table.loc[outside & (table["configuration"] == "resnet-sl"), "status"] = "unidentified"
    (page,) = draw("compute", points, table)
    panels = set(page.data().query("kind == 'optimal size'")["panel"])
    assert "R-SL, in distribution" in panels
    assert "T-SL" in panels
    assert "R-SL, in distribution" in words(page)


def test_the_optimal_size_on_the_plane_follows_the_closed_form() -> None:
    shown = (
        draw("compute", planted_points(), planted_table())[0].data().query("kind == 'optimal size' and panel == 'R-SL'")
    )
    slope = np.polyfit(np.log(shown["x"]), np.log(shown["y"]), 1)[0]
    assert slope == pytest.approx(JOINT["beta"] / (JOINT["alpha"] + JOINT["beta"]), rel=1e-6)


def test_a_number_reads_as_its_status_and_ends_say() -> None:
    row = {"coefficient": "alpha", "value": 0.4, "low": 0.3, "high": 0.5, "at_bound": "", "status": "ok", "note": ""}
    row |= {"low_end": "reached", "high_end": "reached"}
    assert number_of("size", row).text() == "α = 0.40 [0.30, 0.50]"
    above = row | {"high": math.inf, "high_end": "open", "status": "one-sided"}
    assert number_of("size", above).text() == "α = 0.40 (at least 0.30)"
    below = row | {"low": 0.005, "low_end": "bound", "status": "one-sided"}
    assert number_of("size", below).text() == "α = 0.40 (at most 0.50)"
    neither = row | {"low": math.nan, "high": math.nan, "low_end": "bound", "high_end": "bound"}
    assert "not identified" in number_of("size", neither | {"status": "unidentified"}).text()
    assert not number_of("size", row | {"status": "lack of fit"}).known
    floor = row | {"coefficient": "E", "value": 0.0, "low": 0.0, "high": 0.14, "at_bound": "low", "status": "bound"}
    assert "≤ 0.14" in number_of("joint", floor | {"low_end": "bound"}).text()


def test_a_formula_stands_where_it_covers_nothing() -> None:
    ax = Figure().add_subplot(xlim=(0, 1), ylim=(0, 1))
    ax.plot([0.05, 0.05, 0.95], [0.05, 0.95, 0.95], "o")
    plate = in_emptiest_corner(ax, "L = E")
    assert (plate.get_horizontalalignment(), plate.get_verticalalignment()) == ("right", "bottom")


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
    (page,) = across("comparison", points, table, ["demo", "other"])
    ratios = page.data().query("panel == 'ratio'")["y"]
    np.testing.assert_allclose(ratios, 1.1)
    assert "intervals overlap" in words(page)
    with pytest.raises(NoSuchFigure, match="takes two sweeps"):
        save("comparison", planted_points(), table, tmp_path)


def test_failed_runs_are_marked_where_they_lie() -> None:
    points = planted_points(("resnet-sl",))
    points.attrs["lost"] = [
        {"sweep": "demo", "configuration": "resnet-sl", "N": 1e5, "D": DATA[-1], "status": "oom"},
        {"sweep": "another", "configuration": "resnet-sl", "N": 3e4, "D": DATA[-1], "status": "oom"},
    ]
    shown = draw("scaling", points, planted_table())[0].data().query("kind == 'lost run'")
    assert set(shown.query("panel == 'R-SL, ID against N'")["x"]) == {1e5}
    assert set(shown["note"]) == {"oom"}


def test_a_line_never_runs_through_two_label_sets() -> None:
    points = planted_points(("resnet-sl",)).assign(label_set="code6")
    other = points[points["D"] == DATA[-1]].assign(label_set="icd927", run_id="other", loss=9.0)
    table = pd.concat([planted_table(("resnet-sl",)).assign(label_set=s) for s in ("icd927", "code6")])
    (page,) = draw("scaling", pd.concat([points, other]), table)
    assert (page.data()["y"].dropna() < 5).all()
    assert "resnet-sl pretrained on ptbxl-sample icd927 (1 runs)" in page.missing


def test_several_sweeps_make_a_folder_each(tmp_path: Path) -> None:
    points = pd.concat([planted_points(("resnet-sl",)).assign(sweep=s) for s in ("demo", "other")])
    paths, _ = save("learning", points, planted_table(), tmp_path)
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
    (page,) = draw("scaling", points, NO_TABLE)
    assert {"ViT-SSL, ID against N", "net1d-sl, ID against N"} <= set(page.data()["panel"])
