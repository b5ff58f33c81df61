"""The paper's own figures, and the general ones drawn from its printed tables."""

from pathlib import Path

import pandas as pd
import pytest

from ecgscale.analysis.figures import FIGURES as GENERAL
from ecgscale.analysis.study.figures import FIGURES, NoSuchFigure, draw, reference, save, save_reference
from tests import drawn
from tests.drawn import words
from tests.planted import NO_POINTS, NO_TABLE

OWN = [name for name in FIGURES if name not in GENERAL]


def test_the_paper_has_figures_of_its_own_among_the_general_ones() -> None:
    assert set(OWN) == {"landscape", "schematic", "winners"}
    assert set(GENERAL) < set(FIGURES)


@pytest.mark.parametrize("name", OWN)
def test_a_whole_sweep_draws_without_warnings_and_says_its_scale(name: str) -> None:
    drawn.check_whole_sweep(name, draw)


@pytest.mark.parametrize("case", drawn.CASES)
@pytest.mark.parametrize("name", OWN)
def test_a_partial_sweep_is_drawn_without_what_it_lacks_or_says_why_not(name: str, case: str) -> None:
    drawn.check_partial_sweep(name, draw, case)


@pytest.mark.slow
@pytest.mark.parametrize("name", OWN)
def test_the_same_input_gives_the_same_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn.check_twice(name, save, tmp_path, monkeypatch, ["png"])


def test_the_published_tables_feed_a_figure() -> None:
    points = reference.published()
    assert len(points) == 11 * 4 * (5 + 6)
    assert points[["N", "D", "loss", "target"]].notna().all().all()
    (page,) = draw("overlay", points, NO_TABLE, reference.NOMINAL)
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
    (page,) = draw("kappas", reference.published(), reference.table(refitted=False), "Published")
    text = words(page)
    for mean in ("T-SL: mean 0.128", "R-SL: mean 0.133", "T-SSL: mean 0.466", "R-SSL: mean 0.270"):
        assert mean in text
    assert page.data()["note"].str.contains("bound").sum() == 8
    with pytest.raises(NoSuchFigure, match="no printed table feeds the figure 'trajectories'"):
        save_reference("trajectories", tmp_path)


def test_every_published_model_is_named_on_the_landscape() -> None:
    (page,) = draw("landscape", NO_POINTS, NO_TABLE)
    assert {"ECG-FM", "ECGFounder", "InceptionTime", "HuBERT (Base)"} <= set(words(page).split("\n"))
    assert len(page.data().query("kind == 'published'")) == 22
