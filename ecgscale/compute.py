"""What a run costs: parameters and multiply-accumulates of one recording, counted once an architecture.

Ours are counted by fvcore. Those of others are counted twice, by fvcore and by torch (``flops``), which has to agree;
where fvcore does not know an operation, torch's count is taken. An architecture may say its own (``macs``).
"""

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from ecgscale import flops
from ecgscale.data.batches import Batch
from ecgscale.data.peaks import MAX_BEATS, NO_PEAK
from ecgscale.models import Architecture, Backbone
from ecgscale.objectives import Objective

AGREEMENT = 1e-3  # share by which two counts may differ
FLOPS_PER_MAC_TRAINED = 6  # 2 a MAC; the backward pass is twice the forward (Kaplan et al. 2020)

# Elementwise work and moves of data: no multiply-accumulates. Whatever else fvcore cannot count is an error.
_LIGHT = frozenset(
    """
    add add_ sub rsub mul mul_ div neg pow sqrt exp mean sum max min clamp where fill_ copy_ clone zeros ones pad
    expand expand_as repeat gather scatter index index_select masked_fill embedding remainder floor_divide type_as
    gelu relu relu_ silu sigmoid tanh softmax log_softmax cos sin cumsum dropout feature_dropout max_pool1d max_pool2d
    amax avg_pool1d unflatten unfold var eq ne lt gt le ge any bitwise_not bitwise_and bitwise_or __and__ __or__
    logsumexp logaddexp logical_not clamp_min linalg_vector_norm leaky_relu
    """.split()
)

_HEAVY = ("_convolution", "addmm", "bmm", "einsum", "matmul", "linear")  # whose outputs are a network's activations


class Cost(NamedTuple):
    """``n_params`` of the backbone, ``n_params_head``, and ``macs_per_sample`` of one forward pass of both.

    ``n_activations`` counts what their convolutions and matrix products put out for one recording, ``n_blocks`` the
    backbone's blocks, and ``width`` its features.
    """

    n_params: int
    n_params_head: int
    macs_per_sample: int
    n_activations: int
    counted_by: str = "fvcore"  # or "torch", or "itself"
    n_blocks: int = 1
    width: int = 1

    def flops(self, batch_size: int, step: int) -> float:
        """C = 6 x MACs x batch x steps."""
        return float(FLOPS_PER_MAC_TRAINED * self.macs_per_sample) * batch_size * step


KNOWN: dict[str, Cost] = {}  # costs of our own models by what they are, counted here or earlier (``pricing.counts``)


@cache
def cost(architecture: Architecture, objective: Objective, n_labels: int, n_samples: int) -> Cost:
    """Cost of training an architecture under an objective on recordings of ``n_samples`` at the models' rate.

    Nothing is computed: weights and activations have shapes only. The frozen codebook's labels are not counted, as the
    paper's formula has it.
    """
    parts = (architecture, objective, getattr(objective, "other", objective))
    ours = all(type(part).__module__.startswith("ecgscale.") for part in parts)
    if not ours:  # what a stranger's code says today it need not say tomorrow
        return _cost(architecture, objective, n_labels, n_samples, ours)
    asked = f"{architecture}, {objective}, {n_labels} labels, {n_samples} samples"
    if asked not in KNOWN:
        KNOWN[asked] = _cost(architecture, objective, n_labels, n_samples, ours)
    return KNOWN[asked]


def _cost(architecture: Architecture, objective: Objective, n_labels: int, n_samples: int, ours: bool) -> Cost:
    with torch.device("meta"):
        module = objective.build(architecture.build(), n_labels)
    batch = Batch(
        torch.zeros(1, 12, n_samples),
        torch.full((1, MAX_BEATS), NO_PEAK),
        torch.zeros(1, n_labels),
        torch.zeros(1, dtype=torch.int64),
    )
    encoding, activations, by = 0, 0, "fvcore" if architecture.macs(n_samples) is None else "itself"
    for times, given in module.passes(batch):
        form = tuple((tensor.shape, tensor.dtype) for tensor in given)
        if ours:  # whatever the objective, it is the architecture's own backbone
            found, n_put_out = _encoded(architecture, form)
        else:
            said = architecture.macs(given[0].shape[-1] if architecture.input == "signal" else n_samples)
            found, n_put_out, by = _counted(_Encoding(module.backbone), _inputs(form), said)
        encoding += times * found
        activations += times * n_put_out
    heading, heads = 0, nn.ModuleList()
    for times, head, given in module.heads(batch):
        recurrent = any(isinstance(part, nn.RNNBase) for part in head.modules())  # fvcore does not know them
        count = _traced if ours and not recurrent else _counted
        found, n_put_out = count(head, [tensor.to("meta") for tensor in given])[:2]
        heading += times * found
        activations += times * n_put_out
        heads.append(head)
    return Cost(
        n_params=_size(module.backbone),
        n_params_head=_size(heads),
        macs_per_sample=encoding + heading,
        n_activations=activations,
        counted_by=by,
        n_blocks=max(1, sum(len(part) for part in module.backbone.children() if isinstance(part, nn.ModuleList))),
        width=module.backbone.width,
    )


