"""Verbs that take trained models elsewhere: export, embed, predict-labels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ecgscale.cli import completing
from ecgscale.cli.door import RESULTS, Home, Results, RunId, SweepName, above_0, app, home_of
from ecgscale.cli.selecting import Changes, Only, selected
from ecgscale.cli.terminal import say, where

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecgscale.export.embed import Ask
    from ecgscale.export.model import Model

Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A prepared corpus, a WFDB header (.hea), an array (.npy), or a folder.")
]
Weights = Annotated[Path, typer.Option(metavar="DIR", help="The folder that `ecgscale export` wrote.")]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="A Parquet file.")]
Hz = Annotated[float | None, typer.Option(help="Of arrays, which do not say it.", callback=above_0)]
Leads = Annotated[str | None, typer.Option(help="Of arrays, in their order: I,II,V1,... The twelve if left out.")]
TrainedBy = Annotated[
    str | None,
    typer.Option(
        "--sweep", help="Of a model of your own: a sweep that has its architecture.", autocompletion=completing.sweeps
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]


@app.command(rich_help_panel="Models: take them elsewhere")
def export(
    sweep: SweepName,
    run_id: RunId,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="A new folder.")],
    step: Annotated[int | None, typer.Option(help="Of a run that keeps all; the best if left out.")] = None,
    also: Annotated[
        str,
        typer.Option(
            "--format", help="safetensors, or torch-export: a program (model.pt2) beside them that needs no code."
        ),
    ] = "safetensors",
    results: Results = RESULTS,
    home: Home = None,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Write a run's kept weights with a model card, for `ecgscale.load`, the Hub, or any safetensors reader."""
    from ecgscale.definitions import code_facts
    from ecgscale.export import folder
    from ecgscale.pool.states import outdated

    loaded = selected(sweep, changes, only, home, results)
    run = loaded.run(run_id)
    for sentence in outdated(loaded, results):
        say(f"  {sentence}")
    config = folder.export(run, loaded, home_of(home), results, output, step, also)
    files = [folder.CONFIG, folder.WEIGHTS, folder.CARD, *([folder.PROGRAM] if also == "torch-export" else [])]
    say(f"{config['configuration']} at step {config['step']}: {', '.join(files)}")
    of_ones_own = f" --sweep {sweep}" if code_facts([run.architecture]) else ""
    say(f"next: ecgscale embed SOURCE --weights {where(output)}{of_ones_own} -o features.parquet")


def _asking(name: str, kind: "Callable[[], Callable[[Model], Ask]]", told: str) -> None:
    """Make a verb that asks a model about recordings, and writes its answers as a table."""

    def verb(
        source: Source,
        weights: Weights,
        output: Output,
        sampling_hz: Hz = None,
        leads: Leads = None,
        home: Home = None,
        device: Device = "cpu",
        trained_by: TrainedBy = None,
    ) -> None:
        import io

        from ecgscale import records
        from ecgscale.data import cards, corpus
        from ecgscale.data.recording import LEADS
        from ecgscale.export import embed

        model = _loaded(weights, trained_by, device)
        ask, place = kind()(model), home_of(home)
        if not Path(source).exists() and (corpus.is_prepared(place, source) or source in cards.shipped()):
            table = embed.of_corpus(model, source, place, ask)
        else:
            files = embed.files_in(Path(source))
            names = tuple(leads.split(",")) if leads else LEADS
            table = embed.of_files(model, files, ask, sampling_hz=sampling_hz, leads=names, say=say)
        table.to_parquet(buffer := io.BytesIO(), index=False)
        records.write_whole(output, buffer.getvalue())
        say(f"{len(table)} recordings, {table.shape[1] - 2} columns: {where(output)}")

    app.command(name, help=told, rich_help_panel="Models: take them elsewhere")(verb)


def _loaded(weights: Path, sweep: str | None, device: str) -> "Model":
    """An exported model, of a class of one's own by a sweep that has it; what it warns of is said."""
    import warnings

    from ecgscale.export import folder
    from ecgscale.spec.sweep import load

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        model = folder.load(weights, load(sweep) if sweep else None, device)
    for warning in heard:
        say(f"  {warning.message}")
    return model


def _features() -> "Callable[[Model], Ask]":
    from ecgscale.export.embed import features_table

    return lambda model: features_table


def _labels() -> "Callable[[Model], Ask]":
    from ecgscale.export.embed import labels_table

    return labels_table


_asking("embed", _features, "Features of recordings: one row each, columns f0, f1, ...")
_asking(
    "predict-labels",
    _labels,
    "What a supervised model's own head says: one row a recording, a column a label: a probability, or a number in its "
    "unit.",
)
