"""Codewords: what a frozen codebook calls every heartbeat of a corpus, labelled once and kept for all runs.

They lie in sealed chunks under both digests, so that another corpus or codebook has others. Processes that label at the
same time begin at different chunks and take over each other's: each is the same whoever labels it.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ecgscale.data.allowance import Allowance
from ecgscale.data.batches import Store
from ecgscale.data.beats import Sentence
from ecgscale.data.corpus import Corpus
from ecgscale.data.prefetch import batches_of
from ecgscale.models import CodebookModule
from ecgscale.records import Damaged, canonical, intact, run_id_of, write_whole
from ecgscale.records.seals import UNSEALED, sealed_bytes

_CHUNK, _BATCH_SIZE = 4096, 128  # recordings of a file, and of a pass through the codebook


class Interrupted(Exception):
    """Labelling was asked to pause; the chunks that are done are kept."""


def codewords(
    codes: CodebookModule,
    digest: str,
    corpus: Corpus,
    home: Path,
    device: str = "cpu",
    *,
    ids: bool = True,
    pause: Callable[[], bool] = lambda: False,
) -> np.ndarray:
    """Codes int16 [n_recordings, n_tokens] (int32 of a codebook of more than 32,767) of every word of a corpus.

    ``digest`` is the codebook's; ``ids`` as in ``CodebookModule.label``. A chunk that is not what was written is
    labelled anew. Raises Interrupted where ``pause`` says so.
    """
    recipe = {"corpus": corpus.manifest.digest, "codebook": digest, "ids": ids}
    folder = home / "codewords" / f"{corpus.name}-{run_id_of(canonical(recipe))}"
    n, n_codes = len(corpus.split), len(codes.get_buffer("codes"))
    kind = np.dtype("<i2" if n_codes <= np.iinfo(np.int16).max else "<i4")
    found = np.empty((n, codes.encoder.n_tokens), kind)
    firsts = range(0, n, _CHUNK)
    begin = os.getpid() % max(1, len(firsts))
    labeller = None
    for first in (*firsts[begin:], *firsts[:begin]):
        rows = np.arange(first, min(first + _CHUNK, n))
        path, shape = folder / f"{first:09d}", (len(rows), found.shape[1])
        labels = _read(path, kind, shape)
        if labels is None:
            labeller = labeller or codes.to(device).eval()
            labels = _labelled(labeller, corpus, rows, device, ids, pause).astype(kind)
            write_whole(path, sealed_bytes(f"{UNSEALED}\n".encode() + labels.tobytes()))
        found[rows] = labels
    return found


def _read(path: Path, kind: np.dtype, shape: tuple[int, int]) -> np.ndarray | None:
    """A chunk as it was written; None if it was not, or is damaged."""
    try:
        content = intact(path)[len(UNSEALED) + 1 :]
        return np.frombuffer(content, kind).reshape(shape)
    except (FileNotFoundError, Damaged, ValueError):
        return None


@torch.no_grad()
def _labelled(
    codes: CodebookModule, corpus: Corpus, rows: np.ndarray, device: str, ids: bool, pause: Callable[[], bool]
) -> np.ndarray:
    store = Store(corpus, rows, device=device, allowance=Allowance(0))
    unit = corpus.manifest.scale_mv if codes.unit == "mv" else 1.0
    found = []
    for batch in batches_of(store, np.array_split(np.arange(len(rows)), -(-len(rows) // _BATCH_SIZE))):
        if pause():
            raise Interrupted
        words, lead, second = codes.encoder.inputs(batch)
        found.append(codes.label(Sentence(words * unit if unit != 1.0 else words, lead, second), ids))
    return torch.cat(found).cpu().numpy()
