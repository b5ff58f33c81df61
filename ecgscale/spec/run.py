"""A run as a value: everything that changes a number, and nothing that does not."""

import dataclasses
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar, cast, get_args

from ecgscale.data.corpus import Slice
from ecgscale.models import ARCHITECTURES, Architecture
from ecgscale.objectives import OBJECTIVES, Objective
from ecgscale.phrases import did_you_mean
from ecgscale.records import canonical, run_id_of
from ecgscale.spec.types import misfits

PRECISIONS = ("auto", "fp32", "bf16")
DECAYS = ("cosine", "wsd")


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a run trains.

    The paper's scale by default: 100,000 steps of 128 recordings with 5 % linear warm-up and cosine decay.

    ``decay`` "wsd" is warm-up, stable, decay (Hu et al. 2024; Haegele et al. 2024): the rate stays at its peak until
    the last share ``cooldown`` of the steps, in which it falls as 1 - sqrt. What has been trained until then serves any
    length, so ``budgets`` are further, shorter lengths of the same run: a branch leaves the trunk where it has to,
    decays, and is measured where it ends. A run under "wsd" is measured only where it has decayed: after each budget
    and at its last step (and at step 0); ``Evaluation.every`` then says how often it is saved.
    """

    steps: int = 100_000
    batch_size: int = 128
    lr: float | None = None  # peak; None: 1e-3 below 10M backbone parameters, 1e-4 from there on
    warmup: float | None = None  # share of the steps (of the first budget); None: the objective's own, 5 % but of DINO
    patience_epochs: float = 5.0  # stop when the ID validation loss has not improved for so long
    clip: float | None = None  # norm that gradients are cut to; None: the objective's own
    precision: str = "auto"  # fp32, bf16, or auto: bf16 on a GPU that has it, else fp32; the results file says which
    decay: str = "cosine"  # or "wsd"
    cooldown: float = 0.2  # share of a budget's steps in which the rate falls, under "wsd"
    budgets: tuple[int, ...] = ()  # steps after which a branch has decayed, beside ``steps``; rising, under "wsd"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"Schedule.precision is {self.precision!r}{did_you_mean(self.precision, PRECISIONS)}")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"{self}: clip is above 0")
        if self.steps < 1 or self.batch_size < 2:
            raise ValueError(f"{self}: steps is at least 1 and batch_size at least 2")
        if not 0 <= (self.warmup or 0.0) < 1 or self.patience_epochs <= 0 or (self.lr is not None and self.lr <= 0):
            raise ValueError(f"{self}: warmup is in [0, 1), patience_epochs and lr are above 0")
        if self.decay not in DECAYS:
            raise ValueError(f"Schedule.decay is {self.decay!r}{did_you_mean(self.decay, DECAYS)}")
        if self.budgets and self.decay != "wsd":
            raise ValueError(f"{self}: a run of several budgets needs decay 'wsd': a cosine ends once")
        if not 0 < self.cooldown < 1 or (self.decay == "wsd" and self.cooldown + (self.warmup or 0.0) > 1):
            raise ValueError(f"{self}: cooldown is above 0, and the warm-up ends before it")
        left = [self.leaves(budget) for budget in self.lengths]
        still = self.decay == "wsd" and any(leave in (0, end) for leave, end in zip(left, self.lengths, strict=True))
        if still or any(before >= after for before, after in pairwise(left)):
            raise ValueError(
                f"{self}: budgets rise, the last is below steps; each leaves the trunk after the one before, "
                "with steps left in which its rate falls"
            )

    @property
    def lengths(self) -> tuple[int, ...]:
        """Steps of every budget; the last is that of the whole run."""
        return (*self.budgets, self.steps)

    def leaves(self, budget: int) -> int:
        """The step of the trunk from which a budget's rate falls, under "wsd"."""
        return budget - round(self.cooldown * budget)

    @property
    def n_taken(self) -> int:
        """Steps that are computed in all, those of branches among them: what a run costs."""
        return self.steps + sum(budget - self.leaves(budget) for budget in self.budgets)

    def measured(self, every: int) -> tuple[int, ...]:
        """The steps after which a run is measured, beside step 0."""
        if self.decay == "wsd":
            return self.lengths
        return tuple(dict.fromkeys((*range(every, self.steps, every), self.steps)))

    def peak_lr(self, n_params: int) -> float:
        if self.lr is not None:
            return self.lr
        return 1e-3 if n_params < 10_000_000 else 1e-4


@dataclass(frozen=True)
class Evaluation:
    """When a run is measured, and how its frozen features are probed.

    A linear layer under Adam from each label's prevalence on, for at most 200 epochs, stopped after 5 without a better
    validation loss.
    """

    every: int = 5_000  # steps; step 0, the untrained twin, is always measured
    probe_lr: float = 1e-3
    probe_epochs: int = 200
    probe_patience: int = 5
    probe_batch_size: int = 256
    standardise: bool = False  # features by mean and deviation of the training split; not in the paper
    convex: bool = False  # also the convex probe: a ridge chosen on validation, no step size or draw; not in the paper
    revision: ClassVar[int] = 2  # 2: probes start at prevalence
    probe_records: int | None = None  # at most so many training recordings of a corpus are probed on; not in the paper

    def __post_init__(self) -> None:
        if min(self.every, self.probe_epochs, self.probe_patience, self.probe_batch_size) < 1 or self.probe_lr <= 0:
            raise ValueError(f"{self}: every number of an evaluation is above 0")


