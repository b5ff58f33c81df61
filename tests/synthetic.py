"""A results folder of the paper's size, its losses drawn from planted laws: 136 runs, eleven tasks, 65,000 rows.

Four configurations over the ten sizes of Table S.4 at all the data and four of these sizes at six lower fractions,
every run measured before training and at twelve steps. The corpus is called "planted", so that every figure says what
it is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale import records

D_FULL = 2_090_262
FRACTIONS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.5)
SIZES = {  # N and MACs of one recording, by rung
    "resnet": (
        (25.8e3, 94.2e3, 224e3, 436e3, 878e3, 3.47e6, 6.95e6, 16.8e6, 33.7e6, 101.7e6),
        (4.7e6, 16.2e6, 32.5e6, 61.8e6, 124e6, 345e6, 690e6, 1606e6, 3215e6, 12116e6),
    ),
    "transformer": (
        (25.1e3, 71.7e3, 180e3, 602e3, 1.59e6, 2.52e6, 5.52e6, 11.6e6, 19.2e6, 50.8e6),
        (13.0e6, 31.5e6, 55.6e6, 212e6, 495e6, 727e6, 1523e6, 3288e6, 5294e6, 13533e6),
    ),
}
ACROSS = (1, 3, 5, 8)  # rungs that saw every fraction
CONFIGURATIONS = {  # objective; alpha, beta; A and B terms at a million parameters and 200,000 recordings; ID floor
    "transformer-sl": ("supervised", 0.42, 0.12, 0.030, 0.030, 0.030),
    "transformer-ssl": ("masked", 0.14, 0.30, 0.026, 0.022, 2.5),
    "resnet-sl": ("supervised", 0.45, 0.16, 0.012, 0.020, 0.028),
    "resnet-ssl": ("cmsc", 0.32, 0.25, 0.014, 0.014, 0.35),
}
TASKS = {  # floor, factor on both terms, and the loss of always predicting the prevalence
    "cpsc2018": (0.11, 2.2, 0.340),
    "csn": (0.035, 0.8, 0.105),
    "ptbxl-diag": (0.075, 1.0, 0.170),
    "ptbxl-sub": (0.12, 1.6, 0.270),
    "ptbxl-sup": (0.29, 3.0, 0.540),
    "ptbxl-form": (0.13, 1.2, 0.235),
    "ptbxl-rhythm": (0.06, 1.8, 0.205),
    "echonext": (0.205, 1.1, 0.280),
    "mimic-icu": (0.44, 2.0, 0.600),
    "mimic-mortality": (0.26, 1.4, 0.350),
    "mimic-sex": (0.36, 4.0, 0.690),
}
STEPS = tuple(round(100_000 * k / 12) for k in range(13))
BATCH = 128
LOST = {"oom": 3, "failed": 1, "diverged": 2}  # of the 136 runs


def write_grid(results: Path, sweep: str = "grid", scale: float = 1.0, n_evaluations: int = 12, seed: int = 0) -> None:
    """Write all runs into ``results``; ``scale`` multiplies the reducible losses, to make a sweep that differs."""
    rng = np.random.default_rng(seed)
    lost = [state for state, count in LOST.items() for _ in range(count)]
    runs = list(_runs())
    states = dict(zip(range(7, len(runs), len(runs) // len(lost)), lost, strict=False))
    for i, run in enumerate(runs):
        description = records.canonical({"sweep": sweep, "cell": i})
        status = states.get(i, "done")
        n_steps = n_evaluations if status == "done" else 2
        rows = list(_rows(run, sweep, records.run_id_of(description), scale, STEPS[: n_steps + 1], rng))
        facts = {"status": status, "why": "" if status == "done" else f"planted: {status}", "device": "none"}
        records.write(records.path_of(results, sweep, records.run_id_of(description)), rows, description, facts)


def _runs() -> Iterator[tuple[str, float, float, float]]:
    """Configuration, N, MACs and fraction of every cell."""
    for name in CONFIGURATIONS:
        sizes, macs = SIZES[name.split("-")[0]]
        yield from ((name, n, m, 1.0) for n, m in zip(sizes, macs, strict=True))
        yield from ((name, sizes[k], macs[k], f) for k in ACROSS for f in FRACTIONS)


def _rows(
    run: tuple[str, float, float, float],
    sweep: str,
    run_id: str,
    scale: float,
    steps: Sequence[int],
    rng: np.random.Generator,
) -> Iterator[dict[str, Any]]:
    name, n, macs, fraction = run
    objective, alpha, beta, of_size, of_data, floor = CONFIGURATIONS[name]
    n_samples = round(fraction * D_FULL)
    common = {
        "sweep": sweep,
        "run_id": run_id,
        "configuration": name,
        "architecture": name.split("-")[0],
        "objective": objective,
        "paradigm": name.split("-")[1],
        "corpus": "planted",
        "fraction": fraction,
        "label_set": "code6" if name.endswith("-sl") else "",
        "n_labels": 6 if name.endswith("-sl") else None,
        "seed": 0,
        "n_params": round(n),
        "n_params_head": 1000,
        "macs_per_sample": round(macs),
        "n_samples": n_samples,
        "n_patients": round(0.7 * n_samples),
        "batch_size": BATCH,
    }
    size, data = of_size * (n / 1e6) ** -alpha, of_data * (n_samples / 2e5) ** -beta
    noise = {target: np.exp(0.004 * rng.standard_normal()) for target in ("planted", *TASKS)}
    unit = 1.0 if name.endswith("-sl") else 25.0 * floor  # contrastive and masked losses are larger
    for step in steps:
        at = common | {"step": step, "flops": 6 * macs * BATCH * step, "seconds": step / 50}
        done = step / STEPS[-1]
        begun = 1.5 * np.exp(-6 * done)  # of the reducible loss, not yet learnt
        spoilt = 0.25 * done**2 * max(0.0, np.log10(n / n_samples) - 0.5)  # overfitting
        inside = floor + unit * scale * (size + data) * (1 + begun + spoilt)
        for split, factor in (("train", 1 - 0.5 * min(spoilt, 1) - 0.06 * done), ("val", 1.01), ("test", 1.0)):
            yield _number(at, "planted", "ID", split, "loss", inside * factor * noise["planted"])
        for target, (least, share, blind) in TASKS.items():
            loss = least + share * scale * (size + data) * (1 + begun + 0.6 * spoilt)
            loss *= noise[target] * np.exp(0.002 * rng.standard_normal())
            yield _number(at, target, "OOD", "val", "loss", loss * 1.005)
            yield _number(at, target, "OOD", "test", "loss", loss)
            yield _number(at, target, "OOD", "test", "auroc", 0.5 + 0.49 * np.clip(1 - loss / blind, 0, 1) ** 0.4)
            if step == 0:
                yield _number(at, target, "OOD", "test", "prevalence_loss", blind)


def _number(at: dict[str, Any], target: str, domain: str, split: str, metric: str, value: float) -> dict[str, Any]:
    return at | {
        "target": target,
        "domain": domain,
        "split": split,
        "metric": metric,
        "value": float(value),
        "n_evaluated": 2000,
        "n_classes_scored": None,
    }
