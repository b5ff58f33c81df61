"""From rows on disk to the exponents table, and the questions it answers."""

import io
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecgscale import records
from ecgscale.analysis.figures.figure import source_of
from ecgscale.analysis.fitting.fit import BadPoints, fit
from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.naming import configuration_named, label
from ecgscale.analysis.observations import left_out, observations, trajectories, without_absurd
from ecgscale.analysis.planning.coverage import PLANTED
from ecgscale.analysis.points import fit_points
from ecgscale.analysis.study.beside import with_paper
from ecgscale.analysis.study.constants import task_key
from ecgscale.analysis.table import query
from ecgscale.analysis.table.build import exponents, fit_results, write
from ecgscale.analysis.table.groups import groups_of, prepared
from ecgscale.analysis.table.where import BadQuery
from tests.designs import designs
from tests.planted import planted_table

STEPS = (0, 1000, 5000)
TASKS = {"code": ("ID", 1.0), "cpsc2018": ("OOD", 2.0), "ptbxl_form": ("OOD", 1.5)}


def write_sweep(results: Path, noise: float = 0.005) -> None:
    """A sweep as training would leave it: losses of a planted law, falling over steps, slightly worse at the end."""
    rng = np.random.default_rng(0)
    for i, (n, d) in enumerate(designs()["ragged"].drop_duplicates().itertuples(index=False)):
        description = records.canonical({"size": int(n), "samples": int(d)})
        run_id = records.run_id_of(description)
        rows = []
        for step in STEPS:
            for task, (domain, factor) in TASKS.items():
                loss = factor * float(joint(n, d, **PLANTED)) * math.exp(noise * rng.standard_normal())
                loss *= {0: 4.0, 1000: 1.0, 5000: 1.1}[step]
                for split, value in (("val", loss), ("test", loss * (0.5 if step == 5000 else 1.0))):
                    rows.append(
                        {
                            "sweep": "planted",
                            "run_id": run_id,
                            "configuration": "resnet-sl",
                            "architecture": "resnet",
                            "objective": "supervised",
                            "paradigm": "sl",
                            "corpus": "code",
                            "fraction": d / 2.09e6,
                            "label_set": "all",
                            "seed": 0,
                            "n_params": int(n),
                            "macs_per_sample": int(30 * n),
                            "n_samples": int(d),
                            "batch_size": 128,
                            "step": step,
                            "flops": 6.0 * 30 * n * 128 * step,
                            "target": task,
                            "domain": domain,
                            "split": split,
                            "metric": "loss",
                            "value": value,
                        }
                    )
        status = "failed" if i == 0 else "done"
        records.write(records.path_of(results, "planted", run_id), rows, description, {"status": status})


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write_sweep(folder)
    return folder


@pytest.fixture(scope="module")
def table(results: Path) -> pd.DataFrame:
    return fit_results(results, bootstrap=40)[0]


def test_the_best_step_is_chosen_on_validation_and_reported_on_test(results: Path) -> None:
    by_val, by_test = observations(results), observations(results, select="test")
    assert set(by_val["step"]) == {1000}
    assert set(by_test["step"]) == {5000}
    assert (by_val["selected_by"] == "val").all()
    assert (by_test["loss"].to_numpy() < by_val["loss"].to_numpy()).all()
    assert len(by_val) == 19 * 3
    assert by_val.attrs["runs"] == {"done": 19, "failed": 1}
    assert (by_val["loss_untrained"] > by_val["loss"]).all()
    assert set(trajectories(results)["step"]) == set(STEPS)
    with pytest.raises(ValueError, match="val or test"):
        observations(results, select="train")


def test_nothing_done_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadPoints, match="launch a sweep first"):
        fit_results(tmp_path)
    with pytest.raises(query.BadQuery, match="ecgscale fit"):
        query.read(tmp_path)


def test_a_group_whose_label_set_is_missing_is_a_group(results: Path) -> None:
    points = observations(results)
    bare = points.assign(label_set=points["label_set"].where(points["target"] != "code"))
    whole, groups = groups_of(prepared(points)), groups_of(prepared(bare), trajectories(results))
    assert [len(group.points) for group in groups] == [len(group.points) for group in whole]
    (missing,) = [group for group in groups if group.facts["target"] == "code"]
    assert math.isnan(missing.facts["label_set"])
    assert missing.checkpoints is not None
    assert missing.checkpoints.empty  # theirs have a label set


