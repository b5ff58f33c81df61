"""DINO: a student learns to say of any part of a recording what its own moving average says of more of it.

DINOv3's objective (Simeoni et al. 2025) for recordings of any number of leads: global and local crops in time and in
leads, Sinkhorn-Knopp centring, hidden patches (iBOT) with a head of their own, KoLeo, and Gram anchoring as the late
refinement.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, cast

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.data.noise import KINDS, Noise
from ecgscale.data.recording import ABSENT_LEAD, LEADS
from ecgscale.models import Backbone, Codebook
from ecgscale.models.vit import ViT, ViTBackbone, patches, start
from ecgscale.objectives.crops import Window, crop, disturbed, hidden_patches, shape_of
from ecgscale.objectives.distillation import (
    average_into,
    cross_entropy,
    gram,
    koleo,
    masked_patches,
    rank_of,
    sinkhorn_knopp,
)
from ecgscale.objectives.objective import (
    UNTRAINED,
    Collapsed,
    Loss,
    ObjectiveInputs,
    Optimiser,
    ParamGroup,
    Pretraining,
)

N_GLOBAL = 2
_STUDENT_TEMPERATURE = 0.1
_AMPLITUDE = (0.8, 1.25)
_MASK_RATIOS, _MASKED_CROPS = (0.1, 0.5), 0.5
_WARM_TEACHER = 0.3  # share of the steps in which the teacher's temperature rises
_TEACHER_QUIETER_DB = 6.0  # its views have less noise than the student's
_HARD_DB = -6.0  # noise that drowns what it is added to
_GRAM_EVERY, _GRAM_TEACHERS = 0.01, 4  # share of the steps that an anchor serves, and how many come one after another
_STILL = 0.01  # share of the steps in which the prototypes stay as they were drawn: one of DINOv3's hundred epochs
_LAYER_DECAY, _PATCH_RATE = 0.9, 0.2
_COLLAPSED = 0.001  # of the log number of prototypes


@dataclass(frozen=True)
class DINO:
    """Self-distillation with DINOv3's weights and schedules.

    Two global crops of ``global_seconds`` (with probability ``all_leads`` of all leads, else of any number of them) and
    ``n_local`` local ones of ``local_seconds`` and ``local_leads``. The teacher's momentum runs on a cosine from
    ``momentum`` to 1, its temperature over ``teacher_temperature`` in the first 30 % of the steps. ``gram_from`` is the
    share of the steps after which Gram anchoring starts, against the teacher as it was then; 1 is never. ``noise``:
    kinds of recorded noise on three views in four of five, at ``snr_db``; empty for none. ``init_std`` as in a ViT, for
    the heads.
    """

    n_prototypes: int = 8192
    head_width: int = 2048
    bottleneck: int = 256
    n_local: int = 8
    global_seconds: tuple[float, float] = (6.0, 10.0)
    local_seconds: tuple[float, float] = (1.5, 3.0)
    local_leads: tuple[int, int] = (1, 6)
    time_jitter: float = 1.0  # a student's crop has its seconds times a factor, log-uniform from 1 / this to this
    koleo: float = 0.1
    ibot: float = 1.0
    gram: float = 2.0
    gram_from: float = 1.0  # the anchor is the teacher of then, and anew 1, 2 and 3 % of the steps later
    momentum: float = 0.992
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    hard_noise: float = 0.0  # probability that a kind of noise is added at -6 dB instead of at ``snr_db``
    noise: tuple[str, ...] = tuple(KINDS)
    noise_probability: float = 0.8
    snr_db: tuple[float, float] = (0.0, 24.0)
    all_leads: float = 0.5
    init_std: float | None = 0.02

    kind: ClassVar[str] = "dino"
    revision: ClassVar[int] = 2  # 2: the mask token decays, half of a crop is hidden at most, longer warm-up
    paradigm: ClassVar[str] = "ssl"
    inputs: ClassVar[tuple[str, ...]] = ("patches",)
    cuts_batches: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    codebook: ClassVar[Codebook | None] = None
    optimiser: ClassVar[Optimiser] = Optimiser(
        "adamw", (0.9, 0.999), 1e-8, 0.04, clip=3.0, min_lr=1e-6, final_weight_decay=0.4, warmup=0.1
    )

    def __post_init__(self) -> None:
        if self.time_jitter < 1 or not 0 <= self.hard_noise <= 1:
            raise ValueError(f"{self}: time_jitter is at least 1, hard_noise in [0, 1]")
        unknown = set(self.noise) - set(KINDS)
        if unknown:
            raise ValueError(f"no noise {sorted(unknown)[0]!r}; there is {', '.join(KINDS)}")
        if not (0 < self.momentum <= 1 and 0 <= self.gram_from <= 1 and self.n_local >= 0):
            raise ValueError(f"{self}: momentum is in (0, 1], gram_from in [0, 1] and n_local not below 0")
        if not 0 <= self.all_leads <= 1 or (self.init_std is not None and self.init_std <= 0):
            raise ValueError(f"{self}: all_leads is in [0, 1], init_std above 0 or None")

    def build(self, backbone: Backbone, n_labels: int, inputs: ObjectiveInputs = UNTRAINED) -> Pretraining:
        return DINOModule(cast(ViTBackbone, backbone), self)


class ProjectionHead(nn.Module):
    """Three layers to a unit vector, then its products with prototypes (no bias, no normalisation of their weights)."""

    def __init__(self, width: int, description: DINO) -> None:
        super().__init__()
        hidden = description.head_width
        self.project = nn.Sequential(
            *(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU()),
            nn.Linear(hidden, description.bottleneck),
        )
        self.prototypes = nn.Linear(description.bottleneck, description.n_prototypes, bias=False)
        start(self, description.init_std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.prototypes(F.normalize(self.project(x), dim=-1, eps=1e-6))


class Teacher(nn.Module):
    """The moving average of a student's parts; gradients never reach it."""

    def __init__(self, backbone: ViTBackbone, head: ProjectionHead, patch_head: ProjectionHead) -> None:
        super().__init__()
        self.backbone, self.head = copy.deepcopy(backbone), copy.deepcopy(head)
        self.patch_head = copy.deepcopy(patch_head)
        self.requires_grad_(False)


