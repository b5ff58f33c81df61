"""Figures of label scaling and of few-shot transfer, drawn from synthetic points."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from ecgscale.analysis.figures import FIGURES, SPECIAL, NothingToShow, draw, fitting, robustness
from ecgscale.analysis.fitting.effective_data import replaced
from ecgscale.analysis.observations import COLUMNS as POINTS
from ecgscale.analysis.table.build import rows_of
from ecgscale.analysis.table.query import COLUMNS
from tests.drawn import words
from tests.planted import NO_TABLE, fewshot_points, planted_points

FIXED = {"dominant": 93, "tail": 9}
DRAWN = [("dominant", 93, ""), ("tail", 9, "")]
DRAWN += [(fixed, n, f"-{share}.{draw}") for fixed in FIXED for share, n in ((30, 278), (50, 464)) for draw in range(3)]


def label_points() -> pd.DataFrame:
    """Trajectories of a label-scaling sweep: two supervised configurations on every label set, sizes of all four."""
    rows: list[dict[str, object]] = []
    rng = np.random.default_rng(0)

    def run(configuration: str, n: float, label_set: str, n_labels: int, fixed: tuple[str, ...]) -> None:
        run_id = f"{len(rows):012x}"
        facts = {"sweep": "labels", "run_id": run_id, "configuration": configuration, "corpus": "mimic-icd10"}
        architecture, _, paradigm = configuration.partition("-")
        facts |= {"architecture": architecture, "paradigm": paradigm, "label_set": label_set, "initial": ""}
        gain = np.log10(max(n_labels, 9)) / 3 + 0.05 * rng.standard_normal()
        targets = [("mimic-icd10", "ID"), ("cpsc2018", "OOD"), *((f"mimic-icd10:icd10/{f}", "ID") for f in fixed)]
        for target, domain in targets:
            for step in (0, 100):
                loss = (0.5 if domain == "OOD" else 0.06) * (1 - 0.3 * gain * (step > 0)) * (n / 1e7) ** -0.02
                rows.append(
                    facts
                    | {"n_labels": n_labels, "N": n, "D": 160e3, "C": 1e12 * step, "seed": 0, "fraction": 1.0}
                    | {"target": target, "domain": domain, "step": step, "loss": loss, "loss_val": loss}
                    | {"loss_train": loss, "auroc": 1 - loss, "f1": 0.3, "prevalence_loss": np.nan}
                )

    for configuration, n in (("resnet-sl", 16.8e6), ("transformer-sl", 11.6e6)):
        for fixed, n_labels, tail in DRAWN:
            run(configuration, n, f"icd10/{fixed}{tail}", n_labels, (fixed,))
    for configuration in ("resnet-sl", "transformer-sl", "resnet-ssl", "transformer-ssl"):
        for n in (1e5, 1e6, 4e6, 16.8e6 if configuration.startswith("resnet") else 11.6e6):
            supervised = configuration.endswith("-sl")
            all_labels = ("icd10", 927, ("dominant", "tail")) if supervised else ("", 0, ())
            run(configuration, n, *all_labels)
    table = pd.DataFrame(rows)
    table.attrs = {"runs": {"done": table["run_id"].nunique()}, "bad": []}
    return table


def fewshot_table(points: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for facts, attempt in replaced(points):
        rows += rows_of(facts | {"law": "replaced", "at": ""}, attempt())
    return pd.DataFrame(rows, columns=list(COLUMNS))


def fewshot() -> pd.DataFrame:
    points = fewshot_points(7)
    points["loss"] = points["loss"] * np.exp(0.01 * np.random.default_rng(1).standard_normal(len(points)))
    return points.drop(columns="selected_by").assign(auroc=np.nan, loss_train=np.nan, prevalence_loss=np.nan, f1=np.nan)


def test_special_figures_are_drawn_for_their_sweeps_alone() -> None:
    assert not set(SPECIAL) & set(fitting(planted_points()))
    assert "labels" in fitting(label_points())
    assert "fewshot" in fitting(fewshot())
    assert set(fitting(planted_points().iloc[:0])) == set(FIGURES) - set(SPECIAL)


def test_label_scaling_is_drawn_on_the_fixed_sets() -> None:
    (page,) = draw("labels", label_points(), NO_TABLE)
    text, shown = words(page), page.data()
    assert "ID, dominant (93 labels)" in text
    assert "ID, tail (9 labels)" in text
    assert "OOD, CPSC2018" in text
    grown = shown[shown["panel"] == "loss, mimic-icd10:icd10/tail"]
    assert sorted(set(grown["x"])) == [9, 278, 464, 927]
    assert set(grown["series"]) == {
        f"{c}, from tail" for c in ("resnet-sl, N = 1.68e+07", "transformer-sl, N = 1.16e+07")
    }
    assert (shown[shown["panel"].str.startswith("auroc")]["y"] <= 1).all()
    sizes = shown[shown["panel"] == "loss, size"]
    assert set(sizes["series"]) == {"resnet-sl", "resnet-ssl", "transformer-sl", "transformer-ssl"}
    assert len(sizes) == 16
    assert not page.missing


def test_half_a_label_sweep_says_what_is_missing() -> None:
    part = label_points().query("configuration == 'resnet-sl' and n_labels < 100")
    (page,) = draw("labels", part, NO_TABLE)
    assert any("no size saw several numbers of labels" in m for m in page.missing)
    assert "no size saw several" not in words(page)


def test_few_shots_are_drawn_with_what_they_replace() -> None:
    points = fewshot()
    (page,) = draw("fewshot", points, fewshot_table(points.assign(selected_by="val")))
    text, shown = words(page), page.data()
    for name in ("PTB-XL form", "PTB-XL rhythm", "EchoNext"):
        assert f"{name}, T-SL" in text
    assert "b = −0." in text
    assert set(shown["kind"]) == {"fine-tuned", "from scratch"}
    first = shown[(shown["panel"] == "echonext") & (shown["kind"] == "from scratch")]
    assert len(first) == 3 * 7


@pytest.mark.parametrize("unit", ["SD² of age", "nats"])
def test_losses_of_few_shots_are_in_the_unit_of_what_was_tuned_and_not_of_what_pretrained_it(unit: str) -> None:
    points = fewshot().assign(loss_unit=unit)
    pretrained = points.iloc[:1].assign(corpus="another", initial="", run_id="f" * 12, loss_unit="nats")
    (page,) = draw("fewshot", pd.concat([points, pretrained]), NO_TABLE)
    assert f"test loss ({unit})" in words(page)


def test_half_a_fewshot_sweep_says_what_is_missing() -> None:
    points = fewshot()
    (page,) = draw("fewshot", points[points["initial"] != ""], NO_TABLE)
    assert any("from scratch" in m for m in page.missing)
    with pytest.raises(NothingToShow, match="no run was fine-tuned"):
        draw("fewshot", points[points["initial"] == ""], NO_TABLE)


def robustness_points() -> pd.DataFrame:
    """A clean task, the same under noise and with fewer leads; two seeds, two configurations."""
    rows = []
    conditions = {"": 0.9} | {f"+{k}{snr}dB": 0.9 - (24 - snr) / 100 for k in ("bw", "em", "ma") for snr in (24, 6, -6)}
    conditions |= {"+3leads": 0.85, "+1lead": 0.7}
    for configuration, seed, (condition, auroc) in product(("vit-dino", "ecgfounder-sl"), (0, 1), conditions.items()):
        rows.append(
            dict.fromkeys(POINTS, np.nan)
            | {"sweep": "mine", "run_id": f"{configuration}{seed}", "configuration": configuration, "corpus": "a+b"}
            | {
                "N": 1e6,
                "D": 1e5,
                "seed": seed,
                "domain": "OOD",
                "step": 10,
                "loss": 1 - auroc,
                "label_set": "",
                "initial": "",
            }
            | {"target": f"ptbxl-sup{condition}", "auroc": auroc + 0.01 * seed, "auroc_untrained": auroc - 0.1}
        )
    rows += [row | {"target": "a+b", "domain": "ID"} for row in rows if row["target"] == "ptbxl-sup"]
    return pd.DataFrame(rows, columns=list(POINTS))


def test_robustness_is_drawn_by_kind_of_noise_and_leads() -> None:
    points = robustness_points()
    assert "robustness" in fitting(points)
    (page,) = draw("robustness", points, NO_TABLE)
    shown = page.data()
    noisy = shown[(shown["panel"] == "ptbxl-sup, em") & (shown["kind"] == "auroc") & (shown["series"] == "vit-dino")]
    assert noisy["x"].tolist() == [-6, 6, 24]
    assert noisy["y"].tolist() == pytest.approx([0.605, 0.725, 0.905])
    leads = shown[(shown["panel"] == "ptbxl-sup, leads") & (shown["kind"] == "auroc_untrained")]
    assert sorted(set(leads["x"])) == [1, 3, 12]
    assert "ViT-DINO" in words(page)
    assert "ECGFounder" in words(page)
    assert not page.missing


def test_conditions_are_in_no_other_figure() -> None:
    plain = robustness.without_conditions(robustness_points())
    assert set(plain["target"]) == {"ptbxl-sup", "a+b"}
    assert not robustness.has(plain)
    with pytest.raises(NothingToShow, match="no task was measured under noise or with fewer leads"):
        draw("robustness", plain, NO_TABLE)