def test_the_table_recovers_what_was_planted(table: pd.DataFrame, results: Path) -> None:
    assert tuple(table.columns) == query.COLUMNS
    laws = {"joint", "size", "pure_size", "data", "pure_data", "frontier", "transfer", "transfer_joint", "allocation"}
    assert set(table["law"]) == laws
    for name in ("alpha", "beta"):
        for row in query.query(table, law="joint", coefficient=name).to_dict("records"):
            half = (row["high"] - row["low"]) / 2  # of 95 % intervals some miss, none by its own half width
            assert row["low"] - half < PLANTED[name] < row["high"] + half
    kappa = query.query(table, law="transfer", coefficient="kappa")
    assert kappa["value"].to_numpy() == pytest.approx(1.0, abs=0.2)
    assert set(kappa["target"]) == {"cpsc2018", "ptbxl_form"}
    again = query.read(results)
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    assert (results / "exponents.md").read_text().startswith("| law |")


def test_amplitudes_have_no_interval_of_their_own(table: pd.DataFrame) -> None:
    joint_rows = table[table["law"] == "joint"]
    assert joint_rows.loc[joint_rows["coefficient"].isin(["A", "B"]), "low"].isna().all()
    assert joint_rows.loc[joint_rows["coefficient"].isin(["A_centre", "B_centre"]), "low"].notna().all()


def test_a_group_that_cannot_be_fitted_has_a_row_that_says_why(results: Path) -> None:
    points = observations(results)
    few = exponents(points[points["target"] == "code"].assign(loss=math.nan))
    assert (few["status"] == "failed").all()
    assert few["note"].str.contains("no point can be fitted").any()
    assert query.flagged(few).all()


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("alpha > 0.2 and target = 'cpsc2018'", {"cpsc2018"}),
        ("alpha > 20", set()),
        ("target in ('code', \"cpsc2018\") and not domain = 'ID'", {"cpsc2018"}),
        ("target like 'ptbxl%'", {"ptbxl_form"}),
        ("(target = 'code' or target = 'cpsc2018') and value between 0.3 and 0.4", {"code", "cpsc2018"}),
        ("low is not null and value > high", set()),
        ("n_points >= 19 and r2 > .9 and domain != 'OOD'", {"code"}),
        ("converged and target <> 'code'", {"cpsc2018", "ptbxl_form"}),
    ],
)
def test_conditions(table: pd.DataFrame, where: str, expected: set[str]) -> None:
    assert set(query.query(table, law="joint", where=where)["target"]) == expected


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("alhpa > 0.2", "did you mean 'alpha'"),
        ("target = 3", "text with a number"),
        ("alpha >", "found 'the end'"),
        ("(alpha > 1", "expected '\\)'"),
        ("alpha > 1 beta", "left over"),
        ("__import__('os').system('true')", "cannot be read|no column|left over"),
        ("target = 'x'; drop", "cannot be read"),
        ("target like 3", "quoted pattern"),
    ],
)
def test_conditions_that_cannot_be_read(table: pd.DataFrame, where: str, message: str) -> None:
    with pytest.raises(query.BadQuery, match=message):
        query.query(table, where=where)


def test_names_people_type(table: pd.DataFrame) -> None:
    assert len(query.query(table, configuration="R-SL")) == len(query.query(table, configuration="resnet-sl"))
    with pytest.raises(query.BadQuery, match="did you mean 'cpsc2018'"):
        query.query(table, target="cpsc")


def test_every_format_holds_the_rows(table: pd.DataFrame) -> None:
    part = query.query(table, law="joint")
    pd.testing.assert_frame_equal(
        pd.read_csv(io.StringIO(str(query.render(part, "csv"))))[["law", "value"]], part[["law", "value"]], rtol=1e-12
    )
    data = query.render(part, "parquet")
    assert isinstance(data, bytes)
    assert len(pd.read_parquet(io.BytesIO(data))) == len(part)
    rows = json.loads(query.render(part, "json"))
    assert rows[1]["coefficient"] == "A"
    assert rows[1]["low"] is None
    assert str(query.render(part, "md")).count("\n") == len(part) + 2
    assert str(query.render(part, "table")).count("\n") == len(part) + 2
    latex = str(query.render(part, "latex"))
    assert latex.count(r"\\") == len(part) + 1
    assert r"ptbxl\_form" in latex
    with pytest.raises(query.BadQuery, match="did you mean 'parquet'"):
        query.render(part, "parket")


