"""One run the whole way: cut off anywhere it goes on, and what is saved of an error names no place."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from ecgscale import records, trial
from ecgscale.attempt import Attempt, Place, Resources, Sparing
from ecgscale.data.corpus import Slice
from ecgscale.home import checkpoint_path
from ecgscale.models import ViT
from ecgscale.objectives import DINO, dino
from ecgscale.probing.measure import Measurement, Row
from ecgscale.redact import describe_error
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.training import checkpoint, session
from ecgscale.training.sharding import Processes
from ecgscale.training.train import Snapshot


def rows(results: Path, run_id: str) -> pd.DataFrame:
    return records.read(records.path_of(results, "tiny", run_id)).rows.drop(columns="seconds")


@pytest.mark.parametrize("cut", ["checkpoint", "rows", "rest"])
@pytest.mark.parametrize("n_whole", [1, 2, 3])
def test_a_run_that_is_cut_off_goes_on_as_if_it_had_not_been(
    cut: str, n_whole: int, tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut at the n-th evaluation: before its checkpoint, between that and its rows, or behind both."""
    torch.set_num_threads(1)
    run = tiny_sweep.runs[0]
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "whole")) == "done"
    n_saved, save, sync = 0, checkpoint.save, records.Journal.sync

    class Cut(BaseException):
        pass

    def cutting(path: Path, state: dict[str, object], guard: Callable[[], None]) -> None:
        nonlocal n_saved
        n_saved += 1
        if cut != "checkpoint" or n_saved < n_whole:
            save(path, state, guard)
        if n_saved == n_whole and cut != "rest":
            raise Cut

    def synced(journal: records.Journal) -> None:
        sync(journal)
        if n_saved == n_whole:
            raise Cut

    monkeypatch.setattr(records.Journal, "sync", synced)
    monkeypatch.setattr(checkpoint, "save", cutting)
    with pytest.raises(Cut):
        trial.trial(run, tiny_sweep, Place(home, tmp_path / "cut"))
    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(records.Journal, "sync", sync)
    assert records.state_of(records.path_of(tmp_path / "cut", "tiny", run.run_id))[0] == "running"
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "cut")) == "done"
    pd.testing.assert_frame_equal(rows(tmp_path / "cut", run.run_id), rows(tmp_path / "whole", run.run_id))
    assert not checkpoint_path(home, "tiny", run.run_id).exists()


