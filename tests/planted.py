"""Planted inputs of the analysis: points, tables and results whose laws are known, because the test wrote them.

Three kinds: a ragged grid of four configurations (``planted_points``, ``planted_table``, and ``write_runs`` for the
files that a sweep would leave), pretraining that replaces recordings by a known law (``planted_transfer``,
``fewshot_points``), and one law over a shipped design (``planted_grid``).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecgscale import records
from ecgscale.analysis.fitting.laws import joint
from ecgscale.analysis.table.query import COLUMNS
from tests.designs import TRUTHS, designs

CONFIGURATIONS = ("transformer-sl", "transformer-ssl", "resnet-sl", "resnet-ssl")


TASKS = ("ptbxl-superdiagnostic", "ludb-rhythm", "ptbxl-sex")


SIZES, DATA = (2e3, 8e3, 3e4, 1e5, 4e5), (200.0, 440.0, 940.0, 2010.0)


JOINT = {"E": 0.3, "A": 12.0, "alpha": 0.45, "B": 3.0, "beta": 0.5}


BETTER = {"transformer-sl": 1.0, "transformer-ssl": 0.9, "resnet-sl": 0.7, "resnet-ssl": 0.8}  # factor on A and B


def planted_points(configurations: tuple[str, ...] = CONFIGURATIONS, ragged: bool = True) -> pd.DataFrame:
    """Checkpoints of a ragged grid whose last losses follow Eq. 1, in distribution and (kappa = 1) elsewhere.

    Not ``ragged``: twice as many sizes, of which every one saw every amount of data.
    """
    rows = []
    for c, name in enumerate(configurations):
        k = BETTER.get(name, 0.75)
        sizes = SIZES if ragged else tuple(np.geomspace(SIZES[0], SIZES[-1], 10))
        grid = [(n, DATA[-1]) for n in sizes] + [(n, d) for n in (SIZES[1:3] if ragged else sizes) for d in DATA[:-1]]
        for i, (n, d) in enumerate(grid):
            for step in (0, 40, 80, 120):
                inside = 0.3 + k * (12 * n**-0.45 + 3 * d**-0.5) + 0.2 * (1 - step / 120)
                for t, target in enumerate(("ptbxl-sample", *TASKS)):
                    loss = inside if t == 0 else 0.2 + 0.05 * t + 0.5 * (inside - 0.3)
                    rows.append(
                        {
                            "sweep": "demo",
                            "run_id": f"{c:02x}{i:010x}",
                            "configuration": name,
                            "corpus": "ptbxl-sample",
                            "label_set": "",
                            "fraction": d / DATA[-1],
                            "seed": 0,
                            "N": n,
                            "D": d,
                            "C": 6 * n * 64 * step * 30.0,
                            "macs_per_param": 30.0,
                            "target": target,
                            "domain": "ID" if t == 0 else "OOD",
                            "step": step,
                            "loss": loss,
                            "loss_val": loss * 1.01,
                            "loss_train": loss,
                            "auroc": np.nan if t == 0 else 0.9 - 0.2 * loss,
                            "prevalence_loss": np.nan if t == 0 else 0.7,
                        }
                    )
    points = pd.DataFrame(rows)
    for column in ("architecture", "objective", "paradigm"):
        points[column] = "planted"
    for column in ("n_labels", "n_params", "n_samples", "n_patients", "macs_per_sample", "batch_size"):
        points[column] = 1
    points.attrs = {"runs": {"done": points["run_id"].nunique()}, "bad": []}
    return points


def planted_table(configurations: tuple[str, ...] = CONFIGURATIONS) -> pd.DataFrame:
    """The exponents table of the planted laws, with intervals, one bound hit and one law that failed."""
    rows = []

    def add(law: str, name: str, target: str, at: str, values: dict[str, float], width: float = 0.2) -> None:
        for coefficient, value in values.items():
            rows.append(
                {
                    "law": law,
                    "configuration": name,
                    "target": target,
                    "at": at,
                    "coefficient": coefficient,
                    "value": value,
                    "low": value * (1 - width),
                    "high": value * (1 + width),
                }
            )

    a, b = JOINT["beta"] / 0.95, JOINT["alpha"] / 0.95
    for name in configurations:
        for t, target in enumerate(("ptbxl-sample", *TASKS)):
            E, half = (0.3, 1.0) if t == 0 else (0.2 + 0.05 * t, 0.5)
            k = half * BETTER.get(name, 0.75)
            A, B = 12 * k, 3 * k
            add("joint", name, target, "", {"E": E, "A": A, "alpha": 0.45, "B": B, "beta": 0.5})
            add("size", name, target, "D = 2010", {"E": E + B * DATA[-1] ** -0.5, "A": A, "alpha": 0.45})
            for n in SIZES[1:3]:
                add("data", name, target, f"N = {n:.4g}", {"E": E + A * n**-0.45, "B": B, "beta": 0.5})
            add("allocation", name, target, "", {"a": a, "b": b, "gamma": 0.24})
            add("frontier", name, target, "", {"E": E, "k": 800.0 * k, "gamma": 0.34, "C0": 1e8})
            if t:
                for law in ("transfer", "transfer_joint"):
                    add(law, name, target, "", {"E_id": 0.3, "E_ood": E, "K": 0.5, "kappa": 1.0})
    table = pd.DataFrame(rows).reindex(columns=list(COLUMNS))
    defaults = {"sweep": "demo", "corpus": "ptbxl-sample", "label_set": "", "domain": "OOD", "at_bound": "", "note": ""}
    defaults |= {"status": "ok", "objective": "log-ls", "interval": "profile", "select": "val", "excluded": ""}
    for column, value in defaults.items():
        table[column] = value
    table[["n_points", "r2", "level"]] = [11, 0.97, 0.95]
    table["converged"] = True
    hit = (table["configuration"] == "resnet-ssl") & (table["coefficient"] == "beta")
    at: dict[str, Any] = {
        "value": 0.005,
        "low": 0.005,
        "at_bound": "low",
        "status": "bound",
        "note": "beta at its bound",
    }
    for column, value in at.items():
        table[column] = table[column].mask(hit, value)
    return table


NO_POINTS = planted_points().iloc[:0]


NO_TABLE = planted_table().iloc[:0]


CARD = {
    "recordSet": [
        {
            "name": "splits",
            "data": [{"splits/split": s, "splits/recordings": n} for s, n in (("train", 9), ("test", 1))],
        }
    ],
    "rai:dataPreprocessingProtocol": "100 Hz; 60 Hz notch",
}


def write_runs(results: Path, points: pd.DataFrame, status: str = "done", why: str = "all steps taken") -> None:
    """Results files as a sweep leaves them, from planted checkpoints."""
    for _, part in points.groupby("run_id"):
        first = part.iloc[0]
        description = records.canonical({"architecture": first["configuration"], "n": first["N"], "d": first["D"]})
        identity = {
            "sweep": first["sweep"],
            "run_id": records.run_id_of(description),
            "configuration": first["configuration"],
            "corpus": first["corpus"],
            "fraction": first["fraction"],
            "label_set": "",
            "seed": 0,
            "n_params": int(first["N"]),
            "n_samples": int(first["D"]),
            "macs_per_sample": int(30 * first["N"]),
            "batch_size": 64,
        }
        rows = []
        for checkpoint in part.to_dict("records"):
            at = identity | {"step": checkpoint["step"], "flops": checkpoint["C"], "seconds": 1.0}
            at |= {"target": checkpoint["target"], "domain": checkpoint["domain"], "n_evaluated": 50}
            rows += [at | {"split": s, "metric": "loss", "value": checkpoint["loss"]} for s in ("val", "test")]
            if checkpoint["domain"] == "OOD":
                rows.append(at | {"split": "test", "metric": "auroc", "value": checkpoint["auroc"]})
                rows.append(at | {"split": "test", "metric": "prevalence_loss", "value": checkpoint["prevalence_loss"]})
        facts = {"status": status, "why": why, "commit": "0123456789ab", "corpus_digest": "ab" * 32, "device": "CPU"}
        facts["versions"] = records.canonical({"torch": "2.13.0", "python": "3.11"})
        records.write(records.path_of(results, first["sweep"], identity["run_id"]), rows, description, facts)


A_T, B_T, K = 0.5, -0.2, 3000.0


def loss_of(D: Any) -> Any:
    return 0.1 + 5 * D**-0.4


def planted_transfer(
    n_data: int, noise: float = 0.0, sizes: tuple[float, ...] = (1e5, 1e6, 1e7), seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fine-tuned and from-scratch losses such that pretraining replaces D_T = K D_F^A_T N^B_T recordings."""
    rng = np.random.default_rng(seed)
    grid = pd.DataFrame([(n, d) for n in sizes for d in np.geomspace(100, 1e6, n_data)], columns=["N", "D"])
    blur = np.exp(noise * rng.standard_normal((2, len(grid))))
    scratch = grid.assign(loss=loss_of(grid["D"]) * blur[0])
    effective = grid["D"] + K * grid["D"] ** A_T * grid["N"] ** B_T
    tuned = grid.assign(loss=loss_of(effective) * blur[1])
    return tuned[tuned["D"] < 1e5], scratch


