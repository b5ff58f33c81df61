"""How long the parts of a sweep take on a device: training, evaluation, probes, codes, codebook. A reckoning.

A run trains for 6 FLOP a MAC and recording, and no step is done before its kernels are launched. An evaluation costs a
recording what its forward pass costs, 2 FLOP a MAC. Probes are fitted on the device, step by step. What all
masked runs share is done once: a codebook is trained, and each corpus labelled with its codes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd

from ecgscale.compute import FLOPS_PER_MAC_TRAINED, Cost, cost
from ecgscale.data import CorpusSize
from ecgscale.data.beats import BEAT_SAMPLES
from ecgscale.data.mixture import n_evaluated
from ecgscale.models import Codebook, Transformer
from ecgscale.objectives import Supervised
from ecgscale.pricing.calibration import Device
from ecgscale.spec.run import Run
from ecgscale.spec.sweep import Sweep
from ecgscale.spec.tasks import Task
from ecgscale.training import codebooks

_FLOPS_PER_MAC = 2.0  # of a forward pass
_EVALUATED_AT_ONCE = 256  # recordings in a batch of an evaluation
_FORWARD_LAUNCHES = 1 / 3  # of a step's kernels are those of its forward pass
_EPOCHS = 50  # of a linear probe, which stops when its validation loss does
_PROBE_STEP = 2e-4  # seconds of a probe's step that no arithmetic takes: some 20 operations, on a CPU as on a GPU
_PROBE_SPEED = 2e10  # FLOP/s of one CPU thread in a probe
_BEATS = 12  # annotated heartbeats of a recording


@dataclass(frozen=True)
class RunHours:
    """Hours that one run keeps its device: in training, in the forward passes of evaluations, in probes.

    ``fits`` are those of single probes, in lists of what is probed on the features of the same corpus and unit.
    """

    training: float
    evaluation: float
    probes: float
    fits: tuple[tuple[float, ...], ...] = ()

    @property
    def total(self) -> float:
        return self.training + self.evaluation + self.probes

    def clock(self, processes: int = 1) -> float:
        """Hours on the clock of so many processes, with a device each.

        They divide batches and the recordings of evaluations evenly; of the probes on the same features each fits every
        ``processes``-th, and all wait for the last.
        """
        if processes == 1:
            return self.total
        waited = sum(max(sum(part[rank::processes]) for rank in range(processes)) for part in self.fits)
        return (self.training + self.evaluation) / processes + waited


def run_hours(
    run: Run,
    spent: Cost,
    tasks: Sequence[Task],
    sizes: Mapping[str, CorpusSize],
    on: Device,
) -> RunHours:
    """Hours of a run that is measured on ``tasks``; ``spent`` is its cost a recording."""
    kind, steps, size = run.architecture.kind, run.schedule.steps, sizes[run.slice.corpus]
    step = spent.flops(run.schedule.batch_size, 1) / on.speed(kind, spent.macs_per_sample)
    training = steps * max(step, on.step_seconds)
    n_evaluations = 1 + -(-steps // run.evaluation.every)
    inside = _forward_seconds(n_examined(run, sizes), spent.macs_per_sample, kind, on)
    whole = spent.macs_per_sample
    if not isinstance(run.objective, Supervised):  # a probe sees a recording once and whole
        whole = cost(run.architecture, Supervised(), 1, size.n_samples).macs_per_sample
    outside = _forward_seconds(n_probed(tasks, sizes), whole, kind, on)
    fits = {
        task: n_evaluations * _fit_seconds(run, spent.width, task, sizes[task.corpus], on) / 3600
        for task in dict.fromkeys(task.clean for task in tasks)
    }
    alike: dict[tuple[str, str], list[float]] = {}
    for task in (task for task in fits if task.by == "probe"):
        alike.setdefault((task.corpus, task.unit), []).append(fits[task])
    return RunHours(
        training / 3600,
        n_evaluations * (inside + outside) / 3600,
        sum(fits.values()),
        tuple(map(tuple, alike.values())),
    )


def shared_hours(sweep: Sweep, sizes: Mapping[str, CorpusSize], on: Device, home: Path) -> dict[str, float]:
    """Hours that are spent once for all masked runs: "codes", each corpus labelled once a codebook, and "codebook".

    A codebook that is trained or imported already costs nothing; training one is in float32.
    """
    label = train = 0.0
    for recipe in sweep.codebooks:
        corpora = {name for run in sweep.runs if run.objective.codebook == recipe for name in run.slice.corpora}
        for name in corpora:
            label += _forward_seconds(sum(sizes[name].n_records), label_macs(recipe), "transformer", on)
        if not recipe.imported and not codebooks.is_trained(recipe, home):
            flops = FLOPS_PER_MAC_TRAINED * codebook_macs(recipe) * recipe.batch_size * recipe.steps
            train += max(flops / on.speed_fp32("transformer", codebook_macs(recipe)), recipe.steps * on.step_seconds)
    return {"codes": label / 3600, "codebook": train / 3600}


def wall_hours(priced: pd.DataFrame, n_gpus: int) -> float:
    """Hours on the clock of ``n_gpus``: no less than the longest run takes, packed as ``gpu_share`` says."""
    if priced.empty:
        return 0.0
    share = priced["gpu_share"].where(priced["gpu_share"] > 0, 1.0)
    alone = priced["clock_hours"]
    return float(max((alone * share).sum() / n_gpus, alone.max()))


def label_macs(recipe: Codebook) -> int:
    """Multiply-accumulates of labelling one recording with a codebook: the encoder, and the nearest code of a word."""
    encoder = Transformer(recipe.layers, recipe.width, recipe.heads, recipe.ffn, 0.0, recipe.n_tokens, recipe.leads)
    word = recipe.width**2 + recipe.width * recipe.code_width + recipe.code_width * recipe.n_codes
    return _transformer_macs(encoder) + recipe.n_tokens * word


def codebook_macs(recipe: Codebook) -> int:
    """Multiply-accumulates of one recording's forward pass in a codebook's training: encoder, codes, decoder."""
    layers, width, n_tokens = recipe.decoder_layers, recipe.width, recipe.n_tokens
    decoder = Transformer(layers, width, recipe.heads, recipe.ffn, 0.0, n_tokens, recipe.leads)
    word = width**2 + width * BEAT_SAMPLES
    return label_macs(recipe) + _transformer_macs(decoder) + n_tokens * word


def n_probed(tasks: Sequence[Task], sizes: Mapping[str, CorpusSize]) -> int:
    """Recordings that probes compute: every corpus once a unit, its test recordings again under each condition.

    A head computes test recordings alone.
    """
    whole = {(task.corpus, task.unit) for task in tasks if task.by == "probe"}
    again = {
        (task.corpus, task.unit, task.condition, task.by) for task in tasks if task != task.clean or task.by == "head"
    }
    n_tested = sum(sizes[corpus].n_records[2] for corpus, *_ in again)
    return n_tested + sum(sum(sizes[corpus].n_records) for corpus, _ in whole)


def n_examined(run: Run, sizes: Mapping[str, CorpusSize]) -> int:
    """Recordings of val and test that the loss in distribution is measured on."""
    shares = (1.0, *(share for _, share in run.slice.mix))
    return sum(n_evaluated([sizes[name].n_records[split] for name in run.slice.corpora], shares) for split in (1, 2))


def _forward_seconds(n_records: float, macs: float, kind: str, on: Device) -> float:
    computing = n_records * _FLOPS_PER_MAC * macs / on.speed_forward(kind, macs)
    return max(computing, n_records / _EVALUATED_AT_ONCE * on.step_seconds * _FORWARD_LAUNCHES)


def _fit_seconds(run: Run, width: int, task: Task, size: CorpusSize, on: Device) -> float:
    """Of one linear probe, on its training recordings."""
    if task.by != "probe":
        return 0.0
    settings = run.evaluation
    n = min(size.n_records[0], settings.probe_records or size.n_records[0]) * (_BEATS if task.unit == "beat" else 1)
    steps = min(settings.probe_epochs, _EPOCHS) * -(-n // settings.probe_batch_size)
    products = 4.0 * settings.probe_batch_size * width * max(1, size.n_labels_of(task.label_set))
    speed = on.speed_fp32(run.architecture.kind, 1.0) if on.gpu else _PROBE_SPEED
    return steps * (_PROBE_STEP + products / speed)


@cache
def _transformer_macs(architecture: Transformer) -> int:
    return cost(architecture, Supervised(), 1, 1000).macs_per_sample
