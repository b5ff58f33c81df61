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
from analysis.study.figures import (
    FIGURES,
    SPECIAL,
    NoSuchFigure,
    NothingToShow,
    across,
    draw,
    reference,
    save,
    save_reference,
)
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
        k = BETTER.get(name, 0.75)
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
            A, B = 12 * half * BETTER.get(name, 0.75), 3 * half * BETTER.get(name, 0.75)
            add("joint", name, target, "", {"E": E, "A": A, "alpha": 0.45, "B": B, "beta": 0.5})
            add("size", name, target, "D = 2010", {"E": E + B * DATA[-1] ** -0.5, "A": A, "alpha": 0.45})
            for n in SIZES[1:3]:
                add("data", name, target, f"N = {n:.4g}", {"E": E + A * n**-0.45, "B": B, "beta": 0.5})
            add("allocation", name, target, "", {"a": a, "b": b, "gamma": 0.24})
            add(
                "frontier",
                name,
                target,
                "",
                {"E": E, "k": 800.0 * half * BETTER.get(name, 0.75), "gamma": 0.34, "C0": 1e8},
            )
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


def only_page(name: str, points: pd.DataFrame, table: pd.DataFrame, mark: str | None = None) -> Page:
    (page,) = draw(name, points, table, mark)
    return page


def words(page: Page) -> str:
    """Everything that is written on a figure."""
    return "\n".join(t.get_text() for t in page.findobj(Text))


def drawn_or_why(name: str, points: pd.DataFrame, table: pd.DataFrame) -> tuple[list[Page], str]:
    """The pages of a figure, or why it has none."""
    try:
        return draw(name, points, table), ""
    except NothingToShow as why:
        return [], str(why)


OF_THIS_KIND = [name for name in FIGURES if name not in SPECIAL]


@pytest.mark.parametrize("name", OF_THIS_KIND)
def test_a_whole_sweep_draws_without_warnings_and_says_its_scale(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = only_page(name, planted_points(), planted_table())
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
    assert not_empty(page)


def not_empty(page: Page) -> bool:
    """Whether every panel shows something."""
    return all(ax.has_data() or ax.texts for ax in page.axes if ax.axison) and not any(
        said in words(page) for said in ("no finished runs", "no size saw", "no joint law with", "too few runs")
    )


TWO = ("resnet-sl", "transformer-ssl")
PARTIAL = {
    "nothing": lambda: (NO_POINTS, NO_TABLE),
    "two configurations": lambda: (planted_points(TWO), planted_table(TWO)),
    "no fits": lambda: (planted_points(("resnet-sl",)), NO_TABLE),
    "no probes": lambda: (planted_points().query("domain == 'ID'"), planted_table()),
    "one size": lambda: (planted_points().query("N > 3e5"), planted_table()),
    "no baseline": lambda: (planted_points().assign(prevalence_loss=np.nan, auroc=np.nan), planted_table()),
}
WHY = {
    ("kappas", "no fits"): "no transfer law is fitted",
    ("exponents", "no fits"): "no law of N or D is fitted",
    ("overlay", "no probes"): "no task was probed",
    ("isoflop", "one size"): "no slice of compute holds four sizes",
    ("holdout", "one size"): "too few runs for the joint law",
}


@pytest.mark.parametrize("name", OF_THIS_KIND)
@pytest.mark.parametrize(
    "case", [c if i < 1 else pytest.param(c, marks=pytest.mark.slow) for i, c in enumerate(PARTIAL)]
)
def test_a_partial_sweep_is_drawn_without_what_it_lacks_or_says_why_not(name: str, case: str) -> None:
    points, table = PARTIAL[case]()
    pages, why = drawn_or_why(name, points, table)
    if points.empty and name not in ("landscape", "schematic"):
        assert why == "no finished runs"
    if (name, case) in WHY:
        assert why == WHY[name, case]
    assert bool(pages) != bool(why)
    assert all(len(page.data()) for page in pages)


@pytest.mark.parametrize(
    ("name", "case"),
    [("kappas", "no fits"), ("overlay", "no probes"), ("isoflop", "one size"), ("exponents", "no fits")],
)
def test_a_figure_with_nothing_to_show_is_not_drawn_and_says_why(name: str, case: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.png").write_bytes(b"of runs that are gone")
    points, table = PARTIAL[case]()
    assert save(name, points, table, tmp_path) == ([], [f"{name} is not drawn: {WHY[name, case]}"])
    assert not list(tmp_path.iterdir())


OWN = ("gru-sl", "mamba-ssl", "perceiver-sl", "s4-ssl", "xlstm-sl")  # architectures that only a sweep file knows
GENERAL = [name for name in OF_THIS_KIND if name not in ("landscape", "schematic", "winners")]
QUICK = ("scaling", "transfer", "kappas", "learning", "contours", "exponents", "trajectories")


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in GENERAL])
def test_every_figure_shows_every_configuration(name: str) -> None:
    every = (*CONFIGURATIONS, *OWN)
    pages = draw(name, planted_points(every), planted_table(every))
    assert len(pages) in (1, 3)
    for look in style.looks(every):
        assert any(look.label in words(page) for page in pages)
        text = pd.concat([page.data() for page in pages])[["panel", "series"]].agg(" ".join, axis=1)
        assert text.str.contains(look.name).any() or text.str.contains(look.label).any()
    for page in pages:
        assert page.get_figheight() <= style.PAGE
        assert not_empty(page)
    if len(pages) > 1:
        assert "page 2 of 3" in words(pages[1])


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in OF_THIS_KIND])
def test_one_configuration_alone_leaves_no_panel_empty(name: str) -> None:
    """It saw one amount of data, so that nothing over D can be drawn."""
    points = planted_points(("gru-sl",)).query("D > 2000")
    table = planted_table(("gru-sl",)).query("law != 'data' and coefficient not in ('beta', 'B')")
    pages, why = drawn_or_why(name, points, table)
    assert bool(pages) != bool(why)
    for page in pages:
        assert not_empty(page)
        assert "R-SL" not in words(page) or page.drawn


