"""Claims as tests: the printed tables give what is counted in them, planted laws give the verdict that was planted."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from ecgscale.analysis.fitting.identifiability import BadPoints
from ecgscale.analysis.observations import COLUMNS as OBSERVED
from ecgscale.analysis.study import claims, published
from ecgscale.analysis.study.claims import Number
from ecgscale.analysis.study.constants import CONFIGURATIONS
from ecgscale.analysis.table.build import write
from ecgscale.analysis.table.query import COLUMNS
from tests.planted import planted_points, planted_table, write_runs
from tests.shell import Shell

TASKS = ("cpsc2018", "echonext", "mimic-sex", "mimic-icu")
SIZES, DATA = (3e4, 3e5, 3e6, 2e7, 8e7), (2e4, 1e5, 2e5, 1e6, 2e6)
AFTER = ["loss_untrained", "auroc_untrained", "selected_by"]  # columns of observations that checkpoints have not
# Factor of the loss above the floor: residual networks are better, and self-supervision where Transformers are.
WORSE = {"resnet-sl": 1.0, "resnet-ssl": 1.2, "transformer-ssl": 1.5, "transformer-sl": 2.0}


@pytest.fixture(scope="module")
def printed() -> dict[int, claims.Verdict]:
    return claims.judge(claims.of_publication())


def number(verdict: claims.Verdict, name: str) -> claims.Number:
    return next(n for n in verdict.numbers if n.name == name)


def planted(worse: dict[str, float] = WORSE, a: float = 2.0) -> pd.DataFrame:
    """Checkpoints of a full grid, losses ``0.1 + worse (a N^-0.5 + 8 D^-0.3)``, slightly more before the last step."""
    rows = []
    for c, name in enumerate(CONFIGURATIONS):
        for i, (n, d) in enumerate((n, d) for n in SIZES for d in DATA):
            for step in (50, 100):
                for target in ("code", *TASKS):
                    loss = 0.1 + worse[name] * (a * n**-0.5 + 8 * d**-0.3) * (1 + 0.1 * (step < 100))
                    facts: dict[str, object] = {
                        "sweep": "grid",
                        "run_id": f"{c}{i}",
                        "configuration": name,
                        "corpus": "code",
                        "seed": 0,
                    }
                    facts |= {"label_set": "all", "n_labels": 6, "fraction": d / 2e6, "N": n, "D": d}
                    facts |= {"C": 6.0 * n * step, "step": step, "target": target, "loss": loss, "loss_val": loss}
                    rows.append(facts | {"domain": "ID" if target == "code" else "OOD"})
    return pd.DataFrame(rows).reindex(columns=[*dict.fromkeys([*OBSERVED, "loss_val"])]).drop(columns=AFTER)


def of_planted(paths: pd.DataFrame, table: pd.DataFrame | None = None) -> claims.Evidence:
    return claims.of_results(paths, pd.DataFrame(columns=list(COLUMNS)) if table is None else table)


def exponent(name: str, configuration: str, target: str, value: float, **flags: object) -> dict[str, object]:
    law = {"kappa": "transfer_joint", "b": "allocation"}.get(name, "joint")
    row: dict[str, object] = {
        "sweep": "grid",
        "corpus": "code",
        "label_set": "all",
        "domain": "OOD",
        "law": law,
        "coefficient": name,
    }
    row |= {"configuration": configuration, "target": target, "value": value, "low": 0.9 * value, "high": 1.1 * value}
    return row | {"at_bound": "", "status": "ok", "at": ""} | flags


def table_of(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(rows).reindex(columns=list(COLUMNS))


def test_every_claim_has_a_verdict_and_a_reason(printed: dict[int, claims.Verdict]) -> None:
    assert list(printed) == list(claims.CLAIMS) == list(range(1, 19))
    assert all(verdict.why and claims.CLAIMS[i].statement for i, verdict in printed.items())
    assert {i for i, v in printed.items() if not v.numbers} == {1, 2, 13, 14, 15, 16, 18}


def test_winners_by_size_are_those_of_table_s5(printed: dict[int, claims.Verdict]) -> None:
    assert printed[9].holds
    assert "8/1/2, 4/7/0, 3/6/2, 4/3/4, 3/4/4" in printed[9].why
    assert printed[9].numbers[0].value == pytest.approx(43 / 55)
    assert 0.5 < printed[9].numbers[0].low < 43 / 55 < printed[9].numbers[0].high < 1


def test_data_winners_are_those_of_table_s6(printed: dict[int, claims.Verdict]) -> None:
    assert printed[10].holds
    assert printed[10].numbers[0].value == pytest.approx(10 / 11)
    assert "3/6/2" in printed[10].why
    assert number(printed[10], "tasks on which SL overtakes with data").note == "cpsc2018, csn, ptbxl-rhythm"


def test_consistently_is_not_what_the_tables_say(printed: dict[int, claims.Verdict]) -> None:
    assert printed[11].holds is False
    assert "52 of 55 size cells and 57 of 66 data cells (54 of 55 without the least)" in printed[11].why
    assert "mimic-mortality bin 1, mimic-sex bin 2, ptbxl-rhythm bin 2" in printed[11].why
    assert printed[12].holds is False
    assert "at the largest on mimic-icu, mimic-mortality, mimic-sex, ptbxl-form" in printed[12].why


def test_mean_kappas_and_their_bound_hits(printed: dict[int, claims.Verdict]) -> None:
    verdict = printed[6]
    for name, mean in {"T-SL": 0.128, "R-SL": 0.133, "T-SSL": 0.466, "R-SSL": 0.270}.items():
        found = number(verdict, f"mean κ {name}")
        assert round(found.value, 3) == mean == found.paper
        assert found.low < mean < found.high
        assert found.note.startswith("2 of 11 at a bound; median")
        assert number(verdict, f"mean κ {name}, off the bounds").value > mean
    assert number(verdict, "κ at a bound of the fit").value == 8
    assert number(verdict, "κ above 1").note == "T-SSL on ptbxl-form"
    assert "not on ptbxl-diag, ptbxl-form, ptbxl-sub" in verdict.why


def test_the_quoted_ratio_divides_by_a_bound(printed: dict[int, claims.Verdict]) -> None:
    verdict = printed[7]
    assert verdict.holds is False
    sex, icu = (number(verdict, f"κ R-SSL/R-SL, mimic-{t}") for t in ("sex", "icu"))
    assert (round(sex.value, 2), round(icu.value, 2)) == (7.66, 8.02)
    assert "denominator at its bound" in sex.note
    assert "denominator at its bound" in icu.note
    assert round(number(verdict, "κ T-SSL/T-SL, echonext").value, 1) == 6.8


def test_ratios_stand_with_and_without_bounds_as_mean_and_median(printed: dict[int, claims.Verdict]) -> None:
    names = [n.name for n in printed[5].numbers if n.name.startswith("β T-SSL/T-SL")]
    ways = ["mean, off the bounds", "median, off the bounds", "mean, all", "median, all"]
    assert names == [f"β T-SSL/T-SL, {way}" for way in ways]
    assert printed[5].holds
    assert all(n.low < n.value < n.high for n in printed[5].numbers)


def test_refits_of_bins_do_not_refute(printed: dict[int, claims.Verdict]) -> None:
    assert all(printed[i].holds is not False and "indicative" in printed[i].why for i in (3, 4, 5, 8))


def test_the_benchmark_has_its_order(printed: dict[int, claims.Verdict]) -> None:
    assert printed[17].holds
    assert [n.value for n in printed[17].numbers[:4]] == [0.882, 0.866, 0.856, 0.812]
    assert "ViT (Merl) (0.805), is below the best from scratch (0.812)" in printed[17].why


def test_what_does_not_add_up_in_print() -> None:
    found = {m.where: m.found for m in claims.misprints()}
    assert len(found) == 7
    text = claims.as_list(claims.misprints())
    for part in (
        "3 of 55",
        "9 of 66",
        "identical in 4 of 6 columns",
        "8.02",
        "8 of 44",
        "4 label sets",
        "entropy 0.692",
    ):
        assert part in " ".join(text.split())


def test_misprints_are_counted_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With tables that agree with the text, nothing is reported."""
    by_size, by_data = published.losses_by_size(), published.losses_by_data()
    for table in (by_size, by_data):
        table.loc[table["configuration"] == "transformer-ssl", "loss"] /= 2
    by_data.loc[by_data["configuration"] == "resnet-sl", "loss"] *= 1.2
    monkeypatch.setattr(published, "losses_by_size", lambda: by_size)
    monkeypatch.setattr(published, "losses_by_data", lambda: by_data)
    where = [m.where for m in claims.misprints()]
    assert not any("consistently" in w or "S.6" in w for w in where)


