"""ViT: a vision transformer over patches of single leads, so that any number of leads makes a sequence.

The design follows DINOv3 (Simeoni et al. 2025) in one dimension: class and register tokens, rotary positions on patches
only, layer scale, pre-norm blocks. Time is the only axis that is rotated; leads are told apart by an embedding, and
nothing depends on their order.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.batches import Batch
from ecgscale.data.recording import ABSENT_LEAD, N_LEAD_IDS
from ecgscale.models.architecture import Architecture
from ecgscale.models.features import POOLINGS, Backbone, Features, Places, mean_of

_NORM_EPS = 1e-6  # DINOv3's
_SHORTEST_PERIOD = 0.5  # seconds a rotation of the fastest pair of features takes: two patches of 0.25 s


class Patches(NamedTuple):
    """A batch as patches of single leads: the input of a ViT.

    ``samples`` float [n, n_tokens, patch]; ``lead`` int64 [n, n_tokens], ABSENT_LEAD where a token is not there;
    ``seconds`` float [n, n_tokens], the middle of each patch since the beginning of what was cut, be it a crop.
    """

    samples: torch.Tensor
    lead: torch.Tensor
    seconds: torch.Tensor


@dataclass(frozen=True)
class ViT(Architecture):
    """Layers, width and heads; a token is ``patch`` samples of one lead (at 100 Hz: 0.25 s by default).

    ``layer_scale`` is where the gain of every residual branch starts (DINOv3: 1e-5); ``drop_path`` the share of
    recordings that a branch skips in training. Weights of linear layers start normal with deviation ``init_std``, None
    for one over the root of a layer's inputs: below some hundreds of features 0.02 tells recordings hardly apart.
    ``pooling`` "class" is the class token, "mean" the mean over patches that are there.
    """

    layers: int
    width: int
    heads: int
    patch: int = 25
    ffn: int = 0  # 0: four times the width
    registers: int = 4
    rope_base: float = 100.0
    layer_scale: float = 1e-5
    drop_path: float = 0.0
    init_std: float | None = 0.02
    pooling: str = "class"

    kind: ClassVar[str] = "vit"
    revision: ClassVar[int] = 2  # 2: the epsilon of DINOv3's norms
    any_leads: ClassVar[bool] = True
    localised: ClassVar[bool] = True
    input: ClassVar[str] = "patches"
    sampling_hz: ClassVar[int] = 100

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.patch) < 1 or min(self.ffn, self.registers) < 0:
            raise ValueError(f"{self}: layers, width, heads and patch are at least 1")
        if self.width % (2 * self.heads):
            raise ValueError(f"{self}: width is a multiple of twice the heads, for features are rotated in pairs")
        if not 0 <= self.drop_path < 1 or self.rope_base <= 1 or self.layer_scale <= 0:
            raise ValueError(f"{self}: drop_path is in [0, 1), rope_base above 1, layer_scale above 0")
        if self.init_std is not None and self.init_std <= 0:
            raise ValueError(f"{self}: init_std is above 0, or None")
        if self.pooling not in POOLINGS:
            raise ValueError(f"{self}: pooling is {' or '.join(map(repr, POOLINGS))}")

    @property
    def size(self) -> str:
        return f"{self.layers}x{self.width}"

    def build(self) -> Backbone:
        return ViTBackbone(self)


class ViTBackbone(Backbone):
    """Patches to features: one pooled, one local vector a patch. Absent leads take part in nothing."""

    any_leads = True

    def __init__(self, description: ViT) -> None:
        super().__init__()
        width = self.width = description.width
        self.patch, self.heads = description.patch, description.heads
        self.pooling = description.pooling
        self.n_prefix = 1 + description.registers
        self.embed = nn.Linear(description.patch, width)
        self.lead = nn.Embedding(N_LEAD_IDS, width, padding_idx=ABSENT_LEAD)
        self.prefix = nn.Parameter(torch.empty(self.n_prefix, width))  # class token, then registers
        self.mask_token = nn.Parameter(torch.zeros(width))
        ffn = description.ffn or 4 * width
        self.layers = nn.ModuleList(
            Block(width, description.heads, ffn, description.layer_scale, description.drop_path)
            for _ in range(description.layers)
        )
        self.norm = nn.LayerNorm(width, eps=_NORM_EPS)
        n_pairs = width // description.heads // 2
        exponent = torch.arange(n_pairs, dtype=torch.float32) / n_pairs
        self.register_buffer("periods", _SHORTEST_PERIOD * description.rope_base**exponent, persistent=False)
        nn.init.trunc_normal_(self.prefix, std=0.02)
        start(self, description.init_std)
        nn.init.trunc_normal_(self.lead.weight, std=0.02)
        with torch.no_grad():
            self.lead.weight[ABSENT_LEAD] = 0

    def inputs(self, batch: Batch) -> Patches:
        """Cut every lead into patches, lead after lead; samples beyond the last whole patch are left out."""
        leads = batch.leads.to(batch.signal.device).expand(len(batch.signal), -1)
        return patches(batch.signal, leads, self.patch, ViT.sampling_hz)

    def places(self, batch: Batch) -> Places:
        """A patch lies where its samples do; those of absent leads are not present."""
        cut, half = self.inputs(batch), self.patch / ViT.sampling_hz / 2
        return Places(cut.seconds - half, cut.seconds + half, cut.lead != ABSENT_LEAD)

    def encode(self, *inputs: torch.Tensor, masked: torch.Tensor | None = None) -> Features:
        """Encode patches (see Patches); where ``masked`` [n, n_tokens] is true the mask token stands for a patch."""
        samples, lead, seconds = inputs
        x = self.embed(samples)
        if masked is not None:
            x = torch.where(masked[..., None], self.mask_token.to(x.dtype), x)
        x = x + self.lead(lead)
        x = torch.cat([self.prefix.to(x.dtype).expand(x.shape[0], -1, -1), x], 1)
        rotation = self._rotation(seconds).to(x.dtype)
        present = F.pad(lead != ABSENT_LEAD, (self.n_prefix, 0), value=True)[:, None, None, :]
        for layer in self.layers:
            x = layer(x, rotation, present)
        x = self.norm(x)
        local = x[:, self.n_prefix :]
        return Features(x[:, 0] if self.pooling == "class" else mean_of(local, lead != ABSENT_LEAD), local)

    def _rotation(self, seconds: torch.Tensor) -> torch.Tensor:
        """Cosines and sines [2, n, 1, n_prefix + n_tokens, n_pairs]; the prefix is not rotated."""
        angles = 2 * math.pi * seconds.float()[..., None] / self.get_buffer("periods")
        angles = F.pad(angles, (0, 0, self.n_prefix, 0))
        return torch.stack([angles.cos(), angles.sin()])[:, :, None]


def start(module: nn.Module, std: float | None) -> None:
    """Draw all weights of linear layers from a truncated normal of this deviation (None: inputs ** -0.5); no biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=layer.in_features**-0.5 if std is None else std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def patches(signal: torch.Tensor, leads: torch.Tensor, patch: int, hz: int) -> Patches:
    """Cut ``signal`` [n, n_leads, n_samples] of ``leads`` int64 [n, n_leads] into patches, lead after lead."""
    n, n_leads, n_samples = signal.shape
    n_patches = n_samples // patch
    samples = signal[..., : n_patches * patch].reshape(n, n_leads * n_patches, patch)
    middle = (torch.arange(n_patches, device=signal.device) + 0.5) * (patch / hz)
    return Patches(samples, leads.repeat_interleave(n_patches, 1), middle.repeat(n_leads).expand(n, -1))


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each behind a gain and, in training, skipped for some recordings."""

    def __init__(self, width: int, heads: int, ffn: int, layer_scale: float, drop_path: float) -> None:
        super().__init__()
        self.heads, self.drop_path = heads, drop_path
        self.norm1 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.gain1 = nn.Parameter(torch.full((width,), layer_scale))
        self.norm2 = nn.LayerNorm(width, eps=_NORM_EPS)
        self.expand = nn.Linear(width, ffn)
        self.contract = nn.Linear(ffn, width)
        self.gain2 = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: torch.Tensor, rotation: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        x = x + self._dropped(self.gain1 * self._attend(self.norm1(x), rotation, present))
        return x + self._dropped(self.gain2 * self.contract(F.gelu(self.expand(self.norm2(x)))))

    def _attend(self, x: torch.Tensor, rotation: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        n, n_tokens, width = x.shape
        qkv = self.qkv(x).view(n, n_tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key = rotated(qkv[0], rotation), rotated(qkv[1], rotation)  # each [n, heads, n_tokens, head width]
        attended = F.scaled_dot_product_attention(query, key, qkv[2], attn_mask=present)
        return self.project(attended.transpose(1, 2).flatten(2))

    def _dropped(self, branch: torch.Tensor) -> torch.Tensor:
        if not self.training or self.drop_path == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.drop_path
        return branch * kept / (1 - self.drop_path)


def rotated(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Rotary position (Su et al. 2021): pairs of features [n, heads, n_tokens, head width] turned by their angle."""
    cos, sin = rotation[0], rotation[1]
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


# A ladder of our own: the source names no sizes. S, B and L of the vision literature close it.
VITS = tuple(
    ViT(*row)
    for row in (
        *((2, 48, 3), (4, 96, 3)),
        *((6, 192, 3), (8, 288, 6)),
        (12, 384, 6),
        *((12, 768, 12), (24, 1024, 16)),
    )
)
