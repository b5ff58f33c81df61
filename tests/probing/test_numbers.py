"""Labels that are numbers: what is trained, probed, mixed, exported and drawn is in the unit that it says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from ecgscale import data, records
from ecgscale.analysis.figures import observed
from ecgscale.analysis.learning import learning
from ecgscale.analysis.observations import observations, worse_than_prevalence
from ecgscale.attempt import Place
from ecgscale.data import corpus as corpora
from ecgscale.data.batches import Batch
from ecgscale.data.label_sets import Number
from ecgscale.data.mixture import stored
from ecgscale.export import folder
from ecgscale.models import ResNet
from ecgscale.objectives import ObjectiveInputs, Supervised
from ecgscale.pricing.obstacles import checked
from ecgscale.probing.convex import RIDGES, fit_convex, fit_logistic
from ecgscale.probing.heads import columns
from ecgscale.probing.scores import scores
from ecgscale.spec import Evaluation, Run, Schedule, Sweep, Task
from ecgscale.spec.tasks import TASKS
from ecgscale.trial import trial

SCHEDULE = Schedule(steps=2, batch_size=8, lr=1e-2)
EVALUATION = Evaluation(every=2, probe_epochs=2, convex=True)


def test_a_corpus_standardises_numbers_by_its_training_recordings(home: Path) -> None:
    sample = data.open_corpus("ludb-sample", home)
    number = sample.manifest.labels_of("age")[0].number
    assert number is not None
    assert sample.numbers is not None
    train = sample.numbers[sample.split == 0, 0].astype(np.float64)
    assert (number.unit, number.n) == ("years", len(train))
    assert (number.mean, number.deviation) == pytest.approx((train.mean(), train.std()))
    both = sample.targets("rhythm+age", np.arange(200))
    assert both[:, :-1].tolist() == sample.targets("rhythm", np.arange(200)).tolist()
    assert both[:, -1] == pytest.approx((sample.numbers[:, 0] - number.mean) / number.deviation, abs=1e-6)
    assert columns(sample, "rhythm+age", "age") == [6]
    assert columns(sample, "age", "rhythm") == []


def test_a_sample_from_before_is_given_ages_and_keeps_its_digest(tmp_path: Path) -> None:
    sample = data.open_corpus("ludb-sample", tmp_path)

    files = {name: digest for name, digest in sample.manifest.files.items() if name != "numbers"}
    place = corpora.folder_of(tmp_path, "ludb-sample")
    (place / "numbers.npy").unlink()
    corpora.write_manifest(place, replace(sample.manifest, number_sets={}, files=files))
    again = data.open_corpus("ludb-sample", tmp_path)
    assert again.manifest == sample.manifest
    assert data.verify("ludb-sample", tmp_path)["ok"].all()


def test_a_heads_loss_is_the_squared_error_of_what_is_known() -> None:
    backbone = ResNet(3, 2).build()
    module = Supervised().build(backbone, 2, ObjectiveInputs(numbers=(False, True))).eval()
    labels = torch.tensor([[1.0, 0.5], [0.0, torch.nan], [torch.nan, -2.0]])
    batch = Batch(torch.randn(3, 12, 100), torch.zeros(3, 1, dtype=torch.int64), labels, torch.arange(3))
    with torch.no_grad():
        said = module.head(backbone(batch).pooled)  # type: ignore[operator]
    with torch.no_grad():
        loss = module(batch, torch.Generator())
    p = torch.sigmoid(said[:, 0])
    expected = -p[0].log() - (1 - p[1]).log() + (said[0, 1] - 0.5) ** 2 + (said[2, 1] + 2) ** 2
    assert float(loss.total) == pytest.approx(float(expected), rel=1e-5)
    assert int(loss.n_terms) == 4


def test_the_ridge_probe_is_ridge_regression_and_leaves_others_as_they_are() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(300, 8, generator=draw)
    y = torch.stack([x @ torch.randn(8, generator=draw), (x[:, 0] > 0).float()], 1)
    y[:, 0] += 2 * torch.randn(300, generator=draw)
    y[::7, 0] = torch.nan
    train, val = torch.arange(300) < 150, torch.arange(300) >= 150
    found = fit_convex(x, y, train, val, torch.tensor([True, False]))
    assert torch.equal(found[:, 1:], fit_logistic(x, y[:, 1:], train, val))
    rows, checked_on = train & y[:, 0].isfinite(), val & y[:, 0].isfinite()
    unit = float((x[rows] - x[rows].mean(0)).square().mean()) * int(rows.sum())
    fits = [Ridge(alpha=ridge * unit).fit(x[rows].numpy(), y[rows, 0].numpy()) for ridge in RIDGES]
    truth = y[checked_on, 0].numpy()
    best = min(fits, key=lambda fit: np.square(fit.predict(x[checked_on].numpy()) - truth).mean())
    assert found[:-1, 0].numpy() == pytest.approx(best.coef_, abs=1e-4)
    assert float(found[-1, 0]) == pytest.approx(best.intercept_, abs=1e-4)


def test_scores_of_numbers_are_in_their_unit_and_have_no_auroc() -> None:
    truth = torch.tensor([[0.0], [1.0], [2.0], [torch.nan]])
    found = scores(truth, truth.nan_to_num() + 0.5, numbers=[Number("years", 50, 10)])
    assert (found.loss, found.mae, found.n_evaluated, found.n_classes) == (0.25, 5.0, 3, 1)
    assert found.r2 == pytest.approx(1 - 0.25 / (2 / 3))
    assert np.isnan(found.auroc)
    assert np.isnan(found.f1)
    several = scores(truth.expand(-1, 2), truth.expand(-1, 2), numbers=[Number("years"), Number("ms")])
    assert np.isnan(several.mae)
    assert several.r2 == 1


def test_a_mix_whose_corpora_share_numbers_learns_them_on_one_scale(home: Path) -> None:
    samples = [data.open_corpus(name, home) for name in ("ptbxl-sample", "ludb-sample")]
    part = corpora.Slice("ptbxl-sample", 1.0, "age", (("ludb-sample", 0.1),))
    mix = stored(part, samples, "val", "cpu", False)
    ours = samples[0].manifest.labels_of("age")[0].number
    assert ours is not None
    assert samples[1].numbers is not None
    years = mix.stores[1].labels[:, 0].numpy() * ours.deviation + ours.mean  # type: ignore[union-attr]
    assert years == pytest.approx(samples[1].numbers[samples[1].rows("val", 1.0, "age"), 0], abs=1e-3)
    other = Run(ResNet(3, 2), Supervised(), corpora.Slice("ptbxl-sample", 1.0, "sex", (("ludb-sample", 1),)))
    with pytest.raises(ValueError, match="corpus ludb-sample has no label set 'sex'"):
        checked(Sweep("mixed", (other,), ()), home)


def test_a_run_on_numbers_says_its_units_from_the_rows_to_the_figures(home: Path, tmp_path: Path) -> None:
    run = Run(ResNet(3, 2), Supervised(), corpora.Slice("ludb-sample", 1.0, "rhythm+age"), SCHEDULE, EVALUATION)
    asked = (Task("years", "ludb-sample", "age", "D"), TASKS["ludb-rhythm"])
    head = Task("years-head", "ludb-sample", "age", "D", by="head")
    sweep = Sweep("aged", (run,), (*asked, head), label_sets=("age",), keep="best")
    assert trial(run, sweep, Place(home, tmp_path)) == "done"
    file = records.read(records.path_of(tmp_path, "aged", run.run_id))
    last = file.rows[(file.rows["step"] == 2) & (file.rows["split"] == "test")]
    value = last.set_index(["target", "metric"])["value"]
    assert {"loss", "prevalence_loss", "r2", "mae", "convex_loss", "convex_r2", "convex_mae"} == set(
        value["years"].index
    )
    assert {"r2", "mae", "loss"} == set(value["ludb-sample:age"].index) == set(value["years-head"].index)
    assert {"auroc", "f1"} <= set(value["ludb-rhythm"].index)
    assert "r2" not in value["ludb-rhythm"]
    assert value["years-head", "mae"] == pytest.approx(value["ludb-sample:age", "mae"], rel=1e-5)
    assert json.loads(file.facts["numbers"])["years"] == {"of": 1, "units": {"age": "years"}}
    points = observations(tmp_path, ["aged"])
    unit = points.set_index("target")["loss_unit"]
    assert (unit["years"], unit["ludb-rhythm"], unit["ludb-sample"]) == ("SD² of age", "nats", "nats and SD²")
    assert unit["years-head"] == "SD² of age"
    assert observed.loss_unit(points) == "nats, SD²"
    years = points[points["target"] == "years"]
    assert years["prevalence_loss"].item() == pytest.approx(1, abs=0.3)
    assert worse_than_prevalence(years.assign(loss=9.0)) == "1 of 1 losses are worse than the training recordings' mean"
    table = learning(points).set_index("target")
    assert table.loc["years", "mae_unit"] == "years"
    assert table["auroc"].isna()["years"]
    folder.export(run, sweep, home, tmp_path, tmp_path / "model")
    model = folder.load(tmp_path / "model")
    sample = data.open_corpus("ludb-sample", home)
    rows = sample.rows("test", 1.0, "age")
    answers = model.answers(model.features_in(sample, rows))
    assert sample.numbers is not None
    error = np.abs(answers[:, -1] - sample.numbers[rows, 0]).mean()
    assert error == pytest.approx(value["ludb-sample:age", "mae"], rel=1e-4)
    assert np.all((answers[:, :-1] >= 0) & (answers[:, :-1] <= 1))
