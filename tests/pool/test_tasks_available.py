"""A sweep whose held-out sets are partly there runs on those, says which are missing, and gains the others later."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from ecgscale import data, records
from ecgscale.attempt import Attempt, Place
from ecgscale.data.readers import SAME_PEOPLE
from ecgscale.pool.states import outstanding, outstanding_in_words
from ecgscale.pricing.obstacles import begun_without, left_in_words, same_people_in_words, unlaunchable
from ecgscale.probing.reprobe import lacking, reprobe
from ecgscale.spec.sweep import Sweep, load
from ecgscale.spec.tasks import Task, task_of
from ecgscale.trial import trial
from tests import layouts
from tests.paths import HOUSE
from tests.shell import Shell

LATE = Task("ludb-late", "ludb-sample", "rhythm", "A")


def rows(results: Path, run_id: str, sweep: str = "tiny") -> pd.DataFrame:
    found = records.read(records.path_of(results, sweep, run_id)).rows
    keys = ["step", "target", "split", "metric"]
    assert not found.duplicated(keys).any()
    return found.drop(columns="seconds").sort_values(keys, ignore_index=True)


def test_what_is_missing_is_named_with_its_commands_and_the_flag(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    waits = Task("zzu-disease", "zzu-pecg", "disease4", "B")
    asked = replace(tiny_sweep, runs=tiny_sweep.runs[:1], tasks=("ludb-rhythm", waits, "cpsc2018-head"), keep="best")
    causes = unlaunchable(asked, home, tmp_path)
    assert "corpus zzu-pecg is not prepared here; run: ecgscale data prepare zzu-pecg --raw DIR" in causes
    assert "tasks zzu-disease, cpsc2018-head can be left for later: --tasks-available begins without" in causes[-1]
    begun = begun_without(asked, home)
    assert [task_of(task).name for task in begun.tasks] == ["ludb-rhythm"]
    assert unlaunchable(begun, home, tmp_path) == []
    assert begun.runs == asked.runs  # the same runs, of the same identities
    said = left_in_words(begun)
    assert "left for later: task zzu-disease" in said[0]
    assert "ecgscale reprobe tiny" in said[0]
    assert "reprobe can add nothing on task cpsc2018-head: heads are gone then" in said[-1]
    assert 'the sweep keeps no weights (give it keep="best" or "all")' in left_in_words(replace(begun, keep="none"))[-1]


def test_a_run_that_goes_on_has_a_task_at_all_its_steps_or_later_by_reprobe(
    tiny_sweep: Sweep, home: Path, tmp_path: Path
) -> None:
    """Begun without a set, stopped, gone on with when the set is there: nothing is measured from the middle on."""
    torch.set_num_threads(1)
    run = tiny_sweep.runs[1]
    whole = replace(tiny_sweep, runs=(run,), tasks=("ludb-rhythm", LATE), keep="all")
    assert trial(run, whole, Place(home, tmp_path / "whole")) == "done"
    place = Place(home, tmp_path / "parts")
    begun = replace(whole, tasks=("ludb-rhythm",), left_out=(LATE,))
    said: list[str] = []
    attempt = Attempt(pause=lambda: any(line.startswith("step 3") for line in said), note=said.append)
    assert trial(run, begun, place, attempt=attempt) == "paused"
    assert outstanding(whole, place.results) == {run.run_id: ("ludb-late",)}
    assert trial(run, whole, place) == "done"  # now the set is there
    assert set(rows(place.results, run.run_id)["target"]) == {"ludb-sample", "ludb-rhythm"}
    assert lacking(run, whole, place.results, whole.tasks) == ["ludb-late"]
    (sentence,) = outstanding_in_words(whole, outstanding(whole, place.results))
    assert sentence.startswith("still to be measured: ludb-late (1 run)")
    assert reprobe(run, whole, [LATE], home, place.results) == [0, 3, 6]
    assert outstanding(whole, place.results) == {}
    assert lacking(run, whole, place.results, whole.tasks) == []
    pd.testing.assert_frame_equal(rows(place.results, run.run_id), rows(tmp_path / "whole", run.run_id))


def test_people_who_are_in_two_datasets_are_no_others(tiny_sweep: Sweep) -> None:
    trained = replace(tiny_sweep.runs[0], slice=replace(tiny_sweep.runs[0].slice, corpus="mimic-open"))
    tasks = (Task("here", "mimic", "sex", "D"), Task("there", "ptbxl", "sex", "D"))
    (said,) = same_people_in_words(replace(tiny_sweep, runs=(trained,), tasks=tasks))
    assert said.startswith("task here: mimic holds patients of mimic-open, on which runs are trained")
    kept_apart = replace(trained, slice=replace(trained.slice, corpus="mimic-icd10"))  # by folds
    assert same_people_in_words(replace(tiny_sweep, runs=(kept_apart,), tasks=tasks)) == []
    assert {name for pair in SAME_PEOPLE for name in pair} <= set(data.DATASETS)


def test_reprobe_adds_nothing_on_leads_that_a_network_does_not_read(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    run = tiny_sweep.runs[1]
    whole = replace(tiny_sweep, runs=(run,), tasks=("ludb-rhythm",), left_out=(LATE,), keep="all")
    assert trial(run, whole, Place(home, tmp_path)) == "done"
    before = rows(tmp_path, run.run_id)
    assert outstanding(whole, tmp_path) == {run.run_id: ("ludb-late",)}
    monkeypatch.setattr("ecgscale.probing.reprobe.reads", lambda run, corpus: False)
    reprobe(run, whole, [LATE], home, tmp_path)
    assert outstanding(whole, tmp_path) == {}  # never to be measured
    pd.testing.assert_frame_equal(rows(tmp_path, run.run_id), before)


def test_the_open_grid_holds_its_sets_out_and_spans_three_decades() -> None:
    grid = load(str(HOUSE / "sweeps" / "open_grid.py"))
    trained = {name for run in grid.runs for name in run.slice.corpora}
    held_out = {task_of(task).corpus for task in grid.tasks}
    assert trained == {"mimic-open", "code15"}
    assert not trained & held_out
    assert {data.DATASETS[name].card.access for name in trained | held_out} == {"open"}
    assert 1.2e6 < sum(data.DATASETS[name].card.n_records for name in trained | held_out) < 1.4e6
    assert {run.configuration for run in grid.runs} == {"resnet-sl", "resnet-ssl", "transformer-sl", "transformer-ssl"}
    fractions = {run.slice.fraction for run in grid.runs}
    assert max(fractions) / min(fractions) == pytest.approx(1000)


SMALL_GRID = """
from ecgscale.models import ResNet
from ecgscale.objectives import CMSC
from ecgscale.spec import Evaluation, Run, Schedule, Sweep
from ecgscale.spec.sweep import load

