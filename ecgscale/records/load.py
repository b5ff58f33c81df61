"""Reading a results folder: every run that can be believed, and the name of every file that cannot."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ecgscale.records.files import BadResults, path_of
from ecgscale.records.journal import read, running
from ecgscale.records.schema import SCHEMA


@dataclass(frozen=True)
class Results:
    """All readable rows of a results folder, one line a run, and every file that could not be believed."""

    rows: pd.DataFrame
    runs: pd.DataFrame
    bad: tuple[str, ...]


def load(results: Path, sweeps: Iterable[str] | None = None) -> Results:
    """Read every run of a results folder (or of the named sweeps).

    A file that cannot be believed is left where it is and named in ``bad``; all others are read.
    """
    folder = results / "runs"
    names = sorted(p.name for p in folder.iterdir() if p.is_dir()) if sweeps is None and folder.is_dir() else sweeps
    frames, runs, bad = [], [], []
    for sweep in names or ():
        ids = {path.stem for path in (folder / sweep).glob("*.parquet")} | set(running(folder / sweep))
        for path in (path_of(results, sweep, run_id) for run_id in sorted(ids)):
            try:
                file = read(path)
            except BadResults as error:
                bad.append(str(error))
                continue
            frames.append(file.rows)
            runs.append({"sweep": sweep, "run_id": path.stem, **file.facts, "run": file.description})
    rows = pd.concat(frames, ignore_index=True) if frames else SCHEMA.empty_table().to_pandas()
    return Results(rows, pd.DataFrame(runs, columns=None if runs else ["sweep", "run_id", "status", "run"]), tuple(bad))
