"""The verb that checks models and objectives of one's own before anything is trained with them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgscale.cli.door import FAILED, Home, app, home_of
from ecgscale.cli.terminal import say

if TYPE_CHECKING:
    from types import ModuleType


@app.command(rich_help_panel="Before: price and prepare")
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A sweep file, or any that defines them.")],
    home: Home = None,
) -> None:
    """Check one's own architectures and objectives: shapes, gradients, a falling loss, cost, identity, pickling.

    Those of a sweep are taken from its runs, the first of each kind; others are values that the file assigns, or
    classes whose fields all have defaults.
    """
    import torch

    from ecgscale.contracts import CONTRACTS, Broken, recordings
    from ecgscale.spec.errors import described
    from ecgscale.spec.sweep import executed

    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file.name!r}")
    torch.set_num_threads(1)
    pairs, n_broken = _pairs(executed(file), file), 0
    store = recordings(home_of(home))
    for architecture, objective in pairs:
        pair = f"{type(architecture).__name__} under {type(objective).__name__}"
        for contract in CONTRACTS:
            what = f"{pair}: {(contract.__doc__ or '').rstrip('.')}"
            try:
                contract(architecture, objective, store)
            except Exception as error:
                n_broken += 1
                why = str(error) if isinstance(error, Broken) else described(error, file)
                print(f"broken  {what}: {why}", flush=True)
            else:
                print(f"ok      {what}", flush=True)
    if n_broken:
        say(f"{n_broken} of {len(pairs) * len(CONTRACTS)} checks are broken")
        raise typer.Exit(FAILED)
    say(f"all {len(pairs) * len(CONTRACTS)} checks are kept")


def _pairs(module: "ModuleType", file: Path) -> list[tuple[Any, Any]]:
    """The pairs to check. Raises ValueError if a file defines nothing that can be."""
    from ecgscale.contracts import pairs_of
    from ecgscale.models import Architecture
    from ecgscale.spec.sweep import Sweep

    runs = sweep.runs if isinstance(sweep := getattr(module, "SWEEP", None), Sweep) else ()
    found = {(type(run.architecture), type(run.objective)): (run.architecture, run.objective) for run in runs[::-1]}
    pairs = [pair for pair in list(found.values())[::-1] if not all(map(_is_ours, pair))]
    if not pairs:
        values = [value for value in vars(module).values() if not isinstance(value, type) and not _is_ours(value)]
        classes = [cls for cls in vars(module).values() if isinstance(cls, type) and cls.__module__ == module.__name__]
        for cls in classes:
            if hasattr(cls, "build") and hasattr(cls, "kind") and not any(type(value) is cls for value in values):
                try:
                    values.append(cls())
                except TypeError:
                    raise ValueError(
                        f"{file.name}: {cls.__name__} has fields without defaults; assign a small one to any name, "
                        f"such as SMALL = {cls.__name__}(...), or a SWEEP"
                    ) from None
        architectures = [value for value in values if isinstance(value, Architecture)]
        objectives = [v for v in values if hasattr(v, "build") and hasattr(v, "paradigm") and hasattr(v, "inputs")]
        pairs = pairs_of(architectures, objectives)
    if not pairs:
        raise ValueError(f"{file.name} defines no architecture and no objective of its own")
    for architecture, _ in pairs:
        if architecture.sampling_hz != 100:
            raise ValueError(
                f"{type(architecture).__name__} reads {architecture.sampling_hz} Hz; the recordings that ship, on "
                "which it would be checked, have 100"
            )
    return pairs


def _is_ours(value: object) -> bool:
    return type(value).__module__.startswith("ecgscale.")
