"""What people ask from Python (``import ecgscale as es``): the verbs of the command line as functions of tables."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ecgscale.models import Architecture
    from ecgscale.spec.sweep import Sweep


def load(
    place: str | Path = "results",
    sweeps: Iterable[str] | None = None,
    *,
    architecture: "Architecture | type[Architecture] | Sweep | None" = None,
    device: str = "cpu",
) -> Any:
    """What a folder holds: of results losses along training (a DataFrame), of an exported model the model.

    Of results: one row a run, target and step, of all sweeps or the named ones; losses are in nats; ``n_params``,
    ``n_samples`` and ``flops`` are N, D and C. Of a folder that ``ecgscale export`` wrote: an ``export.model.Model``
    on a ``device``; ``architecture``: of a model that is not ecgscale's, a sweep that has its class, or the class, or
    its description. Raises FileNotFoundError without such a folder, ValueError for an exported one that is not what was
    written.
    """
    from ecgscale.analysis.observations import trajectories

    folder = Path(place)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder of results, or of an exported model, {folder.name!r}")
    if (folder / "config.json").is_file():
        from ecgscale.export.folder import load as exported

        return exported(folder, architecture, device)
    return trajectories(folder, list(sweeps) if sweeps is not None else None)


def fit(rows: "pd.DataFrame", select: str = "val", **options: Any) -> "pd.DataFrame":
    """Fit every law to every group of ``load``'s rows: a table with a row a coefficient, its interval and status.

    ``select``: the split that picks each run's best step, "val" or "test". ``options``: ``objective`` ("log-ls",
    "huber"), ``bootstrap``, ``max_exponent``, ``weights``, as ``ecgscale fit --help`` explains them.
    """
    from ecgscale.analysis.observations import best_over_steps
    from ecgscale.analysis.table.build import exponents as fitted

    return fitted(best_over_steps(rows, select), paths=rows, **options)


def exponents(
    table: "pd.DataFrame | str | Path" = "results",
    law: str | None = None,
    configuration: str | None = None,
    target: str | None = None,
    coefficient: str | None = None,
    where: str | None = None,
) -> "pd.DataFrame":
    """Rows of a fitted table, or of the one that ``ecgscale fit`` left in a results folder, that match every name.

    Raises ValueError with the nearest name for one that is not there, and if nothing was fitted yet.
    """
    from ecgscale.analysis.table.query import query, read

    found = read(Path(table)) if isinstance(table, str | Path) else table
    return query(found, law, configuration, target, coefficient, where)


def predict(
    rows: "pd.DataFrame", configuration: str, target: str, n_params: float, n_samples: float, select: str = "val"
) -> "pd.DataFrame":
    """The loss at N backbone parameters and D recordings by the joint law: one row, with an interval and a note.

    Raises ValueError with the nearest name for a configuration ("resnet-ssl", "R-SSL") or target without runs.
    """
    from ecgscale.analysis.fitting.forecast import predict as of_group
    from ecgscale.analysis.naming import configuration_named
    from ecgscale.analysis.observations import best_over_steps

    return of_group(best_over_steps(rows, select), configuration_named(configuration), target, n_params, n_samples)


def plot(
    name: str,
    rows: "pd.DataFrame",
    table: "pd.DataFrame | None" = None,
    folder: str | Path = "figures",
    formats: Iterable[str] = ("png",),
) -> list[Path]:
    """Draw a figure ("scaling", "compute", ...) into a folder, with its data as CSV; the files that were written.

    ``table``: what ``fit`` gave; without it points are shown alone. Raises ValueError for an unknown figure or format,
    and, saying why, for one that these rows have nothing for.
    """
    import pandas as pd

    from ecgscale.analysis.figures import NothingToShow, save

    written, absent = save(name, rows, pd.DataFrame() if table is None else table, Path(folder), tuple(formats))
    if not written:
        raise NothingToShow("; ".join(absent))
    return written


def sweep(name: str | Path) -> "Sweep":
    """A sweep from its file, or a shipped one by its stem ("demo"). Raises ValueError in one sentence."""
    from ecgscale.spec.sweep import load as loaded

    return loaded(str(name))


def run(
    sweep: "Sweep",
    run_id: str,
    results: str | Path = "results",
    home: str | Path | None = None,
    device: str = "cpu",
    tasks_available: bool = False,
) -> str:
    """Do one run of a sweep in this process, without Ray; its state: "done", "failed", "diverged" or "oom".

    ``run_id`` may be the beginning of one. ``home``: where corpora and checkpoints live, else $ECGSCALE_HOME, else a
    folder per user. With ``tasks_available`` tasks whose corpora are not prepared are left for ``reprobe``. Raises
    ValueError for what the run lacks (a corpus, a codebook), or if another launch is doing it.
    """
    from ecgscale import leases, records
    from ecgscale.attempt import Attempt, Place, Resources
    from ecgscale.cli.door import home_of
    from ecgscale.home import checkpoint_files, note
    from ecgscale.pricing.obstacles import begun_without, unlaunchable
    from ecgscale.trial import trial

    one, place = sweep.run(run_id), Place(home_of(Path(home) if home is not None else None), Path(results))
    path = records.path_of(place.results, sweep.name, one.run_id)
    if records.state_of(path)[0] == "done":
        return "done"
    if tasks_available:
        sweep = begun_without(sweep, place.home)
    if obstacles := unlaunchable(sweep, place.home, place.results, [one]):
        raise ValueError("; ".join(obstacles))
    claims = leases.Claims(leases.folder_of(place.results, sweep.name), f"run of {os.getpid()}")
    files = (path, *checkpoint_files(place.home, sweep.name, one.run_id))
    lease = claims.claim_patiently(one.run_id, records.newest_token(path), files)
    if lease is None:
        raise ValueError(f"another launch of {sweep.name} is doing run {one.run_id}")
    try:
        with leases.Heartbeat(lease):
            attempt = Attempt(lease, note=partial(note, place.home, sweep.name, one.run_id))
            return trial(one, sweep, place, Resources(device), attempt)
    finally:
        lease.release()
