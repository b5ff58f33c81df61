"""The report: one file that needs no network, says what is missing, and is plain about what training did."""

import base64
import gzip
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from ecgscale.analysis.answer import answers, told_apart
from ecgscale.analysis.figures.figure import Page
from ecgscale.analysis.inline import packed, svg
from ecgscale.analysis.learning import learning, more_data, shortfalls
from ecgscale.analysis.observations import best_over_steps, trajectories
from ecgscale.analysis.report import report
from ecgscale.analysis.study import figures
from ecgscale.analysis.study.beyond import beyond
from ecgscale.analysis.table.build import write
from ecgscale.cli import pictures
from tests.planted import DATA, SIZES, TASKS, planted_points, planted_table, write_runs

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Parsed(HTMLParser):
    """Checks that tags nest and gathers what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.refers: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.refers += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "action", "poster")]
        self.ids += [v or "" for k, v in attrs if k == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two configurations, one loss of them no number, and one failed run of a third, with a table of fits."""
    folder = tmp_path_factory.mktemp("results")
    points = planted_points(("resnet-sl", "transformer-ssl"))
    points.loc[points["step"].eq(40).idxmax(), "loss"] = math.nan
    write_runs(folder, points)
    lost = planted_points(("transformer-sl",))
    write_runs(folder, lost[lost["run_id"] == lost["run_id"].iloc[0]], "diverged", "loss is not finite at step 40")
    write(planted_table(), folder)
    return folder


CARD = {
    "description": "A planted corpus.",
    "license": "CC BY 4.0",
    "identifier": "https://doi.org/10.1/2",
    "recordSet": [{"name": "splits", "data": [{"splits/split": "train", "splits/recordings": 2010}]}],
}


