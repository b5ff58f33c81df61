"""The one door: what all verbs share, and what people see when something is wrong."""

import json
import os
import sys
import threading
import traceback
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from ecgscale.cli import completing
from ecgscale.cli.faults import FAILED, REFUSED, USAGE, Refused, told
from ecgscale.cli.terminal import say, where
from ecgscale.home import choose, chosen


class Grouped(TyperGroup):
    """Verbs under the headings of their groups; plain, for to import what draws boxes takes longer than the rest."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the verbs, each group with its heading, in the order in which they were declared."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name, verb in self.commands.items():
            about = " ".join((verb.help or "").partition("\n\n")[0].split())
            groups.setdefault(getattr(verb, "rich_help_panel", None) or "Commands", []).append((name, about))
        for heading, lines in groups.items():
            with formatter.section(heading):
                formatter.write_dl(lines)


PLAIN: dict[str, Any] = {"cls": Grouped, "rich_markup_mode": None}
app = typer.Typer(
    name="ecgscale",
    help="How do electrocardiogram models scale? Launch sweeps, regenerate figures, query fitted exponents.",
    no_args_is_help=True,
    **PLAIN,
    pretty_exceptions_enable=False,
)


@app.callback()
def _together(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", is_eager=True, callback=lambda on: _tell(on))
    ] = False,
) -> None:
    """How do electrocardiogram models scale? Launch sweeps, regenerate figures, query fitted exponents."""


def _tell(on: bool) -> None:
    """Say the version, if that is asked."""
    if on:
        import ecgscale

        print(ecgscale.__version__)
        raise typer.Exit


__all__ = ["FAILED", "REFUSED", "RESULTS", "USAGE", "Refused", "app", "existing", "home_of", "main", "name_bad"]
__all__ += ["Home", "Json", "Results", "RunId", "SweepName", "above_0", "not_below_0", "print_json"]

RESULTS = Path("results")

SweepName = Annotated[
    str,
    typer.Argument(
        metavar="SWEEP", help="A sweep file (sweeps/demo.py) or its stem (demo).", autocompletion=completing.sweeps
    ),
]
RunId = Annotated[
    str, typer.Argument(metavar="RUN_ID", help="A run's id, or the beginning of it.", autocompletion=completing.runs)
]
Results = Annotated[Path, typer.Option(help="Where rows and figures live.", callback=lambda path: _folder(path))]
Home = Annotated[
    Path | None,
    typer.Option(
        help="Where corpora and checkpoints live.",
        show_default="$ECGSCALE_HOME, else per user",
        callback=lambda path: choose(path),
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]


def main() -> NoReturn:
    """Run the command line; whatever is wrong is one sentence on stderr and an exit code that says its kind."""
    code, of_threads = 0, threading.excepthook
    threading.excepthook = _say_of_thread
    try:
        try:
            _stand()
            app(prog_name="ecgscale")
        finally:
            threading.excepthook = of_threads
            choose(None)
            if sys.stdout is not None:  # it was closed by whoever started this
                sys.stdout.flush()
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            _hush()
        elif _is_typers(ended):
            code = ended.code if isinstance(ended.code, int) else FAILED if ended.code else 0
        else:
            code = _say(ended)
    except BrokenPipeError:
        _hush()
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code = _say(error)
    sys.exit(code)


def _say(error: BaseException) -> int:
    """Say what is wrong, and return the code that says its kind."""
    sentence, code = told(error, _home_asked())
    with suppress(OSError):  # nobody hears it, and the code says its kind all the same
        say(f"ecgscale: {sentence}")
    return code


def _stand() -> None:
    """Raise FileNotFoundError if the current folder is gone: libraries would abort, or not be found."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise FileNotFoundError("the current folder is no more; change into one that is") from None


def _say_of_thread(ended: threading.ExceptHookArgs) -> None:
    """What nobody foresaw in a thread at work beside the command, which goes on."""
    if ended.exc_value is not None and not isinstance(ended.exc_value, SystemExit):
        _say(ended.exc_value)


def _hush() -> None:
    """Whoever reads has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)


def _is_typers(ended: SystemExit) -> bool:
    """Whether the command line itself ended, and not something within a verb."""
    last = traceback.extract_tb(ended.__traceback__)[-1]
    return Path(last.filename).is_relative_to(Path(typer.__file__).parent)


def _home_asked() -> Path | None:
    """The home that was typed, or the one that is meant when none is; None where there can be none."""
    typed = sys.argv[1:]
    named = [b for a, b in pairwise([*typed, ""]) if a == "--home"]
    named += [word.removeprefix("--home=") for word in typed if word.startswith("--home=")]
    try:
        return home_of(Path(named[0]) if named else None)
    except (OSError, RuntimeError, ValueError):
        return None


def home_of(home: Path | None) -> Path:
    """The folder of corpora and checkpoints: as asked, else $ECGSCALE_HOME, else a per-user data folder."""
    return _folder(chosen() if home is None else home.expanduser().resolve())


def _folder(path: Path) -> Path:
    """A path where a folder is or may be made. Raises NotADirectoryError for a file, and for what lies below one."""
    there = next((one for one in (path, *path.parents) if one.exists()), path)
    if there.exists() and not there.is_dir():
        raise NotADirectoryError(f"{where(there)} is a file, and has to be a folder")
    return path


def above_0(number: float | None) -> float | None:
    """A size, an amount or a budget, if it is given. Raises BadParameter, which names the option."""
    if number is not None and not 0 < number < float("inf"):
        raise typer.BadParameter(f"{number:g}: it has to be a number above 0")
    return number


def not_below_0(number: float) -> float:
    """A number that may be 0, or without end. Raises BadParameter, which names the option."""
    if not number >= 0:
        raise typer.BadParameter(f"{number:g}: it has to be a number, and not below 0")
    return number


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
