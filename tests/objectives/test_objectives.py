"""Losses against slow references written from the equations."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import Batch, Store
from ecgscale.data.beats import BEAT_SAMPLES, Sentence
from ecgscale.models import Codebook, ResNet, Transformer
from ecgscale.objectives import CMSC, Masked, ObjectiveInputs, Supervised
from ecgscale.objectives.cmsc import VARIANTS
from ecgscale.objectives.masked import MaskedModule
from ecgscale.objectives.supervised import label_loss

CODEBOOK = Codebook("none", 8192, 16, 1, 1, 16, 1, 32, n_tokens=40)
ARCHITECTURE = Transformer(1, 16, 1, 32, n_tokens=40)


@pytest.fixture(scope="module")
def store(home: Path) -> Store:
    corpus = data.open_corpus("ptbxl-sample", home)
    return Store(corpus, corpus.rows("train")[:128])


PATIENTS = {"all different": [1, 2, 3, 4, 5, 6], "fellows": [1, 2, 1, 1, 5, 2], "one": [3, 3, 3, 3, 3, 3]}


def cosines(z: np.ndarray) -> list[list[float]]:
    """Similarity of every pair of vectors, one by one."""
    return [
        [sum(x * y for x, y in zip(a, b, strict=True)) / math.dist(a, 0 * a) / math.dist(b, 0 * b) for b in z]
        for a in z
    ]


def slow_paper(first: np.ndarray, second: np.ndarray, patient: list[int], temperature: float) -> float:
    """Eqs. S.1-S.2, term by term."""
    z, patient = np.concatenate([first, second]), patient * 2
    near, everyone = cosines(z), range(len(z))
    terms = []
    for i in everyone:
        positives = [p for p in everyone if p != i and patient[p] == patient[i]]
        total = sum(math.exp(near[i][a] / temperature) for a in everyone if a != i)
        terms.append(-sum(math.log(math.exp(near[i][p] / temperature) / total) for p in positives) / len(positives))
    return sum(terms) / len(terms)


def across(first: np.ndarray, second: np.ndarray, temperature: float) -> tuple[list[list[float]], ...]:
    """-log of each pair's share among its row, and among its column, of first against second segments."""
    n = len(first)
    near = [row[n:] for row in cosines(np.concatenate([first, second]))[:n]]
    e = [[math.exp(value / temperature) for value in row] for row in near]
    rows = [[-math.log(e[i][j] / sum(e[i])) for j in range(n)] for i in range(n)]
    columns = [[-math.log(e[i][j] / sum(e[k][j] for k in range(n))) for j in range(n)] for i in range(n)]
    return rows, columns


def slow_clocs(first: np.ndarray, second: np.ndarray, patient: list[int], temperature: float) -> float:
    rows, columns = across(first, second, temperature)
    n = len(first)
    groups = [
        [rows[i][i] for i in range(n)],
        [columns[i][i] for i in range(n)],
        [rows[i][j] for i in range(n) for j in range(n) if i < j and patient[i] == patient[j]],
        [columns[i][j] for i in range(n) for j in range(n) if i > j and patient[i] == patient[j]],
    ]
    means = [sum(group) / len(group) for group in groups if group]
    return sum(means) / len(means)


def slow_fairseq(first: np.ndarray, second: np.ndarray, patient: list[int], temperature: float) -> float:
    rows, columns = across(first, second, temperature)
    n = len(first)
    pairs = [(i, j) for i in range(n) for j in range(n) if patient[i] == patient[j]]
    return sum(rows[i][j] / 2 + columns[i][j] / 2 for i, j in pairs) / len(pairs)


SLOW = {"paper": slow_paper, "clocs": slow_clocs, "fairseq": slow_fairseq}