def test_configurations_are_known_by_their_short_names() -> None:
    names = ("resnet-sl", "resnet-ssl", "transformer-sl", "transformer-ssl")
    assert [label(name) for name in names] == ["R-SL", "R-SSL", "T-SL", "T-SSL"]
    assert [configuration_named(short) for short in ("R-SL", "r-ssl", "T-SL", "t-ssl")] == list(names)
    assert (label("vit-dino"), configuration_named("ViT-DINO")) == ("ViT-DINO", "vit-dino")
    for short, name in (("S4D-SL", "s4d-sl"), ("R-CPC", "resnet-cpc"), ("Mamba-SSL", "mamba-ssl")):
        assert (label(name), configuration_named(short), configuration_named(short.lower())) == (short, name, name)
    assert (label("lstm-sl"), configuration_named("lstm-sl")) == ("lstm-sl", "lstm-sl")
    assert label("resnet-sl-tuned") == "resnet-sl-tuned"


def test_the_papers_numbers_stand_beside(table: pd.DataFrame) -> None:
    beside = with_paper(query.query(table, law="transfer_joint", coefficient="kappa"))
    assert dict(zip(beside["target"], beside["paper"], strict=True)) == {"cpsc2018": 0.2, "ptbxl_form": 0.138}
    np.testing.assert_allclose(beside["difference"], beside["value"] - beside["paper"])
    inside = (beside["low"] <= beside["paper"]) & (beside["paper"] <= beside["high"])
    assert list(beside["within"]) == ["yes" if one else "no" for one in inside]
    assert set(beside["source"]) == {"Table S.7"}


def test_refits_of_the_papers_losses_say_that_they_are_derived(table: pd.DataFrame) -> None:
    beside = with_paper(query.query(table, law="joint", configuration="R-SL", target="cpsc2018"))
    known = beside[beside["source"] != ""].set_index("coefficient")
    assert known.loc["alpha", "paper"] == pytest.approx(0.443, abs=1e-3)
    assert known.loc["alpha", "source"] == "derived: Table S.5"
    assert "E" not in known.index
    header = str(query.render(beside, "table")).splitlines()[0].split()
    assert header[-4:] == ["difference", "within", "source", "status"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PTB-XL(sub.)", "ptbxl_subclass"),
        ("PTB-XL(superclass)", "ptb-xl-super"),
        ("MIMIC-Mort.", "MIMIC(mortality)"),
        ("CPSC2018", "cpsc_2018"),
    ],
)
def test_tasks_are_known_by_any_spelling(one: str, other: str) -> None:
    assert task_key(one) == task_key(other)
    assert task_key("PTB-XL(sub.)") != task_key("PTB-XL(sup.)")


def test_anybodys_points_become_json(tmp_path: Path) -> None:
    grid = designs()["ragged"]
    loss = joint(grid["N"], grid["D"], **PLANTED)
    both = pd.concat([grid.assign(loss=loss, family="a"), grid.assign(loss=2 * loss, family="b").iloc[:3]])
    both.to_csv(tmp_path / "points.csv", index=False)
    fits = fit_points(tmp_path / "points.csv")
    assert [f["group"] for f in fits] == [{"family": "a"}, {"family": "b"}]
    assert fits[0]["coefficients"]["alpha"]["value"] == pytest.approx(0.35, rel=1e-6)
    assert {"value", "low", "high", "at_bound"} <= set(fits[0]["coefficients"]["E"])
    assert fits[1]["status"] in ("unidentified", "failed")
    json.dumps(fits, allow_nan=False)
    both.to_parquet(tmp_path / "points.parquet")
    assert fit_points(tmp_path / "points.parquet", "joint", "huber", 1e-3, 0)[0]["law"] == "joint"
    curve = pd.DataFrame({"C": np.geomspace(1e12, 1e16, 12)}).assign(loss=lambda t: 0.1 + 40 * t["C"] ** -0.2)
    assert fit_points(curve, bootstrap=0)[0]["law"] == "frontier"
    with pytest.raises(BadPoints, match="no column 'loss'"):
        fit_points(both.drop(columns="loss"))
    with pytest.raises(BadPoints, match="no file"):
        fit_points(tmp_path / "pionts.csv")