def test_a_branched_run_that_is_cut_off_has_the_rows_of_its_budgets_alone(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is measured where the rate had not fallen; compute is that of each budget by itself."""
    torch.set_num_threads(1)
    schedule = Schedule(steps=8, batch_size=8, lr=1e-2, decay="wsd", cooldown=0.25, budgets=(4,))
    run = replace(tiny_sweep.runs[0], schedule=schedule, evaluation=replace(tiny_sweep.runs[0].evaluation, every=1))
    sweep = replace(tiny_sweep, runs=(run,))
    assert trial.trial(run, sweep, Place(home, tmp_path / "whole")) == "done"
    whole = rows(tmp_path / "whole", run.run_id)
    assert sorted(set(whole["step"])) == [0, 4, 8]
    flops = whole.drop_duplicates("step").set_index("step")["flops"]
    assert flops[8] == 2 * flops[4] > 0
    n_saved, save = 0, checkpoint.save

    class Cut(BaseException):
        pass

    def cutting(path: Path, state: dict[str, object], guard: Callable[[], None]) -> None:
        nonlocal n_saved
        save(path, state, guard)
        n_saved += 1
        if n_saved in (2, 5, 6, 9):
            raise Cut

    monkeypatch.setattr(checkpoint, "save", cutting)
    for _ in range(4):
        with pytest.raises(Cut):
            trial.trial(run, sweep, Place(home, tmp_path / "cut"))
    assert trial.trial(run, sweep, Place(home, tmp_path / "cut")) == "done"
    pd.testing.assert_frame_equal(rows(tmp_path / "cut", run.run_id), whole)


def test_a_full_disk_loses_nothing_that_was_measured(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills while the second evaluation is written; when there is room again the same call goes on."""
    torch.set_num_threads(1)
    run = tiny_sweep.runs[1]
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "whole")) == "done"
    n_saved, save, fsync = 0, checkpoint.save, os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    def filling(path: Path, state: dict[str, object], guard: Callable[[], None]) -> None:
        nonlocal n_saved
        save(path, state, guard)
        n_saved += 1
        if n_saved == 2:
            monkeypatch.setattr(os, "fsync", full)

    monkeypatch.setattr(checkpoint, "save", filling)
    with pytest.raises(OSError, match="No space left"):
        trial.trial(run, tiny_sweep, Place(home, tmp_path / "full"))
    kept = rows(tmp_path / "full", run.run_id)
    assert set(kept["step"]) == {0, 3}  # its rows were written, if not for a machine that fails
    monkeypatch.setattr(os, "fsync", fsync)
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "full")) == "done"
    pd.testing.assert_frame_equal(rows(tmp_path / "full", run.run_id), rows(tmp_path / "whole", run.run_id))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_diverged_run_says_where(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    run = replace(tiny_sweep.runs[0], schedule=Schedule(steps=6, batch_size=8, lr=1e30))
    assert trial.trial(run, Sweep("tiny", (run,), ("ludb-rhythm",)), Place(home, tmp_path)) == "diverged"
    state, why = records.state_of(records.path_of(tmp_path, "tiny", run.run_id))
    assert state == "diverged"
    assert "step" in why
    assert "learning rate" in why


def test_a_collapsed_run_is_recorded_with_what_was_seen_of_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dino, "_COLLAPSED", 2.0)  # no features could tell so much
    objective = DINO(n_prototypes=16, head_width=16, bottleneck=8, n_local=1)
    schedule, settings = Schedule(steps=2, batch_size=8, lr=1e-3), Evaluation(every=1, probe_epochs=1)
    run = Run(ViT(1, 12, 1, patch=100), objective, Slice("ludb-sample"), schedule, settings)
    assert trial.trial(run, Sweep("tiny", (run,), ("ludb-rhythm",)), Place(home, tmp_path)) == "diverged"
    state, why = records.state_of(records.path_of(tmp_path, "tiny", run.run_id))
    assert (state, why.partition(" they")[0]) == ("diverged", "features collapsed: at step 1")
    assert "rank" in why
    assert "teacher's entropy" in why
    seen = rows(tmp_path, run.run_id).query("metric in ('feature_rank', 'teacher_entropy', 'information')")
    assert sorted(zip(seen["step"], seen["metric"], strict=True)) == [
        (step, name) for step in (0, 1) for name in ("feature_rank", "information", "teacher_entropy")
    ]


def test_a_run_whose_worker_died_is_failed_and_keeps_its_rows(tiny_sweep: Sweep, home: Path, tmp_path: Path) -> None:
    run = tiny_sweep.runs[0]
    file = records.path_of(tmp_path, "tiny", run.run_id)
    records.give_up(file, run.description, "failed", "its worker died 3 times", {})
    assert records.state_of(records.path_of(tmp_path, "tiny", run.run_id)) == ("failed", "its worker died 3 times")
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path)) == "done"
    n_rows = len(rows(tmp_path, run.run_id))
    records.give_up(file, run.description, "failed", "again", {})
    assert len(rows(tmp_path, run.run_id)) == n_rows > 0


@pytest.mark.parametrize(
    ("error", "saved"),
    [
        (FileNotFoundError(2, "No such file or directory", "/home/Jane Doe/ecg/x.npy"), "x.npy"),
        (RuntimeError("cannot read '/data/my study/p 1/rec.npy': bad"), "cannot read 'rec.npy': bad"),
        (RuntimeError("cannot read /data/study/rec.npy: bad"), "cannot read rec.npy: bad"),
        (ValueError("a ratio of 1/2 is fine"), "a ratio of 1/2 is fine"),
    ],
)
def test_a_saved_error_names_no_place(error: Exception, saved: str) -> None:
    text = describe_error(error)
    assert saved in text
    for place in ("/home", "/data", "Jane", "study"):
        assert place not in text


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_paused_run_goes_on_bit_for_bit(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paused at steps that are not due for evaluation, by a question that is asked once a step."""
    monkeypatch.setattr(trial, "may_pause", lambda asked: nullcontext())
    torch.set_num_threads(1)
    run, asked = tiny_sweep.runs[0], iter(range(1, 100))
    said: list[str] = []
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "whole")) == "done"
    paused = trial.trial(
        run,
        tiny_sweep,
        Place(home, tmp_path / "cut"),
        attempt=Attempt(pause=lambda: next(asked) >= at, note=lambda line: said.append(line)),
    )
    assert paused == "paused"
    assert "paused at step" in said[-1]
    assert records.state_of(records.path_of(tmp_path / "cut", "tiny", run.run_id))[0] == "running"
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "cut"), attempt=Attempt(note=said.append)) == "done"
    assert any("from step" in line for line in said)
    pd.testing.assert_frame_equal(rows(tmp_path / "cut", run.run_id), rows(tmp_path / "whole", run.run_id))


def test_a_pause_in_an_evaluation_costs_that_evaluation_alone(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for in the midst of the second evaluation: no step is taken and nothing measured twice."""
    torch.set_num_threads(1)
    run, said, asked = tiny_sweep.runs[0], list[str](), list[int]()
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "whole")) == "done"
    measured, taken = trial.Measurement.rows, list[int]()

    def counted(measurement: trial.Measurement, snapshot: trial.Snapshot, *processes: Processes) -> list[trial.Row]:
        taken.append(snapshot.step)
        return measured(measurement, snapshot, *processes)

    monkeypatch.setattr(trial.Measurement, "rows", counted)

    def pause() -> bool:
        asked.append(taken[-1] if taken else -1)
        return asked.count(3) > 4  # the evaluation of step 3 is under way

    attempt = Attempt(pause=pause, note=said.append)
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "cut"), attempt=attempt) == "paused"
    assert said[-1] == "paused in the evaluation of step 3, which will be done again"
    assert set(rows(tmp_path / "cut", run.run_id)["step"]) == {0}
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path / "cut"), attempt=Attempt(note=said.append)) == "done"
    assert any("from step 3" in line for line in said)
    assert taken == [0, 3, 3, 6]
    pd.testing.assert_frame_equal(rows(tmp_path / "cut", run.run_id), rows(tmp_path / "whole", run.run_id))


