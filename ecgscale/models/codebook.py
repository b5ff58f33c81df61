"""Codebook: HeartLang's vector-quantised heartbeats, whose frozen codes are what masked models predict.

One codebook serves every size and fraction of a sweep, or their losses could not be compared.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from ecgscale.data.beats import BEAT_SAMPLES, Sentence
from ecgscale.models.transformer import Transformer, TransformerBackbone, start_normal

_EMA_DECAY = 0.99
_KMEANS_ITERATIONS = 10


@dataclass(frozen=True)
class Codebook:
    """How a codebook is made: its corpus, its size, its schedule. The defaults are HeartLang's VQ-HBR.

    ``steps`` 25,000 is HeartLang's 100 epochs of MIMIC-IV-ECG in batches of 512 rounded; ``lr`` 2e-4 is its 5e-5 a
    128 recordings. ``n_tokens`` and ``leads`` are those of the sentences it reads (see Transformer); ``unit`` is that
    of its words, "sd" (standard deviations of a corpus, as models see them) or "mv" (millivolts, as HeartLang's).

    ``imported`` is the SHA-256 of the published checkpoint that a codebook was taken from instead of being trained
    (``ecgscale codebook import``), so that runs under other codes are other runs.
    """

    corpus: str
    n_codes: int = 8192
    code_width: int = 128
    layers: int = 4
    decoder_layers: int = 2
    width: int = 768
    heads: int = 2
    ffn: int = 2048
    steps: int = 25_000
    batch_size: int = 512
    lr: float = 2e-4
    warmup: float = 0.1
    n_tokens: int = 256
    leads: str = "all"
    seed: int = 0
    unit: str = "sd"
    imported: str = ""

    revision: ClassVar[int] = 2  # 2: HeartLang's start, weight decay and last learning rate; words of zeros are padding

    def __post_init__(self) -> None:
        if self.unit not in ("sd", "mv"):
            raise ValueError(f"Codebook: unit={self.unit!r}, but words are in 'sd' or 'mv'")
        if self.imported and not re.fullmatch("[0-9a-f]{64}", self.imported):
            raise ValueError(f"Codebook: imported={self.imported!r} is no SHA-256 (64 hexadecimal digits)")

    def build(self) -> "CodebookModule":
        return CodebookModule(self)


class Reconstruction(NamedTuple):
    """``loss`` is reconstruction + commitment; ``codes`` int64 [n_words] of the real words."""

    loss: torch.Tensor
    reconstruction: torch.Tensor
    codes: torch.Tensor


class CodebookModule(nn.Module):
    """Encoder, nearest code by cosine, decoder (VQ-HBR). Codes move by exponential average, not by gradient.

    As published, a code that no word of a batch is nearest to stays where it is; it is not moved to where words are.
    """

    def __init__(self, recipe: Codebook) -> None:
        super().__init__()
        width, n_tokens, leads = recipe.width, recipe.n_tokens, recipe.leads
        self.unit = recipe.unit
        encoder = Transformer(recipe.layers, width, recipe.heads, recipe.ffn, 0.0, n_tokens, leads)
        self.encoder = TransformerBackbone(encoder)
        self.to_code = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, recipe.code_width))
        decoder = Transformer(recipe.decoder_layers, width, recipe.heads, recipe.ffn, 0.0, n_tokens, leads)
        self.decoder = TransformerBackbone(decoder)
        self.decoder.word = nn.Conv1d(recipe.code_width, width, 3, padding=1, padding_mode="circular", bias=False)
        self.to_word = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, BEAT_SAMPLES))
        start_normal(self.to_code)
        start_normal(self.to_word)
        self.register_buffer("codes", F.normalize(torch.randn(recipe.n_codes, recipe.code_width), dim=1))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._has_started = False  # ``started`` as it was last read: a GPU is not asked at every step

    def embed(self, sentence: Sentence, ids: bool = True, at: torch.Tensor | None = None) -> torch.Tensor:
        """Unit vectors [n_words, code_width] of the real words of a batch of sentences.

        ``at``: their places among all words, if they are known already (``places_of``).
        """
        hidden = self.encoder.encode(*sentence, ids=ids).local.flatten(0, 1)
        return F.normalize(self.to_code(hidden[places_of(sentence) if at is None else at]), dim=1)

    def nearest(self, embedded: torch.Tensor) -> torch.Tensor:
        """Code int64 [n_words] of each embedded word: the nearest, which among codes of length 1 is that of its angle.

        A published codebook may have codes of length 0, born on padding: they are nearest where no cosine is above 0.5.
        """
        codes = self.get_buffer("codes")
        return (embedded @ codes.T - codes.square().sum(1) / 2).argmax(1)

    @torch.no_grad()
    def label(self, sentence: Sentence, ids: bool = True) -> torch.Tensor:
        """Codes int64 [n, n_tokens] of every word; padding has the one code of a word that is encoded as zeros.

        Without ``ids`` the encoder is not told the lead and second of a word.
        """
        at = places_of(sentence)
        nothing = F.normalize(self.to_code(sentence.words.new_zeros(1, self.encoder.width)), dim=1)
        codes = self.nearest(nothing).expand(sentence.lead.numel()).clone()
        codes[at] = self.nearest(self.embed(sentence, ids, at))
        return codes.view_as(sentence.lead)

    def forward(self, sentence: Sentence) -> Reconstruction:
        at = places_of(sentence)
        embedded = self.embed(sentence, at=at)
        if self.training and not self._has_started:
            if not bool(self.get_buffer("started")):
                self._start(embedded.detach())
            self._has_started = True
        codes = self.nearest(embedded)
        quantised = self.get_buffer("codes")[codes]
        commitment = F.mse_loss(embedded, quantised)
        if self.training:
            self._move(embedded.detach(), codes)
        straight = embedded + (quantised - embedded).detach()
        n, n_tokens = sentence.lead.shape
        words = (
            straight.new_zeros(n * n_tokens, straight.shape[1]).index_put((at,), straight).unflatten(0, (n, n_tokens))
        )
        hidden = self.decoder.encode(words, sentence.lead, sentence.second).local.flatten(0, 1)
        reconstruction = F.mse_loss(self.to_word(hidden[at]), sentence.words.flatten(0, 1)[at])
        return Reconstruction(reconstruction + commitment, reconstruction, codes)

    def _start(self, embedded: torch.Tensor) -> None:
        """Spherical k-means on the first batch, from words drawn at random: again and again if they are fewer."""
        codes = self.get_buffer("codes")
        n, k, device = len(embedded), len(codes), embedded.device
        drawn = torch.randperm(n, device=device)[:k] if n >= k else torch.randint(n, (k,), device=device)
        centres = embedded[drawn].clone()
        for _ in range(_KMEANS_ITERATIONS):
            nearest = (embedded @ centres.T).argmax(1)
            sums = torch.zeros_like(centres).index_add_(0, nearest, embedded)
            counts = _counted(nearest, k)
            centres = torch.where(counts[:, None] > 0, F.normalize(sums, dim=1), centres)
        codes.copy_(centres)
        self.get_buffer("started").fill_(True)

    def _move(self, embedded: torch.Tensor, nearest: torch.Tensor) -> None:
        codes = self.get_buffer("codes")
        counts = _counted(nearest, len(codes))
        sums = torch.zeros_like(codes).index_add_(0, nearest, embedded)
        means = F.normalize(sums / counts.clamp(min=1)[:, None], dim=1)
        moved = F.normalize(_EMA_DECAY * codes + (1 - _EMA_DECAY) * means, dim=1)
        codes.copy_(torch.where(counts[:, None] > 0, moved, codes))


def places_of(sentence: Sentence) -> torch.Tensor:
    """Places int64 [n_words] of the real words among all n x n_tokens: the one thing that a GPU is waited for."""
    return sentence.real.flatten().nonzero()[:, 0]


def _counted(codes: torch.Tensor, n_codes: int) -> torch.Tensor:
    """How often each code is named, float32 [n_codes]; ``bincount`` would have a GPU waited for."""
    return codes.new_zeros(n_codes, dtype=torch.float32).index_add_(
        0, codes, torch.ones_like(codes, dtype=torch.float32)
    )
