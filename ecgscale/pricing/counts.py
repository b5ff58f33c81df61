"""Costs of models, kept in home: to count one takes a third of a second, and a grid has sixty of them."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

from ecgscale import compute
from ecgscale.compute import Cost
from ecgscale.pool.preflight import code_digest
from ecgscale.records.files import write_whole
from ecgscale.records.seals import document, read_document

_COUNTERS = ("torch", "fvcore")  # beside our own code


@contextmanager
def remembered(home: Path) -> Iterator[None]:
    """In here ``compute.cost`` counts no model of ours that was counted into this home before.

    Counts are those of one version of our code, of torch and of fvcore: with another, and from a damaged file, models
    are counted anew.
    """
    counted_by = [code_digest(), *map(version, _COUNTERS)]
    compute.KNOWN |= (before := _kept(home, counted_by))
    yield
    if compute.KNOWN.keys() - before.keys():
        said = {"counted_by": counted_by, "costs": {**before, **compute.KNOWN}}
        with suppress(OSError):  # then they are counted again
            home.mkdir(parents=True, exist_ok=True)
            write_whole(_file(home), document(said, lambda value: json.dumps(value, indent=1)))


def _kept(home: Path, counted_by: list[str]) -> dict[str, Cost]:
    try:
        found, is_sealed = read_document(_file(home))
        if not is_sealed or found["counted_by"] != counted_by:
            return {}
        return {asked: Cost(*numbers) for asked, numbers in found["costs"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _file(home: Path) -> Path:
    return home / "costs.json"
