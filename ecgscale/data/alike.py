"""Recordings of no corpus, prepared as a corpus was: for models that were trained on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ecgscale.data import embedded
from ecgscale.data.corpus import MISSING, Corpus, Manifest, digest_of
from ecgscale.data.dataset import Dataset
from ecgscale.data.filters import Recipe, recipe_of
from ecgscale.data.own.registered import own_dataset
from ecgscale.data.peaks import DETECTORS
from ecgscale.data.prepare_rows import POLICIES, UNIT, Options, in_words, rows_of, stored_leads
from ecgscale.data.readers import DATASETS
from ecgscale.data.recording import Recording
from ecgscale.data.split import NONE, TEST
from ecgscale.data.waveform import MAX_HZ, MIN_HZ


@dataclass(frozen=True)
class Preprocessing:
    """What makes stored signals of raw ones, in numbers; models see millivolts (or the stored unit) / ``scale_mv``."""

    recipe: Recipe  # filters, zero-phase, before resampling
    sampling_hz: int
    seconds: float  # cut or zero-padded to so many
    window: str  # "centre" or "start": which of a longer recording
    leads: tuple[str, ...]  # that a recording has to have; of twelve, those that follow from I and II may be lacking
    einthoven: float | None  # tolerance of the check of limb leads; None: they are not checked
    detector: str  # of R peaks
    flawed_leads: str  # flat, saturated or missing: keep, zero the lead, or drop the recording
    scale_mv: float  # one standard deviation of the corpus' training signals

    def said(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def of_said(cls, said: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of ``said``. Raises ValueError for what says less or more."""
        try:
            values: dict[str, Any] = {**said, "recipe": recipe_of(said["recipe"]), "leads": tuple(said["leads"])}
            how = cls(**values)
            Options("", how.sampling_hz, how.seconds, how.detector, how.flawed_leads)
        except (KeyError, TypeError) as error:
            raise ValueError(f"its preprocessing is not what {cls.__name__} says: {error}") from None
        return how


def preprocessing_of(corpus: Corpus) -> Preprocessing:
    """How a prepared corpus was made of recordings. Raises ValueError for one whose preparation is not known here."""
    manifest, n_samples = corpus.manifest, corpus.signal.shape[-1]
    base, _, _ = corpus.name.partition("@")
    seconds = n_samples / manifest.sampling_hz
    if base in DATASETS or manifest.reader:
        dataset = DATASETS[base] if base in DATASETS else own_dataset(base, manifest.reader)
        options = _options(corpus.name, manifest, dataset, seconds)
    else:  # shipped or simulated, and stored as PTB-XL is
        dataset = replace(DATASETS["ptbxl"], recipe=embedded.RECIPE)
        options = Options(base, manifest.sampling_hz, seconds)
    return Preprocessing(
        options.recipe_of(dataset),
        options.sampling_hz,
        options.seconds,
        dataset.window,
        dataset.leads,
        dataset.einthoven,
        options.detector,
        options.flawed_leads,
        manifest.scale_mv,
    )


def prepared(recordings: Sequence[Recording], how: Preprocessing) -> tuple[Corpus, dict[int, str]]:
    """Recordings as a corpus in memory, in its test split, and why some cannot be used: place -> reason.

    Those are in no split, and zero. Nothing is written anywhere.
    """
    known = DATASETS["ptbxl"]  # twelve leads in millivolts; what differs is said here
    dataset = replace(
        known,
        card=replace(known.card, sampling_hz=range(MIN_HZ, MAX_HZ + 1)),
        load=lambda raw, where: recordings[int(where)],
        recipe=how.recipe,
        leads=how.leads,
        einthoven=how.einthoven,
        window=how.window,
    )
    n = len(recordings)
    options = Options("recordings", how.sampling_hz, how.seconds, how.detector, how.flawed_leads)
    rows = rows_of(dataset, Path(), [str(i) for i in range(n)], options)
    split = np.full(n, TEST, dtype=np.uint8)
    split[list(rows.reasons)] = NONE
    manifest = Manifest(
        name=options.name,
        sampling_hz=how.sampling_hz,
        mv_per_unit=UNIT,
        scale_mv=how.scale_mv,
        label_sets={},
        preparation=in_words(dataset, options),
        digest=digest_of({}),
        leads=stored_leads(dataset),
    )
    nobody, no_labels = np.arange(n, dtype=np.int32), np.full((n, 0), MISSING, dtype=np.uint8)
    return Corpus(manifest, rows.signal, rows.peaks, no_labels, nobody, split, rows.quality), rows.reasons


def _options(name: str, manifest: Manifest, dataset: Dataset, seconds: float) -> Options:
    """The options that a corpus was prepared with: those that it would describe in its own words."""
    base, _, unusual = name.partition("@")
    recipe = "-".join(part for part in unusual.split("-") if part and not part.isdigit())
    for detector, policy in product(DETECTORS, POLICIES):
        options = Options(base, manifest.sampling_hz, seconds, detector, policy, recipe)
        if in_words(dataset, options) == manifest.preparation:
            return options
    raise ValueError(f"corpus {name} was prepared by another version of ecgscale, in a way that is not known here")
