"""What state every planned run is in, read from the results folder by any shell that sees it."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd

from ecgscale import leases, records
from ecgscale.definitions import code_facts
from ecgscale.spec.run import Run, parts_of
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import task_facts, told_left_out


def states(sweep: Sweep, results: Path) -> pd.DataFrame:
    """One line a planned run: run_id, name, configuration, state (see records.state_of) and why it ended.

    A run that was begun and that nobody holds any more is pending again: it goes on when somebody claims it.
    """
    lines = []
    leases.sweep_dead(leases.folder_of(results, sweep.name))
    held = leases.held_runs(leases.folder_of(results, sweep.name))
    journals = records.running(records.path_of(results, sweep.name, "").parent)
    for run in sweep.runs:
        path = records.path_of(results, sweep.name, run.run_id)
        state, why = records.state_of(path, journals)
        if state == "running" and run.run_id not in held:
            state = "pending"
        lines.append((run.run_id, sweep.names[run.run_id], run.configuration, state, why))
    return pd.DataFrame(lines, columns=["run_id", "name", "configuration", "state", "why"])


def counts(table: pd.DataFrame) -> dict[str, int]:
    """How many runs are in each state, in the order of a run's life; all states are named."""
    found = table["state"].value_counts()
    return {state: int(found.get(state, 0)) for state in ("pending", *records.STATES, "damaged")}


def outdated(sweep: Sweep, results: Path) -> list[str]:
    """A sentence about each class or task of one's own that is not what it was when runs were done with it."""
    now = {run.run_id: code_facts(parts_of(run)) | task_facts(sweep.tasks) for run in sweep.runs}
    if not any(now.values()):
        return []
    code, tasks = Counter[str](), Counter[str]()
    for found in records.load(results, [sweep.name], columns=["value"]).runs.to_dict("records"):
        facts = now.get(found["run_id"], {}) if found["status"] == "done" else {}
        for fact, changed in (("own_code", code), ("own_tasks", tasks)):
            before, after = (json.loads(said) if isinstance(said := of.get(fact), str) else {} for of in (found, facts))
            changed.update(name for name in before.keys() & after.keys() if before[name] != after[name])
    return [
        f"the code of {name} has changed since {n} runs were done with it; they stay as they are, and to do one again "
        f"delete its file in {results.name or 'results'}/runs/{sweep.name}"
        for name, n in sorted(code.items())
    ] + [
        f"task {name} asks something else than when {n} runs were measured on it; give it another name, or measure "
        f"them anew: ecgscale reprobe {sweep.name} --task {name}"
        for name, n in sorted(tasks.items())
    ]


def outstanding(sweep: Sweep, results: Path) -> dict[str, tuple[str, ...]]:
    """By run id, the tasks that a run was begun without (``launch --tasks-available``) and never measured on since."""
    found: dict[str, tuple[str, ...]] = {}
    journals = records.running(records.path_of(results, sweep.name, "").parent)
    for run in sweep.runs:
        if left := told_left_out(records.facts(records.path_of(results, sweep.name, run.run_id), journals)):
            found[run.run_id] = left
    return found


def outstanding_in_words(sweep: Sweep, left: Mapping[str, tuple[str, ...]]) -> list[str]:
    """One sentence about tasks that runs of a sweep are still to be measured on, with what to type; none if none."""
    runs_by_task = Counter(name for names in left.values() for name in names)
    if not runs_by_task:
        return []
    told = ", ".join(f"{name} ({n} {'run' if n == 1 else 'runs'})" for name, n in runs_by_task.items())
    return [f"still to be measured: {told}; prepare what they ask of, then: ecgscale reprobe {sweep.name}"]


class Stopped(Exception):
    """A launch was told to stop, as by Ctrl-C in its own shell; what is measured is kept."""

    exit_code = 130


class Interrupted(Stopped):
    """A launch was told to stop by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = exit_code(number)


class Pause:
    """What a signal has asked for: nothing, while ``number`` is None."""

    number: int | None = None

    @property
    def exit_code(self) -> int:
        return exit_code(self.number or 0)


@contextmanager
def pausing() -> Iterator[Pause]:
    """Hear SIGINT, SIGTERM and SIGUSR1 as a wish to pause; a second one ends the process at once."""
    heard = Pause()

    def hear(number: int, frame: FrameType | None) -> None:
        if heard.number is not None:
            os._exit(exit_code(number))
        heard.number = number

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_code(number: int) -> int:
    """130 for SIGINT, 143 for SIGTERM and for SIGUSR1, by which schedulers announce preemption."""
    return 130 if number == signal.SIGINT else 143


class Full(OSError):
    """A disk is full: no more runs were handed out."""


class NoPlaceLeft(RuntimeError):
    """Every place of the pool is at fault."""


class PoolLost(RuntimeError):
    """Ray's head or raylet is gone."""


class NotStarted(RuntimeError):
    """Ray did not start, or not in time."""


def set_aside_damaged(sweep: Sweep, results: Path) -> list[str]:
    """Move results files that cannot be believed to results/quarantine, so that their runs are done again.

    Returns one sentence a file.
    """
    sentences = []
    for run in sweep.runs:
        path = records.path_of(results, sweep.name, run.run_id)
        try:
            records.read(path)
        except FileNotFoundError:
            pass
        except records.BadResults as error:
            folder = results / "quarantine" / sweep.name
            folder.mkdir(parents=True, exist_ok=True)
            earlier = len(list(folder.glob(f"*{path.stem}*")))
            for piece in (path, *(journal for _, journal in records.pieces_of(path))):
                if piece.is_file():
                    piece.replace(folder / (f"{earlier}.{piece.name}" if earlier else piece.name))
            sentences.append(f"{error.what}; moved to quarantine/{sweep.name}/, the run will be done again")
    return sentences


def measured_memory(results: Path) -> Callable[[Run], float | None]:
    """What finished runs of the same shape took of one GPU at most, in bytes; None where none has run on one."""
    peaks: dict[str, float] = {}
    for found in records.load(results, columns=["value"]).runs.fillna({"processes": "1"}).to_dict("records"):
        whole = found["status"] == "done" and found.get("processes", "1") == "1"
        if whole and "CPU" not in str(found.get("device", "CPU")):
            shape = _shape(json.loads(found["run"]))
            peaks[shape] = max(peaks.get(shape, 0.0), float(found["peak_memory_bytes"]))
    return lambda run: peaks.get(_shape(json.loads(run.description)))


def _shape(run: dict[str, Any]) -> str:
    """What a run's memory depends on."""
    return records.canonical({part: run.get(part) for part in ("architecture", "objective", "slice", "schedule")})
