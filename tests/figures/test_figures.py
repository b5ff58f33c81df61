"""Figures draw what is there, say what is not, and come out the same twice."""

import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from analysis.figures import style
from analysis.figures.figure import DATA_COLUMNS, Page
from analysis.figures.fitted import find, number_of
from analysis.fitting import bands
from analysis.study.figures import FIGURES, NoSuchFigure, across, draw, reference, save, save_reference
from analysis.table.query import COLUMNS

CONFIGURATIONS = ("transformer-sl", "transformer-ssl", "resnet-sl", "resnet-ssl")
TASKS = ("ptbxl-superdiagnostic", "ludb-rhythm", "ptbxl-sex")
SIZES, DATA = (2e3, 8e3, 3e4, 1e5, 4e5), (200.0, 440.0, 940.0, 2010.0)
JOINT = {"E": 0.3, "A": 12.0, "alpha": 0.45, "B": 3.0, "beta": 0.5}
BETTER = {"transformer-sl": 1.0, "transformer-ssl": 0.9, "resnet-sl": 0.7, "resnet-ssl": 0.8}  # factor on A and B


def planted_points(configurations: tuple[str, ...] = CONFIGURATIONS) -> pd.DataFrame:
    """Checkpoints of a ragged grid whose last losses follow Eq. 1, in distribution and (kappa = 1) elsewhere."""
    rows = []
    for c, name in enumerate(configurations):
        k = BETTER[name]
        grid = [(n, DATA[-1]) for n in SIZES] + [(n, d) for n in SIZES[1:3] for d in DATA[:-1]]
        for i, (n, d) in enumerate(grid):
            for step in (0, 40, 80, 120):
                inside = 0.3 + k * (12 * n**-0.45 + 3 * d**-0.5) + 0.2 * (1 - step / 120)
                for t, target in enumerate(("ptbxl-sample", *TASKS)):
                    loss = inside if t == 0 else 0.2 + 0.05 * t + 0.5 * (inside - 0.3)
                    rows.append(
                        {
                            "sweep": "demo",
                            "run_id": f"{c:02x}{i:010x}",
                            "configuration": name,
                            "corpus": "ptbxl-sample",
                            "label_set": "",
                            "fraction": d / DATA[-1],
                            "seed": 0,
                            "N": n,
                            "D": d,
                            "C": 6 * n * 64 * step * 30.0,
                            "macs_per_param": 30.0,
                            "target": target,
                            "domain": "ID" if t == 0 else "OOD",
                            "step": step,
                            "loss": loss,
                            "loss_val": loss * 1.01,
                            "loss_train": loss,
                            "auroc": np.nan if t == 0 else 0.9 - 0.2 * loss,
                            "prevalence_loss": np.nan if t == 0 else 0.7,
                        }
                    )
    points = pd.DataFrame(rows)
    for column in ("architecture", "objective", "paradigm"):
        points[column] = "planted"
    for column in ("n_labels", "n_params", "n_samples", "n_patients", "macs_per_sample", "batch_size"):
        points[column] = 1
    points.attrs = {"runs": {"done": len(configurations) * 11}, "bad": []}
    return points


