"""The second count: multiply-accumulates as torch dispatches them, with what fvcore does not know.

``torch.utils.flop_counter`` counts convolutions, matrix products and attention, two FLOPs a multiply-accumulate. Added
are Fourier transforms and recurrent layers:

- A Fourier transform of N complex numbers is 5 N log2(N) FLOPs, of N real ones half of that (the convention of FFTW's
  benchFFT), whatever algorithm computes it; hence 2.5 N log2(N) and 1.25 N log2(N) multiply-accumulates.
- A recurrent layer (LSTM, GRU, RNN) multiplies with each of its weight matrices once a time step. Its loop over time
  is not computed: on recordings that takes minutes.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

# By torch.Tag pointwise operations, reductions and views are known to be light; these are light too.
_LIGHT = frozenset(
    """
    _safe_softmax _softmax _log_softmax _unsafe_view cat stack constant_pad_nd reflection_pad1d replication_pad1d pad
    empty new_empty new_zeros new_ones zeros ones full zeros_like ones_like empty_like full_like scalar_tensor arange
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training native_layer_norm native_group_norm
    max_pool2d_with_indices avg_pool1d avg_pool2d _adaptive_avg_pool2d transpose_ squeeze_ unsqueeze_ unsafe_split
    embedding gather scatter index index_select index_put index_put_ slice_scatter select_scatter repeat fill_ copy_
    clone _to_copy detach lift_fresh cumsum cumprod logcumsumexp flip roll tril triu native_dropout argmax argmin topk
    sort std var var_mean unfold im2col upsample_nearest1d upsample_linear1d linalg_vector_norm floor_divide complex
    """.split()
)


class Counted(NamedTuple):
    """Multiply-accumulates, and how many numbers heavy operations put out.

    ``unknown_to_fvcore`` names operations that were counted and that fvcore would not know, ``heavy`` those that were
    not counted and may be heavy.
    """

    macs: int
    n_activations: int
    unknown_to_fvcore: frozenset[str]
    heavy: frozenset[str]


class Uncounted(ValueError):
    """A module has operations that nobody knows how to count."""


@torch.no_grad()
def count(module: nn.Module, inputs: Sequence[torch.Tensor]) -> Counted:
    """Count one forward pass; on the meta device it costs no memory."""
    recurrent, dispatched = _Recurrent(), _Dispatched()
    counter = FlopCounterMode(display=False, custom_mapping=_FOURIER)  # type: ignore[arg-type]
    trained = [parameter.requires_grad_(False) for parameter in module.parameters() if parameter.requires_grad]
    try:  # the counter looks for the gradients of what a module is given, which may be a view of a parameter
        with recurrent, counter, dispatched:
            module.eval()(*inputs)
    finally:
        for parameter in trained:
            parameter.requires_grad_()
    return Counted(
        counter.get_total_flops() // 2 + recurrent.macs,
        dispatched.n_activations + recurrent.n_activations,
        frozenset(dispatched.unknown | recurrent.kinds),
        frozenset(dispatched.heavy),
    )


def _of_real(shape: Sequence[int], dims: Sequence[int]) -> float:
    """FLOPs of Fourier transforms of real numbers, one after another along some dimensions of a tensor."""
    return 2.5 * math.prod(shape) * sum(math.log2(shape[dim]) for dim in dims)


def _r2c(x: Sequence[int], dims: Sequence[int], *rest: Any, **options: Any) -> int:
    return round(_of_real(x, dims))


def _c2r(x: Sequence[int], dims: Sequence[int], *rest: Any, out_shape: Sequence[int], **options: Any) -> int:
    return round(_of_real(out_shape, dims))


def _c2c(x: Sequence[int], dims: Sequence[int], *rest: Any, **options: Any) -> int:
    return round(2 * _of_real(x, dims))


_FOURIER: dict[Any, Callable[..., int]] = {
    torch.ops.aten._fft_r2c: _r2c,
    torch.ops.aten._fft_c2r: _c2r,
    torch.ops.aten._fft_c2c: _c2c,
}


class _Recurrent(TorchFunctionMode):
    """Counts recurrent layers instead of computing them; what they put out has its shape only."""

    def __init__(self) -> None:
        super().__init__()
        self.macs, self.n_activations = 0, 0
        self.kinds: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name not in ("lstm", "gru", "rnn_tanh", "rnn_relu") or not isinstance(args[2], list | tuple):
            return func(*args, **(kwargs or {}))  # of packed sequences, too
        x, state, weights = args[:3]
        steps = x.shape[0] * x.shape[1]
        matrices = [weight for weight in weights if weight.ndim == 2]
        self.kinds.add(name)
        self.macs += steps * sum(weight.numel() for weight in matrices)
        self.n_activations += steps * sum(weight.shape[0] for weight in matrices)
        first = state[0] if name == "lstm" else state
        n_directions = 2 if args[-2] else 1
        out = x.new_empty(*x.shape[:2], n_directions * first.shape[-1])
        return (out, *map(torch.clone, state)) if name == "lstm" else (out, torch.clone(first))


class _Dispatched(TorchDispatchMode):
    """Sees to it that nothing heavy is left out, and counts what heavy operations put out."""

    def __init__(self) -> None:
        super().__init__()
        self.n_activations = 0
        self.heavy: set[str] = set()
        self.unknown: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out, packet = func(*args, **(kwargs or {})), func._overloadpacket
        if packet in _FOURIER:
            self.unknown.add(packet.__name__)
        if packet in flop_registry or packet in _FOURIER:
            found = out[0] if isinstance(out, tuple | list) else out
            self.n_activations += found.numel() * (2 if found.is_complex() else 1)
        elif not func.is_view and not {torch.Tag.pointwise, torch.Tag.reduction} & {*func.tags}:
            self.heavy |= {packet.__name__} - _LIGHT
        return out