@pytest.mark.parametrize(
    ("error", "memory"), [(torch.OutOfMemoryError("CUDA out of memory"), "device"), (MemoryError(), "host")]
)
def test_want_of_memory_is_recorded_and_not_raised(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, memory: str
) -> None:
    asked: list[object] = []

    def short(*_: object, **options: object) -> None:
        asked.append(options.get("micro_batch"))
        raise error

    monkeypatch.setattr(session, "pretrain", short)
    run = tiny_sweep.runs[0]
    assert trial.trial(run, tiny_sweep, Place(home, tmp_path), Resources(sparing=Sparing(micro_batch=2))) == "oom"
    facts = records.read(records.path_of(tmp_path, "tiny", run.run_id)).facts
    assert (facts["status"], facts["memory"], facts["micro_batch"]) == ("oom", memory, "2")
    assert int(facts["peak_memory_bytes"]) > 0
    assert facts["ran_out_in"] == "training"
    assert asked == [2]


@pytest.mark.parametrize("times", [1, 2])
def test_an_evaluation_that_runs_out_of_memory_is_done_again_with_streamed_recordings(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once: nothing is lost and every row is as it would be. Twice: the file says where memory ran out."""
    run, resident, left = tiny_sweep.runs[0], [], [times]

    def scarce(measurement: Measurement, snapshot: Snapshot, *processes: Processes) -> list[Row]:
        resident.append([store.is_resident for store in measurement.stores.values()])
        if snapshot.step and left[0]:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return measured(measurement, snapshot, *processes)

    measured = Measurement.rows
    monkeypatch.setattr(Measurement, "rows", scarce)
    state = trial.trial(run, tiny_sweep, Place(home, tmp_path / "scarce"))
    file = records.read(records.path_of(tmp_path / "scarce", "tiny", run.run_id))
    assert resident[:3] == [[True, True], [True, True], [False, False]]
    if times == 2:
        assert (state, file.facts["memory"], file.facts["ran_out_in"]) == ("oom", "device", "evaluation")
        return
    assert state == "done"
    monkeypatch.undo()
    trial.trial(run, tiny_sweep, Place(home, tmp_path / "enough"))
    pd.testing.assert_frame_equal(rows(tmp_path / "scarce", run.run_id), rows(tmp_path / "enough", run.run_id))


def test_a_run_that_fails_before_its_first_evaluation_has_one_final_state(
    tiny_sweep: Sweep, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("cannot read /data/study/rec.npy")

    monkeypatch.setattr(trial.data, "open_corpus", broken)
    run, said = tiny_sweep.runs[0], list[str]()
    with pytest.raises(RuntimeError):
        trial.trial(run, tiny_sweep, Place(home, tmp_path), attempt=Attempt(note=said.append))
    file = records.path_of(tmp_path, "tiny", run.run_id)
    assert records.state_of(file) == ("failed", "RuntimeError: cannot read rec.npy")
    assert len(list(file.parent.iterdir())) == 1
    assert said
    assert not any("/data" in line or str(home) in line for line in said)
