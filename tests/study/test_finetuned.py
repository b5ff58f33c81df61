"""Fine-tuned backbones side by side: the mean counts PTB-XL once and is missing where a task is."""

import numpy as np
import pandas as pd
import pytest

from ecgscale.analysis.study.finetuned import benchmark, finetuned

SCORES = {("ptbxl", "form"): 0.80, ("ptbxl", "rhythm"): 0.90, ("echonext", "shd11"): 0.75, ("mimic", "sex"): 0.95}


def points() -> pd.DataFrame:
    rows = []
    for configuration, initial, drop in (("resnet-sl-tuned", "abc", 0.0), ("resnet-sl", "", 0.1)):
        for (corpus, label_set), auroc in SCORES.items():
            for d, less in ((100.0, 0.2), (1000.0, 0.0)):
                scores = {"auroc": auroc - drop - less, "f1": 0.5, "loss": 0.3}
                facts = {"sweep": "tune", "configuration": configuration, "initial": initial, "corpus": corpus}
                place = {"label_set": label_set, "target": corpus, "domain": "ID", "N": 1e6, "D": d, "step": 10}
                rows.append(facts | place | scores)
    rows.append(rows[0] | {"target": "cpsc2018", "domain": "OOD", "auroc": 0.1})
    rows.append(rows[0] | {"corpus": "code", "target": "code", "label_set": "code6", "auroc": np.nan})
    return pd.DataFrame(rows)


def test_the_mean_counts_ptbxl_once_at_all_data() -> None:
    table = finetuned(points())
    assert set(table["task"]) == {"ptbxl-form", "ptbxl-rhythm", "echonext", "mimic-sex"}
    wide = benchmark(table).set_index("configuration")
    assert wide.at["resnet-sl-tuned", "mean"] == pytest.approx((0.85 + 0.75 + 0.95) / 3)
    assert wide.at["resnet-sl", "mean"] == pytest.approx((0.85 + 0.75 + 0.95) / 3 - 0.1)
    assert wide.at["resnet-sl-tuned", "initial"] == "abc"
    assert wide.at["resnet-sl-tuned", "ptbxl-form"] == pytest.approx(0.80)


def test_a_missing_task_leaves_no_mean() -> None:
    table = finetuned(points().query("not (corpus == 'echonext' and initial == '')"))
    wide = benchmark(table).set_index("configuration")
    assert wide["mean"].isna().to_dict() == {"resnet-sl": True, "resnet-sl-tuned": False}
    assert set(benchmark(table, "f1")["ptbxl-form"]) == {0.5}


def test_nothing_fine_tuned_is_an_empty_table() -> None:
    assert benchmark(finetuned(points().iloc[:0])).empty