@dataclass(frozen=True)
class Run:
    """One cell of a sweep. Raises ValueError, in one sentence, for parts that do not fit together."""

    architecture: Architecture
    objective: Objective
    slice: Slice
    schedule: Schedule = Schedule()
    evaluation: Evaluation = Evaluation()
    seed: int = 0
    initial: "Run | None" = None  # starts from this run's backbone, at its best step; None: from random weights
    weights: str = ""  # starts from published weights: SHA-256 of the file that was imported

    def __post_init__(self) -> None:
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), type):
                raise ValueError(f"a run's {field.name} is the class {value.__name__}; write {value.__name__}(...)")
        for part, wanted in (("architecture", Architecture), ("objective", Objective)):
            value = getattr(self, part)
            if lacking := [name for name in vars(wanted) if name[0] != "_" and not hasattr(value, name)]:
                raise ValueError(
                    f"a run's {part} {type(value).__name__} says no {', '.join(lacking)}; a dataclass that inherits "
                    f"{wanted.__name__} has defaults for what most do not need"
                )
            if "__dataclass_fields__" not in vars(type(value)):  # its fields would be missing from the identity
                raise ValueError(f"{type(value).__name__} is no dataclass; write @dataclass(frozen=True) above it")
        if wrong := misfits(self):
            raise ValueError("; ".join(wrong))
        if self.seed < 0:
            raise ValueError(f"Run.seed is {self.seed}; a seed is 0 or above")
        for one, ours in ((self.architecture, ARCHITECTURES), (self.objective, OBJECTIVES)):
            known: type | None = cast(Any, ours).get(one.kind)
            if known and (known.__module__, known.__qualname__) != (type(one).__module__, type(one).__qualname__):
                raise ValueError(
                    f"{type(one).__name__} calls itself {one.kind!r}, as {known.__name__} of {known.__module__} does; "
                    "their runs would be taken for each other, so give it a kind of its own"
                )
        if self.initial is not None and self.initial.architecture != self.architecture:
            raise ValueError(
                f"a run starts from a backbone of its own architecture: its own is {self.architecture}, "
                f"that of its initial run {self.initial.architecture}"
            )
        if self.initial is not None and self.weights:
            raise ValueError("a run starts from another run or from published weights, not from both")
        if self.architecture.input not in self.objective.inputs:
            raise ValueError(
                f"a {self.architecture.kind} reads {self.architecture.input}, "
                f"but {self.objective.kind} needs {' or '.join(self.objective.inputs)}"
            )
        if wrong_with := getattr(self.objective, "misfit", lambda architecture: "")(self.architecture):
            raise ValueError(wrong_with)
        if self.objective.needs_labels and not self.slice.label_set:
            raise ValueError(f"{self.objective.kind} needs labels: give the slice of {self.slice.corpus} a label_set")
        if self.schedule.budgets and self.objective.optimiser.final_weight_decay is not None:
            raise ValueError(f"schedules of {self.objective.kind} end with the run: it has one budget")
        book, net = self.objective.codebook, cast(Any, self.architecture)
        if book and self.slice.mix:
            raise ValueError(
                f"a {self.objective.kind} run reads one corpus, in the units of its codebook: leave out the slice's mix"
            )
        if book and net.input == "beats" and (book.n_tokens, book.leads) != (net.n_tokens, net.leads):
            raise ValueError(
                f"the codebook reads sentences of {book.n_tokens} tokens, {book.leads} leads; "
                f"the {net.kind} of {net.n_tokens} tokens, {net.leads} leads"
            )

    @cached_property
    def description(self) -> str:
        """Canonical JSON of the run, the only thing its identity depends on."""
        return canonical(to_json(self))

    @cached_property
    def run_id(self) -> str:
        return run_id_of(self.description)

    @property
    def configuration(self) -> str:
        """Architecture and paradigm (or the objective's own name for it), or what their authors call the pair.

        Of a run that starts from another one's backbone, that one's, and "-tuned"; also of one that starts from
        published weights.
        """
        if self.initial is not None:
            return f"{self.initial.configuration.removesuffix(TUNED)}{TUNED}"
        parts = (self.architecture.kind, getattr(self.objective, "called", self.objective.paradigm))
        return _CALLED.get(parts, "-".join(parts)) + (TUNED if self.weights else "")

    @property
    def name(self) -> str:
        """For people: configuration, size, fraction, seed."""
        return f"{self.configuration} {self.architecture.size} {self.slice.fraction:.3g} s{self.seed}"


def parts_of(run: Run) -> list[Architecture | Objective]:
    """The architecture and the objective of a run, and of those that it starts from."""
    other = [run.objective.other] if hasattr(run.objective, "other") else []  # of a hybrid
    return [run.architecture, run.objective, *other, *(parts_of(run.initial) if run.initial else ())]


TUNED = "-tuned"
_CALLED = {("net1d", "sl"): "ecgfounder-sl", ("vit", "ssl"): "vit-dino"}


def to_json(value: Any) -> Any:
    """A description as plain JSON; fields at their default are left out, so that a new one changes no old identity.

    Where the same fields have come to mean another computation, the class says so by a ``revision``, which is part of
    every identity that it enters.
    """
    if not dataclasses.is_dataclass(value):
        return value
    out: dict[str, Any] = {name: getattr(value, name) for name in ("kind", "revision") if hasattr(value, name)}
    for field in fields(value):
        content = getattr(value, field.name)
        if field.default is MISSING or content != field.default or hasattr(content, "revision"):
            kinds = (field.type, *get_args(field.type), *str(field.type).split(" | "))  # its text, if put off
            is_float = (float in kinds or "float" in kinds) and isinstance(content, int)
            out[field.name] = float(content) if is_float else to_json(content)
    return out