def test_the_pages_of_a_figure_are_files_of_their_own(tmp_path: Path) -> None:
    every = (*CONFIGURATIONS, *OWN)
    paths, lines = save("contours", planted_points(every), planted_table(every), tmp_path)
    assert [p.name for p in paths] == [f"contours{k}.{s}" for k in ("", "-2", "-3") for s in ("png", "csv")]
    assert lines == []
    save("contours", planted_points(), planted_table(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["contours.csv", "contours.png"]


def test_no_two_configurations_look_alike_and_each_looks_the_same_beside_others() -> None:
    names = [*style.CONFIGURATIONS, *OWN, *(f"net{k}-sl" for k in range(15))]
    looks = style.looks(names)
    assert len({(look.colour, look.marker) for look in looks}) == len(names)
    assert style.looks(reversed(names)) == looks
    assert len({look.colour for look in style.looks([*style.CONFIGURATIONS, *OWN])}) == 11
    assert [style.looks(["gru-sl"])[0]] == [k for k in style.looks([*CONFIGURATIONS, "gru-sl"]) if k.name == "gru-sl"]
    assert [look.label for look in style.looks(CONFIGURATIONS)] == ["T-SL", "T-SSL", "R-SL", "R-SSL"]


# Machado, Oliveira & Fernandes 2009, severity 1: what eyes without one kind of cone see of linear red, green and blue.
EYES = {
    "all cones": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8607, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "tritanopia": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


@pytest.mark.parametrize("eyes", EYES)
def test_colours_of_configurations_are_told_apart_by_every_kind_of_eye(eyes: str) -> None:
    colours = [colour for colour, _ in style.CONFIGURATIONS.values()] + list(style.FURTHER)
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(EYES[eyes]).T, 0, 1)
    xyz = seen @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    f = np.cbrt(xyz / (0.9505, 1, 1.089))
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)[~np.eye(len(colours), dtype=bool)]
    assert apart.min() > 9  # of a scale on which 2.3 is just noticed


def _twice(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = ["png", "pdf", "svg"]
    first, _ = save(name, planted_points(), planted_table(), folder / "a", formats)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    second, _ = save(name, planted_points(), planted_table(), folder / "b", formats)
    assert [p.name for p in first] == [f"{name}.{s}" for s in (*formats, "csv")]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    pdf = first[1].read_bytes()
    assert b"FontFile2" in pdf  # TrueType, embedded
    assert b"CreationDate" not in pdf
    assert b"<text" not in first[2].read_bytes()  # letters as outlines: the same on every machine


def test_the_same_input_gives_the_same_bytes_in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _twice("transfer", tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in OF_THIS_KIND if n != "transfer"])
def test_every_other_figure_comes_out_the_same_twice(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _twice(name, tmp_path, monkeypatch)


def test_the_data_beside_a_figure_are_the_points_and_lines_that_it_shows() -> None:
    points = planted_points(("resnet-sl",))
    page = only_page("scaling", points, planted_table())
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
    joint = only_page("compute", points, table)
    text = words(joint)
    assert "β at its lower bound" in text
    assert "of marginal compute to data" in text
    assert any("R-SSL" in m for m in joint.missing)
    panels = set(joint.data().query("kind == 'optimal size'")["panel"])
    assert "R-SSL" not in panels
    assert "R-SL" in panels


def test_the_optimal_size_on_the_plane_follows_the_closed_form() -> None:
    shown = (
        only_page("compute", planted_points(), planted_table())
        .data()
        .query("kind == 'optimal size' and panel == 'R-SL'")
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
    page = only_page("overlay", points, NO_TABLE, reference.NOMINAL)
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
    page = only_page("kappas", reference.published(), reference.table(refitted=False), "Published")
    text = words(page)
    for mean in ("T-SL: mean 0.128", "R-SL: mean 0.133", "T-SSL: mean 0.466", "R-SSL: mean 0.270"):
        assert mean in text
    assert page.data()["note"].str.contains("bound").sum() == 8
    with pytest.raises(NoSuchFigure, match="no printed table feeds the figure 'trajectories'"):
        save_reference("trajectories", tmp_path)


def test_every_published_model_is_named_on_the_landscape() -> None:
    page = only_page("landscape", NO_POINTS, NO_TABLE)
    assert {"ECG-FM", "ECGFounder", "InceptionTime", "HuBERT (Base)"} <= set(words(page).split("\n"))
    assert len(page.data().query("kind == 'published'")) == 22


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
    shown = only_page("scaling", points, planted_table()).data().query("kind == 'lost run'")
    assert set(shown.query("panel == 'R-SL, ID against N'")["x"]) == {1e5}
    assert set(shown["note"]) == {"oom"}


def test_a_line_never_runs_through_two_label_sets() -> None:
    points = planted_points(("resnet-sl",)).assign(label_set="code6")
    other = points[points["D"] == DATA[-1]].assign(label_set="icd927", run_id="other", loss=9.0)
    table = pd.concat([planted_table(("resnet-sl",)).assign(label_set=s) for s in ("icd927", "code6")])
    page = only_page("scaling", pd.concat([points, other]), table)
    assert (page.data()["y"].dropna() < 5).all()
    assert "resnet-sl pretrained on ptbxl-sample icd927 (1 runs)" in page.missing


def test_several_sweeps_make_a_folder_each(tmp_path: Path) -> None:
    points = pd.concat([planted_points(("resnet-sl",)).assign(sweep=s) for s in ("demo", "other")])
    paths, _ = save("learning", points, planted_table(), tmp_path)
    assert {p.parent.name for p in paths} == {"demo", "other"}


def test_a_mistyped_name_or_format_is_answered_with_the_nearest() -> None:
    with pytest.raises(NoSuchFigure, match="did you mean 'scaling'"):
        only_page("scalling", NO_POINTS, NO_TABLE)
    with pytest.raises(NoSuchFigure, match="did you mean 'png'"):
        save("scaling", NO_POINTS, NO_TABLE, Path("unused"), ["pngs"])


def test_drawing_leaves_the_users_style_alone() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    only_page("learning", planted_points(("resnet-sl",)), NO_TABLE)
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
    page = only_page("scaling", points, NO_TABLE)
    assert {"vit-ssl, ID against N", "net1d-sl, ID against N"} <= set(page.data()["panel"])