@pytest.mark.parametrize("who", PATIENTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_contrast_is_the_slow_one(variant: str, who: str) -> None:
    z = torch.randn(6, 2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    loss = VARIANTS[variant](z, torch.tensor(PATIENTS[who]), 0.1)
    first, second = z.numpy().transpose(1, 0, 2)
    assert float(loss.mean) == pytest.approx(SLOW[variant](first, second, PATIENTS[who], 0.1), abs=1e-6)


def test_only_fairseq_moves_an_embedding_along_itself() -> None:
    """Divided by a length that is held constant, vectors have a slope along themselves; on the sphere there is none."""
    for variant, along in (("paper", False), ("clocs", False), ("fairseq", True)):
        z = torch.randn(6, 2, 7, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
        VARIANTS[variant](z, torch.arange(6), 0.1).mean.backward()
        assert z.grad is not None
        assert bool(((z.grad * z.detach()).sum(2).abs() > 1e-6).any()) == along


@pytest.mark.parametrize(("variant", "candidates"), [("paper", 255), ("clocs", 128), ("fairseq", 128)])
def test_contrast_of_noise_is_the_logarithm_of_the_candidates(variant: str, candidates: int) -> None:
    z = torch.randn(128, 2, 4096, generator=torch.Generator().manual_seed(1))
    assert float(VARIANTS[variant](z, torch.arange(128), 1.0).mean) == pytest.approx(math.log(candidates), abs=0.02)


def test_an_untrained_contrast_knows_nothing(store: Store) -> None:
    """On real recordings: about ln(2B - 1), here of 128."""
    torch.manual_seed(0)
    module = CMSC().build(ResNet(3, 24).build(), 0).eval()
    assert module.fixed_batches
    with torch.no_grad():
        loss = module(store.batch(np.arange(128)), torch.Generator())
    assert int(loss.n_terms) == 2 * 128
    assert float(loss.mean) == pytest.approx(math.log(2 * 128 - 1), rel=0.03)


def slow_focal(logits: np.ndarray, labels: np.ndarray, gamma: float) -> float:
    terms = []
    for z, y in zip(logits.ravel().tolist(), labels.ravel().tolist(), strict=True):
        if not math.isnan(y):
            p = 1 / (1 + math.exp(-z)) if y == 1 else 1 - 1 / (1 + math.exp(-z))
            terms.append(-((1 - p) ** gamma) * math.log(p))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_is_the_slow_one(gamma: float) -> None:
    draw = torch.Generator().manual_seed(3)
    logits = (3 * torch.randn(9, 4, generator=draw, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(2, (9, 4), generator=draw).double()
    labels[2, 1] = math.nan
    loss = label_loss(logits, labels.nan_to_num(), ~labels.isnan(), gamma).mean
    expected = slow_focal(logits.detach().numpy(), labels.numpy(), gamma)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert logits.grad is not None
    h = torch.zeros_like(logits.detach())
    h[0, 0] = 1e-5
    up, down = (slow_focal((logits.detach() + s * h).numpy(), labels.numpy(), gamma) for s in (1, -1))
    assert float(logits.grad[0, 0]) == pytest.approx((up - down) / 2e-5, abs=1e-6)


def test_focal_loss_of_a_sure_answer_has_a_slope() -> None:
    """No NaN where an answer is so sure that 1 - p is 0 in float32."""
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = label_loss(logits, torch.tensor([[1.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool), 0.5).mean
    loss.backward()
    assert float(loss.detach()) == pytest.approx(100)
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def sentence(n: int, n_words: list[int]) -> Sentence:
    draw = torch.Generator().manual_seed(2)
    real = torch.arange(40) < torch.tensor(n_words)[:, None]
    words = torch.randn(n, 40, BEAT_SAMPLES, generator=draw) * real[..., None]
    numbers = torch.randint(1, 11, (n, 40), generator=draw) * real
    return Sentence(words, numbers, numbers)


def masked(description: Masked) -> MaskedModule:
    torch.manual_seed(0)
    module = description.build(ARCHITECTURE.build(), 0, ObjectiveInputs(CODEBOOK.build()))
    assert isinstance(module, MaskedModule)
    return module.eval()


def test_masked_loss_is_the_cross_entropy_of_hidden_words(monkeypatch: pytest.MonkeyPatch) -> None:
    module, words = masked(Masked(CODEBOOK)), sentence(4, [40, 30, 11, 2])
    monkeypatch.setattr(module.backbone, "inputs", lambda batch: words)
    loss = module(Batch(*[torch.zeros(4, 0)] * 4), torch.Generator().manual_seed(5))
    mask = module.draw_mask(words.lead > 0, torch.Generator().manual_seed(5))
    codes = module._codes[0].label(words)
    hidden = words.words.masked_fill(mask[..., None], 0.0)
    logits = module.head(module.backbone.encode(hidden, words.lead, words.second, masked=mask).local).detach().double()
    terms = []
    for n, k in mask.nonzero().tolist():
        shares = logits[n, k].exp() / logits[n, k].exp().sum()
        terms.append(-math.log(float(shares[codes[n, k]])))
    assert int(loss.n_terms) == len(terms) == 20 + 15 + 6 + 1
    assert float(loss.mean.detach()) == pytest.approx(sum(terms) / len(terms), rel=1e-6)


def test_an_untrained_masked_model_knows_nothing(store: Store) -> None:
    """On real recordings: about ln 8192, the number of codes."""
    module = masked(Masked(CODEBOOK))
    with torch.no_grad():
        loss = module(store.batch(np.arange(64)), torch.Generator().manual_seed(0))
    assert float(loss.mean) == pytest.approx(math.log(8192), rel=0.05)


def test_vectors_and_biases_of_a_masked_run_do_not_decay() -> None:
    module = masked(Masked(CODEBOOK))
    decay = {id(p): group.weight_decay for group in module.groups() for p in group.parameters}
    assert decay.keys() == {id(p) for p in module.parameters()}
    for name, parameter in module.named_parameters():
        assert decay[id(parameter)] == (1.0 if parameter.ndim > 1 or name.endswith("mask_token") else 0.0), name


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


def test_codes_are_looked_up_with_ids_unless_asked_not_to() -> None:
    words = sentence(4, [40] * 4)
    book = masked(Masked(CODEBOOK))._codes[0]
    with_ids, without = (masked(Masked(CODEBOOK, ids_at_label_time=told)).labels(words) for told in (True, False))
    assert torch.equal(with_ids, book.label(words))
    assert (with_ids != without).float().mean() > 0.2
    book.encoder.lead.weight.data.zero_()
    book.encoder.second.weight.data.zero_()
    assert torch.equal(book.label(words), without)  # which is to be told nothing


def test_a_codebook_of_millivolts_is_shown_millivolts() -> None:
    words = sentence(4, [40, 30, 11, 2])
    torch.manual_seed(0)
    described = Masked(replace(CODEBOOK, unit="mv"))
    module = described.build(ARCHITECTURE.build(), 0, ObjectiveInputs(described.codebook.build(), 0.25))
    assert isinstance(module, MaskedModule)
    book = module._codes[0]
    assert torch.equal(module.labels(words), book.label(words._replace(words=0.25 * words.words)))
    assert not torch.equal(module.labels(words), book.label(words))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CMSC(temperature=0), "temperature is above 0"),
        (lambda: CMSC(variant="simclr"), "'paper' or 'clocs' or 'fairseq'"),
        (lambda: Supervised(focal_gamma=-1), "focal_gamma"),
        (lambda: Masked(CODEBOOK, ratio=1), "ratio"),
        (lambda: replace(CODEBOOK, unit="uv"), "'sd' or 'mv'"),
        (lambda: replace(CODEBOOK, imported="abc"), "SHA-256"),
    ],
)
def test_impossible_objectives_are_refused(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
