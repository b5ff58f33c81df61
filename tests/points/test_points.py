"""Anybody's table: columns under any of their usual names, and what is asked of it from the command line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import records
from ecgscale.analysis.columns import understood
from ecgscale.analysis.comparison import compared, largest_runs, preferred
from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.fitting.laws import LAWS, joint
from ecgscale.analysis.points import fit_points, points_of, read_points
from tests.paths import FIXTURES
from tests.planted import planted_points, write_runs
from tests.shell import Shell

PLANTED = {"E": 1.7, "A": 200.0, "alpha": 0.35, "B": 800.0, "beta": 0.38}


@pytest.fixture
def mine() -> pd.DataFrame:
    """Twenty runs of somebody who calls things params and tokens."""
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 2.5e8, 5), np.geomspace(2e7, 2.5e9, 4)))
    noise = np.exp(0.004 * np.random.default_rng(0).standard_normal(len(N)))
    return pd.DataFrame({"params": N, "tokens": D, "loss": joint(N, D, **PLANTED) * noise})


@pytest.mark.parametrize(
    ("header", "read"),
    [
        ("n_params,n_samples,val_loss", ["N", "D", "loss"]),
        ("Parameters, Tokens ,Test Loss", ["N", "D", "loss"]),
        ("n,d,l", ["N", "D", "loss"]),
        ("model-size,dataset size,FLOPs", ["N", "D", "C"]),
        ("N,params,loss", ["N", "params", "loss"]),
        ("Seeds,unique_tokens,tokens", ["seed", "U", "D"]),
    ],
)
def test_names_that_people_use_are_understood(header: str, read: list[str]) -> None:
    table = pd.DataFrame([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]], columns=header.split(","))
    found = understood(table)
    assert list(found.table)[:3] == read
    assert all(found.names[name.strip()] == now for name, now in zip(header.split(","), read, strict=True))


def test_what_could_be_two_columns_is_asked_for(mine: pd.DataFrame) -> None:
    both = mine.rename(columns={"loss": "val_loss"}).assign(test_loss=mine["loss"] + 1)
    with pytest.raises(BadPoints, match="'val_loss', 'test_loss' could each be the column 'loss'; name it with --loss"):
        points_of(both).law("joint")
    chosen = points_of(both, loss_column="test loss")
    assert chosen.table["loss"].tolist() == both["test_loss"].tolist()
    with pytest.raises(BadPoints, match="no column 'tset_loss'; did you mean 'test_loss'"):
        points_of(both, loss_column="tset_loss")
    with pytest.raises(BadPoints, match=r"no column 'N' .*rename 'Npar'"):
        points_of(mine.rename(columns={"params": "Npar"})).law("joint")


def test_a_metric_is_a_loss_as_one_minus_it(mine: pd.DataFrame) -> None:
    table = mine.assign(AUROC=1 - mine["loss"] / 10).drop(columns="loss")
    with pytest.raises(BadPoints, match="no column 'loss', but 'AUROC': fit 1 - AUROC with --metric AUROC"):
        points_of(table).law("joint")
    for found in (points_of(table, metric="auroc"), points_of(table, loss_column="AUROC")):
        assert found.table["loss"].to_numpy() == pytest.approx(mine["loss"] / 10)
        assert found.said(found.law("joint")) == ["read: N is 'params', D is 'tokens', loss is 1 - AUROC"]
    with pytest.raises(
        BadPoints, match=r"'AUROC' is 83.* in row 1 of the points; a metric lies in \[0, 1\], or of perc"
    ):
        points_of(table.assign(AUROC=83.2), metric="auroc")


def test_epochs_and_unique_data_make_each_other() -> None:
    seen = pd.DataFrame({"N": [1.0], "unique_tokens": [10.0], "tokens": [40.0], "loss": [1.0]})
    assert understood(seen).table["epochs"].tolist() == [4.0]
    assert understood(seen.drop(columns="tokens").assign(epochs=3.0)).table["D"].tolist() == [30.0]
    once = understood(seen.drop(columns="unique_tokens").assign(Epochs=3.0))
    assert once.table["U"].tolist() == [40.0]
    assert "taken as unique data" in once.facts["U"]


@pytest.mark.parametrize(
    "text",
    [
        "params;tokens;loss\n1000;20,5;3,25\n2000;30,5;3\n",
        "\ufeff params , tokens , loss\n\n1000, 20.5, 3.25\n2000, 30.5, 3\n",
        "params\ttokens\tloss\n1000\t20.5\t3.25\n2000\t30.5\t3\n",
        "params tokens loss\n1000  20.5 3.25\n2000  30.5 3\n",
    ],
)
def test_tables_are_read_whatever_parts_their_cells(text: str, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    table = understood(read_points(tmp_path / "points.csv")).table
    assert table[["N", "D", "loss"]].to_numpy().tolist() == [[1000, 20.5, 3.25], [2000, 30.5, 3]]


def test_groups_are_text_columns_that_repeat(mine: pd.DataFrame) -> None:
    named = mine.assign(run=[f"r{i}" for i in range(len(mine))], family=["a", "b"] * (len(mine) // 2))
    found = points_of(named)
    assert found.by == ("family",)
    assert found.notes[0] == "column 'run' is different in every row, so it is no group"
    assert points_of(named, by=["none"]).by == ()
    assert next(points_of(named, by=["D"]).parts())[0] == {"D": 2e7}
    with pytest.raises(BadPoints, match="no column 'famly' to group by; did you mean 'family'"):
        points_of(named, by=["famly"])


def test_a_formula_fits_anybody_s_table_as_the_registry_does(mine: pd.DataFrame) -> None:
    known = fit_points(mine, "joint")[0]["coefficients"]
    own = fit_points(mine, "E + A*params**-alpha + B*tokens**-beta")[0]
    assert own["law"] == "E + A*params**-alpha + B*tokens**-beta"
    assert own["coefficients"] == known
    other = fit_points(mine, "F + a*params**-x + b*tokens**-y")[0]
    for mark, name in (("F", "E"), ("x", "alpha"), ("y", "beta")):
        assert other["coefficients"][mark] == known[name]


def test_laws_are_compared_on_the_same_points() -> None:
    table = pd.read_csv(FIXTURES / "laws" / "gadre_testbed.csv").rename(columns={"L_c4_val": "loss"})
    found = compared([({}, table)], [LAWS["joint"], LAWS["tied"]], held=0.1)
    assert found["law"].tolist() == ["tied", "joint"]
    assert found["daicc"].tolist() == pytest.approx([0, 2.0], abs=0.1)
    held = found.set_index("law")["holdout"]
    assert held["tied"] < 0.5 * held["joint"]
    assert preferred(found).startswith("AICc: tied; the largest runs, held out, are best foretold by tied")
    assert found["n"].nunique() == 1
    with pytest.raises(BadPoints, match="no share of the points"):
        compared([({}, table)], [LAWS["joint"]], held=2)
    with pytest.raises(BadPoints, match="explain different columns"):
        compared([({}, table)], [LAWS["joint"], LAWS["transfer"]])


def test_a_formula_is_named_as_it_was_typed(mine: pd.DataFrame) -> None:
    points = points_of(mine)
    laws = [points.law("A*N**-alpha"), points.law("size")]
    assert set(compared(points.parts(), laws)["law"]) == {"A*N**-alpha", "size"}
    assert [fit_points(points, law)[0]["law"] for law in ("A * N**-alpha", "size")] == ["A * N**-alpha", "size"]


def test_an_interaction_that_is_there_is_preferred_and_one_that_is_not_is_not() -> None:
    N, D = (v.ravel() for v in np.meshgrid(np.geomspace(1e4, 1e7, 6), np.geomspace(1e4, 1e7, 5)))
    noise = np.exp(0.003 * np.random.default_rng(2).standard_normal(len(N)))
    c = {"E": 0.2, "A": 12.0, "alpha": 0.3, "B": 9.0, "beta": 0.3}
    for G, law in ((0.0, "joint"), (900.0, "interaction")):
        loss = LAWS["interaction"](c | {"G": G}, N=N, D=D) * noise
        table = compared([({}, pd.DataFrame({"N": N, "D": D, "loss": loss}))], [LAWS["interaction"], LAWS["joint"]])
        assert table["law"].iloc[0] == law
    runs = pd.DataFrame({"N": [1.0, 2.0, 3.0], "D": [3.0, 2.0, 2.0], "C": [1.0, 9.0, 3.0]})
    assert largest_runs(runs, 0.2, ["N", "D"]).tolist() == [False, True, False]
    assert largest_runs(runs.drop(columns="C"), 0.2, ["N", "D"]).tolist() == [False, False, True]


def test_a_table_is_asked_from_the_command_line(shell: Shell, mine: pd.DataFrame) -> None:
    mine.to_csv(shell.folder / "mine.csv", index=False)
    at = ("--points", "mine.csv", "--n-params", "1e9", "--n-samples", "1e10")
    said = shell.type("predict", *at, "--law", "E + A*N**-alpha + B*D**-beta", "--json")
    row = json.loads(said.stdout)[0]
    assert row["low"] < joint(1e9, 1e10, **PLANTED) < row["high"]
    assert said.stderr.count("read: N is 'params', D is 'tokens'") == 1
    assert "extrapolates: N 4 times beyond the largest fitted" in row["note"]
    best = json.loads(shell.type("allocate", "--points", "mine.csv", "--flops", "1e18", "--json").stdout)
    assert {r["quantity"] for r in best} == {"N", "D", "loss", "model_share", "data_share"}
    assert 6 * best[0]["value"] * best[1]["value"] == pytest.approx(1e18)
    ended = shell.type("compare", "--points", "mine.csv", "--law", "joint", "--law", "a + b*log(N) + c*log(D)")
    assert ended.stdout.splitlines()[2].startswith("joint")
    assert "AICc: joint" in ended.stderr
    fitted = json.loads(shell.type("fit", "--points", "mine.csv", "--law", "tied").stdout)
    assert fitted[0]["law"] == "tied"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["fit", "--points", "mine.csv", "--law", "E + A*prams**-a"],
            "'prams' (character 7) is no column of the points",
        ),
        (["fit", "--points", "mine.csv", "--law", "A*open('x')"], "'open' (character 3) is no function"),
        (
            ["fit", "--points", "mine.csv", "--where", "tokesn > 1"],
            "no column is called 'tokesn'; did you mean 'tokens'",
        ),
        (["fit", "--points", "mine.csv", "--where", "tokens < 1"], "no row of the points is left by --where"),
        (
            ["fit", "--points", "three.csv", "--law", "E + k*(N+c)**-g"],
            "has 4 coefficients (E, k, c, g); 3 points are too",
        ),
        (["fit", "--points", "bare.csv"], "bare.csv is empty"),
        (["predict", "--points", "mine.csv", "--n-params", "1e9"], "the law reads D: say where, with --n-samples"),
        (["predict", "--n-params", "1e9", "--n-samples", "1e9"], "say --configuration, or ask a table with --points"),
        (["predict", "--points", "mine.csv", "--law", "joint", "--at", "X=1"], "--at X=1: the law has no column 'X'"),
        (["allocate", "--flops", "1e18", "--law", "tied"], "--law is for --points FILE; name the table"),
        (["allocate", "--points", "mine.csv", "--flops", "1e18", "--law", "size"], "allocation needs a law of N and D"),
        (["compare", "--points", "mine.csv", "--law", "jiont"], "no law is called 'jiont'; did you mean 'joint'?"),
        (["compare", "--results", "nowhere"], "no results folder 'nowhere'"),
    ],
)
def test_a_mistake_about_a_table_is_one_sentence(
    shell: Shell, mine: pd.DataFrame, arguments: list[str], sentence: str
) -> None:
    mine.to_csv(shell.folder / "mine.csv", index=False)
    mine.iloc[:3].to_csv(shell.folder / "three.csv", index=False)
    (shell.folder / "bare.csv").write_text("\n")
    ended = shell.type(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert sentence in " ".join(ended.stderr.split())


def test_results_of_a_sweep_are_compared_by_configuration(shell: Shell) -> None:
    write_runs(shell.folder / "results", planted_points(("resnet-sl", "resnet-ssl"), ragged=False))
    asked = ("compare", "demo", "--law", "joint", "--law", "tied", "--target", "ptbxl-sample", "--json")
    ended = shell.type(*asked)
    rows = json.loads(ended.stdout)
    assert {(r["configuration"], r["law"]) for r in rows} == {
        (c, law) for c in ("resnet-sl", "resnet-ssl") for law in ("joint", "tied")
    }
    assert [r["law"] for r in rows][::2] == ["joint", "joint"]
    assert "resnet-sl: AICc: joint" in ended.stderr


def test_a_sweep_that_repeats_its_data_gives_the_law_of_repeated_data(shell: Shell) -> None:
    planted, rng = {"E": 0.2, "A": 40.0, "alpha": 0.35, "B": 30.0, "beta": 0.4, "R": 6.0}, np.random.default_rng(3)
    grid = [(n, u) for n in (1e4, 1e5, 1e6, 1e7) for u in (1280, 5120, 20480, 81920)]
    for i, (n, u) in enumerate(grid):
        epochs = (1, 4, 16, 64)[(i + i // 4) % 4]  # every size sees every number of epochs once
        loss = float(LAWS["repeated"](planted, N=n, U=float(u), epochs=float(epochs)))
        loss *= float(np.exp(0.002 * rng.standard_normal()))
        description = records.canonical({"size": int(n), "samples": u, "epochs": epochs})
        run_id = records.run_id_of(description)
        shared = {
            "sweep": "again", "run_id": run_id, "configuration": "resnet-sl", "corpus": "code", "seed": 0,
            "initial": "", "label_set": "all", "n_params": int(n), "n_samples": u, "batch_size": 64, "metric": "loss",
            "macs_per_sample": int(30 * n), "fraction": u / grid[-1][1], "target": "code", "domain": "ID",
        }  # fmt: skip
        rows = [
            shared | {"step": step, "flops": 180.0 * n * 64 * step, "split": split, "value": loss * worse}
            for step, worse in ((0, 3.0), (epochs * u // 64, 1.0))
            for split in ("val", "test")
        ]
        records.write(records.path_of(shell.folder / "results", "again", run_id), rows, description, {"status": "done"})
    asked = ("compare", "again", "--law", "joint", "--law", "repeated", "--held", "0.1", "--json")
    repeated, joint_law = json.loads(shell.type(*asked).stdout)
    assert (repeated["law"], joint_law["law"]) == ("repeated", "joint")
    assert repeated["rmse"] < 0.003 < 0.03 < joint_law["rmse"]
    assert repeated["n"] == len(grid)
