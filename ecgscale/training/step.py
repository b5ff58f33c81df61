"""How one step of training is computed: mixed precision, compilation, gradient accumulation, checkpointing, update.

What a step computes is the run's; how, is decided here, by the machine it runs on. Mixed precision is bf16 autocast;
gradient accumulation passes a batch through the network in micro-batches; activation checkpointing (gradient
checkpointing) computes activations again in the backward pass. Of several processes each computes its share.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ecgscale.data.batches import Batch
from ecgscale.objectives import Contrast, Loss, Optimiser, ParamGroup, Pretraining
from ecgscale.training.sharding import ALONE, Processes, local, mean_over

_VARIANTS = 64  # of one function that torch compiles: blocks of a network are variants of one


@dataclass(frozen=True)
class Execution:
    """How the steps of a run are computed.

    ``precision`` "bf16" is mixed precision: matrix products and convolutions under autocast; weights, optimiser and
    losses stay float32. ``micro_batch`` is the most recordings that pass the network of a process at once (None: all
    that it has of a batch); their gradients accumulate to that of the whole batch's loss, masks and contrasts included;
    but BatchNorm normalises each micro-batch by its own statistics, and dropout draws other numbers. ``compile`` has
    torch.compile fuse the passes of the backbone, of several processes those of each block. ``recompute`` is activation
    checkpointing: only what passes between the backbone's blocks is kept, and the rest computed again in the backward
    pass: less memory, a forward pass more, the same gradients.
    """

    precision: str = "fp32"
    micro_batch: int | None = None
    compile: bool = False
    recompute: bool = False

    @property
    def facts(self) -> dict[str, str]:
        """As strings for a results file's metadata."""
        return {
            "precision": self.precision,
            "micro_batch": str(self.micro_batch or ""),
            "compiled": str(self.compile).lower(),
            "recomputed": str(self.recompute).lower(),
        }


def execution(
    device: str,
    precision: str = "auto",
    *,
    micro_batch: int | None = None,
    compile: bool | None = None,
    recompute: bool = False,
) -> Execution:
    """What fits a device, where it is not said: on CUDA bf16 (if the GPU has it) and compiled, on a CPU neither.

    Raises ValueError for micro-batches of no recording.
    """
    if micro_batch is not None and micro_batch < 1:
        raise ValueError(f"micro_batch={micro_batch}: a micro-batch holds at least 1 recording")
    on_gpu = device.startswith("cuda")
    return Execution(precision_on(device, precision), micro_batch, on_gpu if compile is None else compile, recompute)


def precision_on(device: str, precision: str = "auto") -> str:
    """The precision that is meant: "auto" is bf16 on a GPU that has it, else fp32."""
    if precision != "auto":
        return precision
    has_it = device.startswith("cuda") and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_it else "fp32"


def prepare_module(module: Pretraining, how: Execution, *, by_block: bool = False) -> None:
    """Have a module's backbone compiled, and its blocks' activations recomputed in training.

    Blocks are the members of the module lists that a backbone owns directly. ``by_block``: each is compiled by itself,
    as one that is going to be sharded has to be: between blocks FSDP gathers weights, which no graph can hold.
    """
    backbone: Any = module.backbone
    lists = [part for part in backbone.children() if isinstance(part, nn.ModuleList)]
    blocks: list[Any] = [block for part in lists for block in part]
    if how.compile:
        torch.compiler.reset()  # what was compiled for the run before would count against torch's limit of variants
        torch._dynamo.config.recompile_limit = _VARIANTS
    if how.recompute and blocks:
        for block in blocks:
            block.forward = _recomputed(block, how)
    elif how.compile and by_block and blocks:
        for block in blocks:
            block.forward = _compiled_for_both(block, block.forward, how)
    elif how.compile:
        backbone.encode = _compiled_for_both(backbone, backbone.encode, how)


def _compiled_for_both(module: nn.Module, function: Callable[..., Any], how: Execution) -> Callable[..., Any]:
    """A function of a module, compiled for training and for evaluation, whose batches are of any number."""
    train = _compiled(function, of_any_number=how.micro_batch is not None)
    evaluate = _compiled(function, of_any_number=True)
    return lambda *inputs, **options: (train if module.training else evaluate)(*inputs, **options)


