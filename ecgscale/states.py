"""What state every planned run is in, read from the results folder by any shell that sees it."""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from ecgscale import records
from ecgscale.sweep import Sweep


def states(sweep: Sweep, results: Path) -> pd.DataFrame:
    """One line a planned run: run_id, name, configuration, state (see records.state_of) and why it ended."""
    lines = []
    for run in sweep.runs:
        path = records.path_of(results, sweep.name, run.run_id)
        state, why = records.state_of(path)
        lines.append((run.run_id, run.name, run.configuration, state, why))
    return pd.DataFrame(lines, columns=["run_id", "name", "configuration", "state", "why"])


def counts(table: pd.DataFrame) -> dict[str, int]:
    """How many runs are in each state, in the order of a run's life; all states are named."""
    found = table["state"].value_counts()
    return {state: int(found.get(state, 0)) for state in ("pending", *records.STATES, "damaged")}


class Interrupted(Exception):
    """A launch was told to stop by a signal; finished work is kept."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Claimed(RuntimeError):
    """Somebody else is launching this sweep into this results folder."""


@contextmanager
def claimed(sweep: Sweep, results: Path) -> Iterator[None]:
    """Hold a sweep in a results folder for one launch. Raises Claimed if another launch holds it.

    The lock belongs to the process: however it ends, the lock is free again.
    """
    folder = results / "runs" / sweep.name
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Claimed(
                f"another launch of {sweep.name} is at work in this results folder; watch it with: "
                f"ecgscale status {sweep.name} --watch"
            ) from None
        yield
    finally:
        os.close(lock)


def set_aside_damaged(sweep: Sweep, results: Path) -> list[str]:
    """Move results files that cannot be believed to results/quarantine, so that their runs are done again.

    Returns one sentence a file.
    """
    sentences = []
    for run in sweep.runs:
        path = records.path_of(results, sweep.name, run.run_id)
        try:
            if path.is_file():
                records.read(path)
        except records.BadResults as error:
            folder = results / "quarantine" / sweep.name
            folder.mkdir(parents=True, exist_ok=True)
            earlier = len(list(folder.glob(f"{path.stem}*")))
            path.replace(folder / (f"{path.stem}.{earlier}.parquet" if earlier else path.name))
            sentences.append(f"{error.what}; moved to quarantine/{sweep.name}/, the run will be done again")
    return sentences
