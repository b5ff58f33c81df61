"""From a snapshot to rows: losses in distribution, probes out of it, each row self-contained."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ecgscale import data
from ecgscale.compute import cost
from ecgscale.data.allowance import Allowance, allowance_beside
from ecgscale.data.batches import Store
from ecgscale.data.corpus import Corpus
from ecgscale.data.label_sets import Label
from ecgscale.data.mixture import Mixture, stored
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS
from ecgscale.models import Backbone
from ecgscale.probing.external import external_scores
from ecgscale.probing.heads import columns, head_scores
from ecgscale.probing.probe import probe
from ecgscale.records import canonical
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import Task, measurable
from ecgscale.training.footprint import Memory
from ecgscale.training.inputs import Inputs
from ecgscale.training.sharding import ALONE, DeviceFull, Processes
from ecgscale.training.step import precision_on
from ecgscale.training.train import Snapshot, id_loss

Row = dict[str, Any]
_EXAMINED = 256  # validation recordings that tell of a model's health


class EvaluationFull(torch.OutOfMemoryError):
    """The device's memory was too small for an evaluation, with no recordings staying there."""


class Measurement:
    """All numbers that a sweep wants of a run's snapshots; held data are opened once."""

    def __init__(
        self,
        run: Run,
        sweep: Sweep,
        corpus: Corpus,
        home: Path,
        device: str,
        mixed: Sequence[Corpus] = (),
        allowance: Allowance | None = None,
        words: np.ndarray | None = None,
    ) -> None:
        self.words = words
        self.run, self.corpus, self.device, self.mixed = run, corpus, device, mixed
        self.allowance = allowance_beside(device) if allowance is None else allowance
        self.tasks = measurable(sweep.tasks, run)
        self.precision = precision_on(device, sweep.evaluation_precision)
        self.corpora = {task.corpus: data.open_corpus(task.corpus, home) for task in self.tasks}
        self.tasks = [task for task in self.tasks if reads(run, self.corpora[task.corpus])]
        labels = run.slice.label_set
        self.stores = self._stores()
        trained = [(one, one.rows("train", run.slice.fraction, labels)) for one in (corpus, *mixed)]
        n_labels = len(corpus.label_names(labels))
        found = {name: columns(corpus, labels, name) for name in sweep.label_sets if run.objective.needs_labels}
        self.heads = {name: at for name, at in found.items() if at}
        self.numbers = [label.number for label in corpus.manifest.labels_of(labels)]
        self.cost = cost(run.architecture, run.objective, n_labels, corpus.signal.shape[-1])
        self.identity: Row = {
            "sweep": sweep.name,
            "run_id": run.run_id,
            "configuration": run.configuration,
            "architecture": run.architecture.kind,
            "objective": run.objective.kind,
            "paradigm": run.objective.paradigm,
            "corpus": run.slice.name,
            "fraction": run.slice.fraction,
            "label_set": labels,
            "n_labels": n_labels,
            "seed": run.seed,
            "initial": run.initial.run_id if run.initial else "",
            "n_params": self.cost.n_params,
            "n_params_head": self.cost.n_params_head,
            "macs_per_sample": self.cost.macs_per_sample,
            "n_samples": sum(len(rows) for _, rows in trained),
            "n_patients": sum(len(set(one.patient[rows].tolist())) for one, rows in trained),
            "batch_size": run.schedule.batch_size,
        }

    @property
    def number_facts(self) -> dict[str, str]:
        """What a results file says of the targets whose labels are numbers, or some of them."""
        run, own = self.run, self.corpus.manifest
        labels = {run.slice.name: own.labels_of(run.slice.label_set)}
        labels |= {f"{run.slice.name}:{name}": own.labels_of(name) for name in self.heads}
        return number_facts(labels | labels_asked(self.tasks, self.corpora))

    def _stores(self) -> dict[str, Store | Mixture]:
        run, corpora = self.run, (self.corpus, *self.mixed)
        any_leads = run.architecture.any_leads
        return {
            split: stored(run.slice, corpora, split, self.device, any_leads, self.allowance, self.words)
            for split in ("val", "test")
        }

    def stream(self) -> None:
        """Have no recordings stay on the device from here on: what it ran out of memory by is measured again."""
        self.stores = {}
        self.allowance.close()
        self.stores = self._stores()

    def rows_or_streamed(
        self, snapshot: Snapshot, processes: Processes = ALONE, note: Callable[[str], None] = lambda line: None
    ) -> list[Row]:
        """``rows``; measured again without recordings on the device if that runs out of memory.

        Raises EvaluationFull if that runs out of it, too.
        """
        try:
            return self.rows(snapshot, processes)
        except torch.OutOfMemoryError as error:
            if processes.size > 1 and not isinstance(error, DeviceFull):
                raise  # the other processes do not know
            note(f"step {snapshot.step}: the device ran out of memory in the evaluation; recordings are streamed")
        self.stream()  # what the failed attempt held went with its traceback
        try:
            return self.rows(snapshot, processes)
        except torch.OutOfMemoryError as error:
            raise EvaluationFull(str(error)) from error

    def rows(self, snapshot: Snapshot, processes: Processes = ALONE) -> list[Row]:
        """One row a number: ID loss on train (as trained), val and test; the head on label sets; every task's probe.

        The network computes at the precision of the sweep's evaluations; what is fitted and scored is float32. All
        processes of a run call it, and divide what is to be computed. Raises
        Collapsed for a model that says the same of every recording.
        """
        with computing_in(self.precision, self.device):
            return self._rows(snapshot, processes)

    def _rows(self, snapshot: Snapshot, processes: Processes) -> list[Row]:
        run, corpus_name = self.run, self.identity["corpus"]
        at = {
            **self.identity,
            "step": snapshot.step,
            "flops": self.cost.flops(run.schedule.batch_size, snapshot.step),
            "seconds": snapshot.seconds,
        }
        rows: list[Row] = []
        if math.isfinite(snapshot.train_loss):
            rows.append(_row(at, corpus_name, "ID", "train", "loss", snapshot.train_loss, self.identity["n_samples"]))
        for split, store in self.stores.items():
            rows.append(_row(at, corpus_name, "ID", split, "loss", *id_loss(snapshot.module, store, processes)))
        examined = self.stores["val"].evaluated()[:_EXAMINED]
        (health,) = processes.divided([examined], lambda part: [self._health(snapshot, some) for some in part])
        for name, value in health.items():
            rows.append(_row(at, corpus_name, "ID", "val", name, value, len(examined)))
        if self.heads:
            for h in head_scores(snapshot.module, run.objective, self.heads, self.stores, self.numbers, processes):
                whole = "/" not in h.label_set and len(self.heads[h.label_set]) == len(
                    self.numbers
                )  # the run's own labels, whose loss it has already
                target = corpus_name if whole else f"{corpus_name}:{h.label_set}"
                if not (whole and h.metric == "loss"):
                    rows.append(_row(at, target, "ID", h.split, h.metric, h.value, h.n_evaluated, h.n_classes))
        probed = [task for task in self.tasks if task.by == "probe"]
        rows += probe_rows(
            at, snapshot.module.probed, probed, self.corpora, run, self.device, self.allowance, processes
        )
        asked, labels = [task for task in self.tasks if task.by == "head"], run.slice.label_set
        for e in external_scores(
            snapshot.module, self.corpus, labels, asked, self.corpora, self.device, self.allowance, processes
        ):
            rows.append(_row(at, e.target, "OOD", "test", e.metric, e.value, e.n_evaluated, e.n_classes))
        return rows

    def _health(self, snapshot: Snapshot, positions: np.ndarray) -> dict[str, float]:
        return snapshot.module.health(self.stores["val"].batch(positions))