def planted_table(configurations: tuple[str, ...] = CONFIGURATIONS) -> pd.DataFrame:
    """The exponents table of the planted laws, with intervals, one bound hit and one law that failed."""
    rows = []

    def add(law: str, name: str, target: str, at: str, values: dict[str, float], width: float = 0.2) -> None:
        for coefficient, value in values.items():
            rows.append(
                {
                    "law": law,
                    "configuration": name,
                    "target": target,
                    "at": at,
                    "coefficient": coefficient,
                    "value": value,
                    "low": value * (1 - width),
                    "high": value * (1 + width),
                }
            )

    a, b = JOINT["beta"] / 0.95, JOINT["alpha"] / 0.95
    for name in configurations:
        for t, target in enumerate(("ptbxl-sample", *TASKS)):
            E, half = (0.3, 1.0) if t == 0 else (0.2 + 0.05 * t, 0.5)
            A, B = 12 * half * BETTER[name], 3 * half * BETTER[name]
            add("joint", name, target, "", {"E": E, "A": A, "alpha": 0.45, "B": B, "beta": 0.5})
            add("size", name, target, "D = 2010", {"E": E + B * DATA[-1] ** -0.5, "A": A, "alpha": 0.45})
            for n in SIZES[1:3]:
                add("data", name, target, f"N = {n:.4g}", {"E": E + A * n**-0.45, "B": B, "beta": 0.5})
            add("allocation", name, target, "", {"a": a, "b": b, "gamma": 0.24})
            add("frontier", name, target, "", {"E": E, "k": 800.0 * half * BETTER[name], "gamma": 0.34, "C0": 1e8})
            if t:
                add("transfer", name, target, "", {"E_id": 0.3, "E_ood": E, "K": 0.5, "kappa": 1.0})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    defaults = {"sweep": "demo", "corpus": "ptbxl-sample", "label_set": "", "domain": "OOD", "at_bound": "", "note": ""}
    defaults |= {"status": "ok", "objective": "log-ls", "interval": "profile", "select": "val", "excluded": ""}
    for column, value in defaults.items():
        table[column] = value
    table[["n_points", "r2", "level"]] = [11, 0.97, 0.95]
    table["converged"] = True
    hit = (table["configuration"] == "resnet-ssl") & (table["coefficient"] == "beta")
    at: dict[str, Any] = {
        "value": 0.005,
        "low": 0.005,
        "at_bound": "low",
        "status": "bound",
        "note": "beta at its bound",
    }
    for column, value in at.items():
        table[column] = table[column].mask(hit, value)
    return table


NO_POINTS = planted_points().iloc[:0]
NO_TABLE = planted_table().iloc[:0]


def words(page: Page) -> str:
    """Everything that is written on a figure."""
    return "\n".join(t.get_text() for t in page.findobj(Text))