_Form = tuple[tuple[torch.Size, torch.dtype], ...]  # shapes and types of what a backbone is given


@cache
def _encoded(architecture: Architecture, form: _Form) -> tuple[int, int]:
    """Multiply-accumulates and activations of one forward pass of our own backbones: once for all objectives."""
    with torch.device("meta"):
        backbone = architecture.build()
    said = architecture.macs(form[0][0][-1])
    if said is not None:
        return said, flops.count(_Encoding(backbone), _inputs(form)).n_activations
    return _traced(_Encoding(backbone), _inputs(form))


def _inputs(form: _Form) -> list[torch.Tensor]:
    return [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in form]


@cache
def has_batch_norm(architecture: Architecture) -> bool:
    """Whether a backbone normalises by the statistics of a batch: smaller batches then make another model of it."""
    with torch.device("meta"):
        return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in architecture.build().modules())


def macs(module: nn.Module, inputs: Sequence[torch.Tensor]) -> int:
    """Multiply-accumulates of one forward pass by fvcore, attention included; on the meta device it costs no memory.

    Raises AssertionError naming any operation that could be heavy and was not counted.
    """
    return _traced(module, inputs)[0]


def _traced(module: nn.Module, inputs: Sequence[torch.Tensor]) -> tuple[int, int]:
    """``macs``, and activations: how many numbers convolutions and matrix products put out. Both of one trace."""
    from fvcore.nn import FlopCountAnalysis

    analysis, put_out = FlopCountAnalysis(module.eval(), tuple(inputs)), []
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    for norm in ("batch_norm", "layer_norm", "group_norm"):  # fvcore counts their elementwise arithmetic
        analysis.set_op_handle(f"aten::{norm}", _no_macs)

    def heard(handle: Callable[[list[Any], list[Any]], Any]) -> Callable[[list[Any], list[Any]], Any]:
        def count(given: list[Any], outputs: list[Any]) -> Any:
            put_out.append(math.prod(outputs[0].type().sizes()))
            return handle(given, outputs)

        return count

    for name in _HEAVY:
        analysis.set_op_handle(f"aten::{name}", heard(analysis._op_handles[f"aten::{name}"]))
    with warnings.catch_warnings(), torch.no_grad(), _Convolving():
        warnings.simplefilter("ignore")
        total = int(analysis.total())
        skipped: Counter[str] = analysis.unsupported_ops()
    heavy = sorted({op.removeprefix("aten::") for op in skipped} - _LIGHT)
    assert not heavy, f"operations that were not counted: {', '.join(heavy)}"
    return total, sum(put_out)


def _counted(module: nn.Module, inputs: Sequence[torch.Tensor], said: int | None = None) -> tuple[int, int, str]:
    """Multiply-accumulates and activations of a stranger's module, and who counted them. Raises flops.Uncounted."""
    second = flops.count(module, inputs)
    if said is not None:
        return said, second.n_activations, "itself"
    first = None
    if not second.unknown_to_fvcore:
        with suppress(Exception):  # it does not know an operation, or cannot follow the module
            first = _traced(module, inputs)
    if first is None:
        if second.heavy:
            raise flops.Uncounted(
                f"operations that cannot be counted: {', '.join(sorted(second.heavy))}; give the architecture a method "
                "macs(n_samples) that says its multiply-accumulates"
            )
        return second.macs, second.n_activations, "torch"
    if not second.heavy and abs(first[0] - second.macs) > AGREEMENT * max(first[0], second.macs):
        raise flops.Uncounted(
            f"fvcore counts {first[0]:,} multiply-accumulates and torch {second.macs:,}; give the architecture a "
            "method macs(n_samples) that says how many there are"
        )
    return *first, "fvcore"


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> float:
    """Queries by keys, and weights by values: 2 x n x heads x tokens^2 x head width."""
    query, key = (value.type().sizes() for value in inputs[:2])
    n, heads, n_queries, width = query
    return 2.0 * n * heads * n_queries * key[2] * width


def _no_macs(inputs: list[Any], outputs: list[Any]) -> float:
    return 0.0


class _Convolving(TorchDispatchMode):
    """Lets a traced convolution run on the meta device.

    Its kernel there is Python that compares sizes, and the tracer that fvcore counts by hands out sizes as tensors, so
    that torch 2.13 stops with "cond must be a bool". Tracers belong to a thread: in another one sizes are numbers.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        aten = torch.ops.aten
        if func is aten.convolution.default:  # is not what a tracer records, but calls it
            with enable_reentrant_dispatch(), self:
                return aten._convolution(*args, False, False, True, True)
        if func is aten._convolution.default:
            return _elsewhere(func, *args)
        return func(*args, **(kwargs or {}))


def _elsewhere(func: Callable[..., torch.Tensor], *args: Any) -> torch.Tensor:
    with ThreadPoolExecutor(1, initializer=torch.set_grad_enabled, initargs=(False,)) as thread:
        return thread.submit(func, *args).result()


class _Encoding(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.backbone.encode(*inputs).pooled


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