def taking_part(
    run: Run, sweep: Sweep, home: Path, inputs: Inputs, device: str, memory: Memory
) -> Callable[[Snapshot, Processes], object]:
    """What another process of a run than its leader measures snapshots by."""
    measurement = Measurement(run, sweep, inputs.corpus, home, device, inputs.mixed, memory.allowance, inputs.words)
    return measurement.rows_or_streamed


def reads(run: Run, corpus: Corpus) -> bool:
    """Whether a run's network reads the leads of a corpus: any, or the twelve."""
    return run.architecture.any_leads or tuple(corpus.manifest.leads) in (LEADS, INDEPENDENT_LEADS)


def labels_asked(tasks: Sequence[Task], corpora: Mapping[str, Corpus]) -> dict[str, tuple[Label, ...]]:
    """The labels of each task that is of recordings."""
    of_recordings = [task for task in tasks if task.unit == "recording"]
    return {task.name: corpora[task.corpus].manifest.labels_of(task.label_set) for task in of_recordings}


def number_facts(labels: Mapping[str, Sequence[Label]]) -> dict[str, str]:
    """Of the targets with numbers among their labels, these with their units, and how many labels there are."""
    said = {
        target: {"of": len(some), "units": {one.name: one.number.unit for one in some if one.number}}
        for target, some in labels.items()
        if any(one.number for one in some)
    }
    return {"numbers": canonical(said)} if said else {}


def computing_in(precision: str, device: str) -> torch.autocast:
    """Networks compute in bfloat16 here, or as they are."""
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bf16")


def probe_rows(
    at: Row,
    backbone: Backbone,
    tasks: Sequence[Task],
    corpora: Mapping[str, Corpus],
    run: Run,
    device: str,
    allowance: Allowance | None = None,
    processes: Processes = ALONE,
) -> list[Row]:
    """One row a number that probes of a frozen backbone yield; ``at`` says of which run and step."""
    scored = probe(backbone, tasks, corpora, run.evaluation, run.seed, device, allowance, processes)
    return [_row(at, s.task.name, "OOD", s.split, s.metric, s.value, s.n_evaluated, s.n_classes) for s in scored]


def id_curve(rows: list[Row]) -> dict[int, float]:
    """A run's own validation loss at each step: what stops it, and what its best step is chosen by."""
    own = ("ID", "val", "loss")
    return {
        r["step"]: r["value"]
        for r in rows
        if (r["domain"], r["split"], r["metric"]) == own and r["target"] == r["corpus"]
    }


def _row(
    at: Row, target: str, domain: str, split: str, metric: str, value: float, n: int, n_classes: int | None = None
) -> Row:
    return {
        **at,
        "target": target,
        "domain": domain,
        "split": split,
        "metric": metric,
        "value": value,
        "n_evaluated": n,
        "n_classes_scored": n_classes,
    }
