"""P7: a million rows of 600 runs, grouped, against pandas reading the runs' files; and logging one evaluation."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from ecgscale import records
from tests.benchmarks import Measurement

RUNS, ROWS, ROUNDS = 600, 1667, 5
EVALUATIONS, ROWS_AN_EVALUATION = 200, 40
KEYS = ["configuration", "target"]


def measure() -> Iterator[Measurement]:
    """The peer concatenates ``pd.read_parquet`` of every file; both group means by configuration and target."""
    with tempfile.TemporaryDirectory() as folder:
        yield _grouped(Path(folder))
        yield _logged(Path(folder))


def _grouped(results: Path) -> Measurement:
    paths = [_written(results, number) for number in range(RUNS)]
    records.compact(results, "many")
    ratios, ours, theirs, of_cpu = [], [], [], []
    for _ in range(ROUNDS):
        began, cpu = time.perf_counter(), time.process_time()
        peer = pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True).groupby(KEYS)["value"].mean()
        middle, cpu_middle = time.perf_counter(), time.process_time()
        loaded = records.load(results, ["many"], [*KEYS, "value"])
        # Categories are few: all pairs of them are counted faster than those that occur are looked for.
        found = loaded.rows.groupby(KEYS, observed=False)["value"].mean().dropna()
        ended, cpu_ended = time.perf_counter(), time.process_time()
        expected = dict(peer.items())
        assert len(found) == len(expected)
        np.testing.assert_allclose([expected[group] for group in found.index], found)
        ratios.append((middle - began) / (ended - middle))
        of_cpu.append((cpu_middle - cpu) / (cpu_ended - cpu_middle))
        ours.append(ended - middle)
        theirs.append(middle - began)
    n_rows = len(loaded.rows)
    took = (f"{median(theirs):.2f} s", f"{median(ours):.2f} s")
    note = f"{n_rows} rows, {RUNS} runs, all verified; {median(of_cpu):.0f}x of CPU time"
    return Measurement("results, group-by (P7)", *took, median(ratios), 30, note)


def _logged(results: Path) -> Measurement:
    """Evaluations of 40 rows, each durable before the next begins."""
    description = records.canonical({"number": -1})
    path = records.path_of(results, "logged", records.run_id_of(description))
    journal, took = records.Journal(path, description), []
    journal.begin([], {})
    for step in range(EVALUATIONS):
        rows = _rows(-1, path.stem, ROWS_AN_EVALUATION, step)
        began = time.perf_counter()
        journal.add(rows)
        took.append(time.perf_counter() - began)
    milliseconds = 1e3 * median(took)
    return Measurement("logging an evaluation (P7)", "1 ms allowed", f"{milliseconds:.2f} ms", 1 / milliseconds, 1)


def _written(results: Path, number: int) -> Path:
    description = records.canonical({"number": number})
    path = records.path_of(results, "many", records.run_id_of(description))
    records.write(path, _rows(number, path.stem, ROWS), description, {"status": "done", "why": "all steps taken"})
    return path


def _rows(number: int, run_id: str, n: int, step: int = 0) -> list[dict[str, Any]]:
    draw = np.random.default_rng([number + 1, step])
    configuration = ("resnet-sl", "resnet-ssl", "transformer-sl", "transformer-ssl")[number % 4]
    run = dict.fromkeys(records.SCHEMA.names) | {
        "sweep": "many",
        "run_id": run_id,
        "configuration": configuration,
        "architecture": "resnet",
        "corpus": "code",
        "n_params": 1000 * (number + 1),
        "n_samples": 5000,
        "batch_size": 128,
        "fraction": 1.0,
        "seed": number,
    }
    return [
        run
        | {
            "step": step + i // 40,
            "flops": 1e9 * i,
            "target": f"task {i % 12}",
            "domain": "OOD",
            "split": "test",
            "metric": "loss",
            "value": float(value),
            "n_evaluated": 2000,
            "seconds": 0.1 * i,
        }
        for i, value in enumerate(draw.random(n))
    ]
