"""From recordings to a corpus on disk, and from a corpus to batches."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from ecgscale.data import (
    challenge,
    chapman,
    code,
    code15,
    codetest,
    corpus,
    echonext,
    embedded,
    heedb,
    icentia,
    ludb,
    mimic,
    mitbih,
    preparation,
    ptbxl,
    sph,
)
from ecgscale.data.corpus import Corpus
from ecgscale.data.dataset import Dataset
from ecgscale.data.preparation import Options, Price, Progress

# Every dataset of the study, in reading order: pretraining, then the probes, then beats.
DATASETS: dict[str, Dataset] = {
    "code": code.DATASET,
    "code15": code15.DATASET,
    "code-test": codetest.DATASET,
    "mimic": mimic.DATASET,
    "heedb": heedb.DATASET,
    "icentia11k": icentia.DATASET,
    "cpsc2018": challenge.CPSC2018,
    "csn": challenge.CSN,
    "echonext": echonext.DATASET,
    "ptbxl": ptbxl.DATASET,
    "mimic-ood": mimic.PROBE,
    "georgia": challenge.GEORGIA,
    "cpsc2018-extra": challenge.CPSC2018_EXTRA,
    "ptb": challenge.PTB,
    "incart": challenge.INCART,
    "chapman": chapman.DATASET,
    "sph": sph.DATASET,
    "ludb": ludb.DATASET,
    "mitbih": mitbih.DATASET,
}


def named(name: str) -> Dataset:
    """A dataset by name. Raises ValueError with the nearest name."""
    if name in DATASETS:
        return DATASETS[name]
    near = get_close_matches(name, DATASETS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(DATASETS)}"
    raise ValueError(f"no dataset {name!r}; {hint}")


def open_corpus(name: str, home: Path) -> Corpus:
    """Open a corpus by name; an embedded one is decoded on first use.

    Raises FileNotFoundError, in one sentence with the command to type, for a corpus that was never prepared.
    """
    if name in embedded.EMBEDDED and not corpus.is_prepared(home, name):
        return embedded.EMBEDDED[name](home)
    return corpus.read(home, name)


def prepare(
    name: str,
    raw: Path,
    home: Path,
    *,
    workers: int | None = None,
    allow_missing: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
    **options: object,
) -> Corpus:
    """Prepare dataset ``name`` from its raw folder; ``options`` as in preparation.Options; errors as there."""
    return preparation.prepare(
        named(name),
        raw,
        home,
        Options(name, **options),  # type: ignore[arg-type]
        workers=workers,
        allow_missing=allow_missing,
        progress=progress,
    )


def price(
    name: str, raw: Path, home: Path, *, workers: int | None = None, n_records: int | None = None, **options: object
) -> Price:
    """What ``prepare`` will cost in time and disk, measured on a sample of the raw folder; writes nothing."""
    chosen = Options(name, **options)  # type: ignore[arg-type]
    return preparation.price(named(name), raw, home, chosen, workers=workers, n_records=n_records)
