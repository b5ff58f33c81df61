"""Tables for print: every one renders, in LaTeX that balances, from print or from results, and says what is missing."""

import io
import re
from pathlib import Path

import pandas as pd
import pytest

from ecgscale import records
from ecgscale.analysis.study import claims
from ecgscale.analysis.study.tables import TABLES, Material, NoSuchTable, make, save
from ecgscale.analysis.study.tables.sheet import Sheet, interval
from ecgscale.analysis.table.build import write
from ecgscale.analysis.table.markup import latex
from tests.planted import CARD, TASKS, planted_points, planted_table, write_runs
from tests.shell import Shell


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    results = tmp_path_factory.mktemp("results")
    write_runs(results, planted_points())
    write(planted_table(), results)
    loaded = records.load(results)
    tasks = pd.DataFrame(
        {"name": TASKS, "corpus": "ptbxl-sample", "label_set": "sex", "domain": "A", "domain_name": "adults"}
    )
    cards = {"ptbxl-sample": CARD, "ludb-sample": {}}
    return Material(claims.in_results(results), loaded.runs, loaded.rows, cards, tasks)


def balanced(tex: str) -> bool:
    depth = 0
    for c in re.sub(r"\\[{}]", "", tex):
        depth += (c == "{") - (c == "}")
        if depth < 0:
            return False
    return depth == 0


