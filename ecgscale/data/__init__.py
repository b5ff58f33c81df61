"""From recordings to a corpus on disk, and from a corpus to batches."""

from ecgscale.data.corpus import Corpus, Slice
from ecgscale.data.embedded import open_or_decode as open_corpus
from ecgscale.data.outline import Outline, outline

__all__ = ["Corpus", "Outline", "Slice", "open_corpus", "outline"]