GRID = load({grid!r})
MIXED = next(run.slice for run in GRID.runs if run.configuration == "resnet-ssl" and run.slice.fraction == 1)
PROBES = Evaluation(every=2, probe_epochs=2, probe_lr=1e-2)
SWEEP = Sweep(
    "mine",
    tuple(Run(ResNet(3, 4), CMSC(), MIXED, Schedule(steps=4, batch_size=4), PROBES, seed) for seed in range(2)),
    tasks=tuple(task for task in GRID.tasks if getattr(task, "name", task) in ("cpsc2018", "zzu-sex")),
    keep=GRID.keep,
)
"""


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_the_open_grid_small_runs_with_a_set_missing_and_reprobe_adds_it(tmp_path: Path) -> None:
    home, raw = tmp_path / "home", tmp_path / "raw"
    shell = Shell(tmp_path, home)
    (tmp_path / "sweeps" / "mine.py").write_text(SMALL_GRID.format(grid=str(HOUSE / "sweeps" / "open_grid.py")))
    for name, n in (("mimic-open", 48), ("code15", 40), ("cpsc2018", 40), ("zzu-pecg", 40)):
        layouts.LAYOUTS[name](raw / name, n=n)
    for name in ("mimic-open", "code15", "cpsc2018"):
        data.prepare(name, raw / name, home, workers=1)
    refused = shell.type("launch", "mine")
    assert refused.returncode == 3
    assert "ecgscale data prepare zzu-pecg --raw DIR" in refused.stderr
    assert "task zzu-sex can be left for later: --tasks-available" in refused.stderr
    planned = shell.type("plan", "mine", "--tasks-available", "--device", "a100")
    assert planned.returncode == 0, planned.stderr
    assert "to get zzu-pecg: a download of 4.1 GB" in planned.stderr
    assert "next: ecgscale launch mine --tasks-available" in planned.stderr
    launched = shell.run("launch", "mine", "--tasks-available", "--workers", "1")
    assert launched.returncode == 0, launched.stderr
    assert "left for later: task zzu-sex" in launched.stderr
    assert "still to be measured: zzu-sex (2 runs)" in launched.stderr
    measured = records.load(tmp_path / "results", ["mine"]).rows
    assert set(measured.loc[measured["domain"] == "OOD", "target"]) == {"cpsc2018"}
    assert "still to be measured: zzu-sex (2 runs)" in shell.type("status", "mine").stderr
    assert "zzu-pecg is not prepared here" in shell.type("reprobe", "mine").stderr
    data.prepare("zzu-pecg", raw / "zzu-pecg", home, workers=1)
    added = shell.type("reprobe", "mine", "--device", "cpu")
    assert added.returncode == 0, added.stderr
    after = records.load(tmp_path / "results", ["mine"]).rows
    of_set = after[after["target"] == "zzu-sex"]
    assert of_set.groupby("run_id")["step"].unique().map(sorted).tolist() == [[0, 2, 4]] * 2
    assert "still to be measured" not in shell.type("status", "mine").stderr
