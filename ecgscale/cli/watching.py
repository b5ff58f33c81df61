"""The verb that shows results in the trackers people have already."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ecgscale.cli import completing
from ecgscale.cli.door import RESULTS, Results, app, existing
from ecgscale.cli.selecting import Changes, Only, narrowing
from ecgscale.cli.terminal import say, where
from ecgscale.phrases import did_you_mean

_AGAIN_SECONDS = 10


@app.command(rich_help_panel="Pictures: draw and tell")
def observe(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="tensorboard, mlflow (local) or wandb (offline).")],
    sweeps: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SWEEP]...", help="All with results if left out.", autocompletion=completing.measured),
    ] = None,
    results: Results = RESULTS,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing what is measured, until interrupted.")] = False,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Show measured rows in TensorBoard, MLflow or Weights & Biases; runs know nothing of it."""
    from ecgscale.pool.observers import OBSERVERS, observe

    if kind not in OBSERVERS:
        raise ValueError(f"there is no observer {kind!r}{did_you_mean(kind, OBSERVERS)}")
    known = sorted(p.name for p in (existing(results) / "runs").glob("*") if p.is_dir())
    named = [Path(name).stem for name in sweeps or ()] or known
    for name in named:
        if name not in known:
            raise ValueError(f"no results of a sweep {name!r} in {where(results)}/runs{did_you_mean(name, known)}")
    narrow = narrowing(sweeps, changes, only)
    while True:
        count = observe(results, kind, named, narrow)
        if count or not watch:
            say(f"{count} new rows of {', '.join(named)} shown: {where(results / 'observers' / kind)}")
        if not watch:
            return
        time.sleep(_AGAIN_SECONDS)