def _compiled(function: Callable[..., Any], of_any_number: bool) -> Callable[..., Any]:
    """A function compiled by torch, once for all batches: of one number of recordings, or of any number."""
    fast = torch.compile(function)
    if not of_any_number:
        return fast

    def run(*inputs: torch.Tensor, **options: Any) -> Any:
        if not len(inputs[0]):
            return function(*inputs, **options)
        for tensor in (*inputs, *options.values()):
            if isinstance(tensor, torch.Tensor):
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        return fast(*inputs, **options)

    return run


def compute_gradients(
    module: Pretraining,
    batch: Batch,
    draw: torch.Generator,
    how: Execution,
    processes: Processes = ALONE,
    batch_size: int | None = None,
) -> torch.Tensor:
    """Set every parameter's gradient to that of the mean loss of a batch; returns the loss, detached.

    Of several ``processes``, whose modules are sharded, each has its share of a batch of ``batch_size`` recordings, and
    is returned its part of ``processes.size`` times the loss: their mean is the loss. Raises ValueError for a loss that
    cannot be computed in micro-batches (``check_micro_batches``).
    """
    module.zero_grad(set_to_none=True)
    n_parts = n_micro_batches(batch_size or len(batch.signal), how.micro_batch, processes)
    low = torch.autocast(batch.signal.device.type, torch.bfloat16, enabled=how.precision == "bf16")
    if n_parts == 1:
        with low:
            loss = mean_over(module(batch, draw), processes)
        del batch  # its memory is in the cache, and the backward pass can use it
        loss.backward()
        return loss.detach()
    check_micro_batches(module)
    n = len(batch.signal)  # a batch of twelve leads may name them once, and its unit too
    each = batch._replace(leads=batch.leads.expand(n, -1), mv=batch.mv.expand(n))
    parts = [Batch(*tensors) for tensors in zip(*(tensor.tensor_split(n_parts) for tensor in each), strict=True)]
    if isinstance(module, Contrast):
        return _compared(module, batch, parts, draw, low, processes)
    return _accumulated(module, parts, draw, low, processes)