@pytest.mark.parametrize("name", FIGURES)
def test_a_whole_sweep_draws_without_warnings_and_says_its_scale(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = draw(name, planted_points(), planted_table())
        page.draw_without_rendering()
    text = "\n".join(t.get_text() for t in page.texts)
    if not page.drawn:
        assert "2,550 recordings, not evidence" in text
        assert "44 runs of sweep demo" in text or "Published" in text
    assert page.caption
    assert page.get_figwidth() in (style.ONE_COLUMN, style.TWO_COLUMNS)
    written = [t for t in page.findobj(Text) if t.get_text() and t.get_visible()]
    sizes = [float(t.get_fontsize()) for t in written]
    assert 7 <= min(sizes) <= max(sizes) <= 10
    assert list(page.data().columns) == list(DATA_COLUMNS)


TWO = ("resnet-sl", "transformer-ssl")
PARTIAL = {
    "nothing": lambda: (NO_POINTS, NO_TABLE),
    "two configurations": lambda: (planted_points(TWO), planted_table(TWO)),
    "no fits": lambda: (planted_points(("resnet-sl",)), NO_TABLE),
    "no probes": lambda: (planted_points().query("domain == 'ID'"), planted_table()),
    "one size": lambda: (planted_points().query("N > 3e5"), planted_table()),
    "no baseline": lambda: (planted_points().assign(prevalence_loss=np.nan, auroc=np.nan), planted_table()),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "case", [c if i < 1 else pytest.param(c, marks=pytest.mark.slow) for i, c in enumerate(PARTIAL)]
)
def test_a_partial_sweep_draws_and_says_what_is_missing(name: str, case: str) -> None:
    points, table = PARTIAL[case]()
    page = draw(name, points, table)
    if set(CONFIGURATIONS) - set(points["configuration"]) and not page.drawn and name != "landscape":
        assert page.missing
    if points.empty and not page.drawn:
        said = words(page) + " ".join(page.missing)
        assert any(t in said for t in ("no finished runs", "not measured", "no runs", "none has an AUROC"))


def _twice(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = ["png", "pdf", "svg"]
    first = save(name, planted_points(), planted_table(), folder / "a", formats)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    second = save(name, planted_points(), planted_table(), folder / "b", formats)
    assert [p.name for p in first] == [f"{name}.{s}" for s in (*formats, "csv")]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    pdf = first[1].read_bytes()
    assert b"FontFile2" in pdf  # TrueType, embedded
    assert b"CreationDate" not in pdf
    assert b"<text" not in first[2].read_bytes()  # letters as outlines: the same on every machine


def test_the_same_input_gives_the_same_bytes_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _twice("transfer", tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FIGURES if n != "transfer"])
def test_every_other_figure_comes_out_the_same_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twice(name, tmp_path, monkeypatch)


def test_the_data_beside_a_figure_are_the_points_and_lines_that_it_shows() -> None:
    points = planted_points(("resnet-sl",))
    page = draw("scaling", points, planted_table())
    assert "α = 0.45 [0.36, 0.54] · n 11 · R² 0.97" in words(page)
    table = page.data()
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


def test_the_published_tables_feed_a_figure() -> None:
    points = reference.published()
    assert len(points) == 11 * 4 * (5 + 6)
    assert points[["N", "D", "loss", "target"]].notna().all().all()
    page = draw("overlay", points, NO_TABLE, reference.NOMINAL)
    assert "arXiv 2605.17276v1" in words(page)
    assert "nominal" in words(page)
    shown = page.data().query("panel == 'CPSC2018, resnet-sl, over N' and kind == 'run'")
    assert 0.1815 in set(shown["y"])


def test_the_winners_of_the_published_tables_are_those_of_the_paper(tmp_path: Path) -> None:
    paths = save_reference("winners", tmp_path)
    wins = pd.read_csv(paths[-1]).query("kind == 'wins'")["note"].str.split(": ").str[1].tolist()
    assert wins[:5] == ["0/2/8/1", "0/0/4/7", "0/2/3/6", "0/4/4/3", "0/4/3/4"]  # T-SL, T-SSL, R-SL, R-SSL
    assert (wins[5], wins[-1]) == ("0/1/0/10", "0/2/3/6")


def test_the_published_kappas_have_their_means_and_eight_bound_hits(tmp_path: Path) -> None:
    page = draw("kappas", reference.published(), reference.table(refitted=False), "Published")
    text = words(page)
    for mean in ("T-SL: mean 0.128", "R-SL: mean 0.133", "T-SSL: mean 0.466", "R-SSL: mean 0.270"):
        assert mean in text
    assert page.data()["note"].str.contains("bound").sum() == 8
    with pytest.raises(NoSuchFigure, match="no printed table feeds the figure 'trajectories'"):
        save_reference("trajectories", tmp_path)


def test_every_published_model_is_named_on_the_landscape() -> None:
    page = draw("landscape", NO_POINTS, NO_TABLE)
    assert {"ECG-FM", "ECGFounder", "InceptionTime", "HuBERT (Base)"} <= set(words(page).split("\n"))
    assert len(page.data().query("kind == 'published'")) == 22


def test_two_sweeps_stand_beside_each_other(tmp_path: Path) -> None:
    worse = planted_points().assign(
        sweep="other", loss=lambda t: 1.1 * t["loss"], loss_val=lambda t: 1.1 * t["loss_val"]
    )
    points = pd.concat([planted_points(), worse])
    table = pd.concat([planted_table(), planted_table().assign(sweep="other")])
    page = across("comparison", points, table, ["demo", "other"])
    ratios = page.data().query("panel == 'ratio'")["y"]
    np.testing.assert_allclose(ratios, 1.1)
    assert "intervals overlap" in words(page)
    with pytest.raises(NoSuchFigure, match="takes two sweeps"):
        save("comparison", planted_points(), table, tmp_path)


def test_a_band_holds_the_law_and_widens_where_it_extrapolates() -> None:
    rng = np.random.default_rng(0)
    n = np.geomspace(1e4, 1e7, 10)
    points = pd.DataFrame({"N": n, "loss": (0.3 + 12 * n**-0.35) * np.exp(0.01 * rng.standard_normal(10))})
    band = bands.band("size", points, np.geomspace(1e4, 1e8, 20))
    assert band is not None
    assert (band.low < band.loss).all()
    assert (band.loss < band.high).all()
    truth = 0.3 + 12 * band.x**-0.35
    assert ((band.low < truth) & (truth < band.high)).mean() > 0.9
    width = np.log(band.high / band.low)
    assert width[-1] > 1.5 * width[10]


def test_a_profile_crosses_its_limit_at_the_ends_of_the_interval() -> None:
    points = _noisy_grid()
    law = bands.fitted("joint", points)
    found = bands.likelihood("joint", points, "alpha")
    assert law is not None
    assert found is not None
    interval = law.quantity(lambda c: c["alpha"])
    at_ends = np.interp([interval.low, interval.high], found.values, found.excess)
    np.testing.assert_allclose(at_ends, 1, atol=0.15)
    assert found.excess.min() < 0.02


def test_held_out_runs_are_the_largest_and_are_foretold() -> None:
    found = bands.foretold(_noisy_grid().assign(C=lambda t: 6 * t["N"] * t["D"]))
    assert found is not None
    table = found[0]
    assert table.loc[table["held"], "C"].min() >= table.loc[~table["held"], "C"].max()
    assert table["held"].mean() == pytest.approx(bands.HELD, abs=0.03)
    assert table["error"].abs().max() < 0.05


def _noisy_grid() -> pd.DataFrame:
    n, d = (v.ravel() for v in np.meshgrid(np.geomspace(1e4, 1e8, 6), np.geomspace(1e3, 1e6, 5)))
    loss = 0.1 + 3 * n**-0.3 + 5 * d**-0.4
    return pd.DataFrame(
        {"N": n, "D": d, "loss": loss * np.exp(0.01 * np.random.default_rng(1).standard_normal(len(n)))}
    )


def test_labels_are_moved_apart_in_their_order() -> None:
    places = style.apart([0.5, 0.51, 0.52, 0.1], 0.05)
    assert sorted(places)[0] == places[3]
    assert np.diff(sorted(places)).min() > 0.049
    assert places[0] < places[1] < places[2]


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
    page = draw("scaling", pd.concat([points, other]), table)
    assert (page.data()["y"].dropna() < 5).all()
    assert "resnet-sl pretrained on ptbxl-sample icd927 (1 runs)" in page.missing


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


@pytest.mark.parametrize(
    ("value", "text"),
    [(1672, "1.67K"), (2e6, "2M"), (999.9, "1K"), (500, "500"), (1.2e12, "1.2T"), (155e3, "155K"), (0.25, "0.25")],
)
def test_counts_are_written_with_si_letters(value: float, text: str) -> None:
    assert style.si(value) == text


def test_an_outlier_is_left_out_of_the_panel_and_counted() -> None:
    values = [0.8 + 0.01 * i for i in range(14)] + [2.1]
    low, high, above = style.without_outliers(values)
    assert (low, above) == (0.8, 1)
    assert high == pytest.approx(0.93)
    assert style.without_outliers(values[:-1])[2] == 0


def test_models_of_other_kinds_are_drawn_where_the_papers_four_were_not_measured() -> None:
    points = planted_points(TWO).replace({"configuration": dict(zip(TWO, ("vit-ssl", "net1d-sl"), strict=True))})
    page = draw("scaling", points, NO_TABLE)
    assert {"vit-ssl, ID against N", "net1d-sl, ID against N"} <= set(page.data()["panel"])
