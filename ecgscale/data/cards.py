"""What is known of each dataset and what is prepared of it: a listing, and a Croissant card without any identity."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecgscale.data import corpus, embedded, simulate, split
from ecgscale.data.corpus import MISSING, Corpus, Manifest
from ecgscale.data.dataset import Card, Dataset
from ecgscale.data.getting import size_in_words
from ecgscale.data.simulation import hospitals

# Made here or shipped: corpora that need no raw folder.
_SHIPPED = {**embedded.CARDS, simulate.NAME: simulate.CARD, hospitals.NAME: hospitals.CARD}
_OTHERS = {simulate.NAME: "-[0-9]*", hospitals.NAME: "-*"}  # other sizes; of the rest: other rates, other filters

_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_CONTENTS = {
    "signal": "int16, one row a recording, leads by samples",
    "peaks": "int16, sample indices of R peaks, -1 pads",
    "labels": "uint8: 0, 1, or 255 where missing; columns in the order of the label sets",
    "patient": "int32 pseudonyms: ranks of hashes under a secret that stays in the home they were made in",
    "split": "uint8: 0 train, 1 val, 2 test, 3 none; by the dataset's own folds or a hash that is the same everywhere",
    "quality": "uint8 or uint16, bits of quality flags",
    "numbers": "float32 [n, n_numbers], labels that are numbers, in their units; NaN where missing",
    "beat_classes": "uint8, class of each R peak, 255 where none",
}


def listing(cards: Mapping[str, Card], home: Path) -> pd.DataFrame:
    """One row a dataset: what it is, who may have it, where to ask, and what is prepared of it in ``home``."""
    known = {**cards, **_SHIPPED}
    rows = []
    for name, card in known.items():
        others = name + _OTHERS.get(name, "@*")
        folders = sorted(corpus.folder_of(home, name).parent.glob(others)) if home.is_dir() else []
        prepared = [one for one in (name, *(folder.name for folder in folders)) if corpus.is_prepared(home, one)]
        rows.append(
            {
                "name": name,
                "title": card.title,
                "n_records": card.n_records,
                "n_patients": card.n_patients,
                "hz": card.rates,
                "label_sets": ", ".join(card.label_sets),
                "access": card.access,
                "licence": card.licence,
                "prepared": ", ".join(prepared),
                "n_prepared": sum(int(np.sum(corpus.read(home, one).split != split.NONE)) for one in prepared),
                "gigabytes": round(sum(_bytes(home, one) for one in prepared) / 1e9, 3),
                "n_upsampled": sum(corpus.manifest_of(home, one).n_upsampled for one in prepared),
                "download": card.download,
                "download_gb": card.gigabytes,
                "size": size_in_words(card),
            }
        )
    return pd.DataFrame(rows).astype({"n_patients": "Int64"})


def rates_in_words(manifest: Manifest) -> list[str]:
    """What a corpus was sampled at before: a line for several native rates, and one for what was resampled upwards."""
    said, n = [], manifest.n_upsampled
    if len(manifest.native_hz) > 1:
        mixed = ", ".join(f"{count:,} recordings at {hz} Hz" for hz, count in manifest.native_hz.items())
        said.append(f"native rates differ: {mixed}")
    if n:
        lowest = min(map(float, manifest.native_hz))
        said.append(
            f"{n:,} of {sum(manifest.native_hz.values()):,} recordings were resampled upwards to "
            f"{manifest.sampling_hz} Hz and hold nothing above half their own rate (the lowest: {lowest:g} Hz)"
        )
    return said


def label_counts(prepared: Corpus) -> pd.DataFrame:
    """Positive, negative and missing recordings of each label (rows in no split are left out)."""
    used = np.flatnonzero(prepared.split != split.NONE)
    rows = []
    first = 0
    for name, classes in prepared.manifest.label_sets.items():
        values = np.asarray(prepared.labels[:, first : first + len(classes)])[used]
        first += len(classes)
        for i, label in enumerate(classes):
            column = values[:, i]
            counts = [int(np.count_nonzero(column == value)) for value in (1, 0, MISSING)]
            rows.append((name, label, *counts))
    return pd.DataFrame(rows, columns=["label_set", "label", "positive", "negative", "missing"])


def croissant(name: str, card: Card, prepared: Corpus | None) -> dict[str, Any]:
    """A dataset's card as Croissant 1.0 JSON-LD (MLCommons): counts and checksums, no record and no patient."""
    document: dict[str, Any] = {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": f"{card.title}: {card.what}.",
        "license": card.licence,
        "url": card.url,
        "citeAs": card.citation,
        "conditionsOfAccess": "; ".join(filter(None, (card.access, card.download, size_in_words(card)))),
        "rai:dataCollection": f"{card.n_records:,} recordings"
        + (f" of {card.n_patients:,} patients" if card.n_patients else "")
        + f" at {card.rates} Hz; units: {card.units}; leads: {card.lead_order}",
        "rai:dataAnnotationProtocol": "; ".join(f"{key}: {value}" for key, value in card.label_sets.items()),
        "rai:dataLimitations": "; ".join((*card.traps, f"reader tested on: {card.tested_on}")),
    }
    if card.doi:
        document["identifier"] = f"https://doi.org/{card.doi}"
    if prepared is None:
        return document
    said = prepared.manifest
    counts = {one: int(np.sum(prepared.split == code)) for code, one in enumerate(split.SPLITS)}
    document["version"] = said.digest[:12]
    document["rai:dataPreprocessingProtocol"] = "; ".join([said.preparation, *rates_in_words(said)])
    document["rai:dataImputationProtocol"] = "; ".join(
        [f"{flaw}: {count} recordings" for flaw, count in said.flaws.items()]
        + [f"refused, {reason}: {count}" for reason, count in said.refused.items()]
        + [f"noted, {note}: {count}" for note, count in said.notes.items()]
        + [f"{count} {what}" for what, count in said.accounts.items()]
        + [f"absent: {text}" for text in said.missing]
        + [f"{what}: {value:g}" for what, value in said.amplitude.items()]
    )
    document["distribution"] = [
        {
            "@type": "cr:FileObject",
            "@id": f"{array}.npy",
            "name": f"{array}.npy",
            "description": _CONTENTS[array],
            "contentUrl": f"{array}.npy",
            "encodingFormat": "application/octet-stream",
            "sha256": digest,
        }
        for array, digest in said.files.items()
    ]
    tables = [
        _table("splits", {"split": "sc:Text", "recordings": "sc:Integer"}, list(counts.items())),
        _table(
            "labels",
            {
                "label_set": "sc:Text",
                "label": "sc:Text",
                "positive": "sc:Integer",
                "negative": "sc:Integer",
                "missing": "sc:Integer",
            },
            label_counts(prepared).to_numpy(dtype=object).tolist(),
        ),
        _table(
            "numbers",
            {
                "label_set": "sc:Text",
                "label": "sc:Text",
                "unit": "sc:Text",
                "mean": "sc:Float",
                "deviation": "sc:Float",
                "known_in_train": "sc:Integer",
            },
            [
                (name, label, *(number[key] for key in ("unit", "mean", "deviation", "n")))
                for name, some in said.number_sets.items()
                for label, number in some.items()
            ],
        ),
        _table("quality", {"flag": "sc:Text", "recordings": "sc:Integer"}, list(said.flaws.items())),
    ]
    document["recordSet"] = [table for table in tables if table["data"]]  # Croissant forbids empty ones
    return document


def _table(name: str, fields: Mapping[str, str], rows: list[Any]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {"@type": "cr:Field", "@id": f"{name}/{field}", "name": field, "dataType": kind}
            for field, kind in fields.items()
        ],
        "data": [{f"{name}/{field}": value for field, value in zip(fields, row, strict=True)} for row in rows],
    }


def card_of(datasets: Mapping[str, Dataset], name: str) -> Card:
    """The card of a dataset, or of a corpus that ships or is made here. Raises KeyError."""
    return _SHIPPED[name] if name in _SHIPPED else datasets[name].card


def shipped() -> tuple[str, ...]:
    """Names of the corpora that need no raw folder."""
    return tuple(_SHIPPED)


def _bytes(home: Path, name: str) -> int:
    return sum(file.stat().st_size for file in corpus.folder_of(home, name).iterdir())
