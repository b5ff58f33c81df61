"""Terms of self-distillation: what DINOv3 (Simeoni et al. 2025) adds up, each a function of tensors alone."""

import torch
from torch import distributed
from torch.nn import functional as F

SINKHORN_ITERATIONS = 3


@torch.no_grad()
def sinkhorn_knopp(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Teacher probabilities [n, k] whose prototypes are used equally often over the batch (Caron et al. 2020).

    Columns and rows of exp(logits / temperature) are normalised in turn, SINKHORN_ITERATIONS times; over all processes
    where several share a batch.
    """
    scaled = logits.float() / temperature
    highest = scaled.max() if len(scaled) else scaled.new_zeros(())
    q = (scaled - _over_processes(highest, distributed.ReduceOp.MAX)).exp()  # [n, k]
    n = _over_processes(torch.tensor(float(len(q)), device=q.device))
    q = q / _over_processes(q.sum())
    for _ in range(SINKHORN_ITERATIONS):
        q = q / _over_processes(q.sum(0)) / q.shape[1]
        q = q / q.sum(1, keepdim=True) / n
    return q * n


def cross_entropy(teacher: torch.Tensor, student: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy [n] of student logits [n, k] at a temperature under teacher probabilities [n, k]."""
    return -(teacher * F.log_softmax(student.float() / temperature, -1)).sum(-1)


def koleo(features: torch.Tensor) -> torch.Tensor:
    """Kozachenko-Leonenko term of features [n, width]: minus the mean log distance to the nearest other direction."""
    unit = F.normalize(features.float(), dim=-1, eps=1e-8)
    with torch.no_grad():
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
    return (terms * share.repeat_interleave(hidden.sum(1))).sum() / len(hidden)


def gram(student: torch.Tensor, anchor: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """Gram anchoring: mean squared difference of the similarities among patches [n, n_tokens, width] of a recording.

    Only pairs of patches that are ``present`` bool [n, n_tokens] count.
    """
    mine, theirs = (F.normalize(x.float(), dim=-1) for x in (student, anchor))
    pairs = present[:, :, None] & present[:, None, :]
    difference = mine @ mine.transpose(1, 2) - theirs @ theirs.transpose(1, 2)
    return (difference.square() * pairs).sum() / pairs.sum().clamp(min=1)


@torch.no_grad()
def rank_of(features: torch.Tensor) -> float:
    """Effective rank of features [n, width]: exp of the entropy of singular values (RankMe, Garrido et al. 2023)."""
    values = torch.linalg.svdvals(features.float())
    share = values / values.sum().clamp(min=1e-12) + 1e-12
    return float((-(share * share.log()).sum()).exp())


def _over_processes(
    value: torch.Tensor, how: distributed.ReduceOp.RedOpType = distributed.ReduceOp.SUM
) -> torch.Tensor:
    if distributed.is_available() and distributed.is_initialized():
        value = value.clone()
        distributed.all_reduce(value, how)
    return value
