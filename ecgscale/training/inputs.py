"""What a run reads: its corpora, its codebook, the weights that it starts from, and the digest of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ecgscale import data
from ecgscale.data.corpus import NUMBERS, Corpus
from ecgscale.models import CodebookModule
from ecgscale.spec.run import Run
from ecgscale.training import codebooks, kept_weights, weights
from ecgscale.training.codewords import codewords


@dataclass(frozen=True)
class Inputs:
    """A run's own corpus, those of its slice's mix, the words that it predicts, and the weights of its backbone.

    ``codes`` is the codebook, ``words`` integer [n_recordings, n_tokens] what it calls those of the corpus.

    ``digests`` name them in the results and in checkpoints: no run goes on with other inputs than it began with.
    """

    corpus: Corpus
    mixed: tuple[Corpus, ...]
    codes: CodebookModule | None
    words: np.ndarray | None
    initial: Mapping[str, torch.Tensor] | None
    digests: Mapping[str, str]

    @property
    def asked(self) -> CodebookModule | None:
        """The codebook, where steps ask it themselves; None where it has labelled the corpus' words before."""
        return self.codes if self.words is None else None


def opened(
    run: Run, home: Path, device: str = "cpu", *, following: bool = False, pause: Callable[[], bool] = lambda: False
) -> Inputs:
    """The inputs of a run from ``home``; a ``following`` process is sent the leader's weights, and reads none.

    What a codebook calls the words of the corpus is labelled on ``device`` if no run has done it before. Raises
    FileNotFoundError, in one sentence, for what is not there; codewords.Interrupted where ``pause`` says so.
    """
    corpus, codes, words, initial = data.open_corpus(run.slice.corpus, home), None, None, None
    mixed = tuple(data.open_corpus(name, home) for name, _ in run.slice.mix)
    digests = {"corpus_digest": corpus.manifest.digest}
    digests |= {f"corpus_digest_{other.name}": other.manifest.digest for other in mixed}
    for number, one in enumerate((corpus, *mixed)):
        if any(label.number for label in one.manifest.labels_of(run.slice.label_set)):
            digests["numbers_digest" + f"_{one.name}" * (number > 0)] = one.manifest.files.get(NUMBERS, "")
    if run.objective.codebook is not None:
        codes, digests["codebook_digest"] = codebooks.read(run.objective.codebook, home)
        if getattr(run.objective, "reads_codewords", False):
            ids = getattr(run.objective, "ids_at_label_time", True)
            words = codewords(codes, digests["codebook_digest"], corpus, home, device, ids=ids, pause=pause)
            codes = codes.cpu()  # it has said all that it knows
    if not following and (found := initial_weights(run, home)):
        initial, digests["initial_digest"] = found
    return Inputs(corpus, mixed, codes, words, initial, digests)


def initial_weights(run: Run, home: Path) -> tuple[dict[str, torch.Tensor], str] | None:
    """The weights of the backbone that a run starts from, and their SHA-256; None if they are random.

    Raises FileNotFoundError (kept_weights.NotKept or weights.NotImported), in one sentence, if they are not there.
    """
    if run.initial is not None:
        kept = kept_weights.load(run.initial, home)
        return kept.backbone, kept.digest
    return (weights.load(run.weights, home), run.weights) if run.weights else None
