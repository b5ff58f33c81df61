"""What a shell completes: sweeps, runs, figures and laws by their names."""

from collections.abc import Iterable
from pathlib import Path

import typer

from ecgscale.beside import sweep_files


def sweeps(incomplete: str) -> list[str]:
    """Sweeps of ./sweeps and of the package."""
    return _beginning(incomplete, sweep_files())


def measured(incomplete: str) -> list[str]:
    """Sweeps that have results in ./results."""
    return _beginning(incomplete, (path.name for path in Path("results", "runs").glob("*") if path.is_dir()))


def runs(asked: typer.Context, incomplete: str) -> list[str]:
    """Runs that have results, of the sweep that was typed before: others are known only to who reads its file."""
    folder = Path(asked.params.get("results") or "results") / "runs" / Path(asked.params.get("sweep") or "").stem
    return _beginning(incomplete, (path.name.partition(".")[0] for path in folder.glob("[!.]*.*")))


def figures(incomplete: str) -> list[str]:
    """Figures of any sweep, those of installed packages too."""
    from ecgscale.analysis.study.figures import FIGURES

    return _beginning(incomplete, FIGURES)


def laws(incomplete: str) -> list[str]:
    """Laws that have names; any formula is one too."""
    from ecgscale.analysis.fitting.laws import LAWS

    return _beginning(incomplete, LAWS)


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