def test_points_of_two_losses_use_the_floors_they_bring() -> None:
    x = np.linspace(0.1, 0.5, 12)
    both = pd.DataFrame({"loss_id": x, "loss_ood": 0.2 + 0.7 * (x - 0.05) ** 0.8, "E_id": 0.05, "E_ood": 0.2})
    found = fit_points(both)[0]
    assert found["law"] == "transfer"
    assert found["coefficients"]["kappa"]["value"] == pytest.approx(0.8, rel=1e-9)


def test_no_flipped_bit_of_the_table_goes_unnoticed(tmp_path: Path) -> None:
    """Each of 200 is refused, with what to do; so is a table that nobody sealed."""
    table = planted_table()
    write(table, tmp_path)
    pd.testing.assert_frame_equal(query.read(tmp_path), table)
    path, draw = tmp_path / query.FILE, random.Random(0)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        with pytest.raises(BadQuery, match=r"exponents\.parquet is damaged .* run `ecgscale fit` again"):
            query.read(tmp_path)
    table.to_parquet(path)
    with pytest.raises(BadQuery, match="it is not sealed"):
        query.read(tmp_path)


def test_losses_that_cannot_be_are_left_out_and_counted() -> None:
    """Above 50 times the prevalence loss once trained, above 1,000 nats, below 0, infinite; step 0 may be far above."""
    nan, inf = math.nan, math.inf
    table = pd.DataFrame(
        {"sweep": "s", "run_id": list("aaaabb"), "target": list("xxxxyy"), "step": [0, 1, 2, 3, 0, 1]}
        | {"loss": [5.1, 5.1, inf, 0.09, 0.7, 1001.0], "loss_val": [0.7, 0.1, 0.1, 0.1, 0.7, -0.7]}
        | {"prevalence_loss": [0.1, nan, nan, nan, nan, 0.0]}
    )
    left, flagged = without_absurd(table)
    assert list(left["loss"].fillna(-1)) == [5.1, -1, -1, 0.09, 0.7, -1]
    assert flagged == {"not finite": 1, "absurdly high": 2, "below 0": 1}


def test_rows_of_losses_that_cannot_be_never_enter_a_fit_in_silence(tmp_path: Path) -> None:
    """Written into the files of runs that ended well: the points of a fit stay the same, and it is counted why."""
    write_sweep(tmp_path)
    sound = observations(tmp_path)
    wrong = {split: [math.nan, math.inf, 1e9] for split in ("val", "test")}
    for path in sorted((tmp_path / "runs" / "planted").glob("*.parquet"))[:6]:
        file = records.read(path)
        rows = records.as_rows(file.rows)
        for row in rows:  # the last of three steps, which was never the best
            if row["step"] == 5000 and row["target"] == "code" and wrong[row["split"]]:
                row["value"] = wrong[row["split"]].pop()
        records.write(path, rows, file.description, dict(file.facts))
    observed = observations(tmp_path)
    pd.testing.assert_frame_equal(observed, sound)
    lost = ["1 failed", "2 losses not a number", "2 losses not finite", "2 losses absurdly high"]
    assert left_out(sound) == lost[:1]
    assert left_out(observed) == lost
    assert source_of(observed, "val").endswith(f"left out: {', '.join(lost)}")


def test_fitting_one_sweep_leaves_the_rows_of_another(results: Path, table: pd.DataFrame, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(results, folder)
    other = table.assign(sweep="another")
    write(other, folder)
    again, _ = fit_results(folder, ["planted"], bootstrap=0)
    written = query.read(folder)
    assert list(written["sweep"]) == ["another"] * len(other) + ["planted"] * len(again)
    assert again["bootstrap_low"].isna().all()
    assert (again.loc[again["law"] == "transfer_joint", "interval"] == "none").all()
    assert set(fit_results(folder, bootstrap=0)[0]["sweep"]) == set(query.read(folder)["sweep"]) == {"planted"}


def test_the_bound_on_exponents_is_an_option_and_a_hit_is_said() -> None:
    n = np.geomspace(1e4, 1e7, 8)
    steep = pd.DataFrame({"N": n, "loss": 0.1 + (n / 1e4) ** -3.6 * np.exp(1e-3 * np.sin(n))})
    held, free = fit("size", steep), fit("size", steep, max_exponent=6.0)
    assert held["alpha"] == 3.0
    assert "alpha at its upper bound 3" in held.note
    assert free["alpha"] == pytest.approx(3.6, abs=0.05)
    assert free.coefficients["alpha"].at_bound == ""
