"""Losses against slow references written from the equations."""

import math

import numpy as np
import pytest
import torch

from ecgscale.data.beats import BEAT_SAMPLES, Sentence
from ecgscale.models import Codebook, Transformer
from ecgscale.objectives import Masked
from ecgscale.objectives.cmsc import patient_contrast
from ecgscale.objectives.masked import MaskedHeartbeats

CODEBOOK = Codebook("none", 8192, 16, 1, 1, 16, 1, 32, n_tokens=40)
ARCHITECTURE = Transformer(1, 16, 1, 32, n_tokens=40)


def slow_contrast(z: np.ndarray, patient: list[int], temperature: float) -> float:
    """Eqs. S.1-S.2, term by term."""
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    terms = []
    for i in range(len(z)):
        positives = [p for p in range(len(z)) if p != i and patient[p] == patient[i]]
        denominator = sum(math.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
        terms.append(
            -sum(math.log(math.exp(z[i] @ z[p] / temperature) / denominator) for p in positives) / len(positives)
        )
    return sum(terms) / len(terms)


@pytest.mark.parametrize("patients", [[1, 2, 3, 4, 5], [1, 2, 1, 1, 5], [1, 1, 1, 1, 1]])
def test_contrast_is_the_papers(patients: list[int]) -> None:
    z = torch.randn(10, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = patient_contrast(z, torch.tensor(patients).repeat(2), 0.1)
    assert float(loss.mean) == pytest.approx(slow_contrast(z.numpy(), patients * 2, 0.1), abs=1e-6)


def test_contrast_of_noise_is_the_logarithm_of_the_candidates() -> None:
    z = torch.randn(256, 4096, generator=torch.Generator().manual_seed(1))
    assert float(patient_contrast(z, torch.arange(128).repeat(2), 1.0).mean) == pytest.approx(math.log(255), abs=0.02)


def sentence(n: int, n_words: list[int]) -> Sentence:
    draw = torch.Generator().manual_seed(2)
    real = torch.arange(40) < torch.tensor(n_words)[:, None]
    words = torch.randn(n, 40, BEAT_SAMPLES, generator=draw) * real[..., None]
    numbers = torch.randint(1, 11, (n, 40), generator=draw) * real
    return Sentence(words, numbers, numbers)


def masked(description: Masked) -> MaskedHeartbeats:
    torch.manual_seed(0)
    module = description.build(ARCHITECTURE.build(), 0, CODEBOOK.build())
    assert isinstance(module, MaskedHeartbeats)
    return module.eval()


def test_masked_loss_is_the_cross_entropy_of_hidden_words(monkeypatch: pytest.MonkeyPatch) -> None:
    module, words = masked(Masked(CODEBOOK)), sentence(4, [40, 30, 11, 2])
    monkeypatch.setattr(module.backbone, "inputs", lambda batch: words)
    loss = module(None, torch.Generator().manual_seed(5))  # type: ignore[arg-type]
    mask = module.draw_mask(words.lead > 0, torch.Generator().manual_seed(5))
    codes = module._codes[0].label(words)
    hidden = words.words.masked_fill(mask[..., None], 0.0)
    logits = module.head(module.backbone.encode(hidden, words.lead, words.second, masked=mask).local).detach().double()
    terms = []
    for n, k in mask.nonzero().tolist():
        shares = logits[n, k].exp() / logits[n, k].exp().sum()
        terms.append(-math.log(float(shares[codes[n, k]])))
    assert int(loss.n_terms) == len(terms) == 20 + 15 + 6 + 1
    assert float(loss.mean.detach()) == pytest.approx(sum(terms) / len(terms), abs=1e-5)


def test_an_untrained_masked_model_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    module = masked(Masked(CODEBOOK))
    monkeypatch.setattr(module.backbone, "inputs", lambda batch: sentence(4, [40] * 4))
    loss = float(module(None, torch.Generator().manual_seed(0)).mean.detach())  # type: ignore[arg-type]
    assert loss == pytest.approx(math.log(8192), abs=0.6)


def test_masks_hide_half_of_the_real_words_and_no_padding() -> None:
    real = torch.arange(40) < torch.tensor([40, 31, 1, 0])[:, None]
    mask = masked(Masked(CODEBOOK)).draw_mask(real, torch.Generator().manual_seed(0))
    assert mask.sum(1).tolist() == [20, 16, 1, 0]
    assert not (mask & ~real).any()
    everything = masked(Masked(CODEBOOK, mask_padding=True)).draw_mask(real, torch.Generator().manual_seed(0))
    assert everything.sum(1).tolist() == [20] * 4


def test_neighbours_of_a_hidden_word_cannot_see_it() -> None:
    """Changing a hidden word changes no logit by default; with ``leak`` the token convolution carries it over."""
    words = sentence(1, [40])
    mask = torch.zeros(1, 40, dtype=torch.bool)
    mask[0, 7] = True
    changed = words.words.clone()
    changed[0, 7] += 1
    for leak, same in ((False, True), (True, False)):
        module = masked(Masked(CODEBOOK, leak=leak))
        seen = []
        for content in (words.words, changed):
            shown = content if leak else content.masked_fill(mask[..., None], 0.0)
            seen.append(module.backbone.encode(shown, words.lead, words.second, masked=mask).local)
        assert torch.equal(seen[0], seen[1]) == same
