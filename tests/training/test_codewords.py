"""Codewords: labelled once, the same for every run, and never those of another corpus, codebook or flipped bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgscale import data
from ecgscale.data.batches import Store
from ecgscale.data.beats import Sentence
from ecgscale.models import CodebookModule, Transformer
from ecgscale.objectives import Masked, ObjectiveInputs
from ecgscale.objectives.masked import MaskedModule
from ecgscale.training import codewords as labelling
from ecgscale.training.codewords import Interrupted, codewords
from tests.runs import TINY_CODEBOOK

TRANSFORMER = Transformer(2, 16, 1, 32, n_tokens=64, leads="independent")


@pytest.fixture(scope="module")
def corpus(home: Path) -> data.Corpus:
    return data.open_corpus("ludb-sample", home)


@pytest.fixture(scope="module")
def codes() -> CodebookModule:
    torch.manual_seed(1)
    return TINY_CODEBOOK.build().eval()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many recordings were labelled, pass by pass; chunks are of 64."""
    passes: list[int] = []
    label = CodebookModule.label

    def counting(self: CodebookModule, sentence: Sentence, ids: bool = True) -> torch.Tensor:
        passes.append(len(sentence.words))
        return label(self, sentence, ids)

    monkeypatch.setattr(CodebookModule, "label", counting)
    monkeypatch.setattr(labelling, "_CHUNK", 64)
    return passes


def test_words_are_labelled_once_and_as_the_codebook_does(
    corpus: data.Corpus, codes: CodebookModule, tmp_path: Path, counted: list[int]
) -> None:
    found = codewords(codes, "a" * 64, corpus, tmp_path)
    assert sum(counted) == len(corpus.split)
    assert found.dtype == np.int16
    rows = np.array([3, 150, 90])
    batch = Store(corpus, rows).batch(np.arange(3))
    asked = codes.label(Sentence(*codes.encoder.inputs(batch)))
    assert np.array_equal(found[rows], asked.numpy())
    counted.clear()
    assert np.array_equal(codewords(codes, "a" * 64, corpus, tmp_path), found)
    assert not counted
    codewords(codes, "b" * 64, corpus, tmp_path)
    codewords(codes, "a" * 64, corpus, tmp_path, ids=False)
    assert sum(counted) == 2 * len(corpus.split)


def test_a_flipped_bit_or_a_cut_end_is_noticed_and_that_chunk_labelled_anew(
    corpus: data.Corpus, codes: CodebookModule, tmp_path: Path, counted: list[int]
) -> None:
    whole = codewords(codes, "a" * 64, corpus, tmp_path)
    files = sorted(tmp_path.glob("codewords/*/*"))
    assert len(files) == -(-len(corpus.split) // 64)
    content = bytearray(files[1].read_bytes())
    for harm in (bytes(content[:-2]), bytes(content[:200] + bytes([content[200] ^ 1]) + content[201:]), b""):
        counted.clear()
        files[1].write_bytes(harm)
        assert np.array_equal(codewords(codes, "a" * 64, corpus, tmp_path), whole)
        assert sum(counted) == 64


def test_labelling_that_is_asked_to_pause_goes_on_behind_its_chunks(
    corpus: data.Corpus, codes: CodebookModule, tmp_path: Path, counted: list[int]
) -> None:
    with pytest.raises(Interrupted):
        codewords(codes, "a" * 64, corpus, tmp_path, pause=lambda: len(counted) >= 2)
    codewords(codes, "a" * 64, corpus, tmp_path)
    assert sum(counted) == len(corpus.split)


def test_a_step_on_kept_words_is_that_on_words_asked_for(
    corpus: data.Corpus, codes: CodebookModule, tmp_path: Path
) -> None:
    """The same loss to the last bit, with a codebook in millivolts too, and the codebook not asked."""
    for unit in ("sd", "mv"):
        recipe = replace(TINY_CODEBOOK, unit=unit)
        torch.manual_seed(2)
        book = recipe.build().eval()
        words = codewords(book, unit * 32, corpus, tmp_path)
        backbone = TRANSFORMER.build().eval()
        asking = Masked(recipe).build(backbone, 0, ObjectiveInputs(book, corpus.manifest.scale_mv))
        told = Masked(recipe).build(backbone, 0)
        told.load_state_dict(asking.state_dict())
        losses = []
        for module, known in ((asking, None), (told, words)):
            batch = Store(corpus, corpus.rows("train")[:9], words=known).batch(np.arange(9))
            losses.append(module.eval()(batch, torch.Generator().manual_seed(0)))
        assert torch.equal(losses[0].total, losses[1].total)
        assert int(losses[1].n_terms) > 0


def test_the_head_of_a_gpu_is_given_as_many_words_whatever_is_hidden() -> None:
    """Its sum is that over the hidden ones, of recordings with few, many and no words; gradients too."""
    torch.manual_seed(0)
    module = Masked(TINY_CODEBOOK).build(TRANSFORMER.build(), 0)
    assert isinstance(module, MaskedModule)
    real = torch.arange(64) < torch.tensor([[64], [1], [0], [33], [7]])
    masked = module.draw_mask(real, torch.Generator().manual_seed(3))
    codes = torch.randint(TINY_CODEBOOK.n_codes, masked.shape, dtype=torch.int16)
    local = torch.randn(5, 64, 16, requires_grad=True)
    sums = [terms(local, codes, masked) for terms in (module.of_hidden, module.of_as_many)]
    torch.testing.assert_close(sums[0], sums[1])
    slopes = [torch.autograd.grad(total, local)[0] for total in sums]
    torch.testing.assert_close(slopes[0], slopes[1])