def fewshot_points(n_data: int = 7) -> pd.DataFrame:
    """Observations of a few-shot sweep on two label sets of a corpus and one of another."""
    frames = []
    for corpus, label_set in (("ptbxl", "form"), ("ptbxl", "rhythm"), ("echonext", "shd11")):
        tuned, scratch = (
            frame.assign(corpus=corpus, label_set=label_set, target=corpus) for frame in planted_transfer(n_data)
        )
        start = tuned["N"].map(lambda n: f"run{n:.0f}")
        frames.append(tuned.assign(initial=start, configuration="transformer-sl-tuned"))
        frames.append(scratch.assign(initial="", configuration="transformer-sl"))
    table = pd.concat(frames, ignore_index=True)
    table = table.assign(domain="ID", sweep="few", architecture="transformer", n_labels=19, selected_by="val", step=10)
    table["run_id"] = [f"{i:012x}" for i in range(len(table))]
    return table.assign(C=1e9 * table["D"], loss_val=table["loss"], macs_per_param=30.0)


def planted_grid(
    noise: float, seed: int, design: str = "ragged", truth: str = "floor a third of the loss"
) -> pd.DataFrame:
    """A shipped design of N and D with losses of a shipped truth, times log-normal noise."""
    grid = designs()[design]
    rng = np.random.default_rng(seed)
    loss = joint(grid["N"], grid["D"], **TRUTHS[truth])
    return grid.assign(loss=loss * np.exp(noise * rng.standard_normal(len(grid))))
