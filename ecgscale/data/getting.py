"""What a corpus costs before it is here: its download, its preparation and its disk, reckoned from its card."""

from dataclasses import dataclass
from pathlib import Path

from ecgscale.data import corpus
from ecgscale.data.dataset import Card
from ecgscale.data.prepare_rows import STORED_HZ, WINDOW_SECONDS, Options, row_bytes
from ecgscale.data.readers import DATASETS

MBIT_A_SECOND = 100.0  # of the line that hours of a download are told for
# Twelve leads of 10 s at 500 Hz a second and core: 473 of CODE-15%'s 8.5 s at 400 Hz, as measured with one process.
_PREPARED_A_SECOND = 320.0
_OF_SAMPLES = 12 * 10 * 500


@dataclass(frozen=True)
class Getting:
    """What it takes to get a corpus; GB and hours are None where nobody says how large the download is."""

    name: str
    line: str  # the provider's own, or where to ask
    gigabytes: float | None
    download_hours: float | None  # at MBIT_A_SECOND
    prepare_hours: float  # of one core; ``data prepare --dry-run`` times it
    disk_gb: float  # of the corpus

    @property
    def in_words(self) -> str:
        """A sentence: "mimic-open: a download of 97 GB (2.2 hours at 100 Mbit/s), ..."."""
        size = f"of {self.gigabytes:.3g} GB" if self.gigabytes is not None else "of a size that its page says"
        hours = "" if self.download_hours is None else f" ({self.download_hours:.2g} hours at {MBIT_A_SECOND:g} Mbit/s)"
        return (
            f"{self.name}: a download {size}{hours}, {self.prepare_hours:.2g} core hours of preparation, "
            f"{self.disk_gb:.2g} GB of disk; {self.line}; then: {corpus.command_for(self.name)}"
        )


def hours_of(gigabytes: float) -> float:
    """Hours of a download at MBIT_A_SECOND."""
    return gigabytes * 8e3 / MBIT_A_SECOND / 3600


def size_in_words(card: Card) -> str:
    """ "97 GB, 2.2 hours at 100 Mbit/s", or "" for a dataset whose download nobody gives the size of."""
    if card.gigabytes is None:
        return ""
    hours = hours_of(card.gigabytes)
    told = f"{hours:.2g} hours" if hours >= 1 else f"{max(1, round(60 * hours))} min"
    return f"{card.gigabytes:.3g} GB, {told} at {MBIT_A_SECOND:g} Mbit/s"


def getting(name: str) -> Getting | None:
    """What it takes to get a corpus of the study; None for one that ships, is made here, or is one's own."""
    base, _, preparation = name.partition("@")
    if base not in DATASETS:
        return None
    dataset = DATASETS[base]
    card, rates = dataset.card, [int(part) for part in preparation.split("-") if part.isdigit()]
    options = Options(name, sampling_hz=rates[0] if rates else STORED_HZ)
    n = sum(dataset.splits)
    samples = len(dataset.leads) * WINDOW_SECONDS * min(max(card.sampling_hz), 500)
    return Getting(
        name,
        card.download,
        card.gigabytes,
        None if card.gigabytes is None else hours_of(card.gigabytes),
        n / _PREPARED_A_SECOND * samples / _OF_SAMPLES / 3600,
        n * row_bytes(dataset, options, max(card.n_labels.values(), default=0)) / 1e9,
    )


def to_get(names: list[str], home: Path) -> list[Getting]:
    """What it takes to get those corpora that are not prepared here, each once."""
    found = [getting(name) for name in dict.fromkeys(names) if not corpus.is_prepared(home, name)]
    return [one for one in found if one is not None]
