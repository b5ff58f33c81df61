"""What all verbs that take anybody's table share: its options, its reading, an answer for each of its groups."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ecgscale.cli import completing
from ecgscale.cli.door import above_0
from ecgscale.cli.terminal import say, show

if TYPE_CHECKING:
    import pandas as pd

    from ecgscale.analysis.points import Points

TABLE = "a table, of which --where chooses rows"
PointsFile = Annotated[
    Path | None,
    typer.Option("--points", metavar="FILE", help="A table (CSV or Parquet; columns N, D, C, loss ...), not results."),
]
LawText = Annotated[
    str | None,
    typer.Option(
        "--law",
        metavar="LAW",
        help='With --points: joint, tied, ..., or a formula: "E + A*N**-alpha".',
        autocompletion=completing.laws,
    ),
]
LossColumn = Annotated[str | None, typer.Option(help="With --points: the column that is the loss.")]
Metric = Annotated[str | None, typer.Option(help="Fit 1 - METRIC, a column in [0, 1]: auroc, accuracy, ...")]
By = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="With --points: one law for each value (text columns if left out; or none)."),
]
Where = Annotated[
    str | None, typer.Option("--where", metavar="EXPR", help='With --points: these rows alone, "used = 1".')
]
MaxExponent = Annotated[
    float, typer.Option(help="Upper bound on exponents; a fit that hits it says so.", callback=above_0)
]
Bounds = Annotated[
    list[str] | None,
    typer.Option("--bound", metavar="NAME=LOW:HIGH", help="Bounds of an exponent or a floor: alpha=0.1:1, E=0:0.2."),
]


def bounds_of(texts: list[str] | None) -> dict[str, tuple[float, float]]:
    """Bounds by name from texts "alpha=0.1:1". Raises ValueError for one that is written otherwise."""
    found = {}
    for text in texts or ():
        name, _, ends = text.partition("=")
        low, _, high = ends.partition(":")
        try:
            found[name.strip()] = (float(low), float(high))
        except ValueError:
            raise ValueError(f"--bound {text} is no NAME=LOW:HIGH, such as alpha=0.1:1") from None
    return found


def table_of(
    points: Path, loss_column: str | None, metric: str | None, by: list[str] | None, condition: str | None
) -> "Points":
    """A table of points, its columns understood."""
    from ecgscale.analysis.points import points_of

    return points_of(points, loss_column=loss_column, metric=metric, by=by or None, where=condition)


def no_points(**given: object) -> None:
    """Raise ValueError for an option that asks a table of points, where there is none."""
    for name, value in given.items():
        if value:
            raise ValueError(f"--{name.replace('_', '-')} is for --points FILE; name the table")


def say_all(sentences: list[str]) -> None:
    """What there is to say, each on a line."""
    for sentence in sentences:
        if sentence:
            say(sentence)


def answer_each(points: "Points", question: Callable[["pd.DataFrame"], list[dict[Any, Any]]], as_json: bool) -> None:
    """Put a question to each group of points and print the answers; a group that has none says why on stderr.

    Raises BadPoints if no group has one.
    """
    import pandas as pd

    from ecgscale.analysis.fitting.identifiability import BadPoints
    from ecgscale.analysis.table.query import as_json as rendered
    from ecgscale.analysis.table.query import as_text

    rows: list[dict[Any, Any]] = []
    for group, part in points.parts():
        try:
            rows += [{**group, **row} for row in question(part)]
        except BadPoints as error:
            if not group:
                raise
            say(f"{', '.join(map(str, group.values()))}: {error}")
    if not rows:
        raise ValueError("no group of points has an answer; see above, or name other groups with --by")
    answer = pd.DataFrame(rows)
    if as_json:
        show(rendered(answer))
        return
    show(as_text(answer.drop(columns="note")), end="")
    for note in dict.fromkeys(row["note"] for row in rows if row["note"]):
        say(note)
