"""Verbs of the codebook: train it, or import the published one."""

from pathlib import Path
from typing import Annotated

import typer

from ecgscale.cli import completing
from ecgscale.cli.devices import ChosenDevice, chosen
from ecgscale.cli.door import PLAIN, RESULTS, Home, app, home_of
from ecgscale.cli.selecting import Changes, Only, selected
from ecgscale.cli.terminal import say

codebook_app = typer.Typer(
    help="The frozen heartbeat codebook that masked models share.", no_args_is_help=True, **PLAIN
)
app.add_typer(codebook_app, name="codebook", rich_help_panel="Before: price and prepare")


@codebook_app.command("train")
def train(
    sweep: Annotated[
        str,
        typer.Option(
            "--sweep", help="Train the codebook that this sweep's masked runs name.", autocompletion=completing.sweeps
        ),
    ] = "",
    corpus: Annotated[str, typer.Option(help="Train HeartLang's full-size codebook on this corpus.")] = "",
    home: Home = None,
    device: ChosenDevice = None,
    only: Only = None,
    changes: Changes = None,
) -> None:
    """Train a heartbeat codebook, once for all runs that share it."""
    import torch

    from ecgscale.models import Codebook
    from ecgscale.training import codebooks
    from ecgscale.training.train import CodebookSnapshot

    if bool(sweep) == bool(corpus):
        raise ValueError("name either --sweep or --corpus")
    if corpus and (only or changes):
        raise ValueError("--set and --only are for runs of a sweep; name it with --sweep")
    recipes = selected(sweep, changes, only, home, RESULTS).codebooks if sweep else (Codebook(corpus),)
    if not recipes:
        raise ValueError(f"sweep {sweep} has no masked runs and needs no codebook")
    torch.set_num_threads(1)  # so that the same recipe gives the same codes
    left = [recipe for recipe in recipes if not codebooks.is_trained(recipe, home_of(home))]
    on = chosen(device) if left else "cpu"
    for recipe in recipes:
        if recipe not in left:
            say(f"codebook of {recipe.n_codes} codes on {recipe.corpus}: trained already")
            continue

        def progress(at: CodebookSnapshot, n_steps: int = recipe.steps) -> None:
            if at.step % max(1, n_steps // 5) == 0:
                say(f"  step {at.step}/{n_steps}  reconstruction error {at.reconstruction:.3f}")

        digest = codebooks.train(recipe, home_of(home), progress, on)
        say(f"codebook of {recipe.n_codes} codes on {recipe.corpus}: trained, SHA-256 {digest[:12]}")


@codebook_app.command("import")
def adopt(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="HeartLang's VQ-HBR checkpoint, as it was published.")],
    corpus: Annotated[str, typer.Option(help="The corpus that it was trained on.")] = "mimic",
    home: Home = None,
) -> None:
    """Import a published heartbeat codebook; says what a sweep calls it."""
    from ecgscale.training import codebooks

    recipe = codebooks.adopt_file(file, home_of(home), corpus)
    say(f"codebook of {recipe.n_codes} codes x {recipe.code_width} on {recipe.corpus}: imported")
    say(f"in a sweep: Masked({codebooks.as_typed(recipe)})")
