"""Verbs that take trained models elsewhere: export, embed, predict-labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgscale.cli.door import RESULTS, Home, Results, RunId, SweepName, above_0, app, home_of
from ecgscale.cli.selecting import Changes, Only, selected
from ecgscale.cli.terminal import say, where

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import pandas as pd

    from ecgscale.export.model import Model

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A prepared corpus, a WFDB header (.hea), an array (.npy), or a folder.")
]
Weights = Annotated[Path, typer.Option(metavar="DIR", help="The folder that `ecgscale export` wrote.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A Parquet file.")]
Hz = Annotated[float | None, typer.Option(help="Of arrays, which do not say it.", callback=above_0)]
Leads = Annotated[str | None, typer.Option(help="Of arrays, in their order: I,II,V1,... The twelve if left out.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]


@app.command(rich_help_panel="Models: take them elsewhere")
def export(
    sweep: SweepName,
    run_id: RunId,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A new folder.")],
    step: Annotated[int | None, typer.Option(help="Of a run that keeps all; the best if left out.")] = None,
    results: Results = RESULTS,
    home: Home = None,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Write a run's kept weights with a model card, for `ecgscale.load`, the Hub, or any safetensors reader."""
    from ecgscale.export import folder

    loaded = selected(sweep, changes, only, home, results)
    run = loaded.run(run_id)
    config = folder.export(run, loaded, home_of(home), results, output, step)
    say(
        f"{config['configuration']} at step {config['step']}: {', '.join((folder.CONFIG, folder.WEIGHTS, folder.CARD))}"
    )
    say(f"next: ecgscale embed SOURCE --weights {where(output)} -o features.parquet")


@app.command(rich_help_panel="Models: take them elsewhere")
def embed(
    source: Source,
    weights: Weights,
    output: Output,
    sampling_hz: Hz = None,
    leads: Leads = None,
    home: Home = None,
    device: Device = "cpu",
) -> None:
    """Features of recordings: one row each, columns f0, f1, ..."""
    from ecgscale.export.embed import features_table

    _ask(lambda model: features_table, source, weights, output, sampling_hz, leads, home, device)


@app.command(rich_help_panel="Models: take them elsewhere")
def predict_labels(
    source: Source,
    weights: Weights,
    output: Output,
    sampling_hz: Hz = None,
    leads: Leads = None,
    home: Home = None,
    device: Device = "cpu",
) -> None:
    """Probabilities by a supervised model's own head: one row a recording, a column a label."""
    from ecgscale.export.embed import labels_table

    _ask(labels_table, source, weights, output, sampling_hz, leads, home, device)


def _ask(
    kind: "Callable[[Model], Callable[[np.ndarray], pd.DataFrame]]",
    source: str,
    weights: Path,
    output: Path,
    sampling_hz: float | None,
    leads: str | None,
    home: Path | None,
    device: str,
) -> None:
    import io

    from ecgscale import records
    from ecgscale.data import cards, corpus
    from ecgscale.data.recording import LEADS
    from ecgscale.export import embed as tables
    from ecgscale.export.folder import load

    model = load(weights, device=device)
    ask = kind(model)
    place = home_of(home)
    if not Path(source).exists() and (corpus.is_prepared(place, source) or source in cards.shipped()):
        table = tables.of_corpus(model, source, place, ask)
    else:
        files = tables.files_in(Path(source))
        names = tuple(leads.split(",")) if leads else LEADS
        table = tables.of_files(model, files, ask, sampling_hz=sampling_hz, leads=names, say=say)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    records.write_whole(output, buffer.getvalue())
    say(f"{len(table)} recordings, {table.shape[1] - 2} columns: {where(output)}")