def test_planted_losses_give_the_planted_order() -> None:
    right = claims.judge(of_planted(planted()))
    assert (right[9].holds, right[11].holds, right[14].holds) == (True, True, True)
    assert right[9].numbers[0].value == 1.0
    assert right[12].holds is False
    turned = dict(zip(WORSE, reversed(WORSE.values()), strict=True))
    wrong = claims.judge(of_planted(planted(turned)))
    assert (wrong[9].holds, wrong[11].holds, wrong[14].holds) == (False, False, False)


def test_a_data_bottleneck_is_told_from_a_size_bottleneck() -> None:
    bottleneck = claims.judge(of_planted(planted(a=5.0)))
    assert bottleneck[1].holds
    assert number(bottleneck[1], "R-SL: -dlnL/dlnD at the most data").low > 0
    assert bottleneck[18].holds
    assert number(bottleneck[18], "R² of the collapse, R-SL").value > 0.99
    assert claims.CLAIMS[1].test(of_planted(planted(a=500.0))).holds is False


def test_more_labels_are_compared_on_fixed_sets_alone() -> None:
    base = planted()
    base = base[base["configuration"] == "resnet-sl"]
    some = base.assign(run_id=base["run_id"] + "x", label_set="some", n_labels=3, loss=1.1 * base["loss"])
    some.loc[(some["target"] == "echonext") & (some["N"] > 1e6), "loss"] /= 1.3
    paths = pd.concat([base, some], ignore_index=True)
    assert claims.CLAIMS[15].test(of_planted(paths)).holds is None
    fixed = paths[paths["target"] == "code"].assign(target="frequent")
    verdict = claims.CLAIMS[15].test(of_planted(pd.concat([paths, fixed], ignore_index=True)))
    assert verdict.holds
    assert verdict.numbers[0].value == 1.0
    assert verdict.numbers[1].value < 1.0


