"""The published numbers that ship: whole, consistent with themselves, and those of the text where it is at hand."""

import re

import numpy as np
import pandas as pd
import pytest

from ecgscale.analysis.study.constants import REFERENCE
from tests.paths import NO_RAW, RAW

CONFIGURATIONS = ["transformer-sl", "transformer-ssl", "resnet-sl", "resnet-ssl"]  # columns of S.5 and S.6
IN_S7 = ["transformer-sl", "resnet-sl", "transformer-ssl", "resnet-ssl"]
SCALE = {"K": 1e3, "M": 1e6}


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(REFERENCE / f"table_{name}.csv")


@pytest.fixture(scope="module")
def source() -> list[list[str]]:
    """Cells of every table row of the paper's text, empty ones left out."""
    folder = RAW / "sources"
    found = sorted(folder.glob("002_*.txt"))
    if not found:
        pytest.skip(f"the paper's text: {NO_RAW}")
    rows = [line for line in found[0].read_text().splitlines() if "|" in line]
    cells = [[cell for c in row.strip("|").split("|") if (cell := c.strip())] for row in rows]
    return [row for row in cells if row]


def numbers(cells: list[str]) -> list[float]:
    return [float(c.replace(",", "")) for c in cells if re.fullmatch(r"[\d.,]+(e-\d)?", c)]


@pytest.mark.parametrize(("name", "bin_", "width"), [("s5", "param_bin", 20), ("s6", "data_bin", 24)])
def test_losses_are_those_printed(source: list[list[str]], name: str, bin_: str, width: int) -> None:
    printed = {row[0]: numbers(row[1:]) for row in source if len(numbers(row[1:])) == width}
    ours = table(name)
    assert list(ours["target"].unique()) == list(printed)
    for target, values in printed.items():
        part = ours[ours["target"] == target].pivot(index=bin_, columns="configuration", values="loss")
        np.testing.assert_array_equal(part[CONFIGURATIONS].to_numpy().ravel(), values)


def test_transfer_is_that_printed(source: list[list[str]]) -> None:
    printed = [numbers(row) for row in source if len(numbers(row)) == 12 and row[0] not in ("Mean", "Std")]
    ours = table("s7")
    assert len(printed) == 11
    for target, values in zip(ours["target"].unique(), printed, strict=True):
        part = ours[ours["target"] == target].set_index("configuration").loc[IN_S7, ["K", "kappa", "R2"]]
        np.testing.assert_array_equal(part.to_numpy().ravel(), values)


def test_benchmarks_are_those_printed(source: list[list[str]]) -> None:
    benchmark, detail, settings = table("s9"), table("s10"), table("s8")
    found = 0
    for row in source:
        values = numbers(row[1:])
        name = re.sub(r" \((?:[^()]* et al\.|Zhang & Yan)[^()]*\)$", "", row[0])
        if len(values) == 7 and len(row) == 11:
            one = benchmark[benchmark["model"] == name].iloc[0]
            np.testing.assert_array_equal(one.iloc[5:].to_numpy(float), values)
            assert one["n_params"] == pytest.approx(float(row[8][:-1]) * SCALE[row[8][-1]])
            if row[9] == "/":
                assert np.isnan(one["n_pretraining"])
                assert one["paradigm"] == "scratch"
            else:
                assert one["n_pretraining"] == pytest.approx(float(row[9][:-1]) * 1e6)
                assert one["paradigm"] == row[10]
            found += 1
        elif len(values) == 11:
            np.testing.assert_array_equal(detail[detail["model"] == name].iloc[0, 2:].to_numpy(float), values)
            found += 1
        elif len(row) == 5 and name in set(settings["model"]):
            one = settings[settings["model"] == name].iloc[0]
            assert [one["learning_rate"], one["sampling_hz"]] == values[:2]
            assert one["strategy"] == row[4]
            found += 1
    assert found == len(benchmark) + len(detail) + len(settings) == 22 + 23 + 8


def test_configurations_are_those_printed(source: list[list[str]]) -> None:
    row_of = [[re.findall(r"\(([\d, ]+)\)", cell) for cell in row] for row in source]
    printed = [[part for part in row if part] for row in row_of]
    ladder = [row for row in printed if len(row) == 2 and row[0][0].count(",") == 1 and row[1][0].count(",") == 3]
    ours = table("s4")
    assert len(ladder) == ours["param_bin"].nunique() == 5
    for size, (resnets, transformers) in enumerate(ladder):
        part = ours[ours["param_bin"] == size]
        for architecture, tuples in (("resnet", resnets), ("transformer", transformers)):
            rows = part[part["architecture"] == architecture][["depth", "width", "heads", "ffn"]]
            assert [[int(v) for v in row if v == v] for row in rows.to_numpy()] == [
                [int(v) for v in t.split(",")] for t in tuples
            ]


def test_datasets_are_those_printed(source: list[list[str]]) -> None:
    ours = table("s1")[["n_patients", "n_records"]].to_numpy(float)
    counts = [numbers(row) for row in source if len(row) == 3 and re.fullmatch(r"[\d,]{5,}", row[1])]
    printed = [values for values in counts if values[-1] > 6000]
    assert len(printed) == len(ours)
    for own, values in zip(ours, printed, strict=True):
        assert [v for v in own if v == v] == values


def test_means_follow_from_their_columns() -> None:
    """The mean of S.9 counts PTB-XL once; PTB-XL itself is the mean of the five label sets of S.10."""
    benchmark, detail = table("s9"), table("s10").set_index("model")
    assert (benchmark.iloc[:, 5:11].mean(axis=1) - benchmark["mean"]).abs().max() < 0.0011
    sets = detail[[f"{name}-auroc" for name in ("diag", "sub", "sup", "form", "rhythm")]].mean(axis=1)
    assert (sets - detail["mean-auroc"]).abs().max() < 6e-5
    both = benchmark.set_index("model")["ptbxl"]
    assert (both - detail["mean-auroc"].reindex(both.index)).abs().max() < 0.0011


def test_tables_are_whole_and_have_their_source() -> None:
    names = {file.stem.removeprefix("table_") for file in REFERENCE.glob("table_*.csv")}
    assert names == {f"s{i}" for i in range(1, 11)}
    text = (REFERENCE / "README.md").read_text()
    assert "arXiv 2605.17276v1" in text
    assert all(f"table_{name}.csv" in text for name in names)
    bins = table("s4").groupby("param_bin")["n_params"]
    edges = [0, 1e5, 1e6, 1e7, 5e7, np.inf]
    assert all(
        edges[i] < low <= high < edges[i + 1] for i, (low, high) in enumerate(zip(bins.min(), bins.max(), strict=True))
    )
