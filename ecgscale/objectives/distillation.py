"""Terms of self-distillation: what DINOv3 (Simeoni et al. 2025) adds up, each a function of tensors alone."""

import torch
from torch import distributed, nn
from torch.nn import functional as F

from ecgscale.objectives.collectives import all_reduce

SINKHORN_ITERATIONS = 3


@torch.no_grad()
def sinkhorn_knopp(logits: torch.Tensor, temperature: float, *, shared: bool = False) -> torch.Tensor:
    """Teacher probabilities [n, k] whose prototypes are used equally often over the batch (Caron et al. 2020).

    Columns and rows of exp(logits / temperature) are normalised in turn, SINKHORN_ITERATIONS times; over all processes
    if they share the batch.
    """
    scaled = logits.float() / temperature
    highest = scaled.max() if len(scaled) else scaled.new_full((), -torch.inf)
    total = all_reduce if shared else _alone
    q = (scaled - total(highest, distributed.ReduceOp.MAX)).exp()  # [n, k]
    n = total(q.new_full((), float(len(q))))
    q = q / total(q.sum())
    for _ in range(SINKHORN_ITERATIONS):
        q = q / total(q.sum(0)) / q.shape[1]
        q = q / q.sum(1, keepdim=True) / n
    return q * n


def cross_entropy(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy [n] of student logits [n, k] at a temperature under teacher probabilities [n, k]."""
    return -(teacher * F.log_softmax(student.float() / temperature, -1)).sum(-1)


def koleo(features: torch.Tensor) -> torch.Tensor:
    """Kozachenko-Leonenko term of features [n, width]: minus the mean log distance to the nearest other direction.

    In float32 also under autocast, as in DINOv3: of near neighbours bfloat16 does not know the nearest.
    """
    unit = F.normalize(features.float(), dim=-1, eps=1e-8)
    with torch.no_grad(), torch.autocast(unit.device.type, enabled=False):
        similarity = unit @ unit.T
        similarity.fill_diagonal_(-2)
        nearest = similarity.argmax(1)
    distance = (unit - unit[nearest] + 1e-8).norm(dim=-1)
    return -(distance + 1e-8).log().mean()


def masked_patches(
    teacher: torch.Tensor, student: torch.Tensor, hidden: torch.Tensor, temperature: float
) -> torch.Tensor:
    """iBOT (Zhou et al. 2022) over crops with hidden patches ``hidden`` bool [n, n_tokens]; a mean over all n crops.

    ``teacher`` and ``student`` [n_hidden, k] are the hidden patches in order; within a crop each counts equally.
    """
    terms = cross_entropy(teacher, student, temperature)
    share = 1 / hidden.sum(1).clamp(min=1).float()
    return (terms * share.repeat_interleave(hidden.sum(1), output_size=len(terms))).sum() / len(hidden)


def gram(student: torch.Tensor, anchor: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Gram anchoring: mean squared difference of the similarities among patches [n, n_tokens, width] of a recording.

    Only pairs of patches that are ``present`` bool [n, n_tokens] count. In float32 also under autocast, for what is
    squared is a small difference of numbers near 1.
    """
    mine, theirs = (F.normalize(x.float(), dim=-1) for x in (student, anchor))
    pairs = present[:, :, None] & present[:, None, :]
    with torch.autocast(mine.device.type, enabled=False):
        difference = mine @ mine.transpose(1, 2) - theirs @ theirs.transpose(1, 2)
    return (difference.square() * pairs).sum() / pairs.sum().clamp(min=1)


@torch.no_grad()
def average_into(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move a teacher's parameters to its student's: it keeps ``momentum`` of itself (exponential moving average)."""
    pairs = zip(teacher.parameters(), student.parameters(), strict=True)
    theirs, ours = zip(*((mine.detach(), other.detach()) for mine, other in pairs), strict=True)
    torch._foreach_mul_(theirs, momentum)
    torch._foreach_add_(theirs, ours, alpha=1 - momentum)


@torch.no_grad()
def spread_of(features: torch.Tensor) -> float:
    """How far directions [..., width] differ: 1 where they point anywhere, 0 where all are one (Chen and He 2021)."""
    unit = F.normalize(features.float().flatten(0, -2), dim=-1)
    return float(unit.std(0, correction=0).square().sum().sqrt())


@torch.no_grad()
def rank_of(features: torch.Tensor) -> float:
    """Effective rank of features [n, width]: exp of the entropy of singular values (RankMe, Garrido et al. 2023)."""
    values = torch.linalg.svdvals(features.float())
    share = values / values.sum().clamp(min=1e-12) + 1e-12
    return float((-(share * share.log()).sum()).exp())


def _alone(value: torch.Tensor, how: object = None) -> torch.Tensor:
    return value