def test_own_exponents_carry_the_intervals_of_their_fits() -> None:
    kappa = {"transformer-sl": 0.1, "transformer-ssl": 0.5, "resnet-sl": 0.2, "resnet-ssl": 0.19}
    rows = [exponent("kappa", c, t, v) for c, v in kappa.items() for t in TASKS]
    evidence = of_planted(planted(), table_of(*rows))
    verdict = claims.CLAIMS[6].test(evidence)
    assert verdict.holds is None
    headline = number(verdict, "mean κ T-SSL")
    assert (headline.low, headline.high) == pytest.approx((0.45, 0.55))
    assert claims.CLAIMS[7].test(evidence).numbers[0].low == pytest.approx(0.9 / 1.1 * 0.19 / 0.2)


def test_bounds_are_left_out_of_the_first_number_of_a_ratio() -> None:
    rows = [exponent("beta", "resnet-ssl", t, 0.4) for t in TASKS]
    rows += [exponent("beta", "resnet-sl", t, 0.2) for t in TASKS[:3]]
    rows += [exponent("beta", "resnet-sl", TASKS[3], 0.005, at_bound="low", status="bound")]
    verdict = claims.CLAIMS[5].test(of_planted(planted(), table_of(*rows)))
    off, all_of_them = (number(verdict, f"β R-SSL/R-SL, mean, {which}") for which in ("off the bounds", "all"))
    assert off.value == pytest.approx(2.0)
    assert off.low == pytest.approx(2.0 * 0.9 / 1.1)
    assert all_of_them.value == pytest.approx(0.4 / (0.605 / 4))
    assert verdict.holds is None
    assert "T: fewer than two tasks" in verdict.why


