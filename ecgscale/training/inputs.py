"""What a run reads: its corpora, its codebook, the weights that it starts from, and the digest of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from ecgscale import data
from ecgscale.data.corpus import Corpus
from ecgscale.models import CodebookModule
from ecgscale.spec.run import Run
from ecgscale.training import codebooks, kept_weights, weights


@dataclass(frozen=True)
class Inputs:
    """A run's own corpus, those of its slice's mix, the words that it predicts, and the weights of its backbone.

    ``digests`` name them in the results and in checkpoints: no run goes on with other inputs than it began with.
    """

    corpus: Corpus
    mixed: tuple[Corpus, ...]
    codes: CodebookModule | None
    initial: Mapping[str, torch.Tensor] | None
    digests: Mapping[str, str]


def opened(run: Run, home: Path, *, following: bool = False) -> Inputs:
    """The inputs of a run from ``home``; a ``following`` process is sent the leader's weights, and reads none.

    Raises FileNotFoundError, in one sentence, for what is not there.
    """
    corpus, codes, initial = data.open_corpus(run.slice.corpus, home), None, None
    mixed = tuple(data.open_corpus(name, home) for name, _ in run.slice.mix)
    digests = {"corpus_digest": corpus.manifest.digest}
    digests |= {f"corpus_digest_{other.name}": other.manifest.digest for other in mixed}
    if run.objective.codebook is not None:
        codes, digests["codebook_digest"] = codebooks.read(run.objective.codebook, home)
    if not following and (found := initial_weights(run, home)):
        initial, digests["initial_digest"] = found
    return Inputs(corpus, mixed, codes, initial, digests)


def initial_weights(run: Run, home: Path) -> tuple[dict[str, torch.Tensor], str] | None:
    """The weights of the backbone that a run starts from, and their SHA-256; None if they are random.

    Raises FileNotFoundError (kept_weights.NotKept or weights.NotImported), in one sentence, if they are not there.
    """
    if run.initial is not None:
        kept = kept_weights.load(run.initial, home)
        return kept.backbone, kept.digest
    return (weights.load(run.weights, home), run.weights) if run.weights else None
