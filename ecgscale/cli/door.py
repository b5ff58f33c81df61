"""The one door: what all verbs share, and what people see when something is wrong."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ecgscale.cli.terminal import say, where

app = typer.Typer(
    name="ecgscale",
    help="How do electrocardiogram models scale? Launch sweeps, regenerate figures, query fitted exponents.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

FAILED, USAGE, REFUSED = 1, 2, 3
RESULTS = Path("results")

SweepName = Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep file (sweeps/demo.py) or its stem (demo).")]
RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="A run's id, or the beginning of it.")]
Results = Annotated[Path, typer.Option(help="Where rows and figures live.")]
Home = Annotated[
    Path | None, typer.Option(help="Where corpora and checkpoints live.", show_default="$ECGSCALE_HOME, else per user")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


class Refused(Exception):
    """A guard said no; exit code 3."""


def main() -> NoReturn:
    """Run the command line; a foreseen error is one sentence on stderr and an exit code that says its kind."""
    try:
        app()
    except Refused as error:
        say(f"ecgscale: refused: {error}")
        sys.exit(REFUSED)
    except (ValueError, FileNotFoundError, NotADirectoryError) as error:
        say(f"ecgscale: {_sentence(error)}")
        sys.exit(USAGE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (RuntimeError, OSError) as error:  # a full disk among them
        say(f"ecgscale: {_sentence(error)}")
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)


def home_of(home: Path | None) -> Path:
    """The folder of corpora and checkpoints: as asked, else $ECGSCALE_HOME, else a per-user data folder."""
    if home is None:
        data_home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
        home = Path(os.environ.get("ECGSCALE_HOME") or Path(data_home) / "ecgscale")
    return home.expanduser().resolve()


def existing(results: Path) -> Path:
    """A results folder that is there. Raises FileNotFoundError in one sentence if it is not."""
    if not results.is_dir():
        raise FileNotFoundError(
            f"no results folder {where(results)!r}; launch a sweep first, or name one with --results"
        )
    return results


def print_json(value: Any) -> None:
    """One JSON document on stdout; what is not a number there is null."""
    print(json.dumps(value, indent=1, default=str, allow_nan=False))


def name_bad(sentences: list[str]) -> None:
    """Name every results file that could not be believed; the rest was read, and the exit code says so."""
    for sentence in sentences:
        say(f"ecgscale: {sentence}")
    if sentences:
        raise typer.Exit(USAGE)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {where(Path(str(error.filename)))}" if error.filename else "")
    return str(error)
