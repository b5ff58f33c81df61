"""The Slurm script as printed, on a real Slurm: preempted with a grace time and without, a node lost, time over."""

import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

from ecgscale import records
from ecgscale.attempt import Place
from ecgscale.spec.sweep import load
from ecgscale.trial import trial
from tests.shell import Shell
from tests.slurm import Slurm, lacking

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(
        "ECGSCALE_TEST_SLURM" not in os.environ or bool(lacking()),
        reason=lacking() or "it takes a Slurm of its own for a quarter of an hour; set ECGSCALE_TEST_SLURM=1",
    ),
]


PREEMPTED = ("preempted with a grace time", "preempted without one")
ENDED = ("a node is lost", "its time is over")


@pytest.fixture
def slurm(shell: Shell) -> Iterator[Slurm]:
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        path = f"{Path(sys.executable).parent}:{shell.environment['PATH']}"
        made = Slurm(Path(folder), {**shell.environment, "PATH": path, "HOME": str(shell.folder)})
        try:
            yield made
        finally:
            print((made.folder / "slurmctld.log").read_text()[-6000:])
            made.end()


def n_measured(shell: Shell) -> int:
    """Evaluations in results, of all runs."""
    found = 0
    for run in load(str(shell.folder / "sweeps" / "mine.py")).runs:
        try:
            file = records.read(records.path_of(shell.folder / "results", "mine", run.run_id))
            found += file.rows["step"].nunique()
        except FileNotFoundError:
            pass
    return found


def rows(shell: Shell, results: str) -> pd.DataFrame:
    loaded = records.load(shell.folder / results, ["mine"])
    keys = ["run_id", "step", "target", "split", "metric"]
    assert not loaded.rows.duplicated(keys).any()
    return loaded.rows.drop(columns="seconds").sort_values(keys, ignore_index=True)


@pytest.mark.parametrize("cases", [(), PREEMPTED, ENDED], ids=["undisturbed", "preempted", "a node lost, time over"])
def test_a_sweep_survives(cases: tuple[str, ...], shell: Shell, slurm: Slurm) -> None:
    """Each time it is requeued; in the end it is complete, and its rows are those of an undisturbed sweep."""
    file = shell.folder / "sweeps" / "mine.py"
    long = "steps=6000, patience_epochs=1e9" if ENDED[1] in cases else "steps=3000"  # Slurm looks twice a minute
    text = file.read_text().replace("steps=4", long).replace("every=2", "every=500")
    file.write_text(text.replace('((Supervised(), "rhythm"), (CMSC(), ""))', '((Supervised(), "rhythm"),)'))
    script = shell.type("cluster", "slurm").stdout
    for words, here in (("gpus-per-node=4", ""), ("cpus-per-task=32", "1"), ("mem=256G", "3000M")):
        name = words.partition("=")[0]
        script = re.sub(f"^#SBATCH --{words}$", f"#SBATCH --{name}={here}" if here else "#", script, flags=re.M)
    (shell.folder / "job.sh").write_text(script)
    command = ["--parsable", "--chdir", str(shell.folder), "--output", str(shell.folder / "log"), "--time=60"]
    job = slurm.do("sbatch", *command, str(shell.folder / "job.sh"), "mine").strip()
    log = shell.folder / "log"

    def update(what: str, *change: str) -> None:
        slurm.do("scontrol", "update", what, *change)

    def preempt(grace: int) -> None:
        update("PartitionName=low", f"GraceTime={grace}")
        slurm.do("sbatch", "-p", "high", "-N", "2", "-c", "2", "--mem=4000", "-o", "/dev/null", "--wrap", "sleep 1")

    def is_complete() -> bool:
        state = slurm.fact(job, "JobState")
        assert state in ("RUNNING", "PENDING", "COMPLETING", "COMPLETED"), log.read_text()
        return state == "COMPLETED"

    def on_its_way(before: int) -> bool:
        assert not is_complete(), log.read_text()
        return n_measured(shell) > before

    def requeued(times: int) -> bool:
        return int(slurm.fact(job, "Restarts")) > times

    happens: dict[str, Callable[[], None]] = {  # the limit: so near that Slurm says so at its next look
        PREEMPTED[0]: partial(preempt, 60),
        PREEMPTED[1]: partial(preempt, 0),
        ENDED[0]: partial(slurm.lose_node, "n2"),
        ENDED[1]: lambda: update(f"JobId={job}", f"TimeLimit={slurm.minutes(job) + 3}"),
    }
    for turn, what in enumerate(cases):
        before = n_measured(shell)
        slurm.wait(partial(on_its_way, before), f"something is measured, turn {turn}", 900)
        happens[what]()
        took = slurm.wait(partial(requeued, turn), f"it is requeued: {what}", 300)
        slurm.wait(lambda: not slurm.do("squeue", "-h", "-t", "R,CG"), "all has ended", 300)
        time.sleep(2)  # Slurm revokes by the second: what begins in the one in which the turn before ended is revoked
        print(f"{what}: requeued after {took:.1f} s, {n_measured(shell) - before} evaluations in this turn")
        update(f"JobId={job}", "StartTime=now", "TimeLimit=60")
    slurm.wait(is_complete, "it is complete", 1200)
    assert slurm.fact(job, "ExitCode") == "0:0"
    print(log.read_text())
    logs = [path.read_text() for path in (shell.home / "logs" / "mine").glob("*.log")]
    print("".join(logs))
    assert any("paused" in text for text in logs) == bool(cases)
    assert not any("killed by" in text for text in logs)
    torch.set_num_threads(1)
    sweep = load(str(file))
    for run in sweep.runs:
        assert trial(run, sweep, Place(shell.home, shell.folder / "alone")) == "done"
    pd.testing.assert_frame_equal(rows(shell, "results"), rows(shell, "alone"))