def check(sheet: Sheet) -> None:
    assert all(len(row) == len(sheet.header) for row in sheet.rows)
    tex = sheet.render("latex")
    assert tex.isascii()
    assert balanced(tex)
    assert tex.count(r"\begin") == tex.count(r"\end")
    if sheet.rows:
        columns = re.search(r"\\begin\{tabular\}\{((?:[lr]|p\{.*?\})+)\}", tex)
        assert columns
        n = len(re.sub(r"p\{.*?\}", "p", columns.group(1)).replace("h}", ""))
        body = tex.split(r"\toprule")[1].split(r"\bottomrule")[0]
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        assert len(lines) == len(sheet.rows) + 1
        assert {len(re.findall(r"(?<!\\)&", line)) for line in lines} == {n - 1}
        assert not re.search(r"(?<!\\)[%#_]", tex.replace(r"\label{tab:" + sheet.name, ""))
        assert not pd.read_csv(io.StringIO(sheet.render("csv"))).empty
        markdown = [line for line in sheet.render("md").splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", line)) for line in markdown} == {len(sheet.header) + 1}
    else:
        assert sheet.missing


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_table_renders(name: str) -> None:
    sheet = make(name)
    check(sheet)
    assert "arXiv 2605.17276v1" in sheet.caption


@pytest.mark.parametrize("name", TABLES)
def test_every_table_of_results_renders_or_says_why_not(name: str, material: Material) -> None:
    sheet = make(name, material)
    check(sheet)
    own = "runs of sweep demo" in sheet.source or "cards" in sheet.source
    assert own or "published numbers" in sheet.caption
    assert own == (name not in ("s8", "s9", "s10"))


def test_numbers_are_those_of_the_evidence(material: Material) -> None:
    sheet = make("S.5", material)
    cell = material.evidence.sizes.iloc[0]
    assert any(f"{cell['loss']:.4f}" in part for row in sheet.rows for part in row)
    bold = [part for row in sheet.rows for part in row if part.startswith("**")]
    assert len(bold) == len(material.evidence.sizes.groupby(["target", "bin"]))
    assert "no model of" in sheet.caption
    splits = make("s2", material)
    assert splits.rows == (("ptbxl-sample", "9", "0", "1", "100 Hz; 60 Hz notch"),)
    assert splits.missing == ("ludb-sample is not prepared here",)


def test_transfer_shows_intervals_bounds_means(material: Material) -> None:
    sheet = make("s7")
    assert sum(row.count("0.050*") for row in sheet.rows) == 8
    mean = dict(zip(sheet.header, sheet.rows[-2], strict=True))
    assert [mean[f"{c} κ"] for c in ("T-SL", "R-SL", "T-SSL", "R-SSL")] == ["0.128", "0.133", "0.466", "0.270"]
    own = make("s7", material)
    assert any(re.fullmatch(r"\d\.\d\d\*? \[\d\.\d\d, \d\.\d\d\]", part) for row in own.rows for part in row)


def test_nothing_measured_gives_the_printed_tables(tmp_path: Path) -> None:
    empty = claims.of_results(planted_points().iloc[:0], planted_table().iloc[:0])
    loaded = records.load(tmp_path)
    for name in TABLES:
        sheet = make(name, Material(empty, loaded.runs, loaded.rows))
        check(sheet)
        assert sheet.missing


def test_special_characters_survive_latex() -> None:
    assert latex("a_b & 5 % {x} **κ** ≤ −1") == r"a\_b \& 5 \% \{x\} \textbf{$\kappa$} $\leq$ $-$1"
    assert interval({"value": 0.05, "low": 0.05, "high": 2.5}, mark="*") == "0.05* [0.05, 2.50]"
    assert interval({"value": 1.0, "low": float("nan"), "high": 2.0}) == "1.00"
    one_sided = {"value": 0.3, "low": 0.05, "high": 0.4, "low_end": "bound", "high_end": "reached"}
    assert interval(one_sided) == "0.30 (≤ 0.40)"
    assert interval(one_sided | {"low_end": "reached", "high_end": "open"}) == "0.30 (≥ 0.05)"


def test_names_are_known_in_any_spelling() -> None:
    assert make("Table S.10").name == "s10"
    with pytest.raises(NoSuchTable, match="no table 's12'; there are s1 to s11"):
        make("s12")
    with pytest.raises(NoSuchTable, match="md, latex, csv"):
        save(make("s5"), Path("nowhere"), ["docx"])


def test_the_verb_writes_and_lists(shell: Shell) -> None:
    results = shell.folder / "results"
    results.mkdir()
    answer = shell.type("tables", "s5", "S.7", "--reference")
    names = [f"table_{n}.{e}" for n in ("s5", "s7") for e in ("md", "tex", "csv")]
    assert answer.stdout.split() == [f"results/tables/reference/{n}" for n in names]
    first = {p.name: p.read_bytes() for p in (results / "tables" / "reference").iterdir()}
    shell.type("tables", "s5", "s7", "--reference")
    assert {p.name: p.read_bytes() for p in (results / "tables" / "reference").iterdir()} == first
    write_runs(results, planted_points())
    answer = shell.type("tables", "--format", "md")
    assert answer.returncode == 0
    assert len(answer.stdout.split()) == 11
    assert "s7: no transfer law is fitted" in answer.stderr


def test_fine_tuned_runs_fill_their_tables(tmp_path: Path) -> None:
    for i, (task, start) in enumerate((t, s) for t in ("form", "rhythm") for s in ("abc", "")):
        description = records.canonical({"number": i, "schedule": {"steps": 10, "lr": 0.001}})
        run_id = records.run_id_of(description)
        row = dict.fromkeys(records.SCHEMA.names) | {"sweep": "tune", "run_id": run_id}
        row |= {"configuration": "resnet-sl-tuned" if start else "resnet-sl", "architecture": "resnet"}
        row |= {"corpus": "ptbxl", "label_set": task, "target": "ptbxl", "domain": "ID", "initial": start, "seed": 0}
        row |= {"n_params": 1000, "macs_per_sample": 10, "n_samples": 50, "batch_size": 8, "step": 10, "flops": 1.0}
        scores = (("val", "loss", 0.5), ("test", "loss", 0.5), ("test", "auroc", 0.9 if start else 0.8))
        rows = [row | {"split": s, "metric": m, "value": v} for s, m, v in (*scores, ("test", "f1", 0.4))]
        path = records.path_of(tmp_path, "tune", run_id)
        records.write(path, rows, description, {"status": "done"})
    loaded = records.load(tmp_path)
    tuned = Material(claims.in_results(tmp_path), loaded.runs, loaded.rows)
    for name in ("s8", "s9", "s10"):
        sheet = make(name, tuned)
        check(sheet)
        assert not sheet.missing
    assert make("s8", tuned).rows[0][3:] == ("0.001", "10", "8")
    means = make("s9", tuned).data.set_index("configuration")["mean"]
    assert means.to_dict() == pytest.approx({"resnet-sl-tuned": 0.9, "resnet-sl": 0.8})
    assert any("**0.9000**" in row for row in make("s10", tuned).rows)
