"""Rows for the trackers people have already: TensorBoard, MLflow, Weights & Biases, behind one small door.

They read what lies in results, as everybody does: runs know nothing of them, a run that has ended can be shown as well
as one that is at work, and a tracker that fails harms no training. Nothing leaves this machine: MLflow writes to a
local file and W&B is offline (``wandb sync`` sends it later). What was shown once is not shown again.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from ecgscale import records

Row = Mapping[Any, Any]
FACTS = ("configuration", "corpus", "fraction", "label_set", "seed", "n_params", "n_samples", "batch_size")


_WRITTEN = ".ecgscale"


class Observer(Protocol):
    """Somewhere to show numbers."""

    def log(self, run: Row, rows: Sequence[Row]) -> None:
        """Show new rows of one run; ``run`` holds its sweep, run_id, name and ``FACTS``."""


def observe(
    results: Path,
    kind: str,
    sweeps: Sequence[str],
    narrow: Callable[[records.Results], records.Results] = lambda loaded: loaded,
) -> int:
    """Show all rows of sweeps that this kind of observer (of ``OBSERVERS``) has not shown yet; returns how many.

    ``narrow``: chooses runs among those that are loaded.
    Raises RuntimeError with the command to type if its library is missing.
    """
    folder = results / "observers" / kind
    seen_file = folder / "seen.json"
    seen: dict[str, int] = json.loads(seen_file.read_text()) if seen_file.is_file() else {}
    rows = narrow(records.load(results, sweeps)).rows
    keys = rows["sweep"].astype(str) + "/" + rows["run_id"].astype(str)
    fresh = rows[rows["step"] > keys.map(seen).fillna(-1).astype(int)]
    if fresh.empty:
        return 0
    observer = OBSERVERS[kind](folder)
    for (sweep, run_id), part in fresh.groupby(["sweep", "run_id"], sort=False):
        first = {fact: _plain(part[fact].iloc[0]) for fact in FACTS}
        name = f"{first['configuration']} {first['n_params']} {first['fraction']:.3g} s{first['seed']}"
        shown = part[part["value"].map(math.isfinite)]
        observer.log({"sweep": sweep, "run_id": run_id, "name": name, **first}, shown.to_dict("records"))
        seen[f"{sweep}/{run_id}"] = int(part["step"].max())
        records.write_whole(seen_file, json.dumps(seen, indent=1).encode())
    return len(fresh)


def metric(row: Row) -> str:
    """What a row measures, as trackers group it: target/metric/split."""
    return f"{row['target']}/{row['metric']}/{row['split']}"


class TensorBoard:
    """Event files, one folder a run: ``tensorboard --logdir results/observers/tensorboard``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.library = folder, _library("tensorboardX", "tensorboardX")

    def log(self, run: Row, rows: Sequence[Row]) -> None:
        folder = self.folder / run["sweep"] / run["run_id"]
        with self.library.SummaryWriter(str(folder)) as writer:
            writer.add_text("run", "  \n".join(f"{key}: {value}" for key, value in run.items()), 0)
            for row in rows:
                writer.add_scalar(metric(row), row["value"], int(row["step"]))
        for written in folder.glob(
            "events.out.tfevents.*"
        ):  # by second and host: neither unique nor anybody's business
            if not written.name.endswith(_WRITTEN):
                written.rename(folder / f"events.out.tfevents.{len(list(folder.iterdir())):05d}{_WRITTEN}")


class MLflow:
    """A tracking store in one file: ``mlflow ui --backend-store-uri sqlite:///results/observers/mlflow/mlflow.db``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.library = _library("mlflow", "'ecgscale[mlflow]'")
        self.client = self.library.MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').resolve()}")

    def log(self, run: Row, rows: Sequence[Row]) -> None:
        found = self.client.get_experiment_by_name(run["sweep"])
        experiment = found.experiment_id if found else self.client.create_experiment(run["sweep"])
        there = self.client.search_runs([experiment], f"tags.ecgscale_run = '{run['run_id']}'")
        if there:
            own = there[0].info.run_id
        else:
            tags = {"ecgscale_run": run["run_id"]}
            own = self.client.create_run(experiment, tags=tags, run_name=run["name"]).info.run_id
            for fact in FACTS:
                self.client.log_param(own, fact, run[fact])
        for row in rows:
            self.client.log_metric(own, metric(row), row["value"], step=int(row["step"]))


class WandB:
    """Offline runs of Weights & Biases: ``wandb sync results/observers/wandb/wandb/offline-run-*``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.library = folder, _library("wandb", "'ecgscale[wandb]'")

    def log(self, run: Row, rows: Sequence[Row]) -> None:
        with self.library.init(
            project=run["sweep"],
            id=run["run_id"],
            name=run["name"],
            config={fact: run[fact] for fact in FACTS},
            dir=str(self.folder),
            mode="offline",
            settings={"silent": True, "console": "off"},
            resume="allow",
        ) as shown:
            for step, part in pd.DataFrame(list(rows)).groupby("step"):
                shown.log({metric(row): row["value"] for row in part.to_dict("records")}, step=int(str(step)))


OBSERVERS: dict[str, Callable[[Path], Observer]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}


def _library(name: str, install: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise RuntimeError(f"{name} is not installed here; pip install {install}") from None


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