def test_allocation_needs_intervals_on_one_side_of_a_half() -> None:
    shares = {"transformer-sl": 0.9, "resnet-sl": 0.8, "transformer-ssl": 0.3}
    rows = [exponent("b", c, t, v) for c, v in shares.items() for t in TASKS]
    assert claims.CLAIMS[13].test(of_planted(planted(), table_of(*rows))).holds
    wide = [row | {"low": 0.2, "high": 0.95} for row in rows]
    assert claims.CLAIMS[13].test(of_planted(planted(), table_of(*wide))).holds is None


def test_fine_tuning_is_read_from_its_own_fits() -> None:
    a = {"cpsc2018": 0.8, "echonext": 0.1, "mimic-sex": 0.3}
    facts = {"law": "replaced", "corpus": "a task's own", "label_set": "other"}
    rows = [exponent("a_T", "transformer-sl", t, v, **facts) for t, v in a.items()]
    rows += [exponent("b_T", "transformer-sl", t, -0.2, low=-0.3, high=-0.1, **facts) for t in a]
    verdict = claims.CLAIMS[16].test(of_planted(planted(), table_of(*rows)))
    assert verdict.holds
    assert "smallest on echonext" in verdict.why
    rows[1]["value"] = 0.5
    assert claims.CLAIMS[16].test(of_planted(planted(), table_of(*rows))).holds is False


def test_nothing_measured_is_nothing_tested() -> None:
    verdicts = claims.judge(of_planted(planted().iloc[:0]))
    assert all(v.holds is None and v.why for v in verdicts.values())
    assert all(row["value"] is None or math.isfinite(row["value"]) for row in claims.as_json(verdicts))


def test_the_verb_answers_for_people_and_for_programs(shell: Shell) -> None:
    shown = shell.type("claims", "--reference")
    assert shown.returncode == 0
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "What does not add up in print" in shown.stdout
    assert shown.stderr.splitlines()[-1].startswith("next: ecgscale claims")
    document = json.loads(shell.type("claims", "--reference", "--json").stdout)
    assert [c["number"] for c in document["claims"]] == list(range(1, 19))
    assert document["claims"][8]["holds"] is True
    assert len(document["misprints"]) == 7


def test_the_verb_reads_results(shell: Shell) -> None:
    results = shell.folder / "results"
    results.mkdir()
    assert "no finished run" in shell.type("claims").stderr
    write_runs(results, planted_points())
    write(planted_table(), results)
    answer = shell.type("claims", "--json")
    assert answer.returncode == 0
    document = json.loads(answer.stdout)
    assert "Demo scale" in document["source"]
    assert [c["verdict"] for c in document["claims"]].count("not testable") >= 5
    assert "holds" in {c["verdict"] for c in document["claims"]}


def test_sweeps_are_not_mixed(tmp_path: Path) -> None:
    write_runs(tmp_path, planted_points(("resnet-sl",)))
    write_runs(tmp_path, planted_points(("resnet-ssl",)).assign(sweep="other"))
    with pytest.raises(BadPoints, match="several sweeps: demo, other; name one"):
        claims.in_results(tmp_path)
    assert set(claims.in_results(tmp_path, "other").points["configuration"]) == {"resnet-ssl"}


def test_a_number_whose_other_end_is_open_is_printed_one_sided() -> None:
    assert claims.with_interval(Number("a", 0.784, 0.62, 0.93)) == "0.784 [0.62, 0.93]"
    assert claims.with_interval(Number("a", 0.784, 0.62, math.inf)) == "0.784 (≥ 0.62)"
    assert claims.with_interval(Number("a", 0.784, -math.inf, 0.93)) == "0.784 (≤ 0.93)"
    assert claims.with_interval(Number("a", 0.784, -math.inf, math.inf)) == claims.with_interval(Number("a", 0.784))
