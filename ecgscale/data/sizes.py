"""The size of a corpus: recordings, classes, samples and leads, known before it is prepared from its dataset's card."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ecgscale.data import corpus, embedded, simulate
from ecgscale.data.label_sets import apart
from ecgscale.data.library import found
from ecgscale.data.own import registered
from ecgscale.data.prepare_rows import STORED_HZ, WINDOW_SECONDS, stored_leads
from ecgscale.data.readers import DATASETS
from ecgscale.data.recording import INDEPENDENT_LEADS, LEADS
from ecgscale.data.simulation import hospitals
from ecgscale.phrases import did_you_mean


@dataclass(frozen=True)
class CorpusSize:
    """Recordings in train, val and test, labels of each label set, samples of a recording, and whether it is here.

    ``n_leads`` that are stored, and whether twelve follow from them.
    """

    n_records: tuple[int, int, int]
    n_labels: Mapping[str, int]
    n_samples: int = WINDOW_SECONDS * STORED_HZ
    prepared: bool = False
    n_leads: int = len(INDEPENDENT_LEADS)
    twelve_leads: bool = True

    def lacks(self, label_set: str) -> str:
        """The first of the sets that a label set is of ("a+b": both) and that the corpus has not; or ""."""
        return next((name for name in self._apart(label_set) if name not in self.n_labels), "")

    def n_labels_of(self, label_set: str) -> int:
        """Labels of a label set; 0 of the empty one, and of one that the corpus has not."""
        return 0 if self.lacks(label_set) else sum(self.n_labels[name] for name in self._apart(label_set))

    def _apart(self, label_set: str) -> list[str]:
        return apart(label_set, self.n_labels) if label_set else []


def corpus_size(name: str, home: Path) -> CorpusSize:
    """Size of a corpus; an embedded one is decoded if need be. Raises ValueError for a name that nobody knows."""
    if name in embedded.EMBEDDED or corpus.is_prepared(home, name):
        opened = found(name, home)
        n_train, n_val, n_test = (len(opened.rows(part)) for part in ("train", "val", "test"))
        n_labels = {name: len(labels) for name, labels in opened.manifest.known_label_sets.items()}
        leads = tuple(opened.manifest.leads)
        twelve = leads in (LEADS, INDEPENDENT_LEADS)
        n_samples = opened.signal.shape[-1]
        return CorpusSize((n_train, n_val, n_test), n_labels, n_samples, True, len(leads), twelve)
    if cohort := hospitals.parsed(name):  # made when a run asks for it, as below
        return CorpusSize(hospitals.sizes(cohort), hospitals.CARD.n_labels, prepared=True)
    asked = simulate.parsed(name)
    if asked:
        return CorpusSize(simulate.sizes(asked[0]), simulate.CARD.n_labels, prepared=True)
    base, _, preparation = name.partition("@")  # "ptbxl@500-ecgfounder": another rate, another recipe
    if base not in DATASETS:
        names = [*embedded.EMBEDDED, *DATASETS, *registered.names(home)]
        raise ValueError(f"there is no corpus {name!r}{did_you_mean(name, names)}")
    dataset = DATASETS[base]
    rates = [int(part) for part in preparation.split("-") if part.isdigit()]
    return CorpusSize(
        dataset.splits,
        dataset.card.n_labels,
        WINDOW_SECONDS * (rates[0] if rates else STORED_HZ),
        n_leads=len(stored_leads(dataset)),
        twelve_leads=dataset.leads == LEADS,
    )
