"""The verb that brings published weights."""

import re
from collections import Counter
from collections.abc import Sequence
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
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A published model: .pth, .safetensors or .h5.")],
    labels: Annotated[
        Path | None, typer.Option(help="Names of the head's labels, one a line: the authors' tasks.txt.")
    ] = None,
    home: Home = None,
) -> None:
    """Import a published model and its head, whichever it is; says what was found and what a sweep calls it."""
    from ecgscale.models.native import AMPLITUDES, LENGTHS
    from ecgscale.training import weights

    if labels is not None and not labels.is_file():
        raise FileNotFoundError(f"there is no file {labels.name}")
    names = [line.strip() for line in labels.read_text().splitlines() if line.strip()] if labels else []
    found, digest = weights.adopt_file(file, home_of(home), names)
    n_params = sum(tensor.numel() for name, tensor in found.backbone.items() if not name.endswith(_STATISTICS))
    say(f"{found.family.name}: imported, {len(found.backbone)} tensors of {si(n_params)} parameters")
    say(f"licence of its weights: {found.family.licence}")
    if found.dropped:
        say(f"left out: {_grouped(found.dropped)}; no feature depends on them")
    heads = [part for part in found.family.pretraining if any(name.startswith(f"{part}.") for name in found.dropped)]
    if heads:
        say(f"of them by its pretraining: {', '.join(heads)}; a run that pretrains it further learns heads of its own")
    if head := weights.head(digest, home_of(home)):
        named = (
            f"{head.names[0]}, ... {head.names[-1]}" if head.names else "their names are unknown (--labels tasks.txt)"
        )
        say(f"its head of {len(head.bias)} labels is kept: {named}")
    net = found.architecture
    leads = "the first lead of a corpus" if net.native_leads == 1 else f"{net.native_leads} leads"
    say(f"it computes on {leads} at {net.native_hz} Hz, {AMPLITUDES[net.amplitude]}")
    say(f"it was trained on recordings of {net.native_samples:,} samples: {LENGTHS[net.length]}")
    say(f"it reads corpora stored at {net.sampling_hz} Hz")
    if hasattr(net, "reads_hz") and net.native_hz != 100:
        say("of corpora at 100 Hz: replace(..., reads_hz=100); they are resampled for it, band-limited")
    say(f"in a sweep: Run({found.architecture}, ..., weights={digest!r})")


_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _grouped(names: Sequence[str]) -> str:
    """Tensors by their module, those of all layers and blocks together."""
    parts = Counter(re.sub(r"\d+", "*", name.rpartition(".")[0] or name) for name in names)
    return ", ".join(f"{part} ({n} tensor{'s' * (n > 1)})" for part, n in parts.items())