@pytest.fixture(scope="module")
def page(results: Path) -> Iterator[str]:
    """The page with two of the figures, which are the slow part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "FIGURES", {name: figures.FIGURES[name] for name in ("scaling", "learning")})
        yield report(results, cards={"ptbxl-sample": CARD}).read_text()


def test_losses_that_cannot_be_are_counted(page: str) -> None:
    assert "<li>2 not a number</li>" in page


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    parsed = Parsed(page)
    assert parsed.refers
    assert all(r.startswith(("data:", "#")) for r in parsed.refers)
    assert not re.search(r"@import|url\((?!\"?data:|#)|https?://", page)
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert {r[1:] for r in parsed.refers if r.startswith("#")} <= set(parsed.ids)


def test_the_page_says_scale_state_and_provenance(page: str, results: Path) -> None:
    assert "Demo scale: 2,550 recordings, not evidence" in page
    assert "loss is not finite at step 40" in page
    assert "<b>22</b><span>finished runs</span>" in page
    assert "0123456789ab" in page
    assert "torch 2.13.0" in page
    assert str(results) not in page


def test_the_page_opens_with_the_answer(page: str) -> None:
    said = page.split('id="answer"')[1].split("</section>")[0]
    assert page.index('id="answer"') < page.index('id="figures"') < page.index('id="exponents"')
    for answer in answers(planted_table()):
        assert f'<th scope="row">{answer.name}</th>' in said
        assert answer.alpha in said
    assert "eighteen headline claims" in said
    assert "CODE has 1.04K times the recordings of the largest runs here" in said
    folded = re.findall(r'<details class="room" id="([\w-]+)">', page)
    assert folded == ["more-figures", "learning", "exponents", "claims", "state", "data", "provenance"]
    assert len(page) < 3e6


@pytest.mark.parametrize(
    ("corpus", "said"),
    [("simulated-hospital-90", "were measured, on simulated"), ("planted", "drawn from a planted law")],
)
def test_what_was_simulated_is_said_rightly(corpus: str, said: str, tmp_path: Path) -> None:
    points = planted_points(("resnet-sl",))
    write_runs(tmp_path, points.assign(corpus=corpus))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "FIGURES", {})
        page = report(tmp_path).read_text()
    notes = [said in page for said in ("were measured, on simulated", "drawn from a planted law")]
    assert sum(notes) == 1
    assert said in page
    assert (beyond(best_over_steps(points.assign(corpus=corpus), "val")) is None) == corpus.startswith("simulated")


def test_a_law_that_the_runs_contradict_answers_nothing() -> None:
    table = planted_table(("resnet-sl", "resnet-ssl"))
    table.loc[table["target"] == "ptbxl-sample", "domain"] = "ID"
    table.loc[(table["configuration"] == "resnet-sl") & (table["law"] == "joint"), "status"] = "lack of fit"
    contradicted, sound = answers(table)
    assert contradicted.alpha == contradicted.beta == contradicted.floor == "law misfits"
    assert sound.alpha == "0.45 [0.36, 0.54]"


def test_families_are_told_apart_by_intervals_that_do_not_meet() -> None:
    found = {"resnet-sl": (0.2, 0.3), "s4d-sl": (0.4, 0.6), "transformer-sl": (0.25, 0.5), "s4d-cpc": (0.1, 0.9)}
    table = pd.DataFrame(
        {
            "sweep": "mine",
            "law": "joint",
            "domain": "ID",
            "target": "a",
            "configuration": name,
            "coefficient": coefficient,
        }
        | {"value": 0.4, "low": low, "high": high, "low_end": "reached", "high_end": "reached", "status": "ok"}
        | {"at_bound": "", "note": ""}
        for name, ends in found.items()
        for coefficient, (low, high) in (("alpha", ends), ("beta", (0.3, 0.5)))
    )
    assert told_apart(table.iloc[:0]) == []
    assert told_apart(table) == [
        "α: loss with N, SL: S4D-SL above R-SL",
        "β: loss with D, SL: intervals overlap: these runs cannot tell which family needs fewer recordings",
    ]


def test_letters_of_a_figure_stay_text_and_their_numbers_whole() -> None:
    page = Page(3, 2, "A title", "A caption", "")
    ax = page.subplots()
    ax.plot([0.123456, 0.3], [1, 2])
    ax.set_xticks([0.125], ["0.125"])
    drawn = svg(page, "one", 'A "title"')
    assert ">0.125<" in drawn
    assert 'aria-label="A &#34;title&#34;"' in drawn
    assert not re.search(r'<path d="[^"]*\.\d{3}', drawn)
    ids = set(re.findall(r'id="([^"]*)"', drawn))
    assert ids == set(re.findall(r'(?:url\(#|href="#)([^")]+)', drawn))
    assert all(i.startswith("one-") for i in ids)
    assert gzip.decompress(base64.b64decode(packed(b"N,loss"))) == b"N,loss"


def test_flags_are_explained_and_every_fit_is_listed(page: str) -> None:
    assert page.count('<span class="flag bound">') == (planted_table()["at_bound"] != "").sum()
    assert "The optimum lies on a bound" in page
    body = page.split('id="exponents-table"')[1].split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr ") == len(planted_table())


@pytest.mark.slow
def test_the_same_results_give_the_same_page(results: Path) -> None:
    first = report(results, path=results / "first.html").read_text()
    assert report(results, path=results / "again.html").read_text() == first
    Parsed(first)


def test_a_folder_without_runs_or_fits_still_gives_a_page(tmp_path: Path) -> None:
    page = report(tmp_path).read_text()
    Parsed(page)
    assert "No run has finished yet" in page
    assert "Nothing is fitted yet" in page
    assert "scaling: no finished runs" in page


def test_shortfalls_of_training_are_said_in_words(results: Path) -> None:
    points = best_over_steps(trajectories(results))
    compared = learning(points)
    assert set(compared["lower_loss"]) == {"yes"}
    assert shortfalls(compared) == []
    worse = points["target"] == TASKS[0]
    points.loc[worse, "loss"] = 0.9
    sentences = shortfalls(learning(points))
    assert len(sentences) == 2
    assert sentences[0].startswith(f"T-SSL on {TASKS[0]}: training does not lower the loss (loss 0.900 trained, ")
    assert sentences[0].endswith("no better than always predicting the prevalence (0.700).")
    points.loc[worse, "auroc"] = 0.5
    assert "no better than its untrained twin" in shortfalls(learning(points))[1]


def test_the_gain_from_data_is_read_at_the_same_size(results: Path) -> None:
    gained = more_data(best_over_steps(trajectories(results)))
    assert list(gained["configuration"].unique()) == ["transformer-ssl", "resnet-sl"]
    assert set(gained["lower"]) == {"yes"}
    assert set(gained["D_least"]) == {200.0}
    assert len(gained) == 4


def test_the_data_of_a_figure_can_be_saved_from_the_page(page: str) -> None:
    assert 'download="scaling.csv"' in page
    assert 'download="exponents.csv"' in page


def test_a_page_of_a_sweep_at_work_reloads_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecgscale.analysis.report._figures", lambda *points: ([], []))
    write_runs(tmp_path, planted_points(), "running", "")
    page = report(tmp_path, pending=7, refresh=30).read_text()
    assert '<meta http-equiv="refresh" content="30">' in page
    assert "this page loads itself again every 30 seconds" in page
    assert "<b>7</b><span>pending</span>" in page
    assert "http-equiv" not in report(tmp_path).read_text()


def test_a_page_of_one_sweep_or_of_some_runs_lists_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecgscale.analysis.report._figures", lambda *points: ([], []))
    points = planted_points(("resnet-sl", "transformer-sl"))
    write_runs(tmp_path, points)
    write_runs(tmp_path, points.assign(sweep="another"))
    full = f"n_samples={DATA[-1]:.0f}"
    pictures.report(tmp_path, sweep=["demo"], output=tmp_path / "page.html", only=["configuration=resnet-sl", full])
    page = (tmp_path / "page.html").read_text()
    assert "Scaling report: demo<" in page
    assert f"<b>{len(SIZES)}</b><span>done</span>" in page


def test_every_claim_is_tested_on_the_runs_and_says_why(page: str) -> None:
    assert page.count('<details class="claim">') == 18
    assert "R-SL/R-SSL/T-SSL win" not in page
    assert page.count('<span class="verdict none">not testable</span>') >= 10
    assert "all four configurations share a size bin on 0 tasks; at least 3 are needed." in page


def test_cards_are_shown_and_can_be_saved(page: str) -> None:
    card = page.split('id="card-ptbxl-sample"')[1].split("</details>")[0]
    assert "A planted corpus." in card
    assert "<dt>licence</dt><dd>CC BY 4.0</dd>" in card
    assert "<dt>split</dt><dd>2,010 train</dd>" in card
    assert "doi:10.1/2" in card
    assert 'download="ptbxl-sample.json"' in card
