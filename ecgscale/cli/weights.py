"""The verb that brings published weights."""

from pathlib import Path
from typing import Annotated

import typer

from ecgscale.cli.door import Home, app, home_of
from ecgscale.cli.terminal import say
from ecgscale.phrases import si

weights_app = typer.Typer(help="Published weights that runs start from.", no_args_is_help=True)
app.add_typer(weights_app, name="weights", rich_help_panel="Before: price and prepare")


@weights_app.callback()
def _together() -> None:
    """Published weights that runs start from."""


@weights_app.command("import")
def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ECGFounder's checkpoint, as it was published.")],
    home: Home = None,
) -> None:
    """Import a published ECGFounder; says what a sweep calls it."""
    from ecgscale.training import weights

    architecture, digest = weights.adopt_file(file, home_of(home))
    n_params = sum(tensor.numel() for tensor in weights.load(digest, home_of(home)).values())
    say(f"{architecture.kind} of {si(n_params)} parameters, {architecture.leads} leads: imported")
    say(f"in a sweep: Run({architecture}, ..., weights={digest!r})")
