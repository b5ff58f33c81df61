"""The paper's benchmark as a sweep: models are known by their descriptions, and stand beside print, name by name."""

from pathlib import Path

import numpy as np
import pytest

from ecgscale import records
from ecgscale.analysis.observations import trajectories
from ecgscale.analysis.study import claims
from ecgscale.analysis.study.compared import TASKS_OF
from ecgscale.analysis.study.figures import draw
from ecgscale.analysis.study.published import benchmark as printed
from ecgscale.analysis.study.recognised import MODELS, model_of
from ecgscale.analysis.study.tables import Material, Sheet, make
from ecgscale.sweeps import benchmark
from tests.planted import NO_TABLE
from tests.runs import RESNET_SL, RESNET_SSL

LABEL_SETS = {"echonext": "shd11", "cpsc2018": "cpsc9"}
INCEPTIONTIME = {"kind": "inceptiontime"}


def test_every_model_of_the_sweep_is_known_by_its_description_and_no_other_run_is() -> None:
    task = benchmark.TASKS[0]
    runs = {name: benchmark.from_scratch(name, task) for name in benchmark.FROM_SCRATCH}
    runs |= {name: benchmark.fine_tuned(name, task) for name in benchmark.PRETRAINED}
    assert {name: model_of(run.description) for name, run in runs.items()} == {name: name for name in runs}
    assert set(MODELS) == set(runs) == {*printed()["model"], "Transformer"}
    assert len(benchmark.SWEEP.runs) == len(runs) * len(benchmark.TASKS) == 230
    assert model_of(RESNET_SL.description) == model_of(RESNET_SSL.description) == model_of("") == ""


def measured(results: Path, network: dict[str, object], tasks: dict[str, float], weights: str = "") -> None:
    """Finished runs of a network, one a task, with these AUROCs on the test split."""
    for task, auroc in tasks.items():
        corpus, _, label_set = task.partition("-")
        run = {"architecture": network, "objective": {"kind": "supervised"}, "slice": {"corpus": corpus, "of": task}}
        description = records.canonical(run | ({"weights": weights} if weights else {}))
        run_id = records.run_id_of(description)
        kind = f"{network['kind']}-sl{'-tuned' if weights else ''}"
        row = dict.fromkeys(records.SCHEMA.names) | {"sweep": "bench", "run_id": run_id, "configuration": kind}
        row |= {"architecture": network["kind"], "objective": "supervised", "paradigm": "sl", "corpus": corpus}
        row |= {"label_set": label_set or LABEL_SETS.get(corpus, ""), "target": corpus, "domain": "ID", "initial": ""}
        row |= {"seed": 0, "n_params": 20_000, "macs_per_sample": 10, "n_samples": 50, "batch_size": 8, "step": 10}
        scores = (("val", "loss", 0.5), ("test", "loss", 0.5), ("test", "auroc", auroc))
        rows = [row | {"flops": 1.0, "split": s, "metric": m, "value": v} for s, m, v in scores]
        records.write(records.path_of(results, "bench", run_id), rows, description, {"status": "done"})


def table(results: Path) -> Sheet:
    loaded = records.load(results)
    return make("S.9", Material(claims.in_results(results), loaded.runs, loaded.rows))


def test_a_model_that_was_trained_here_stands_below_its_printed_line_and_on_the_landscape(tmp_path: Path) -> None:
    theirs = printed().set_index("model").loc["InceptionTime"]
    everywhere = {task: float(theirs[column]) - 0.02 for column, tasks in TASKS_OF.items() for task in tasks}
    measured(tmp_path, INCEPTIONTIME, everywhere)
    measured(tmp_path, {"kind": "wave"}, {"mimic-sex": 0.951, "mimic-icu": 0.779}, weights="ab")
    sheet = table(tmp_path)
    lines = [dict(zip(sheet.header, row, strict=True)) for row in sheet.rows]
    assert [(line["Model"], line[""]) for line in lines] == [
        ("InceptionTime", "printed"),
        ("", "here"),
        ("ECG-FM", "printed"),
        ("", "here"),
    ]
    assert (lines[0]["Mean"], lines[1]["Mean"], lines[1]["Difference"]) == ("0.812", "0.792", "−0.020")
    assert (lines[3]["Sex"], lines[3]["PTB-XL"], lines[3]["Mean"], lines[3]["Difference"]) == (
        "0.951",
        "–",
        "–",
        "0.000",
    )
    assert any("1 of 2 models were not measured on all columns" in words for words in sheet.missing)
    assert "XResNet1d101" in sheet.caption
    assert make("s8", Material(claims.in_results(tmp_path), *_loaded(tmp_path))).rows[0][:3] == (
        "ECG-FM",
        "20K",
        "pretrained",
    )
    (page,) = draw("landscape", trajectories(tmp_path), NO_TABLE)
    shown = page.data().query("kind == 'run'").set_index("series")
    assert (shown.at["InceptionTime", "x"], shown.at["ECG-FM", "x"]) == (513_000, 20_000)
    assert shown["y"].to_dict() == pytest.approx({"InceptionTime": theirs["mean"] - 0.02, "ECG-FM": 0.865}, abs=1e-3)
    assert np.isfinite(shown["y"]).all()


def _loaded(results: Path):  # type: ignore[no-untyped-def]
    loaded = records.load(results)
    return loaded.runs, loaded.rows
