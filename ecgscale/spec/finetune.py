"""Fine-tuning as runs: a pretrained backbone, or its twin with random weights, trained whole on a downstream task."""

from dataclasses import dataclass, replace

from ecgscale.data.corpus import Slice
from ecgscale.objectives import Supervised
from ecgscale.spec.run import Evaluation, Run, Schedule
from ecgscale.spec.tasks import Task


@dataclass(frozen=True)
class Tuning:
    """How an architecture is fine-tuned: all weights move; ``lr`` is the peak of the learning rate."""

    lr: float


# Table S.8 of the scaling study. Another model is one line here and one in models.ARCHITECTURES.
TUNINGS: dict[str, Tuning] = {
    "resnet": Tuning(lr=1e-3),
    "transformer": Tuning(lr=1e-3),
    "net1d": Tuning(lr=1e-4),  # ECGFounder's
    "basic-resnet": Tuning(lr=1e-3),  # MERL's
    "keras-resnet": Tuning(lr=1e-3),  # PCLR's and Ribeiro's
    "multilead-vit": Tuning(lr=1e-3),  # MERL's
    "wave": Tuning(lr=1e-5),  # HuBERT-ECG's; ECG-FM's is 1e-6, which a schedule gives
}


def tuned(initial: Run, task: Task, schedule: Schedule, evaluation: Evaluation, fraction: float = 1.0) -> Run:
    """The run that fine-tunes the best step of ``initial`` on a fraction of a task's training patients.

    The schedule's peak learning rate is the architecture's own unless it gives one. Raises ValueError for an
    architecture without an entry in ``TUNINGS``.
    """
    kind = initial.architecture.kind
    if kind not in TUNINGS:
        raise ValueError(f"it is not known how a {kind} is fine-tuned; there are {', '.join(TUNINGS)}")
    if schedule.lr is None:
        schedule = replace(schedule, lr=TUNINGS[kind].lr)
    part = Slice(task.corpus, fraction, task.label_set)
    return Run(initial.architecture, Supervised(), part, schedule, evaluation, initial.seed, initial)


def from_scratch(run: Run) -> Run:
    """The same run from random weights: head, order of the data and schedule are the tuned one's."""
    return replace(run, initial=None)