class DINOModule(Pretraining):
    """Self-distillation: a student is trained, and its teacher, which probes see, is its moving average (EMA).

    Where processes share a batch its centring is over all of it, but KoLeo looks for neighbours in each one's share.
    """

    fixed_batches = True

    def __init__(self, backbone: ViTBackbone, description: DINO) -> None:
        super().__init__()
        self.description = description
        self.backbone: ViTBackbone = backbone
        self.head = ProjectionHead(backbone.width, description)
        self.patch_head = ProjectionHead(backbone.width, description)
        self.teacher = Teacher(self.backbone, self.head, self.patch_head)
        self.anchor: ViTBackbone | None = None
        if description.gram_from < 1:
            self.anchor = copy.deepcopy(backbone).requires_grad_(False)
        # Recordings' crops, and the patches that are hidden of a global one of middling length.
        n_tokens = len(LEADS) * round(ViT.sampling_hz * sum(description.global_seconds) / 2) // backbone.patch
        hidden = _MASKED_CROPS * sum(_MASK_RATIOS) / 2 * n_tokens
        self.head_rows = round(N_GLOBAL * (1 + hidden)) + description.n_local
        self._step, self._steps = 0, 1
        self._drawn: list[torch.Tensor] = []  # prototypes to put back
        self._noise = (
            {mode: Noise(part) for mode, part in ((True, "train"), (False, "eval"))} if description.noise else {}
        )

    def passes(self, batch: Batch) -> Sequence[tuple[int, Sequence[torch.Tensor]]]:
        """Crops of middling length and number of leads; absent leads of global crops are computed like others."""
        what, hz = self.description, ViT.sampling_hz
        rows = round(sum(what.local_leads) / 2)
        lengths = (round(hz * sum(seconds) / 2) for seconds in (what.global_seconds, what.local_seconds))
        whole, part = (batch.signal[..., : min(length, batch.signal.shape[-1])] for length in lengths)
        seen = [(N_GLOBAL, self.backbone.inputs(batch._replace(signal=whole)))]
        if what.n_local:
            few = batch._replace(signal=part[:, :rows], leads=batch.leads.expand(len(part), -1)[:, :rows])
            seen.append((what.n_local, self.backbone.inputs(few)))
        return seen

    @property
    def probed(self) -> Backbone:
        return self.teacher.backbone

    @property
    def _prototypes(self) -> list[torch.Tensor]:
        return [cast(ProjectionHead, part).prototypes.weight for part in (self.head, self.patch_head)]

    @property
    def momentum(self) -> float:
        """Share of itself that the teacher keeps at this step: a cosine from the first value to 1."""
        return 1 - (1 - self.description.momentum) * 0.5 * (1 + math.cos(math.pi * self._step / self._steps))

    @property
    def teacher_temperature(self) -> float:
        first, last = self.description.teacher_temperature
        return first + (last - first) * min(1.0, self._step / (_WARM_TEACHER * self._steps))

    @property
    def _anchoring(self) -> bool:
        return self._step >= round(self.description.gram_from * self._steps)

    def train(self, mode: bool = True) -> "DINOModule":
        super().train(mode)
        self.teacher.eval()
        if self.anchor is not None:
            self.anchor.eval()
        return self

    def begin(self, step: int, steps: int) -> None:
        self._step, self._steps = step, steps
        self._drawn = [weight.detach().clone() for weight in self._prototypes if step < round(_STILL * steps)]
        first, every = round(self.description.gram_from * steps), max(1, round(_GRAM_EVERY * steps))
        if self.anchor is not None and step in range(first, first + _GRAM_TEACHERS * every, every):
            self.anchor.load_state_dict(self.teacher.backbone.state_dict())

    @torch.no_grad()
    def end(self) -> None:
        for weight, drawn in zip(self._prototypes, self._drawn, strict=False):
            weight.copy_(drawn)
        for name, part in self.teacher.named_children():
            average_into(part, self.get_submodule(name), self.momentum)

    def groups(self) -> list[ParamGroup]:
        """From norm and heads (1) each layer down is slower by 0.9, patches slower still; vectors do not decay."""
        depth = len(self.backbone.layers)
        rates: dict[tuple[float, float, str], list[nn.Parameter]] = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            part, _, rest = name.partition(".")
            rate = 1.0
            if part == "backbone" and not rest.startswith("norm."):
                layer = int(rest.split(".")[1]) if rest.startswith("layers.") else -1
                rate = _LAYER_DECAY ** (depth - layer) * (_PATCH_RATE if rest.startswith("embed.") else 1.0)
            decays = parameter.ndim > 1 or rest == "mask_token"  # in DINOv3 a matrix of one row
            rates.setdefault((rate, float(decays), part), []).append(parameter)
        return [ParamGroup(parameters, *key) for key, parameters in rates.items()]

    def forward(self, batch: Batch, draw: torch.Generator) -> Loss:
        """Loss of a batch, a mean over its recordings; see ``terms``."""
        n = len(batch.signal)
        return Loss(torch.stack(list(self.terms(batch, draw).values())).sum() * n, torch.tensor(n))

    def terms(self, batch: Batch, draw: torch.Generator) -> dict[str, torch.Tensor]:
        """The weighted terms of the loss by name.

        Gram anchoring is one in training alone: measured losses compare across its beginning, and the best step may be
        behind it.
        """
        what, n = self.description, len(batch.signal)
        window = Window(what.global_seconds, (1, batch.signal.shape[1]))
        signal, leads = self._crops(batch, window, N_GLOBAL, what.all_leads, draw)
        seen = patches(self._noisy(signal, 0.0, draw), leads, self.backbone.patch, ViT.sampling_hz)
        taught = patches(self._noisy(signal, _TEACHER_QUIETER_DB, draw), leads, self.backbone.patch, ViT.sampling_hz)
        n_patches = signal.shape[-1] // self.backbone.patch
        hidden = hidden_patches(seen.lead, n_patches, _MASK_RATIOS, _MASKED_CROPS, draw)

        centred = partial(sinkhorn_knopp, shared=self.shared)
        at = hidden.flatten().nonzero()[:, 0]  # the one thing that a GPU is waited for
        with torch.no_grad():
            told = self.teacher.backbone.encode(*taught)
            target = centred(self.teacher.head(told.pooled), self.teacher_temperature)  # [N_GLOBAL n, k]
            target_patches = centred(self.teacher.patch_head(told.local.flatten(0, 1)[at]), self.teacher_temperature)
        student = self.backbone.encode(*seen._replace(seconds=self._jittered(seen.seconds, draw)), masked=hidden)
        says = self.head(student.pooled).unflatten(0, (N_GLOBAL, n))
        target = target.unflatten(0, (N_GLOBAL, n))

        n_pairs = {"global": N_GLOBAL * (N_GLOBAL - 1), "local": N_GLOBAL * what.n_local}
        pairs = [(target[i], says[j]) for i in range(N_GLOBAL) for j in range(N_GLOBAL) if i != j]
        if what.n_local:
            small, small_leads = self._crops(
                batch, Window(what.local_seconds, what.local_leads), what.n_local, 0.0, draw
            )
            local = patches(self._noisy(small, 0.0, draw), small_leads, self.backbone.patch, ViT.sampling_hz)
            local = local._replace(seconds=self._jittered(local.seconds, draw))
            says_locally = self.head(self.backbone.encode(*local).pooled).unflatten(0, (what.n_local, n))
            pairs += [(target[i], says_locally[j]) for i in range(N_GLOBAL) for j in range(what.n_local)]
        # Global and local terms weigh as many times as there are pairs of them, so all pairs weigh the same.
        matched = torch.stack([cross_entropy(t, s, _STUDENT_TEMPERATURE).mean() for t, s in pairs]).sum()
        found = {"dino": matched / sum(n_pairs.values())}
        found["ibot"] = what.ibot * masked_patches(
            target_patches, self.patch_head(student.local.flatten(0, 1)[at]), hidden, _STUDENT_TEMPERATURE
        )
        spread = torch.stack([koleo(crops) for crops in student.pooled.unflatten(0, (N_GLOBAL, n))])
        found["koleo"] = what.koleo * N_GLOBAL * spread.mean()
        if self.anchor is not None and self._anchoring and self.training:
            with torch.no_grad():
                anchor = self.anchor.encode(*patches(signal, leads, self.backbone.patch, ViT.sampling_hz)).local
            found["gram"] = what.gram * gram(student.local, anchor, seen.lead != ABSENT_LEAD)
        return found

    @torch.no_grad()
    def health(self, batch: Batch) -> dict[str, float]:
        """Effective rank of the probed features, and what the teacher's words tell of a recording, in nats.

        Raises Collapsed if, in the second half of training, that is nothing.
        """
        pooled = self.probed(batch).pooled
        likely = (self.teacher.head(pooled).float() / self.teacher_temperature).softmax(-1)
        each = -(likely * likely.clamp(min=1e-12).log()).sum(-1).mean()
        overall = -(likely.mean(0) * likely.mean(0).clamp(min=1e-12).log()).sum()
        found = {"feature_rank": rank_of(pooled), "teacher_entropy": float(each), "information": float(overall - each)}
        if self._step >= 0.5 * self._steps and found["information"] < _COLLAPSED * math.log(likely.shape[1]):
            raise Collapsed(
                f"features collapsed: at step {self._step} they tell {found['information']:.2g} nats of a recording "
                f"(rank {found['feature_rank']:.3g}, teacher's entropy {found['teacher_entropy']:.3g} nats)"
            )
        return found

    def _crops(
        self, batch: Batch, window: Window, n_crops: int, all_leads: float, draw: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``n_crops`` of each recording, one after another: signal [n_crops n, rows, length] and its leads."""
        n_leads, n_samples = batch.signal.shape[1:]
        leads = batch.leads.expand(len(batch.signal), -1)
        length, k = shape_of(window, n_leads, n_samples, self.backbone.patch, ViT.sampling_hz, draw)
        made = [crop(batch.signal, leads, length, k, all_leads, draw) for _ in range(n_crops)]
        return torch.cat([signal for signal, _ in made]), torch.cat([numbers for _, numbers in made])

    def _noisy(self, signal: torch.Tensor, quieter_db: float, draw: torch.Generator) -> torch.Tensor:
        what = self.description
        if not what.noise:
            return signal
        snr_db = (what.snr_db[0] + quieter_db, what.snr_db[1] + quieter_db)
        noise, hard = self._noise[self.training], (what.hard_noise, _HARD_DB + quieter_db)
        return disturbed(signal, noise, what.noise, what.noise_probability, snr_db, _AMPLITUDE, draw, hard)

    def _jittered(self, seconds: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
        """Seconds [n, n_tokens] times each crop's factor: the positions' augmentation in training, as in DINOv3."""
        if self.description.time_jitter == 1 or not self.training:
            return seconds
        power = 2 * torch.rand(len(seconds), 1, generator=draw) - 1
        return seconds * (self.description.time_jitter**power).to(seconds.device, non_blocking=True)