def n_micro_batches(batch_size: int, micro_batch: int | None, processes: Processes = ALONE) -> int:
    """Into how many micro-batches every process cuts its share of a batch: as many, for they reduce them together.

    Raises ValueError where that would leave a process with a micro-batch of no recording.
    """
    least, most = batch_size // processes.size, -(-batch_size // processes.size)
    n_parts = -(-most // micro_batch) if micro_batch else 1
    if n_parts > least:
        raise ValueError(
            f"a batch of {batch_size} recordings leaves one of {processes.size} processes with {least}, and each is to "
            f"compute {n_parts} micro-batches of at least 1: take fewer processes or larger micro-batches"
        )
    return n_parts


def check_micro_batches(module: Pretraining) -> None:
    """Raise ValueError for an objective that compares a batch's recordings and cannot do so in micro-batches."""
    if module.fixed_batches and not isinstance(module, Contrast):
        raise ValueError(f"the loss of {type(module).__name__} cannot be computed in micro-batches")


def optimiser_step(optimiser: torch.optim.Optimizer, lr: float, clip: float | None, weight_decay: float = 0.0) -> None:
    """Take one step down the gradients; what is clipped together has its norm cut to ``clip`` first.

    ``lr`` and ``weight_decay`` are multiplied by each group's own factors (see objectives.ParamGroup).
    """
    if clip is not None:
        together: dict[str, list[nn.Parameter]] = {}
        for group in optimiser.param_groups:
            together.setdefault(group["clipped_with"], []).extend(group["params"])
        for parameters in together.values():
            nn.utils.clip_grad_norm_(parameters, clip)
    for group in optimiser.param_groups:
        group["lr"] = lr * group["lr_factor"]
        group["weight_decay"] = weight_decay * group["weight_decay_factor"]
    optimiser.step()


def optimiser_of(groups: Sequence[ParamGroup], settings: Optimiser) -> torch.optim.Optimizer:
    """The optimiser of groups of parameters; learning rate and weight decay are set at every step."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.name]
    described = [
        {
            "params": group.parameters,
            "lr_factor": group.lr,
            "weight_decay_factor": group.weight_decay,
            "clipped_with": group.clipped_with,
        }
        for group in groups
    ]
    return kind(described, betas=settings.betas, eps=settings.eps, weight_decay=settings.weight_decay, fused=True)


def randomness(seed: int, step: int, rank: int = 0) -> torch.Generator:
    """Seed everything random in a step (dropout, masks) by seed, step and the process' number alone."""
    entropy = np.random.SeedSequence([seed, step, rank] if rank else [seed, step])
    return _seeded(int(entropy.generate_state(1, np.uint64)[0] >> np.uint64(1)))


def _seeded(number: int) -> torch.Generator:
    torch.default_generator.manual_seed(number)  # torch.manual_seed asks every backend there is: 0.1 ms
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(number)
    return torch.Generator().manual_seed(number)


def _accumulated(
    module: Pretraining, parts: list[Batch], draw: torch.Generator, low: torch.autocast, processes: Processes
) -> torch.Tensor:
    """Gradient accumulation: terms add up over micro-batches, and are divided by how many there were of all."""
    sums: list[Loss] = []
    for part in parts:
        with low:
            loss = module(part, draw)
        loss.total.backward()  # of several processes FSDP averages the gradients
        sums.append(Loss(loss.total.detach(), loss.n_terms))
    whole = Loss(torch.stack([s.total for s in sums]).sum(), torch.stack([s.n_terms for s in sums]).sum())
    n_terms = processes.sum(whole.n_terms).clamp(min=1) / processes.size
    for parameter in module.parameters():
        if parameter.grad is not None:
            slope = local(parameter.grad)
            slope /= n_terms
    return whole.total / n_terms


def _compared(
    module: Contrast,
    batch: Batch,
    parts: list[Batch],
    draw: torch.Generator,
    low: torch.autocast,
    processes: Processes,
) -> torch.Tensor:
    """Embed all, compare all, embed again with the comparison's gradient at hand (GradCache, Gao et al. 2021).

    Both times draw the same, and what is drawn from ``draw`` is that of the whole batch; BatchNorm counts one of them.
    Several processes gather what they embedded, and each compares all of it.
    """
    seed, states, embeddings = draw.initial_seed(), [], []
    before = [buffer.clone() for buffer in module.buffers()]
    for k, part in enumerate(parts):
        _seeded(seed + k)  # dropout's
        states.append(draw.get_state())
        with low:
            embeddings.append(module.embed(part, draw).detach())
    embedded = torch.cat(embeddings)
    for buffer, content in zip(module.buffers(), before, strict=True):
        buffer.copy_(content)
    loss = mean_over(module.compare(embedded.requires_grad_(), batch.patient), processes)
    (slope,) = torch.autograd.grad(loss, embedded)
    for k, (part, its) in enumerate(zip(parts, slope.tensor_split(len(parts)), strict=True)):
        _seeded(seed + k)
        draw.set_state(states[k])
        with low:
            again = module.embed(part, draw)
        again.backward(its)
    return loss.detach()


def _recomputed(block: nn.Module, how: Execution) -> Callable[..., Any]:
    plain = block.forward
    fast = _compiled(plain, how.micro_batch is not None) if how.compile else plain

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _uncounted(block)

    def run(*inputs: Any) -> Any:
        if not (block.training and torch.is_grad_enabled()):
            return plain(*inputs)
        return checkpoint(fast, *inputs, use_reentrant=False, context_fn=contexts)

    return run


@contextmanager
def _uncounted(block: nn.Module) -> Iterator[None]:
    """What passes a block in here does not count in its statistics (BatchNorm), which have seen it before."""
    before = [buffer.clone() for buffer in block.buffers()]
    try:
        yield
    finally:
        for buffer, content in zip(block.buffers(), before, strict=True):
            buffer.data.copy_(content)  # data: the backward pass under way may hold the buffer, and does not read it
