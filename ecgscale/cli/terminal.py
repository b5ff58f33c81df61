"""What people see: tables on stdout, progress on stderr; live where there is a terminal, plain lines where not."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # rich takes longer to import than --help and completion may
    from rich.console import Console
    from rich.table import Table

_SILENT_SECONDS = 1.0  # with what Python and typer take before, nothing is said for less than two
_speaking = threading.Lock()
_COLOURS = {"done": "green", "running": "cyan", "failed": "red", "diverged": "red", "oom": "red", "damaged": "red"}


# Every control code of ASCII and of its second half but tab and line end: what moves the cursor, colours, rings, types.
_CONTROL = dict.fromkeys((*range(9), *range(11, 32), *range(127, 160)))


@cache
def err() -> "Console":
    """What progress and advice are written on."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def plain(text: object) -> str:
    """Words that may come from a file, without what a terminal would obey."""
    return str(text).translate(_CONTROL)


def _cell(value: object) -> str:
    """A table's value on one line."""
    return plain(value).replace("\t", " ").replace("\n", " ")


def say(text: str) -> None:
    """A line of progress or advice."""
    err().print(plain(text), markup=False, soft_wrap=True)


@contextmanager
def never_silent(doing: str) -> Iterator[None]:
    """Say what is done here if that takes more than a second; on a terminal as long as it takes.

    Within another that is what this is part of, and the other says enough.
    """
    if not _speaking.acquire(blocking=False):
        yield
        return
    from rich.markup import escape

    picture = err().status(escape(plain(doing)))
    timer = threading.Timer(_SILENT_SECONDS, picture.start if err().is_terminal else partial(say, doing))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        picture.stop()
        _speaking.release()


def show(text: str, end: str = "\n") -> None:
    """Text on stdout."""
    print(plain(text), end=end, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> None:
    """A table on stdout: drawn on a terminal, tab-separated in a pipe."""
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(map(_cell, row)))
        return
    from rich.console import Console

    Console().print(_drawn(columns, rows, title))


@contextmanager
def in_place(live: bool) -> Iterator[Callable[[Sequence[str], Sequence[Sequence[Any]]], None]]:
    """A way to show a table again and again: over the one before where there is a terminal, below it where not."""
    if not (live and sys.stdout.isatty()):
        yield table
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), refresh_per_second=4) as picture:
        yield lambda columns, rows: picture.update(_drawn(columns, rows))


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> "Table":
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(title=title or None, box=None, header_style="bold", title_justify="left")
    for column in columns:
        numeric = all(isinstance(row[len(drawn.columns)], int | float) for row in rows)
        drawn.add_column(
            escape(_cell(column)), justify="right" if numeric or column in ("N", "D", "FLOPs", "hours") else "left"
        )
    for row in rows:
        drawn.add_row(*(escape(_cell(value)) for value in row))
    return drawn


class Watch:
    """Progress of a launch, read from the results folder: a live table, or a line for each run that ends."""

    def __init__(self, states: Callable[[], Any], counts: Callable[[Any], dict[str, int]]) -> None:
        from rich.live import Live

        self.states, self.counts = states, counts
        self.started = time.monotonic()
        self.live = Live(console=err(), refresh_per_second=4, transient=True) if err().is_terminal else None
        self.known: dict[str, str] = dict(zip(*self._columns(states()), strict=True))

    def context(self) -> AbstractContextManager[Any]:
        return self.live or nullcontext()

    def look(self) -> None:
        """Say what has changed."""
        now = self.states()
        names = dict(zip(now["run_id"], now["name"], strict=True))
        whys = dict(zip(now["run_id"], now["why"], strict=True))
        for run_id, state in zip(*self._columns(now), strict=True):
            if state != self.known[run_id] and state not in ("pending", "running"):
                why = f": {whys[run_id]}" if state != "done" else ""
                say(f"  {self._progress(now)}  {state:8}  {run_id}  {names[run_id]}{why}")
            self.known[run_id] = state
        if self.live:
            self.live.update(self._picture(now))

    @staticmethod
    def _columns(states: Any) -> tuple[list[str], list[str]]:
        return list(states["run_id"]), list(states["state"])

    def _progress(self, now: Any) -> str:
        counts = self.counts(now)
        ended = len(now) - counts["pending"] - counts["running"]
        return f"{ended:>{len(str(len(now)))}}/{len(now)}"

    def _picture(self, now: Any) -> "Table":
        from rich.markup import escape
        from rich.table import Table

        picture = Table(box=None, show_header=False)
        counts = {state: n for state, n in self.counts(now).items() if n}
        seconds = time.monotonic() - self.started
        summary = "  ".join(f"[{_COLOURS.get(state, 'dim')}]{n} {state}[/]" for state, n in counts.items())
        picture.add_row(f"{summary}  [dim]{seconds / 60:.1f} min[/]")
        for run_id, name in now.loc[now["state"] == "running", ["run_id", "name"]].itertuples(index=False):
            picture.add_row(f"[dim]{run_id}[/]  {escape(plain(name))}")
        return picture


def where(path: Path) -> str:
    """A path as people write it: from the current folder if it is below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):  # the current folder may be gone
        return str(path)
