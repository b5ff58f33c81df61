"""An evaluation that processes share: the numbers of one, every recording computed once, and no one waits for ever."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import multiprocessing

from ecgscale import data
from ecgscale.data.corpus import Slice
from ecgscale.models import ResNet
from ecgscale.objectives import CMSC, Supervised
from ecgscale.pausing import Paused, may_pause
from ecgscale.probing import probe
from ecgscale.probing.measure import Measurement, Row
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import TASKS, with_fewer_leads
from ecgscale.training import train
from ecgscale.training.sharding import DeviceFull, Processes, joined

TASK = TASKS["ludb-rhythm"]
SCHEDULE, EVALUATION = Schedule(steps=2, batch_size=8, lr=1e-3), Evaluation(every=2, probe_epochs=2)
RUNS = (
    Run(ResNet(3, 4), Supervised(), Slice("ludb-sample", 1.0, "rhythm"), SCHEDULE, EVALUATION),
    Run(ResNet(3, 4), CMSC(), Slice("ludb-sample"), SCHEDULE, EVALUATION),
)
SWEEP = Sweep("shared", RUNS, (TASK.name, *with_fewer_leads(TASK)[:2]), label_sets=("rhythm",))


def measured(run: Run, home: Path, processes: Processes) -> tuple[list[Row], list[Row], int, int]:
    """Rows as shared and as alone, and how many recordings this process computed for either."""
    corpus = data.open_corpus("ludb-sample", home)
    measurement, snapshot = Measurement(run, SWEEP, corpus, home, "cpu"), next(train.pretrain(run, corpus))
    seen: list[int] = []
    snapshot.module.backbone.register_forward_pre_hook(lambda module, given: seen.append(len(given[0].signal)))
    shared, n_shared = measurement.rows(snapshot, processes), sum(seen)
    alone = measurement.rows(snapshot)
    return shared, alone, n_shared, sum(seen) - n_shared


def process(rank: int, size: int, folder: Path, home: Path) -> None:
    torch.set_num_threads(1)
    train.ID_BATCH_SIZE, probe._BATCH_SIZE = 8, 24  # an odd number of batches, and a last one that is not full
    with joined(rank, size, folder / "meeting") as processes:
        found: dict[str, Any] = {run.objective.kind: measured(run, home, processes) for run in RUNS}

        def full(things: Sequence[int]) -> list[int]:
            if rank == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return list(things)

        try:
            processes.divided([1, 2, 3], full)
        except DeviceFull as error:
            found["full"] = str(error)
        found["of one thing"] = processes.divided([7], lambda things: [thing + 1 for thing in things])
        found["heard after"] = paused(processes, folder / "heard")
    torch.save(found, folder / f"{rank}.pt")


def paused(processes: Processes, heard: Path) -> float:
    """Seconds until the leader, which is through with its part, hears a wish to pause, while the other computes."""
    started = time.monotonic()

    def long(things: Sequence[int]) -> list[int]:
        while processes.rank and not heard.exists():
            time.sleep(0.01)
        return list(things)

    with suppress(RuntimeError, Paused), may_pause(lambda: processes.leads and time.monotonic() > started + 0.2):
        processes.divided([1, 2], long)
    took = time.monotonic() - started
    heard.touch()
    return took


@pytest.mark.slow
def test_two_processes_measure_what_one_does_and_each_a_part(home: Path, tmp_path: Path) -> None:
    data.open_corpus("ludb-sample", home)
    multiprocessing.spawn(process, (2, tmp_path, home), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    for kind in (run.objective.kind for run in RUNS):
        counts = []
        for found in (first, second):
            shared, alone, n_shared, n_alone = found[kind]
            assert len(shared) > 10
            assert [row | {"value": 0} for row in shared] == [row | {"value": 0} for row in alone]
            assert [row["value"] for row in shared] == pytest.approx([row["value"] for row in alone], rel=1e-6)
            counts.append(n_shared)
            assert 0.3 * n_alone < n_shared < 0.7 * n_alone
        assert sum(counts) == n_alone  # each once
    assert first["full"] == second["full"] == "CUDA out of memory"
    assert first["of one thing"] == second["of one thing"] == [8]
    assert 0.2 < first["heard after"] < 5
