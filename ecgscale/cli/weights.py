"""The verb that brings published weights."""

from pathlib import Path
from typing import Annotated

import typer

from ecgscale.cli.door import PLAIN, Home, app, home_of
from ecgscale.cli.terminal import say
from ecgscale.phrases import si

weights_app = typer.Typer(help="Published weights that runs start from.", no_args_is_help=True, **PLAIN)
app.add_typer(weights_app, name="weights", rich_help_panel="Before: price and prepare")


@weights_app.callback()
def _together() -> None:
    """Published weights that runs start from."""


@weights_app.command("import")
def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ECGFounder's checkpoint, as it was published.")],
    labels: Annotated[
        Path | None, typer.Option(help="Names of the head's labels, one a line: the authors' tasks.txt.")
    ] = None,
    home: Home = None,
) -> None:
    """Import a published ECGFounder and its head; says what a sweep calls it."""
    from ecgscale.training import weights

    if labels is not None and not labels.is_file():
        raise FileNotFoundError(f"there is no file {labels.name}")
    names = [line.strip() for line in labels.read_text().splitlines() if line.strip()] if labels else []
    architecture, digest = weights.adopt_file(file, home_of(home), names)
    n_params = sum(tensor.numel() for tensor in weights.load(digest, home_of(home)).values())
    say(f"{architecture.kind} of {si(n_params)} parameters, {architecture.leads} leads: imported")
    if head := weights.head(digest, home_of(home)):
        named = (
            f"{head.names[0]}, ... {head.names[-1]}" if head.names else "their names are unknown (--labels tasks.txt)"
        )
        say(f"its head of {len(head.bias)} labels is kept: {named}")
    say(f"in a sweep: Run({architecture}, ..., weights={digest!r})")
